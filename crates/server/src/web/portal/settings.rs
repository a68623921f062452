//! `/account/settings`: the account itself.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use counterfoil_core::Refusal;
use serde::Deserialize;

use super::form::FormBody;
use super::page::{Member, OnPage as _, PageProblem, show};
use super::{sessions, trouble};
use crate::app::Error;
use crate::app::settings::EmailVerification;
use crate::store::customers::Customer;
use crate::web::WebState;
use crate::web::caller;
use crate::web::network::CameFrom;
use crate::web::problem::Problem;
use crate::web::query::PlainQuery;
use crate::web::views::{FormState, Notice, SettingsView, Tone};

const SETTINGS: &str = "/account/settings";

/// What was just done, as a word in the address.
#[derive(Deserialize)]
pub struct DoneQuery {
    done: String,
}

/// The form of the password.
#[derive(Deserialize)]
pub struct PasswordForm {
    #[serde(default)]
    current_password: String,
    #[serde(default)]
    new_password: String,
    /// For password managers only.
    #[serde(default, rename = "username")]
    _username: String,
}

/// The form of the address.
#[derive(Deserialize)]
pub struct EmailForm {
    #[serde(default)]
    new_email: String,
    #[serde(default)]
    current_password: String,
}

/// A form that was sent cannot be opened again by its address: that leads back to where the form is.
pub async fn to_settings() -> Redirect {
    Redirect::to(SETTINGS)
}

/// `GET /account/settings`.
pub async fn show_settings(
    State(state): State<WebState>,
    member: Member,
    headers: HeaderMap,
    query: Result<PlainQuery<DoneQuery>, Problem>,
) -> Result<Html<String>, PageProblem> {
    let mut view = settings_view(&state, &member, &headers).await?;
    view.notices.extend(query.ok().and_then(|PlainQuery(query)| done_notice(&query.done)));
    show(&view, &member.frame)
}

async fn settings_view(state: &WebState, member: &Member, headers: &HeaderMap) -> Result<SettingsView, PageProblem> {
    let account = state.app.account(&member.customer_id).await.on(&member.frame)?;
    let own = caller::token(headers).unwrap_or_default();
    let sessions = state.app.sessions(&member.customer_id, &own).await.on(&member.frame)?;
    let now = state.app.now();
    Ok(SettingsView {
        frame: member.frame.clone(),
        email: account.customer.email.to_string(),
        email_state: email_state(state, &account.customer),
        can_resend: is_verification_due(state, &account.customer),
        notices: Vec::new(),
        password: FormState::default(),
        email_form: FormState::default(),
        new_email: String::new(),
        sessions: sessions.iter().map(|session| sessions::row(session, now)).collect(),
    })
}

/// Whether this customer is asked to confirm the address.
fn is_verification_due(state: &WebState, customer: &Customer) -> bool {
    let is_required = state.app.settings.email_verification == EmailVerification::Required;
    is_required && customer.email_verified_at.is_none()
}

fn email_state(state: &WebState, customer: &Customer) -> Option<String> {
    match customer.email_verified_at {
        Some(at) => Some(format!("Your address was confirmed on {}.", at.date_in_words())),
        None if is_verification_due(state, customer) => {
            Some("Your address is not confirmed yet: open the link in the mail that was sent to it.".to_owned())
        }
        None => None,
    }
}

fn done_notice(word: &str) -> Option<Notice> {
    let told = |title: &str, text: &str| Notice { tone: Tone::Good, title: title.to_owned(), text: text.to_owned() };
    match word {
        "password" => Some(told(
            "Your password is changed",
            "Everywhere else you have been logged out. A mail tells you of the change, too.",
        )),
        "sessions" => Some(told("You are logged in here only", "Everywhere else you have been logged out.")),
        "email" => Some(Notice {
            tone: Tone::Calm,
            title: "Look into the mailbox of the new address".to_owned(),
            text: "A link is on its way there. Your address stays as it is until you have opened it.".to_owned(),
        }),
        "verify" => Some(Notice {
            tone: Tone::Calm,
            title: "Look into your mailbox".to_owned(),
            text:
                "A new link is on its way to your address. It works for a day, and the older ones do not work any more."
                    .to_owned(),
        }),
        _ => None,
    }
}

