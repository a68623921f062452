use counterfoil_core::entitlement::{Ended, Hold, entitlement, expiry, right};
use counterfoil_core::facts::Money;
use counterfoil_core::subscription::{Standing, State};
use counterfoil_core::{PlanCode, Subscription};

use crate::support::{ACTIVE, catalog, day, plan, provided, trial_until};

/// Professional is paid until day 32 and has 7 days of grace.
#[test]
fn the_table_of_standing_against_time() {
    let cancel_at = Some(day(20));
    let standings = [
        Standing::Incomplete,
        Standing::IncompleteExpired,
        Standing::Trialing { cancel_at: None },
        Standing::Active { cancel_at: None },
        Standing::Active { cancel_at },
        Standing::PastDue { cancel_at: None },
        Standing::Unpaid,
        Standing::Paused,
        Standing::Canceled { ended_at: day(10) },
    ];
    let moments = [
        ("before the end", day(32).plus_millis(-1)),
        ("at the end", day(32)),
        ("in grace", day(39).plus_millis(-1)),
        ("at the end of grace", day(39)),
        ("later", day(60)),
    ];
    let mut lines = vec![];
    let mut row = |name: String, subscription: &Subscription| {
        for (moment, now) in moments {
            let said = match entitlement(subscription, &catalog(), now) {
                Ok(grant) => format!(
                    "{} {}{} until {}, grace until {}",
                    grant.plan,
                    grant.status,
                    if grant.trial { " (trial)" } else { "" },
                    grant.paid_until.date_in_words(),
                    grant.grace_until.date_in_words()
                ),
                Err(ended) => format!("none: {}", ended.word()),
            };
            lines.push(format!("{name:<32} {moment:<20} {said}"));
        }
    };
    row("our trial".into(), &trial_until(32));
    for standing in standings {
        let planned = matches!(standing, Standing::Active { cancel_at: Some(_) });
        let name = format!("{}{}", standing.word(), if planned { ", end planned" } else { "" });
        row(name, &provided("sub_1", standing));
    }
    for money in [Money::PartlyRefunded, Money::Disputed, Money::Held, Money::Refunded, Money::DisputeLost] {
        row(format!("active, {}", money.word()), &with_money(money));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

/// Active, paid until day 32; where the money is gone, that is the end of the period before.
fn with_money(money: Money) -> Subscription {
    let mut subscription = provided("sub_1", ACTIVE);
    if let State::Provided(provided) = &mut subscription.state {
        provided.money = money;
    }
    subscription
}

#[test]
fn nothing_was_ever_paid_so_nothing_is_given() {
    let mut unpaid = provided("sub_1", ACTIVE);
    if let State::Provided(provided) = &mut unpaid.state {
        provided.paid_until = None;
    }
    assert_eq!(entitlement(&unpaid, &catalog(), day(3)), Err(Ended::NotPaid));
}

#[test]
fn the_renewal_that_is_not_paid_yet_extends_nothing() {
    let mut renewing = provided("sub_1", ACTIVE);
    if let State::Provided(provided) = &mut renewing.state {
        provided.period_ends_at = Some(day(62));
    }
    let grant = entitlement(&renewing, &catalog(), day(33)).unwrap();
    assert_eq!((grant.paid_until, grant.grace_until), (day(32), day(39)));
    assert_eq!(entitlement(&renewing, &catalog(), day(39)), Err(Ended::NotPaid));
}

#[test]
fn features_and_limits_are_those_of_the_plan_of_today() {
    let grant = entitlement(&provided("sub_1", ACTIVE), &catalog(), day(3)).unwrap();
    assert_eq!(grant.features, ["professional_feature", "export"]);
    assert_eq!(grant.limits.get("seats"), Some(&5));
}

#[test]
fn a_plan_that_left_the_catalogue_gives_nothing_and_says_so() {
    let gone = Subscription { plan: PlanCode::new("gold"), ..provided("sub_1", ACTIVE) };
    assert_eq!(entitlement(&gone, &catalog(), day(3)), Err(Ended::PlanGone));
}

#[test]
fn the_expiry_is_whole_seconds_and_never_before_the_paid_end() {
    let paid_until = day(32).plus_millis(999);
    assert_eq!(expiry(&plan("a", 0, 0, vec![]), paid_until), day(32));
    assert_eq!(expiry(&plan("a", 0, 7, vec![]), paid_until), day(39));
    assert_eq!(expiry(&plan("a", 0, 3650, vec![]), day(32)), day(32 + 3650));
}

#[test]
fn nothing_gives_a_right_under_a_hold_and_without_one_the_subscription_decides() {
    for subscription in
        [trial_until(15), trial_until(1), provided("sub_1", ACTIVE), provided("sub_1", Standing::Paused)]
    {
        assert_eq!(right(&subscription, Hold::Revoked, &catalog(), day(3)), Err(Ended::Revoked));
        assert_eq!(
            right(&subscription, Hold::Free, &catalog(), day(3)),
            entitlement(&subscription, &catalog(), day(3))
        );
    }
    assert_eq!(Ended::Revoked.word(), "revoked");
}

#[test]
fn an_address_that_is_not_verified_keeps_back_a_trial_and_nothing_that_is_paid() {
    let under = |subscription: &Subscription| right(subscription, Hold::Unverified, &catalog(), day(3));
    assert_eq!(under(&trial_until(15)), Err(Ended::EmailNotVerified));
    assert_eq!(under(&trial_until(1)), Err(Ended::TrialOver), "verifying would not help");
    for standing in [ACTIVE, Standing::Trialing { cancel_at: None }, Standing::Paused] {
        let subscription = provided("sub_1", standing);
        assert_eq!(under(&subscription), entitlement(&subscription, &catalog(), day(3)));
    }
    assert_eq!(Ended::EmailNotVerified.word(), "email_not_verified");
}
