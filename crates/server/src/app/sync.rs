//! The one function that changes what a customer has: take the lease, look at every provider that knows the customer, decide, and write everything in
//! one fenced transaction (`saving.rs`).
//!
//! Webhooks, the return page, sweeps and operators only decide **when** to look. It keeps no marker of what it has seen,
//! so nothing can poison it: whatever happened before, the next look repairs.

use std::collections::BTreeMap;

use counterfoil_core::checkout::OpenAttempt;
use counterfoil_core::facts::Facts;
use counterfoil_core::{AttemptId, CustomerId, ExternalCustomerId, ExternalSessionId, Refusal, planted};

use super::leases::{Afterwards, Lease};
use super::operators::By;
use super::saving::{Saved, Seen};
use super::{App, Error, Failure};
use crate::db::Tx;
use crate::points;
use crate::store;
use crate::store::customers::Customer;
use crate::store::leases::Held;
use crate::store::links::Current;

/// What a look at the provider came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synced {
    /// It was looked, and what changed is written.
    Done {
        /// Whether the subscription or the licence changed.
        changed: bool,
    },
    /// Somebody else is looking; try again shortly.
    Busy,
}

/// What is known before the look.
pub(super) struct Before {
    pub(super) customer: Customer,
    /// One a provider that knows the customer, or is to know it.
    links: Vec<Current>,
    pub(super) open: Vec<OpenAttempt>,
    /// Customers of the provider's that waiting events name, and that our book does not know.
    named: Vec<ExternalCustomerId>,
}

/// A provider's customer, and the currency that our book says it is held to.
pub(super) struct Counterpart {
    pub(super) id: ExternalCustomerId,
    pub(super) currency: Option<String>,
}

/// What a look saw: what each provider knows that has a counterpart of the customer.
pub(super) struct Sight {
    pub(super) counterparts: Vec<Counterpart>,
    pub(super) facts: Vec<Facts>,
}

/// How a look begins.
pub(super) enum Begun {
    /// Somebody else holds the lease.
    Busy,
    /// The account is deleted.
    Gone(Lease),
    /// The lease is taken, and what waited is marked.
    Ready(Lease, Box<Before>),
}

impl App {
    /// Brings our book in line with what the customer's providers know of it now.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`], or failures; nothing is written then, and the next call does it all.
    pub async fn sync_customer(&self, customer_id: &CustomerId) -> Result<Synced, Error> {
        let begun = self.again(|| self.begin_looks(std::slice::from_ref(customer_id))).await?.pop();
        let (lease, before) = match begun {
            Some((_, Begun::Ready(lease, before))) => (lease, before),
            Some((_, Begun::Gone(lease))) => {
                self.release(lease).await;
                return Err(Refusal::CustomerUnknown.into());
            }
            Some((_, Begun::Busy)) | None => return Ok(Synced::Busy),
        };
        let afterwards = self.afterwards();
        let result = self.attend(&lease, self.look_and_save(&lease, &before, afterwards)).await;
        if result.is_err() || afterwards == Afterwards::Keep {
            self.release(lease).await;
        }
        result
    }

