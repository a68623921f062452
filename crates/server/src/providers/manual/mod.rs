//! Payment by invoice or bank transfer, as a [`PaymentProvider`]. Periods and renewals go by our own clock, and money is what an
//! operator records.
//!
//! Its outside world is a book of its own ([`records`]), written in its own transactions and never in those of a use case: what
//! it says becomes true for us only by a look, as with any other provider. So a crash between the two leaves what a webhook that
//! never came would leave, and a later look repairs it. Each write asks for that look ([`Manual::list_due`]).

mod book;
mod records;

use counterfoil_core::facts::Facts;
use counterfoil_core::link::Candidate;
use counterfoil_core::manual::{Account, ID_PREFIX, price_of};
use counterfoil_core::{
    AttemptId, ExternalCustomerId, ExternalSessionId, ExternalSubscriptionId, IdempotencyKey, PriceId, Timestamp,
};
use serde::{Deserialize, Serialize};

pub use self::book::{Due, ManualError, NewPayment, NewRefund, Sale, Statement};
pub use self::records::Recorded;
use super::{
    BoxFuture, Change, ChangePreview, CheckoutSession, EventSpan, ListedSubscription, LoggedEvent, Made, NewCheckout,
    NewCustomer, Notice, Page, PaymentProvider, PaymentRef, ProviderError, Schedule, Terms, WebhookRefusal,
};
use crate::clock::Clock;
use crate::db::{Db, DbError};
use crate::entropy::Entropy;

/// The provider.
#[derive(Clone, Debug)]
pub struct Manual {
    db: Db,
    clock: Clock,
    entropy: Entropy,
    livemode: bool,
}

/// What a customer is made from, as its bytes read.
#[derive(Debug, Serialize, Deserialize)]
struct Frozen {
    customer_id: String,
    instance: String,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

impl Manual {
    /// On this database; `livemode` is the installation's.
    #[must_use]
    pub const fn new(db: Db, clock: Clock, entropy: Entropy, livemode: bool) -> Self {
        Self { db, clock, entropy, livemode }
    }

    fn new_id(&self, what: &str) -> String {
        format!("{ID_PREFIX}{what}_{}", hex::encode(self.entropy.bytes::<16>()))
    }

    async fn make_customer(&self, key: &IdempotencyKey, frozen: &str) -> Result<Made, ProviderError> {
        let read: Frozen =
            serde_json::from_str(frozen).map_err(|error| rejected("frozen_params", &error.to_string()))?;
        let id = ExternalCustomerId::new(self.new_id("customer"));
        let mut tx = self.db.begin().await.map_err(broken)?;
        records::insert_customer(&mut tx, &id, key, (frozen, &read), self.clock.now()).await.map_err(broken)?;
        let made = records::find_by_key(&mut tx, key).await.map_err(broken)?;
        tx.commit().await.map_err(broken)?;
        match made {
            Some((found, bytes)) if bytes == frozen => Ok(Made { is_new: found == id, id: found }),
            Some(_) => Err(ProviderError::KeyMismatch { request_id: None }),
            None => Err(rejected("database", "a customer came and went")),
        }
    }

    async fn find_one(&self, id: &ExternalCustomerId) -> Result<Option<Candidate>, ProviderError> {
        let mut tx = self.db.begin_read().await.map_err(broken)?;
        let found = records::find_customer(&mut tx, id).await.map_err(broken)?;
        tx.rollback().await.map_err(broken)?;
        Ok(found)
    }

    async fn find_by_email(&self, email: &str) -> Result<Vec<Candidate>, ProviderError> {
        let mut tx = self.db.begin_read().await.map_err(broken)?;
        let found = records::list_customers(&mut tx, email).await.map_err(broken)?;
        tx.rollback().await.map_err(broken)?;
        Ok(found)
    }

    async fn look(&self, customer: &ExternalCustomerId) -> Result<Facts, ProviderError> {
        let mut tx = self.db.begin_read().await.map_err(broken)?;
        let known = records::find_customer(&mut tx, customer).await.map_err(broken)?;
        let held = records::list(&mut tx, customer).await.map_err(broken)?;
        let payments = records::list_payments(&mut tx, customer).await.map_err(broken)?;
        tx.rollback().await.map_err(broken)?;
        let (now, mut facts) = (self.clock.now(), Facts { customer: Some(customer.clone()), ..Facts::default() });
        facts.customer_deleted = known.is_none_or(|known| known.deleted);
        for each in &held {
            if let Some((subscription, planned)) = records::account(each, &payments).facts(now) {
                facts.subscriptions.push(subscription);
                facts.planned_prices.extend(planned);
            }
        }
        Ok(facts)
    }

