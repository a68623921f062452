//! What holds for every license, every time and every text.

use counterfoil_license::{
    Claims, Expectations, KeySet, LicenseFile, RootKey, STATUS_LIST_ENTRIES_MAX, SignedKeySet, SigningKey, State,
    Status, StatusEntries, StatusList, StatusReference, inspect, state_at, timeline, verify,
};
use proptest::prelude::*;

use crate::forge::{ISSUED, claims, encode, forge, header, key, keys, verify_at};

fn any_claims() -> impl Strategy<Value = Claims> {
    let texts = (any::<String>(), any::<String>(), any::<String>(), any::<String>(), any::<String>(), any::<String>());
    let times = (any::<i64>(), any::<i64>(), any::<i64>(), any::<i64>(), any::<i64>(), any::<i64>());
    let rights = (
        any::<i64>(),
        any::<bool>(),
        prop::option::of((any::<u64>(), any::<String>()).prop_map(|(idx, uri)| StatusReference { idx, uri })),
        prop::collection::vec(any::<String>(), 0..4),
        prop::collection::btree_map(any::<String>(), any::<i64>(), 0..4),
    );
    (texts, times, rights).prop_map(|(texts, times, rights)| {
        let (iss, customer_id, aud, jti, plan, status) = texts;
        let (iat, nbf, exp, paid_until, grace_until, refresh_after) = times;
        let (ver, trial, status_list, features, limits) = rights;
        let sub = customer_id.clone();
        Claims {
            iss,
            sub,
            customer_id,
            aud,
            iat,
            nbf,
            exp,
            jti,
            ver,
            plan,
            status,
            trial,
            features,
            limits,
            paid_until,
            grace_until,
            refresh_after,
            status_list,
        }
    })
}

/// Texts that are nearly tokens: parts of one, in any order, with noise between.
fn nearly_a_token() -> impl Strategy<Value = String> {
    let honest = key().sign(&claims());
    let mut pieces: Vec<String> = honest.split('.').map(str::to_owned).collect();
    pieces.extend([".".to_owned(), "..".to_owned(), encode("{}"), encode(header().to_string()), honest]);
    let piece = prop_oneof![prop::sample::select(pieces), "[A-Za-z0-9_-]{0,9}", any::<String>()];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.join("."))
}

proptest! {
    // Unoptimized, a signature takes milliseconds.
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_was_signed_is_what_is_read(claims in any_claims(), seed: [u8; 32], now_unix: i64) {
        let key = SigningKey::from_seed(&seed);
        let token = key.sign(&claims);
        let keys = KeySet::from_jwks(&KeySet::new([key.public()]).unwrap().to_jwks().to_string()).unwrap();
        let verified = verify(&token, &keys, &Expectations::new(&claims.iss, &claims.aud), now_unix);
        prop_assert_eq!(verified.claims.as_ref(), Some(&claims));
        let entitled = claims.exp > claims.iat && claims.nbf <= now_unix && now_unix < claims.exp
            && claims.iat <= now_unix.saturating_add(86_400);
        prop_assert_eq!(verified.entitled(), entitled);
        prop_assert_eq!(inspect(&token).unwrap().1, claims);
        prop_assert_eq!(SigningKey::from_pem(&key.to_pem()).unwrap().sign(&verified.claims.unwrap()), token);
    }

    #[test]
    fn a_stranger_s_key_opens_nothing(claims in any_claims(), seed: [u8; 32]) {
        let verified = verify_at(&SigningKey::from_seed(&seed).sign(&claims), ISSUED);
        prop_assert!(matches!(verified.state, State::Invalid(_)) && verified.claims.is_none());
    }

    #[test]
    fn no_text_panics_or_entitles(token in any::<String>(), now_unix: i64) {
        prop_assert!(!verify_at(&token, now_unix).entitled());
        prop_assert!(inspect(&token).is_err());
        _ = KeySet::from_jwks(&token);
        _ = SigningKey::from_pem(&token);
    }

    #[test]
    fn nothing_but_the_token_itself_entitles(token in nearly_a_token()) {
        prop_assert_eq!(verify_at(&token, ISSUED).entitled(), token == key().sign(&claims()));
        _ = inspect(&token);
    }

    #[test]
    fn any_signed_bytes_have_an_answer(header_text in any::<String>(), payload in any::<String>()) {
        prop_assert!(!verify_at(&forge(&header_text, &payload), ISSUED).entitled());
        prop_assert!(!verify_at(&forge(&header().to_string(), &payload), ISSUED).entitled());
    }

    #[test]
    fn a_few_altered_characters_never_verify(
        edits in prop::collection::vec((any::<prop::sample::Index>(), "[A-Za-z0-9_.-]"), 1..4)
    ) {
        let honest = key().sign(&claims());
        let mut altered = honest.clone();
        for (position, character) in edits {
            let position = position.index(altered.len());
            altered.replace_range(position..=position, &character);
        }
        prop_assert_eq!(verify_at(&altered, ISSUED).claims.is_some(), altered == honest);
    }

    #[test]
    fn any_key_set_text_has_an_answer(x in prop::collection::vec(any::<u8>(), 0..40), name in "kid|alg|use|d|kty|crv|x", value: String) {
        let mut jwk = keys().to_jwks()["keys"][0].clone();
        jwk["x"] = encode(x).into();
        jwk[name] = value.into();
        _ = KeySet::from_jwks(&serde_json::json!({"keys": [jwk]}).to_string());
    }
}

