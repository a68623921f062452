//! Signed webhooks: queued in the commit of the change, sent at once, tried again until they are answered with 2xx.
//!
//! Invariant: an event that was committed is delivered at least once, or given up after three days of the sandbox's
//! clock; a restart in between changes nothing.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::DAY;
use crate::context::{Cause, Context};
use crate::json;
use crate::sandbox::Inner;
use crate::store::{Kind, Store};

/// The waits between the tries of a delivery, the last one again and again. Stripe's are longer, and nobody waits for them in a test.
const RETRY_SECONDS: &[i64] = &[1, 2, 5, 10, 30, 60, 300, 1_800, 3_600];
/// As long as Stripe tries in live mode.
const GIVE_UP_SECONDS: i64 = 3 * DAY;
/// Deliveries under way at once.
const AT_ONCE_MAX: usize = 32;
/// How often the clock is looked at where nobody wakes the loop.
const POLL: Duration = Duration::from_millis(500);
/// How long events are gathered before they are sent in reverse, when that fault is on.
const REORDER_PAUSE: Duration = Duration::from_millis(300);
/// A receiver that answers later counts as one that did not answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Stores the event and a delivery for each endpoint that wants it.
pub(crate) fn enqueue(cx: &mut Context, id: &str, event: Value) {
    let kind = json::text(&event, "type").to_owned();
    cx.store.put(Kind::Event, id, event);
    let endpoints: Vec<String> = cx
        .store
        .oldest_first(Kind::Endpoint)
        .filter(|(_, endpoint)| json::text(endpoint, "status") == "enabled")
        .filter(|(_, endpoint)| {
            json::items(endpoint, "enabled_events")
                .iter()
                .filter_map(Value::as_str)
                .any(|wanted| matches(wanted, &kind))
        })
        .map(|(endpoint, _)| endpoint.to_owned())
        .collect();
    for endpoint in endpoints {
        let delivery = json!({
            "event": id, "endpoint": endpoint, "created": cx.now, "attempts": 0, "first_at": null, "next_at": cx.now,
        });
        let id = cx.ids.long("whd_");
        cx.store.put(Kind::Delivery, &id, delivery);
    }
}

/// `*`, an exact type, or a family such as `invoice.*`.
pub(crate) fn matches(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(family) => kind.starts_with(family),
        None => pattern == kind,
    }
}

/// How many endpoints still wait for the event.
pub(crate) fn pending(store: &Store, event: &str) -> usize {
    store.newest_first(Kind::Delivery).filter(|(_, delivery)| json::text(delivery, "event") == event).count()
}

/// The value of `Stripe-Signature`.
pub(crate) fn signature(secret: &str, timestamp: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("t={timestamp},v1={}", hex::encode(mac.finalize().into_bytes()))
}

/// One delivery, ready to be sent.
struct Parcel {
    delivery: String,
    url: String,
    secret: String,
    body: String,
    copies: u32,
}

/// Sends what is due and lets the clock's events happen, until cancelled. What is under way then is sent again by the
/// next start.
pub(crate) async fn run(inner: Arc<Inner>, shutdown: CancellationToken) {
    let mut under_way = JoinSet::new();
    inner.nothing_under_way();
    loop {
        if inner.faults().webhooks.reorder {
            tokio::time::sleep(REORDER_PAUSE).await;
            send_in_reverse(&inner).await;
        } else {
            start(&inner, &mut under_way).await;
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = inner.woken() => {}
            Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
            () = tokio::time::sleep(POLL) => crate::lifecycle::catch_up(&inner).await,
        }
    }
}

async fn start(inner: &Arc<Inner>, under_way: &mut JoinSet<()>) {
    let free = AT_ONCE_MAX.saturating_sub(under_way.len());
    for parcel in take_due(inner, free).await {
        let inner = Arc::clone(inner);
        under_way.spawn(async move { send(&inner, parcel).await });
    }
}

async fn send_in_reverse(inner: &Arc<Inner>) {
    let mut parcels = take_due(inner, AT_ONCE_MAX).await;
    parcels.reverse();
    for parcel in parcels {
        send(inner, parcel).await;
    }
}

/// Takes what is due and not yet under way. A dropped delivery is lost for good, as the fault promises.
async fn take_due(inner: &Arc<Inner>, limit: usize) -> Vec<Parcel> {
    let inner = Arc::clone(inner);
    let taken = crate::work::off_thread(move || {
        let faults = inner.faults().webhooks.clone();
        inner.write(&Cause::default(), |cx| {
            let mut parcels = Vec::new();
            for (id, delivery) in due(cx, faults.delay_seconds, limit, |id| inner.is_under_way(id)) {
                let copies = if json::int(&delivery, "attempts") == 0 { 1 + faults.duplicate } else { 1 };
                let lost = json::int(&delivery, "attempts") == 0 && inner.faults().take_dropped_webhook();
                match parcel(cx, &id, &delivery, copies).filter(|_| !lost) {
                    Some(parcel) => parcels.push(parcel),
                    None => cx.store.remove(Kind::Delivery, &id),
                }
            }
            for parcel in &parcels {
                inner.set_under_way(&parcel.delivery);
            }
            Ok(parcels)
        })
    });
    taken.await.ok().and_then(Result::ok).unwrap_or_default()
}

