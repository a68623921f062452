//! The stories behind `reduce`: what happens to real customers, one surprise each.

use counterfoil_core::checkout::refuse_if_live;
use counterfoil_core::entitlement::{Ended, entitlement};
use counterfoil_core::facts::{Facts, Money, ProviderStatus, SubscriptionFacts};
use counterfoil_core::subscription::{Attention, Standing, State};
use counterfoil_core::{ExternalSubscriptionId, Interval, PriceId, Subscription, reduce};

use crate::support::{ACTIVE, catalog, day, facts_of, listed, provided, provided_part, trial_until};

fn look(current: &Subscription, facts: &Facts, on_day: i64) -> Subscription {
    reduce(current, facts, &catalog(), day(on_day))
}

fn canceled(id: &str, ended_on: i64) -> SubscriptionFacts {
    SubscriptionFacts { ended_at: Some(day(ended_on)), ..facts_of(id, ProviderStatus::Canceled) }
}

fn id_of(subscription: &Subscription) -> &str {
    provided_part(subscription).id.as_str()
}

fn has_right(subscription: &Subscription, on_day: i64) -> bool {
    entitlement(subscription, &catalog(), day(on_day)).is_ok()
}

#[test]
fn an_upgrade_in_the_trial_ends_the_trial_and_keeps_its_date() {
    let paid = look(&trial_until(15), &listed([facts_of("sub_1", ProviderStatus::Active)]), 5);
    assert_eq!(paid, provided("sub_1", ACTIVE));
    let again = look(&paid, &listed([facts_of("sub_1", ProviderStatus::Active)]), 20);
    assert_eq!(again, paid, "a later look changes nothing");
}

#[test]
fn a_payment_under_way_leaves_the_trial_as_it_is() {
    let under_way = SubscriptionFacts { paid_until: None, ..facts_of("sub_1", ProviderStatus::Active) };
    for current in [trial_until(15), trial_until(2)] {
        assert_eq!(look(&current, &listed([under_way.clone()]), 5), current);
    }
    let paid = look(&trial_until(15), &listed([facts_of("sub_1", ProviderStatus::Active)]), 8);
    assert_eq!(provided_part(&paid).paid_until, Some(day(32)));
}

#[test]
fn a_first_payment_that_never_came_leaves_checkout_open() {
    let never = SubscriptionFacts { paid_until: None, ..facts_of("sub_1", ProviderStatus::IncompleteExpired) };
    let after = look(&trial_until(2), &listed([never]), 5);
    assert_eq!(after, trial_until(2));
    assert_eq!(refuse_if_live(&after), Ok(()));
    assert!(!has_right(&after, 5));
}

#[test]
fn a_renewal_draft_moves_the_period_and_not_the_paid_time() {
    let draft = SubscriptionFacts { period_ends_at: Some(day(62)), ..facts_of("sub_1", ProviderStatus::Active) };
    let renewing = look(&provided("sub_1", ACTIVE), &listed([draft.clone()]), 32);
    assert_eq!(provided_part(&renewing).period_ends_at, Some(day(62)));
    assert_eq!(provided_part(&renewing).paid_until, Some(day(32)));
    let money = SubscriptionFacts { paid_until: Some(day(62)), ..draft };
    let renewed = look(&renewing, &listed([money]), 32);
    assert_eq!(provided_part(&renewed).paid_until, Some(day(62)));
}

#[test]
fn a_failed_renewal_lives_on_grace_and_recovers() {
    let failed = SubscriptionFacts { period_ends_at: Some(day(62)), ..facts_of("sub_1", ProviderStatus::PastDue) };
    let late = look(&provided("sub_1", ACTIVE), &listed([failed]), 33);
    assert_eq!(provided_part(&late).standing.word(), "past_due");
    assert!(has_right(&late, 38) && !has_right(&late, 39));
    let recovered = SubscriptionFacts {
        period_ends_at: Some(day(62)),
        paid_until: Some(day(62)),
        ..facts_of("sub_1", ProviderStatus::Active)
    };
    assert!(has_right(&look(&late, &listed([recovered]), 50), 50));
}

