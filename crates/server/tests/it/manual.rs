//! Customers who pay by invoice, and customers who move between the invoice and the card: one id, one row of versions.

use counterfoil::app::Error;
use counterfoil::app::manual::{ManualFile, Step};
use counterfoil::app::operators::By;
use counterfoil::app::sync::Synced;
use counterfoil::providers::PaymentProvider as _;
use counterfoil::providers::manual::{Manual, NewPayment, NewRefund, Sale};
use counterfoil::store;
use counterfoil_core::{ExternalCustomerId, IdempotencyKey, Interval, PlanCode, Refusal, Timestamp};
use serde_json::{Value, json};

use crate::actors::Visitor;
use crate::world::{World, id_of};

const DAY: i64 = 86_400;

fn by() -> By {
    By::command_line("the invoice was paid").unwrap()
}

fn payment(reference: &str) -> NewPayment {
    NewPayment { reference: reference.to_owned(), amount: 49_000, currency: "eur".to_owned(), periods: 1 }
}

fn start(plan: &str, interval: Interval, reference: Option<&str>) -> Step {
    Step::Start { plan: PlanCode::new(plan), interval, starts_at: None, payment: reference.map(payment) }
}

fn refund(of: &str, reference: &str, amount: Option<i64>) -> Step {
    Step::Refund(NewRefund { payment: of.to_owned(), reference: reference.to_owned(), amount })
}

async fn step(world: &World, visitor: &Visitor, step: &Step) -> Result<ManualFile, Error> {
    world.app.keep_manually(&id_of(visitor), step, &by()).await
}

async fn done(world: &World, visitor: &Visitor, wanted: &Step) -> ManualFile {
    step(world, visitor, wanted).await.unwrap_or_else(|error| panic!("{wanted:?}: {error}"))
}

async fn refused(world: &World, visitor: &Visitor, wanted: &Step, code: &str) {
    match step(world, visitor, wanted).await {
        Err(Error::Refused(refusal)) => assert_eq!(refusal.code(), code, "{wanted:?}"),
        other => panic!("{wanted:?} is not refused: {other:?}"),
    }
}

fn time(value: &Value) -> Timestamp {
    value.as_str().expect("a time").parse().expect("RFC 3339")
}

/// Lets the clock run to a little after this instant, and the minute's sweep with it.
async fn pass(world: &World, until: Timestamp) {
    world.sandbox().advance(until.as_unix_seconds() - world.sandbox().now().await + 60).await;
    world.app.sweep_manual().await.unwrap();
    world.settled().await;
}

async fn newest(visitor: &Visitor) -> (i64, String, String) {
    let license = visitor.licenses().await[0].clone();
    let text = |name: &str| license[name].as_str().unwrap().to_owned();
    (license["version"].as_i64().unwrap(), text("plan"), text("reason"))
}

/// The versions are 1, 2, 3 … and all carry the one customer id.
async fn versions_have_no_gap(world: &World, visitor: &Visitor) {
    let licenses = world.app.license_history(&id_of(visitor), i64::MAX).await.unwrap();
    let versions: Vec<i64> = licenses.iter().rev().map(|license| license.version).collect();
    assert_eq!(versions, (1..=versions.len() as i64).collect::<Vec<_>>());
    for license in &licenses {
        let claims = counterfoil_license::inspect(&license.token).expect("a token").1;
        assert_eq!(claims.customer_id, visitor.customer_id);
    }
}

async fn a_trial_becomes_a_year_by_invoice_without_the_other_provider(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let file = done(world, &ada, &start("professional", Interval::Year, Some("INV-1"))).await;
    assert!(file.looked);
    let license = ada.current_license().await.accepted();
    assert_eq!(
        (&license["version"], &license["plan"], &license["reason"]),
        (&json!(2), &json!("professional"), &json!("subscribed"))
    );
    let shown = ada.subscription().await;
    assert_eq!((&shown["status"], &shown["interval"]), (&json!("active"), &json!("year")));
    let paid_until = world.stored(&ada).await.paid_until.unwrap();
    assert_eq!(time(&shown["current_period_ends_at"]).as_unix_seconds(), paid_until.as_unix_seconds());
    assert_eq!(time(&license["expires_at"]).as_unix_seconds(), paid_until.plus_days(7).as_unix_seconds());
    assert!((364..=366).contains(&(paid_until.seconds_since(world.app.now()) / DAY)), "{paid_until}");
    world.app.sweep_manual().await.unwrap();
    assert!(world.sandbox().calls().await.is_empty(), "the other provider was asked for nothing");
    world.settled().await;
    assert_eq!(world.mails_to(&ada.email).await, 2, "one mail a version");
    // Our book does not show its customer: there is none at Stripe.
    assert_eq!(world.stored(&ada).await.stripe_customer_id, None);
    versions_have_no_gap(world, &ada).await;
}

