//! The one function that changes what a customer has: take the lease, look at every provider that knows the customer, decide, and write everything in
//! one fenced transaction.
//!
//! Webhooks, the return page, sweeps and operators only decide **when** to call it. It keeps no marker of what it has seen,
//! so nothing can poison it: whatever happened before, the next look repairs.

use counterfoil_core::checkout::OpenAttempt;
use counterfoil_core::facts::{Facts, ProviderStatus, SessionStatus};
use counterfoil_core::link::{Link, LinkState};
use counterfoil_core::plan_change;
use counterfoil_core::reduce::{later_duplicates, merge, reduce_all};
use counterfoil_core::{
    AttemptId, CustomerId, ExternalCustomerId, ExternalSessionId, ExternalSubscriptionId, Refusal, Subscription,
    Timestamp, planted,
};

use super::customers::find_subscription;
use super::issuing::{Cause, Issued};
use super::leases::Lease;
use super::operators::By;
use super::{App, Error};
use crate::db::Tx;
use crate::store;
use crate::store::attempts::AttemptState;
use crate::store::audit::Actor;
use crate::store::customers::Customer;

/// An attempt whose session we never heard of is over after this long: sessions live for 24 hours, the rest is for clocks.
const ABANDONED_AFTER_SECONDS: i64 = 26 * 3600;

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
struct Before {
    customer: Customer,
    /// One a provider that knows the customer.
    counterparts: Vec<ExternalCustomerId>,
    open: Vec<OpenAttempt>,
}

/// What a look came to once it was written.
struct Saved {
    changed: bool,
    /// What the customer pays for twice.
    duplicates: Vec<ExternalSubscriptionId>,
}

/// Whether the lease ends with the transaction that writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    GiveBack,
    Keep,
}

impl App {
    /// Brings our book in line with what the customer's providers know of it now.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`], or failures; nothing is written then, and the next call does it all.
    pub async fn sync_customer(&self, customer_id: &CustomerId) -> Result<Synced, Error> {
        let Some(lease) = self.try_lease(customer_id).await? else { return Ok(Synced::Busy) };
        // While duplicates are being ended nobody else may look, or both would end them.
        let afterwards = if self.ends_duplicates() { Afterwards::Keep } else { Afterwards::GiveBack };
        let result = self.sync_under(&lease, afterwards).await;
        if result.is_err() || afterwards == Afterwards::Keep {
            self.release(lease).await;
        }
        Ok(Synced::Done { changed: result? })
    }

    /// The same under a lease that is held already and goes on being held.
    ///
    /// # Errors
    /// As [`App::sync_customer`].
    pub async fn sync_and_keep(&self, lease: &Lease) -> Result<bool, Error> {
        self.sync_under(lease, Afterwards::Keep).await
    }

