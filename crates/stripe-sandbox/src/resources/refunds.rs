//! Refunds.

use serde_json::{Value, json};

use super::metadata;
use crate::api::{Call, Route, page};
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::store::Kind;

pub(crate) const ROUTES: &[Route] = &[
    Route::post("/v1/refunds", "amount charge metadata metadata.* payment_intent reason", create),
    Route::list("/v1/refunds", "charge payment_intent", list),
    Route::get("/v1/refunds/{id}", "", retrieve),
    Route::post("/v1/refunds/{id}", "metadata metadata.*", update),
];

fn create(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let params = &call.params;
    let charge = charge_of(cx, call)?;
    let charge_id = json::text(&charge, "id").to_owned();
    let left = json::int(&charge, "amount_captured") - json::int(&charge, "amount_refunded");
    let amount = params.int("amount")?.unwrap_or(left);
    if json::flag(&charge, "refunded") {
        let message = format!("Charge {charge_id} has already been refunded.");
        return Err(ApiError::invalid(message).code("charge_already_refunded"));
    }
    if amount < 1 || amount > left {
        let message = format!("Refund amount ({amount}) is greater than unrefunded amount on charge ({left})");
        return Err(ApiError::invalid(message).param("amount"));
    }
    let reason = params.one_of("reason", &["duplicate", "fraudulent", "requested_by_customer"])?;
    let id = cx.ids.long("re_");
    let value = json!({
        "id": id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": cx.ids.long("txn_"),
        "charge": charge_id,
        "created": cx.now,
        "currency": charge["currency"],
        "destination_details": {
            "card": { "reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund" },
            "type": "card",
        },
        "metadata": metadata::new(params, "metadata")?,
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "receipt_number": null,
        "source_transfer_reversal": null,
        "status": "succeeded",
        "transfer_reversal": null,
    });
    cx.create(Kind::Refund, &id, value);
    cx.emit("refund.created", Kind::Refund, &id);
    cx.change(Kind::Charge, &charge_id, "charge.refunded", |value| {
        let refunded = json::int(value, "amount_refunded") + amount;
        json::set(value, "amount_refunded", refunded);
        json::set(value, "refunded", refunded >= json::int(value, "amount_captured"));
    });
    Ok(json::public(&cx.object(Kind::Refund, &id)))
}

fn charge_of(cx: &Context, call: &Call) -> Result<Value, ApiError> {
    let id = match (call.params.filled("charge"), call.params.filled("payment_intent")) {
        (Some(charge), _) => charge.to_owned(),
        (None, Some(intent)) => {
            let intent = cx.reference(Kind::PaymentIntent, intent, "payment_intent")?;
            json::text(&intent, "latest_charge").to_owned()
        }
        (None, None) => {
            return Err(ApiError::invalid(
                "One of the following params should be provided for this request: payment_intent or charge.",
            ));
        }
    };
    let charge = cx.reference(Kind::Charge, &id, "charge")?;
    if json::flag(&charge, "paid") {
        return Ok(charge);
    }
    Err(ApiError::invalid(format!("Charge {id} does not have a successful payment to refund.")).param("charge"))
}

fn list(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    page(cx, call, Kind::Refund, |value| {
        ["charge", "payment_intent"]
            .iter()
            .all(|field| call.params.filled(field).is_none_or(|want| json::text(value, field) == want))
    })
}

fn retrieve(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    Ok(json::public(&cx.find(Kind::Refund, call.id())?))
}

fn update(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let value = cx.find(Kind::Refund, call.id())?;
    let merged = metadata::merged(&value["metadata"], &call.params, "metadata")?;
    cx.change(Kind::Refund, call.id(), "refund.updated", |value| json::set(value, "metadata", merged));
    Ok(json::public(&cx.object(Kind::Refund, call.id())))
}
