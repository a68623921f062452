//! Status lists: what they say, what they cannot say, and clocks that are turned back.

use counterfoil_license::{
    Claims, Expectations, Reason, SigningKey, State, Status, StatusEntries, StatusList, StatusListError,
    StatusReference, Verified, Verifier,
};
use serde_json::json;

use crate::forge::{DAY, ISSUED, ISSUER, PRODUCT, claims, forge, header, key, keys, verify_at};

const URI: &str = "https://billing.example.com/status/1";

fn listed_claims(idx: u64) -> Claims {
    Claims { status_list: Some(StatusReference { idx, uri: URI.to_owned() }), ..claims() }
}

/// Valid, invalid, suspended, superseded: entry by entry.
fn list() -> StatusList {
    let mut entries = StatusEntries::new(4);
    entries.set(1, Status::Invalid);
    entries.set(2, Status::Suspended);
    entries.set(3, Status::Superseded);
    StatusList { uri: URI.to_owned(), issued_at: ISSUED, expires_at: ISSUED + DAY, ttl_seconds: Some(3600), entries }
}

fn expect() -> Expectations<'static> {
    Expectations::new(ISSUER, PRODUCT)
}

fn by_list(claims: &Claims, list: Option<&StatusList>, now_unix: i64) -> State {
    Verifier::new(&keys(), expect()).status_list(list).verify(&key().sign(claims), now_unix).state
}

#[test]
fn a_list_survives_its_token() {
    let token = key().sign_status_list(&list());
    assert_eq!(StatusList::open(&token, &keys()), Ok(list()));
    let open_ended = StatusList { ttl_seconds: None, ..list() };
    assert_eq!(StatusList::open(&key().sign_status_list(&open_ended), &keys()), Ok(open_ended));
}

#[test]
fn an_entry_says_what_was_set_last_and_nothing_about_those_beside_it() {
    const ALL: [Status; 4] = [Status::Valid, Status::Invalid, Status::Suspended, Status::Superseded];
    for (index, before, beside, after) in (0..256).map(|n| (n % 4, ALL[n / 4 % 4], ALL[n / 16 % 4], ALL[n / 64])) {
        let mut entries = StatusEntries::new(4);
        for each in 0..4 {
            entries.set(each, if each == index { before } else { beside });
        }
        entries.set(index, after);
        let expected = (0..4).map(|each| Some(if each == index { after } else { beside }));
        assert!((0..4).map(|each| entries.get(each)).eq(expected), "{index}: {before:?} to {after:?}");
    }
}

#[test]
fn each_status_has_its_state_and_the_end_outranks_an_interruption() {
    let list = list();
    for (idx, fresh, graced, over) in [
        (0, State::Valid, State::InGrace, State::Expired),
        (1, State::Revoked, State::Revoked, State::Revoked),
        (2, State::Suspended, State::Suspended, State::Expired),
        (3, State::Superseded, State::Superseded, State::Expired),
    ] {
        let states = [0, 31, 38].map(|day| by_list(&listed_claims(idx), Some(&list), ISSUED + day * DAY));
        assert_eq!(states, [fresh, graced, over], "entry {idx}");
    }
    assert_eq!(by_list(&listed_claims(4), Some(&list), ISSUED), State::Invalid(Reason::StatusIndexOutOfRange));
    assert_eq!(by_list(&listed_claims(u64::MAX), Some(&list), ISSUED), State::Invalid(Reason::StatusIndexOutOfRange));
}

#[test]
fn a_list_that_is_not_the_license_s_says_nothing() {
    let other = StatusList { uri: "https://billing.example.com/status/2".to_owned(), ..list() };
    for (claims, list) in [(listed_claims(1), None), (listed_claims(1), Some(&other)), (claims(), Some(&list()))] {
        assert_eq!(by_list(&claims, list, ISSUED), State::Valid);
    }
}

#[test]
fn a_product_can_insist_on_a_list_in_force() {
    let list = list();
    let verify = |claims: &Claims, list: Option<&StatusList>, now_unix| {
        let keys = keys();
        let verifier = Verifier::new(&keys, expect()).status_list(list).require_status_list(true);
        verifier.verify(&key().sign(claims), now_unix).state
    };
    assert_eq!(verify(&listed_claims(0), None, ISSUED), State::Invalid(Reason::StatusListMissing));
    assert_eq!(verify(&listed_claims(0), Some(&list), list.expires_at - 1), State::Valid);
    assert_eq!(verify(&listed_claims(0), Some(&list), list.expires_at), State::Invalid(Reason::StatusListExpired));
    assert_eq!(verify(&listed_claims(1), Some(&list), list.expires_at), State::Revoked, "once revoked, for good");
    assert_eq!(verify(&claims(), None, ISSUED), State::Valid, "this license names no list");
}

#[test]
fn only_our_own_list_of_two_bits_is_opened() {
    let thief = SigningKey::from_seed(&[66; 32]).sign_status_list(&list());
    let open = |token: &str| StatusList::open(token, &keys()).err();
    assert_eq!(open(&thief), Some(StatusListError::NotSigned(Reason::UnknownKey)));
    assert_eq!(open(&key().sign(&claims())), Some(StatusListError::NotSigned(Reason::WrongType)));
    assert_eq!(verify_at(&key().sign_status_list(&list()), ISSUED).state, State::Invalid(Reason::WrongType));
    let mut header = header();
    header["typ"] = json!("statuslist+jwt");
    let good = json!({"sub": URI, "iat": 1, "exp": 2, "status_list": {"bits": 2, "lst": "eNo76fITAAPfAgc"}});
    assert_eq!(open(&forge(&header.to_string(), &good.to_string())), None);
    for (pointer, value, error) in [
        ("/status_list/bits", json!(1), StatusListError::Malformed),
        ("/status_list/bits", json!(8), StatusListError::Malformed),
        ("/status_list/lst", json!("eNo76fITAAPfAgd"), StatusListError::Entries),
        ("/status_list", json!([]), StatusListError::Malformed),
        ("/sub", json!(1), StatusListError::Malformed),
        ("/exp", json!(null), StatusListError::Malformed),
    ] {
        let mut wrong = good.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert_eq!(open(&forge(&header.to_string(), &wrong.to_string())), Some(error), "{wrong}");
    }
}

#[test]
fn a_clock_that_was_turned_back_buys_no_time() {
    let token = key().sign(&claims());
    let verify = |highest: i64, now_unix: i64| -> Verified {
        Verifier::new(&keys(), expect()).highest_time_seen(highest).verify(&token, now_unix)
    };
    let seen = claims().exp + 1;
    assert_eq!(verify(seen, seen - DAY).state, State::Expired, "within the skew the time seen counts");
    assert_eq!(verify(seen, seen - DAY - 1).state, State::ClockBehind);
    assert_eq!(verify(ISSUED, ISSUED + 1).state, State::Valid);
    assert!(verify(seen, seen - DAY - 1).claims.is_some());

    let strict = Verifier::new(&keys(), expect()).clock_skew(0).highest_time_seen(ISSUED + 1).verify(&token, ISSUED);
    assert_eq!(strict.state, State::ClockBehind);
    let later = StatusList { issued_at: ISSUED + 10 * DAY, ..list() };
    assert_eq!(by_list(&claims(), Some(&later), ISSUED + 9 * DAY), State::Valid);
    assert_eq!(
        by_list(&claims(), Some(&later), ISSUED + 9 * DAY - 1),
        State::ClockBehind,
        "the list is from the future"
    );
}
