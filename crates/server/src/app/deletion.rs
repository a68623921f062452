//! Deleting an account: what is charged ends first, at the provider and under the customer's lease, and then one transaction takes
//! everything out that says who it was.
//!
//! What is left is a tombstone. Licences, invoices and history refer to it, and the trial ledger goes on knowing the person by a
//! keyed hash. Nothing is issued to it any more ([`App::issue_license`] looks in the transaction that writes). A crash in between
//! leaves an account whose subscription may have ended already; the same request goes on from there.

use counterfoil_core::facts::ProviderStatus;
use counterfoil_core::{
    CustomerId, EffectId, ExternalCustomerId, ExternalSubscriptionId, IdempotencyKey, Refusal, Timestamp,
};

use super::closing::Checkouts;
use super::leases::Lease;
use super::operators::By;
use super::outbox::OwedMail;
use super::settings::OnDelete;
use super::{App, Error, Failure};
use crate::db::Tx;
use crate::mail::account::GoodbyeMail;
use crate::providers::PaymentProvider as _;
use crate::store;
use crate::store::audit::Actor;
use crate::store::customers::Customer;
use crate::store::inbox::Claimed;
use crate::store::outbox::{Effect, Kind, NewEffect};

/// An account younger than this, whose address nobody has verified, may be one that somebody made to send mails to a stranger.
const STRANGER_DAYS: i64 = 1;

/// Why the licences of a deleted account are revoked.
const BECAUSE: &str = "customer_deleted";

/// What is to become of a subscription that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    /// The account stays then.
    Refuse,
    /// It ends at once, and nothing is paid back.
    End,
}

impl Running {
    /// As a request says it.
    #[must_use]
    pub const fn of(end_subscription: bool) -> Self {
        if end_subscription { Self::End } else { Self::Refuse }
    }
}

/// Whether the address is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    Mail,
    Silent,
}

