//! Changes of a plan that wait for the period's end, and previews of those that do not.

use serde_json::{Value, json};

use crate::support::{DAY, World, id};

fn item(subscription: &Value) -> &Value {
    &subscription["items"]["data"][0]
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Plans a change to the starter price; answers the schedule's path.
async fn planned(world: &World, subscription: &str) -> String {
    let made = world.post("/v1/subscription_schedules", &[("from_subscription", subscription)]).await.ok();
    let path = format!("/v1/subscription_schedules/{}", id(&made));
    let (start, end) = (text(&made["current_phase"]["start_date"]), text(&made["current_phase"]["end_date"]));
    let phases = [
        ("end_behavior", "release"),
        ("phases[0][items][0][price]", "price_pro_monthly"),
        ("phases[0][start_date]", &start),
        ("phases[0][end_date]", &end),
        ("phases[1][items][0][price]", "price_starter_monthly"),
        ("phases[1][duration][interval]", "month"),
        ("phases[1][proration_behavior]", "none"),
    ];
    let changed = world.post(&path, &phases).await.ok();
    assert_eq!(changed["phases"][1]["start_date"], made["current_phase"]["end_date"]);
    path
}

#[tokio::test]
async fn a_planned_price_comes_with_the_renewal_and_the_old_one_is_not_charged_again() {
    let world = World::new().await;
    let (customer, subscription) = world.subscriber().await;
    let schedule = planned(&world, &subscription).await;
    let before = world.subscription(&subscription).await;
    assert_eq!(item(&before)["price"]["id"], "price_pro_monthly");
    let end = item(&before)["current_period_end"].as_i64().unwrap();
    let now = world.get("/_sandbox/clock").await.ok()["now"].as_i64().unwrap();
    world.pass(end - now + 2 * 3600).await;
    let after = world.subscription(&subscription).await;
    assert_eq!(item(&after)["price"]["id"], "price_starter_monthly");
    assert_eq!(
        (&after["latest_invoice"]["amount_paid"], &after["latest_invoice"]["status"]),
        (&json!(900), &json!("paid"))
    );
    world.pass(62 * DAY).await;
    assert_eq!(world.get(&schedule).await.ok()["status"], "released");
    let paid = world.get(&format!("/v1/invoices?customer={customer}&status=paid")).await.ok();
    let amounts: Vec<&Value> = paid["data"].as_array().unwrap().iter().map(|invoice| &invoice["amount_paid"]).collect();
    assert_eq!(amounts, [900, 900, 900, 4900]);
}

#[tokio::test]
async fn a_schedule_says_when_its_subscription_ends_until_it_lets_go() {
    let world = World::new().await;
    let (_, subscription) = world.subscriber().await;
    let schedule = planned(&world, &subscription).await;
    let path = format!("/v1/subscriptions/{subscription}");
    let again = world.post("/v1/subscription_schedules", &[("from_subscription", &subscription)]).await.refused(400);
    assert!(again["message"].as_str().unwrap().contains("already attached"));
    let refused = world.post(&path, &[("cancel_at_period_end", "true")]).await.refused(400);
    assert!(refused["message"].as_str().unwrap().contains("managed by the subscription schedule"), "{refused}");

    let made = world.get(&schedule).await.ok();
    let (start, end) = (text(&made["current_phase"]["start_date"]), text(&made["current_phase"]["end_date"]));
    let ending = [
        ("end_behavior", "cancel"),
        ("phases[0][items][0][price]", "price_pro_monthly"),
        ("phases[0][start_date]", &start),
        ("phases[0][end_date]", &end),
    ];
    world.post(&schedule, &ending).await.ok();
    let planned = world.subscription(&subscription).await;
    assert_eq!(text(&planned["cancel_at"]), end);
    world.post(&format!("{schedule}/release"), &[]).await.ok();
    let free = world.subscription(&subscription).await;
    assert_eq!((&free["cancel_at"], &free["schedule"]), (&Value::Null, &Value::Null));
    world.post(&format!("{schedule}/release"), &[]).await.refused(400);
    world.post(&path, &[("cancel_at_period_end", "true")]).await.ok();
}

#[tokio::test]
async fn a_preview_is_what_the_change_then_costs() {
    let world = World::new().await;
    let (_, subscription) = world.subscriber().await;
    world.pass(10 * DAY).await;
    let before = world.subscription(&subscription).await;
    let at = text(&world.get("/_sandbox/clock").await.ok()["now"]);
    for (price, reason) in [("price_starter_monthly", "less"), ("price_pro_yearly", "another interval")] {
        let asked = [
            ("subscription", subscription.as_str()),
            ("subscription_details[items][0][id]", item(&before)["id"].as_str().unwrap()),
            ("subscription_details[items][0][price]", price),
            ("subscription_details[proration_behavior]", "always_invoice"),
            ("subscription_details[proration_date]", &at),
        ];
        let told = world.post("/v1/invoices/create_preview", &asked).await.ok();
        assert_eq!(world.subscription(&subscription).await, before, "nothing is changed by a preview of {reason}");
        assert_eq!(told["object"], "invoice");
        if price == "price_pro_yearly" {
            let change = [
                ("items[0][id]", item(&before)["id"].as_str().unwrap()),
                ("items[0][price]", price),
                ("proration_behavior", "always_invoice"),
                ("proration_date", &at),
            ];
            world.pass(600).await;
            let changed = world.post(&format!("/v1/subscriptions/{subscription}"), &change).await.ok();
            let invoice = world.get(&format!("/v1/invoices/{}", text(&changed["latest_invoice"]))).await.ok();
            assert_eq!(invoice["amount_paid"], told["amount_due"]);
            assert_eq!(invoice["lines"]["data"][0]["amount"], told["lines"]["data"][0]["amount"]);
        } else {
            assert_eq!(told["amount_due"], 0);
            assert!(told["total"].as_i64().unwrap() < 0);
        }
    }
}
