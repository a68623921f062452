//! One function decides: what the provider knows now, and what we knew before, give what the customer has.
//!
//! It looks at **all** subscriptions of the customer, so the end of an old one never harms a new one. A subscription governs
//! only once it was paid for: until then our trial, or what was there before, goes on. Where any live subscription gives
//! a right to the product, the one that governs gives one (invariant 3). A date that is known is never replaced by none,
//! unless the provider says that its money went back; a terminal state of one subscription never changes, and what is not
//! understood is kept and flagged.

use crate::probe;
use std::cmp::Reverse;

use crate::entitlement::entitlement;
use crate::facts::{Facts, Money, ProviderStatus, SubscriptionFacts};
use crate::ids::ExternalSubscriptionId;
use crate::manual;
use crate::plan::Catalog;
use crate::subscription::{Attention, Provided, Standing, State, Subscription};
use crate::time::Timestamp;

/// The customer's subscription after a look at the provider.
#[must_use]
pub fn reduce(current: &Subscription, facts: &Facts, catalog: &Catalog, now: Timestamp) -> Subscription {
    probe!("F32", facts.customer_deleted);
    let Some(governing) = governing(current, facts, catalog, now) else {
        return without_governing(current, facts, now);
    };
    if is_over(current, governing) {
        return current.clone();
    }
    let standing = match standing(governing, now) {
        Some(standing) if standing.is_terminal() || !facts.customer_deleted => standing,
        // Deleting a customer ends its subscriptions at once, even where a list that lags still shows them alive.
        _ if facts.customer_deleted => Standing::Canceled { ended_at: governing.ended_at.unwrap_or(now) },
        // An unknown word: what we had stays, and an operator is told. Nobody loses or gains anything by a word.
        _ => {
            probe!("F30");
            return Subscription { attention: Some(Attention::StatusUnknown), ..current.clone() };
        }
    };
    let next = observed(current, governing, standing, catalog);
    let several = standing.is_live() && facts.subscriptions.iter().any(|other| is_charged_beside(other, &governing.id));
    let attention = if several {
        Some(Attention::SeveralLive)
    } else if !is_mapped(governing, catalog) {
        Some(Attention::PriceUnmapped)
    } else if standing.is_live() {
        about_money(&next)
    } else {
        None
    };
    Subscription { attention, ..next }
}

/// The customer's subscription after a look at every provider that knows the customer.
///
/// That a customer was deleted at one of them ends what there was there, and nothing elsewhere.
#[must_use]
pub fn reduce_all(current: &Subscription, looks: &[Facts], catalog: &Catalog, now: Timestamp) -> Subscription {
    let ended = looks
        .iter()
        .filter(|facts| facts.customer_deleted && governs_at(current, facts))
        .fold(current.clone(), |current, facts| reduce(&current, facts, catalog, now));
    reduce(&ended, &merge(looks, now), catalog, now)
}

/// What all of these providers know together. Where a customer was deleted, its subscriptions are over, even where a list that
/// lags still shows them alive.
#[must_use]
pub fn merge(looks: &[Facts], now: Timestamp) -> Facts {
    let mut merged = Facts::default();
    for facts in looks {
        let over = |each: &SubscriptionFacts| match each.status {
            ProviderStatus::IncompleteExpired | ProviderStatus::Canceled => each.clone(),
            _ if facts.customer_deleted => SubscriptionFacts {
                status: ProviderStatus::Canceled,
                ended_at: each.ended_at.or(Some(now)),
                ..each.clone()
            },
            _ => each.clone(),
        };
        merged.subscriptions.extend(facts.subscriptions.iter().map(over));
        merged.sessions.extend(facts.sessions.iter().cloned());
        merged.planned_prices.extend(facts.planned_prices.iter().cloned());
    }
    merged
}

/// Whether the subscription that governs is kept by the provider that these facts come from.
fn governs_at(current: &Subscription, facts: &Facts) -> bool {
    let State::Provided(provided) = &current.state else { return false };
    facts
        .customer
        .as_ref()
        .is_some_and(|customer| manual::is_own(customer.as_str()) == manual::is_own(provided.id.as_str()))
}