#[test]
fn a_planned_end_is_shown_and_taken_back() {
    let planned = SubscriptionFacts { cancel_at: Some(day(32)), ..facts_of("sub_1", ProviderStatus::Active) };
    let leaving = look(&provided("sub_1", ACTIVE), &listed([planned]), 10);
    assert_eq!(provided_part(&leaving).standing, Standing::Active { cancel_at: Some(day(32)) });
    assert!(has_right(&leaving, 31));
    let stayed = look(&leaving, &listed([facts_of("sub_1", ProviderStatus::Active)]), 11);
    assert_eq!(stayed, provided("sub_1", ACTIVE));
}

#[test]
fn an_end_at_once_ends_the_right_at_once() {
    let ended = look(&provided("sub_1", ACTIVE), &listed([canceled("sub_1", 10)]), 11);
    assert_eq!(provided_part(&ended).standing, Standing::Canceled { ended_at: day(10) });
    assert_eq!(entitlement(&ended, &catalog(), day(11)), Err(Ended::Canceled));
    let undated = look(&provided("sub_1", ACTIVE), &listed([facts_of("sub_1", ProviderStatus::Canceled)]), 11);
    assert_eq!(provided_part(&undated).standing, Standing::Canceled { ended_at: day(11) }, "without a date it is now");
}

#[test]
fn a_plan_changed_in_the_portal_is_followed() {
    for (price, plan, interval) in
        [("price_starter", "starter", Interval::Month), ("price_pro_yearly", "professional", Interval::Year)]
    {
        let changed =
            SubscriptionFacts { prices: vec![PriceId::new(price)], ..facts_of("sub_1", ProviderStatus::Active) };
        let after = look(&provided("sub_1", ACTIVE), &listed([changed]), 10);
        assert_eq!((after.plan.as_str(), provided_part(&after).interval), (plan, Some(interval)));
    }
}

#[test]
fn the_end_of_an_old_subscription_never_harms_the_new_one() {
    let new = SubscriptionFacts { created_at: day(9), ..facts_of("sub_new", ProviderStatus::Active) };
    for current in [
        trial_until(15),
        provided("sub_new", ACTIVE),
        provided("sub_old", ACTIVE),
        provided("sub_old", Standing::Unpaid),
        provided("sub_old", Standing::Canceled { ended_at: day(10) }),
    ] {
        for facts in [listed([canceled("sub_old", 10), new.clone()]), listed([new.clone(), canceled("sub_old", 10)])] {
            let after = look(&current, &facts, 11);
            assert_eq!((id_of(&after), provided_part(&after).standing), ("sub_new", ACTIVE), "from {current:?}");
            assert_eq!(after.attention, None);
        }
    }
}

#[test]
fn of_two_live_ones_the_one_that_governs_stays_and_an_operator_is_told() {
    let older = facts_of("sub_older", ProviderStatus::Active);
    let younger = SubscriptionFacts { created_at: day(3), ..facts_of("sub_younger", ProviderStatus::Active) };
    let both = listed([younger.clone(), older.clone()]);
    let fresh = look(&trial_until(15), &both, 5);
    assert_eq!((id_of(&fresh), fresh.attention), ("sub_older", Some(Attention::SeveralLive)));
    let kept = look(&provided("sub_younger", ACTIVE), &both, 5);
    assert_eq!((id_of(&kept), kept.attention), ("sub_younger", Some(Attention::SeveralLive)));
    let solved = look(&kept, &listed([canceled("sub_older", 6), younger]), 7);
    assert_eq!((id_of(&solved), solved.attention), ("sub_younger", None));
}

