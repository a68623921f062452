//! Subscriptions: begun, renewed, past due, ended. The states and their events follow the clock and the invoices.

use serde_json::{Value, json};

use super::invoices::{self, Draft};
use super::lines;
use super::payments::Holder;
use crate::clock::{DAY, next_period_end};
use crate::context::Context;
use crate::json;
use crate::resources::{invoiceitems, schedules, subscriptions};
use crate::store::Kind;

const TRIAL_WARNING_SECONDS: i64 = 3 * DAY;

pub(crate) struct Start<'a> {
    pub customer: &'a str,
    /// Price objects and quantities.
    pub items: Vec<(Value, i64)>,
    pub trial_end: Option<i64>,
    pub default_payment_method: Option<&'a str>,
    pub metadata: Value,
    pub description: Option<&'a str>,
    pub missing_card_at_trial_end: String,
    pub cancel_at_period_end: bool,
    pub cancel_at: Option<i64>,
}

/// Writes the subscription; its `created` event follows once its first invoice is settled.
pub(crate) fn begin(cx: &mut Context, start: &Start) -> String {
    let id = cx.ids.long("sub_");
    let value = subscriptions::render(cx, &id, start);
    cx.create(Kind::Subscription, &id, value);
    id
}

/// The first invoice: the items' first period, or a trial for nothing, and one-time lines.
pub(crate) fn first_invoice(cx: &mut Context, id: &str, mut extra: Vec<Value>) -> String {
    let subscription = cx.object(Kind::Subscription, id);
    let trial = json::text(&subscription, "status") == "trialing";
    let mut all: Vec<Value> = json::items(&subscription, "items.data")
        .iter()
        .map(|item| lines::of_item(cx, &subscription, item, period_of(item), trial))
        .collect();
    all.append(&mut extra);
    draft_for(cx, &subscription, "subscription_create", all, (cx.now, cx.now), None)
}

fn draft_for(
    cx: &mut Context,
    subscription: &Value,
    reason: &'static str,
    lines: Vec<Value>,
    period: (i64, i64),
    finalizes_at: Option<i64>,
) -> String {
    let id = json::text(subscription, "id");
    invoices::draft(
        cx,
        Draft {
            customer: json::text(subscription, "customer"),
            subscription: Some(id),
            reason,
            currency: json::text(subscription, "currency"),
            lines,
            period,
            finalizes_at,
            metadata: json!({}),
            description: None,
            default_payment_method: None,
        },
    )
}

pub(crate) fn period_of(item: &Value) -> (i64, i64) {
    (json::int(item, "current_period_start"), json::int(item, "current_period_end"))
}

/// When the running period ends: the earliest end over the items.
pub(crate) fn period_end(subscription: &Value) -> i64 {
    json::items(subscription, "items.data").iter().map(|item| period_of(item).1).min().unwrap_or(i64::MAX)
}

/// The period is over: the next one begins, and a draft invoice waits for it. The period moves before the money does.
pub(crate) fn renew(cx: &mut Context, id: &str) {
    let before = cx.object(Kind::Subscription, id);
    let end = period_end(&before);
    advance_period(cx, id, end);
    let invoice = draft_period(cx, id, period_of(&before["items"]["data"][0]), Some(cx.now + invoices::DRAFT_SECONDS));
    debug_assert!(!invoice.is_empty(), "a renewal has an invoice");
    cx.emit_with_previous("customer.subscription.updated", Kind::Subscription, id, &before);
}

fn draft_period(cx: &mut Context, id: &str, past: (i64, i64), finalizes_at: Option<i64>) -> String {
    let subscription = cx.object(Kind::Subscription, id);
    // In Stripe's order: what waited comes before the period itself, which so may lie behind the lines that an invoice shows.
    let (mut all, taken) = invoiceitems::pending(cx, json::text(&subscription, "customer"), Some(id));
    let items = json::items(&subscription, "items.data").iter();
    all.extend(items.map(|item| lines::of_item(cx, &subscription, item, period_of(item), false)));
    let invoice = draft_for(cx, &subscription, "subscription_cycle", all, past, finalizes_at);
    invoiceitems::take(cx, &taken, &invoice);
    invoice
}