async fn an_enterprise_deal_needs_no_price_and_no_payment_yet(world: &World) {
    let ada = world.customer("ada@example.com").await;
    done(world, &ada, &start("enterprise", Interval::Year, None)).await;
    assert_eq!(ada.subscription().await["status"], "trialing", "nothing is given before the money comes");
    assert_eq!(newest(&ada).await.0, 1);
    refused(world, &ada, &start("enterprise", Interval::Year, Some("INV-0")), "already_subscribed").await;
    done(world, &ada, &Step::Pay(payment("INV-1"))).await;
    assert_eq!(newest(&ada).await, (2, "enterprise".to_owned(), "subscribed".to_owned()));
    for (plan, code) in [("gold", "plan_unknown"), ("trial", "plan_not_for_sale")] {
        refused(world, &ada, &start(plan, Interval::Year, None), code).await;
    }
}

async fn what_is_overdue_shows_by_our_clock_and_the_payment_heals_it(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    done(world, &ada, &start("professional", Interval::Month, Some("INV-1"))).await;
    let first_end = world.stored(&ada).await.paid_until.unwrap();
    pass(world, first_end).await;
    ada.log_in().await.accepted();
    assert_eq!(ada.subscription().await["status"], "past_due");
    assert_eq!(newest(&ada).await, (3, "professional".to_owned(), "payment_overdue".to_owned()));
    world.settled().await;
    assert_eq!(world.mails_to(&ada.email).await, 3, "the mail about it came by itself");
    let license = ada.current_license().await.accepted();
    assert_eq!(time(&license["expires_at"]).as_unix_seconds(), first_end.plus_days(7).as_unix_seconds());
    assert_eq!(ada.validate(license["token"].as_str().unwrap()).await["code"], "in_grace");
    let page = ada.http.get("/account").await;
    assert!(!page.page().contains("/account/portal") && !page.body.contains("change-"), "there is no card to replace");
    assert_eq!(world.app.sweep_manual().await.unwrap(), 0, "and nobody looks again before something changes");
    ada.checkout("starter").await.refused(409, "already_subscribed");
    done(world, &ada, &Step::Pay(payment("INV-2"))).await;
    let healed = world.stored(&ada).await;
    assert_eq!((healed.status.as_str(), healed.paid_until), ("active", healed.current_period_ends_at));
    assert!(healed.paid_until > Some(first_end.plus_days(27)), "{healed:?}");
    assert_eq!(newest(&ada).await, (4, "professional".to_owned(), "renewed".to_owned()));
    // Not paid again: the grace ends, and the licence with it.
    pass(world, healed.paid_until.unwrap().plus_days(7)).await;
    ada.log_in().await.accepted();
    let last = ada.current_license().await.accepted();
    assert_eq!(ada.validate(last["token"].as_str().unwrap()).await["valid"], false);
    versions_have_no_gap(world, &ada).await;
}

