//! Invoices.

use serde_json::{Value, json};

use super::{invoiceitems, metadata, payment_methods};
use crate::api::{Call, Route, beginning, page, page_of};
use crate::billing::invoices::{self, Draft};
use crate::billing::payments::Holder;
use crate::clock::DAY;
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::store::Kind;

pub(crate) const ROUTES: &[Route] = &[
    Route::post(
        "/v1/invoices",
        "customer auto_advance collection_method currency custom_fields.** days_until_due default_payment_method \
         description footer metadata metadata.* pending_invoice_items_behavior subscription statement_descriptor",
        create,
    ),
    Route::list("/v1/invoices", "customer subscription status collection_method", list),
    Route::get("/v1/invoices/{id}", "", retrieve),
    Route::post("/v1/invoices/{id}", "auto_advance description metadata metadata.* default_payment_method", update),
    Route::delete("/v1/invoices/{id}", "", delete),
    Route::get("/v1/invoices/{id}/lines", "limit starting_after ending_before", lines),
    Route::post("/v1/invoices/{id}/finalize", "auto_advance", finalize),
    Route::post("/v1/invoices/{id}/pay", "payment_method off_session paid_out_of_band forgive", pay),
    Route::post("/v1/invoices/{id}/void", "", void),
    Route::post("/v1/invoices/{id}/mark_uncollectible", "", mark_uncollectible),
];

pub(crate) fn render(cx: &Context, id: &str, draft: &Draft) -> Value {
    let customer = cx.object(Kind::Customer, draft.customer);
    let total: i64 = draft.lines.iter().map(|line| json::int(line, "amount")).sum();
    let mut lines = draft.lines.clone();
    for line in &mut lines {
        json::set(line, "invoice", id);
        json::set(line, "subscription", draft.subscription);
    }
    let parent = draft.subscription.map(|subscription| {
        let metadata = cx.object(Kind::Subscription, subscription)["metadata"].clone();
        json!({
            "quote_details": null,
            "subscription_details": { "metadata": metadata, "subscription": subscription },
            "type": "subscription_details",
        })
    });
    let mut value = json!({
        "id": id,
        "object": "invoice",
        "amount_due": total.max(0),
        "amount_remaining": total.max(0),
        "auto_advance": draft.finalizes_at.is_some() || draft.reason == "subscription_create",
        "automatically_finalizes_at": draft.finalizes_at,
        "billing_reason": draft.reason,
        "created": cx.now,
        "currency": draft.currency,
        "customer": draft.customer,
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"],
        "default_payment_method": draft.default_payment_method,
        "description": draft.description,
        "lines": beginning(&lines, &format!("/v1/invoices/{id}/lines")),
        "metadata": draft.metadata,
        "parent": parent,
        "period_end": draft.period.1,
        "period_start": draft.period.0,
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "total": total,
        "total_excluding_tax": total,
    });
    let constant = constant_fields();
    value.as_object_mut().expect("rendered as an object").extend(constant.as_object().cloned().unwrap_or_default());
    if json::flag(&value, "lines.has_more") {
        json::set(&mut value, "_lines", lines);
    }
    value
}

/// All lines of an invoice, also those that do not fit into it.
pub(crate) fn lines_of(invoice: &Value) -> &[Value] {
    let path = if json::at(invoice, "_lines").is_some() { "_lines" } else { "lines.data" };
    json::items(invoice, path)
}

