//! What holds for `reduce` whatever the provider says.

use counterfoil_core::entitlement::entitlement;
use counterfoil_core::facts::{Facts, Money, ProviderStatus, SubscriptionFacts};
use counterfoil_core::subscription::{Attention, Provided, Standing, State};
use counterfoil_core::{ExternalSubscriptionId, PriceId, Subscription, Timestamp, reduce};
use proptest::option;
use proptest::prelude::*;

use crate::support::{cases, catalog, day, listed, provided, trial_until};

const IDS: [&str; 3] = ["sub_1", "sub_2", "sub_3"];

fn some_day() -> impl Strategy<Value = Timestamp> {
    (1i64..80).prop_map(day)
}

fn any_status() -> impl Strategy<Value = ProviderStatus> {
    prop::sample::select(vec![
        "incomplete",
        "incomplete_expired",
        "trialing",
        "active",
        "active",
        "past_due",
        "unpaid",
        "paused",
        "canceled",
        "a_new_word",
    ])
    .prop_map(ProviderStatus::parse)
}

fn any_money() -> impl Strategy<Value = Money> {
    use Money::{DisputeLost, Disputed, Held, Kept, PartlyRefunded, Refunded};
    prop::sample::select(vec![Kept, Kept, Kept, PartlyRefunded, Disputed, Held, Refunded, DisputeLost])
}

fn any_facts_of(id: &'static str) -> impl Strategy<Value = SubscriptionFacts> {
    let prices = prop::sample::subsequence(vec!["price_pro_monthly", "price_starter", "price_unmapped"], 0..=2);
    let dates = (some_day(), option::of(some_day()), option::of(some_day()));
    let ends = (option::of(some_day()), option::of(some_day()), option::of(some_day()));
    (any_status(), prices, dates, ends, any_money()).prop_map(move |(status, prices, dates, ends, money)| {
        SubscriptionFacts {
            id: ExternalSubscriptionId::new(id),
            status,
            created_at: dates.0,
            prices: prices.into_iter().map(PriceId::new).collect(),
            period_ends_at: dates.1,
            paid_until: dates.2,
            money,
            cancel_at: ends.0,
            ended_at: ends.1,
            trial_ends_at: ends.2,
        }
    })
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let all = (any_facts_of(IDS[0]), any_facts_of(IDS[1]), any_facts_of(IDS[2]));
    (all, 0usize..8, prop::bool::weighted(0.1)).prop_map(|((a, b, c), which, customer_deleted)| {
        let some = [a, b, c].into_iter().enumerate().filter(|(index, _)| which >> index & 1 == 1);
        Facts { customer_deleted, subscriptions: some.map(|(_, each)| each).collect(), ..Facts::default() }
    })
}

fn any_current() -> impl Strategy<Value = Subscription> {
    let standing = prop_oneof![
        Just(Standing::Active { cancel_at: None }),
        Just(Standing::PastDue { cancel_at: None }),
        Just(Standing::Unpaid),
        Just(Standing::Paused),
        Just(Standing::IncompleteExpired),
        some_day().prop_map(|ended_at| Standing::Canceled { ended_at }),
    ];
    prop_oneof![
        1 => (1i64..40).prop_map(trial_until),
        3 => (prop::sample::select(&IDS[..]), standing).prop_map(|(id, standing)| provided(id, standing)),
    ]
}

