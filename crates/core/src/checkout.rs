//! Checkout: what may be bought, and what becomes of the attempts that are still open.

use crate::ids::{AttemptId, ExternalSessionId, PriceId};
use crate::plan::{Catalog, Interval, Plan, PlanCode, Price};
use crate::refusal::Refusal;
use crate::subscription::Subscription;

/// What the customer wants, checked. Two equal wishes share one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The plan.
    pub plan: PlanCode,
    /// How often it is charged.
    pub interval: Interval,
    /// The price at the provider.
    pub price: PriceId,
    /// Where the customer goes after paying.
    pub success_url: String,
    /// Where the customer goes after giving up.
    pub cancel_url: String,
}

/// An attempt that is not over as far as we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAttempt {
    /// Our id, and the idempotency key of its session.
    pub id: AttemptId,
    /// What was wished for.
    pub wish: Wish,
    /// The exact bytes of the session.
    pub frozen: String,
    /// The session; none where we stopped between storing the attempt and hearing the answer.
    pub session: Option<ExternalSessionId>,
}

/// Finds plan and price.
///
/// # Errors
/// [`Refusal::PlanUnknown`], [`Refusal::PlanNotForSale`], [`Refusal::IntervalUnavailable`], each with what there is instead.
pub fn choose_price<'a>(
    catalog: &'a Catalog,
    plan: &PlanCode,
    interval: Option<Interval>,
) -> Result<(&'a Plan, &'a Price), Refusal> {
    let known = || catalog.for_sale().map(|plan| plan.code.to_string()).collect::<Vec<_>>();
    let Some(found) = catalog.find(plan) else {
        return Err(Refusal::PlanUnknown { asked: plan.as_str().chars().take(64).collect(), known: known() });
    };
    if found.prices.is_empty() {
        return Err(Refusal::PlanNotForSale { plan: plan.to_string(), known: known() });
    }
    found.price_for(interval).map(|price| (found, price)).ok_or_else(|| Refusal::IntervalUnavailable {
        plan: plan.to_string(),
        interval: interval.map_or("", Interval::as_str).to_owned(),
        known: found.prices.iter().map(|price| price.interval.as_str().to_owned()).collect(),
    })
}

/// A customer with a live subscription changes that one; a second would be charged as well.
///
/// # Errors
/// [`Refusal::AlreadySubscribed`].
pub fn refuse_if_live(subscription: &Subscription) -> Result<(), Refusal> {
    if subscription.is_live_at_provider() { Err(Refusal::AlreadySubscribed) } else { Ok(()) }
}
