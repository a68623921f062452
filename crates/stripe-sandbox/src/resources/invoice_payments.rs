//! Invoice payments: which payment intent settles which invoice.

use serde_json::{Value, json};

use crate::api::{Call, Route, page, whole};
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::store::Kind;

pub(crate) const ROUTES: &[Route] = &[
    Route::list("/v1/invoice_payments", "invoice status payment.type payment.payment_intent payment.charge", list),
    Route::get("/v1/invoice_payments/{id}", "", retrieve),
];

pub(crate) fn create(cx: &mut Context, invoice: &str, intent: &str, amount: i64) {
    let id = cx.ids.long("inpay_");
    let value = json!({
        "id": id,
        "object": "invoice_payment",
        "amount_paid": null,
        "amount_requested": amount,
        "created": cx.now,
        "currency": json::text(&cx.object(Kind::Invoice, invoice), "currency"),
        "invoice": invoice,
        "is_default": true,
        "livemode": false,
        "payment": { "payment_intent": intent, "type": "payment_intent" },
        "status": "open",
        "status_transitions": { "canceled_at": null, "paid_at": null },
    });
    cx.create(Kind::InvoicePayment, &id, value);
}

fn find_of(cx: &Context, invoice: &str) -> Option<(String, Value)> {
    cx.store
        .newest_first(Kind::InvoicePayment)
        .find(|(_, value)| json::text(value, "invoice") == invoice)
        .map(|(id, value)| (id.to_owned(), value.clone()))
}

pub(crate) fn intent_of(cx: &Context, invoice: &str) -> Option<String> {
    find_of(cx, invoice).and_then(|(_, value)| json::opt_text(&value, "payment.payment_intent").map(str::to_owned))
}

pub(crate) fn of_invoice(cx: &Context, invoice: &str) -> Value {
    let data = cx.store.newest_first(Kind::InvoicePayment).filter(|(_, value)| json::text(value, "invoice") == invoice);
    whole(data.map(|(_, value)| json::public(value)).collect(), "/v1/invoice_payments")
}

pub(crate) fn pay(cx: &mut Context, invoice: &str) {
    let Some((id, _)) = find_of(cx, invoice) else { return };
    let now = cx.now;
    cx.edit(Kind::InvoicePayment, &id, |value| {
        let amount = json::int(value, "amount_requested");
        json::set(value, "amount_paid", amount);
        json::set(value, "status", "paid");
        json::set(value, "status_transitions.paid_at", now);
    });
    cx.emit("invoice_payment.paid", Kind::InvoicePayment, &id);
}

pub(crate) fn cancel(cx: &mut Context, invoice: &str) {
    let Some((id, _)) = find_of(cx, invoice) else { return };
    let now = cx.now;
    cx.edit(Kind::InvoicePayment, &id, |value| {
        json::set(value, "status", "canceled");
        json::set(value, "status_transitions.canceled_at", now);
    });
}

fn list(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let params = &call.params;
    let wanted = [
        ("invoice", "invoice"),
        ("status", "status"),
        ("payment.type", "payment.type"),
        ("payment.payment_intent", "payment.payment_intent"),
        ("payment.charge", "payment.charge"),
    ];
    page(cx, call, Kind::InvoicePayment, |value| {
        wanted.iter().all(|(param, path)| params.filled(param).is_none_or(|want| json::text(value, path) == want))
    })
}

fn retrieve(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    Ok(json::public(&cx.find(Kind::InvoicePayment, call.id())?))
}
