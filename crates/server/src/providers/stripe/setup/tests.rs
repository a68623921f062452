use serde_json::json;

use super::plan::plan;
use super::*;
use crate::providers::stripe::API_VERSION;
use crate::providers::stripe::events::ASKED_FOR;

const URL: &str = "https://billing.example.com/api/webhooks/stripe";

fn plans() -> Vec<Plan> {
    let plan = |value: Value| serde_json::from_value::<Plan>(value).unwrap();
    vec![
        plan(json!({"code": "trial", "name": "Trial", "trial_days": 14})),
        plan(json!({"code": "pro", "name": "Pro", "description": "For teams.", "prices": [
            {"interval": "month", "currency": "eur", "amount": 4900, "stripe_price": "price_m"},
            {"interval": "year", "currency": "eur", "amount": 49000, "stripe_price": "price_y"},
        ]})),
    ]
}

/// Action, id and reason of each step, with what it is about.
fn steps_for(replace_webhook: bool, found: &Found) -> Vec<(String, String, String, String)> {
    let (plans, instance) = (plans(), InstanceId::from_random([7; 16]));
    let wanted = Wanted { instance: &instance, plans: &plans, webhook_url: Some(URL.to_owned()), replace_webhook };
    let line = |step: Step| {
        (step.subject.to_string(), step.action().to_owned(), step.id.clone().unwrap_or_default(), step.why.clone())
    };
    plan(&wanted, found).into_iter().map(line).collect()
}

#[track_caller]
fn check(found: &Found, about: &str, action: &str, id: &str, why: &str) {
    let steps = steps_for(false, found);
    let step = steps.iter().find(|(subject, ..)| subject == about).expect("a step about it");
    assert_eq!((step.1.as_str(), step.2.as_str()), (action, id), "{steps:?}");
    assert!(step.3.contains(why), "`{why}` is not in {steps:?}");
}

fn price(id: &str, interval: &str, amount: i64) -> Value {
    json!({
        "id": id, "active": true, "product": "prod_1", "currency": "eur", "unit_amount": amount,
        "lookup_key": format!("counterfoil:pro:{interval}:eur"),
        "recurring": {"interval": interval, "interval_count": 1, "usage_type": "licensed"},
    })
}

fn product() -> Value {
    json!({"id": "prod_1", "active": true, "name": "Pro", "description": "For teams.",
        "metadata": {"app": "counterfoil", "counterfoil_plan": "pro"}})
}

fn endpoint(id: &str) -> Value {
    let instance = InstanceId::from_random([7; 16]);
    json!({"id": id, "url": URL, "status": "enabled", "api_version": API_VERSION, "enabled_events": ASKED_FOR.as_slice(),
        "metadata": {"app": "counterfoil", "instance": instance.as_str()}})
}

fn with(mut value: Value, field: &str, new: Value) -> Value {
    value[field] = new;
    value
}

#[test]
fn in_an_empty_account_everything_is_made_in_the_order_of_need() {
    let steps = steps_for(false, &Found::default());
    let order: Vec<&str> = steps.iter().map(|(subject, ..)| subject.as_str()).collect();
    assert_eq!(
        order,
        ["product pro", "price pro month eur", "price pro year eur", "billing portal", "webhook endpoint"]
    );
    assert!(steps.iter().all(|(_, action, ..)| action == "create"), "{steps:?}");
}

#[test]
fn products_are_found_by_their_mark_or_by_their_prices() {
    let of = |products: Vec<Value>| Found { products, ..Found::default() };
    let table = [
        (product(), "keep", ""),
        (with(product(), "name", json!("Old")), "update", "its name differs"),
        (with(product(), "description", Value::Null), "update", "its description differs"),
        (with(product(), "active", json!(false)), "update", "it is archived"),
    ];
    for (value, action, why) in table {
        check(&of(vec![value]), "product pro", action, "prod_1", why);
    }
    let archived = with(with(product(), "active", json!(false)), "id", json!("prod_0"));
    check(&of(vec![archived, product()]), "product pro", "keep", "prod_1", "");
    let other = with(product(), "metadata", json!({"app": "counterfoil", "counterfoil_plan": "max"}));
    check(&of(vec![other]), "product pro", "create", "", "");
    let prices = [("price_y".to_owned(), price("price_y", "year", 1))].into();
    check(&Found { prices, ..Found::default() }, "product pro", "keep", "prod_1", "made by hand");
}

