use counterfoil_core::facts::{ProviderStatus, SubscriptionFacts};
use counterfoil_core::{PriceId, Timestamp};
use serde_json::{Value, json};

use super::super::subscriptions::{Paid, paid_periods, read};
use crate::providers::PaymentRef;

const SOON: i64 = 1_700_000_000;
const LATER: i64 = 1_702_600_000;
const FAR: i64 = 1_730_000_000;

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp::from_unix_seconds(seconds))
}

fn new_shape(status: &str, latest_invoice: &Value) -> Value {
    json!({
        "id": "sub_1", "status": status, "created": 1_690_000_000, "latest_invoice": latest_invoice, "cancel_at": null, "trial_end": null,
        "items": {"data": [
            {"price": {"id": "price_a"}, "current_period_end": SOON},
            {"price": "price_b", "current_period_end": LATER},
        ]},
    })
}

fn invoice(status: &str, lines: &[Value]) -> Value {
    json!({"status": status, "billing_reason": "subscription_cycle", "amount_due": 0, "lines": {"data": lines}})
}

fn line(amount: i64, end: i64) -> Value {
    json!({"amount": amount, "period": {"end": end}, "parent": {"type": "subscription_item_details", "subscription_item_details": {"subscription": "sub_1"}}})
}

fn proration(amount: i64, end: i64) -> Value {
    json!({"amount": amount, "period": {"end": end}, "parent": {"type": "invoice_item_details", "invoice_item_details": {"subscription": "sub_1", "proration": true}}})
}

fn facts(object: &Value) -> SubscriptionFacts {
    read(object).unwrap().0
}

fn paid(object: &Value) -> Paid {
    read(object).unwrap().1
}

#[test]
fn new_and_old_shapes_read_the_same() {
    let new = facts(&new_shape("active", &invoice("paid", &[line(1900, LATER)])));
    assert_eq!(new.prices, [PriceId::new("price_a"), PriceId::new("price_b")]);
    assert_eq!((new.period_ends_at, new.paid_until), (at(LATER), at(LATER)));
    assert_eq!((new.cancel_at, new.ended_at, new.trial_ends_at), (None, None, None));

    let old = facts(&json!({
        "id": "sub_1", "status": "active", "start": 1, "start_date": 1_690_000_000, "current_period_end": LATER, "plan": {"id": "price_a"},
        "items": {"data": []},
        "latest_invoice": {"paid": true, "lines": {"data": [
            {"amount": 1900, "type": "subscription", "subscription": "sub_1", "period": {"end": LATER}},
        ]}},
    }));
    assert_eq!(old.prices, [PriceId::new("price_a")]);
    assert_eq!((old.period_ends_at, old.paid_until), (at(LATER), at(LATER)));
    assert_eq!(old.created_at, new.created_at);
}

#[test]
fn the_paid_end_is_read_from_the_lines_that_charge_the_subscription() {
    let table = [
        (vec![line(1900, SOON), line(0, LATER)], at(LATER), "the latest line counts, and zero is paid"),
        (vec![line(1900, SOON), line(-5000, FAR)], at(SOON), "a credit for a longer period is not paid time"),
        (vec![proration(-9000, FAR), proration(500, SOON)], at(SOON), "nor is one as a proration"),
        (
            vec![
                json!({"amount": 900, "period": {"end": FAR}, "parent": {"invoice_item_details": {"subscription": "sub_1", "proration": false}}}),
                line(1, SOON),
            ],
            at(SOON),
            "nor something sold once",
        ),
        (
            vec![
                json!({"amount": 900, "period": {"end": FAR}, "parent": {"subscription_item_details": {"subscription": "sub_2"}}}),
                line(1, SOON),
            ],
            at(SOON),
            "nor another subscription",
        ),
        (
            vec![
                json!({"amount": 0, "period": {"end": FAR}, "parent": {"invoice_item_details": {"subscription": "sub_1", "proration": true, "proration_details": {"credited_items": {"invoice": "in_0"}}}}}),
                line(1900, SOON),
            ],
            at(SOON),
            "a credit of zero is still a credit",
        ),
        (
            vec![
                json!({"amount": 1, "period": {"end": SOON}, "subscription": {"id": "sub_1"}, "type": "subscription"}),
            ],
            at(SOON),
            "old line, expanded reference",
        ),
        (
            vec![
                json!({"amount": 1, "period": {"end": SOON}, "subscription": "sub_1", "proration": true, "type": "invoiceitem"}),
            ],
            at(SOON),
            "old proration",
        ),
        (
            vec![
                json!({"amount": 1, "period": {"end": FAR}, "subscription": "sub_1", "proration": false, "type": "invoiceitem"}),
            ],
            at(LATER),
            "old one-off",
        ),
        (vec![line(1900, 0)], at(LATER), "no end of the line: the period's end"),
        (vec![], at(LATER), "no lines: the period's end"),
    ];
    for (lines, expected, why) in table {
        assert_eq!(facts(&new_shape("active", &invoice("paid", &lines))).paid_until, expected, "{why}");
    }
}

