//! What changes a subscription: update, cancel, resume.

use serde_json::{Value, json};

use super::{metadata, payment_methods, schedules, subscriptions as resource};
use crate::api::{Call, Route};
use crate::billing::prorations::{self, OnFailure, Proration};
use crate::billing::subscriptions;
use crate::billing::{invoices, payments::Holder};
use crate::context::Context;
use crate::error::ApiError;
use crate::form::Params;
use crate::json;
use crate::store::Kind;

const FEEDBACK: &[&str] = &[
    "customer_service",
    "low_quality",
    "missing_features",
    "other",
    "switched_service",
    "too_complex",
    "too_expensive",
    "unused",
];

pub(crate) const ROUTES: &[Route] = &[
    Route::post(
        "/v1/subscriptions/{id}",
        "cancel_at cancel_at_period_end cancellation_details.comment cancellation_details.feedback \
         default_payment_method description items.#.id items.#.price items.#.quantity items.#.deleted metadata \
         metadata.* off_session pause_collection pause_collection.behavior pause_collection.resumes_at \
         payment_behavior payment_settings.** proration_behavior proration_date trial_end \
         trial_settings.end_behavior.missing_payment_method billing_cycle_anchor",
        update,
    ),
    Route::delete(
        "/v1/subscriptions/{id}",
        "cancellation_details.comment cancellation_details.feedback invoice_now prorate",
        cancel,
    ),
    Route::post("/v1/subscriptions/{id}/resume", "billing_cycle_anchor proration_behavior proration_date", resume),
];

fn update(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let id = call.id();
    let before = cx.find(Kind::Subscription, id)?;
    if subscriptions::is_over(&before) {
        // Stripe lets only metadata and cancellation details of an ended subscription change.
        let touched = call.params.tree().as_object().into_iter().flat_map(serde_json::Map::keys);
        let kept = ["metadata", "cancellation_details", "expand"];
        if touched.into_iter().any(|key| !kept.contains(&key.as_str())) {
            return Err(ApiError::invalid(
                "A canceled subscription can only update its cancellation_details and metadata.",
            ));
        }
    }
    simple_fields(cx, id, &call.params)?;
    scheduled_cancel(cx, id, &call.params)?;
    let ends_trial = end_trial(cx, id, &call.params)?;
    if call.params.has("items") {
        change_items(cx, id, &call.params)?;
    }
    if before != cx.object(Kind::Subscription, id) {
        cx.emit_with_previous("customer.subscription.updated", Kind::Subscription, id, &before);
    }
    if let Some(invoice) = ends_trial {
        subscriptions::settle(cx, &invoice);
    }
    Ok(json::public(&cx.object(Kind::Subscription, id)))
}

fn simple_fields(cx: &mut Context, id: &str, params: &Params) -> Result<(), ApiError> {
    let mut value = cx.object(Kind::Subscription, id);
    let merged = metadata::merged(&value["metadata"], params, "metadata")?;
    json::set(&mut value, "metadata", merged);
    if let Some(text) = params.text("description") {
        json::set(&mut value, "description", Some(text).filter(|text| !text.is_empty()));
    }
    cancellation_details(&mut value, params)?;
    if params.has("trial_settings") {
        let behavior = resource::missing_card(params, "trial_settings")?;
        json::set(&mut value, "trial_settings.end_behavior.missing_payment_method", behavior);
    }
    if let Some(behavior) =
        params.one_of("pause_collection.behavior", &["keep_as_draft", "mark_uncollectible", "void"])?
    {
        let resumes_at = params.int("pause_collection.resumes_at")?;
        json::set(&mut value, "pause_collection", json!({ "behavior": behavior, "resumes_at": resumes_at }));
    } else if params.text("pause_collection") == Some("") {
        json::set(&mut value, "pause_collection", Value::Null);
    }
    let customer = json::text(&value, "customer").to_owned();
    cx.store.put(Kind::Subscription, id, value);
    if let Some(name) = params.text("default_payment_method") {
        let card = match name {
            "" => None,
            name => Some(payment_methods::owned(cx, name, &customer, "default_payment_method")?),
        };
        cx.edit(Kind::Subscription, id, |value| json::set(value, "default_payment_method", card));
    }
    Ok(())
}