async fn a_reference_is_recorded_once(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let eve = world.customer("eve@example.com").await;
    done(world, &ada, &start("professional", Interval::Month, Some("INV-1"))).await;
    done(world, &eve, &start("professional", Interval::Month, Some("INV-1"))).await;
    let before = world.stored(&ada).await;
    refused(world, &ada, &Step::Pay(payment("INV-1")), "already_recorded").await;
    assert_eq!(world.stored(&ada).await, before);
    done(world, &ada, &refund("INV-1", "R-1", Some(100))).await;
    refused(world, &ada, &refund("INV-1", "R-1", Some(100)), "already_recorded").await;
    let file = world.app.manual_file(&id_of(&ada)).await.unwrap();
    assert_eq!(file.statements[0].payments[0].payment.refunded, 100);
    refused(world, &ada, &refund("INV-1", "R-0", Some(0)), "invalid_field").await;
    refused(world, &ada, &refund("INV-1", "R-0", Some(48_901)), "invalid_field").await;
    done(world, &ada, &refund("INV-1", "R-0", Some(1))).await;
    done(world, &ada, &refund("INV-1", "R-2", None)).await;
    refused(world, &ada, &refund("INV-1", "R-2", None), "already_recorded").await;
    refused(world, &ada, &refund("INV-1", "R-3", None), "invalid_field").await;
    refused(world, &ada, &refund("INV-9", "R-3", None), "invalid_field").await;
    for bad in [
        NewPayment { amount: 0, ..payment("A") },
        NewPayment { currency: "EUR".to_owned(), ..payment("A") },
        NewPayment { periods: 0, ..payment("A") },
        NewPayment { periods: i64::MAX, ..payment("A") },
        payment(""),
        payment(" A"),
        payment("A\nB"),
    ] {
        refused(world, &ada, &Step::Pay(bad), "invalid_field").await;
    }
}

async fn money_that_goes_back_takes_its_period_along(world: &World) {
    let ada = world.customer("ada@example.com").await;
    done(world, &ada, &start("professional", Interval::Month, Some("INV-1"))).await;
    let license = ada.current_license().await.accepted();
    done(world, &ada, &refund("INV-1", "R-1", Some(9_000))).await;
    assert_eq!(ada.current_license().await.accepted(), license, "a part of it changes nothing");
    done(world, &ada, &refund("INV-1", "R-2", None)).await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.paid_until, stored.needs_attention.as_deref()), (None, Some("money_back")));
    let judged = ada.validate(license["token"].as_str().unwrap()).await;
    assert_eq!((&judged["valid"], &judged["code"]), (&json!(false), &json!("refunded")));
    done(world, &ada, &Step::Pay(payment("INV-2"))).await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.status.as_str(), stored.needs_attention), ("active", None));
    // What was withdrawn stays so: the same facts, paid for again, have a version of their own.
    assert_eq!(ada.validate(license["token"].as_str().unwrap()).await["code"], "withdrawn");
    let again = ada.current_license().await.accepted();
    assert_eq!(again["version"], license["version"].as_i64().unwrap() + 1);
    assert_eq!(ada.validate(again["token"].as_str().unwrap()).await["valid"], true);
}

async fn the_operator_changes_the_plan_now_or_with_the_period(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let change =
        |plan: &str, interval, at_period_end| Step::Change { plan: PlanCode::new(plan), interval, at_period_end };
    refused(world, &ada, &change("enterprise", None, false), "no_agreement").await;
    done(world, &ada, &start("professional", Interval::Month, Some("INV-1"))).await;
    refused(world, &ada, &change("professional", None, false), "same_plan").await;
    done(world, &ada, &change("enterprise", None, false)).await;
    assert_eq!(newest(&ada).await, (3, "enterprise".to_owned(), "plan_changed".to_owned()));
    let planned = done(world, &ada, &change("starter", Some(Interval::Year), true)).await;
    assert_eq!(planned.shown.planned.as_ref().unwrap().plan.as_str(), "starter");
    let shown = ada.subscription().await;
    assert_eq!(shown["planned_change"]["starts_at"], shown["current_period_ends_at"]);
    // Taken back, and planned once more.
    assert_eq!(done(world, &ada, &change("enterprise", None, true)).await.shown.planned, None);
    done(world, &ada, &change("starter", Some(Interval::Year), true)).await;
    let end = world.stored(&ada).await.paid_until.unwrap();
    done(world, &ada, &Step::Pay(payment("INV-2"))).await;
    assert!(world.stored(&ada).await.paid_until.unwrap().seconds_since(end) > 360 * DAY, "the next period is a year");
    pass(world, end).await;
    ada.log_in().await.accepted();
    let after = ada.subscription().await;
    assert_eq!(
        (&after["plan"], &after["interval"], &after["status"]),
        (&json!("starter"), &json!("year"), &json!("active"))
    );
    assert_eq!(newest(&ada).await.1, "starter");
    // What has come is the agreement's own from the next step on.
    done(world, &ada, &Step::Cancel { now: false }).await;
    let ending = ada.subscription().await;
    assert_eq!((&ending["plan"], &ending["interval"]), (&json!("starter"), &json!("year")));
    versions_have_no_gap(world, &ada).await;
}

