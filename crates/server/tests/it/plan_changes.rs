//! What customers change about a running subscription by themselves: plan, end, cards.

use counterfoil_core::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::actors::{SUCCESS_URL, Visitor};
use crate::client::{Answer, form};
use crate::world::World;

const DAY: i64 = 86_400;
const HOUR: i64 = 3600;

async fn change(visitor: &Visitor, plan: &str) -> Answer {
    visitor.http.post("/api/subscriptions/change", &json!({ "plan": plan })).await
}

async fn act(visitor: &Visitor, what: &str) -> Answer {
    visitor.http.post(&format!("/api/subscriptions/{what}"), &Value::Null).await
}

async fn preview(visitor: &Visitor, plan: &str, interval: &str) -> Value {
    let asked = json!({ "plan": plan, "interval": interval, "preview": true });
    visitor.http.post("/api/subscriptions/change", &asked).await.accepted()
}

/// What the customer has paid so far, newest first.
async fn paid(world: &World, visitor: &Visitor) -> Vec<i64> {
    let customer = world.stored(visitor).await.stripe_customer_id.expect("a counterpart");
    let invoices = world.sandbox().list(&format!("/v1/invoices?customer={customer}&status=paid")).await;
    invoices.iter().map(|invoice| invoice["amount_paid"].as_i64().expect("an amount")).collect()
}

async fn at_stripe(world: &World, visitor: &Visitor) -> Value {
    let id = world.stored(visitor).await.stripe_subscription_id.expect("a subscription");
    world.sandbox().get(&format!("/v1/subscriptions/{id}")).await
}

fn time(value: &Value) -> i64 {
    value.as_str().expect("a time").parse::<Timestamp>().expect("RFC 3339").as_unix_seconds()
}

/// Lets the running period end, and the renewal be paid.
async fn pass_renewal(world: &World, visitor: &mut Visitor) {
    pass_period(world, visitor, 2 * HOUR).await;
}

/// Lets the running period end, and so much time pass after it. Stripe finalizes the invoice of the next period, and asks for the
/// money, an hour after it has begun.
async fn pass_period(world: &World, visitor: &mut Visitor, after: i64) {
    let end = world.stored(visitor).await.current_period_ends_at.expect("a period").as_unix_seconds();
    world.sandbox().advance(end - world.sandbox().now().await + after).await;
    world.settled().await;
    visitor.log_in().await.accepted();
}

/// A plan that is wished for in the hour in which the period has begun and is not paid.
async fn refused_as_unpaid(visitor: &Visitor, plan: &str, interval: &str) {
    for preview in [true, false] {
        let asked = json!({ "plan": plan, "interval": interval, "preview": preview });
        let problem = visitor.http.post("/api/subscriptions/change", &asked).await.refused(409, "change_not_possible");
        assert!(problem["detail"].as_str().unwrap().contains("not paid yet"), "{problem}");
    }
    let question = format!("/account/change?plan={plan}&interval={interval}");
    let asked = visitor.http.get(&question).await;
    assert_eq!(asked.status, 409);
    assert!(asked.body.contains("the running period is not paid yet"), "{}", asked.body);
}

async fn more_begins_at_once_and_the_preview_is_what_is_charged(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "starter").await;
    world.sandbox().advance(10 * DAY).await;
    let told = preview(&ada, "enterprise", "month").await;
    assert_eq!(
        (&told["at_once"], &told["currency"], &told["next_amount"]),
        (&json!(true), &json!("usd"), &json!(19_900))
    );
    let due = told["amount_due"].as_i64().unwrap();
    assert!((1..18_000).contains(&due), "only the rest of the period: {told}");
    assert_eq!(paid(world, &ada).await, [1900], "a preview costs nothing");
    world.sandbox().advance(300).await;
    let asked = json!({ "plan": "enterprise", "interval": "month", "prorated_from": told["prorated_from"] });
    let changed = ada.http.post("/api/subscriptions/change", &asked).await.accepted();
    assert_eq!((&changed["plan"], &changed["status"]), (&json!("enterprise"), &json!("active")));
    assert_eq!(paid(world, &ada).await, [due, 1900]);
    let license = ada.current_license().await.accepted();
    assert_eq!(
        (&license["plan"], &license["version"]),
        (&json!("enterprise"), &json!(3)),
        "the answer came after the licence"
    );
    change(&ada, "enterprise").await.refused(409, "same_plan");
    world.settled().await;
    assert_eq!(paid(world, &ada).await, [due, 1900]);
    assert_eq!(at_stripe(world, &ada).await["items"]["data"].as_array().unwrap().len(), 1);
    let old = json!({ "plan": "enterprise", "interval": "year", "prorated_from": "2026-01-01T00:00:00Z" });
    ada.http.post("/api/subscriptions/change", &old).await.refused(422, "invalid_field");
}

