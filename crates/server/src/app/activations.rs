//! Activations: on how many machines a licence is used, for vendors who want that counted.
//!
//! The licence is the credential. What it may be used on is the plan's limit `machines` of what the customer has *now*, whatever the
//! licence in hand says. The customer's row is held while it is counted and written, so that requests at the same time never make
//! more than the limit. Nothing here ends a licence, and nothing runs out by itself.

use counterfoil_core::{ActivationId, CustomerId, Refusal, Timestamp};
use counterfoil_license::{Reason, State, Verified};

use super::customers::{find_subscription, is_control};
use super::operators::By;
use super::validation::{DELETED, Question, Validation};
use super::{App, Error, secrets};
use crate::db::Tx;
use crate::store;
use crate::store::activations::Activation;
use crate::store::audit::Actor;

/// The limit of a plan that counts machines.
pub const LIMIT: &str = "machines";

/// Machines of one customer where the plan sets no limit: far above any real number, so that nobody fills the table.
pub const MACHINES_MAX: i64 = 10_000;

/// The longest fingerprint, in bytes.
pub const FINGERPRINT_BYTES_MAX: usize = 200;

/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// A checked wish to use a licence on a machine.
#[derive(Debug)]
pub struct Machine {
    fingerprint: String,
    name: Option<String>,
}

impl Machine {
    /// Checks what a product sent. A name of spaces is none.
    ///
    /// # Errors
    /// The refusal that names the field.
    pub fn parse(fingerprint: String, name: Option<&str>) -> Result<Self, Refusal> {
        let refused = |field, reason| Err(Refusal::InvalidField { field, reason });
        if fingerprint.is_empty() || fingerprint.len() > FINGERPRINT_BYTES_MAX {
            return refused("fingerprint", "it has 1 to 200 bytes; send a hash of what is longer");
        }
        let name = name.map(str::trim).filter(|name| !name.is_empty());
        if name.is_some_and(|name| name.chars().count() > NAME_CHARS_MAX) {
            return refused("name", "use at most 100 characters");
        }
        if name.is_some_and(|name| name.chars().any(is_control)) {
            return refused("name", "it holds control characters");
        }
        Ok(Self { fingerprint, name: name.map(str::to_owned) })
    }
}

/// What activating came to.
#[derive(Debug)]
pub struct Activated {
    pub activation: Activation,
    /// False where the machine had been activated before.
    pub is_new: bool,
    /// How many are allowed; none where the plan does not count them.
    pub limit: Option<i64>,
}

/// A customer's machines.
#[derive(Debug)]
pub struct Machines {
    /// The newest first.
    pub activations: Vec<Activation>,
    /// How many are allowed; none where the plan does not count them, or nothing runs.
    pub limit: Option<i64>,
}

impl App {
    /// Activates the licence on a machine. The same machine again is the same activation, also where the limit is reached.
    ///
    /// # Errors
    /// [`Refusal::ActivationLimitReached`]; [`Refusal::LicenseInvalid`], [`Refusal::LicenseKeyCompromised`],
    /// [`Refusal::LicenseRevoked`], [`Refusal::CustomerDeleted`] and [`Refusal::LicenseNotValid`] for a token that is worth nothing;
    /// [`Refusal::TooManyRequests`]; failures.
    pub async fn activate(&self, token: &str, machine: &Machine) -> Result<Activated, Error> {
        let now = self.now();
        let (verified, customer_id) = self.credential(token, now).await?;
        let hash = self.fingerprint_hash(&customer_id, &machine.fingerprint);
        let mut tx = self.db.begin().await?;
        let is_there = store::customers::hold(&mut tx, &customer_id).await?;
        let answer = self.validate_verified(&mut tx, &Question::default(), &verified, now).await?;
        if !answer.valid || !is_there {
            return Err(refusal_of(&answer).into());
        }
        let limit = self.machine_limit(&mut tx, &customer_id, now).await?;
        if let Some(mut activation) = store::activations::find(&mut tx, &customer_id, &hash).await? {
            if let Some(name) = machine.name.as_ref().filter(|name| activation.name.as_ref() != Some(*name)) {
                store::activations::rename(&mut tx, &customer_id, &activation.activation_id, name).await?;
                activation.name = Some(name.clone());
            }
            tx.commit().await?;
            return Ok(Activated { activation, is_new: false, limit });
        }
        let allowed = limit.unwrap_or(MACHINES_MAX).min(MACHINES_MAX);
        if store::activations::count(&mut tx, &customer_id).await? >= allowed {
            return Err(Refusal::ActivationLimitReached { limit: allowed }.into());
        }
        let activation_id = ActivationId::from_random(self.entropy.bytes());
        let activation = Activation { activation_id, name: machine.name.clone(), activated_at: now };
        store::activations::insert(&mut tx, &customer_id, &hash, &activation).await?;
        tx.commit().await?;
        Ok(Activated { activation, is_new: true, limit })
    }