/// Texts that are nearly license files: pieces of one, in any order, with noise between.
fn nearly_a_file() -> impl Strategy<Value = String> {
    let file =
        LicenseFile { license: key().sign(&claims()), key_set: Some("a.b.c".into()), status_list: Some("d".into()) };
    let pieces: Vec<String> = file.to_string().lines().map(str::to_owned).collect();
    let piece = prop_oneof![3 => prop::sample::select(pieces), 1 => "[-A-Za-z0-9_.:=> ]{0,70}", 1 => any::<String>()];
    let end = prop::sample::select(vec!["\n", "\r\n", "\r", ""]);
    prop::collection::vec((piece, end), 0..20)
        .prop_map(|lines| lines.into_iter().flat_map(|(a, b)| [a, b.to_owned()]).collect())
}

proptest! {
    #[test]
    fn any_file_has_an_answer_and_what_was_written_is_read(
        text in nearly_a_file(),
        license in "[A-Za-z0-9_.-]{1,300}",
        key_set in prop::option::of("[A-Za-z0-9_.-]{1,300}"),
        status_list in prop::option::of("[A-Za-z0-9_.-]{1,300}"),
    ) {
        if let Ok(found) = LicenseFile::parse(&text) {
            prop_assert!(found.license.len() <= text.len());
        }
        let file = LicenseFile { license, key_set, status_list };
        prop_assert_eq!(LicenseFile::parse(&file.to_string().replace('\n', "\r\n")), Ok(file));
    }

    #[test]
    fn any_claims_make_a_file_that_is_read(claims in any_claims()) {
        let file = LicenseFile { license: key().sign(&claims), key_set: None, status_list: None };
        prop_assert_eq!(LicenseFile::parse(&file.to_string()), Ok(file));
        let phases = timeline(&claims);
        prop_assert!(phases.len() <= 5);
        for phase in phases {
            prop_assert_eq!(phase.begins_at.map_or(phase.state, |at| state_at(&claims, at)), phase.state);
        }
    }

    #[test]
    fn any_signed_bytes_are_no_panic_as_a_list_or_a_key_set(
        payload in any::<String>(),
        lst in prop::collection::vec(any::<u8>(), 0..200),
        bits in 0_u64..5,
        keys in prop::collection::vec(any::<bool>(), 0..4),
    ) {
        let typed = |typ: &str| serde_json::json!({"alg": "EdDSA", "typ": typ, "kid": key().key_id()}).to_string();
        let root = RootKey::from_seed(&[7; 32]).public();
        let list = serde_json::json!({"sub": "u", "iat": 1, "exp": 2, "status_list": {"bits": bits, "lst": encode(lst)}});
        let own = key().public().to_jwk();
        let set = serde_json::json!({"iss": "i", "iat": 1, "exp": 2, "serial": 3, "keys": keys.iter().map(|active| {
            let mut jwk = own.clone();
            jwk["state"] = if *active { "active" } else { "retired" }.into();
            jwk
        }).collect::<Vec<_>>()});
        for payload in [payload, list.to_string(), set.to_string()] {
            if let Ok(list) = StatusList::open(&forge(&typed("statuslist+jwt"), &payload), &crate::forge::keys()) {
                prop_assert!(list.entries.count() <= STATUS_LIST_ENTRIES_MAX && bits == 2);
            }
            if let Ok(set) = SignedKeySet::open(&forge(&typed("keyset+jwt"), &payload), &root, None) {
                prop_assert_eq!(set.keys.len(), 1);
            }
            prop_assert!(StatusList::open(&payload, &crate::forge::keys()).is_err());
            prop_assert!(SignedKeySet::open(&payload, &root, None).is_err());
        }
    }

    #[test]
    fn entries_are_packed_and_unpacked(statuses in prop::collection::vec(0_usize..4, 0..300)) {
        const ALL: [Status; 4] = [Status::Valid, Status::Invalid, Status::Suspended, Status::Superseded];
        let mut entries = StatusEntries::new(statuses.len());
        for (index, status) in statuses.iter().enumerate() {
            entries.set(index, ALL[*status]);
        }
        let list = StatusList { uri: "u".into(), issued_at: 1, expires_at: 2, ttl_seconds: None, entries };
        let opened = StatusList::open(&key().sign_status_list(&list), &crate::forge::keys());
        prop_assert_eq!(opened.as_ref(), Ok(&list));
        for (index, status) in statuses.iter().enumerate() {
            prop_assert_eq!(list.entries.get(index as u64), Some(ALL[*status]));
        }
    }
}
