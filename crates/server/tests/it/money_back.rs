//! Scenario 76, money back: refunds and disputes end exactly the period they are about, and a customer who pays twice is seen.

use counterfoil::store::audit;
use serde_json::{Value, json};

use crate::actors::Visitor;
use crate::counts::Counts;
use crate::world::{World, id_of};

pub const HOLD: &[(&str, &str)] = &[("COUNTERFOIL_DISPUTE_POLICY", "hold")];
const REFUND: &[(&str, &str)] = &[("COUNTERFOIL_DUPLICATE_POLICY", "cancel_and_refund")];
const CANCEL: &[(&str, &str)] = &[("COUNTERFOIL_DUPLICATE_POLICY", "cancel")];

/// The payments of the customer, newest first.
pub async fn payments(world: &World, visitor: &Visitor) -> Vec<Value> {
    let customer = world.stored(visitor).await.stripe_customer_id.expect("a counterpart");
    world.sandbox().list(&format!("/v1/payment_intents?customer={customer}")).await
}

/// Gives back a part of a payment, or all of it.
pub async fn refund(world: &World, payment: &Value, amount: Option<&str>) {
    let mut pairs = vec![("payment_intent", payment["id"].as_str().expect("an id"))];
    pairs.extend(amount.map(|amount| ("amount", amount)));
    world.sandbox().post("/v1/refunds", &pairs).await;
}

/// A subscription that somebody makes at the provider for our customer and pays with this card.
async fn subscribe_at_stripe(world: &World, visitor: &Visitor, price: &str, card: &str) -> Value {
    let customer = world.stored(visitor).await.stripe_customer_id.expect("a counterpart");
    let attached =
        world.sandbox().post(&format!("/v1/payment_methods/{card}/attach"), &[("customer", customer.as_str())]).await;
    let pairs = [
        ("customer", customer.as_str()),
        ("items[0][price]", price),
        ("default_payment_method", attached["id"].as_str().expect("a card")),
    ];
    world.sandbox().post("/v1/subscriptions", &pairs).await
}

/// Who has bought with a card whose holder disputes the payment at once.
pub async fn disputing(world: &World) -> Visitor {
    let ada = world.customer("ada@example.com").await;
    ada.checkout_url("professional").await;
    subscribe_at_stripe(world, &ada, "price_pro_monthly", "pm_card_createDispute").await;
    world.settled().await;
    ada
}

pub async fn decide(world: &World, status: &str) {
    let dispute = world.sandbox().newest_event("charge.dispute.created").await["data"]["object"]["id"].clone();
    world.sandbox().decide_dispute(dispute.as_str().expect("an id"), status).await;
    world.settled().await;
}

/// What a check of the newest licence says.
async fn judged(visitor: &Visitor) -> (Value, Value) {
    let license = visitor.licenses().await[0]["token"].as_str().expect("a licence").to_owned();
    let said = visitor.validate(&license).await;
    (said["valid"].clone(), said["code"].clone())
}

fn refused(code: &str) -> (Value, Value) {
    (json!(false), json!(code))
}

async fn actions(world: &World, visitor: &Visitor) -> Vec<String> {
    let mut tx = world.app.db.begin_read().await.expect("a transaction");
    let entries = audit::list(&mut tx, &id_of(visitor), 50).await.expect("entries");
    entries.into_iter().map(|entry| format!("{} {}", entry.action, entry.detail).trim().to_owned()).collect()
}

async fn scenario_76_a_full_refund_ends_the_period_and_only_that_subscription(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let mut ben = world.customer("ben@example.com").await;
    ada.subscribe(world, "professional").await;
    ben.subscribe(world, "professional").await;
    let bens = world.stored(&ben).await;
    refund(world, &payments(world, &ada).await[0], None).await;
    world.settled().await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.status.as_str(), stored.paid_until, stored.licenses), ("active", None, 2), "{stored:?}");
    assert_eq!(stored.needs_attention.as_deref(), Some("money_back"));
    assert_eq!(judged(&ada).await, refused("refunded"));
    ada.refresh(&ada.license).await.refused(404, "no_license");
    assert!(actions(world, &ada).await.contains(&"money_changed refunded".to_owned()));
    assert_eq!(world.stored(&ben).await, bens);
    assert_eq!(judged(&ben).await.0, true);
}

