//! Passwords: forgotten, reset by mail, and changed by who knows the present one.
//!
//! A change ends all other sessions everywhere and every link that is on its way, in the same transaction, and is told to the
//! customer by mail.

use counterfoil_core::{CustomerId, EffectId, EmailAddress, Password, Refusal, Timestamp, probe};

use super::leases::Lease;
use super::mail_links::Wanted;
use super::outbox::OwedMail;
use super::sessions::bounded;
use super::{App, Error, secrets};
use crate::db::Tx;
use crate::mail::account::{PasswordChangedMail, ResetMail};
use crate::store;
use crate::store::account_tokens::Purpose;
use crate::store::audit::Actor;
use crate::store::customers::Customer;
use crate::store::outbox::{Effect, Kind, NewEffect};

/// How long a link to a new password works.
const RESET_HOURS: i64 = 1;

impl App {
    /// Takes note that somebody has forgotten a password. Nobody looks here whether there is such an account: the same row is
    /// written for every address, so neither the answer nor its time tells. A worker does the rest.
    ///
    /// # Errors
    /// [`Refusal::InvalidEmail`], or failures.
    pub async fn forgot_password(&self, email: &str) -> Result<(), Error> {
        let email: EmailAddress = email.parse().map_err(Refusal::InvalidEmail)?;
        let effect = NewEffect {
            effect_id: &EffectId::from_random(self.entropy.bytes()),
            kind: Kind::PasswordForgot,
            customer_id: None,
            // Asked again before the worker came, it is still one mail.
            dedupe_key: &format!("forgot:{}", secrets::person_hash(&self.instance.ledger_key, email.as_str())),
            address: email.as_str(),
        };
        let mut tx = self.db.begin().await?;
        store::outbox::insert(&mut tx, &effect, self.now()).await?;
        tx.commit().await?;
        self.signals.effects.notify_one();
        Ok(())
    }

