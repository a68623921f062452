//! `/verify`: anybody asks what a licence is worth, as it is written there and with what the server knows beyond it.
//!
//! The licence travels in the form's body alone: neither an address nor a log holds it. What a licence says is shown only where it was
//! issued here.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use counterfoil_core::Timestamp;
use counterfoil_license::{Claims, LicenseFile, Phase, State as Worth, timeline};
use serde::Deserialize;

use super::form::FormBody;
use super::page::{OnPage as _, PageProblem, Visitor, show};
use crate::app::App;
use crate::app::validation::{Question, Validation};
use crate::web::WebState;
use crate::web::views::{FormProblem, Frame, Limit, PhaseView, Tone, VerdictView, VerifyView, VouchedFor};

/// The drawing is so wide; the licence's life lies between the margins.
const WIDTH: i64 = 1000;
const MARGIN: i64 = 60;

/// The form.
#[derive(Debug, Default, Deserialize)]
pub struct VerifyForm {
    #[serde(default)]
    license: String,
    #[serde(default)]
    at: String,
}

/// `GET /verify`.
pub async fn ask(visitor: Visitor) -> Result<Html<String>, PageProblem> {
    show(&view(&visitor.frame, VerifyForm::default()), &visitor.frame)
}

/// `POST /verify`.
pub async fn judge(
    State(state): State<WebState>,
    visitor: Visitor,
    form: Result<FormBody<VerifyForm>, PageProblem>,
) -> Result<Response, PageProblem> {
    let frame = &visitor.frame;
    let form = match form {
        Ok(FormBody(form)) => form,
        Err(PageProblem::Shown(shown)) if shown.0.status == StatusCode::PAYLOAD_TOO_LARGE => {
            let error = "This is longer than any licence. Paste the licence alone, or the part of the file that begins \
                         with BEGIN COUNTERFOIL LICENSE.";
            let view = VerifyView { license_error: Some(error.to_owned()), ..view(frame, VerifyForm::default()) };
            return refuse(view, shown.0.status, "body_too_large");
        }
        Err(other) => return Err(other),
    };
    let (license, at) = match (LicenseFile::parse(&form.license), moment(form.at.trim())) {
        (Ok(file), Some(at)) => (file.license, at),
        (license, at) => {
            let code = license.as_ref().err().map_or("invalid_request", |error| error.code());
            let license_error = license.err().map(|_| match form.license.trim() {
                "" => "Paste a licence, or the text of a licence file.".to_owned(),
                _ => "This is not a licence. Was it copied in full?".to_owned(),
            });
            let at_error = at.is_none().then(|| "Write a day such as 2026-12-31.".to_owned());
            let view = VerifyView { license_error, at_error, ..view(frame, form) };
            return refuse(view, StatusCode::UNPROCESSABLE_ENTITY, code);
        }
    };
    let question = Question { token: license.clone(), at, ..Question::default() };
    let found = state.app.validate_license(&question).await.on(frame)?;
    let answer = Some(verdict(&state.app, &found, at.is_some()));
    // The comments of a file prove nothing, so they are not shown beside an answer.
    let form = VerifyForm { license, ..form };
    Ok(show(&VerifyView { answer, ..view(frame, form) }, frame)?.into_response())
}

fn view(frame: &Frame, form: VerifyForm) -> VerifyView {
    VerifyView {
        frame: frame.clone(),
        license: form.license,
        at: form.at,
        license_error: None,
        at_error: None,
        problem: None,
        answer: None,
    }
}

fn refuse(view: VerifyView, status: StatusCode, code: &str) -> Result<Response, PageProblem> {
    let problem = FormProblem { code: code.to_owned(), text: "One entry needs another look.".to_owned() };
    let frame = view.frame.clone();
    Ok((status, show(&VerifyView { problem: Some(problem), ..view }, &frame)?).into_response())
}

/// The moment that was asked for, and `None` where what was typed is none. Nothing typed is now.
#[expect(clippy::option_option, reason = "not asked for and not understood are answered differently")]
fn moment(text: &str) -> Option<Option<Timestamp>> {
    match text {
        "" => Some(None),
        _ => text.parse().or_else(|_| format!("{text}T00:00:00Z").parse()).ok().map(Some),
    }
}

fn verdict(app: &App, found: &Validation, is_other_moment: bool) -> VerdictView {
    let (tone, stamp, sentence) = words(found.code);
    let moment = found.at.date_time_in_words();
    VerdictView {
        code: found.code.to_owned(),
        tone,
        stamp: stamp.to_owned(),
        sentence: sentence.to_owned(),
        asked_for: if is_other_moment { moment } else { format!("now, {moment}") },
        license: found.claims.as_ref().map(|claims| vouched_for(app, found, claims)),
    }
}

