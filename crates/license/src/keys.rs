//! Public keys and sets of them, in the JSON form that the server publishes (RFC 7517, RFC 8037).
//!
//! A key's id is its RFC 7638 thumbprint, so an id can never come to mean another key.

use std::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::encoding::{self, from_base64url, to_base64url};

/// The most keys in a set. Rotating monthly, with yearly licenses, needs about a dozen.
pub const KEYS_MAX: usize = 32;

/// The longest key set text that is read.
pub const JWKS_BYTES_MAX: usize = 64 * 1024;

/// Why a key or key set cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// Longer than [`JWKS_BYTES_MAX`].
    #[error("the key set is longer than {JWKS_BYTES_MAX} bytes")]
    TooLarge,
    /// Not JSON of the form `{"keys": […]}`.
    #[error("this is not a JSON Web Key Set")]
    Malformed,
    /// No key in it can verify licenses.
    #[error("the key set has no Ed25519 key")]
    Empty,
    /// More than [`KEYS_MAX`].
    #[error("the key set has more than {KEYS_MAX} keys")]
    TooManyKeys,
    /// Not an Ed25519 signing key (`kty` `OKP`, `crv` `Ed25519`).
    #[error("the key is not an Ed25519 signature key")]
    UnsupportedKey,
    /// `x` is not 32 bytes of base64url that encode a usable point.
    #[error("the key's x is not a valid Ed25519 public key")]
    InvalidKey,
    /// `kid` is not the key's thumbprint.
    #[error("the key's kid is not its RFC 7638 thumbprint")]
    KeyIdMismatch,
    /// The private part (`d`) is there. It must not reach a product: whoever has it can issue licenses.
    #[error("the key set contains a private key; publish only the public part, and replace this key")]
    PrivateKey,
}

/// A key that verifies licenses.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    key_id: String,
}

impl PublicKey {
    /// Keys of small order verify anything, and a point with two encodings would have two ids; both are refused.
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeySetError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeySetError::InvalidKey)?;
        if key.is_weak() || key.to_edwards().compress().as_bytes() != bytes {
            return Err(KeySetError::InvalidKey);
        }
        Ok(Self::new(key))
    }

    pub(crate) fn new(key: VerifyingKey) -> Self {
        let x = to_base64url(key.as_bytes());
        // RFC 7638: the required members in alphabetical order, without white space.
        let digest = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
        Self { key, key_id: to_base64url(digest.as_slice()) }
    }

    /// The key's RFC 7638 thumbprint: the `kid` of the licenses it verifies.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// The key as a JSON Web Key.
    pub fn to_jwk(&self) -> Value {
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": to_base64url(self.key.as_bytes()),
            "kid": self.key_id,
            "alg": "EdDSA",
            "use": "sig",
        })
    }

    /// Reads a JSON Web Key.
    ///
    /// # Errors
    /// When it is not an Ed25519 signature key, is broken, or contains its private part.
    pub fn from_jwk(jwk: &Value) -> Result<Self, KeySetError> {
        let member = |name: &str| jwk.get(name).and_then(Value::as_str);
        let absent_or = |name: &str, wanted: &str| jwk.get(name).is_none_or(|value| value == wanted);
        if member("kty") != Some("OKP")
            || member("crv") != Some("Ed25519")
            || !(absent_or("alg", "EdDSA") || absent_or("alg", "Ed25519"))
            || !absent_or("use", "sig")
        {
            return Err(KeySetError::UnsupportedKey);
        }
        if jwk.get("d").is_some() {
            return Err(KeySetError::PrivateKey);
        }
        let x = member("x").and_then(from_base64url).ok_or(KeySetError::InvalidKey)?;
        let key = Self::from_bytes(&x.try_into().map_err(|_| KeySetError::InvalidKey)?)?;
        if jwk.get("kid").is_some_and(|kid| kid != key.key_id()) {
            return Err(KeySetError::KeyIdMismatch);
        }
        Ok(key)
    }

    /// Strict verification: besides the equation, `S` must be canonical and neither `R` nor the key of small order, so
    /// that nobody can make a second signature, or one that fits several messages.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("PublicKey").field(&self.key_id).finish()
    }
}

