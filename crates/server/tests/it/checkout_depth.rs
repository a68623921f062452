//! What a checkout can take along and ask for: the rest of a trial, a currency, promotion codes, taxes.

use counterfoil::app::operators::By;
use counterfoil_core::Timestamp;
use counterfoil_core::trial::Extension;
use serde_json::{Value, json};

use crate::actors::Visitor;
use crate::pages::submit;
use crate::world::{World, id_of};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

async fn session_of(world: &World, checkout_url: &str) -> Value {
    let id = checkout_url.rsplit('/').next().expect("a session id");
    world.sandbox().get(&format!("/v1/checkout/sessions/{id}")).await
}

/// The customer's subscription at the provider.
async fn at_stripe(world: &World, visitor: &Visitor) -> Value {
    let id = world.stored(visitor).await.stripe_subscription_id.expect("a subscription");
    world.sandbox().get(&format!("/v1/subscriptions/{id}")).await
}

async fn trial_end(visitor: &Visitor) -> i64 {
    time(&visitor.subscription().await["trial_ends_at"]).as_unix_seconds()
}

fn time(value: &Value) -> Timestamp {
    value.as_str().expect("a time").parse().expect("RFC 3339")
}

async fn a_trial_that_is_carried_runs_to_its_end_and_then_the_first_payment_makes_it_active(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let ends_at = trial_end(&ada).await;
    world.sandbox().advance(4 * DAY).await;
    let paying = submit(world, &ada, "/account/upgrade", &[("plan", "professional"), ("interval", "month")]).await;
    let session = session_of(world, paying.header("location")).await;
    assert_eq!((&session["amount_total"], &session["payment_method_collection"]), (&json!(0), &json!("always")));
    let back = world.sandbox().pay(paying.header("location"), "success").await;
    world.settled().await;
    let done = ada.http.get(back.strip_prefix(world.config.public_url.as_str()).unwrap()).await;
    assert!(done.page().contains("nothing was charged yet"), "{}", done.body);
    let subscription = at_stripe(world, &ada).await;
    assert_eq!((&subscription["status"], &subscription["trial_end"]), (&json!("trialing"), &json!(ends_at)));
    assert_eq!(subscription["trial_settings"]["end_behavior"]["missing_payment_method"], "cancel");
    let shown = ada.subscription().await;
    assert_eq!((&shown["plan"], &shown["status"]), (&json!("professional"), &json!("trialing")));
    assert_eq!(trial_end(&ada).await, ends_at);
    ada.license = ada.current_license().await.accepted()["token"].as_str().unwrap().to_owned();
    assert_eq!(ada.validate(&ada.license).await["valid"], true);
    let claims = counterfoil_license::inspect(&ada.license).unwrap().1;
    assert_eq!((claims.status.as_str(), claims.trial, claims.paid_until), ("trialing", true, ends_at));
    assert!(world.mails().await[0].body_text.contains("The first payment is due when it ends."));
    assert_eq!((world.stored(&ada).await.licenses, world.stored(&ada).await.mails), (2, 2));
    ada.checkout("professional").await.refused(409, "already_subscribed");

    // The provider calls it active for an hour before it asks for the money: that is no payment.
    world.sandbox().advance(ends_at - world.sandbox().now().await + 600).await;
    world.settled().await;
    world.app.sync_customer(&id_of(&ada)).await.unwrap();
    assert_eq!(at_stripe(world, &ada).await["status"], "active");
    assert_eq!((world.stored(&ada).await.status.as_str(), world.stored(&ada).await.licenses), ("trialing", 2));
    world.sandbox().newest_event("customer.subscription.trial_will_end").await;
    world.sandbox().advance(2 * HOUR).await;
    world.settled().await;
    ada.log_in().await.accepted();
    let versions = ada.licenses().await;
    assert_eq!((versions.len(), &versions[0]["reason"]), (3, &json!("subscribed")));
    assert_eq!((versions[0]["status"].as_str(), world.stored(&ada).await.mails), (Some("active"), 3));
    let paid_until = world.stored(&ada).await.paid_until.unwrap().as_unix_seconds();
    assert!((27 * DAY..32 * DAY).contains(&(paid_until - ends_at)));
}

async fn a_carried_trial_whose_first_payment_fails_is_past_due_and_nobody_is_thanked(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let ends_at = trial_end(&ada).await;
    let customer = world.stored(&ada).await.stripe_customer_id.unwrap();
    world.sandbox().replace_card(&customer, "declined").await;
    world.sandbox().advance(ends_at - world.sandbox().now().await + 2 * HOUR).await;
    world.settled().await;
    ada.log_in().await.accepted();
    assert_eq!(ada.subscription().await["status"], "past_due");
    let reasons: Vec<String> =
        ada.licenses().await.iter().map(|each| each["reason"].as_str().unwrap().to_owned()).collect();
    assert_eq!(reasons, ["payment_overdue", "plan_chosen", "trial_started"]);
    assert!(world.mails().await.iter().all(|mail| !mail.body_text.contains("payment was received")));
}

