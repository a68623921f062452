//! Setup intents: how a checkout with a trial saves a card without charging it.

use serde_json::{Value, json};

use crate::billing::cards::Behavior;
use crate::billing::payments::{Failure, Holder};
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::store::Kind;

pub(crate) fn open(cx: &mut Context, customer: Option<&str>) -> String {
    let id = cx.ids.long("seti_");
    let value = json!({
        "id": id,
        "object": "setup_intent",
        "application": null,
        "automatic_payment_methods": null,
        "cancellation_reason": null,
        "client_secret": cx.ids.with_length(&format!("{id}_secret_"), 25),
        "created": cx.now,
        "customer": customer,
        "customer_account": null,
        "description": null,
        "excluded_payment_method_types": null,
        "flow_directions": null,
        "last_setup_error": null,
        "latest_attempt": null,
        "livemode": false,
        "mandate": null,
        "metadata": {},
        "next_action": null,
        "on_behalf_of": null,
        "payment_method": null,
        "payment_method_configuration_details": null,
        "payment_method_options": { "card": {
            "mandate_options": null, "network": null, "request_three_d_secure": "automatic",
        } },
        "payment_method_types": ["card"],
        "single_use_mandate": null,
        "status": "requires_payment_method",
        "usage": "off_session",
    });
    cx.create(Kind::SetupIntent, &id, value);
    cx.emit("setup_intent.created", Kind::SetupIntent, &id);
    id
}

/// Saves the card, unless it is refused or its holder has to authenticate first.
pub(crate) fn confirm(cx: &mut Context, id: &str, payment_method: &str, holder: Holder) -> Result<(), Failure> {
    let behavior = Behavior::from_name(json::text(&cx.object(Kind::PaymentMethod, payment_method), "_behavior"));
    if behavior == Behavior::NeedsAuthentication && holder == Holder::Present {
        cx.edit(Kind::SetupIntent, id, |value| {
            json::set(value, "status", "requires_action");
            json::set(value, "payment_method", payment_method);
            json::set(value, "next_action", json!({ "type": "use_stripe_sdk", "use_stripe_sdk": {} }));
        });
        cx.emit("setup_intent.requires_action", Kind::SetupIntent, id);
        return Err(Failure::NeedsAuthentication);
    }
    if let Some(error) = behavior.decline().filter(|_| behavior != Behavior::DeclinesCharges) {
        return Err(Failure::Declined(fail(cx, id, error)));
    }
    cx.edit(Kind::SetupIntent, id, |value| {
        json::set(value, "status", "succeeded");
        json::set(value, "payment_method", payment_method);
        json::set(value, "next_action", Value::Null);
        json::set(value, "last_setup_error", Value::Null);
    });
    cx.emit("setup_intent.succeeded", Kind::SetupIntent, id);
    Ok(())
}

pub(crate) fn fail(cx: &mut Context, id: &str, error: ApiError) -> ApiError {
    cx.edit(Kind::SetupIntent, id, |value| {
        json::set(value, "status", "requires_payment_method");
        json::set(value, "payment_method", Value::Null);
        json::set(value, "next_action", Value::Null);
        json::set(value, "last_setup_error", error.object());
    });
    cx.emit("setup_intent.setup_failed", Kind::SetupIntent, id);
    error
}
