//! Keys that a pinned root vouches for: rotation without a release, and what a stolen key is worth.

use counterfoil_license::{
    Claims, Expectations, KEYS_MAX, KeySetError, KeyState, ListedKey, PublicKey, Reason, RootKey, SignedKeySet,
    SignedKeySetError, SigningKey, State, StatusEntries, StatusList, StatusListError, Verifier,
};
use serde_json::{Value, json};

use crate::forge::{DAY, ISSUED, ISSUER, PRODUCT, claims, decode, forge, key, verify_at};

fn root() -> RootKey {
    RootKey::from_seed(&[9; 32])
}

fn set(keys: Vec<ListedKey>) -> SignedKeySet {
    let (issued_at, expires_at) = (ISSUED, ISSUED + 365 * DAY);
    SignedKeySet { issuer: ISSUER.to_owned(), issued_at, expires_at, serial: 3, keys }
}

fn listed(state: KeyState, not_before: Option<i64>, expires_at: Option<i64>) -> SignedKeySet {
    set(vec![ListedKey { key: key().public(), state, not_before, expires_at }])
}

fn open(text: &str) -> Result<SignedKeySet, SignedKeySetError> {
    SignedKeySet::open(text, &root().public(), Some(3))
}

fn state_by(keys: &SignedKeySet, claims: &Claims, now_unix: i64) -> State {
    let keys = open(&root().sign(keys)).unwrap();
    Verifier::new(&keys, Expectations::new(ISSUER, PRODUCT)).verify(&key().sign(claims), now_unix).state
}

#[test]
fn a_key_set_survives_its_token_and_its_root_the_text_and_the_pem() {
    let keys = set(vec![
        ListedKey::active(key().public()),
        ListedKey { key: public(1), state: KeyState::Retired, not_before: Some(1), expires_at: Some(2) },
        ListedKey { key: public(2), state: KeyState::Compromised, not_before: None, expires_at: None },
    ]);
    assert_eq!(open(&root().sign(&keys)), Ok(keys));
    assert_eq!(root().public().to_string().parse(), Ok(root().public()));
    assert_eq!(RootKey::from_pem(&root().to_pem()).unwrap().public(), root().public());
}

#[test]
fn a_key_set_names_the_root_that_signed_it() {
    let token = root().sign(&set(vec![ListedKey::active(key().public())]));
    let header: Value = serde_json::from_slice(&decode(token.split('.').next().unwrap())).unwrap();
    assert_eq!(header["kid"], root().public().key_id());
    // The root's bytes make a signing key as well, whose id is the thumbprint of RFC 7638.
    assert_eq!(root().public().key_id(), public(9).key_id());
}

fn public(seed: u8) -> PublicKey {
    SigningKey::from_seed(&[seed; 32]).public()
}

#[test]
fn a_key_signs_in_its_state_and_time() {
    let invalid = State::Invalid;
    for (state, not_before, expires_at, expected) in [
        (KeyState::Active, None, None, State::Valid),
        (KeyState::Active, Some(ISSUED), Some(ISSUED + 1), State::Valid),
        (KeyState::Active, Some(ISSUED + 1), None, invalid(Reason::KeyNotActive)),
        (KeyState::Active, None, Some(ISSUED), invalid(Reason::KeyRetired)),
        (KeyState::Retired, None, Some(ISSUED + 1), State::Valid),
        (KeyState::Retired, None, Some(ISSUED), invalid(Reason::KeyRetired)),
        (KeyState::Compromised, None, None, invalid(Reason::KeyCompromised)),
        (KeyState::Compromised, None, Some(ISSUED + 1), invalid(Reason::KeyCompromised)),
    ] {
        let keys = listed(state, not_before, expires_at);
        assert_eq!(state_by(&keys, &claims(), ISSUED), expected, "{keys:?}");
    }
    let keys = listed(KeyState::Compromised, None, None);
    let verified = Verifier::new(&keys, Expectations::new(ISSUER, PRODUCT)).verify(&key().sign(&claims()), ISSUED);
    assert_eq!(verified.claims, None, "what a thief may have written is not shown as ours");
}

#[test]
fn the_set_is_for_one_server_and_for_a_time() {
    let keys = listed(KeyState::Active, None, None);
    let long = Claims {
        exp: ISSUED + 999 * DAY,
        paid_until: ISSUED + 990 * DAY,
        refresh_after: ISSUED + 990 * DAY,
        ..claims()
    };
    assert_eq!(state_by(&keys, &long, keys.expires_at - 1), State::Valid);
    assert_eq!(state_by(&keys, &long, keys.expires_at), State::Invalid(Reason::KeySetExpired));
    let newer = SignedKeySet { issued_at: ISSUED + 10 * DAY, ..keys.clone() };
    assert_eq!(state_by(&newer, &long, ISSUED + 9 * DAY - 1), State::ClockBehind);
    let foreign = SignedKeySet { issuer: "https://elsewhere.example.com".to_owned(), ..keys };
    assert_eq!(state_by(&foreign, &claims(), ISSUED), State::Invalid(Reason::KeySetInvalid));
}

