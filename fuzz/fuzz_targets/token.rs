//! A token from a stranger: as it is, and as the payload of one that is signed well. Nothing makes the verifier panic, and it hands
//! out rights only for what it calls entitled.

#![no_main]

use counterfoil_fuzz::{expect, keys, signed};
use counterfoil_license::{State, Verifier, inspect, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], i64, i64)| {
    let (bytes, now_unix, highest) = input;
    let keys = keys();
    let stranger = String::from_utf8_lossy(bytes);
    assert!(matches!(verify(&stranger, &keys, &expect(), now_unix).state, State::Invalid(_)));
    let _ = inspect(&stranger);

    let token = signed("license+jwt", bytes);
    let verified = Verifier::new(&keys, expect()).highest_time_seen(highest).verify(&token, now_unix);
    assert!(verified.entitled() || verified.features().is_empty());
    if verified.entitled() {
        let claims = verified.claims.as_ref().expect("rights have a source");
        let clock = now_unix.max(highest);
        assert!(clock < claims.exp && claims.nbf <= clock && claims.aud == "acme-editor");
    }
});
