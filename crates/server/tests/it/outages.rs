//! The provider down, slow, forgetful or confused: nobody loses anything, and nobody gets a second counterpart.

use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse as _;
use counterfoil::app::checkout::CheckoutRequest;
use counterfoil::app::operators::By;
use counterfoil::app::sessions::Caller;
use counterfoil::cli::service;
use counterfoil::config::{Config, Environment};
use counterfoil::entropy::Entropy;
use counterfoil::providers::stripe::{Limits, Stripe, StripeConfig};
use counterfoil::web::problem::Problem;
use counterfoil_core::PlanCode;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::actors::{CANCEL_URL, SUCCESS_URL, Visitor};
use crate::world::{World, id_of};

const HOUR: i64 = 3600;

/// Tries of one call to the provider.
const TRIES: u32 = 3;

/// A fault that hits the creation of customers.
fn on_customers(fault: &str, mut settings: Value) -> Value {
    settings["path"] = json!("/v1/customers");
    settings["method"] = json!("POST");
    json!({ fault: settings })
}

/// State and generation of the customer's links, oldest first.
async fn links(world: &World, visitor: &Visitor) -> Vec<String> {
    let sql = "select state, generation from billing_links where customer_id = $1 order by generation";
    let rows = world.app.db.query(sql).bind(&visitor.customer_id).all().await.unwrap();
    rows.iter()
        .map(|row| format!("{} {}", row.get::<String>("state").unwrap(), row.get::<i64>("generation").unwrap()))
        .collect()
}

/// Exactly one counterpart, and it is the one in our book.
async fn has_one_counterpart(world: &World, visitor: &Visitor) {
    let customers = world.sandbox().customers().await;
    assert_eq!(customers.len(), 1, "{customers:#?}");
    assert_eq!(world.stored(visitor).await.stripe_customer_id.as_deref(), customers[0]["id"].as_str());
    assert_eq!(customers[0]["metadata"]["customer_id"], visitor.customer_id);
}

async fn while_stripe_is_down_checkout_asks_to_come_back_and_the_rest_works(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    for status in [500, 503, 429] {
        world.sandbox().faults(json!({ "calls": { "fail": 1000, "status": status } })).await;
        let answer = ada.checkout("professional").await;
        answer.refused(503, "payment_provider_unavailable");
        assert_eq!(answer.header("retry-after"), "10");
        world.sandbox().clear_faults().await;
        break_between(world, &ada, status).await;
    }
    world.sandbox().faults(json!({ "calls": { "fail": 1000 } })).await;
    // Licences need no provider (invariant 9), nor do accounts.
    assert_eq!(ada.validate(&ada.license).await["valid"], true);
    ada.refresh(&ada.license).await.accepted();
    ada.log_in().await.accepted();
    world.http.get("/readyz").await.accepted();
    world.customer("bob@example.com").await;
    world.sandbox().clear_faults().await;
    ada.checkout_url("professional").await;
    has_one_counterpart(world, &ada).await;
}

/// After a failed try the row is intact: a link in the making, no counterpart, the trial.
async fn break_between(world: &World, ada: &Visitor, status: u16) {
    assert_eq!(links(world, ada).await, ["creating 1"], "after {status}");
    let stored = world.stored(ada).await;
    assert_eq!((stored.stripe_customer_id, stored.status.as_str()), (None, "trialing"));
    assert_eq!(ada.me().await.accepted()["license"]["version"], 1);
}

async fn one_failure_is_not_noticed(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    world.sandbox().faults(on_customers("calls", json!({ "fail": 1, "status": 500 }))).await;
    ada.checkout_url("professional").await;
    has_one_counterpart(world, &ada).await;
    world
        .sandbox()
        .faults(json!({ "lose_answer": { "times": 1, "path": "/v1/checkout/sessions", "method": "POST" } }))
        .await;
    let url = ada.checkout_url("starter").await;
    assert_eq!(world.sandbox().open_sessions().await.len(), 1);
    world.sandbox().pay(&url, "success").await;
    world.settled().await;
    ada.license = ada.current_license().await.accepted()["token"].as_str().unwrap().to_owned();
    assert_eq!(ada.validate(&ada.license).await["plan"], "starter");
}

async fn a_lost_answer_makes_no_second_customer(world: &World) {
    let ada = world.customer("ada@example.com").await;
    // The work is done each time, and no try hears of it.
    world.sandbox().faults(on_customers("lose_answer", json!({ "times": TRIES }))).await;
    ada.checkout("professional").await.refused(503, "payment_provider_unavailable");
    assert_eq!(world.stored(&ada).await.stripe_customer_id, None);
    assert_eq!(world.sandbox().customers().await.len(), 1, "it was made all the same");
    ada.checkout_url("professional").await;
    has_one_counterpart(world, &ada).await;
}

