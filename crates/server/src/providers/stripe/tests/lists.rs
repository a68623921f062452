use counterfoil_core::Timestamp;
use counterfoil_core::facts::ProviderStatus;
use serde_json::{Value, json};

use super::double::{Double, Reply, ok};
use super::{cus, stripe};
use crate::providers::{EventSpan, PaymentProvider};

fn list(data: &[Value], has_more: bool) -> Reply {
    ok(&json!({"object": "list", "data": data, "has_more": has_more}))
}

#[tokio::test]
async fn a_span_of_the_log_is_read_page_by_page() {
    let event = json!({
        "id": "evt_2", "object": "event", "type": "invoice.paid", "created": 1_700_000_500, "livemode": false,
        "data": {"object": {"object": "invoice", "id": "in_1", "customer": "cus_1"}},
    });
    let nameless = json!({"object": "event", "type": "invoice.paid", "id": "evt_1", "data": null});
    let double = Double::playing([list(std::slice::from_ref(&event), true), list(&[nameless], false)]).await;
    let (since, until) = (Timestamp::from_unix_seconds(1_700_000_000), Timestamp::from_unix_seconds(1_700_003_600));
    let provider = stripe(&double);
    let first = provider.list_events(&EventSpan { since, until, after: None }).await.unwrap();
    assert_eq!(first.next.as_deref(), Some("evt_2"));
    assert_eq!(first.items[0].notice.external_customer, Some(cus("cus_1")));
    assert_eq!(serde_json::from_slice::<Value>(&first.items[0].body).unwrap(), event);
    let last = provider.list_events(&EventSpan { since, until, after: Some("evt_2") }).await.unwrap();
    assert_eq!((last.items.len(), last.next), (1, None));
    let lines = double.lines();
    let asked = "GET /v1/events?created[gte]=1700000000&created[lt]=1700003600&types[]=checkout.session.completed&";
    assert!(lines.iter().all(|line| line.starts_with(asked)), "{lines:?}");
    assert_eq!(lines[0].matches("types[]=").count(), 20, "more than twenty are refused");
    assert!(lines[1].ends_with("&limit=100&starting_after=evt_2"), "{lines:?}");
}

#[tokio::test]
async fn a_list_does_not_tell_how_far_anything_is_paid() {
    let trial = json!({"id": "sub_1", "status": "trialing", "trial_end": 1_790_000_000, "latest_invoice": null});
    let double = Double::playing([list(&[trial], false)]).await;
    let listed = stripe(&double).list_subscriptions(None).await.unwrap().items.remove(0).facts;
    assert_eq!((&listed.status, listed.paid_until), (&ProviderStatus::Trialing, None));
    assert_eq!(listed.trial_ends_at, Some(Timestamp::from_unix_seconds(1_790_000_000)));
}

#[tokio::test]
async fn all_subscriptions_of_the_account_are_listed_whoevers_they_are() {
    let ours = json!({
        "id": "sub_2", "status": "canceled", "customer": {"id": "cus_1"}, "latest_invoice": "in_1",
        "metadata": {"customer_id": "cust_1", "instance": "inst_1"},
    });
    let theirs = json!({"id": "sub_1", "status": "active", "customer": "cus_2", "metadata": {}});
    let double = Double::playing([list(&[ours], true), list(&[theirs], false)]).await;
    let provider = stripe(&double);
    let first = provider.list_subscriptions(None).await.unwrap();
    assert_eq!(first.items[0].external_customer, Some(cus("cus_1")));
    assert_eq!(first.items[0].customer_id.as_deref(), Some("cust_1"));
    assert_eq!(first.items[0].instance.as_deref(), Some("inst_1"));
    assert_eq!((&first.items[0].facts.status, first.items[0].facts.paid_until), (&ProviderStatus::Canceled, None));
    let last = provider.list_subscriptions(first.next.as_deref()).await.unwrap();
    assert_eq!((last.items[0].customer_id.as_deref(), last.next), (None, None));
    assert_eq!(
        double.lines(),
        [
            "GET /v1/subscriptions?status=all&limit=100",
            "GET /v1/subscriptions?status=all&limit=100&starting_after=sub_2"
        ]
    );
}

/// Stripe's order is newest first, and the cursor is an id: what is made between two pages comes before the first of them, moves
/// nothing past us and repeats nothing.
#[tokio::test]
async fn a_list_of_hundreds_that_grows_meanwhile_misses_nothing_and_repeats_nothing() {
    let customer = |number: usize| json!({"id": format!("cus_{number}"), "object": "customer", "created": number});
    let page = |newest: usize| -> Vec<Value> { (0..100).map(|step| customer(newest - step)).collect() };
    // Between the first and the second page `cus_250` was made; the cursor goes on behind `cus_150`.
    let last: Vec<Value> = (1..=49).rev().map(customer).collect();
    let double = Double::playing([list(&page(249), true), list(&page(149), true), list(&last, false)]).await;
    let found = stripe(&double).find_customers("ada@example.com").await.unwrap();
    let mut ids: Vec<String> = found.iter().map(|each| each.id.as_str().to_owned()).collect();
    assert_eq!(ids.len(), 249);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 249, "none is there twice");
    let lines = double.lines();
    assert!(lines[1].ends_with("starting_after=cus_150") && lines[2].ends_with("starting_after=cus_50"), "{lines:?}");
}
