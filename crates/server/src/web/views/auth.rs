//! `/signup` and `/login`: two forms that keep what was typed, but never a password.

use askama::Template;

use super::Frame;

/// Why a form came back, above its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormProblem {
    /// The stable code, as in the API: `invalid_credentials`.
    pub code: String,
    /// The sentence that helps.
    pub text: String,
}

/// `GET /signup`, and the answer to a `POST /signup` that was refused.
#[derive(Clone, Debug, Template)]
#[template(path = "signup.html")]
pub struct SignupView {
    /// What is around the page.
    pub frame: Frame,
    /// Days of trial that signing up starts.
    pub trial_days: u32,
    /// Whether the address has to be confirmed before there is a licence.
    pub verify_first: bool,
    /// What was typed.
    pub email: String,
    /// What was typed.
    pub company_name: String,
    /// What is wrong with the field, one sentence.
    pub email_error: Option<String>,
    /// What is wrong with the field, one sentence. The password itself is never sent back.
    pub password_error: Option<String>,
    /// What is wrong with the field, one sentence.
    pub company_name_error: Option<String>,
    /// The refusal as a whole; set whenever any field has an error.
    pub problem: Option<FormProblem>,
}

impl SignupView {
    /// The empty form.
    #[must_use]
    pub fn empty(frame: Frame, trial_days: u32) -> Self {
        Self {
            frame,
            trial_days,
            verify_first: false,
            email: String::new(),
            company_name: String::new(),
            email_error: None,
            password_error: None,
            company_name_error: None,
            problem: None,
        }
    }
}

/// `GET /login`, and the answer to a `POST /login` that was refused.
#[derive(Clone, Debug, Template)]
#[template(path = "login.html")]
pub struct LoginView {
    /// What is around the page.
    pub frame: Frame,
    /// What was typed.
    pub email: String,
    /// The refusal; the same for an unknown address and a wrong password.
    pub problem: Option<FormProblem>,
    /// Where to go afterwards, sent back as the hidden field `next`. The handler lets only its own paths through, when it
    /// renders the form and again when the form comes back.
    pub next: Option<String>,
}