async fn scenario_76_a_refunded_renewal_leaves_the_period_before_and_the_next_payment_counts(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let first = world.stored(&ada).await.paid_until.expect("it is paid");
    world.sandbox().advance(first.as_unix_seconds() - world.sandbox().now().await + 2 * 3600).await;
    world.settled().await;
    ada.log_in().await.accepted();
    let renewed = world.stored(&ada).await;
    assert!(renewed.paid_until > Some(first) && renewed.licenses == 3, "{renewed:?}");
    refund(world, &payments(world, &ada).await[0], None).await;
    world.settled().await;
    let refunded = world.stored(&ada).await;
    assert_eq!((refunded.paid_until, refunded.licenses), (Some(first), 3), "no licence for what was given back");
    assert_eq!(judged(&ada).await, refused("refunded"), "and no grace either");
    let second = renewed.current_period_ends_at.expect("a period");
    world.sandbox().advance(second.as_unix_seconds() - world.sandbox().now().await + 2 * 3600).await;
    world.settled().await;
    ada.log_in().await.accepted();
    let paid_again = world.stored(&ada).await;
    assert_eq!((paid_again.paid_until, paid_again.needs_attention), (paid_again.current_period_ends_at, None));
    assert_eq!(judged(&ada).await.0, true);
}

async fn scenario_76_a_partial_refund_is_noted_and_changes_nothing(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let before = world.stored(&ada).await;
    let payment = payments(world, &ada).await[0].clone();
    refund(world, &payment, Some("100")).await;
    world.settled().await;
    assert_eq!(world.stored(&ada).await, before);
    assert!(actions(world, &ada).await.contains(&"money_changed partly_refunded".to_owned()));
    assert_eq!(judged(&ada).await.0, true);
    refund(world, &payment, None).await;
    world.settled().await;
    assert_eq!(judged(&ada).await, refused("refunded"), "the rest makes it a whole");
}

async fn scenario_76_an_open_dispute_is_flagged_and_a_lost_one_ends_the_period(world: &World) {
    let ada = disputing(world).await;
    let open = world.stored(&ada).await;
    assert_eq!((open.status.as_str(), open.needs_attention.as_deref()), ("active", Some("disputed")));
    assert_eq!(judged(&ada).await.0, true);
    decide(world, "lost").await;
    let lost = world.stored(&ada).await;
    assert_eq!((lost.paid_until, lost.needs_attention.as_deref()), (None, Some("money_back")));
    assert_eq!(judged(&ada).await, refused("dispute_lost"));
}

async fn scenario_76_a_dispute_that_is_won_was_nothing(world: &World) {
    let ada = disputing(world).await;
    let open = world.stored(&ada).await;
    decide(world, "won").await;
    let won = world.stored(&ada).await;
    assert_eq!((won.paid_until, won.licenses, won.needs_attention), (open.paid_until, open.licenses, None));
    assert_eq!(judged(&ada).await.0, true);
}

async fn scenario_76_under_hold_nothing_is_given_until_the_dispute_is_won(world: &World) {
    let ada = disputing(world).await;
    let held = world.stored(&ada).await;
    assert_eq!((held.status.as_str(), held.licenses), ("active", 1), "{held:?}");
    assert_eq!(judged(&ada).await, refused("disputed"));
    decide(world, "won").await;
    assert_eq!(world.stored(&ada).await.licenses, 2);
    assert_eq!(judged(&ada).await.0, true);
}

async fn scenario_76_under_hold_a_lost_dispute_stays_lost(world: &World) {
    let ada = disputing(world).await;
    decide(world, "lost").await;
    assert_eq!(world.stored(&ada).await.licenses, 1);
    assert_eq!(judged(&ada).await, refused("dispute_lost"));
}