fn vouched_for(app: &App, found: &Validation, claims: &Claims) -> VouchedFor {
    let day = |seconds| Timestamp::from_unix_seconds(seconds).date_in_words();
    let limits = claims.limits.iter().map(|(name, value)| Limit { name: name.clone(), value: value.to_string() });
    VouchedFor {
        customer_id: claims.customer_id.clone(),
        license_id: claims.jti.clone(),
        version: claims.ver,
        has_newer: found.superseded,
        plan_name: app.plan_name(&counterfoil_core::PlanCode::new(claims.plan.clone())),
        features: if found.valid { claims.features.clone() } else { Vec::new() },
        limits: if found.valid { limits.collect() } else { Vec::new() },
        issued_on: day(claims.iat),
        works_until: day(claims.exp),
        phases: phases(claims, found.at),
        at_x: place(claims, found.at.as_unix_seconds()),
    }
}

/// What the licence says of its own life. What the server knows is in the sentence, not in here.
fn phases(claims: &Claims, at: Timestamp) -> Vec<PhaseView> {
    let phases = timeline(claims);
    let begun = |phase: &Phase| phase.begins_at.is_none_or(|begins_at| begins_at <= at.as_unix_seconds());
    let count_begun = phases.iter().filter(|phase| begun(phase)).count();
    let end = |index: usize| phases.get(index + 1).and_then(|next| next.begins_at);
    let each = |(index, phase): (usize, &Phase)| {
        let (kind, name) = kind(phase.state);
        let in_words = |seconds: i64| Timestamp::from_unix_seconds(seconds).date_time_in_words();
        let left = phase.begins_at.map_or(0, |seconds| place(claims, seconds));
        let right = end(index).map_or(WIDTH, |seconds| place(claims, seconds));
        PhaseView {
            kind,
            name,
            when: match (phase.begins_at, end(index)) {
                (Some(begins_at), _) => format!("from {}", in_words(begins_at)),
                (None, Some(ends_at)) => format!("until {}", in_words(ends_at)),
                (None, None) => "always".to_owned(),
            },
            x: left,
            width: right - left,
            is_asked_for: index + 1 == count_begun,
        }
    };
    phases.iter().enumerate().map(each).collect()
}

/// Where a time lies in the drawing; what is before and after the life lies in the middle of a margin.
fn place(claims: &Claims, seconds: i64) -> i64 {
    let span = claims.exp.saturating_sub(claims.nbf).max(1);
    let since = seconds.saturating_sub(claims.nbf);
    match since {
        ..0 => MARGIN / 2,
        since if since > span => WIDTH - MARGIN / 2,
        since => MARGIN + since.saturating_mul(WIDTH - 2 * MARGIN) / span,
    }
}

/// The style sheet's class and the name of a phase.
fn kind(worth: Worth) -> (&'static str, &'static str) {
    match worth {
        Worth::NotYetValid => ("before", "Not yet valid"),
        Worth::Valid => ("valid", "Valid"),
        Worth::RefreshDue => ("refresh", "Refresh due"),
        Worth::InGrace => ("grace", "In grace"),
        _ => ("ended", "Ended"),
    }
}