async fn a_change_at_once_is_of_the_interval_as_well_and_takes_the_place_of_a_planned_one(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let change = |plan: &str, at_period_end| Step::Change {
        plan: PlanCode::new(plan),
        interval: Some(Interval::Year),
        at_period_end,
    };
    done(world, &ada, &start("professional", Interval::Month, Some("INV-1"))).await;
    done(world, &ada, &change("starter", true)).await;
    let changed = done(world, &ada, &change("enterprise", false)).await;
    assert_eq!(changed.shown.planned, None);
    let shown = ada.subscription().await;
    assert_eq!((&shown["plan"], &shown["interval"]), (&json!("enterprise"), &json!("year")));
    let end = world.stored(&ada).await.paid_until.unwrap();
    done(world, &ada, &Step::Pay(payment("INV-2"))).await;
    assert!(world.stored(&ada).await.paid_until.unwrap().seconds_since(end) > 360 * DAY, "the next period is a year");
    let counterpart = counterpart(world, &ada).await;
    let facts = world.app.manual.fetch_facts(&counterpart, &[]).await.unwrap();
    assert!(facts.planned_prices.is_empty(), "{facts:?}");
}

async fn the_customer_ends_and_resumes_and_asks_the_vendor_for_the_rest(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    done(world, &ada, &start("professional", Interval::Month, Some("INV-1"))).await;
    let act = async |what: &str, body: &Value| ada.http.post(&format!("/api/subscriptions/{what}"), body).await;
    let problem = act("change", &json!({ "plan": "enterprise" })).await.refused(409, "change_not_possible");
    assert!(problem["detail"].as_str().unwrap().contains("Ask the vendor"), "{problem}");
    act("change", &json!({ "plan": "enterprise", "preview": true })).await.refused(409, "change_not_possible");
    act("portal", &json!({})).await.refused(409, "not_offered");
    let ending = act("cancel", &Value::Null).await.accepted();
    assert_eq!(ending["cancel_at"], ending["current_period_ends_at"]);
    assert_eq!(act("cancel", &Value::Null).await.accepted(), ending);
    refused(world, &ada, &Step::Pay(payment("INV-2")), "change_not_possible").await;
    assert_eq!(act("resume", &Value::Null).await.accepted()["cancel_at"], Value::Null);
    act("resume", &Value::Null).await.refused(409, "nothing_to_resume");
    act("cancel", &Value::Null).await.accepted();
    pass(world, time(&ending["cancel_at"])).await;
    ada.log_in().await.accepted();
    let ended = ada.subscription().await;
    assert_eq!((&ended["status"], &ended["ended_at"]), (&json!("canceled"), &ending["cancel_at"]));
    for step in [Step::Resume, Step::Cancel { now: false }, Step::Pay(payment("INV-2"))] {
        refused(world, &ada, &step, "no_agreement").await;
    }
    let page = ada.http.get("/account").await;
    assert!(!page.page().contains("manage-billing"));
}

