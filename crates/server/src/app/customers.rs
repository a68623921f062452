//! Customers: sign-up, and what a customer may know of itself.

use counterfoil_core::entitlement::{Ended, Grant};
use counterfoil_core::{CustomerId, EmailAddress, Password, Refusal, Subscription, probe};

use super::issuing::{Cause, FIRST_VERSION, Next, Reason};
use super::sessions::{Arrival, NewSession};
use super::settings::EmailVerification;
use super::{App, Error, Failure};
use crate::db::Tx;
use crate::store;
use crate::store::audit::Actor;
use crate::store::customers::Customer;
use crate::store::licenses::License;

/// The longest company name, in characters.
pub const COMPANY_NAME_CHARS_MAX: usize = 200;

/// A checked wish to sign up.
#[derive(Debug)]
pub struct SignUp {
    pub email: EmailAddress,
    pub password: Password,
    pub company_name: Option<String>,
}

impl SignUp {
    /// Checks what a visitor typed.
    ///
    /// # Errors
    /// The refusal that names the field.
    pub fn parse(email: &str, password: String, company_name: Option<String>) -> Result<Self, Refusal> {
        let email: EmailAddress = email.parse().map_err(Refusal::InvalidEmail)?;
        let password = Password::choose(password, &email)?;
        let company_name = company_name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        if let Some(name) = &company_name {
            check_company_name(name)?;
        }
        Ok(Self { email, password, company_name })
    }
}

fn check_company_name(name: &str) -> Result<(), Refusal> {
    if name.chars().count() > COMPANY_NAME_CHARS_MAX {
        return Err(Refusal::InvalidField { field: "company_name", reason: "use at most 200 characters" });
    }
    if name.chars().any(is_control) {
        probe!("F67");
        return Err(Refusal::InvalidField { field: "company_name", reason: "it holds control characters" });
    }
    Ok(())
}

/// Whether a character controls what is around it. Bidirectional controls reorder what people read, in a mail or on a page.
pub(super) fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// A customer with what it has.
#[derive(Debug)]
pub struct Account {
    pub customer: Customer,
    pub subscription: Subscription,
    /// What the customer may use now.
    pub right: Result<Grant, Ended>,
    /// The newest version, where one was ever issued and it is not revoked.
    pub license: Option<License>,
}

impl App {
    /// Signs a visitor up: customer, trial, licence, welcome mail and session in one transaction, without the provider.
    ///
    /// # Errors
    /// [`Refusal::EmailTaken`], or failures.
    pub async fn sign_up(&self, wish: SignUp, arrival: &Arrival) -> Result<(Account, NewSession), Error> {
        let password_hash = self.hasher.hash(wish.password.expose()).await?;
        let signed_up = self.again(|| self.sign_up_in_one(&wish, &password_hash, arrival)).await?;
        self.signals.outbox.notify_one();
        metrics::counter!("counterfoil_signups_total").increment(1);
        Ok(signed_up)
    }

    async fn sign_up_in_one(
        &self,
        wish: &SignUp,
        password_hash: &str,
        arrival: &Arrival,
    ) -> Result<(Account, NewSession), Error> {
        let now = self.now();
        let customer_id = CustomerId::from_random(self.entropy.bytes());

        let mut tx = self.db.begin().await?;
        let company_name = wish.company_name.as_deref();
        store::customers::insert(&mut tx, &customer_id, &wish.email, company_name, password_hash, now).await.map_err(
            |error| match error.is_unique("customers.email") {
                true => {
                    probe!("F49");
                    Error::from(Refusal::EmailTaken)
                }
                false => error.into(),
            },
        )?;
        let subscription = self.start_trial(&mut tx, &customer_id, &wish.email, now).await?;
        let customer = Customer {
            customer_id: customer_id.clone(),
            email: wish.email.clone(),
            email_verified_at: None,
            company_name: wish.company_name.clone(),
            external_id: None,
            created_at: now,
        };
        let right = self.right(&mut tx, &customer_id, &subscription, now).await?;
        let license = match &right {
            Ok(grant) => {
                let cause = &Cause::SignUp;
                let next = Next { version: FIRST_VERSION, reason: Reason::TrialStarted, cause, mail: true };
                Some(self.issue_license(&mut tx, &customer, grant, next, now).await?)
            }
            // The address has to be verified first; or the person had a trial before and it is over: then there is an account,
            // and nothing to use until something is paid.
            Err(_ended) => None,
        };
        if self.settings.email_verification == EmailVerification::Required {
            self.owe_verification(&mut tx, &customer, now).await?;
        }
        let session = self.insert_session(&mut tx, &customer_id, arrival, now).await?;
        store::audit::insert(&mut tx, Actor::Customer, "signed_up", Some(&customer_id), "", now).await?;
        tx.commit().await?;
        Ok((Account { customer, subscription, right, license }, session))
    }

    /// The customer's account.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`], or failures.
    pub async fn account(&self, customer_id: &CustomerId) -> Result<Account, Error> {
        let mut tx = self.db.begin_read().await?;
        let customer = store::customers::find(&mut tx, customer_id).await?.ok_or(Refusal::CustomerUnknown)?;
        let subscription = find_subscription(&mut tx, customer_id).await?;
        let right = self.right(&mut tx, customer_id, &subscription, self.now()).await?;
        let newest = store::licenses::find_newest(&mut tx, customer_id).await?;
        tx.rollback().await?;
        let license = newest.filter(|_| right != Err(Ended::Revoked));
        Ok(Account { customer, subscription, right, license })
    }

    /// The customer alone.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`]; failures of the database.
    pub(super) async fn load_customer(&self, customer_id: &CustomerId) -> Result<Customer, Error> {
        let mut tx = self.db.begin_read().await?;
        let customer = store::customers::find(&mut tx, customer_id).await?;
        tx.rollback().await?;
        customer.ok_or_else(|| Refusal::CustomerUnknown.into())
    }

    /// The customer's subscription as it is in our book.
    ///
    /// # Errors
    /// Failures of the database.
    pub(super) async fn load_subscription(&self, customer_id: &CustomerId) -> Result<Subscription, Error> {
        let mut tx = self.db.begin_read().await?;
        let subscription = find_subscription(&mut tx, customer_id).await?;
        tx.rollback().await?;
        Ok(subscription)
    }
}

/// The subscription that every customer has from sign-up on.
///
/// # Errors
/// [`Failure::Corrupt`] where the row is missing.
pub async fn find_subscription(tx: &mut Tx, customer_id: &CustomerId) -> Result<Subscription, Failure> {
    store::subscriptions::find(tx, customer_id).await?.ok_or_else(|| no_subscription(customer_id))
}

/// What is wrong where that row is missing.
pub fn no_subscription(customer_id: &CustomerId) -> Failure {
    Failure::Corrupt(format!("{customer_id} has no subscription row"))
}
