//! What happens when webhooks do not come: the sweep, and the page that the customer is sent back to.

use serde_json::json;

use crate::actors::Visitor;
use crate::world::World;

/// A checkout whose customer comes back to our own page; answers where to pay, and where to come back to.
async fn checkout_with_our_return_page(world: &World, visitor: &Visitor) -> (String, String) {
    let base = world.config.public_url.as_str();
    let mut wish = visitor.wish("professional");
    wish["success_url"] = json!(format!("{base}/checkout/return?attempt={{ATTEMPT_ID}}"));
    wish["cancel_url"] = json!(format!("{base}/checkout/return?attempt={{ATTEMPT_ID}}&canceled=1"));
    let url = visitor.checkout_with(&wish).await.accepted()["checkout_url"].as_str().unwrap().to_owned();
    let sql = "select attempt_id from checkout_attempts where customer_id = $1 order by id desc limit 1";
    let row = world.app.db.query(sql).bind(&visitor.customer_id).one().await.unwrap();
    let attempt: String = row.get("attempt_id").unwrap();
    (url, format!("/checkout/return?attempt={attempt}"))
}

async fn scenario_77_the_sweep_repairs_a_day_without_webhooks(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let bob = world.customer("bob@example.com").await;
    world.sandbox().drop_webhooks().await;
    ada.buy(world, "professional").await;
    bob.checkout_url("starter").await;
    world.sandbox().advance(86_400 + 60).await;
    assert_eq!(world.stored(&ada).await.licenses, 1, "nobody has told us");
    for round in 0..2 {
        world.app.sweep_open(world.app.now()).await.unwrap();
        world.worked_off().await;
        let stored = world.stored(&ada).await;
        assert_eq!((stored.status.as_str(), stored.licenses, stored.mails), ("active", 2, 2), "round {round}");
    }
    let stored = world.stored(&bob).await;
    assert_eq!((stored.status.as_str(), stored.licenses), ("trialing", 1));
    let open = "select cast(count(*) as bigint) as n from checkout_attempts where state in ('opening', 'open')";
    assert_eq!(world.app.db.query(open).one().await.unwrap().get::<i64>("n").unwrap(), 0, "attempts end");
}

async fn the_sweep_finishes_a_customer_that_was_being_made(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let lose = json!({ "lose_answer": { "times": 3, "path": "/v1/customers", "method": "POST" } });
    world.sandbox().faults(lose).await;
    ada.checkout("professional").await.refused(503, "payment_provider_unavailable");
    world.sandbox().advance(600).await;
    assert_eq!(world.app.sweep_open(world.app.now()).await.unwrap(), 1);
    let customers = world.sandbox().customers().await;
    assert_eq!(customers.len(), 1);
    assert_eq!(world.stored(&ada).await.stripe_customer_id.as_deref(), customers[0]["id"].as_str());
}

async fn scenario_79_the_return_page_does_not_wait_for_the_webhook(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let (url, return_page) = checkout_with_our_return_page(world, &ada).await;
    world.sandbox().drop_webhooks().await;
    let early = ada.http.get(&return_page).await;
    assert!(!early.page().contains(&ada.license), "nothing is claimed before it is paid");
    assert_eq!(world.stored(&ada).await.licenses, 1);
    let back = world.sandbox().pay(&url, "success").await;
    assert!(back.ends_with(&return_page), "{back}");
    let page = ada.http.get(&return_page).await;
    let license = ada.current_license().await.accepted();
    assert_eq!((&license["plan"], &license["version"]), (&json!("professional"), &json!(2)));
    assert!(page.page().contains(license["token"].as_str().unwrap()), "the page shows the licence");
    world.worked_off().await;
    for kind in ["checkout.session.completed", "customer.subscription.created", "invoice.paid"] {
        let event = world.sandbox().newest_event(kind).await;
        world.deliver(&event).await.accepted();
    }
    world.worked_off().await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.licenses, stored.mails), (2, 2), "the webhook after it brings nothing new");
}

async fn the_return_page_is_for_its_own_customer(world: &World) {
    let (ada, eve) = (world.customer("ada@example.com").await, world.customer("eve@example.com").await);
    let (url, return_page) = checkout_with_our_return_page(world, &ada).await;
    world.sandbox().pay(&url, "success").await;
    world.settled().await;
    let theirs = eve.http.get(&return_page).await;
    let nobodys = eve.http.get(&format!("/checkout/return?attempt=att_{}", "0".repeat(32))).await;
    assert_eq!((theirs.status, nobodys.status), (404, 404));
    let stranger = world.http.get(&return_page).await;
    assert_eq!(stranger.status, 303, "a stranger has to log in first");
    assert!(stranger.header("location").starts_with("/login"), "{}", stranger.header("location"));
}

async fn an_event_of_an_old_subscription_does_not_end_the_new_one(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "starter").await;
    let old = world.stored(&ada).await.stripe_subscription_id.unwrap();
    world.sandbox().drop_webhooks().await;
    world.sandbox().delete(&format!("/v1/subscriptions/{old}")).await;
    let deleted = world.sandbox().newest_event("customer.subscription.deleted").await;
    world.app.sync_customer(&crate::world::id_of(&ada)).await.unwrap();
    world.sandbox().clear_faults().await;
    ada.subscribe(world, "professional").await;
    let before = world.stored(&ada).await;
    world.deliver(&deleted).await.accepted();
    world.worked_off().await;
    assert_eq!(world.stored(&ada).await, before);
    assert_eq!((before.plan.as_str(), before.status.as_str()), ("professional", "active"));
}

both_engines!(
    scenario_77_the_sweep_repairs_a_day_without_webhooks,
    the_sweep_finishes_a_customer_that_was_being_made,
    scenario_79_the_return_page_does_not_wait_for_the_webhook,
    the_return_page_is_for_its_own_customer,
    an_event_of_an_old_subscription_does_not_end_the_new_one,
);
