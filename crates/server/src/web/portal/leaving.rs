//! `/account/export` and `/account/delete`: taking one's data along, and going.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse as _, Response};
use serde::Deserialize;

use super::form::FormBody;
use super::page::{Member, OnPage as _, PageProblem, frame, show};
use crate::app::deletion::Running;
use crate::web::problem::Problem;
use crate::web::views::{DeleteAccountView, FormProblem, FormState, Link, SaidView, Tone};
use crate::web::{WebState, caller, to_its_end};

/// The form of the deletion.
#[derive(Deserialize)]
pub struct DeleteForm {
    #[serde(default)]
    current_password: String,
    /// A box that is not ticked is not sent.
    end_subscription: Option<String>,
    /// For password managers only.
    #[serde(default, rename = "username")]
    _username: String,
}

/// `GET /account/export`.
pub async fn export(State(state): State<WebState>, member: Member) -> Result<Response, PageProblem> {
    let export = state.app.export_customer(&member.customer_id).await.on(&member.frame)?;
    let name = [(header::CONTENT_DISPOSITION, "attachment; filename=\"account.json\"")];
    Ok((name, Json(export)).into_response())
}

/// `GET /account/delete`.
pub async fn ask(State(state): State<WebState>, member: Member) -> Result<Html<String>, PageProblem> {
    show(&question(&state, &member, FormState::default()).await?, &member.frame)
}

async fn question(state: &WebState, member: &Member, form: FormState) -> Result<DeleteAccountView, PageProblem> {
    let account = state.app.account(&member.customer_id).await.on(&member.frame)?;
    let refused = form.problem.as_ref().is_some_and(|problem| problem.code == "subscription_running");
    Ok(DeleteAccountView {
        frame: member.frame.clone(),
        email: account.customer.email.to_string(),
        asks_for_end: refused || account.subscription.is_live_at_provider(),
        form,
    })
}

/// `POST /account/delete`.
pub async fn delete(
    State(state): State<WebState>,
    member: Member,
    FormBody(form): FormBody<DeleteForm>,
) -> Result<Response, PageProblem> {
    let (app, id) = (state.app.clone(), member.customer_id.clone());
    let (password, running) = (form.current_password, Running::of(form.end_subscription.is_some()));
    let deleted = to_its_end(async move { app.delete_own_account(&id, &password, running).await }).await;
    let problem = match deleted {
        Ok(_deleted_at) => return said(&state),
        Err(problem) => problem,
    };
    let Some(form) = refused(&problem) else { return Err(PageProblem::new(problem, member.frame)) };
    let view = question(&state, &member, form).await?;
    Ok((problem.status, show(&view, &member.frame)?).into_response())
}

/// The form with what stands in the way, where the customer can do something about it.
fn refused(problem: &Problem) -> Option<FormState> {
    let text = match problem.code {
        "wrong_password" => "One entry needs another look.",
        "subscription_running" => {
            "A subscription is running. Tick the box to end it now, or cancel it and come back when it is over."
        }
        "payment_pending" => "A payment is still being confirmed. Come back in a while; your account stays as it is.",
        _ => return None,
    };
    let error = (problem.code == "wrong_password").then(|| ("current_password".to_owned(), problem.detail.clone()));
    let problem = FormProblem { code: problem.code.to_owned(), text: text.to_owned() };
    Some(FormState { problem: Some(problem), error })
}

fn said(state: &WebState) -> Result<Response, PageProblem> {
    let frame = frame(&state.app, false);
    let view = SaidView {
        frame: frame.clone(),
        title: "Your account is deleted".to_owned(),
        sentence: "You are logged out everywhere. A last mail confirms it; after that we write to you no more."
            .to_owned(),
        action: Link { label: "To the front page".to_owned(), href: "/".to_owned() },
        stub_label: "Account".to_owned(),
        stamp: "Deleted".to_owned(),
        tone: Tone::Calm,
    };
    let ended = [(header::SET_COOKIE, caller::ended_cookie(state.options.https))];
    Ok((ended, show(&view, &frame)?).into_response())
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn what_stands_in_the_way_of_leaving_is_told_and_a_wrong_password_beside_its_field() {
        let told = |code| refused(&Problem::new(StatusCode::CONFLICT, code, "It is wrong."));
        for (code, begin, is_of_the_password) in [
            ("wrong_password", "One entry needs another look.", true),
            ("subscription_running", "A subscription is running. Tick the box", false),
            ("payment_pending", "A payment is still being confirmed.", false),
        ] {
            let form = told(code).unwrap();
            let problem = form.problem.as_ref().unwrap();
            assert!(problem.code == code && problem.text.starts_with(begin), "{problem:?}");
            assert_eq!(form.error("current_password"), is_of_the_password.then_some("It is wrong."), "{code}");
        }
        assert!(told("database_unavailable").is_none(), "no entry mends that");
    }
}