async fn from_the_card_to_the_invoice_and_back_it_is_one_customer(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let id = ada.customer_id.clone();
    ada.subscribe(world, "starter").await;
    refused(world, &ada, &start("professional", Interval::Month, Some("INV-1")), "already_subscribed").await;
    // The card's plan ends with its period, and the invoice's begins on that day.
    let ending = ada.http.post("/api/subscriptions/cancel", &Value::Null).await.accepted();
    let handover = world.stored(&ada).await.cancel_at.unwrap();
    let next = Step::Start {
        plan: PlanCode::new("professional"),
        interval: Interval::Month,
        starts_at: Some(handover),
        payment: Some(payment("INV-1")),
    };
    done(world, &ada, &next).await;
    assert_eq!(ada.subscription().await, ending, "until then nothing changes");
    refused(world, &ada, &next, "already_subscribed").await;
    pass(world, handover).await;
    ada.log_in().await.accepted();
    let moved = world.stored(&ada).await;
    assert_eq!((moved.plan.as_str(), moved.status.as_str(), moved.needs_attention), ("professional", "active", None));
    assert!(moved.stripe_subscription_id.is_some_and(|id| id.starts_with("manual_")));
    ada.checkout("starter").await.refused(409, "already_subscribed");
    // Back to the card, now.
    done(world, &ada, &Step::Cancel { now: true }).await;
    assert_eq!(ada.subscription().await["status"], "canceled");
    ada.subscribe(world, "enterprise").await;
    // And once more by invoice, after the card's was ended at once.
    let at_stripe = world.stored(&ada).await.stripe_subscription_id.unwrap();
    world.sandbox().delete(&format!("/v1/subscriptions/{at_stripe}")).await;
    world.settled().await;
    done(world, &ada, &start("starter", Interval::Year, Some("INV-2"))).await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.plan.as_str(), stored.status.as_str(), stored.needs_attention), ("starter", "active", None));
    assert_eq!(ada.customer_id, id);
    assert_eq!(newest(&ada).await, (5, "starter".to_owned(), "plan_changed".to_owned()));
    versions_have_no_gap(world, &ada).await;
    let ours = world.sandbox().customers().await;
    assert_eq!(ours.len(), 1, "one counterpart at Stripe all the time");
    assert_eq!(world.app.manual_file(&id_of(&ada)).await.unwrap().statements.len(), 2);
}

/// Whether the page at this address can still be paid.
async fn is_payable(world: &World, url: &str) -> bool {
    let id = url.rsplit('/').next().unwrap().split('#').next().unwrap();
    world.sandbox().get(&format!("/v1/checkout/sessions/{id}")).await["status"] == "open"
}

async fn an_open_payment_page_is_closed_before_a_plan_is_sold_by_invoice(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let url = ada.checkout_url("starter").await;
    assert!(is_payable(world, &url).await);
    done(world, &ada, &start("professional", Interval::Year, Some("INV-1"))).await;
    assert!(!is_payable(world, &url).await, "she would have paid twice");
    world.settled().await;
    let one = world.stored(&ada).await;
    assert_eq!((one.plan.as_str(), one.status.as_str(), one.needs_attention), ("professional", "active", None));
    ada.checkout("starter").await.refused(409, "already_subscribed");
    // The same where the plan is not paid yet: the page that was opened since is closed with the payment.
    let eve = world.customer("eve@example.com").await;
    done(world, &eve, &start("professional", Interval::Year, None)).await;
    let url = eve.checkout_url("starter").await;
    done(world, &eve, &Step::Pay(payment("INV-2"))).await;
    assert!(!is_payable(world, &url).await);
    assert_eq!((world.stored(&eve).await.plan.as_str(), newest(&eve).await.0), ("professional", 2));
}

async fn who_has_just_paid_by_card_is_sold_nothing_beside_it(world: &World) {
    let ada = world.customer("ada@example.com").await;
    // No webhook comes, so our book shows a page that is open.
    world.sandbox().drop_webhooks().await;
    ada.buy(world, "starter").await;
    refused(world, &ada, &start("professional", Interval::Year, Some("INV-1")), "already_subscribed").await;
    assert_eq!(world.stored(&ada).await.plan, "starter");
    assert_eq!(world.app.manual_file(&id_of(&ada)).await.unwrap().statements.len(), 0);
    // Money that is on its way by a slow method is no subscription yet, and soon may be one.
    let eve = world.customer("eve@example.com").await;
    let url = eve.checkout_url("starter").await;
    world.sandbox().pay(&url, "later").await;
    refused(world, &eve, &start("professional", Interval::Year, Some("INV-1")), "payment_pending").await;
    world.sandbox().clear_faults().await;
    world.allow_unsettled();
}