/// An answer's code for people: how it feels, a stamp, and a sentence.
fn words(code: &str) -> (Tone, &'static str, &'static str) {
    use Tone::{Alarm, Calm, Good, Warn};
    match code {
        "valid" => (Good, "Valid", "This licence is valid."),
        "refresh_due" => (Good, "Valid", "This licence is valid, and it is time to fetch a newer one."),
        "superseded" => (Calm, "Superseded", "This licence still works, and a newer one has taken its place."),
        "in_grace" => (Warn, "In grace", "The paid period is over. This licence still works for a few days."),
        "expired" => (Alarm, "Expired", "This licence has expired."),
        "not_yet_valid" => (Warn, "Not yet valid", "This licence is not valid yet."),
        "trial_expired" => (Alarm, "Trial over", "The trial that this licence is for is over."),
        "not_paid" => (Alarm, "Not paid", "What this licence is for was not paid."),
        "canceled" => (Alarm, "Canceled", "The subscription that this licence is for has ended."),
        "paused" => (Warn, "Paused", "The subscription that this licence is for is paused."),
        "refunded" => (Alarm, "Refunded", "The payment for this licence was refunded, and the licence ended with it."),
        "dispute_lost" => (Alarm, "Withdrawn", "The payment for this licence went back through the bank."),
        "disputed" => {
            (Warn, "On hold", "The payment for this licence is disputed. It is out of force until that is decided.")
        }
        "withdrawn" => (Alarm, "Withdrawn", "This licence was withdrawn. The customer has a newer one instead."),
        "revoked" => (Alarm, "Revoked", "This licence was revoked."),
        "customer_deleted" => (Alarm, "Deleted", "The account that this licence was issued to was deleted."),
        "key_compromised" => (Alarm, "Not valid", "This licence was signed with a key that is not trusted any more."),
        "wrong_issuer" | "wrong_audience" => (Alarm, "Not ours", "This licence is for another product."),
        "bad_signature" => (Alarm, "Not valid", "This licence was altered, or it was not issued here."),
        "unknown_key" | "unknown_license" => (Alarm, "Not ours", "This licence was not issued here."),
        "malformed" => (Alarm, "Not valid", "This is not a licence. Was it copied in full?"),
        "too_large" => (Alarm, "Not valid", "This is longer than any licence, so it is none."),
        _ => (Alarm, "Not valid", "This licence does not count here."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_words_of_its_own() {
        let codes = [
            "valid",
            "refresh_due",
            "superseded",
            "in_grace",
            "expired",
            "not_yet_valid",
            "trial_expired",
            "not_paid",
            "canceled",
            "paused",
            "refunded",
            "dispute_lost",
            "disputed",
            "withdrawn",
            "revoked",
            "customer_deleted",
            "key_compromised",
            "wrong_issuer",
            "bad_signature",
            "unknown_key",
            "malformed",
            "too_large",
            "a code of tomorrow",
        ];
        let sentences: std::collections::BTreeSet<&str> = codes.iter().map(|code| words(code).2).collect();
        assert_eq!(sentences.len(), codes.len());
    }

    fn of_a_thousand_seconds() -> Claims {
        Claims {
            iss: "https://billing.example.com".to_owned(),
            sub: "cust_1".to_owned(),
            customer_id: "cust_1".to_owned(),
            aud: "acme".to_owned(),
            iat: 1_000,
            nbf: 1_000,
            exp: 2_000,
            jti: "lic_1".to_owned(),
            ver: 1,
            plan: "starter".to_owned(),
            status: "active".to_owned(),
            trial: false,
            features: Vec::new(),
            limits: std::collections::BTreeMap::new(),
            paid_until: 1_600,
            grace_until: 2_000,
            refresh_after: 1_250,
            status_list: None,
        }
    }

    #[test]
    fn the_life_lies_between_the_margins_and_what_is_outside_within_them() {
        let claims = of_a_thousand_seconds();
        let places = [i64::MIN, 999, 1_000, 1_500, 2_000, 2_001, i64::MAX].map(|seconds| place(&claims, seconds));
        let (before, after) = (MARGIN / 2, WIDTH - MARGIN / 2);
        assert_eq!(places, [before, before, MARGIN, WIDTH / 2, WIDTH - MARGIN, after, after]);
    }

    #[test]
    fn the_phases_fill_the_drawing_and_one_of_them_is_now() {
        let claims = of_a_thousand_seconds();
        for (now, name) in [(999, "Not yet valid"), (1_249, "Valid"), (1_250, "Refresh due"), (1_600, "In grace")] {
            let phases = phases(&claims, Timestamp::from_unix_seconds(now));
            let ends: Vec<i64> = phases.iter().map(|phase| phase.x + phase.width).collect();
            let begins: Vec<i64> = phases.iter().map(|phase| phase.x).collect();
            assert_eq!(begins, [&[0], &ends[..ends.len() - 1]].concat(), "each begins where the one before ends");
            assert!(begins.is_sorted() && ends.last() == Some(&WIDTH), "{begins:?}");
            let asked: Vec<&str> = phases.iter().filter(|phase| phase.is_asked_for).map(|phase| phase.name).collect();
            assert_eq!(asked, [name]);
        }
    }

    #[test]
    fn a_moment_is_a_day_an_instant_or_now() {
        let day: Timestamp = "2026-12-31T00:00:00Z".parse().unwrap();
        assert_eq!(moment(""), Some(None));
        assert_eq!(moment("2026-12-31"), Some(Some(day)));
        assert_eq!(moment("2026-12-31T00:00:00Z"), Some(Some(day)));
        for text in ["tomorrow", "31.12.2026", "2026-02-30"] {
            assert_eq!(moment(text), None, "{text}");
        }
    }
}
