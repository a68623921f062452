//! Customers. A deleted one is still found, as a stub.

use serde_json::{Value, json};

use super::{metadata, payment_methods};
use crate::api::{Call, Route, page};
use crate::billing::subscriptions;
use crate::context::Context;
use crate::error::ApiError;
use crate::form::Params;
use crate::json;
use crate::store::Kind;

const EMAIL_CHARS_MAX: usize = 512;
const FIELDS: &str = "address address.* balance business_name description email individual_name \
    invoice_prefix invoice_settings.default_payment_method invoice_settings.footer metadata metadata.* name phone \
    preferred_locales preferred_locales.# shipping shipping.** tax_exempt tax.** payment_method";

pub(crate) const ROUTES: &[Route] = &[
    Route::post("/v1/customers", FIELDS, create),
    Route::list("/v1/customers", "email", list),
    Route::get("/v1/customers/{id}", "", retrieve),
    Route::post("/v1/customers/{id}", FIELDS, update),
    Route::delete("/v1/customers/{id}", "", delete),
    Route::list("/v1/customers/{id}/payment_methods", "type", cards),
];

fn create(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let id = begin(cx);
    if let Some(name) = call.params.filled("payment_method") {
        payment_methods::attach_named(cx, name, &id, "payment_method")?;
    }
    write(cx, &id, &call.params)?;
    cx.emit("customer.created", Kind::Customer, &id);
    Ok(json::public(&cx.object(Kind::Customer, &id)))
}

/// A customer that checkout makes for a guest.
pub(crate) fn create_guest(cx: &mut Context, email: Option<&str>, name: Option<&str>) -> String {
    let id = begin(cx);
    cx.edit(Kind::Customer, &id, |value| {
        json::set(value, "email", email);
        json::set(value, "name", name);
    });
    cx.emit("customer.created", Kind::Customer, &id);
    id
}

fn begin(cx: &mut Context) -> String {
    let id = cx.ids.short("cus_");
    let value = json!({
        "id": id,
        "object": "customer",
        "address": null,
        "balance": 0,
        "created": cx.now,
        "currency": null,
        "customer_account": null,
        "default_source": null,
        "delinquent": false,
        "description": null,
        "discount": null,
        "email": null,
        "invoice_prefix": cx.ids.with_length("", 8).to_uppercase(),
        "invoice_settings": {
            "custom_fields": null, "default_payment_method": null, "footer": null, "rendering_options": null,
        },
        "livemode": false,
        "metadata": {},
        "name": null,
        "next_invoice_sequence": 1,
        "phone": null,
        "preferred_locales": [],
        "shipping": null,
        "tax_exempt": "none",
        "test_clock": null,
    });
    cx.create(Kind::Customer, &id, value);
    id
}

/// Applies the parameters that both create and update take.
fn write(cx: &mut Context, id: &str, params: &Params) -> Result<(), ApiError> {
    let mut value = cx.object(Kind::Customer, id);
    if let Some(email) = params.text("email").filter(|email| !email.is_empty()) {
        check_email(email)?;
    }
    for field in ["email", "name", "description", "phone", "business_name", "individual_name", "invoice_prefix"] {
        if let Some(text) = params.text(field) {
            json::set(&mut value, field, Some(text).filter(|text| !text.is_empty()));
        }
    }
    if let Some(exempt) = params.one_of("tax_exempt", &["exempt", "none", "reverse"])? {
        json::set(&mut value, "tax_exempt", exempt);
    }
    if let Some(balance) = params.int("balance")? {
        json::set(&mut value, "balance", balance);
    }
    if params.has("preferred_locales") {
        json::set(&mut value, "preferred_locales", params.texts("preferred_locales"));
    }
    if params.has("address") {
        json::set(&mut value, "address", address(params, "address"));
    }
    if params.has("shipping") {
        let shipping = params.filled("shipping.name").map(|name| {
            json!({ "address": address(params, "shipping.address"), "name": name, "phone": params.filled("shipping.phone") })
        });
        json::set(&mut value, "shipping", shipping);
    }
    let merged = metadata::merged(&value["metadata"], params, "metadata")?;
    json::set(&mut value, "metadata", merged);
    cx.store.put(Kind::Customer, id, value);
    if let Some(name) = params.text("invoice_settings.default_payment_method") {
        let card = match name {
            "" => None,
            name => Some(payment_methods::owned(cx, name, id, "invoice_settings.default_payment_method")?),
        };
        cx.edit(Kind::Customer, id, |value| json::set(value, "invoice_settings.default_payment_method", card));
    }
    Ok(())
}

fn check_email(email: &str) -> Result<(), ApiError> {
    let parts: Vec<&str> = email.split('@').collect();
    let plausible = parts.len() == 2 && parts.iter().all(|part| !part.is_empty()) && !email.contains(' ');
    if plausible && email.chars().count() <= EMAIL_CHARS_MAX {
        return Ok(());
    }
    Err(ApiError::invalid(format!("Invalid email address: {email}")).code("email_invalid").param("email"))
}

pub(crate) fn address(params: &Params, path: &str) -> Value {
    let field = |name: &str| params.filled(&format!("{path}.{name}"));
    if params.nested(path).tree().as_object().is_none_or(serde_json::Map::is_empty) {
        return Value::Null;
    }
    json!({
        "city": field("city"), "country": field("country"), "line1": field("line1"), "line2": field("line2"),
        "postal_code": field("postal_code"), "state": field("state"),
    })
}

fn list(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    // Stripe compares e-mail addresses case-sensitively here.
    let email = call.params.filled("email");
    page(cx, call, Kind::Customer, |value| email.is_none_or(|email| json::text(value, "email") == email))
}

fn retrieve(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let value = cx.find(Kind::Customer, call.id())?;
    Ok(if json::flag(&value, "_deleted") { deleted(call.id()) } else { json::public(&value) })
}

fn update(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let before = live(cx, call.id())?;
    write(cx, call.id(), &call.params)?;
    let after = cx.object(Kind::Customer, call.id());
    if before != after {
        cx.emit_with_previous("customer.updated", Kind::Customer, call.id(), &before);
    }
    Ok(json::public(&after))
}

fn delete(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    live(cx, call.id())?;
    subscriptions::cancel_all(cx, call.id());
    cx.edit(Kind::Customer, call.id(), |value| json::set(value, "_deleted", true));
    cx.emit("customer.deleted", Kind::Customer, call.id());
    Ok(deleted(call.id()))
}

fn live(cx: &Context, id: &str) -> Result<Value, ApiError> {
    let value = cx.find(Kind::Customer, id)?;
    if json::flag(&value, "_deleted") { Err(ApiError::no_such("customer", id)) } else { Ok(value) }
}

pub(crate) fn deleted(id: &str) -> Value {
    json!({ "id": id, "object": "customer", "deleted": true })
}

fn cards(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    live(cx, call.id())?;
    page(cx, call, Kind::PaymentMethod, |value| json::text(value, "customer") == call.id())
}
