use counterfoil_core::facts::{Money, ProviderStatus, SessionStatus};
use counterfoil_core::{AttemptId, ExternalSessionId, Timestamp};
use serde_json::{Value, json};

use super::double::{Double, Reply, answer, ok, stripe_error};
use super::{cus, key, stripe};
use crate::providers::{PaymentProvider, PaymentRef, ProviderError};

const OLD_END: i64 = 1_700_000_000;
const NEW_END: i64 = 1_702_600_000;

fn list(data: &[Value], has_more: bool) -> Reply {
    ok(&json!({"object": "list", "data": data, "has_more": has_more}))
}

fn subscription(id: &str, status: &str, latest_invoice: &Value) -> Value {
    json!({
        "id": id, "object": "subscription", "status": status, "created": 1_690_000_000, "latest_invoice": latest_invoice,
        "items": {"object": "list", "data": [{"id": "si_1", "price": {"id": "price_1"}, "current_period_end": NEW_END}]},
    })
}

fn invoice(status: &str, reason: &str, subscription: &str, end: i64) -> Value {
    json!({
        "id": "in_1", "status": status, "billing_reason": reason, "amount_due": 1900,
        "lines": {"data": [{"amount": 1900, "period": {"end": end}, "parent": {"subscription_item_details": {"subscription": subscription}}}]},
    })
}

fn attempt(session: &str) -> (AttemptId, ExternalSessionId) {
    (AttemptId::from_random([1; 16]), ExternalSessionId::new(session))
}

/// Sessions come first: a session that is complete has its subscription in a list that is read afterwards.
#[tokio::test]
async fn the_given_sessions_and_then_all_subscriptions_are_looked_at() {
    let paid = invoice("paid", "subscription_create", "sub_2", NEW_END);
    let double = Double::playing([
        ok(&json!({"id": "cs_1", "status": "complete"})),
        stripe_error(404, "invalid_request_error", "resource_missing", "session", "No such checkout.session: cs_2"),
        list(&[subscription("sub_2", "active", &paid)], true),
        list(&[subscription("sub_1", "canceled", &Value::Null)], false),
    ])
    .await;
    let facts = stripe(&double).fetch_facts(&cus("cus_1"), &[attempt("cs_1"), attempt("cs_2")]).await.unwrap();
    assert_eq!(
        double.lines(),
        [
            "GET /v1/checkout/sessions/cs_1",
            "GET /v1/checkout/sessions/cs_2",
            "GET /v1/subscriptions?customer=cus_1&status=all&expand[]=data.latest_invoice.payments&limit=100",
            "GET /v1/subscriptions?customer=cus_1&status=all&expand[]=data.latest_invoice.payments&limit=100&starting_after=sub_2",
        ]
    );
    assert_eq!(facts.customer, Some(cus("cus_1")));
    assert!(!facts.customer_deleted);
    assert_eq!(facts.subscriptions.len(), 2);
    assert_eq!(facts.subscriptions[0].paid_until, Some(Timestamp::from_unix_seconds(NEW_END)));
    assert_eq!(facts.subscriptions[1].status, ProviderStatus::Canceled);
    let states: Vec<SessionStatus> = facts.sessions.iter().map(|session| session.status).collect();
    assert_eq!(states, [SessionStatus::Complete, SessionStatus::Expired]);
}

#[tokio::test]
async fn a_renewal_that_is_not_paid_yet_keeps_the_old_end() {
    let draft = invoice("draft", "subscription_cycle", "sub_1", NEW_END);
    let earlier = invoice("paid", "subscription_create", "sub_1", OLD_END);
    let double =
        Double::playing([list(&[subscription("sub_1", "active", &draft)], false), list(&[earlier], false)]).await;
    let facts = stripe(&double).fetch_facts(&cus("cus_1"), &[]).await.unwrap();
    assert_eq!(facts.subscriptions[0].period_ends_at, Some(Timestamp::from_unix_seconds(NEW_END)));
    assert_eq!(facts.subscriptions[0].paid_until, Some(Timestamp::from_unix_seconds(OLD_END)));
    assert_eq!(double.lines()[1], "GET /v1/invoices?subscription=sub_1&expand[]=data.payments&limit=20");
    double.played_out(2);
}

#[tokio::test]
async fn a_first_payment_that_never_came_asks_no_further() {
    let open = invoice("open", "subscription_create", "sub_1", NEW_END);
    let double = Double::playing([list(&[subscription("sub_1", "incomplete", &open)], false)]).await;
    let facts = stripe(&double).fetch_facts(&cus("cus_1"), &[]).await.unwrap();
    assert_eq!(facts.subscriptions[0].paid_until, None);
    double.played_out(1);
}

