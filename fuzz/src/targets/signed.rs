//! A key that signs whatever the fuzzer makes up, so that it gets past the signature of a licence, and a second HMAC for webhooks.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use counterfoil_license::{Expectations, KeySet, SigningKey};
use ring::signature::Ed25519KeyPair;
use sha2::{Digest as _, Sha256};

/// Another one than the conformance vectors are signed with: they are strangers here.
const SEED: [u8; 32] = [0xf7; 32];
const BLOCK_BYTES: usize = 64;

pub const ISSUER: &str = "https://billing.example.com";
pub const PRODUCT: &str = "acme-editor";

/// The keys that a product trusts.
pub fn keys() -> KeySet {
    KeySet::new([SigningKey::from_seed(&SEED).public()]).expect("one key is a set")
}

/// What the product expects.
pub fn expect() -> Expectations<'static> {
    Expectations::new(ISSUER, PRODUCT)
}

/// A text of this type around any payload, with a good signature.
pub fn signed(typ: &str, payload: &[u8]) -> String {
    let key_id = SigningKey::from_seed(&SEED).key_id().to_owned();
    let header = format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{key_id}"}}"#);
    let mut text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let key = Ed25519KeyPair::from_seed_unchecked(&SEED).expect("32 bytes are a key");
    let signature = key.sign(text.as_bytes());
    text.push('.');
    text.push_str(&URL_SAFE_NO_PAD.encode(signature.as_ref()));
    text
}

/// HMAC-SHA256 by the letter of RFC 2104, in lower-case hexadecimal digits. The key is shorter than a block.
pub fn hmac(key: &str, message: &[u8]) -> String {
    assert!(key.len() <= BLOCK_BYTES, "our secrets are short");
    let mut block = [0; BLOCK_BYTES];
    block[..key.len()].copy_from_slice(key.as_bytes());
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    let outer = Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}