/// Whose decision it was.
enum Decided<'a> {
    ByCustomer { password_hash: &'a str },
    ByOperator(&'a By),
}

impl App {
    /// Deletes the account of who knows its password.
    ///
    /// # Errors
    /// [`Refusal::WrongPassword`], [`Refusal::SubscriptionRunning`], [`Refusal::PaymentPending`] where money is on its way,
    /// [`Refusal::CustomerUnknown`] where somebody was quicker; failures, after which the same request may be repeated.
    pub async fn delete_own_account(
        &self,
        customer_id: &CustomerId,
        password: &str,
        running: Running,
    ) -> Result<Timestamp, Error> {
        let password_hash = self.check_password(customer_id, password).await?;
        self.delete_account(customer_id, &Decided::ByCustomer { password_hash: &password_hash }, running).await
    }

    /// Deletes an account because an operator wants it.
    ///
    /// # Errors
    /// As [`App::delete_own_account`].
    pub async fn delete_customer_by(
        &self,
        customer_id: &CustomerId,
        by: &By,
        running: Running,
    ) -> Result<Timestamp, Error> {
        self.delete_account(customer_id, &Decided::ByOperator(by), running).await
    }

    async fn delete_account(
        &self,
        customer_id: &CustomerId,
        decided: &Decided<'_>,
        running: Running,
    ) -> Result<Timestamp, Error> {
        // Who is not there is refused before anybody waits.
        self.load_customer(customer_id).await?;
        let lease = self.lease(customer_id).await?;
        let result = self.delete_under(&lease, decided, running).await;
        self.release(lease).await;
        let deleted_at = result?;
        self.signals.outbox.notify_one();
        self.signals.effects.notify_one();
        metrics::counter!("counterfoil_customers_deleted_total").increment(1);
        tracing::info!(%customer_id, "an account was deleted");
        Ok(deleted_at)
    }

    async fn delete_under(&self, lease: &Lease, decided: &Decided<'_>, running: Running) -> Result<Timestamp, Error> {
        let customer = self.load_customer(&lease.customer_id).await?;
        self.refuse_if_just_paid(lease).await?;
        self.end_subscriptions(lease, running).await?;
        let farewell = self.farewell(&customer, decided).await?;
        self.erase(lease, decided, farewell).await
    }

    /// Whoever signs strangers up and deletes the accounts again sends them no more mails than with new accounts alone.
    async fn farewell(&self, customer: &Customer, decided: &Decided<'_>) -> Result<Farewell, Error> {
        let is_settled = customer.email_verified_at.is_some()
            || customer.created_at.plus_days(STRANGER_DAYS) <= self.now()
            || matches!(decided, Decided::ByOperator(_));
        if is_settled {
            return Ok(Farewell::Mail);
        }
        match self.limit_mail_to(&customer.email).await {
            Ok(()) => Ok(Farewell::Mail),
            Err(Error::Refused(Refusal::TooManyRequests { .. })) => Ok(Farewell::Silent),
            Err(error) => Err(error),
        }
    }

    /// Nobody pays for an account that is gone. Where somebody just has, the account stays: whoever wanted it deleted may not know.
    async fn refuse_if_just_paid(&self, lease: &Lease) -> Result<(), Error> {
        match self.close_checkouts(lease).await? {
            Checkouts::Closed => Ok(()),
            Checkouts::GoneThrough => {
                let subscription = self.load_subscription(&lease.customer_id).await?;
                if subscription.is_live_at_provider() { Err(Refusal::SubscriptionRunning.into()) } else { Ok(()) }
            }
        }
    }

    /// Ends whatever would go on being charged, between two looks. Who has no counterpart anywhere costs no call.
    async fn end_subscriptions(&self, lease: &Lease, running: Running) -> Result<(), Error> {
        let customer_id = &lease.customer_id;
        if !self.has_counterpart(customer_id).await? {
            return Ok(());
        }
        self.sync_and_keep(lease).await?;
        let found = self.running_subscriptions(customer_id, &[]).await?;
        if found.is_empty() {
            return Ok(());
        }
        if running == Running::Refuse {
            return Err(Refusal::SubscriptionRunning.into());
        }
        for id in &found {
            let what = format!("deleted:{}", id.as_str());
            let key = IdempotencyKey::subscription_change(&self.instance.instance_id, customer_id, &what, lease.fence);
            self.keeper(id.as_str()).cancel_now(&key, id).await?;
            let (mut tx, now) = (self.db.begin().await?, self.now());
            lease.keep(&mut tx, now).await?;
            let action = "subscription_ended_for_deletion";
            store::audit::insert(&mut tx, Actor::Sync, action, Some(customer_id), id.as_str(), now).await?;
            tx.commit().await?;
        }
        self.sync_and_keep(lease).await?;
        let left = self.running_subscriptions(customer_id, &[]).await?;
        if left.is_empty() { Ok(()) } else { Err(Failure::CustomerBusy.into()) }
    }

    async fn has_counterpart(&self, customer_id: &CustomerId) -> Result<bool, Error> {
        let mut known = false;
        let mut tx = self.db.begin_read().await?;
        for provider in self.providers() {
            known |= store::links::find_newest(&mut tx, customer_id, provider.name()).await?.is_some();
        }
        tx.rollback().await?;
        Ok(known)
    }

    /// What runs at the providers now: with this customer's own counterparts, and with `also` at the one where checkouts go. An
    /// agreement whose first day is still to come is among them.
    async fn running_subscriptions(
        &self,
        customer_id: &CustomerId,
        also: &[ExternalCustomerId],
    ) -> Result<Vec<ExternalSubscriptionId>, Error> {
        let (now, mut counterparts) = (self.now(), also.to_vec());
        counterparts.extend(self.active_counterpart(customer_id, self.provider.name()).await?);
        counterparts.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        counterparts.dedup();
        let mut running = Vec::new();
        for external in &counterparts {
            let facts = self.fetch_facts(self.provider.as_ref(), external, &[]).await?;
            let live = facts.subscriptions.into_iter().filter(|each| !facts.customer_deleted && runs(&each.status));
            running.extend(live.map(|each| each.id));
        }
        if let Some(external) = self.active_counterpart(customer_id, self.manual.name()).await? {
            let statements = self.manual.statements(&external).await?;
            let live = statements.into_iter().filter(|each| each.account.ended_at(now).is_none());
            running.extend(live.map(|each| each.account.agreement.id));
        }
        Ok(running)
    }

    /// The one transaction. Who it was is read in it, once nobody can change it any more.
    async fn erase(&self, lease: &Lease, decided: &Decided<'_>, farewell: Farewell) -> Result<Timestamp, Error> {
        let (id, now) = (&lease.customer_id, self.now());
        let mut tx = self.db.begin().await?;
        lease.keep(&mut tx, now).await?;
        if !store::customers::hold(&mut tx, id).await? {
            return Err(Refusal::CustomerUnknown.into());
        }
        let customer = store::customers::find(&mut tx, id).await?.ok_or(Refusal::CustomerUnknown)?;
        match decided {
            Decided::ByCustomer { password_hash } => {
                if !store::customers::hold_password(&mut tx, id, password_hash).await? {
                    return Err(Refusal::WrongPassword.into());
                }
                store::audit::insert(&mut tx, Actor::Customer, BECAUSE, Some(id), "", now).await?;
            }
            Decided::ByOperator(by) => {
                store::audit::insert_by(&mut tx, by.entry(), BECAUSE, Some(id), "", now).await?;
            }
        }
        store::customers::erase(&mut tx, id, now).await?;
        store::sessions::delete_all(&mut tx, id).await?;
        store::account_tokens::delete_all(&mut tx, id).await?;
        store::planned_changes::replace(&mut tx, id, None).await?;
        store::trials::delete_notices(&mut tx, id).await?;
        store::holds::lift(&mut tx, id).await?;
        store::activations::delete_all(&mut tx, id).await?;
        store::licenses::revoke_all(&mut tx, id, BECAUSE, now).await?;
        store::license_statuses::withdraw_all(&mut tx, id, now).await?;
        store::attempts::erase(&mut tx, id).await?;
        store::outbox::erase(&mut tx, id).await?;
        store::events::erase_bodies(&mut tx, id).await?;
        store::links::erase(&mut tx, id).await?;
        if farewell == Farewell::Mail {
            self.owe_goodbye(&mut tx, &customer, now).await?;
        }
        if self.settings.on_delete == OnDelete::Delete {
            self.owe_deletion(&mut tx, id, now).await?;
        }
        tx.commit().await?;
        Ok(now)
    }

    async fn owe_goodbye(&self, tx: &mut Tx, customer: &Customer, now: Timestamp) -> Result<(), Error> {
        let mail = GoodbyeMail {
            product: self.settings.product_name.clone(),
            public_url: self.settings.public_url.clone(),
            deleted_at: now.date_time_in_words(),
        };
        let owed = OwedMail {
            customer_id: &customer.customer_id,
            dedupe_key: Some(format!("goodbye:{}", customer.customer_id)),
            recipient: customer.email.as_str(),
            subject: mail.subject(),
            body_text: mail.body(),
            forget_when_sent: true,
        };
        self.owe_mail(tx, owed, now).await
    }

    async fn owe_deletion(&self, tx: &mut Tx, customer_id: &CustomerId, now: Timestamp) -> Result<(), Error> {
        let effect = NewEffect {
            effect_id: &EffectId::from_random(self.entropy.bytes()),
            kind: Kind::CustomerDelete,
            customer_id: Some(customer_id),
            dedupe_key: &format!("customer_delete:{customer_id}"),
            address: "",
        };
        store::outbox::insert(tx, &effect, now).await?;
        Ok(())
    }

    /// Deletes the counterparts of a deleted account. One that is gone there already is as good.
    pub(super) async fn delete_external_customer(&self, effect: &Effect) -> Result<(), Error> {
        let customer_id = effect.customer_id.as_ref();
        let customer_id = customer_id.ok_or_else(|| Failure::Corrupt("a deletion of nobody".into()))?;
        let lease = self.try_lease(customer_id).await?.ok_or(Failure::CustomerBusy)?;
        let result = self.delete_external_under(&lease, effect).await;
        self.release(lease).await;
        result
    }

    async fn delete_external_under(&self, lease: &Lease, effect: &Effect) -> Result<(), Error> {
        let (customer_id, instance) = (&lease.customer_id, &self.instance.instance_id);
        for provider in self.providers() {
            let Some(external) = self.active_counterpart(customer_id, provider.name()).await? else { continue };
            let key = IdempotencyKey::subscription_change(instance, customer_id, "delete", lease.fence);
            provider.delete_customer(&key, &external).await?;
            let (mut tx, now) = (self.db.begin().await?, self.now());
            lease.keep(&mut tx, now).await?;
            self.retire_link(&mut tx, customer_id, &external, now).await?;
            tx.commit().await?;
        }
        let (mut tx, now) = (self.db.begin().await?, self.now());
        lease.keep(&mut tx, now).await?;
        store::outbox::set_sent(&mut tx, &effect.effect_id, now).await?;
        Ok(tx.commit().await?)
    }

    /// Finishes events about a customer who is not there any more. Where the provider still has something running, or has it
    /// again, an operator is told first.
    pub(super) async fn finish_for_deleted(&self, customer_id: &CustomerId, rows: &[Claimed]) -> Result<(), Error> {
        let named: Vec<ExternalCustomerId> = rows.iter().filter_map(|row| row.external_customer.clone()).collect();
        match self.report_if_paid(customer_id, &named).await {
            Ok(true) => {}
            Ok(false) => return self.fail_rows(rows, &Refusal::CustomerUnknown.into()).await,
            Err(error) => return self.fail_rows(rows, &error).await,
        }
        let now = self.now();
        let mut tx = self.db.begin().await?;
        for row in rows {
            store::events::finish_for_deleted(&mut tx, row.id, now).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Tells an operator of each subscription that runs although the account is deleted, once. False where it is not deleted.
    pub(super) async fn report_if_paid(
        &self,
        customer_id: &CustomerId,
        also: &[ExternalCustomerId],
    ) -> Result<bool, Error> {
        let mut tx = self.db.begin_read().await?;
        let tombstone = store::customers::find_tombstone(&mut tx, customer_id).await?;
        tx.rollback().await?;
        if tombstone.is_none() {
            return Ok(false);
        }
        for id in self.running_subscriptions(customer_id, also).await? {
            let (action, told) = ("paid_after_deletion", id.as_str());
            let mut tx = self.db.begin().await?;
            // Two who hear of it at the same moment come one after the other.
            store::customers::hold_tombstone(&mut tx, customer_id).await?;
            let is_noted = store::audit::is_noted(&mut tx, customer_id, action, told).await?;
            if !is_noted {
                store::audit::insert(&mut tx, Actor::Sync, action, Some(customer_id), told, self.now()).await?;
            }
            tx.commit().await?;
            if !is_noted {
                metrics::counter!("counterfoil_paid_after_deletion_total").increment(1);
                tracing::error!(%customer_id, "a subscription runs at the provider although its account is deleted");
            }
        }
        Ok(true)
    }
}

/// Whether something may still be charged. A word that nobody knows may mean that.
fn runs(status: &ProviderStatus) -> bool {
    match status {
        ProviderStatus::Incomplete
        | ProviderStatus::Trialing
        | ProviderStatus::Active
        | ProviderStatus::PastDue
        | ProviderStatus::Unpaid
        | ProviderStatus::Paused
        | ProviderStatus::Unknown(_) => true,
        ProviderStatus::IncompleteExpired | ProviderStatus::Canceled => false,
    }
}
