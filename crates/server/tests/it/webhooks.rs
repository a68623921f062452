//! Receiving webhooks: what is believed, what is stored, and what comes of the same event many times over.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use counterfoil::providers::stripe::{Stripe, StripeConfig};
use counterfoil::store;
use counterfoil::telemetry;
use counterfoil::web::{self, WebOptions, WebState};
use counterfoil_core::{CustomerId, PlanCode, Subscription};
use secrecy::SecretString;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::counts::Counts;
use crate::world::{World, sign};

const OLD_SECRET: &str = "whsec_0d1b7f3d0c1a94e2";
const NEW_SECRET: &str = "whsec_9e3w5a2c8d7f6b10";

/// An event that is about nobody.
fn idle_event(world: &World) -> String {
    world.event("product.created", json!({ "id": "prod_Idle00000001", "object": "product" })).to_string()
}

async fn stored_events(world: &World) -> i64 {
    world.counts().await[5]
}

async fn scenarios_31_to_35_only_what_is_well_signed_is_stored(world: &World) {
    let (body, now, counts) = (idle_event(world), world.app.now().as_unix_seconds(), Counts::begin());
    let good = world.sign(&body, now);
    let wrong = sign("whsec_of_somebody_else", now, &body);
    let unsigned_time = format!("t=soon,v1={}", good.split("v1=").nth(1).unwrap());
    let refused = [
        None,
        Some(String::new()),
        Some(format!("t={now},v1={wrong}")),
        Some(format!("t={now},v0={}", good.split("v1=").nth(1).unwrap())),
        Some(good.to_uppercase()),
        Some(good[..good.len() - 1].to_owned()),
        Some(good.replace(&format!("t={now}"), &format!("t={}", now - 1))),
        Some(format!("t={now},{good}")),
        Some(unsigned_time),
        Some(world.sign(&body, now - 310)),
    ];
    for signature in refused {
        world.deliver_signed(body.clone(), signature.as_deref()).await.refused(400, "invalid_signature");
    }
    for changed in [body.replacen("event", "evenT", 1), format!("{body}\n"), format!(" {body}"), body[1..].to_owned()] {
        world.deliver_signed(changed, Some(&good)).await.refused(400, "invalid_signature");
    }
    assert_eq!(stored_events(world).await, 0, "nothing of it was stored");
    for (age, body) in [(0, body), (290, idle_event(world)), (-600, idle_event(world))] {
        let signature = world.sign(&body, now - age);
        let answer = world.deliver_signed(body, Some(&signature)).await.accepted();
        assert_eq!(answer, json!({ "received": true }));
    }
    assert_eq!(stored_events(world).await, 3);
    assert_eq!((counts.of("webhooks_refused_total"), counts.of("webhooks_received_total")), (14, 3));
}

async fn scenario_36_any_signature_by_any_configured_secret_is_believed(world: &World) {
    let now = world.app.now().as_unix_seconds();
    let bad = "0".repeat(64);
    for secret in [OLD_SECRET, NEW_SECRET] {
        for order in 0..3 {
            let body = idle_event(world);
            let good = sign(secret, now, &body);
            let signature = match order {
                0 => format!("t={now},v1={good}"),
                1 => format!("t={now},v1={bad},v1={good}"),
                _ => format!("t={now},v1={good},v1={bad},v0={bad},x=y"),
            };
            world.deliver_signed(body, Some(&signature)).await.accepted();
        }
    }
    assert_eq!(stored_events(world).await, 6);
    let body = idle_event(world);
    let both_at_once = format!("t={now},v1={}", sign(&format!("{OLD_SECRET},{NEW_SECRET}"), now, &body));
    world.deliver_signed(body, Some(&both_at_once)).await.refused(400, "invalid_signature");
}

async fn scenario_37_without_a_secret_the_endpoint_believes_nothing(world: &World) {
    let base = "http://127.0.0.1:1".to_owned();
    let config = StripeConfig::new(base, SecretString::from("sk_test_x"), Vec::new(), false);
    let mut app = world.app.clone();
    app.provider = Arc::new(Stripe::new(config, Box::new(|| 0.5)).expect("a provider"));
    let options = WebOptions { https: false, form_targets: Vec::new(), mail_from: "x <x@example.com>".into() };
    let router = web::router(WebState { app, metrics: telemetry::start_metrics(), options: Arc::new(options) });
    let (body, now) = (idle_event(world), world.app.now().as_unix_seconds());
    for signature in [sign("", now, &body), sign(" ", now, &body)] {
        let request = Request::post("/api/webhooks/stripe")
            .header("stripe-signature", format!("t={now},v1={signature}"))
            .body(Body::from(body.clone()))
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 503);
        let problem = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let problem: Value = serde_json::from_slice(&problem).unwrap();
        assert_eq!(problem["code"], "webhook_secret_unset");
    }
    assert_eq!(stored_events(world).await, 0);
}

