//! Prints a key set and a license signed with a key made of a fixed seed, for trying foreign verifiers.
//!
//! `cargo run -p counterfoil-license --features sign --example issue_token -- ISSUER AUDIENCE ISSUED_AT_UNIX`
//! prints the key set on the first line and the token on the second. Anybody can make this key: it protects nothing.

use counterfoil_license::{Claims, KeySet, SigningKey};

const DAY: i64 = 24 * 60 * 60;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [issuer, audience, issued_at] = &arguments[..] else {
        return Err("usage: issue_token ISSUER AUDIENCE ISSUED_AT_UNIX".into());
    };
    let issued_at: i64 = issued_at.parse()?;
    let customer_id = "cust_0f1e2d3c4b5a69788796a5b4c3d2e1f0".to_owned();
    let key = SigningKey::from_seed(&[7; 32]);
    let token = key.sign(&Claims {
        iss: issuer.clone(),
        sub: customer_id.clone(),
        customer_id,
        aud: audience.clone(),
        iat: issued_at,
        nbf: issued_at - 60,
        exp: issued_at + 37 * DAY,
        jti: "lic_00112233445566778899aabbccddeeff".to_owned(),
        ver: 2,
        plan: "professional".to_owned(),
        status: "active".to_owned(),
        trial: false,
        features: vec!["export".to_owned(), "api".to_owned()],
        limits: [("seats".to_owned(), 5)].into(),
        paid_until: issued_at + 30 * DAY,
        grace_until: issued_at + 37 * DAY,
        refresh_after: issued_at + 23 * DAY,
        status_list: None,
    });
    println!("{}\n{token}", KeySet::new([key.public()])?.to_jwks());
    Ok(())
}
