use counterfoil_core::checkout::{
    CheckoutTrial, Currency, carried_trial, carries_as_much, choose_price, refuse_if_live,
};
use counterfoil_core::subscription::Standing;
use counterfoil_core::{Catalog, Interval, PlanCode, Price, Refusal, Timestamp};

use crate::support::{ACTIVE, catalog, day, plan, provided, trial_until};

fn choose(plan: &str, interval: Option<Interval>) -> Result<String, Refusal> {
    choose_price(&catalog(), &PlanCode::new(plan), interval, Currency::default()).map(|(plan, price)| {
        assert!(plan.prices.contains(price));
        price.stripe_price.clone()
    })
}

fn known() -> Vec<String> {
    vec!["starter".into(), "professional".into()]
}

#[test]
fn plan_and_interval_name_one_price() {
    assert_eq!(choose("professional", None).unwrap(), "price_pro_monthly");
    assert_eq!(choose("professional", Some(Interval::Month)).unwrap(), "price_pro_monthly");
    assert_eq!(choose("professional", Some(Interval::Year)).unwrap(), "price_pro_yearly");
    assert_eq!(choose("starter", None).unwrap(), "price_starter");
}

#[test]
fn what_cannot_be_bought_is_refused_with_what_can() {
    assert_eq!(choose("gold", None), Err(Refusal::PlanUnknown { asked: "gold".into(), known: known() }));
    assert_eq!(choose("trial", None), Err(Refusal::PlanNotForSale { plan: "trial".into(), known: known() }));
    assert_eq!(
        choose("starter", Some(Interval::Year)),
        Err(Refusal::IntervalUnavailable {
            plan: "starter".into(),
            interval: "year".into(),
            known: vec!["month".into()]
        })
    );
}

#[test]
fn what_there_is_instead_is_named_once_each_in_the_order_of_the_catalog() {
    let refused = |interval, asked| {
        let currency = Currency { asked: Some(asked), locked: None };
        choose_price(&in_three_currencies(), &PlanCode::new("professional"), interval, currency).unwrap_err()
    };
    let known = |codes: &[&str]| codes.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (interval, expected) in [(None, known(&["EUR", "USD", "GBP"])), (Some(Interval::Year), known(&["USD", "EUR"]))]
    {
        let Refusal::CurrencyUnavailable { known, .. } = refused(interval, "chf") else { panic!("{interval:?}") };
        assert_eq!(known, expected);
    }
}

#[test]
fn a_refusal_repeats_only_the_beginning_of_what_was_asked() {
    let Err(Refusal::PlanUnknown { asked, .. }) = choose(&"é".repeat(10_000), None) else { panic!("it passed") };
    assert_eq!(asked, "é".repeat(64));
}

#[test]
fn only_a_live_subscription_is_in_the_way_of_another() {
    let ended_at = crate::support::day(9);
    for live in [ACTIVE, Standing::PastDue { cancel_at: None }, Standing::Unpaid, Standing::Paused] {
        assert_eq!(refuse_if_live(&provided("sub_1", live)), Err(Refusal::AlreadySubscribed), "{live:?}");
    }
    for over in [Standing::Canceled { ended_at }, Standing::IncompleteExpired, Standing::Incomplete] {
        assert_eq!(refuse_if_live(&provided("sub_1", over)), Ok(()), "{over:?}");
    }
    assert_eq!(refuse_if_live(&trial_until(15)), Ok(()));
}

