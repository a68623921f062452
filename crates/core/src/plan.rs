//! The plan catalogue: what the vendor sells. It comes from the configuration and is checked once, at the door.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::PriceId;
use crate::manual;

/// The short name of a plan, as in the catalogue, the API and the licence: `professional`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanCode(String);

impl PlanCode {
    /// Takes the text as it is; whether such a plan exists is the catalogue's to say.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PlanCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How often a price is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Interval {
    /// Charged each month.
    Month,
    /// Charged each year.
    Year,
}

impl Interval {
    /// `month` or `year`, the words of Stripe's `recurring.interval`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// How many calendar months it is long.
    #[must_use]
    pub const fn months(self) -> i64 {
        match self {
            Self::Month => 1,
            Self::Year => 12,
        }
    }

    /// Reads the word back; also the adverbs that people type.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "month" | "monthly" => Some(Self::Month),
            "year" | "yearly" => Some(Self::Year),
            _ => None,
        }
    }
}

/// The word as a text and as nothing else: what serde derives would take the object `{"month": null}` as well.
impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = [Self::Month, Self::Year].into_iter().find(|interval| interval.as_str() == text);
        known.ok_or_else(|| D::Error::unknown_variant(&text, &["month", "year"]))
    }
}

/// One way to pay for a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// How often it is charged.
    pub interval: Interval,
    /// ISO 4217 code in lower case, as Stripe writes it: `eur`.
    pub currency: String,
    /// The amount in the smallest unit of the currency (cents), for display and for the sandbox; the provider's price decides
    /// what is charged.
    pub amount: i64,
    /// The id of the price at Stripe.
    pub stripe_price: String,
}

impl Price {
    /// The price's id as the provider knows it.
    #[must_use]
    pub fn price_id(&self) -> PriceId {
        PriceId::new(self.stripe_price.clone())
    }
}

/// A plan as the vendor wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The stable short name.
    pub code: PlanCode,
    /// What people read.
    pub name: String,
    /// A sentence for the price table.
    #[serde(default)]
    pub description: String,
    /// What the product unlocks, copied into the licence in this order.
    #[serde(default)]
    pub features: Vec<String>,
    /// Numbers that the product enforces, copied into the licence.
    #[serde(default)]
    pub limits: BTreeMap<String, i64>,
    /// Days of trial that signing up starts; only the trial plan has any.
    #[serde(default)]
    pub trial_days: u32,
    /// Days for which a licence outlives its paid period, so that a late payment stops nobody.
    #[serde(default)]
    pub grace_days: u32,
    /// Ways to pay; a plan without any cannot be bought.
    #[serde(default)]
    pub prices: Vec<Price>,
}

impl Plan {
    /// The prices to show to whoever pays in this currency. Without one it is that of the plan's first price.
    pub fn prices_in(&self, currency: Option<&str>) -> impl Iterator<Item = &Price> {
        let shown =
            currency.or(self.prices.first().map(|price| price.currency.as_str())).unwrap_or_default().to_owned();
        self.prices.iter().filter(move |price| price.currency == shown)
    }
}

/// Limits of a catalogue: far above any real one, so that nothing downstream has to ask.
const PLANS_MAX: usize = 100;
const PRICES_PER_PLAN_MAX: usize = 50;
const FEATURES_PER_PLAN_MAX: usize = 200;
const DAYS_MAX: u32 = 3650;

/// What is wrong with a catalogue, in words for the person who edits the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plan catalogue: {0}")]
pub struct InvalidCatalog(pub String);

/// All plans, checked: codes and price ids are unique, and exactly one plan is the trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    plans: Vec<Plan>,
    trial: usize,
}

