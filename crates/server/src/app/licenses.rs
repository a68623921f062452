//! Licences: answering about versions that exist.

use std::sync::{Arc, Mutex, PoisonError};

use counterfoil_core::entitlement::{Ended, Grant, Hold, right};
use counterfoil_core::probe;
use counterfoil_core::{CustomerId, LicenseId, PlanCode, Refusal, Subscription, Timestamp};
use counterfoil_license::{Expectations, KeySet, PublicKey, Reason, State, Verified, Verifier, inspect};

use super::customers::no_subscription;
use super::limits::TOKENS_OF_NOBODY;
use super::settings::EmailVerification;
use super::{App, Error, Failure};
use crate::db::Tx;
use crate::store;
use crate::store::licenses::License;
use crate::store::presented::Presented;

/// Versions in one answer of the history.
pub const HISTORY_MAX: i64 = 100;

impl App {
    /// The customer's right at this moment, under what stands over the subscription. Whoever issues a licence asks here, so
    /// this is where one is withheld.
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
        let hold = hold_over(tx, customer_id, self.settings.email_verification).await?;
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
    /// [`Refusal::LicenseRevoked`], [`Refusal::EmailNotVerified`], [`Refusal::NoLicense`], or failures.
    pub async fn current_license(&self, customer_id: &CustomerId) -> Result<License, Error> {
        let account = self.account(customer_id).await?;
        account.license.ok_or_else(|| no_license(account.right.err()).into())
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

    /// The keys that sign, will sign or signed here, except of those that somebody else has.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn key_set(&self) -> Result<Arc<KeySet>, Error> {
        Ok(self.read_keys.of(store::signing_keys::look_up(&self.db).await?)?)
    }

    /// The newest licence of the customer to whom this one was issued. Any version ever issued will do, an expired one too, but
    /// not a revoked one: whoever has that gets nothing more for it. Nothing is written.
    ///
    /// # Errors
    /// [`Refusal::LicenseInvalid`] for a token that is not ours, [`Refusal::LicenseKeyCompromised`], [`Refusal::CustomerDeleted`],
    /// [`Refusal::LicenseRevoked`], [`Refusal::NoLicense`] where nothing is entitled any more, [`Refusal::TooManyRequests`].
    pub async fn refresh_license(&self, token: &str) -> Result<License, Error> {
        let now = self.now();
        let verified = self.own_claims(token, now).await?;
        if verified.state == State::Invalid(Reason::KeyCompromised) {
            return Err(Refusal::LicenseKeyCompromised.into());
        }
        let claims = verified.claims.ok_or(Refusal::LicenseInvalid)?;
        let customer_id: CustomerId = claims.customer_id.parse().map_err(|_| Refusal::LicenseInvalid)?;
        let license_id: LicenseId = claims.jti.parse().map_err(|_| Refusal::LicenseInvalid)?;
        let known = store::presented::look_up(&self.db, &customer_id, &license_id).await?;
        let known = known.ok_or(Refusal::LicenseInvalid)?;
        if known.is_deleted {
            return Err(Refusal::CustomerDeleted.into());
        }
        let shown = known.shown.ok_or(Refusal::LicenseInvalid)?;
        let right = self.right_of_presented(&customer_id, &known, now)?;
        let newest = known.newest.ok_or(Refusal::NoLicense)?;
        match right {
            _ if shown.revoked_at.is_some() => Err(Refusal::LicenseRevoked.into()),
            Err(ended) => Err(no_license(Some(ended)).into()),
            Ok(_) => Ok(newest),
        }
    }

    /// The right of a customer whose licence is shown. Whoever has one is held to no address any more: see [`hold_over`].
    pub(super) fn right_of_presented(
        &self,
        customer_id: &CustomerId,
        known: &Presented,
        now: Timestamp,
    ) -> Result<Result<Grant, Ended>, Failure> {
        let subscription = known.subscription.as_ref().ok_or_else(|| no_subscription(customer_id))?;
        let hold = if known.is_held { Hold::Revoked } else { Hold::Free };
        Ok(right(subscription, hold, &self.catalog, now))
    }