    async fn terms(&self, id: &ExternalSubscriptionId) -> Result<Terms, ProviderError> {
        let mut tx = self.db.begin_read().await.map_err(broken)?;
        let held = records::find(&mut tx, id).await.map_err(broken)?.ok_or_else(|| unknown(id))?;
        let payments = records::list_payments(&mut tx, &held.customer).await.map_err(broken)?;
        tx.rollback().await.map_err(broken)?;
        Ok(read_terms(&records::account(&held, &payments), self.clock.now()))
    }
}

fn read_terms(account: &Account, now: Timestamp) -> Terms {
    let (plan, interval) = account.terms(now);
    let running = account.running_months(now);
    let agreement = &account.agreement;
    let planned = account.facts(now).and_then(|(_, planned)| planned).map(|planned| (planned.price, planned.starts_at));
    let schedule = planned.map(|planned| Schedule {
        id: agreement.id.as_str().to_owned(),
        running_since: None,
        planned: Some(planned),
        cancel_at: None,
    });
    Terms {
        subscription: agreement.id.clone(),
        items: 1,
        item: agreement.id.as_str().to_owned(),
        price: price_of(plan, interval),
        quantity: 1,
        period_starts_at: account.month((running - interval.months()).max(0)),
        period_ends_at: account.month(running),
        trialing: false,
        cancels_at_period_end: agreement.cancel_at.is_some(),
        schedule,
    }
}

/// A database that does not answer is a provider that does not.
fn broken(error: DbError) -> ProviderError {
    if error.is_unavailable() || error.is_conflict() {
        ProviderError::Unavailable { reason: error.to_string(), request_id: None }
    } else {
        rejected("database", &error.to_string())
    }
}

fn rejected(code: &str, message: &str) -> ProviderError {
    ProviderError::Rejected { code: Some(code.to_owned()), message: message.to_owned(), request_id: None }
}

fn unknown(id: &ExternalSubscriptionId) -> ProviderError {
    ProviderError::Missing { message: format!("there is no subscription {id}"), request_id: None }
}

fn not_offered<'a, T: Send + 'a>(what: &'static str) -> BoxFuture<'a, Result<T, ProviderError>> {
    Box::pin(std::future::ready(Err(ProviderError::NotOffered { what })))
}

impl PaymentProvider for Manual {
    fn name(&self) -> &'static str {
        "manual"
    }

    fn livemode(&self) -> bool {
        self.livemode
    }

    fn account_id(&self) -> BoxFuture<'_, Result<Option<String>, ProviderError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn freeze_customer(&self, new: &NewCustomer<'_>) -> String {
        let frozen = Frozen {
            customer_id: new.customer_id.to_string(),
            instance: new.instance.to_string(),
            email: new.email.to_owned(),
            name: new.name.map(str::to_owned),
        };
        serde_json::to_string(&frozen).expect("four texts are always JSON")
    }