fn done(word: &str) -> Response {
    Redirect::to(&format!("{SETTINGS}?done={word}")).into_response()
}

/// The form with what is wrong beside its field.
fn refused(refusal: &Refusal, field: &str) -> FormState {
    FormState {
        problem: Some(trouble::above_fields(refusal)),
        error: Some((field.to_owned(), trouble::field_error(refusal))),
    }
}

/// `POST /account/password`.
pub async fn change_password(
    State(state): State<WebState>,
    member: Member,
    headers: HeaderMap,
    FormBody(form): FormBody<PasswordForm>,
) -> Result<Response, PageProblem> {
    let session = caller::token(&headers).unwrap_or_default();
    let changed =
        state.app.change_password(&member.customer_id, &session, &form.current_password, form.new_password).await;
    let (refusal, field) = match changed {
        Ok(()) => return Ok(done("password")),
        Err(Error::Refused(refusal @ Refusal::WrongPassword)) => (refusal, "current_password"),
        Err(Error::Refused(refusal @ Refusal::WeakPassword(_))) => (refusal, "new_password"),
        Err(error) => return Err(PageProblem::new(error, member.frame)),
    };
    let view = SettingsView { password: refused(&refusal, field), ..settings_view(&state, &member, &headers).await? };
    Ok((Problem::from(refusal).status, show(&view, &member.frame)?).into_response())
}

/// `POST /account/email`.
pub async fn ask_email_change(
    State(state): State<WebState>,
    member: Member,
    CameFrom(network): CameFrom,
    headers: HeaderMap,
    FormBody(form): FormBody<EmailForm>,
) -> Result<Response, PageProblem> {
    state.app.limit_mail(&network, &form.new_email).await.on(&member.frame)?;
    let asked = state.app.ask_email_change(&member.customer_id, &form.new_email, &form.current_password).await;
    let (refusal, field) = match asked {
        Ok(()) => return Ok(done("email")),
        Err(Error::Refused(refusal @ Refusal::WrongPassword)) => (refusal, "current_password"),
        Err(Error::Refused(refusal)) if matches!(refusal.field(), Some("email" | "new_email")) => {
            (refusal, "new_email")
        }
        Err(error) => return Err(PageProblem::new(error, member.frame)),
    };
    let base = settings_view(&state, &member, &headers).await?;
    let view = SettingsView { email_form: refused(&refusal, field), new_email: form.new_email, ..base };
    Ok((Problem::from(refusal).status, show(&view, &member.frame)?).into_response())
}

/// `POST /account/email/verify`: another link to confirm the address. Where it is confirmed, the page says so.
pub async fn resend_verification(
    State(state): State<WebState>,
    member: Member,
    CameFrom(network): CameFrom,
) -> Result<Response, PageProblem> {
    state.app.limit_mail(&network, member.customer_id.as_str()).await.on(&member.frame)?;
    match state.app.resend_verification(&member.customer_id).await {
        Ok(()) => Ok(done("verify")),
        Err(Error::Refused(Refusal::EmailAlreadyVerified)) => Ok(to_settings().await.into_response()),
        Err(error) => Err(PageProblem::new(error, member.frame)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_just_done_is_told_and_what_nobody_did_is_not() {
        for (word, title, tone) in [
            ("password", "Your password is changed", Tone::Good),
            ("sessions", "You are logged in here only", Tone::Good),
            ("email", "Look into the mailbox of the new address", Tone::Calm),
            ("verify", "Look into your mailbox", Tone::Calm),
        ] {
            let notice = done_notice(word).unwrap();
            assert_eq!((notice.title.as_str(), notice.tone), (title, tone), "{word}");
        }
        assert!(done_notice("your account is closed").is_none(), "anybody can write a word into a link");
    }
}
