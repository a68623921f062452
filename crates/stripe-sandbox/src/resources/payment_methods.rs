//! Cards as payment methods. Only Stripe's test tokens and numbers exist; no other card can be typed in.

use serde_json::{Value, json};

use super::{customers, metadata};
use crate::api::{Call, Route, page};
use crate::billing::cards::{Behavior, Card};
use crate::context::Context;
use crate::error::ApiError;
use crate::form::Params;
use crate::json;
use crate::store::Kind;

pub(crate) const ROUTES: &[Route] = &[
    Route::post(
        "/v1/payment_methods",
        "type! allow_redisplay billing_details.** card.token card.number card.exp_month card.exp_year card.cvc \
         metadata metadata.*",
        create,
    ),
    Route::list("/v1/payment_methods", "customer type", list),
    Route::get("/v1/payment_methods/{id}", "", retrieve),
    Route::post("/v1/payment_methods/{id}/attach", "customer!", attach),
    Route::post("/v1/payment_methods/{id}/detach", "", detach),
];

fn create(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    call.params.one_of("type", &["card", "card"])?;
    let card = match (call.params.filled("card.token"), call.params.filled("card.number")) {
        (Some(token), _) => {
            Card::named(token).ok_or_else(|| ApiError::no_such_reference("token", token, "card.token"))?
        }
        (None, Some(number)) => Card::numbered(number).ok_or_else(|| {
            ApiError::card("Your card number is incorrect.", "incorrect_number").param("card.number").undone()
        })?,
        (None, None) => return Err(ApiError::missing("card")),
    };
    let id = new(cx, card, &billing_details(&call.params));
    let merged = metadata::new(&call.params, "metadata")?;
    cx.edit(Kind::PaymentMethod, &id, |value| json::set(value, "metadata", merged));
    Ok(json::public(&cx.object(Kind::PaymentMethod, &id)))
}

fn billing_details(params: &Params) -> Value {
    let field = |name: &str| params.filled(&format!("billing_details.{name}"));
    let mut address = customers::address(params, "billing_details.address");
    if address.is_null() {
        address = empty_billing_details()["address"].clone();
    }
    json!({
        "address": address, "email": field("email"), "name": field("name"), "phone": field("phone"), "tax_id": null,
    })
}

pub(crate) fn empty_billing_details() -> Value {
    json!({
        "address": {
            "city": null, "country": null, "line1": null, "line2": null, "postal_code": null, "state": null,
        },
        "email": null, "name": null, "phone": null, "tax_id": null,
    })
}

pub(crate) fn new(cx: &mut Context, card: Card, billing_details: &Value) -> String {
    let id = cx.ids.long("pm_");
    let value = json!({
        "id": id,
        "object": "payment_method",
        "_behavior": card.behavior.name(),
        "allow_redisplay": "unspecified",
        "billing_details": billing_details,
        "card": {
            "brand": card.brand,
            "checks": { "address_line1_check": null, "address_postal_code_check": null, "cvc_check": "pass" },
            "country": "US",
            "display_brand": card.brand,
            "exp_month": 12,
            "exp_year": 2034,
            "fingerprint": format!("Sandbox{:0>9}", card.last4),
            "funding": "credit",
            "generated_from": null,
            "last4": card.last4,
            "networks": { "available": [card.brand], "preferred": null },
            "regulated_status": "unregulated",
            "three_d_secure_usage": { "supported": true },
            "wallet": null,
        },
        "created": cx.now,
        "customer": null,
        "customer_account": null,
        "livemode": false,
        "metadata": {},
        "type": "card",
    });
    cx.create(Kind::PaymentMethod, &id, value);
    id
}

/// A payment method given by id, or by one of the ready-made names (`pm_card_visa`), each use of which is a new one.
pub(crate) fn named(cx: &mut Context, name: &str, param: &str) -> Result<String, ApiError> {
    if cx.store.get(Kind::PaymentMethod, name).is_some() {
        return Ok(name.to_owned());
    }
    match Card::named(name) {
        Some(card) if name.starts_with("pm_") => Ok(new(cx, card, &empty_billing_details())),
        _ => Err(ApiError::no_such_reference("PaymentMethod", name, param)),
    }
}

