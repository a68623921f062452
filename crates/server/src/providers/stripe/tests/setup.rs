//! Setting an account up against a Stripe that remembers calls of earlier runs.

use counterfoil_core::{InstanceId, Interval, Plan};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::double::{Double, Reply, ok, stripe_error};
use super::stripe;
use crate::providers::stripe::API_VERSION;
use crate::providers::stripe::events::ASKED_FOR;
use crate::providers::stripe::setup::{Done, Part, SetupError, Step, Subject, Verdict, Wanted};

const URL: &str = "https://billing.example.com/api/webhooks/stripe";

fn plans() -> Vec<Plan> {
    let price = |interval: &str, currency: &str, amount: i64| json!({"interval": interval, "currency": currency, "amount": amount, "stripe_price": format!("{interval}_{currency}")});
    let prices = [price("year", "eur", 49000), price("month", "usd", 5900), price("month", "eur", 4900)];
    let read = |value: Value| serde_json::from_value::<Plan>(value).unwrap();
    vec![
        read(json!({"code": "mini", "name": "Mini"})),
        read(json!({"code": "pro", "name": "Pro", "description": "For teams.", "prices": prices})),
    ]
}

fn instance() -> InstanceId {
    InstanceId::from_random([7; 16])
}

fn creation(subject: Subject, fields: &[(&str, &str)]) -> Step {
    let draft = fields.iter().map(|(name, value)| ((*name).to_owned(), Part::Text((*value).to_owned()))).collect();
    Step { subject, id: None, verdict: Verdict::Create(draft), why: String::new() }
}

/// Carries one step out where Stripe answers so.
async fn carried_out(step: &Step, script: Vec<Reply>) -> (Double, Result<Done, SetupError>) {
    let double = Double::playing(script).await;
    let (plans, instance) = (plans(), instance());
    let wanted =
        Wanted { instance: &instance, plans: &plans, webhook_url: Some(URL.to_owned()), replace_webhook: false };
    let done = stripe(&double).carry_out_setup(&wanted, std::slice::from_ref(step)).await;
    (double, done)
}

fn remembered() -> Reply {
    ok(&json!({"id": "x_1"})).header("idempotent-replayed", "true")
}

fn product() -> Step {
    creation(Subject::Product { plan: plans()[1].code.clone() }, &[("name", "Pro")])
}

fn price_subject() -> Subject {
    Subject::Price { plan: plans()[1].code.clone(), interval: Interval::Month, currency: "eur".to_owned() }
}

fn with(value: &Value, field: &str, new: Value) -> Value {
    let mut value = value.clone();
    value[field] = new;
    value
}

#[tokio::test]
async fn what_was_made_just_now_is_taken_as_it_is() {
    let (double, done) = carried_out(&product(), vec![ok(&json!({"id": "x_1"}))]).await;
    let done = done.unwrap();
    assert_eq!(done.ids.into_values().collect::<Vec<_>>(), ["x_1"]);
    assert!(done.webhook_secret.is_none());
    double.played_out(1);

    let made = ok(&json!({"id": "we_1", "secret": "whsec_1"}));
    let (double, done) = carried_out(&creation(Subject::Endpoint, &[("url", URL)]), vec![made]).await;
    assert_eq!(done.unwrap().webhook_secret.expect("it is told once").expose_secret(), "whsec_1");
    double.played_out(1);
}

#[tokio::test]
async fn what_was_made_earlier_is_taken_where_it_still_is_what_is_wanted() {
    let named = json!({"id": "x_1", "name": "Pro", "description": "For teams.", "active": true});
    let month = json!({
        "id": "x_1", "active": true, "currency": "eur", "unit_amount": 4900, "lookup_key": "counterfoil:pro:month:eur",
        "recurring": {"interval": "month", "interval_count": 1},
    });
    let endpoint = json!({
        "id": "x_1", "url": URL, "status": "enabled", "api_version": API_VERSION, "enabled_events": ASKED_FOR.as_slice(),
        "metadata": {"app": "counterfoil", "instance": instance().as_str()},
    });
    let make_price = creation(price_subject(), &[("currency", "eur"), ("lookup_key", "counterfoil:pro:month:eur")]);
    let wake_price = Step {
        subject: price_subject(),
        id: Some("x_1".to_owned()),
        verdict: Verdict::Update(vec![("active".to_owned(), Part::Text("true".to_owned()))]),
        why: String::new(),
    };
    let make_endpoint = creation(Subject::Endpoint, &[("url", URL)]);
    let table = [
        (product(), named.clone(), true),
        (product(), with(&named, "name", json!("Old")), false),
        (product(), json!({"id": "x_1", "deleted": true}), false),
        (make_price.clone(), month.clone(), true),
        (make_price.clone(), with(&month, "unit_amount", json!(5900)), false),
        (make_price.clone(), with(&month, "active", json!(false)), false),
        (make_price, with(&month, "lookup_key", Value::Null), false),
        // One that somebody made by hand has no key of ours, and needs none.
        (wake_price, with(&month, "lookup_key", Value::Null), true),
        (make_endpoint.clone(), endpoint.clone(), true),
        (make_endpoint.clone(), with(&endpoint, "api_version", Value::Null), false),
        (make_endpoint.clone(), with(&endpoint, "enabled_events", json!(["*"])), false),
        (make_endpoint, with(&endpoint, "url", json!("https://old.example.com/x")), false),
    ];
    for (step, now, is_taken) in table {
        let mut script = vec![remembered(), ok(&now)];
        script.extend((!is_taken).then(|| ok(&json!({"id": "x_2"}))));
        let calls = script.len();
        let (double, done) = carried_out(&step, script).await;
        double.played_out(calls);
        let id = if is_taken { "x_1" } else { "x_2" };
        assert_eq!(done.unwrap().ids.get(&step.subject).map(String::as_str), Some(id), "{now}");
        let seen = double.seen();
        if let Some(again) = seen.get(2) {
            assert_eq!((&again.line, &again.body), (&seen[0].line, &seen[0].body));
            assert_ne!(again.header("idempotency-key"), seen[0].header("idempotency-key"));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_again_is_not_made_once_more() {
    let gone = stripe_error(404, "invalid_request_error", "resource_missing", "id", "No such product: 'x_1'");
    let (double, done) = carried_out(&product(), vec![remembered(), gone.clone(), ok(&json!({"id": "x_2"}))]).await;
    assert!(done.is_ok(), "it is gone, so it is made");
    double.played_out(3);

    let refused = stripe_error(401, "invalid_request_error", "", "", "Invalid API Key provided");
    let (double, done) = carried_out(&product(), vec![remembered(), refused]).await;
    assert!(matches!(done, Err(SetupError::Permission { permission: "Products", level: "Write", .. })), "{done:?}");
    double.played_out(2);

    let memories = std::iter::repeat_n([remembered(), gone], 20).flatten();
    let (double, done) = carried_out(&product(), memories.collect()).await;
    assert!(matches!(done, Err(SetupError::OnlyMemories { .. })), "{done:?}");
    double.played_out(40);
}
