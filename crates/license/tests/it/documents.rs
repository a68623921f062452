//! The page for vendors shows the programs that are tested, letter by letter, and every code there is.

const PAGE: &str = include_str!("../../../../docs/verify-license.md");

#[test]
fn the_page_shows_the_tested_programs() {
    for program in [
        include_str!("../../../../tests/foreign/verify_jose.mjs"),
        include_str!("../../../../tests/foreign/verify_pyjwt.py"),
    ] {
        assert!(PAGE.contains(program), "docs/verify-license.md and tests/foreign differ:\n{program}");
    }
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
