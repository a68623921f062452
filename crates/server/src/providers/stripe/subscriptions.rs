//! One subscription of Stripe's, read as facts: above all, until when it is paid.
//!
//! `current_period_end` is not that instant. At a renewal Stripe moves it first and asks for the money an hour later,
//! so a licence that followed it would be given for a payment that may fail (invariant 4). What counts is the period
//! on the lines of an invoice that **is** paid. A change in the middle of a period is invoiced by itself, and charges only the
//! difference, or nothing where the credit for the old plan is larger: such an invoice counts where the period that it changes is
//! paid. Fields are read where API versions since `2025-03-31.basil` have them, then where older ones had them.

use counterfoil_core::facts::{Money, ProviderStatus, SubscriptionFacts};
use counterfoil_core::{ExternalCustomerId, ExternalSubscriptionId, IdempotencyKey, PriceId, Timestamp, planted};
use serde_json::Value;

use super::client::Client;
use super::error::unreadable;
use super::facts::resource;
use super::form::Form;
use super::{json, list, money};
use crate::providers::{ListedSubscription, Page, PaymentRef, ProviderError};

/// How far a subscription is paid, as far as the object itself tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Paid {
    /// To this instant, or not at all.
    Known(Option<Timestamp>),
    /// To this instant, unless these payments went back.
    If { until: Option<Timestamp>, payments: Vec<PaymentRef> },
    /// The newest invoice does not tell, because it is not paid or only changes a period: earlier ones have to be asked for.
    AskInvoices,
}

/// A subscription with `latest_invoice` expanded. `None` where it has no id. `paid_until` is left open if
/// [`Paid::AskInvoices`].
pub(super) fn read(object: &Value) -> Option<(SubscriptionFacts, Paid)> {
    let id = json::text(object, &["id"])?;
    let status = ProviderStatus::parse(json::text(object, &["status"]).unwrap_or("missing"));
    let period_ends_at = period_end(object);
    let trial_ends_at = json::instant(object, &["trial_end"]);
    let scheduled = if json::flag(object, &["cancel_at_period_end"]) { period_ends_at } else { None };
    // An immediate cancellation of an old API version has only the instant of the request.
    let canceled_at = if status == ProviderStatus::Canceled { json::instant(object, &["canceled_at"]) } else { None };
    let paid = paid(object, id, &status, period_ends_at, trial_ends_at);
    let facts = SubscriptionFacts {
        id: ExternalSubscriptionId::new(id),
        created_at: json::instant(object, &["created"])
            .or_else(|| json::instant(object, &["start_date"]))
            .unwrap_or(Timestamp::from_unix_seconds(0)),
        prices: prices(object),
        period_ends_at,
        paid_until: match &paid {
            Paid::Known(until) | Paid::If { until, .. } => *until,
            Paid::AskInvoices => None,
        },
        money: Money::Kept,
        // The portal sets `cancel_at` alone on flexible billing; the API sets both.
        cancel_at: json::instant(object, &["cancel_at"]).or(scheduled),
        ended_at: json::instant(object, &["ended_at"]).or(canceled_at),
        trial_ends_at,
        status,
    };
    Some((facts, paid))
}

/// The ends of the paid periods with the payments for them, newest first. An invoice that only gives a credit tells nothing.
/// `invoices` are all of the subscription's, the unpaid ones too, newest first.
pub(super) fn paid_periods<'a>(
    invoices: &'a [Value],
    subscription: &'a str,
) -> impl Iterator<Item = (Timestamp, Vec<PaymentRef>)> + 'a {
    let counts = move |at: usize, invoice: &Value| {
        is_paid(invoice) && (stands_alone(invoice, subscription) || stands_on_paid(&invoices[at + 1..], subscription))
    };
    let counting = invoices.iter().enumerate().filter(move |(at, invoice)| counts(*at, invoice));
    counting.filter_map(move |(_, invoice)| Some((lines_end(invoice, subscription)?, money::payments_of(invoice))))
}