fn cancellation_details(value: &mut Value, params: &Params) -> Result<(), ApiError> {
    if let Some(comment) = params.text("cancellation_details.comment") {
        json::set(value, "cancellation_details.comment", Some(comment).filter(|text| !text.is_empty()));
    }
    if let Some(feedback) = params.one_of("cancellation_details.feedback", FEEDBACK)? {
        json::set(value, "cancellation_details.feedback", feedback);
    }
    Ok(())
}

/// `cancel_at_period_end=true` sets `cancel_at` too; `false` takes back both. A bare `cancel_at`, as the billing portal
/// sets it, is taken back by an empty `cancel_at` only.
fn scheduled_cancel(cx: &mut Context, id: &str, params: &Params) -> Result<(), ApiError> {
    let at_end = params.flag("cancel_at_period_end")?;
    if at_end == Some(true) && params.filled("cancel_at").is_some() {
        let message = "You may only pass one of `cancel_at_period_end` and `cancel_at`.";
        return Err(ApiError::invalid(message).param("cancel_at_period_end"));
    }
    if at_end.is_some() || params.has("cancel_at") {
        schedules::refuse_cancellation(cx, id)?;
    }
    let now = cx.now;
    if let Some(at) = params.int("cancel_at")? {
        if at <= now {
            return Err(ApiError::invalid("The `cancel_at` date has to be in the future.").param("cancel_at"));
        }
        schedule(cx, id, at, false);
    } else if params.text("cancel_at") == Some("") {
        unschedule(cx, id);
    }
    match at_end {
        Some(true) => {
            let end = subscriptions::period_end(&cx.object(Kind::Subscription, id));
            schedule(cx, id, end, true);
        }
        Some(false) if json::flag(&cx.object(Kind::Subscription, id), "cancel_at_period_end") => unschedule(cx, id),
        _ => {}
    }
    Ok(())
}

pub(crate) fn schedule(cx: &mut Context, id: &str, at: i64, at_period_end: bool) {
    let now = cx.now;
    cx.edit(Kind::Subscription, id, |value| {
        if value["cancel_at"].is_null() {
            json::set(value, "canceled_at", now);
        }
        json::set(value, "cancel_at", at);
        json::set(value, "cancel_at_period_end", at_period_end);
        json::set(value, "cancellation_details.reason", "cancellation_requested");
    });
}

pub(crate) fn unschedule(cx: &mut Context, id: &str) {
    cx.edit(Kind::Subscription, id, |value| {
        json::set(value, "cancel_at", Value::Null);
        json::set(value, "cancel_at_period_end", false);
        json::set(value, "canceled_at", Value::Null);
        json::set(value, "cancellation_details", json!({ "comment": null, "feedback": null, "reason": null }));
    });
}

/// `trial_end=now` begins the paid life; the invoice is settled after the subscription's own event. A later end moves
/// the trial.
fn end_trial(cx: &mut Context, id: &str, params: &Params) -> Result<Option<String>, ApiError> {
    let Some(given) = params.filled("trial_end") else { return Ok(None) };
    let trialing = json::text(&cx.object(Kind::Subscription, id), "status") == "trialing";
    if given == "now" {
        return Ok(trialing.then(|| subscriptions::start_paid_period(cx, id, Some(cx.now))));
    }
    let end = resource::trial_end(params, "", cx.now, 0)?;
    let now = cx.now;
    cx.edit(Kind::Subscription, id, |value| {
        if !trialing {
            json::set(value, "trial_start", now);
            json::set(value, "status", "trialing");
        }
        json::set(value, "trial_end", end);
        json::set(value, "billing_cycle_anchor", end);
        json::set(value, "_trial_warned", false);
        let start = subscriptions::period_of(&value["items"]["data"][0]).0;
        subscriptions::set_period(value, start, end.unwrap_or(now));
    });
    Ok(None)
}

fn change_items(cx: &mut Context, id: &str, params: &Params) -> Result<(), ApiError> {
    let before = cx.object(Kind::Subscription, id);
    let items = new_items(cx, &before, params)?;
    let proration = proration(params, "proration_behavior")?;
    let behavior = params.one_of(
        "payment_behavior",
        &["allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"],
    )?;
    let on_failure = match behavior {
        Some("error_if_incomplete") => OnFailure::Refuse,
        Some("pending_if_incomplete") => OnFailure::Wait,
        _ => OnFailure::Allow,
    };
    let at = proration_date(params, "proration_date", &before, cx.now)?;
    prorations::change_items(cx, id, items, proration, at, on_failure)?;
    schedules::follow_items(cx, id);
    Ok(())
}