async fn the_order_in_which_a_purchase_and_its_refund_are_told_does_not_matter(world: &World) {
    let kinds = ["customer.subscription.created", "invoice.paid", "refund.created", "charge.refunded"];
    let mut ends = Vec::new();
    world.sandbox().drop_webhooks().await;
    for (number, turn) in [0, 1, 2, 3].into_iter().enumerate() {
        let ada = world.customer(&format!("ada{number}@example.com")).await;
        ada.buy(world, "professional").await;
        refund(world, &payments(world, &ada).await[0], None).await;
        let mut order = kinds;
        order.rotate_left(turn);
        if turn % 2 == 1 {
            order.reverse();
        }
        for kind in order {
            world.deliver(&world.sandbox().newest_event(kind).await).await.accepted();
            world.worked_off().await;
        }
        let stored = world.stored(&ada).await;
        ends.push((stored.status, stored.paid_until, stored.needs_attention, stored.licenses, judged(&ada).await));
    }
    let expected = ("active".to_owned(), None, Some("money_back".to_owned()), 1, refused("refunded"));
    assert!(ends.iter().all(|end| *end == expected), "{ends:#?}");
}

async fn events_that_name_only_a_payment_reach_its_customer(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    world.sandbox().drop_webhooks().await;
    refund(world, &payments(world, &ada).await[0], None).await;
    let event = world.sandbox().newest_event("refund.created").await;
    assert!(event["data"]["object"]["customer"].is_null(), "{event}");
    world.deliver(&event).await.accepted();
    world.worked_off().await;
    assert_eq!(judged(&ada).await, refused("refunded"));
    let strange = json!({ "object": "dispute", "charge": "ch_of_another_program", "payment_intent": null });
    world.deliver(&world.event("charge.dispute.created", strange)).await.accepted();
    world.worked_off().await;
    let inbox = world.inbox().await;
    assert_eq!(inbox.last().map(String::as_str), Some("charge.dispute.created ignored no_customer"), "{inbox:#?}");
}

async fn a_look_at_money_that_stayed_costs_one_call_more(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    world.sandbox().reset_calls().await;
    world.app.sync_customer(&id_of(&ada)).await.expect("a look");
    let calls = world.sandbox().calls().await;
    let ours: u64 = calls.iter().filter(|(path, _)| path.contains("/v1/")).map(|(_, count)| count).sum();
    assert_eq!(ours, 2, "{calls:?}");
}

async fn a_second_subscription(world: &World) -> (Visitor, Value) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    world.sandbox().advance(5).await;
    let second = subscribe_at_stripe(world, &ada, "price_enterprise_monthly", "pm_card_visa").await;
    world.settled().await;
    (ada, second)
}

async fn two_subscriptions_are_flagged_and_both_go_on(world: &World) {
    let counts = Counts::begin();
    let (ada, second) = a_second_subscription(world).await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.plan.as_str(), stored.needs_attention.as_deref()), ("professional", Some("several_live")));
    assert!(counts.of("attention_total{why=\"several_live\"}") > 0, "whoever watches is told");
    assert_eq!(counts.of("duplicates_canceled_total"), 0);
    let path = format!("/v1/subscriptions/{}", second["id"].as_str().unwrap());
    assert_eq!(world.sandbox().get(&path).await["status"], "active");
}

async fn the_later_of_two_subscriptions_is_canceled_where_the_operator_wants_that(world: &World) {
    let (ada, second) = a_second_subscription(world).await;
    // It is canceled after the look was written, so that no licence waits for it.
    world.until("one is left", async || world.stored(&ada).await.needs_attention.is_none()).await;
    world.settled().await;
    let stored = world.stored(&ada).await;
    assert_eq!(
        (stored.plan.as_str(), stored.status.as_str(), stored.needs_attention),
        ("professional", "active", None)
    );
    assert_ne!(stored.stripe_subscription_id.as_deref(), second["id"].as_str(), "the first one is kept");
    let id = second["id"].as_str().unwrap();
    assert_eq!(world.sandbox().get(&format!("/v1/subscriptions/{id}")).await["status"], "canceled");
    assert!(actions(world, &ada).await.contains(&format!("duplicate_canceled {id}")));
    assert_eq!(judged(&ada).await.0, true);
}