impl Catalog {
    /// Checks and takes the plans in their order of display. The trial is the one plan with `trial_days` above zero.
    ///
    /// # Errors
    /// [`InvalidCatalog`] says which plan breaks which rule.
    pub fn new(plans: Vec<Plan>) -> Result<Self, InvalidCatalog> {
        let refuse = |text: String| Err(InvalidCatalog(text));
        if plans.len() > PLANS_MAX {
            return refuse(format!("at most {PLANS_MAX} plans"));
        }
        let mut codes = BTreeSet::new();
        let mut prices = BTreeSet::new();
        for plan in &plans {
            check_plan(plan)?;
            if !codes.insert(plan.code.as_str()) {
                return refuse(format!("the plan `{}` is there twice", plan.code));
            }
            for price in &plan.prices {
                if !prices.insert(price.stripe_price.as_str()) {
                    return refuse(format!("the price `{}` is used twice", price.stripe_price));
                }
            }
        }
        let trials: Vec<usize> = (0..plans.len()).filter(|&index| plans[index].trial_days > 0).collect();
        match trials[..] {
            [trial] => Ok(Self { plans, trial }),
            [] => refuse("one plan needs `trial_days` above zero: it is what signing up starts".into()),
            _ => refuse("only one plan may have `trial_days`: it is what signing up starts".into()),
        }
    }

    /// All plans in their order of display.
    #[must_use]
    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// The plan that signing up starts.
    #[must_use]
    pub fn trial(&self) -> &Plan {
        &self.plans[self.trial]
    }

    /// The plan with this code.
    #[must_use]
    pub fn find(&self, code: &PlanCode) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.code == *code)
    }

    /// The plan and the price behind the id of a price at Stripe.
    #[must_use]
    pub fn find_price(&self, id: &PriceId) -> Option<(&Plan, &Price)> {
        self.plans.iter().find_map(|plan| {
            plan.prices.iter().find(|price| price.stripe_price == id.as_str()).map(|price| (plan, price))
        })
    }

    /// The plan and the interval behind any provider's price: one of the catalogue's, or a manual one, which names both itself.
    #[must_use]
    pub fn resolve(&self, id: &PriceId) -> Option<(&Plan, Interval)> {
        if let Some((plan, interval)) = manual::read_price(id) {
            return self.find(&plan).map(|plan| (plan, interval));
        }
        self.find_price(id).map(|(plan, price)| (plan, price.interval))
    }

    /// Plans that can be bought.
    pub fn for_sale(&self) -> impl Iterator<Item = &Plan> {
        self.plans.iter().filter(|plan| !plan.prices.is_empty())
    }
}

fn check_plan(plan: &Plan) -> Result<(), InvalidCatalog> {
    let code = plan.code.as_str();
    let refuse = |text: String| Err(InvalidCatalog(text));
    let word = |text: &str| {
        !text.is_empty()
            && text.len() <= 64
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    if !word(code) {
        return refuse(format!("`{code}` is no plan code: use 1 to 64 of a-z, 0-9, `-` and `_`"));
    }
    if plan.name.trim().is_empty() {
        return refuse(format!("the plan `{code}` needs a name"));
    }
    if plan.features.len() > FEATURES_PER_PLAN_MAX || plan.limits.len() > FEATURES_PER_PLAN_MAX {
        return refuse(format!("the plan `{code}` has more than {FEATURES_PER_PLAN_MAX} features or limits"));
    }
    if plan.prices.len() > PRICES_PER_PLAN_MAX {
        return refuse(format!("the plan `{code}` has more than {PRICES_PER_PLAN_MAX} prices"));
    }
    if plan.trial_days > DAYS_MAX || plan.grace_days > DAYS_MAX {
        return refuse(format!("the plan `{code}` has a trial or grace of more than {DAYS_MAX} days"));
    }
    let mut ways = BTreeSet::new();
    for price in &plan.prices {
        if !ways.insert((price.interval, price.currency.as_str())) {
            let (interval, currency) = (price.interval.as_str(), &price.currency);
            return refuse(format!("the plan `{code}` has two prices per {interval} in `{currency}`"));
        }
        if price.currency.len() != 3 || !price.currency.bytes().all(|b| b.is_ascii_lowercase()) {
            return refuse(format!("`{}` in the plan `{code}` is no currency: write `eur`", price.currency));
        }
        if price.amount < 0 {
            return refuse(format!("the plan `{code}` has a negative amount"));
        }
        if price.stripe_price.is_empty() || price.stripe_price.len() > 255 {
            return refuse(format!("a price of the plan `{code}` needs the `stripe_price` id"));
        }
        if price.stripe_price.starts_with(manual::PRICE_PREFIX) {
            return refuse(format!("`{}` in the plan `{code}` is no id of a price at Stripe", price.stripe_price));
        }
    }
    Ok(())
}