async fn less_begins_when_the_period_ends_and_the_dearer_plan_is_not_charged_again(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let told = preview(&ada, "starter", "month").await;
    assert_eq!((&told["at_once"], &told["amount_due"]), (&json!(false), &json!(0)));
    let first = change(&ada, "starter").await.accepted();
    assert_eq!((&first["plan"], &first["planned_change"]["plan"]), (&json!("professional"), &json!("starter")));
    assert_eq!(first["planned_change"]["starts_at"], first["current_period_ends_at"]);
    assert_eq!(told["effective_at"], first["current_period_ends_at"]);
    assert_eq!(change(&ada, "starter").await.accepted(), first, "a second time does nothing");
    world.settled().await;
    assert_eq!(ada.subscription().await, first, "and the webhooks do not change it");
    let page = ada.http.get("/account").await;
    assert!(page.page().contains("Your plan changes to Starter"));
    assert_eq!(ada.current_license().await.accepted()["plan"], "professional");
    pass_renewal(world, &mut ada).await;
    let after = ada.subscription().await;
    assert_eq!(
        (&after["plan"], &after["status"], &after["planned_change"]),
        (&json!("starter"), &json!("active"), &Value::Null)
    );
    assert_eq!(paid(world, &ada).await, [1900, 4900]);
    assert_eq!(ada.current_license().await.accepted()["plan"], "starter");
}

async fn a_planned_change_can_be_taken_back_replaced_and_canceled(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    change(&ada, "starter").await.accepted();
    let stays = change(&ada, "professional").await.accepted();
    assert_eq!(stays["planned_change"], Value::Null);
    assert_eq!(at_stripe(world, &ada).await["schedule"], Value::Null);
    change(&ada, "starter").await.accepted();
    // More beats what was planned.
    let more = change(&ada, "enterprise").await.accepted();
    assert_eq!((&more["plan"], &more["planned_change"]), (&json!("enterprise"), &Value::Null));
    change(&ada, "starter").await.accepted();
    let ending = act(&ada, "cancel").await.accepted();
    assert_eq!((&ending["cancel_at"], &ending["planned_change"]), (&ending["current_period_ends_at"], &Value::Null));
    assert_eq!(act(&ada, "cancel").await.accepted(), ending);
    change(&ada, "starter").await.refused(409, "change_not_possible");
    let resumed = act(&ada, "resume").await.accepted();
    assert_eq!((&resumed["cancel_at"], &resumed["plan"]), (&Value::Null, &json!("enterprise")));
    change(&ada, "starter").await.accepted();
    pass_renewal(world, &mut ada).await;
    assert_eq!(paid(world, &ada).await[0], 1900);
}

async fn months_become_a_year_at_once_and_a_year_becomes_months_when_it_ends(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let told = preview(&ada, "professional", "year").await;
    let asked = json!({ "plan": "professional", "interval": "year", "prorated_from": told["prorated_from"] });
    let year = ada.http.post("/api/subscriptions/change", &asked).await.accepted();
    assert_eq!((&year["interval"], paid(world, &ada).await[0]), (&json!("year"), told["amount_due"].as_i64().unwrap()));
    assert!(time(&year["current_period_ends_at"]) > world.sandbox().now().await + 360 * DAY);
    let asked = json!({ "plan": "professional", "interval": "month" });
    let months = ada.http.post("/api/subscriptions/change", &asked).await.accepted();
    assert_eq!((&months["interval"], &months["planned_change"]["interval"]), (&json!("year"), &json!("month")));
    pass_renewal(world, &mut ada).await;
    assert_eq!((&ada.subscription().await["interval"], paid(world, &ada).await[0]), (&json!("month"), 4900));
}