    /// The same under a lease that is held already and goes on being held.
    ///
    /// # Errors
    /// As [`App::sync_customer`].
    pub async fn sync_and_keep(&self, lease: &Lease) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        lease.keep(&mut tx, self.now()).await?;
        let mut loaded = self.load_before_looks(&mut tx, &[lease.held()]).await?;
        let before = loaded.remove(&lease.customer_id).ok_or(Refusal::CustomerUnknown)?;
        tx.commit().await?;
        match self.look_and_save(lease, &before, Afterwards::Keep).await? {
            Synced::Done { changed } => Ok(changed),
            Synced::Busy => Err(Failure::CustomerBusy.into()),
        }
    }

    /// The same because an operator wants it, whoever else is looking.
    ///
    /// # Errors
    /// As [`App::sync_customer`], and [`Failure::CustomerBusy`](super::Failure::CustomerBusy).
    pub async fn sync_by(&self, customer_id: &CustomerId, by: &By) -> Result<bool, Error> {
        self.load_customer(customer_id).await?;
        let lease = self.lease(customer_id).await?;
        let result = self.sync_and_keep(&lease).await;
        self.release(lease).await;
        let changed = result?;
        let told = if changed { "something had changed" } else { "nothing had changed" };
        let mut tx = self.db.begin().await?;
        store::audit::insert_by(&mut tx, by.entry(), "looked_at_provider", Some(customer_id), told, self.now()).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// While duplicates are being ended nobody else may look, or both would end them.
    pub(super) fn afterwards(&self) -> Afterwards {
        if self.ends_duplicates() { Afterwards::Keep } else { Afterwards::GiveBack }
    }

    async fn look_and_save(&self, lease: &Lease, before: &Before, afterwards: Afterwards) -> Result<Synced, Error> {
        let sight = self.look(before).await?;
        let mut saved = self.save_looks(&[Seen { lease, before, sight: &sight }], afterwards).await;
        let saved = saved.pop().unwrap_or_else(|| Err(Failure::CustomerBusy.into()));
        self.conclude(lease, saved).await
    }

    /// What is left to be done under the lease once a look is written.
    pub(super) async fn conclude(&self, lease: &Lease, saved: Result<Saved, Error>) -> Result<Synced, Error> {
        let Saved { changed, duplicates } = saved?;
        self.cancel_duplicates(lease, &duplicates).await;
        Ok(Synced::Done { changed })
    }

    /// Takes the leases of these customers that are free, marks the events that wait for them, and loads what the looks need: one
    /// transaction for all of them. The customers come in order.
    pub(super) async fn begin_looks(&self, customers: &[CustomerId]) -> Result<Vec<(CustomerId, Begun)>, Error> {
        if customers.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.db.begin().await?;
        let mut begun = match self.take_and_load(&mut tx, customers).await {
            Ok(begun) => begun,
            Err(error) => {
                // At once, not when the dropped connection comes to it: each customer is tried alone next, and its lease has to be free.
                let _gone_anyway = tx.rollback().await;
                return Err(error);
            }
        };
        points::next("W4");
        tx.commit().await?;
        let each = |customer_id: &CustomerId| (customer_id.clone(), begun.remove(customer_id).unwrap_or(Begun::Busy));
        Ok(customers.iter().map(each).collect())
    }

    /// What begins for the customers whose leases are free. The others are not in the answer.
    async fn take_and_load(&self, tx: &mut Tx, customers: &[CustomerId]) -> Result<BTreeMap<CustomerId, Begun>, Error> {
        let leases = self.take_leases(tx, customers).await?;
        let held: Vec<Held<'_>> = leases.iter().map(Lease::held).collect();
        let mut loaded = self.load_before_looks(tx, &held).await?;
        let begun = leases.into_iter().map(|lease| {
            let customer_id = lease.customer_id.clone();
            let begun = match loaded.remove(&customer_id) {
                Some(before) => Begun::Ready(lease, Box::new(before)),
                None => Begun::Gone(lease),
            };
            (customer_id, begun)
        });
        Ok(begun.collect())
    }

    /// Marks the waiting events, so that the write finishes these and no later one, and loads what the looks need. A customer
    /// whose account is deleted is not among them.
    async fn load_before_looks(&self, tx: &mut Tx, held: &[Held<'_>]) -> Result<BTreeMap<CustomerId, Before>, Error> {
        let whose: Vec<&CustomerId> = held.iter().map(|(customer_id, _)| *customer_id).collect();
        let linked = store::links::list_current(tx, &whose).await?;
        for provider in self.providers() {
            let links = linked.values().flat_map(|linked| &linked.links);
            let of_it = links.filter(|link| link.provider == provider.name());
            let externals: Vec<ExternalCustomerId> = of_it.filter_map(|link| link.external_id.clone()).collect();
            store::inbox::assign_all(tx, provider.name(), &externals).await?;
        }
        let there: Vec<Held<'_>> = held.iter().copied().filter(|(id, _)| linked.contains_key(*id)).collect();
        store::inbox::mark_seen(tx, &there).await?;
        if planted!("processed-before-the-license") {
            store::inbox::finish_seen(tx, &there, self.now()).await?;
        }
        let mut loaded = BTreeMap::new();
        for (customer_id, linked) in linked {
            let open = match linked.has_attempts {
                true => store::attempts::list_open(tx, &customer_id, self.provider.name()).await?,
                false => Vec::new(),
            };
            let is_linked = linked.links.iter().any(|link| link.provider == self.provider.name());
            let named = match is_linked {
                true => Vec::new(),
                false => store::inbox::list_unlinked(tx, &customer_id, self.provider.name()).await?,
            };
            loaded.insert(customer_id, Before { customer: linked.customer, links: linked.links, open, named });
        }
        Ok(loaded)
    }

    /// What each provider knows that has a counterpart of this customer; the others are not asked.
    pub(super) async fn look(&self, before: &Before) -> Result<Sight, Error> {
        let counterparts = self.counterparts(before).await?;
        let sessions: Vec<(AttemptId, ExternalSessionId)> = before
            .open
            .iter()
            .filter_map(|attempt| attempt.session.clone().map(|session| (attempt.id.clone(), session)))
            .collect();
        let mut facts = Vec::new();
        for counterpart in &counterparts {
            let provider = self.keeper(counterpart.id.as_str());
            let own = if provider.name() == self.provider.name() { sessions.as_slice() } else { &[] };
            facts.push(self.fetch_facts(provider, &counterpart.id, own).await?);
        }
        Ok(Sight { counterparts, facts })
    }

    /// After the restore of an older backup, events may be the first to tell of a counterpart that our book has lost.
    async fn adopt_named(&self, before: &Before) -> Result<Option<ExternalCustomerId>, Error> {
        for external in &before.named {
            if self.adopt_external_customer(&before.customer.customer_id, external).await? {
                return Ok(Some(external.clone()));
            }
        }
        Ok(None)
    }

    async fn counterparts(&self, before: &Before) -> Result<Vec<Counterpart>, Error> {
        let mut counterparts = Vec::new();
        for provider in self.providers() {
            let Some(link) = before.links.iter().find(|link| link.provider == provider.name()) else {
                if provider.name() == self.provider.name() {
                    let found = self.adopt_named(before).await?;
                    counterparts.extend(found.map(|id| Counterpart { id, currency: None }));
                }
                continue;
            };
            let id = match &link.external_id {
                Some(id) => id.clone(),
                // We may have stopped between the provider's answer and our commit. Finish that first: without the id
                // there is nothing to look at.
                None => self.ensure_external_customer(provider, &before.customer).await?.id,
            };
            counterparts.push(Counterpart { id, currency: link.currency.clone() });
        }
        Ok(counterparts)
    }
}
