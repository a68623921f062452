//! Coming in and going out: sign-up, login and logout by form.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use counterfoil_core::Refusal;
use serde::Deserialize;

use super::form::FormBody;
use super::page::{OnPage, PageProblem, Visitor, show};
use super::trouble;
use crate::app::Error;
use crate::app::customers::SignUp;
use crate::app::sessions::NewSession;
use crate::app::settings::EmailVerification;
use crate::web::WebState;
use crate::web::caller::{self, Arriving};
use crate::web::network::CameFrom;
use crate::web::problem::Problem;
use crate::web::query::PlainQuery;
use crate::web::views::{FormProblem, Frame, LoginView, SignupView};
use crate::web::way_back::own_path;

/// Where customers are at home.
const HOME: &str = "/account";

/// The sign-up form. What is missing is refused like what is wrong, beside its field.
#[derive(Deserialize)]
pub struct SignUpForm {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    company_name: String,
}

/// The login form.
#[derive(Deserialize)]
pub struct LogInForm {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    next: Option<String>,
}

/// Where a login leads.
#[derive(Deserialize)]
pub struct LogInQuery {
    next: Option<String>,
}

/// `GET /signup`.
pub async fn sign_up_form(State(state): State<WebState>, visitor: Visitor) -> Result<Response, PageProblem> {
    if visitor.customer_id.is_some() {
        return Ok(Redirect::to(HOME).into_response());
    }
    let view = empty_form(&state, &visitor);
    Ok(show(&view, &visitor.frame)?.into_response())
}

fn empty_form(state: &WebState, visitor: &Visitor) -> SignupView {
    let verify_first = state.app.settings.email_verification == EmailVerification::Required;
    SignupView { verify_first, ..SignupView::empty(visitor.frame.clone(), state.app.catalog.trial().trial_days) }
}

/// `POST /signup`.
pub async fn sign_up(
    State(state): State<WebState>,
    visitor: Visitor,
    CameFrom(network): CameFrom,
    Arriving(arrival): Arriving,
    FormBody(form): FormBody<SignUpForm>,
) -> Result<Response, PageProblem> {
    let SignUpForm { email, password, company_name } = form;
    let result = match SignUp::parse(&email, password, Some(company_name.clone())) {
        Ok(wish) => {
            state.app.limit_sign_up(&network, &wish.email).await.on(&visitor.frame)?;
            state.app.sign_up(wish, &arrival).await
        }
        Err(refusal) => Err(refusal.into()),
    };
    let refusal = match result {
        Ok((_account, session)) => return Ok(come_in(&state, &session, HOME)),
        Err(Error::Refused(
            refusal @ (Refusal::InvalidEmail(_)
            | Refusal::EmailTaken
            | Refusal::WeakPassword(_)
            | Refusal::InvalidField { .. }),
        )) => refusal,
        Err(error) => return Err(PageProblem::new(error, visitor.frame)),
    };
    let empty = empty_form(&state, &visitor);
    let view = with_error(SignupView { email, company_name, ..empty }, &refusal);
    let status = Problem::from(refusal).status;
    Ok((status, show(&view, &visitor.frame)?).into_response())
}

/// The error stands beside its field, and is announced above the form.
fn with_error(view: SignupView, refusal: &Refusal) -> SignupView {
    let error = |name| (refusal.field() == Some(name)).then(|| trouble::field_error(refusal));
    SignupView {
        email_error: error("email"),
        password_error: error("password"),
        company_name_error: error("company_name"),
        problem: Some(trouble::above_fields(refusal)),
        ..view
    }
}

/// `GET /login`.
pub async fn log_in_form(
    visitor: Visitor,
    query: Result<PlainQuery<LogInQuery>, Problem>,
) -> Result<Response, PageProblem> {
    let next = query.ok().and_then(|PlainQuery(query)| query.next).and_then(only_own);
    if visitor.customer_id.is_some() {
        return Ok(Redirect::to(next.as_deref().unwrap_or(HOME)).into_response());
    }
    let view = LoginView { frame: visitor.frame.clone(), email: String::new(), problem: None, next };
    Ok(show(&view, &visitor.frame)?.into_response())
}

/// `POST /login`.
pub async fn log_in(
    State(state): State<WebState>,
    visitor: Visitor,
    CameFrom(network): CameFrom,
    Arriving(arrival): Arriving,
    FormBody(form): FormBody<LogInForm>,
) -> Result<Response, PageProblem> {
    let next = form.next.and_then(only_own);
    state.app.limit_login(&network, &form.email).await.on(&visitor.frame)?;
    match state.app.log_in(&form.email, &form.password, &arrival).await {
        Ok((_customer_id, session)) => Ok(come_in(&state, &session, next.as_deref().unwrap_or(HOME))),
        Err(Error::Refused(refusal @ Refusal::InvalidCredentials)) => {
            refused_login(&visitor.frame, refusal, form.email, next)
        }
        Err(error) => Err(PageProblem::new(error, visitor.frame)),
    }
}

fn refused_login(
    frame: &Frame,
    refusal: Refusal,
    email: String,
    next: Option<String>,
) -> Result<Response, PageProblem> {
    let problem = Some(FormProblem { code: refusal.code().to_owned(), text: refusal.to_string() });
    let view = LoginView { frame: frame.clone(), email, problem, next };
    Ok((Problem::from(refusal).status, show(&view, frame)?).into_response())
}

/// `POST /logout`: also for somebody whose session has ended already.
pub async fn log_out(
    State(state): State<WebState>,
    visitor: Visitor,
    headers: HeaderMap,
) -> Result<Response, PageProblem> {
    if let Some(token) = caller::token(&headers) {
        state.app.log_out(&token).await.on(&visitor.frame)?;
    }
    let cookie = caller::ended_cookie(state.options.https);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response())
}

fn only_own(path: String) -> Option<String> {
    own_path(&path).map(str::to_owned)
}

fn come_in(state: &WebState, session: &NewSession, next: &str) -> Response {
    let cookie = caller::session_cookie(session, state.options.https);
    ([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response()
}

#[cfg(test)]
mod tests {
    use counterfoil_core::password::WeakPassword;

    use super::*;

    fn refused(refusal: &Refusal) -> SignupView {
        with_error(SignupView::empty(Frame::new("Ledgerline"), 14), refusal)
    }

    #[test]
    fn a_login_leads_on_to_a_page_of_ours_alone() {
        assert_eq!(only_own("/account/license".to_owned()).as_deref(), Some("/account/license"));
        assert_eq!(only_own("//evil.example".to_owned()), None);
    }

    #[test]
    fn an_error_stands_beside_its_own_field_only() {
        let taken = refused(&Refusal::EmailTaken);
        assert!(taken.email_error.is_some() && taken.password_error.is_none() && taken.company_name_error.is_none());
        let weak = refused(&Refusal::WeakPassword(WeakPassword::TooShort));
        assert!(weak.email_error.is_none() && weak.password_error.is_some() && weak.company_name_error.is_none());
        let named = refused(&Refusal::InvalidField { field: "company_name", reason: "use at most 200 characters" });
        assert!(named.email_error.is_none() && named.password_error.is_none() && named.company_name_error.is_some());
        for view in [taken, weak, named] {
            assert!(view.problem.is_some(), "announced above the form");
        }
    }
}
