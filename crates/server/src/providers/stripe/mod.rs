//! Stripe as a [`PaymentProvider`]: a small client of our own, tolerant in what it reads and exact in what it sends.
//!
//! A typed SDK loses whole events when Stripe adds a word; here every object is read field by field ([`json`]). What
//! is sent twice is sent with the same bytes and the same key ([`client`]), so one customer of ours has one customer
//! there (invariant 2).

mod changes;
mod client;
mod config;
mod doctor;
mod error;
mod event_log;
mod events;
mod facts;
mod form;
mod gate;
mod invoices;
mod json;
mod list;
mod money;
mod notice;
mod objects;
mod retry;
pub mod setup;
mod signature;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use counterfoil_core::facts::Facts;
use counterfoil_core::link::Candidate;
use counterfoil_core::{
    AttemptId, ExternalCustomerId, ExternalSessionId, ExternalSubscriptionId, IdempotencyKey, PriceId, Timestamp,
};
use secrecy::SecretString;

use self::client::Client;
use self::error::unreadable;
use super::{
    BoxFuture, Change, ChangePreview, CheckoutSession, EventSpan, Expected, ListedSubscription, LoggedEvent, Made,
    NewCheckout, NewCustomer, Notice, Page, PaymentProvider, PaymentRef, ProviderError, Terms, WebhookRefusal,
};
use crate::checks::Check;

pub use self::client::API_VERSION;
pub use self::config::{API_BASE, BillingAddress, CheckoutOptions, Jitter, Limits, StripeConfig, StripeConfigError};

/// What Stripe answers where a session to be expired is not open any more.
const NOT_EXPIRABLE: &str = "Only Checkout Sessions with a status in";

/// The provider. Its `Debug` shows neither the key nor the webhook secrets.
#[derive(Clone, Debug)]
pub struct Stripe {
    client: Client,
    webhook_secrets: Vec<SecretString>,
    checkout: CheckoutOptions,
    livemode: bool,
    portal_configuration: Option<String>,
}

impl Stripe {
    /// Checks the configuration and prepares the connections; no call is made.
    ///
    /// # Errors
    /// [`StripeConfigError`] says what to correct.
    pub fn new(config: StripeConfig, jitter: Jitter) -> Result<Self, StripeConfigError> {
        config::check_webhook_secrets(&config.webhook_secrets)?;
        let client = Client::new(&config, jitter)?;
        let StripeConfig { webhook_secrets, checkout, livemode, portal_configuration, .. } = config;
        Ok(Self { client, webhook_secrets, checkout, livemode, portal_configuration })
    }

    async fn open_session(&self, key: &IdempotencyKey, frozen: &str) -> Result<CheckoutSession, ProviderError> {
        let opened = self.client.post("/v1/checkout/sessions", key, frozen).await?;
        let session = objects::checkout(&opened.body)
            .ok_or_else(|| unreadable("a checkout session without id", opened.request_id))?;
        // A replay tells how the session was made, not how it stands: it may be paid or expired by now.
        if opened.replayed { facts::session(&self.client, &session.id).await } else { Ok(session) }
    }

    async fn close_session(
        &self,
        key: &IdempotencyKey,
        id: &ExternalSessionId,
    ) -> Result<CheckoutSession, ProviderError> {
        let path = format!("{}/expire", facts::resource("/v1/checkout/sessions", id.as_str())?);
        match self.client.post(&path, key, "").await {
            Ok(closed) => objects::checkout(&closed.body)
                .ok_or_else(|| unreadable("a checkout session without id", closed.request_id)),
            Err(ProviderError::Rejected { message, .. }) if message.starts_with(NOT_EXPIRABLE) => {
                facts::session(&self.client, id).await
            }
            Err(error) => Err(error),
        }
    }
}

