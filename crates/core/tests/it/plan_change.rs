use counterfoil_core::facts::{Facts, PlannedPrice, ProviderStatus};
use counterfoil_core::plan_change::{Decision, Present, changeable, decide, is_period_paid, planned};
use counterfoil_core::subscription::{Provided, Standing, State};
use counterfoil_core::{
    Catalog, ExternalSubscriptionId, Interval, PlanCode, Price, PriceId, Refusal, Subscription, reduce,
};

use crate::support::{ACTIVE, day, facts_of, listed, plan, provided, trial_until};

/// `starter` 19 or 190, `professional` 49 or 490, `team` yearly only, `studio` 60 or 500 and
/// next to nothing in another currency, `abroad` in another currency.
fn shop() -> Catalog {
    let price = |id: &str, interval, currency: &str, amount| Price {
        interval,
        currency: currency.to_owned(),
        amount,
        stripe_price: id.to_owned(),
    };
    Catalog::new(vec![
        plan("trial", 14, 0, vec![]),
        plan(
            "starter",
            0,
            3,
            vec![price("s_m", Interval::Month, "eur", 1900), price("s_y", Interval::Year, "eur", 19_000)],
        ),
        plan(
            "professional",
            0,
            7,
            vec![
                price("p_m_usd", Interval::Month, "usd", 5900),
                price("p_m", Interval::Month, "eur", 4900),
                price("p_y", Interval::Year, "eur", 49_000),
            ],
        ),
        plan("team", 0, 7, vec![price("t_y", Interval::Year, "eur", 99_000)]),
        plan(
            "studio",
            0,
            7,
            vec![
                price("st_m_usd", Interval::Month, "usd", 100),
                price("st_m", Interval::Month, "eur", 6000),
                price("st_y", Interval::Year, "eur", 50_000),
            ],
        ),
        plan("abroad", 0, 7, vec![price("a_m", Interval::Month, "usd", 9900)]),
    ])
    .expect("a catalogue")
}

fn wish(current: &str, planned: Option<&str>, plan: &str, interval: Option<Interval>) -> Result<Decision, Refusal> {
    let (price, planned) = (PriceId::new(current), planned.map(PriceId::new));
    let present = Present { standing: ACTIVE, price: &price, planned: planned.as_ref(), is_period_paid: true };
    decide(&shop(), present, &PlanCode::new(plan), interval)
}

fn words(decision: Result<Decision, Refusal>) -> String {
    match decision {
        Ok(Decision::Now(target)) => format!("now {}", target.price.stripe_price),
        Ok(Decision::AtPeriodEnd(target)) => format!("later {}", target.price.stripe_price),
        Ok(Decision::Stay(target)) => format!("stay {}", target.price.stripe_price),
        Ok(Decision::Planned(target)) => format!("planned {}", target.price.stripe_price),
        Err(refusal) => refusal.code().to_owned(),
    }
}

#[test]
fn more_comes_now_and_less_at_the_end_of_the_period() {
    use Interval::{Month, Year};
    let table = [
        ("s_m", "professional", None, "now p_m"),
        ("p_m", "starter", None, "later s_m"),
        ("s_y", "professional", None, "now p_y"),
        ("p_y", "starter", None, "later s_y"),
        // One plan: the year is more than the month, although a month of it costs less.
        ("p_m", "professional", Some(Year), "now p_y"),
        ("p_y", "professional", Some(Month), "later p_m"),
        // Both change: the plan decides, at the interval that both have.
        ("s_m", "professional", Some(Year), "now p_y"),
        ("s_y", "professional", Some(Month), "now p_m"),
        ("p_m", "starter", Some(Year), "later s_y"),
        ("p_y", "starter", Some(Month), "later s_m"),
        // A year of the better plan costs less than twelve months of this one, and is more all the same.
        ("p_m", "studio", Some(Year), "now st_y"),
        ("st_y", "professional", Some(Month), "later p_m"),
        // The plan has no such interval, and none was asked for.
        ("p_m", "team", None, "now t_y"),
        ("t_y", "starter", None, "later s_y"),
        ("p_m", "team", Some(Month), "interval_unavailable"),
        ("p_m", "professional", None, "same_plan"),
        ("p_m", "professional", Some(Month), "same_plan"),
        ("p_m", "abroad", None, "currency_locked"),
        ("p_m", "abroad", Some(Month), "currency_locked"),
        ("p_m_usd", "abroad", None, "now a_m"),
        ("p_m_usd", "starter", None, "currency_locked"),
        ("elsewhere", "professional", None, "change_not_possible"),
        ("p_m", "gold", None, "plan_unknown"),
        ("p_m", "trial", None, "plan_not_for_sale"),
    ];
    for (current, plan, interval, expected) in table {
        assert_eq!(words(wish(current, None, plan, interval)), expected, "{current} -> {plan} {interval:?}");
    }
}

