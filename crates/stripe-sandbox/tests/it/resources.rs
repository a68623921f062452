//! The API's resources: errors, lists, expansion, prorations, refunds, disputes.

use serde_json::{Value, json};

use crate::support::{World, id};

#[tokio::test]
async fn other_keys_are_refused() {
    let world = World::new().await;
    let url = format!("{}/v1/customers", world.base);
    let wrong = world.send(reqwest::Client::new().get(&url).bearer_auth("sk_live_0123456789")).await;
    assert_eq!(wrong.refused(401)["message"], "Invalid API Key provided: sk_live_***");
    assert_eq!(wrong.refused(401)["code"], Value::Null);
    world.send(reqwest::Client::new().get(&url)).await.refused(401);
    let basic = world.send(reqwest::Client::new().get(&url).basic_auth("sk_test_sandbox", None::<&str>)).await;
    basic.ok();
}

#[tokio::test]
async fn errors_have_stripes_shape() {
    let world = World::new().await;
    let missing = world.get("/v1/customers/cus_x").await;
    assert_eq!(
        missing.refused(404),
        json!({
            "type": "invalid_request_error", "code": "resource_missing", "param": "id",
            "message": "No such customer: 'cus_x'",
        })
    );
    assert!(missing.header("request-id").starts_with("req_"));
    let unknown = world.post("/v1/customers", &[("emial", "x")]).await.refused(400);
    assert_eq!((&unknown["code"], &unknown["param"]), (&"parameter_unknown".into(), &"emial".into()));
    let path = world.get("/v1/unicorns").await.refused(404);
    assert!(path["message"].as_str().unwrap().starts_with("Unrecognized request URL (GET: /v1/unicorns)"));
    let request = reqwest::Client::new().post(format!("{}/v1/customers", world.base)).bearer_auth("sk_test_sandbox");
    let json_body = request.header("content-type", "application/json").body("{}");
    world.send(json_body).await.refused(400);
}

#[tokio::test]
async fn customers_are_updated_found_by_email_and_deleted() {
    let world = World::new().await;
    let customer = world.customer().await;
    let path = format!("/v1/customers/{customer}");
    world.post(&path, &[("metadata[a]", "1"), ("metadata[b]", "2"), ("name", "Ada")]).await.ok();
    let updated = world.post(&path, &[("metadata[a]", ""), ("name", "")]).await.ok();
    assert_eq!((&updated["metadata"], &updated["name"]), (&json!({ "b": "2" }), &Value::Null));
    let event = &world.inbox.wait_for("customer.updated", 2).await[1];
    assert!(event["data"]["previous_attributes"]["metadata"].is_object());
    assert_eq!(world.get("/v1/customers?email=ada@example.com").await.ok()["data"][0]["id"], customer.as_str());
    assert_eq!(world.get("/v1/customers?email=ADA@example.com").await.ok()["data"], json!([]));

    let stub = json!({ "id": customer, "object": "customer", "deleted": true });
    assert_eq!(world.delete(&path).await.ok(), stub);
    assert_eq!(world.get(&path).await.ok(), stub);
    world.post(&path, &[("name", "x")]).await.refused(404);
    assert_eq!(world.get("/v1/customers").await.ok()["data"], json!([]));
}

#[tokio::test]
async fn deleting_a_customer_cancels_what_runs() {
    let world = World::new().await;
    let (customer, subscription) = world.subscriber().await;
    world.delete(&format!("/v1/customers/{customer}")).await.ok();
    assert_eq!(world.subscription(&subscription).await["status"], "canceled");
    world.inbox.wait_for("customer.subscription.deleted", 1).await;
    let form = [("customer", customer.as_str())];
    let error = world.post("/v1/billing_portal/sessions", &form).await.refused(400);
    assert_eq!((&error["code"], &error["param"]), (&"resource_missing".into(), &"customer".into()));
}

