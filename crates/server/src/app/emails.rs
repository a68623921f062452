//! The customer's address: asked to be changed, confirmed from the new mailbox, objected to from the old one, and told to the
//! provider. The provider's address never flows back. An address that was confirmed, or vouched for by an operator, is verified.
//!
//! Nothing changes before the new mailbox has answered. The change, the end of all links that are on their way, the note in the
//! trial ledger and what the provider is owed are one transaction.

use counterfoil_core::link::{Link, LinkState};
use counterfoil_core::{
    CustomerId, EffectId, EmailAddress, ExternalCustomerId, IdempotencyKey, Refusal, Timestamp, trial,
};

use super::leases::Lease;
use super::mail_links::Wanted;
use super::operators::By;
use super::outbox::OwedMail;
use super::{App, Error, Failure, secrets};
use crate::db::Tx;
use crate::mail::account::{ConfirmEmailMail, EmailChangeAskedMail, EmailChangedMail};
use crate::providers::{PaymentProvider, ProviderError};
use crate::store;
use crate::store::account_tokens::Purpose;
use crate::store::audit::Actor;
use crate::store::customers::Customer;
use crate::store::outbox::{Effect, Kind, NewEffect};

/// How long the links of a change of the address work.
const CHANGE_HOURS: i64 = 24;

/// How often the provider is told again because the address changed while it was being told.
const ROUNDS_MAX: usize = 4;

/// An hour, as [`Refusal::TooManyRequests`] says it.
pub(super) const RETRY_SECONDS: u32 = 3600;

/// Whose decision a change was.
enum Decided<'a> {
    ByCustomer,
    ByOperator(&'a By),
}

impl App {
    /// Sends a link to the new address, and a notice to the present one. Nothing changes yet.
    ///
    /// An address that somebody has is refused here already: sign-up tells everybody as much.
    ///
    /// # Errors
    /// [`Refusal::InvalidEmail`], [`Refusal::WrongPassword`], [`Refusal::EmailTaken`], [`Refusal::TooManyRequests`], failures.
    pub async fn ask_email_change(
        &self,
        customer_id: &CustomerId,
        new_email: &str,
        password: &str,
    ) -> Result<(), Error> {
        let new_email: EmailAddress = new_email.parse().map_err(Refusal::InvalidEmail)?;
        self.check_password(customer_id, password).await?;
        self.limit_mail_to(&new_email).await?;
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let customer = store::customers::find(&mut tx, customer_id).await?.ok_or(Refusal::CustomerUnknown)?;
        if customer.email == new_email {
            return Err(already_this_one().into());
        }
        if store::customers::find_by_email(&mut tx, &new_email).await?.is_some() {
            return Err(Refusal::EmailTaken.into());
        }
        let link = |purpose, payload| Wanted { customer_id, purpose, payload, hours: CHANGE_HOURS };
        let confirm = self.new_link(&mut tx, &link(Purpose::ChangeEmail, Some(new_email.as_str())), now).await?;
        let object = self.new_link(&mut tx, &link(Purpose::ObjectToEmail, None), now).await?;
        let (Some(confirm), Some(object)) = (confirm, object) else {
            return Err(Refusal::TooManyRequests { retry_after_seconds: RETRY_SECONDS }.into());
        };
        let (product, public_url) = (self.settings.product_name.clone(), self.settings.public_url.clone());
        let mail = ConfirmEmailMail {
            product: product.clone(),
            link: self.link_to("/email/confirm", &confirm),
            public_url: public_url.clone(),
        };
        self.owe_account_mail(&mut tx, customer_id, &new_email, (mail.subject(), mail.body()), true, now).await?;
        let mail = EmailChangeAskedMail { product, link: self.link_to("/email/object", &object), public_url };
        self.owe_account_mail(&mut tx, customer_id, &customer.email, (mail.subject(), mail.body()), true, now).await?;
        store::audit::insert(&mut tx, Actor::Customer, "email_change_asked", Some(customer_id), "", now).await?;
        tx.commit().await?;
        self.signals.outbox.notify_one();
        Ok(())
    }

    /// Changes the address by the link that went to the new one.
    ///
    /// # Errors
    /// [`Refusal::LinkInvalid`], [`Refusal::EmailTaken`] where somebody was quicker, or failures.
    pub async fn confirm_email_change(&self, token: &str) -> Result<EmailAddress, Error> {
        let customer_id = self.look_at_link(token, Purpose::ChangeEmail).await?.customer_id;
        let lease = self.lease_to_verify(&customer_id).await?;
        let result = self.confirm_under(lease.as_ref(), token).await;
        self.release_any(lease).await;
        let new_email = result?;
        self.signals.outbox.notify_one();
        self.signals.effects.notify_one();
        Ok(new_email)
    }

