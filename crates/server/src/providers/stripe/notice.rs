//! The envelope of a verified event, read as far as the inbox needs it: which event, and whom it is about.
//!
//! Nothing in an event's object is applied; it only says "look again" (invariant 5). So an event is refused only
//! where it has no identity to be stored under. A new type, a new field or an older shape is kept and read as far as
//! it goes.

use counterfoil_core::{ExternalCustomerId, Timestamp};
use serde_json::Value;

use super::{events, json, money};
use crate::providers::{Notice, PaymentRef, WebhookRefusal};

/// Where an object carries the metadata that we wrote, newest place first.
const METADATA_PATHS: [&[&str]; 3] =
    [&["metadata"], &["parent", "subscription_details", "metadata"], &["subscription_details", "metadata"]];

/// Reads a body whose signature was checked.
pub(super) fn read(body: &[u8]) -> Result<Notice, WebhookRefusal> {
    let refuse = |why: &str| WebhookRefusal::NotAnEvent(why.to_owned());
    if body.is_empty() {
        return Err(refuse("it is empty"));
    }
    let event: Value = serde_json::from_slice(body).map_err(|error| refuse(&format!("it is not JSON: {error}")))?;
    let snapshot = match json::text(&event, &["object"]) {
        Some("event") | None => true,
        // A thin event names an object and does not hold it. It is stored and acknowledged, or Stripe would send it
        // for days.
        Some("v2.core.event") => false,
        Some(_) => return Err(refuse("it is another object")),
    };
    let event_id = json::text(&event, &["id"]).ok_or_else(|| refuse("it has no id"))?.to_owned();
    let event_type = json::text(&event, &["type"]).ok_or_else(|| refuse("it has no type"))?.to_owned();
    let nothing = Value::Null;
    let object = if snapshot { json::at(&event, &["data", "object"]).unwrap_or(&nothing) } else { &nothing };
    Ok(Notice {
        relevant: snapshot && events::is_relevant(&event_type),
        livemode: json::flag(&event, &["livemode"]),
        account: json::text(&event, &["account"]).map(str::to_owned),
        created_at: json::instant(&event, &["created"]).or_else(|| written_instant(&event)),
        api_version: json::text(&event, &["api_version"]).map(str::to_owned),
        external_customer: external_customer(object),
        payment: payment(object),
        customer_id: own_customer(object).map(str::to_owned),
        instance: metadata(object, "instance").map(str::to_owned),
        event_id,
        event_type,
    })
}

/// Thin events write their instant as text.
fn written_instant(event: &Value) -> Option<Timestamp> {
    json::text(event, &["created"])?.parse().ok()
}

fn external_customer(object: &Value) -> Option<ExternalCustomerId> {
    let path: &[&str] = if json::text(object, &["object"]) == Some("customer") { &["id"] } else { &["customer"] };
    json::reference(object, path).map(ExternalCustomerId::new)
}

/// The payment of an object that names no customer: a refund before 2026-07, a dispute, the link between invoice and payment.
fn payment(object: &Value) -> Option<PaymentRef> {
    match json::text(object, &["object"]) {
        Some("refund" | "dispute") if external_customer(object).is_none() => money::payment_ref(object),
        Some("invoice_payment") => money::payment_ref(json::at(object, &["payment"])?),
        Some(_) | None => None,
    }
}

fn own_customer(object: &Value) -> Option<&str> {
    metadata(object, "customer_id").or_else(|| json::text(object, &["client_reference_id"]))
}

/// A key of our metadata: on the object, on the subscription that an invoice was made for, or on one of its lines.
fn metadata<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    let direct = METADATA_PATHS.iter().find_map(|path| json::text(json::at(object, path)?, &[key]));
    direct.or_else(|| json::list(object, &["lines"]).iter().find_map(|line| json::text(line, &["metadata", key])))
}