#[test]
fn an_older_set_is_not_brought_back() {
    let text = root().sign(&listed(KeyState::Active, None, None));
    for (seen, error) in [(None, None), (Some(2), None), (Some(3), None), (Some(4), Some(SignedKeySetError::Rollback))]
    {
        assert_eq!(SignedKeySet::open(&text, &root().public(), seen).err(), error, "{seen:?}");
    }
}

#[test]
fn only_the_root_signs_key_sets_and_nothing_else() {
    let keys = listed(KeyState::Active, None, None);
    let thief = RootKey::from_seed(&[66; 32]).sign(&keys);
    assert_eq!(open(&thief).err(), Some(SignedKeySetError::NotSigned(Reason::UnknownKey)));
    let altered = thief.replace(&encode_kid(&thief), &encode_kid(&root().sign(&keys)));
    assert_eq!(open(&altered).err(), Some(SignedKeySetError::NotSigned(Reason::BadSignature)));
    let license = key().sign(&claims());
    assert_eq!(open(&license).err(), Some(SignedKeySetError::NotSigned(Reason::WrongType)));
    assert_eq!(verify_at(&root().sign(&keys), ISSUED).state, State::Invalid(Reason::WrongType));
}

fn encode_kid(token: &str) -> String {
    token.split_once('.').unwrap().0.to_owned()
}

#[test]
fn a_set_with_anything_unexpected_is_refused_whole() {
    let header = json!({"alg": "EdDSA", "typ": "keyset+jwt", "kid": key().key_id()}).to_string();
    // The forger's key plays the root here.
    let pinned = RootKey::from_seed(&[7; 32]).public();
    let open = |payload: &str| SignedKeySet::open(&forge(&header, payload), &pinned, None);
    let mut jwk = key().public().to_jwk();
    jwk["state"] = json!("active");
    let good = json!({"iss": "i", "iat": 1, "exp": 2, "serial": 0, "keys": [jwk, {"kty": "RSA"}]});
    assert_eq!(open(&good.to_string()).map(|set| set.keys.len()), Ok(1), "keys of other kinds are passed over");
    let malformed = SignedKeySetError::Malformed;
    for (pointer, value, error) in [
        ("/serial", json!(-1), malformed),
        ("/exp", json!(null), malformed),
        ("/keys/0/state", json!("pending"), malformed),
        ("/keys/0/state", json!("retired"), malformed),
        ("/keys/0/kid", json!("x"), SignedKeySetError::Keys(KeySetError::KeyIdMismatch)),
        ("/keys/0", json!({"kty": "EC"}), SignedKeySetError::Keys(KeySetError::Empty)),
        ("/keys/1", jwk.clone(), malformed),
    ] {
        let mut wrong = good.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert_eq!(open(&wrong.to_string()).err(), Some(error), "{wrong}");
    }
    assert_eq!(open(&good.to_string().replace("\"serial\":0", "\"serial\":0,\"serial\":9")).err(), Some(malformed));
    let many = |count: usize| {
        let keys = (0..count).map(|index| ListedKey::active(public(u8::try_from(index).unwrap()))).collect();
        SignedKeySet::open(&root().sign(&set(keys)), &root().public(), None).map(|set| set.keys.len())
    };
    assert_eq!(many(KEYS_MAX), Ok(KEYS_MAX));
    assert_eq!(many(KEYS_MAX + 1), Err(SignedKeySetError::Keys(KeySetError::TooManyKeys)));
}

#[test]
fn a_status_list_is_believed_as_far_as_its_key() {
    let list = StatusList {
        uri: "u".to_owned(),
        issued_at: ISSUED,
        expires_at: ISSUED + DAY,
        ttl_seconds: None,
        entries: StatusEntries::new(4),
    };
    let token = key().sign_status_list(&list);
    for (keys, error) in [
        (listed(KeyState::Active, None, None), None),
        (listed(KeyState::Retired, None, Some(ISSUED)), Some(Reason::KeyRetired)),
        (listed(KeyState::Compromised, None, None), Some(Reason::KeyCompromised)),
    ] {
        assert_eq!(StatusList::open(&token, &keys).err(), error.map(StatusListError::NotSigned));
    }
}
