//! Vectors about what stands beside the token: the root-pinned key set and the status list.

use counterfoil_license::{
    Claims, KeyState, ListedKey, PublicKey, RootKey, SignedKeySet, SigningKey, Status, StatusEntries, StatusList,
    StatusReference,
};
use serde_json::{Value, json};

use crate::forge::{DAY, ISSUED, ISSUER, claims, encode, forge, header, key};
use crate::vectors::{Case, case};

const URI: &str = "https://billing.example.com/status/1";

pub fn all() -> Vec<Case> {
    [rooted(), unrooted(), statuses(), required(), unlisted(), both()].into_iter().flatten().collect()
}

fn root() -> RootKey {
    RootKey::from_seed(&[9; 32])
}

fn public(seed: u8) -> PublicKey {
    SigningKey::from_seed(&[seed; 32]).public()
}

fn set(keys: Vec<ListedKey>) -> SignedKeySet {
    let (issued_at, expires_at) = (ISSUED, ISSUED + 365 * DAY);
    SignedKeySet { issuer: ISSUER.to_owned(), issued_at, expires_at, serial: 3, keys }
}

fn own(state: KeyState, not_before: Option<i64>, expires_at: Option<i64>) -> SignedKeySet {
    set(vec![ListedKey { key: key().public(), state, not_before, expires_at }, ListedKey::active(public(1))])
}

fn trust(keys: &SignedKeySet) -> Value {
    json!({"root": root().public().to_string(), "key_set": root().sign(keys)})
}

fn trust_text(key_set: String) -> Value {
    json!({"root": root().public().to_string(), "key_set": key_set})
}

fn rooted() -> Vec<Case> {
    let by = |name: &str, keys: &SignedKeySet| case(name, key().sign(&claims())).with("trust", trust(keys));
    let active = own(KeyState::Active, None, None);
    let seen = |serial: u64| json!({"root": root().public().to_string(), "key_set": root().sign(&active), "serial_seen": serial});
    let long = Claims {
        exp: ISSUED + 999 * DAY,
        paid_until: ISSUED + 990 * DAY,
        refresh_after: ISSUED + 990 * DAY,
        ..claims()
    };
    let aged = |name: &str, now: i64| case(name, key().sign(&long)).with("trust", trust(&active)).at(now);
    let later = SignedKeySet { issued_at: ISSUED + 10 * DAY, ..active.clone() };
    vec![
        by("valid: a root-pinned active key", &active),
        case("valid: the other key of the root-pinned set", SigningKey::from_seed(&[1; 32]).sign(&claims()))
            .with("trust", trust(&active)),
        by("valid: issued at the second from which the key signs", &own(KeyState::Active, Some(ISSUED), None)),
        by("key_not_active: issued a second before the key signs", &own(KeyState::Active, Some(ISSUED + 1), None))
            .refused("key_not_active"),
        by("key_retired: issued at the end of an active key", &own(KeyState::Active, None, Some(ISSUED)))
            .refused("key_retired"),
        by("valid: issued a second before the key was retired", &own(KeyState::Retired, None, Some(ISSUED + 1))),
        by("key_retired: issued at the second the key was retired", &own(KeyState::Retired, None, Some(ISSUED)))
            .refused("key_retired"),
        by("key_compromised", &own(KeyState::Compromised, None, None)).refused("key_compromised"),
        by("key_compromised: issued before its end", &own(KeyState::Compromised, None, Some(ISSUED + DAY)))
            .refused("key_compromised"),
        by("key_compromised: outranks the end", &own(KeyState::Compromised, None, None))
            .at(claims().exp)
            .refused("key_compromised"),
        by("valid: serial seen is lower", &active).with("trust", seen(2)),
        by("valid: serial seen is the same", &active).with("trust", seen(3)),
        by("key_set_rollback: serial seen is higher", &active).with("trust", seen(4)).refused("key_set_rollback"),
        aged("valid: a second before the key set ends", active.expires_at - 1),
        aged("key_set_expired: at the end of the key set", active.expires_at).refused("key_set_expired"),
        aged("key_set_expired: the highest time seen counts", active.expires_at - 1)
            .with("highest_time_seen", active.expires_at)
            .refused("key_set_expired"),
        case(
            "not_yet_valid: a clock a day behind the key set",
            key().sign(&Claims { nbf: ISSUED + 10 * DAY, ..claims() }),
        )
        .with("trust", trust(&later))
        .at(ISSUED + 9 * DAY)
        .expect("not_yet_valid"),
        by("clock_behind: a clock a day and a second behind the key set", &later)
            .at(ISSUED + 9 * DAY - 1)
            .expect("clock_behind"),
        by(
            "key_set_invalid: another server's",
            &SignedKeySet { issuer: "https://elsewhere.example".to_owned(), ..active.clone() },
        )
        .refused("key_set_invalid"),
        by("unknown_key: not in the root-pinned set", &set(vec![ListedKey::active(public(1))])).refused("unknown_key"),
    ]
}

