//! What operators do to licences: take them back, give them again, send them again.
//!
//! A revocation marks all versions and puts a hold on the customer. Under it nothing is issued and nothing is answered as valid,
//! whatever the provider says, until an operator issues a licence again. Versions that were revoked stay so even then.

use counterfoil_core::license::terms_digest;
use counterfoil_core::{CustomerId, LicenseId, PlanCode, Refusal};

use super::customers::find_subscription;
use super::issuing::{Cause, FIRST_VERSION, Next, Reason};
use super::leases::Lease;
use super::licenses::no_license;
use super::operators::By;
use super::{App, Error};
use crate::db::Tx;
use crate::store;
use crate::store::customers::Customer;
use crate::store::licenses::License;

/// What a revocation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Versions that were good until now.
    pub versions: u64,
    /// False where the hold stood already: then nothing was changed and nobody is told again.
    pub changed: bool,
}

/// Whether issuing again would tell a customer's product something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reissue {
    /// It would.
    Due,
    /// The newest version says all of it already.
    UpToDate,
    /// There is nothing to issue: no right, or no licence yet.
    Nothing,
    /// An operator has revoked it.
    Held,
}

/// How a licence is issued again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// Whether the customer gets it by mail.
    pub mail: bool,
    /// Whether only what would tell something new is issued. It makes a run over many customers one that can be repeated.
    pub only_if_due: bool,
}

/// Refuses what would take money from somebody who gets nothing for it.
///
/// # Errors
/// [`Refusal::LicenseRevoked`], or failures of the database.
pub async fn refuse_if_held(tx: &mut Tx, customer_id: &CustomerId) -> Result<(), Error> {
    match store::holds::find(tx, customer_id).await? {
        Some(_) => Err(Refusal::LicenseRevoked.into()),
        None => Ok(()),
    }
}

impl App {
    /// Revokes all licences of the customer and holds back every later one. A second time changes nothing.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`], or failures.
    pub async fn revoke_licenses(&self, customer_id: &CustomerId, by: &By) -> Result<Revoked, Error> {
        let lease = self.lease_of_known(customer_id).await?;
        let result = self.revoke_under(&lease, by).await;
        self.release(lease).await;
        let revoked = result?;
        self.signals.outbox.notify_one();
        Ok(revoked)
    }

    async fn revoke_under(&self, lease: &Lease, by: &By) -> Result<Revoked, Error> {
        let (customer_id, now) = (&lease.customer_id, self.now());
        let mut tx = self.db.begin().await?;
        lease.keep(&mut tx, now).await?;
        let customer = store::customers::find(&mut tx, customer_id).await?.ok_or(Refusal::CustomerUnknown)?;
        if !store::holds::put(&mut tx, customer_id, by.entry(), now).await? {
            tx.rollback().await?;
            return Ok(Revoked { versions: 0, changed: false });
        }
        let versions = store::licenses::revoke_all(&mut tx, customer_id, by.reason(), now).await?;
        store::license_statuses::withdraw_all(&mut tx, customer_id, now).await?;
        if versions > 0 {
            let key = format!("revoked:{customer_id}:{now}");
            self.owe_customer_mail(&mut tx, &customer, key, self.revoked_mail(&customer), now).await?;
        }
        let told = format!("{versions} versions");
        store::audit::insert_by(&mut tx, by.entry(), "license_revoked", Some(customer_id), &told, now).await?;
        tx.commit().await?;
        metrics::counter!("counterfoil_licenses_revoked_total").increment(versions);
        Ok(Revoked { versions, changed: true })
    }

    /// Lifts a hold, if there is one, and issues the next version from what the customer is entitled to now.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`]; [`Refusal::NoLicense`] where nothing is entitled: then the hold stays; failures.
    pub async fn issue_by(&self, customer_id: &CustomerId, by: &By) -> Result<License, Error> {
        let lease = self.lease_of_known(customer_id).await?;
        let result = self.issue_under(&lease, by).await;
        self.release(lease).await;
        let license = result?;
        self.signals.outbox.notify_one();
        Ok(license)
    }

    async fn issue_under(&self, lease: &Lease, by: &By) -> Result<License, Error> {
        let (customer_id, now) = (&lease.customer_id, self.now());
        let mut tx = self.db.begin().await?;
        lease.keep(&mut tx, now).await?;
        let lifted = store::holds::lift(&mut tx, customer_id).await?;
        let license = self.issue_again(&mut tx, customer_id, by, true).await?;
        let told = match lifted {
            true => format!("version {}, and the hold is lifted", license.version),
            false => format!("version {}", license.version),
        };
        store::audit::insert_by(&mut tx, by.entry(), "license_issued", Some(customer_id), &told, now).await?;
        tx.commit().await?;
        Ok(license)
    }

    /// Issues a new version of what the customer has, with what the catalogue and the key are now. `None` where that would tell
    /// nothing new and only what is due is wanted.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`], [`Refusal::LicenseRevoked`], [`Refusal::NoLicense`]; failures.
    pub async fn reissue_by(&self, customer_id: &CustomerId, by: &By, again: Again) -> Result<Option<License>, Error> {
        let lease = self.lease_of_known(customer_id).await?;
        let result = self.reissue_under(&lease, by, again).await;
        self.release(lease).await;
        let license = result?;
        self.signals.outbox.notify_one();
        Ok(license)
    }