#[tokio::test]
async fn a_deleted_or_unknown_customer_is_a_fact() {
    let gone = |status| {
        stripe_error(status, "invalid_request_error", "resource_missing", "customer", "No such customer: 'cus_1'")
    };
    let stub = ok(&json!({"id": "cus_1", "object": "customer", "deleted": true}));
    let scripts = [
        vec![list(&[subscription("sub_1", "canceled", &Value::Null)], false), stub.clone()],
        vec![list(&[], false), gone(404)],
        vec![gone(400), stub],
        vec![gone(404), gone(404)],
    ];
    for script in scripts {
        let double = Double::playing(script).await;
        let facts = stripe(&double).fetch_facts(&cus("cus_1"), &[]).await.unwrap();
        assert!(facts.customer_deleted);
        double.played_out(2);
    }
}

#[tokio::test]
async fn a_customer_without_subscriptions_is_there() {
    let double = Double::playing([list(&[], false), ok(&json!({"id": "cus_1", "object": "customer"}))]).await;
    let facts = stripe(&double).fetch_facts(&cus("cus_1"), &[]).await.unwrap();
    assert!(!facts.customer_deleted && facts.subscriptions.is_empty());
}

#[tokio::test]
async fn a_look_that_fails_half_way_is_no_look() {
    let gone = stripe_error(404, "invalid_request_error", "resource_missing", "customer", "No such customer: 'cus_1'");
    let draft = invoice("draft", "subscription_cycle", "sub_1", NEW_END);
    let html = answer(404, "<html>");
    let scripts = [
        vec![html.clone()],
        vec![list(&[], false), html.clone()],
        vec![list(&[], false), ok(&json!({"object": "customer"}))],
        vec![gone, ok(&json!({"id": "cus_1", "object": "customer"}))],
        vec![list(&[json!({"object": "subscription"})], false)],
        vec![list(&[subscription("sub_1", "active", &draft)], false), html],
    ];
    for script in scripts {
        let double = Double::playing(script.clone()).await;
        let error = stripe(&double).fetch_facts(&cus("cus_1"), &[]).await.unwrap_err();
        assert!(matches!(error, ProviderError::Unavailable { .. }), "{error} {script:?}");
    }
}

#[tokio::test]
async fn a_session_that_cannot_be_read_is_no_look() {
    let elsewhere = "Unrecognized request URL (GET: /x/v1/checkout/sessions/cs_1)";
    let double = Double::playing([stripe_error(404, "invalid_request_error", "", "", elsewhere)]).await;
    let error = stripe(&double).fetch_facts(&cus("cus_1"), &[attempt("cs_1")]).await.unwrap_err();
    assert!(matches!(error, ProviderError::Missing { .. }), "{error}");
    double.played_out(1);
}

#[tokio::test]
async fn what_a_schedule_has_planned_is_seen_while_the_subscription_runs() {
    let with = |status: &str, field: &str, value: i64| {
        let open = invoice("open", "subscription_create", "sub_1", NEW_END);
        let mut scheduled = subscription("sub_1", status, &open);
        scheduled["schedule"] = "sub_sched_1".into();
        scheduled[field] = value.into();
        list(&[scheduled], false)
    };
    let schedule = |end_behavior: &str, price: &str| {
        let phase = |start: i64, end: i64, price: &str| json!({"start_date": start, "end_date": end, "items": [{"price": price}]});
        ok(&json!({
            "id": "sub_sched_1", "end_behavior": end_behavior,
            "current_phase": {"start_date": OLD_END, "end_date": NEW_END},
            "phases": [phase(OLD_END, NEW_END, "price_1"), phase(NEW_END, NEW_END + 100, price)],
        }))
    };
    let seen = async |script: Vec<Reply>| {
        let count = script.len();
        let double = Double::playing(script).await;
        let facts = stripe(&double).fetch_facts(&cus("cus_1"), &[]).await.unwrap();
        double.played_out(count);
        let planned = facts.planned_prices.first().map(|planned| planned.price.as_str().to_owned());
        (facts.subscriptions[0].cancel_at.map(Timestamp::as_unix_seconds), planned)
    };
    let another = Some("price_2".to_owned());
    assert_eq!(seen(vec![with("active", "x", 0), schedule("release", "price_2")]).await, (None, another.clone()));
    assert_eq!(
        seen(vec![with("active", "x", 0), schedule("release", "price_1")]).await,
        (None, None),
        "the same price"
    );
    let ends = seen(vec![with("active", "x", 0), schedule("cancel", "price_2")]).await;
    assert_eq!(ends, (Some(NEW_END + 100), another.clone()));
    let sooner = seen(vec![with("active", "cancel_at", OLD_END), schedule("cancel", "price_2")]).await;
    assert_eq!(sooner, (Some(OLD_END), another), "the subscription's own date counts first");
    // What is over has nothing before it, and its schedule is not asked for.
    let customer = ok(&json!({"id": "cus_1", "object": "customer"}));
    assert_eq!(seen(vec![with("canceled", "x", 0), customer]).await, (None, None));
}