/// Key sets that are none. Here the forger's key plays the root, so that anything at all can be signed.
fn unrooted() -> Vec<Case> {
    let active = own(KeyState::Active, None, None);
    let by = |name: &str, trust: Value| {
        case(&format!("key_set_invalid: {name}"), key().sign(&claims())).with("trust", trust).refused("key_set_invalid")
    };
    let pinned = RootKey::from_seed(&[7; 32]).public();
    let key_set_header = json!({"alg": "EdDSA", "typ": "keyset+jwt", "kid": key().key_id()});
    let payload = || {
        let mut jwk = key().public().to_jwk();
        jwk["state"] = json!("active");
        json!({"iss": ISSUER, "iat": ISSUED, "exp": ISSUED + DAY * 365, "serial": 3, "keys": [jwk]})
    };
    let forged = |name: &str, change: fn(&mut Value)| {
        let mut payload = payload();
        change(&mut payload);
        let text = forge(&key_set_header.to_string(), &payload.to_string());
        by(name, json!({"root": pinned.to_string(), "key_set": text}))
    };
    let honest = forge(&key_set_header.to_string(), &payload().to_string());
    let token = root().sign(&active);
    let (message, _) = token.rsplit_once('.').unwrap();
    vec![
        case("valid: the forger can write an honest key set", key().sign(&claims()))
            .with("trust", json!({"root": pinned.to_string(), "key_set": honest})),
        by("another root's", trust_text(RootKey::from_seed(&[66; 32]).sign(&active))),
        by("a wrong signature", trust_text(format!("{message}.{}", encode([1; 64])))),
        by("a plain JWKS", trust_text("{\"keys\":[]}".to_owned())),
        by("a license", trust_text(key().sign(&claims()))),
        forged("exp is missing", |payload| _ = payload.as_object_mut().unwrap().remove("exp")),
        forged("serial is negative", |payload| payload["serial"] = json!(-1)),
        forged("an unknown state", |payload| payload["keys"][0]["state"] = json!("pending")),
        forged("retired without an end", |payload| payload["keys"][0]["state"] = json!("retired")),
        forged("no key", |payload| payload["keys"] = json!([])),
        forged("a key twice", |payload| payload["keys"] = json!([payload["keys"][0], payload["keys"][0]])),
        forged("a private key", |payload| payload["keys"][0]["d"] = json!("AAAA")),
    ]
}

fn listed(idx: u64) -> Claims {
    Claims { status_list: Some(StatusReference { idx, uri: URI.to_owned() }), ..claims() }
}

/// Valid, invalid, suspended, superseded, and again.
fn list() -> StatusList {
    let mut entries = StatusEntries::new(8);
    for (index, status) in
        [Status::Valid, Status::Invalid, Status::Suspended, Status::Superseded].into_iter().enumerate()
    {
        entries.set(index, status);
        entries.set(7 - index, status);
    }
    StatusList {
        uri: URI.to_owned(),
        issued_at: ISSUED,
        expires_at: ISSUED + 2 * DAY,
        ttl_seconds: Some(3600),
        entries,
    }
}

fn by_list(name: &str, idx: u64, list: &StatusList) -> Case {
    case(name, key().sign(&listed(idx))).with("status_list", key().sign_status_list(list))
}

fn statuses() -> Vec<Case> {
    let list = list();
    let mut cases = Vec::new();
    for (idx, fresh) in [
        (0, "valid"),
        (1, "revoked"),
        (2, "suspended"),
        (3, "superseded"),
        (4, "superseded"),
        (6, "revoked"),
        (7, "valid"),
    ] {
        cases.push(by_list(&format!("{fresh}: entry {idx}"), idx, &list).expect(fresh));
    }
    for (idx, graced) in [(0, "in_grace"), (1, "revoked"), (2, "suspended"), (3, "superseded")] {
        let at = ISSUED + 31 * DAY;
        cases.push(by_list(&format!("{graced}: entry {idx} in grace"), idx, &list).at(at).expect(graced));
    }
    for (idx, over) in [(0, "expired"), (1, "revoked"), (2, "expired"), (3, "expired")] {
        cases.push(by_list(&format!("{over}: entry {idx} after the end"), idx, &list).at(claims().exp).expect(over));
    }
    for (idx, early) in [(1, "revoked"), (2, "not_yet_valid"), (3, "not_yet_valid")] {
        cases.push(
            by_list(&format!("{early}: entry {idx} before the beginning"), idx, &list).at(ISSUED - 61).expect(early),
        );
    }
    cases.push(by_list("clock_behind: outranks revoked", 1, &list).at(ISSUED - DAY - 1).expect("clock_behind"));
    cases.push(by_list("status_index_out_of_range: one too far", 8, &list).refused("status_index_out_of_range"));
    cases.push(
        by_list("status_index_out_of_range: 2^53 - 1", (1 << 53) - 1, &list).refused("status_index_out_of_range"),
    );
    let later = StatusList { issued_at: ISSUED + 10 * DAY, ..list };
    cases.push(by_list("valid: a clock a day behind the list", 0, &later).at(ISSUED + 9 * DAY));
    cases.push(
        by_list("clock_behind: a clock behind the list", 0, &later).at(ISSUED + 9 * DAY - 1).expect("clock_behind"),
    );
    cases
}

