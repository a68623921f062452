//! Checkout: what may be bought, and what becomes of the attempts that are still open.

use crate::ids::{AttemptId, ExternalSessionId, PriceId};
use crate::plan::{Catalog, Interval, Plan, PlanCode, Price};
use crate::refusal::Refusal;
use crate::subscription::{State, Subscription};
use crate::time::Timestamp;
use crate::{planted, probe};

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
    /// The end of the trial that it takes along.
    pub trial_ends_at: Option<Timestamp>,
    /// The session; none where we stopped between storing the attempt and hearing the answer.
    pub session: Option<ExternalSessionId>,
}

/// What becomes of our trial where the customer pays before its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckoutTrial {
    /// Paying ends it.
    #[default]
    End,
    /// The provider counts what is left of it, and charges when it is over.
    Carry,
}

/// The shortest trial that the provider takes, from now.
const CARRIED_SECONDS_MIN: i64 = 48 * 3600;

/// The longest.
const CARRIED_DAYS_MAX: i64 = 730;

/// The provider's clock is not ours, and the call takes its time.
const CLOCK_MARGIN_SECONDS: i64 = 60;

/// How long a session may be paid after it was opened.
const SESSION_DAYS: i64 = 1;

/// The end of the trial that a checkout which is opened now takes along. Whoever has any of it left keeps all of it: what is
/// too short for the provider is rounded up, never down. A trial that is over, or that a subscription has followed, is not
/// given again.
#[must_use]
pub fn carried_trial(policy: CheckoutTrial, subscription: &Subscription, now: Timestamp) -> Option<Timestamp> {
    let ends_at = match (policy, &subscription.state) {
        (CheckoutTrial::Carry, State::Trial { ends_at }) if now < *ends_at => ends_at.floor_to_second(),
        (CheckoutTrial::Carry | CheckoutTrial::End, State::Trial { .. } | State::Provided(_)) => return None,
    };
    let shortest = now.floor_to_second().plus_seconds(CARRIED_SECONDS_MIN + CLOCK_MARGIN_SECONDS);
    let longest = now.floor_to_second().plus_days(CARRIED_DAYS_MAX).plus_seconds(-CLOCK_MARGIN_SECONDS);
    Some(ends_at.max(shortest).min(longest))
}

/// Whether a session that was opened with this trial still gives what one that is opened now would. It is the customer's trial
/// that counts, not the second in which it was asked: what was rounded up a while ago is as good.
#[must_use]
pub fn carries_as_much(
    opened_with: Option<Timestamp>,
    policy: CheckoutTrial,
    subscription: &Subscription,
    now: Timestamp,
) -> bool {
    match (opened_with, carried_trial(policy, subscription, now), &subscription.state) {
        (None, None, _) => true,
        (Some(offered), Some(carried), State::Trial { ends_at }) if carried < ends_at.floor_to_second() => {
            // Longer than the provider takes: the bound moves with the clock.
            offered >= carried.plus_days(-SESSION_DAYS)
        }
        (Some(offered), Some(_), State::Trial { ends_at }) => offered >= ends_at.floor_to_second(),
        (Some(_), Some(_), State::Provided(_)) | (None, Some(_), _) | (Some(_), None, _) => false,
    }
}

/// In which currency a price is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Currency<'a> {
    /// The caller's wish.
    pub asked: Option<&'a str>,
    /// The one in which the customer has paid before: the provider takes no other from the same customer.
    pub locked: Option<&'a str>,
}

/// Finds plan and price. Without a wish it is the plan's first price of the interval, in the customer's currency where that is
/// settled.
///
/// # Errors
/// [`Refusal::PlanUnknown`], [`Refusal::PlanNotForSale`], [`Refusal::IntervalUnavailable`], [`Refusal::CurrencyUnavailable`],
/// each with what there is instead; [`Refusal::CurrencyLocked`].
pub fn choose_price<'a>(
    catalog: &'a Catalog,
    plan: &PlanCode,
    interval: Option<Interval>,
    currency: Currency<'_>,
) -> Result<(&'a Plan, &'a Price), Refusal> {
    let known = || catalog.for_sale().map(|plan| plan.code.to_string()).collect::<Vec<_>>();
    let Some(found) = catalog.find(plan) else {
        return Err(Refusal::PlanUnknown { asked: plan.as_str().chars().take(64).collect(), known: known() });
    };
    if found.prices.is_empty() {
        return Err(Refusal::PlanNotForSale { plan: plan.to_string(), known: known() });
    }
    let offered: Vec<&Price> =
        found.prices.iter().filter(|price| interval.is_none_or(|wanted| price.interval == wanted)).collect();
    let Some(first) = offered.first() else {
        return Err(Refusal::IntervalUnavailable {
            plan: plan.to_string(),
            interval: interval.map_or("", Interval::as_str).to_owned(),
            known: distinct(found.prices.iter().map(|price| price.interval.as_str())),
        });
    };
    let locked_against = |locked: &str, wanted: &str| {
        Err(Refusal::CurrencyLocked { locked: locked.to_uppercase(), wanted: wanted.to_uppercase() })
    };
    let of = |currency: &str| offered.iter().find(|price| price.currency == currency).map(|price| (found, *price));
    match (currency.asked, currency.locked) {
        (None, None) => Ok((found, first)),
        (None, Some(locked)) => of(locked).map_or_else(|| locked_against(locked, &first.currency), Ok),
        (Some(asked), locked) => match (of(asked), locked) {
            (None, _) => Err(Refusal::CurrencyUnavailable {
                plan: plan.to_string(),
                currency: asked.chars().take(16).collect::<String>().to_uppercase(),
                known: distinct(offered.iter().map(|price| price.currency.as_str()))
                    .iter()
                    .map(|code| code.to_uppercase())
                    .collect(),
            }),
            (Some(_), Some(locked)) if locked != asked => locked_against(locked, asked),
            (Some(price), _) => Ok(price),
        },
    }
}

fn distinct<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for word in words {
        if all.iter().all(|known| known != word) {
            all.push(word.to_owned());
        }
    }
    all
}

/// A customer with a live subscription changes that one; a second would be charged as well.
///
/// # Errors
/// [`Refusal::AlreadySubscribed`].
pub fn refuse_if_live(subscription: &Subscription) -> Result<(), Refusal> {
    if subscription.is_live_at_provider() && !planted!("live-not-refused") {
        probe!("F48");
        return Err(Refusal::AlreadySubscribed);
    }
    Ok(())
}
