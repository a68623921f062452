//! Driving the window protocol: exactly one counterpart at the provider for each of our customers.
//!
//! [`counterfoil_core::link`] decides each step; here it is carried out. A row is committed before every call, and every
//! result is written with a condition that only one writer can meet, so races and crashes end in the same customer.

use counterfoil_core::link::{Candidate, Link, LinkState, Step, Verdict, WINDOW_SECONDS, judge, next_step, settled_at};
use counterfoil_core::{CustomerId, ExternalCustomerId, IdempotencyKey, planted, probe};

use super::{App, Error, Failure};
use crate::db::Tx;
use crate::points;
use crate::providers::{Made, NewCustomer, PaymentProvider, ProviderError};
use crate::store;
use crate::store::customers::Customer;

/// Steps of the protocol in one call. Open, send, and a look-up with a second generation fit with room to spare; more means
/// that something outside undoes our steps.
const STEPS_MAX: usize = 8;

impl App {
    /// The customer's counterpart at this provider, created if need be. It is new where this very call has made it.
    ///
    /// # Errors
    /// Failures; after a transient one the next call goes on where this one stopped.
    pub async fn ensure_external_customer(
        &self,
        provider: &dyn PaymentProvider,
        customer: &Customer,
    ) -> Result<Made, Error> {
        let mut is_new = false;
        for step in 0..STEPS_MAX {
            let link = self.newest_link(provider, &customer.customer_id).await?;
            // The clock is read before each send: the window may have shut since the last step.
            match (next_step(link.as_ref(), self.now()), link) {
                (Step::Done(id), _) => {
                    probe!("F5", step == 0);
                    return Ok(Made { id, is_new });
                }
                (Step::Open { generation }, None) if self.may_be_forgotten(customer) => {
                    self.open_or_adopt(provider, customer, generation).await?;
                }
                (Step::Open { generation }, _) => self.open_link(provider, customer, generation).await?,
                (Step::Send, Some(link)) => {
                    probe!("F3", step == 0);
                    is_new |= self.send_link(provider, customer, &link).await?;
                }
                (Step::LookUp, Some(link)) => self.look_link_up(provider, customer, &link).await?,
                (Step::Wait { until }, _) => return Err(Failure::ProviderKeyPoisoned { until }.into()),
                (Step::Send | Step::LookUp, None) => {
                    return Err(Failure::Corrupt("a step of the window protocol without a link".into()).into());
                }
            }
        }
        Err(Failure::CustomerBusy.into())
    }

    /// Links a customer that has no counterpart to the provider's customer that claims to be it, as after the restore of an
    /// older backup. A claim is believed only where the provider's customer itself makes it. Whether it was linked.
    pub(super) async fn adopt_external_customer(
        &self,
        customer_id: &CustomerId,
        external: &ExternalCustomerId,
    ) -> Result<bool, Error> {
        let provider = self.provider.as_ref();
        let generation = match self.newest_link(provider, customer_id).await? {
            None => 1,
            Some(Link { state: LinkState::Retired, generation, .. }) => generation + 1,
            Some(_current) => return Ok(false),
        };
        let Some(found) = provider.find_customer(external).await? else { return Ok(false) };
        if judge(&[found], customer_id, &self.instance.instance_id) == Verdict::None {
            return Ok(false);
        }
        let customer = self.load_customer(customer_id).await?;
        self.adopt_link(provider, &customer, generation, external).await?;
        Ok(true)
    }

    /// Whether a counterpart of this customer could be there whose key the provider has pruned: an older backup, or a database that
    /// was promoted too early, does not know it.
    fn may_be_forgotten(&self, customer: &Customer) -> bool {
        self.now() >= customer.created_at.plus_seconds(WINDOW_SECONDS)
    }

