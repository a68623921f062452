//! Changes of a running subscription: another plan, its planned end, and the billing portal.
//!
//! A change that waits for the period's end is a subscription schedule, so Stripe carries it out even where we are down. A
//! subscription with a schedule is ended and released by way of the schedule, each in one call: nothing is undone before
//! what replaces it stands. One change is two calls, the upgrade of a subscription with a planned downgrade; the upgrade comes
//! first, so that a crash in between leaves the cheaper plan planned and never the dearer one.

use counterfoil_core::{ExternalCustomerId, ExternalSubscriptionId, IdempotencyKey, Interval, PriceId, Timestamp};
use serde_json::Value;

use super::client::Client;
use super::error::unreadable;
use super::facts::resource;
use super::form::Form;
use super::json;
use crate::providers::{Change, ChangePreview, ProviderError, Schedule, Terms};

const SUBSCRIPTIONS: &str = "/v1/subscriptions";
const SCHEDULES: &str = "/v1/subscription_schedules";

/// The subscription as it stands now, and its schedule where it has one.
pub(super) async fn terms(client: &Client, id: &ExternalSubscriptionId) -> Result<Terms, ProviderError> {
    let found = client.get(&resource(SUBSCRIPTIONS, id.as_str())?, &Form::new()).await?;
    let schedule = match json::reference(&found.body, &["schedule"]) {
        Some(schedule) => Some(schedule_of(client, schedule).await?),
        None => None,
    };
    read_terms(id, &found.body, schedule)
        .ok_or_else(|| unreadable("a subscription without item or period", found.request_id))
}

fn read_terms(id: &ExternalSubscriptionId, object: &Value, schedule: Option<Schedule>) -> Option<Terms> {
    let items = json::list(object, &["items"]);
    let item = items.first()?;
    let instant = |name: &str| json::instant(item, &[name]).or_else(|| json::instant(object, &[name]));
    Some(Terms {
        subscription: id.clone(),
        items: items.len(),
        item: json::text(item, &["id"])?.to_owned(),
        price: PriceId::new(json::reference(item, &["price"])?),
        quantity: json::integer(item, &["quantity"]).unwrap_or(1),
        period_starts_at: instant("current_period_start")?,
        period_ends_at: instant("current_period_end")?,
        trialing: json::text(object, &["status"]) == Some("trialing"),
        cancels_at_period_end: json::flag(object, &["cancel_at_period_end"]),
        schedule,
    })
}

/// A schedule as it stands now.
pub(super) async fn schedule_of(client: &Client, id: &str) -> Result<Schedule, ProviderError> {
    let found = client.get(&resource(SCHEDULES, id)?, &Form::new()).await?;
    read_schedule(&found.body).ok_or_else(|| unreadable("a schedule without id", found.request_id))
}

fn read_schedule(object: &Value) -> Option<Schedule> {
    let running = json::instant(object, &["current_phase", "start_date"]);
    let ends = json::instant(object, &["current_phase", "end_date"]);
    let phases = json::list(object, &["phases"]);
    let next = phases.iter().find(|phase| ends.is_some() && json::instant(phase, &["start_date"]) >= ends);
    let planned = next.and_then(|phase| {
        let item = json::list(phase, &["items"]).first()?;
        Some((PriceId::new(json::reference(item, &["price"])?), json::instant(phase, &["start_date"])?))
    });
    let cancels = json::text(object, &["end_behavior"]) == Some("cancel");
    Some(Schedule {
        id: json::text(object, &["id"])?.to_owned(),
        running_since: running,
        planned,
        cancel_at: phases.last().filter(|_| cancels).and_then(|phase| json::instant(phase, &["end_date"])),
    })
}

/// What the change would cost now. Stripe computes it; nothing is changed.
pub(super) async fn preview(
    client: &Client,
    terms: &Terms,
    price: &PriceId,
    at: Timestamp,
) -> Result<ChangePreview, ProviderError> {
    let mut form = Form::new()
        .field("subscription", terms.subscription.as_str())
        .field("subscription_details[items][0][id]", &terms.item)
        .field("subscription_details[items][0][price]", price.as_str())
        .field("subscription_details[proration_behavior]", "always_invoice");
    if let Some(at) = proration_date(terms, at) {
        form = form.integer("subscription_details[proration_date]", at);
    }
    let told = client.compute("/v1/invoices/create_preview", form.as_str()).await?;
    match (json::integer(&told.body, &["amount_due"]), json::text(&told.body, &["currency"])) {
        (Some(amount_due), Some(currency)) => Ok(ChangePreview { amount_due, currency: currency.to_owned() }),
        _ => Err(unreadable("a preview without amount or currency", told.request_id)),
    }
}

/// In a trial there is nothing to prorate.
fn proration_date(terms: &Terms, at: Timestamp) -> Option<i64> {
    (!terms.trialing).then(|| at.max(terms.period_starts_at).min(terms.period_ends_at).as_unix_seconds())
}

pub(super) async fn change(
    client: &Client,
    key: &IdempotencyKey,
    terms: &Terms,
    change: &Change,
) -> Result<(), ProviderError> {
    match change {
        Change::Now { price, prorated_from } => {
            change_now(client, key, terms, price, *prorated_from).await?;
            release(client, key, terms).await
        }
        Change::AtPeriodEnd { price, interval } => plan(client, key, terms, price, *interval).await,
        Change::Stay => release(client, key, terms).await,
    }
}

