//! What the fuzz targets share: a key that signs whatever the fuzzer makes up, so that it gets past the signature.

#![forbid(unsafe_code)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use counterfoil_license::{Expectations, KeySet, SigningKey};
use ed25519_dalek::Signer as _;

const SEED: [u8; 32] = [7; 32];

/// The keys that a product trusts.
pub fn keys() -> KeySet {
    KeySet::new([SigningKey::from_seed(&SEED).public()]).expect("one key is a set")
}

/// What the product expects.
pub fn expect() -> Expectations<'static> {
    Expectations::new("https://billing.example.com", "acme-editor")
}

/// A text of this type around any payload, with a good signature.
pub fn signed(typ: &str, payload: &[u8]) -> String {
    let key_id = SigningKey::from_seed(&SEED).key_id().to_owned();
    let header = format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{key_id}"}}"#);
    let mut text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = ed25519_dalek::SigningKey::from_bytes(&SEED).sign(text.as_bytes());
    text.push('.');
    text.push_str(&URL_SAFE_NO_PAD.encode(signature.to_bytes()));
    text
}