/// What every draft of the sandbox has alike.
fn constant_fields() -> Value {
    json!({
        "account_country": "US",
        "account_name": "Sandbox",
        "account_tax_ids": null,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_paid_off_stripe": 0,
        "amount_shipping": 0,
        "application": null,
        "attempt_count": 0,
        "attempted": false,
        "automatic_tax": {
            "disabled_reason": null, "enabled": false, "liability": null, "provider": null, "status": null,
        },
        "collection_method": "charge_automatically",
        "custom_fields": null,
        "customer_account": null,
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_source": null,
        "default_tax_rates": [],
        "discounts": [],
        "due_date": null,
        "effective_at": null,
        "ending_balance": null,
        "footer": null,
        "from_invoice": null,
        "hosted_invoice_url": null,
        "invoice_pdf": null,
        "issuer": { "type": "self" },
        "last_finalization_error": null,
        "latest_revision": null,
        "livemode": false,
        "next_payment_attempt": null,
        "number": null,
        "on_behalf_of": null,
        "payment_settings": {
            "default_mandate": null, "payment_method_options": null, "payment_method_types": null,
        },
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": null,
        "rendering": null,
        "shipping_cost": null,
        "shipping_details": null,
        "starting_balance": 0,
        "statement_descriptor": null,
        "status": "draft",
        "status_transitions": {
            "finalized_at": null, "marked_uncollectible_at": null, "paid_at": null, "voided_at": null,
        },
        "test_clock": null,
        "total_discount_amounts": [],
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": null,
    })
}

fn create(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let params = &call.params;
    let customer = params.required("customer")?;
    cx.reference(Kind::Customer, customer, "customer")?;
    let subscription = params.filled("subscription");
    if let Some(subscription) = subscription {
        cx.reference(Kind::Subscription, subscription, "subscription")?;
    }
    let behavior = params.one_of("pending_invoice_items_behavior", &["include", "exclude"])?;
    let include = behavior == Some("include") || subscription.is_some();
    let (lines, taken) = if include { invoiceitems::pending(cx, customer, subscription) } else { Default::default() };
    let card = match params.filled("default_payment_method") {
        Some(name) => Some(payment_methods::owned(cx, name, customer, "default_payment_method")?),
        None => None,
    };
    let first_currency = lines.first().and_then(|line| json::opt_text(line, "currency")).map(str::to_owned);
    let currency = params.filled("currency").map(str::to_lowercase).or(first_currency);
    let auto_advance = params.flag("auto_advance")?.unwrap_or_default();
    let draft = Draft {
        customer,
        subscription,
        reason: "manual",
        currency: &currency.unwrap_or_else(|| "usd".into()),
        lines,
        period: (cx.now, cx.now),
        finalizes_at: auto_advance.then_some(cx.now + invoices::DRAFT_SECONDS),
        metadata: metadata::new(params, "metadata")?,
        description: params.filled("description"),
        default_payment_method: card.as_deref(),
    };
    let id = invoices::draft(cx, draft);
    invoiceitems::take(cx, &taken, &id);
    if params.one_of("collection_method", &["charge_automatically", "send_invoice"])? == Some("send_invoice") {
        let due = cx.now + params.int("days_until_due")?.ok_or_else(|| ApiError::missing("days_until_due"))? * DAY;
        cx.edit(Kind::Invoice, &id, |value| {
            json::set(value, "collection_method", "send_invoice");
            json::set(value, "due_date", due);
        });
    }
    Ok(json::public(&cx.object(Kind::Invoice, &id)))
}

fn list(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let wanted = [
        ("customer", "customer"),
        ("subscription", "parent.subscription_details.subscription"),
        ("status", "status"),
        ("collection_method", "collection_method"),
    ];
    call.params.one_of("status", &["draft", "open", "paid", "uncollectible", "void"])?;
    page(cx, call, Kind::Invoice, |value| {
        wanted.iter().all(|(param, path)| call.params.filled(param).is_none_or(|want| json::text(value, path) == want))
    })
}

fn retrieve(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    Ok(json::public(&cx.find(Kind::Invoice, call.id())?))
}

