//! Idempotency keys: replayed, refused for other parameters, in use, stored or not, forgotten.

use serde_json::json;

use crate::support::{DAY, World, id};

#[tokio::test]
async fn a_repeated_call_is_replayed_word_for_word() {
    let world = World::new().await;
    let first = world.post_with_key("/v1/customers", &[("email", "a@example.com"), ("name", "A")], "k").await;
    let second = world.post_with_key("/v1/customers", &[("name", "A"), ("email", "a@example.com")], "k").await;
    assert_eq!((first.status, &first.text), (second.status, &second.text));
    assert_eq!(first.header("idempotent-replayed"), "");
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(second.header("original-request"), first.header("request-id"));
    assert_eq!(second.header("idempotency-key"), "k");
    assert_eq!(second.header("stripe-should-retry"), "false");
    assert_eq!(world.get("/v1/customers").await.ok()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn other_parameters_under_the_same_key_are_refused() {
    let world = World::new().await;
    world.post_with_key("/v1/customers", &[("email", "a@example.com")], "k").await.ok();
    let error = world.post_with_key("/v1/customers", &[("email", "b@example.com")], "k").await.refused(400);
    assert_eq!(error["type"], "idempotency_error");
    assert_eq!(
        error["message"],
        "Keys for idempotent requests can only be used with the same parameters they were first used with. Try using \
         a key other than 'k' if you meant to execute a different request."
    );
    world.post_with_key("/v1/products", &[("name", "x")], "k").await.refused(400);
}

#[tokio::test]
async fn a_key_under_way_is_in_use() {
    let world = World::new().await;
    world.control("/faults", json!({ "slow": { "times": 1, "millis": 700 } })).await;
    let form = [("email", "a@example.com")];
    let slow = tokio::spawn(world.request("/v1/customers", &form).header("idempotency-key", "k").send());
    // The fault is counted down when the slow call has begun.
    while world.get("/_sandbox/faults").await.ok()["slow"]["times"] != 0 {}
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let error = world.post_with_key("/v1/customers", &form, "k").await.refused(409);
    assert_eq!(error["code"], "idempotency_key_in_use");
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    assert_eq!(world.post_with_key("/v1/customers", &form, "k").await.header("idempotent-replayed"), "true");
}

#[tokio::test]
async fn a_refused_validation_is_not_stored_but_a_declined_card_is() {
    let world = World::new().await;
    world.post_with_key("/v1/customers", &[("emial", "x")], "v").await.refused(400);
    world.post_with_key("/v1/customers", &[("email", "a@example.com")], "v").await.ok();

    let form =
        [("amount", "500"), ("currency", "usd"), ("payment_method", "pm_card_chargeCustomerFail"), ("confirm", "true")];
    let first = world.post_with_key("/v1/payment_intents", &form, "c").await;
    assert_eq!(first.refused(402)["type"], "card_error");
    let second = world.post_with_key("/v1/payment_intents", &form, "c").await;
    assert_eq!((second.status, &second.text), (402, &first.text));
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(world.get("/v1/charges").await.ok()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_stored_server_error_poisons_its_key_until_it_is_forgotten() {
    let world = World::new().await;
    world.control("/faults", json!({ "store_error": { "times": 1, "path": "/v1/customers" } })).await;
    let form = [("email", "a@example.com")];
    world.post_with_key("/v1/customers", &form, "k").await.refused(500);
    let again = world.post_with_key("/v1/customers", &form, "k").await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (500, "true"));
    world.pass(DAY + 1).await;
    let customer = world.post_with_key("/v1/customers", &form, "k").await.ok();
    assert!(id(&customer).starts_with("cus_"));
}

#[tokio::test]
async fn keys_mean_nothing_on_reads_and_deletes() {
    let world = World::new().await;
    let customer = world.customer().await;
    let path = format!("/v1/customers/{customer}");
    assert_eq!(world.delete(&path).await.header("idempotency-key"), "");
    assert_eq!(world.delete(&path).await.status, 404);
}
