//! Changing the plan of a running subscription: what may be changed, and when it takes effect.
//!
//! More is given at once and charged at once; less takes effect when the paid period ends, so that nobody loses what was paid
//! for, and nobody is ever charged for a higher plan after choosing a lower one. What is charged at once is a difference, and a
//! difference only makes a period better that is paid: nobody gets a period for it alone (invariant 4).

use crate::checkout::{Currency, choose_price};
use crate::facts::Facts;
use crate::ids::{ExternalSubscriptionId, PriceId};
use crate::manual;
use crate::plan::{Catalog, Interval, Plan, PlanCode, Price};
use crate::refusal::Refusal;
use crate::subscription::{Standing, State, Subscription};
use crate::time::Timestamp;

const MONTHS_A_YEAR: i64 = 12;

/// A plan that the subscription goes over to when its period ends, as the provider has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedChange {
    /// The plan.
    pub plan: PlanCode,
    /// How often it is charged then.
    pub interval: Interval,
    /// When it begins.
    pub starts_at: Timestamp,
}

/// A subscription as a wish to change it finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present<'a> {
    /// Its standing in our book.
    pub standing: Standing,
    /// The price that it has at the provider.
    pub price: &'a PriceId,
    /// The price that it goes over to by itself.
    pub planned: Option<&'a PriceId>,
    /// Whether the running period is paid ([`is_period_paid`]), or a trial that the provider counts at this moment.
    pub is_period_paid: bool,
}

/// The plan and the price that are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The plan.
    pub plan: PlanCode,
    /// The price in the catalogue.
    pub price: Price,
}

/// What a wish to change comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// At once; the difference is charged now.
    Now(Target),
    /// When the period ends; nothing is charged now.
    AtPeriodEnd(Target),
    /// The customer stays with what there is: a change that was planned is taken back.
    Stay(Target),
    /// This very change is planned already.
    Planned(Target),
}

impl Decision {
    /// The plan and the price that it is about.
    #[must_use]
    pub const fn target(&self) -> &Target {
        match self {
            Self::Now(target) | Self::AtPeriodEnd(target) | Self::Stay(target) | Self::Planned(target) => target,
        }
    }
}

/// The provider's subscription that a customer may change.
///
/// # Errors
/// [`Refusal::NoSubscription`].
pub fn changeable(subscription: &Subscription) -> Result<(&ExternalSubscriptionId, Standing), Refusal> {
    match &subscription.state {
        State::Provided(provided) if provided.standing.is_live() => Ok((&provided.id, provided.standing)),
        State::Provided(_) | State::Trial { .. } => Err(Refusal::NoSubscription),
    }
}

/// Whether a subscription of this standing may change its plan at all.
///
/// # Errors
/// [`Refusal::ChangeNotPossible`] says what to do first.
pub fn refuse_standing(standing: Standing) -> Result<(), Refusal> {
    let refuse = |reason| Err(Refusal::ChangeNotPossible { reason });
    match standing {
        Standing::Trialing { cancel_at: None } | Standing::Active { cancel_at: None } => Ok(()),
        Standing::Trialing { cancel_at: Some(_) } | Standing::Active { cancel_at: Some(_) } => {
            refuse("it ends at the end of the period. Resume it first")
        }
        Standing::PastDue { .. } | Standing::Unpaid => refuse("its newest invoice is not paid. Pay that first"),
        Standing::Paused => refuse("it is paused. Resume it first"),
        Standing::Incomplete | Standing::IncompleteExpired | Standing::Canceled { .. } => Err(Refusal::NoSubscription),
    }
}

/// Whether the period that runs until then is paid. For about an hour after a renewal, or after a trial that the provider counted,
/// its invoice is a draft: the period has moved and the money has not come. A payment that went back leaves none either.
#[must_use]
pub fn is_period_paid(subscription: &Subscription, period_ends_at: Timestamp) -> bool {
    match &subscription.state {
        State::Trial { .. } => false,
        State::Provided(provided) => provided.paid_until.is_some_and(|until| until >= period_ends_at),
    }
}

