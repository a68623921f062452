//! What a licence is worth, with what the server knows beyond the token: an answer with a stable code, never an error.

use counterfoil_core::entitlement::Ended;
use counterfoil_core::listing::Listed;
use counterfoil_core::{CustomerId, LicenseId, Timestamp};
use counterfoil_license::{Claims, State, ValidationAnswer, Verified};

use super::{App, Error};
use crate::db::Tx;
use crate::store;
use crate::store::presented::Presented;

/// For how long a signed answer counts.
const ANSWER_SECONDS: i64 = 300;

/// The licence of an account that was deleted.
pub(super) const DELETED: &str = "customer_deleted";

/// The question.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The signed licence.
    pub token: String,
    /// The product that asks; without it the one that is sold here.
    pub product: Option<String>,
    /// What the product is about to unlock.
    pub features: Vec<String>,
    /// The moment to answer for; now without it.
    pub at: Option<Timestamp>,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Validation {
    /// Whether the product may be used with this token.
    pub valid: bool,
    /// The stable code: why, or why not.
    pub code: &'static str,
    /// The moment that the answer is about.
    pub at: Timestamp,
    /// What the token says; only where it is a licence that was issued here.
    pub claims: Option<Claims>,
    /// Whether a newer version exists.
    pub superseded: bool,
    /// What was asked for and is not in the licence.
    pub missing_features: Vec<String>,
}

impl App {
    /// What this token is worth, with what the server knows beyond the token itself: what was paid and given back, and what an
    /// operator decided. For another moment than now, what is known now is judged by the clock of that moment.
    ///
    /// # Errors
    /// [`counterfoil_core::Refusal::TooManyRequests`]; failures of the database. A bad token is an answer.
    pub async fn validate_license(&self, question: &Question) -> Result<Validation, Error> {
        let now = self.now();
        let at = question.at.unwrap_or(now);
        let verified = self.own_claims(&question.token, at).await?;
        let Some((customer_id, license_id)) = named(&verified) else {
            return Ok(judge_unknown(question, &verified, at));
        };
        let known = store::presented::look_up(&self.db, &customer_id, &license_id).await?;
        self.judge_known(question, &verified, (&customer_id, &license_id), known.as_ref(), at)
    }

    /// The same in the caller's transaction, for a token whose signature was looked at.
    pub(super) async fn validate_verified(
        &self,
        tx: &mut Tx,
        question: &Question,
        verified: &Verified,
        at: Timestamp,
    ) -> Result<Validation, Error> {
        let Some((customer_id, license_id)) = named(verified) else {
            return Ok(judge_unknown(question, verified, at));
        };
        let known = store::presented::find(tx, &customer_id, &license_id).await?;
        self.judge_known(question, verified, (&customer_id, &license_id), known.as_ref(), at)
    }

    /// The same answer, signed: for a product that does not trust the way to the server.
    ///
    /// # Errors
    /// Failures of the database; [`super::Failure::SigningKey`].
    pub async fn sign_validation(&self, answer: &Validation, nonce: Option<String>) -> Result<String, Error> {
        let mut tx = self.db.begin_read().await?;
        let signer = self.signer(&mut tx).await?;
        tx.rollback().await?;
        let issued_at = self.now().as_unix_seconds();
        let license_id = answer.claims.as_ref().map(|claims| claims.jti.clone());
        Ok(signer.sign_validation(&ValidationAnswer {
            iss: self.settings.public_url.clone(),
            aud: self.settings.product.clone(),
            iat: issued_at,
            exp: issued_at + ANSWER_SECONDS,
            nonce,
            license_id,
            valid: answer.valid,
            code: answer.code.to_owned(),
            at: answer.at.as_unix_seconds(),
        }))
    }

    fn judge_known(
        &self,
        question: &Question,
        verified: &Verified,
        (customer_id, license_id): (&CustomerId, &LicenseId),
        known: Option<&Presented>,
        at: Timestamp,
    ) -> Result<Validation, Error> {
        let unknown = || judge_unknown(question, verified, at);
        let Some(known) = known else { return Ok(unknown()) };
        let Some(shown) = known.shown else { return Ok(unknown()) };
        if known.is_deleted {
            return Ok(judge(question, verified, Some(DELETED), true, at));
        }
        let Some(newest) = &known.newest else { return Ok(unknown()) };
        let against = match self.right_of_presented(customer_id, known, at)? {
            Err(ended) => Some(ended.word()),
            Ok(_) if shown.revoked_at.is_some() => Some(Ended::Revoked.word()),
            // Its time was given back, or exchanged for something else; what the customer has now is in a newer one.
            Ok(_) if shown.listed == Some(Listed::Invalid) => Some("withdrawn"),
            Ok(_) => None,
        };
        Ok(judge(question, verified, against, newest.license_id == *license_id, at))
    }
}

/// Whom and which version a token names whose signature is ours.
fn named(verified: &Verified) -> Option<(CustomerId, LicenseId)> {
    let claims = verified.claims.as_ref()?;
    Some((claims.customer_id.parse().ok()?, claims.jti.parse().ok()?))
}

/// The answer about what is no licence of ours, or one that was never issued whatever its signature says.
fn judge_unknown(question: &Question, verified: &Verified, at: Timestamp) -> Validation {
    let code = if verified.claims.is_some() { "unknown_license" } else { verified.state.code() };
    Validation { valid: false, code, at, claims: None, superseded: false, missing_features: question.features.clone() }
}

/// One code of all that is true: what ends a licence for good outranks the clock, and the clock what a product wishes.
fn judge(
    question: &Question,
    verified: &Verified,
    against: Option<&'static str>,
    is_newest: bool,
    at: Timestamp,
) -> Validation {
    let claims = verified.claims.as_ref();
    let has = |feature: &String| claims.is_some_and(|claims| claims.features.contains(feature));
    let missing: Vec<String> = question.features.iter().filter(|feature| !has(feature)).cloned().collect();
    let is_other_product =
        question.product.as_ref().is_some_and(|product| claims.is_some_and(|claims| claims.aud != *product));
    // These say more than that it has expired as well.
    let for_good = [Ended::Revoked.word(), DELETED];
    let (valid, code) = match (verified.entitled(), against) {
        _ if is_other_product => (false, "wrong_product"),
        (_, Some(against)) if for_good.contains(&against) || verified.entitled() => (false, against),
        (false, _) => (false, verified.state.code()),
        (true, _) if !missing.is_empty() => (false, "feature_missing"),
        (true, _) if !is_newest => (true, State::Superseded.code()),
        (true, _) => (true, verified.state.code()),
    };
    Validation { valid, code, at, claims: verified.claims.clone(), superseded: !is_newest, missing_features: missing }
}