impl PaymentProvider for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn for_requests(&self) -> Option<Arc<dyn PaymentProvider>> {
        Some(Arc::new(Self { client: self.client.for_requests(), ..self.clone() }))
    }

    fn livemode(&self) -> bool {
        self.livemode
    }

    fn account_id(&self) -> BoxFuture<'_, Result<Option<String>, ProviderError>> {
        Box::pin(async move {
            match self.client.get("/v1/account", &form::Form::new()).await {
                Ok(found) => Ok(json::text(&found.body, &["id"]).map(str::to_owned)),
                Err(ProviderError::Unauthorized { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    fn freeze_customer(&self, new: &NewCustomer<'_>) -> String {
        objects::customer_form(new).into_string()
    }

    fn create_customer<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        frozen: &'a str,
    ) -> BoxFuture<'a, Result<Made, ProviderError>> {
        Box::pin(async move {
            let created = self.client.post("/v1/customers", key, frozen).await?;
            let id = facts::created_customer(&created.body, created.request_id)?;
            Ok(Made { id, is_new: !created.replayed })
        })
    }

    fn update_customer<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        id: &'a ExternalCustomerId,
        email: &'a str,
        name: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            let path = facts::resource("/v1/customers", id.as_str())?;
            self.client.post(&path, key, &objects::update_form(email, name).into_string()).await?;
            Ok(())
        })
    }

    fn delete_customer<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        id: &'a ExternalCustomerId,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            match self.client.delete(&facts::resource("/v1/customers", id.as_str())?, key).await {
                Ok(_) | Err(ProviderError::CustomerMissing | ProviderError::Missing { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        })
    }

    fn clock(&self) -> BoxFuture<'_, Result<Option<Timestamp>, ProviderError>> {
        // Any question would do; this one every key of ours may ask.
        let question = form::Form::new().field("limit", "1");
        Box::pin(async move { Ok(self.client.get("/v1/customers", &question).await?.date) })
    }

    fn find_customers<'a>(&'a self, email: &'a str) -> BoxFuture<'a, Result<Vec<Candidate>, ProviderError>> {
        Box::pin(facts::find_customers(&self.client, email))
    }

    fn find_customer<'a>(
        &'a self,
        id: &'a ExternalCustomerId,
    ) -> BoxFuture<'a, Result<Option<Candidate>, ProviderError>> {
        Box::pin(facts::find_customer(&self.client, id))
    }

    fn find_customer_of_payment<'a>(
        &'a self,
        payment: &'a PaymentRef,
    ) -> BoxFuture<'a, Result<Option<ExternalCustomerId>, ProviderError>> {
        Box::pin(money::customer_of(&self.client, payment))
    }

    fn cancel_now<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        subscription: &'a ExternalSubscriptionId,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(subscriptions::cancel_now(&self.client, key, subscription))
    }

    fn payments_of_newest_period<'a>(
        &'a self,
        subscription: &'a ExternalSubscriptionId,
    ) -> BoxFuture<'a, Result<Vec<PaymentRef>, ProviderError>> {
        Box::pin(facts::payments_of_newest_period(&self.client, subscription))
    }

    fn give_back<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        payment: &'a PaymentRef,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(money::give_back(&self.client, key, payment))
    }

    fn freeze_checkout(&self, new: &NewCheckout<'_>) -> String {
        objects::checkout_form(new, &self.checkout).into_string()
    }

    fn create_checkout<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        frozen: &'a str,
    ) -> BoxFuture<'a, Result<CheckoutSession, ProviderError>> {
        Box::pin(self.open_session(key, frozen))
    }

    fn retrieve_checkout<'a>(
        &'a self,
        id: &'a ExternalSessionId,
    ) -> BoxFuture<'a, Result<CheckoutSession, ProviderError>> {
        Box::pin(facts::session(&self.client, id))
    }

    fn expire_checkout<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        id: &'a ExternalSessionId,
    ) -> BoxFuture<'a, Result<CheckoutSession, ProviderError>> {
        Box::pin(self.close_session(key, id))
    }

    fn fetch_facts<'a>(
        &'a self,
        customer: &'a ExternalCustomerId,
        sessions: &'a [(AttemptId, ExternalSessionId)],
    ) -> BoxFuture<'a, Result<Facts, ProviderError>> {
        Box::pin(facts::fetch(&self.client, customer, sessions))
    }

    fn list_events<'a>(&'a self, span: &'a EventSpan<'a>) -> BoxFuture<'a, Result<Page<LoggedEvent>, ProviderError>> {
        Box::pin(event_log::page(&self.client, span))
    }

    fn list_subscriptions<'a>(
        &'a self,
        after: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Page<ListedSubscription>, ProviderError>> {
        Box::pin(subscriptions::list_all(&self.client, after))
    }

    fn read_terms<'a>(&'a self, id: &'a ExternalSubscriptionId) -> BoxFuture<'a, Result<Terms, ProviderError>> {
        Box::pin(changes::terms(&self.client, id))
    }

    fn preview_change<'a>(
        &'a self,
        terms: &'a Terms,
        price: &'a PriceId,
        prorated_from: Timestamp,
    ) -> BoxFuture<'a, Result<ChangePreview, ProviderError>> {
        Box::pin(changes::preview(&self.client, terms, price, prorated_from))
    }

    fn change_plan<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        terms: &'a Terms,
        change: &'a Change,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(changes::change(&self.client, key, terms, change))
    }

    fn cancel<'a>(&'a self, key: &'a IdempotencyKey, terms: &'a Terms) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(changes::cancel(&self.client, key, terms))
    }

    fn resume<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        terms: &'a Terms,
        paused: bool,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            if paused {
                changes::unpause(&self.client, key, terms).await
            } else {
                changes::resume(&self.client, key, terms).await
            }
        })
    }

    fn open_portal<'a>(
        &'a self,
        customer: &'a ExternalCustomerId,
        return_url: &'a str,
    ) -> BoxFuture<'a, Result<String, ProviderError>> {
        Box::pin(changes::portal(&self.client, customer, return_url, self.portal_configuration.as_deref()))
    }

    fn examine<'a>(&'a self, expected: &'a Expected<'a>) -> BoxFuture<'a, Vec<Check>> {
        Box::pin(self.look_at_account(expected))
    }

    fn verify_webhook(&self, signatures: &[&[u8]], body: &[u8], now: Timestamp) -> Result<Notice, WebhookRefusal> {
        signature::verify(&self.webhook_secrets, signatures, body, now)?;
        notice::read(body)
    }
}