/// What was taken and what of it was given back, for each payment of a customer.
async fn taken_and_given_back(world: &World, visitor: &Visitor) -> Vec<(i64, i64)> {
    let customer = world.stored(visitor).await.stripe_customer_id.expect("a counterpart");
    let charges = world.sandbox().list(&format!("/v1/charges?customer={customer}")).await;
    let mut amounts: Vec<(i64, i64)> = charges
        .iter()
        .map(|charge| (charge["amount"].as_i64().unwrap(), charge["amount_refunded"].as_i64().unwrap()))
        .collect();
    amounts.sort_unstable();
    amounts
}

async fn the_later_of_two_subscriptions_is_canceled_and_its_money_goes_back(world: &World) {
    let counts = Counts::begin();
    let (ada, second) = a_second_subscription(world).await;
    world.until("one is left", async || world.stored(&ada).await.needs_attention.is_none()).await;
    world.settled().await;
    assert_eq!(taken_and_given_back(world, &ada).await, [(4900, 0), (19_900, 19_900)]);
    assert_eq!((counts.of("duplicates_canceled_total"), counts.of("duplicates_refunded_total")), (1, 1));
    let id = second["id"].as_str().unwrap();
    assert_eq!(world.sandbox().get(&format!("/v1/subscriptions/{id}")).await["status"], "canceled");
    let done = actions(world, &ada).await;
    assert_eq!(done.iter().filter(|line| line.starts_with("duplicate_refunded")).count(), 1, "{done:#?}");
    assert_eq!((world.stored(&ada).await.plan.as_str(), judged(&ada).await.0), ("professional", json!(true)));
}

async fn a_refund_whose_answer_is_lost_is_made_once_and_the_duplicate_still_ends(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    world.sandbox().advance(5).await;
    let lost = json!({ "lose_answer": { "times": 3, "path": "/v1/refunds", "method": "POST" } });
    world.sandbox().faults(lost).await;
    subscribe_at_stripe(world, &ada, "price_enterprise_monthly", "pm_card_visa").await;
    world.sandbox().delivered().await;
    world
        .until("a look has ended the second one", async || {
            world.app.sync_customer(&id_of(&ada)).await.expect("a look");
            world.stored(&ada).await.needs_attention.is_none()
        })
        .await;
    world.settled().await;
    assert_eq!(taken_and_given_back(world, &ada).await, [(4900, 0), (19_900, 19_900)]);
}

both_engines!(
    scenario_76_a_full_refund_ends_the_period_and_only_that_subscription,
    scenario_76_a_refunded_renewal_leaves_the_period_before_and_the_next_payment_counts,
    scenario_76_a_partial_refund_is_noted_and_changes_nothing,
    scenario_76_an_open_dispute_is_flagged_and_a_lost_one_ends_the_period,
    scenario_76_a_dispute_that_is_won_was_nothing,
    the_order_in_which_a_purchase_and_its_refund_are_told_does_not_matter,
    events_that_name_only_a_payment_reach_its_customer,
    a_look_at_money_that_stayed_costs_one_call_more,
    two_subscriptions_are_flagged_and_both_go_on,
);
both_engines!(Setup::configured(super::HOLD);
    scenario_76_under_hold_nothing_is_given_until_the_dispute_is_won,
    scenario_76_under_hold_a_lost_dispute_stays_lost,
);
both_engines!(Setup::configured(super::CANCEL);
    the_later_of_two_subscriptions_is_canceled_where_the_operator_wants_that,
);
both_engines!(Setup::configured(super::REFUND);
    the_later_of_two_subscriptions_is_canceled_and_its_money_goes_back,
    a_refund_whose_answer_is_lost_is_made_once_and_the_duplicate_still_ends,
);