fn required() -> Vec<Case> {
    let (list, end) = (list(), list().expires_at);
    let other = StatusList { uri: format!("{URI}0"), ..list.clone() };
    let strict = |case: Case| case.with("status_list_required", true);
    vec![
        by_list("valid: an expired list proves nothing, and is not required", 0, &list).at(end),
        by_list("revoked: by an expired list", 1, &list).at(end).expect("revoked"),
        by_list("suspended: by an expired list", 2, &list).at(end).expect("suspended"),
        by_list("valid: another list's entry", 1, &other),
        case("valid: the license names no list", key().sign(&claims()))
            .with("status_list", key().sign_status_list(&list)),
        case("valid: the named list is not at hand", key().sign(&listed(1))),
        strict(by_list("valid: a required list, a second before its end", 0, &list)).at(end - 1),
        strict(by_list("status_list_expired: a required list, at its end", 0, &list))
            .at(end)
            .refused("status_list_expired"),
        strict(by_list("status_list_expired: superseded", 3, &list)).at(end).refused("status_list_expired"),
        strict(by_list("revoked: by a required list that has expired", 1, &list)).at(end).expect("revoked"),
        strict(by_list("status_list_missing: another list", 0, &other)).refused("status_list_missing"),
        strict(case("status_list_missing: none", key().sign(&listed(0)))).refused("status_list_missing"),
        strict(case("valid: a required list, and the license names none", key().sign(&claims()))),
    ]
}

/// Lists that are none.
fn unlisted() -> Vec<Case> {
    let refused = |name: &str, list: String| {
        case(&format!("status_list_invalid: {name}"), key().sign(&listed(0)))
            .with("status_list", list)
            .refused("status_list_invalid")
    };
    let list_header = json!({"alg": "EdDSA", "typ": "statuslist+jwt", "kid": key().key_id()}).to_string();
    let forged = |bits: Value, lst: &str| {
        let payload =
            json!({"sub": URI, "iat": ISSUED, "exp": ISSUED + DAY, "status_list": {"bits": bits, "lst": lst}});
        forge(&list_header, &payload.to_string())
    };
    let draft = "eNo76fITAAPfAgc";
    let bomb = encode(miniz_oxide::deflate::compress_to_vec_zlib(&vec![0; 4 << 20], 9));
    let without_exp = json!({"sub": URI, "iat": ISSUED, "status_list": {"bits": 2, "lst": draft}}).to_string();
    let token = key().sign_status_list(&list());
    let (message, _) = token.rsplit_once('.').unwrap();
    vec![
        case("revoked: the example of the draft", key().sign(&listed(0)))
            .with("status_list", forged(json!(2), draft))
            .expect("revoked"),
        refused("a stranger's", SigningKey::from_seed(&[66; 32]).sign_status_list(&list())),
        refused("a wrong signature", format!("{message}.{}", encode([1; 64]))),
        refused("a license", key().sign(&claims())),
        refused("signed as a license", forge(&header().to_string(), &without_exp)),
        refused("exp is missing", forge(&list_header, &without_exp)),
        refused("one bit an entry", forged(json!(1), draft)),
        refused("eight bits an entry", forged(json!(8), draft)),
        refused("bits is a text", forged(json!("2"), draft)),
        refused("not compressed", forged(json!(2), "yUT5")),
        refused("a wrong check sum", forged(json!(2), "eNo76fITAAPfAgd")),
        refused("cut off", forged(json!(2), "eNo76fITAAPf")),
        refused("a decompression bomb", forged(json!(2), &bomb)),
        refused("empty", String::new()),
    ]
}

fn both() -> Vec<Case> {
    let by = |name: &str, keys: &SignedKeySet| by_list(name, 0, &list()).with("trust", trust(keys));
    let older = SigningKey::from_seed(&[1; 32]);
    vec![
        by("valid: a list under a root-pinned key", &own(KeyState::Active, None, None)),
        case("status_list_invalid: a list by a compromised key", older.sign(&listed(0)))
            .with("status_list", key().sign_status_list(&list()))
            .with("trust", trust(&own(KeyState::Compromised, None, None)))
            .refused("status_list_invalid"),
        case("status_list_invalid: a list issued after its key was retired", older.sign(&listed(0)))
            .with("status_list", key().sign_status_list(&list()))
            .with("trust", trust(&own(KeyState::Retired, None, Some(ISSUED))))
            .refused("status_list_invalid"),
    ]
}
