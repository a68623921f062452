//! Everything that we know of one customer, for the operators who help it.

use counterfoil_core::{CustomerId, Refusal, Subscription, Timestamp};

use super::status::find_customer_by_any;
use super::{App, Error};
use crate::db::Tx;
use crate::store;
use crate::store::audit;
use crate::store::customers::Customer;
use crate::store::licenses::License;

/// Versions and history lines in a file.
pub const LINES_MAX: i64 = 20;

/// Everything about one customer.
#[derive(Debug)]
pub struct CustomerFile {
    pub customer: Customer,
    pub subscription: Option<Subscription>,
    /// The newest first.
    pub licenses: Vec<License>,
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
        let history = audit::list(tx, id, LINES_MAX).await?;
        Ok(Self { customer, subscription, licenses, history, now })
    }
}

impl App {
    /// Everything about this customer.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`], or failures.
    pub async fn customer_file(&self, customer_id: &CustomerId) -> Result<CustomerFile, Error> {
        let mut tx = self.db.begin_read().await?;
        let customer = store::customers::find(&mut tx, customer_id).await?.ok_or(Refusal::CustomerUnknown)?;
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
