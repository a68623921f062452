//! Checkout: one counterpart at the provider for one customer, at most one open session, none beside a live subscription.

use counterfoil::app::deletion::Running;
use counterfoil::app::operators::By;
use counterfoil_core::IdempotencyKey;
use serde_json::{Value, json};

use crate::actors::Visitor;
use crate::world::{World, id_of};

/// The key under which the customer's counterpart is created.
fn customer_key(world: &World, visitor: &Visitor, generation: i64) -> String {
    IdempotencyKey::customer(&world.app.instance.instance_id, &id_of(visitor), generation).as_str().to_owned()
}

async fn session_of(world: &World, checkout_url: &str) -> Value {
    let id = checkout_url.rsplit('/').next().expect("a session id");
    world.sandbox().get(&format!("/v1/checkout/sessions/{id}")).await
}

async fn scenario_1_the_first_checkout_makes_one_stripe_customer_that_is_ours(world: &World) {
    let ada = world.customer("ada@example.com").await;
    assert_eq!(world.stored(&ada).await.stripe_customer_id, None);
    let url = ada.checkout_url("professional").await;
    let customers = world.sandbox().customers().await;
    assert_eq!(customers.len(), 1);
    assert_eq!(customers[0]["metadata"]["customer_id"], ada.customer_id);
    assert_eq!(customers[0]["metadata"]["instance"], world.app.instance.instance_id.as_str());
    assert_eq!(customers[0]["email"], ada.email);
    assert_eq!(world.stored(&ada).await.stripe_customer_id.as_deref(), customers[0]["id"].as_str());
    let session = session_of(world, &url).await;
    assert_eq!((&session["mode"], &session["client_reference_id"]), (&json!("subscription"), &json!(ada.customer_id)));
    assert_eq!(session["metadata"]["customer_id"], ada.customer_id);
    assert_eq!(session["metadata"]["plan"], "professional");
    assert_eq!(session["customer"], customers[0]["id"]);
}

async fn scenario_2_and_20_two_upgrades_create_one_customer_and_no_key_is_used_twice(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let first = ada.checkout_url("starter").await;
    let mut yearly = ada.wish("starter");
    yearly["interval"] = json!("year");
    let second = ada.checkout_with(&yearly).await.accepted()["checkout_url"].clone();
    assert_ne!(json!(first), second);
    let calls = world.sandbox().calls().await;
    assert_eq!(calls["POST /v1/customers"], 1, "{calls:?}");
    assert_eq!(calls["POST /v1/checkout/sessions"], 2, "{calls:?}");
    let session = session_of(world, second.as_str().unwrap()).await;
    assert_eq!(session["amount_total"], 19_000);
}

async fn an_operator_is_told_of_a_checkout_until_it_is_over(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let waiting = async || {
        let told = world.app.explain_customer(&id_of(&ada)).await.unwrap();
        told.known.iter().flat_map(|known| known.lines.clone()).collect::<Vec<_>>().join("\n")
    };
    assert!(!waiting().await.contains("A checkout"));
    let url = ada.checkout_url("starter").await;
    assert!(waiting().await.contains("A checkout of starter is open since "), "{}", waiting().await);
    world.sandbox().pay(&url, "success").await;
    world.settled().await;
    assert!(!waiting().await.contains("A checkout"), "{}", waiting().await);
}

async fn scenario_3_fifty_checkouts_at_once_are_one_customer_and_one_session(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let mut checkouts = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let ada = ada.clone();
        checkouts.spawn(async move { ada.checkout_url("professional").await });
    }
    let mut urls = checkouts.join_all().await;
    urls.sort();
    urls.dedup();
    assert_eq!(urls.len(), 1, "everybody is sent to the same page");
    assert_eq!(world.sandbox().customers().await.len(), 1);
    assert_eq!(world.sandbox().open_sessions().await.len(), 1);
}

async fn scenario_5_a_key_that_was_used_otherwise_leads_to_the_customer_it_made(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let instance = world.app.instance.instance_id.to_string();
    // As after a restored backup: the same key, with parameters that we would not send today.
    let made = [
        ("email", ada.email.as_str()),
        ("metadata[customer_id]", &ada.customer_id),
        ("metadata[instance]", &instance),
        ("description", "made in another life"),
    ];
    let earlier = world.sandbox().post_with_key("/v1/customers", &customer_key(world, &ada, 1), &made).await;
    ada.checkout_url("professional").await;
    assert_eq!(world.stored(&ada).await.stripe_customer_id.as_deref(), earlier["id"].as_str(), "adopted");
    assert_eq!(world.sandbox().customers().await.len(), 1);
}

