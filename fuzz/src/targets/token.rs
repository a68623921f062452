//! A licence from a stranger, as it is, and as the payload of one that is signed well. Nothing makes the verifier panic, and it hands out
//! rights only for what it calls entitled. The first line holds the product's clock and the highest instant that it has seen.

use counterfoil_license::{State, Verifier, inspect, verify};

use super::first_line;
use super::signed::{ISSUER, PRODUCT, expect, keys, signed};

pub fn run(bytes: &[u8]) {
    let (instants, payload) = first_line(bytes);
    let instants = String::from_utf8_lossy(instants);
    let mut instants = instants.split(' ').map(|text| text.parse::<i64>().unwrap_or(0));
    let (now, highest) = (instants.next().unwrap_or(0), instants.next().unwrap_or(0));

    let keys = keys();
    let stranger = String::from_utf8_lossy(payload);
    assert!(matches!(verify(&stranger, &keys, &expect(), now).state, State::Invalid(_)), "nobody of ours signed it");
    let _ = inspect(&stranger);

    let token = signed("license+jwt", payload);
    let verified = Verifier::new(&keys, expect()).highest_time_seen(highest).verify(&token, now);
    assert!(verified.entitled() || verified.features().is_empty());
    if verified.entitled() {
        let claims = verified.claims.as_ref().expect("rights have a source");
        let clock = now.max(highest);
        assert!(clock < claims.exp && claims.nbf <= clock, "{claims:?} at {clock}");
        assert!(claims.aud == PRODUCT && claims.iss == ISSUER, "{claims:?}");
        let (_, inspected) = inspect(&token).expect("what is entitled can be looked at");
        assert_eq!(&inspected, claims, "one text, one meaning");
    }
    // As another kind of text the same payload is worth nothing.
    let other = signed("statuslist+jwt", payload);
    assert!(
        matches!(verify(&other, &keys, &expect(), now).state, State::Invalid(_)),
        "a licence by its contents alone"
    );
}