fn advance_period(cx: &mut Context, id: &str, from: i64) {
    cx.edit(Kind::Subscription, id, |value| {
        let anchor = json::int(value, "billing_cycle_anchor");
        let recurring = value["items"]["data"][0]["price"]["recurring"].clone();
        let interval = json::text(&recurring, "interval");
        let end = next_period_end(anchor, interval, json::int(&recurring, "interval_count"), from);
        set_period(value, from, end);
    });
}

pub(crate) fn set_period(subscription: &mut Value, start: i64, end: i64) {
    let data = subscription.pointer_mut("/items/data").and_then(Value::as_array_mut);
    for item in data.into_iter().flatten() {
        json::set(item, "current_period_start", start);
        json::set(item, "current_period_end", end);
    }
}

/// The trial is over: with a card the paid life begins, without one the trial's settings decide.
pub(crate) fn end_trial(cx: &mut Context, id: &str) {
    let before = cx.object(Kind::Subscription, id);
    let customer = cx.object(Kind::Customer, json::text(&before, "customer"));
    let has_card = json::opt_text(&before, "default_payment_method")
        .or_else(|| json::opt_text(&customer, "invoice_settings.default_payment_method"))
        .is_some();
    let without_card = json::text(&before, "trial_settings.end_behavior.missing_payment_method");
    match without_card {
        "cancel" if !has_card => return cancel(cx, id, None),
        "pause" if !has_card => {
            cx.edit(Kind::Subscription, id, |value| json::set(value, "status", "paused"));
            cx.emit_with_previous("customer.subscription.updated", Kind::Subscription, id, &before);
            return cx.emit("customer.subscription.paused", Kind::Subscription, id);
        }
        _ => {}
    }
    let invoice = start_paid_period(cx, id, Some(cx.now + invoices::DRAFT_SECONDS));
    debug_assert!(!invoice.is_empty(), "a paid period has an invoice");
    cx.emit_with_previous("customer.subscription.updated", Kind::Subscription, id, &before);
}

/// Begins a paid period now; without `finalizes_at` the caller settles the invoice.
pub(crate) fn start_paid_period(cx: &mut Context, id: &str, finalizes_at: Option<i64>) -> String {
    let now = cx.now;
    let past = period_of(&cx.object(Kind::Subscription, id)["items"]["data"][0]);
    cx.edit(Kind::Subscription, id, |value| {
        json::set(value, "status", "active");
        json::set(value, "billing_cycle_anchor", now);
        if json::opt_int(value, "trial_end").is_some_and(|end| end > now) {
            json::set(value, "trial_end", now);
        }
    });
    advance_period(cx, id, now);
    draft_period(cx, id, past, finalizes_at)
}

/// Sends `trial_will_end` once, three days ahead or at once when the trial is shorter.
pub(crate) fn trial_warning_at(subscription: &Value) -> Option<i64> {
    if json::text(subscription, "status") != "trialing" || json::flag(subscription, "_trial_warned") {
        return None;
    }
    let warning = json::opt_int(subscription, "trial_end")? - TRIAL_WARNING_SECONDS;
    Some(warning.max(json::int(subscription, "created")))
}

pub(crate) fn warn_of_trial_end(cx: &mut Context, id: &str) {
    cx.edit(Kind::Subscription, id, |value| json::set(value, "_trial_warned", true));
    cx.emit("customer.subscription.trial_will_end", Kind::Subscription, id);
}

/// Ends the subscription for good. `reason` replaces what an earlier request to cancel has left.
pub(crate) fn cancel(cx: &mut Context, id: &str, reason: Option<&str>) {
    let now = cx.now;
    cx.edit(Kind::Subscription, id, |value| {
        json::set(value, "status", "canceled");
        json::set(value, "ended_at", now);
        if value["canceled_at"].is_null() {
            json::set(value, "canceled_at", now);
        }
        if let Some(reason) = reason {
            json::set(value, "cancellation_details.reason", reason);
        }
        json::set(value, "pending_update", Value::Null);
    });
    stop_invoices(cx, id);
    schedules::end_with(cx, id);
    cx.emit("customer.subscription.deleted", Kind::Subscription, id);
}