async fn without_an_answer_nothing_is_sold_and_a_payment_is_recorded(world: &World) {
    let ada = world.customer("ada@example.com").await;
    done(world, &ada, &start("professional", Interval::Year, None)).await;
    world.app.sweep_manual().await.unwrap();
    let url = ada.checkout_url("starter").await;
    let eve = world.customer("eve@example.com").await;
    let open = eve.checkout_url("starter").await;
    world.sandbox().faults(json!({ "calls": { "fail": 1000 } })).await;
    let sold = step(world, &eve, &start("professional", Interval::Year, Some("INV-1"))).await;
    assert!(matches!(sold, Err(Error::Failed(_))), "{sold:?}");
    // Money that came is written down whatever the other provider says, and the page is closed once it answers.
    assert!(!done(world, &ada, &Step::Pay(payment("INV-2"))).await.looked);
    world.sandbox().clear_faults().await;
    assert!(is_payable(world, &url).await);
    world.app.sweep_manual().await.unwrap();
    assert!(!is_payable(world, &url).await);
    let one = world.stored(&ada).await;
    assert_eq!((one.plan.as_str(), one.status.as_str(), one.needs_attention), ("professional", "active", None));
    done(world, &eve, &start("professional", Interval::Year, Some("INV-1"))).await;
    assert!(!is_payable(world, &open).await);
}

async fn an_agreement_that_is_to_end_makes_room_from_its_end_on(world: &World) {
    let ada = world.customer("ada@example.com").await;
    done(world, &ada, &start("professional", Interval::Month, None)).await;
    let ending = done(world, &ada, &Step::Cancel { now: false }).await;
    let end = ending.statements[0].account.agreement.cancel_at.expect("a planned end");
    let from = |starts_at: Timestamp| Step::Start {
        plan: PlanCode::new("enterprise"),
        interval: Interval::Year,
        starts_at: Some(starts_at),
        payment: None,
    };
    refused(world, &ada, &from(end.plus_seconds(-1)), "already_subscribed").await;
    assert_eq!(done(world, &ada, &from(end)).await.statements.len(), 2);
}

async fn a_page_that_was_opened_after_the_end_of_an_agreement_stays_open(world: &World) {
    let ada = world.customer("ada@example.com").await;
    done(world, &ada, &start("professional", Interval::Month, Some("INV-1"))).await;
    done(world, &ada, &Step::Cancel { now: true }).await;
    let url = ada.checkout_url("starter").await;
    assert_eq!(world.app.sweep_manual().await.unwrap(), 1);
    assert!(is_payable(world, &url).await);
    world.settled().await;
}

async fn two_live_ones_at_two_providers_are_flagged(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    // An agreement that is not paid yet keeps nobody from the payment page; then the transfer comes as well.
    done(world, &ada, &start("professional", Interval::Year, None)).await;
    ada.subscribe(world, "starter").await;
    done(world, &ada, &Step::Pay(payment("INV-1"))).await;
    let both = world.stored(&ada).await;
    assert_eq!((both.plan.as_str(), both.needs_attention.as_deref()), ("starter", Some("several_live")));
    done(world, &ada, &Step::Cancel { now: true }).await;
    let one = world.stored(&ada).await;
    assert_eq!((one.plan.as_str(), one.status.as_str(), one.needs_attention), ("starter", "active", None));
}

async fn no_policy_ends_an_agreement_by_invoice(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "starter").await;
    world.sandbox().advance(60).await;
    // Nothing but the book itself takes a second one: the operator's step is refused while another is live.
    let external = counterpart(world, &ada).await;
    let sale = Sale {
        plan: PlanCode::new("enterprise"),
        interval: Interval::Year,
        starts_at: world.app.now(),
        payment: Some(payment("INV-1")),
    };
    let later = world.app.manual.sell(&external, &sale).await.unwrap();
    for _ in 0..2 {
        world.app.sync_customer(&id_of(&ada)).await.unwrap();
        let stored = world.stored(&ada).await;
        assert_eq!((stored.plan.as_str(), stored.needs_attention.as_deref()), ("starter", Some("several_live")));
    }
    let statement = world.app.manual_file(&id_of(&ada)).await.unwrap().statements.remove(0);
    assert_eq!((&statement.account.agreement.id, statement.account.ended_at(world.app.now())), (&later, None));
    assert_eq!(statement.payments[0].payment.refunded, 0, "nothing went back");
    // The operator decides.
    done(world, &ada, &Step::Cancel { now: true }).await;
    assert_eq!(world.stored(&ada).await.needs_attention, None);
}