#[test]
fn prices_are_found_by_id_or_lookup_key_and_never_changed() {
    let found = |by_id: Option<Value>, by_key: Option<Value>| Found {
        prices: by_id.map(|value| ("price_m".to_owned(), value)).into_iter().collect(),
        by_lookup_key: by_key.map(|value| ("counterfoil:pro:month:eur".to_owned(), value)).into_iter().collect(),
        ..Found::default()
    };
    let (good, other) = (price("price_m", "month", 4900), price("price_k", "month", 4900));
    let (dear, archived) = (price("price_m", "month", 9900), with(good.clone(), "active", json!(false)));
    let daily = with(good.clone(), "recurring", json!({"interval": "month", "interval_count": 3}));
    let dollars = with(good.clone(), "currency", json!("usd"));
    let once = with(good.clone(), "recurring", Value::Null);
    let metered =
        with(good.clone(), "recurring", json!({"interval": "month", "interval_count": 1, "usage_type": "metered"}));
    let table = [
        (Some(good.clone()), None, "keep", "price_m", ""),
        (Some(good.clone()), Some(other.clone()), "keep", "price_m", ""),
        (None, Some(other.clone()), "keep", "price_k", "another id"),
        (Some(dear.clone()), Some(other), "keep", "price_k", "another id"),
        (Some(archived), None, "update", "price_m", "it is archived"),
        (Some(dear.clone()), None, "create", "", "the amount is 9900 instead of 4900; price_m stays"),
        (None, Some(dear), "create", "", "price_m stays"),
        (Some(dollars), None, "create", "", "the currency is usd instead of eur"),
        (Some(daily), None, "create", "", "the interval is 3 months instead of month"),
        (Some(once), None, "create", "", "the interval is nothing instead of month"),
        (Some(metered), None, "create", "", "charged by usage"),
    ];
    for (by_id, by_key, action, id, why) in table {
        check(&found(by_id, by_key), "price pro month eur", action, id, why);
    }
}

#[test]
fn the_endpoint_at_our_address_is_made_fit() {
    let of = |endpoints: Vec<Value>| Found { endpoints, ..Found::default() };
    let table = [
        (endpoint("we_1"), "keep", ""),
        (with(endpoint("we_1"), "enabled_events", json!(["*"])), "update", "its events differ"),
        (with(endpoint("we_1"), "status", json!("disabled")), "update", "it is disabled"),
        (with(endpoint("we_1"), "metadata", json!({})), "update", "our mark"),
        (with(endpoint("we_1"), "metadata", json!({"app": "counterfoil", "instance": "inst_x"})), "update", "our mark"),
    ];
    for (value, action, why) in table {
        check(&of(vec![value]), "webhook endpoint", action, "we_1", why);
    }
    let old = with(endpoint("we_0"), "api_version", Value::Null);
    let lines = |replace, endpoints: Vec<Value>| -> Vec<(String, String)> {
        let steps = steps_for(replace, &of(endpoints)).into_iter();
        steps.filter(|step| step.0 == "webhook endpoint").map(|step| (step.1, step.2)).collect()
    };
    let line = |action: &str, id: &str| (action.to_owned(), id.to_owned());
    assert_eq!(lines(false, vec![old.clone()]), [line("keep", "we_0"), line("report", "we_0")]);
    assert_eq!(lines(false, vec![old.clone(), endpoint("we_1")]), [line("keep", "we_1"), line("report", "we_0")]);
    let somebodys = with(endpoint("we_0"), "metadata", json!({}));
    assert_eq!(lines(false, vec![somebodys, endpoint("we_1")]), [line("keep", "we_1"), line("report", "we_0")]);
    assert_eq!(lines(true, vec![old]), [line("create", ""), line("report", "we_0")]);
    let at_home = Found { unreachable: true, ..Found::default() };
    check(&at_home, "webhook endpoint", "report", "", "stripe listen");
}

