//! Subscription schedules: what a subscription turns into when its period ends. Only schedules made from a running
//! subscription exist here, and phases follow each other without a gap, each with the items that it names.

use serde_json::{Value, json};

use super::{subscription_update as update, subscriptions as resource};
use crate::api::{Call, Route, page};
use crate::billing::subscriptions::{is_over, period_of};
use crate::clock::next_period_end;
use crate::context::Context;
use crate::error::ApiError;
use crate::form::Params;
use crate::json;
use crate::store::{Kind, Store};

pub(crate) const ROUTES: &[Route] = &[
    Route::post("/v1/subscription_schedules", "from_subscription! metadata metadata.*", create),
    Route::list("/v1/subscription_schedules", "customer", list),
    Route::get("/v1/subscription_schedules/{id}", "", retrieve),
    Route::post(
        "/v1/subscription_schedules/{id}",
        "end_behavior proration_behavior phases.#.items.#.price phases.#.items.#.quantity phases.#.start_date \
         phases.#.end_date phases.#.duration.interval phases.#.duration.interval_count phases.#.proration_behavior",
        change,
    ),
    Route::post("/v1/subscription_schedules/{id}/release", "preserve_cancel_date", release),
];

fn create(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let from = call.params.required("from_subscription")?;
    let subscription = cx.reference(Kind::Subscription, from, "from_subscription")?;
    if is_over(&subscription) {
        return Err(ApiError::invalid("You cannot migrate a subscription that has ended.").param("from_subscription"));
    }
    if let Some(attached) = json::opt_text(&subscription, "schedule") {
        let message =
            format!("You cannot migrate a subscription that is already attached to a schedule: `{attached}`.");
        return Err(ApiError::invalid(message));
    }
    let id = cx.ids.long("sub_sched_");
    let (start, end) = period_of(&subscription["items"]["data"][0]);
    let ends = !subscription["cancel_at"].is_null();
    let value = json!({
        "id": id,
        "object": "subscription_schedule",
        "application": null,
        "billing_mode": { "flexible": { "proration_discounts": "included" }, "type": "flexible" },
        "canceled_at": null,
        "completed_at": null,
        "created": cx.now,
        "current_phase": { "start_date": start, "end_date": end },
        "customer": subscription["customer"],
        "customer_account": null,
        "default_settings": {
            "application_fee_percent": null,
            "automatic_tax": { "disabled_reason": null, "enabled": false, "liability": null },
            "billing_cycle_anchor": "automatic",
            "billing_thresholds": null,
            "collection_method": "charge_automatically",
            "default_payment_method": null,
            "description": null,
            "invoice_settings": { "account_tax_ids": null, "days_until_due": null, "issuer": { "type": "self" } },
            "on_behalf_of": null,
            "transfer_data": null,
        },
        "end_behavior": if ends { "cancel" } else { "release" },
        "livemode": false,
        "metadata": {},
        "phases": [phase(&subscription, &items_of(&subscription), (start, end), "create_prorations")],
        "released_at": null,
        "released_subscription": null,
        "status": "active",
        "subscription": from,
        "test_clock": null,
    });
    cx.create(Kind::Schedule, &id, value);
    let attached = id.clone();
    cx.change(Kind::Subscription, from, "customer.subscription.updated", |value| {
        json::set(value, "schedule", attached)
    });
    cx.emit("subscription_schedule.created", Kind::Schedule, &id);
    retrieved(cx, &id)
}

fn phase(subscription: &Value, items: &[(String, i64)], period: (i64, i64), proration: &str) -> Value {
    let item = |(price, quantity): &(String, i64)| {
        json!({
            "billing_thresholds": null, "discounts": [], "metadata": {}, "plan": price, "price": price,
            "quantity": quantity, "tax_rates": [],
        })
    };
    json!({
        "add_invoice_items": [],
        "application_fee_percent": null,
        "billing_cycle_anchor": null,
        "billing_thresholds": null,
        "collection_method": null,
        "currency": subscription["currency"],
        "default_payment_method": null,
        "default_tax_rates": [],
        "description": null,
        "discounts": [],
        "end_date": period.1,
        "invoice_settings": null,
        "items": items.iter().map(item).collect::<Vec<_>>(),
        "metadata": {},
        "on_behalf_of": null,
        "proration_behavior": proration,
        "start_date": period.0,
        "transfer_data": null,
        "trial_end": null,
    })
}

