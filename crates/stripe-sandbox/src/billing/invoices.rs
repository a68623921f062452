//! Invoices: drafted, finalized, collected; and what a payment or its failure does to the subscription behind them.

use serde_json::{Value, json};

use super::payments::{self, Failure, Holder, Intent, Taken};
use super::{prorations, subscriptions};
use crate::clock::{DAY, HOUR};
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::resources::{invoice_payments, invoices};
use crate::store::Kind;

/// A renewal's draft waits this long, so that a webhook can still add to it.
pub(crate) const DRAFT_SECONDS: i64 = HOUR;
/// After the first failure the card is tried again after 3, then 5, then 7 days.
const RETRY_DAYS: [i64; 3] = [3, 5, 7];

pub(crate) struct Draft<'a> {
    pub customer: &'a str,
    pub subscription: Option<&'a str>,
    pub reason: &'static str,
    pub currency: &'a str,
    pub lines: Vec<Value>,
    pub period: (i64, i64),
    /// When the sandbox finalizes the draft by itself; `None` waits for a call.
    pub finalizes_at: Option<i64>,
    pub metadata: Value,
    pub description: Option<&'a str>,
    pub default_payment_method: Option<&'a str>,
}

pub(crate) fn draft(cx: &mut Context, draft: Draft) -> String {
    let id = cx.ids.long("in_");
    let value = invoices::render(cx, &id, &draft);
    cx.create(Kind::Invoice, &id, value);
    if let Some(subscription) = draft.subscription {
        cx.edit(Kind::Subscription, subscription, |value| json::set(value, "latest_invoice", id.clone()));
    }
    cx.emit("invoice.created", Kind::Invoice, &id);
    id
}

/// Fixes the amounts. An invoice over nothing is paid at once; any other gets a payment, that of the checkout where one has taken
/// the money, or is about to.
pub(crate) fn finalize(cx: &mut Context, id: &str, checkout: Option<(&str, Taken)>) {
    let invoice = cx.object(Kind::Invoice, id);
    let customer = json::text(&invoice, "customer").to_owned();
    let (total, now) = (json::int(&invoice, "total"), cx.now);
    let starting = json::int(&cx.object(Kind::Customer, &customer), "balance");
    let due = (total + starting).max(0);
    let ending = (total + starting).min(0);
    let number = next_number(cx, &customer);
    cx.edit(Kind::Customer, &customer, |value| {
        json::set(value, "balance", ending);
        if value["currency"].is_null() {
            json::set(value, "currency", json::text(&invoice, "currency"));
        }
    });
    let page = format!("{}/invoice/{id}", cx.public_url);
    cx.edit(Kind::Invoice, id, |value| {
        json::set(value, "status", "open");
        json::set(value, "number", number);
        json::set(value, "starting_balance", starting);
        json::set(value, "ending_balance", ending);
        json::set(value, "amount_due", due);
        json::set(value, "amount_remaining", due);
        json::set(value, "effective_at", now);
        json::set(value, "status_transitions.finalized_at", now);
        json::set(value, "automatically_finalizes_at", Value::Null);
        json::set(value, "hosted_invoice_url", page.clone());
        json::set(value, "invoice_pdf", format!("{page}/pdf"));
    });
    if due > 0 {
        let intent = checkout.map_or_else(|| open_intent(cx, &invoice, due), |(intent, _)| intent.to_owned());
        invoice_payments::create(cx, id, &intent, due);
    }
    cx.emit("invoice.finalized", Kind::Invoice, id);
    if checkout.map_or(due == 0, |(_, taken)| taken == Taken::Now) {
        mark_paid(cx, id, false);
    }
}

fn open_intent(cx: &mut Context, invoice: &Value, due: i64) -> String {
    payments::open(
        cx,
        &Intent {
            amount: due,
            currency: json::text(invoice, "currency"),
            customer: json::opt_text(invoice, "customer"),
            description: Some(description_of(invoice)),
            metadata: json!({}),
            shipping: Value::Null,
            saves_card: json::at(invoice, "parent").is_some_and(Value::is_object),
        },
    )
}

fn description_of(invoice: &Value) -> &'static str {
    match json::text(invoice, "billing_reason") {
        "subscription_create" => "Subscription creation",
        "manual" => "Payment for Invoice",
        _ => "Subscription update",
    }
}

fn next_number(cx: &mut Context, customer: &str) -> String {
    let value = cx.object(Kind::Customer, customer);
    let sequence = json::int(&value, "next_invoice_sequence");
    cx.edit(Kind::Customer, customer, |value| json::set(value, "next_invoice_sequence", sequence + 1));
    format!("{}-{sequence:04}", json::text(&value, "invoice_prefix"))
}