fn due(cx: &Context, delay_seconds: i64, limit: usize, is_under_way: impl Fn(&str) -> bool) -> Vec<(String, Value)> {
    cx.store
        .oldest_first(Kind::Delivery)
        .filter(|(id, delivery)| {
            let delay = if json::int(delivery, "attempts") == 0 { delay_seconds } else { 0 };
            json::int(delivery, "next_at") + delay <= cx.now && !is_under_way(id)
        })
        .take(limit)
        .map(|(id, delivery)| (id.to_owned(), delivery.clone()))
        .collect()
}

/// What is due, for a world that sends it itself.
#[cfg(feature = "simulation")]
pub(crate) fn due_now(inner: &Inner, limit: usize) -> Vec<crate::simulation::Due> {
    let taken = inner.write(&Cause::default(), |cx| {
        let mut found = Vec::new();
        for (id, delivery) in due(cx, 0, limit, |_| false) {
            let event = json::text(&delivery, "event").to_owned();
            let kind = cx.store.get(Kind::Event, &event).map(|event| json::text(event, "type").to_owned());
            match (parcel(cx, &id, &delivery, 1), kind) {
                (Some(parcel), Some(kind)) => found.push(crate::simulation::Due {
                    delivery: id,
                    kind,
                    event,
                    body: parcel.body,
                    attempts: json::int(&delivery, "attempts"),
                }),
                _ => cx.store.remove(Kind::Delivery, &id),
            }
        }
        Ok(found)
    });
    taken.unwrap_or_default()
}

/// `None` when the endpoint is gone or disabled: nothing is sent any more.
fn parcel(cx: &Context, id: &str, delivery: &Value, copies: u32) -> Option<Parcel> {
    let endpoint = cx.store.get(Kind::Endpoint, json::text(delivery, "endpoint"))?;
    if json::text(endpoint, "status") != "enabled" {
        return None;
    }
    let mut event = json::public(cx.store.get(Kind::Event, json::text(delivery, "event"))?);
    if let Some(version) = json::opt_text(endpoint, "api_version") {
        event["api_version"] = json!(version);
    }
    event["pending_webhooks"] = json!(pending(cx.store, json::text(delivery, "event")));
    Some(Parcel {
        delivery: id.to_owned(),
        url: json::text(endpoint, "url").to_owned(),
        secret: json::text(endpoint, "_secret").to_owned(),
        body: event.to_string(),
        copies,
    })
}

async fn send(inner: &Arc<Inner>, parcel: Parcel) {
    let mut delivered = false;
    for _ in 0..parcel.copies {
        delivered |= post(inner, &parcel).await;
    }
    let inner = Arc::clone(inner);
    let recorded = crate::work::off_thread(move || {
        let result = inner.write(&Cause::default(), |cx| {
            record(cx, &parcel.delivery, delivered);
            Ok(())
        });
        inner.clear_under_way(&parcel.delivery);
        result
    });
    if !matches!(recorded.await, Ok(Ok(()))) {
        tracing::warn!("the outcome of a webhook could not be recorded; it will be sent again");
    }
}

async fn post(inner: &Arc<Inner>, parcel: &Parcel) -> bool {
    let signature = signature(&parcel.secret, inner.now(), parcel.body.as_bytes());
    let sent = inner
        .http()
        .post(&parcel.url)
        .timeout(ANSWER_TIMEOUT)
        .header("content-type", "application/json; charset=utf-8")
        .header("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
        .header("stripe-signature", signature)
        .body(parcel.body.clone())
        .send()
        .await;
    match sent {
        Ok(answer) => answer.status().is_success(),
        Err(error) => {
            tracing::debug!(error = %error.without_url(), "a webhook did not arrive");
            false
        }
    }
}

pub(crate) fn record(cx: &mut Context, id: &str, delivered: bool) {
    let Some(delivery) = cx.store.get(Kind::Delivery, id).cloned() else { return };
    let first_at = json::opt_int(&delivery, "first_at").unwrap_or(cx.now);
    if delivered || cx.now >= first_at + GIVE_UP_SECONDS {
        return cx.store.remove(Kind::Delivery, id);
    }
    let attempts = json::int(&delivery, "attempts");
    let index = usize::try_from(attempts).unwrap_or(usize::MAX).min(RETRY_SECONDS.len() - 1);
    let next_at = cx.now + RETRY_SECONDS[index];
    cx.edit(Kind::Delivery, id, |value| {
        json::set(value, "attempts", attempts + 1);
        json::set(value, "first_at", first_at);
        json::set(value, "next_at", next_at);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_types() {
        assert!(matches("*", "invoice.paid"));
        assert!(matches("invoice.*", "invoice.paid"));
        assert!(matches("invoice.paid", "invoice.paid"));
        assert!(!matches("invoice.*", "invoiceitem.created"));
    }

    #[test]
    fn the_signature_is_the_documented_one() {
        // Made with `openssl dgst -sha256 -hmac whsec_test` over `1700000000.{}`.
        let expected = "t=1700000000,v1=35495024f4ef3f94e5a93e22221544c4b75e9a42300cd965ab81cb85cd994e91";
        assert_eq!(signature("whsec_test", 1_700_000_000, b"{}"), expected);
    }
}