    /// Owes the mail with the link, if the address is one of a customer's and not too many were sent lately. The row is removed,
    /// so that addresses of strangers are not kept.
    pub(super) async fn answer_forgotten_password(&self, effect: &Effect) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        store::outbox::delete(&mut tx, &effect.effect_id).await?;
        let customer = match effect.address.parse::<EmailAddress>() {
            Ok(email) => store::customers::find_by_email(&mut tx, &email).await?,
            Err(_invalid) => None,
        };
        probe!("F79", customer.is_none());
        if let Some(customer) = customer {
            self.owe_reset_mail(&mut tx, &customer, now).await?;
        }
        tx.commit().await?;
        self.signals.outbox.notify_one();
        Ok(())
    }

    async fn owe_reset_mail(&self, tx: &mut Tx, customer: &Customer, now: Timestamp) -> Result<(), Error> {
        let wanted = Wanted {
            customer_id: &customer.customer_id,
            purpose: Purpose::ResetPassword,
            payload: None,
            hours: RESET_HOURS,
        };
        let Some(token) = self.new_link(tx, &wanted, now).await? else {
            metrics::counter!("counterfoil_links_withheld_total").increment(1);
            return Ok(());
        };
        let mail = ResetMail {
            product: self.settings.product_name.clone(),
            link: self.link_to("/password/reset", &token),
            public_url: self.settings.public_url.clone(),
        };
        let owed = OwedMail {
            customer_id: &customer.customer_id,
            dedupe_key: None,
            recipient: customer.email.as_str(),
            subject: mail.subject(),
            body_text: mail.body(),
            forget_when_sent: true,
        };
        self.owe_mail(tx, owed, now).await
    }

    /// Sets a new password by the link from the mail, and ends all sessions. Whoever has the link has the mailbox, so the
    /// address is verified by it.
    ///
    /// # Errors
    /// [`Refusal::LinkInvalid`], [`Refusal::WeakPassword`] (the link goes on working), or failures.
    pub async fn reset_password(&self, token: &str, new_password: String) -> Result<(), Error> {
        let link = self.look_at_link(token, Purpose::ResetPassword).await?;
        let customer = self.load_customer(&link.customer_id).await?;
        let password = Password::choose(new_password, &customer.email).map_err(Refusal::WeakPassword)?;
        let password_hash = self.hasher.hash(password.expose()).await?;
        let lease = self.lease_to_verify(&customer.customer_id).await?;
        let result = self.reset_under(lease.as_ref(), token, &customer, &password_hash).await;
        self.release_any(lease).await;
        result?;
        self.signals.outbox.notify_one();
        Ok(())
    }

    async fn reset_under(
        &self,
        lease: Option<&Lease>,
        token: &str,
        customer: &Customer,
        password_hash: &str,
    ) -> Result<(), Error> {
        let (customer_id, now) = (&customer.customer_id, self.now());
        let mut tx = self.db.begin().await?;
        self.take_link(&mut tx, token, Purpose::ResetPassword, now).await?;
        if !store::customers::set_password(&mut tx, customer_id, password_hash, now).await? {
            return Err(Refusal::LinkInvalid.into());
        }
        store::sessions::delete_all(&mut tx, customer_id).await?;
        self.tell_of_new_password(&mut tx, customer, "password_reset", now).await?;
        store::customers::set_verified(&mut tx, customer_id, now).await?;
        self.issue_withheld(&mut tx, lease, now).await?;
        Ok(tx.commit().await?)
    }

    /// Changes the password of a signed-in customer, whose other sessions end.
    ///
    /// # Errors
    /// [`Refusal::WrongPassword`], [`Refusal::WeakPassword`], or failures.
    pub async fn change_password(
        &self,
        customer_id: &CustomerId,
        session_token: &str,
        current: &str,
        new_password: String,
    ) -> Result<(), Error> {
        let customer = self.load_customer(customer_id).await?;
        let old_hash = self.check_password(customer_id, current).await?;
        let password = Password::choose(new_password, &customer.email).map_err(Refusal::WeakPassword)?;
        let password_hash = self.hasher.hash(password.expose()).await?;
        let now = self.now();
        let mut tx = self.db.begin().await?;
        // Somebody else may have changed it since it was checked: then the one that was given is wrong by now.
        if !store::customers::hold_password(&mut tx, customer_id, &old_hash).await? {
            probe!("F53");
            return Err(Refusal::WrongPassword.into());
        }
        store::customers::set_password(&mut tx, customer_id, &password_hash, now).await?;
        store::sessions::delete_others(&mut tx, customer_id, &secrets::hash_token(session_token)).await?;
        self.tell_of_new_password(&mut tx, &customer, "password_changed", now).await?;
        tx.commit().await?;
        self.signals.outbox.notify_one();
        Ok(())
    }

    async fn tell_of_new_password(
        &self,
        tx: &mut Tx,
        customer: &Customer,
        action: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        store::account_tokens::end_all(tx, &customer.customer_id, now).await?;
        store::audit::insert(tx, Actor::Customer, action, Some(&customer.customer_id), "", now).await?;
        let mail = PasswordChangedMail {
            product: self.settings.product_name.clone(),
            changed_at: now.date_time_in_words(),
            forgot_url: format!("{}/password/forgot", self.settings.public_url),
            public_url: self.settings.public_url.clone(),
        };
        let owed = OwedMail {
            customer_id: &customer.customer_id,
            dedupe_key: None,
            recipient: customer.email.as_str(),
            subject: mail.subject(),
            body_text: mail.body(),
            forget_when_sent: false,
        };
        self.owe_mail(tx, owed, now).await
    }

    /// Checks the password of a signed-in customer; answers its stored hash.
    pub(super) async fn check_password(&self, customer_id: &CustomerId, password: &str) -> Result<String, Error> {
        self.limit_password(customer_id).await?;
        let mut tx = self.db.begin_read().await?;
        let stored = store::customers::find_password_hash(&mut tx, customer_id).await?;
        tx.rollback().await?;
        let stored = stored.ok_or(Refusal::CustomerUnknown)?;
        if self.hasher.verify(&bounded(password), Some(stored.clone())).await?.matches {
            Ok(stored)
        } else {
            Err(Refusal::WrongPassword.into())
        }
    }
}