    /// What the token says at this moment, where it was signed here and with a key that is trusted. The clock is ours, so nothing
    /// is found out about it from the token.
    ///
    /// Who shows licences too often has to wait: each customer for itself, and whoever shows what is none together. What none of
    /// the keys that were read last has signed is counted before anything is read for it.
    ///
    /// # Errors
    /// [`Refusal::TooManyRequests`]; failures of the database.
    pub(super) async fn own_claims(&self, token: &str, at: Timestamp) -> Result<Verified, Error> {
        let now = self.now();
        let known = self.read_keys.last().map(|keys| (self.verify(&keys, token, at), keys));
        let is_counted = known.as_ref().is_some_and(|(verified, _)| verified.claims.is_none());
        if is_counted {
            self.limits.take("", TOKENS_OF_NOBODY, now)?;
        }
        let keys = self.key_set().await?;
        let verified = match known {
            Some((verified, last)) if Arc::ptr_eq(&last, &keys) => verified,
            _ => self.verify(&keys, token, at),
        };
        match &verified.claims {
            Some(claims) => self.limit_license_of(&claims.customer_id, now).await?,
            None if is_counted => {}
            None => self.limits.take("", TOKENS_OF_NOBODY, now)?,
        }
        match verified.state {
            State::Invalid(Reason::UnknownKey) if self.is_signed_by_compromised(token).await? => {
                Ok(Verified { state: State::Invalid(Reason::KeyCompromised), claims: None })
            }
            State::Invalid(_) => {
                probe!("F85");
                Ok(verified)
            }
            _ => Ok(verified),
        }
    }

    /// A claim counts only where the signature and the issuer are ours; `Invalid` covers everything else.
    fn verify(&self, keys: &KeySet, token: &str, at: Timestamp) -> Verified {
        let expect = Expectations::new(&self.settings.public_url, &self.settings.product);
        let verified = Verifier::new(keys, expect).clock_skew(i64::MAX).verify(token, at.as_unix_seconds());
        let claims = verified.claims.filter(|_| !matches!(verified.state, State::Invalid(_)));
        Verified { claims, ..verified }
    }

    /// Whether the token names a key that somebody else has. Nothing else that it says is believed.
    async fn is_signed_by_compromised(&self, token: &str) -> Result<bool, Error> {
        let Ok((header, _claims)) = inspect(token) else { return Ok(false) };
        let Some(key_id) = header["kid"].as_str().filter(|text| is_key_id(text)) else { return Ok(false) };
        let mut tx = self.db.begin_read().await?;
        let key = store::signing_keys::find(&mut tx, key_id).await?;
        tx.rollback().await?;
        Ok(key.is_some_and(|key| !key.state.is_trusted()))
    }
}

/// Whether a key of ours may be called so: a SHA-256 in base64url.
fn is_key_id(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// What stands over the customer's subscription.
///
/// # Errors
/// Failures of the database.
pub async fn hold_over(
    tx: &mut Tx,
    customer_id: &CustomerId,
    verification: EmailVerification,
) -> Result<Hold, Failure> {
    if store::holds::find(tx, customer_id).await?.is_some() {
        return Ok(Hold::Revoked);
    }
    // Whoever has a licence keeps it, also where verification is asked for only since.
    let is_withheld = match verification {
        EmailVerification::Off => false,
        EmailVerification::Required => store::customers::is_unverified_without_license(tx, customer_id).await?,
    };
    Ok(if is_withheld { Hold::Unverified } else { Hold::Free })
}

/// Why there is no licence to give.
#[must_use]
pub const fn no_license(ended: Option<Ended>) -> Refusal {
    match ended {
        Some(Ended::Revoked) => Refusal::LicenseRevoked,
        Some(Ended::EmailNotVerified) => Refusal::EmailNotVerified,
        Some(
            Ended::TrialOver
            | Ended::NotPaid
            | Ended::Canceled
            | Ended::Paused
            | Ended::Refunded
            | Ended::DisputeLost
            | Ended::Disputed
            | Ended::PlanGone,
        )
        | None => Refusal::NoLicense,
    }
}

/// The key set that was read last. Which keys there are is asked each time; only what they are is not worked out again.
#[derive(Debug, Default)]
pub struct ReadKeys(Mutex<Option<(Vec<String>, Arc<KeySet>)>>);

impl ReadKeys {
    fn last(&self) -> Option<Arc<KeySet>> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|(_, keys)| Arc::clone(keys))
    }

    fn of(&self, stored: Vec<String>) -> Result<Arc<KeySet>, Failure> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, keys)) = last.as_ref().filter(|(of, _)| *of == stored) {
            return Ok(Arc::clone(keys));
        }
        let keys = Arc::new(key_set_of(&stored)?);
        *last = Some((stored, Arc::clone(&keys)));
        Ok(keys)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_called_by_a_digest() {
        assert!(is_key_id("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k") && is_key_id(&"-".repeat(43)));
        let long = "A".repeat(42);
        for text in ["", "a", &long, &format!("{long}AA"), &format!("{long}\0"), &format!("{long}+")] {
            assert!(!is_key_id(text), "{text:?}");
        }
    }
}
