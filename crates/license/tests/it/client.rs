//! A product on a machine with a network that comes and goes, against a small server on loopback.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use counterfoil_license::{
    Claims, Client, ClientError, ClientSettings, KeySet, LicenseFile, ListedKey, Pin, Refreshed, RootKey, SignedKeySet,
    SigningKey, State, Status, StatusEntries, StatusList, StatusReference,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::forge::{DAY, ISSUED, PRODUCT, claims, key};

/// What lies where: status and body; the entity tag is made of the body.
#[derive(Default)]
struct Site {
    pages: BTreeMap<String, (u16, String)>,
    asked: Vec<String>,
    /// Of those, the ones that came with an entity tag.
    shown: Vec<String>,
}

#[derive(Clone)]
struct Server {
    url: String,
    site: Arc<Mutex<Site>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { url, site: Arc::default() };
        let site = server.site.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                let mut lines = Vec::new();
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
                        break;
                    }
                    lines.push(line.trim().to_owned());
                }
                let header = |name: &str| {
                    let find = |line: &String| {
                        Some(line.split_once(": ")?)
                            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
                            .map(|(_, v)| v.to_owned())
                    };
                    lines.iter().find_map(find)
                };
                let length = header("content-length").map_or(0, |length| length.parse().unwrap());
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let Some(path) = lines.first().and_then(|line| line.split(' ').nth(1)) else { continue };
                let mut site = site.lock().unwrap();
                site.asked.push(path.to_owned());
                let (status, body) = site.pages.get(path).cloned().unwrap_or((404, String::new()));
                let etag = format!(
                    "\"{:x}\"",
                    Sha256::digest(&body)[0..8].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
                );
                let tag = header("if-none-match");
                if tag.is_some() {
                    site.shown.push(path.to_owned());
                }
                let known = tag.is_some_and(|tag| tag == etag);
                let (status, body) = if known { (304, String::new()) } else { (status, body) };
                let answer = format!(
                    "HTTP/1.1 {status} X\r\netag: {etag}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                _ = reader.get_mut().write_all(answer.as_bytes());
            }
        });
        server
    }

    fn put(&self, path: &str, status: u16, body: impl Into<String>) {
        self.site.lock().unwrap().pages.insert(path.to_owned(), (status, body.into()));
    }

    /// What was asked for since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.site.lock().unwrap().asked)
    }

    /// What was asked for with an entity tag since the last time.
    fn shown(&self) -> Vec<String> {
        std::mem::take(&mut self.site.lock().unwrap().shown)
    }

    fn put_license(&self, claims: &Claims) {
        self.put("/api/licenses/refresh", 200, json!({"token": key().sign(claims)}).to_string());
    }

    fn put_list(&self, status: Status, issued_at: i64) {
        self.put_list_at("/status/1", status, issued_at);
    }

    fn put_list_at(&self, path: &str, status: Status, issued_at: i64) {
        let mut entries = StatusEntries::new(4);
        entries.set(1, status);
        let uri = format!("{}{path}", self.url);
        let list = StatusList { uri, issued_at, expires_at: issued_at + DAY, ttl_seconds: Some(3600), entries };
        self.put(path, 200, key().sign_status_list(&list));
    }

    fn claims(&self, ver: i64) -> Claims {
        let status_list = Some(StatusReference { idx: 1, uri: format!("{}/status/1", self.url) });
        Claims { iss: self.url.clone(), ver, status_list, ..claims() }
    }

    fn client(&self, folder: &Path) -> Client {
        let jwks = KeySet::new([key().public()]).unwrap().to_jwks().to_string();
        self.put("/.well-known/jwks.json", 200, jwks.clone());
        self.pinned(folder, Pin::Keys { jwks })
    }

    fn pinned(&self, folder: &Path, pin: Pin) -> Client {
        Client::open(ClientSettings {
            issuer: self.url.clone(),
            audience: PRODUCT.to_owned(),
            pin,
            folder: folder.to_owned(),
            require_status_list: false,
        })
    }
}