#[test]
fn an_unpaid_invoice_gives_nothing_by_itself() {
    for status in ["draft", "open", "void", "uncollectible", "a_new_word"] {
        let object = new_shape("active", &invoice(status, &[line(1900, LATER)]));
        assert_eq!(paid(&object), Paid::AskInvoices, "{status}");
        assert_eq!(facts(&object).paid_until, None);
    }
    // An old flag beside a new status does not overrule it.
    let mut object = new_shape("active", &invoice("open", &[line(1900, LATER)]));
    object["latest_invoice"]["paid"] = true.into();
    assert_eq!(paid(&object), Paid::AskInvoices);
    assert_eq!(paid(&new_shape("active", &json!("in_not_expanded"))), Paid::AskInvoices);
    object["latest_invoice"]["billing_reason"] = "subscription_create".into();
    assert_eq!(paid(&object), Paid::Known(None));
    assert_eq!(paid(&new_shape("active", &Value::Null)), Paid::Known(None));
}

#[test]
fn the_payments_of_what_is_still_running_are_looked_at() {
    let mut paid_by = invoice("paid", &[line(1900, LATER)]);
    paid_by["payments"] = json!({"data": [{"status": "paid", "payment": {"payment_intent": "pi_1"}}]});
    let payments = vec![PaymentRef::new("payment_intents/pi_1")];
    assert_eq!(paid(&new_shape("active", &paid_by)), Paid::If { until: at(LATER), payments });
    for over in ["canceled", "incomplete_expired"] {
        assert_eq!(paid(&new_shape(over, &paid_by)), Paid::Known(at(LATER)), "{over}");
    }
    paid_by["payments"] = json!({"data": []});
    assert_eq!(paid(&new_shape("active", &paid_by)), Paid::Known(at(LATER)), "nothing had to be paid");
}

#[test]
fn a_trial_that_stripe_counts_is_given() {
    let trial = |latest_invoice: &Value| {
        let mut object = new_shape("trialing", latest_invoice);
        object["trial_end"] = FAR.into();
        object
    };
    for latest_invoice in [Value::Null, invoice("paid", &[line(0, SOON)]), invoice("draft", &[line(0, SOON)])] {
        assert_eq!(facts(&trial(&latest_invoice)).paid_until, at(FAR), "{latest_invoice}");
    }
    assert_eq!(facts(&trial(&Value::Null)).trial_ends_at, at(FAR));
    let mut fee = trial(&invoice("open", &[line(900, SOON)]));
    fee["latest_invoice"]["amount_due"] = 900.into();
    assert_eq!(paid(&fee), Paid::AskInvoices);
}

#[test]
fn the_newest_paid_invoice_that_charges_decides() {
    let until = |invoices: &[Value]| paid_periods(invoices, "sub_1").next().map(|(end, _)| end);
    assert_eq!(until(&[]), None);
    assert_eq!(until(&[invoice("paid", &[line(1900, SOON)]), invoice("paid", &[line(19000, FAR)])]), at(SOON));
    assert_eq!(until(&[invoice("paid", &[proration(-10, FAR)]), invoice("paid", &[line(1900, SOON)])]), at(SOON));
    assert_eq!(until(&[invoice("open", &[line(1900, FAR)])]), None, "a filter that was not applied is applied here");
}

