//! What the clock brings.

use serde_json::{Value, json};

use crate::support::{DAY, World, id};

const MONTH: i64 = 31 * DAY;

fn period_end(subscription: &Value) -> i64 {
    subscription["items"]["data"][0]["current_period_end"].as_i64().unwrap()
}

#[tokio::test]
async fn a_renewal_moves_the_period_before_the_money() {
    let world = World::new().await;
    let (_, subscription) = world.subscriber().await;
    let first = world.subscription(&subscription).await;
    let now = world.get("/_sandbox/clock").await.ok()["now"].as_i64().unwrap();
    world.pass(period_end(&first) - now + 60).await;

    let renewed = world.subscription(&subscription).await;
    assert!(period_end(&renewed) > period_end(&first));
    assert_eq!(renewed["status"], "active");
    assert_eq!(renewed["latest_invoice"]["status"], "draft");
    assert_eq!(renewed["latest_invoice"]["billing_reason"], "subscription_cycle");
    assert_eq!(renewed["latest_invoice"]["hosted_invoice_url"], Value::Null);
    let updated = world.inbox.wait_for("customer.subscription.updated", 1).await;
    assert_eq!(updated[0]["data"]["previous_attributes"]["latest_invoice"], first["latest_invoice"]["id"]);

    world.pass(3_600).await;
    let paid = world.subscription(&subscription).await;
    assert_eq!(paid["latest_invoice"]["status"], "paid");
    world.inbox.wait_for("invoice.paid", 2).await;
}

#[tokio::test]
async fn a_year_is_twelve_renewals() {
    let world = World::new().await;
    let (customer, _) = world.subscriber().await;
    world.pass(366 * DAY).await;
    let invoices = world.get(&format!("/v1/invoices?customer={customer}&status=paid&limit=100")).await.ok();
    assert_eq!(invoices["data"].as_array().unwrap().len(), 13);
}

#[tokio::test]
async fn a_failing_card_is_retried_and_then_ends_the_subscription() {
    let world = World::new().await;
    let (customer, subscription) = world.subscriber().await;
    world.control(&format!("/customers/{customer}/card"), json!({ "card": "declined" })).await;
    world.pass(MONTH + DAY).await;
    assert_eq!(world.subscription(&subscription).await["status"], "past_due");
    let failed = &world.inbox.wait_for("invoice.payment_failed", 1).await[0]["data"]["object"];
    assert_eq!(failed["attempt_count"], 1);
    assert!(failed["next_payment_attempt"].is_i64());

    world.pass(15 * DAY).await;
    let ended = world.subscription(&subscription).await;
    assert_eq!(ended["status"], "canceled");
    assert_eq!(ended["cancellation_details"]["reason"], "payment_failed");
    assert_eq!(ended["latest_invoice"]["attempt_count"], 4);
    world.inbox.wait_for("customer.subscription.deleted", 1).await;
}

#[tokio::test]
async fn a_new_card_brings_a_past_due_subscription_back() {
    let world = World::new().await;
    let (customer, subscription) = world.subscriber().await;
    world.control(&format!("/customers/{customer}/card"), json!({ "card": "declined" })).await;
    world.pass(MONTH + DAY).await;
    world.control(&format!("/customers/{customer}/card"), json!({ "card": "success" })).await;
    world.pass(3 * DAY).await;
    let back = world.subscription(&subscription).await;
    assert_eq!((&back["status"], &back["latest_invoice"]["status"]), (&"active".into(), &"paid".into()));
}

#[tokio::test]
async fn cancelling_at_the_end_of_the_period_ends_it_there() {
    let world = World::new().await;
    let (customer, subscription) = world.subscriber().await;
    let path = format!("/v1/subscriptions/{subscription}");
    let scheduled = world.post(&path, &[("cancel_at_period_end", "true")]).await.ok();
    assert_eq!(scheduled["cancel_at"], period_end(&scheduled));
    assert_eq!(scheduled["status"], "active");
    let resumed = world.post(&path, &[("cancel_at_period_end", "false")]).await.ok();
    assert_eq!((&resumed["cancel_at"], &resumed["canceled_at"]), (&Value::Null, &Value::Null));
    world.post(&path, &[("cancel_at_period_end", "true")]).await.ok();

    world.pass(MONTH + 1).await;
    let deleted = &world.inbox.wait_for("customer.subscription.deleted", 1).await[0]["data"]["object"];
    assert_eq!(deleted["status"], "canceled");
    assert_eq!(deleted["ended_at"], period_end(&scheduled));
    let listed = world.get(&format!("/v1/subscriptions?customer={customer}")).await.ok();
    assert_eq!(listed["data"], json!([]), "canceled ones are left out unless asked for");
    for status in ["all", "ended", "canceled"] {
        let listed = world.get(&format!("/v1/subscriptions?customer={customer}&status={status}")).await.ok();
        assert_eq!(listed["data"].as_array().unwrap().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_trial_warns_and_becomes_paid() {
    let world = World::new().await;
    let customer = world.customer().await;
    let session = world.session_with(&customer, &[("subscription_data[trial_period_days]", "14")]).await;
    world.pay(&session, "success").await;
    world.pass(12 * DAY).await;
    world.inbox.wait_for("customer.subscription.trial_will_end", 1).await;
    world.pass(3 * DAY).await;
    let listed = world.get(&format!("/v1/subscriptions?customer={customer}&expand[]=data.latest_invoice")).await.ok();
    let subscription = &listed["data"][0];
    assert_eq!(subscription["status"], "active");
    assert_eq!(subscription["latest_invoice"]["amount_paid"], 4_900);
}

#[tokio::test]
async fn a_trial_without_a_card_ends_as_its_settings_say() {
    let world = World::new().await;
    for (behavior, status) in [("cancel", "canceled"), ("pause", "paused"), ("create_invoice", "past_due")] {
        let customer = world.customer().await;
        let form = [
            ("customer", customer.as_str()),
            ("items[0][price]", "price_pro_monthly"),
            ("trial_period_days", "2"),
            ("trial_settings[end_behavior][missing_payment_method]", behavior),
        ];
        let subscription = id(&world.post("/v1/subscriptions", &form).await.ok());
        world.pass(2 * DAY + 2 * 3_600).await;
        assert_eq!(world.subscription(&subscription).await["status"], status, "{behavior}");
    }
    world.inbox.wait_for("customer.subscription.paused", 1).await;
}

#[tokio::test]
async fn an_incomplete_subscription_expires() {
    let world = World::new().await;
    let customer = world.customer().await;
    let attach = "/v1/payment_methods/pm_card_chargeCustomerFail/attach";
    let card = id(&world.post(attach, &[("customer", &customer)]).await.ok());
    let form = [
        ("customer", customer.as_str()),
        ("items[0][price]", "price_pro_monthly"),
        ("default_payment_method", card.as_str()),
    ];
    let subscription = world.post("/v1/subscriptions", &form).await.ok();
    assert_eq!(subscription["status"], "incomplete");
    world.pass(DAY).await;
    let expired = world.subscription(&id(&subscription)).await;
    assert_eq!(expired["status"], "incomplete_expired");
    assert_eq!(expired["latest_invoice"]["status"], "void");
}
