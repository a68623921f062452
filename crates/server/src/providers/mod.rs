//! The payment provider as the application sees it. Ours is the only identity; everything here speaks of the provider's half
//! of the ticket, and a provider can be replaced without changing one of our ids.
//!
//! A provider makes no decision and touches no table of ours; [`manual`] keeps a book of its own, as if it were somewhere else.
//! What a provider must be sent exactly again after a crash is *frozen* into bytes first ([`PaymentProvider::freeze_customer`],
//! [`PaymentProvider::freeze_checkout`]); the caller commits the bytes and the key before the call.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use counterfoil_core::facts::{Facts, SessionStatus};
use counterfoil_core::link::Candidate;
use counterfoil_core::{
    AttemptId, CustomerId, ExternalCustomerId, ExternalSessionId, ExternalSubscriptionId, IdempotencyKey, InstanceId,
    Interval, PlanCode, PriceId, Timestamp,
};

use crate::checks::Check;

mod error;
mod expected;
pub mod listing;
pub mod manual;
pub mod stripe;

pub use error::{ProviderError, WebhookRefusal};
pub use expected::Expected;
pub use listing::{EVENT_LOG_DAYS, EventSpan, ListedSubscription, LoggedEvent, Page};

/// A boxed future, because the provider is chosen at start and used as `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a customer at the provider is made from. Later changes of the e-mail go by update, never by a second creation.
#[derive(Clone, Debug)]
pub struct NewCustomer<'a> {
    pub instance: &'a InstanceId,
    pub customer_id: &'a CustomerId,
    pub email: &'a str,
    pub name: Option<&'a str>,
}

/// What a checkout session is made from.
#[derive(Clone, Debug)]
pub struct NewCheckout<'a> {
    pub instance: &'a InstanceId,
    pub customer_id: &'a CustomerId,
    pub external_customer: &'a ExternalCustomerId,
    pub attempt_id: &'a AttemptId,
    pub plan: &'a PlanCode,
    pub price: &'a PriceId,
    pub success_url: &'a str,
    pub cancel_url: &'a str,
    /// The end of a trial that the provider goes on counting.
    pub trial_ends_at: Option<Timestamp>,
}

/// A payment at the provider. Only the provider that wrote it can read it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PaymentRef(String);

impl PaymentRef {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A checkout session as the provider answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckoutSession {
    pub id: ExternalSessionId,
    pub status: SessionStatus,
    /// Where to pay; only while the session is open.
    pub url: Option<String>,
    pub expires_at: Option<Timestamp>,
}

/// A subscription as it was just read: what a change of it starts from. It is given back to the provider with the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub subscription: ExternalSubscriptionId,
    /// How many things are sold in it; ours have one.
    pub items: usize,
    pub item: String,
    pub price: PriceId,
    pub quantity: i64,
    pub period_starts_at: Timestamp,
    pub period_ends_at: Timestamp,
    pub trialing: bool,
    pub cancels_at_period_end: bool,
    pub schedule: Option<Schedule>,
}

/// What the provider has planned for a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub id: String,
    pub running_since: Option<Timestamp>,
    /// The price that comes next, and when.
    pub planned: Option<(PriceId, Timestamp)>,
    /// When the schedule ends the subscription.
    pub cancel_at: Option<Timestamp>,
}

/// A change of what a subscription costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// At once, charged at once or not done at all. The rest of the period is counted from `prorated_from`.
    Now { price: PriceId, prorated_from: Timestamp },
    /// When the period ends.
    AtPeriodEnd { price: PriceId, interval: Interval },
    /// A planned change is taken back.
    Stay,
}

/// What a change would cost at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangePreview {
    /// In the smallest unit of the currency.
    pub amount_due: i64,
    pub currency: String,
}

/// A verified notification, read as far as the inbox needs it. The body itself is kept raw; nothing in it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub event_id: String,
    pub event_type: String,
    pub livemode: bool,
    /// Another account than ours, in a platform set-up.
    pub account: Option<String>,
    pub created_at: Option<Timestamp>,
    pub api_version: Option<String>,
    /// The provider's customer that the event's object names.
    pub external_customer: Option<ExternalCustomerId>,
    /// The payment that the event's object is about, where it names no customer.
    pub payment: Option<PaymentRef>,
    /// Our customer id where the object's metadata or reference names one, unchecked.
    pub customer_id: Option<String>,
    /// `metadata.instance` of the object, unchecked.
    pub instance: Option<String>,
    /// Whether events of this type can change what a customer is entitled to.
    pub relevant: bool,
}

/// A customer at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub id: ExternalCustomerId,
    /// Whether this call made it: then nothing else is known about it.
    pub is_new: bool,
}

/// The calls that the application makes. One implementation a provider.
pub trait PaymentProvider: Send + Sync {
    /// The name under which links and inbox rows are stored: `stripe`, `manual`.
    fn name(&self) -> &'static str;

    /// The same provider for those who answer requests, where that is another one: so that all of them together leave room for
    /// the workers' calls.
    fn for_requests(&self) -> Option<Arc<dyn PaymentProvider>> {
        None
    }

    /// Whether real money moves.
    fn livemode(&self) -> bool;

    /// The account that the API key belongs to, where the provider tells: a restricted key may not be allowed to ask.
    fn account_id(&self) -> BoxFuture<'_, Result<Option<String>, ProviderError>>;

    /// The exact bytes with which the customer will be created, however often the call is repeated.
    fn freeze_customer(&self, new: &NewCustomer<'_>) -> String;

    /// Creates the customer from frozen bytes, or finds the one that the key has made before.
    fn create_customer<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        frozen: &'a str,
    ) -> BoxFuture<'a, Result<Made, ProviderError>>;

