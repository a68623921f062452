//! The words for each state, and that no state is without.

use counterfoil_core::{ExternalSubscriptionId, PlanCode};

use super::*;
use crate::web::portal::testing::{self, NOW};

fn days(days: i64) -> Timestamp {
    NOW.plus_days(days)
}

fn trial_until(ends_at: Timestamp) -> Subscription {
    Subscription::trial(PlanCode::new("trial"), ends_at)
}

fn provided(standing: Standing, paid_until: Option<Timestamp>) -> Subscription {
    testing::subscribed(Provided {
        id: ExternalSubscriptionId::new("sub_secret12345"),
        interval: None,
        period_ends_at: paid_until,
        ..testing::provided(standing, paid_until)
    })
}

fn all_standings() -> [Standing; 11] {
    [
        Standing::Incomplete,
        Standing::IncompleteExpired,
        Standing::Trialing { cancel_at: None },
        Standing::Trialing { cancel_at: Some(days(5)) },
        Standing::Active { cancel_at: None },
        Standing::Active { cancel_at: Some(days(5)) },
        Standing::PastDue { cancel_at: None },
        Standing::PastDue { cancel_at: Some(days(5)) },
        Standing::Unpaid,
        Standing::Paused,
        Standing::Canceled { ended_at: days(-5) },
    ]
}

fn words_of(subscription: &Subscription) -> (String, String, Tone) {
    let words = state(subscription, Some(days(20)), NOW);
    (words.stamp, words.sentence, words.tone)
}

fn said(stamp: &str, sentence: &str, tone: Tone) -> (String, String, Tone) {
    (stamp.to_owned(), sentence.to_owned(), tone)
}

#[test]
fn a_day_that_has_begun_counts_in_full() {
    assert_eq!(days_left(days(9), NOW), 9);
    assert_eq!(days_left(days(9).plus_seconds(-1), NOW), 9);
    assert_eq!(days_left(days(9).plus_millis(1), NOW), 10);
    assert_eq!(days_left(NOW.plus_millis(1), NOW), 1);
    assert_eq!(days_left(NOW, NOW), 0);
    assert_eq!(days_left(days(-3), NOW), 0);
}

#[test]
fn a_trial_says_how_long_it_runs() {
    let calm = "Your trial runs until 30 September 2026, 9 days left.";
    assert_eq!(words_of(&trial_until(days(9))), said("9 days left", calm, Tone::Calm));
    let soon = "Your trial runs until 22 September 2026, 1 day left. Choose a plan before then, and nothing stops.";
    assert_eq!(words_of(&trial_until(days(1))), said("1 day left", soon, Tone::Warn));
    let over = "Your trial ended on 21 September 2026. Choose a plan to go on.";
    assert_eq!(words_of(&trial_until(NOW)), said("Trial ended", over, Tone::Alarm));
}

#[test]
fn a_trial_is_punched_as_its_days_pass() {
    assert_eq!(punches(&trial_until(days(3)), 4, NOW), [true, false, false, false]);
    assert_eq!(punches(&trial_until(days(-3)), 2, NOW), [true, true]);
    assert_eq!(punches(&trial_until(days(30)), 2, NOW), [false, false], "a trial that was made longer by hand");
    assert!(punches(&provided(Standing::Unpaid, None), 14, NOW).is_empty());
}

#[test]
fn an_active_plan_says_until_when_it_is_paid() {
    let active = Standing::Active { cancel_at: None };
    let paid = "Paid until 21 October 2026. It renews by itself.";
    assert_eq!(words_of(&provided(active, Some(days(30)))), said("Active", paid, Tone::Good));
    let renewing = "Paid until 20 September 2026. The renewal is being confirmed.";
    assert_eq!(words_of(&provided(active, Some(days(-1)))), said("Active", renewing, Tone::Warn));
    let ending = "Paid until 21 September 2026. The renewal is being confirmed.";
    assert_eq!(words_of(&provided(active, Some(NOW))), said("Active", ending, Tone::Warn), "its last moment is over");
    assert_eq!(words_of(&provided(active, None)).2, Tone::Warn);
}

#[test]
fn a_planned_end_is_told_without_alarm() {
    let standing = Standing::Active { cancel_at: Some(days(30)) };
    let sentence = "Your plan ends on 21 October 2026. It does not renew, and nothing more is charged.";
    assert_eq!(words_of(&provided(standing, Some(days(30)))), said("Ending", sentence, Tone::Calm));
}

#[test]
fn a_failed_payment_says_how_long_the_license_works() {
    let past_due = provided(Standing::PastDue { cancel_at: None }, Some(days(-1)));
    let words = state(&past_due, Some(days(6)), NOW);
    assert_eq!((words.stamp.as_str(), words.tone), ("Past due", Tone::Alarm));
    assert_eq!(words.sentence, "Your plan was paid until 20 September 2026. The renewal has not been paid yet.");
    assert!(words.notices[0].text.contains("works until 27 September 2026"), "{:?}", words.notices);
    let early = provided(Standing::PastDue { cancel_at: Some(days(9)) }, Some(days(9)));
    let paid =
        "Paid until 30 September 2026. Your newest invoice has not been paid yet. Your plan ends on 30 September 2026.";
    assert_eq!(words_of(&early), said("Past due", paid, Tone::Alarm));
    let ending = provided(Standing::PastDue { cancel_at: None }, Some(NOW));
    assert!(words_of(&ending).1.starts_with("Your plan was paid until 21 September 2026."), "{ending:?}");
    let over = state(&past_due, None, NOW);
    assert!(over.notices[0].text.starts_with("Your licence has ended."), "{:?}", over.notices);
}

