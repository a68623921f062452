use counterfoil_core::facts::Money;
use counterfoil_core::subscription::{Attention, Provided, Record, Standing, State};
use counterfoil_core::{ExternalSubscriptionId, Interval, PlanCode, Subscription, Timestamp};
use proptest::option;
use proptest::prelude::*;

use crate::support::{ACTIVE, cases, day, provided, trial_until};

fn instant() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_micros)
}

fn any_standing() -> impl Strategy<Value = Standing> {
    let planned = || option::of(instant());
    prop_oneof![
        Just(Standing::Incomplete),
        Just(Standing::IncompleteExpired),
        planned().prop_map(|cancel_at| Standing::Trialing { cancel_at }),
        planned().prop_map(|cancel_at| Standing::Active { cancel_at }),
        planned().prop_map(|cancel_at| Standing::PastDue { cancel_at }),
        Just(Standing::Unpaid),
        Just(Standing::Paused),
        instant().prop_map(|ended_at| Standing::Canceled { ended_at }),
    ]
}

fn any_state() -> impl Strategy<Value = State> {
    let interval = option::of(prop_oneof![Just(Interval::Month), Just(Interval::Year)]);
    let dates = (option::of(instant()), option::of(instant()), option::of(instant()));
    let money = prop::sample::select(vec![Money::Kept, Money::PartlyRefunded, Money::Held, Money::Refunded]);
    prop_oneof![
        instant().prop_map(|ends_at| State::Trial { ends_at }),
        ("\\PC{1,20}", any_standing(), interval, dates, money).prop_map(|(id, standing, interval, dates, money)| {
            State::Provided(Provided {
                id: ExternalSubscriptionId::new(id),
                standing,
                interval,
                period_ends_at: dates.0,
                paid_until: dates.1,
                money,
                trial_ended_at: dates.2,
            })
        }),
    ]
}

fn any_attention() -> impl Strategy<Value = Option<Attention>> {
    prop::sample::select(vec![
        None,
        Some(Attention::PriceUnmapped),
        Some(Attention::SeveralLive),
        Some(Attention::Disputed),
        Some(Attention::MoneyBack),
        Some(Attention::StatusUnknown),
        Some(Attention::Vanished),
    ])
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn every_subscription_comes_back_from_its_row(
        plan in "[a-z]{1,12}",
        state in any_state(),
        attention in any_attention(),
    ) {
        let subscription = Subscription { plan: PlanCode::new(plan), state, attention };
        prop_assert_eq!(Subscription::from_record(subscription.to_record()), Ok(subscription));
    }
}

#[test]
fn rows_that_contradict_themselves_are_refused() {
    let trial = || trial_until(15).to_record();
    let paid = || provided("sub_1", ACTIVE).to_record();
    let refused = |record: Record| Subscription::from_record(record).expect_err("the row passed").to_string();
    let cases = [
        (Record { status: "active".into(), ..trial() }, "no provider id outside of the trial (status `active`)"),
        (Record { status: "canceled".into(), ..trial() }, "no provider id outside of the trial (status `canceled`)"),
        (Record { trial_ends_at: None, ..trial() }, "a trial without an end (status `trialing`)"),
        (Record { status: "canceled".into(), ..paid() }, "canceled without a date (status `canceled`)"),
        (Record { status: "ACTIVE".into(), ..paid() }, "unknown status (status `ACTIVE`)"),
        (Record { status: String::new(), ..paid() }, "unknown status (status ``)"),
        (Record { money_back: Some("kept?".into()), ..paid() }, "an unknown word about money (status `active`)"),
        (Record { attention: Some("panic".into()), ..paid() }, "unknown attention (status `active`)"),
    ];
    for (record, why) in cases {
        assert_eq!(refused(record), format!("a stored subscription makes no sense: {why}"));
    }
}

#[test]
fn a_trial_shows_its_end_in_the_row_that_everybody_knows() {
    let record = trial_until(15).to_record();
    assert_eq!(record.status, "trialing");
    assert_eq!((record.trial_ends_at, record.current_period_ends_at), (Some(day(15)), Some(day(15))));
    assert_eq!((record.external_id, record.paid_until), (None, None));
}

#[test]
fn the_trial_is_over_at_its_end_and_nobody_has_to_write_it_down() {
    let trial = trial_until(15);
    assert_eq!(trial.status_word(day(15).plus_millis(-1)), "trialing");
    assert_eq!(trial.status_word(day(15)), "trial_expired");
    assert_eq!(provided("sub_1", ACTIVE).status_word(day(400)), "active");
}

#[test]
fn words_and_liveness_of_all_standings() {
    let ended_at = day(9);
    let cancel_at = Some(day(9));
    let table = [
        (Standing::Incomplete, "incomplete", false, false),
        (Standing::IncompleteExpired, "incomplete_expired", false, true),
        (Standing::Trialing { cancel_at }, "trialing", true, false),
        (Standing::Active { cancel_at }, "active", true, false),
        (Standing::PastDue { cancel_at }, "past_due", true, false),
        (Standing::Unpaid, "unpaid", true, false),
        (Standing::Paused, "paused", true, false),
        (Standing::Canceled { ended_at }, "canceled", false, true),
    ];
    for (standing, word, live, terminal) in table {
        assert_eq!((standing.word(), standing.is_live(), standing.is_terminal()), (word, live, terminal));
        assert_eq!(provided("sub_1", standing).is_live_at_provider(), live);
    }
    assert!(!trial_until(15).is_live_at_provider());
}

#[test]
fn what_governs_says_who_is_paid_and_what_became_of_the_money() {
    let table = [
        (trial_until(15), false, Money::Kept),
        (provided("sub_1", ACTIVE), false, Money::Kept),
        (provided("manual_subscription_1", ACTIVE), true, Money::Kept),
    ];
    for (subscription, is_manual, money) in table {
        assert_eq!((subscription.is_manual(), subscription.money()), (is_manual, money), "{subscription:?}");
    }
    let mut refunded = provided("sub_1", ACTIVE);
    if let State::Provided(provided) = &mut refunded.state {
        provided.money = Money::Refunded;
    }
    assert_eq!(refunded.money(), Money::Refunded);
}
