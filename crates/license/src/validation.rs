//! The server's signed word on a license, for a product that asks online and does not trust the way to the server.

use serde::{Deserialize, Serialize};

use crate::encoding;
use crate::token::{self, Kind, Reason, TOKEN_BYTES_MAX};
use crate::verify::{Expectations, Trust};

pub(crate) const VALIDATION: Kind = Kind { typ: "license-validation+jwt", bytes_max: TOKEN_BYTES_MAX };

/// What `POST /api/licenses/validate` answered, signed by a key that signs licenses. Times are Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationAnswer {
    /// The server.
    pub iss: String,
    /// The product that is sold there.
    pub aud: String,
    /// When it was answered.
    pub iat: i64,
    /// From when on the answer counts no more.
    pub exp: i64,
    /// What the product sent along, so that no older answer can be played to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The license; missing where the token was none of the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_id: Option<String>,
    /// Whether the product may be used with it.
    pub valid: bool,
    /// Why, or why not.
    pub code: String,
    /// The moment that the answer is about.
    pub at: i64,
}

/// Why a signed answer counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidationAnswerError {
    /// No trusted key has signed it as an answer.
    #[error("this is not an answer of a trusted key: {0}")]
    NotSigned(Reason),
    /// Signed, yet incomplete.
    #[error("the answer is incomplete")]
    Malformed,
    /// Of another server, or about another product.
    #[error("the answer is of another server, or about another product")]
    NotForUs,
    /// The nonce is another one: the answer was given to another question.
    #[error("the answer was given to another question")]
    WrongNonce,
    /// Too old, or from a clock that is ahead by more than it may live.
    #[error("the answer is too old")]
    Expired,
}

impl ValidationAnswer {
    /// Reads an answer and proves that a trusted key gave it to this question just now.
    ///
    /// # Errors
    /// When it counts for nothing, and why.
    pub fn open<'a>(
        text: &str,
        trust: impl Into<Trust<'a>>,
        expect: &Expectations<'_>,
        nonce: &str,
        now_unix: i64,
    ) -> Result<Self, ValidationAnswerError> {
        let trust = trust.into();
        let (payload, key) =
            token::open(text, &VALIDATION, |key_id| trust.find(key_id)).map_err(ValidationAnswerError::NotSigned)?;
        encoding::object_members(&payload).ok_or(ValidationAnswerError::Malformed)?;
        let answer: Self = serde_json::from_slice(&payload).map_err(|_| ValidationAnswerError::Malformed)?;
        trust.check(key, answer.iat).map_err(ValidationAnswerError::NotSigned)?;
        if answer.iss != expect.issuer || answer.aud != expect.audience {
            return Err(ValidationAnswerError::NotForUs);
        }
        if answer.nonce.as_deref() != Some(nonce) {
            return Err(ValidationAnswerError::WrongNonce);
        }
        let life = answer.exp.saturating_sub(answer.iat);
        if now_unix >= answer.exp || answer.iat.saturating_sub(now_unix) > life {
            return Err(ValidationAnswerError::Expired);
        }
        Ok(answer)
    }
}

#[cfg(all(test, feature = "sign"))]
mod tests {
    use super::*;
    use crate::{KeySet, SigningKey};

    fn answer() -> ValidationAnswer {
        ValidationAnswer {
            iss: "i".into(),
            aud: "a".into(),
            iat: 1_000,
            exp: 1_300,
            nonce: Some("n".into()),
            license_id: None,
            valid: true,
            code: "valid".into(),
            at: 1_000,
        }
    }

    fn open(text: &str, audience: &str, nonce: &str, now: i64) -> Result<ValidationAnswer, ValidationAnswerError> {
        let keys = KeySet::new([SigningKey::from_seed(&[7; 32]).public()]).expect("one key is a set");
        ValidationAnswer::open(text, &keys, &Expectations::new("i", audience), nonce, now)
    }

    #[test]
    fn an_answer_counts_for_the_question_it_was_given_to_and_for_its_time() {
        use ValidationAnswerError::*;
        let key = SigningKey::from_seed(&[7; 32]);
        let text = key.sign_validation(&answer());
        assert_eq!(open(&text, "a", "n", 1_000), Ok(answer()));
        assert_eq!(open(&text, "a", "n", 1_299), Ok(answer()));
        assert_eq!(open(&text, "a", "n", 1_300), Err(Expired));
        assert_eq!(open(&text, "a", "n", 700), Ok(answer()), "a clock that is a little behind");
        assert_eq!(open(&text, "a", "n", 699), Err(Expired));
        assert_eq!(open(&text, "a", "m", 1_000), Err(WrongNonce));
        assert_eq!(open(&text, "b", "n", 1_000), Err(NotForUs));
        let without = key.sign_validation(&ValidationAnswer { nonce: None, ..answer() });
        assert_eq!(open(&without, "a", "", 1_000), Err(WrongNonce));
        let strange = SigningKey::from_seed(&[8; 32]).sign_validation(&answer());
        assert_eq!(open(&strange, "a", "n", 1_000), Err(NotSigned(Reason::UnknownKey)));
        let list = crate::StatusList {
            uri: "u".into(),
            issued_at: 1_000,
            expires_at: 1_300,
            ttl_seconds: None,
            entries: crate::StatusEntries::new(4),
        };
        assert_eq!(open(&key.sign_status_list(&list), "a", "n", 1_000), Err(NotSigned(Reason::WrongType)));
    }
}