async fn scenario_38_a_well_signed_body_that_is_no_event_is_refused_and_noted(world: &World) {
    let now = world.app.now().as_unix_seconds();
    let bodies =
        ["", "{", "null", "[]", "{}", "{\"id\":\"evt_1\"}", "{\"object\":\"customer\",\"id\":\"x\",\"type\":\"y\"}"];
    for body in bodies {
        let signature = world.sign(body, now);
        world.deliver_signed(body.to_owned(), Some(&signature)).await.refused(400, "invalid_event");
    }
    assert_eq!(stored_events(world).await, 0);
    let sql = "select cast(count(*) as bigint) as n from audit_log where action = 'webhook_unreadable'";
    let noted: i64 = world.app.db.query(sql).one().await.unwrap().get("n").unwrap();
    assert_eq!(noted, bodies.len() as i64);
}

async fn scenarios_39_46_and_47_what_is_not_ours_is_recorded_as_ignored(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let (before, rows) = (world.stored(&ada).await, world.inbox().await.len());
    let external = before.stripe_customer_id.clone().unwrap();
    let session = |metadata: Value, customer: &str| json!({ "id": "cs_test_Made0000000001", "object": "checkout.session", "customer": customer, "metadata": metadata });
    let stranger = world.sandbox().post("/v1/customers", &[("email", "someone@example.com")]).await;
    let stranger = stranger["id"].as_str().unwrap();
    let other_instance = json!({ "customer_id": ada.customer_id, "instance": format!("inst_{}", "0".repeat(32)) });
    let mut live = world.event("checkout.session.completed", session(json!({}), &external));
    live["livemode"] = json!(true);
    let mut connected = world.event("checkout.session.completed", session(json!({}), &external));
    connected["account"] = json!("acct_Connected0001");
    let thin = json!({
        "id": "evt_thin000000001", "object": "v2.core.event", "type": "v1.customer.subscription.updated",
        "livemode": false, "created": "2026-11-01T00:00:00.000Z",
        "related_object": { "id": "sub_Thin00000001", "type": "subscription", "url": "/v1/subscriptions/x" },
    });
    let table = [
        (world.event("radar.early_fraud_warning.created", json!({ "object": "x" })), "type_not_used"),
        (world.event("something.invented_tomorrow", json!(null)), "type_not_used"),
        (live, "other_mode"),
        (connected, "other_account"),
        (thin, "type_not_used"),
        (world.event("checkout.session.completed", session(other_instance, &external)), "ignored_foreign"),
        (world.event("checkout.session.completed", session(json!({ "app": "other" }), stranger)), "ignored_foreign"),
        (
            world.event("checkout.session.completed", session(json!({}), "cus_Unknown000001")),
            "customer_unknown_at_provider",
        ),
        (world.event("checkout.session.completed", json!({ "object": "checkout.session" })), "no_customer"),
    ];
    let calls_before = world.sandbox().calls().await.get("GET /v1/subscriptions").copied();
    for (index, (event, because)) in table.iter().enumerate() {
        world.deliver(event).await.accepted();
        world.worked_off().await;
        let inbox = world.inbox().await;
        let own = inbox.iter().filter(|row| !row.starts_with("customer.created")).nth(rows - 1 + index).cloned();
        let newest = inbox.last().unwrap();
        assert!(newest.ends_with(&format!("ignored {because}")), "{newest} {own:?}");
    }
    assert_eq!(world.stored(&ada).await, before, "no state changed");
    assert_eq!(
        world.sandbox().calls().await.get("GET /v1/subscriptions").copied(),
        calls_before,
        "nobody was looked at"
    );
}

