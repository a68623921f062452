//! Invoices with all of their lines.
//!
//! An object shows the first ten only, and Stripe sorts what waited for an invoice, such as the prorations of every change,
//! before the period that it is for. So of a long invoice the one line that counts may be missing: where Stripe says that there
//! are more, they are asked for, and nowhere else.

use std::borrow::Cow;

use counterfoil_core::Timestamp;
use serde_json::Value;

use super::client::Client;
use super::error::unreadable;
use super::facts::resource;
use super::form::Form;
use super::{json, list, subscriptions};
use crate::providers::{PaymentRef, ProviderError};

/// Paid invoices that are looked through for the newest paid period: far more than a period has changes.
const PAID_INVOICES_MAX: i64 = 20;

/// The subscription with all lines of its newest invoice, if that is paid: those of any other give no right.
pub(super) async fn with_newest_whole<'a>(
    client: &Client,
    subscription: &'a Value,
) -> Result<Cow<'a, Value>, ProviderError> {
    let newest = json::at(subscription, &["latest_invoice"]).filter(|invoice| subscriptions::is_paid(invoice));
    let Some(newest) = newest else { return Ok(Cow::Borrowed(subscription)) };
    Ok(match whole(client, newest).await? {
        Cow::Borrowed(_) => Cow::Borrowed(subscription),
        Cow::Owned(newest) => {
            let mut subscription = subscription.clone();
            subscription["latest_invoice"] = newest;
            Cow::Owned(subscription)
        }
    })
}

/// The newest paid invoices of a subscription, the newest first. Their lines may be only the first ones.
pub(super) async fn newest_paid(client: &Client, subscription: &str) -> Result<Vec<Value>, ProviderError> {
    let paid = Form::new().field("subscription", subscription).field("status", "paid");
    list::newest(client, "/v1/invoices", &paid.field("expand[]", "data.payments"), PAID_INVOICES_MAX).await
}

/// The end of the next paid period among these invoices, with the payments for it. Those before it are passed over.
pub(super) async fn next_period(
    client: &Client,
    invoices: &mut std::slice::Iter<'_, Value>,
    subscription: &str,
) -> Result<Option<(Timestamp, Vec<PaymentRef>)>, ProviderError> {
    for invoice in invoices.filter(|invoice| subscriptions::is_paid(invoice)) {
        if let Some(period) = subscriptions::paid_period(&*whole(client, invoice).await?, subscription) {
            return Ok(Some(period));
        }
    }
    Ok(None)
}

/// An invoice with all of its lines. Their list is read from its beginning: what is shown already costs no page more, and nothing
/// hangs on what an old version takes for the id of a line.
async fn whole<'a>(client: &Client, invoice: &'a Value) -> Result<Cow<'a, Value>, ProviderError> {
    if !json::flag(invoice, &["lines", "has_more"]) {
        return Ok(Cow::Borrowed(invoice));
    }
    let id = json::text(invoice, &["id"]).ok_or_else(|| unreadable("an invoice without id has more lines", None))?;
    let path = format!("{}/lines", resource("/v1/invoices", id)?);
    let mut invoice = invoice.clone();
    invoice["lines"] = Value::Array(list::all(client, &path, &Form::new()).await?);
    Ok(Cow::Owned(invoice))
}