/// Decides on a wish. Without an interval the present one is kept where the plan has it.
///
/// # Errors
/// [`Refusal::SamePlan`], [`Refusal::ChangeNotPossible`], and those of [`choose_price`].
pub fn decide(
    catalog: &Catalog,
    present: Present<'_>,
    plan: &PlanCode,
    interval: Option<Interval>,
) -> Result<Decision, Refusal> {
    let Present { standing, price: current, planned, is_period_paid } = present;
    refuse_standing(standing)?;
    if manual::read_price(current).is_some() {
        return Err(Refusal::ChangeNotPossible { reason: "it is paid by invoice. Ask the vendor to change it" });
    }
    let Some((old_plan, old)) = catalog.find_price(current) else {
        return Err(Refusal::ChangeNotPossible { reason: "its price is not one of the plans. Ask for help" });
    };
    let (new_plan, new) = wanted(catalog, old, plan, interval)?;
    let target = Target { plan: new_plan.code.clone(), price: new.clone() };
    if new.price_id() == *current {
        return if planned.is_some() { Ok(Decision::Stay(target)) } else { Err(Refusal::SamePlan) };
    }
    if planned == Some(&new.price_id()) {
        return Ok(Decision::Planned(target));
    }
    let trialing = matches!(standing, Standing::Trialing { .. });
    // In a trial nothing was paid for that could be lost.
    if !(trialing || gives_more((old_plan, old), (new_plan, new))) {
        return Ok(Decision::AtPeriodEnd(target));
    }
    // The provider would give credit for a period that nobody has paid, and take the rest for a paid invoice.
    if !is_period_paid {
        return Err(Refusal::ChangeNotPossible {
            reason: "the running period is not paid yet. Change it once that payment has come",
        });
    }
    Ok(Decision::Now(target))
}

/// The price that is meant: of the interval that was asked for, else of the present one, else the plan's first; always in the
/// present currency, because the provider takes no other from this customer.
fn wanted<'a>(
    catalog: &'a Catalog,
    old: &Price,
    plan: &PlanCode,
    interval: Option<Interval>,
) -> Result<(&'a Plan, &'a Price), Refusal> {
    let currency = Currency { asked: None, locked: Some(&old.currency) };
    match choose_price(catalog, plan, interval.or(Some(old.interval)), currency) {
        Err(Refusal::IntervalUnavailable { .. } | Refusal::CurrencyLocked { .. }) if interval.is_none() => {
            choose_price(catalog, plan, None, currency)
        }
        chosen => chosen,
    }
}

/// Whether the new price gives at least as much. Plans are compared at the same interval where the catalogue has it, because
/// the discount of a year says nothing about the plan; of one plan, the year is more than the month.
fn gives_more((old_plan, old): (&Plan, &Price), (new_plan, new): (&Plan, &Price)) -> bool {
    if old_plan.code == new_plan.code && old.interval != new.interval {
        return new.interval == Interval::Year;
    }
    let alike = |price: &&Price| price.interval == old.interval && price.currency == old.currency;
    let comparable = if new.interval == old.interval { Some(new) } else { new_plan.prices.iter().find(alike) };
    a_year(comparable.unwrap_or(new)) >= a_year(old)
}

const fn a_year(price: &Price) -> i64 {
    match price.interval {
        Interval::Month => price.amount.saturating_mul(MONTHS_A_YEAR),
        Interval::Year => price.amount,
    }
}

/// The change that is planned for this subscription, where it is one of ours and to a plan of the catalogue.
#[must_use]
pub fn planned(subscription: &Subscription, facts: &Facts, catalog: &Catalog) -> Option<PlannedChange> {
    let (id, _) = changeable(subscription).ok()?;
    let found = facts.planned_prices.iter().find(|planned| planned.subscription == *id)?;
    let (plan, interval) = catalog.resolve(&found.price)?;
    Some(PlannedChange { plan: plan.code.clone(), interval, starts_at: found.starts_at })
}