#[test]
fn an_upgrade_and_a_refund_reach_the_product() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let mut client = server.client(folder.path());
    server.put_list(Status::Valid, ISSUED);
    assert!(!client.current(ISSUED).entitled(), "nothing is installed");
    assert_eq!(client.install(&key().sign(&server.claims(1)), ISSUED).unwrap().state, State::Valid);

    assert_eq!(client.refresh_if_due(ISSUED).unwrap(), Refreshed::UpToDate);
    assert_eq!(server.asked(), ["/.well-known/jwks.json", "/status/1"], "the license itself is not due");
    assert_eq!(client.refresh_if_due(ISSUED + 60).unwrap(), Refreshed::NotDue);
    assert_eq!(server.asked(), Vec::<String>::new());

    server.put_list(Status::Superseded, ISSUED + 2);
    server.put_license(&Claims { plan: "enterprise".to_owned(), ..server.claims(2) });
    let later = ISSUED + DAY;
    assert_eq!(client.refresh_if_due(later).unwrap(), Refreshed::NewLicense);
    assert_eq!(client.current(later).claims.unwrap().plan, "enterprise");

    server.put_list(Status::Invalid, later);
    server.put("/api/licenses/refresh", 409, json!({"code": "no_license"}).to_string());
    let refunded = later + 2 * DAY;
    assert_eq!(client.refresh_if_due(refunded).unwrap(), Refreshed::Refused("no_license".to_owned()));
    assert_eq!(client.current(refunded).state, State::Revoked);

    let again = server.client(folder.path());
    assert_eq!(again.current(refunded).state, State::Revoked, "what was learned survives a restart");
    assert_eq!(again.current(ISSUED + DAY).state, State::ClockBehind, "the time seen as well");
}

#[test]
fn what_has_not_changed_is_not_sent_again_and_a_tag_is_shown_only_where_it_is_from() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let mut client = server.client(folder.path());
    server.put_list(Status::Valid, ISSUED);
    server.put_list_at("/status/2", Status::Valid, ISSUED);
    _ = client.install(&key().sign(&server.claims(1)), ISSUED).unwrap();
    assert_eq!(client.refresh_if_due(ISSUED).unwrap(), Refreshed::UpToDate);
    assert_eq!(server.shown(), Vec::<String>::new(), "nothing is known yet");
    assert_eq!(client.refresh_if_due(ISSUED + DAY / 2).unwrap(), Refreshed::UpToDate);
    assert_eq!(server.shown(), ["/.well-known/jwks.json", "/status/1"]);

    let status_list = Some(StatusReference { idx: 1, uri: format!("{}/status/2", server.url) });
    let elsewhere = key().sign(&Claims { status_list, ..server.claims(2) });
    _ = client.install(&elsewhere, ISSUED + DAY / 2).unwrap();
    _ = server.asked();
    assert_eq!(client.refresh_if_due(ISSUED + DAY / 2).unwrap(), Refreshed::UpToDate);
    assert_eq!(server.asked(), ["/.well-known/jwks.json", "/status/2"]);
    assert_eq!(server.shown(), ["/.well-known/jwks.json"], "the tag of one list says nothing about another");
}

#[test]
fn a_clock_that_was_ahead_is_forgiven_when_the_user_says_so() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let mut client = server.client(folder.path());
    server.put_list(Status::Valid, ISSUED);
    _ = client.install(&key().sign(&server.claims(1)), ISSUED).unwrap();
    _ = client.refresh_if_due(ISSUED + 20 * DAY);
    assert_eq!(client.current(ISSUED + DAY).state, State::ClockBehind);
    client.forget_time_seen(ISSUED + DAY).unwrap();
    assert_ne!(client.current(ISSUED + DAY).state, State::ClockBehind);
    let again = server.client(folder.path());
    assert_ne!(again.current(ISSUED + DAY).state, State::ClockBehind, "and stays so after a restart");
}

