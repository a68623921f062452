//! Licences: what they say, who can verify them, and what they are worth.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use counterfoil::cli::service::{Roles, Service};
use counterfoil::db::Engine;
use counterfoil::keys;
use counterfoil_license::{Expectations, KeySet, SigningKey, State, verify};
use serde_json::{Value, json};

use crate::client::Http;
use crate::world::{Setup, World};

/// What stands in one part of a token.
fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

async fn published_keys(http: &Http) -> KeySet {
    KeySet::from_jwks(&http.get("/.well-known/jwks.json").await.body).expect("a key set")
}

async fn a_license_says_what_it_has_to_and_no_more(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let jwks = world.http.get("/.well-known/jwks.json").await;
    assert_eq!(jwks.header("cache-control"), "public, max-age=300");
    let key = jwks.accepted()["keys"][0].clone();
    let header = part(&ada.license, 0);
    assert_eq!(header, json!({ "alg": "EdDSA", "typ": "license+jwt", "kid": key["kid"] }));
    let names: BTreeSet<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(!names.contains("d"), "the private half stays here");
    let claims = part(&ada.license, 1);
    let names: Vec<&str> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = vec![
        "iss",
        "sub",
        "customer_id",
        "aud",
        "iat",
        "nbf",
        "exp",
        "jti",
        "ver",
        "plan",
        "status",
        "trial",
        "features",
        "limits",
        "paid_until",
        "grace_until",
        "refresh_after",
        "status_list",
    ];
    expected.sort_unstable();
    assert_eq!(names, expected, "no provider id, no address");
    assert_eq!(claims["iss"], world.config.public_url.as_str());
    assert_eq!(claims["limits"], json!({ "seats": 25, "projects": 100 }));
    let number = |name: &str| claims[name].as_i64().expect("a number");
    assert!(number("nbf") < number("iat") && number("iat") <= number("refresh_after"));
    assert!(number("refresh_after") <= number("iat") + 7 * 86_400 && number("paid_until") < number("exp"));
}

async fn the_published_keys_alone_verify_a_license(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let keys = published_keys(&world.http).await;
    let (issuer, product) = (world.config.public_url.as_str(), world.config.product.as_str());
    let now = world.app.now().as_unix_seconds();
    let judge = |token: &str, issuer: &str, product: &str, at: i64| {
        verify(token, &keys, &Expectations::new(issuer, product), at).state
    };
    assert_eq!(judge(&ada.license, issuer, product, now), State::Valid);
    assert_eq!(judge(&ada.license, issuer, product, now + 8 * 86_400), State::RefreshDue);
    assert_eq!(judge(&ada.license, issuer, product, now + 15 * 86_400), State::Expired);
    assert!(matches!(judge(&ada.license, "https://evil.example", product, now), State::Invalid(_)));
    assert!(matches!(judge(&ada.license, issuer, "another-product", now), State::Invalid(_)));
    let own_key = SigningKey::from_seed(&[9; 32]);
    let mut claims = verify(&ada.license, &keys, &Expectations::new(issuer, product), now).claims.unwrap();
    claims.plan = "enterprise".to_owned();
    let forged = own_key.sign(&claims);
    assert!(matches!(judge(&forged, issuer, product, now), State::Invalid(_)));
    assert_eq!(ada.validate(&forged).await["valid"], false);
    ada.refresh(&forged).await.refused(401, "license_invalid");
}

async fn a_license_signed_with_our_key_that_we_never_issued_is_worth_nothing_here(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let keys = published_keys(&world.http).await;
    let expect = Expectations::new(world.config.public_url.as_str(), &world.config.product);
    let mut claims = verify(&ada.license, &keys, &expect, world.app.now().as_unix_seconds()).claims.unwrap();
    claims.jti = format!("lic_{}", "ab".repeat(16));
    claims.plan = "enterprise".to_owned();
    let mut tx = world.app.db.begin_read().await.unwrap();
    let token = world.app.signer(&mut tx).await.unwrap().sign(&claims);
    tx.rollback().await.unwrap();
    let judged = ada.validate(&token).await;
    assert_eq!((&judged["valid"], &judged["code"]), (&json!(false), &json!("unknown_license")));
    ada.refresh(&token).await.refused(401, "license_invalid");
    let machine = json!({ "token": token, "fingerprint": "4f:1c:33" });
    for place in ["/api/licenses/activations", "/api/licenses/activations/release"] {
        world.http.post(place, &machine).await.refused(401, "license_invalid");
    }
}