    async fn reissue_under(&self, lease: &Lease, by: &By, again: Again) -> Result<Option<License>, Error> {
        let (customer_id, now) = (&lease.customer_id, self.now());
        let mut tx = self.db.begin().await?;
        lease.keep(&mut tx, now).await?;
        match self.judge_reissue(&mut tx, customer_id).await? {
            Reissue::Held => return Err(Refusal::LicenseRevoked.into()),
            Reissue::Nothing => return Err(Refusal::NoLicense.into()),
            Reissue::UpToDate if again.only_if_due => {
                tx.rollback().await?;
                return Ok(None);
            }
            Reissue::UpToDate | Reissue::Due => {}
        }
        let license = self.issue_again(&mut tx, customer_id, by, again.mail).await?;
        let told = format!("version {}", license.version);
        store::audit::insert_by(&mut tx, by.entry(), "license_reissued", Some(customer_id), &told, now).await?;
        tx.commit().await?;
        Ok(Some(license))
    }

    /// The next version from what is entitled now.
    async fn issue_again(&self, tx: &mut Tx, customer_id: &CustomerId, by: &By, mail: bool) -> Result<License, Error> {
        let now = self.now();
        let customer = find_customer(tx, customer_id).await?;
        let subscription = find_subscription(tx, customer_id).await?;
        let grant = self.right(tx, customer_id, &subscription, now).await?.map_err(|ended| no_license(Some(ended)))?;
        let newest = store::licenses::find_newest(tx, customer_id).await?;
        let version = newest.map_or(FIRST_VERSION, |license| license.version + 1);
        let cause = Cause::Operator(by.clone());
        let next = Next { version, reason: Reason::Reissued, cause: &cause, mail };
        self.issue_license(tx, &customer, &grant, next, now).await
    }

    /// Whether a new version would tell the customer's product something new.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn reissue_state(&self, customer_id: &CustomerId) -> Result<Reissue, Error> {
        let mut tx = self.db.begin_read().await?;
        let state = self.judge_reissue(&mut tx, customer_id).await?;
        tx.rollback().await?;
        Ok(state)
    }

    async fn judge_reissue(&self, tx: &mut Tx, customer_id: &CustomerId) -> Result<Reissue, Error> {
        if store::holds::find(tx, customer_id).await?.is_some() {
            return Ok(Reissue::Held);
        }
        let subscription = find_subscription(tx, customer_id).await?;
        let right = self.right(tx, customer_id, &subscription, self.now()).await?;
        let newest = store::licenses::find_newest(tx, customer_id).await?;
        let (Ok(grant), Some(newest)) = (right, newest) else { return Ok(Reissue::Nothing) };
        let keys = store::signing_keys::list_trusted(tx).await?;
        let is_up_to_date = keys.iter().any(|key| newest.terms_digest == terms_digest(&grant, key));
        Ok(if is_up_to_date { Reissue::UpToDate } else { Reissue::Due })
    }

    /// Customers after this one whose license a run may issue again, by id; of one plan, or of all.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn license_holders(
        &self,
        plan: Option<&PlanCode>,
        after: Option<&CustomerId>,
        limit: i64,
    ) -> Result<Vec<CustomerId>, Error> {
        let (plan, after) =
            (plan.map_or("", |plan| plan.as_str()), after.map_or_else(String::new, ToString::to_string));
        let mut tx = self.db.begin_read().await?;
        let found = store::licenses::list_holders(&mut tx, plan, &after, limit).await?;
        tx.rollback().await?;
        Ok(found)
    }

    /// Sends the newest version once more.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`], [`Refusal::LicenseRevoked`], [`Refusal::NoLicense`]; failures.
    pub async fn resend_license(&self, customer_id: &CustomerId, by: &By) -> Result<License, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let customer = find_customer(&mut tx, customer_id).await?;
        refuse_if_held(&mut tx, customer_id).await?;
        let license = store::licenses::find_newest(&mut tx, customer_id).await?.ok_or(Refusal::NoLicense)?;
        let words = self.license_mail(&customer, &license, "It is the one you have; we send it once more.");
        let key = format!("license:{customer_id}:{}:again:{now}", license.version);
        self.owe_customer_mail(&mut tx, &customer, key, words, now).await?;
        let told = format!("version {}", license.version);
        store::audit::insert_by(&mut tx, by.entry(), "license_sent_again", Some(customer_id), &told, now).await?;
        tx.commit().await?;
        self.signals.outbox.notify_one();
        Ok(license)
    }

    /// Whose license this is.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn license_owner(&self, license_id: &LicenseId) -> Result<Option<CustomerId>, Error> {
        let mut tx = self.db.begin_read().await?;
        let found = store::licenses::find_owner(&mut tx, license_id).await?;
        tx.rollback().await?;
        Ok(found)
    }

    /// The lease of a customer that exists: the lease's own row would not say so.
    async fn lease_of_known(&self, customer_id: &CustomerId) -> Result<Lease, Error> {
        self.load_customer(customer_id).await?;
        self.lease(customer_id).await
    }
}

async fn find_customer(tx: &mut Tx, customer_id: &CustomerId) -> Result<Customer, Error> {
    Ok(store::customers::find(tx, customer_id).await?.ok_or(Refusal::CustomerUnknown)?)
}
