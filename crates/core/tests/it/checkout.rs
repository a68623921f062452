use counterfoil_core::checkout::{choose_price, refuse_if_live};
use counterfoil_core::subscription::Standing;
use counterfoil_core::{Interval, PlanCode, Refusal};

use crate::support::{ACTIVE, catalog, provided, trial_until};

fn choose(plan: &str, interval: Option<Interval>) -> Result<String, Refusal> {
    choose_price(&catalog(), &PlanCode::new(plan), interval).map(|(plan, price)| {
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
