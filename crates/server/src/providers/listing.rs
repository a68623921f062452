//! What sweeps read from a provider: pages of its log of events, and of all its subscriptions.

use counterfoil_core::facts::SubscriptionFacts;
use counterfoil_core::{ExternalCustomerId, Timestamp};

use super::Notice;

/// How far back a provider's log of events reaches.
pub const EVENT_LOG_DAYS: i64 = 30;

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A list without anything in it.
    #[must_use]
    pub const fn empty() -> Self {
        Self { items: Vec::new(), next: None }
    }
}

/// A span of the provider's own log of events.
#[derive(Clone, Debug)]
pub struct EventSpan<'a> {
    /// From this instant on.
    pub since: Timestamp,
    /// Up to, and without, this one.
    pub until: Timestamp,
    /// Where the page begins, as the page before said.
    pub after: Option<&'a str>,
}

/// An event from the provider's own log. It was fetched with our key, so nobody else can have written it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    pub notice: Notice,
    pub body: Vec<u8>,
}

/// A subscription as a list of all of the account's shows it, ours or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSubscription {
    pub external_customer: Option<ExternalCustomerId>,
    /// Our customer id in its metadata, unchecked.
    pub customer_id: Option<String>,
    /// The instance in its metadata, unchecked.
    pub instance: Option<String>,
    /// What the list tells; it does not tell how far it is paid.
    pub facts: SubscriptionFacts,
}