/// An invoice of a renewal, paid with this payment.
fn paid_with(payment: &str, end: i64) -> Value {
    let mut paid = invoice("paid", "subscription_cycle", "sub_1", end);
    paid["payments"] =
        json!({"data": [{"status": "paid", "payment": {"type": "payment_intent", "payment_intent": payment}}]});
    paid
}

/// A payment whose charge has these fields.
fn payment(charge: Value) -> Reply {
    let mut latest_charge =
        json!({"id": "ch_1", "amount": 1900, "amount_refunded": 0, "refunded": false, "disputed": false});
    latest_charge.as_object_mut().unwrap().extend(charge.as_object().unwrap().clone());
    ok(&json!({"id": "pi_1", "customer": "cus_1", "latest_charge": latest_charge}))
}

async fn money_after(script: Vec<Reply>) -> (Option<i64>, Money, Vec<String>) {
    let listed = list(&[subscription("sub_1", "active", &paid_with("pi_new", NEW_END))], false);
    let count = script.len() + 1;
    let double = Double::playing(std::iter::once(listed).chain(script)).await;
    let facts = stripe(&double).fetch_facts(&cus("cus_1"), &[]).await.unwrap();
    double.played_out(count);
    let one = &facts.subscriptions[0];
    (one.paid_until.map(Timestamp::as_unix_seconds), one.money, double.lines())
}

#[tokio::test]
async fn money_that_stayed_costs_one_call() {
    let (until, money, lines) = money_after(vec![payment(json!({}))]).await;
    assert_eq!((until, money), (Some(NEW_END), Money::Kept));
    assert_eq!(lines[1], "GET /v1/payment_intents/pi_new?expand[]=latest_charge");
    let (until, money, _) = money_after(vec![payment(json!({"amount_refunded": 100}))]).await;
    assert_eq!((until, money), (Some(NEW_END), Money::PartlyRefunded));
}

#[tokio::test]
async fn a_full_refund_falls_back_to_the_period_before() {
    let refunded = || payment(json!({"amount_refunded": 1900, "refunded": true}));
    let both = || list(&[paid_with("pi_new", NEW_END), paid_with("pi_old", OLD_END)], false);
    let (until, money, lines) = money_after(vec![refunded(), both(), refunded(), payment(json!({}))]).await;
    assert_eq!((until, money), (Some(OLD_END), Money::Refunded));
    assert_eq!(lines[2], "GET /v1/invoices?subscription=sub_1&expand[]=data.payments&limit=20");
    let (until, money, _) = money_after(vec![refunded(), both(), refunded(), refunded()]).await;
    assert_eq!((until, money), (None, Money::Refunded));
    let surcharge = list(&[paid_with("pi_new", NEW_END), paid_with("pi_old", NEW_END)], false);
    let (until, money, _) = money_after(vec![refunded(), surcharge, refunded(), payment(json!({}))]).await;
    assert_eq!((until, money), (Some(NEW_END), Money::PartlyRefunded));
}

/// A line of so much for this subscription.
fn line(amount: i64, end: i64) -> Value {
    json!({"amount": amount, "period": {"end": end}, "parent": {"subscription_item_details": {"subscription": "sub_1"}}})
}

/// A renewal after five changes, as Stripe shows it: ten lines of the changes, and the period itself is not among them.
fn long_invoice() -> Value {
    let mut long = invoice("paid", "subscription_cycle", "sub_1", NEW_END);
    let changes: Vec<Value> = (0..10).map(|n| line(if n % 2 == 0 { -500 } else { 700 }, OLD_END)).collect();
    long["lines"] = json!({"object": "list", "data": changes, "has_more": true, "url": "/v1/invoices/in_1/lines"});
    long
}

