//! Holding a customer: one worker at a time looks at the provider for it and writes what it saw.

use std::time::Duration;

use counterfoil_core::{CustomerId, Timestamp, planted, probe};
use tokio::task::JoinHandle;

use super::error::Failure;
use super::{App, Error};
use crate::db::{DbError, Tx};
use crate::{store, tasks};

/// How long a lease lasts without being renewed: the longest that a customer waits after a crash.
const LEASE_SECONDS: i64 = 10;

/// How often a held lease is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// How long a request waits for a customer that somebody else works on.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// The first pause between two tries of a waiting request, spread so that waiters do not meet.
const WAIT_MILLIS: i64 = 40;

/// The longest such pause. Each is half as long again as the one before: every try locks the lease's row for a moment, and a
/// crowd that tries all the time would keep the holder from its work.
const WAIT_MILLIS_MAX: i64 = 400;

/// The end of a lease that was given back: long past by every replica's clock. With "now" of a clock that is ahead, the
/// others would wait for theirs to catch up.
const GIVEN_BACK: Timestamp = Timestamp::from_unix_seconds(0);

fn lease_end(now: Timestamp) -> Timestamp {
    now.plus_seconds(if planted!("lease-never-ends") { i64::MAX } else { LEASE_SECONDS })
}

/// A held lease. Every write under it goes through [`Lease::keep`] or [`Lease::give_back`] in its own transaction.
#[derive(Debug)]
pub struct Lease {
    pub customer_id: CustomerId,
    pub fence: i64,
    renewal: JoinHandle<()>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl Lease {
    /// Checks inside `tx` that the lease is still ours, and keeps it.
    ///
    /// # Errors
    /// [`Failure::CustomerBusy`] where somebody else has taken it: nothing may be written.
    pub async fn keep(&self, tx: &mut Tx, now: Timestamp) -> Result<(), Failure> {
        self.check(tx, lease_end(now)).await
    }

    /// Checks inside `tx` that the lease is still ours, and ends it with the transaction's commit.
    ///
    /// # Errors
    /// As [`Lease::keep`].
    pub async fn give_back(&self, tx: &mut Tx) -> Result<(), Failure> {
        self.renewal.abort();
        self.check(tx, GIVEN_BACK).await
    }

    async fn check(&self, tx: &mut Tx, until: Timestamp) -> Result<(), Failure> {
        if store::leases::extend(tx, &self.customer_id, self.fence, until).await? || planted!("fence-unchecked") {
            Ok(())
        } else {
            probe!("F18");
            Err(Failure::CustomerBusy)
        }
    }
}

impl App {
    /// Takes the customer's lease where it is free.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn try_lease(&self, customer_id: &CustomerId) -> Result<Option<Lease>, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let until = lease_end(now);
        let fence = store::leases::take(&mut tx, customer_id, &self.holder, now, until).await?;
        tx.commit().await?;
        Ok(fence.map(|fence| Lease {
            customer_id: customer_id.clone(),
            fence,
            renewal: tokio::spawn(tasks::own(self.clone().renew(customer_id.clone(), fence))),
        }))
    }

    /// Takes the customer's lease, waiting for it a while.
    ///
    /// # Errors
    /// [`Failure::CustomerBusy`] where it did not become free.
    pub async fn lease(&self, customer_id: &CustomerId) -> Result<Lease, Error> {
        let waiting = async {
            let mut millis = WAIT_MILLIS;
            loop {
                if let Some(lease) = self.try_lease(customer_id).await? {
                    return Ok(lease);
                }
                let pause = self.entropy.around_millis(millis).unsigned_abs();
                tokio::time::sleep(Duration::from_millis(pause)).await;
                millis = (millis * 3 / 2).min(WAIT_MILLIS_MAX);
            }
        };
        match tokio::time::timeout(WAIT_MAX, waiting).await {
            Ok(result) => result,
            Err(_elapsed) => Err(Failure::CustomerBusy.into()),
        }
    }

    /// Gives a lease back that nothing was written under, or nothing more will be.
    pub async fn release(&self, lease: Lease) {
        let result: Result<(), Failure> = async {
            let mut tx = self.db.begin().await?;
            lease.give_back(&mut tx).await?;
            Ok(tx.commit().await?)
        }
        .await;
        if let Err(error) = result {
            // It runs out by itself within LEASE_SECONDS.
            tracing::debug!(customer_id = %lease.customer_id, %error, "a lease was not given back");
        }
    }

    async fn renew(self, customer_id: CustomerId, fence: i64) {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            match self.renew_once(&customer_id, fence).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(%customer_id, %error, "a lease could not be renewed"),
            }
        }
    }

    async fn renew_once(&self, customer_id: &CustomerId, fence: i64) -> Result<bool, DbError> {
        let mut tx = self.db.begin().await?;
        let until = lease_end(self.now());
        let ours = store::leases::extend(&mut tx, customer_id, fence, until).await?;
        tx.commit().await?;
        Ok(ours)
    }
}