    /// The same because an operator wants it, whoever else is looking.
    ///
    /// # Errors
    /// As [`App::sync_customer`], and [`Failure::CustomerBusy`](super::Failure::CustomerBusy).
    pub async fn sync_by(&self, customer_id: &CustomerId, by: &By) -> Result<bool, Error> {
        self.account(customer_id).await?;
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

    async fn sync_under(&self, lease: &Lease, afterwards: Afterwards) -> Result<bool, Error> {
        let before = self.load_before_look(lease).await?;
        let looks = self.look(&before).await?;
        let saved = self.again(|| self.save_look(lease, &before, &looks, afterwards)).await?;
        self.cancel_duplicates(lease, &saved.duplicates).await;
        Ok(saved.changed)
    }

    /// Marks the waiting events, so that the write finishes these and no later one, and loads what the look needs.
    async fn load_before_look(&self, lease: &Lease) -> Result<Before, Error> {
        let customer_id = &lease.customer_id;
        let mut tx = self.db.begin().await?;
        lease.keep(&mut tx, self.now()).await?;
        let customer = store::customers::find(&mut tx, customer_id).await?.ok_or(Refusal::CustomerUnknown)?;
        let mut links = Vec::new();
        for provider in self.providers() {
            links.push((provider, store::links::find_newest(&mut tx, customer_id, provider.name()).await?));
        }
        for (provider, link) in &links {
            if let Some(Link { state: LinkState::Active(external), .. }) = link {
                store::inbox::assign_all(&mut tx, provider.name(), external, customer_id).await?;
            }
        }
        store::inbox::mark_seen(&mut tx, customer_id, lease.fence).await?;
        if planted!("processed-before-the-license") {
            store::inbox::finish_seen(&mut tx, customer_id, lease.fence, self.now()).await?;
        }
        let open = store::attempts::list_open(&mut tx, customer_id, self.provider.name()).await?;
        tx.commit().await?;
        let mut counterparts = Vec::new();
        for (provider, link) in links {
            match link.map(|link| link.state) {
                Some(LinkState::Active(id)) => counterparts.push(id),
                Some(LinkState::Creating | LinkState::Poisoned { .. }) => {
                    // We may have stopped between the provider's answer and our commit. Finish that first: without the id
                    // there is nothing to look at.
                    counterparts.push(self.ensure_external_customer(provider, &customer).await?);
                }
                Some(LinkState::Retired) | None => {}
            }
        }
        Ok(Before { customer, counterparts, open })
    }

    /// What each provider knows that has a counterpart of this customer; the others are not asked.
    async fn look(&self, before: &Before) -> Result<Vec<Facts>, Error> {
        let sessions: Vec<(AttemptId, ExternalSessionId)> = before
            .open
            .iter()
            .filter_map(|attempt| attempt.session.clone().map(|session| (attempt.id.clone(), session)))
            .collect();
        let mut looks = Vec::new();
        for external in &before.counterparts {
            let provider = self.keeper(external.as_str());
            let own = if provider.name() == self.provider.name() { sessions.as_slice() } else { &[] };
            looks.push(provider.fetch_facts(external, own).await?.under(self.settings.dispute_policy));
        }
        Ok(looks)
    }

    /// The one transaction: lease, subscription, licence, mail, attempts and events change together or not at all
    /// (invariant 3).
    async fn save_look(
        &self,
        lease: &Lease,
        before: &Before,
        looks: &[Facts],
        afterwards: Afterwards,
    ) -> Result<Saved, Error> {
        let (customer_id, now) = (&lease.customer_id, self.now());
        let mut tx = self.db.begin().await?;
        match afterwards {
            Afterwards::GiveBack => lease.give_back(&mut tx).await?,
            Afterwards::Keep => lease.keep(&mut tx, now).await?,
        }
        let current = find_subscription(&mut tx, customer_id).await?;
        let (next, facts) = (reduce_all(&current, looks, &self.catalog, now), merge(looks, now));
        let state_changed = self.save_subscription(&mut tx, customer_id, &current, &next, now).await?;
        let planned = plan_change::planned(&next, &facts, &self.catalog);
        store::planned_changes::replace(&mut tx, customer_id, planned.as_ref()).await?;
        let right = self.right(&mut tx, customer_id, &next, now).await?;
        self.mark_licenses(&mut tx, customer_id, &next, right.as_ref().map_err(|ended| *ended), now).await?;
        let issued = match right {
            Ok(grant) => {
                let event_id = store::inbox::find_newest_seen(&mut tx, customer_id, lease.fence).await?;
                let cause = Cause::Look { event_id };
                matches!(self.issue_if_changed(&mut tx, &before.customer, &grant, &cause, now).await?, Issued::New(_))
            }
            Err(_ended) => false,
        };
        for (external, look) in before.counterparts.iter().zip(looks) {
            if let Some(currency) = &look.currency {
                let provider = self.keeper(external.as_str()).name();
                store::links::set_currency(&mut tx, customer_id, provider, external, currency, now).await?;
            }
            if look.customer_deleted {
                self.retire_link(&mut tx, customer_id, external, now).await?;
            }
            self.save_sessions(&mut tx, customer_id, look, now).await?;
        }
        store::attempts::end_abandoned(&mut tx, customer_id, now.plus_seconds(-ABANDONED_AFTER_SECONDS), now).await?;
        if planted!("finishes-what-it-has-not-seen") {
            store::inbox::mark_seen(&mut tx, customer_id, lease.fence).await?;
        }
        let finished = store::inbox::finish_seen(&mut tx, customer_id, lease.fence, now).await?;
        tx.commit().await?;

        if issued {
            self.signals.outbox.notify_one();
        }
        metrics::counter!("counterfoil_syncs_total").increment(1);
        tracing::info!(%customer_id, state_changed, issued, events = finished, "looked at the provider");
        let duplicates = later_duplicates(&next, &facts, &self.catalog);
        Ok(Saved { changed: state_changed || issued, duplicates })
    }

    async fn save_subscription(
        &self,
        tx: &mut Tx,
        customer_id: &CustomerId,
        current: &Subscription,
        next: &Subscription,
        now: Timestamp,
    ) -> Result<bool, Error> {
        if next == current {
            return Ok(false);
        }
        store::subscriptions::update(tx, customer_id, next, now).await?;
        let told = format!("{} {} -> {} {}", current.plan, current.status_word(now), next.plan, next.status_word(now));
        store::audit::insert(tx, Actor::Sync, "subscription_changed", Some(customer_id), &told, now).await?;
        if next.money() != current.money() {
            store::audit::insert(tx, Actor::Sync, "money_changed", Some(customer_id), next.money().word(), now).await?;
        }
        if let Some(attention) = next.attention {
            metrics::counter!("counterfoil_attention_total", "why" => attention.word()).increment(1);
            tracing::warn!(%customer_id, why = attention.word(), "a customer needs an operator's attention");
        }
        Ok(true)
    }

    async fn save_sessions(
        &self,
        tx: &mut Tx,
        customer_id: &CustomerId,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<(), Error> {
        for session in &facts.sessions {
            let state = match session.status {
                // A page of a customer that is gone takes no payment, and must not be answered as the one to pay on.
                SessionStatus::Open if facts.customer_deleted => AttemptState::Expired,
                SessionStatus::Open => continue,
                // The attempt stays among the open ones, so that nobody is let pay a second time.
                SessionStatus::Complete if payment_is_under_way(facts) => {
                    store::attempts::set_paying(tx, customer_id, &session.attempt_id, now).await?;
                    continue;
                }
                SessionStatus::Complete => AttemptState::Completed,
                SessionStatus::Expired => AttemptState::Expired,
            };
            store::attempts::end(tx, customer_id, &session.attempt_id, state, now).await?;
        }
        Ok(())
    }

    /// Retires the active link to this counterpart and takes its id off the customer's row.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn retire_link(
        &self,
        tx: &mut Tx,
        customer_id: &CustomerId,
        external: &ExternalCustomerId,
        now: Timestamp,
    ) -> Result<(), Error> {
        let provider = self.keeper(external.as_str()).name();
        let Some(link) = store::links::find_newest(tx, customer_id, provider).await? else { return Ok(()) };
        if link.state != LinkState::Active(external.clone()) {
            return Ok(());
        }
        store::links::retire(tx, customer_id, provider, link.generation, now).await?;
        if provider == self.provider.name() {
            store::customers::project_external_id(tx, customer_id, None, now).await?;
        }
        store::audit::insert(tx, Actor::Sync, "external_customer_gone", Some(customer_id), "", now).await?;
        Ok(())
    }
}

/// Whether a subscription exists that may still be paid for the first time.
fn payment_is_under_way(facts: &Facts) -> bool {
    !planted!("paying-forgotten")
        && facts.subscriptions.iter().any(|each| match each.status {
            ProviderStatus::Incomplete => true,
            ProviderStatus::Active | ProviderStatus::Trialing | ProviderStatus::PastDue => {
                each.paid_until.is_none() && !each.money.is_gone()
            }
            ProviderStatus::IncompleteExpired
            | ProviderStatus::Unpaid
            | ProviderStatus::Paused
            | ProviderStatus::Canceled
            | ProviderStatus::Unknown(_) => false,
        })
}