async fn an_event_that_claims_nothing_belongs_to_whom_the_providers_customer_names(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let ours = world.app.instance.instance_id.to_string();
    for (instance, end) in [(format!("inst_{}", "0".repeat(32)), "ignored ignored_foreign"), (ours, "processed")] {
        let whose = [("metadata[customer_id]", ada.customer_id.as_str()), ("metadata[instance]", &instance)];
        let made = world.sandbox().post("/v1/customers", &[("email", "ada@example.com"), whose[0], whose[1]]).await;
        let session = json!({ "id": "cs_test_Made0000000001", "object": "checkout.session", "customer": made["id"] });
        world.deliver(&world.event("checkout.session.completed", session)).await.accepted();
        world.worked_off().await;
        let inbox = world.inbox().await;
        let row = inbox.iter().rfind(|row| row.starts_with("checkout.session.completed"));
        assert_eq!(row, Some(&format!("checkout.session.completed {end}")));
    }
}

async fn scenarios_40_and_41_the_same_event_has_one_effect(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    world.sandbox().drop_webhooks().await;
    ada.buy(world, "professional").await;
    let event = world.sandbox().newest_event("checkout.session.completed").await;
    let body = event.to_string();
    let signature = world.sign(&body, world.app.now().as_unix_seconds());
    let deliver = async |times: usize| {
        let mut deliveries = tokio::task::JoinSet::new();
        for _ in 0..times {
            let http = world.http.clone();
            let request = http.request(reqwest::Method::POST, "/api/webhooks/stripe");
            let request = request.header("stripe-signature", &signature).body(body.clone());
            deliveries.spawn(async move { http.send(request).await });
        }
        for answer in deliveries.join_all().await {
            assert_eq!(answer.accepted(), json!({ "received": true }));
        }
    };
    deliver(20).await;
    world.worked_off().await;
    let once = world.stored(&ada).await;
    assert_eq!((once.status.as_str(), once.licenses, once.mails), ("active", 2, 2));
    deliver(1).await;
    world.worked_off().await;
    assert_eq!(world.stored(&ada).await, once);
    assert_eq!(world.inbox().await, ["checkout.session.completed processed"]);
    assert_eq!(world.mails_to(&ada.email).await, 2);
    ada.log_in().await.accepted();
}

async fn scenarios_42_and_43_an_event_that_could_not_be_worked_off_waits_and_says_why(world: &World) {
    let ada = world.customer("ada@example.com").await;
    world.sandbox().drop_webhooks().await;
    ada.buy(world, "professional").await;
    // One look takes three tries of the same call.
    let fail = json!({ "calls": { "fail": 3, "status": 500, "method": "GET", "path": "/v1/subscriptions" } });
    world.sandbox().faults(fail).await;
    let event = world.sandbox().newest_event("checkout.session.completed").await;
    world.deliver(&event).await.accepted();
    let is_waiting =
        |row: &String| row.starts_with("checkout.session.completed pending") && row.contains("unavailable");
    world.until("the event waits with its error", async || world.inbox().await.iter().any(is_waiting)).await;
    assert_eq!(world.stored(&ada).await.licenses, 1, "nothing half done");
    world.deliver(&event).await.accepted();
    world.worked_off().await;
    assert_eq!(world.inbox().await, ["checkout.session.completed processed"]);
    let stored = world.stored(&ada).await;
    assert_eq!((stored.status.as_str(), stored.licenses, stored.mails), ("active", 2, 2));
}

async fn scenario_48_unknown_fields_and_words_lose_no_event(world: &World) {
    let ada = world.customer("ada@example.com").await;
    world.sandbox().drop_webhooks().await;
    ada.buy(world, "professional").await;
    let mut event = world.sandbox().newest_event("customer.subscription.created").await;
    event["data"]["object"]["status"] = json!("hibernating");
    event["data"]["object"]["quantum"] = json!({ "spin": [0.5, null, { "up": true }] });
    event["data"]["object"]["items"] = json!("not even a list");
    event["api_version"] = json!("2031-01-01.zinnia");
    event["request"] = json!(["surprise"]);
    event["created"] = json!("a text");
    world.deliver(&event).await.accepted();
    world.worked_off().await;
    assert_eq!(world.inbox().await, ["customer.subscription.created processed"]);
    // The payload said nothing that counts; the look did.
    assert_eq!(world.stored(&ada).await.status, "active");
}

async fn scenario_51_a_session_without_a_subscription_changes_nothing(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let before = world.stored(&ada).await;
    let object = json!({
        "id": "cs_test_Payment000001", "object": "checkout.session", "mode": "payment", "subscription": null,
        "customer": before.stripe_customer_id, "payment_status": "paid",
    });
    world.deliver(&world.event("checkout.session.completed", object)).await.accepted();
    world.worked_off().await;
    assert_eq!(world.inbox().await.last().unwrap(), "checkout.session.completed processed");
    assert_eq!(world.stored(&ada).await, before);
}

