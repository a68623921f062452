//! Ending what a customer pays for twice, where the operator wants that done without being asked.

use counterfoil_core::{ExternalSubscriptionId, IdempotencyKey};

use super::leases::Lease;
use super::settings::DuplicatePolicy;
use super::{App, Error};
use crate::store;
use crate::store::audit::Actor;

impl App {
    /// Cancels these later duplicates, under the operator's policy, after a look was written: only what our book shows as the
    /// second one is ended. What fails stays flagged, and the next look tries it again; the customer's licence does not wait
    /// for it. Giving the money back is left to an operator.
    pub(super) async fn cancel_duplicates(&self, lease: &Lease, duplicates: &[ExternalSubscriptionId]) {
        match self.settings.duplicate_policy {
            DuplicatePolicy::Flag => return,
            DuplicatePolicy::Cancel => {}
        }
        for duplicate in duplicates {
            if let Err(error) = self.cancel_duplicate(lease, duplicate).await {
                tracing::error!(customer_id = %lease.customer_id, %error, "a second subscription could not be canceled");
            }
        }
    }

    async fn cancel_duplicate(&self, lease: &Lease, duplicate: &ExternalSubscriptionId) -> Result<(), Error> {
        let (customer_id, what) = (&lease.customer_id, format!("duplicate:{}", duplicate.as_str()));
        let key = IdempotencyKey::subscription_change(&self.instance.instance_id, customer_id, &what, lease.fence);
        self.provider.cancel_now(&key, duplicate).await?;
        let mut tx = self.db.begin().await?;
        let told = duplicate.as_str();
        store::audit::insert(&mut tx, Actor::Sync, "duplicate_canceled", Some(customer_id), told, self.now()).await?;
        tx.commit().await?;
        metrics::counter!("counterfoil_duplicates_canceled_total").increment(1);
        tracing::warn!(%customer_id, "a second subscription was canceled");
        Ok(())
    }
}