async fn a_session_that_cannot_be_read_is_neither_given_up_nor_doubled(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let url = ada.checkout_url("professional").await;
    let reading = json!({ "fail": 1000, "status": 500, "path": "/v1/checkout/sessions/*", "method": "GET" });
    world.sandbox().faults(json!({ "calls": reading })).await;
    ada.checkout("starter").await.refused(503, "payment_provider_unavailable");
    world.sandbox().clear_faults().await;
    assert_eq!(ada.checkout_url("professional").await, url, "it was still ours");
    assert_eq!(world.sandbox().open_sessions().await.len(), 1);
}

async fn a_lost_session_is_found_again(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let lose = json!({ "lose_answer": { "times": TRIES, "path": "/v1/checkout/sessions", "method": "POST" } });
    world.sandbox().faults(lose).await;
    ada.checkout("professional").await.refused(503, "payment_provider_unavailable");
    let made = world.sandbox().open_sessions().await;
    let url = ada.checkout_url("professional").await;
    assert_eq!(made.len(), 1);
    assert_eq!(made[0]["url"], url);
    assert_eq!(world.sandbox().open_sessions().await.len(), 1);
}

async fn scenario_6_a_poisoned_key_is_waited_out_and_the_list_is_asked(world: &World) {
    let ada = world.customer("ada@example.com").await;
    // Somebody else's customer of the same address, to be left alone.
    world.sandbox().post("/v1/customers", &[("email", &ada.email), ("metadata[customer_id]", "cust_other")]).await;
    world.sandbox().faults(on_customers("store_error", json!({ "times": 1 }))).await;
    ada.checkout("professional").await.refused(503, "payment_provider_unavailable");
    let poisoned = ada.checkout("professional").await;
    poisoned.refused(503, "payment_provider_unavailable");
    assert_eq!(poisoned.header("retry-after"), "600", "the stored error does not go away sooner");
    world.sandbox().advance(590).await;
    ada.checkout("professional").await.refused(503, "payment_provider_unavailable");
    world.sandbox().advance(20).await;
    ada.checkout_url("professional").await;
    assert_eq!(links(world, &ada).await, ["retired 1", "active 2"]);
    let customers = world.sandbox().customers().await;
    let own: Vec<_> = customers.iter().filter(|each| each["metadata"]["customer_id"] == ada.customer_id).collect();
    assert_eq!((customers.len(), own.len()), (2, 1));
}

async fn after_twenty_hours_the_list_is_asked_before_anything_is_sent(world: &World) {
    let ada = world.customer("ada@example.com").await;
    world.sandbox().faults(on_customers("lose_answer", json!({ "times": TRIES }))).await;
    ada.checkout("professional").await.refused(503, "payment_provider_unavailable");
    world.sandbox().advance(20 * HOUR + 5).await;
    world.sandbox().reset_calls().await;
    // A request of the window's last second may still be on its way.
    ada.checkout("professional").await.refused(503, "payment_provider_unavailable");
    assert!(world.sandbox().calls().await.is_empty(), "nothing is sent, nothing is believed yet");
    world.sandbox().advance(600).await;
    // A list that cannot be had is not an empty list.
    world.sandbox().faults(json!({ "calls": { "fail": TRIES, "path": "/v1/customers", "method": "GET" } })).await;
    ada.checkout("professional").await.refused(503, "payment_provider_unavailable");
    assert_eq!(links(world, &ada).await, ["creating 1"]);
    ada.checkout_url("professional").await;
    assert!(!world.sandbox().calls().await.contains_key("POST /v1/customers"), "adopted, not made again");
    assert_eq!(links(world, &ada).await, ["active 1"]);
    has_one_counterpart(world, &ada).await;
}

async fn a_counterpart_that_moved_to_another_address_is_found_by_it(world: &World) {
    let ada = world.customer("ada@example.com").await;
    world.sandbox().faults(on_customers("lose_answer", json!({ "times": TRIES }))).await;
    ada.checkout("professional").await.refused(503, "payment_provider_unavailable");
    // What is stored is that of a backup: Stripe was told of the new address after it, and our book is told once more.
    let made = world.sandbox().customers().await[0]["id"].as_str().unwrap().to_owned();
    world.sandbox().post(&format!("/v1/customers/{made}"), &[("email", "ada@example.org")]).await;
    let by = By::command_line("she has another address").unwrap();
    world.app.set_email_by(&id_of(&ada), "ada@example.org", &by).await.unwrap();
    world.sandbox().advance(20 * HOUR + 605).await;
    world.sandbox().reset_calls().await;
    ada.checkout_url("professional").await;
    assert!(!world.sandbox().calls().await.contains_key("POST /v1/customers"), "adopted, not made again");
    assert_eq!(links(world, &ada).await, ["active 1"]);
    has_one_counterpart(world, &ada).await;
}

