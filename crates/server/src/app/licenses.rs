//! Licences: answering about versions that exist.

use counterfoil_core::entitlement::{Ended, Grant, Hold, right};
use counterfoil_core::{CustomerId, LicenseId, PlanCode, Refusal, Subscription, Timestamp};
use counterfoil_license::{Claims, Expectations, KeySet, PublicKey, State, Verified, verify};

use super::customers::find_subscription;
use super::{App, Error, Failure};
use crate::db::Tx;
use crate::store;
use crate::store::licenses::License;

/// Versions in one answer of the history.
pub const HISTORY_MAX: i64 = 100;

/// The answer to `validate`.
#[derive(Debug)]
pub struct Validation {
    /// Whether the product may be used with this token now.
    pub valid: bool,
    /// The stable code.
    pub code: &'static str,
    /// What the token says; only where its signature is ours.
    pub claims: Option<Claims>,
    /// Whether a newer version exists.
    pub superseded: bool,
}

impl App {
    /// The customer's right at this moment, under what an operator has decided.
    ///
    /// # Errors
    /// Failures of the database; having no right is an answer.
    pub async fn right(
        &self,
        tx: &mut Tx,
        customer_id: &CustomerId,
        subscription: &Subscription,
        now: Timestamp,
    ) -> Result<Result<Grant, Ended>, Error> {
        let hold = match store::holds::find(tx, customer_id).await? {
            Some(_) => Hold::Revoked,
            None => Hold::Free,
        };
        Ok(right(subscription, hold, &self.catalog, now))
    }

    /// The name that people read for a plan; its code where the plan is gone from the catalogue.
    #[must_use]
    pub fn plan_name(&self, code: &PlanCode) -> String {
        self.catalog.find(code).map_or_else(|| code.to_string(), |plan| plan.name.clone())
    }

    /// The newest version of the customer's licence.
    ///
    /// # Errors
    /// [`Refusal::LicenseRevoked`], [`Refusal::NoLicense`], or failures.
    pub async fn current_license(&self, customer_id: &CustomerId) -> Result<License, Error> {
        let mut tx = self.db.begin_read().await?;
        let hold = store::holds::find(&mut tx, customer_id).await?;
        let license = store::licenses::find_newest(&mut tx, customer_id).await?;
        tx.rollback().await?;
        if hold.is_some() {
            return Err(Refusal::LicenseRevoked.into());
        }
        license.ok_or_else(|| Refusal::NoLicense.into())
    }

    /// The versions before `before_version`, newest first, at most [`HISTORY_MAX`].
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn license_history(&self, customer_id: &CustomerId, before_version: i64) -> Result<Vec<License>, Error> {
        let mut tx = self.db.begin_read().await?;
        let licenses = store::licenses::list(&mut tx, customer_id, before_version, HISTORY_MAX).await?;
        tx.rollback().await?;
        Ok(licenses)
    }