async fn scenario_52_an_event_that_comes_before_our_own_commit_is_applied_later(world: &World) {
    let app = &world.app;
    let customer_id = CustomerId::from_random([7; 16]);
    let metadata = json!({ "customer_id": customer_id.as_str(), "instance": app.instance.instance_id.as_str() });
    let object = json!({ "id": "cs_test_Early0000001", "object": "checkout.session", "metadata": metadata });
    world.deliver(&world.event("checkout.session.completed", object)).await.accepted();
    let is_waiting =
        |row: &String| row.starts_with("checkout.session.completed pending") && row.contains("not in the book");
    world.until("the event waits", async || world.inbox().await.iter().any(is_waiting)).await;
    let (email, now) = ("late@example.com".parse().unwrap(), app.now());
    let mut tx = app.db.begin().await.unwrap();
    store::customers::insert(&mut tx, &customer_id, &email, None, "x", now).await.unwrap();
    let subscription = Subscription::trial(PlanCode::new("trial"), now.plus_days(14));
    store::subscriptions::insert(&mut tx, &customer_id, &subscription, now).await.unwrap();
    tx.commit().await.unwrap();
    world.worked_off().await;
    assert_eq!(world.inbox().await, ["checkout.session.completed processed"]);
}

async fn duplicated_reordered_and_late_webhooks_end_in_the_same_state(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    world.sandbox().faults(json!({ "webhooks": { "duplicate": 2, "reorder": true } })).await;
    ada.subscribe(world, "professional").await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.status.as_str(), stored.licenses, stored.mails), ("active", 2, 2));
    world.sandbox().clear_faults().await;
}

/// Whether somebody was told since the last time that an event waits.
async fn is_woken(world: &World) -> bool {
    let told = world.app.signals.inbox.notified();
    tokio::time::timeout(std::time::Duration::from_millis(1), told).await.is_ok()
}

async fn what_is_stored_wakes_the_worker_and_nothing_else_does(world: &World) {
    world.allow_unsettled();
    let receive = async |event: &Value| {
        let body = event.to_string();
        let signature = world.sign(&body, world.app.now().as_unix_seconds());
        world.app.receive_webhook(&[signature.as_bytes()], body.as_bytes()).await.unwrap();
    };
    assert!(!is_woken(world).await);
    let event = world.event("customer.deleted", json!({ "id": "cus_Nobody00000001", "object": "customer" }));
    receive(&event).await;
    assert!(is_woken(world).await, "an event of ours");
    receive(&event).await;
    assert!(!is_woken(world).await, "the same one again");
    receive(&world.event("product.created", json!({ "id": "prod_Idle00000001", "object": "product" }))).await;
    assert!(!is_woken(world).await, "one that is about nobody");
}

both_engines!(
    scenarios_31_to_35_only_what_is_well_signed_is_stored,
    scenario_37_without_a_secret_the_endpoint_believes_nothing,
    scenario_38_a_well_signed_body_that_is_no_event_is_refused_and_noted,
    scenarios_39_46_and_47_what_is_not_ours_is_recorded_as_ignored,
    an_event_that_claims_nothing_belongs_to_whom_the_providers_customer_names,
    scenarios_40_and_41_the_same_event_has_one_effect,
    scenarios_42_and_43_an_event_that_could_not_be_worked_off_waits_and_says_why,
    scenario_48_unknown_fields_and_words_lose_no_event,
    scenario_51_a_session_without_a_subscription_changes_nothing,
    scenario_52_an_event_that_comes_before_our_own_commit_is_applied_later,
    duplicated_reordered_and_late_webhooks_end_in_the_same_state,
);
both_engines!(Setup::no_worker(); what_is_stored_wakes_the_worker_and_nothing_else_does);
both_engines!(
    Setup {
        stripe: Some(TestMode {
            secrets: concat!("whsec_0d1b7f3d0c1a94e2", ",", "whsec_9e3w5a2c8d7f6b10"),
            signs_with: super::NEW_SECRET,
            ..TestMode::default()
        }),
        ..Setup::default()
    };
    scenario_36_any_signature_by_any_configured_secret_is_believed
);
