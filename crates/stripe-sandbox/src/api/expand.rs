//! `expand[]`: a reference becomes the object it names; some lists appear only when asked for.

use serde_json::{Value, json};

use super::whole;
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::resources::{customers, invoice_payments};
use crate::store::Kind;

/// Stripe's own limit.
const DEPTH_MAX: usize = 4;

pub(crate) fn expand(cx: &Context, answer: &mut Value, path: &str) -> Result<(), ApiError> {
    let keys: Vec<&str> = path.split('.').collect();
    if keys.len() > DEPTH_MAX + usize::from(keys.first() == Some(&"data")) {
        return Err(ApiError::invalid(format!("You cannot expand more than {DEPTH_MAX} levels of a property: {path}")));
    }
    walk(cx, answer, &keys, path)
}

fn walk(cx: &Context, node: &mut Value, keys: &[&str], path: &str) -> Result<(), ApiError> {
    let Some((key, rest)) = keys.split_first() else { return Ok(()) };
    if let Value::Array(items) = node {
        return items.iter_mut().try_for_each(|item| walk(cx, item, keys, path));
    }
    let Some(fields) = node.as_object() else { return Ok(()) };
    if !fields.contains_key(*key) {
        let included = include(cx, node, key).ok_or_else(|| cannot(path))?;
        node[*key] = included;
    }
    let child = &mut node[*key];
    if let Some(id) = child.as_str().map(str::to_owned) {
        let kind = kind_of(key).ok_or_else(|| cannot(path))?;
        *child = render(cx, kind, &id);
    }
    walk(cx, child, rest, path)
}

fn cannot(path: &str) -> ApiError {
    ApiError::invalid(format!("This property cannot be expanded ({path})."))
}

fn render(cx: &Context, kind: Kind, id: &str) -> Value {
    let value = cx.object(kind, id);
    if kind == Kind::Customer && json::flag(&value, "_deleted") {
        return customers::deleted(id);
    }
    json::public(&value)
}

fn kind_of(key: &str) -> Option<Kind> {
    Some(match key {
        "customer" => Kind::Customer,
        "product" => Kind::Product,
        "price" | "default_price" => Kind::Price,
        "subscription" => Kind::Subscription,
        "schedule" => Kind::Schedule,
        "invoice" | "latest_invoice" => Kind::Invoice,
        "payment_intent" => Kind::PaymentIntent,
        "setup_intent" | "pending_setup_intent" => Kind::SetupIntent,
        "charge" | "latest_charge" => Kind::Charge,
        "payment_method" | "default_payment_method" => Kind::PaymentMethod,
        "configuration" => Kind::PortalConfiguration,
        _ => return None,
    })
}

/// Properties that Stripe leaves out unless they are asked for.
fn include(cx: &Context, owner: &Value, key: &str) -> Option<Value> {
    let id = json::text(owner, "id");
    match (json::text(owner, "object"), key) {
        ("checkout.session", "line_items") => {
            let stored = cx.store.get(Kind::Session, id)?;
            let lines = json::items(stored, "_line_items").iter().map(json::public).collect();
            Some(whole(lines, &format!("/v1/checkout/sessions/{id}/line_items")))
        }
        ("invoice", "payments") => Some(invoice_payments::of_invoice(cx, id)),
        ("invoice", "confirmation_secret") => Some(Value::Null),
        ("customer", "tax") => Some(json!({
            "automatic_tax": "unrecognized_location", "ip_address": null, "location": null, "provider": "stripe",
        })),
        ("customer", "subscriptions") => {
            let owned = cx.store.newest_first(Kind::Subscription).filter(|(_, subscription)| {
                json::text(subscription, "customer") == id && json::text(subscription, "status") != "canceled"
            });
            let owned = owned.map(|(_, subscription)| json::public(subscription)).collect();
            Some(whole(owned, &format!("/v1/customers/{id}/subscriptions")))
        }
        ("charge", "refunds") => {
            let owned = cx.store.newest_first(Kind::Refund).filter(|(_, refund)| json::text(refund, "charge") == id);
            Some(whole(owned.map(|(_, refund)| json::public(refund)).collect(), &format!("/v1/charges/{id}/refunds")))
        }
        _ => None,
    }
}