async fn a_customer_deleted_at_stripe_keeps_what_is_paid_by_invoice(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.checkout_url("starter").await;
    done(world, &ada, &start("professional", Interval::Year, Some("INV-1"))).await;
    let before = world.stored(&ada).await;
    let at_stripe = before.stripe_customer_id.clone().unwrap();
    world.sandbox().delete(&format!("/v1/customers/{at_stripe}")).await;
    world.settled().await;
    world.until("the link is retired", async || world.stored(&ada).await.stripe_customer_id.is_none()).await;
    let after = world.stored(&ada).await;
    assert_eq!(
        (after.status.as_str(), after.paid_until, after.licenses),
        ("active", before.paid_until, before.licenses)
    );
    // And the other way round.
    done(world, &ada, &Step::Cancel { now: true }).await;
    ada.subscribe(world, "enterprise").await;
    let statement = world.app.manual_file(&id_of(&ada)).await.unwrap().statements.remove(0);
    let counterpart = counterpart(world, &ada).await;
    assert!(statement.account.ended_at(world.app.now()).is_some());
    let key = IdempotencyKey::from_stored("test:delete".to_owned());
    world.app.manual.delete_customer(&key, &counterpart).await.unwrap();
    assert_eq!(world.app.sync_customer(&id_of(&ada)).await.unwrap(), Synced::Done { changed: false });
    let stored = world.stored(&ada).await;
    assert_eq!((stored.plan.as_str(), stored.status.as_str()), ("enterprise", "active"));
}

/// The customer's counterpart in the manual book.
async fn counterpart(world: &World, visitor: &Visitor) -> ExternalCustomerId {
    let mut tx = world.app.db.begin().await.unwrap();
    let customer = store::customers::find(&mut tx, &id_of(visitor)).await.unwrap().unwrap();
    tx.rollback().await.unwrap();
    world.app.ensure_external_customer(world.app.manual.as_ref(), &customer).await.unwrap().id
}

async fn the_book_is_kept_in_the_mode_of_the_installation(world: &World) {
    for livemode in [false, true] {
        let app = &world.app;
        assert_eq!(Manual::new(app.db.clone(), app.clock.clone(), app.entropy, livemode).livemode(), livemode);
    }
}

async fn a_crash_between_the_book_and_the_look_is_made_up_for(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let external = counterpart(world, &ada).await;
    assert_eq!(counterpart(world, &ada).await, external, "one counterpart");
    let sale = Sale {
        plan: PlanCode::new("professional"),
        interval: Interval::Month,
        starts_at: world.app.now(),
        payment: Some(payment("INV-1")),
    };
    let sold = world.app.manual.sell(&external, &sale).await.unwrap();
    // Here the process was killed: the book says that it is paid, and ours still shows the trial.
    assert_eq!(ada.subscription().await["status"], "trialing");
    assert_eq!(world.app.sweep_manual().await.unwrap(), 1);
    assert_eq!(ada.subscription().await["status"], "active");
    assert_eq!(newest(&ada).await, (2, "professional".to_owned(), "subscribed".to_owned()));
    assert_eq!(world.app.sweep_manual().await.unwrap(), 0);
    // Where a call changes nothing, nothing is written and there is nothing to look at.
    let (key, running) =
        (IdempotencyKey::from_stored("k".to_owned()), world.app.manual.read_terms(&sold).await.unwrap());
    world.app.manual.resume(&key, &running, false).await.unwrap();
    assert_eq!(world.app.sweep_manual().await.unwrap(), 0);
    // Before the sweep came, a checkout would have looked as well.
    world.app.manual.record_payment(&sold, &payment("INV-2")).await.unwrap();
    world.app.manual.cancel_now(&key, &sold).await.unwrap();
    assert_eq!(world.app.sweep_manual().await.unwrap(), 1);
    assert_eq!(ada.subscription().await["status"], "canceled");
    let again = world.app.manual.sell(&external, &Sale { payment: Some(payment("INV-3")), ..sale }).await.unwrap();
    assert_ne!(again, sold);
    ada.checkout("starter").await.refused(409, "already_subscribed");
    ada.log_in().await.accepted();
    assert_eq!(ada.subscription().await["status"], "active");
}