#[test]
fn a_lapsed_subscription_never_hides_a_paid_one() {
    let paid = SubscriptionFacts {
        created_at: day(40),
        period_ends_at: Some(day(70)),
        paid_until: Some(day(70)),
        ..facts_of("sub_new", ProviderStatus::Active)
    };
    for status in [ProviderStatus::Unpaid, ProviderStatus::Paused, ProviderStatus::PastDue] {
        let after = look(&provided("sub_1", ACTIVE), &listed([facts_of("sub_1", status.clone()), paid.clone()]), 45);
        assert_eq!(id_of(&after), "sub_new", "beside {status:?}");
        assert!(has_right(&after, 45));
        assert_eq!(after.attention, Some(Attention::SeveralLive));
    }
    let in_grace = look(&provided("sub_1", ACTIVE), &listed([facts_of("sub_1", ProviderStatus::PastDue), paid]), 35);
    assert_eq!(id_of(&in_grace), "sub_1", "as long as the first gives a right, it stays");
}

#[test]
fn a_second_one_without_money_changes_nothing() {
    let unpaid = SubscriptionFacts { paid_until: None, ..facts_of("sub_2", ProviderStatus::Active) };
    let facts = listed([unpaid, facts_of("sub_1", ProviderStatus::Active)]);
    assert_eq!(look(&provided("sub_1", ACTIVE), &facts, 5), provided("sub_1", ACTIVE));
}

#[test]
fn a_price_in_no_plan_keeps_the_plan_and_is_flagged() {
    let unmapped = SubscriptionFacts {
        prices: vec![PriceId::new("price_of_another_product")],
        ..facts_of("sub_1", ProviderStatus::Active)
    };
    let after = look(&provided("sub_1", ACTIVE), &listed([unmapped.clone()]), 5);
    assert_eq!(after, Subscription { attention: Some(Attention::PriceUnmapped), ..provided("sub_1", ACTIVE) });
    let fresh = look(&trial_until(15), &listed([unmapped]), 5);
    assert_eq!((fresh.plan.as_str(), fresh.attention), ("trial", Some(Attention::PriceUnmapped)));
    assert!(has_right(&fresh, 31), "who paid is not left with nothing");
    let mended = look(&after, &listed([facts_of("sub_1", ProviderStatus::Active)]), 6);
    assert_eq!(mended, provided("sub_1", ACTIVE));
}

#[test]
fn an_extra_item_beside_the_plan_is_no_matter() {
    let prices = vec![PriceId::new("price_extra"), PriceId::new("price_pro_monthly")];
    let with_extra = SubscriptionFacts { prices, ..facts_of("sub_1", ProviderStatus::Active) };
    assert_eq!(look(&trial_until(15), &listed([with_extra]), 5), provided("sub_1", ACTIVE));
}

#[test]
fn an_unknown_word_keeps_everything_and_is_flagged() {
    let unknown = facts_of("sub_1", ProviderStatus::parse("hibernating"));
    for current in [trial_until(15), provided("sub_1", ACTIVE), provided("sub_1", Standing::Unpaid)] {
        let flagged = Subscription { attention: Some(Attention::StatusUnknown), ..current.clone() };
        assert_eq!(look(&current, &listed([unknown.clone()]), 5), flagged);
    }
    let both = listed([unknown, facts_of("sub_2", ProviderStatus::Active)]);
    assert_eq!(id_of(&look(&trial_until(15), &both, 5)), "sub_2", "it does not push out a live one");
}

#[test]
fn a_date_that_is_known_is_never_replaced_by_none() {
    let dateless =
        SubscriptionFacts { period_ends_at: None, paid_until: None, ..facts_of("sub_1", ProviderStatus::Active) };
    assert_eq!(look(&provided("sub_1", ACTIVE), &listed([dateless]), 5), provided("sub_1", ACTIVE));
    let other = SubscriptionFacts { period_ends_at: None, ..facts_of("sub_2", ProviderStatus::Active) };
    let gone = listed([canceled("sub_1", 4), other]);
    let after = look(&provided("sub_1", ACTIVE), &gone, 5);
    assert_eq!(provided_part(&after).period_ends_at, None, "the dates of another subscription are not its own");
}