async fn a_renewal_whose_line_comes_after_those_of_many_changes_is_paid_time(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "starter").await;
    let bought = at_stripe(world, &ada).await;
    let (path, item) =
        (format!("/v1/subscriptions/{}", bought["id"].as_str().expect("an id")), &bought["items"]["data"][0]);
    // Somebody changes the number of seats five times in Stripe's dashboard: ten lines on the next invoice.
    for quantity in ["2", "3", "4", "5", "6"] {
        world.sandbox().advance(DAY).await;
        let item = item["id"].as_str().expect("an id");
        world.sandbox().post(&path, &[("items[0][id]", item), ("items[0][quantity]", quantity)]).await;
    }
    world.settled().await;
    pass_renewal(world, &mut ada).await;
    let listed = at_stripe(world, &ada).await;
    let renewal =
        world.sandbox().get(&format!("/v1/invoices/{}", listed["latest_invoice"].as_str().expect("an id"))).await;
    assert_eq!((&renewal["status"], &renewal["lines"]["has_more"]), (&json!("paid"), &json!(true)), "{renewal}");
    let stored = world.stored(&ada).await;
    assert_eq!(stored.paid_until, stored.current_period_ends_at);
    assert_eq!(
        stored.paid_until.map(Timestamp::as_unix_seconds),
        listed["items"]["data"][0]["current_period_end"].as_i64()
    );
    // While the renewal after it is not paid yet, this one is found among the earlier invoices.
    let end = stored.paid_until.expect("a period");
    world.sandbox().advance(end.as_unix_seconds() - world.sandbox().now().await + 60).await;
    world.settled().await;
    let unpaid = world.stored(&ada).await;
    assert_eq!((unpaid.paid_until, unpaid.current_period_ends_at > Some(end)), (Some(end), true));
}

async fn a_declined_card_changes_nothing(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "starter").await;
    let before = world.stored(&ada).await;
    let customer = before.stripe_customer_id.clone().unwrap();
    world.sandbox().replace_card(&customer, "declined").await;
    change(&ada, "enterprise").await.refused(402, "payment_declined");
    world.settled().await;
    assert_eq!(world.stored(&ada).await, before);
    assert_eq!(at_stripe(world, &ada).await["items"]["data"][0]["price"]["id"], "price_starter_monthly");
    // The refusal is not remembered: with a good card the same request works.
    world.sandbox().replace_card(&customer, "success").await;
    assert_eq!(change(&ada, "enterprise").await.accepted()["plan"], "enterprise");
}

async fn a_planned_end_is_taken_back_as_often_as_it_is_planned(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    act(&ada, "resume").await.refused(409, "nothing_to_resume");
    for _ in 0..2 {
        let ending = act(&ada, "cancel").await.accepted();
        assert_eq!((&ending["status"], &ending["cancel_at"]), (&json!("active"), &ending["current_period_ends_at"]));
        assert_eq!(act(&ada, "cancel").await.accepted(), ending);
        assert_eq!(act(&ada, "resume").await.accepted()["cancel_at"], Value::Null);
        act(&ada, "resume").await.refused(409, "nothing_to_resume");
    }
    // As the billing portal plans it: with a date alone.
    let (id, end) = (world.stored(&ada).await.stripe_subscription_id.unwrap(), world.sandbox().now().await + 5 * DAY);
    world.sandbox().post(&format!("/v1/subscriptions/{id}"), &[("cancel_at", &end.to_string())]).await;
    world.settled().await;
    assert_eq!(act(&ada, "resume").await.accepted()["cancel_at"], Value::Null);
    assert_eq!(at_stripe(world, &ada).await["cancel_at"], Value::Null);
    assert_eq!(world.stored(&ada).await.licenses, 2, "the licence said the same all the while");
    act(&ada, "cancel").await.accepted();
    pass_renewal(world, &mut ada).await;
    assert_eq!(ada.subscription().await["status"], "canceled");
    for what in ["cancel", "resume"] {
        act(&ada, what).await.refused(409, "no_subscription");
    }
    change(&ada, "starter").await.refused(409, "no_subscription");
}

async fn only_who_has_a_subscription_can_change_one(world: &World) {
    for what in ["cancel", "resume", "portal"] {
        act(&world.visitor("nobody@example.com"), what).await.refused(401, "not_signed_in");
    }
    let nobody = world.visitor("nobody@example.com");
    change(&nobody, "starter").await.refused(401, "not_signed_in");
    let ada = world.customer("ada@example.com").await;
    change(&ada, "starter").await.refused(409, "no_subscription");
    for what in ["cancel", "resume"] {
        act(&ada, what).await.refused(409, "no_subscription");
    }
    ada.http.post("/api/subscriptions/portal", &json!({})).await.refused(409, "no_billing");
    assert!(world.sandbox().calls().await.is_empty(), "the provider was not asked for anything");
}