    fn create_customer<'a>(
        &'a self,
        key: &'a IdempotencyKey,
        frozen: &'a str,
    ) -> BoxFuture<'a, Result<Made, ProviderError>> {
        Box::pin(self.make_customer(key, frozen))
    }

    /// The name is nowhere in this book but in the frozen bytes, which stay what they were.
    fn update_customer<'a>(
        &'a self,
        _key: &'a IdempotencyKey,
        id: &'a ExternalCustomerId,
        email: &'a str,
        _name: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            let mut tx = self.db.begin().await.map_err(broken)?;
            let is_there = records::set_email(&mut tx, id, email).await.map_err(broken)?;
            tx.commit().await.map_err(broken)?;
            if is_there { Ok(()) } else { Err(ProviderError::CustomerMissing) }
        })
    }

    fn delete_customer<'a>(
        &'a self,
        _key: &'a IdempotencyKey,
        id: &'a ExternalCustomerId,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.forget_customer(id))
    }

    fn find_customers<'a>(&'a self, email: &'a str) -> BoxFuture<'a, Result<Vec<Candidate>, ProviderError>> {
        Box::pin(self.find_by_email(email))
    }

    fn find_customer<'a>(
        &'a self,
        id: &'a ExternalCustomerId,
    ) -> BoxFuture<'a, Result<Option<Candidate>, ProviderError>> {
        Box::pin(self.find_one(id))
    }

    /// No event names a payment here.
    fn find_customer_of_payment<'a>(
        &'a self,
        _payment: &'a PaymentRef,
    ) -> BoxFuture<'a, Result<Option<ExternalCustomerId>, ProviderError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// One that nobody knows is as good as over.
    fn cancel_now<'a>(
        &'a self,
        _key: &'a IdempotencyKey,
        subscription: &'a ExternalSubscriptionId,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            match self.end_now(subscription).await {
                Ok(()) | Err(ProviderError::Missing { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        })
    }

    /// Money goes back by an operator's transfer, so that a duplicate whose money is to go back stays flagged for one.
    fn payments_of_newest_period<'a>(
        &'a self,
        _subscription: &'a ExternalSubscriptionId,
    ) -> BoxFuture<'a, Result<Vec<PaymentRef>, ProviderError>> {
        not_offered("refund without an operator")
    }

    fn give_back<'a>(
        &'a self,
        _key: &'a IdempotencyKey,
        _payment: &'a PaymentRef,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        not_offered("refund without an operator")
    }

    fn freeze_checkout(&self, _new: &NewCheckout<'_>) -> String {
        String::new()
    }

    fn create_checkout<'a>(
        &'a self,
        _key: &'a IdempotencyKey,
        _frozen: &'a str,
    ) -> BoxFuture<'a, Result<CheckoutSession, ProviderError>> {
        not_offered("payment page")
    }

    fn retrieve_checkout<'a>(
        &'a self,
        _id: &'a ExternalSessionId,
    ) -> BoxFuture<'a, Result<CheckoutSession, ProviderError>> {
        not_offered("payment page")
    }

    fn expire_checkout<'a>(
        &'a self,
        _key: &'a IdempotencyKey,
        _id: &'a ExternalSessionId,
    ) -> BoxFuture<'a, Result<CheckoutSession, ProviderError>> {
        not_offered("payment page")
    }

    fn fetch_facts<'a>(
        &'a self,
        customer: &'a ExternalCustomerId,
        _sessions: &'a [(AttemptId, ExternalSessionId)],
    ) -> BoxFuture<'a, Result<Facts, ProviderError>> {
        Box::pin(self.look(customer))
    }

    /// What wants a look is kept until somebody has looked ([`Manual::list_due`]); there is no log beside it.
    fn list_events<'a>(&'a self, _span: &'a EventSpan<'a>) -> BoxFuture<'a, Result<Page<LoggedEvent>, ProviderError>> {
        not_offered("log of events")
    }

    fn list_subscriptions<'a>(
        &'a self,
        _after: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Page<ListedSubscription>, ProviderError>> {
        not_offered("list of all subscriptions")
    }

    fn read_terms<'a>(&'a self, id: &'a ExternalSubscriptionId) -> BoxFuture<'a, Result<Terms, ProviderError>> {
        Box::pin(self.terms(id))
    }

    fn preview_change<'a>(
        &'a self,
        _terms: &'a Terms,
        _price: &'a PriceId,
        _prorated_from: Timestamp,
    ) -> BoxFuture<'a, Result<ChangePreview, ProviderError>> {
        not_offered("preview of a change")
    }

    /// Keys are not looked at here and below: each call sets a state, so that saying it twice changes nothing more.
    fn change_plan<'a>(
        &'a self,
        _key: &'a IdempotencyKey,
        terms: &'a Terms,
        change: &'a Change,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.change(&terms.subscription, change))
    }

    fn cancel<'a>(&'a self, _key: &'a IdempotencyKey, terms: &'a Terms) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.end_with_period(&terms.subscription))
    }

    fn resume<'a>(
        &'a self,
        _key: &'a IdempotencyKey,
        terms: &'a Terms,
        paused: bool,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        if paused { not_offered("pause") } else { Box::pin(self.go_on(&terms.subscription)) }
    }

    fn open_portal<'a>(
        &'a self,
        _customer: &'a ExternalCustomerId,
        _return_url: &'a str,
    ) -> BoxFuture<'a, Result<String, ProviderError>> {
        not_offered("page for cards and invoices")
    }

    /// Nobody sends any.
    fn verify_webhook(&self, _signatures: &[&[u8]], _body: &[u8], _now: Timestamp) -> Result<Notice, WebhookRefusal> {
        Err(WebhookRefusal::SecretUnset)
    }
}