/// Ends a subscription at once. One that is unknown or over is what was wanted.
pub(super) async fn cancel_now(
    client: &Client,
    key: &IdempotencyKey,
    id: &ExternalSubscriptionId,
) -> Result<(), ProviderError> {
    match client.delete(&resource("/v1/subscriptions", id.as_str())?, key).await {
        Ok(_) | Err(ProviderError::Missing { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// One page of all subscriptions of the account. Invoices are not asked for: a page would be as heavy as a hundred looks.
pub(super) async fn list_all(client: &Client, after: Option<&str>) -> Result<Page<ListedSubscription>, ProviderError> {
    // Without `status=all` the list leaves the ended ones out.
    let page = list::one(client, "/v1/subscriptions", &Form::new().field("status", "all"), after).await?;
    let items = page.items.iter().map(listed).collect::<Result<_, _>>()?;
    Ok(Page { items, next: page.next })
}

fn listed(object: &Value) -> Result<ListedSubscription, ProviderError> {
    let (facts, _) = read(object).ok_or_else(|| unreadable("a subscription without id", None))?;
    Ok(ListedSubscription {
        external_customer: json::reference(object, &["customer"]).map(ExternalCustomerId::new),
        customer_id: json::text(object, &["metadata", "customer_id"]).map(str::to_owned),
        instance: json::text(object, &["metadata", "instance"]).map(str::to_owned),
        facts: SubscriptionFacts { paid_until: None, ..facts },
    })
}

fn paid(
    object: &Value,
    id: &str,
    status: &ProviderStatus,
    period_ends_at: Option<Timestamp>,
    trial_ends_at: Option<Timestamp>,
) -> Paid {
    let trialing = *status == ProviderStatus::Trialing;
    let trial_or_period = trial_ends_at.or(period_ends_at);
    let Some(invoice) = json::at(object, &["latest_invoice"]) else {
        return Paid::Known(if trialing { trial_or_period } else { None });
    };
    let paid = is_paid(invoice) || planted!("period-for-paid");
    // A trial can be made longer or shorter after the invoice of zero that began it.
    if trialing && (paid || json::integer(invoice, &["amount_due"]) == Some(0)) {
        return Paid::Known(trial_or_period);
    }
    if paid && !stands_alone(invoice, id) && !is_over(status) {
        return Paid::AskInvoices;
    }
    if paid {
        let until = lines_end(invoice, id).or(period_ends_at);
        let payments = if is_over(status) { Vec::new() } else { money::payments_of(invoice) };
        return if payments.is_empty() { Paid::Known(until) } else { Paid::If { until, payments } };
    }
    // The very first invoice is unpaid, so there is no earlier one.
    if json::text(invoice, &["billing_reason"]) == Some("subscription_create") {
        return Paid::Known(None);
    }
    Paid::AskInvoices
}

/// What is over gives no right, whatever became of its money.
fn is_over(status: &ProviderStatus) -> bool {
    matches!(status, ProviderStatus::Canceled | ProviderStatus::IncompleteExpired)
}

/// An amount of zero counts: a coupon of 100 % pays as well. Old versions said `paid` beside or instead of the status.
pub(super) fn is_paid(invoice: &Value) -> bool {
    match json::text(invoice, &["status"]) {
        Some(status) => status == "paid",
        None => json::flag(invoice, &["paid"]),
    }
}

/// Whether an invoice pays a period by itself: that of a period, and one in the middle of one that charges a whole period without
/// credit for another, as when a paused subscription goes on. A reason that is not known counts as that of a period.
fn stands_alone(invoice: &Value, subscription: &str) -> bool {
    const BETWEEN: [&str; 3] = ["subscription_update", "subscription_threshold", "manual"];
    let is_between = json::text(invoice, &["billing_reason"]).is_some_and(|reason| BETWEEN.contains(&reason));
    let lines = json::list(invoice, &["lines"]);
    let charges_whole = |line: &Value| charges_period(line, subscription) && !is_proration(line);
    !is_between || (lines.iter().any(charges_whole) && !lines.iter().any(gives_back))
}

/// Whether the period that an invoice changes is paid, by the invoices before it: that of the period, and the changes since. What
/// lies further back than the list does not count against anybody.
fn stands_on_paid(earlier: &[Value], subscription: &str) -> bool {
    for invoice in earlier {
        let is_change = json::text(invoice, &["billing_reason"]) == Some("subscription_update");
        let is_given_up = matches!(json::text(invoice, &["status"]), Some("void" | "uncollectible"));
        match (is_change, stands_alone(invoice, subscription)) {
            // A change that was given up.
            (true, _) if is_given_up => {}
            (_, true) => return is_paid(invoice),
            (true, false) if !is_paid(invoice) => return false,
            // What was sold once beside the subscription says nothing about it.
            (true | false, false) => {}
        }
    }
    true
}

/// Whether a line is a part of a period, and not a whole one.
fn is_proration(line: &Value) -> bool {
    let parents = ["subscription_item_details", "invoice_item_details"];
    json::flag(line, &["proration"]) || parents.iter().any(|parent| json::flag(line, &["parent", parent, "proration"]))
}

/// The latest end of a period that a line charges this subscription for.
fn lines_end(invoice: &Value, subscription: &str) -> Option<Timestamp> {
    json::list(invoice, &["lines"])
        .iter()
        .filter(|line| !gives_back(line))
        .filter(|line| charges_period(line, subscription))
        .filter_map(|line| json::instant(line, &["period", "end"]))
        .max()
}

/// A credit for the unused rest of a period, often a longer one: its end is exactly what is no longer paid. Where the
/// price was zero, only the mention of what it credits tells.
fn gives_back(line: &Value) -> bool {
    const CREDITED: [&[&str]; 3] = [
        &["parent", "subscription_item_details", "proration_details", "credited_items"],
        &["parent", "invoice_item_details", "proration_details", "credited_items"],
        &["proration_details", "credited_items"],
    ];
    json::integer(line, &["amount"]).unwrap_or(0) < 0 || CREDITED.iter().any(|path| json::at(line, path).is_some())
}

/// A line of the subscription itself, or the proration of a change; not something sold once beside it.
fn charges_period(line: &Value, subscription: &str) -> bool {
    let names = |path: &[&str]| json::reference(line, path) == Some(subscription);
    let item = ["parent", "invoice_item_details", "subscription"];
    let old_period = json::text(line, &["type"]) == Some("subscription") || json::flag(line, &["proration"]);
    names(&["parent", "subscription_item_details", "subscription"])
        || (names(&item) && json::flag(line, &["parent", "invoice_item_details", "proration"]))
        || (names(&["subscription"]) && json::at(line, &["parent"]).is_none() && old_period)
}

/// The latest end over all items; before basil it stood on the subscription.
fn period_end(object: &Value) -> Option<Timestamp> {
    let items = json::list(object, &["items"]);
    let end = items.iter().filter_map(|item| json::instant(item, &["current_period_end"])).max();
    end.or_else(|| json::instant(object, &["current_period_end"]))
}

fn prices(object: &Value) -> Vec<PriceId> {
    let of_item =
        |item: &Value| json::reference(item, &["price"]).or(json::reference(item, &["plan"])).map(PriceId::new);
    let prices: Vec<PriceId> = json::list(object, &["items"]).iter().filter_map(of_item).collect();
    if prices.is_empty() { of_item(object).into_iter().collect() } else { prices }
}