fn update(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let mut value = cx.find(Kind::Invoice, call.id())?;
    if let Some(auto_advance) = call.params.flag("auto_advance")? {
        json::set(&mut value, "auto_advance", auto_advance);
    }
    if let Some(description) = call.params.text("description") {
        json::set(&mut value, "description", Some(description).filter(|text| !text.is_empty()));
    }
    if let Some(name) = call.params.filled("default_payment_method") {
        let card = payment_methods::owned(cx, name, json::text(&value, "customer"), "default_payment_method")?;
        json::set(&mut value, "default_payment_method", card);
    }
    let merged = metadata::merged(&value["metadata"], &call.params, "metadata")?;
    json::set(&mut value, "metadata", merged);
    cx.change(Kind::Invoice, call.id(), "invoice.updated", |stored| *stored = value);
    retrieve(cx, call)
}

fn delete(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let value = cx.find(Kind::Invoice, call.id())?;
    if json::text(&value, "status") != "draft" || !value["parent"].is_null() {
        return Err(ApiError::invalid("You can only delete draft invoices that are not of a subscription."));
    }
    cx.emit("invoice.deleted", Kind::Invoice, call.id());
    cx.store.remove(Kind::Invoice, call.id());
    Ok(json!({ "id": call.id(), "object": "invoice", "deleted": true }))
}

fn lines(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let value = cx.find(Kind::Invoice, call.id())?;
    page_of(&call.params, lines_of(&value).to_vec(), &call.path)
}

fn finalize(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let value = cx.find(Kind::Invoice, call.id())?;
    if json::text(&value, "status") != "draft" {
        let message = "This invoice is already finalized, you can't re-finalize a non-draft invoice.";
        return Err(ApiError::invalid(message).code("invoice_not_editable"));
    }
    if let Some(auto_advance) = call.params.flag("auto_advance")? {
        cx.edit(Kind::Invoice, call.id(), |value| json::set(value, "auto_advance", auto_advance));
    }
    invoices::finalize(cx, call.id(), None);
    retrieve(cx, call)
}

fn pay(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let value = cx.find(Kind::Invoice, call.id())?;
    match json::text(&value, "status") {
        "paid" => return Err(ApiError::invalid("Invoice is already paid").code("invoice_already_paid")),
        "void" => return Err(ApiError::invalid("You can only pay an open invoice.").code("invoice_not_editable")),
        "draft" => invoices::finalize(cx, call.id(), None),
        _ => {}
    }
    if call.params.flag("paid_out_of_band")?.unwrap_or_default() {
        invoices::mark_paid(cx, call.id(), true);
    }
    if json::text(&cx.object(Kind::Invoice, call.id()), "status") == "paid" {
        return retrieve(cx, call);
    }
    let card = match call.params.filled("payment_method") {
        Some(name) => Some(payment_methods::owned(cx, name, json::text(&value, "customer"), "payment_method")?),
        None => None,
    };
    let holder = match call.params.flag("off_session")? {
        Some(false) => Holder::Present,
        _ => Holder::Absent,
    };
    invoices::collect(cx, call.id(), card.as_deref(), holder).map_err(|failure| failure.into_error())?;
    retrieve(cx, call)
}

fn void(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let value = cx.find(Kind::Invoice, call.id())?;
    if !matches!(json::text(&value, "status"), "open" | "uncollectible") {
        return Err(ApiError::invalid("You can only void an open invoice.").code("invoice_not_editable"));
    }
    invoices::void(cx, call.id());
    retrieve(cx, call)
}

fn mark_uncollectible(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let value = cx.find(Kind::Invoice, call.id())?;
    if json::text(&value, "status") != "open" {
        return Err(ApiError::invalid("You can only mark an open invoice.").code("invoice_not_editable"));
    }
    let now = cx.now;
    cx.change(Kind::Invoice, call.id(), "invoice.marked_uncollectible", |value| {
        json::set(value, "status", "uncollectible");
        json::set(value, "auto_advance", false);
        json::set(value, "next_payment_attempt", Value::Null);
        json::set(value, "status_transitions.marked_uncollectible_at", now);
    });
    retrieve(cx, call)
}
