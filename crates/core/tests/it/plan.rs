use counterfoil_core::plan::InvalidCatalog;
use counterfoil_core::{Catalog, Interval, Plan, PlanCode, Price, PriceId};

use crate::support::{catalog, plan, price};

fn trial() -> Plan {
    plan("trial", 14, 0, vec![])
}

/// The refusal of a catalogue of the trial and one more plan, changed by the test.
fn refusal(change: impl FnOnce(&mut Plan)) -> String {
    let mut other = plan("starter", 0, 3, vec![price("price_starter", Interval::Month)]);
    change(&mut other);
    let InvalidCatalog(text) = Catalog::new(vec![trial(), other]).expect_err("the catalogue passed");
    text
}

#[test]
fn a_good_catalogue_finds_plans_and_prices() {
    let catalog = catalog();
    assert_eq!(catalog.trial().code.as_str(), "trial");
    assert_eq!(catalog.plans().len(), 3);
    assert!(catalog.find(&PlanCode::new("professional")).is_some());
    assert!(catalog.find(&PlanCode::new("Professional")).is_none());
    let (plan, price) = catalog.find_price(&PriceId::new("price_pro_yearly")).unwrap();
    assert_eq!((plan.code.as_str(), price.interval), ("professional", Interval::Year));
    assert!(catalog.find_price(&PriceId::new("price_gone")).is_none());
    let for_sale: Vec<_> = catalog.for_sale().map(|plan| plan.code.as_str()).collect();
    assert_eq!(for_sale, ["starter", "professional"]);
}

#[test]
fn prices_are_shown_in_one_currency() {
    let mut two = plan("two", 0, 0, vec![price("m_eur", Interval::Month), price("y_eur", Interval::Year)]);
    two.prices.insert(1, Price { currency: "usd".into(), ..price("m_usd", Interval::Month) });
    let shown = |currency| two.prices_in(currency).map(|price| price.stripe_price.as_str()).collect::<Vec<_>>();
    assert_eq!(shown(None), ["m_eur", "y_eur"]);
    assert_eq!(shown(Some("eur")), ["m_eur", "y_eur"]);
    assert_eq!(shown(Some("usd")), ["m_usd"]);
    assert_eq!(shown(Some("gbp")), [""; 0]);
    assert_eq!(trial().prices_in(None).count(), 0);
    assert!(Catalog::new(vec![trial(), two]).is_ok());
}

#[test]
fn an_interval_has_one_price_in_a_currency() {
    let again = |plan: &mut Plan| plan.prices.push(price("price_other", Interval::Month));
    assert_eq!(refusal(again), "the plan `starter` has two prices per month in `eur`");
}

#[test]
fn intervals_are_read_as_people_write_them() {
    for interval in [Interval::Month, Interval::Year] {
        assert_eq!(Interval::parse(interval.as_str()), Some(interval));
        assert_eq!(serde_json::to_string(&interval).unwrap(), format!("{:?}", interval.as_str()));
    }
    assert_eq!(Interval::parse("monthly"), Some(Interval::Month));
    assert_eq!(Interval::parse("yearly"), Some(Interval::Year));
    for word in ["", "Month", "week", "month "] {
        assert_eq!(Interval::parse(word), None, "{word:?}");
    }
}

#[test]
fn an_interval_in_json_is_a_word_and_nothing_else() {
    for interval in [Interval::Month, Interval::Year] {
        let text = serde_json::to_string(&interval).unwrap();
        assert_eq!(text, format!("\"{}\"", interval.as_str()));
        assert_eq!(serde_json::from_str::<Interval>(&text).unwrap(), interval);
    }
    for text in [r#"{"month":null}"#, r#""monthly""#, r#""Month""#, "0", "null", "[\"month\"]"] {
        assert!(serde_json::from_str::<Interval>(text).is_err(), "{text}");
    }
    let error = serde_json::from_str::<Interval>("\"week\"").unwrap_err().to_string();
    assert!(error.contains("`week`") && error.contains("`month` or `year`"), "{error}");
}

#[test]
fn codes_are_short_plain_words() {
    for code in ["", "Starter", "star ter", "stärter", "starter\n", &"x".repeat(65)] {
        let said = refusal(|plan| plan.code = PlanCode::new(code));
        assert_eq!(said, format!("`{code}` is no plan code: use 1 to 64 of a-z, 0-9, `-` and `_`"));
    }
    for code in ["s", "pro-2_x", &"x".repeat(64)] {
        assert!(Catalog::new(vec![trial(), plan(code, 0, 0, vec![])]).is_ok(), "{code}");
    }
}