/// Buys when this much of the trial is left, and answers how long the provider's trial then lasts.
async fn bought_with(world: &World, email: &str, left: i64) -> Option<i64> {
    let mut visitor = world.customer(email).await;
    let ends_at = trial_end(&visitor).await;
    world.sandbox().advance(ends_at - left - world.sandbox().now().await).await;
    visitor.log_in().await.accepted();
    visitor.buy(world, "professional").await;
    let now = world.sandbox().now().await;
    world.settled().await;
    let subscription = at_stripe(world, &visitor).await;
    let carried = subscription["trial_end"].as_i64();
    if left >= 48 * HOUR + 120 {
        assert_eq!(carried, Some(ends_at), "exactly our trial");
    }
    carried.map(|end| end - now)
}

async fn what_is_left_of_a_trial_is_carried_exactly_or_rounded_up(world: &World) {
    let days = bought_with(world, "days@example.com", 48 * HOUR + 120).await.expect("a trial");
    assert!((48 * HOUR..=48 * HOUR + 120).contains(&days), "{days}");
    for (email, left) in [("edge@example.com", 48 * HOUR), ("hours@example.com", HOUR), ("seconds@example.com", 30)] {
        let rounded = bought_with(world, email, left).await.expect("a trial");
        assert!((48 * HOUR..=48 * HOUR + 60).contains(&rounded), "{email}: {rounded}");
    }
    assert_eq!(bought_with(world, "late@example.com", -1).await, None, "what is over is not given again");
}

async fn an_open_checkout_is_kept_until_the_trial_is_another_one(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let first = ada.checkout_url("professional").await;
    world.sandbox().advance(HOUR).await;
    assert_eq!(ada.checkout_url("professional").await, first, "the same wish finds it again");
    let by = By::command_line("asked").unwrap();
    let longer = world.app.extend_trial(&id_of(&ada), Extension::Days(7), &by).await.unwrap();
    let second = ada.checkout_url("professional").await;
    assert_ne!(second, first, "the trial is longer now");
    assert_eq!(world.sandbox().open_sessions().await.len(), 1);
    world.sandbox().advance(longer.ends_at.as_unix_seconds() - world.sandbox().now().await - HOUR).await;
    ada.log_in().await.accepted();
    let rounded = ada.checkout_url("professional").await;
    world.sandbox().advance(HOUR / 2).await;
    assert_eq!(ada.checkout_url("professional").await, rounded, "what was rounded up is as good");
    world.sandbox().advance(HOUR).await;
    let without = ada.checkout_url("professional").await;
    assert_ne!(without, rounded);
    assert_eq!(session_of(world, &without).await["amount_total"], 4900, "the trial is over");
    assert_eq!(world.sandbox().open_sessions().await.len(), 1);
}

async fn scenario_28_a_trial_that_was_had_is_not_carried_into_another_checkout(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let first = at_stripe(world, &ada).await;
    assert_eq!(first["status"], "trialing");
    world.sandbox().delete(&format!("/v1/subscriptions/{}", first["id"].as_str().unwrap())).await;
    world.settled().await;
    let url = ada.checkout_url("starter").await;
    assert_eq!(session_of(world, &url).await["amount_total"], 1900, "paid at once, no trial");
    world.sandbox().pay(&url, "success").await;
    world.settled().await;
    let second = at_stripe(world, &ada).await;
    assert_eq!((&second["trial_end"], &second["status"]), (&Value::Null, &json!("active")));
}

async fn scenario_72_a_trial_that_is_canceled_ends_there(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let planned = trial_end(&ada).await;
    world.sandbox().advance(3 * DAY).await;
    let id = world.stored(&ada).await.stripe_subscription_id.unwrap();
    world.sandbox().delete(&format!("/v1/subscriptions/{id}")).await;
    world.settled().await;
    let shown = ada.subscription().await;
    assert_eq!(shown["status"], "canceled");
    assert_eq!(shown["trial_ends_at"], shown["ended_at"]);
    assert!(time(&shown["ended_at"]).as_unix_seconds() < planned - 10 * DAY);
    assert_eq!(ada.validate(&ada.license).await["valid"], false);
    assert_eq!(world.stored(&ada).await.licenses, 2);
}