#[test]
fn a_change_counts_where_the_period_that_it_changes_was_paid() {
    let of = |status: &str, reason: &str, end: i64| {
        let lines = [proration(-1900, end), proration(4900, end)];
        let mut invoice = invoice(status, if reason == "subscription_update" { &lines } else { &lines[1..] });
        invoice["billing_reason"] = reason.into();
        invoice
    };
    let until = |invoices: &[Value]| paid_periods(invoices, "sub_1").next().map(|(end, _)| end);
    let (change, before) = (of("paid", "subscription_update", FAR), of("paid", "subscription_cycle", SOON));
    assert_eq!(paid(&new_shape("active", &change)), Paid::AskInvoices, "it does not tell by itself");
    assert_eq!(paid(&new_shape("canceled", &change)), Paid::Known(at(FAR)), "and nothing hangs on what is over");
    for unpaid in ["draft", "open", "void", "uncollectible"] {
        let renewal = of(unpaid, "subscription_cycle", LATER);
        assert_eq!(until(&[change.clone(), renewal.clone(), before.clone()]), at(SOON), "{unpaid}");
        assert_eq!(until(&[change.clone(), change.clone(), renewal, before.clone()]), at(SOON), "{unpaid}, twice");
    }
    assert_eq!(until(&[change.clone(), of("paid", "subscription_cycle", LATER), before.clone()]), at(FAR));
    assert_eq!(until(&[change.clone(), of("paid", "subscription_create", LATER)]), at(FAR));
    let again = of("paid", "subscription_update", FAR + 1);
    assert_eq!(
        until(&[again, change.clone(), of("paid", "subscription_cycle", LATER)]),
        at(FAR + 1),
        "and so the next"
    );
    assert_eq!(until(&[change.clone(), of("open", "subscription_update", FAR), before.clone()]), at(SOON));
    // A change that was given up, and what was sold beside, say nothing.
    for other in [
        of("void", "subscription_update", FAR),
        of("uncollectible", "subscription_update", FAR),
        of("draft", "manual", FAR),
    ] {
        assert_eq!(until(&[change.clone(), other, before.clone()]), at(FAR));
    }
    assert_eq!(until(&[change]), at(FAR), "further back than we look");
    // Another interval: the whole of the new period, and credit for the rest of the old one.
    let mut interval = of("paid", "subscription_update", FAR);
    interval["lines"]["data"] = json!([proration(-49_000, LATER), line(1900, FAR)]);
    assert_eq!(until(&[interval, of("draft", "subscription_cycle", LATER), before.clone()]), at(SOON));
    // What was paused goes on: a period is charged by itself, whatever became of the one before.
    let mut resumed = of("paid", "subscription_update", FAR);
    resumed["lines"]["data"] = json!([line(1900, FAR)]);
    assert_eq!(paid(&new_shape("active", &resumed)), Paid::Known(at(FAR)));
    assert_eq!(until(&[resumed, of("void", "subscription_cycle", LATER), before]), at(FAR));
}

#[test]
fn ends_are_read_in_all_their_forms() {
    let with = |changes: Value| {
        let mut object = new_shape("active", &Value::Null);
        for (key, value) in changes.as_object().unwrap() {
            object[key] = value.clone();
        }
        facts(&object)
    };
    assert_eq!(with(json!({"cancel_at": FAR})).cancel_at, at(FAR), "the portal on flexible billing");
    assert_eq!(with(json!({"cancel_at_period_end": true})).cancel_at, at(LATER));
    assert_eq!(with(json!({"cancel_at_period_end": true, "cancel_at": SOON})).cancel_at, at(SOON));
    assert_eq!(with(json!({"cancel_at_period_end": false, "cancel_at": 0})).cancel_at, None);
    assert_eq!(with(json!({"status": "canceled", "canceled_at": SOON})).ended_at, at(SOON));
    assert_eq!(with(json!({"status": "canceled", "canceled_at": SOON, "ended_at": LATER})).ended_at, at(LATER));
    assert_eq!(with(json!({"canceled_at": SOON})).ended_at, None, "a request to cancel is not an end");
    assert_eq!(with(json!({"items": {"data": [{"current_period_end": 0}]}})).period_ends_at, None, "never 1970");
    assert_eq!(
        with(json!({"items": {"data": [{"current_period_end": null}]}, "current_period_end": SOON})).period_ends_at,
        at(SOON)
    );
}

#[test]
fn all_words_and_new_ones_are_read() {
    for (word, status) in [
        ("incomplete", ProviderStatus::Incomplete),
        ("incomplete_expired", ProviderStatus::IncompleteExpired),
        ("trialing", ProviderStatus::Trialing),
        ("active", ProviderStatus::Active),
        ("past_due", ProviderStatus::PastDue),
        ("unpaid", ProviderStatus::Unpaid),
        ("paused", ProviderStatus::Paused),
        ("canceled", ProviderStatus::Canceled),
        ("hibernating", ProviderStatus::Unknown("hibernating".to_owned())),
    ] {
        assert_eq!(facts(&new_shape(word, &Value::Null)).status, status);
    }
    assert_eq!(facts(&json!({"id": "sub_1"})).status, ProviderStatus::Unknown("missing".to_owned()));
    assert!(read(&json!({"status": "active"})).is_none());
}
