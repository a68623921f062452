//! Which rows of a list call for a look.

use counterfoil_core::PriceId;
use counterfoil_core::comparison::calls_for_look;
use counterfoil_core::facts::{ProviderStatus, SubscriptionFacts};
use counterfoil_core::subscription::{Attention, Provided, Standing, State};
use counterfoil_core::{PlanCode, Subscription};

use crate::support::{ACTIVE, catalog, day, facts_of, provided, provided_part, trial_until};

fn looks(book: &Subscription, listed: &SubscriptionFacts) -> bool {
    calls_for_look(book, listed, &catalog(), day(20))
}

/// As a list shows it: without invoices nobody knows how far it is paid.
fn listed(status: ProviderStatus) -> SubscriptionFacts {
    SubscriptionFacts { paid_until: None, ..facts_of("sub_1", status) }
}

fn changed(standing: Standing, change: impl FnOnce(&mut Provided)) -> Subscription {
    let book = provided("sub_1", standing);
    let mut part = provided_part(&book).clone();
    change(&mut part);
    Subscription { state: State::Provided(part), ..book }
}

#[test]
fn what_is_the_same_on_both_sides_calls_for_nothing() {
    let cancel_at = Some(day(32));
    for (standing, status) in [
        (ACTIVE, ProviderStatus::Active),
        (Standing::Trialing { cancel_at: None }, ProviderStatus::Trialing),
        (Standing::PastDue { cancel_at: None }, ProviderStatus::PastDue),
        (Standing::Unpaid, ProviderStatus::Unpaid),
        (Standing::Paused, ProviderStatus::Paused),
        (Standing::Incomplete, ProviderStatus::Incomplete),
    ] {
        assert!(!looks(&provided("sub_1", standing), &listed(status.clone())), "{status:?}");
    }
    let planned = SubscriptionFacts { cancel_at, ..listed(ProviderStatus::Active) };
    assert!(!looks(&provided("sub_1", Standing::Active { cancel_at }), &planned));
    let undated = SubscriptionFacts { period_ends_at: None, ..listed(ProviderStatus::Active) };
    assert!(!looks(&provided("sub_1", ACTIVE), &undated), "a date that is not told is no other date");
}

#[test]
fn every_difference_that_a_list_can_show_calls_for_a_look() {
    let book = provided("sub_1", ACTIVE);
    for status in ["trialing", "past_due", "unpaid", "paused", "canceled", "incomplete_expired", "new_word"] {
        assert!(looks(&book, &listed(ProviderStatus::parse(status))), "{status}");
    }
    let active = || listed(ProviderStatus::Active);
    let rows = [
        ("renewed", SubscriptionFacts { period_ends_at: Some(day(62)), ..active() }),
        ("end planned", SubscriptionFacts { cancel_at: Some(day(32)), ..active() }),
        ("other plan", SubscriptionFacts { prices: vec![PriceId::new("price_starter")], ..active() }),
        ("price in no plan", SubscriptionFacts { prices: vec![PriceId::new("price_other")], ..active() }),
    ];
    for (what, row) in rows {
        assert!(looks(&book, &row), "{what}");
    }
    let unpaid = changed(ACTIVE, |part| part.paid_until = Some(day(2)));
    assert!(looks(&unpaid, &active()), "the payment of the renewal was missed");
}

#[test]
fn what_is_over_or_known_to_be_odd_is_left_alone() {
    let over = provided("sub_1", Standing::Canceled { ended_at: day(5) });
    assert!(!looks(&over, &listed(ProviderStatus::Active)));
    let odd = Subscription { attention: Some(Attention::StatusUnknown), ..provided("sub_1", ACTIVE) };
    assert!(!looks(&odd, &listed(ProviderStatus::parse("new_word"))));
    let unmapped = Subscription { attention: Some(Attention::PriceUnmapped), ..provided("sub_1", ACTIVE) };
    let row = SubscriptionFacts { prices: vec![PriceId::new("price_other")], ..listed(ProviderStatus::Active) };
    assert!(!looks(&unmapped, &row));
    assert!(looks(&Subscription { plan: PlanCode::new("starter"), ..unmapped }, &listed(ProviderStatus::Active)));
}

#[test]
fn a_subscription_that_the_book_does_not_have_calls_for_a_look_where_it_can_matter() {
    let trial = trial_until(15);
    let other = provided("sub_other", ACTIVE);
    for (status, beside_trial, beside_other) in [
        ("active", true, true),
        ("past_due", true, true),
        ("new_word", true, true),
        ("canceled", true, false),
        ("incomplete", false, false),
        ("incomplete_expired", false, false),
    ] {
        let row = listed(ProviderStatus::parse(status));
        assert_eq!((looks(&trial, &row), looks(&other, &row)), (beside_trial, beside_other), "{status}");
    }
}
