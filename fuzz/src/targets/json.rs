//! The JSON bodies of the API, through the extractor that the handlers use: a body passes if and only if it has the fields of its call,
//! each once and of its kind, and nothing else. The first line names the call.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::body::Body;
use axum::extract::{FromRequest as _, Request};
use axum::http::StatusCode;
use counterfoil::app::customers::{COMPANY_NAME_CHARS_MAX, SignUp};
use counterfoil::web::api::{account, activations, admin, customers, emails, licenses, passwords};
use counterfoil::web::api::{plan_changes, subscriptions, validation};
use counterfoil::web::json::{BODY_BYTES_MAX, JsonBody};
use counterfoil::web::problem::Problem;
use serde::de::DeserializeOwned;

use super::first_line;
use super::json_text::{self, Node};

/// What a field may hold.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    MaybeText,
    /// `true`, `false`, or not there.
    Flag,
    MaybeFlag,
    Whole,
    MaybeWhole,
    /// One of the words, which only the server knows.
    Word,
    MaybeWord,
    /// A list of texts, or not there.
    Texts,
    /// An object of its own, or not there.
    Inner(&'static [(&'static str, Kind)]),
}

/// What two readers have to agree on.
#[derive(Clone, Copy, PartialEq)]
enum Fit {
    Yes,
    No,
    /// It depends on what the text says.
    Maybe,
}

type Fields = &'static [(&'static str, Kind)];

use Kind::{Flag, Inner, MaybeFlag, MaybeText, MaybeWhole, MaybeWord, Text, Texts, Whole, Word};

const PAYMENT: Fields = &[("reference", Text), ("amount", Whole), ("currency", Text), ("periods", MaybeWhole)];

/// A problem is short, whatever was sent.
const REASON_CHARS_MAX: usize = 300;

