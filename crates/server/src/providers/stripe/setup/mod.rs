//! Setting an account at Stripe up for this installation: products and prices from the catalogue, the webhook endpoint, the
//! billing portal.
//!
//! Look, decide, do: [`look`] only reads, [`plan`] is pure, [`carry_out`] writes. What is there already is found again by
//! metadata, lookup key or address, and every call that writes has a key made from what it says. So it can break off anywhere:
//! the next run finds what the last one did and does the rest. Nothing that is sold already is ever archived or deleted.

mod carry_out;
mod look;
mod plan;
mod portal;

use std::collections::BTreeMap;

use counterfoil_core::plan::{Interval, Plan, PlanCode};
use counterfoil_core::{InstanceId, Price};
use secrecy::SecretString;
use serde_json::Value;

use super::Stripe;
use crate::providers::ProviderError;

pub(super) use look::{endpoints_at, price};
pub(super) use plan::{has_our_version, price_differences};

/// What is written into everything that is ours, as `metadata[app]`.
pub const APP: &str = "counterfoil";

/// Where we take Stripe's events.
pub const WEBHOOK_PATH: &str = "/api/webhooks/stripe";

/// What is to be there.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    pub instance: &'a InstanceId,
    pub plans: &'a [Plan],
    /// Where events are to be sent; `None` where that is taken care of already, as in the built-in sandbox.
    pub webhook_url: Option<String>,
    /// Make a new endpoint although there is one.
    pub replace_webhook: bool,
}

/// What a step is about. The order is the order of doing: a price needs its product, the portal lists prices, and the endpoint
/// comes last because its secret is told only once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Product { plan: PlanCode },
    Price { plan: PlanCode, interval: Interval, currency: String },
    Portal,
    Endpoint,
}

impl Subject {
    fn of_price(plan: &Plan, price: &Price) -> Self {
        Self::Price { plan: plan.code.clone(), interval: price.interval, currency: price.currency.clone() }
    }

    /// The list it is in.
    const fn path(&self) -> &'static str {
        match self {
            Self::Product { .. } => "/v1/products",
            Self::Price { .. } => "/v1/prices",
            Self::Portal => "/v1/billing_portal/configurations",
            Self::Endpoint => "/v1/webhook_endpoints",
        }
    }

    /// The permission of a restricted key, as the dashboard calls it.
    const fn permission(&self) -> &'static str {
        match self {
            Self::Product { .. } => "Products",
            Self::Price { .. } => "Prices",
            Self::Portal => "Customer portal",
            Self::Endpoint => "Webhook Endpoints",
        }
    }

    /// What it is, in a word for programs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Product { .. } => "product",
            Self::Price { .. } => "price",
            Self::Portal => "portal_configuration",
            Self::Endpoint => "webhook_endpoint",
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Product { plan } => write!(f, "product {plan}"),
            Self::Price { plan, interval, currency } => write!(f, "price {plan} {} {currency}", interval.as_str()),
            Self::Portal => f.write_str("billing portal"),
            Self::Endpoint => f.write_str("webhook endpoint"),
        }
    }
}

/// A value in a call: known, or the id of something that an earlier step makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Text(String),
    IdOf(Subject),
}

/// The fields of a call.
pub type Draft = Vec<(String, Part)>;

/// What is to be done about a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Create(Draft),
    Update(Draft),
    /// It is as it should be, or not ours to change.
    Keep,
    /// Nothing that we can do: somebody has to.
    Report,
}

/// One step of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub subject: Subject,
    /// What is there.
    pub id: Option<String>,
    pub verdict: Verdict,
    /// Why, in words; empty where there is nothing to say.
    pub why: String,
}

impl Step {
    /// Whether it writes.
    #[must_use]
    pub const fn writes(&self) -> bool {
        matches!(self.verdict, Verdict::Create(_) | Verdict::Update(_))
    }

    /// `create`, `update`, `keep` or `report`.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self.verdict {
            Verdict::Create(_) => "create",
            Verdict::Update(_) => "update",
            Verdict::Keep => "keep",
            Verdict::Report => "report",
        }
    }
}

/// What there is at Stripe, as far as it can be ours.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Products with our metadata, oldest first.
    products: Vec<Value>,
    /// Prices by the id that the catalogue has.
    prices: BTreeMap<String, Value>,
    /// Prices by lookup key.
    by_lookup_key: BTreeMap<String, Value>,
    /// Endpoints at our address, oldest first.
    endpoints: Vec<Value>,
    /// Our address is one of this machine, and Stripe is elsewhere.
    unreachable: bool,
    /// Portal configurations with our metadata, oldest first.
    portals: Vec<Value>,
}

/// What carrying the plan out came to.
#[derive(Debug, Default)]
pub struct Done {
    /// The id of everything that is there now.
    pub ids: BTreeMap<Subject, String>,
    /// The secret of an endpoint that was made: Stripe does not tell it again.
    pub webhook_secret: Option<SecretString>,
}

/// Why the account was not looked at to the end, or not set up to the end.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The key is refused, or may not do this.
    #[error(
        "Stripe refuses the key here ({what}). A restricted key needs the permission \"{permission}: {level}\", which you give \
         it in Stripe's dashboard under Developers, API keys"
    )]
    Permission { what: String, permission: &'static str, level: &'static str, source: ProviderError },
    /// Any other failure of a call.
    #[error("{what}")]
    Failed { what: String, source: ProviderError },
    /// What Stripe answers to our key is something that was made and is gone, each time.
    #[error(
        "{what}: Stripe answers with what was made earlier and is gone. Try again tomorrow, when it has forgotten that"
    )]
    OnlyMemories { what: String },
}

impl SetupError {
    fn of(what: String, permission: &'static str, level: &'static str, source: ProviderError) -> Self {
        match source {
            ProviderError::Unauthorized { .. } => Self::Permission { what, permission, level, source },
            source => Self::Failed { what, source },
        }
    }
}

/// The key under which a price is found again whatever its id is.
#[must_use]
pub fn lookup_key(plan: &PlanCode, price: &Price) -> String {
    format!("{APP}:{plan}:{}:{}", price.interval.as_str(), price.currency)
}

impl Stripe {
    /// Reads what is there and says what is to be done. Nothing is changed.
    ///
    /// # Errors
    /// [`SetupError`].
    pub async fn plan_setup(&self, wanted: &Wanted<'_>) -> Result<Vec<Step>, SetupError> {
        let found = look::look(&self.client, wanted).await?;
        Ok(plan::plan(wanted, &found))
    }

    /// Does it.
    ///
    /// # Errors
    /// [`SetupError`]; what was done until then stays, and the next run goes on from there.
    pub async fn carry_out_setup(&self, wanted: &Wanted<'_>, steps: &[Step]) -> Result<Done, SetupError> {
        carry_out::carry_out(&self.client, wanted, steps).await
    }
}

#[cfg(test)]
mod tests;
