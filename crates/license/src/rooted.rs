//! The key set that an offline root key signs, so that keys can change without a new release of the product.
//!
//! A product pins one public key, the root's, and reads the keys that sign licenses from a text that the root has signed
//! (`typ: keyset+jwt`). The root never meets a server. The text carries a rising serial, so that an old one, in which a
//! stolen key is still good, cannot be brought back; and for each key its state and the time in which it signs.
//!
//! The type is one of its own because type is all that tells signed texts apart: no license and no status list can be
//! passed off as a key set, whoever signed it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::encoding::{self, from_base64url, to_base64url};
use crate::keys::{JWKS_BYTES_MAX, KEYS_MAX, KeySetError, PublicKey};
use crate::token::{self, Kind, Reason};

pub(crate) const KEY_SET: Kind = Kind { typ: "keyset+jwt", bytes_max: JWKS_BYTES_MAX };

const ROOT_PREFIX: &str = "cfroot1:";

/// Why a signed key set cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedKeySetError {
    /// The text is not one that the pinned root has signed.
    #[error("this is not a key set of the pinned root: {0}")]
    NotSigned(Reason),
    /// Signed, yet not a key set: a member is missing, of the wrong type, or says what this version does not know.
    #[error("the signed key set is incomplete, or has members that this version does not understand")]
    Malformed,
    /// A key in it cannot be used.
    #[error("the signed key set cannot be used: {0}")]
    Keys(KeySetError),
    /// Its serial is lower than one that was seen before.
    #[error("the signed key set is older than one that was seen before")]
    Rollback,
}

impl SignedKeySetError {
    /// A stable word for programs; it never changes once released.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotSigned(_) | Self::Malformed | Self::Keys(_) => "key_set_invalid",
            Self::Rollback => "key_set_rollback",
        }
    }
}

/// The text is no root key of the form `cfroot1:…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a root key; it begins with {ROOT_PREFIX} and goes on with 43 characters of base64url")]
#[non_exhaustive]
pub struct RootKeyError;

/// The public half of a root key: what a product pins. As text, `cfroot1:` and the key in base64url.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootPublicKey(pub(crate) PublicKey);

impl RootPublicKey {
    /// The key's RFC 7638 thumbprint: the `kid` of the key sets it signs.
    pub fn key_id(&self) -> &str {
        self.0.key_id()
    }
}

impl FromStr for RootPublicKey {
    type Err = RootKeyError;

    fn from_str(text: &str) -> Result<Self, RootKeyError> {
        let bytes = text.strip_prefix(ROOT_PREFIX).and_then(from_base64url).ok_or(RootKeyError)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| RootKeyError)?;
        PublicKey::from_bytes(&bytes).map(Self).map_err(|_| RootKeyError)
    }
}

impl fmt::Display for RootPublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{ROOT_PREFIX}{}", to_base64url(self.0.as_bytes()))
    }
}

/// What a key is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KeyState {
    /// It signs licenses, or will from its `nbf` on.
    Active,
    /// It signs no more. What it signed before its `exp` still verifies.
    Retired,
    /// Somebody else has it. Nothing that it signed verifies, whenever that was.
    Compromised,
}

/// A key of a signed key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// The key.
    pub key: PublicKey,
    /// What it is good for.
    pub state: KeyState,
    /// From when on it signs; nothing that says it was issued earlier verifies.
    pub not_before: Option<i64>,
    /// When it ceased to sign; a retired key has it always. Nothing that says it was issued then or later verifies.
    pub expires_at: Option<i64>,
}

impl ListedKey {
    /// A key that signs, from whenever and until further notice.
    pub fn active(key: PublicKey) -> Self {
        Self { key, state: KeyState::Active, not_before: None, expires_at: None }
    }

    /// Whether what says that it was issued then may have been signed by this key.
    pub(crate) fn may_have_signed_at(&self, issued_at: i64) -> Result<(), Reason> {
        if self.not_before.is_some_and(|not_before| issued_at < not_before) {
            return Err(Reason::KeyNotActive);
        }
        if self.expires_at.is_some_and(|expires_at| issued_at >= expires_at) {
            return Err(Reason::KeyRetired);
        }
        Ok(())
    }

    fn from_jwk(jwk: &Value) -> Result<Self, SignedKeySetError> {
        let key = PublicKey::from_jwk(jwk).map_err(SignedKeySetError::Keys)?;
        let Terms { state, nbf, exp } = Terms::deserialize(jwk).map_err(|_| SignedKeySetError::Malformed)?;
        if state == KeyState::Retired && exp.is_none() {
            return Err(SignedKeySetError::Malformed);
        }
        Ok(Self { key, state, not_before: nbf, expires_at: exp })
    }

    #[cfg(feature = "sign")]
    fn to_jwk(&self) -> Value {
        let mut jwk = self.key.to_jwk();
        let terms = Terms { state: self.state, nbf: self.not_before, exp: self.expires_at };
        let terms = serde_json::to_value(terms).expect("two numbers and a word are JSON");
        if let (Some(jwk), Value::Object(terms)) = (jwk.as_object_mut(), terms) {
            jwk.extend(terms);
        }
        jwk
    }
}

/// The members that a signed key set adds to a JSON Web Key.
#[derive(Serialize, Deserialize)]
struct Terms {
    state: KeyState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
}

