//! What was acknowledged survives.

use std::collections::BTreeSet;

use crate::support::{DAY, World, id};

#[tokio::test]
async fn a_restart_keeps_objects_keys_clock_and_undelivered_webhooks() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::with_data(Some(folder.path().join("sandbox.jsonl"))).await;
    let (customer, subscription) = world.subscriber().await;
    world.pass(5 * DAY).await;
    let offset = world.get("/_sandbox/clock").await.ok()["offset_seconds"].clone();
    // A second may have begun between the question for the time and the answer to it.
    assert!(offset.as_i64().is_some_and(|offset| (5 * DAY - 2..=5 * DAY).contains(&offset)), "{offset}");
    let keyed = world.post_with_key("/v1/customers", &[("email", "b@example.com")], "k").await;
    world.inbox.wait_for("checkout.session.completed", 1).await;
    world.inbox.refuse_next(u32::MAX);
    let late = id(&world.post("/v1/products", &[("name", "late")]).await.ok());

    let world = world.restart().await;
    let clock = world.get("/_sandbox/clock").await.ok();
    assert_eq!(clock["offset_seconds"], offset);
    assert_eq!(world.subscription(&subscription).await["customer"], customer.as_str());
    let again = world.post_with_key("/v1/customers", &[("email", "b@example.com")], "k").await;
    assert_eq!((again.header("idempotent-replayed"), &again.text), ("true", &keyed.text));
    let arrived = world.inbox.wait_for("product.created", 1).await;
    assert_eq!(arrived[0]["data"]["object"]["id"], late.as_str(), "the undelivered event reaches the new address");

    let endpoints = world.get("/v1/webhook_endpoints").await.ok();
    assert_eq!(endpoints["data"].as_array().unwrap().len(), 1, "the seeded endpoint was replaced, not added");
    let prices = world.get("/v1/prices?limit=100").await.ok();
    let ids: BTreeSet<_> = prices["data"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(ids.len(), 3, "seeding twice changes nothing");
}
