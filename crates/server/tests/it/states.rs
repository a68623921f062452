//! What a subscription's life at the provider does to ours, and to the licence.

use counterfoil_core::Timestamp;
use serde_json::{Value, json};

use crate::actors::Visitor;
use crate::world::World;

const DAY: i64 = 86_400;

/// The customer's subscription at the provider.
async fn at_stripe(world: &World, visitor: &Visitor) -> String {
    let id = world.stored(visitor).await.stripe_subscription_id.expect("a subscription");
    format!("/v1/subscriptions/{id}")
}

async fn version(visitor: &Visitor) -> i64 {
    visitor.licenses().await[0]["version"].as_i64().expect("a version")
}

fn time(value: &Value) -> i64 {
    value.as_str().expect("a time").parse::<Timestamp>().expect("RFC 3339").as_unix_seconds()
}

/// A subscription that somebody makes at the provider for our customer, not paid yet.
async fn begin_unpaid(world: &World, visitor: &Visitor, price: &str) -> Value {
    let customer = world.stored(visitor).await.stripe_customer_id.expect("a counterpart");
    let pairs =
        [("customer", customer.as_str()), ("items[0][price]", price), ("payment_behavior", "default_incomplete")];
    world.sandbox().replace_card(&customer, "success").await;
    world.sandbox().post("/v1/subscriptions", &pairs).await
}

async fn pay_first_invoice(world: &World, subscription: &Value) {
    let invoice = subscription["latest_invoice"].as_str().expect("an invoice");
    world.sandbox().post(&format!("/v1/invoices/{invoice}/pay"), &[]).await;
}

async fn scenario_53_a_second_completed_event_reissues_nothing(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let before = world.stored(&ada).await;
    let object = world.sandbox().newest_event("checkout.session.completed").await["data"]["object"].clone();
    world.deliver(&world.event("checkout.session.completed", object)).await.accepted();
    world.worked_off().await;
    assert_eq!(world.stored(&ada).await, before);
}

async fn scenario_54_created_after_updated_does_not_go_back_to_incomplete(world: &World) {
    let ada = world.customer("ada@example.com").await;
    ada.checkout_url("professional").await;
    world.sandbox().drop_webhooks().await;
    let subscription = begin_unpaid(world, &ada, "price_pro_monthly").await;
    assert_eq!(subscription["status"], "incomplete");
    pay_first_invoice(world, &subscription).await;
    let updated = world.sandbox().newest_event("customer.subscription.updated").await;
    let created = world.sandbox().newest_event("customer.subscription.created").await;
    assert_eq!(
        (&updated["data"]["object"]["status"], &created["data"]["object"]["status"]),
        (&json!("active"), &json!("incomplete"))
    );
    for event in [&updated, &created] {
        world.deliver(event).await.accepted();
        world.worked_off().await;
        let stored = world.stored(&ada).await;
        assert_eq!((stored.status.as_str(), stored.plan.as_str(), stored.licenses), ("active", "professional", 2));
    }
}

async fn scenario_56_an_old_update_after_the_end_does_not_bring_it_back(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let created = world.sandbox().newest_event("customer.subscription.created").await["data"]["object"].clone();
    assert_eq!(created["status"], "active");
    world.sandbox().delete(&at_stripe(world, &ada).await).await;
    world.settled().await;
    let ended = world.stored(&ada).await;
    assert_eq!(ended.status, "canceled");
    let kinds = ["customer.subscription.updated", "customer.subscription.created", "invoice.paid"];
    let at_once = kinds.map(|kind| world.event(kind, created.clone()));
    let days_late = kinds.map(|kind| world.event(kind, created.clone()));
    for (days, events) in [(0, at_once), (3, days_late)] {
        world.sandbox().advance(days * 86_400).await;
        for event in events {
            world.deliver(&event).await.accepted();
            world.worked_off().await;
            assert_eq!(world.stored(&ada).await, ended, "{days} days late");
        }
    }
}

async fn scenarios_60_and_62_a_planned_end_is_shown_and_can_be_taken_back(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let path = at_stripe(world, &ada).await;
    world.sandbox().post(&path, &[("cancel_at_period_end", "true")]).await;
    world.settled().await;
    let planned = ada.subscription().await;
    assert_eq!(planned["status"], "active", "it was paid for");
    assert_eq!(planned["cancel_at"], planned["current_period_ends_at"]);
    assert_eq!(ada.validate(&ada.license).await["valid"], true);
    world.sandbox().post(&path, &[("cancel_at_period_end", "false")]).await;
    world.settled().await;
    assert_eq!(ada.subscription().await["cancel_at"], Value::Null);
    assert_eq!(
        (version(&ada).await, world.mails_to(&ada.email).await),
        (2, 2),
        "the licence says the same all the while"
    );
    world.sandbox().post(&path, &[("cancel_at_period_end", "true")]).await;
    let end = time(&planned["current_period_ends_at"]);
    world.sandbox().advance(end - world.sandbox().now().await + 60).await;
    world.settled().await;
    ada.log_in().await.accepted();
    let ended = ada.subscription().await;
    assert_eq!(ended["status"], "canceled");
    assert_eq!(time(&ended["ended_at"]), end);
    ada.checkout_url("starter").await;
}