#[tokio::test]
async fn lists_page_both_ways() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(world.customer().await);
    }
    ids.reverse();
    let page = |query: String| {
        let world = &world;
        async move {
            let page = world.get(&format!("/v1/customers?{query}")).await.ok();
            let ids: Vec<_> = page["data"].as_array().unwrap().iter().map(id).collect();
            (ids, page["has_more"].as_bool().unwrap())
        }
    };
    assert_eq!(page("limit=2".into()).await, (ids[..2].to_vec(), true));
    assert_eq!(page(format!("limit=3&starting_after={}", ids[1])).await, (ids[2..].to_vec(), false));
    assert_eq!(page(format!("limit=2&ending_before={}", ids[4])).await, (ids[2..4].to_vec(), true));
    assert_eq!(page("created[gte]=4000000000".into()).await, (Vec::new(), false));
    world.get("/v1/customers?limit=101").await.refused(400);
    world.get("/v1/customers?limit=0").await.refused(400);
    world.get("/v1/customers?starting_after=cus_x").await.refused(400);
    world.get("/v1/customers?colour=red").await.refused(400);
}

#[tokio::test]
async fn references_expand_and_others_do_not() {
    let world = World::new().await;
    let (customer, _) = world.subscriber().await;
    let query =
        format!("/v1/subscriptions?customer={customer}&expand[]=data.latest_invoice.payments&expand[]=data.customer");
    let subscription = &world.get(&query).await.ok()["data"][0];
    assert_eq!(subscription["customer"]["email"], "ada@example.com");
    assert_eq!(subscription["latest_invoice"]["payments"]["data"][0]["status"], "paid");
    world.get(&format!("/v1/customers/{customer}?expand[]=nonsense")).await.refused(400);

    let invoice = id(&subscription["latest_invoice"]);
    let by_invoice = world.get(&format!("/v1/invoice_payments?invoice={invoice}")).await.ok();
    let intent = by_invoice["data"][0]["payment"]["payment_intent"].as_str().unwrap().to_owned();
    let by_intent = format!("/v1/invoice_payments?payment[type]=payment_intent&payment[payment_intent]={intent}");
    assert_eq!(world.get(&by_intent).await.ok()["data"][0]["invoice"], invoice.as_str());
}

#[tokio::test]
async fn changing_the_plan_prorates() {
    let world = World::new().await;
    let (customer, subscription) = world.subscriber().await;
    world.pass(15 * 86_400).await;
    let item = id(&world.subscription(&subscription).await["items"]["data"][0]);
    let form = [
        ("items[0][id]", item.as_str()),
        ("items[0][price]", "price_starter_monthly"),
        ("proration_behavior", "always_invoice"),
    ];
    let path = format!("/v1/subscriptions/{subscription}");
    let changed = world.post(&path, &form).await.ok();
    assert_eq!(changed["items"]["data"][0]["price"]["id"], "price_starter_monthly");
    let credit = &world.subscription(&subscription).await["latest_invoice"].clone();
    assert!(credit["total"].as_i64().unwrap() < 0, "the unused time is worth more than the cheaper rest");
    assert_eq!((&credit["amount_due"], &credit["status"]), (&0.into(), &"paid".into()));
    let balance = world.get(&format!("/v1/customers/{customer}")).await.ok()["balance"].as_i64().unwrap();
    assert_eq!(balance, credit["total"].as_i64().unwrap(), "the credit is kept for the next invoice");
    let updated = world.inbox.wait_for("customer.subscription.updated", 1).await;
    assert!(updated[0]["data"]["previous_attributes"]["items"].is_object());
    world.inbox.wait_for("invoiceitem.created", 2).await;
}