/// What a handler takes: the extractor, and the name of the type.
type Taken = (fn(&[u8]) -> Result<(), Problem>, fn() -> &'static str);

/// A call, its fields, and what takes them.
type Call = (&'static str, Fields, Taken);

macro_rules! body {
    ($kind:ty) => {
        (taken::<$kind>, std::any::type_name::<$kind>)
    };
}

const CALLS: [Call; 29] = [
    ("signup", &[("email", Text), ("password", Text), ("company_name", MaybeText)], body!(customers::SignUpRequest)),
    ("login", &[("email", Text), ("password", Text)], body!(customers::LogInRequest)),
    ("forgot", &[("email", Text)], body!(passwords::ForgotRequest)),
    ("reset", &[("token", Text), ("new_password", Text)], body!(passwords::ResetRequest)),
    ("password", &[("current_password", Text), ("new_password", Text)], body!(passwords::ChangePasswordRequest)),
    ("email", &[("new_email", Text), ("current_password", Text)], body!(emails::EmailRequest)),
    ("link", &[("token", Text)], body!(emails::LinkRequest)),
    ("delete", &[("current_password", Text), ("end_subscription", Flag)], body!(account::DeleteAccountRequest)),
    (
        "checkout",
        &[
            ("customer_id", Text),
            ("plan", Text),
            ("interval", MaybeWord),
            ("currency", MaybeText),
            ("success_url", Text),
            ("cancel_url", Text),
        ],
        body!(subscriptions::CheckoutBody),
    ),
    (
        "change",
        &[("plan", Text), ("interval", MaybeWord), ("preview", Flag), ("prorated_from", MaybeWord)],
        body!(plan_changes::ChangeBody),
    ),
    ("portal", &[("return_url", MaybeText)], body!(plan_changes::PortalBody)),
    ("refresh", &[("token", Text)], body!(licenses::TokenRequest)),
    (
        "validate",
        &[
            ("token", Text),
            ("product", MaybeText),
            ("features", Texts),
            ("at", MaybeWord),
            ("signed", Flag),
            ("nonce", MaybeText),
        ],
        body!(validation::ValidationRequest),
    ),
    ("activate", &[("token", Text), ("fingerprint", Text), ("name", MaybeText)], body!(activations::ActivateRequest)),
    ("release", &[("token", Text), ("fingerprint", Text)], body!(activations::ReleaseRequest)),
    ("reason", &[("reason", Text)], body!(admin::ReasonRequest)),
    ("key", &[("name", Text), ("scope", Text), ("reason", Text)], body!(admin::keys::NewApiKeyRequest)),
    ("trial", &[("days", MaybeWhole), ("until", MaybeWord), ("reason", Text)], body!(admin::trials::ExtendTrialBody)),
    (
        "rotate",
        &[("reason", Text), ("now", MaybeFlag), ("force", MaybeFlag)],
        body!(admin::signing_keys::RotateRequest),
    ),
    (
        "manual_start",
        &[("plan", Text), ("interval", Word), ("starts_at", MaybeWord), ("payment", Inner(PAYMENT)), ("reason", Text)],
        body!(admin::manual::ManualStartBody),
    ),
    (
        "manual_refund",
        &[("payment", Text), ("reference", Text), ("amount", MaybeWhole), ("reason", Text)],
        body!(admin::manual::ManualRefundBody),
    ),
    (
        "manual_change",
        &[("plan", Text), ("interval", MaybeWord), ("at_period_end", MaybeFlag), ("reason", Text)],
        body!(admin::manual::ManualChangeBody),
    ),
    ("set_email", &[("new_email", Text), ("reason", Text)], body!(admin::customers::SetEmailRequest)),
    ("reissue", &[("reason", Text), ("mail", MaybeFlag)], body!(admin::licenses::ReissueRequest)),
    ("delete_customer", &[("reason", Text), ("end_subscription", Flag)], body!(admin::accounts::DeleteCustomerRequest)),
    ("generate", &[("reason", Text), ("force", MaybeFlag)], body!(admin::signing_keys::GenerateRequest)),
    ("reconcile", &[("cursor", MaybeText), ("reason", Text)], body!(admin::reconcile::ReconcileRequest)),
    (
        "manual_pay",
        &[("reference", Text), ("amount", Whole), ("currency", Text), ("periods", MaybeWhole), ("reason", Text)],
        body!(admin::manual::ManualPayBody),
    ),
    ("manual_cancel", &[("now", MaybeFlag), ("reason", Text)], body!(admin::manual::ManualCancelBody)),
];

/// The calls whose bodies are tried.
pub fn calls() -> Vec<&'static str> {
    CALLS.iter().map(|(call, ..)| *call).collect()
}

/// The same bodies by the names that the description of the API has for them.
pub fn bodies() -> Vec<&'static str> {
    let names = CALLS.iter().map(|(_, _, (_, name))| name());
    names.filter_map(|name| name.rsplit("::").next()).collect()
}

pub fn run(bytes: &[u8]) {
    let (name, body) = first_line(bytes);
    let Some((name, fields, (take, _))) = CALLS.iter().find(|(known, ..)| known.as_bytes() == name) else { return };
    let answer = take(body);
    if body.len() > BODY_BYTES_MAX {
        assert_eq!(answer.expect_err("it is too large").status, StatusCode::PAYLOAD_TOO_LARGE);
        return;
    }
    let read = json_text::read(body);
    let fit = read.as_ref().map_or(Fit::No, |read| of_object(fields, read));
    match &answer {
        Ok(()) => assert!(fit != Fit::No, "{name} took {:?}", String::from_utf8_lossy(body)),
        Err(problem) => check_problem(problem, read.as_ref(), fit, body),
    }
    if let (Ok(()), "signup", Some(read)) = (&answer, *name, &read) {
        check_sign_up(read);
    }
}

/// What the handlers do with a request before they look at it.
fn taken<T: DeserializeOwned>(body: &[u8]) -> Result<(), Problem> {
    let request = Request::post("/").header("content-type", "application/json").body(Body::from(body.to_vec()));
    let extracted = pin!(JsonBody::<T>::from_request(request.expect("a request"), &()));
    match extracted.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(extracted) => extracted.map(|JsonBody(_body)| ()),
        Poll::Pending => panic!("a body that is there is read at once"),
    }
}

