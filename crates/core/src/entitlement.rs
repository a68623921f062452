//! What a customer may use now: computed from the subscription and the plan, never stored.

use crate::planted;
use std::collections::BTreeMap;

use crate::facts::Money;
use crate::plan::{Catalog, Plan, PlanCode};
use crate::subscription::{Provided, Standing, State, Subscription};
use crate::time::Timestamp;

/// A right to use the product, with its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The plan.
    pub plan: PlanCode,
    /// The status word of the subscription, as the licence shows it.
    pub status: &'static str,
    /// Whether it is our own trial, or one that the provider counts.
    pub trial: bool,
    /// What the product unlocks.
    pub features: Vec<String>,
    /// Numbers that the product enforces.
    pub limits: BTreeMap<String, i64>,
    /// The end of the paid period or of the trial.
    pub paid_until: Timestamp,
    /// `paid_until` and the grace of the plan: the licence's `exp`.
    pub grace_until: Timestamp,
}

/// Why there is no right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The trial is over.
    TrialOver,
    /// The paid period and its grace are over, or nothing was ever paid.
    NotPaid,
    /// The subscription was ended.
    Canceled,
    /// The subscription is paused.
    Paused,
    /// The payment was given back.
    Refunded,
    /// A dispute of the payment was lost.
    DisputeLost,
    /// The payment is disputed, and nothing is given until that is decided.
    Disputed,
    /// The plan is not in the catalogue any more.
    PlanGone,
    /// A trial runs, and the address that it was given for is not verified yet.
    EmailNotVerified,
    /// An operator has revoked it, whatever was paid.
    Revoked,
}

impl Ended {
    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::TrialOver => "trial_expired",
            Self::NotPaid => "not_paid",
            Self::Canceled => "canceled",
            Self::Paused => "paused",
            Self::Refunded => "refunded",
            Self::DisputeLost => "dispute_lost",
            Self::Disputed => "disputed",
            Self::PlanGone => "plan_unknown",
            Self::EmailNotVerified => "email_not_verified",
            Self::Revoked => "revoked",
        }
    }
}

/// What stands over the subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// Nothing: the subscription decides.
    #[default]
    Free,
    /// A trial of ours gives nothing until the address is verified. What is paid for is given all the same.
    Unverified,
    /// An operator has decided: nothing is given until one issues a licence again, whatever was paid.
    Revoked,
}

/// The customer's right at this moment, under what stands over the subscription: the question before a licence is issued and
/// whenever one is judged. No subscription gives anything that an operator has revoked, whatever becomes of it.
///
/// # Errors
/// [`Ended`] says why there is none.
pub fn right(subscription: &Subscription, hold: Hold, catalog: &Catalog, now: Timestamp) -> Result<Grant, Ended> {
    match hold {
        Hold::Revoked => Err(Ended::Revoked),
        Hold::Unverified if matches!(subscription.state, State::Trial { .. }) => {
            entitlement(subscription, catalog, now).and(Err(Ended::EmailNotVerified))
        }
        Hold::Unverified | Hold::Free => entitlement(subscription, catalog, now),
    }
}

/// What the subscription alone gives at this moment. Whoever issues or judges a licence asks [`right`].
///
/// # Errors
/// [`Ended`] says why there is none.
pub fn entitlement(subscription: &Subscription, catalog: &Catalog, now: Timestamp) -> Result<Grant, Ended> {
    let plan = catalog.find(&subscription.plan).ok_or(Ended::PlanGone)?;
    let status = subscription.status_word(now);
    match &subscription.state {
        State::Trial { ends_at } => grant(plan, "trialing", true, *ends_at, now).ok_or(Ended::TrialOver),
        State::Provided(provided) => match provided.standing {
            Standing::Trialing { .. } => paid_time(provided, plan, status, true, now),
            Standing::Active { .. } | Standing::PastDue { .. } => paid_time(provided, plan, status, false, now),
            Standing::Incomplete | Standing::IncompleteExpired | Standing::Unpaid => Err(Ended::NotPaid),
            Standing::Paused => Err(Ended::Paused),
            Standing::Canceled { .. } if planted!("canceled-goes-on") => paid_time(provided, plan, status, false, now),
            Standing::Canceled { .. } => Err(Ended::Canceled),
        },
    }
}

/// What money still gives. Grace bridges the time until a payment, so there is none once one was taken back.
fn paid_time(
    provided: &Provided,
    plan: &Plan,
    status: &'static str,
    trial: bool,
    now: Timestamp,
) -> Result<Grant, Ended> {
    let given = |paid_until| grant(plan, status, trial, paid_until, now);
    let unspent = |paid_until: &Timestamp| now < *paid_until;
    match provided.money {
        Money::Kept | Money::PartlyRefunded | Money::Disputed => {
            let named = planted!("provider-id-in-license").then(|| provided.id.to_string());
            let features =
                |grant: Grant| Grant { features: grant.features.into_iter().chain(named).collect(), ..grant };
            provided.paid_until.and_then(given).map(features).ok_or(Ended::NotPaid)
        }
        Money::Held => Err(Ended::Disputed),
        Money::Refunded => provided.paid_until.filter(unspent).and_then(given).ok_or(Ended::Refunded),
        Money::DisputeLost => provided.paid_until.filter(unspent).and_then(given).ok_or(Ended::DisputeLost),
    }
}

fn grant(plan: &Plan, status: &'static str, trial: bool, paid_until: Timestamp, now: Timestamp) -> Option<Grant> {
    let grace_until = expiry(plan, paid_until);
    (now < grace_until).then(|| Grant {
        plan: plan.code.clone(),
        status,
        trial,
        features: plan.features.clone(),
        limits: plan.limits.clone(),
        paid_until,
        grace_until,
    })
}

/// The one place that says when a licence ends: the end of what was paid (or of the trial) and the plan's grace (invariant 4).
#[must_use]
pub fn expiry(plan: &Plan, paid_until: Timestamp) -> Timestamp {
    let unpaid_days = if planted!("exp-without-bound") { 30 } else { 0 };
    paid_until.floor_to_second().plus_days(i64::from(plan.grace_days) + unpaid_days)
}