#[test]
fn a_planned_change_is_found_again_replaced_or_taken_back() {
    assert_eq!(words(wish("p_y", Some("s_y"), "starter", None)), "planned s_y");
    assert_eq!(words(wish("p_y", Some("s_y"), "starter", Some(Interval::Month))), "later s_m");
    assert_eq!(words(wish("p_y", Some("s_y"), "professional", None)), "stay p_y");
    assert_eq!(words(wish("p_y", Some("s_y"), "team", None)), "now t_y");
}

#[test]
fn only_what_runs_and_is_paid_for_can_change() {
    let price = PriceId::new("p_m");
    let of = |standing| {
        let present = Present { standing, price: &price, planned: None, is_period_paid: true };
        words(decide(&shop(), present, &PlanCode::new("starter"), None))
    };
    let end = Some(day(32));
    assert_eq!(of(ACTIVE), "later s_m");
    assert_eq!(of(Standing::Trialing { cancel_at: None }), "now s_m");
    for standing in [
        Standing::Active { cancel_at: end },
        Standing::Trialing { cancel_at: end },
        Standing::PastDue { cancel_at: None },
        Standing::Unpaid,
        Standing::Paused,
    ] {
        assert_eq!(of(standing), "change_not_possible", "{standing:?}");
        assert!(changeable(&provided("sub_1", standing)).is_ok());
    }
    for standing in [Standing::Incomplete, Standing::IncompleteExpired, Standing::Canceled { ended_at: day(3) }] {
        assert_eq!(of(standing), "no_subscription");
        assert_eq!(changeable(&provided("sub_1", standing)), Err(Refusal::NoSubscription));
    }
    assert_eq!(changeable(&trial_until(15)), Err(Refusal::NoSubscription));
}

#[test]
fn nothing_is_charged_at_once_in_a_period_that_is_not_paid() {
    let price = PriceId::new("p_m");
    let of = |standing, planned: Option<&str>, plan: &str| {
        let planned = planned.map(PriceId::new);
        let present = Present { standing, price: &price, planned: planned.as_ref(), is_period_paid: false };
        words(decide(&shop(), present, &PlanCode::new(plan), None))
    };
    let trialing = Standing::Trialing { cancel_at: None };
    assert_eq!(of(ACTIVE, None, "studio"), "change_not_possible");
    assert_eq!(of(ACTIVE, Some("s_m"), "studio"), "change_not_possible");
    // The hour after a trial: nothing is at its end, so there is nothing that could wait for it.
    for plan in ["starter", "studio"] {
        assert_eq!(of(trialing, None, plan), "change_not_possible", "{plan}");
    }
    // What charges nothing goes on as before.
    assert_eq!(of(ACTIVE, None, "starter"), "later s_m");
    assert_eq!(of(ACTIVE, Some("s_m"), "starter"), "planned s_m");
    assert_eq!(of(ACTIVE, Some("s_m"), "professional"), "stay p_m");
    assert_eq!(of(ACTIVE, None, "professional"), "same_plan");
    assert_eq!(of(ACTIVE, None, "gold"), "plan_unknown");
}

#[test]
fn a_period_is_paid_when_what_was_paid_reaches_its_end() {
    let paid = provided("sub_1", ACTIVE);
    assert!(is_period_paid(&paid, day(32)) && is_period_paid(&paid, day(31)));
    assert!(!is_period_paid(&paid, day(33)), "the period has moved, the money has not come");
    let never = Subscription {
        state: match paid.state.clone() {
            State::Provided(provided) => State::Provided(Provided { paid_until: None, ..provided }),
            State::Trial { .. } => unreachable!("it is the provider's"),
        },
        ..paid
    };
    assert!(!is_period_paid(&never, day(32)));
    assert!(!is_period_paid(&trial_until(15), day(15)));
}

#[test]
fn a_planned_change_belongs_to_the_subscription_that_governs() {
    let catalog = crate::support::catalog();
    let price = |subscription: &str, price: &str| PlannedPrice {
        subscription: ExternalSubscriptionId::new(subscription),
        price: PriceId::new(price),
        starts_at: day(32),
    };
    let facts = |planned_prices| Facts { planned_prices, ..listed([facts_of("sub_1", ProviderStatus::Active)]) };
    let ours = facts(vec![price("sub_0", "price_pro_yearly"), price("sub_1", "price_starter")]);
    let now = reduce(&trial_until(15), &ours, &catalog, day(3));
    let found = planned(&now, &ours, &catalog).expect("a change");
    assert_eq!((found.plan.as_str(), found.interval, found.starts_at), ("starter", Interval::Month, day(32)));
    for others in [vec![], vec![price("sub_0", "price_starter")], vec![price("sub_1", "price_of_nobody")]] {
        assert_eq!(planned(&now, &facts(others), &catalog), None);
    }
    assert_eq!(planned(&trial_until(15), &ours, &catalog), None);
}
