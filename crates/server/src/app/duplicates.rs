//! Ending what a customer pays for twice, where the operator wants that done without being asked.

use counterfoil_core::{ExternalSubscriptionId, IdempotencyKey};

use super::leases::Lease;
use super::settings::DuplicatePolicy;
use super::{App, Error};
use crate::store;
use crate::store::audit::Actor;

impl App {
    /// Whether the operator's policy ends what a customer pays for twice.
    pub(super) fn ends_duplicates(&self) -> bool {
        match self.settings.duplicate_policy {
            DuplicatePolicy::Flag => false,
            DuplicatePolicy::Cancel | DuplicatePolicy::CancelAndRefund => true,
        }
    }

    /// Cancels these later duplicates, under the operator's policy, after a look was written: only what our book shows as the
    /// second one is ended. What fails stays flagged, and the next look tries it again; the customer's licence does not wait
    /// for it. Where its money is to go back, that comes first: a subscription that has ended is no duplicate any more, and nobody
    /// would come back for its payment.
    pub(super) async fn cancel_duplicates(&self, lease: &Lease, duplicates: &[ExternalSubscriptionId]) {
        if !self.ends_duplicates() {
            return;
        }
        for duplicate in duplicates {
            if let Err(error) = self.end_duplicate(lease, duplicate).await {
                tracing::error!(customer_id = %lease.customer_id, %error, "a second subscription could not be canceled");
            }
        }
    }

    async fn end_duplicate(&self, lease: &Lease, duplicate: &ExternalSubscriptionId) -> Result<(), Error> {
        if self.settings.duplicate_policy == DuplicatePolicy::CancelAndRefund {
            self.refund_duplicate(lease, duplicate).await?;
        }
        self.cancel_duplicate(lease, duplicate).await
    }

    /// Gives the newest period's payment back. Earlier ones were for a time that is over, and are an operator's to judge.
    async fn refund_duplicate(&self, lease: &Lease, duplicate: &ExternalSubscriptionId) -> Result<(), Error> {
        let (customer_id, instance) = (&lease.customer_id, &self.instance.instance_id);
        for payment in self.keeper(duplicate.as_str()).payments_of_newest_period(duplicate).await? {
            let what = format!("duplicate_refund:{}", payment.as_str());
            let key = IdempotencyKey::subscription_change(instance, customer_id, &what, lease.fence);
            self.keeper(duplicate.as_str()).give_back(&key, &payment).await?;
            let mut tx = self.db.begin().await?;
            let (told, now) = (payment.as_str(), self.now());
            store::audit::insert(&mut tx, Actor::Sync, "duplicate_refunded", Some(customer_id), told, now).await?;
            tx.commit().await?;
            metrics::counter!("counterfoil_duplicates_refunded_total").increment(1);
        }
        Ok(())
    }

    async fn cancel_duplicate(&self, lease: &Lease, duplicate: &ExternalSubscriptionId) -> Result<(), Error> {
        let (customer_id, what) = (&lease.customer_id, format!("duplicate:{}", duplicate.as_str()));
        let key = IdempotencyKey::subscription_change(&self.instance.instance_id, customer_id, &what, lease.fence);
        self.keeper(duplicate.as_str()).cancel_now(&key, duplicate).await?;
        let mut tx = self.db.begin().await?;
        let told = duplicate.as_str();
        store::audit::insert(&mut tx, Actor::Sync, "duplicate_canceled", Some(customer_id), told, self.now()).await?;
        tx.commit().await?;
        metrics::counter!("counterfoil_duplicates_canceled_total").increment(1);
        tracing::warn!(%customer_id, "a second subscription was canceled");
        Ok(())
    }
}