const CARRY: &[(&str, &str)] = &[("COUNTERFOIL_CHECKOUT_TRIAL", "carry")];

both_engines!(
    Setup::configured(super::CARRY);
    a_trial_that_is_carried_runs_to_its_end_and_then_the_first_payment_makes_it_active,
    a_carried_trial_whose_first_payment_fails_is_past_due_and_nobody_is_thanked,
    what_is_left_of_a_trial_is_carried_exactly_or_rounded_up,
    an_open_checkout_is_kept_until_the_trial_is_another_one,
    scenario_28_a_trial_that_was_had_is_not_carried_into_another_checkout,
    scenario_72_a_trial_that_is_canceled_ends_there,
);

async fn paying_ends_the_trial_where_nothing_else_is_chosen(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let session = session_of(world, &ada.checkout_url("professional").await).await;
    assert_eq!(session["amount_total"], 4900);
    for (field, value) in [
        ("/allow_promotion_codes", json!(null)),
        ("/automatic_tax/enabled", json!(false)),
        ("/tax_id_collection/enabled", json!(false)),
        ("/billing_address_collection", json!(null)),
    ] {
        assert_eq!(session.pointer(field), Some(&value), "{field}");
    }
    ada.subscribe(world, "professional").await;
    let subscription = at_stripe(world, &ada).await;
    assert_eq!((&subscription["status"], &subscription["trial_end"]), (&json!("active"), &json!(null)));
}

both_engines!(paying_ends_the_trial_where_nothing_else_is_chosen);

async fn promotion_codes_taxes_and_addresses_are_asked_for_where_the_vendor_wants_them(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let session = session_of(world, &ada.checkout_url("professional").await).await;
    for (field, value) in [
        ("/allow_promotion_codes", json!(true)),
        ("/automatic_tax/enabled", json!(true)),
        ("/tax_id_collection/enabled", json!(true)),
        ("/billing_address_collection", json!("required")),
    ] {
        assert_eq!(session.pointer(field), Some(&value), "{field}");
    }
    ada.subscribe(world, "professional").await;
    assert_eq!(ada.me().await.accepted()["customer"]["company_name"], "Test Corp", "nothing of it becomes ours");
}

both_engines!(
    Setup::configured(&[
        ("COUNTERFOIL_PROMOTION_CODES", "true"),
        ("COUNTERFOIL_AUTOMATIC_TAX", "true"),
        ("COUNTERFOIL_TAX_ID_COLLECTION", "true"),
        ("COUNTERFOIL_BILLING_ADDRESS_COLLECTION", "required"),
    ]);
    promotion_codes_taxes_and_addresses_are_asked_for_where_the_vendor_wants_them,
);

/// `professional` in euros and dollars, `starter` in both by the month, `abroad` in dollars only.
const SHOP: &str = r#"
    [[plans]]
    code = "trial"
    name = "Trial"
    trial_days = 14

    [[plans]]
    code = "starter"
    name = "Starter"
    prices = [
        { interval = "month", currency = "eur", amount = 1900, stripe_price = "price_starter_eur" },
        { interval = "month", currency = "usd", amount = 2100, stripe_price = "price_starter_usd" },
    ]

    [[plans]]
    code = "professional"
    name = "Professional"
    prices = [
        { interval = "month", currency = "usd", amount = 5900, stripe_price = "price_pro_usd" },
        { interval = "month", currency = "eur", amount = 4900, stripe_price = "price_pro_eur" },
    ]

    [[plans]]
    code = "abroad"
    name = "Abroad"
    prices = [{ interval = "month", currency = "usd", amount = 9900, stripe_price = "price_abroad_usd" }]
"#;

fn in_currency(visitor: &Visitor, plan: &str, currency: &str) -> Value {
    let mut wish = visitor.wish(plan);
    wish["currency"] = json!(currency);
    wish
}

async fn currency_of(world: &World, answer: crate::client::Answer) -> String {
    let url = answer.accepted()["checkout_url"].as_str().unwrap().to_owned();
    session_of(world, &url).await["currency"].as_str().unwrap().to_owned()
}

/// A customer who has paid in euros, and has nothing that runs.
async fn paid_in_euros(world: &World) -> Visitor {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "starter").await;
    let id = world.stored(&ada).await.stripe_subscription_id.unwrap();
    world.sandbox().delete(&format!("/v1/subscriptions/{id}")).await;
    world.settled().await;
    ada
}

