//! What holds for every license, every time and every text.

use counterfoil_license::{Claims, Expectations, KeySet, SigningKey, State, StatusReference, inspect, verify};
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