/// The subscriptions that a customer pays for beside the one that governs, and that were bought after it: what an operator's
/// policy may cancel. A price that is in no plan was sold by somebody else, for something else, and is never among them. Nor is
/// an agreement by invoice: an operator made it, and only an operator can give its money back.
#[must_use]
pub fn later_duplicates(governing: &Subscription, facts: &Facts, catalog: &Catalog) -> Vec<ExternalSubscriptionId> {
    let State::Provided(provided) = &governing.state else { return Vec::new() };
    let Some(kept) = facts.subscriptions.iter().find(|each| each.id == provided.id).filter(|each| is_live(each)) else {
        return Vec::new();
    };
    let born = |each: &SubscriptionFacts| (each.created_at, each.id.clone());
    let is_later = |each: &&SubscriptionFacts| {
        is_charged_beside(each, &kept.id)
            && is_mapped(each, catalog)
            && !manual::is_own(each.id.as_str())
            && born(each) > born(kept)
    };
    facts.subscriptions.iter().filter(is_later).map(|each| each.id.clone()).collect()
}

fn is_charged_beside(other: &SubscriptionFacts, governing: &ExternalSubscriptionId) -> bool {
    other.id != *governing && is_live(other) && was_charged(other)
}

fn is_mapped(each: &SubscriptionFacts, catalog: &Catalog) -> bool {
    each.prices.iter().any(|price| catalog.resolve(price).is_some())
}

/// Whether money ever came for it, even if that went back.
fn was_charged(each: &SubscriptionFacts) -> bool {
    each.paid_until.is_some() || each.money.is_gone()
}

fn about_money(next: &Subscription) -> Option<Attention> {
    let State::Provided(provided) = &next.state else { return None };
    match provided.money {
        Money::Kept | Money::PartlyRefunded => None,
        Money::Disputed | Money::Held => Some(Attention::Disputed),
        Money::Refunded | Money::DisputeLost => Some(Attention::MoneyBack),
    }
}

/// The customer's subscription if this one governs.
fn observed(
    current: &Subscription,
    governing: &SubscriptionFacts,
    standing: Standing,
    catalog: &Catalog,
) -> Subscription {
    let known = known_part(current, governing);
    // A date together with what became of its money: a provider that tells neither takes nothing away and gives nothing back.
    let told = was_charged(governing).then_some((governing.paid_until, governing.money));
    let (paid_until, money) =
        told.or_else(|| known.map(|known| (known.paid_until, known.money))).unwrap_or((None, governing.money));
    let mapped = governing.prices.iter().find_map(|price| catalog.resolve(price));
    Subscription {
        plan: mapped.map_or_else(|| current.plan.clone(), |(plan, _)| plan.code.clone()),
        state: State::Provided(Provided {
            id: governing.id.clone(),
            standing,
            interval: mapped.map(|(_, interval)| interval).or_else(|| known.and_then(|known| known.interval)),
            period_ends_at: governing.period_ends_at.or_else(|| known.and_then(|known| known.period_ends_at)),
            paid_until,
            money,
            trial_ended_at: provided_trial_end(governing, standing).or(trial_end(current)),
        }),
        attention: None,
    }
}

/// The subscription that decides: a live one before an ended one; one that gives a right before one that gives none (what
/// was paid for counts, even beside an older one that lapsed); the one that governs already before another; then the older.
/// Of ended ones the newest, because it says how things ended.
fn governing<'a>(
    current: &Subscription,
    facts: &'a Facts,
    catalog: &Catalog,
    now: Timestamp,
) -> Option<&'a SubscriptionFacts> {
    let gives_right = |each: &SubscriptionFacts| {
        standing(each, now)
            .is_some_and(|standing| entitlement(&observed(current, each, standing, catalog), catalog, now).is_ok())
    };
    let live = candidates(current, facts)
        .filter(|each| is_live(each) && !is_over(current, each) && !facts.customer_deleted)
        .min_by_key(|each| (!gives_right(each), !is_current(current, each), each.created_at, each.id.clone()));
    if live.is_some() || is_missing(current, facts) {
        // Where ours is missing from the list, the end of another one says nothing about it.
        return live;
    }
    candidates(current, facts).max_by_key(|each| (each.created_at, Reverse(each.id.clone())))
}

