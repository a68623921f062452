//! `S4`: whatever we write of a subscription it was at Stripe, in that order, and an end stays an end.

use std::collections::{BTreeMap, BTreeSet};

use crate::checker::is_price_of;
use crate::evidence::Evidence;
use crate::history::{Seen, Version};

fn is_end(status: &str) -> bool {
    matches!(status, "canceled" | "incomplete_expired")
}

pub fn what_has_ended_stays_ended(evidence: &Evidence) -> Vec<String> {
    let mut ended: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut breaches = Vec::new();
    for seen in &evidence.history.seen {
        let Some(subscription) = seen.subscription.as_deref() else { continue };
        let key = (seen.customer_id.as_str(), subscription);
        if is_end(&seen.status) {
            ended.insert(key);
        } else if ended.contains(&key) {
            breaches.push(format!("{} of {} had ended and is {}", subscription, seen.customer_id, seen.status));
        }
    }
    breaches
}

/// Each state that was committed is one of Stripe's versions: the one before it was, or a later one.
pub fn nothing_older_replaces_what_is_newer(evidence: &Evidence) -> Vec<String> {
    let mut applied: BTreeMap<&str, usize> = BTreeMap::new();
    let mut breaches = Vec::new();
    for seen in &evidence.history.seen {
        let Some(subscription) = seen.subscription.as_deref() else { continue };
        let versions = evidence.history.versions.get(subscription).map(Vec::as_slice).unwrap_or_default();
        let is_it = |version: &Version| is_written_as(evidence, version, seen);
        let last = applied.entry(subscription).or_default();
        if let Some(further) = versions.iter().skip(*last).position(is_it) {
            *last += further;
            continue;
        }
        let was_it = versions.iter().take(*last).any(is_it);
        let why = if was_it { "again, which it was long before" } else { "which it never was at Stripe" };
        let Seen { customer_id, status, plan, ends, period_ends_at, .. } = seen;
        breaches.push(format!(
            "{subscription} of {customer_id} became {plan} and {status} (ends: {ends}, period until {period_ends_at:?}), {why}"
        ));
    }
    breaches
}

/// Whether this version is what stands in our book.
fn is_written_as(evidence: &Evidence, version: &Version, seen: &Seen) -> bool {
    if is_end(&seen.status) {
        // Whoever was deleted at Stripe has no subscriptions that could be read: the rest is what was known before.
        return version.status == seen.status;
    }
    // Until money comes, what is active for the hour after its trial is the trial to us.
    let is_trial = seen.status == "trialing" && version.status == "active" && version.tried;
    // In other states no end is planned.
    let can_end = matches!(version.status.as_str(), "trialing" | "active" | "past_due");
    (version.status == seen.status || is_trial)
        && is_price_of(evidence, &version.price, &seen.plan)
        && (version.ends && can_end) == seen.ends
        && version.period_ends_at == seen.period_ends_at
}