#[test]
fn what_is_over_stays_over() {
    let over = Standing::Canceled { ended_at: day(4) };
    for status in [ProviderStatus::Active, ProviderStatus::Trialing, ProviderStatus::PastDue, ProviderStatus::Canceled]
    {
        let current = provided("sub_1", over);
        assert_eq!(look(&current, &listed([facts_of("sub_1", status.clone())]), 5), current);
        let expired = provided("sub_1", Standing::IncompleteExpired);
        assert_eq!(look(&expired, &listed([facts_of("sub_1", status)]), 5), expired);
    }
    let both = listed([facts_of("sub_1", ProviderStatus::Active), facts_of("sub_2", ProviderStatus::Active)]);
    let after = look(&provided("sub_1", over), &both, 5);
    assert_eq!(id_of(&after), "sub_2", "and is in nobody's way");
}

#[test]
fn of_ended_ones_the_newest_says_how_things_ended() {
    let newer = SubscriptionFacts { created_at: day(12), ..canceled("sub_newer", 20) };
    let facts = listed([newer, canceled("sub_older", 10)]);
    for current in [trial_until(15), provided("sub_older", Standing::Canceled { ended_at: day(10) })] {
        let after = look(&current, &facts, 25);
        assert_eq!((id_of(&after), refuse_if_live(&after)), ("sub_newer", Ok(())));
    }
}

#[test]
fn a_deleted_customer_has_no_subscription_left() {
    let deleted = |subscriptions| Facts { customer_deleted: true, subscriptions, ..Facts::default() };
    let gone = provided("sub_1", Standing::Canceled { ended_at: day(5) });
    assert_eq!(look(&provided("sub_1", ACTIVE), &deleted(vec![]), 5), gone);
    let lagging = vec![facts_of("sub_1", ProviderStatus::Active), facts_of("sub_2", ProviderStatus::Active)];
    assert_eq!(look(&provided("sub_1", ACTIVE), &deleted(lagging), 5), gone, "even where the list lags");
    assert_eq!(look(&gone, &deleted(vec![]), 9), gone, "and the date stays");
    assert_eq!(look(&trial_until(15), &deleted(vec![]), 5), trial_until(15), "our trial is not the provider's");
    let dated = deleted(vec![canceled("sub_1", 4)]);
    assert_eq!(
        provided_part(&look(&provided("sub_1", ACTIVE), &dated, 5)).standing,
        Standing::Canceled { ended_at: day(4) }
    );
}

#[test]
fn a_subscription_missing_from_the_list_is_kept_and_flagged() {
    let flagged = Subscription { attention: Some(Attention::Vanished), ..provided("sub_1", ACTIVE) };
    assert_eq!(look(&provided("sub_1", ACTIVE), &listed([]), 5), flagged);
    assert_eq!(
        look(&provided("sub_1", ACTIVE), &listed([canceled("sub_0", 1)]), 5),
        flagged,
        "an old end proves nothing"
    );
    let back = look(&flagged, &listed([facts_of("sub_1", ProviderStatus::Active)]), 6);
    assert_eq!(back, provided("sub_1", ACTIVE));
    let over = provided("sub_1", Standing::Canceled { ended_at: day(4) });
    assert_eq!(look(&over, &listed([]), 5), over, "what is over may be forgotten");
}

#[test]
fn a_trial_that_the_provider_counts_is_a_trial() {
    let trialing = SubscriptionFacts {
        trial_ends_at: Some(day(20)),
        period_ends_at: Some(day(20)),
        paid_until: Some(day(20)),
        ..facts_of("sub_1", ProviderStatus::Trialing)
    };
    let after = look(&trial_until(2), &listed([trialing]), 5);
    let grant = entitlement(&after, &catalog(), day(5)).unwrap();
    assert!(grant.trial);
    assert_eq!((grant.status, grant.paid_until), ("trialing", day(20)));
    assert_eq!(provided_part(&after).trial_ended_at, Some(day(20)));
}