#[tokio::test]
async fn the_lines_that_an_invoice_does_not_show_are_asked_for() {
    let more = || {
        let mut shown = long_invoice()["lines"]["data"].as_array().unwrap().clone();
        shown.iter_mut().enumerate().for_each(|(n, line)| line["id"] = format!("il_{n}").into());
        [list(&shown, true), list(&[line(1900, NEW_END)], false)]
    };
    let listed = |latest: &Value| list(&[subscription("sub_1", "active", latest)], false);
    let [first, second] = more();
    let double = Double::playing([listed(&long_invoice()), first, second]).await;
    let facts = stripe(&double).fetch_facts(&cus("cus_1"), &[]).await.unwrap();
    assert_eq!(facts.subscriptions[0].paid_until, Some(Timestamp::from_unix_seconds(NEW_END)));
    let lines = double.lines();
    assert_eq!(lines[1], "GET /v1/invoices/in_1/lines?limit=100");
    assert_eq!(lines[2], "GET /v1/invoices/in_1/lines?limit=100&starting_after=il_9");
    double.played_out(3);

    // An earlier invoice, whose ten lines are things that were sold beside the subscription.
    let mut earlier = long_invoice();
    let once =
        json!({"amount": 900, "period": {"end": NEW_END}, "parent": {"invoice_item_details": {"proration": false}}});
    earlier["lines"]["data"] = vec![once; 10].into();
    let open = invoice("open", "subscription_cycle", "sub_1", NEW_END);
    let all = list(&[line(1900, OLD_END)], false);
    let double = Double::playing([listed(&open), list(&[earlier], false), all]).await;
    let facts = stripe(&double).fetch_facts(&cus("cus_1"), &[]).await.unwrap();
    assert_eq!(facts.subscriptions[0].paid_until, Some(Timestamp::from_unix_seconds(OLD_END)));
    double.played_out(3);
}

#[tokio::test]
async fn lines_that_give_no_right_are_not_asked_for_and_those_that_cannot_be_read_are_no_look() {
    let mut unpaid = long_invoice();
    unpaid["status"] = "open".into();
    unpaid["billing_reason"] = "subscription_create".into();
    let double = Double::playing([list(&[subscription("sub_1", "incomplete", &unpaid)], false)]).await;
    assert_eq!(stripe(&double).fetch_facts(&cus("cus_1"), &[]).await.unwrap().subscriptions[0].paid_until, None);
    double.played_out(1);

    let listed = list(&[subscription("sub_1", "active", &long_invoice())], false);
    let double = Double::playing([listed, answer(404, "<html>")]).await;
    let error = stripe(&double).fetch_facts(&cus("cus_1"), &[]).await.unwrap_err();
    assert!(matches!(error, ProviderError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn a_disputed_charge_is_asked_about() {
    let disputed = || payment(json!({"disputed": true}));
    let disputes = |status: &str| list(&[json!({"id": "dp_1", "status": status})], false);
    let (until, money, lines) = money_after(vec![disputed(), disputes("under_review")]).await;
    assert_eq!((until, money), (Some(NEW_END), Money::Disputed));
    assert_eq!(lines[2], "GET /v1/disputes?charge=ch_1&limit=100");
    let (until, money, _) = money_after(vec![disputed(), disputes("won")]).await;
    assert_eq!((until, money), (Some(NEW_END), Money::Kept));
    let only = || list(&[paid_with("pi_new", NEW_END)], false);
    let (until, money, _) = money_after(vec![disputed(), disputes("lost"), only(), disputed(), disputes("lost")]).await;
    assert_eq!((until, money), (None, Money::DisputeLost));
}

#[tokio::test]
async fn whose_payment_it_is_can_be_asked() {
    let double =
        Double::playing([payment(json!({})), ok(&json!({"id": "ch_1", "customer": null})), answer(404, "{}")]).await;
    let stripe = stripe(&double);
    for (reference, expected) in
        [("payment_intents/pi_1", Some(cus("cus_1"))), ("charges/ch_1", None), ("charges/ch_2", None)]
    {
        let found = stripe.find_customer_of_payment(&PaymentRef::new(reference)).await;
        assert_eq!(found.ok().flatten(), expected, "{reference}");
    }
    assert_eq!(double.lines()[0], "GET /v1/payment_intents/pi_1");
}

#[tokio::test]
async fn a_payment_is_given_back_by_its_name_and_what_is_back_already_is_as_good() {
    let give_back = async |reference: &str, answer: Reply| {
        let double = Double::playing([answer]).await;
        let given = stripe(&double).give_back(&key(), &PaymentRef::new(reference)).await;
        double.played_out(1);
        (double.seen().remove(0).body, given)
    };
    let refused = |code: &str| stripe_error(400, "invalid_request_error", code, "", "It cannot be refunded.");
    for (reference, body) in [
        ("payment_intents/pi_1", "payment_intent=pi_1&reason=duplicate"),
        ("charges/ch_1", "charge=ch_1&reason=duplicate"),
        ("pi_1", "payment_intent=pi_1&reason=duplicate"),
    ] {
        let (sent, given) = give_back(reference, ok(&json!({"id": "re_1"}))).await;
        assert_eq!((sent.as_str(), given.is_ok()), (body, true), "{reference}");
    }
    assert!(give_back("pi_1", refused("charge_already_refunded")).await.1.is_ok());
    let (_, disputed) = give_back("pi_1", refused("charge_disputed")).await;
    assert!(matches!(disputed, Err(ProviderError::Rejected { .. })), "{disputed:?}");
}
