//! An honest license to start from, and a forger who can sign any header over any payload.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use counterfoil_license::{Claims, Expectations, KeySet, Reason, SigningKey, State, Verified, verify};
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use ed25519_dalek::Signer as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

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
        status_list: None,
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

pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let pad = |byte: u8| (0..64).map(|index| key.get(index).unwrap_or(&0) ^ byte).collect::<Vec<u8>>();
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

/// The signature of the token with the order of the group added to S: the equation holds, the form is wrong.
pub fn forged_with_s_plus_order(token: &str) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut signature = decode(token.rsplit_once('.').unwrap().1);
    let mut carry = 0_u16;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0, "S plus the order still fits");
    signature
}

/// A signature whose R is the neutral point: with S = k·secret the equation holds, and only the strict rule refuses it.
pub fn forged_with_small_r(message: &str) -> Vec<u8> {
    let secret = Scalar::from_bytes_mod_order(clamp_integer(Sha512::digest(SEED)[..32].try_into().unwrap()));
    let public = (ED25519_BASEPOINT_POINT * secret).compress();
    assert_eq!(encode(public.as_bytes()), key().public().to_jwk()["x"], "the forger holds the secret");
    let neutral = EdwardsPoint::default().compress();
    let digest =
        Sha512::new().chain_update(neutral.as_bytes()).chain_update(public.as_bytes()).chain_update(message).finalize();
    let k = Scalar::from_bytes_mod_order_wide(digest.as_slice().try_into().unwrap());
    let s = k * secret;
    assert_eq!(ED25519_BASEPOINT_POINT * s, public.decompress().unwrap() * k, "the equation holds");
    [*neutral.as_bytes(), s.to_bytes()].concat()
}