async fn scenario_63_an_immediate_cancellation_ends_the_license(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    world.sandbox().delete(&at_stripe(world, &ada).await).await;
    world.settled().await;
    let ended = ada.subscription().await;
    assert_eq!(ended["status"], "canceled");
    assert!(time(&ended["ended_at"]) <= world.app.now().as_unix_seconds());
    let judged = ada.validate(&ada.license).await;
    assert_eq!(
        (&judged["valid"], &judged["code"], &judged["features"]),
        (&json!(false), &json!("canceled"), &json!([]))
    );
    ada.refresh(&ada.license).await.refused(404, "no_license");
    assert_eq!(version(&ada).await, 2);
}

async fn scenario_64_a_first_payment_that_never_comes_leaves_the_trial_and_the_way_to_checkout(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.checkout_url("professional").await;
    let before = world.stored(&ada).await;
    begin_unpaid(world, &ada, "price_enterprise_monthly").await;
    world.settled().await;
    assert_eq!(world.stored(&ada).await, before, "nothing is given before the money comes");
    world.sandbox().advance(23 * 3600 + 60).await;
    world.settled().await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.status.as_str(), stored.licenses), ("trialing", 1));
    ada.subscribe(world, "starter").await;
}

async fn scenario_69_a_planned_end_that_is_told_twice_stays_planned_and_mails_nothing(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let path = at_stripe(world, &ada).await;
    world.sandbox().post(&path, &[("cancel_at_period_end", "true")]).await;
    world.settled().await;
    let planned = world.stored(&ada).await;
    assert_eq!((planned.status.as_str(), planned.cancel_at), ("active", planned.current_period_ends_at));
    let told = world.sandbox().newest_event("customer.subscription.updated").await;
    let again = world.event("customer.subscription.updated", told["data"]["object"].clone());
    for event in [&told, &again] {
        world.deliver(event).await.accepted();
        world.worked_off().await;
        assert_eq!(world.stored(&ada).await, planned, "the same end, and no mail about it");
    }
}

async fn scenario_73_a_customer_in_the_trial_or_with_an_open_payment_becomes_active(world: &World) {
    for unpaid_first in [false, true] {
        let ada = world.customer(if unpaid_first { "ada@example.com" } else { "bob@example.com" }).await;
        ada.checkout_url("professional").await;
        assert_eq!(ada.subscription().await["status"], "trialing");
        let subscription = begin_unpaid(world, &ada, "price_pro_monthly").await;
        if unpaid_first {
            world.settled().await;
            assert_eq!(ada.subscription().await["status"], "trialing", "our trial goes on until money comes");
        }
        pay_first_invoice(world, &subscription).await;
        world.settled().await;
        let stored = world.stored(&ada).await;
        assert_eq!((stored.status.as_str(), stored.plan.as_str(), stored.licenses), ("active", "professional", 2));
    }
}

async fn scenario_70_a_plan_changed_at_the_provider_reaches_the_license(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "starter").await;
    let path = at_stripe(world, &ada).await;
    let item = world.sandbox().get(&path).await["items"]["data"][0]["id"].as_str().unwrap().to_owned();
    let change = [("items[0][id]", item.as_str()), ("items[0][price]", "price_enterprise_monthly")];
    world.sandbox().post(&path, &change).await;
    world.settled().await;
    let license = ada.current_license().await.accepted();
    assert_eq!((&license["plan"], &license["reason"]), (&json!("enterprise"), &json!("plan_changed")));
    let judged = ada.validate(license["token"].as_str().unwrap()).await;
    assert!(judged["features"].as_array().unwrap().contains(&json!("sso")), "{judged}");
    let old = ada.validate(&ada.license).await;
    assert_eq!(
        (&old["valid"], &old["superseded"]),
        (&json!(true), &json!(true)),
        "the old version says that there is a newer"
    );
    assert_eq!(ada.refresh(&ada.license).await.accepted(), license);
}

