//! Subscriptions: rendered, created, listed, read. What changes them is in `subscription_update`.

use serde_json::{Value, json};

use super::{metadata, payment_methods};
use crate::api::{Call, Route, page, whole};
use crate::billing::invoices;
use crate::billing::payments::{Failure, Holder};
use crate::billing::subscriptions::{self, Start};
use crate::clock::{DAY, next_period_end};
use crate::context::Context;
use crate::error::ApiError;
use crate::form::Params;
use crate::json;
use crate::store::Kind;

pub(crate) const ROUTES: &[Route] = &[
    Route::post(
        "/v1/subscriptions",
        "customer! automatic_tax.enabled billing_mode.type billing_mode.flexible.** cancel_at cancel_at_period_end \
         collection_method currency default_payment_method description items.#.price items.#.quantity \
         items.#.metadata.* metadata metadata.* off_session payment_behavior payment_settings.** \
         proration_behavior trial_end trial_period_days trial_settings.end_behavior.missing_payment_method",
        create,
    ),
    Route::list("/v1/subscriptions", "customer price status collection_method", list),
    Route::get("/v1/subscriptions/{id}", "", retrieve),
];

const STATUSES: &[&str] = &[
    "active",
    "all",
    "canceled",
    "ended",
    "incomplete",
    "incomplete_expired",
    "past_due",
    "paused",
    "trialing",
    "unpaid",
];

pub(crate) fn render(cx: &Context, id: &str, start: &Start) -> Value {
    let recurring = &start.items[0].0["recurring"];
    let interval = json::text(recurring, "interval");
    let anchor = start.trial_end.unwrap_or(cx.now);
    let regular_end = next_period_end(cx.now, interval, json::int(recurring, "interval_count"), cx.now);
    let period = (cx.now, start.trial_end.unwrap_or(regular_end));
    let items = start.items.iter().map(|(price, quantity)| item(cx, id, price, *quantity, period)).collect();
    let cancel_at = start.cancel_at.or(start.cancel_at_period_end.then_some(period.1));
    json!({
        "id": id,
        "object": "subscription",
        "application": null,
        "application_fee_percent": null,
        "automatic_tax": { "disabled_reason": null, "enabled": false, "liability": null },
        "billing_cycle_anchor": anchor,
        "billing_cycle_anchor_config": null,
        "billing_mode": { "flexible": { "proration_discounts": "included" }, "type": "flexible" },
        "billing_schedules": [],
        "billing_thresholds": null,
        "cancel_at": cancel_at,
        "cancel_at_period_end": start.cancel_at_period_end,
        "canceled_at": cancel_at.map(|_| cx.now),
        "cancellation_details": { "comment": null, "feedback": null, "reason": null },
        "collection_method": "charge_automatically",
        "created": cx.now,
        "currency": start.items[0].0["currency"],
        "customer": start.customer,
        "customer_account": null,
        "days_until_due": null,
        "default_payment_method": start.default_payment_method,
        "default_source": null,
        "default_tax_rates": [],
        "description": start.description,
        "discounts": [],
        "ended_at": null,
        "invoice_settings": { "account_tax_ids": null, "issuer": { "type": "self" } },
        "items": whole(items, &format!("/v1/subscription_items?subscription={id}")),
        "latest_invoice": null,
        "livemode": false,
        "metadata": start.metadata,
        "next_pending_invoice_item_invoice": null,
        "on_behalf_of": null,
        "pause_collection": null,
        "payment_settings": {
            "payment_method_options": null, "payment_method_types": null, "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": null,
        "pending_setup_intent": null,
        "pending_update": null,
        "schedule": null,
        "start_date": cx.now,
        "status": if start.trial_end.is_some() { "trialing" } else { "incomplete" },
        "test_clock": null,
        "transfer_data": null,
        "trial_end": start.trial_end,
        "trial_settings": { "end_behavior": { "missing_payment_method": start.missing_card_at_trial_end } },
        "trial_start": start.trial_end.map(|_| cx.now),
    })
}

pub(crate) fn item(cx: &Context, subscription: &str, price: &Value, quantity: i64, period: (i64, i64)) -> Value {
    json!({
        "id": cx.ids.short("si_"),
        "object": "subscription_item",
        "billing_thresholds": null,
        "created": cx.now,
        "current_period_end": period.1,
        "current_period_start": period.0,
        "discounts": [],
        "metadata": {},
        "price": json::public(price),
        "quantity": quantity,
        "subscription": subscription,
        "tax_rates": [],
    })
}

fn create(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let params = &call.params;
    let customer = params.required("customer")?.to_owned();
    let owner = cx.reference(Kind::Customer, &customer, "customer")?;
    let card = match params.filled("default_payment_method") {
        Some(name) => Some(payment_methods::owned(cx, name, &customer, "default_payment_method")?),
        None => None,
    };
    let start = Start {
        customer: &customer,
        items: priced_items(cx, params, &owner)?,
        trial_end: trial_end(params, "", cx.now, 0)?,
        default_payment_method: card.as_deref(),
        metadata: metadata::new(params, "metadata")?,
        description: params.filled("description"),
        missing_card_at_trial_end: missing_card(params, "trial_settings")?,
        cancel_at_period_end: params.flag("cancel_at_period_end")?.unwrap_or_default(),
        cancel_at: params.int("cancel_at")?,
    };
    let behavior = params.one_of(
        "payment_behavior",
        &["allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"],
    )?;
    let id = subscriptions::begin(cx, &start);
    let invoice = subscriptions::first_invoice(cx, &id, Vec::new());
    settle_first(cx, &invoice, behavior.unwrap_or("allow_incomplete"))?;
    subscriptions::announce(cx, &id);
    Ok(json::public(&cx.object(Kind::Subscription, &id)))
}

fn settle_first(cx: &mut Context, invoice: &str, behavior: &str) -> Result<(), ApiError> {
    invoices::finalize(cx, invoice, None);
    let value = cx.object(Kind::Invoice, invoice);
    if json::text(&value, "status") == "paid" || behavior == "default_incomplete" {
        return Ok(());
    }
    if invoices::card_for(cx, &value).is_none() {
        return Err(invoices::no_card());
    }
    match invoices::collect(cx, invoice, None, Holder::Present) {
        Err(failure) if behavior == "error_if_incomplete" => Err(Failure::into_error(failure).undone()),
        // An incomplete subscription waits for its first payment.
        Ok(()) | Err(_) => Ok(()),
    }
}

fn priced_items(cx: &Context, params: &Params, customer: &Value) -> Result<Vec<(Value, i64)>, ApiError> {
    let items = params.list("items");
    if items.is_empty() {
        return Err(ApiError::missing("items"));
    }
    items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let path = format!("items.{index}.price");
            let id = item.filled("price").ok_or_else(|| ApiError::missing(&path))?;
            let price = recurring_price(cx, id, &path)?;
            check_currency(customer, json::text(&price, "currency"))?;
            Ok((price, item.int("quantity")?.unwrap_or(1)))
        })
        .collect()
}