    async fn confirm_under(&self, lease: Option<&Lease>, token: &str) -> Result<EmailAddress, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let link = self.take_link(&mut tx, token, Purpose::ChangeEmail, now).await?;
        let new_email: EmailAddress = link
            .payload
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Failure::Corrupt("a link to a new address without an address".into()))?;
        let customer = store::customers::find(&mut tx, &link.customer_id).await?.ok_or(Refusal::LinkInvalid)?;
        self.change_email(&mut tx, &customer, &new_email, &Decided::ByCustomer, now).await?;
        self.issue_withheld(&mut tx, lease, now).await?;
        tx.commit().await?;
        Ok(new_email)
    }

    /// Stops a change that is not confirmed yet, by the link that went to the present address. Whoever asked for it knew the
    /// password, so all sessions end.
    ///
    /// # Errors
    /// [`Refusal::LinkInvalid`], or failures.
    pub async fn object_to_email_change(&self, token: &str) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let link = self.take_link(&mut tx, token, Purpose::ObjectToEmail, now).await?;
        store::account_tokens::end_all(&mut tx, &link.customer_id, now).await?;
        store::sessions::delete_all(&mut tx, &link.customer_id).await?;
        let action = "email_change_objected";
        store::audit::insert(&mut tx, Actor::Customer, action, Some(&link.customer_id), "", now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Changes the address at once because an operator vouches for it. Both mailboxes are told.
    ///
    /// # Errors
    /// [`Refusal::InvalidEmail`], [`Refusal::CustomerUnknown`], [`Refusal::EmailTaken`], or failures.
    pub async fn set_email_by(
        &self,
        customer_id: &CustomerId,
        new_email: &str,
        by: &By,
    ) -> Result<EmailAddress, Error> {
        let new_email: EmailAddress = new_email.parse().map_err(Refusal::InvalidEmail)?;
        let lease = self.lease_to_verify(customer_id).await?;
        let result = self.set_email_under(lease.as_ref(), customer_id, &new_email, by).await;
        self.release_any(lease).await;
        result?;
        self.signals.outbox.notify_one();
        self.signals.effects.notify_one();
        Ok(new_email)
    }

    async fn set_email_under(
        &self,
        lease: Option<&Lease>,
        customer_id: &CustomerId,
        new_email: &EmailAddress,
        by: &By,
    ) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let customer = store::customers::find(&mut tx, customer_id).await?.ok_or(Refusal::CustomerUnknown)?;
        if customer.email == *new_email {
            return Err(already_this_one().into());
        }
        self.change_email(&mut tx, &customer, new_email, &Decided::ByOperator(by), now).await?;
        self.issue_withheld(&mut tx, lease, now).await?;
        Ok(tx.commit().await?)
    }

    async fn change_email(
        &self,
        tx: &mut Tx,
        customer: &Customer,
        new_email: &EmailAddress,
        decided: &Decided<'_>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let customer_id = &customer.customer_id;
        store::customers::set_email(tx, customer_id, new_email, now).await.map_err(|error| {
            match error.is_unique("customers.email") {
                true => Error::from(Refusal::EmailTaken),
                false => error.into(),
            }
        })?;
        store::account_tokens::end_all(tx, customer_id, now).await?;
        self.note_in_ledger(tx, customer, new_email).await?;
        match decided {
            Decided::ByCustomer => {
                store::audit::insert(tx, Actor::Customer, "email_changed", Some(customer_id), "", now).await?;
            }
            Decided::ByOperator(by) => {
                store::audit::insert_by(tx, by.entry(), "email_changed", Some(customer_id), "", now).await?;
            }
        }
        let effect_id = EffectId::from_random(self.entropy.bytes());
        let effect = NewEffect {
            effect_id: &effect_id,
            kind: Kind::CustomerUpdate,
            customer_id: Some(customer_id),
            dedupe_key: &format!("customer_update:{effect_id}"),
            address: "",
        };
        store::outbox::insert(tx, &effect, now).await?;
        let mail = EmailChangedMail {
            product: self.settings.product_name.clone(),
            public_url: self.settings.public_url.clone(),
        };
        for address in [&customer.email, new_email] {
            self.owe_account_mail(tx, customer_id, address, (mail.subject(), mail.body()), false, now).await?;
        }
        Ok(())
    }

    async fn note_in_ledger(&self, tx: &mut Tx, customer: &Customer, new_email: &EmailAddress) -> Result<(), Error> {
        let hash = |name: &String| secrets::person_hash(&self.instance.ledger_key, name);
        let under_old = store::trials::find(tx, &hash(&customer.email.person_key())).await?;
        for name in trial::ledger_names(new_email, &self.settings.trial_per).iter().map(hash) {
            let under_new = store::trials::find(tx, &name).await?;
            if let Some(entry) = trial::note_address(under_old, under_new) {
                let plan = &self.catalog.trial().code;
                // Somebody may write this very entry at the same time; then the ledger knows the name, which is all we want.
                store::trials::insert(tx, &name, &customer.customer_id, plan, entry).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn owe_account_mail(
        &self,
        tx: &mut Tx,
        customer_id: &CustomerId,
        recipient: &EmailAddress,
        (subject, body_text): (String, String),
        forget_when_sent: bool,
        now: Timestamp,
    ) -> Result<(), Error> {
        let recipient = recipient.as_str();
        let owed = OwedMail { customer_id, dedupe_key: None, recipient, subject, body_text, forget_when_sent };
        self.owe_mail(tx, owed, now).await
    }

    /// Tells the provider the customer's address and name as they are at this moment, whatever they were when this was owed; so
    /// no order of such rows brings an old address back.
    pub(super) async fn update_external_customer(&self, effect: &Effect) -> Result<(), Error> {
        let customer_id = effect.customer_id.as_ref();
        let customer_id = customer_id.ok_or_else(|| Failure::Corrupt("an update of nobody".into()))?;
        // Under the lease nobody opens a link with the address that was there before.
        let lease = self.try_lease(customer_id).await?.ok_or(Failure::CustomerBusy)?;
        let result = self.update_under(&lease, effect).await;
        self.release(lease).await;
        result
    }

    async fn update_under(&self, lease: &Lease, effect: &Effect) -> Result<(), Error> {
        for provider in self.providers() {
            self.tell_address(lease, effect, provider).await?;
        }
        let now = self.now();
        let mut tx = self.db.begin().await?;
        lease.keep(&mut tx, now).await?;
        store::outbox::set_sent(&mut tx, &effect.effect_id, now).await?;
        Ok(tx.commit().await?)
    }

    /// Tells one provider, and again where the address changed meanwhile. Nobody is created there because of an address.
    async fn tell_address(&self, lease: &Lease, effect: &Effect, provider: &dyn PaymentProvider) -> Result<(), Error> {
        let mut told: Option<Customer> = None;
        for round in 0..ROUNDS_MAX {
            let mut tx = self.db.begin().await?;
            lease.keep(&mut tx, self.now()).await?;
            let customer = store::customers::find(&mut tx, &lease.customer_id).await?;
            let link = store::links::find_newest(&mut tx, &lease.customer_id, provider.name()).await?;
            tx.commit().await?;
            let Some((customer, external)) = customer.zip(active(link)?) else { return Ok(()) };
            if told.as_ref().is_some_and(|told| says_the_same(told, &customer)) {
                return Ok(());
            }
            let key =
                IdempotencyKey::customer_update(&self.instance.instance_id, &effect.effect_id, effect.attempts, round);
            let (email, name) = (customer.email.as_str(), customer.company_name.as_deref());
            match provider.update_customer(&key, &external, email, name).await {
                // Deleted there: whoever needs a counterpart next finds out, and makes a new one with the new address.
                Ok(()) | Err(ProviderError::CustomerMissing | ProviderError::Missing { .. }) => told = Some(customer),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Failure::CustomerBusy.into())
    }
}

/// Where there is a counterpart. One in the making was frozen with the old address, so it has to be waited for.
fn active(link: Option<Link>) -> Result<Option<ExternalCustomerId>, Failure> {
    match link.map(|link| link.state) {
        Some(LinkState::Active(external)) => Ok(Some(external)),
        Some(LinkState::Retired) | None => Ok(None),
        Some(LinkState::Creating | LinkState::Poisoned { .. }) => Err(Failure::CounterpartInTheMaking),
    }
}

fn says_the_same(told: &Customer, now: &Customer) -> bool {
    told.email == now.email && told.company_name == now.company_name
}

const fn already_this_one() -> Refusal {
    Refusal::InvalidField { field: "new_email", reason: "the account has this address already" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_is_told_again_where_address_or_name_has_changed_meanwhile() {
        let called = |email: &str, company: Option<&str>| Customer {
            customer_id: CustomerId::from_random([1; 16]),
            email: email.parse().unwrap(),
            company_name: company.map(str::to_owned),
            email_verified_at: None,
            external_id: None,
            created_at: Timestamp::from_unix_seconds(1_790_000_000),
        };
        let told = called("ada@example.com", Some("Test Corp"));
        assert!(says_the_same(&told, &told.clone()));
        assert!(!says_the_same(&told, &called("ada.new@example.com", Some("Test Corp"))));
        assert!(!says_the_same(&told, &called("ada@example.com", Some("New Corp"))));
        assert!(!says_the_same(&told, &called("ada@example.com", None)));
    }
}