/// Plan, interval, the currency that is asked for, the one that is settled, and the price or the refusal.
type Row = (&'static str, Option<Interval>, Option<&'static str>, Option<&'static str>, String);

/// `professional` in three currencies, the yearly one not in pounds; `abroad` in dollars only.
fn in_three_currencies() -> Catalog {
    let price = |id: &str, interval, currency: &str| Price {
        interval,
        currency: currency.to_owned(),
        amount: 4900,
        stripe_price: id.to_owned(),
    };
    let prices = vec![
        price("m_eur", Interval::Month, "eur"),
        price("m_usd", Interval::Month, "usd"),
        price("m_gbp", Interval::Month, "gbp"),
        price("y_usd", Interval::Year, "usd"),
        price("y_eur", Interval::Year, "eur"),
    ];
    let abroad = vec![price("a_usd", Interval::Month, "usd")];
    let plans = vec![plan("trial", 14, 0, vec![]), plan("professional", 0, 7, prices), plan("abroad", 0, 7, abroad)];
    Catalog::new(plans).expect("a catalogue")
}

fn choose_in(plan_code: &str, interval: Option<Interval>, asked: Option<&str>, locked: Option<&str>) -> String {
    match choose_price(&in_three_currencies(), &PlanCode::new(plan_code), interval, Currency { asked, locked }) {
        Ok((_, price)) => price.stripe_price.clone(),
        Err(refusal) => refusal.to_string(),
    }
}

#[test]
fn the_price_is_in_the_currency_that_was_asked_for_or_paid_in_before() {
    use Interval::{Month, Year};
    let locked = |is: &str, price: &str| {
        format!(
            "This customer pays in {is}, and this price is in {price}: a customer has one currency only. Choose a plan that is \
             sold in {is}, or sign up with another account to pay in {price}."
        )
    };
    let table: [Row; 14] = [
        ("professional", None, None, None, "m_eur".into()),
        ("professional", Some(Year), None, None, "y_usd".into()),
        ("professional", None, Some("usd"), None, "m_usd".into()),
        ("professional", Some(Year), Some("eur"), None, "y_eur".into()),
        ("professional", None, None, Some("usd"), "m_usd".into()),
        ("professional", Some(Year), None, Some("eur"), "y_eur".into()),
        ("professional", None, Some("usd"), Some("usd"), "m_usd".into()),
        ("professional", None, Some("usd"), Some("eur"), locked("EUR", "USD")),
        ("professional", Some(Year), None, Some("gbp"), locked("GBP", "USD")),
        ("abroad", None, None, Some("eur"), locked("EUR", "USD")),
        ("abroad", Some(Month), Some("usd"), Some("eur"), locked("EUR", "USD")),
        ("abroad", None, Some("eur"), None, "The plan `abroad` is not sold in EUR. It is sold in: USD.".into()),
        ("abroad", None, Some("eur"), Some("eur"), "The plan `abroad` is not sold in EUR. It is sold in: USD.".into()),
        (
            "abroad",
            Some(Year),
            Some("usd"),
            None,
            "The plan `abroad` has no price per year. It is sold per: month.".into(),
        ),
    ];
    for (plan, interval, asked, locked, expected) in table {
        assert_eq!(choose_in(plan, interval, asked, locked), expected, "{plan} {interval:?} {asked:?} {locked:?}");
    }
    let long = choose_in("abroad", None, Some(&"x".repeat(10_000)), None);
    assert!(long.len() < 100, "a refusal repeats only the beginning of what was asked");
}

const HOURS: i64 = 3600;
const SHORTEST: i64 = 48 * HOURS + 60;
const LONGEST: i64 = 730 * 24 * HOURS - 60;

/// What is carried of a trial with so many seconds left, in seconds from now.
fn carried(left: i64, policy: CheckoutTrial) -> Option<i64> {
    let now = day(10);
    let trial = counterfoil_core::Subscription::trial(PlanCode::new("trial"), now.plus_seconds(left));
    carried_trial(policy, &trial, now).map(|end| end.seconds_since(now))
}

#[test]
fn what_is_left_of_a_trial_is_carried_within_what_the_provider_takes() {
    let table = [
        (-1, None),
        (0, None),
        (1, Some(SHORTEST)),
        (47 * HOURS, Some(SHORTEST)),
        (48 * HOURS - 1, Some(SHORTEST)),
        (48 * HOURS, Some(SHORTEST)),
        (48 * HOURS + 1, Some(SHORTEST)),
        (SHORTEST - 1, Some(SHORTEST)),
        (SHORTEST, Some(SHORTEST)),
        (SHORTEST + 1, Some(SHORTEST + 1)),
        (14 * 24 * HOURS, Some(14 * 24 * HOURS)),
        (LONGEST - 1, Some(LONGEST - 1)),
        (LONGEST, Some(LONGEST)),
        (LONGEST + 1, Some(LONGEST)),
        (3650 * 24 * HOURS, Some(LONGEST)),
    ];
    for (left, expected) in table {
        assert_eq!(carried(left, CheckoutTrial::Carry), expected, "{left}");
        assert_eq!(carried(left, CheckoutTrial::End), None, "paying ends it");
    }
    let whole = carried_trial(CheckoutTrial::Carry, &trial_until(20), day(10).plus_millis(1900));
    assert_eq!(whole, Some(day(20)));
}

#[test]
fn a_trial_that_a_subscription_has_followed_is_not_given_again() {
    for standing in [ACTIVE, Standing::Trialing { cancel_at: None }, Standing::Canceled { ended_at: day(3) }] {
        assert_eq!(carried_trial(CheckoutTrial::Carry, &provided("sub_1", standing), day(4)), None, "{standing:?}");
    }
}

#[test]
fn an_open_session_is_as_good_while_it_gives_the_customers_trial() {
    let fits = |offered: Option<Timestamp>, ends: i64, now: Timestamp| {
        carries_as_much(offered, CheckoutTrial::Carry, &trial_until(ends), now)
    };
    assert!(fits(Some(day(15)), 15, day(5)), "the very same end");
    assert!(fits(Some(day(15)), 15, day(14).plus_seconds(-1)), "also when a new one would be rounded up");
    let rounded = day(14).plus_seconds(SHORTEST);
    assert!(fits(Some(rounded), 15, day(14)), "what was rounded up");
    assert!(fits(Some(rounded), 15, day(15).plus_seconds(-1)), "and is not rounded up anew");
    assert!(!fits(Some(rounded), 15, day(15)), "the trial is over, and none is given any more");
    assert!(!fits(Some(day(15)), 22, day(5)), "it was extended");
    assert!(!fits(Some(day(15).plus_seconds(-1)), 15, day(5)), "a second short of what is left");
    assert!(!fits(None, 15, day(5)), "one without a trial");
    assert!(fits(None, 15, day(15)), "which is right once it is over");
    let far = carried_trial(CheckoutTrial::Carry, &trial_until(3000), day(1));
    assert!(far.is_some_and(|far| far < day(3000)) && fits(far, 3000, day(2).plus_seconds(-1)), "the bound moves");
    assert!(!carries_as_much(Some(day(15)), CheckoutTrial::End, &trial_until(15), day(5)), "the setting changed");
    assert!(carries_as_much(None, CheckoutTrial::End, &trial_until(15), day(5)));
    let over = provided("sub_1", Standing::Canceled { ended_at: day(3) });
    assert!(carries_as_much(None, CheckoutTrial::Carry, &over, day(5)));
    assert!(!carries_as_much(Some(day(15)), CheckoutTrial::Carry, &over, day(5)));
}
