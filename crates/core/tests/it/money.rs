//! What becomes of a customer whose payment goes back, and of one who pays twice.

use counterfoil_core::entitlement::{Ended, entitlement};
use counterfoil_core::facts::{DisputePolicy, Facts, Money, ProviderStatus, SubscriptionFacts};
use counterfoil_core::reduce::later_duplicates;
use counterfoil_core::subscription::Attention;
use counterfoil_core::{ExternalSubscriptionId, PriceId, Subscription, Timestamp, reduce};

use crate::support::{ACTIVE, catalog, day, facts_of, listed, provided, provided_part, trial_until};

fn look(current: &Subscription, facts: &Facts, on_day: i64) -> Subscription {
    reduce(current, facts, &catalog(), day(on_day))
}

fn with_money(money: Money, paid_until: Option<Timestamp>) -> SubscriptionFacts {
    SubscriptionFacts { money, paid_until, ..facts_of("sub_1", ProviderStatus::Active) }
}

fn ended(subscription: &Subscription, on_day: i64) -> Option<Ended> {
    entitlement(subscription, &catalog(), day(on_day)).err()
}

#[test]
fn a_full_refund_ends_the_period_and_leaves_the_one_before() {
    for (money, why) in [(Money::Refunded, Ended::Refunded), (Money::DisputeLost, Ended::DisputeLost)] {
        // Day 10 is within the grace that a period until day 5 would have had.
        let after = look(&provided("sub_1", ACTIVE), &listed([with_money(money, Some(day(5)))]), 10);
        assert_eq!(provided_part(&after).paid_until, Some(day(5)), "the known date is taken back");
        assert_eq!((ended(&after, 4), ended(&after, 5), ended(&after, 10)), (None, Some(why), Some(why)));
        assert_eq!(after.attention, Some(Attention::MoneyBack));
        let never = look(&provided("sub_1", ACTIVE), &listed([with_money(money, None)]), 10);
        assert_eq!((provided_part(&never).paid_until, ended(&never, 3)), (None, Some(why)));
    }
}

#[test]
fn silence_resurrects_no_refunded_period() {
    for paid_until in [None, Some(day(5))] {
        let refunded = look(&provided("sub_1", ACTIVE), &listed([with_money(Money::Refunded, paid_until)]), 10);
        let silent = look(&refunded, &listed([with_money(Money::Kept, None)]), 11);
        assert_eq!(silent, Subscription { attention: Some(Attention::MoneyBack), ..refunded.clone() });
        let paid_again = look(&refunded, &listed([with_money(Money::Kept, Some(day(62)))]), 33);
        assert_eq!((ended(&paid_again, 33), paid_again.attention), (None, None), "the next payment counts");
    }
}

#[test]
fn it_is_no_matter_whether_the_payment_was_seen_before_its_refund() {
    let refunded = listed([with_money(Money::Refunded, None)]);
    let paid = look(&trial_until(15), &listed([facts_of("sub_1", ProviderStatus::Active)]), 5);
    assert_eq!(look(&paid, &refunded, 6), look(&trial_until(15), &refunded, 6));
}

#[test]
fn a_part_and_an_open_dispute_take_nothing_away() {
    for (money, attention) in [(Money::PartlyRefunded, None), (Money::Disputed, Some(Attention::Disputed))] {
        let after = look(&provided("sub_1", ACTIVE), &listed([with_money(money, Some(day(32)))]), 10);
        assert_eq!((ended(&after, 10), ended(&after, 38), ended(&after, 39)), (None, None, Some(Ended::NotPaid)));
        assert_eq!(after.attention, attention);
    }
}

#[test]
fn a_hold_lasts_as_long_as_the_dispute() {
    let open = listed([with_money(Money::Disputed, Some(day(32)))]);
    assert_eq!(open.clone().under(DisputePolicy::Ignore), open);
    let held = look(&provided("sub_1", ACTIVE), &open.under(DisputePolicy::Hold), 10);
    assert_eq!((ended(&held, 10), held.attention), (Some(Ended::Disputed), Some(Attention::Disputed)));
    let won = look(&held, &listed([with_money(Money::Kept, Some(day(32)))]).under(DisputePolicy::Hold), 20);
    assert_eq!(won, provided("sub_1", ACTIVE));
    let lost = listed([with_money(Money::DisputeLost, None)]).under(DisputePolicy::Hold);
    assert_eq!(ended(&look(&held, &lost, 20), 20), Some(Ended::DisputeLost));
}

#[test]
fn a_refund_of_one_subscription_does_not_harm_the_other() {
    let other = SubscriptionFacts { created_at: day(9), ..facts_of("sub_2", ProviderStatus::Active) };
    let both = listed([with_money(Money::Refunded, None), other]);
    let after = look(&provided("sub_1", ACTIVE), &both, 10);
    assert_eq!((provided_part(&after).id.as_str(), ended(&after, 10)), ("sub_2", None));
    assert_eq!(after.attention, Some(Attention::SeveralLive), "the refunded one goes on to be charged");
}

#[test]
fn only_a_later_subscription_to_a_plan_of_ours_is_a_duplicate() {
    let kept = facts_of("sub_1", ProviderStatus::Active);
    let other = |id: &str, born| SubscriptionFacts { created_at: day(born), ..facts_of(id, ProviderStatus::Active) };
    let all = listed([
        kept.clone(),
        other("sub_later", 9),
        SubscriptionFacts { money: Money::Refunded, paid_until: None, ..other("sub_refunded", 9) },
        other("sub_earlier", 1),
        SubscriptionFacts { paid_until: None, ..other("sub_unpaid", 9) },
        SubscriptionFacts { prices: vec![PriceId::new("price_of_somebody")], ..other("sub_foreign", 9) },
        SubscriptionFacts { status: ProviderStatus::Canceled, ..other("sub_over", 9) },
    ]);
    let named = |subscription| {
        let ids = later_duplicates(&subscription, &all, &catalog());
        ids.iter().map(ExternalSubscriptionId::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(named(provided("sub_1", ACTIVE)), ["sub_later", "sub_refunded"]);
    assert_eq!(named(provided("sub_gone", ACTIVE)), [""; 0]);
    assert_eq!(named(trial_until(15)), [""; 0]);
}