#[test]
fn snapshots_of_one_flow_seen_in_any_order_end_in_one_state() {
    let seen = |status, paid: Option<i64>, cancel: Option<i64>| SubscriptionFacts {
        paid_until: paid.map(day),
        cancel_at: cancel.map(day),
        ..facts_of("sub_1", status)
    };
    let last = seen(ProviderStatus::Active, Some(32), Some(32));
    let snapshots = [
        seen(ProviderStatus::Incomplete, None, None),
        seen(ProviderStatus::Active, None, None),
        seen(ProviderStatus::Active, Some(32), None),
        last.clone(),
    ];
    let expected = provided("sub_1", Standing::Active { cancel_at: Some(day(32)) });
    let mut orders = 0;
    for order in (0..256).map(|n| [n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6 & 3]) {
        // With repetitions: all 24 orders, and each look that was left out or done twice.
        let mut state = trial_until(15);
        for look_at in order {
            state = look(&state, &listed([snapshots[look_at].clone()]), 5);
        }
        assert_eq!(look(&state, &listed([last.clone()]), 5), expected, "after {order:?}");
        orders += 1;
    }
    assert_eq!(orders, 256);
}

#[test]
fn the_provider_ids_that_facts_carry_decide_ties_and_nothing_else() {
    let twin =
        |id: &str| SubscriptionFacts { id: ExternalSubscriptionId::new(id), ..facts_of("", ProviderStatus::Active) };
    for facts in [listed([twin("sub_a"), twin("sub_b")]), listed([twin("sub_b"), twin("sub_a")])] {
        assert_eq!(id_of(&look(&trial_until(15), &facts, 5)), "sub_a");
    }
    assert!(matches!(look(&trial_until(15), &listed([]), 5).state, State::Trial { .. }));
}

#[test]
fn between_the_trials_end_and_its_first_payment_it_is_still_the_trial() {
    let after_trial = |paid_until, now| {
        let facts = SubscriptionFacts {
            trial_ends_at: Some(day(20)),
            period_ends_at: Some(day(50)),
            paid_until: Some(paid_until),
            ..facts_of("sub_1", ProviderStatus::Active)
        };
        reduce(&trial_until(15), &listed([facts]), &catalog(), now)
    };
    let waiting = after_trial(day(20), day(20).plus_seconds(600));
    let grant = entitlement(&waiting, &catalog(), day(20).plus_seconds(600)).unwrap();
    assert_eq!((grant.status, grant.trial, grant.paid_until), ("trialing", true, day(20)));
    let paid = after_trial(day(50), day(20).plus_seconds(3600));
    let grant = entitlement(&paid, &catalog(), day(21)).unwrap();
    assert_eq!((grant.status, grant.trial, grant.paid_until), ("active", false, day(50)));
}

#[test]
fn a_trial_whose_first_payment_went_back_is_no_trial_again() {
    let facts = SubscriptionFacts {
        trial_ends_at: Some(day(20)),
        paid_until: Some(day(20)),
        money: Money::Refunded,
        ..facts_of("sub_1", ProviderStatus::Active)
    };
    let after = reduce(&trial_until(15), &listed([facts]), &catalog(), day(22));
    assert_eq!(after.status_word(day(22)), "active");
    assert!(entitlement(&after, &catalog(), day(22)).is_err());
}

#[test]
fn scenario_72_a_trial_that_is_canceled_ends_when_it_was_canceled() {
    let canceled_on = |ended| {
        let facts = SubscriptionFacts {
            trial_ends_at: Some(day(20)),
            paid_until: Some(day(20)),
            ended_at: Some(ended),
            ..facts_of("sub_1", ProviderStatus::Canceled)
        };
        reduce(&trial_until(15), &listed([facts]), &catalog(), day(40))
    };
    assert_eq!(provided_part(&canceled_on(day(9))).trial_ended_at, Some(day(9)));
    assert_eq!(provided_part(&canceled_on(day(30))).trial_ended_at, Some(day(20)), "it was over already");
}
