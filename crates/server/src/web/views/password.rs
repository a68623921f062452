//! `/password/forgot` and `/password/reset`: the way back into an account.

use askama::Template;

use super::{FormProblem, Frame};

/// `GET /password/forgot`, and the answer to a `POST` that was refused.
#[derive(Clone, Debug, Template)]
#[template(path = "forgot.html")]
pub struct ForgotView {
    /// What is around the page.
    pub frame: Frame,
    /// What was typed.
    pub email: String,
    /// What is wrong with the field, one sentence.
    pub email_error: Option<String>,
    /// The refusal as a whole; set whenever the field has an error.
    pub problem: Option<FormProblem>,
}

/// `GET /password/reset`, and the answer to a `POST` that was refused. The token is in a cookie, never in the page.
#[derive(Clone, Debug, Template)]
#[template(path = "reset.html")]
pub struct ResetView {
    /// What is around the page.
    pub frame: Frame,
    /// What is wrong with the field, one sentence. The password itself is never sent back.
    pub password_error: Option<String>,
    /// The refusal as a whole; set whenever the field has an error.
    pub problem: Option<FormProblem>,
}
