use counterfoil_core::{ExternalCustomerId, Timestamp};
use serde_json::{Value, json};

use super::super::notice::read;
use crate::providers::{Notice, WebhookRefusal};

fn notice(event: &Value) -> Notice {
    read(event.to_string().as_bytes()).unwrap()
}

fn about(event_type: &str, object: &Value) -> Notice {
    notice(
        &json!({"id": "evt_1", "object": "event", "type": event_type, "livemode": false, "data": {"object": object}}),
    )
}

#[test]
fn the_envelope_is_read() {
    let read = notice(&json!({
        "id": "evt_1", "object": "event", "type": "customer.subscription.updated", "livemode": true, "account": "acct_1",
        "created": 1_700_000_000, "api_version": "2026-05-27.dahlia", "pending_webhooks": 1, "a_new_field": {"x": 1},
        "data": {"object": {"object": "subscription", "customer": "cus_1", "metadata": {"customer_id": "cust_1", "instance": "inst_1"}}},
    }));
    let expected = Notice {
        event_id: "evt_1".to_owned(),
        event_type: "customer.subscription.updated".to_owned(),
        livemode: true,
        account: Some("acct_1".to_owned()),
        created_at: Some(Timestamp::from_unix_seconds(1_700_000_000)),
        api_version: Some("2026-05-27.dahlia".to_owned()),
        external_customer: Some(ExternalCustomerId::new("cus_1")),
        payment: None,
        customer_id: Some("cust_1".to_owned()),
        instance: Some("inst_1".to_owned()),
        relevant: true,
    };
    assert_eq!(read, expected);
}

#[test]
fn whom_it_is_about_is_found_in_old_and_new_places() {
    let metadata = json!({"customer_id": "cust_1", "instance": "inst_1"});
    let objects = [
        json!({"customer": {"id": "cus_1"}, "metadata": metadata}),
        json!({"customer": "cus_1", "parent": {"subscription_details": {"metadata": metadata}}}),
        json!({"customer": "cus_1", "metadata": {}, "subscription_details": {"metadata": metadata}}),
        json!({"customer": "cus_1", "lines": {"data": [{"metadata": {}}, {"metadata": metadata}]}}),
        json!({"object": "customer", "id": "cus_1", "metadata": metadata}),
    ];
    for object in objects {
        let read = about("invoice.paid", &object);
        assert_eq!(read.external_customer, Some(ExternalCustomerId::new("cus_1")), "{object}");
        assert_eq!(read.customer_id.as_deref(), Some("cust_1"), "{object}");
        assert_eq!(read.instance.as_deref(), Some("inst_1"), "{object}");
    }
    let session = about(
        "checkout.session.completed",
        &json!({"customer": null, "client_reference_id": "cust_2", "metadata": null}),
    );
    assert_eq!(
        (session.external_customer, session.customer_id.as_deref(), session.instance),
        (None, Some("cust_2"), None)
    );
}

#[test]
fn what_names_no_customer_is_found_by_its_payment() {
    let of = |object: Value| about("x", &object).payment.map(|payment| payment.as_str().to_owned());
    let table = [
        (json!({"object": "dispute", "charge": "ch_1", "payment_intent": "pi_1"}), Some("payment_intents/pi_1")),
        (json!({"object": "dispute", "charge": {"id": "ch_1"}, "payment_intent": null}), Some("charges/ch_1")),
        (json!({"object": "refund", "charge": "ch_1"}), Some("charges/ch_1")),
        (json!({"object": "refund", "charge": "ch_1", "customer": "cus_1"}), None),
        (json!({"object": "invoice_payment", "payment": {"payment_intent": "pi_1"}}), Some("payment_intents/pi_1")),
        (json!({"object": "invoice_payment", "payment": null}), None),
        (json!({"object": "charge", "payment_intent": "pi_1", "customer": "cus_1"}), None),
    ];
    for (object, expected) in table {
        assert_eq!(of(object.clone()).as_deref(), expected, "{object}");
    }
}

#[test]
fn a_nul_never_reaches_the_database() {
    let read = about("invoice.paid", &json!({"customer": "cus\u{0}", "metadata": {"customer_id": "a\u{0}b"}}));
    assert_eq!((read.external_customer, read.customer_id), (None, None));
    assert!(matches!(refusal(&json!({"id": "evt\u{0}", "type": "x"}).to_string()), WebhookRefusal::NotAnEvent(_)));
}

#[test]
fn only_some_types_can_change_what_a_customer_may_do() {
    for relevant in [
        "checkout.session.completed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.expired",
        "customer.subscription.created",
        "customer.subscription.a_new_word",
        "customer.deleted",
        "invoice.paid",
        "invoice.payment_failed",
        "invoice_payment.paid",
        "charge.refunded",
        "refund.created",
        "charge.dispute.closed",
    ] {
        assert!(about(relevant, &json!({})).relevant, "{relevant}");
    }
    for other in [
        "customer.updated",
        "customer.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "invoiceitem.created",
        "customer.deleted.x",
        "a.new.type",
    ] {
        assert!(!about(other, &json!({})).relevant, "{other}");
    }
}

#[test]
fn a_thin_event_is_kept_and_does_nothing() {
    let read = notice(&json!({
        "id": "evt_2", "object": "v2.core.event", "type": "v1.customer.subscription.updated", "livemode": false,
        "created": "2026-10-01T12:00:00.000Z", "related_object": {"id": "sub_1", "type": "subscription", "url": "/v1/subscriptions/sub_1"},
    }));
    assert_eq!((read.event_id.as_str(), read.relevant), ("evt_2", false));
    assert_eq!(read.created_at, "2026-10-01T12:00:00Z".parse().ok());
}

fn refusal(body: &str) -> WebhookRefusal {
    read(body.as_bytes()).unwrap_err()
}

#[test]
fn what_has_no_identity_is_not_an_event() {
    for body in [
        "",
        "null",
        "[]",
        "{}",
        "not json",
        r#"{"type":"x"}"#,
        r#"{"id":"","type":"x"}"#,
        r#"{"id":"evt_1"}"#,
        r#"{"id":7,"type":"x"}"#,
        r#"{"id":"ch_1","type":"x","object":"charge"}"#,
    ] {
        assert!(matches!(refusal(body), WebhookRefusal::NotAnEvent(_)), "{body}");
    }
    assert!(matches!(refusal(&"[".repeat(100_000)), WebhookRefusal::NotAnEvent(_)));
}

#[test]
fn an_event_without_its_object_is_still_an_event() {
    for event in [
        json!({"id": "evt_1", "type": "invoice.paid"}),
        json!({"id": "evt_1", "object": "event", "type": "invoice.paid", "data": {"object": "x"}}),
    ] {
        let read = notice(&event);
        assert_eq!((read.customer_id, read.external_customer, read.relevant), (None, None, true));
    }
}
