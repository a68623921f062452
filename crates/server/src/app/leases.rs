//! Holding a customer: one worker at a time looks at the provider for it and writes what it saw.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use counterfoil_core::{CustomerId, Timestamp, planted, probe};
use tokio::task::JoinHandle;

use super::error::Failure;
use super::{App, Error};
use crate::db::{DbError, Tx};
use crate::store::leases::Held;
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

/// Whether a lease ends with the transaction that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    GiveBack,
    Keep,
}

impl Afterwards {
    fn end(self, now: Timestamp) -> Timestamp {
        match self {
            Self::GiveBack => GIVEN_BACK,
            Self::Keep => lease_end(now),
        }
    }
}

fn lease_end(now: Timestamp) -> Timestamp {
    now.plus_seconds(if planted!("lease-never-ends") { store::leases::LEASED_SECONDS_MAX } else { LEASE_SECONDS })
}

/// Checks inside `tx` which of these leases are still their holders', and moves their ends. For the others nothing may be written.
///
/// # Errors
/// Failures of the database.
pub(super) async fn still_held(
    tx: &mut Tx,
    held: &[Held<'_>],
    afterwards: Afterwards,
    now: Timestamp,
) -> Result<BTreeSet<CustomerId>, DbError> {
    let ours = store::leases::extend(tx, held, afterwards.end(now)).await?;
    probe!("F18", ours.len() < held.len());
    if planted!("fence-unchecked") {
        return Ok(held.iter().map(|(customer_id, _)| (*customer_id).clone()).collect());
    }
    Ok(ours)
}

/// A held lease. Every write under it goes through [`Lease::keep`] or [`Lease::give_back`] in its own transaction.
#[derive(Debug)]
pub struct Lease {
    pub customer_id: CustomerId,
    pub fence: i64,
    /// Renews it in the background; none where whoever holds it does so, by [`App::attend`].
    renewal: Option<JoinHandle<()>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end_renewal();
    }
}

impl Lease {
    /// Checks inside `tx` that the lease is still ours, and keeps it.
    ///
    /// # Errors
    /// [`Failure::CustomerBusy`] where somebody else has taken it: nothing may be written.
    pub async fn keep(&self, tx: &mut Tx, now: Timestamp) -> Result<(), Failure> {
        self.check(tx, Afterwards::Keep, now).await
    }

    /// Checks inside `tx` that the lease is still ours, and ends it with the transaction's commit.
    ///
    /// # Errors
    /// As [`Lease::keep`].
    pub async fn give_back(&self, tx: &mut Tx) -> Result<(), Failure> {
        self.end_renewal();
        self.check(tx, Afterwards::GiveBack, GIVEN_BACK).await
    }

    async fn check(&self, tx: &mut Tx, afterwards: Afterwards, now: Timestamp) -> Result<(), Failure> {
        match still_held(tx, &[self.held()], afterwards, now).await?.is_empty() {
            false => Ok(()),
            true => Err(Failure::CustomerBusy),
        }
    }

    /// Whose it is, and its fencing number.
    pub(super) fn held(&self) -> Held<'_> {
        (&self.customer_id, self.fence)
    }

    /// It is given back now, and must not be renewed any more.
    pub(super) fn end_renewal(&self) {
        if let Some(renewal) = &self.renewal {
            renewal.abort();
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
            renewal: Some(tokio::spawn(tasks::own(self.clone().renew(customer_id.clone(), fence)))),
        }))
    }

    /// Takes those of these leases that are free, in the caller's transaction. Whoever holds one has to [`attend`](App::attend) to it.
    ///
    /// # Errors
    /// Failures of the database.
    pub(super) async fn take_leases(&self, tx: &mut Tx, customers: &[CustomerId]) -> Result<Vec<Lease>, DbError> {
        let now = self.now();
        let taken = store::leases::take_all(tx, customers, &self.holder, now, lease_end(now)).await?;
        Ok(taken.into_iter().map(|(customer_id, fence)| Lease { customer_id, fence, renewal: None }).collect())
    }

    /// Does this work, and renews the lease for as long as it takes.
    pub(super) async fn attend<T>(&self, lease: &Lease, work: impl Future<Output = T>) -> T {
        let renewing = async {
            self.clone().renew(lease.customer_id.clone(), lease.fence).await;
            // Somebody else has it now. The work goes on and ends at the check of its write.
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            done = work => done,
            never = renewing => match never {},
        }
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
        let ours = store::leases::extend(&mut tx, &[(customer_id, fence)], until).await?;
        tx.commit().await?;
        Ok(!ours.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One renewal may fail, as where the database restarts.
    #[test]
    fn a_lease_outlasts_two_renewals() {
        assert!(RENEW_EVERY.as_secs() * 3 < LEASE_SECONDS.unsigned_abs());
    }

    #[tokio::test]
    async fn nobody_goes_on_renewing_a_lease_that_was_dropped() {
        let renewal = tokio::spawn(std::future::pending());
        let watched = renewal.abort_handle();
        drop(Lease { customer_id: CustomerId::from_random([1; 16]), fence: 1, renewal: Some(renewal) });
        let ended = async {
            while !watched.is_finished() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(WAIT_MAX, ended).await.expect("it has ended");
    }
}