/// What was ever paid for, and what governs already. A payment that went back counts as well: in which order we heard of the
/// two must not matter.
fn candidates<'a>(current: &Subscription, facts: &'a Facts) -> impl Iterator<Item = &'a SubscriptionFacts> {
    facts.subscriptions.iter().filter(|each| was_charged(each) || is_current(current, each))
}

fn is_current(current: &Subscription, each: &SubscriptionFacts) -> bool {
    known_part(current, each).is_some()
}

/// Whether we know already that this very subscription is over, for good.
fn is_over(current: &Subscription, each: &SubscriptionFacts) -> bool {
    known_part(current, each).is_some_and(|known| known.standing.is_terminal())
}

/// Whether the subscription that governs is not among the provider's any more.
fn is_missing(current: &Subscription, facts: &Facts) -> bool {
    match &current.state {
        State::Trial { .. } => false,
        State::Provided(provided) => facts.subscriptions.iter().all(|each| each.id != provided.id),
    }
}

/// Whether money is taken, or would be, for this subscription. An unknown word is not live: it must not push out a live one.
fn is_live(each: &SubscriptionFacts) -> bool {
    match each.status {
        ProviderStatus::Trialing
        | ProviderStatus::Active
        | ProviderStatus::PastDue
        | ProviderStatus::Unpaid
        | ProviderStatus::Paused => true,
        ProviderStatus::Incomplete
        | ProviderStatus::IncompleteExpired
        | ProviderStatus::Canceled
        | ProviderStatus::Unknown(_) => false,
    }
}

fn without_governing(current: &Subscription, facts: &Facts, now: Timestamp) -> Subscription {
    let State::Provided(provided) = &current.state else {
        return current.clone();
    };
    if provided.standing.is_terminal() {
        return current.clone();
    }
    if facts.customer_deleted {
        // Deleting a customer cancels its subscriptions at once; the list is gone with it.
        let standing = Standing::Canceled { ended_at: now };
        let state = State::Provided(Provided { standing, ..provided.clone() });
        return Subscription { plan: current.plan.clone(), state, attention: None };
    }
    Subscription { attention: Some(Attention::Vanished), ..current.clone() }
}

/// What we know already of the very same subscription.
fn known_part<'a>(current: &'a Subscription, each: &SubscriptionFacts) -> Option<&'a Provided> {
    match &current.state {
        State::Trial { .. } => None,
        State::Provided(provided) => (provided.id == each.id).then_some(provided),
    }
}

/// The end of a trial that the provider counts: its date, or the earlier end of the subscription in it.
fn provided_trial_end(governing: &SubscriptionFacts, standing: Standing) -> Option<Timestamp> {
    let planned = governing.trial_ends_at?;
    match standing {
        Standing::Canceled { ended_at } => Some(planned.min(ended_at)),
        Standing::Incomplete
        | Standing::IncompleteExpired
        | Standing::Trialing { .. }
        | Standing::Active { .. }
        | Standing::PastDue { .. }
        | Standing::Unpaid
        | Standing::Paused => Some(planned),
    }
}

fn trial_end(current: &Subscription) -> Option<Timestamp> {
    match &current.state {
        State::Trial { ends_at } => Some(*ends_at),
        State::Provided(provided) => provided.trial_ended_at,
    }
}

/// The standing that the facts speak of; `None` for a word that is not known.
pub(crate) fn standing(facts: &SubscriptionFacts, now: Timestamp) -> Option<Standing> {
    let cancel_at = facts.cancel_at;
    Some(match &facts.status {
        ProviderStatus::Incomplete => Standing::Incomplete,
        ProviderStatus::IncompleteExpired => Standing::IncompleteExpired,
        ProviderStatus::Trialing => Standing::Trialing { cancel_at },
        // The first payment makes it active, for the licence too: until then it is the trial, and its grace.
        ProviderStatus::Active if facts.paid_until.is_some() && facts.has_only_trial() => {
            Standing::Trialing { cancel_at }
        }
        ProviderStatus::Active => Standing::Active { cancel_at },
        ProviderStatus::PastDue => Standing::PastDue { cancel_at },
        ProviderStatus::Unpaid => Standing::Unpaid,
        ProviderStatus::Paused => Standing::Paused,
        ProviderStatus::Canceled => Standing::Canceled { ended_at: facts.ended_at.unwrap_or(now) },
        ProviderStatus::Unknown(_) => return None,
    })
}
