//! Faults on demand.

use serde_json::json;

use crate::support::{World, id};

#[tokio::test]
async fn the_next_calls_fail_and_do_nothing() {
    let world = World::new().await;
    world.control("/faults", json!({ "calls": { "fail": 2, "status": 503, "path": "/v1/customers" } })).await;
    world.get("/v1/products").await.ok();
    for _ in 0..2 {
        assert_eq!(world.post_with_key("/v1/customers", &[], "k").await.refused(503)["type"], "api_error");
    }
    world.post_with_key("/v1/customers", &[], "k").await.ok();
    assert_eq!(world.get("/v1/customers").await.ok()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_rate_limit_tells_its_reason() {
    let world = World::new().await;
    world.control("/faults", json!({ "calls": { "fail": 1, "status": 429 } })).await;
    let limited = world.get("/v1/customers").await;
    assert_eq!(limited.refused(429)["code"], "rate_limit");
    assert_eq!(limited.header("stripe-rate-limited-reason"), "global-rate");
}

#[tokio::test]
async fn a_lost_answer_has_done_its_work() {
    let world = World::new().await;
    world.control("/faults", json!({ "lose_answer": { "times": 1, "path": "/v1/customers" } })).await;
    let request = world.request("/v1/customers", &[("email", "a@example.com")]).header("idempotency-key", "k");
    let answer = request.send().await;
    let lost = match answer {
        Err(_) => true,
        Ok(answer) => answer.bytes().await.is_err(),
    };
    assert!(lost, "the answer breaks off");
    let again = world.post_with_key("/v1/customers", &[("email", "a@example.com")], "k").await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    let listed = world.get("/v1/customers").await.ok();
    assert_eq!(listed["data"][0]["id"], id(&again.ok()));
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn webhooks_are_duplicated_delayed_and_dropped() {
    let world = World::new().await;
    world.control("/faults", json!({ "webhooks": { "duplicate": 2 } })).await;
    world.customer().await;
    let copies = world.inbox.wait_for("customer.created", 3).await;
    assert!(copies.iter().all(|event| event["id"] == copies[0]["id"]));

    world.control("/faults", json!({ "webhooks": { "drop": 1 } })).await;
    world.post("/v1/products", &[("name", "lost")]).await.ok();
    while world.get("/_sandbox/faults").await.ok()["webhooks"]["drop"] != 0 {}
    world.control("/faults", json!({ "webhooks": { "delay_seconds": 3600 } })).await;
    world.post("/v1/products", &[("name", "late")]).await.ok();
    world.delete("/_sandbox/faults").await.ok();
    let late = world.inbox.wait_for("product.created", 1).await;
    assert_eq!(late[0]["data"]["object"]["name"], "late", "the first one was lost");
}

#[tokio::test]
async fn reordered_webhooks_all_arrive() {
    let world = World::new().await;
    world.control("/faults", json!({ "webhooks": { "reorder": true } })).await;
    // The loop notices the fault when it next wakes.
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    world.subscriber().await;
    world.inbox.wait_for("charge.succeeded", 1).await;
    world.inbox.wait_for("checkout.session.completed", 1).await;
    let types: Vec<_> = world.inbox.events().iter().map(|event| event["type"].to_string()).collect();
    let position = |kind: &str| types.iter().position(|found| found.contains(kind)).unwrap();
    assert!(position("checkout.session.completed") < position("charge.succeeded"), "{types:?}");
}

#[tokio::test]
async fn a_refused_webhook_is_sent_again() {
    let world = World::new().await;
    world.inbox.refuse_next(2);
    let customer = world.customer().await;
    let arrived = world.inbox.wait_for("customer.created", 1).await;
    assert_eq!(arrived[0]["data"]["object"]["id"], customer.as_str());
}

#[tokio::test]
async fn calls_are_counted() {
    let world = World::new().await;
    world.control("/calls/reset", json!({})).await;
    world.post_with_key("/v1/customers", &[], "k").await.ok();
    world.post_with_key("/v1/customers", &[], "k").await.ok();
    let report = world.get("/_sandbox/calls").await.ok();
    assert_eq!(report["counts"]["POST /v1/customers"], 2);
    assert_eq!(report["calls"][1]["replayed"], true);
    assert_eq!(report["calls"][1]["idempotency_key"], "k");
}

#[tokio::test]
async fn misspelt_controls_are_refused() {
    let world = World::new().await;
    for (path, body) in [
        ("/faults", json!({ "webhook": {} })),
        ("/clock", json!({ "advance_seconds": -1 })),
        ("/clock", json!({ "advance_seconds": 400_000_000 })),
        ("/clock", json!({ "seconds": 1 })),
    ] {
        let request = reqwest::Client::new().post(format!("{}/_sandbox{path}", world.base)).body(body.to_string());
        assert_eq!(world.send(request).await.status, 400, "{body}");
    }
}
