//! `/email/verify`, `/email/confirm` and `/email/object`: what the links in the mails about an address lead to.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};

use super::mail_links::{Arrival, spent};
use super::page::{OnPage as _, PageProblem, Visitor, show};
use crate::store::account_tokens::Purpose;
use crate::web::WebState;
use crate::web::to_its_end;
use crate::web::views::{Frame, Link, QuestionView, SaidView, Tone};

const VERIFY: &str = "/email/verify";
const CONFIRM: &str = "/email/confirm";
const OBJECT: &str = "/email/object";

/// `GET /email/verify`.
pub async fn ask_verify(
    State(state): State<WebState>,
    visitor: Visitor,
    arrival: Arrival,
) -> Result<Response, PageProblem> {
    let view = QuestionView {
        frame: visitor.frame.clone(),
        title: "Is this address yours?".to_owned(),
        sentence: "You have opened the link that was sent to it. Confirm that you signed up with it.".to_owned(),
        action: VERIFY,
        button: "Yes, confirm".to_owned(),
        stub_label: "Good to know".to_owned(),
        stub_text: "A licence that waits for this is issued at once, and sent to the address.".to_owned(),
    };
    ask(&state, arrival, Purpose::VerifyEmail, &view).await
}

/// `POST /email/verify`.
pub async fn verify(
    State(state): State<WebState>,
    visitor: Visitor,
    arrival: Arrival,
) -> Result<Response, PageProblem> {
    let (app, token) = (state.app.clone(), arrival.token());
    let verified = to_its_end(async move { app.verify_email(&token).await }).await.on(&visitor.frame)?;
    let email = &verified.email;
    let (sentence, link) = match verified.license {
        Some(_) => {
            (format!("Your licence is issued, and on its way to {email}."), ("Open licence", "/account/license"))
        }
        None => (format!("We know now that {email} is yours."), ("Open your account", "/account")),
    };
    let view = SaidView {
        frame: visitor.frame.clone(),
        title: "Your address is confirmed".to_owned(),
        sentence,
        action: Link { label: link.0.to_owned(), href: link.1.to_owned() },
        stub_label: "E-mail address".to_owned(),
        stamp: "Confirmed".to_owned(),
        tone: Tone::Good,
    };
    say(&state, &view, VERIFY)
}

/// `GET /email/confirm`.
pub async fn ask_confirm(
    State(state): State<WebState>,
    visitor: Visitor,
    arrival: Arrival,
) -> Result<Response, PageProblem> {
    let view = QuestionView {
        frame: visitor.frame.clone(),
        title: "Use this address from now on?".to_owned(),
        sentence: "You log in with it then, and mails go there.".to_owned(),
        action: CONFIRM,
        button: "Use this address".to_owned(),
        stub_label: "Good to know".to_owned(),
        stub_text: "Your password, your plan and your licence stay as they are.".to_owned(),
    };
    ask(&state, arrival, Purpose::ChangeEmail, &view).await
}

/// `POST /email/confirm`.
pub async fn confirm(
    State(state): State<WebState>,
    visitor: Visitor,
    arrival: Arrival,
) -> Result<Response, PageProblem> {
    let (app, token) = (state.app.clone(), arrival.token());
    let email = to_its_end(async move { app.confirm_email_change(&token).await }).await.on(&visitor.frame)?;
    let view = SaidView {
        frame: visitor.frame.clone(),
        title: "Your address is changed".to_owned(),
        sentence: format!("From now on you log in with {email}."),
        action: Link { label: "Open your account".to_owned(), href: "/account".to_owned() },
        stub_label: "E-mail address".to_owned(),
        stamp: "Changed".to_owned(),
        tone: Tone::Good,
    };
    say(&state, &view, CONFIRM)
}

/// `GET /email/object`.
pub async fn ask_object(
    State(state): State<WebState>,
    visitor: Visitor,
    arrival: Arrival,
) -> Result<Response, PageProblem> {
    let view = QuestionView {
        frame: visitor.frame.clone(),
        title: "Keep the address that your account has?".to_owned(),
        sentence: "The change is stopped, and everybody who is logged in to your account is logged out.".to_owned(),
        action: OBJECT,
        button: "Stop the change".to_owned(),
        stub_label: "Good to know".to_owned(),
        stub_text: "Whoever asked for it knew your password. Choose a new one afterwards.".to_owned(),
    };
    ask(&state, arrival, Purpose::ObjectToEmail, &view).await
}

/// `POST /email/object`.
pub async fn object(
    State(state): State<WebState>,
    visitor: Visitor,
    arrival: Arrival,
) -> Result<Response, PageProblem> {
    state.app.object_to_email_change(&arrival.token()).await.on(&visitor.frame)?;
    let view = SaidView {
        frame: Frame { signed_in: false, ..visitor.frame },
        title: "The change is stopped".to_owned(),
        sentence: "Your account keeps its address. Choose a new password now: whoever asked for the change knows the \
                   present one."
            .to_owned(),
        action: Link { label: "Choose a new password".to_owned(), href: "/password/forgot".to_owned() },
        stub_label: "E-mail address".to_owned(),
        stamp: "Kept".to_owned(),
        tone: Tone::Good,
    };
    say(&state, &view, OBJECT)
}

async fn ask(
    state: &WebState,
    arrival: Arrival,
    purpose: Purpose,
    view: &QuestionView,
) -> Result<Response, PageProblem> {
    let token = match arrival {
        Arrival::ByLink(response) => return Ok(response),
        Arrival::Plain(token) => token.unwrap_or_default(),
    };
    state.app.look_at_link(&token, purpose).await.on(&view.frame)?;
    Ok(show(view, &view.frame)?.into_response())
}

fn say(state: &WebState, view: &SaidView, path: &str) -> Result<Response, PageProblem> {
    let spent = [(header::SET_COOKIE, spent(path, state.options.https))];
    Ok((spent, show(view, &view.frame)?).into_response())
}
