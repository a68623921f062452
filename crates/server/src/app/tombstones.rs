//! What is left of deleted accounts, for the operators who look for them.

use std::fmt::Write as _;

use counterfoil_core::{CustomerId, Refusal};

use super::customer_files::LINES_MAX;
use super::{App, Error};
use crate::db::Tx;
use crate::store;
use crate::store::audit;
use crate::store::customers::{Customer, Tombstone};

/// A tombstone with its history.
#[derive(Debug)]
pub struct TombstoneFile {
    pub tombstone: Tombstone,
    /// The newest first.
    pub history: Vec<audit::Entry>,
}

impl TombstoneFile {
    /// The tombstone that an operator means: by our id, or by the provider's. There is no address any more to find it by.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn find(tx: &mut Tx, text: &str) -> Result<Option<Self>, Error> {
        let customer_id = match text.parse::<CustomerId>() {
            Ok(customer_id) => Some(customer_id),
            Err(_other) => store::customers::find_id_by_external_id(tx, text).await?,
        };
        let Some(customer_id) = customer_id else { return Ok(None) };
        let Some(tombstone) = store::customers::find_tombstone(tx, &customer_id).await? else { return Ok(None) };
        let history = audit::list(tx, &customer_id, LINES_MAX).await?;
        Ok(Some(Self { tombstone, history }))
    }

    /// Why there is no licence, for a person.
    #[must_use]
    pub fn in_words(&self) -> String {
        let Tombstone { customer_id, external_id, created_at, deleted_at } = &self.tombstone;
        let by = |entry: &audit::Entry| {
            let reason = entry.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            format!(" by {}{reason}", entry.actor)
        };
        let who = self.history.iter().find(|entry| entry.action == "customer_deleted").map(by).unwrap_or_default();
        let mut text = format!(
            "The account {customer_id}, which began on {}, was deleted on {}{who}. Its licenses are revoked, and who it was is not \
             kept.",
            created_at.date_in_words(),
            deleted_at.date_time_in_words(),
        );
        if let Some(external_id) = external_id {
            // Writing into a text cannot fail.
            let _ = write!(text, " The payment provider still keeps {external_id} with its invoices.");
        }
        for each in &self.history {
            let _ = write!(text, "\n  {}", each.in_words());
        }
        text
    }
}

impl App {
    /// The customer; `None` where the account was deleted.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`], or failures.
    pub async fn find_customer_or_tombstone(&self, customer_id: &CustomerId) -> Result<Option<Customer>, Error> {
        let mut tx = self.db.begin_read().await?;
        let customer = store::customers::find(&mut tx, customer_id).await?;
        let tombstone = store::customers::find_tombstone(&mut tx, customer_id).await?;
        tx.rollback().await?;
        match (customer, tombstone) {
            (Some(customer), _) => Ok(Some(customer)),
            (None, Some(_)) => Ok(None),
            (None, None) => Err(Refusal::CustomerUnknown.into()),
        }
    }
}