/// Charged at once or not done at all. The item is named: without its id Stripe would add a second one.
async fn change_now(
    client: &Client,
    key: &IdempotencyKey,
    terms: &Terms,
    price: &PriceId,
    at: Timestamp,
) -> Result<(), ProviderError> {
    let mut form = Form::new()
        .field("items[0][id]", &terms.item)
        .field("items[0][price]", price.as_str())
        .field("proration_behavior", "always_invoice")
        .field("payment_behavior", "error_if_incomplete");
    if let Some(at) = proration_date(terms, at) {
        form = form.integer("proration_date", at);
    }
    let path = resource(SUBSCRIPTIONS, terms.subscription.as_str())?;
    client.post(&path, key, form.as_str()).await.map(drop).map_err(without_card)
}

/// The present price to the period's end, then the new one; afterwards the subscription goes on by itself. Making a schedule
/// of a subscription changes nothing about it, so that a crash before the second call leaves everything as it was.
async fn plan(
    client: &Client,
    key: &IdempotencyKey,
    terms: &Terms,
    price: &PriceId,
    interval: Interval,
) -> Result<(), ProviderError> {
    let schedule = match &terms.schedule {
        Some(schedule) => schedule.clone(),
        None => {
            let form = Form::new().field("from_subscription", terms.subscription.as_str());
            let made = client.post(SCHEDULES, &step(key, "schedule"), form.as_str()).await?;
            read_schedule(&made.body).ok_or_else(|| unreadable("a schedule without id", made.request_id))?
        }
    };
    let form = running_phase(Form::new().field("end_behavior", "release"), terms, &schedule)
        .field("phases[1][items][0][price]", price.as_str())
        .integer("phases[1][items][0][quantity]", terms.quantity)
        .field("phases[1][duration][interval]", interval.as_str())
        .integer("phases[1][duration][interval_count]", 1)
        .field("phases[1][proration_behavior]", "none");
    client.post(&resource(SCHEDULES, &schedule.id)?, key, form.as_str()).await.map(drop)
}

fn running_phase(form: Form, terms: &Terms, schedule: &Schedule) -> Form {
    let start = schedule.running_since.unwrap_or(terms.period_starts_at);
    form.field("phases[0][items][0][price]", terms.price.as_str())
        .integer("phases[0][items][0][quantity]", terms.quantity)
        .integer("phases[0][start_date]", start.as_unix_seconds())
        .integer("phases[0][end_date]", terms.period_ends_at.as_unix_seconds())
        .field("phases[0][proration_behavior]", "none")
}

/// Lets the subscription go on by itself; what its schedule had planned, an end too, is off.
async fn release(client: &Client, key: &IdempotencyKey, terms: &Terms) -> Result<(), ProviderError> {
    let Some(schedule) = &terms.schedule else { return Ok(()) };
    let path = format!("{}/release", resource(SCHEDULES, &schedule.id)?);
    client.post(&path, &step(key, "release"), "").await.map(drop)
}

/// Ends the subscription with its period.
pub(super) async fn cancel(client: &Client, key: &IdempotencyKey, terms: &Terms) -> Result<(), ProviderError> {
    let done = match &terms.schedule {
        Some(schedule) => {
            let form = running_phase(Form::new().field("end_behavior", "cancel"), terms, schedule);
            client.post(&resource(SCHEDULES, &schedule.id)?, key, form.as_str()).await
        }
        None => {
            let form = Form::new().field("cancel_at_period_end", "true");
            client.post(&resource(SUBSCRIPTIONS, terms.subscription.as_str())?, key, form.as_str()).await
        }
    };
    done.map(drop)
}

/// Takes a planned end back. `cancel_at_period_end` takes its date with it; a bare date, as the billing portal sets it, is
/// unset by name.
pub(super) async fn resume(client: &Client, key: &IdempotencyKey, terms: &Terms) -> Result<(), ProviderError> {
    if terms.schedule.is_some() {
        return release(client, key, terms).await;
    }
    let path = resource(SUBSCRIPTIONS, terms.subscription.as_str())?;
    let undated = Form::new().field("cancel_at", "");
    if !terms.cancels_at_period_end {
        return client.post(&path, key, undated.as_str()).await.map(drop);
    }
    let form = Form::new().field("cancel_at_period_end", "false");
    let answer = client.post(&path, key, form.as_str()).await?;
    if json::instant(&answer.body, &["cancel_at"]).is_some() {
        client.post(&path, &step(key, "undated"), undated.as_str()).await?;
    }
    Ok(())
}

/// Begins the next paid period of a paused subscription.
pub(super) async fn unpause(client: &Client, key: &IdempotencyKey, terms: &Terms) -> Result<(), ProviderError> {
    let path = format!("{}/resume", resource(SUBSCRIPTIONS, terms.subscription.as_str())?);
    client.post(&path, key, "").await.map(drop).map_err(without_card)
}

/// A fresh page of Stripe's on which the customer manages cards and invoices. It is short-lived, so each call opens one.
pub(super) async fn portal(
    client: &Client,
    customer: &ExternalCustomerId,
    return_url: &str,
    configuration: Option<&str>,
) -> Result<String, ProviderError> {
    let form = Form::new()
        .field("customer", customer.as_str())
        .field("return_url", return_url)
        .optional("configuration", configuration);
    let opened = client.compute("/v1/billing_portal/sessions", form.as_str()).await?;
    json::long_text(&opened.body, &["url"])
        .map(str::to_owned)
        .ok_or_else(|| unreadable("a portal session without url", opened.request_id))
}

/// That there is no card at all is no other answer to the customer than that the card is refused.
fn without_card(error: ProviderError) -> ProviderError {
    match error {
        ProviderError::Rejected { code: Some(code), message, request_id }
            if code == "resource_missing" && message.contains("no attached payment source") =>
        {
            ProviderError::CardDeclined { code: Some(code), request_id }
        }
        other => other,
    }
}

/// The key of one of several calls of a change.
fn step(key: &IdempotencyKey, name: &str) -> IdempotencyKey {
    IdempotencyKey::from_stored(format!("{}:{name}", key.as_str()))
}