/// How long a product waits after each of so many failures, in steps of half a minute.
fn waits(client: &mut Client, failures: usize) -> Vec<i64> {
    let mut now = ISSUED + 25 * DAY;
    let mut waits = Vec::new();
    for _ in 0..failures {
        assert!(matches!(client.refresh_if_due(now), Err(ClientError::Unreachable(_))), "the list is not there");
        let failed = now;
        while client.refresh_if_due(now).is_ok_and(|answer| answer == Refreshed::NotDue) {
            now += 30;
        }
        waits.push(now - failed);
        assert_eq!(client.current(ISSUED + 25 * DAY).claims.unwrap().ver, 1);
        now += 2 * DAY;
    }
    waits
}

#[test]
fn a_long_license_is_fetched_like_a_short_one() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let mut client = server.client(folder.path());
    let late = ISSUED + 25 * DAY;
    server.put_list(Status::Valid, late);
    let features: Vec<String> = (0..200).map(|number| format!("a_feature_with_a_long_name_{number}")).collect();
    server.put_license(&Claims { features: features.clone(), ..server.claims(2) });
    _ = client.install(&key().sign(&server.claims(1)), late).unwrap();
    assert_eq!(client.refresh_if_due(late).unwrap(), Refreshed::NewLicense);
    assert_eq!(client.current(late).claims.unwrap().features, features);
}

#[test]
fn an_outage_changes_nothing_and_is_asked_less_and_less() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let mut client = server.client(folder.path());
    _ = client.install(&key().sign(&server.claims(1)), ISSUED).unwrap();
    let waits = waits(&mut client, 14);
    assert!(
        waits[0] <= 90 && *waits.last().unwrap() >= DAY / 2 && waits.iter().all(|wait| *wait <= DAY + 30),
        "{waits:?}"
    );
}

#[test]
fn lists_are_asked_for_within_six_minutes_of_their_time_and_not_by_all_at_once() {
    let server = Server::start();
    server.put_list(Status::Valid, ISSUED);
    let asked_after = |plan: u8| {
        let folder = tempfile::tempdir().unwrap();
        let mut client = server.client(folder.path());
        _ = client.install(&key().sign(&Claims { plan: plan.to_string(), ..server.claims(1) }), ISSUED).unwrap();
        assert_eq!(client.refresh_if_due(ISSUED).unwrap(), Refreshed::UpToDate);
        let not_due = |at: &i64| client.refresh_if_due(ISSUED + at).unwrap() == Refreshed::NotDue;
        (3600 - 5..).step_by(5).take(100).take_while(not_due).last().expect("not before the hour")
    };
    let asked: Vec<i64> = (0..8).map(asked_after).collect();
    assert!(asked.iter().all(|after| *after <= 3600 + 360), "{asked:?}");
    assert!(asked.iter().any(|after| *after != asked[0]), "{asked:?}");
}

#[test]
fn a_license_that_was_asked_for_is_not_asked_for_again_before_its_time() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let mut client = server.client(folder.path());
    let late = ISSUED + 25 * DAY;
    server.put_list(Status::Valid, late);
    server.put_license(&server.claims(1));
    _ = client.install(&key().sign(&server.claims(1)), late).unwrap();
    assert_eq!(client.refresh_if_due(late).unwrap(), Refreshed::UpToDate, "the server has nothing newer");
    assert!(server.asked().contains(&"/api/licenses/refresh".to_owned()));
    let cache = std::fs::read_to_string(folder.path().join("counterfoil-license.json")).unwrap();
    let cache: serde_json::Value = serde_json::from_str(&cache).unwrap();
    let due_at = cache["license_due_at"].as_i64().unwrap();
    assert!((late + DAY..=late + DAY + 3600).contains(&due_at));
    for (now, expected) in [(late + DAY / 2, false), (due_at - 1, false), (due_at, true)] {
        _ = client.refresh_if_due(now).unwrap();
        let asked = server.asked();
        assert_eq!(asked.contains(&"/api/licenses/refresh".to_owned()), expected, "{now}: {asked:?}");
    }
}

#[test]
fn after_an_outage_not_all_products_ask_in_the_same_minute() {
    let server = Server::start();
    let of = |plan: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut client = server.client(folder.path());
        let token = key().sign(&Claims { plan: plan.to_owned(), ..server.claims(1) });
        _ = client.install(&token, ISSUED).unwrap();
        waits(&mut client, 8)
    };
    // Eight times the same draw, the last ones out of a hundred and more, does not happen.
    assert_ne!(of("professional"), of("starter"));
}

