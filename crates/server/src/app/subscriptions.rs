//! Subscriptions as their customers see them.

use counterfoil_core::subscription::Record;
use counterfoil_core::{CustomerId, Subscription};

use super::customers::find_subscription;
use super::{App, Error};

/// A subscription as it is shown: the record, with the status word of this moment.
#[must_use]
pub fn shown(app: &App, subscription: &Subscription) -> Record {
    let status = subscription.status_word(app.now()).to_owned();
    Record { status, ..subscription.to_record() }
}

impl App {
    /// The customer's subscription.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn current_subscription(&self, customer_id: &CustomerId) -> Result<Record, Error> {
        let mut tx = self.db.begin_read().await?;
        let subscription = find_subscription(&mut tx, customer_id).await?;
        tx.rollback().await?;
        Ok(shown(self, &subscription))
    }
}