    /// All keys that ever signed here.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn key_set(&self) -> Result<KeySet, Error> {
        let mut tx = self.db.begin_read().await?;
        let stored = store::signing_keys::list(&mut tx).await?;
        tx.rollback().await?;
        Ok(key_set_of(&stored)?)
    }

    /// The newest licence of the customer to whom this one was issued. Any version ever issued will do, an expired one too, but
    /// not a revoked one: whoever has that gets nothing more for it.
    ///
    /// # Errors
    /// [`Refusal::LicenseInvalid`] for a token that is not ours, [`Refusal::CustomerDeleted`], [`Refusal::LicenseRevoked`],
    /// [`Refusal::NoLicense`] where nothing is entitled any more.
    pub async fn refresh_license(&self, token: &str) -> Result<License, Error> {
        let now = self.now();
        let claims = self.own_claims(token, now).await?.claims.ok_or(Refusal::LicenseInvalid)?;
        let customer_id: CustomerId = claims.customer_id.parse().map_err(|_| Refusal::LicenseInvalid)?;
        let license_id: LicenseId = claims.jti.parse().map_err(|_| Refusal::LicenseInvalid)?;
        let mut tx = self.db.begin_read().await?;
        if store::customers::find_tombstone(&mut tx, &customer_id).await?.is_some() {
            return Err(Refusal::CustomerDeleted.into());
        }
        store::customers::find(&mut tx, &customer_id).await?.ok_or(Refusal::LicenseInvalid)?;
        let shown = store::licenses::find(&mut tx, &customer_id, &license_id).await?.ok_or(Refusal::LicenseInvalid)?;
        let subscription = find_subscription(&mut tx, &customer_id).await?;
        let newest = store::licenses::find_newest(&mut tx, &customer_id).await?.ok_or(Refusal::NoLicense)?;
        let right = self.right(&mut tx, &customer_id, &subscription, now).await?;
        tx.rollback().await?;
        match right {
            Err(Ended::Revoked) => Err(Refusal::LicenseRevoked.into()),
            _ if shown.revoked_at.is_some() => Err(Refusal::LicenseRevoked.into()),
            Err(_ended) => Err(Refusal::NoLicense.into()),
            Ok(_) => Ok(newest),
        }
    }

    /// What this token is worth now, with what the server knows beyond the token itself.
    ///
    /// # Errors
    /// Failures of the database; a bad token is an answer, not an error.
    pub async fn validate_license(&self, token: &str) -> Result<Validation, Error> {
        let now = self.now();
        let verified = self.own_claims(token, now).await?;
        let code = verified.state.code();
        let Some(claims) = verified.claims.clone() else {
            return Ok(Validation { valid: false, code, claims: None, superseded: false });
        };
        let (Ok(customer_id), Ok(license_id)) = (claims.customer_id.parse::<CustomerId>(), claims.jti.parse()) else {
            return Ok(Validation { valid: false, code: "unknown_license", claims: None, superseded: false });
        };
        let mut tx = self.db.begin_read().await?;
        let issued = store::licenses::find(&mut tx, &customer_id, &license_id).await?;
        if issued.is_some() && store::customers::find_tombstone(&mut tx, &customer_id).await?.is_some() {
            tx.rollback().await?;
            return Ok(Validation { valid: false, code: "customer_deleted", claims: Some(claims), superseded: false });
        }
        let newest = store::licenses::find_newest(&mut tx, &customer_id).await?;
        let customer = store::customers::find(&mut tx, &customer_id).await?;
        let subscription = store::subscriptions::find(&mut tx, &customer_id).await?;
        let (Some(issued), Some(newest), Some(_customer), Some(subscription)) =
            (issued, newest, customer, subscription)
        else {
            tx.rollback().await?;
            return Ok(Validation { valid: false, code: "unknown_license", claims: None, superseded: false });
        };
        let right = self.right(&mut tx, &customer_id, &subscription, now).await?;
        tx.rollback().await?;
        let superseded = newest.license_id != license_id;
        let (valid, code) = match (verified.entitled(), right) {
            // It says more than that the token has expired as well.
            (_, Err(Ended::Revoked)) => (false, Ended::Revoked.word()),
            _ if issued.revoked_at.is_some() => (false, Ended::Revoked.word()),
            (false, _) => (false, code),
            (true, Err(ended)) => (false, ended.word()),
            (true, Ok(_)) => (true, code),
        };
        Ok(Validation { valid, code, claims: Some(claims), superseded })
    }

    async fn own_claims(&self, token: &str, now: Timestamp) -> Result<Verified, Error> {
        let keys = self.key_set().await?;
        let expect = Expectations::new(&self.settings.public_url, &self.settings.product);
        let verified = verify(token, &keys, &expect, now.as_unix_seconds());
        // A claim counts only where the signature and the issuer are ours; `Invalid` covers everything else.
        Ok(match verified.state {
            State::Invalid(_) => Verified { claims: None, ..verified },
            _ => verified,
        })
    }
}

/// The key set of stored public keys.
///
/// # Errors
/// [`Failure::Corrupt`] where one is no key.
pub fn key_set_of(stored: &[String]) -> Result<KeySet, Failure> {
    let jwk = |x: &String| serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
    let keys: Result<Vec<PublicKey>, _> = stored.iter().map(|x| PublicKey::from_jwk(&jwk(x))).collect();
    keys.and_then(KeySet::new).map_err(|_| Failure::Corrupt("a stored signing key is not a key".into()))
}