/// The keys that a product trusts: at least one, at most [`KEYS_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<PublicKey>,
}

impl KeySet {
    /// A set of these keys; one given twice counts once.
    ///
    /// # Errors
    /// When there is none, or too many.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Result<Self, KeySetError> {
        let mut distinct: Vec<PublicKey> = Vec::new();
        for key in keys {
            if distinct.contains(&key) {
                continue;
            }
            if distinct.len() == KEYS_MAX {
                return Err(KeySetError::TooManyKeys);
            }
            distinct.push(key);
        }
        if distinct.is_empty() { Err(KeySetError::Empty) } else { Ok(Self { keys: distinct }) }
    }

    /// Reads a JSON Web Key Set, such as the server's `/.well-known/jwks.json`.
    ///
    /// Keys of other kinds are passed over, as RFC 7517 wants it; a broken or private Ed25519 key is an error, because
    /// whoever embeds it should learn so at once.
    ///
    /// # Errors
    /// When it is no key set, is too large, or has no key that can verify licenses.
    pub fn from_jwks(jwks: &str) -> Result<Self, KeySetError> {
        if jwks.len() > JWKS_BYTES_MAX {
            return Err(KeySetError::TooLarge);
        }
        encoding::object_members(jwks.as_bytes()).ok_or(KeySetError::Malformed)?;
        let set: Value = serde_json::from_str(jwks).map_err(|_| KeySetError::Malformed)?;
        let entries = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::Malformed)?;
        let mut keys = Vec::new();
        for entry in entries {
            match PublicKey::from_jwk(entry) {
                Ok(key) => keys.push(key),
                Err(KeySetError::UnsupportedKey) => {}
                Err(error) => return Err(error),
            }
        }
        Self::new(keys)
    }

    /// The set as a JSON Web Key Set, ready to be published.
    pub fn to_jwks(&self) -> Value {
        json!({ "keys": self.keys.iter().map(PublicKey::to_jwk).collect::<Vec<_>>() })
    }

    /// The keys, in the order given.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// The key with this id.
    pub fn find(&self, key_id: &str) -> Option<&PublicKey> {
        self.keys.iter().find(|key| key.key_id() == key_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A.2.
    const RFC_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn jwk(x: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": x})
    }

    fn key(seed: u8) -> PublicKey {
        PublicKey::new(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key())
    }

    #[test]
    fn the_key_id_is_the_thumbprint_of_rfc_8037() {
        let key = PublicKey::from_jwk(&jwk(RFC_X)).unwrap();
        assert_eq!(key.key_id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn the_signature_of_rfc_8037_verifies() {
        let key = PublicKey::from_jwk(&jwk(RFC_X)).unwrap();
        let signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let signature = from_base64url(signature).unwrap();
        assert!(key.verifies(signed, &signature));
        assert!(!key.verifies(&signed[1..], &signature));
        assert!(!key.verifies(signed, &signature[1..]));
        assert!(!key.verifies(signed, &[]));
    }

    #[test]
    fn a_key_survives_its_jwk() {
        let jwk = key(1).to_jwk();
        assert_eq!(PublicKey::from_jwk(&jwk), Ok(key(1)));
        assert_eq!((&jwk["kid"], &jwk["alg"], &jwk["use"]), (&json!(key(1).key_id()), &json!("EdDSA"), &json!("sig")));
    }

    #[test]
    fn a_key_that_is_not_ours_to_use_is_refused() {
        let with = |name: &str, value: Value| {
            let mut jwk = jwk(RFC_X);
            jwk[name] = value;
            PublicKey::from_jwk(&jwk).err()
        };
        for (name, value) in [
            ("kty", json!("EC")),
            ("kty", Value::Null),
            ("crv", json!("X25519")),
            ("crv", json!("Ed448")),
            ("alg", json!("HS256")),
            ("alg", json!(["EdDSA"])),
            ("use", json!("enc")),
        ] {
            assert_eq!(with(name, value.clone()), Some(KeySetError::UnsupportedKey), "{name} {value}");
        }
        assert_eq!(with("alg", json!("Ed25519")), None);
        assert_eq!(with("d", json!("AA")), Some(KeySetError::PrivateKey));
        assert_eq!(with("kid", json!("k1")), Some(KeySetError::KeyIdMismatch));
        assert_eq!(PublicKey::from_jwk(&json!([])).err(), Some(KeySetError::UnsupportedKey));
    }

    #[test]
    fn a_key_of_the_wrong_length_small_order_or_a_second_encoding_is_refused() {
        let mut order_one = [0; 32];
        order_one[0] = 1;
        let order_four = [0; 32];
        // y = p + 3, which means y = 3: a point of large order, encoded a second time.
        let mut second_encoding = [0xff; 32];
        second_encoding[0] = 0xf0;
        second_encoding[31] = 0x7f;
        let mut no_point = [0; 32];
        no_point[0] = 2;
        assert!(VerifyingKey::from_bytes(&second_encoding).is_ok_and(|key| !key.is_weak()));
        assert!(VerifyingKey::from_bytes(&no_point).is_err());
        for bytes in [&order_one[..], &order_four, &second_encoding, &no_point, &[9; 31], &[9; 33], &[]] {
            assert_eq!(
                PublicKey::from_jwk(&jwk(&to_base64url(bytes))).err(),
                Some(KeySetError::InvalidKey),
                "{bytes:?}"
            );
        }
        assert_eq!(PublicKey::from_jwk(&jwk(&format!("{RFC_X}="))).err(), Some(KeySetError::InvalidKey));
    }

    #[test]
    fn a_set_survives_its_jwks_and_passes_over_foreign_keys() {
        let set = KeySet::new([key(1), key(2), key(1)]).unwrap();
        assert_eq!(set.keys().len(), 2);
        let mut jwks = set.to_jwks();
        jwks["keys"].as_array_mut().unwrap().insert(0, json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}));
        assert_eq!(KeySet::from_jwks(&jwks.to_string()).as_ref(), Ok(&set));
        assert_eq!(set.find(key(2).key_id()), Some(&key(2)));
        assert_eq!(set.find(key(3).key_id()), None);
    }

    #[test]
    fn a_set_that_is_none_is_refused() {
        for text in ["", "{}", "[]", "{\"keys\":{}}", "{\"keys\":[],\"keys\":[]}"] {
            assert_eq!(KeySet::from_jwks(text).err(), Some(KeySetError::Malformed), "{text}");
        }
        assert_eq!(KeySet::from_jwks("{\"keys\":[]}").err(), Some(KeySetError::Empty));
        assert_eq!(KeySet::from_jwks("{\"keys\":[{\"kty\":\"RSA\"}]}").err(), Some(KeySetError::Empty));
        let broken = json!({"keys": [key(1).to_jwk(), jwk("AA")]}).to_string();
        assert_eq!(KeySet::from_jwks(&broken).err(), Some(KeySetError::InvalidKey));
    }

    #[test]
    fn the_limits_of_a_set_are_exact() {
        let keys = |count: usize| (0..count).map(|index| key(u8::try_from(index).unwrap()));
        let most = KeySet::new(keys(KEYS_MAX)).unwrap();
        assert_eq!(KeySet::new(keys(KEYS_MAX + 1)).err(), Some(KeySetError::TooManyKeys));
        let text = most.to_jwks().to_string();
        let padded = format!("{text}{}", " ".repeat(JWKS_BYTES_MAX - text.len()));
        assert_eq!(KeySet::from_jwks(&padded), Ok(most));
        assert_eq!(KeySet::from_jwks(&format!("{padded} ")).err(), Some(KeySetError::TooLarge));
    }
}