/// As [`named`], and it must belong to the customer; a ready-made one is taken for the one that was attached before.
pub(crate) fn owned(cx: &mut Context, name: &str, customer: &str, param: &str) -> Result<String, ApiError> {
    if let Some(card) = Card::named(name).filter(|_| name.starts_with("pm_")) {
        let attached = cx.store.newest_first(Kind::PaymentMethod).find(|(_, value)| {
            json::text(value, "customer") == customer && json::text(value, "card.last4") == card.last4
        });
        if let Some(id) = attached.map(|(id, _)| id.to_owned()) {
            return Ok(id);
        }
        return attach_named(cx, name, customer, param);
    }
    let id = named(cx, name, param)?;
    if json::text(&cx.object(Kind::PaymentMethod, &id), "customer") == customer {
        return Ok(id);
    }
    let message = format!(
        "The customer does not have a payment method with the ID {id}. The payment method must be attached to the \
         customer."
    );
    Err(ApiError::invalid(message).code("resource_missing").param(param))
}

pub(crate) fn attach_named(cx: &mut Context, name: &str, customer: &str, param: &str) -> Result<String, ApiError> {
    let id = named(cx, name, param)?;
    let value = cx.object(Kind::PaymentMethod, &id);
    if json::opt_text(&value, "customer").is_some_and(|owner| owner != customer) {
        return Err(ApiError::invalid("The payment method you provided has already been attached to a customer."));
    }
    let behavior = Behavior::from_name(json::text(&value, "_behavior"));
    if behavior == Behavior::DeclinesAtOnce || behavior == Behavior::Expired {
        return Err(behavior.decline().expect("such a card is declined").undone());
    }
    attach_to(cx, &id, customer);
    Ok(id)
}

pub(crate) fn attach_to(cx: &mut Context, id: &str, customer: &str) {
    if json::text(&cx.object(Kind::PaymentMethod, id), "customer") != customer {
        cx.edit(Kind::PaymentMethod, id, |value| json::set(value, "customer", customer));
        cx.emit("payment_method.attached", Kind::PaymentMethod, id);
    }
}

/// Replaces the card that the customer and all of its subscriptions are charged to.
pub(crate) fn replace_card(cx: &mut Context, customer: &str, card: Card) -> String {
    let id = new(cx, card, &empty_billing_details());
    attach_to(cx, &id, customer);
    cx.change(Kind::Customer, customer, "customer.updated", |value| {
        json::set(value, "invoice_settings.default_payment_method", id.clone());
    });
    let charged: Vec<String> = cx
        .store
        .oldest_first(Kind::Subscription)
        .filter(|(_, value)| json::text(value, "customer") == customer)
        .filter(|(_, value)| json::text(value, "status") != "canceled" && !value["default_payment_method"].is_null())
        .map(|(subscription, _)| subscription.to_owned())
        .collect();
    for subscription in charged {
        cx.change(Kind::Subscription, &subscription, "customer.subscription.updated", |value| {
            json::set(value, "default_payment_method", id.clone());
        });
    }
    id
}

fn list(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let customer = call.params.filled("customer");
    page(cx, call, Kind::PaymentMethod, |value| {
        customer.is_none_or(|customer| json::text(value, "customer") == customer)
    })
}

fn retrieve(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    Ok(json::public(&cx.find(Kind::PaymentMethod, call.id())?))
}

fn attach(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let customer = call.params.required("customer")?;
    cx.reference(Kind::Customer, customer, "customer")?;
    let id = attach_named(cx, call.id(), customer, "payment_method")?;
    Ok(json::public(&cx.object(Kind::PaymentMethod, &id)))
}

fn detach(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    cx.find(Kind::PaymentMethod, call.id())?;
    cx.change(Kind::PaymentMethod, call.id(), "payment_method.detached", |value| {
        json::set(value, "customer", Value::Null);
    });
    Ok(json::public(&cx.object(Kind::PaymentMethod, call.id())))
}
