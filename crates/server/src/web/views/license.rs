//! `/account/license` and the end of a paid checkout: the licence itself, to copy, to keep and to verify.

use askama::Template;

use super::{Frame, Limit, Tone, words};

/// One licence, as both pages show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseCard {
    /// The signed text form.
    pub token: String,
    /// Our id of this version.
    pub license_id: String,
    /// The version, rising.
    pub version: u32,
    /// The plan's code, as in the licence.
    pub plan: String,
    /// The plan's name.
    pub plan_name: String,
    /// One or two words for the stamp: `Trial`, `Valid`, `In grace`, `Expired`.
    pub state_word: String,
    /// How that feels.
    pub tone: Tone,
    /// Whom it was issued to: the company, or the address.
    pub holder: String,
    /// Our id of the customer.
    pub customer_id: String,
    /// Features by the exact names that the product asks for.
    pub features: Vec<String>,
    /// Limits by the exact names that the product asks for.
    pub limits: Vec<Limit>,
    /// A day in words.
    pub issued_on: String,
    /// The day until which it is paid, or until which the trial runs, in words.
    pub paid_until: String,
    /// True where `paid_until` is the end of a trial.
    pub is_trial: bool,
    /// The day on which it stops working, in words: paid period and grace.
    pub works_until: String,
    /// The day from which the product fetches a newer one, in words.
    pub refresh_after: String,
}

/// The licence page.
#[derive(Clone, Debug, Template)]
#[template(path = "license.html")]
pub struct LicenseView {
    /// What is around the page.
    pub frame: Frame,
    /// The newest version.
    pub license: LicenseCard,
    /// Its machines, where they are counted or there are some.
    pub machines: Option<MachinesCard>,
    /// All versions, newest first, the current one included.
    pub history: Vec<LicenseVersion>,
    /// Where the public keys are: `https://…/.well-known/jwks.json`.
    pub jwks_url: String,
    /// The claim `iss`.
    pub issuer: String,
    /// The claim `aud`.
    pub audience: String,
    /// Whether the bundle has the public keys in it: a root signs them here.
    pub bundle_has_keys: bool,
}

impl LicenseView {
    /// Versions that stay in sight; older ones are folded away.
    const HISTORY_SHOWN: usize = 5;

    fn recent(&self) -> &[LicenseVersion] {
        &self.history[..self.history.len().min(Self::HISTORY_SHOWN)]
    }

    fn older_in_words(&self) -> String {
        words::count(self.older().len() as u64, "older version")
    }

    fn older(&self) -> &[LicenseVersion] {
        &self.history[self.history.len().min(Self::HISTORY_SHOWN)..]
    }
}

/// The machines on which the licence is activated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachinesCard {
    /// How many, and how many there may be.
    pub sentence: String,
    /// The newest first.
    pub machines: Vec<MachineRow>,
    /// What is left out, where there are too many to show.
    pub more: Option<String>,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineRow {
    /// Sent back by the form that releases it.
    pub activation_id: String,
    /// What it is called.
    pub name: String,
    /// The day on which it was first seen, in words.
    pub since: String,
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseVersion {
    /// The version, rising.
    pub version: u32,
    /// The plan's name in this version.
    pub plan_name: String,
    /// Why it was issued, in words: `Trial started`, `Upgraded to Professional`, `Renewed`.
    pub reason: String,
    /// A day in words.
    pub issued_on: String,
    /// A day in words.
    pub works_until: String,
    /// The one in force.
    pub current: bool,
}

/// The end of a checkout that was paid: shown only once the licence of the new plan exists.
#[derive(Clone, Debug, Template)]
#[template(path = "checkout_done.html")]
pub struct CheckoutDoneView {
    /// What is around the page.
    pub frame: Frame,
    /// The licence that the payment brought.
    pub license: LicenseCard,
    /// Where the mail goes.
    pub email: String,
}
