//! Tokens that we hand out and keep only as hashes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::entropy::Entropy;

/// A new bearer token: the prefix, and 256 random bits.
#[must_use]
pub fn new_token(prefix: &str, entropy: &Entropy) -> String {
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(entropy.bytes::<32>()))
}

/// What is stored of a token. Its 256 random bits need no slow hash.
#[must_use]
pub fn hash_token(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// The ledger's key for a person: without the ledger's own key nobody can test addresses against it.
#[must_use]
pub fn person_hash(ledger_key: &[u8], person_key: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(ledger_key).expect("HMAC takes a key of any length");
    mac.update(person_key.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}
