//! Looking at one customer afresh: everything that Stripe knows of it, gathered with as few calls as the answer allows.

use counterfoil_core::facts::{
    Facts, Money, PlannedPrice, ProviderStatus, SessionFacts, SessionStatus, SubscriptionFacts,
};
use counterfoil_core::link::Candidate;
use counterfoil_core::{AttemptId, ExternalCustomerId, ExternalSessionId, ExternalSubscriptionId, Timestamp, planted};
use serde_json::Value;

use super::client::Client;
use super::error::unreadable;
use super::form::{Form, path_segment};
use super::subscriptions::{self, Paid};
use super::{changes, invoices, json, list, money, objects};
use crate::providers::{CheckoutSession, PaymentRef, ProviderError};

/// Periods whose payments are followed while one after the other turns out to be given back: older ones are over anyway.
const PERIODS_FOLLOWED_MAX: usize = 4;

/// Everything. A customer that is deleted or unknown is a fact; that we could not ask is an error.
pub(super) async fn fetch(
    client: &Client,
    customer: &ExternalCustomerId,
    sessions: &[(AttemptId, ExternalSessionId)],
) -> Result<Facts, ProviderError> {
    let mut facts = Facts { customer: Some(customer.clone()), ..Facts::default() };
    // Before the subscriptions: one that is complete here has its subscription in the list below. The other way round, a
    // payment between the two calls would look like a session that came to nothing.
    for (attempt_id, id) in sessions {
        let status = session_status(client, id).await?;
        facts.sessions.push(SessionFacts { attempt_id: attempt_id.clone(), id: id.clone(), status });
    }
    let listed = list_subscriptions(client, customer).await?;
    for object in listed.as_deref().unwrap_or_default() {
        facts.currency = facts.currency.or_else(|| json::text(object, &["currency"]).map(str::to_owned));
        let subscription = subscription(client, object).await?;
        let (subscription, planned) = planned(client, object, subscription).await?;
        facts.subscriptions.push(subscription);
        facts.planned_prices.extend(planned);
    }
    // Deleting a customer ends all its subscriptions at once: while one is not ended, the question is answered.
    if !facts.subscriptions.iter().any(is_running) {
        let found = read_customer(client, customer).await?;
        facts.customer_unknown = found.is_none();
        facts.customer_deleted = found.as_ref().is_none_or(|found| json::flag(found, &["deleted"]));
        // It outlives the subscriptions: invoices hold a customer to a currency as well.
        let told = found.and_then(|found| json::text(&found, &["currency"]).map(str::to_owned));
        facts.currency = told.or(facts.currency);
    }
    if listed.is_none() && !facts.customer_deleted {
        return Err(unreadable("the customer is there, its list of subscriptions is not", None));
    }
    Ok(facts)
}

/// One customer, or `None` where Stripe says in its own words that there is none.
pub(super) async fn find_customer(
    client: &Client,
    id: &ExternalCustomerId,
) -> Result<Option<Candidate>, ProviderError> {
    let Some(found) = read_customer(client, id).await? else { return Ok(None) };
    objects::customer(&found).map(Some).ok_or_else(|| unreadable("a customer without id", None))
}

/// The same as Stripe wrote it.
async fn read_customer(client: &Client, id: &ExternalCustomerId) -> Result<Option<Value>, ProviderError> {
    match client.get(&resource("/v1/customers", id.as_str())?, &Form::new()).await {
        Ok(found) if json::text(&found.body, &["id"]).is_none() => {
            Err(unreadable("a customer without id", found.request_id))
        }
        Ok(found) => Ok(Some(found.body)),
        Err(ProviderError::CustomerMissing) => Ok(None),
        Err(_) if planted!("failed-read-is-deleted") => Ok(None),
        Err(error) => Err(error),
    }
}

/// One session as it stands now.
pub(super) async fn session(client: &Client, id: &ExternalSessionId) -> Result<CheckoutSession, ProviderError> {
    let found = client.get(&resource("/v1/checkout/sessions", id.as_str())?, &Form::new()).await?;
    objects::checkout(&found.body).ok_or_else(|| unreadable("a checkout session without id", found.request_id))
}

/// The path of one resource.
pub(super) fn resource(collection: &str, id: &str) -> Result<String, ProviderError> {
    let segment = path_segment(id)
        .ok_or_else(|| ProviderError::Missing { message: "an empty id names nothing".to_owned(), request_id: None })?;
    Ok(format!("{collection}/{segment}"))
}

