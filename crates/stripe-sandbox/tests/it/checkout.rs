//! Paying a checkout session, and failing to.

use serde_json::{Value, json};

use crate::support::{DAY, World, id};

#[tokio::test]
async fn paying_begins_a_subscription_and_sends_signed_events() {
    let world = World::new().await;
    let customer = world.customer().await;
    let session = world.session(&customer).await;
    assert_eq!(session["status"], "open");
    assert_eq!(session["subscription"], Value::Null);
    assert_eq!(session["url"], format!("{}/c/pay/{}", world.base, id(&session)));

    let paid = world.pay(&session, "success").await;
    assert_eq!(paid.status, 303);
    assert_eq!(paid.header("location"), format!("http://localhost:3000/success?s={}", id(&session)));

    let session = world.get(&format!("/v1/checkout/sessions/{}?expand[]=subscription", id(&session))).await.ok();
    assert_eq!(session["status"], "complete");
    assert_eq!(session["payment_status"], "paid");
    assert_eq!(session["url"], Value::Null);
    let subscription = &session["subscription"];
    assert_eq!(subscription["status"], "active");
    assert_eq!(subscription["metadata"]["customer_id"], "cust_1");
    assert_eq!(subscription["items"]["data"][0]["price"]["id"], "price_pro_monthly");

    world.inbox.wait_for("checkout.session.completed", 1).await;
    for kind in [
        "payment_intent.succeeded",
        "charge.succeeded",
        "payment_method.attached",
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
        "invoice.updated",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice_payment.paid",
    ] {
        world.inbox.wait_for(kind, 1).await;
    }
    let created = &world.inbox.of_type("customer.subscription.created")[0];
    assert_eq!(created["data"]["object"]["status"], "active", "the subscription begins active");
}

#[tokio::test]
async fn a_declined_card_leaves_no_subscription_and_may_be_followed_by_a_good_one() {
    let world = World::new().await;
    let customer = world.customer().await;
    let session = world.session(&customer).await;
    let declined = world.pay(&session, "declined").await;
    assert_eq!(declined.status, 402);
    assert!(declined.text.contains("Your card was declined."), "{}", declined.text);
    let listed = world.get(&format!("/v1/subscriptions?customer={customer}&status=all")).await.ok();
    assert_eq!(listed["data"], Value::Array(Vec::new()));
    world.inbox.wait_for("charge.failed", 1).await;
    world.inbox.wait_for("payment_intent.payment_failed", 1).await;
    let again = world.get(&format!("/v1/checkout/sessions/{}", id(&session))).await.ok();
    assert_eq!(again["status"], "open");
    assert_eq!(world.pay(&session, "success").await.status, 303);
}

#[tokio::test]
async fn authentication_can_be_failed_and_then_completed() {
    let world = World::new().await;
    let customer = world.customer().await;
    let session = world.session(&customer).await;
    let path = format!("/c/pay/{}/authenticate", id(&session));
    assert_eq!(world.post(&path, &[("outcome", "complete")]).await.status, 400, "nothing to authenticate yet");

    let sent_on = world.pay(&session, "authentication").await;
    assert_eq!((sent_on.status, sent_on.header("location")), (303, path.as_str()));
    assert!(world.get(&path).await.text.contains("id=\"complete\""));
    assert_eq!(world.post(&path, &[("outcome", "fail")]).await.status, 402);
    let listed = world.get(&format!("/v1/subscriptions?customer={customer}&status=all")).await.ok();
    assert_eq!(listed["data"], Value::Array(Vec::new()));

    assert_eq!(world.pay(&session, "authentication").await.status, 303);
    let done = world.post(&path, &[("outcome", "complete")]).await;
    assert!(done.header("location").starts_with("http://localhost:3000/success"), "{}", done.text);
    world.inbox.wait_for("checkout.session.completed", 1).await;
}

#[tokio::test]
async fn money_that_takes_its_time_begins_nothing_before_it_is_there() {
    let world = World::new().await;
    let customer = world.customer().await;
    let session = world.session(&customer).await;
    assert_eq!(world.pay(&session, "later").await.status, 303);
    let path = format!("/v1/checkout/sessions/{}?expand[]=subscription", id(&session));
    let waiting = world.get(&path).await.ok();
    assert_eq!((&waiting["status"], &waiting["payment_status"]), (&json!("complete"), &json!("unpaid")));
    assert_eq!(waiting["subscription"]["status"], "incomplete");
    let intents = world.get(&format!("/v1/payment_intents?customer={customer}")).await.ok();
    assert_eq!(intents["data"][0]["status"], "processing");

    world.pass(180).await;
    let told = world.inbox.wait_for("checkout.session.async_payment_succeeded", 1).await;
    assert_eq!(told[0]["data"]["object"]["payment_status"], "paid");
    let paid = world.get(&path).await.ok();
    assert_eq!((&paid["payment_status"], &paid["subscription"]["status"]), (&json!("paid"), &json!("active")));
    let invoice = world.get(&format!("/v1/invoices/{}", paid["invoice"].as_str().unwrap())).await.ok();
    assert_eq!((&invoice["status"], &invoice["amount_paid"]), (&json!("paid"), &paid["amount_total"]));
}

#[tokio::test]
async fn money_that_does_not_come_leaves_nothing_that_lives() {
    let world = World::new().await;
    let customer = world.customer().await;
    let session = world.session(&customer).await;
    assert_eq!(world.pay(&session, "never").await.status, 303);
    world.pass(180).await;
    world.inbox.wait_for("checkout.session.async_payment_failed", 1).await;
    world.inbox.wait_for("invoice.payment_failed", 1).await;
    let path = format!("/v1/checkout/sessions/{}?expand[]=subscription", id(&session));
    let after = world.get(&path).await.ok();
    assert_eq!((&after["status"], &after["payment_status"]), (&json!("complete"), &json!("unpaid")));
    assert_eq!(after["subscription"]["status"], "incomplete_expired");
    let invoice = world.get(&format!("/v1/invoices/{}", after["invoice"].as_str().unwrap())).await.ok();
    assert_eq!((&invoice["status"], &invoice["amount_paid"]), (&json!("void"), &json!(0)));
}

