//! Working the inbox off: find out whose customer an event is about, then look at the provider once for all of them.
//!
//! Events of one customer are claimed together and cost one look. An event that matches nobody yet stays: the row it speaks of
//! may not be committed, or may come back with a restored backup.

use std::collections::BTreeMap;
use std::sync::Arc;

use counterfoil_core::link::{Candidate, Verdict, judge};
use counterfoil_core::{CustomerId, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::sync::Synced;
use super::{App, Error, Failure};
use crate::store;
use crate::store::inbox::Claimed;

/// Rows claimed at once.
const CLAIM_MAX: i64 = 200;

/// Customers looked at side by side.
const LOOKS_AT_ONCE: usize = 8;

/// A claimed row comes back after this long where its worker died: a paying customer waits for it. A worker that is only slow
/// still holds the customer's lease then, so the row is put back and nothing is done twice.
const HIDDEN_SECONDS: i64 = 15;

/// How soon a row is tried again whose customer is being looked at by somebody else.
const BUSY_MILLIS: i64 = 150;

/// The longest pause between two tries.
const BACKOFF_SECONDS_MAX: i64 = 3600;

/// How long a row is tried before it is set aside for an operator: as long as the sender itself would.
const GIVE_UP_DAYS: i64 = 3;

/// Whose event it is.
enum Owner {
    Customer(CustomerId),
    /// Not one of ours, for this reason.
    Nobody(&'static str),
    /// Ours by its metadata, but not in our book (yet).
    NotYet,
}

impl App {
    /// Claims due events and works them off. Answers how many there were: none means that one can sleep.
    ///
    /// # Errors
    /// Failures of the database in claiming; what fails later is written to its row.
    pub async fn work_inbox(&self) -> Result<usize, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let claimed = store::inbox::claim(&mut tx, now, now.plus_seconds(HIDDEN_SECONDS), CLAIM_MAX).await?;
        tx.commit().await?;
        let count = claimed.len();
        let mut by_customer: BTreeMap<CustomerId, Vec<Claimed>> = BTreeMap::new();
        for row in claimed {
            if let Some(customer_id) = self.resolve_or_postpone(&row).await? {
                by_customer.entry(customer_id).or_default().push(row);
            }
        }
        let places = Arc::new(Semaphore::new(LOOKS_AT_ONCE));
        let mut looks = JoinSet::new();
        for (customer_id, rows) in by_customer {
            let (app, places) = (self.clone(), Arc::clone(&places));
            looks.spawn(async move {
                let _place = places.acquire_owned().await;
                app.sync_for(&customer_id, &rows).await
            });
        }
        while let Some(look) = looks.join_next().await {
            match look {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "an inbox row could not be put back; it comes back by itself"),
                Err(error) => tracing::error!(%error, "a look at the provider broke off"),
            }
        }
        Ok(count)
    }

    async fn sync_for(&self, customer_id: &CustomerId, rows: &[Claimed]) -> Result<(), Error> {
        match self.sync_customer(customer_id).await {
            Ok(Synced::Done { .. }) => Ok(()),
            Ok(Synced::Busy) => {
                let run_at = self.now().plus_millis(self.entropy.around_millis(BUSY_MILLIS));
                let mut tx = self.db.begin().await?;
                for row in rows {
                    store::inbox::postpone(&mut tx, row.id, run_at, None).await?;
                }
                tx.commit().await?;
                Ok(())
            }
            Err(error) => self.fail_rows(rows, &error).await,
        }
    }

    async fn resolve_or_postpone(&self, row: &Claimed) -> Result<Option<CustomerId>, Error> {
        if let Some(customer_id) = &row.customer_id {
            return Ok(Some(customer_id.clone()));
        }
        match self.owner(row).await {
            Ok(Owner::Customer(customer_id)) => {
                let mut tx = self.db.begin().await?;
                store::inbox::assign(&mut tx, row.id, &customer_id).await?;
                tx.commit().await?;
                Ok(Some(customer_id))
            }
            Ok(Owner::Nobody(because)) => {
                let mut tx = self.db.begin().await?;
                store::inbox::ignore(&mut tx, row.id, because, self.now()).await?;
                tx.commit().await?;
                Ok(None)
            }
            Ok(Owner::NotYet) => {
                let error = Failure::Corrupt("the event names a customer that is not in the book".into());
                self.fail_rows(std::slice::from_ref(row), &error.into()).await?;
                Ok(None)
            }
            Err(error) => {
                self.fail_rows(std::slice::from_ref(row), &error).await?;
                Ok(None)
            }
        }
    }

    /// Whose customer the event is about: by our own link first, then by what the provider's customer says of itself now.
    /// What the payload claims is believed only as far as naming a customer of ours to look at.
    async fn owner(&self, row: &Claimed) -> Result<Owner, Error> {
        let ours = row.claimed_instance.as_deref() == Some(self.instance.instance_id.as_str());
        let claimed = row.claimed_customer.as_deref().and_then(|text| text.parse::<CustomerId>().ok());
        let mut tx = self.db.begin_read().await?;
        if let Some(external) = &row.external_customer
            && let Some(customer_id) = store::links::find_customer(&mut tx, self.provider.name(), external).await?
        {
            return Ok(Owner::Customer(customer_id));
        }
        if let Some(customer_id) = claimed.filter(|_| ours) {
            let known = store::customers::find(&mut tx, &customer_id).await?.is_some();
            return Ok(if known { Owner::Customer(customer_id) } else { Owner::NotYet });
        }
        tx.rollback().await?;
        let Some(external) = &row.external_customer else { return Ok(Owner::Nobody("no_customer")) };
        let Some(found) = self.provider.find_customer(external).await? else {
            return Ok(Owner::Nobody("customer_unknown_at_provider"));
        };
        let candidate = Candidate {
            id: found.id,
            created_at: found.created_at,
            deleted: false,
            customer_id: found.customer_id.clone(),
            instance: found.instance,
        };
        let Some(customer_id) = found.customer_id.and_then(|text| text.parse::<CustomerId>().ok()) else {
            return Ok(Owner::Nobody("ignored_foreign"));
        };
        if judge(&[candidate], &customer_id, &self.instance.instance_id) == Verdict::None {
            return Ok(Owner::Nobody("ignored_foreign"));
        }
        let mut tx = self.db.begin_read().await?;
        let known = store::customers::find(&mut tx, &customer_id).await?.is_some();
        Ok(if known { Owner::Customer(customer_id) } else { Owner::NotYet })
    }

    async fn fail_rows(&self, rows: &[Claimed], error: &Error) -> Result<(), Error> {
        let now = self.now();
        let text = error.to_string();
        metrics::counter!("counterfoil_inbox_failures_total").increment(rows.len() as u64);
        let mut tx = self.db.begin().await?;
        for row in rows {
            if now >= row.received_at.plus_days(GIVE_UP_DAYS) {
                store::inbox::bury(&mut tx, row.id, &text, now).await?;
                tracing::error!(event_id = row.event_id, error = text, "an event was given up; an operator has to look");
            } else {
                let run_at = now.plus_millis(self.backoff_millis(row.attempts));
                store::inbox::postpone(&mut tx, row.id, run_at, Some(&text)).await?;
                tracing::warn!(event_id = row.event_id, attempts = row.attempts, error = text, "an event has to wait");
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// The pause after this many tries: doubling from half a second, with jitter.
    #[must_use]
    pub fn backoff_millis(&self, attempts: i64) -> i64 {
        let doublings = u32::try_from(attempts.clamp(1, 20) - 1).unwrap_or(0);
        let millis = (500_i64 << doublings).min(BACKOFF_SECONDS_MAX * 1000);
        self.entropy.around_millis(millis)
    }

    /// Looks again at customers whose checkout, or whose creation at the provider, has been open for a while: the safety net
    /// for a webhook that never comes.
    ///
    /// # Errors
    /// Failures of the database; a customer that fails is tried again in the next round.
    pub async fn sweep_open(&self, older_than: Timestamp) -> Result<usize, Error> {
        const SWEEP_MAX: i64 = 100;
        let provider = self.provider.name();
        let mut tx = self.db.begin_read().await?;
        let mut customers = store::attempts::list_waiting(&mut tx, provider, older_than, SWEEP_MAX).await?;
        customers.extend(store::links::list_creating(&mut tx, provider, older_than, SWEEP_MAX).await?);
        tx.rollback().await?;
        customers.sort();
        customers.dedup();
        for customer_id in &customers {
            match self.sync_customer(customer_id).await {
                Ok(Synced::Done { changed: true }) => {
                    metrics::counter!("counterfoil_sweep_repairs_total").increment(1);
                    tracing::warn!(%customer_id, "the sweep found a change that no webhook had brought");
                }
                Ok(Synced::Done { changed: false } | Synced::Busy) => {}
                Err(error) => tracing::warn!(%customer_id, %error, "the sweep could not look at a customer"),
            }
            let mut tx = self.db.begin().await?;
            store::attempts::touch_open(&mut tx, customer_id, self.now()).await?;
            tx.commit().await?;
        }
        Ok(customers.len())
    }
}
