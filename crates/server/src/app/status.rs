//! How the service is doing: for readiness checks and metrics.

use counterfoil_core::{CustomerId, EmailAddress};

use super::{App, Error};
use crate::store;

/// Rows in each state of a queue.
pub type Counts = Vec<(String, i64)>;

impl App {
    /// Whether the database answers.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn ready(&self) -> Result<(), Error> {
        Ok(self.db.ping().await?)
    }

    /// Rows of inbox and outbox by state.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn queue_counts(&self) -> Result<(Counts, Counts), Error> {
        let mut tx = self.db.begin_read().await?;
        let inbox = store::inbox::count_by_state(&mut tx).await?;
        let outbox = store::outbox::count_by_state(&mut tx).await?;
        tx.rollback().await?;
        Ok((inbox, outbox))
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