fn items_of(subscription: &Value) -> Vec<(String, i64)> {
    let item = |item: &Value| (json::text(item, "price.id").to_owned(), json::int(item, "quantity"));
    json::items(subscription, "items.data").iter().map(item).collect()
}

fn list(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let customer = call.params.filled("customer");
    page(cx, call, Kind::Schedule, |value| customer.is_none_or(|want| json::text(value, "customer") == want))
}

fn retrieve(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    cx.find(Kind::Schedule, call.id())?;
    retrieved(cx, call.id())
}

fn retrieved(cx: &Context, id: &str) -> Result<Value, ApiError> {
    Ok(json::public(&cx.object(Kind::Schedule, id)))
}

fn change(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let before = cx.find(Kind::Schedule, call.id())?;
    refuse_ended(&before)?;
    let id = json::text(&before, "subscription").to_owned();
    let subscription = cx.object(Kind::Subscription, &id);
    let mut after = before.clone();
    if let Some(behavior) = call.params.one_of("end_behavior", &["cancel", "none", "release", "renew"])? {
        json::set(&mut after, "end_behavior", behavior);
    }
    if call.params.has("phases") {
        let phases = phases(cx, &subscription, &before, &call.params)?;
        json::set(&mut after, "phases", phases);
    }
    let last = json::items(&after, "phases").last().map_or(cx.now, |phase| json::int(phase, "end_date"));
    let ends = json::text(&after, "end_behavior") == "cancel";
    cx.change(Kind::Schedule, call.id(), "subscription_schedule.updated", |value| *value = after);
    if ends {
        update::schedule(cx, &id, last, false);
    } else if json::text(&before, "end_behavior") == "cancel" {
        update::unschedule(cx, &id);
    }
    tell(cx, &id, &subscription);
    retrieved(cx, call.id())
}

fn refuse_ended(schedule: &Value) -> Result<(), ApiError> {
    let status = json::text(schedule, "status");
    if status == "active" {
        return Ok(());
    }
    let message = format!("You cannot change a subscription schedule that is in the `{status}` status.");
    Err(ApiError::invalid(message))
}

/// The phases after an update: the first is the running one, the others follow without a gap.
fn phases(cx: &Context, subscription: &Value, before: &Value, params: &Params) -> Result<Vec<Value>, ApiError> {
    let running = json::int(before, "current_phase.start_date");
    let mut phases: Vec<Value> = Vec::new();
    for (index, given) in params.list("phases").iter().enumerate() {
        let previous_end = phases.last().map(|phase| json::int(phase, "end_date"));
        let start = given.int("start_date")?.or(previous_end).unwrap_or(running);
        if start != previous_end.unwrap_or(running) {
            let param = format!("phases.{index}.start_date");
            let message = "You can not modify the start date of the current phase, and phases follow without a gap.";
            return Err(ApiError::invalid(message).param(&param));
        }
        let mut items = Vec::new();
        for (number, item) in given.list("items").iter().enumerate() {
            let path = format!("phases.{index}.items.{number}.price");
            let price = resource::recurring_price(cx, item.required("price")?, &path)?;
            items.push((json::text(&price, "id").to_owned(), item.int("quantity")?.unwrap_or(1)));
        }
        if items.is_empty() {
            return Err(ApiError::missing(&format!("phases.{index}.items")));
        }
        let end = match (given.int("end_date")?, given.filled("duration.interval")) {
            (Some(end), _) => end,
            (None, Some(interval)) => {
                next_period_end(start, interval, given.int("duration.interval_count")?.unwrap_or(1), start)
            }
            (None, None) => return Err(ApiError::missing(&format!("phases.{index}.end_date"))),
        };
        if end <= start || end <= cx.now {
            return Err(
                ApiError::invalid("A phase has to end in the future.").param(&format!("phases.{index}.end_date"))
            );
        }
        let behaviors = ["always_invoice", "create_prorations", "none"];
        let proration = given.one_of("proration_behavior", &behaviors)?.unwrap_or("create_prorations");
        phases.push(phase(subscription, &items, (start, end), proration));
    }
    if phases.is_empty() { Err(ApiError::missing("phases")) } else { Ok(phases) }
}

fn release(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let before = cx.find(Kind::Schedule, call.id())?;
    refuse_ended(&before)?;
    let id = json::text(&before, "subscription").to_owned();
    let subscription = cx.object(Kind::Subscription, &id);
    let keeps_end = call.params.flag("preserve_cancel_date")?.unwrap_or_default();
    if json::text(&before, "end_behavior") == "cancel" && !keeps_end {
        update::unschedule(cx, &id);
    }
    let_go(cx, call.id(), &id);
    tell(cx, &id, &subscription);
    retrieved(cx, call.id())
}

