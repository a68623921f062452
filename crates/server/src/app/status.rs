//! How the service is doing: for readiness checks and metrics.

use counterfoil_core::{CustomerId, EmailAddress};

use super::setbacks::UNMATCHED_SECONDS;
use super::{App, Error};
use crate::store;
pub use crate::store::Queue;

impl App {
    /// Whether the database answers.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn ready(&self) -> Result<(), Error> {
        Ok(self.db.ping().await?)
    }

    /// How inbox and outbox are doing. It reads what waits and what was given up, and nothing that is done.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn queues(&self) -> Result<(Queue, Queue), Error> {
        let mut tx = self.db.begin_read().await?;
        let inbox = store::inbox::measure(&mut tx, self.now().plus_seconds(-UNMATCHED_SECONDS)).await?;
        let outbox = store::outbox::measure(&mut tx).await?;
        tx.rollback().await?;
        Ok((inbox, outbox))
    }

    /// How long ago each sweep had last looked through everything, in seconds.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn sweep_ages(&self) -> Result<Vec<(String, i64)>, Error> {
        let now = self.now();
        let mut tx = self.db.begin_read().await?;
        let done = store::sweeps::list_done(&mut tx).await?;
        tx.rollback().await?;
        Ok(done.into_iter().map(|(sweep, until)| (sweep, now.seconds_since(until).max(0))).collect())
    }
}

/// Which customer an operator means: our id, an address, or the provider's id.
///
/// # Errors
/// Failures of the database.
pub async fn find_customer_by_any(
    tx: &mut crate::db::Tx,
    text: &str,
) -> Result<Option<store::customers::Customer>, Error> {
    if let Ok(id) = text.parse::<CustomerId>() {
        return Ok(store::customers::find(tx, &id).await?);
    }
    if let Ok(email) = text.parse::<EmailAddress>() {
        return Ok(store::customers::find_by_email(tx, &email).await?);
    }
    Ok(store::customers::find_by_external_id(tx, text).await?)
}
