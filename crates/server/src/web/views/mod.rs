//! What a page needs to know, and nothing else.
//!
//! Each page is one struct of plain display data that derives [`askama::Template`]: words, numbers and flags, ready to be
//! shown. Nothing in here reads a clock, a request or the database, so that every page can be rendered and looked at with
//! made-up data. Texts are escaped by askama; invariant 1 holds because no struct has a field for a provider's id.

mod account;
mod auth;
mod checkout;
mod confirm;
mod delete;
mod home;
mod license;
mod mailbox;
mod password;
mod problem;
mod question;
mod said;
mod settings;
mod verify;
pub mod words;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use account::{AccountView, LicenseStub, MainAction, Notice, Running};
pub use auth::{FormProblem, LoginView, SignupView};
pub use checkout::{CheckoutFailedView, CheckoutWaitingView, NotPaid};
pub use confirm::ConfirmView;
pub use delete::DeleteAccountView;
pub use home::HomeView;
pub use license::{CheckoutDoneView, LicenseCard, LicenseVersion, LicenseView, MachineRow, MachinesCard};
pub use mailbox::{BodyPart, MailRow, MailView, MailboxView};
pub use password::{ForgotView, ResetView};
pub use problem::ProblemView;
pub use question::QuestionView;
pub use said::SaidView;
pub use settings::{FormState, SessionRow, SettingsView};
pub use verify::{PhaseView, VerdictView, VerifyView, VouchedFor};

/// What every page has around its content: header, sandbox bar, footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The vendor's product as customers call it.
    pub product: String,
    /// Decides between *log in, start trial* and *overview, licence, log out*.
    pub signed_in: bool,
    /// Shows the bar that says that no real money moves, with the link to the mailbox.
    pub sandbox: bool,
    /// Where customers can write to; no address, no line in the footer.
    pub support_email: Option<String>,
    /// Where `style.css`, `enhance.js` and `favicon.svg` are served, without a slash at its end.
    pub asset_base: String,
}

impl Frame {
    /// The frame of a page that a visitor sees; assets come from `/assets`.
    #[must_use]
    pub fn new(product: impl Into<String>) -> Self {
        Self {
            product: product.into(),
            signed_in: false,
            sandbox: false,
            support_email: None,
            asset_base: "/assets".to_owned(),
        }
    }
}

/// How a state feels. It picks a color and an icon; the words always say the same thing too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// Worth knowing: a trial that runs, a cancellation that is planned.
    Calm,
    /// Something should be done soon.
    Warn,
    /// Something has stopped, or will within days.
    Alarm,
}

impl Tone {
    /// The style sheet's class.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Good => "tone-good",
            Self::Calm => "tone-calm",
            Self::Warn => "tone-warn",
            Self::Alarm => "tone-alarm",
        }
    }
}

/// A plan as a card: on the home page an offer, on the overview a form that buys it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanCard {
    /// The catalogue's code, part of ids and the form's hidden field: `professional`.
    pub code: String,
    /// The name that people read.
    pub name: String,
    /// One sentence; empty shows nothing.
    pub description: String,
    /// Features in words, see [`words::humanize`].
    pub features: Vec<String>,
    /// Limits in words: name and value.
    pub limits: Vec<Limit>,
    /// The ways to pay, the one to lead with first. Empty: the trial (with `trial_days`) or a plan that is sold by contact.
    pub prices: Vec<PriceTag>,
    /// Days of trial where this is the trial plan.
    pub trial_days: Option<u32>,
    /// The vendor's recommendation; at most one card should have it.
    pub recommended: bool,
    /// The customer has this plan now; its card says so and has no button.
    pub current: bool,
}

/// One price of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceTag {
    /// `month` or `year`, sent back by the form.
    pub interval: String,
    /// With its currency, see [`words::money`]: `€49.00`.
    pub amount: String,
    /// What this interval saves against the other one, as a short remark: `saves €98.00`. Optional.
    pub remark: Option<String>,
}

impl PriceTag {
    /// `monthly`, `yearly`; an interval without such a word is named as it is.
    #[must_use]
    pub fn adverb(&self) -> String {
        match self.interval.as_str() {
            "month" => "monthly".to_owned(),
            "year" => "yearly".to_owned(),
            other => format!("per {other}"),
        }
    }
}

/// A number that the plan limits: `Seats`, `5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// In words.
    pub name: String,
    /// In words.
    pub value: String,
}

/// A link that looks like a button.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it does, as a verb: `See plans`.
    pub label: String,
    /// A path of our own.
    pub href: String,
}