    /// Asks the list before the first generation of a customer that has been ours for long.
    async fn open_or_adopt(
        &self,
        provider: &dyn PaymentProvider,
        customer: &Customer,
        generation: i64,
    ) -> Result<(), Error> {
        let found = provider.find_customers(customer.email.as_str()).await?;
        match self.counterpart_among(&found, customer) {
            Some(id) => self.adopt_link(provider, customer, generation, &id).await,
            None => self.open_link(provider, customer, generation).await,
        }
    }

    /// In one transaction: a link that was only opened would be sent, with a key that the provider may not know any more.
    async fn adopt_link(
        &self,
        provider: &dyn PaymentProvider,
        customer: &Customer,
        generation: i64,
        external: &ExternalCustomerId,
    ) -> Result<(), Error> {
        probe!("F65");
        let mut tx = self.db.begin().await?;
        self.open_in(&mut tx, provider, customer, generation).await?;
        self.activate_in(&mut tx, provider, customer, generation, external).await?;
        tx.commit().await?;
        let customer_id = &customer.customer_id;
        tracing::warn!(%customer_id, "the provider's customer was found again by its metadata");
        Ok(())
    }

    async fn newest_link(
        &self,
        provider: &dyn PaymentProvider,
        customer_id: &CustomerId,
    ) -> Result<Option<Link>, Error> {
        let mut tx = self.db.begin_read().await?;
        let link = store::links::find_newest(&mut tx, customer_id, provider.name()).await?;
        tx.rollback().await?;
        Ok(link)
    }

    /// Commits to a generation: its key, and the bytes that will be sent however often.
    async fn open_link(
        &self,
        provider: &dyn PaymentProvider,
        customer: &Customer,
        generation: i64,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        self.open_in(&mut tx, provider, customer, generation).await?;
        points::next("C2");
        tx.commit().await?;
        Ok(())
    }

    async fn open_in(
        &self,
        tx: &mut Tx,
        provider: &dyn PaymentProvider,
        customer: &Customer,
        generation: i64,
    ) -> Result<(), Error> {
        let now = self.now();
        let new = NewCustomer {
            instance: &self.instance.instance_id,
            customer_id: &customer.customer_id,
            email: customer.email.as_str(),
            name: customer.company_name.as_deref(),
        };
        let link = Link {
            generation,
            key: self.link_key(provider, &customer.customer_id, generation),
            email: customer.email.to_string(),
            frozen: provider.freeze_customer(&new),
            opened_at: now,
            state: LinkState::Creating,
        };
        let (provider, livemode) = (provider.name(), provider.livemode());
        // Where somebody else opened this generation first, theirs is used: the next step reads it.
        store::links::open(tx, &customer.customer_id, provider, livemode, &link).await?;
        Ok(())
    }

    fn link_key(&self, provider: &dyn PaymentProvider, customer_id: &CustomerId, generation: i64) -> IdempotencyKey {
        let (name, instance) = (provider.name(), &self.instance.instance_id);
        if name == self.provider.name() {
            IdempotencyKey::customer(instance, customer_id, generation)
        } else {
            IdempotencyKey::customer_at(name, instance, customer_id, generation)
        }
    }