async fn after_a_day_without_a_customer_the_next_generation_makes_one(world: &World) {
    let ada = world.customer("ada@example.com").await;
    world.sandbox().faults(on_customers("calls", json!({ "fail": TRIES }))).await;
    ada.checkout("professional").await.refused(503, "payment_provider_unavailable");
    world.sandbox().advance(25 * HOUR).await;
    ada.checkout_url("professional").await;
    assert_eq!(links(world, &ada).await, ["retired 1", "active 2"]);
    has_one_counterpart(world, &ada).await;
}

async fn a_stripe_that_does_not_answer_in_time_is_a_stripe_that_is_down(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let limits = Limits {
        attempt_timeout: Duration::from_millis(250),
        attempts_max: 2,
        backoff_base: Duration::from_millis(10),
        ..Limits::default()
    };
    let base = format!("http://{}", world.sandbox_address());
    let key = SecretString::from(counterfoil_stripe_sandbox::API_KEY);
    let config = StripeConfig { limits, ..StripeConfig::new(base, key, Vec::new(), false) };
    let mut app = world.app.clone();
    app.provider = Arc::new(Stripe::new(config, Box::new(|| 0.5)).expect("a provider"));
    world.sandbox().faults(json!({ "slow": { "times": 2, "millis": 3000 } })).await;
    let request = CheckoutRequest {
        customer_id: ada.customer_id.clone(),
        plan: PlanCode::new("professional"),
        interval: None,
        currency: None,
        success_url: SUCCESS_URL.to_owned(),
        cancel_url: CANCEL_URL.to_owned(),
    };
    let error = app.start_checkout(&Caller::Anonymous, request).await.expect_err("too slow");
    let response = Problem::from(error).into_response();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "10");
    assert_eq!(links(world, &ada).await, ["creating 1"]);
    ada.checkout_url("professional").await;
    has_one_counterpart(world, &ada).await;
}

async fn events_wait_for_a_stripe_that_is_down_and_are_applied_when_it_is_back(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let url = ada.checkout_url("professional").await;
    world.sandbox().faults(json!({ "calls": { "fail": 1000, "method": "GET", "path": "/v1/subscriptions" } })).await;
    world.sandbox().pay(&url, "success").await;
    world
        .until("an event has failed", async || world.inbox().await.iter().any(|row| row.contains("unavailable")))
        .await;
    assert_eq!(world.stored(&ada).await.licenses, 1);
    world.sandbox().clear_faults().await;
    world.settled().await;
    assert_eq!(world.stored(&ada).await.licenses, 2);
}

/// The client's description shows its bounds, and no secret.
#[test]
fn calls_go_at_the_pace_that_is_set() {
    let pace = |key: &str, set: Option<&str>| {
        let mut variables = vec![("STRIPE_SECRET_KEY", key), ("STRIPE_WEBHOOK_SECRET", "whsec_b7f3d0c1a94e")];
        variables.extend([("COUNTERFOIL_PUBLIC_URL", "https://billing.example.com")]);
        variables.extend([("SMTP_URL", "smtp://localhost:25"), ("COUNTERFOIL_MAIL_FROM", "a@example.com")]);
        variables.extend(set.map(|calls| ("STRIPE_CALLS_PER_SECOND", calls)));
        let variables = variables.into_iter().map(|(name, value)| (name, value.to_owned()));
        let config = Config::parse(None, &variables.collect::<Environment>()).unwrap();
        format!("{:?}", service::stripe(&config, None, Entropy).unwrap())
    };
    let (test, live) = ("sk_test_51Hb8Q2eZvKYlo2C0aBcDeFgH", "sk_live_51Hb8Q2eZvKYlo2C0aBcDeFgH");
    for (key, set, calls) in [(test, None, 20), (live, None, 80), (test, Some("3"), 3), (live, Some("25"), 25)] {
        let told = pace(key, set);
        assert!(told.contains(&format!("calls_per_second: Some({calls})")), "{told}");
    }
}

both_engines!(
    while_stripe_is_down_checkout_asks_to_come_back_and_the_rest_works,
    one_failure_is_not_noticed,
    a_lost_answer_makes_no_second_customer,
    a_session_that_cannot_be_read_is_neither_given_up_nor_doubled,
    a_lost_session_is_found_again,
    scenario_6_a_poisoned_key_is_waited_out_and_the_list_is_asked,
    after_twenty_hours_the_list_is_asked_before_anything_is_sent,
    a_counterpart_that_moved_to_another_address_is_found_by_it,
    after_a_day_without_a_customer_the_next_generation_makes_one,
    a_stripe_that_does_not_answer_in_time_is_a_stripe_that_is_down,
    events_wait_for_a_stripe_that_is_down_and_are_applied_when_it_is_back,
);