async fn while_stripe_is_unreachable_invoices_go_on(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let mut eve = world.customer("eve@example.com").await;
    eve.subscribe(world, "starter").await;
    let at_stripe = world.stored(&eve).await.stripe_subscription_id.unwrap();
    world.sandbox().delete(&format!("/v1/subscriptions/{at_stripe}")).await;
    world.settled().await;
    done(world, &eve, &start("professional", Interval::Month, Some("INV-1"))).await;
    world.app.sweep_manual().await.unwrap();
    world.sandbox().faults(json!({ "calls": { "fail": 1000 } })).await;
    done(world, &ada, &start("professional", Interval::Month, Some("INV-1"))).await;
    assert_eq!(newest(&ada).await.0, 2);
    // Who is known at Stripe as well waits for it; the payment is recorded all the same, and once.
    let file = done(world, &eve, &Step::Pay(payment("INV-2"))).await;
    assert!(!file.looked);
    refused(world, &eve, &Step::Pay(payment("INV-2")), "already_recorded").await;
    assert_eq!(newest(&eve).await.0, 3);
    // The sweep finds that it is still so, and leaves her alone for a while.
    assert!(world.app.sweep_manual().await.unwrap() > 0);
    assert_eq!(world.app.sweep_manual().await.unwrap(), 0);
    world.sandbox().clear_faults().await;
    pass(world, world.app.now().plus_seconds(300)).await;
    assert_eq!(newest(&eve).await, (4, "professional".to_owned(), "renewed".to_owned()));
    versions_have_no_gap(world, &eve).await;
}

async fn what_operators_do_is_in_the_audit_log_with_their_reason(world: &World) {
    let ada = world.customer("ada@example.com").await;
    done(world, &ada, &start("professional", Interval::Month, Some("INV-1"))).await;
    done(world, &ada, &Step::Cancel { now: false }).await;
    let mut tx = world.app.db.begin_read().await.unwrap();
    let lines = store::audit::list(&mut tx, &id_of(&ada), 20).await.unwrap();
    tx.rollback().await.unwrap();
    let of = |action: &str| lines.iter().find(|line| line.action == action).expect("a line");
    let started = of("manual_started");
    assert_eq!((started.actor.as_str(), started.reason.as_deref()), ("operator:cli", Some("the invoice was paid")));
    assert!(
        started.detail.contains("INV-1") && started.detail.contains("professional per month"),
        "{}",
        started.detail
    );
    assert_eq!(of("manual_canceled").detail, "at the end of the period");
    let nobody = "cust_00000000000000000000000000000000".parse().unwrap();
    let unknown = world.app.keep_manually(&nobody, &Step::Resume, &by()).await.unwrap_err();
    assert!(matches!(unknown, Error::Refused(Refusal::CustomerUnknown)));
}

both_engines!(
    a_trial_becomes_a_year_by_invoice_without_the_other_provider,
    an_enterprise_deal_needs_no_price_and_no_payment_yet,
    what_is_overdue_shows_by_our_clock_and_the_payment_heals_it,
    a_reference_is_recorded_once,
    money_that_goes_back_takes_its_period_along,
    the_operator_changes_the_plan_now_or_with_the_period,
    a_change_at_once_is_of_the_interval_as_well_and_takes_the_place_of_a_planned_one,
    the_customer_ends_and_resumes_and_asks_the_vendor_for_the_rest,
    from_the_card_to_the_invoice_and_back_it_is_one_customer,
    an_open_payment_page_is_closed_before_a_plan_is_sold_by_invoice,
    who_has_just_paid_by_card_is_sold_nothing_beside_it,
    without_an_answer_nothing_is_sold_and_a_payment_is_recorded,
    an_agreement_that_is_to_end_makes_room_from_its_end_on,
    a_page_that_was_opened_after_the_end_of_an_agreement_stays_open,
    two_live_ones_at_two_providers_are_flagged,
    a_customer_deleted_at_stripe_keeps_what_is_paid_by_invoice,
    the_book_is_kept_in_the_mode_of_the_installation,
    a_crash_between_the_book_and_the_look_is_made_up_for,
    while_stripe_is_unreachable_invoices_go_on,
    what_operators_do_is_in_the_audit_log_with_their_reason,
);
both_engines!(Setup::configured(&[("COUNTERFOIL_DUPLICATE_POLICY", "cancel_and_refund")]);
    no_policy_ends_an_agreement_by_invoice,
);
