//! `/`: what the product costs and how to try it.

use askama::Template;

use super::{Frame, PlanCard};

/// The home page. The handler gives the catalogue in its order of display, the trial included.
#[derive(Clone, Debug, Template)]
#[template(path = "home.html")]
pub struct HomeView {
    /// What is around the page.
    pub frame: Frame,
    /// One or two sentences about the vendor's product; empty shows a neutral one.
    pub tagline: String,
    /// Days of trial.
    pub trial_days: u32,
    /// Whether the address has to be confirmed before there is a licence.
    pub verify_first: bool,
    /// What the trial unlocks, in words; the first few are shown on the ticket.
    pub trial_features: Vec<String>,
    /// Plans to buy; the trial itself is left out by the template.
    pub plans: Vec<PlanCard>,
}
