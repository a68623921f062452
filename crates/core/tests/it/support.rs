//! What most tests start from: a catalogue, a moment, and a subscription at the provider.

use std::collections::BTreeMap;

use counterfoil_core::facts::{Facts, Money, ProviderStatus, SubscriptionFacts};
use counterfoil_core::subscription::{Provided, Standing, State};
use counterfoil_core::{
    Catalog, ExternalSubscriptionId, Interval, Plan, PlanCode, Price, PriceId, Subscription, Timestamp,
};
use proptest::test_runner::Config;

/// Few and bounded cases; a failure prints its input, and no file is left behind.
pub fn cases(count: u32) -> Config {
    Config { cases: count, failure_persistence: None, ..Config::default() }
}

/// Midnight of a day in November or December 2026, counted from 1 November.
pub fn day(number: i64) -> Timestamp {
    "2026-11-01T00:00:00Z".parse::<Timestamp>().expect("a valid time").plus_days(number - 1)
}

pub fn price(id: &str, interval: Interval) -> Price {
    Price { interval, currency: "eur".into(), amount: 4900, stripe_price: id.into() }
}

pub fn plan(code: &str, trial_days: u32, grace_days: u32, prices: Vec<Price>) -> Plan {
    Plan {
        code: PlanCode::new(code),
        name: code.to_uppercase(),
        description: String::new(),
        features: vec![format!("{code}_feature"), "export".into()],
        limits: BTreeMap::from([("seats".to_owned(), 5)]),
        trial_days,
        grace_days,
        prices,
    }
}

/// Grace: none for the trial, 3 days for starter, 7 for professional.
pub fn catalog() -> Catalog {
    Catalog::new(vec![
        plan("trial", 14, 0, vec![]),
        plan("starter", 0, 3, vec![price("price_starter", Interval::Month)]),
        plan(
            "professional",
            0,
            7,
            vec![price("price_pro_monthly", Interval::Month), price("price_pro_yearly", Interval::Year)],
        ),
    ])
    .expect("the test catalogue is valid")
}

/// A trial that ends on that day.
pub fn trial_until(day_number: i64) -> Subscription {
    Subscription::trial(PlanCode::new("trial"), day(day_number))
}

/// A monthly professional subscription made on day 2 and paid until day 32.
pub fn facts_of(id: &str, status: ProviderStatus) -> SubscriptionFacts {
    SubscriptionFacts {
        id: ExternalSubscriptionId::new(id),
        status,
        created_at: day(2),
        prices: vec![PriceId::new("price_pro_monthly")],
        period_ends_at: Some(day(32)),
        paid_until: Some(day(32)),
        money: Money::Kept,
        cancel_at: None,
        ended_at: None,
        trial_ends_at: None,
    }
}

pub fn listed(subscriptions: impl IntoIterator<Item = SubscriptionFacts>) -> Facts {
    Facts { subscriptions: subscriptions.into_iter().collect(), ..Facts::default() }
}

/// What we hold after a professional subscription was seen with this standing.
pub fn provided(id: &str, standing: Standing) -> Subscription {
    Subscription {
        plan: PlanCode::new("professional"),
        state: State::Provided(Provided {
            id: ExternalSubscriptionId::new(id),
            standing,
            interval: Some(Interval::Month),
            period_ends_at: Some(day(32)),
            paid_until: Some(day(32)),
            money: Money::Kept,
            trial_ended_at: Some(day(15)),
        }),
        attention: None,
    }
}

pub const ACTIVE: Standing = Standing::Active { cancel_at: None };

pub fn provided_part(subscription: &Subscription) -> &Provided {
    match &subscription.state {
        State::Provided(provided) => provided,
        State::Trial { .. } => panic!("still the trial: {subscription:?}"),
    }
}
