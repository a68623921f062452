//! Everything that we know of one customer, for the operators who help it.

use counterfoil_core::entitlement::{self, Ended, Grant};
use counterfoil_core::plan_change::PlannedChange;
use counterfoil_core::{Catalog, CustomerId, Refusal, Subscription, Timestamp};

use super::customers::no_subscription;
use super::explain::{Explanation, explain};
use super::licenses::hold_over;
use super::settings::EmailVerification;
use super::status::find_customer_by_any;
use super::{App, Error};
use crate::db::Tx;
use crate::store;
use crate::store::attempts::AttemptLine;
use crate::store::audit;
use crate::store::customers::Customer;
use crate::store::events::EventLine;
use crate::store::holds::Hold;
use crate::store::licenses::License;
use crate::store::outbox::MailLine;

/// Versions and history lines in a file.
pub const LINES_MAX: i64 = 20;

/// Everything about one customer.
#[derive(Debug)]
pub struct CustomerFile {
    pub customer: Customer,
    pub subscription: Option<Subscription>,
    /// The newest first.
    pub licenses: Vec<License>,
    /// On how many machines the licence is activated.
    pub machines: i64,
    /// The newest first.
    pub history: Vec<audit::Entry>,
    /// When it was put together.
    pub now: Timestamp,
}

impl CustomerFile {
    /// The file of this customer.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn load(tx: &mut Tx, customer: Customer, now: Timestamp) -> Result<Self, Error> {
        let id = &customer.customer_id;
        let subscription = store::subscriptions::find(tx, id).await?;
        let licenses = store::licenses::list(tx, id, i64::MAX, LINES_MAX).await?;
        let machines = store::activations::count(tx, id).await?;
        let history = audit::list(tx, id, LINES_MAX).await?;
        Ok(Self { customer, subscription, licenses, machines, history, now })
    }
}

/// The file, and what is needed to say why things are as they are.
#[derive(Debug)]
pub struct CaseFile {
    pub file: CustomerFile,
    /// What the customer may use now.
    pub right: Result<Grant, Ended>,
    /// Whether addresses have to be verified here.
    pub verification: EmailVerification,
    pub hold: Option<Hold>,
    pub planned: Option<PlannedChange>,
    /// The newest first, with those that name the customer and are matched to nobody.
    pub events: Vec<EventLine>,
    /// The newest first.
    pub mails: Vec<MailLine>,
    /// Those that are not over.
    pub checkouts: Vec<AttemptLine>,
}

impl CaseFile {
    /// The case of this customer.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn load(
        tx: &mut Tx,
        customer: Customer,
        (catalog, verification): (&Catalog, EmailVerification),
        now: Timestamp,
    ) -> Result<Self, Error> {
        let file = CustomerFile::load(tx, customer, now).await?;
        let id = &file.customer.customer_id;
        let hold = store::holds::find(tx, id).await?;
        let held = hold_over(tx, id, verification).await?;
        let right =
            entitlement::right(file.subscription.as_ref().ok_or_else(|| no_subscription(id))?, held, catalog, now);
        let planned = store::planned_changes::find(tx, id).await?;
        let events = store::events::list_about(tx, id, LINES_MAX).await?;
        let mails = store::outbox::list_of_customer(tx, id, LINES_MAX).await?;
        let checkouts = store::attempts::list_unfinished(tx, id).await?;
        Ok(Self { right, verification, hold, planned, events, mails, checkouts, file })
    }
}

impl App {
    /// Why this customer has a licence, or has none.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`], [`Refusal::CustomerDeleted`], or failures.
    pub async fn explain_customer(&self, customer_id: &CustomerId) -> Result<Explanation, Error> {
        let customer = self.find_customer_or_tombstone(customer_id).await?.ok_or(Refusal::CustomerDeleted)?;
        let mut tx = self.db.begin_read().await?;
        let rules = (self.catalog.as_ref(), self.settings.email_verification);
        let case = CaseFile::load(&mut tx, customer, rules, self.now()).await?;
        tx.rollback().await?;
        Ok(explain(&case))
    }

    /// Everything about this customer.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`], [`Refusal::CustomerDeleted`], or failures.
    pub async fn customer_file(&self, customer_id: &CustomerId) -> Result<CustomerFile, Error> {
        let customer = self.find_customer_or_tombstone(customer_id).await?.ok_or(Refusal::CustomerDeleted)?;
        let mut tx = self.db.begin_read().await?;
        let file = CustomerFile::load(&mut tx, customer, self.now()).await?;
        tx.rollback().await?;
        Ok(file)
    }

    /// The customer that an operator means: our id, an address, or the provider's id.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn find_customer(&self, text: &str) -> Result<Option<Customer>, Error> {
        let mut tx = self.db.begin_read().await?;
        let found = find_customer_by_any(&mut tx, text.trim()).await?;
        tx.rollback().await?;
        Ok(found)
    }
}
