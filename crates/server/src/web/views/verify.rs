//! `/verify`: what a licence is worth, for anybody who has it.

use askama::Template;

use super::{FormProblem, Frame, Limit, Tone};

/// The form, and the answer below it.
#[derive(Clone, Debug, Template)]
#[template(path = "verify.html")]
pub struct VerifyView {
    /// What is around the page.
    pub frame: Frame,
    /// What was pasted.
    pub license: String,
    /// The moment that was typed.
    pub at: String,
    /// What is wrong with the pasted text, one sentence.
    pub license_error: Option<String>,
    /// What is wrong with the moment, one sentence.
    pub at_error: Option<String>,
    /// The refusal as a whole; set whenever a field has an error.
    pub problem: Option<FormProblem>,
    /// The answer.
    pub answer: Option<VerdictView>,
}

/// What a licence is worth.
#[derive(Clone, Debug)]
pub struct VerdictView {
    /// The stable code.
    pub code: String,
    /// How that feels.
    pub tone: Tone,
    /// One or two words.
    pub stamp: String,
    /// The answer in words.
    pub sentence: String,
    /// The moment that the answer is about, in words.
    pub asked_for: String,
    /// What it says; only where it was issued here.
    pub license: Option<VouchedFor>,
}

/// A licence that was issued here.
#[derive(Clone, Debug)]
pub struct VouchedFor {
    /// Our id of the customer.
    pub customer_id: String,
    /// Our id of this version.
    pub license_id: String,
    /// The version, rising.
    pub version: i64,
    /// Whether there is a newer version.
    pub has_newer: bool,
    /// The plan's name.
    pub plan_name: String,
    /// What it unlocks; none where it does not count.
    pub features: Vec<String>,
    /// The numbers that it sets; none where it does not count.
    pub limits: Vec<Limit>,
    /// A day in words.
    pub issued_on: String,
    /// A day in words.
    pub works_until: String,
    /// Its life, in order.
    pub phases: Vec<PhaseView>,
    /// Where the asked moment lies in the drawing, of 1000.
    pub at_x: i64,
}

/// A part of a licence's life.
#[derive(Clone, Debug)]
pub struct PhaseView {
    /// The style sheet's class.
    pub kind: &'static str,
    /// In words.
    pub name: &'static str,
    /// From when on, or until when, in words.
    pub when: String,
    /// Where it begins in the drawing, of 1000.
    pub x: i64,
    /// How wide it is there.
    pub width: i64,
    /// Whether the asked moment lies in it.
    pub is_asked_for: bool,
}
