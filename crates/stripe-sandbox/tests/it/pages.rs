//! The hosted pages: what a person and a browser see.

use serde_json::Value;

use crate::support::{World, id};

#[tokio::test]
async fn the_checkout_page_is_plain_html_under_a_strict_policy() {
    let world = World::new().await;
    let customer = world.customer().await;
    let session = world.session(&customer).await;
    let page = world.get(&format!("/c/pay/{}", id(&session))).await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(!page.text.contains("<script") && !page.text.contains("style=\""));
    for part in [
        "<html lang=\"en\">",
        "<main>",
        "<title>",
        "id=\"pay\"",
        "id=\"cancel\" href=\"http://localhost:3000/cancel\"",
        "name=\"card\" value=\"success\"",
        "value=\"declined\"",
        "value=\"authentication\"",
        "$49.00 per month",
        "Professional",
        "Sandbox",
    ] {
        assert!(page.text.contains(part), "{part} is missing in {}", page.text);
    }
    assert_eq!(world.get("/_sandbox/style.css").await.status, 200);
    assert_eq!(world.get("/c/pay/cs_test_x").await.status, 404);
}

#[tokio::test]
async fn what_a_merchant_wrote_is_escaped() {
    let world = World::new().await;
    let form = [
        ("mode", "payment"),
        ("line_items[0][quantity]", "1"),
        ("line_items[0][price_data][currency]", "eur"),
        ("line_items[0][price_data][unit_amount]", "500"),
        ("line_items[0][price_data][product_data][name]", "<script>alert(1)</script>"),
        ("success_url", "http://localhost/x"),
    ];
    let session = world.post("/v1/checkout/sessions", &form).await.ok();
    let page = world.get(&format!("/c/pay/{}", id(&session))).await;
    assert!(!page.text.contains("<script>") && page.text.contains("€5.00"), "{}", page.text);
    assert_eq!(world.pay(&session, "success").await.status, 303);
    let session = world.get(&format!("/v1/checkout/sessions/{}", id(&session))).await.ok();
    assert!(session["payment_intent"].is_string());
    assert_eq!(session["subscription"], Value::Null);
}

#[tokio::test]
async fn the_portal_cancels_resumes_and_changes() {
    let world = World::new().await;
    let (customer, subscription) = world.subscriber().await;
    let form = [("customer", customer.as_str()), ("return_url", "http://localhost:3000/account")];
    let portal = world.post("/v1/billing_portal/sessions", &form).await.ok();
    let scripted = [("customer", customer.as_str()), ("return_url", "javascript:alert(1)")];
    assert_eq!(world.post("/v1/billing_portal/sessions", &scripted).await.refused(400)["code"], "url_invalid");
    let path = portal["url"].as_str().unwrap().strip_prefix(&world.base).unwrap().to_owned();
    assert!(path.starts_with("/p/session/"));
    let page = world.get(&path).await;
    assert!(page.text.contains("http://localhost:3000/account") && page.text.contains("Renews on"), "{}", page.text);

    let act = |form: Vec<(&'static str, String)>| {
        let (world, path) = (&world, &path);
        async move {
            let form: Vec<_> = form.iter().map(|(key, value)| (*key, value.as_str())).collect();
            world.post(path, &form).await.status
        }
    };
    let on = |action: &str| vec![("action", action.to_owned()), ("subscription", subscription.clone())];
    assert_eq!(act(on("cancel")).await, 303);
    let scheduled = world.subscription(&subscription).await;
    assert!(scheduled["cancel_at"].is_i64());
    assert_eq!(scheduled["cancel_at_period_end"], false, "the portal sets only cancel_at");
    assert_eq!(act(on("resume")).await, 303);
    assert_eq!(world.subscription(&subscription).await["cancel_at"], Value::Null);
    let mut change = on("change");
    change.push(("price", "price_pro_yearly".into()));
    assert_eq!(act(change).await, 303);
    let changed = world.subscription(&subscription).await;
    assert_eq!(changed["items"]["data"][0]["price"]["id"], "price_pro_yearly");

    assert_eq!(act(vec![("action", "card".into()), ("card", "declined".into())]).await, 303);
    assert!(world.get(&path).await.text.contains("Visa ending in 0341"));
    let mut refused = on("change");
    refused.push(("price", "price_pro_monthly".into()));
    assert_ne!(act(refused).await, 500);

    world.pass(3_601).await;
    assert_eq!(world.get(&path).await.status, 410, "the link works for an hour");
}
