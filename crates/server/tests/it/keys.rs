//! Signing keys: rotated under load, given up, kept in files or in the database, and vouched for by a root.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use counterfoil::app::customers::SignUp;
use counterfoil::app::key_sets::to_be_signed;
use counterfoil::app::operators::By;
use counterfoil::app::revocation::Reissue;
use counterfoil::app::sessions::Arrival;
use counterfoil::app::signing_keys::{Rotated, Rotation};
use counterfoil::app::{App, Error, Failure};
use counterfoil::cli::service::{Roles, SandboxAccess, Service, assemble};
use counterfoil::config::Config;
use counterfoil::db::{Db, Engine};
use counterfoil::keys::KEY_FILE;
use counterfoil_core::signing_key::{KEYS_CACHED_SECONDS, PUBLISHED_SECONDS_MIN};
use counterfoil_core::{Refusal, Timestamp};
use counterfoil_license::{
    Claims, Expectations, KeySet, PublicKey, RootKey, RootPublicKey, SignedKeySet, SigningKey, Verifier, inspect,
    verify,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::Http;
use crate::world::{Setup, World, id_of};

const NOW: Rotation = Rotation { now: true, force: false };
const IN_TIME: Rotation = Rotation { now: false, force: false };

fn in_database() -> Setup {
    Setup::configured(&[
        ("COUNTERFOIL_LICENSE_KEY_STORE", "database"),
        ("COUNTERFOIL_KEY_ENCRYPTION_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    ])
}

fn by(reason: &str) -> By {
    By::command_line(reason).unwrap()
}

fn kid(token: &str) -> String {
    inspect(token).unwrap().0["kid"].as_str().unwrap().to_owned()
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::Refused(refusal) => refusal,
        Error::Failed(failure) => panic!("a failure: {failure}"),
    }
}

async fn jwks(http: &Http) -> KeySet {
    KeySet::from_jwks(&http.get("/.well-known/jwks.json").await.body).expect("a key set")
}

async fn active(app: &App) -> Result<Arc<SigningKey>, Error> {
    let mut tx = app.db.begin_read().await.unwrap();
    let signer = app.signer(&mut tx).await;
    tx.rollback().await.unwrap();
    signer
}

/// The keys by their states, as `state` and id.
async fn states(app: &App) -> Vec<(&'static str, String)> {
    let keys = app.signing_keys().await.unwrap().keys;
    let mut states: Vec<_> = keys.into_iter().map(|key| (key.state.word(), key.key_id)).collect();
    states.sort();
    states
}

/// Our own key signs for one product and one issuer; what else it may have signed, such as before a move, opens nothing.
async fn a_license_for_another_product_or_by_another_issuer_opens_nothing(world: &World) {
    world.allow_unsettled();
    let ada = world.customer("ada@example.com").await;
    let key = active(&world.app).await.unwrap_or_else(|error| panic!("{error}"));
    let own = inspect(&ada.license).expect("a licence").1;
    for (claims, code) in [
        (Claims { aud: "another-product".to_owned(), ..own.clone() }, "wrong_audience"),
        (Claims { iss: "https://billing.example.org".to_owned(), ..own.clone() }, "wrong_issuer"),
    ] {
        let token = key.sign(&claims);
        let judged = ada.validate(&token).await;
        assert_eq!((&judged["valid"], &judged["code"]), (&json!(false), &json!(code)));
        assert_eq!(judged["claims"], Value::Null, "nothing that it says is repeated: {judged}");
        ada.refresh(&token).await.refused(401, "license_invalid");
        let machine = json!({ "token": token, "fingerprint": "4f:1c:33" });
        world.http.post("/api/licenses/activations", &machine).await.refused(401, "license_invalid");
    }
    assert_eq!(ada.validate(&key.sign(&own)).await["valid"], true, "the key is ours");
}

async fn a_key_begins_to_sign_once(world: &World) {
    let (_, second) = rotate_now(&world.app).await;
    let mut tx = world.app.db.begin().await.unwrap();
    for known in [second.as_str(), "no such key"] {
        assert!(!counterfoil::store::signing_keys::activate(&mut tx, known, world.app.now()).await.unwrap(), "{known}");
    }
    tx.rollback().await.unwrap();
}

async fn rotate_now(app: &App) -> (String, String) {
    match app.rotate_keys(NOW, &by("for a test")).await.unwrap() {
        Rotated::Activated { key, retired } => (retired.expect("another one signed"), key.key_id),
        published => panic!("{published:?}"),
    }
}

/// A second process on the same database, with files of its own.
async fn replica(world: &World, folder: &std::path::Path) -> App {
    replica_of(world, Config { data_dir: folder.to_owned(), ..world.config.clone() }).await
}

async fn replica_of(world: &World, config: Config) -> App {
    let db = Db::open_shared(world.config.database_url.expose_secret()).await.unwrap();
    let secret = std::fs::read_to_string(world.data_dir().join("sandbox-webhook-secret")).unwrap();
    let access = SandboxAccess { address: world.sandbox_address(), webhook_secret: secret.into() };
    assemble(&config, db, world.app.clock.clone(), Some(&access)).await.unwrap()
}

/// What a product does: it keeps a copy of the keys for as long as it may.
struct Product {
    keys: KeySet,
    fetched_at: Timestamp,
}

impl Product {
    async fn judge(&mut self, world: &World, token: &str) -> bool {
        let expect = Expectations::new(world.config.public_url.as_str(), &world.config.product);
        let now = world.app.now();
        if now.seconds_since(self.fetched_at) >= i64::from(KEYS_CACHED_SECONDS) {
            *self = Self { keys: jwks(&world.http).await, fetched_at: now };
        }
        verify(token, &self.keys, &expect, world.app.now().as_unix_seconds()).entitled()
    }
}

async fn keys_rotate_under_load_and_no_verification_fails(world: &World) {
    let folder = tempfile::tempdir().unwrap();
    let other = replica(world, folder.path()).await;
    let (done, customers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = JoinSet::new();
    for number in 0..4_usize {
        let app = if number % 2 == 0 { world.app.clone() } else { other.clone() };
        let (done, customers) = (Arc::clone(&done), Arc::clone(&customers));
        load.spawn(async move {
            let mut tokens: Vec<(Timestamp, String)> = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let email = format!("load{}@example.com", customers.fetch_add(1, Ordering::Relaxed));
                let wish = SignUp::parse(&email, "canary load 7Q".to_owned(), None).unwrap();
                let signed_up = app.sign_up(wish, &Arrival::unknown()).await.expect("a sign-up").0;
                let license = app.current_license(&signed_up.customer.customer_id).await.unwrap();
                tokens.push((app.now(), license.token.clone()));
                let oldest = &tokens[0].1;
                app.refresh_license(oldest).await.expect("a refresh by the oldest license");
            }
            tokens
        });
    }
    let mut product = Product { keys: jwks(&world.http).await, fetched_at: world.app.now() };
    for round in 0..3 {
        let app = if round % 2 == 0 { &other } else { &world.app };
        let published = app.rotate_keys(IN_TIME, &by("a rehearsal")).await.unwrap();
        assert!(matches!(published, Rotated::Published { .. }), "{published:?}");
        assert!(matches!(
            refusal(app.rotate_keys(IN_TIME, &by("too early")).await.unwrap_err()),
            Refusal::SigningKeyTooYoung { .. }
        ));
        for _ in 0..3 {
            let ada = world.customer(&format!("ada{}@example.com", customers.fetch_add(1, Ordering::Relaxed))).await;
            assert!(product.judge(world, &ada.license).await, "round {round}");
            world.sandbox().advance(PUBLISHED_SECONDS_MIN / 3 + 1).await;
        }
        let activated = world.app.rotate_keys(IN_TIME, &by("a rehearsal")).await.unwrap();
        let Rotated::Activated { key, .. } = activated else { panic!("{activated:?}") };
        for app in [&world.app, &other] {
            assert_eq!(active(app).await.unwrap().key_id(), key.key_id, "at once, in every process");
        }
        let ada = world.customer(&format!("ada{}@example.com", customers.fetch_add(1, Ordering::Relaxed))).await;
        assert_eq!(kid(&ada.license), key.key_id);
        assert!(product.judge(world, &ada.license).await, "the copy from before the rotation has it");
    }
    done.store(true, Ordering::Relaxed);
    let tokens: Vec<_> = load.join_all().await.into_iter().flatten().collect();
    let (after, expect) =
        (jwks(&world.http).await, Expectations::new(world.config.public_url.as_str(), &world.config.product));
    let kids: BTreeSet<String> = tokens.iter().map(|(_, token)| kid(token)).collect();
    assert!(tokens.len() >= 8 && kids.len() >= 3, "{} licenses by {kids:?}", tokens.len());
    for (at, token) in &tokens {
        assert!(verify(token, &after, &expect, at.as_unix_seconds()).entitled());
    }
    other.db.close().await;
}

async fn of_many_rotations_at_once_one_happens(world: &World) {
    let folder = tempfile::tempdir().unwrap();
    let other = replica(world, folder.path()).await;
    let before = active(&world.app).await.unwrap().key_id().to_owned();
    let pending = world.app.generate_key(false, &by("the next one")).await.unwrap();
    let second = refusal(world.app.generate_key(false, &by("one more")).await.unwrap_err());
    assert_eq!(second, Refusal::SigningKeyPending { key_id: pending.key_id.clone() });
    world.sandbox().advance(PUBLISHED_SECONDS_MIN).await;
    let mut crowd = JoinSet::new();
    for number in 0..6 {
        let app = if number % 2 == 0 { world.app.clone() } else { other.clone() };
        crowd.spawn(async move { app.rotate_keys(IN_TIME, &by("now")).await });
    }
    let mut activated = Vec::new();
    for result in crowd.join_all().await {
        match result {
            Ok(Rotated::Activated { key, retired }) => activated.push((key.key_id, retired)),
            // Whoever comes after the first one begins the next rotation, or is told that it was too slow.
            Ok(Rotated::Published { .. }) => {}
            Err(error) => {
                let refused = refusal(error).code();
                let codes = ["signing_keys_changed", "signing_key_pending", "signing_key_too_young"];
                assert!(codes.contains(&refused), "{refused}");
            }
        }
    }
    assert_eq!(activated, [(pending.key_id.clone(), Some(before.clone()))]);
    let states = states(&world.app).await;
    assert!(
        states.contains(&("active", pending.key_id.clone())) && states.contains(&("retired", before)),
        "{states:?}"
    );
    assert!(states.iter().filter(|(state, _)| *state == "pending").count() <= 1);
    other.db.close().await;
}

async fn what_a_retired_key_signed_stays_and_nobody_gets_a_mail(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let (old, new) = rotate_now(&world.app).await;
    assert_eq!(kid(&ada.license), old);
    world.app.sync_customer(&id_of(&ada)).await.unwrap();
    assert_eq!(world.app.reissue_state(&id_of(&ada)).await.unwrap(), Reissue::UpToDate);
    assert_eq!(world.stored(&ada).await.licenses, 1, "the facts are the same");
    assert_eq!(ada.validate(&ada.license).await["valid"], true);
    assert_eq!(ada.refresh(&ada.license).await.accepted()["token"], ada.license);
    let state = refusal(world.app.retire_key(&new, &by("a slip")).await.unwrap_err());
    assert!(matches!(state, Refusal::SigningKeyState { state: "active", .. }), "{state:?}");
    assert!(matches!(refusal(world.app.retire_key("x", &by("a slip")).await.unwrap_err()), Refusal::SigningKeyUnknown));
    let pending = world.app.generate_key(false, &by("the next one")).await.unwrap();
    world.app.retire_key(&pending.key_id, &by("not needed")).await.unwrap();
    assert_eq!(active(&world.app).await.unwrap().key_id(), new);
}

async fn what_a_compromised_key_signed_counts_no_more_and_is_issued_again(world: &World) {
    world.allow_unsettled();
    let (ada, bob) = (world.customer("ada@example.com").await, world.customer("bob@example.com").await);
    world.app.revoke_licenses(&id_of(&bob), &by("a cheat")).await.unwrap();
    let stolen = kid(&ada.license);
    let given_up = world.app.compromise_key(&stolen, &by("it was in a log")).await.unwrap();
    let successor = given_up.successor.expect("it signed").key_id;
    assert!(jwks(&world.http).await.find(&stolen).is_none(), "it is not published");
    assert_eq!(ada.validate(&ada.license).await["code"], "key_compromised");
    ada.refresh(&ada.license).await.refused(401, "key_compromised");
    let machine = json!({ "token": ada.license, "fingerprint": "4f:1c:33" });
    world.http.post("/api/licenses/activations", &machine).await.refused(401, "key_compromised");
    // The process ends here; whoever comes next goes on.
    assert_eq!(world.stored(&ada).await.licenses, 1);
    assert_eq!(world.app.reissue_state(&id_of(&ada)).await.unwrap(), Reissue::Due);
    assert_eq!(world.app.sweep_compromised().await.unwrap(), 1, "whoever is revoked stays so");
    assert_eq!(world.app.sweep_compromised().await.unwrap(), 0);
    let newest = world.app.current_license(&id_of(&ada)).await.unwrap();
    assert_eq!((newest.version, kid(&newest.token), newest.reason.as_str()), (2, successor.clone(), "reissued"));
    assert_eq!(world.mails_to("ada@example.com").await, 2, "the new license comes by mail");
    assert_eq!(ada.validate(&newest.token).await["valid"], true);
    assert_eq!(world.stored(&bob).await.licenses, 1);
    let again = refusal(world.app.compromise_key(&stolen, &by("again")).await.unwrap_err());
    assert!(matches!(again, Refusal::SigningKeyState { state: "compromised", .. }), "{again:?}");
    let (retired, _) = rotate_now(&world.app).await;
    assert_eq!(retired, successor);
    assert!(world.app.compromise_key(&retired, &by("this one too")).await.unwrap().successor.is_none());
    assert_eq!(world.app.sweep_compromised().await.unwrap(), 1, "a retired key's too");
}

async fn a_look_at_a_customer_replaces_what_a_compromised_key_signed(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    world.settled().await;
    world.app.compromise_key(&kid(&ada.license), &by("stolen")).await.unwrap();
    world.app.sync_customer(&id_of(&ada)).await.unwrap();
    let newest = world.app.current_license(&id_of(&ada)).await.unwrap();
    assert_eq!((newest.version, ada.validate(&newest.token).await["valid"].clone()), (3, json!(true)));
}

both_engines!(
    what_a_retired_key_signed_stays_and_nobody_gets_a_mail,
    a_root_vouches_for_keys_and_products_pin_nothing_else,
    of_many_keys_those_that_signed_last_are_published,
    a_process_without_the_private_half_refuses_to_sign,
);

both_engines!(crate::keys::in_database();
    keys_rotate_under_load_and_no_verification_fails,
    of_many_rotations_at_once_one_happens,
    where_the_encryption_key_is_lost_a_new_key_signs_and_nothing_else_is,
    who_cannot_open_the_keys_of_the_others_makes_none_unless_it_is_forced,
    a_look_at_a_customer_replaces_what_a_compromised_key_signed,
);

both_engines!(crate::keys::without_worker();
    a_key_begins_to_sign_once,
    a_license_for_another_product_or_by_another_issuer_opens_nothing,
    what_a_compromised_key_signed_counts_no_more_and_is_issued_again,
);

fn without_worker() -> Setup {
    Setup { no_worker: true, ..Setup::default() }
}

async fn of_many_keys_those_that_signed_last_are_published(world: &World) {
    let first = active(&world.app).await.unwrap().key_id().to_owned();
    let mut newest = first.clone();
    for _ in 0..34 {
        newest = rotate_now(&world.app).await.1;
    }
    let published = jwks(&world.http).await;
    assert_eq!((published.keys().len(), published.keys()[0].key_id()), (32, newest.as_str()));
    assert!(published.find(&first).is_none(), "the one that was retired first made room");
    let ada = world.customer("ada@example.com").await;
    assert_eq!(ada.validate(&ada.license).await["valid"], true);
}

async fn a_process_without_the_private_half_refuses_to_sign(world: &World) {
    let folder = tempfile::tempdir().unwrap();
    let other = replica(world, folder.path()).await;
    let error = active(&other).await.unwrap_err();
    assert!(matches!(&error, Error::Failed(failure @ Failure::SigningKey(_)) if failure.is_transient()), "{error}");
    let wish = SignUp::parse("ada@example.com", "canary ada 7Q".to_owned(), None).unwrap();
    assert!(other.sign_up(wish, &Arrival::unknown()).await.is_err(), "no license without a key");
    assert_eq!(world.counts().await[0], 0, "and nothing half");
    // With the folder in common it signs, and goes over to a new key by itself.
    let shared = replica(world, world.data_dir()).await;
    let (_, new) = rotate_now(&world.app).await;
    assert_eq!(active(&shared).await.unwrap().key_id(), new);
    let problem = other.examine(true).await;
    assert!(problem.has_problems(), "{}", problem.in_words());
    other.db.close().await;
    shared.db.close().await;
}

async fn where_the_encryption_key_is_lost_a_new_key_signs_and_nothing_else_is(world: &World) {
    let ada = world.customer("ada@example.com").await;
    world.app.generate_key(false, &by("the next one")).await.unwrap();
    let key_encryption_key = Some(STANDARD.encode([9; 32]).into());
    let other = replica_of(world, Config { key_encryption_key, ..world.config.clone() }).await;
    assert!(matches!(active(&other).await.unwrap_err(), Error::Failed(Failure::SigningKey(_))));
    // A slip of the keyboard makes no key that the other servers cannot read.
    let error = other.rotate_keys(NOW, &by("a slip")).await.unwrap_err();
    assert!(matches!(error, Error::Failed(Failure::SigningKey(_))), "{error}");
    let rotated = other.rotate_keys(Rotation { now: true, force: true }, &by("it is lost")).await.unwrap();
    let Rotated::Activated { key, retired } = rotated else { panic!("{rotated:?}") };
    assert_eq!(retired, Some(kid(&ada.license)));
    assert_eq!(active(&other).await.unwrap().key_id(), key.key_id);
    assert_eq!(ada.validate(&ada.license).await["valid"], true);
    other.db.close().await;
}

async fn who_cannot_open_the_keys_of_the_others_makes_none_unless_it_is_forced(world: &World) {
    let key_encryption_key = Some(STANDARD.encode([9; 32]).into());
    let other = replica_of(world, Config { key_encryption_key, ..world.config.clone() }).await;
    let before = states(&world.app).await;
    let made = other.generate_key(false, &by("a slip")).await.map(drop);
    let at_once = other.rotate_keys(NOW, &by("a slip")).await.map(drop);
    let in_time = other.rotate_keys(IN_TIME, &by("a slip")).await.map(drop);
    for slip in [made, at_once, in_time] {
        assert!(matches!(slip, Err(Error::Failed(Failure::SigningKey(_)))), "{slip:?}");
    }
    assert_eq!(states(&world.app).await, before);
    let forced = other.generate_key(true, &by("it is lost")).await.unwrap();
    assert!(states(&world.app).await.contains(&("pending", forced.key_id)));
    other.db.close().await;
}

/// What the root signs for the keys as they are.
pub async fn signed(world: &World, root: &RootKey, serial: u64, days: i64) -> String {
    let installed = world.app.signing_keys().await.unwrap();
    let key = |x: &str| PublicKey::from_jwk(&json!({ "kty": "OKP", "crv": "Ed25519", "x": x })).unwrap();
    let keys: Vec<_> = installed.keys.iter().map(|each| (key(&each.public_key), each.state, each.retired_at)).collect();
    let now = world.app.now().as_unix_seconds();
    let (issued_at, expires_at) = (now, now + days * 86_400);
    root.sign(&SignedKeySet { issuer: installed.issuer, issued_at, expires_at, serial, keys: to_be_signed(&keys) })
}

async fn a_root_vouches_for_keys_and_products_pin_nothing_else(world: &World) {
    const PATH: &str = "/.well-known/counterfoil-keys.jwt";
    let (root, app) = (RootKey::from_seed(&[1; 32]), &world.app);
    let pinned = root.public().to_string();
    let check = async || app.examine(true).await.in_words();
    world.http.get(PATH).await.refused(404, "no_key_set");
    assert!(!check().await.contains("key set"), "nothing to tell where no root signs");
    let text = signed(world, &root, 1, 365).await;
    for (text, pin) in [(&text, None), (&text, Some(RootKey::from_seed(&[2; 32]).public().to_string()))] {
        let error = app.install_key_set(text, pin.as_deref(), &by("a slip")).await.unwrap_err();
        assert_eq!(refusal(error).code(), "key_set_refused");
    }
    app.install_key_set(&format!("{text}\n"), Some(&pinned), &by("the first one")).await.unwrap();
    let served = world.http.get(PATH).await;
    assert_eq!((served.status, &served.body, served.header("content-type")), (200, &text, "application/jwt"));
    assert_eq!(served.header("cache-control"), "public, max-age=300");
    let known = world.http.request(reqwest::Method::GET, PATH).header("if-none-match", served.header("etag"));
    assert_eq!(world.http.send(known).await.status, 304);

    // A new key is published by the root before it signs.
    let pending = app.generate_key(false, &by("the next one")).await.unwrap();
    assert!(check().await.contains("does not list the key"));
    world.sandbox().advance(PUBLISHED_SECONDS_MIN).await;
    let refused = refusal(app.rotate_keys(IN_TIME, &by("too early")).await.unwrap_err());
    assert_eq!(refused, Refusal::SigningKeyNotListed { key_id: pending.key_id.clone() });
    let (second, rollback) = (signed(world, &root, 2, 365).await, signed(world, &root, 0, 365).await);
    app.install_key_set(&second, None, &by("the next one")).await.unwrap();
    assert_eq!(
        refusal(app.install_key_set(&rollback, None, &by("a slip")).await.unwrap_err()).code(),
        "key_set_refused"
    );
    let judge = |text: &str, token: &str| {
        let root: RootPublicKey = pinned.parse().unwrap();
        let keys = SignedKeySet::open(text, &root, None).unwrap();
        let expect = Expectations::new(world.config.public_url.as_str(), &world.config.product);
        Verifier::new(&keys, expect).verify(token, world.app.now().as_unix_seconds()).state.code()
    };
    let ada = world.customer("ada@example.com").await;
    app.rotate_keys(IN_TIME, &by("in time")).await.unwrap();
    let bob = world.customer("bob@example.com").await;
    assert_eq!(kid(&bob.license), pending.key_id);
    let third = signed(world, &root, 3, 20).await;
    for text in [&second, &third] {
        assert_eq!((judge(text, &ada.license), judge(text, &bob.license)), ("valid", "valid"));
    }
    app.install_key_set(&third, None, &by("it ends soon")).await.unwrap();
    assert!(check().await.contains("key_set_ends") || check().await.contains("ends on"));

    // In an incident the key is given up first, and the root says so after.
    let refused = refusal(app.rotate_keys(NOW, &by("in a hurry")).await.unwrap_err());
    assert_eq!(refused.code(), "signing_key_not_listed");
    app.compromise_key(&pending.key_id, &by("stolen")).await.unwrap();
    assert!(check().await.contains("trusts the compromised"));
    let fourth = signed(world, &root, 4, 365).await;
    app.install_key_set(&fourth, None, &by("without it")).await.unwrap();
    assert_eq!((judge(&fourth, &ada.license), judge(&fourth, &bob.license)), ("valid", "key_compromised"));
    app.sweep_compromised().await.unwrap();
    let newest = app.current_license(&id_of(&bob)).await.unwrap();
    assert_eq!(judge(&fourth, &newest.token), "valid");
    assert_eq!(kid(&app.current_license(&id_of(&ada)).await.unwrap().token), kid(&ada.license));
}

restarts!(
    a_database_does_not_give_its_keys_away_and_opens_with_its_own_key_only,
    keys_move_from_files_into_the_database,
    what_a_crash_leaves_is_put_right_by_the_next_start,
    a_key_that_is_newer_than_the_backup_still_verifies,
);

/// The private half of a key as bytes and as texts that could stand in a dump.
fn forms(key: &SigningKey) -> Vec<Vec<u8>> {
    let pem = key.to_pem();
    let body = pem.lines().nth(1).unwrap().to_owned();
    let der = STANDARD.decode(&body).unwrap();
    let seed = der[der.len() - 32..].to_vec();
    vec![body.into_bytes(), hex::encode(&seed).into_bytes(), STANDARD.encode(&seed).into_bytes(), seed]
}

async fn a_database_does_not_give_its_keys_away_and_opens_with_its_own_key_only(engine: Engine) {
    let Some(world) = World::start(engine, in_database()).await else { return };
    world.customer("ada@example.com").await;
    let key = active(&world.app).await.unwrap();
    let pending = world.app.generate_key(false, &by("the next one")).await.unwrap();
    world.settled().await;
    assert!(!world.data_dir().join(KEY_FILE).exists(), "no file holds it");
    let sql = "select key_id, public_key, state, private_key from signing_keys";
    let mut dump = Vec::new();
    for row in world.app.db.query(sql).all().await.unwrap() {
        dump.extend(row.get::<Option<Vec<u8>>>("private_key").unwrap().expect("it is kept here"));
    }
    for entry in std::fs::read_dir(world.data_dir()).unwrap() {
        dump.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    for form in forms(&key) {
        assert!(!dump.windows(form.len()).any(|part| part == form), "the private half stands in the database");
    }
    let mut remains = world.stop().await;
    let right = remains.config.key_encryption_key.replace(STANDARD.encode([9; 32]).into());
    let error = Service::start(&remains.config, Roles::ALL, true).await.err().expect("the wrong key").to_string();
    assert!(error.contains("COUNTERFOIL_KEY_ENCRYPTION_KEY does not open"), "{error}");
    remains.config.key_encryption_key = right;
    let service = Service::start(&remains.config, Roles::ALL, true).await.unwrap();
    assert_eq!(active(&service.app).await.unwrap().key_id(), key.key_id());
    let states = states(&service.app).await;
    assert_eq!(states, [("active", key.key_id().to_owned()), ("pending", pending.key_id)]);
    assert!(service.stop().await);
}

async fn keys_move_from_files_into_the_database(engine: Engine) {
    let Some(world) = World::start(engine, Setup::default()).await else { return };
    let (ada, file) = (world.customer("ada@example.com").await, world.data_dir().join(KEY_FILE));
    world.settled().await;
    let mut remains = world.stop().await;
    remains.config.key_encryption_key = Some(STANDARD.encode([9; 32]).into());
    assert!(Service::start(&remains.config, Roles::ALL, true).await.unwrap().stop().await);
    std::fs::remove_file(&file).unwrap();
    let service = Service::start(&remains.config, Roles::ALL, true).await.unwrap();
    assert_eq!(active(&service.app).await.unwrap().key_id(), kid(&ada.license));
    let (retired, _) = rotate_now(&service.app).await;
    assert_eq!(retired, kid(&ada.license));
    assert!(!file.exists() && service.app.keys.in_files().unwrap().is_empty());
    assert!(service.stop().await);
}

async fn what_a_crash_leaves_is_put_right_by_the_next_start(engine: Engine) {
    let Some(world) = World::start(engine, Setup::default()).await else { return };
    let ada = world.customer("ada@example.com").await;
    world.settled().await;
    let folder = world.data_dir().to_owned();
    // Killed after the file was written and before the database heard of the key.
    let orphan = SigningKey::from_seed(&[4; 32]);
    world.app.keys.keep(&orphan, [0; 12]).unwrap();
    // Killed after the database knew that the key is compromised and before its file was removed.
    let (old, new) = rotate_now(&world.app).await;
    let sql = "update signing_keys set state = 'compromised', compromised_at = $2 where key_id = $1";
    world.app.db.query(sql).bind(&old).bind(world.app.now()).execute().await.unwrap();
    let remains = world.stop().await;
    let service = Service::start(&remains.config, Roles { web: true, worker: false }, true).await.unwrap();
    let expected = [("active", new.clone()), ("compromised", old.clone()), ("retired", orphan.key_id().to_owned())];
    assert_eq!(states(&service.app).await, expected);
    assert!(!folder.join(KEY_FILE).exists(), "the file of the compromised key is gone");
    assert_eq!(service.app.sweep_compromised().await.unwrap(), 1);
    let newest = service.app.current_license(&id_of(&ada)).await.unwrap();
    assert_eq!(kid(&newest.token), new);
    assert!(service.stop().await);
    // A server that cannot sign does not start.
    std::fs::remove_file(folder.join(format!("license-key-{new}.pem"))).unwrap();
    let error = Service::start(&remains.config, Roles::ALL, true).await.err().expect("no key").to_string();
    assert!(error.contains(&new) && error.contains("counterfoil keys rotate --now"), "{error}");
}

async fn a_key_that_is_newer_than_the_backup_still_verifies(engine: Engine) {
    let Some(world) = World::start(engine, Setup::default()).await else { return };
    let ada = world.customer("ada@example.com").await;
    let (old, new) = rotate_now(&world.app).await;
    let bob = world.customer("bob@example.com").await;
    world.settled().await;
    // The database goes back to where the first key signed; the files stay.
    for (sql, key) in [
        ("delete from signing_keys where key_id = $1", &new),
        ("update signing_keys set state = 'active', retired_at = null where key_id = $1", &old),
    ] {
        world.app.db.query(sql).bind(key).execute().await.unwrap();
    }
    assert_eq!(bob.validate(&bob.license).await["code"], "unknown_key");
    let remains = world.stop().await;
    let service = Service::start(&remains.config, Roles::ALL, true).await.unwrap();
    assert_eq!(states(&service.app).await, [("active", old.clone()), ("retired", new.clone())]);
    let judged: Value = bob.validate(&bob.license).await;
    assert_eq!((&judged["valid"], &ada.validate(&ada.license).await["valid"]), (&json!(true), &json!(true)));
    assert!(service.stop().await);
}