async fn the_portal_leads_back_to_known_places_only(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    for back in ["https://evil.example/", "javascript:alert(1)", "//evil.example", ""] {
        let problem = ada.http.post("/api/subscriptions/portal", &json!({ "return_url": back })).await;
        assert_eq!(problem.refused(422, "return_url_not_allowed")["field"], "return_url");
    }
    for asked in [json!({}), json!({ "return_url": SUCCESS_URL })] {
        let opened = ada.http.post("/api/subscriptions/portal", &asked).await.accepted();
        assert!(opened["portal_url"].as_str().unwrap().contains("/p/session/"), "{opened}");
    }
    let opened = ada.http.send(ada.http.request(Method::POST, "/account/portal")).await;
    assert_eq!(opened.status, 303);
    assert!(opened.header("location").contains("/p/session/"));
}

async fn the_pages_ask_once_and_then_do_it(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let nothing = ada.http.send(ada.http.request(Method::POST, "/account/resume")).await;
    assert_eq!(nothing.status, 409, "there is no plan to resume: {}", nothing.body);
    ada.subscribe(world, "starter").await;
    let overview = ada.http.get("/account").await;
    for id in ["change-professional-month", "change-starter-year", "id=\"cancel\"", "manage-billing"] {
        assert!(overview.page().contains(id), "{id}");
    }
    assert!(!overview.body.contains("change-starter-month") && !overview.body.contains("buy-"));
    assert_eq!(overview.body.matches("This is the plan you have.").count(), 1);
    let early = world.app.now().plus_seconds(-HOUR / 2).to_string();
    let question = format!("/account/change?plan=professional&interval=month&prorated_from={early}");
    let asked = ada.http.get(&question).await;
    let told = preview(&ada, "professional", "month").await;
    assert!(asked.page().contains("Change now and pay"), "{}", asked.body);
    assert!(asked.body.contains("name=\"prorated_from\"") && !asked.body.contains(&early), "it is asked as of now");
    let from = told["prorated_from"].as_str().unwrap();
    let wish = form(&[("plan", "professional"), ("interval", "month"), ("prorated_from", from)]);
    let done = ada.http.post_text("/account/change", "application/x-www-form-urlencoded", wish).await;
    assert_eq!((done.status, done.header("location")), (303, "/account"), "{}", done.body);
    assert_eq!(ada.subscription().await["plan"], "professional");
    assert!(ada.http.get("/account/cancel").await.page().contains("Cancel Professional?"));
    for (what, shows) in [("cancel", "id=\"resume\""), ("resume", "id=\"cancel\""), ("resume", "id=\"cancel\"")] {
        let done = ada.http.send(ada.http.request(Method::POST, &format!("/account/{what}"))).await;
        assert_eq!(done.status, 303, "{}", done.body);
        assert!(ada.http.get("/account").await.page().contains(shows), "{what}");
    }
    let yearly = ada.http.get("/account/change?plan=professional&interval=year").await;
    assert!(yearly.page().contains("<h1>Pay for Professional yearly?</h1>"), "{}", yearly.body);
    assert!(yearly.body.contains("From now on you pay yearly.") && !yearly.body.contains("begins at once"));
}

async fn in_the_hour_before_a_renewal_is_paid_nothing_is_charged_that_would_pay_for_it(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let customer = world.stored(&ada).await.stripe_customer_id.unwrap();
    pass_period(world, &mut ada, HOUR / 2).await;
    let before = world.stored(&ada).await;
    assert_eq!(before.status, "active", "as if all were well");
    assert!(before.paid_until < before.current_period_ends_at, "{before:?}");
    assert!(!ada.http.get("/account").await.page().contains("change-"), "nothing is offered that would be refused");
    for (plan, interval) in [("enterprise", "month"), ("professional", "year")] {
        refused_as_unpaid(&ada, plan, interval).await;
    }
    // What charges nothing can be chosen and taken back.
    assert_eq!(change(&ada, "starter").await.accepted()["planned_change"]["plan"], "starter");
    assert_eq!(change(&ada, "professional").await.accepted()["planned_change"], Value::Null);
    assert_eq!((world.stored(&ada).await, paid(world, &ada).await), (before.clone(), vec![4900]));
    // The payment that was waited for fails, and nothing was given in its place.
    world.sandbox().replace_card(&customer, "declined").await;
    world.sandbox().advance(2 * HOUR).await;
    world.settled().await;
    let after = world.stored(&ada).await;
    assert_eq!((after.status.as_str(), after.paid_until), ("past_due", before.paid_until));
}

/// What the billing portal does when another plan is chosen in it, and an operator in the provider's dashboard.
async fn change_at_stripe(world: &World, visitor: &Visitor, price: &str) {
    let subscription = at_stripe(world, visitor).await;
    let id = subscription["id"].as_str().unwrap();
    let item = subscription["items"]["data"][0]["id"].as_str().unwrap();
    let wish = [("items[0][id]", item), ("items[0][price]", price), ("proration_behavior", "always_invoice")];
    world.sandbox().post(&format!("/v1/subscriptions/{id}"), &wish).await;
    world.settled().await;
}