fn part(subscription: &Subscription) -> Option<&Provided> {
    match &subscription.state {
        State::Trial { .. } => None,
        State::Provided(provided) => Some(provided),
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn who_paid_for_a_live_subscription_has_a_right(
        current in any_current(), facts in any_facts(), paying in any_facts_of("sub_4"), now in some_day()
    ) {
        let status = match paying.status {
            status @ (ProviderStatus::Trialing | ProviderStatus::PastDue) => status,
            _ => ProviderStatus::Active,
        };
        // Money that was partly given back, or is only asked back, is still money.
        let money = if paying.money == Money::Held || paying.money.is_gone() { Money::Kept } else { paying.money };
        let paying = SubscriptionFacts { status, paid_until: Some(now.plus_seconds(1)), money, ..paying };
        let all = facts.subscriptions.into_iter().chain([paying]);
        let after = reduce(&current, &listed(all), &catalog(), now);
        prop_assert!(entitlement(&after, &catalog(), now).is_ok(), "{:?}", after);
    }

    #[test]
    fn paid_time_comes_from_the_facts_or_was_there_before(
        current in any_current(), facts in any_facts(), now in some_day()
    ) {
        let after = reduce(&current, &facts, &catalog(), now);
        let Some(part_after) = part(&after) else {
            prop_assert_eq!(part(&current), None, "a paid state fell back to the trial");
            return Ok(());
        };
        let known = part(&current).filter(|known| known.id == part_after.id);
        let told = facts.subscriptions.iter().find(|each| each.id == part_after.id);
        prop_assert!(known.is_some() || told.is_some(), "a subscription out of nothing");
        let sources = [told.and_then(|told| told.paid_until), known.and_then(|known| known.paid_until)];
        prop_assert!(sources.contains(&part_after.paid_until));
        if facts.customer_deleted {
            prop_assert!(!part_after.standing.is_live(), "a deleted customer goes on");
        }
    }

    #[test]
    fn money_that_went_back_gives_no_grace_and_held_money_nothing(
        current in any_current(), facts in any_facts(), now in some_day()
    ) {
        let after = reduce(&current, &facts, &catalog(), now);
        let Some(paid) = part(&after) else { return Ok(()) };
        let right = entitlement(&after, &catalog(), now);
        if paid.money.is_gone() {
            prop_assert!(right.is_err() || paid.paid_until.is_some_and(|end| now < end), "{:?}", after);
        }
        prop_assert!(paid.money != Money::Held || right.is_err());
    }

    #[test]
    fn what_is_over_never_changes_and_known_dates_stay(current in any_current(), facts in any_facts(), now in some_day()) {
        let after = reduce(&current, &facts, &catalog(), now);
        let (Some(before), Some(later)) = (part(&current), part(&after)) else { return Ok(()) };
        if before.id == later.id {
            if before.standing.is_terminal() {
                prop_assert_eq!(before, later);
            }
            prop_assert!(before.paid_until.is_none() || later.paid_until.is_some() || later.money.is_gone());
            prop_assert!(before.period_ends_at.is_none() || later.period_ends_at.is_some());
        }
        prop_assert!(before.trial_ended_at.is_none() || later.trial_ended_at.is_some());
    }

    #[test]
    fn the_order_of_the_list_is_no_matter(
        current in any_current(), facts in any_facts(), turn in 0usize..3, now in some_day()
    ) {
        let mut turned = facts.clone();
        let length = turned.subscriptions.len().max(1);
        turned.subscriptions.rotate_left(turn % length);
        let mut reversed = facts.clone();
        reversed.subscriptions.reverse();
        let after = reduce(&current, &facts, &catalog(), now);
        prop_assert_eq!(&reduce(&current, &turned, &catalog(), now), &after);
        prop_assert_eq!(&reduce(&current, &reversed, &catalog(), now), &after);
    }

    #[test]
    fn looking_twice_is_looking_once(current in any_current(), facts in any_facts(), now in some_day()) {
        // What is over stays over at the provider too.
        let over = part(&current).filter(|known| known.standing.is_terminal());
        let revived = |each: &SubscriptionFacts| over.is_some_and(|known| known.id == each.id && each.status != ProviderStatus::Canceled);
        let facts = Facts { subscriptions: facts.subscriptions.into_iter().filter(|each| !revived(each)).collect(), ..facts };
        let once = reduce(&current, &facts, &catalog(), now);
        let twice = reduce(&once, &facts, &catalog(), now);
        // A price in no plan keeps the plan that was there, and with it the grace, which may change who gives a right.
        prop_assume!(once.plan == current.plan || twice.attention != Some(Attention::SeveralLive));
        prop_assert_eq!(twice, once);
    }
}