/// From when on prorations count: now, or an earlier instant of the running period, so that a preview comes true.
pub(crate) fn proration_date(params: &Params, path: &str, subscription: &Value, now: i64) -> Result<i64, ApiError> {
    let Some(at) = params.int(path)? else { return Ok(now) };
    let (start, end) = subscriptions::period_of(&subscription["items"]["data"][0]);
    if (start..=end).contains(&at) {
        Ok(at)
    } else {
        Err(ApiError::invalid("Cannot specify `proration_date` outside of the current period.").param(path))
    }
}

pub(crate) fn proration(params: &Params, path: &str) -> Result<Proration, ApiError> {
    Ok(match params.one_of(path, &["create_prorations", "always_invoice", "none"])? {
        Some("always_invoice") => Proration::AtOnce,
        Some("none") => Proration::Off,
        _ => Proration::Next,
    })
}

/// The items after the update. One without an `id` is added to those that exist, as at Stripe.
fn new_items(cx: &Context, before: &Value, params: &Params) -> Result<Vec<Value>, ApiError> {
    items_after(cx, before, &params.list("items"))
}

pub(crate) fn items_after(cx: &Context, before: &Value, given: &[Params]) -> Result<Vec<Value>, ApiError> {
    let mut items = json::items(before, "items.data").to_vec();
    let period = subscriptions::period_of(&items[0]);
    for (index, given) in given.iter().enumerate() {
        let path = format!("items.{index}.price");
        let price = match given.filled("price") {
            Some(id) => Some(resource::recurring_price(cx, id, &path)?),
            None => None,
        };
        let quantity = given.int("quantity")?;
        let Some(id) = given.filled("id") else {
            let price = price.ok_or_else(|| ApiError::missing(&path))?;
            let subscription = json::text(before, "id");
            items.push(resource::item(cx, subscription, &price, quantity.unwrap_or(1), period));
            continue;
        };
        let position = items
            .iter()
            .position(|item| json::text(item, "id") == id)
            .ok_or_else(|| ApiError::no_such_reference("subscription_item", id, &format!("items.{index}.id")))?;
        if given.flag("deleted")?.unwrap_or_default() {
            items.remove(position);
            continue;
        }
        if let Some(price) = price {
            json::set(&mut items[position], "price", json::public(&price));
        }
        if let Some(quantity) = quantity {
            json::set(&mut items[position], "quantity", quantity);
        }
    }
    let first = items.first().ok_or_else(|| ApiError::invalid("A subscription must have at least one active plan."))?;
    let (currency, recurring) = (json::text(first, "price.currency"), &first["price"]["recurring"]);
    let uniform = items.iter().all(|item| {
        json::text(item, "price.currency") == currency
            && item["price"]["recurring"]["interval"] == recurring["interval"]
    });
    if !uniform || currency != json::text(before, "currency") {
        return Err(ApiError::invalid("All prices of a subscription must share currency and interval.").param("items"));
    }
    Ok(items)
}

fn cancel(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let before = cx.find(Kind::Subscription, call.id())?;
    if subscriptions::is_over(&before) {
        return Err(ApiError::no_such("subscription", call.id()));
    }
    let mut value = before;
    cancellation_details(&mut value, &call.params)?;
    cx.store.put(Kind::Subscription, call.id(), value);
    subscriptions::cancel(cx, call.id(), Some("cancellation_requested"));
    Ok(json::public(&cx.object(Kind::Subscription, call.id())))
}

fn resume(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let before = cx.find(Kind::Subscription, call.id())?;
    if json::text(&before, "status") != "paused" {
        let message = "Subscriptions can only be resumed when their status is `paused`.";
        return Err(ApiError::invalid(message));
    }
    let invoice = subscriptions::start_paid_period(cx, call.id(), Some(cx.now));
    invoices::finalize(cx, &invoice, None);
    if json::text(&cx.object(Kind::Invoice, &invoice), "status") == "open" {
        invoices::collect(cx, &invoice, None, Holder::Absent).map_err(|failure| failure.into_error().undone())?;
    }
    cx.emit_with_previous("customer.subscription.updated", Kind::Subscription, call.id(), &before);
    cx.emit("customer.subscription.resumed", Kind::Subscription, call.id());
    Ok(json::public(&cx.object(Kind::Subscription, call.id())))
}
