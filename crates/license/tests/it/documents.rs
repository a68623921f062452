//! The page for vendors shows the programs that are tested, letter by letter, and every code there is.

#![expect(clippy::disallowed_methods, reason = "a vendor's product reads its own clock")]

use std::time::{SystemTime, UNIX_EPOCH};

use counterfoil_license::{Claims, LicenseFile, ListedKey, RootKey, SignedKeySet};

use crate::forge::{DAY, ISSUER, claims, key};

#[path = "../../../../tests/foreign/verify_rust.rs"]
mod snippet;

const PAGE: &str = include_str!("../../../../docs/licenses.md");

#[test]
fn the_page_shows_the_tested_programs() {
    for program in [
        include_str!("../../../../tests/foreign/verify_rust.rs"),
        include_str!("../../../../tests/foreign/verify_jose.mjs"),
        include_str!("../../../../tests/foreign/verify_pyjwt.py"),
    ] {
        assert!(PAGE.contains(program), "docs/licenses.md and tests/foreign differ:\n{program}");
    }
}

#[test]
fn the_page_s_program_in_rust_runs() {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let root = RootKey::from_seed(&[9; 32]);
    let keys = vec![ListedKey::active(key().public())];
    let set = SignedKeySet { issuer: ISSUER.to_owned(), issued_at: now, expires_at: now + DAY, serial: 1, keys };
    let allowed = |paid_until: i64| {
        let end = now + 7 * DAY;
        let claims = Claims {
            iat: now,
            nbf: now - 60,
            exp: end,
            grace_until: end,
            paid_until,
            refresh_after: paid_until,
            ..claims()
        };
        let file = LicenseFile { license: key().sign(&claims), key_set: Some(root.sign(&set)), status_list: None };
        let ask = |feature| snippet::allowed(feature, &file.to_string(), &root.public().to_string()).unwrap();
        (ask("export"), ask("unheard-of").0)
    };
    assert_eq!(allowed(now + DAY), ((true, None), false));
    let ((runs, notice), other) = allowed(now);
    assert!(runs && !other && notice.is_some_and(|notice| notice.contains("paid period is over")));
}

#[test]
fn the_page_explains_every_code_and_claim() {
    let codes = "valid refresh_due in_grace expired not_yet_valid too_large malformed unsupported_algorithm wrong_type \
                 forbidden_header unknown_key bad_signature missing_claim invalid_claim wrong_issuer wrong_audience \
                 superseded suspended revoked clock_behind key_compromised key_retired key_not_active key_set_invalid \
                 key_set_expired key_set_rollback status_list_invalid status_index_out_of_range status_list_missing \
                 status_list_expired status_list";
    let claims = serde_json::to_value(crate::forge::claims()).unwrap();
    let names = claims.as_object().unwrap().keys().map(String::as_str);
    for word in codes.split_whitespace().chain(names) {
        assert!(
            PAGE.contains(&format!("| `{word}`")) || PAGE.contains(&format!(", `{word}`")),
            "{word} is not explained"
        );
    }
}