fn check_problem(problem: &Problem, read: Option<&Node>, fit: Fit, body: &[u8]) {
    let expected = match problem.status {
        StatusCode::BAD_REQUEST => "malformed_json",
        StatusCode::UNPROCESSABLE_ENTITY => "invalid_request",
        other => panic!("a body was answered with {other}"),
    };
    assert_eq!(problem.code, expected);
    assert!(problem.detail.chars().count() <= REASON_CHARS_MAX, "{} bytes of reasons", problem.detail.len());
    let Some(read) = read else { return };
    assert!(fit != Fit::Yes, "refused with {}: {}", problem.detail, String::from_utf8_lossy(body));
    let is_json = problem.status == StatusCode::UNPROCESSABLE_ENTITY || read.has_endless_number();
    assert!(is_json, "it is JSON: {}", String::from_utf8_lossy(body));
}

fn of_object(fields: Fields, read: &Node) -> Fit {
    let Node::Object(members) = read else { return Fit::No };
    let is_known = |(name, _): &(String, Node)| fields.iter().any(|(known, _)| known == name);
    if read.repeats_a_name() || !members.iter().all(is_known) {
        return Fit::No;
    }
    let fits = fields.iter().map(|(name, kind)| of_kind(*kind, read.get(name)));
    fits.fold(Fit::Yes, |all, one| match (all, one) {
        (Fit::No, _) | (_, Fit::No) => Fit::No,
        (Fit::Maybe, _) | (_, Fit::Maybe) => Fit::Maybe,
        (Fit::Yes, Fit::Yes) => Fit::Yes,
    })
}

fn of_kind(kind: Kind, value: Option<&Node>) -> Fit {
    let yes = |fits: bool| if fits { Fit::Yes } else { Fit::No };
    let maybe = |fits: bool| if fits { Fit::Maybe } else { Fit::No };
    let may_be_null = matches!(kind, MaybeText | MaybeFlag | MaybeWhole | MaybeWord | Inner(_));
    match (kind, value) {
        (Flag | Texts, None) => Fit::Yes,
        (_, None) => yes(may_be_null),
        (_, Some(Node::Null)) => yes(may_be_null),
        (Text | MaybeText, Some(value)) => yes(value.text().is_some()),
        (Flag | MaybeFlag, Some(value)) => yes(matches!(value, Node::Flag(_))),
        (Whole | MaybeWhole, Some(value)) => yes(matches!(value, Node::Number(text) if is_whole(text))),
        (Word | MaybeWord, Some(value)) => maybe(value.text().is_some()),
        (Texts, Some(Node::List(list))) => yes(list.iter().all(|item| item.text().is_some())),
        (Texts, Some(_)) => Fit::No,
        (Inner(fields), Some(value)) => of_object(fields, value),
    }
}

/// Digits alone, in the range of 64 bits. `-0` is a fraction for many readers.
fn is_whole(text: &str) -> bool {
    text != "-0" && text.parse::<i64>().is_ok()
}

/// What a sign-up makes of texts that a stranger typed.
fn check_sign_up(read: &Node) {
    let text = |name: &str| read.get(name).and_then(Node::text).map(str::to_owned);
    let (email, password) = (text("email").expect("a text"), text("password").expect("a text"));
    let Ok(wish) = SignUp::parse(&email, password.clone(), text("company_name")) else { return };
    assert!(matches!(password.chars().count(), 8..=128), "a password of {} characters", password.chars().count());
    assert_eq!(wish.password.expose(), password, "a password is taken as it is");
    if let Some(name) = wish.company_name {
        assert!(matches!(name.chars().count(), 1..=COMPANY_NAME_CHARS_MAX), "{name:?}");
        assert!(name.trim() == name && !name.contains(|c: char| c.is_control() || c == '\u{202e}'), "{name:?}");
    }
}
