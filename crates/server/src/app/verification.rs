//! Verified addresses: shown by a link from the mailbox, by any other link that went there, or vouched for by an operator.
//!
//! Where the operator requires it, a trial gives no licence before. Whatever verifies the address then issues the first version
//! in the same transaction, under the customer's lease, so that a look at the provider at the same moment does not issue it too.

use counterfoil_core::{CustomerId, EmailAddress, Refusal, Timestamp};

use super::customers::find_subscription;
use super::emails::RETRY_SECONDS;
use super::issuing::{Cause, Issued};
use super::leases::Lease;
use super::mail_links::Wanted;
use super::operators::By;
use super::{App, Error};
use crate::db::Tx;
use crate::mail::account::VerifyEmailMail;
use crate::store;
use crate::store::account_tokens::Purpose;
use crate::store::audit::Actor;
use crate::store::customers::Customer;
use crate::store::licenses::License;

/// How long a link works.
const VERIFY_HOURS: i64 = 24;

/// The page that the link leads to.
const VERIFY_PATH: &str = "/email/verify";

/// An address that is verified now.
#[derive(Debug)]
pub struct Verified {
    pub email: EmailAddress,
    pub at: Timestamp,
    /// What had waited for it, and is on its way by mail.
    pub license: Option<License>,
}

impl App {
    /// Verifies the address by the link that went to it.
    ///
    /// # Errors
    /// [`Refusal::LinkInvalid`], or failures.
    pub async fn verify_email(&self, token: &str) -> Result<Verified, Error> {
        let customer_id = self.look_at_link(token, Purpose::VerifyEmail).await?.customer_id;
        let lease = self.lease_to_verify(&customer_id).await?;
        let result = self.verify_under(lease.as_ref(), token).await;
        self.release_any(lease).await;
        let verified = result?;
        self.signals.outbox.notify_one();
        Ok(verified)
    }

    async fn verify_under(&self, lease: Option<&Lease>, token: &str) -> Result<Verified, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let customer_id = self.take_link(&mut tx, token, Purpose::VerifyEmail, now).await?.customer_id;
        let customer = store::customers::find(&mut tx, &customer_id).await?.ok_or(Refusal::LinkInvalid)?;
        if store::customers::set_verified(&mut tx, &customer_id, now).await? {
            store::audit::insert(&mut tx, Actor::Customer, "email_verified", Some(&customer_id), "", now).await?;
        }
        let license = self.issue_withheld(&mut tx, lease, now).await?;
        tx.commit().await?;
        Ok(Verified { email: customer.email, at: customer.email_verified_at.unwrap_or(now), license })
    }

    /// Takes the address for verified because an operator vouches for it.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`], [`Refusal::EmailAlreadyVerified`], or failures.
    pub async fn verify_email_by(&self, customer_id: &CustomerId, by: &By) -> Result<Verified, Error> {
        let lease = self.lease_to_verify(customer_id).await?;
        let result = self.vouch_under(lease.as_ref(), customer_id, by).await;
        self.release_any(lease).await;
        let verified = result?;
        self.signals.outbox.notify_one();
        Ok(verified)
    }

    async fn vouch_under(&self, lease: Option<&Lease>, customer_id: &CustomerId, by: &By) -> Result<Verified, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let customer = store::customers::find(&mut tx, customer_id).await?.ok_or(Refusal::CustomerUnknown)?;
        if !store::customers::set_verified(&mut tx, customer_id, now).await? {
            return Err(Refusal::EmailAlreadyVerified.into());
        }
        store::account_tokens::end(&mut tx, customer_id, Purpose::VerifyEmail, now).await?;
        store::audit::insert_by(&mut tx, by.entry(), "email_verified", Some(customer_id), "", now).await?;
        let license = self.issue_withheld(&mut tx, lease, now).await?;
        tx.commit().await?;
        Ok(Verified { email: customer.email, at: now, license })
    }

    /// Sends a signed-in customer another link.
    ///
    /// # Errors
    /// [`Refusal::EmailAlreadyVerified`], [`Refusal::TooManyRequests`], or failures.
    pub async fn resend_verification(&self, customer_id: &CustomerId) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let customer = store::customers::find(&mut tx, customer_id).await?.ok_or(Refusal::CustomerUnknown)?;
        if customer.email_verified_at.is_some() {
            return Err(Refusal::EmailAlreadyVerified.into());
        }
        if !self.owe_verification(&mut tx, &customer, now).await? {
            return Err(Refusal::TooManyRequests { retry_after_seconds: RETRY_SECONDS }.into());
        }
        tx.commit().await?;
        self.signals.outbox.notify_one();
        Ok(())
    }

    /// Owes the mail with the link; false where there were too many lately.
    pub(super) async fn owe_verification(
        &self,
        tx: &mut Tx,
        customer: &Customer,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let customer_id = &customer.customer_id;
        let wanted = Wanted { customer_id, purpose: Purpose::VerifyEmail, payload: None, hours: VERIFY_HOURS };
        let Some(token) = self.new_link(tx, &wanted, now).await? else { return Ok(false) };
        let mail = VerifyEmailMail {
            product: self.settings.product_name.clone(),
            link: self.link_to(VERIFY_PATH, &token),
            public_url: self.settings.public_url.clone(),
        };
        self.owe_account_mail(tx, customer_id, &customer.email, (mail.subject(), mail.body()), true, now).await?;
        Ok(true)
    }

    /// The lease under which verifying the address may issue a licence; none where no licence can be waiting for that.
    pub(super) async fn lease_to_verify(&self, customer_id: &CustomerId) -> Result<Option<Lease>, Error> {
        let mut tx = self.db.begin_read().await?;
        let may_wait = store::customers::is_unverified_without_license(&mut tx, customer_id).await?;
        tx.rollback().await?;
        Ok(if may_wait { Some(self.lease(customer_id).await?) } else { None })
    }

    /// Gives back what [`App::lease_to_verify`] took.
    pub(super) async fn release_any(&self, lease: Option<Lease>) {
        if let Some(lease) = lease {
            self.release(lease).await;
        }
    }

    /// Issues the licence that has waited for the address, now that the caller's transaction has verified it.
    pub(super) async fn issue_withheld(
        &self,
        tx: &mut Tx,
        lease: Option<&Lease>,
        now: Timestamp,
    ) -> Result<Option<License>, Error> {
        let Some(lease) = lease else { return Ok(None) };
        let customer_id = &lease.customer_id;
        lease.keep(tx, now).await?;
        if store::licenses::find_newest(tx, customer_id).await?.is_some() {
            return Ok(None);
        }
        let customer = store::customers::find(tx, customer_id).await?.ok_or(Refusal::CustomerUnknown)?;
        let subscription = find_subscription(tx, customer_id).await?;
        let Ok(grant) = self.right(tx, customer_id, &subscription, now).await? else { return Ok(None) };
        match self.issue_if_changed(tx, &customer, &grant, &Cause::EmailVerified, now).await? {
            Issued::New(license) => Ok(Some(license)),
            Issued::Unchanged(_) | Issued::Held => Ok(None),
        }
    }
}