#[test]
fn what_does_not_verify_never_takes_the_place_of_what_does() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let mut client = server.client(folder.path());
    server.put_list(Status::Valid, ISSUED);
    _ = client.install(&key().sign(&server.claims(2)), ISSUED).unwrap();
    let mut now = ISSUED + 25 * DAY;
    let thief = SigningKey::from_seed(&[66; 32]).sign(&server.claims(9));
    let other = Claims { sub: "cust_2".to_owned(), customer_id: "cust_2".to_owned(), ..server.claims(9) };
    for (body, refused) in [
        (json!({"token": thief}), true),
        (json!({"token": key().sign(&other)}), true),
        (json!({"token": "junk"}), true),
        (json!([]), true),
        (json!({"token": key().sign(&server.claims(1))}), false),
    ] {
        server.put("/api/licenses/refresh", 200, body.to_string());
        now += 2 * DAY / 10;
        client.refresh_if_due(now).map_or_else(
            |_| assert!(refused, "{body}"),
            |answer| {
                assert!(!refused && answer == Refreshed::UpToDate, "{body} {answer:?}");
            },
        );
        assert_eq!(client.current(now).claims.unwrap().ver, 2);
        now += DAY;
    }
    assert!(matches!(client.install(&thief, now), Err(ClientError::Unverified(_))));
    assert!(matches!(client.install("junk!", now), Err(ClientError::Unverified(_))));
    server.put("/.well-known/jwks.json", 200, "{\"keys\":[]}");
    assert!(client.refresh_if_due(now + 2 * DAY).is_err());
    assert!(client.current(now).claims.is_some(), "the good keys are still there");
}

#[test]
fn a_pinned_root_brings_new_keys_and_takes_no_old_ones_back() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let (root, newer) = (RootKey::from_seed(&[9; 32]), SigningKey::from_seed(&[3; 32]));
    let set = |serial: u64, keys: Vec<ListedKey>| {
        let (issued_at, expires_at) = (ISSUED, ISSUED + 300 * DAY);
        root.sign(&SignedKeySet { issuer: server.url.clone(), issued_at, expires_at, serial, keys })
    };
    let first = set(1, vec![ListedKey::active(key().public())]);
    let url = format!("{}/keys.jwt", server.url);
    let mut client = server.pinned(folder.path(), Pin::Root { root: root.public(), key_set: first.clone(), url });
    let plain = Claims { iss: server.url.clone(), ..claims() };
    let file = LicenseFile { license: key().sign(&plain), key_set: Some(first.clone()), status_list: None };
    assert_eq!(client.install(&file.to_string(), ISSUED).unwrap().state, State::Valid);
    assert!(client.install(&newer.sign(&plain), ISSUED).is_err(), "not yet known");

    server.put("/keys.jwt", 200, set(2, vec![ListedKey::active(key().public()), ListedKey::active(newer.public())]));
    assert_eq!(client.refresh_if_due(ISSUED + 1).unwrap(), Refreshed::UpToDate);
    assert_eq!(client.install(&newer.sign(&plain), ISSUED + 1).unwrap().state, State::Valid);

    server.put("/keys.jwt", 200, first);
    assert!(matches!(client.refresh_if_due(ISSUED + 2 * DAY), Err(ClientError::Unverified(_))), "an older serial");
    assert_eq!(client.current(ISSUED + 2 * DAY).state, State::Valid);
}

#[test]
#[cfg(unix)]
fn the_cache_is_its_user_s_alone_and_a_broken_one_is_an_empty_one() {
    use std::os::unix::fs::PermissionsExt as _;
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let path = folder.path().join("counterfoil-license.json");
    _ = server.client(folder.path()).install(&key().sign(&server.claims(1)), ISSUED).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half written is left");
    std::fs::write(&path, "{").unwrap();
    assert!(!server.client(folder.path()).current(ISSUED).entitled());
}
