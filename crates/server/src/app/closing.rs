//! Closing the payment pages that a customer has open, before something else takes their place: an agreement by invoice, or the
//! end of the account.
//!
//! A page that is open at the provider can be paid for a day, in a browser that nobody of us sees. Whoever has sold something else
//! meanwhile would have taken the money twice.

use counterfoil_core::{CustomerId, Refusal};

use super::checkout::Settled;
use super::customers::find_subscription;
use super::leases::Lease;
use super::sync::Synced;
use super::{App, Error, Failure};
use crate::store;

/// What became of the pages that were open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checkouts {
    /// None can be paid any more.
    Closed,
    /// None can be paid any more, and one was gone through before. What came of it is in our book.
    GoneThrough,
}

impl App {
    /// Closes what the customer could still pay on.
    ///
    /// # Errors
    /// [`Refusal::PaymentPending`] where the customer went through one and the money is on its way; failures, the provider's too:
    /// a page of which nothing is known may still be open.
    pub(super) async fn close_checkouts(&self, lease: &Lease) -> Result<Checkouts, Error> {
        let (customer_id, provider) = (&lease.customer_id, self.provider.name());
        let mut tx = self.db.begin_read().await?;
        let open = store::attempts::list_open(&mut tx, customer_id, provider).await?;
        tx.rollback().await?;
        let mut completed = false;
        for attempt in &open {
            match self.settle(lease, attempt, false).await? {
                Settled::Completed => completed = true,
                // Nothing fits here, so nothing is reused.
                Settled::Closed | Settled::Reuse(_) => {}
            }
        }
        if !completed {
            return Ok(Checkouts::Closed);
        }
        self.sync_and_keep(lease).await?;
        let mut tx = self.db.begin_read().await?;
        let open = store::attempts::list_open(&mut tx, customer_id, provider).await?;
        tx.rollback().await?;
        if open.is_empty() { Ok(Checkouts::GoneThrough) } else { Err(Refusal::PaymentPending.into()) }
    }

    /// While an agreement is not paid, the customer may open a payment page. Money that came is recorded all the same, also where
    /// the page was paid, or where nothing can be learned of it: the sweep then closes it, and two that are live are flagged.
    pub(super) async fn close_before_payment(&self, lease: &Lease) -> Result<(), Error> {
        match self.close_checkouts(lease).await {
            Ok(Checkouts::Closed | Checkouts::GoneThrough) | Err(Error::Refused(Refusal::PaymentPending)) => Ok(()),
            Err(Error::Failed(error @ (Failure::Provider(_) | Failure::OtherAccount | Failure::CustomerBusy))) => {
                let customer_id = &lease.customer_id;
                tracing::warn!(%customer_id, %error, "a payment page may be open beside a payment that is recorded");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Looks at a customer whose agreement by invoice has changed, and closes what could still be paid beside one that is live.
    pub(super) async fn look_and_close(&self, customer_id: &CustomerId) -> Result<Synced, Error> {
        let synced = self.sync_customer(customer_id).await?;
        let mut tx = self.db.begin_read().await?;
        let open = store::attempts::list_open(&mut tx, customer_id, self.provider.name()).await?;
        let subscription = find_subscription(&mut tx, customer_id).await?;
        tx.rollback().await?;
        if open.is_empty() || !(subscription.is_manual() && subscription.is_live_at_provider()) {
            return Ok(synced);
        }
        let Some(lease) = self.try_lease(customer_id).await? else { return Ok(Synced::Busy) };
        let closed = self.close_checkouts(&lease).await;
        self.release(lease).await;
        match closed {
            // Where both are paid, the look has flagged them, or the one that follows the payment does.
            Ok(Checkouts::Closed | Checkouts::GoneThrough) | Err(Error::Refused(Refusal::PaymentPending)) => Ok(synced),
            Err(error) => Err(error),
        }
    }
}
