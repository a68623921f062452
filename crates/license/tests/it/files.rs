//! What a person sees of a license: its file, and its life as a list of phases.

use counterfoil_license::{
    Claims, LicenseFile, LicenseFileError, Phase, STATUS_LIST_TOKEN_BYTES_MAX, State, TOKEN_BYTES_MAX, state_at,
    timeline,
};

use crate::forge::{DAY, ISSUED, claims, key};

#[test]
fn a_file_says_in_plain_words_what_it_is() {
    let text = LicenseFile { license: key().sign(&claims()), key_set: None, status_list: None }.to_string();
    let head: Vec<&str> = text.lines().take(8).collect();
    assert_eq!(
        head,
        [
            "-----BEGIN COUNTERFOIL LICENSE-----",
            "Product: acme-editor",
            "Customer: cust_0f1e2d3c4b5a69788796a5b4c3d2e1f0",
            "Plan: professional",
            "Issued: 2027-01-15",
            "Paid until: 2027-02-14",
            "Works until: 2027-02-21",
            "",
        ]
    );
}

#[test]
fn the_company_is_a_comment_more_where_every_program_keeps_it() {
    let file = LicenseFile { license: key().sign(&claims()), key_set: None, status_list: Some("a.b.c".to_owned()) };
    let long = "Very Long Names and Sons ".repeat(4);
    for (company, expected) in [
        ("Test Corp", Some("Company: Test Corp")),
        ("-----END COUNTERFOIL LICENSE-----", Some("Company: -----END COUNTERFOIL LICENSE-----")),
        (long.as_str(), Some("Company: Very Long Names and Sons Very Long Names and Sons V")),
        ("", None),
        ("Zoë & Söhne", None),
        ("Test\nCorp", None),
    ] {
        let text = file.to_text_for(company);
        assert_eq!(text.lines().find(|line| line.starts_with("Company")).map(str::trim_end), expected, "{company}");
        assert_eq!(LicenseFile::parse(&text).as_ref(), Ok(&file), "{company}");
    }
}

#[test]
fn a_file_has_room_for_the_longest_license_and_the_longest_status_list() {
    let file = LicenseFile {
        license: "a".repeat(TOKEN_BYTES_MAX),
        key_set: Some("k".repeat(TOKEN_BYTES_MAX)),
        status_list: Some("s".repeat(STATUS_LIST_TOKEN_BYTES_MAX)),
    };
    assert_eq!(LicenseFile::parse(&file.to_string()), Ok(file));
}

#[test]
fn a_claim_cannot_break_out_of_its_comment() {
    let plan = "x\n-----END COUNTERFOIL LICENSE-----\r\u{2028}Zoë".to_owned();
    let file = LicenseFile { license: key().sign(&Claims { plan, ..claims() }), key_set: None, status_list: None };
    assert_eq!(LicenseFile::parse(&file.to_string()), Ok(file));
}

#[test]
fn what_only_resembles_an_edge_is_a_comment_and_a_block_ends_by_the_name_that_it_began_with() {
    let file = LicenseFile { license: "a.b.c".to_owned(), key_set: None, status_list: None };
    let text = file.to_string();
    for line in ["-----BEGIN COUNTERFOIL license-----", "-----BEGIN COUNTERFOIL -----", "-----BEGIN LICENSE-----"] {
        assert_eq!(LicenseFile::parse(&format!("{line}\n{text}")).as_ref(), Ok(&file), "{line}");
    }
    let block =
        |begin: &str, end: &str| format!("-----BEGIN COUNTERFOIL {begin}-----\nx\n-----END COUNTERFOIL {end}-----\n");
    assert_eq!(LicenseFile::parse(&(block("NOTE", "NOTE") + &text)).as_ref(), Ok(&file), "of a later version");
    for (begin, end) in [("NOTE", "MEMO"), ("LICENSE", "NOTE"), ("NOTE", "LICENSE"), ("KEY SET", "STATUS LIST")] {
        let refused = LicenseFile::parse(&(block(begin, end) + &text));
        assert_eq!(refused, Err(LicenseFileError::Malformed), "{begin} to {end}");
    }
}

#[test]
fn a_timeline_has_the_phases_that_are_and_no_others() {
    let phases = |claims: &Claims| -> Vec<(Option<i64>, State)> {
        timeline(claims).into_iter().map(|Phase { begins_at, state }| (begins_at, state)).collect()
    };
    assert_eq!(
        phases(&claims()),
        [
            (None, State::NotYetValid),
            (Some(ISSUED - 60), State::Valid),
            (Some(ISSUED + 23 * DAY), State::RefreshDue),
            (Some(ISSUED + 30 * DAY), State::InGrace),
            (Some(ISSUED + 37 * DAY), State::Expired),
        ]
    );
    let end = ISSUED + DAY;
    let brief = Claims { refresh_after: end, paid_until: end, exp: end, ..claims() };
    let expected = [(None, State::NotYetValid), (Some(ISSUED - 60), State::Valid), (Some(end), State::Expired)];
    assert_eq!(phases(&brief), expected);
    assert_eq!(state_at(&brief, end - 1), State::Valid);
}
