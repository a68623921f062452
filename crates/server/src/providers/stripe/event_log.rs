//! Stripe's own log of events: what a webhook should have brought is there for thirty days.
//!
//! A span of time is asked for, page by page, and never what comes after an id: an id can be gone from the log, or be of an
//! event that was not the last of its second.

use serde_json::Value;

use super::client::Client;
use super::form::Form;
use super::{list, notice};
use crate::providers::{EventSpan, LoggedEvent, Page, ProviderError};

/// What is asked for by name, because a list of types takes no patterns. Each change that matters is told by at least one of
/// them. Stripe takes twenty.
pub(super) const TYPES: [&str; 20] = [
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.deleted",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "subscription_schedule.updated",
    "charge.refunded",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.closed",
];

/// One page, newest first.
pub(super) async fn page(client: &Client, span: &EventSpan<'_>) -> Result<Page<LoggedEvent>, ProviderError> {
    let filter = Form::new()
        .integer("created[gte]", span.since.as_unix_seconds())
        .integer("created[lt]", span.until.as_unix_seconds());
    let filter = TYPES.iter().fold(filter, |form, kind| form.field("types[]", kind));
    let page = list::one(client, "/v1/events", &filter, span.after).await?;
    Ok(Page { items: page.items.iter().filter_map(logged).collect(), next: page.next })
}

/// An event without an id can be stored under nothing. It must not keep us from the others.
fn logged(event: &Value) -> Option<LoggedEvent> {
    let body = event.to_string().into_bytes();
    match notice::read(&body) {
        Ok(notice) => Some(LoggedEvent { notice, body }),
        Err(refusal) => {
            tracing::warn!(%refusal, "the log of events holds something that is no event");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_what_would_be_acted_upon_if_it_came_by_itself() {
        for kind in TYPES {
            let event = serde_json::json!({ "id": "evt_1", "object": "event", "type": kind, "data": { "object": {} } });
            assert!(logged(&event).is_some_and(|read| read.notice.relevant), "{kind}");
        }
        assert!(logged(&serde_json::json!({ "object": "event", "type": "invoice.paid" })).is_none());
    }
}
