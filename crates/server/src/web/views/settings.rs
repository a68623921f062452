//! `/account/settings`: what a customer can change about the account itself.

use askama::Template;

use super::{FormProblem, Frame, Notice};

/// A form that came back.
#[derive(Clone, Debug, Default)]
pub struct FormState {
    /// The refusal as a whole, above the form.
    pub problem: Option<FormProblem>,
    /// The field that it is about, and what is wrong with it.
    pub error: Option<(String, String)>,
}

impl FormState {
    /// What is wrong with this field.
    #[must_use]
    pub fn error(&self, field: &str) -> Option<&str> {
        self.error.as_ref().filter(|(name, _)| name == field).map(|(_, text)| text.as_str())
    }
}

/// One session.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// What the button sends.
    pub session_id: String,
    /// What it began on: `Firefox on Linux`.
    pub device: String,
    /// The network it began in: `203.0.113.x`.
    pub network: String,
    /// `since 3 March 2027`.
    pub since: String,
    /// The last use in words.
    pub used: String,
    /// Whether it is the one that looks.
    pub is_current: bool,
}

/// The settings.
#[derive(Clone, Debug, Template)]
#[template(path = "settings.html")]
pub struct SettingsView {
    /// What is around the page.
    pub frame: Frame,
    /// The customer's address.
    pub email: String,
    /// Whether the address is confirmed, as a sentence; none where it is not and nobody asks.
    pub email_state: Option<String>,
    /// Shows *Send the link again*, a form that posts to `/account/email/verify`.
    pub can_resend: bool,
    /// What was just done, or what waits for the customer.
    pub notices: Vec<Notice>,
    /// The form of the password.
    pub password: FormState,
    /// The form of the address.
    pub email_form: FormState,
    /// The new address as it was typed.
    pub new_email: String,
    /// Where the customer is logged in, the one that looks first.
    pub sessions: Vec<SessionRow>,
}