    /// Whether it made a customer that was not there before.
    async fn send_link(&self, provider: &dyn PaymentProvider, customer: &Customer, link: &Link) -> Result<bool, Error> {
        let key = if planted!("customer-key-per-try") {
            &self.link_key(provider, &CustomerId::from_random(self.entropy.bytes()), 1)
        } else {
            &link.key
        };
        match provider.create_customer(key, &link.frozen).await {
            Ok(Made { id, is_new }) => {
                self.activate_link(provider, customer, link.generation, &id).await?;
                Ok(is_new)
            }
            Err(ProviderError::KeyPoisoned { .. }) => {
                self.poison_link(provider, customer, link.generation).await?;
                Ok(false)
            }
            Err(ProviderError::KeyMismatch { .. }) => {
                // The key did something else once, before a restore perhaps. If that made our customer, the list has it.
                match self.ask_list(provider, customer, link).await? {
                    Some(id) => self.activate_link(provider, customer, link.generation, &id).await?,
                    None => self.poison_link(provider, customer, link.generation).await?,
                }
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn look_link_up(
        &self,
        provider: &dyn PaymentProvider,
        customer: &Customer,
        link: &Link,
    ) -> Result<(), Error> {
        // A failed look-up is an error and never "none": it must not lead to a second customer.
        let found = match self.ask_list(provider, customer, link).await {
            Err(_) if planted!("look-up-failure-is-none") => None,
            // A server whose clock is far ahead would give a key up with which another one is just making the customer.
            Ok(None) if provider.clock().await?.is_some_and(|there| there < settled_at(link)) => {
                return Err(Failure::CounterpartInTheMaking.into());
            }
            found => found?,
        };
        match found {
            Some(id) => self.activate_link(provider, customer, link.generation, &id).await,
            None => {
                let mut tx = self.db.begin().await?;
                let name = provider.name();
                store::links::give_up(&mut tx, &customer.customer_id, name, link.generation, self.now()).await?;
                tx.commit().await?;
                Ok(())
            }
        }
    }

    /// The counterpart in the provider's list, by the address that the link was opened with and by the one of today.
    async fn ask_list(
        &self,
        provider: &dyn PaymentProvider,
        customer: &Customer,
        link: &Link,
    ) -> Result<Option<ExternalCustomerId>, Error> {
        let mut list = provider.find_customers(&link.email).await?;
        // A customer that was made before a backup was restored may have been told of another address since.
        if customer.email.as_str() != link.email {
            for each in provider.find_customers(customer.email.as_str()).await? {
                if list.iter().all(|known| known.id != each.id) {
                    list.push(each);
                }
            }
        }
        Ok(self.counterpart_among(&list, customer))
    }

    /// The one of these that is the customer's. Where more claim to be, that is counted and logged.
    fn counterpart_among(&self, found: &[Candidate], customer: &Customer) -> Option<ExternalCustomerId> {
        match judge(found, &customer.customer_id, &self.instance.instance_id) {
            Verdict::Adopt { id, others } => {
                if others > 0 {
                    metrics::counter!("counterfoil_duplicate_external_customers_total").increment(others as u64);
                    tracing::error!(
                        customer_id = %customer.customer_id, others,
                        "the provider holds more than one customer with this customer id"
                    );
                }
                Some(id)
            }
            Verdict::None => None,
        }
    }

    async fn activate_link(
        &self,
        provider: &dyn PaymentProvider,
        customer: &Customer,
        generation: i64,
        external_id: &ExternalCustomerId,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        self.activate_in(&mut tx, provider, customer, generation, external_id).await?;
        points::next("C5");
        tx.commit().await?;
        Ok(())
    }

    async fn activate_in(
        &self,
        tx: &mut Tx,
        provider: &dyn PaymentProvider,
        customer: &Customer,
        generation: i64,
        external_id: &ExternalCustomerId,
    ) -> Result<(), Error> {
        let (name, now) = (provider.name(), self.now());
        // Not set: somebody else finished this generation. The next step reads what they wrote.
        let set = store::links::activate(tx, &customer.customer_id, name, generation, external_id, now).await?;
        // The column is the counterpart where checkouts go; another provider's has its link alone.
        if set && name == self.provider.name() {
            store::customers::project_external_id(tx, &customer.customer_id, Some(external_id), now).await?;
        }
        Ok(())
    }

    async fn poison_link(
        &self,
        provider: &dyn PaymentProvider,
        customer: &Customer,
        generation: i64,
    ) -> Result<(), Error> {
        probe!("F36");
        let mut tx = self.db.begin().await?;
        let name = provider.name();
        store::links::poison(&mut tx, &customer.customer_id, name, generation, self.now()).await?;
        tx.commit().await?;
        Ok(())
    }
}