pub(crate) fn recurring_price(cx: &Context, id: &str, path: &str) -> Result<Value, ApiError> {
    let price = cx.reference(Kind::Price, id, path)?;
    if price["recurring"].is_null() {
        let message = format!(
            "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`. \
             (price: {id})"
        );
        return Err(ApiError::invalid(message).param(path));
    }
    active_price(price, path)
}

pub(crate) fn active_price(price: Value, path: &str) -> Result<Value, ApiError> {
    if json::flag(&price, "active") {
        return Ok(price);
    }
    let id = json::text(&price, "id");
    let message = format!("The price specified is inactive. This field only accepts active prices. (price: {id})");
    Err(ApiError::invalid(message).code("price_inactive").param(path))
}

/// A customer pays in one currency for good.
pub(crate) fn check_currency(customer: &Value, currency: &str) -> Result<(), ApiError> {
    match json::opt_text(customer, "currency") {
        Some(other) if other != currency => Err(ApiError::invalid(format!(
            "You cannot combine currencies on a single customer. This customer has an active subscription, \
             subscription schedule, discount, quote, or invoice item with currency {other}."
        ))),
        _ => Ok(()),
    }
}

pub(crate) fn missing_card(params: &Params, path: &str) -> Result<String, ApiError> {
    let path = format!("{path}.end_behavior.missing_payment_method");
    let given = params.one_of(&path, &["cancel", "create_invoice", "pause"])?;
    Ok(given.unwrap_or("create_invoice").to_owned())
}

/// `{prefix}trial_end` or `{prefix}trial_period_days`; `ahead_min` is how far ahead a trial's end has to be.
pub(crate) fn trial_end(params: &Params, prefix: &str, now: i64, ahead_min: i64) -> Result<Option<i64>, ApiError> {
    let (end_path, days_path) = (format!("{prefix}trial_end"), format!("{prefix}trial_period_days"));
    if params.filled(&end_path) == Some("now") {
        return Ok(None);
    }
    match (params.int(&end_path)?, params.int(&days_path)?) {
        (Some(_), Some(_)) => {
            Err(ApiError::invalid("You cannot set both `trial_end` and `trial_period_days`.").param(&days_path))
        }
        (Some(end), None) if end < now + ahead_min => {
            let message = if ahead_min > 0 {
                "The `trial_end` date has to be at least 2 days in the future."
            } else {
                "Invalid timestamp: must be an integer Unix timestamp in the future."
            };
            Err(ApiError::invalid(message).param(&end_path))
        }
        (Some(end), None) if end > now + 730 * DAY => {
            Err(ApiError::invalid("The `trial_end` date cannot be more than 2 years in the future.").param(&end_path))
        }
        (Some(end), None) => Ok(Some(end)),
        (None, Some(days)) if !(1..=730).contains(&days) => {
            Err(ApiError::invalid("Invalid integer: the number of trial days is between 1 and 730.").param(&days_path))
        }
        (None, days) => Ok(days.map(|days| now + days * DAY)),
    }
}

fn list(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let params = &call.params;
    let status = params.one_of("status", STATUSES)?;
    page(cx, call, Kind::Subscription, |value| {
        let state = json::text(value, "status");
        let fits = match status {
            None => state != "canceled",
            Some("all") => true,
            Some("ended") => matches!(state, "canceled" | "incomplete_expired"),
            Some(wanted) => state == wanted,
        };
        fits && params.filled("customer").is_none_or(|want| json::text(value, "customer") == want)
            && params.filled("collection_method").is_none_or(|want| json::text(value, "collection_method") == want)
            && params.filled("price").is_none_or(|want| {
                json::items(value, "items.data").iter().any(|item| json::text(item, "price.id") == want)
            })
    })
}

fn retrieve(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    Ok(json::public(&cx.find(Kind::Subscription, call.id())?))
}
