//! Stripe's answers in shapes that the sandbox does not give: older API versions, words of tomorrow, money on its way.

use serde_json::{Value, json};

use crate::actors::Visitor;
use crate::world::World;

/// Changes every subscription of a list on its way to us.
fn of_each_subscription(change: impl Fn(&mut Value) + Send + 'static) -> impl Fn(&str, &mut Value) + Send + 'static {
    move |path, answer| {
        if path == "/v1/subscriptions" {
            answer["data"].as_array_mut().into_iter().flatten().for_each(&change);
        }
    }
}

/// Makes us look again.
async fn nudge(world: &World, visitor: &Visitor) {
    let customer = world.stored(visitor).await.stripe_customer_id;
    let object = json!({ "id": "sub_Nudge0000001", "object": "subscription", "customer": customer });
    world.deliver(&world.event("customer.subscription.updated", object)).await.accepted();
    world.worked_off().await;
}

async fn scenario_59_the_period_end_is_found_on_the_items_or_at_the_top(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let on_items = world.stored(&ada).await;
    world.rewrite(of_each_subscription(|subscription| {
        let item = subscription["items"]["data"][0].as_object_mut().expect("an item");
        let end = item.remove("current_period_end").expect("a period");
        subscription["current_period_end"] = json!(end.as_i64().unwrap() + 86_400);
    }));
    nudge(world, &ada).await;
    let at_the_top = world.stored(&ada).await;
    assert_eq!(at_the_top.current_period_ends_at, on_items.current_period_ends_at.map(|end| end.plus_days(1)));
    assert_eq!(at_the_top.paid_until, on_items.paid_until, "a later period is no payment");
    world.rewrite(of_each_subscription(|subscription| {
        subscription["items"]["data"][0].as_object_mut().expect("an item").remove("current_period_end");
    }));
    nudge(world, &ada).await;
    assert_eq!(world.stored(&ada).await, at_the_top, "a date that is known is not replaced by none");
    assert_eq!(at_the_top.licenses, 2);
}

async fn scenario_50_money_on_its_way_gives_nothing_until_it_has_come(world: &World) {
    let ada = world.customer("ada@example.com").await;
    world.rewrite(|path, answer| {
        if path == "/v1/subscriptions" {
            for subscription in answer["data"].as_array_mut().into_iter().flatten() {
                subscription["status"] = json!("incomplete");
                subscription["latest_invoice"]["status"] = json!("open");
                subscription["latest_invoice"]["amount_paid"] = json!(0);
            }
        }
        if path == "/v1/invoices" {
            answer["data"] = json!([]);
        }
    });
    ada.buy(world, "professional").await;
    world.settled().await;
    let waiting = world.stored(&ada).await;
    assert_eq!((waiting.status.as_str(), waiting.licenses), ("trialing", 1), "completed is not paid");
    ada.checkout("professional").await.refused(409, "payment_pending");
    assert_eq!(ada.subscription().await["payment_pending"], true);
    let overview = ada.http.get("/account").await;
    assert!(overview.page().contains("Your payment is being confirmed"), "{}", overview.body);
    assert!(!overview.page().contains("buy-professional"), "nobody is asked to pay a second time");
    world.rewrite(|_, _| {});
    let object = json!({ "object": "checkout.session", "customer": waiting.stripe_customer_id });
    world.deliver(&world.event("checkout.session.async_payment_succeeded", object)).await.accepted();
    world.worked_off().await;
    let paid = world.stored(&ada).await;
    assert_eq!((paid.status.as_str(), paid.licenses, paid.mails), ("active", 2, 2));
    assert_eq!(ada.subscription().await.get("payment_pending"), None);
    assert!(!ada.http.get("/account").await.page().contains("being confirmed"));
}

async fn scenario_50_money_that_never_comes_leaves_the_way_to_checkout_open(world: &World) {
    let ada = world.customer("ada@example.com").await;
    world.rewrite(|path, answer| {
        if path == "/v1/subscriptions" {
            for subscription in answer["data"].as_array_mut().into_iter().flatten() {
                subscription["status"] = json!("incomplete_expired");
                subscription["latest_invoice"]["status"] = json!("void");
            }
        }
        if path == "/v1/invoices" {
            answer["data"] = json!([]);
        }
    });
    ada.buy(world, "professional").await;
    world.settled().await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.status.as_str(), stored.licenses), ("trialing", 1));
    ada.checkout_url("professional").await;
}

async fn a_word_that_stripe_invents_changes_nothing_and_tells_an_operator(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let before = world.stored(&ada).await;
    world.rewrite(of_each_subscription(|subscription| subscription["status"] = json!("hibernating")));
    nudge(world, &ada).await;
    let after = world.stored(&ada).await;
    assert_eq!(after.needs_attention.as_deref(), Some("status_unknown"));
    assert_eq!((&after.status, after.paid_until, after.licenses), (&before.status, before.paid_until, 2));
    assert_eq!(ada.validate(&ada.license).await["valid"], true);
    world.rewrite(|_, _| {});
    nudge(world, &ada).await;
    assert_eq!(world.stored(&ada).await, before, "and the next word that we know clears it");
}

async fn a_price_in_no_plan_keeps_the_plan_and_tells_an_operator(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    world.rewrite(of_each_subscription(|subscription| {
        subscription["items"]["data"][0]["price"]["id"] = json!("price_of_last_year");
    }));
    nudge(world, &ada).await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.plan.as_str(), stored.needs_attention.as_deref()), ("professional", Some("price_unmapped")));
    assert_eq!(ada.validate(&ada.license).await["valid"], true);
}

async fn a_subscription_that_is_missing_from_the_list_is_not_taken_for_ended(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    world.rewrite(|path, answer| {
        if path == "/v1/subscriptions" {
            answer["data"] = json!([]);
        }
    });
    nudge(world, &ada).await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.status.as_str(), stored.needs_attention.as_deref()), ("active", Some("vanished")));
    assert_eq!(ada.validate(&ada.license).await["valid"], true);
}

both_engines!(
    Setup::test_mode();
    scenario_59_the_period_end_is_found_on_the_items_or_at_the_top,
    scenario_50_money_on_its_way_gives_nothing_until_it_has_come,
    scenario_50_money_that_never_comes_leaves_the_way_to_checkout_open,
    a_word_that_stripe_invents_changes_nothing_and_tells_an_operator,
    a_price_in_no_plan_keeps_the_plan_and_tells_an_operator,
    a_subscription_that_is_missing_from_the_list_is_not_taken_for_ended,
);