/// The payload as it stands in the token.
#[derive(Serialize, Deserialize)]
struct Payload {
    iss: String,
    iat: i64,
    exp: i64,
    serial: u64,
    keys: Vec<Value>,
}

/// A key set that the pinned root has signed, or, with the feature `sign`, is about to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedKeySet {
    /// The server whose keys these are: the `iss` of its licenses.
    pub issuer: String,
    /// When it was signed.
    pub issued_at: i64,
    /// From when on it answers for nothing. Whoever keeps the root has to sign another one before.
    pub expires_at: i64,
    /// Rises with each set. Keep the highest one seen, and pass it to [`SignedKeySet::open`].
    pub serial: u64,
    /// At least one key, at most [`KEYS_MAX`], none twice.
    pub keys: Vec<ListedKey>,
}

impl SignedKeySet {
    /// Reads a key set and proves that the root has signed it. Whether it has expired, and whether it is the expected
    /// server's, is looked at when a license is verified.
    ///
    /// # Errors
    /// When the root has not signed it, when its serial is lower than `serial_seen`, or when a key in it is unusable. Keys of
    /// other kinds are passed over.
    pub fn open(text: &str, root: &RootPublicKey, serial_seen: Option<u64>) -> Result<Self, SignedKeySetError> {
        let find = |key_id: &str| Some(&root.0).filter(|key| key.key_id() == key_id);
        let (payload, _) = token::open(text, &KEY_SET, find).map_err(SignedKeySetError::NotSigned)?;
        encoding::object_members(&payload).ok_or(SignedKeySetError::Malformed)?;
        let payload: Payload = serde_json::from_slice(&payload).map_err(|_| SignedKeySetError::Malformed)?;
        if serial_seen.is_some_and(|seen| payload.serial < seen) {
            return Err(SignedKeySetError::Rollback);
        }
        let mut keys: Vec<ListedKey> = Vec::new();
        for jwk in &payload.keys {
            match ListedKey::from_jwk(jwk) {
                Ok(listed) if keys.iter().any(|other| other.key == listed.key) => {
                    return Err(SignedKeySetError::Malformed);
                }
                Ok(listed) => keys.push(listed),
                Err(SignedKeySetError::Keys(KeySetError::UnsupportedKey)) => {}
                Err(error) => return Err(error),
            }
        }
        match keys.len() {
            0 => Err(SignedKeySetError::Keys(KeySetError::Empty)),
            1..=KEYS_MAX => Ok(Self {
                issuer: payload.iss,
                issued_at: payload.iat,
                expires_at: payload.exp,
                serial: payload.serial,
                keys,
            }),
            _ => Err(SignedKeySetError::Keys(KeySetError::TooManyKeys)),
        }
    }

    /// The key with this id.
    pub fn find(&self, key_id: &str) -> Option<&ListedKey> {
        self.keys.iter().find(|listed| listed.key.key_id() == key_id)
    }

    #[cfg(feature = "sign")]
    pub(crate) fn to_payload(&self) -> Vec<u8> {
        let payload = Payload {
            iss: self.issuer.clone(),
            iat: self.issued_at,
            exp: self.expires_at,
            serial: self.serial,
            keys: self.keys.iter().map(ListedKey::to_jwk).collect(),
        };
        serde_json::to_vec(&payload).expect("a key set is plain JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> PublicKey {
        PublicKey::new(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key())
    }

    #[test]
    fn a_root_survives_its_text() {
        let root = RootPublicKey(key(1));
        let text = root.to_string();
        assert_eq!((text.len(), text.parse()), (51, Ok(root)));
        let low_order = format!("{ROOT_PREFIX}{}", to_base64url(&[0; 32]));
        for wrong in ["", "cfroot1:", &text[1..], &text[..50], &format!("{text}="), &text.to_uppercase(), &low_order] {
            assert_eq!(wrong.parse::<RootPublicKey>(), Err(RootKeyError), "{wrong}");
        }
    }

    #[test]
    #[cfg(feature = "sign")]
    fn a_listed_key_survives_its_jwk() {
        for state in [KeyState::Active, KeyState::Retired, KeyState::Compromised] {
            for (not_before, expires_at) in [(None, Some(9)), (Some(-1), Some(9))] {
                let listed = ListedKey { key: key(1), state, not_before, expires_at };
                assert_eq!(ListedKey::from_jwk(&listed.to_jwk()), Ok(listed));
            }
        }
        let mut jwk = ListedKey::active(key(1)).to_jwk();
        for (name, value) in [("state", "retired"), ("state", "pending"), ("nbf", "1")] {
            let mut wrong = jwk.clone();
            wrong[name] = value.into();
            assert_eq!(ListedKey::from_jwk(&wrong), Err(SignedKeySetError::Malformed), "{name} {value}");
        }
        _ = jwk.as_object_mut().unwrap().remove("state");
        assert_eq!(ListedKey::from_jwk(&jwk), Err(SignedKeySetError::Malformed));
    }

    #[test]
    fn a_time_belongs_to_what_begins_with_it() {
        let listed = ListedKey { not_before: Some(10), expires_at: Some(20), ..ListedKey::active(key(1)) };
        let answers = [9, 10, 19, 20].map(|at| listed.may_have_signed_at(at));
        assert_eq!(answers, [Err(Reason::KeyNotActive), Ok(()), Ok(()), Err(Reason::KeyRetired)]);
    }
}
