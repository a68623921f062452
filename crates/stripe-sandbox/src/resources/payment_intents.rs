//! Payment intents.

use serde_json::{Value, json};

use super::{customers, metadata, payment_methods};
use crate::api::{Call, Route, page};
use crate::billing::payments::{self, Holder, Intent};
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::store::Kind;

pub(crate) const ROUTES: &[Route] = &[
    Route::post(
        "/v1/payment_intents",
        "amount! currency! customer confirm description metadata metadata.* off_session payment_method \
         payment_method_types.# receipt_email setup_future_usage return_url shipping.** statement_descriptor \
         automatic_payment_methods.enabled automatic_payment_methods.allow_redirects confirmation_method \
         capture_method",
        create,
    ),
    Route::list("/v1/payment_intents", "customer", list),
    Route::get("/v1/payment_intents/{id}", "client_secret", retrieve),
    Route::post("/v1/payment_intents/{id}/confirm", "payment_method off_session return_url", confirm),
    Route::post("/v1/payment_intents/{id}/cancel", "cancellation_reason", cancel),
];

pub(crate) fn render(cx: &Context, id: &str, intent: &Intent) -> Value {
    json!({
        "id": id,
        "object": "payment_intent",
        "amount": intent.amount,
        "amount_capturable": 0,
        "amount_details": { "tip": {} },
        "amount_received": 0,
        "application": null,
        "application_fee_amount": null,
        "automatic_payment_methods": null,
        "canceled_at": null,
        "cancellation_reason": null,
        "capture_method": "automatic",
        "client_secret": cx.ids.with_length(&format!("{id}_secret_"), 25),
        "confirmation_method": "automatic",
        "created": cx.now,
        "currency": intent.currency,
        "customer": intent.customer,
        "customer_account": null,
        "description": intent.description,
        "excluded_payment_method_types": null,
        "last_payment_error": null,
        "latest_charge": null,
        "livemode": false,
        "metadata": intent.metadata,
        "next_action": null,
        "on_behalf_of": null,
        "payment_method": null,
        "payment_method_configuration_details": null,
        "payment_method_options": { "card": {
            "installments": null, "mandate_options": null, "network": null, "request_three_d_secure": "automatic",
        } },
        "payment_method_types": ["card"],
        "processing": null,
        "receipt_email": null,
        "review": null,
        "setup_future_usage": intent.saves_card.then_some("off_session"),
        "shipping": intent.shipping,
        "statement_descriptor": null,
        "statement_descriptor_suffix": null,
        "status": "requires_payment_method",
        "transfer_data": null,
        "transfer_group": null,
    })
}

fn create(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let params = &call.params;
    let amount = params.int("amount")?.unwrap_or_default();
    if amount < 1 {
        return Err(ApiError::invalid("This value must be greater than or equal to 1.").param("amount"));
    }
    let customer = params.filled("customer");
    if let Some(customer) = customer {
        cx.reference(Kind::Customer, customer, "customer")?;
    }
    let currency = params.required("currency")?.to_lowercase();
    let intent = Intent {
        amount,
        currency: &currency,
        customer,
        description: params.filled("description"),
        metadata: metadata::new(params, "metadata")?,
        shipping: shipping(params, "shipping"),
        saves_card: params.has("setup_future_usage"),
    };
    let id = payments::open(cx, &intent);
    if let Some(name) = params.filled("payment_method") {
        let card = payment_methods::named(cx, name, "payment_method")?;
        cx.edit(Kind::PaymentIntent, &id, |value| {
            json::set(value, "payment_method", card);
            json::set(value, "status", "requires_confirmation");
        });
    }
    if params.flag("confirm")?.unwrap_or_default() {
        return confirm_by_id(cx, &id, params);
    }
    Ok(json::public(&cx.object(Kind::PaymentIntent, &id)))
}

pub(crate) fn shipping(params: &crate::form::Params, path: &str) -> Value {
    let field = |name: &str| params.filled(&format!("{path}.{name}"));
    if field("name").is_none() {
        return Value::Null;
    }
    json!({
        "address": customers::address(params, &format!("{path}.address")),
        "carrier": field("carrier"),
        "name": field("name"),
        "phone": field("phone"),
        "tracking_number": field("tracking_number"),
    })
}

fn confirm(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    cx.find(Kind::PaymentIntent, call.id())?;
    confirm_by_id(cx, call.id(), &call.params)
}

fn confirm_by_id(cx: &mut Context, id: &str, params: &crate::form::Params) -> Result<Value, ApiError> {
    let value = cx.object(Kind::PaymentIntent, id);
    let status = json::text(&value, "status");
    if matches!(status, "succeeded" | "canceled") {
        let message =
            format!("This PaymentIntent's payment_method could not be updated because it has a status of {status}.");
        return Err(ApiError::invalid(message).code("payment_intent_unexpected_state"));
    }
    let card = match params.filled("payment_method").or_else(|| json::opt_text(&value, "payment_method")) {
        Some(name) => payment_methods::named(cx, name, "payment_method")?,
        None => return Err(ApiError::missing("payment_method")),
    };
    let holder = if params.flag("off_session")?.unwrap_or_default() { Holder::Absent } else { Holder::Present };
    match payments::confirm(cx, id, &card, holder) {
        // An intent that waits for its holder is a success of this call.
        Ok(()) | Err(payments::Failure::NeedsAuthentication) => Ok(json::public(&cx.object(Kind::PaymentIntent, id))),
        Err(payments::Failure::Declined(error)) => {
            let intent = json::public(&cx.object(Kind::PaymentIntent, id));
            Err(error.with("payment_intent", intent))
        }
    }
}

fn list(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let customer = call.params.filled("customer");
    page(cx, call, Kind::PaymentIntent, |value| {
        customer.is_none_or(|customer| json::text(value, "customer") == customer)
    })
}

fn retrieve(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    Ok(json::public(&cx.find(Kind::PaymentIntent, call.id())?))
}

fn cancel(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let value = cx.find(Kind::PaymentIntent, call.id())?;
    let status = json::text(&value, "status");
    if matches!(status, "succeeded" | "canceled") {
        let message = format!("You cannot cancel this PaymentIntent because it has a status of {status}.");
        return Err(ApiError::invalid(message).code("payment_intent_unexpected_state"));
    }
    payments::cancel(cx, call.id(), call.params.filled("cancellation_reason"));
    Ok(json::public(&cx.object(Kind::PaymentIntent, call.id())))
}