async fn the_currency_is_the_plans_first_or_the_one_that_was_asked_for(world: &World) {
    let ada = world.customer("ada@example.com").await;
    assert_eq!(currency_of(world, ada.checkout("starter").await).await, "eur");
    assert_eq!(currency_of(world, ada.checkout("professional").await).await, "usd", "the open one is closed first");
    assert_eq!(currency_of(world, ada.checkout_with(&in_currency(&ada, "professional", "EUR")).await).await, "eur");
    assert_eq!(world.sandbox().open_sessions().await.len(), 1);
    ada.checkout_with(&in_currency(&ada, "professional", "gbp")).await.refused(422, "currency_unavailable");
    ada.checkout_with(&in_currency(&ada, "abroad", "eur")).await.refused(422, "currency_unavailable");
    ada.checkout_with(&in_currency(&ada, "starter", "")).await.refused(422, "currency_unavailable");
}

async fn scenario_29_who_has_paid_in_euros_is_told_that_dollars_are_not_possible(world: &World) {
    let ada = paid_in_euros(world).await;
    world.sandbox().reset_calls().await;
    for wish in [in_currency(&ada, "professional", "usd"), ada.wish("abroad")] {
        let problem = ada.checkout_with(&wish).await.refused(409, "currency_locked");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("pays in EUR") && detail.contains("in USD"), "{detail}");
    }
    assert!(world.sandbox().calls().await.is_empty(), "our book knows");
    assert!(world.sandbox().open_sessions().await.is_empty());
    assert_eq!(
        currency_of(world, ada.checkout("professional").await).await,
        "eur",
        "where the plan has it, it is taken"
    );
    let overview = ada.http.get("/account").await;
    let page = overview.page();
    assert!(page.contains("€49.00") && !page.contains("$59.00") && !page.contains("$99.00"), "{page}");
}

async fn a_plan_is_changed_within_its_currency(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "starter").await;
    let change = async |plan: &str| ada.http.post("/api/subscriptions/change", &json!({ "plan": plan })).await;
    change("abroad").await.refused(409, "currency_locked");
    change("professional").await.accepted();
    assert_eq!(at_stripe(world, &ada).await["items"]["data"][0]["price"]["id"], "price_pro_eur");
    let overview = ada.http.get("/account").await;
    assert!(overview.page().contains("€19.00") && !overview.page().contains("$21.00"), "{}", overview.body);
}

both_engines!(
    Setup { file: Some(super::SHOP), ..Setup::default() };
    the_currency_is_the_plans_first_or_the_one_that_was_asked_for,
    scenario_29_who_has_paid_in_euros_is_told_that_dollars_are_not_possible,
    a_plan_is_changed_within_its_currency,
);

async fn scenario_29_what_only_stripe_knows_of_a_currency_is_learnt_without_a_broken_session(world: &World) {
    let ada = world.customer("ada@example.com").await;
    ada.checkout_url("professional").await;
    let customer = world.stored(&ada).await.stripe_customer_id.unwrap();
    let sandbox = world.sandbox();
    let open = sandbox.open_sessions().await[0]["id"].as_str().unwrap().to_owned();
    sandbox.post(&format!("/v1/checkout/sessions/{open}/expire"), &[]).await;
    // Nothing we read shows it, as with a quote, or an item that waits for an invoice: neither now nor to an event that is late.
    world.rewrite(|path, answer| {
        if path.starts_with("/v1/customers/") {
            answer["currency"] = Value::Null;
        }
    });
    let item = [("customer", customer.as_str()), ("amount", "1000"), ("currency", "eur")];
    sandbox.post("/v1/invoiceitems", &item).await;
    let invoice = [("customer", customer.as_str()), ("pending_invoice_items_behavior", "include")];
    let invoice = sandbox.post("/v1/invoices", &invoice).await["id"].as_str().unwrap().to_owned();
    sandbox.post(&format!("/v1/invoices/{invoice}/finalize"), &[]).await;
    world.settled().await;
    world.app.db.query("update billing_links set currency = null").execute().await.unwrap();
    let problem = ada.checkout("starter").await.refused(409, "currency_locked");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("pays in EUR") && detail.contains("in USD"), "{detail}");
    assert!(sandbox.open_sessions().await.is_empty());
    let rows = world.app.db.query("select state from checkout_attempts order by id").all().await.unwrap();
    let states: Vec<String> = rows.iter().map(|row| row.get("state").unwrap()).collect();
    assert_eq!(states, ["expired", "failed"]);
    sandbox.reset_calls().await;
    ada.checkout("starter").await.refused(409, "currency_locked");
    assert!(sandbox.calls().await.is_empty(), "now our book knows");
}

both_engines!(
    Setup::test_mode();
    scenario_29_what_only_stripe_knows_of_a_currency_is_learnt_without_a_broken_session,
);
