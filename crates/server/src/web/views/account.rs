//! `/account`: where the customer stands, in plain words, and the one thing to do next.

use askama::Template;

use super::{Frame, PlanCard, PriceTag, Tone};

/// The overview.
#[derive(Clone, Debug, Template)]
#[template(path = "account.html")]
pub struct AccountView {
    /// What is around the page.
    pub frame: Frame,
    /// The customer's address.
    pub email: String,
    /// The company, where one was given.
    pub company_name: Option<String>,
    /// Our id of the customer, for support.
    pub customer_id: String,
    /// The day of sign-up in words.
    pub customer_since: String,
    /// The plan's name.
    pub plan_name: String,
    /// One or two words for the stamp: `9 days left`, `Active`, `Past due`, `Canceled`.
    pub state_word: String,
    /// The state as a sentence: `Your trial runs until 1 December 2026, 9 days left.`
    pub state_sentence: String,
    /// How the state feels.
    pub tone: Tone,
    /// One hole per day of a trial, see [`super::words::punches`]; empty without a trial.
    pub punches: Vec<bool>,
    /// Shows that the licence waits until the address is confirmed, with a form that posts to `/account/email/verify`.
    pub unverified: bool,
    /// What needs attention, most urgent first.
    pub notices: Vec<Notice>,
    /// The one main button.
    pub main_action: MainAction,
    /// The current licence; none before its first issue or after its end.
    pub license: Option<LicenseStub>,
    /// Plans to choose from; empty hides the chooser. Trial cards are left out by the template.
    pub plans: Vec<PlanCard>,
    /// Shows *Manage billing*, a form that posts to `/account/portal`.
    pub can_manage_billing: bool,
    /// What can be done with the plan that runs; none without one.
    pub running: Option<Running>,
}

/// A plan that runs, and what its customer may do with it. The chooser then changes the plan instead of buying one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// How often it is paid: `month` or `year`.
    pub interval: Option<String>,
    /// Shows the chooser.
    pub can_change: bool,
    /// Another plan is planned; the present one is then offered too, to take that back.
    pub change_planned: bool,
    /// Shows the way to the cancellation, see `/account/cancel`.
    pub can_cancel: bool,
    /// Shows *Resume*, a form that posts to `/account/resume`.
    pub can_resume: bool,
}

impl Running {
    /// Whether there is anything to change to: not where it is the very thing that the customer has.
    #[must_use]
    pub fn offers(&self, plan: &PlanCard, price: &PriceTag) -> bool {
        self.change_planned || !self.is_same(plan, price)
    }

    /// Whether it is the plan that the customer has, paid as now.
    #[must_use]
    pub fn is_same(&self, plan: &PlanCard, price: &PriceTag) -> bool {
        plan.current && self.interval.as_ref() == Some(&price.interval)
    }
}

/// The main button of the overview.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MainAction {
    /// `#upgrade` leads to the chooser on the same page.
    Upgrade,
    /// `#open-license` leads to the licence.
    OpenLicense,
    /// `#fix-payment` posts to `/account/portal`.
    FixPayment,
}

/// A message above the ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How it feels.
    pub tone: Tone,
    /// What happened: `Your last payment did not go through`.
    pub title: String,
    /// What it means and what to do.
    pub text: String,
}

/// The counterfoil's other half: the licence in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseStub {
    /// The version, rising.
    pub version: u32,
    /// The plan's name in this version.
    pub plan_name: String,
    /// The day on which it stops working, in words.
    pub works_until: String,
}
