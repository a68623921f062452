//! `/password/forgot` and `/password/reset`.

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse as _, Response};
use counterfoil_core::Refusal;
use serde::Deserialize;

use super::form::FormBody;
use super::mail_links::{Arrival, spent};
use super::page::{OnPage as _, PageProblem, Visitor, show};
use super::trouble;
use crate::app::Error;
use crate::store::account_tokens::Purpose;
use crate::web::WebState;
use crate::web::network::CameFrom;
use crate::web::problem::Problem;
use crate::web::views::{ForgotView, Frame, Link, ResetView, SaidView, Tone};

const RESET_PATH: &str = "/password/reset";

/// The form that asks for a link.
#[derive(Deserialize)]
pub struct ForgotForm {
    #[serde(default)]
    email: String,
}

/// The form with the new password.
#[derive(Deserialize)]
pub struct ResetForm {
    #[serde(default)]
    new_password: String,
}

/// `GET /password/forgot`.
pub async fn forgot_form(visitor: Visitor) -> Result<Html<String>, PageProblem> {
    let view = ForgotView { frame: visitor.frame.clone(), email: String::new(), email_error: None, problem: None };
    show(&view, &visitor.frame)
}

/// `POST /password/forgot`: the same page whether or not there is such an account.
pub async fn forgot(
    State(state): State<WebState>,
    visitor: Visitor,
    CameFrom(network): CameFrom,
    FormBody(form): FormBody<ForgotForm>,
) -> Result<Response, PageProblem> {
    let frame = visitor.frame;
    state.app.limit_mail(&network, &form.email).await.on(&frame)?;
    match state.app.forgot_password(&form.email).await {
        Ok(()) => {
            let view = SaidView {
                frame: frame.clone(),
                title: "Look into your mailbox".to_owned(),
                sentence:
                    "If there is an account with this address, a link to a new password is on its way. It works for \
                           one hour."
                        .to_owned(),
                action: Link { label: "Back to the login".to_owned(), href: "/login".to_owned() },
                stub_label: "Password".to_owned(),
                stamp: "Mail sent".to_owned(),
                tone: Tone::Calm,
            };
            Ok(show(&view, &frame)?.into_response())
        }
        Err(Error::Refused(refusal @ Refusal::InvalidEmail(_))) => {
            let view = ForgotView {
                frame: frame.clone(),
                email: form.email,
                email_error: Some(trouble::field_error(&refusal)),
                problem: Some(trouble::above_fields(&refusal)),
            };
            Ok((Problem::from(refusal).status, show(&view, &frame)?).into_response())
        }
        Err(error) => Err(PageProblem::new(error, frame)),
    }
}

/// `GET /password/reset`.
pub async fn reset_form(
    State(state): State<WebState>,
    visitor: Visitor,
    arrival: Arrival,
) -> Result<Response, PageProblem> {
    let token = match arrival {
        Arrival::ByLink(response) => return Ok(response),
        Arrival::Plain(token) => token.unwrap_or_default(),
    };
    state.app.look_at_link(&token, Purpose::ResetPassword).await.on(&visitor.frame)?;
    let view = ResetView { frame: visitor.frame.clone(), password_error: None, problem: None };
    Ok(show(&view, &visitor.frame)?.into_response())
}

/// `POST /password/reset`.
pub async fn reset(
    State(state): State<WebState>,
    visitor: Visitor,
    arrival: Arrival,
    FormBody(form): FormBody<ResetForm>,
) -> Result<Response, PageProblem> {
    let frame = visitor.frame;
    match state.app.reset_password(&arrival.token(), form.new_password).await {
        Ok(()) => {
            let view = SaidView {
                frame: Frame { signed_in: false, ..frame.clone() },
                title: "Your password is set".to_owned(),
                sentence:
                    "Everybody who was logged in to your account has been logged out. Log in with the new password."
                        .to_owned(),
                action: Link { label: "Log in".to_owned(), href: "/login".to_owned() },
                stub_label: "Password".to_owned(),
                stamp: "Changed".to_owned(),
                tone: Tone::Good,
            };
            let spent = [(header::SET_COOKIE, spent(RESET_PATH, state.options.https))];
            Ok((spent, show(&view, &frame)?).into_response())
        }
        Err(Error::Refused(refusal @ Refusal::WeakPassword(_))) => {
            let view = ResetView {
                frame: frame.clone(),
                password_error: Some(trouble::field_error(&refusal)),
                problem: Some(trouble::above_fields(&refusal)),
            };
            Ok((Problem::from(refusal).status, show(&view, &frame)?).into_response())
        }
        Err(error) => Err(PageProblem::new(error, frame)),
    }
}