#[test]
fn a_catalogue_says_which_plan_breaks_which_rule() {
    let price_id = |text: &str| {
        let text = text.to_owned();
        move |plan: &mut Plan| plan.prices[0].stripe_price = text
    };
    let currency = |text: &str| {
        let text = text.to_owned();
        move |plan: &mut Plan| plan.prices[0].currency = text
    };
    assert_eq!(refusal(|plan| plan.name = "  ".into()), "the plan `starter` needs a name");
    assert_eq!(
        refusal(|plan| plan.features = vec!["x".into(); 201]),
        "the plan `starter` has more than 200 features or limits"
    );
    assert_eq!(
        refusal(|plan| plan.limits = (0..201).map(|n| (n.to_string(), n)).collect()),
        "the plan `starter` has more than 200 features or limits"
    );
    assert_eq!(
        refusal(|plan| plan.prices = (0..51).map(|n| price(&n.to_string(), Interval::Month)).collect()),
        "the plan `starter` has more than 50 prices"
    );
    assert_eq!(
        refusal(|plan| plan.grace_days = 3651),
        "the plan `starter` has a trial or grace of more than 3650 days"
    );
    assert_eq!(
        refusal(|plan| plan.trial_days = u32::MAX),
        "the plan `starter` has a trial or grace of more than 3650 days"
    );
    assert_eq!(refusal(|plan| plan.prices[0].amount = -1), "the plan `starter` has a negative amount");
    assert_eq!(refusal(price_id("")), "a price of the plan `starter` needs the `stripe_price` id");
    assert_eq!(refusal(price_id(&"p".repeat(256))), "a price of the plan `starter` needs the `stripe_price` id");
    for text in ["", "EUR", "euro", "e1r", "é€"] {
        assert_eq!(refusal(currency(text)), format!("`{text}` in the plan `starter` is no currency: write `eur`"));
    }
}

#[test]
fn what_stands_at_a_bound_is_allowed() {
    let of = |n: u8| Price {
        currency: format!("e{}{}", char::from(b'a' + n / 2 / 26), char::from(b'a' + n / 2 % 26)),
        amount: 0,
        ..price(&format!("{n:p>255}"), if n.is_multiple_of(2) { Interval::Month } else { Interval::Year })
    };
    let largest = Plan {
        features: vec!["x".into(); 200],
        limits: (0..200).map(|n| (n.to_string(), n)).collect(),
        ..plan("largest", 0, 3650, (0..50).map(of).collect())
    };
    assert_eq!(Catalog::new(vec![plan("trial", 3650, 0, vec![]), largest]).err(), None);
}

#[test]
fn codes_and_price_ids_are_unique() {
    assert_eq!(refusal(|plan| plan.code = PlanCode::new("trial")), "the plan `trial` is there twice");
    let twice = |plan: &mut Plan| plan.prices.push(price("price_starter", Interval::Year));
    assert_eq!(refusal(twice), "the price `price_starter` is used twice");
    let one = plan("one", 0, 0, vec![price("price_x", Interval::Month)]);
    let two = plan("two", 0, 0, vec![price("price_x", Interval::Month)]);
    let InvalidCatalog(said) = Catalog::new(vec![trial(), one, two]).unwrap_err();
    assert_eq!(said, "the price `price_x` is used twice");
}

#[test]
fn exactly_one_plan_is_the_trial() {
    let none = "one plan needs `trial_days` above zero: it is what signing up starts";
    assert_eq!(Catalog::new(vec![]), Err(InvalidCatalog(none.into())));
    assert_eq!(Catalog::new(vec![plan("starter", 0, 0, vec![])]), Err(InvalidCatalog(none.into())));
    let said = refusal(|plan| plan.trial_days = 1);
    assert_eq!(said, "only one plan may have `trial_days`: it is what signing up starts");
}

#[test]
fn a_hundred_plans_are_the_limit() {
    let plans = |count: usize| {
        let others = (1..count).map(|n| plan(&format!("p{n}"), 0, 0, vec![]));
        Catalog::new(std::iter::once(trial()).chain(others).collect())
    };
    assert!(plans(100).is_ok());
    assert_eq!(plans(101), Err(InvalidCatalog("at most 100 plans".into())));
}

#[test]
fn an_unknown_key_in_a_plan_is_refused() {
    let good =
        r#"{"code":"a","name":"A","prices":[{"interval":"month","currency":"eur","amount":1,"stripe_price":"p"}]}"#;
    let read: Plan = serde_json::from_str(good).unwrap();
    assert_eq!((read.trial_days, read.grace_days, read.features.len()), (0, 0, 0));
    for bad in [good.replace("\"name\"", "\"nmae\""), good.replace("\"amount\"", "\"amonut\"")] {
        assert!(serde_json::from_str::<Plan>(&bad).is_err(), "{bad}");
    }
}
