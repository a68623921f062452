//! Charges.

use serde_json::{Value, json};

use crate::api::{Call, Route, page};
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::store::Kind;

pub(crate) const ROUTES: &[Route] =
    &[Route::list("/v1/charges", "customer payment_intent", list), Route::get("/v1/charges/{id}", "", retrieve)];

/// Records one attempt at the intent's money; `error` says why it failed.
pub(crate) fn create(cx: &mut Context, intent: &str, payment_method: &str, error: Option<&ApiError>) -> String {
    let id = cx.ids.long("ch_");
    let intent = cx.object(Kind::PaymentIntent, intent);
    let card = cx.object(Kind::PaymentMethod, payment_method);
    let amount = json::int(&intent, "amount");
    let reason = error.map(ApiError::object).unwrap_or_default();
    let paid = error.is_none();
    let transaction = paid.then(|| cx.ids.long("txn_"));
    let value = json!({
        "id": id,
        "object": "charge",
        "amount": amount,
        "amount_captured": if paid { amount } else { 0 },
        "amount_refunded": 0,
        "application": null,
        "application_fee": null,
        "application_fee_amount": null,
        "balance_transaction": transaction,
        "billing_details": card["billing_details"],
        "calculated_statement_descriptor": "SANDBOX",
        "captured": paid,
        "created": cx.now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": false,
        "failure_balance_transaction": null,
        "failure_code": json::opt_text(&reason, "code"),
        "failure_message": json::opt_text(&reason, "message"),
        "fraud_details": {},
        "livemode": false,
        "metadata": intent["metadata"],
        "on_behalf_of": null,
        "outcome": outcome(&reason, paid),
        "paid": paid,
        "payment_intent": intent["id"],
        "payment_method": payment_method,
        "payment_method_details": { "card": card_details(&card, amount), "type": "card" },
        "receipt_email": null,
        "receipt_number": null,
        "receipt_url": null,
        "refunded": false,
        "review": null,
        "shipping": intent["shipping"],
        "source_transfer": null,
        "statement_descriptor": null,
        "statement_descriptor_suffix": null,
        "status": if paid { "succeeded" } else { "failed" },
        "transfer_data": null,
        "transfer_group": null,
    });
    cx.create(Kind::Charge, &id, value);
    id
}

fn outcome(reason: &Value, paid: bool) -> Value {
    json!({
        "advice_code": json::opt_text(reason, "advice_code"),
        "network_advice_code": null,
        "network_decline_code": json::opt_text(reason, "network_decline_code"),
        "network_status": if paid { "approved_by_network" } else { "declined_by_network" },
        "reason": json::opt_text(reason, "decline_code"),
        "risk_level": "normal",
        "risk_score": 20,
        "seller_message": if paid { "Payment complete." } else { "The bank did not return any further details." },
        "type": if paid { "authorized" } else { "issuer_declined" },
    })
}

fn card_details(card: &Value, amount: i64) -> Value {
    json!({
        "amount_authorized": amount,
        "authorization_code": null,
        "brand": card["card"]["brand"],
        "checks": card["card"]["checks"],
        "country": card["card"]["country"],
        "exp_month": card["card"]["exp_month"],
        "exp_year": card["card"]["exp_year"],
        "extended_authorization": { "status": "disabled" },
        "fingerprint": card["card"]["fingerprint"],
        "funding": card["card"]["funding"],
        "incremental_authorization": { "status": "unavailable" },
        "installments": null,
        "last4": card["card"]["last4"],
        "mandate": null,
        "multicapture": { "status": "unavailable" },
        "network": card["card"]["brand"],
        "network_token": { "used": false },
        "network_transaction_id": null,
        "overcapture": { "maximum_amount_capturable": amount, "status": "unavailable" },
        "regulated_status": "unregulated",
        "three_d_secure": null,
        "wallet": null,
    })
}

fn list(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    page(cx, call, Kind::Charge, |value| {
        ["customer", "payment_intent"]
            .iter()
            .all(|field| call.params.filled(field).is_none_or(|want| json::text(value, field) == want))
    })
}

fn retrieve(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    Ok(json::public(&cx.find(Kind::Charge, call.id())?))
}