#[test]
fn an_ended_plan_says_when_it_ended() {
    let sentence = "Your plan ended on 16 September 2026. Choose a plan to go on.";
    let canceled = provided(Standing::Canceled { ended_at: days(-5) }, Some(days(-5)));
    assert_eq!(words_of(&canceled), said("Canceled", sentence, Tone::Alarm));
}

#[test]
fn every_state_has_words_and_none_has_a_providers_id() {
    for standing in all_standings() {
        for paid_until in [None, Some(days(-1)), Some(days(9))] {
            for works_until in [None, Some(days(9))] {
                let words = state(&provided(standing, paid_until), works_until, NOW);
                assert!(!words.stamp.is_empty() && words.stamp.len() <= 16, "{words:?}");
                assert!(words.sentence.ends_with('.') && !words.sentence.contains("0 days"), "{words:?}");
                assert!(!format!("{words:?}").contains("sub_"), "{words:?}");
            }
        }
    }
}

#[test]
fn nothing_is_offered_beside_a_live_subscription() {
    assert_eq!(main_action(&trial_until(days(3))), MainAction::Upgrade);
    assert_eq!(main_action(&trial_until(days(-3))), MainAction::Upgrade);
    for standing in all_standings() {
        let expected = match standing {
            Standing::PastDue { .. } | Standing::Unpaid => MainAction::FixPayment,
            _ if standing.is_live() => MainAction::OpenLicense,
            _ => MainAction::Upgrade,
        };
        assert_eq!(main_action(&provided(standing, None)), expected, "{standing:?}");
    }
}

fn license(trial: bool, paid_until: Timestamp, expires_at: Timestamp) -> License {
    License {
        issued_at: days(-1),
        expires_at,
        refresh_after: days(5),
        paid_until,
        ..testing::license("professional", trial)
    }
}

#[test]
fn the_stamp_on_a_license_says_what_a_check_would_say() {
    let grant = |trial| {
        Ok(Grant {
            plan: PlanCode::new("professional"),
            status: "active",
            trial,
            features: Vec::new(),
            limits: Default::default(),
            paid_until: days(9),
            grace_until: days(16),
        })
    };
    let running = license(false, days(9), days(16));
    assert_eq!(license_stamp(&running, &grant(false), NOW), ("Valid", Tone::Good));
    assert_eq!(license_stamp(&license(true, days(9), days(9)), &grant(true), NOW), ("Trial", Tone::Calm));
    assert_eq!(license_stamp(&running, &grant(false), days(9)), ("In grace", Tone::Warn));
    assert_eq!(license_stamp(&running, &grant(false), days(16)), ("Expired", Tone::Alarm));
    assert_eq!(license_stamp(&running, &Err(Ended::Canceled), NOW), ("Canceled", Tone::Alarm));
    assert_eq!(license_stamp(&running, &Err(Ended::Paused), NOW), ("Paused", Tone::Warn));
    assert_eq!(license_stamp(&running, &Err(Ended::Revoked), NOW), ("Revoked", Tone::Alarm));
}

#[test]
fn a_reason_of_a_newer_release_is_still_readable() {
    assert_eq!(reason("subscribed", "Professional"), "Subscribed to Professional");
    assert_eq!(reason("refunded_in_part", "Professional"), "Refunded in part");
}

#[test]
fn a_payment_that_went_back_is_said_before_all_else() {
    let stamp = |money, paid_until, standing| {
        let mut subscription = provided(standing, paid_until);
        if let State::Provided(provided) = &mut subscription.state {
            provided.money = money;
        }
        state(&subscription, None, NOW).stamp
    };
    let active = Standing::Active { cancel_at: None };
    assert_eq!(stamp(Money::Refunded, None, active), "Refunded");
    assert_eq!(stamp(Money::DisputeLost, Some(days(-9)), active), "Refunded");
    assert_eq!(stamp(Money::Held, Some(days(9)), active), "On hold");
    assert_eq!(stamp(Money::Refunded, Some(days(9)), active), "Active", "an earlier payment still counts");
    assert_eq!(stamp(Money::PartlyRefunded, Some(days(9)), active), "Active");
    assert_eq!(stamp(Money::Refunded, None, Standing::Paused), "Paused");
}

#[test]
fn a_trial_at_the_provider_says_what_follows_it() {
    let runs = words_of(&provided(Standing::Trialing { cancel_at: None }, Some(days(3))));
    assert!(runs.1.ends_with("Then your plan is charged.") && runs.2 == Tone::Calm, "{runs:?}");
    let ends = words_of(&provided(Standing::Trialing { cancel_at: Some(days(3)) }, Some(days(3))));
    assert!(ends.1.ends_with("It ends then, and nothing is charged."), "{ends:?}");
    let over = words_of(&provided(Standing::Trialing { cancel_at: None }, Some(days(-1))));
    assert!(over.1.contains("Your trial is over") && over.2 == Tone::Warn, "{over:?}");
    assert_eq!(words_of(&provided(Standing::Trialing { cancel_at: None }, Some(NOW))), over, "its last moment is over");
}