    /// Tells the provider the customer's address and name as they are now. Nothing else of it is touched. One that is not there,
    /// or not any more, is [`ProviderError::CustomerMissing`].
    fn update_customer<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        id: &'a ExternalCustomerId,
        email: &'a str,
        name: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// Deletes the customer with all its subscriptions. One that is gone already is as good.
    fn delete_customer<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        id: &'a ExternalCustomerId,
    ) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// All customers with this e-mail, to the last page, from a consistent list (never a search index).
    fn find_customers<'a>(&'a self, email: &'a str) -> BoxFuture<'a, Result<Vec<Candidate>, ProviderError>>;

    /// One customer, `None` where the provider does not know the id.
    fn find_customer<'a>(
        &'a self,
        id: &'a ExternalCustomerId,
    ) -> BoxFuture<'a, Result<Option<Candidate>, ProviderError>>;

    /// The customer who made this payment, `None` where the provider knows of none.
    fn find_customer_of_payment<'a>(
        &'a self,
        payment: &'a PaymentRef,
    ) -> BoxFuture<'a, Result<Option<ExternalCustomerId>, ProviderError>>;

    /// Ends a subscription at once and gives nothing back. One that is over already, or that nobody knows, is as good.
    fn cancel_now<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        subscription: &'a ExternalSubscriptionId,
    ) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// What paid for the newest period of a subscription; nothing where nothing was paid.
    fn payments_of_newest_period<'a>(
        &'a self,
        subscription: &'a ExternalSubscriptionId,
    ) -> BoxFuture<'a, Result<Vec<PaymentRef>, ProviderError>>;

    /// Gives all that is left of a payment back. One that was given back already is as good.
    fn give_back<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        payment: &'a PaymentRef,
    ) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// The exact bytes with which the session will be created.
    fn freeze_checkout(&self, new: &NewCheckout<'_>) -> String;

    /// Opens the session from frozen bytes. Where the provider replays an earlier answer to the key, the session is
    /// read again, so the status is always that of now.
    fn create_checkout<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        frozen: &'a str,
    ) -> BoxFuture<'a, Result<CheckoutSession, ProviderError>>;

    /// Reads a session as it stands now.
    fn retrieve_checkout<'a>(
        &'a self,
        id: &'a ExternalSessionId,
    ) -> BoxFuture<'a, Result<CheckoutSession, ProviderError>>;

    /// Closes an open session; answers the session as it then stands, also where it was not open any more.
    fn expire_checkout<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        id: &'a ExternalSessionId,
    ) -> BoxFuture<'a, Result<CheckoutSession, ProviderError>>;

    /// What time it is at the provider. `None` where it does not say.
    fn clock(&self) -> BoxFuture<'_, Result<Option<Timestamp>, ProviderError>> {
        Box::pin(async { Ok(None) })
    }

    /// Everything that the provider knows of this customer now: all subscriptions to the last page, and the given sessions.
    /// A customer deleted there is a fact (`customer_deleted`), not an error, and so is one it does not know (`customer_unknown`).
    fn fetch_facts<'a>(
        &'a self,
        customer: &'a ExternalCustomerId,
        sessions: &'a [(AttemptId, ExternalSessionId)],
    ) -> BoxFuture<'a, Result<Facts, ProviderError>>;

    /// One page of the provider's log of the events that can change what a customer is entitled to. The log reaches back
    /// [`EVENT_LOG_DAYS`].
    fn list_events<'a>(&'a self, span: &'a EventSpan<'a>) -> BoxFuture<'a, Result<Page<LoggedEvent>, ProviderError>>;

    /// One page of all subscriptions of the account, ended ones and those of other programs too.
    fn list_subscriptions<'a>(
        &'a self,
        after: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Page<ListedSubscription>, ProviderError>>;

    /// A subscription as it stands now, to change it.
    fn read_terms<'a>(&'a self, id: &'a ExternalSubscriptionId) -> BoxFuture<'a, Result<Terms, ProviderError>>;

    /// What going over to this price would cost at once. Nothing is changed.
    fn preview_change<'a>(
        &'a self,
        terms: &'a Terms,
        price: &'a PriceId,
        prorated_from: Timestamp,
    ) -> BoxFuture<'a, Result<ChangePreview, ProviderError>>;

    /// Changes what the subscription costs. Asking for what is so already does no harm and charges nothing.
    fn change_plan<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        terms: &'a Terms,
        change: &'a Change,
    ) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// Plans the end of the subscription for the end of its period.
    fn cancel<'a>(&'a self, key: &'a IdempotencyKey, terms: &'a Terms) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// Takes a planned end back; `paused`: begins a paused subscription's next paid period.
    fn resume<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        terms: &'a Terms,
        paused: bool,
    ) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// A page of the provider's on which the customer manages cards and invoices.
    fn open_portal<'a>(
        &'a self,
        customer: &'a ExternalCustomerId,
        return_url: &'a str,
    ) -> BoxFuture<'a, Result<String, ProviderError>>;

    /// Looks whether the account there is as this installation expects it, a line for each thing. Only reads. A provider
    /// without an account has nothing to look at.
    fn examine<'a>(&'a self, _expected: &'a Expected<'a>) -> BoxFuture<'a, Vec<Check>> {
        Box::pin(async { Vec::new() })
    }

    /// Checks the signature over the raw bytes and reads the event's envelope. `signatures` holds every value of the
    /// signature header as received.
    ///
    /// # Errors
    /// [`WebhookRefusal`] where the request is not to be believed or not an event.
    fn verify_webhook(&self, signatures: &[&[u8]], body: &[u8], now: Timestamp) -> Result<Notice, WebhookRefusal>;
}