async fn scenario_6_a_customer_of_the_same_address_and_another_owner_is_not_adopted(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let foreign = [("email", ada.email.as_str()), ("metadata[customer_id]", "cust_of_somebody_else")];
    let foreign = world.sandbox().post_with_key("/v1/customers", &customer_key(world, &ada, 1), &foreign).await;
    // The key is taken by somebody else's customer: that is waited out, then the list is asked, then a new one is made.
    ada.checkout("professional").await.refused(503, "payment_provider_unavailable");
    ada.checkout("professional").await.refused(503, "payment_provider_unavailable");
    assert_eq!(world.stored(&ada).await.stripe_customer_id, None);
    world.sandbox().advance(601).await;
    ada.checkout_url("professional").await;
    let customers = world.sandbox().customers().await;
    assert_eq!(customers.len(), 2);
    let own = customers.iter().find(|each| each["metadata"]["customer_id"] == ada.customer_id).expect("our own");
    assert_ne!(own["id"], foreign["id"]);
    assert_eq!(world.stored(&ada).await.stripe_customer_id.as_deref(), own["id"].as_str());
}

async fn scenario_9_a_customer_deleted_at_stripe_is_made_anew_once(world: &World) {
    let ada = world.customer("ada@example.com").await;
    ada.checkout_url("professional").await;
    let first = world.stored(&ada).await.stripe_customer_id.unwrap();
    world.sandbox().drop_webhooks().await;
    world.sandbox().delete(&format!("/v1/customers/{first}")).await;
    ada.checkout_url("starter").await;
    let second = world.stored(&ada).await.stripe_customer_id.unwrap();
    assert_ne!(first, second);
    let customers = world.sandbox().customers().await;
    let live: Vec<_> = customers.iter().filter(|each| each["deleted"] != true).collect();
    assert_eq!(live.len(), 1);
    assert_eq!(live[0]["id"], second);
    ada.checkout_url("starter").await;
    assert_eq!(world.stored(&ada).await.stripe_customer_id, Some(second));
}

async fn who_is_deleted_at_stripe_in_the_middle_of_a_checkout_is_made_anew(world: &World) {
    let ada = world.customer("ada@example.com").await;
    // Whose counterpart is known already is looked at before the page opens, and not once more.
    ada.checkout_url("starter").await;
    let slow = json!({ "slow": { "times": 1, "millis": 1500, "path": "/v1/checkout/sessions", "method": "POST" } });
    world.sandbox().drop_webhooks().await;
    world.sandbox().faults(slow).await;
    let buyer = ada.clone();
    let checkout = tokio::spawn(async move { buyer.checkout("professional").await });
    let opening = "select cast(count(*) as bigint) as n from checkout_attempts where state = 'opening'";
    let is_opening = async || world.app.db.query(opening).one().await.unwrap().get::<i64>("n").unwrap() == 1;
    world.until("the session is asked for", is_opening).await;
    let first = world.stored(&ada).await.stripe_customer_id.expect("a counterpart");
    world.sandbox().delete(&format!("/v1/customers/{first}")).await;
    checkout.await.expect("no panic").accepted();
    let second = world.stored(&ada).await.stripe_customer_id.expect("a counterpart");
    assert_ne!(first, second);
    assert_eq!(world.sandbox().open_sessions().await.len(), 1);
    world.allow_unsettled();
}

async fn scenario_10_customer_deleted_clears_the_reference_and_ends_the_subscription(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let first = world.stored(&ada).await.stripe_customer_id.unwrap();
    world.sandbox().delete(&format!("/v1/customers/{first}")).await;
    world.settled().await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.stripe_customer_id, stored.status.as_str()), (None, "canceled"));
    assert_eq!(ada.validate(&ada.license).await["valid"], false);
    ada.subscribe(world, "starter").await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.plan.as_str(), stored.status.as_str()), ("starter", "active"));
    assert!(stored.stripe_customer_id.is_some_and(|second| second != first));
}