async fn an_old_license_is_exchanged_for_the_newest_even_when_it_has_expired(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let trial = ada.license.clone();
    ada.subscribe(world, "professional").await;
    world.sandbox().advance(15 * 86_400).await;
    world.settled().await;
    assert_eq!(ada.validate(&trial).await["code"], "expired");
    // No session: the old licence is the credential.
    let answer = world.http.post("/api/licenses/refresh", &json!({ "token": trial })).await.accepted();
    assert_eq!((&answer["token"], &answer["version"]), (&json!(ada.license), &json!(2)));
}

async fn all_versions_are_listed_in_pages(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let page = ada.http.get("/api/licenses").await.accepted();
    let reasons: Vec<&Value> = page["licenses"].as_array().unwrap().iter().map(|each| &each["reason"]).collect();
    assert_eq!(reasons, ["subscribed", "trial_started"]);
    assert_eq!(page["has_more"], false);
    let older = ada.http.get("/api/licenses?before=2").await.accepted();
    assert_eq!((older["licenses"].as_array().unwrap().len(), &older["licenses"][0]["version"]), (1, &json!(1)));
    let none = ada.http.get("/api/licenses?before=1").await.accepted();
    assert_eq!((&none["licenses"], &none["has_more"]), (&json!([]), &json!(false)));
}

both_engines!(
    a_license_says_what_it_has_to_and_no_more,
    the_published_keys_alone_verify_a_license,
    a_license_signed_with_our_key_that_we_never_issued_is_worth_nothing_here,
    an_old_license_is_exchanged_for_the_newest_even_when_it_has_expired,
    all_versions_are_listed_in_pages,
);

/// The service is started again with another key: old licences verify, new ones too, and the key is nobody else's to read.
async fn a_new_key_signs_and_the_old_one_still_verifies(engine: Engine) {
    let Some(world) = World::start(engine, Setup::default()).await else { return };
    let mut ada = world.customer("ada@example.com").await;
    world.settled().await;
    let key_file = world.data_dir().join(keys::KEY_FILE);
    assert_eq!(std::fs::metadata(&key_file).unwrap().permissions().mode() & 0o777, 0o600);
    let mut remains = world.stop().await;
    let elsewhere = tempfile::tempdir().unwrap();
    keys::load_or_create(elsewhere.path(), [5; 32]).unwrap();
    let pem = std::fs::read_to_string(elsewhere.path().join(keys::KEY_FILE)).unwrap();
    remains.config.license_key = Some(pem.into());
    let service = Service::start(&remains.config, Roles::ALL, true).await.unwrap();
    let http = ada.http.clone();
    let published = published_keys(&http).await;
    assert_eq!(published.keys().len(), 2);
    assert_eq!(ada.validate(&ada.license).await["valid"], true, "signed with the first key");
    assert_eq!(ada.me().await.accepted()["customer"]["customer_id"], ada.customer_id, "the session outlives a restart");
    let old = part(&ada.license, 0)["kid"].clone();
    let mut bob = crate::actors::Visitor::new(&http, "bob@example.com", "canary bob 7Q");
    bob.sign_up().await.accepted();
    assert_ne!(part(&bob.license, 0)["kid"], old);
    assert_eq!(bob.validate(&bob.license).await["valid"], true);
    ada.log_in().await.accepted();
    assert!(service.stop().await);
}

#[tokio::test]
async fn a_new_key_signs_and_the_old_one_still_verifies_on_sqlite() {
    a_new_key_signs_and_the_old_one_still_verifies(Engine::Sqlite).await;
}

#[tokio::test]
async fn a_new_key_signs_and_the_old_one_still_verifies_on_postgres() {
    a_new_key_signs_and_the_old_one_still_verifies(Engine::Postgres).await;
}
