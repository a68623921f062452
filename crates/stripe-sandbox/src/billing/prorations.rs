//! Changing what a subscription costs in the middle of a period.

use serde_json::{Value, json};

use super::invoices::{self, Draft};
use super::lines::{money, product_name};
use super::payments::{Failure, Holder};
use super::subscriptions::{period_of, set_period};
use crate::clock::{HOUR, next_period_end};
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::resources::invoiceitems;
use crate::store::Kind;

/// A change that waits for its payment is given up after this time.
const PENDING_SECONDS: i64 = 23 * HOUR;

/// What the caller of an update asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proration {
    Next,
    AtOnce,
    Off,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    Allow,
    Refuse,
    Wait,
}

/// Replaces the subscription's items. A new interval begins a new period and is charged at once.
pub(crate) fn change_items(
    cx: &mut Context,
    id: &str,
    new_items: Vec<Value>,
    proration: Proration,
    at: i64,
    on_failure: OnFailure,
) -> Result<(), ApiError> {
    let before = cx.object(Kind::Subscription, id);
    let trialing = json::text(&before, "status") == "trialing";
    let new_interval = interval_of(&before["items"]["data"][0]) != interval_of(&new_items[0]);
    let mut items = Vec::new();
    if proration != Proration::Off && !trialing {
        for part in parts(&before, &new_items, new_interval, at) {
            let description = part.description(cx);
            items.push(invoiceitems::create_proration(cx, &before, &part.item, part.amount, &description, part.period));
        }
    }
    apply(cx, id, new_items.clone(), new_interval && !trialing);
    let charges_now = !trialing && (new_interval || (proration == Proration::AtOnce && !items.is_empty()));
    if !charges_now {
        return Ok(());
    }
    let invoice = invoice_now(cx, id, new_interval);
    if json::text(&cx.object(Kind::Invoice, &invoice), "status") != "open" {
        return Ok(());
    }
    if on_failure == OnFailure::Wait {
        cx.edit(Kind::Invoice, &invoice, |value| json::set(value, "_leaves_subscription", true));
    }
    let Err(failure) = invoices::collect(cx, &invoice, None, Holder::Absent) else { return Ok(()) };
    match on_failure {
        OnFailure::Allow => Ok(()),
        OnFailure::Refuse => Err(Failure::into_error(failure).undone()),
        OnFailure::Wait => {
            wait(cx, id, &before, new_items, &invoice);
            Ok(())
        }
    }
}

fn interval_of(item: &Value) -> (String, i64) {
    let interval = json::text(item, "price.recurring.interval").to_owned();
    (interval, json::int(item, "price.recurring.interval_count"))
}

fn apply(cx: &mut Context, id: &str, items: Vec<Value>, new_period: bool) {
    let now = cx.now;
    cx.edit(Kind::Subscription, id, |value| {
        json::set(value, "items.data", items);
        if new_period {
            let (interval, count) = interval_of(&value["items"]["data"][0]);
            json::set(value, "billing_cycle_anchor", now);
            set_period(value, now, next_period_end(now, &interval, count, now));
        }
    });
}

/// A credit or a charge for the rest of a period.
struct Part {
    item: Value,
    amount: i64,
    what: &'static str,
    period: (i64, i64),
}

impl Part {
    fn description(&self, cx: &Context) -> String {
        let name = product_name(cx, json::text(&self.item, "price.product"));
        format!("{} {name} ({})", self.what, money(self.amount, json::text(&self.item, "price.currency")))
    }
}

/// A credit for the unused time of each item that goes, a charge for the remaining time of each that comes, counted from `at`.
/// With a new period only the credits: the new period is invoiced in full.
fn parts(before: &Value, new_items: &[Value], new_period: bool, at: i64) -> Vec<Part> {
    let old_items = json::items(before, "items.data").to_vec();
    let (start, end) = period_of(&old_items[0]);
    let span = (end - start).max(1);
    let left = (end - at).clamp(0, span);
    let share = |item: &Value| {
        let amount = json::int(item, "price.unit_amount") * json::int(item, "quantity");
        let exact = i128::from(amount) * i128::from(left);
        i64::try_from((exact + i128::from(span) / 2) / i128::from(span)).unwrap_or(amount)
    };
    let changed = |item: &Value, others: &[Value]| {
        !others.iter().any(|other| {
            json::text(other, "price.id") == json::text(item, "price.id")
                && json::int(other, "quantity") == json::int(item, "quantity")
        })
    };
    let period = (at, end);
    let credit = |item: &Value| Part { item: item.clone(), amount: -share(item), what: "Unused time on", period };
    let charge = |item: &Value| Part { item: item.clone(), amount: share(item), what: "Remaining time on", period };
    let gone = old_items.iter().filter(|item| new_period || changed(item, new_items));
    let come = new_items.iter().filter(|item| !new_period && changed(item, &old_items));
    gone.map(credit).chain(come.map(charge)).collect()
}