async fn scenario_11_the_deletion_of_an_unknown_customer_changes_nothing(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let before = world.stored(&ada).await;
    let event =
        world.event("customer.deleted", json!({ "id": "cus_Unknown000001", "object": "customer", "metadata": {} }));
    world.deliver(&event).await.accepted();
    world.worked_off().await;
    assert_eq!(world.inbox().await, ["customer.deleted ignored customer_unknown_at_provider"]);
    assert_eq!(world.stored(&ada).await, before);
}

async fn scenario_12_another_address_at_stripe_does_not_become_ours(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let external = world.stored(&ada).await.stripe_customer_id.unwrap();
    for email in ["eve@example.com", ""] {
        world.sandbox().post(&format!("/v1/customers/{external}"), &[("email", email)]).await;
        world.settled().await;
        assert_eq!(world.stored(&ada).await.email, "ada@example.com");
        assert_eq!(world.stored(&ada).await.status, "active");
    }
}

async fn scenario_14_callers_cannot_bring_metadata_of_their_own(world: &World) {
    let (ada, eve) = (world.customer("ada@example.com").await, world.customer("eve@example.com").await);
    for field in ["metadata", "subscription_data", "client_reference_id", "subscription_data[metadata][customer_id]"] {
        let mut wish = ada.wish("professional");
        wish[field] = json!(eve.customer_id);
        ada.checkout_with(&wish).await.refused(422, "invalid_request");
    }
    assert!(world.sandbox().calls().await.is_empty());
}

async fn scenario_15_a_deleted_account_cannot_check_out(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let by = By::command_line("asked by letter").unwrap();
    world.app.delete_customer_by(&id_of(&ada), &by, Running::Refuse).await.unwrap();
    ada.checkout("professional").await.refused(404, "customer_not_found");
    assert!(world.sandbox().calls().await.is_empty(), "Stripe was not asked");
}

async fn scenario_16_the_same_wish_is_answered_with_the_open_session(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let first = ada.checkout_url("professional").await;
    assert_eq!(ada.checkout_url("professional").await, first);
    assert_eq!(world.sandbox().open_sessions().await.len(), 1);
    // What is open at Stripe counts, not what we remember of it.
    let id = first.rsplit('/').next().unwrap();
    world.sandbox().post(&format!("/v1/checkout/sessions/{id}/expire"), &[]).await;
    let second = ada.checkout_url("professional").await;
    assert_ne!(first, second);
    world.sandbox().advance(24 * 3600 + 1).await;
    let third = ada.checkout_url("professional").await;
    assert!(third != second && world.sandbox().open_sessions().await.len() == 1);
}

async fn scenario_17_another_wish_closes_the_open_session(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let first = ada.checkout_url("starter").await;
    let second = ada.checkout_url("professional").await;
    assert_eq!(session_of(world, &first).await["status"], "expired");
    assert_eq!(session_of(world, &second).await["status"], "open");
    let mut elsewhere = ada.wish("professional");
    elsewhere["cancel_url"] = json!("http://localhost:3000/elsewhere");
    let third = ada.checkout_with(&elsewhere).await.accepted();
    assert_ne!(third["checkout_url"], second);
    assert_eq!(world.sandbox().open_sessions().await.len(), 1);
    let (status, _) = world.sandbox().try_pay(&first, "success").await;
    assert_eq!(status, 410, "nobody pays for what was given up");
}

async fn scenario_18_21_and_23_the_already_subscribed_are_not_charged_twice(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    for plan in ["professional", "starter", "enterprise"] {
        ada.checkout(plan).await.refused(409, "already_subscribed");
    }
    assert!(world.sandbox().open_sessions().await.is_empty());
    assert_eq!(world.sandbox().list("/v1/checkout/sessions").await.len(), 1);
}

async fn scenario_18_a_payment_that_we_have_not_heard_of_counts_too(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    world.sandbox().drop_webhooks().await;
    ada.buy(world, "professional").await;
    // Our book still says trial. The open attempt is asked about before anything else is opened.
    assert_eq!(world.stored(&ada).await.status, "trialing");
    for plan in ["professional", "starter"] {
        ada.checkout(plan).await.refused(409, "already_subscribed");
    }
    let license = ada.current_license().await.accepted();
    assert_eq!((&license["plan"], &license["version"]), (&json!("professional"), &json!(2)));
    ada.license = license["token"].as_str().unwrap().to_owned();
    assert_eq!(ada.validate(&ada.license).await["valid"], true);
    assert_eq!(world.mails_to(&ada.email).await, 2);
}

