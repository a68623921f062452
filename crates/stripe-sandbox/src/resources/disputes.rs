//! Disputes: opened by two test cards, closed by a call of the sandbox's own.

use serde_json::{Value, json};

use crate::api::{Call, Route, page};
use crate::clock::DAY;
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::store::Kind;

const EVIDENCE_FIELDS: &[&str] = &[
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
];

pub(crate) const ROUTES: &[Route] = &[
    Route::list("/v1/disputes", "charge payment_intent", list),
    Route::get("/v1/disputes/{id}", "", retrieve),
    Route::post("/v1/disputes/{id}/close", "", close),
];

/// An inquiry asks before any money is withdrawn.
pub(crate) fn open(cx: &mut Context, charge: &str, inquiry: bool) {
    let id = cx.ids.long("dp_");
    let paid = cx.object(Kind::Charge, charge);
    let mut evidence: serde_json::Map<String, Value> =
        EVIDENCE_FIELDS.iter().map(|field| ((*field).to_owned(), Value::Null)).collect();
    evidence.insert("enhanced_evidence".into(), json!({}));
    let value = json!({
        "id": id,
        "object": "dispute",
        "amount": paid["amount"],
        "balance_transactions": [],
        "charge": charge,
        "created": cx.now,
        "currency": paid["currency"],
        "enhanced_eligibility_types": [],
        "evidence": evidence,
        "evidence_details": {
            "due_by": cx.now + 9 * DAY,
            "enhanced_eligibility": {},
            "has_evidence": false,
            "past_due": false,
            "submission_count": 0,
        },
        "is_charge_refundable": inquiry,
        "livemode": false,
        "metadata": {},
        "payment_intent": paid["payment_intent"],
        "payment_method_details": {
            "card": {
                "brand": "visa",
                "case_type": if inquiry { "inquiry" } else { "chargeback" },
                "network_reason_code": "10.4",
            },
            "type": "card",
        },
        "reason": "fraudulent",
        "status": if inquiry { "warning_needs_response" } else { "needs_response" },
    });
    cx.create(Kind::Dispute, &id, value);
    cx.edit(Kind::Charge, charge, |value| json::set(value, "disputed", true));
    cx.emit("charge.dispute.created", Kind::Dispute, &id);
    if !inquiry {
        cx.emit("charge.dispute.funds_withdrawn", Kind::Dispute, &id);
    }
}

fn list(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    page(cx, call, Kind::Dispute, |value| {
        ["charge", "payment_intent"]
            .iter()
            .all(|field| call.params.filled(field).is_none_or(|want| json::text(value, field) == want))
    })
}

fn retrieve(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    Ok(json::public(&cx.find(Kind::Dispute, call.id())?))
}

/// Stripe's own call: the merchant accepts the dispute and loses it.
fn close(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    cx.find(Kind::Dispute, call.id())?;
    decide(cx, call.id(), false);
    Ok(json::public(&cx.object(Kind::Dispute, call.id())))
}

/// The bank's decision.
pub(crate) fn decide(cx: &mut Context, id: &str, won: bool) {
    let inquiry = json::text(&cx.object(Kind::Dispute, id), "status").starts_with("warning");
    let status = match (inquiry, won) {
        (true, _) => "warning_closed",
        (false, true) => "won",
        (false, false) => "lost",
    };
    cx.change(Kind::Dispute, id, "charge.dispute.closed", |value| json::set(value, "status", status));
    if status == "won" {
        cx.emit("charge.dispute.funds_reinstated", Kind::Dispute, id);
    }
}