#[test]
fn the_portal_is_found_by_its_fingerprint() {
    let plans = plans();
    let known: BTreeMap<Subject, String> = [
        (Subject::Product { plan: plans[1].code.clone() }, "prod_1".to_owned()),
        (Subject::of_price(&plans[1], &plans[1].prices[0]), "price_m".to_owned()),
        (Subject::of_price(&plans[1], &plans[1].prices[1]), "price_y".to_owned()),
    ]
    .into();
    let complete = |portal: Value| Found {
        products: vec![product()],
        prices: [("price_m", "month", 4900), ("price_y", "year", 49000)]
            .map(|(id, interval, amount)| (id.to_owned(), price(id, interval, amount)))
            .into(),
        portals: vec![portal],
        ..Found::default()
    };
    let steps = {
        let instance = InstanceId::from_random([7; 16]);
        let wanted = Wanted { instance: &instance, plans: &plans, webhook_url: None, replace_webhook: false };
        plan(&wanted, &Found::default())
    };
    let step = steps.into_iter().find(|step| step.subject == Subject::Portal).unwrap();
    let Verdict::Create(draft) = step.verdict else { panic!("it is made") };
    let fields = portal::resolve(&Subject::Portal, &draft, &known).unwrap();
    let print = fields.iter().find(|(name, _)| name.contains("fingerprint")).unwrap().1.clone();
    let features = json!({
        "customer_update": {"enabled": true, "allowed_updates": ["tax_id", "address"]},
        "invoice_history": {"enabled": true},
        "payment_method_update": {"enabled": true},
        "subscription_cancel": {"enabled": true, "mode": "at_period_end", "proration_behavior": "none"},
        "subscription_update": {"enabled": true, "proration_behavior": "always_invoice", "trial_update_behavior": "continue_trial"},
    });
    let made =
        json!({"id": "bpc_1", "active": true, "metadata": {"counterfoil_fingerprint": print}, "features": features});
    check(&complete(made.clone()), "billing portal", "keep", "bpc_1", "");
    let mut by_hand = made.clone();
    by_hand["features"]["subscription_cancel"]["mode"] = json!("immediately");
    check(&complete(by_hand), "billing portal", "update", "bpc_1", "differs");
    check(&complete(with(made.clone(), "metadata", json!({}))), "billing portal", "update", "bpc_1", "differs");
    let mut with_another_price = complete(made.clone());
    with_another_price.prices.insert("price_y".to_owned(), price("price_k", "year", 49000));
    check(&with_another_price, "billing portal", "update", "bpc_1", "differs");
    let without_prices = Found { portals: vec![made], ..Found::default() };
    check(&without_prices, "billing portal", "update", "bpc_1", "made now");
}

#[test]
fn the_portal_offers_as_many_plans_as_stripe_takes_or_none() {
    let offered = |count: usize| {
        let of = |number: usize| Plan { code: PlanCode::new(format!("pro-{number}")), ..plans().remove(1) };
        let (plans, instance): (Vec<Plan>, _) = ((0..count).map(of).collect(), InstanceId::from_random([7; 16]));
        let wanted = Wanted { instance: &instance, plans: &plans, webhook_url: None, replace_webhook: false };
        let step = portal::step(&wanted, &Found::default(), &BTreeMap::new());
        let Verdict::Create(draft) = step.verdict else { panic!("it is made") };
        let enabled = draft.iter().find(|(name, _)| name == "features[subscription_update][enabled]").unwrap();
        let products = draft.iter().filter(|(name, _)| name.ends_with("[product]")).count();
        (enabled.1.clone(), products)
    };
    for (count, enabled, products) in [(0, "false", 0), (1, "true", 1), (10, "true", 10), (11, "false", 0)] {
        assert_eq!(offered(count), (Part::Text(enabled.to_owned()), products), "{count} plans");
    }
}

#[test]
fn each_subject_has_a_word_for_programs_and_one_for_the_dashboard() {
    let plan = plans()[0].code.clone();
    let subjects = [Subject::Product { plan }, Subject::Portal, Subject::Endpoint];
    assert_eq!(subjects.each_ref().map(Subject::word), ["product", "portal_configuration", "webhook_endpoint"]);
    assert_eq!(subjects.each_ref().map(Subject::permission), ["Products", "Customer portal", "Webhook Endpoints"]);
}