async fn a_difference_that_is_paid_on_stripes_pages_pays_no_period(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "starter").await;
    let customer = world.stored(&ada).await.stripe_customer_id.unwrap();
    pass_period(world, &mut ada, HOUR / 2).await;
    let before = world.stored(&ada).await;
    change_at_stripe(world, &ada, "price_pro_monthly").await;
    assert_eq!(paid(world, &ada).await.len(), 2, "the difference was charged");
    let changed = world.stored(&ada).await;
    assert_eq!((changed.plan.as_str(), changed.paid_until), ("professional", before.paid_until));
    // The period itself is paid after all, and the difference with it.
    world.sandbox().advance(HOUR).await;
    world.settled().await;
    let renewed = world.stored(&ada).await;
    assert_eq!((renewed.status.as_str(), renewed.paid_until), ("active", renewed.current_period_ends_at));
    // Once more, and this time it is not: a credit for what nobody paid makes the invoice one that is paid without money.
    pass_period(world, &mut ada, HOUR / 2).await;
    let before = world.stored(&ada).await;
    change_at_stripe(world, &ada, "price_starter_monthly").await;
    assert_eq!(paid(world, &ada).await[0], 0);
    assert_eq!(world.stored(&ada).await.paid_until, before.paid_until);
    world.sandbox().replace_card(&customer, "declined").await;
    world.sandbox().advance(2 * HOUR).await;
    world.settled().await;
    assert_eq!(world.stored(&ada).await.paid_until, before.paid_until);
}

async fn after_a_renewal_is_paid_more_can_be_had_again(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "starter").await;
    pass_period(world, &mut ada, HOUR / 2).await;
    refused_as_unpaid(&ada, "enterprise", "month").await;
    world.sandbox().advance(HOUR).await;
    world.settled().await;
    assert!(ada.http.get("/account").await.page().contains("change-enterprise-month"));
    assert_eq!(change(&ada, "enterprise").await.accepted()["plan"], "enterprise");
    assert_eq!(paid(world, &ada).await[1..], [1900, 1900]);
}

async fn a_trial_that_is_over_becomes_no_paid_year_by_a_change_to_less(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let mut asked = ada.wish("professional");
    asked["interval"] = json!("year");
    let opened = ada.checkout_with(&asked).await.accepted();
    world.sandbox().pay(opened["checkout_url"].as_str().unwrap(), "success").await;
    world.settled().await;
    let customer = world.stored(&ada).await.stripe_customer_id.unwrap();
    pass_period(world, &mut ada, HOUR / 2).await;
    let before = world.stored(&ada).await;
    assert_eq!((before.status.as_str(), at_stripe(world, &ada).await["status"].as_str()), ("trialing", Some("active")));
    for (plan, interval) in [("starter", "year"), ("starter", "month"), ("enterprise", "year")] {
        refused_as_unpaid(&ada, plan, interval).await;
    }
    assert!(!ada.http.get("/account").await.page().contains("change-"));
    world.sandbox().replace_card(&customer, "declined").await;
    world.sandbox().advance(2 * HOUR).await;
    world.settled().await;
    let after = world.stored(&ada).await;
    assert_eq!((after.status.as_str(), after.paid_until), ("past_due", before.paid_until));
    assert_eq!(paid(world, &ada).await, [0], "the trial's own invoice");
}

both_engines!(
    more_begins_at_once_and_the_preview_is_what_is_charged,
    less_begins_when_the_period_ends_and_the_dearer_plan_is_not_charged_again,
    a_planned_change_can_be_taken_back_replaced_and_canceled,
    months_become_a_year_at_once_and_a_year_becomes_months_when_it_ends,
    a_renewal_whose_line_comes_after_those_of_many_changes_is_paid_time,
    a_declined_card_changes_nothing,
    a_planned_end_is_taken_back_as_often_as_it_is_planned,
    only_who_has_a_subscription_can_change_one,
    the_portal_leads_back_to_known_places_only,
    the_pages_ask_once_and_then_do_it,
    in_the_hour_before_a_renewal_is_paid_nothing_is_charged_that_would_pay_for_it,
    a_difference_that_is_paid_on_stripes_pages_pays_no_period,
    after_a_renewal_is_paid_more_can_be_had_again,
);
both_engines!(Setup::configured(&[("COUNTERFOIL_CHECKOUT_TRIAL", "carry")]);
    a_trial_that_is_over_becomes_no_paid_year_by_a_change_to_less,
);
