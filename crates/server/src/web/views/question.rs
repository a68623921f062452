//! What a link in a mail leads to: one question with one button, for whoever has the link.

use askama::Template;

use super::Frame;

/// One question. The token is in a cookie, never in the page.
#[derive(Clone, Debug, Template)]
#[template(path = "question.html")]
pub struct QuestionView {
    /// What is around the page.
    pub frame: Frame,
    /// The question.
    pub title: String,
    /// What happens.
    pub sentence: String,
    /// Where the form posts to.
    pub action: &'static str,
    /// The button's words.
    pub button: String,
    /// What the stub is about.
    pub stub_label: String,
    /// What else is good to know.
    pub stub_text: String,
}
