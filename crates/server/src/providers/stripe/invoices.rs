//! Invoices with all of their lines.
//!
//! An object shows the first ten only, and Stripe sorts what waited for an invoice, such as the prorations of every change,
//! before the period that it is for. So of a long invoice the one line that counts may be missing: where Stripe says that there
//! are more, they are asked for, and nowhere else.

use std::borrow::Cow;

use counterfoil_core::ExternalSubscriptionId;
use serde_json::Value;

use super::client::Client;
use super::error::unreadable;
use super::facts::resource;
use super::form::Form;
use super::{json, list, subscriptions};
use crate::providers::ProviderError;

/// Invoices that are looked through for the newest paid period: far more than a period has changes, and a year's that were not paid.
const INVOICES_MAX: i64 = 20;

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

/// The newest invoices of a subscription with all of their lines, the newest first. Also those that are not paid: whether the
/// invoice of a change counts is in what became of the one before it.
pub(super) async fn newest(
    client: &Client,
    subscription: &ExternalSubscriptionId,
) -> Result<Vec<Value>, ProviderError> {
    let filter = Form::new().field("subscription", subscription.as_str()).field("expand[]", "data.payments");
    let mut invoices = list::newest(client, "/v1/invoices", &filter, INVOICES_MAX).await?;
    for invoice in &mut invoices {
        if let Cow::Owned(whole) = whole(client, invoice).await? {
            *invoice = whole;
        }
    }
    Ok(invoices)
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
