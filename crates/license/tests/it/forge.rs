//! An honest license to start from, and a forger who can sign any header over any payload.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use counterfoil_license::{Claims, Expectations, KeySet, Reason, SigningKey, State, Verified, verify};
use ed25519_dalek::Signer as _;
use serde_json::{Value, json};

pub const ISSUER: &str = "https://billing.example.com";
pub const PRODUCT: &str = "acme-editor";
pub const DAY: i64 = 24 * 60 * 60;
/// When the honest license was issued.
pub const ISSUED: i64 = 1_800_000_000;

const SEED: [u8; 32] = [7; 32];

pub fn key() -> SigningKey {
    SigningKey::from_seed(&SEED)
}

pub fn keys() -> KeySet {
    KeySet::new([SigningKey::from_seed(&[1; 32]).public(), key().public()]).unwrap()
}

/// A monthly license: refresh after 23 days, paid for 30, grace of 7.
pub fn claims() -> Claims {
    Claims {
        iss: ISSUER.to_owned(),
        sub: "cust_0f1e2d3c4b5a69788796a5b4c3d2e1f0".to_owned(),
        customer_id: "cust_0f1e2d3c4b5a69788796a5b4c3d2e1f0".to_owned(),
        aud: PRODUCT.to_owned(),
        iat: ISSUED,
        nbf: ISSUED - 60,
        exp: ISSUED + 37 * DAY,
        jti: "lic_00112233445566778899aabbccddeeff".to_owned(),
        ver: 2,
        plan: "professional".to_owned(),
        status: "active".to_owned(),
        trial: false,
        features: vec!["export".to_owned(), "api".to_owned()],
        limits: [("seats".to_owned(), 5)].into(),
        paid_until: ISSUED + 30 * DAY,
        grace_until: ISSUED + 37 * DAY,
        refresh_after: ISSUED + 23 * DAY,
    }
}

pub fn header() -> Value {
    json!({"alg": "EdDSA", "typ": "license+jwt", "kid": key().key_id()})
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// Signs with the honest key what the honest code would never sign.
pub fn forge(header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", encode(header), encode(payload));
    let signature = ed25519_dalek::SigningKey::from_bytes(&SEED).sign(signed.as_bytes());
    format!("{signed}.{}", encode(signature.to_bytes()))
}

pub fn forge_header(header: &Value) -> String {
    forge(&header.to_string(), &serde_json::to_string(&claims()).unwrap())
}

pub fn forge_claims(change: impl FnOnce(&mut Value)) -> String {
    let mut payload = serde_json::to_value(claims()).unwrap();
    change(&mut payload);
    forge(&header().to_string(), &payload.to_string())
}

pub fn verify_at(token: &str, now_unix: i64) -> Verified {
    verify(token, &keys(), &Expectations::new(ISSUER, PRODUCT), now_unix)
}

/// The license is refused for this reason, and gives nothing away.
#[track_caller]
pub fn refused(token: &str, reason: Reason) -> Verified {
    let verified = verify_at(token, ISSUED);
    assert_eq!(verified.state, State::Invalid(reason), "{token}");
    assert!(!verified.entitled() && verified.features().is_empty() && verified.limit("seats").is_none());
    verified
}

/// As [`refused`], and not even the claims are shown: nobody we know has signed them.
#[track_caller]
pub fn refused_unread(token: &str, reason: Reason) {
    assert_eq!(refused(token, reason).claims, None);
}