async fn a_renewal_extends_the_license_once_it_is_paid_and_not_before(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let first_end = world.stored(&ada).await.current_period_ends_at.unwrap();
    world.sandbox().advance(first_end.as_unix_seconds() - world.sandbox().now().await + 600).await;
    world.settled().await;
    ada.log_in().await.accepted();
    // The period has moved, the invoice is a draft: a promise, no money.
    let promised = world.stored(&ada).await;
    assert!(promised.current_period_ends_at > Some(first_end), "{promised:?}");
    assert_eq!((promised.paid_until, version(&ada).await), (Some(first_end), 2));
    assert_eq!(ada.validate(&ada.license).await["code"], "in_grace");
    world.sandbox().advance(2 * 3600).await;
    world.settled().await;
    let paid = world.stored(&ada).await;
    assert_eq!(paid.paid_until, paid.current_period_ends_at);
    let license = ada.current_license().await.accepted();
    assert_eq!((&license["version"], &license["reason"]), (&json!(3), &json!("renewed")));
    assert_eq!(time(&license["expires_at"]), paid.paid_until.unwrap().as_unix_seconds() + 7 * DAY);
    assert_eq!(world.mails_to(&ada.email).await, 3, "one mail for each version");
}

async fn scenarios_65_and_66_a_failed_renewal_keeps_the_grace_and_a_new_card_heals_it(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let stored = world.stored(&ada).await;
    let (customer, first_end) = (stored.stripe_customer_id.unwrap(), stored.current_period_ends_at.unwrap());
    world.sandbox().replace_card(&customer, "declined").await;
    world.sandbox().advance(first_end.as_unix_seconds() - world.sandbox().now().await + 2 * 3600).await;
    world.settled().await;
    ada.log_in().await.accepted();
    assert_eq!(ada.subscription().await["status"], "past_due");
    assert_eq!(world.stored(&ada).await.paid_until, Some(first_end), "no licence beyond what was paid");
    let license = ada.current_license().await.accepted();
    assert_eq!(time(&license["expires_at"]), first_end.as_unix_seconds() + 7 * DAY);
    assert_eq!(ada.validate(license["token"].as_str().unwrap()).await["code"], "in_grace");
    ada.checkout("starter").await.refused(409, "already_subscribed");
    world.sandbox().replace_card(&customer, "success").await;
    let invoice = world.sandbox().list(&format!("/v1/invoices?customer={customer}&status=open")).await[0]["id"].clone();
    world.sandbox().post(&format!("/v1/invoices/{}/pay", invoice.as_str().unwrap()), &[]).await;
    world.settled().await;
    let healed = world.stored(&ada).await;
    assert_eq!((healed.status.as_str(), healed.paid_until), ("active", healed.current_period_ends_at));
    assert_eq!(ada.validate(ada.current_license().await.accepted()["token"].as_str().unwrap()).await["valid"], true);
}

async fn the_grace_ends_and_with_it_the_license(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let stored = world.stored(&ada).await;
    world.sandbox().replace_card(&stored.stripe_customer_id.unwrap(), "declined").await;
    let end = stored.current_period_ends_at.unwrap().as_unix_seconds();
    world.sandbox().advance(end - world.sandbox().now().await + 7 * DAY + 60).await;
    world.settled().await;
    ada.log_in().await.accepted();
    let license = ada.current_license().await.accepted();
    let judged = ada.validate(license["token"].as_str().unwrap()).await;
    assert_eq!(judged["valid"], false, "{judged}");
    ada.refresh(&ada.license).await.refused(404, "no_license");
}

async fn two_live_subscriptions_are_flagged_and_the_end_of_one_does_not_harm_the_other(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let first = at_stripe(world, &ada).await;
    world.sandbox().advance(5).await;
    let second = begin_unpaid(world, &ada, "price_enterprise_monthly").await;
    pay_first_invoice(world, &second).await;
    world.settled().await;
    let both = world.stored(&ada).await;
    assert_eq!((both.plan.as_str(), both.needs_attention.as_deref()), ("professional", Some("several_live")));
    world.sandbox().delete(&first).await;
    world.settled().await;
    let one = world.stored(&ada).await;
    assert_eq!((one.plan.as_str(), one.status.as_str(), one.needs_attention), ("enterprise", "active", None));
    assert_eq!(one.stripe_subscription_id.as_deref(), second["id"].as_str());
}

both_engines!(
    scenario_53_a_second_completed_event_reissues_nothing,
    scenario_54_created_after_updated_does_not_go_back_to_incomplete,
    scenario_56_an_old_update_after_the_end_does_not_bring_it_back,
    scenarios_60_and_62_a_planned_end_is_shown_and_can_be_taken_back,
    scenario_63_an_immediate_cancellation_ends_the_license,
    scenario_64_a_first_payment_that_never_comes_leaves_the_trial_and_the_way_to_checkout,
    scenario_69_a_planned_end_that_is_told_twice_stays_planned_and_mails_nothing,
    scenario_70_a_plan_changed_at_the_provider_reaches_the_license,
    scenario_73_a_customer_in_the_trial_or_with_an_open_payment_becomes_active,
    a_renewal_extends_the_license_once_it_is_paid_and_not_before,
    scenarios_65_and_66_a_failed_renewal_keeps_the_grace_and_a_new_card_heals_it,
    the_grace_ends_and_with_it_the_license,
    two_live_subscriptions_are_flagged_and_the_end_of_one_does_not_harm_the_other,
);