    /// Releases the machine because its product says so. One that is not activated is as good. A licence that has ended still
    /// releases: whoever uninstalls late frees the machine all the same.
    ///
    /// # Errors
    /// As [`App::activate`], but for [`Refusal::LicenseNotValid`] and the limit.
    pub async fn release_machine(&self, token: &str, machine: &Machine) -> Result<(), Error> {
        let now = self.now();
        let (verified, customer_id) = self.credential(token, now).await?;
        let hash = self.fingerprint_hash(&customer_id, &machine.fingerprint);
        let mut tx = self.db.begin().await?;
        let answer = self.validate_verified(&mut tx, &Question::default(), &verified, now).await?;
        let refusal = refusal_of(&answer);
        if !answer.valid && !matches!(refusal, Refusal::LicenseNotValid { .. }) {
            return Err(refusal.into());
        }
        store::activations::delete_machine(&mut tx, &customer_id, &hash).await?;
        Ok(tx.commit().await?)
    }

    /// The customer's machines.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`], or failures.
    pub async fn machines(&self, customer_id: &CustomerId) -> Result<Machines, Error> {
        let now = self.now();
        let mut tx = self.db.begin_read().await?;
        store::customers::find(&mut tx, customer_id).await?.ok_or(Refusal::CustomerUnknown)?;
        let limit = self.machine_limit(&mut tx, customer_id, now).await?;
        let activations = store::activations::list(&mut tx, customer_id, MACHINES_MAX).await?;
        tx.rollback().await?;
        Ok(Machines { activations, limit })
    }

    /// The same for operators, who are told where the account is deleted.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`], [`Refusal::CustomerDeleted`], or failures.
    pub async fn machines_for_operators(&self, customer_id: &CustomerId) -> Result<Machines, Error> {
        self.find_customer_or_tombstone(customer_id).await?.ok_or(Refusal::CustomerDeleted)?;
        self.machines(customer_id).await
    }

    /// Releases one of the customer's own.
    ///
    /// # Errors
    /// [`Refusal::ActivationUnknown`], also for somebody else's; failures.
    pub async fn release_activation(
        &self,
        customer_id: &CustomerId,
        activation_id: &ActivationId,
    ) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        if !store::activations::delete(&mut tx, customer_id, activation_id).await? {
            return Err(Refusal::ActivationUnknown.into());
        }
        let (action, detail) = ("activation_released", activation_id.as_str());
        store::audit::insert(&mut tx, Actor::Customer, action, Some(customer_id), detail, now).await?;
        Ok(tx.commit().await?)
    }

    /// Releases whoever's because an operator wants it. Answers whose it was.
    ///
    /// # Errors
    /// [`Refusal::ActivationUnknown`]; failures.
    pub async fn release_activation_by(&self, activation_id: &ActivationId, by: &By) -> Result<CustomerId, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let owner = store::activations::find_owner(&mut tx, activation_id).await?;
        let customer_id = owner.ok_or(Refusal::ActivationUnknown)?;
        if !store::activations::delete(&mut tx, &customer_id, activation_id).await? {
            return Err(Refusal::ActivationUnknown.into());
        }
        let (action, detail) = ("activation_released", activation_id.as_str());
        store::audit::insert_by(&mut tx, by.entry(), action, Some(&customer_id), detail, now).await?;
        tx.commit().await?;
        Ok(customer_id)
    }

    /// The token with a signature of ours, and whom it names.
    async fn credential(&self, token: &str, now: Timestamp) -> Result<(Verified, CustomerId), Error> {
        let verified = self.own_claims(token, now).await?;
        let named = verified.claims.as_ref().and_then(|claims| claims.customer_id.parse().ok());
        match named {
            Some(customer_id) => Ok((verified, customer_id)),
            None if verified.state == State::Invalid(Reason::KeyCompromised) => {
                Err(Refusal::LicenseKeyCompromised.into())
            }
            None => Err(Refusal::LicenseInvalid.into()),
        }
    }

    /// How many machines the plan of now allows.
    async fn machine_limit(&self, tx: &mut Tx, customer_id: &CustomerId, now: Timestamp) -> Result<Option<i64>, Error> {
        let subscription = find_subscription(tx, customer_id).await?;
        let right = self.right(tx, customer_id, &subscription, now).await?;
        Ok(right.ok().and_then(|grant| grant.limits.get(LIMIT).copied()).map(|limit| limit.max(0)))
    }

    /// What is kept of a fingerprint. With a key of the installation's, so that nobody who sees it can try out serial numbers, and
    /// of one customer's, so that the same machine of two customers is not known for one.
    fn fingerprint_hash(&self, customer_id: &CustomerId, fingerprint: &str) -> String {
        secrets::person_hash(&self.instance.ledger_key, &format!("machine:{customer_id}:{fingerprint}"))
    }
}

/// Why a licence that is worth nothing activates nothing.
fn refusal_of(answer: &Validation) -> Refusal {
    match answer.code {
        "revoked" => Refusal::LicenseRevoked,
        DELETED => Refusal::CustomerDeleted,
        why if answer.claims.is_some() => Refusal::LicenseNotValid { why },
        _ => Refusal::LicenseInvalid,
    }
}