/// Open and draft invoices of an ended subscription are not advanced any more.
fn stop_invoices(cx: &mut Context, id: &str) {
    let running: Vec<String> = cx
        .store
        .newest_first(Kind::Invoice)
        .filter(|(_, invoice)| json::text(invoice, "parent.subscription_details.subscription") == id)
        .filter(|(_, invoice)| json::flag(invoice, "auto_advance"))
        .map(|(invoice, _)| invoice.to_owned())
        .collect();
    for invoice in running {
        cx.change(Kind::Invoice, &invoice, "invoice.updated", |value| {
            json::set(value, "auto_advance", false);
            json::set(value, "next_payment_attempt", Value::Null);
            json::set(value, "automatically_finalizes_at", Value::Null);
        });
    }
}

/// Cancels every live subscription of a customer who is deleted.
pub(crate) fn cancel_all(cx: &mut Context, customer: &str) {
    let live: Vec<String> = cx
        .store
        .oldest_first(Kind::Subscription)
        .filter(|(_, value)| json::text(value, "customer") == customer && !is_over(value))
        .map(|(id, _)| id.to_owned())
        .collect();
    for id in live {
        cancel(cx, &id, Some("cancellation_requested"));
    }
}

pub(crate) fn is_over(subscription: &Value) -> bool {
    matches!(json::text(subscription, "status"), "canceled" | "incomplete_expired")
}

/// The first invoice was never paid.
pub(crate) fn expire_incomplete(cx: &mut Context, id: &str) {
    let now = cx.now;
    cx.change(Kind::Subscription, id, "customer.subscription.updated", |value| {
        json::set(value, "status", "incomplete_expired");
        json::set(value, "ended_at", now);
    });
    let invoice = json::text(&cx.object(Kind::Subscription, id), "latest_invoice").to_owned();
    if json::text(&cx.object(Kind::Invoice, &invoice), "status") == "open" {
        invoices::void(cx, &invoice);
    }
}

pub(crate) fn invoice_paid(cx: &mut Context, id: &str, invoice: &Value) {
    let subscription = cx.object(Kind::Subscription, id);
    let latest = json::text(&subscription, "latest_invoice") == json::text(invoice, "id");
    // The first invoice of a subscription that is only now beginning is reported by its `created` event.
    let begun = json::flag(&subscription, "_announced");
    match json::text(&subscription, "status") {
        "incomplete" | "past_due" | "unpaid" if latest && begun => {
            cx.change(Kind::Subscription, id, "customer.subscription.updated", |value| {
                json::set(value, "status", "active");
            });
        }
        "incomplete" if latest => cx.edit(Kind::Subscription, id, |value| json::set(value, "status", "active")),
        _ => {}
    }
}

pub(crate) fn invoice_failed(cx: &mut Context, id: &str, invoice: &Value) {
    let status = json::text(&cx.object(Kind::Subscription, id), "status").to_owned();
    let first = json::text(invoice, "billing_reason") == "subscription_create";
    if first || status == "canceled" || json::flag(invoice, "_leaves_subscription") {
        return;
    }
    let exhausted = invoice["next_payment_attempt"].is_null() && json::flag(invoice, "auto_advance");
    if exhausted {
        return cancel(cx, id, Some("payment_failed"));
    }
    if status == "active" || status == "trialing" {
        cx.change(Kind::Subscription, id, "customer.subscription.updated", |value| {
            json::set(value, "status", "past_due");
        });
    }
}

/// Says that the subscription exists, in the state in which its first invoice left it.
pub(crate) fn announce(cx: &mut Context, id: &str) {
    cx.edit(Kind::Subscription, id, |value| json::set(value, "_announced", true));
    cx.emit("customer.subscription.created", Kind::Subscription, id);
    if trial_warning_at(&cx.object(Kind::Subscription, id)).is_some_and(|at| at <= cx.now) {
        warn_of_trial_end(cx, id);
    }
}

/// Finalizes and collects an invoice whose time has come; a failure is told by events only.
pub(crate) fn settle(cx: &mut Context, invoice: &str) {
    invoices::finalize(cx, invoice, None);
    if json::text(&cx.object(Kind::Invoice, invoice), "status") == "open" {
        let _told_by_events = invoices::collect(cx, invoice, None, Holder::Absent);
    }
}