#[tokio::test]
async fn a_refused_upgrade_changes_nothing_and_a_waiting_one_is_applied_when_paid() {
    let world = World::new().await;
    let (customer, subscription) = world.subscriber().await;
    world.control(&format!("/customers/{customer}/card"), json!({ "card": "declined" })).await;
    let item = id(&world.subscription(&subscription).await["items"]["data"][0]);
    let path = format!("/v1/subscriptions/{subscription}");
    let change = |behavior: &'static str| {
        let form = [
            ("items[0][id]", item.clone()),
            ("items[0][price]", "price_pro_yearly".to_owned()),
            ("payment_behavior", behavior.to_owned()),
        ];
        let (world, path) = (&world, &path);
        async move {
            let form: Vec<_> = form.iter().map(|(key, value)| (*key, value.as_str())).collect();
            world.post(path, &form).await
        }
    };
    assert_eq!(change("error_if_incomplete").await.refused(402)["type"], "card_error");
    let unchanged = world.subscription(&subscription).await;
    assert_eq!(unchanged["items"]["data"][0]["price"]["id"], "price_pro_monthly");
    assert_eq!((&unchanged["status"], &unchanged["pending_update"]), (&"active".into(), &Value::Null));

    let waiting = change("pending_if_incomplete").await.ok();
    assert_eq!(waiting["items"]["data"][0]["price"]["id"], "price_pro_monthly");
    assert!(waiting["pending_update"]["expires_at"].is_i64());
    world.control(&format!("/customers/{customer}/card"), json!({ "card": "success" })).await;
    let invoice = waiting["latest_invoice"].as_str().unwrap();
    world.post(&format!("/v1/invoices/{invoice}/pay"), &[]).await.ok();
    let applied = world.subscription(&subscription).await;
    assert_eq!(applied["items"]["data"][0]["price"]["id"], "price_pro_yearly");
    assert_eq!(applied["pending_update"], Value::Null);
    world.inbox.wait_for("customer.subscription.pending_update_applied", 1).await;
}