async fn scenario_24_after_a_cancellation_one_can_buy_again_without_a_trial(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let first = world.stored(&ada).await.stripe_subscription_id.unwrap();
    world.sandbox().delete(&format!("/v1/subscriptions/{first}")).await;
    world.settled().await;
    let url = ada.checkout_url("starter").await;
    assert_eq!(session_of(world, &url).await["amount_total"], 1900, "paid at once, no trial");
    world.sandbox().pay(&url, "success").await;
    world.settled().await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.plan.as_str(), stored.status.as_str()), ("starter", "active"));
    let second = world.sandbox().get(&format!("/v1/subscriptions/{}", stored.stripe_subscription_id.unwrap())).await;
    assert_eq!((&second["trial_end"], &second["status"]), (&Value::Null, &json!("active")));
    assert_eq!(world.sandbox().calls().await["POST /v1/customers"], 1);
    let versions: Vec<i64> = ada.licenses().await.iter().map(|each| each["version"].as_i64().unwrap()).collect();
    assert_eq!(versions, [3, 2, 1]);
}

async fn scenario_25_templates_in_return_urls_reach_stripe_as_they_were_written(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let mut wish = ada.wish("professional");
    wish["success_url"] =
        json!("http://localhost:3000/done?session={CHECKOUT_SESSION_ID}&attempt={ATTEMPT_ID}&q=a%20b");
    let url = ada.checkout_with(&wish).await.accepted()["checkout_url"].as_str().unwrap().to_owned();
    let session = session_of(world, &url).await;
    let success_url = session["success_url"].as_str().unwrap();
    assert!(
        success_url.starts_with("http://localhost:3000/done?session={CHECKOUT_SESSION_ID}&attempt=att_"),
        "{success_url}"
    );
    assert!(success_url.ends_with("&q=a%20b"), "{success_url}");
    assert_eq!(ada.checkout_with(&wish).await.accepted()["checkout_url"], url, "the same wish finds it again");
    let back = world.sandbox().pay(&url, "success").await;
    assert!(back.contains(session["id"].as_str().unwrap()), "Stripe fills its own template in");
}

async fn a_declined_card_changes_nothing_and_another_card_pays(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let url = ada.checkout_url("professional").await;
    let (status, _) = world.sandbox().try_pay(&url, "declined").await;
    assert_eq!(status, 402);
    world.settled().await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.status.as_str(), stored.licenses), ("trialing", 1));
    assert_eq!(ada.checkout_url("professional").await, url, "the session is still open");
    let back = world.sandbox().pay(&url, "authentication").await;
    assert!(back.ends_with("/authenticate"), "{back}");
    world.settled().await;
    assert_eq!(world.stored(&ada).await.licenses, 1, "not paid before the bank has said so");
    world.sandbox().pay(&url, "success").await;
    world.settled().await;
    assert_eq!(world.stored(&ada).await.licenses, 2);
}

both_engines!(
    scenario_1_the_first_checkout_makes_one_stripe_customer_that_is_ours,
    scenario_2_and_20_two_upgrades_create_one_customer_and_no_key_is_used_twice,
    an_operator_is_told_of_a_checkout_until_it_is_over,
    scenario_3_fifty_checkouts_at_once_are_one_customer_and_one_session,
    scenario_5_a_key_that_was_used_otherwise_leads_to_the_customer_it_made,
    scenario_6_a_customer_of_the_same_address_and_another_owner_is_not_adopted,
    scenario_9_a_customer_deleted_at_stripe_is_made_anew_once,
    who_is_deleted_at_stripe_in_the_middle_of_a_checkout_is_made_anew,
    scenario_10_customer_deleted_clears_the_reference_and_ends_the_subscription,
    scenario_11_the_deletion_of_an_unknown_customer_changes_nothing,
    scenario_12_another_address_at_stripe_does_not_become_ours,
    scenario_14_callers_cannot_bring_metadata_of_their_own,
    scenario_15_a_deleted_account_cannot_check_out,
    scenario_16_the_same_wish_is_answered_with_the_open_session,
    scenario_17_another_wish_closes_the_open_session,
    scenario_18_21_and_23_the_already_subscribed_are_not_charged_twice,
    scenario_18_a_payment_that_we_have_not_heard_of_counts_too,
    scenario_24_after_a_cancellation_one_can_buy_again_without_a_trial,
    scenario_25_templates_in_return_urls_reach_stripe_as_they_were_written,
    a_declined_card_changes_nothing_and_another_card_pays,
);