#[tokio::test]
async fn eight_payments_at_once_begin_one_subscription() {
    let world = World::new().await;
    let customer = world.customer().await;
    let session = world.session(&customer).await;
    let path = format!("/c/pay/{}", id(&session));
    let mut posts = tokio::task::JoinSet::new();
    for _ in 0..8 {
        posts.spawn(world.request(&path, &[("card", "success")]).send());
    }
    let mut statuses = Vec::new();
    while let Some(answer) = posts.join_next().await {
        statuses.push(answer.unwrap().unwrap().status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 409, 409, 409, 409, 409, 409, 409]);
    let listed = world.get(&format!("/v1/subscriptions?customer={customer}")).await.ok();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_session_expires_after_a_day() {
    let world = World::new().await;
    let customer = world.customer().await;
    let session = world.session(&customer).await;
    world.pass(DAY + 1).await;
    world.inbox.wait_for("checkout.session.expired", 1).await;
    let path = format!("/v1/checkout/sessions/{}", id(&session));
    let expired = world.get(&path).await.ok();
    assert_eq!((&expired["status"], &expired["url"]), (&Value::from("expired"), &Value::Null));
    let error = world.post(&format!("{path}/expire"), &[]).await.refused(400);
    assert_eq!(
        error["message"],
        "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of \
         `expired`."
    );
    let page = world.get(&format!("/c/pay/{}", id(&session))).await;
    assert_eq!(page.status, 410);
    assert!(page.text.contains("This checkout has expired"));
    assert_eq!(world.pay(&session, "success").await.status, 410);
}

#[tokio::test]
async fn a_trial_saves_the_card_and_charges_nothing() {
    let world = World::new().await;
    let customer = world.customer().await;
    let session = world.session_with(&customer, &[("subscription_data[trial_period_days]", "14")]).await;
    assert_eq!(session["amount_total"], 0);
    assert_eq!(world.pay(&session, "declined").await.status, 402);
    assert_eq!(world.pay(&session, "success").await.status, 303);
    world.inbox.wait_for("setup_intent.succeeded", 1).await;
    let created = &world.inbox.wait_for("customer.subscription.created", 1).await[0]["data"]["object"];
    assert_eq!(created["status"], "trialing");
    let invoice = &world.inbox.wait_for("invoice.paid", 1).await[0]["data"]["object"];
    assert_eq!((&invoice["amount_paid"], &invoice["billing_reason"]), (&0.into(), &"subscription_create".into()));
    assert!(world.inbox.of_type("charge.succeeded").is_empty());
}

#[tokio::test]
async fn a_guest_becomes_a_customer_by_paying() {
    let world = World::new().await;
    let form = [
        ("mode", "subscription"),
        ("line_items[0][price]", "price_pro_yearly"),
        ("line_items[0][quantity]", "1"),
        ("success_url", "http://localhost:3000/done"),
    ];
    let session = world.post("/v1/checkout/sessions", &form).await.ok();
    assert_eq!(session["customer"], Value::Null);
    let path = format!("/c/pay/{}", id(&session));
    let paid = world.post(&path, &[("card", "success"), ("email", "guest@example.com")]).await;
    assert_eq!(paid.header("location"), "http://localhost:3000/done");
    let customers = world.get("/v1/customers?email=guest@example.com").await.ok();
    assert_eq!(customers["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn bad_sessions_are_refused_in_stripes_words() {
    let world = World::new().await;
    let customer = world.customer().await;
    let good = [
        ("mode", "subscription"),
        ("customer", customer.as_str()),
        ("line_items[0][price]", "price_pro_monthly"),
        ("line_items[0][quantity]", "1"),
        ("success_url", "http://localhost/x"),
    ];
    let soon = "1";
    let cases: &[(&str, &str, Option<&str>, &str)] = &[
        ("success_url", "not a url", Some("url_invalid"), "Not a valid URL"),
        ("success_url", "javascript:alert(1)", Some("url_invalid"), "Not a valid URL"),
        ("success_url", "", Some("parameter_missing"), "Missing required param: success_url."),
        ("line_items[0][price]", "price_x", Some("resource_missing"), "No such price: 'price_x'"),
        ("customer", "cus_x", Some("resource_missing"), "No such customer: 'cus_x'"),
        ("mode", "", Some("parameter_missing"), "Missing required param: mode."),
        ("customer_email", "a@b.c", None, "You may only specify one of these parameters: customer, customer_email."),
        ("subscription_data[trial_end]", soon, None, "The `trial_end` date has to be at least 2 days in the future."),
        (
            "payment_method_tipes[0]",
            "card",
            Some("parameter_unknown"),
            "Received unknown parameter: payment_method_tipes",
        ),
        ("line_items[0][prise]", "x", Some("parameter_unknown"), "Received unknown parameter: line_items[0][prise]"),
    ];
    for (name, value, code, message) in cases {
        let mut form: Vec<_> = good.iter().copied().filter(|(key, _)| key != name).collect();
        form.push((name, value));
        let error = world.post("/v1/checkout/sessions", &form).await.refused(400);
        assert_eq!(error["message"], *message, "{name}={value}");
        assert_eq!(error["code"].as_str(), *code, "{name}={value}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    let listed = world.get("/v1/checkout/sessions").await.ok();
    assert_eq!(listed["data"], Value::Array(Vec::new()), "refusals leave nothing");
}
