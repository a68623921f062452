//! A page that only says something: what was done, or what to do elsewhere.

use askama::Template;

use super::{Frame, Link, Tone};

/// One message with one way on.
#[derive(Clone, Debug, Template)]
#[template(path = "said.html")]
pub struct SaidView {
    /// What is around the page.
    pub frame: Frame,
    /// A short title: `Look into your mailbox`.
    pub title: String,
    /// What it means, in one or two sentences.
    pub sentence: String,
    /// The way on.
    pub action: Link,
    /// What the stub is about: `Password`.
    pub stub_label: String,
    /// The stamp: `Changed`.
    pub stamp: String,
    /// How it feels.
    pub tone: Tone,
}
