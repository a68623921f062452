//! The golden table: every status of the provider, paid or not, in every situation that the customer can be in.

use counterfoil_core::entitlement::entitlement;
use counterfoil_core::facts::{Money, ProviderStatus, SubscriptionFacts};
use counterfoil_core::subscription::{Standing, State};
use counterfoil_core::{Subscription, Timestamp, reduce};

use crate::support::{ACTIVE, catalog, day, facts_of, listed, provided, trial_until};

const WORDS: [&str; 9] = [
    "incomplete",
    "incomplete_expired",
    "trialing",
    "active",
    "past_due",
    "unpaid",
    "paused",
    "canceled",
    "a_new_word",
];

/// The situation's name, what we held, what else the provider lists, and when we look.
fn situations() -> Vec<(&'static str, Subscription, Option<SubscriptionFacts>, Timestamp)> {
    let other = |status| SubscriptionFacts { created_at: day(1), ..facts_of("sub_other", status) };
    let ended = Standing::Canceled { ended_at: day(4) };
    let other_ended = SubscriptionFacts { ended_at: Some(day(4)), ..other(ProviderStatus::Canceled) };
    vec![
        ("trial running", trial_until(15), None, day(10)),
        ("trial over", trial_until(15), None, day(20)),
        ("same one known", provided("sub_1", ACTIVE), None, day(10)),
        ("same one over", provided("sub_1", ended), None, day(10)),
        ("other one canceled", provided("sub_other", ended), Some(other_ended), day(10)),
        ("other one live", provided("sub_other", ACTIVE), Some(other(ProviderStatus::Active)), day(10)),
    ]
}

fn describe(subscription: &Subscription, now: Timestamp) -> String {
    let (holder, word) = match &subscription.state {
        State::Trial { .. } => ("our trial", subscription.status_word(now)),
        State::Provided(provided) => (provided.id.as_str(), provided.standing.word()),
    };
    let right = match entitlement(subscription, &catalog(), now) {
        Ok(grant) => format!("{} until {}", grant.plan, grant.grace_until.date_in_words()),
        Err(ended) => format!("none ({})", ended.word()),
    };
    let flag = subscription.attention.map_or(String::new(), |attention| format!("  ! {}", attention.word()));
    format!("{holder:<9} {word:<18} right: {right}{flag}")
}

#[test]
fn every_status_in_every_situation() {
    assert!(WORDS.map(ProviderStatus::parse)[..8].iter().all(|status| !matches!(status, ProviderStatus::Unknown(_))));
    let mut lines = vec![];
    for (name, current, other, now) in situations() {
        lines.push(format!("{name}: {}", describe(&current, now)));
        for word in WORDS {
            let monies = [
                ("paid", Some(day(32)), Money::Kept),
                ("unpaid", None, Money::Kept),
                ("refunded", None, Money::Refunded),
                ("disputed", Some(day(32)), Money::Disputed),
                ("held", Some(day(32)), Money::Held),
                ("lost", Some(day(2)), Money::DisputeLost),
            ];
            for (name, paid_until, money) in monies {
                let ended_at = (word == "canceled").then(|| day(9));
                let told = facts_of("sub_1", ProviderStatus::parse(word));
                let one = SubscriptionFacts { paid_until, money, ended_at, ..told };
                let facts = listed(std::iter::once(one).chain(other.clone()));
                let after = reduce(&current, &facts, &catalog(), now);
                lines.push(format!("  {word:<18} {name:<8} → {}", describe(&after, now)));
            }
        }
    }
    insta::assert_snapshot!(lines.join("\n"));
}
