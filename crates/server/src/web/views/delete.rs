//! `/account/delete`: what the end of an account means, and the form that brings it about.

use askama::Template;

use super::{FormState, Frame};

/// The question, with the password that answers it.
#[derive(Clone, Debug, Template)]
#[template(path = "delete.html")]
pub struct DeleteAccountView {
    /// What is around the page.
    pub frame: Frame,
    /// The customer's address.
    pub email: String,
    /// Whether a subscription runs that has to end first.
    pub asks_for_end: bool,
    /// The form.
    pub form: FormState,
}
