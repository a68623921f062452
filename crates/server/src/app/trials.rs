//! Trials: started by the ledger, told about before they end, made longer by an operator.
//!
//! A trial needs nobody to be over. The sweep here only tells people about it: in rows of the outbox, decided once for each
//! end and each thing to say, so that neither a second replica nor a second round says it again.

use counterfoil_core::entitlement::{Ended, Hold};
use counterfoil_core::subscription::State;
use counterfoil_core::trial::{Entry, Extension, Start, TrialNotice, extend, ledger_names, start};
use counterfoil_core::{CustomerId, EmailAddress, Refusal, Subscription, Timestamp, planted};

use super::customers::find_subscription;
use super::issuing::{Cause, Issued};
use super::leases::Lease;
use super::licenses::hold_over;
use super::operators::By;
use super::outbox::OwedMail;
use super::{App, Error, Failure, secrets};
use crate::db::Tx;
use crate::mail::texts::TrialMail;
use crate::store;
use crate::store::customers::Customer;
use crate::store::licenses::License;

/// Customers who are told one thing in one round.
const SWEEP_MAX: i64 = 500;

/// What making a trial longer came to.
#[derive(Debug)]
pub struct Extended {
    pub customer_id: CustomerId,
    pub ends_at: Timestamp,
    /// What was issued for it; none where the licence waits until the address is verified.
    pub license: Option<License>,
}

impl App {
    /// Gives the trial that the ledger has for this address, in the caller's transaction. What says already how long it
    /// lasts makes the reminders of that time needless.
    pub(super) async fn start_trial(
        &self,
        tx: &mut Tx,
        customer_id: &CustomerId,
        email: &EmailAddress,
        now: Timestamp,
    ) -> Result<Subscription, Error> {
        let plan = self.catalog.trial();
        let names: Vec<String> = ledger_names(email, &self.settings.trial_per)
            .iter()
            .map(|name| if planted!("trial-ledger-not-asked") { customer_id.as_str() } else { name })
            .map(|name| secrets::person_hash(&self.instance.ledger_key, name))
            .collect();
        // What is known of the person says more than what is known of the company.
        let mut earlier = None;
        for name in names.iter().rev() {
            earlier = earlier.or(store::trials::find(tx, name).await?);
        }
        let entry = match start(earlier, plan, now) {
            Start::Earlier(entry) => entry,
            Start::First(entry) => self.first_written(tx, &names, customer_id, entry).await?,
        };
        for name in &names {
            store::trials::insert(tx, name, customer_id, &plan.code, entry).await?;
        }
        let subscription = Subscription::trial(plan.code.clone(), entry.ends_at);
        store::subscriptions::insert(tx, customer_id, &subscription, now).await?;
        skip_what_is_said(tx, customer_id, entry.ends_at, now).await?;
        Ok(subscription)
    }

    /// Writes the first trial under the name that most share. Where two of them sign up at this very moment, whoever wrote it
    /// first decides for both.
    async fn first_written(
        &self,
        tx: &mut Tx,
        names: &[String],
        customer_id: &CustomerId,
        entry: Entry,
    ) -> Result<Entry, Error> {
        let Some(name) = names.first() else { return Ok(entry) };
        if store::trials::insert(tx, name, customer_id, &self.catalog.trial().code, entry).await? {
            return Ok(entry);
        }
        let found = store::trials::find(tx, name).await?;
        Ok(found.ok_or_else(|| Failure::Corrupt("a trial entry came and went".into()))?)
    }

    /// Makes a customer's trial longer, or revives one that is over: subscription, ledger, licence, mail and audit change
    /// together. The provider is not asked.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`], and those of [`extend`]; failures.
    pub async fn extend_trial(&self, customer_id: &CustomerId, wish: Extension, by: &By) -> Result<Extended, Error> {
        self.load_customer(customer_id).await?;
        // A look at the provider that is under way may find a payment, and the two must not overwrite each other.
        let lease = self.lease(customer_id).await?;
        let result = self.extend_under(&lease, wish, by).await;
        self.release(lease).await;
        if result.is_ok() {
            self.signals.outbox.notify_one();
        }
        result
    }