#[tokio::test]
async fn a_price_without_an_item_id_is_added() {
    let world = World::new().await;
    let (_, subscription) = world.subscriber().await;
    let path = format!("/v1/subscriptions/{subscription}");
    let changed = world.post(&path, &[("items[0][price]", "price_starter_monthly")]).await.ok();
    assert_eq!(changed["items"]["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_invoice_shows_ten_of_its_lines_and_the_period_comes_last() {
    let world = World::new().await;
    let (customer, subscription) = world.subscriber().await;
    for number in 1..=11 {
        let description = format!("extra {number}");
        let item = [("customer", customer.as_str()), ("amount", "100"), ("currency", "usd")];
        world.post("/v1/invoiceitems", &[&item[..], &[("description", &description)]].concat()).await.ok();
    }
    world.pass(31 * 86_400).await;
    let path = format!("/v1/invoices?subscription={subscription}&limit=1");
    let invoice = world.get(&path).await.ok()["data"][0].clone();
    let url = format!("/v1/invoices/{}/lines", id(&invoice));
    let shown = &invoice["lines"];
    assert_eq!((&shown["has_more"], &shown["url"]), (&true.into(), &url.as_str().into()));
    assert_eq!(shown["data"].as_array().unwrap().len(), 10);
    let all = world.get(&format!("{url}?limit=100")).await.ok();
    let lines = all["data"].as_array().unwrap();
    assert_eq!(
        (lines.len(), &all["has_more"], &lines[..10]),
        (12, &false.into(), &shown["data"].as_array().unwrap()[..])
    );
    let rest = world.get(&format!("{url}?starting_after={}", id(&lines[9]))).await.ok();
    assert_eq!(rest["data"].as_array().unwrap()[..], lines[10..]);
    let of = |line: &Value| line["parent"]["type"].clone();
    assert_eq!((of(&lines[0]), of(&lines[11])), ("invoice_item_details".into(), "subscription_item_details".into()));
    let sum: i64 = lines.iter().map(|line| line["amount"].as_i64().unwrap()).sum();
    assert_eq!(invoice["total"], sum);
}

#[tokio::test]
async fn a_lookup_key_belongs_to_one_price_and_moves_only_on_request() {
    let world = World::new().await;
    let new = |amount: &'static str| {
        let key = ("lookup_key", "pro");
        [("product", "prod_professional"), ("currency", "usd"), ("unit_amount", amount), key]
    };
    let first = id(&world.post("/v1/prices", &new("1000")).await.ok());
    let error = world.post("/v1/prices", &new("2000")).await.refused(400);
    assert_eq!((&error["param"], &error["code"]), (&"lookup_key".into(), &"resource_already_exists".into()));
    let form = [&new("2000")[..], &[("transfer_lookup_key", "true")]].concat();
    let second = id(&world.post("/v1/prices", &form).await.ok());
    let found = world.get("/v1/prices?lookup_keys[]=pro&lookup_keys[]=other").await.ok();
    let ids: Vec<String> = found["data"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(ids, [second]);
    let old = world.get(&format!("/v1/prices/{first}")).await.ok();
    assert_eq!((&old["lookup_key"], &old["active"]), (&Value::Null, &true.into()));
}

#[tokio::test]
async fn endpoints_and_portal_configurations_are_changed_in_place() {
    let world = World::new().await;
    let form = [("url", "http://localhost:9/x"), ("enabled_events[]", "*"), ("api_version", "2026-05-27.dahlia")];
    let endpoint = world.post("/v1/webhook_endpoints", &form).await.ok();
    let path = format!("/v1/webhook_endpoints/{}", id(&endpoint));
    let form = [("enabled_events[]", "invoice.paid"), ("disabled", "true"), ("metadata[app]", "x")];
    let changed = world.post(&path, &form).await.ok();
    assert_eq!(
        (&changed["enabled_events"], &changed["status"], &changed["metadata"], &changed["api_version"]),
        (&json!(["invoice.paid"]), &json!("disabled"), &json!({"app": "x"}), &endpoint["api_version"])
    );
    assert_eq!(world.post(&path, &[("disabled", "false")]).await.ok()["status"], "enabled");
    world.post(&path, &[("api_version", "2025-03-31.basil")]).await.refused(400);

    let offered = "features[subscription_update][products][0]";
    let (product, price) = (format!("{offered}[product]"), format!("{offered}[prices][0]"));
    let form = [(product.as_str(), "prod_professional"), (price.as_str(), "price_pro_monthly")];
    let made = world.post("/v1/billing_portal/configurations", &form).await.ok();
    let path = format!("/v1/billing_portal/configurations/{}", id(&made));
    let products = |value: &Value| value["features"]["subscription_update"]["products"].clone();
    assert_eq!(products(&made)[0]["prices"], json!(["price_pro_monthly"]));
    let untouched = world.post(&path, &[("metadata[app]", "x")]).await.ok();
    assert_eq!(products(&untouched), products(&made));
    let emptied = world.post(&path, &[("features[subscription_update][products]", "")]).await.ok();
    assert_eq!(products(&emptied), json!([]));
}

#[tokio::test]
async fn refunds_and_disputes() {
    let world = World::new().await;
    let form = [("amount", "2000"), ("currency", "usd"), ("confirm", "true"), ("payment_method", "pm_card_visa")];
    let intent = id(&world.post("/v1/payment_intents", &form).await.ok());
    world.post("/v1/refunds", &[("payment_intent", &intent), ("amount", "500")]).await.ok();
    world.post("/v1/refunds", &[("payment_intent", &intent)]).await.ok();
    let error = world.post("/v1/refunds", &[("payment_intent", &intent)]).await.refused(400);
    assert_eq!(error["code"], "charge_already_refunded");
    let refunded = world.inbox.wait_for("charge.refunded", 2).await;
    assert_eq!(refunded.iter().filter(|event| event["data"]["object"]["refunded"] == true).count(), 1);

    let form =
        [("amount", "2000"), ("currency", "usd"), ("confirm", "true"), ("payment_method", "pm_card_createDispute")];
    world.post("/v1/payment_intents", &form).await.ok();
    world.inbox.wait_for("charge.dispute.funds_withdrawn", 1).await;
    let dispute = id(&world.inbox.wait_for("charge.dispute.created", 1).await[0]["data"]["object"]);
    let decided = world.control(&format!("/disputes/{dispute}/decide"), json!({ "status": "won" })).await;
    assert_eq!(decided["status"], "won");
    world.inbox.wait_for("charge.dispute.funds_reinstated", 1).await;
}

#[tokio::test]
async fn paying_an_invoice_with_a_failing_card_is_a_card_error() {
    let world = World::new().await;
    let customer = world.customer().await;
    let attach = "/v1/payment_methods/pm_card_chargeCustomerFail/attach";
    let card = id(&world.post(attach, &[("customer", &customer)]).await.ok());
    world.post("/v1/invoiceitems", &[("customer", &customer), ("amount", "2000"), ("currency", "usd")]).await.ok();
    let form = [("customer", customer.as_str()), ("pending_invoice_items_behavior", "include")];
    let invoice = id(&world.post("/v1/invoices", &form).await.ok());
    let error = world.post(&format!("/v1/invoices/{invoice}/pay"), &[("payment_method", &card)]).await.refused(402);
    assert_eq!(
        (&error["type"], &error["code"], &error["decline_code"]),
        (&"card_error".into(), &"card_declined".into(), &"generic_decline".into())
    );
    world.inbox.wait_for("invoice.payment_failed", 1).await;
    world.post(&format!("/v1/invoices/{invoice}/void"), &[]).await.ok();
    world.inbox.wait_for("invoice.voided", 1).await;
}

#[tokio::test]
async fn events_are_listed_by_type_and_webhooks_stay_on_this_machine() {
    let world = World::new().await;
    world.subscriber().await;
    let query = "/v1/events?types[]=invoice.paid&types[]=checkout.session.completed&limit=100";
    let events = world.get(query).await.ok();
    assert_eq!(events["data"].as_array().unwrap().len(), 2);
    world.get("/v1/events?type=invoice.paid&types[]=invoice.paid").await.refused(400);

    for url in ["https://example.com/x", "http://192.0.2.1/x", "ftp://localhost/x", "nonsense"] {
        let form = [("url", url), ("enabled_events[]", "*")];
        let error = world.post("/v1/webhook_endpoints", &form).await.refused(400);
        assert_eq!(error["code"], "url_invalid", "{url}");
    }
    let form = [("url", "http://localhost:9/x"), ("enabled_events[]", "*")];
    let created = world.post("/v1/webhook_endpoints", &form).await.ok();
    assert!(created["secret"].as_str().unwrap().starts_with("whsec_"));
    let path = format!("/v1/webhook_endpoints/{}", id(&created));
    assert_eq!(world.get(&path).await.ok()["secret"], Value::Null, "the secret is told once");
    assert_eq!(world.delete(&path).await.ok()["deleted"], true);
}

#[tokio::test]
async fn events_are_listed_by_time_and_type_and_from_an_event_on() {
    let world = World::new().await;
    world.customer().await;
    let first = world.get("/v1/events").await.ok()["data"][0].clone();
    let customer = world.customer().await;
    world.delete(&format!("/v1/customers/{customer}")).await.ok();
    let ids = |page: Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    };
    let deleted = world.get("/v1/events?types[]=customer.deleted&types[]=invoice.paid").await.ok();
    assert_eq!(ids(deleted), ["customer.deleted"]);
    let after = world.get(&format!("/v1/events?ending_before={}", id(&first))).await.ok();
    assert_eq!(ids(after), ["customer.deleted", "customer.created"]);
    let created = first["created"].as_i64().unwrap();
    let none = world.get(&format!("/v1/events?created[lt]={created}")).await.ok();
    assert_eq!(none["data"], json!([]));
    let all = world.get(&format!("/v1/events?created[gte]={created}&created[lt]={}", created + 60)).await.ok();
    assert_eq!(ids(all).len(), 3);
    let many: String = (0..21).map(|number| format!("types[]=a{number}&")).collect();
    world.get(&format!("/v1/events?{many}")).await.refused(400);
}