/// The card an invoice would be charged to.
pub(crate) fn card_for(cx: &Context, invoice: &Value) -> Option<String> {
    let subscription = json::opt_text(invoice, "parent.subscription_details.subscription")
        .map(|id| cx.object(Kind::Subscription, id))
        .unwrap_or_default();
    let customer = cx.object(Kind::Customer, json::text(invoice, "customer"));
    json::opt_text(invoice, "default_payment_method")
        .or_else(|| json::opt_text(&subscription, "default_payment_method"))
        .or_else(|| json::opt_text(&customer, "invoice_settings.default_payment_method"))
        .map(str::to_owned)
}

pub(crate) fn no_card() -> ApiError {
    ApiError::invalid(
        "This customer has no attached payment source or default payment method. Please consider adding a default \
         payment method.",
    )
    .code("resource_missing")
}

/// Tries to collect an open invoice, by `card` or the one on file.
pub(crate) fn collect(cx: &mut Context, id: &str, card: Option<&str>, holder: Holder) -> Result<(), Failure> {
    let invoice = cx.object(Kind::Invoice, id);
    let card = card.map(str::to_owned).or_else(|| card_for(cx, &invoice));
    let intent = invoice_payments::intent_of(cx, id).unwrap_or_default();
    let outcome = match card {
        Some(card) => payments::confirm(cx, &intent, &card, holder),
        None => Err(Failure::Declined(no_card())),
    };
    match outcome {
        Ok(()) => mark_paid(cx, id, false),
        Err(Failure::NeedsAuthentication) => {
            record_failure(cx, id);
            cx.emit("invoice.payment_action_required", Kind::Invoice, id);
            return Err(Failure::NeedsAuthentication);
        }
        Err(Failure::Declined(error)) => {
            record_failure(cx, id);
            return Err(Failure::Declined(error));
        }
    }
    Ok(())
}

pub(crate) fn record_failure(cx: &mut Context, id: &str) {
    let now = cx.now;
    cx.change(Kind::Invoice, id, "invoice.updated", |value| {
        let attempts = json::int(value, "attempt_count") + 1;
        let retries = json::flag(value, "auto_advance") && json::text(value, "billing_reason") != "subscription_create";
        let pause = usize::try_from(attempts - 1).ok().and_then(|index| RETRY_DAYS.get(index));
        let next = pause.filter(|_| retries).map(|days| now + days * DAY);
        json::set(value, "attempted", true);
        json::set(value, "attempt_count", attempts);
        json::set(value, "next_payment_attempt", next);
    });
    cx.emit("invoice.payment_failed", Kind::Invoice, id);
    let invoice = cx.object(Kind::Invoice, id);
    if let Some(subscription) = json::opt_text(&invoice, "parent.subscription_details.subscription") {
        subscriptions::invoice_failed(cx, subscription, &invoice);
    }
}

/// The money is there, or nothing was owed.
pub(crate) fn mark_paid(cx: &mut Context, id: &str, out_of_band: bool) {
    let now = cx.now;
    let before = cx.object(Kind::Invoice, id);
    let due = json::int(&before, "amount_due");
    cx.edit(Kind::Invoice, id, |value| {
        json::set(value, "status", "paid");
        json::set(value, "attempted", true);
        if due > 0 && !out_of_band {
            json::set(value, "attempt_count", json::int(&before, "attempt_count") + 1);
        }
        json::set(value, if out_of_band { "amount_paid_off_stripe" } else { "amount_paid" }, due);
        json::set(value, "amount_remaining", 0);
        json::set(value, "next_payment_attempt", Value::Null);
        json::set(value, "auto_advance", false);
        json::set(value, "status_transitions.paid_at", now);
    });
    if out_of_band {
        invoice_payments::cancel(cx, id);
    } else {
        invoice_payments::pay(cx, id);
    }
    cx.emit_with_previous("invoice.updated", Kind::Invoice, id, &before);
    cx.emit("invoice.paid", Kind::Invoice, id);
    cx.emit("invoice.payment_succeeded", Kind::Invoice, id);
    if let Some(subscription) = json::opt_text(&before, "parent.subscription_details.subscription") {
        subscriptions::invoice_paid(cx, subscription, &before);
        prorations::apply_pending(cx, subscription, id);
    }
}

pub(crate) fn void(cx: &mut Context, id: &str) {
    let now = cx.now;
    if let Some(intent) = invoice_payments::intent_of(cx, id) {
        invoice_payments::cancel(cx, id);
        if json::text(&cx.object(Kind::PaymentIntent, &intent), "status") != "canceled" {
            payments::cancel(cx, &intent, Some("void_invoice"));
        }
    }
    cx.edit(Kind::Invoice, id, |value| {
        json::set(value, "status", "void");
        json::set(value, "auto_advance", false);
        json::set(value, "amount_remaining", 0);
        json::set(value, "next_payment_attempt", Value::Null);
        json::set(value, "status_transitions.voided_at", now);
    });
    cx.emit("invoice.voided", Kind::Invoice, id);
}