fn let_go(cx: &mut Context, schedule: &str, id: &str) {
    let now = cx.now;
    cx.edit(Kind::Schedule, schedule, |value| {
        json::set(value, "status", "released");
        json::set(value, "released_at", now);
        json::set(value, "released_subscription", id);
        json::set(value, "subscription", Value::Null);
        json::set(value, "current_phase", Value::Null);
    });
    cx.emit("subscription_schedule.released", Kind::Schedule, schedule);
    cx.edit(Kind::Subscription, id, |value| json::set(value, "schedule", Value::Null));
}

fn tell(cx: &mut Context, id: &str, before: &Value) {
    if *before != cx.object(Kind::Subscription, id) {
        cx.emit_with_previous("customer.subscription.updated", Kind::Subscription, id, before);
    }
}

/// When the running phase of a subscription's schedule ends.
pub(crate) fn phase_end(store: &Store, subscription: &Value) -> Option<i64> {
    let schedule = store.get(Kind::Schedule, json::opt_text(subscription, "schedule")?)?;
    json::opt_int(schedule, "current_phase.end_date")
}

/// The running phase is over: the next one's items take the place of the present ones. After the last the subscription goes
/// on by itself.
pub(crate) fn next_phase(cx: &mut Context, id: &str) {
    let before = cx.object(Kind::Subscription, id);
    let schedule = json::text(&before, "schedule").to_owned();
    let value = cx.object(Kind::Schedule, &schedule);
    let ended = json::int(&value, "current_phase.end_date");
    let next = json::items(&value, "phases").iter().find(|phase| json::int(phase, "start_date") >= ended).cloned();
    match next {
        None => let_go(cx, &schedule, id),
        Some(next) => {
            let period = json!({ "start_date": next["start_date"], "end_date": next["end_date"] });
            cx.change(Kind::Schedule, &schedule, "subscription_schedule.updated", |value| {
                json::set(value, "current_phase", period);
            });
            let mut items = json::items(&before, "items.data").to_vec();
            for (item, planned) in items.iter_mut().zip(json::items(&next, "items")) {
                let price = cx.object(Kind::Price, json::text(planned, "price"));
                json::set(item, "price", json::public(&price));
                json::set(item, "quantity", json::int(planned, "quantity"));
            }
            cx.edit(Kind::Subscription, id, |value| json::set(value, "items.data", items));
        }
    }
    tell(cx, id, &before);
}

/// A change of the subscription itself is a change of the running phase; what comes after stays planned.
pub(crate) fn follow_items(cx: &mut Context, id: &str) {
    let subscription = cx.object(Kind::Subscription, id);
    let Some(schedule) = json::opt_text(&subscription, "schedule").map(str::to_owned) else { return };
    let mut value = cx.object(Kind::Schedule, &schedule);
    let running = json::int(&value, "current_phase.start_date");
    let position = json::items(&value, "phases").iter().position(|phase| json::int(phase, "start_date") == running);
    let Some(position) = position else { return };
    let period = (running, json::int(&value, "current_phase.end_date"));
    let changed = phase(&subscription, &items_of(&subscription), period, "create_prorations");
    json::set(&mut value, &format!("phases.{position}"), changed);
    cx.change(Kind::Schedule, &schedule, "subscription_schedule.updated", |stored| *stored = value);
}

/// The end of a subscription with a schedule is the schedule's to say.
pub(crate) fn refuse_cancellation(cx: &Context, id: &str) -> Result<(), ApiError> {
    match json::opt_text(&cx.object(Kind::Subscription, id), "schedule") {
        None => Ok(()),
        Some(schedule) => Err(ApiError::invalid(format!(
            "The subscription is managed by the subscription schedule `{schedule}`, and updating any cancelation behavior \
             directly is not allowed. Please update the schedule instead."
        ))),
    }
}

/// The subscription has ended, and its schedule with it.
pub(crate) fn end_with(cx: &mut Context, id: &str) {
    let Some(schedule) = json::opt_text(&cx.object(Kind::Subscription, id), "schedule").map(str::to_owned) else {
        return;
    };
    let now = cx.now;
    cx.edit(Kind::Schedule, &schedule, |value| {
        json::set(value, "status", "canceled");
        json::set(value, "canceled_at", now);
        json::set(value, "current_phase", Value::Null);
    });
    cx.emit("subscription_schedule.canceled", Kind::Schedule, &schedule);
}