    async fn extend_under(&self, lease: &Lease, wish: Extension, by: &By) -> Result<Extended, Error> {
        let (customer_id, now) = (&lease.customer_id, self.now());
        let mut tx = self.db.begin().await?;
        lease.keep(&mut tx, now).await?;
        let customer = store::customers::find(&mut tx, customer_id).await?.ok_or(Refusal::CustomerUnknown)?;
        let current = find_subscription(&mut tx, customer_id).await?;
        let ends_at = extend(&current, wish, now)?;
        let next = Subscription { state: State::Trial { ends_at }, ..current };
        store::subscriptions::update(&mut tx, customer_id, &next, now).await?;
        // The person's own entry alone: colleagues who share a trial with them are not given a longer one.
        let person = secrets::person_hash(&self.instance.ledger_key, &customer.email.person_key());
        store::trials::set_end(&mut tx, &person, ends_at).await?;
        skip_what_is_said(&mut tx, customer_id, ends_at, now).await?;
        let license = match self.right(&mut tx, customer_id, &next, now).await? {
            Ok(grant) => {
                let cause = Cause::Operator(by.clone());
                match self.issue_if_changed(&mut tx, &customer, &grant, &cause, now).await? {
                    Issued::New(license) | Issued::Unchanged(license) => Some(license),
                    Issued::Held => return Err(Refusal::LicenseRevoked.into()),
                }
            }
            Err(Ended::EmailNotVerified) => None,
            Err(Ended::Revoked) => return Err(Refusal::LicenseRevoked.into()),
            Err(ended) => {
                return Err(Failure::Corrupt(format!("a trial that runs gives no right: {}", ended.word())).into());
            }
        };
        let told = format!("until {ends_at}");
        store::audit::insert_by(&mut tx, by.entry(), "trial_extended", Some(customer_id), &told, now).await?;
        tx.commit().await?;
        Ok(Extended { customer_id: customer_id.clone(), ends_at, license })
    }

    /// Tells customers about the end of their trials, where the operator wants that. Answers how many were told.
    ///
    /// # Errors
    /// Failures of the database; a customer that fails is tried again in the next round.
    pub async fn sweep_trials(&self) -> Result<usize, Error> {
        if !self.settings.trial_reminders {
            return Ok(0);
        }
        let mut told = 0;
        for notice in TrialNotice::ALL {
            let mut tx = self.db.begin_read().await?;
            let ends = notice.ends_between(self.now());
            let customers = store::trials::list_untold(&mut tx, notice, ends, SWEEP_MAX).await?;
            tx.rollback().await?;
            for customer_id in &customers {
                match self.tell_trial_end(customer_id, notice).await {
                    Ok(true) => told += 1,
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%customer_id, %error, "a trial's end could not be told"),
                }
            }
        }
        if told > 0 {
            self.signals.outbox.notify_one();
        }
        Ok(told)
    }

    /// Owes the mail, if it is still true and nobody has decided about it. Everything is read again: a payment, a deletion or
    /// an extension may have come in between.
    async fn tell_trial_end(&self, customer_id: &CustomerId, notice: TrialNotice) -> Result<bool, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let Some(customer) = store::customers::find(&mut tx, customer_id).await? else { return Ok(false) };
        let subscription = find_subscription(&mut tx, customer_id).await?;
        let ends_at = match subscription.state {
            State::Trial { ends_at } if notice.is_due(ends_at, now) => ends_at,
            State::Trial { .. } | State::Provided(_) => return Ok(false),
        };
        if !store::trials::decide_notice(&mut tx, customer_id, ends_at, notice, now).await? {
            return Ok(false);
        }
        // An address that nobody has shown to be theirs may be a stranger's, who is not to be written to again and again.
        let hold = hold_over(&mut tx, customer_id, self.settings.email_verification).await?;
        if hold == Hold::Unverified {
            tx.commit().await?;
            return Ok(false);
        }
        self.owe_trial_mail(&mut tx, &customer, ends_at, notice, now).await?;
        tx.commit().await?;
        metrics::counter!("counterfoil_trial_notices_total", "kind" => notice.word()).increment(1);
        Ok(true)
    }

    async fn owe_trial_mail(
        &self,
        tx: &mut Tx,
        customer: &Customer,
        ends_at: Timestamp,
        notice: TrialNotice,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mail = TrialMail {
            notice,
            product: self.settings.product_name.clone(),
            ends_at: ends_at.date_time_in_words(),
            choose_url: format!("{}/account#plans", self.settings.public_url),
            customer_id: customer.customer_id.to_string(),
        };
        let key = format!("trial:{}:{}:{}", customer.customer_id, ends_at.as_unix_seconds(), notice.word());
        let owed = OwedMail {
            customer_id: &customer.customer_id,
            dedupe_key: Some(key),
            recipient: customer.email.as_str(),
            subject: mail.subject(),
            body_text: mail.body(),
            forget_when_sent: false,
        };
        self.owe_mail(tx, owed, now).await
    }
}

/// Decides against the notices that giving this trial says already.
async fn skip_what_is_said(
    tx: &mut Tx,
    customer_id: &CustomerId,
    ends_at: Timestamp,
    given_at: Timestamp,
) -> Result<(), Error> {
    for notice in TrialNotice::ALL.into_iter().filter(|notice| notice.is_said_by_giving(ends_at, given_at)) {
        store::trials::decide_notice(tx, customer_id, ends_at, notice, given_at).await?;
    }
    Ok(())
}