/// The lines of the invoice that a change would bring at once; none where it would bring no invoice.
pub(crate) fn preview(cx: &Context, before: &Value, new_items: &[Value], proration: Proration, at: i64) -> Vec<Value> {
    if json::text(before, "status") == "trialing" {
        return Vec::new();
    }
    let new_period = interval_of(&before["items"]["data"][0]) != interval_of(&new_items[0]);
    let mut lines = Vec::new();
    if proration != Proration::Off && (new_period || proration == Proration::AtOnce) {
        for part in parts(before, new_items, new_period, at) {
            let description = part.description(cx);
            lines.push(invoiceitems::proration_line(cx, before, &part.item, part.amount, &description, part.period));
        }
    }
    if new_period {
        for item in new_items {
            let (interval, count) = interval_of(item);
            let period = (cx.now, next_period_end(cx.now, &interval, count, cx.now));
            lines.push(super::lines::of_item(cx, before, item, period, false));
        }
    }
    lines
}

fn invoice_now(cx: &mut Context, id: &str, new_period: bool) -> String {
    let subscription = cx.object(Kind::Subscription, id);
    let customer = json::text(&subscription, "customer");
    let (mut lines, taken) = invoiceitems::pending(cx, customer, Some(id));
    if new_period {
        for item in json::items(&subscription, "items.data") {
            lines.push(super::lines::of_item(cx, &subscription, item, period_of(item), false));
        }
    }
    let draft = Draft {
        customer,
        subscription: Some(id),
        reason: "subscription_update",
        currency: json::text(&subscription, "currency"),
        lines,
        period: (cx.now, cx.now),
        finalizes_at: Some(cx.now),
        metadata: json!({}),
        description: None,
        default_payment_method: None,
    };
    let invoice = invoices::draft(cx, draft);
    invoiceitems::take(cx, &taken, &invoice);
    invoices::finalize(cx, &invoice, None);
    invoice
}

/// Takes the change back until its invoice is paid.
fn wait(cx: &mut Context, id: &str, before: &Value, new_items: Vec<Value>, invoice: &str) {
    let now = cx.now;
    cx.edit(Kind::Subscription, id, |value| {
        for kept in ["status", "items", "billing_cycle_anchor"] {
            json::set(value, kept, before[kept].clone());
        }
        json::set(value, "_pending_invoice", invoice);
        json::set(
            value,
            "pending_update",
            json!({
                "billing_cycle_anchor": null,
                "discounts": null,
                "expires_at": now + PENDING_SECONDS,
                "metadata": null,
                "subscription_items": new_items,
                "trial_end": null,
                "trial_from_plan": null,
            }),
        );
    });
}

/// The invoice of a waiting change was paid.
pub(crate) fn apply_pending(cx: &mut Context, id: &str, invoice: &str) {
    let before = cx.object(Kind::Subscription, id);
    if before["pending_update"].is_null() || json::text(&before, "_pending_invoice") != invoice {
        return;
    }
    let items = json::items(&before, "pending_update.subscription_items").to_vec();
    let new_period = interval_of(&before["items"]["data"][0]) != interval_of(&items[0]);
    apply(cx, id, items, new_period);
    cx.edit(Kind::Subscription, id, |value| json::set(value, "pending_update", Value::Null));
    cx.emit_with_previous("customer.subscription.pending_update_applied", Kind::Subscription, id, &before);
    cx.emit_with_previous("customer.subscription.updated", Kind::Subscription, id, &before);
}

pub(crate) fn expire_pending(cx: &mut Context, id: &str) {
    let before = cx.object(Kind::Subscription, id);
    let invoice = json::text(&before, "_pending_invoice").to_owned();
    cx.edit(Kind::Subscription, id, |value| json::set(value, "pending_update", Value::Null));
    if json::text(&cx.object(Kind::Invoice, &invoice), "status") == "open" {
        invoices::void(cx, &invoice);
    }
    cx.emit_with_previous("customer.subscription.pending_update_expired", Kind::Subscription, id, &before);
}
