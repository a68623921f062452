//! Every answer and event of a scripted life is checked against Stripe's own schemas, where they and their checker are at
//! hand.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{World, id};

fn checker() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    let script = root.parent()?.join("shared/stripe/check_object.py");
    let has_schema =
        Command::new(python()).args(["-c", "import jsonschema"]).output().is_ok_and(|run| run.status.success());
    (script.exists() && has_schema).then_some(script)
}

/// The interpreter that has the packages, where the test script has made one.
fn python() -> String {
    std::env::var("COUNTERFOIL_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

#[tokio::test]
async fn every_answer_and_event_has_the_shape_of_the_pinned_version() {
    let Some(script) = checker() else {
        // Straight to standard error: what a test prints otherwise is shown only where it fails.
        let _nobody_listens =
            std::io::stderr().write_all(b"left out: the check against a schema, which is not at hand\n");
        return;
    };
    let world = World::new().await;
    let mut answers = script_a_life(&world).await;
    answers.extend(every_event(&world).await);
    answers.extend(world.inbox.events());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("answers.jsonl");
    let lines: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
    std::fs::write(&file, lines).unwrap();
    let run = Command::new(python()).arg(script).arg(&file).output().unwrap();
    let report = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "of {} answers:\n{report}", answers.len());
    assert!(!report.contains("WARN"), "fields that the version does not know:\n{report}");
}

async fn every_event(world: &World) -> Vec<Value> {
    let mut pages = Vec::new();
    let mut after = String::new();
    loop {
        let page = world.get(&format!("/v1/events?limit=100{after}")).await.ok();
        let has_more = page["has_more"] == true;
        after = format!("&starting_after={}", id(page["data"].as_array().unwrap().last().unwrap()));
        pages.push(page);
        if !has_more {
            return pages;
        }
    }
}

async fn script_a_life(world: &World) -> Vec<Value> {
    let mut answers = Vec::new();
    let (customer, subscription) = world.subscriber().await;
    let session = world.session(&customer).await;
    world.pay(&session, "declined").await;
    world.pay(&session, "authentication").await;
    answers.push(world.post(&format!("/v1/checkout/sessions/{}/expire", id(&session)), &[]).await.ok());
    answers.push(session);
    let trial = world.session_with(&customer, &[("subscription_data[trial_period_days]", "3")]).await;
    world.pay(&trial, "success").await;
    for card in ["later", "never"] {
        let late = world.session(&world.customer().await).await;
        world.pay(&late, card).await;
        let path = format!("/v1/checkout/sessions/{}", id(&late));
        answers.push(world.get(&path).await.ok());
        answers.push(world.get("/v1/payment_intents?limit=1").await.ok());
        world.pass(180).await;
        answers.push(world.get(&path).await.ok());
    }
    answers.push(world.post("/v1/customers", &[("emial", "x")]).await.json());
    answers.push(world.get("/v1/customers/cus_x").await.json());

    answers.extend(money(world, &customer).await);
    let item = id(&world.subscription(&subscription).await["items"]["data"][0]);
    let path = format!("/v1/subscriptions/{subscription}");
    let change = [("items[0][id]", item.as_str()), ("items[0][price]", "price_starter_monthly")];
    answers.push(world.post(&path, &change).await.ok());
    answers.push(world.post(&path, &[("cancel_at_period_end", "true")]).await.ok());
    answers.push(world.post(&path, &[("cancel_at_period_end", "false"), ("metadata[a]", "b")]).await.ok());
    answers.push(world.post(&path, &[("pause_collection[behavior]", "void")]).await.ok());
    answers.push(world.post(&path, &[("pause_collection", "")]).await.ok());
    // So many that the next invoice does not show all of its lines.
    for _ in 0..10 {
        let extra = [("customer", customer.as_str()), ("amount", "100"), ("currency", "usd")];
        answers.push(world.post("/v1/invoiceitems", &extra).await.ok());
    }
    world.pass(40 * 86_400).await;
    let invoices = world.get(&format!("/v1/invoices?customer={customer}")).await.ok();
    let long = invoices["data"].as_array().unwrap().iter().find(|invoice| invoice["lines"]["has_more"] == true);
    let path_of_lines = format!("/v1/invoices/{}/lines?limit=100", id(long.expect("a long invoice")));
    answers.push(world.get(&path_of_lines).await.ok());
    world.control(&format!("/customers/{customer}/card"), json!({ "card": "declined" })).await;
    let yearly = [
        ("items[0][id]", item.as_str()),
        ("items[0][price]", "price_pro_yearly"),
        ("payment_behavior", "pending_if_incomplete"),
    ];
    answers.push(world.post(&path, &yearly).await.ok());
    world.pass(60 * 86_400).await;
    answers.extend(reads(world, &customer, &subscription).await);
    answers.push(world.delete(&format!("/v1/customers/{customer}")).await.ok());
    answers
}

/// Payments, refunds, disputes, invoices of one's own, endpoints, portal sessions.
async fn money(world: &World, customer: &str) -> Vec<Value> {
    let mut answers = Vec::new();
    for card in
        ["pm_card_visa", "pm_card_chargeCustomerFail", "pm_card_createDispute", "pm_card_authenticationRequired"]
    {
        let form = [("amount", "2000"), ("currency", "usd"), ("confirm", "true"), ("payment_method", card)];
        answers.push(world.post("/v1/payment_intents", &form).await.json());
    }
    let intent = id(&answers[0]);
    answers.push(world.post("/v1/refunds", &[("payment_intent", &intent)]).await.ok());
    answers.push(
        world.post("/v1/invoiceitems", &[("customer", customer), ("amount", "700"), ("currency", "usd")]).await.ok(),
    );
    let form = [("customer", customer), ("pending_invoice_items_behavior", "include")];
    let invoice = world.post("/v1/invoices", &form).await.ok();
    let path = format!("/v1/invoices/{}", id(&invoice));
    answers.push(world.post(&format!("{path}/finalize"), &[]).await.ok());
    answers.push(world.post(&format!("{path}/pay?expand[]=payments"), &[]).await.json());
    answers.push(world.post(&format!("{path}/void"), &[]).await.ok());
    let form = [("url", "http://127.0.0.1:9/none"), ("enabled_events[]", "plan.created")];
    answers.push(world.post("/v1/webhook_endpoints", &form).await.ok());
    let subscriptions = world.get(&format!("/v1/subscriptions?customer={customer}")).await.ok();
    let flow = [
        ("customer", customer),
        ("flow_data[type]", "subscription_cancel"),
        ("flow_data[subscription_cancel][subscription]", subscriptions["data"][0]["id"].as_str().unwrap()),
    ];
    answers.push(world.post("/v1/billing_portal/sessions", &flow).await.ok());
    let features = [
        ("features[invoice_history][enabled]", "true"),
        ("features[customer_update][enabled]", "true"),
        ("features[customer_update][allowed_updates][0]", "address"),
        ("features[subscription_update][enabled]", "true"),
        ("features[subscription_update][default_allowed_updates][0]", "price"),
        ("features[subscription_update][proration_behavior]", "always_invoice"),
        ("features[subscription_update][trial_update_behavior]", "continue_trial"),
        ("features[subscription_update][schedule_at_period_end][conditions][0][type]", "shortening_interval"),
        ("features[subscription_update][products][0][product]", "prod_professional"),
        ("features[subscription_update][products][0][prices][0]", "price_pro_monthly"),
        ("metadata[app]", "x"),
    ];
    let configuration = world.post("/v1/billing_portal/configurations", &features).await.ok();
    let path = format!("/v1/billing_portal/configurations/{}", id(&configuration));
    answers.push(world.post(&path, &[("active", "false")]).await.ok());
    answers.push(configuration);
    answers.push(world.post("/v1/products/prod_professional", &[("name", "Pro"), ("metadata[a]", "b")]).await.ok());
    let price = [("currency", "eur"), ("unit_amount", "1000"), ("product_data[name]", "x"), ("lookup_key", "k")];
    answers.push(world.post("/v1/prices", &price).await.ok());
    answers
}

async fn reads(world: &World, customer: &str, subscription: &str) -> Vec<Value> {
    let mut answers = Vec::new();
    for path in [
        "/v1/account".to_owned(),
        "/v1/products".to_owned(),
        "/v1/prices?expand[]=data.product".to_owned(),
        "/v1/charges?limit=100".to_owned(),
        "/v1/payment_intents?limit=100".to_owned(),
        "/v1/payment_methods?limit=100".to_owned(),
        "/v1/refunds".to_owned(),
        "/v1/disputes".to_owned(),
        "/v1/invoice_payments?limit=100".to_owned(),
        "/v1/invoiceitems?limit=100".to_owned(),
        "/v1/webhook_endpoints".to_owned(),
        "/v1/billing_portal/configurations".to_owned(),
        format!("/v1/customers/{customer}?expand[]=tax"),
        format!("/v1/invoices?customer={customer}&limit=100&expand[]=data.payments"),
        format!("/v1/subscriptions?customer={customer}&status=all&expand[]=data.latest_invoice"),
        format!("/v1/subscriptions/{subscription}?expand[]=customer&expand[]=default_payment_method"),
        "/v1/checkout/sessions?expand[]=data.line_items&expand[]=data.invoice".to_owned(),
    ] {
        answers.push(world.get(&path).await.ok());
    }
    answers
}
