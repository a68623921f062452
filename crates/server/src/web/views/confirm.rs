//! `/account/change` and `/account/cancel`: what a change means, before it is made.

use askama::Template;

use super::Frame;

/// One question with one button.
#[derive(Clone, Debug, Template)]
#[template(path = "confirm.html")]
pub struct ConfirmView {
    /// What is around the page.
    pub frame: Frame,
    /// The plan that it is about.
    pub eyebrow: String,
    /// The question: `Change to Enterprise?`
    pub title: String,
    /// What happens, when, and what it costs.
    pub sentence: String,
    /// Where the form posts to.
    pub action: &'static str,
    /// Hidden fields of the form: names and values.
    pub fields: Vec<(&'static str, String)>,
    /// The button's words.
    pub button: String,
    /// What the stub shows: `Due now`.
    pub stub_label: String,
    /// Its value: `€12.30`.
    pub stub: String,
    /// What follows: `then €49.00 per month`.
    pub stub_text: String,
}