/// `None` where Stripe knows no such customer.
async fn list_subscriptions(
    client: &Client,
    customer: &ExternalCustomerId,
) -> Result<Option<Vec<Value>>, ProviderError> {
    // Without `status=all` the list leaves the ended ones out.
    let filter = Form::new()
        .field("customer", customer.as_str())
        .field("status", "all")
        .field("expand[]", "data.latest_invoice.payments");
    match list::all(client, "/v1/subscriptions", &filter).await {
        Ok(items) => Ok(Some(items)),
        Err(ProviderError::CustomerMissing) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn subscription(client: &Client, object: &Value) -> Result<SubscriptionFacts, ProviderError> {
    let object = invoices::with_newest_whole(client, object).await?;
    let (mut facts, paid) =
        subscriptions::read(&object).ok_or_else(|| unreadable("a subscription without id", None))?;
    match paid {
        Paid::Known(_) => return Ok(facts),
        Paid::If { payments, .. } => {
            facts.money = money::of_invoice(client, &payments).await?;
            if !facts.money.is_gone() {
                return Ok(facts);
            }
        }
        Paid::AskInvoices => {}
    }
    let invoices = invoices::newest(client, &facts.id).await?;
    let (paid_until, money) = newest_kept(client, &invoices, facts.id.as_str()).await?;
    Ok(SubscriptionFacts { paid_until, money, ..facts })
}

/// What paid the newest invoice of a period of this subscription.
pub(super) async fn payments_of_newest_period(
    client: &Client,
    subscription: &ExternalSubscriptionId,
) -> Result<Vec<PaymentRef>, ProviderError> {
    let invoices = invoices::newest(client, subscription).await?;
    let newest = subscriptions::paid_periods(&invoices, subscription.as_str()).next();
    Ok(newest.map(|(_until, payments)| payments).unwrap_or_default())
}

/// The end of the newest period whose money was not taken back, and what became of the newest period's money. A surcharge that
/// was given back within a period that is paid by itself has only become smaller.
async fn newest_kept(
    client: &Client,
    invoices: &[Value],
    subscription: &str,
) -> Result<(Option<Timestamp>, Money), ProviderError> {
    let mut lost: Option<(Timestamp, Money)> = None;
    for (until, payments) in subscriptions::paid_periods(invoices, subscription).take(PERIODS_FOLLOWED_MAX) {
        let money = money::of_invoice(client, &payments).await?;
        match lost {
            None if money.is_gone() => lost = Some((until, money)),
            None => return Ok((Some(until), money)),
            Some(_) if money.is_gone() => {}
            Some((lost_until, _)) if until >= lost_until => return Ok((Some(until), Money::PartlyRefunded)),
            Some((_, gone)) => return Ok((Some(until), gone)),
        }
    }
    Ok((None, lost.map_or(Money::Kept, |(_, gone)| gone)))
}

/// What a schedule has planned for a subscription: another price, or its end.
async fn planned(
    client: &Client,
    object: &Value,
    facts: SubscriptionFacts,
) -> Result<(SubscriptionFacts, Option<PlannedPrice>), ProviderError> {
    let Some(id) = json::reference(object, &["schedule"]).filter(|_| is_running(&facts)) else {
        return Ok((facts, None));
    };
    let schedule = changes::schedule_of(client, id).await?;
    let planned = schedule
        .planned
        .filter(|(price, _)| !facts.prices.contains(price))
        .map(|(price, starts_at)| PlannedPrice { subscription: facts.id.clone(), price, starts_at });
    Ok((SubscriptionFacts { cancel_at: facts.cancel_at.or(schedule.cancel_at), ..facts }, planned))
}

fn is_running(subscription: &SubscriptionFacts) -> bool {
    match subscription.status {
        ProviderStatus::Canceled | ProviderStatus::IncompleteExpired => false,
        ProviderStatus::Incomplete
        | ProviderStatus::Trialing
        | ProviderStatus::Active
        | ProviderStatus::PastDue
        | ProviderStatus::Unpaid
        | ProviderStatus::Paused
        | ProviderStatus::Unknown(_) => true,
    }
}

/// A session that Stripe does not know can never be paid.
async fn session_status(client: &Client, id: &ExternalSessionId) -> Result<SessionStatus, ProviderError> {
    match session(client, id).await {
        Ok(found) => Ok(found.status),
        Err(ProviderError::Missing { message, .. }) if message.starts_with("No such checkout") => {
            Ok(SessionStatus::Expired)
        }
        Err(error) => Err(error),
    }
}

/// All customers with an e-mail.
pub(super) async fn find_customers(client: &Client, email: &str) -> Result<Vec<Candidate>, ProviderError> {
    let found = list::all(client, "/v1/customers", &Form::new().field("email", email)).await?;
    let read = |object: &Value| objects::customer(object).ok_or_else(|| unreadable("a customer without id", None));
    found.iter().map(read).collect()
}

/// The id of what was just made.
pub(super) fn created_customer(body: &Value, request_id: Option<String>) -> Result<ExternalCustomerId, ProviderError> {
    let id = json::text(body, &["id"]).ok_or_else(|| unreadable("a customer without id", request_id))?;
    Ok(ExternalCustomerId::new(id))
}
