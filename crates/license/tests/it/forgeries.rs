//! Tokens that must not pass: another algorithm, another key, another type, another's product, altered bytes.

use counterfoil_license::{Claims, Reason, SigningKey, State, TOKEN_BYTES_MAX, inspect};
use serde_json::{Value, json};

use crate::forge::{
    ISSUED, claims, decode, encode, forge, forge_claims, forge_header, forged_with_s_plus_order, forged_with_small_r,
    header, hmac_sha256, key, refused, refused_unread, verify_at,
};

fn header_with(name: &str, value: Value) -> String {
    let mut header = header();
    header[name] = value;
    forge_header(&header)
}

fn header_without(name: &str) -> String {
    let mut header = header();
    header.as_object_mut().unwrap().remove(name);
    forge_header(&header)
}

#[test]
fn the_forger_can_write_an_honest_token() {
    assert_eq!(verify_at(&forge_header(&header()), ISSUED).state, State::Valid);
    assert_eq!(verify_at(&forge_claims(|_| {}), ISSUED).state, State::Valid);
    assert_eq!(verify_at(&header_with("typ", json!("application/LICENSE+jwt")), ISSUED).state, State::Valid);
    assert_eq!(verify_at(&header_with("cty", json!("an unknown member is ignored")), ISSUED).state, State::Valid);
}

#[test]
fn every_algorithm_but_one_is_refused() {
    for algorithm in [
        "none", "None", "", "HS256", "HS512", "RS256", "ES256", "PS256", "Ed25519", "Ed448", "eddsa", "EDDSA", "EdDSA ",
    ] {
        refused_unread(&header_with("alg", json!(algorithm)), Reason::UnsupportedAlgorithm);
    }
    for value in [json!(["EdDSA"]), json!(1), json!({"EdDSA": true})] {
        refused_unread(&header_with("alg", value), Reason::Malformed);
    }
    refused_unread(&header_with("alg", Value::Null), Reason::UnsupportedAlgorithm);
    refused_unread(&header_without("alg"), Reason::UnsupportedAlgorithm);
}

#[test]
fn an_unsigned_token_is_refused() {
    let payload = encode(serde_json::to_vec(&claims()).unwrap());
    let mut none = header();
    none["alg"] = json!("none");
    refused_unread(&format!("{}.{payload}.", encode(none.to_string())), Reason::UnsupportedAlgorithm);
    refused_unread(&format!("{}.{payload}.", encode(header().to_string())), Reason::BadSignature);
    refused_unread(&format!("{}.{payload}", encode(header().to_string())), Reason::Malformed);
}

#[test]
fn our_public_key_is_no_hmac_secret() {
    let public = decode(key().public().to_jwk()["x"].as_str().unwrap());
    let mut hs256 = header();
    hs256["alg"] = json!("HS256");
    let payload = encode(serde_json::to_vec(&claims()).unwrap());
    for header in [hs256, header()] {
        let signed = format!("{}.{payload}", encode(header.to_string()));
        let tag = encode(hmac_sha256(&public, signed.as_bytes()));
        assert!(!verify_at(&format!("{signed}.{tag}"), ISSUED).entitled());
    }
}

#[test]
fn a_token_of_another_type_is_refused() {
    for typ in ["JWT", "jwt", "at+jwt", "statuslist+jwt", "license", "license+jwt2", ""] {
        refused_unread(&header_with("typ", json!(typ)), Reason::WrongType);
    }
    refused_unread(&header_without("typ"), Reason::WrongType);
}

#[test]
fn a_header_that_brings_its_own_key_or_extension_is_refused() {
    let thief = SigningKey::from_seed(&[66; 32]);
    for (name, value) in [
        ("jku", json!("https://evil.example/jwks.json")),
        ("jwk", thief.public().to_jwk()),
        ("x5u", json!("https://evil.example/chain.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("jku", Value::Null),
    ] {
        refused_unread(&header_with(name, value), Reason::ForbiddenHeader(name));
    }
}

#[test]
fn a_key_outside_the_set_is_refused() {
    let thief = SigningKey::from_seed(&[66; 32]);
    refused_unread(&thief.sign(&claims()), Reason::UnknownKey);
    refused_unread(&header_without("kid"), Reason::UnknownKey);
    refused_unread(&header_with("kid", json!("")), Reason::UnknownKey);
    refused_unread(&header_with("kid", json!("../../dev/null")), Reason::UnknownKey);
    refused_unread(&header_with("kid", json!(["a"])), Reason::Malformed);
}

#[test]
fn the_named_key_must_have_signed() {
    let other_of_ours = SigningKey::from_seed(&[1; 32]);
    refused_unread(&header_with("kid", json!(other_of_ours.key_id())), Reason::BadSignature);
    let thief = SigningKey::from_seed(&[66; 32]).sign(&claims());
    let stolen = thief.rsplit_once('.').unwrap().1;
    let honest = key().sign(&claims());
    refused_unread(&format!("{}.{stolen}", honest.rsplit_once('.').unwrap().0), Reason::BadSignature);
}

#[test]
fn a_header_member_named_twice_is_refused() {
    let twice = header().to_string().replacen('{', "{\"alg\":\"none\",", 1);
    let payload = serde_json::to_string(&claims()).unwrap();
    refused_unread(&forge(&twice, &payload), Reason::Malformed);
    for header in ["", "[]", "null", "\"EdDSA\"", "{", "\u{feff}{}"] {
        refused_unread(&forge(header, &payload), Reason::Malformed);
    }
}

#[test]
fn a_signed_license_with_wrong_claims_is_refused() {
    for (name, value, reason) in [
        ("iss", json!("https://billing.example.com/"), Reason::WrongIssuer),
        ("iss", json!("https://BILLING.example.com"), Reason::WrongIssuer),
        ("iss", json!(""), Reason::WrongIssuer),
        ("aud", json!("acme-viewer"), Reason::WrongAudience),
        ("aud", json!(""), Reason::WrongAudience),
        ("sub", json!("cust_ffffffffffffffffffffffffffffffff"), Reason::InvalidClaim("sub")),
        ("exp", json!(ISSUED), Reason::InvalidClaim("exp")),
        ("exp", json!(ISSUED - 1), Reason::InvalidClaim("exp")),
        ("exp", json!(i64::MIN), Reason::InvalidClaim("exp")),
    ] {
        let verified = refused(&forge_claims(|claims| claims[name] = value), reason);
        assert!(verified.claims.is_some(), "we signed them, so they may be shown");
    }
    assert!(verify_at(&forge_claims(|claims| claims["exp"] = json!(ISSUED + 1)), ISSUED).entitled());
}

#[test]
fn a_signed_payload_that_is_no_license_is_refused() {
    refused_unread(
        &forge_claims(|claims| _ = claims.as_object_mut().unwrap().remove("exp")),
        Reason::MissingClaim("exp"),
    );
    refused_unread(&forge_claims(|claims| claims["aud"] = json!(["acme-editor", "*"])), Reason::Malformed);
    refused_unread(&forge_claims(|claims| claims["exp"] = json!("never")), Reason::Malformed);
    for payload in ["", "[]", "null", "{", "\u{0}"] {
        refused_unread(&forge(&header().to_string(), payload), Reason::Malformed);
    }
    // A password-reset token signed by the same hand is no license.
    let reset =
        json!({"iss": claims().iss, "sub": claims().sub, "aud": claims().aud, "exp": claims().exp, "iat": ISSUED});
    refused_unread(&forge(&header().to_string(), &reset.to_string()), Reason::MissingClaim("customer_id"));
}

#[test]
fn a_token_one_byte_too_long_is_refused_unread() {
    // White space around JSON values is free, so it fills a token to the byte.
    let filled = |header_spaces: usize, payload_spaces: usize| {
        let payload = serde_json::to_string(&claims()).unwrap();
        forge(
            &format!("{}{}", header(), " ".repeat(header_spaces)),
            &format!("{payload}{}", " ".repeat(payload_spaces)),
        )
    };
    let room = (TOKEN_BYTES_MAX - filled(0, 0).len()) / 4 * 3;
    let longest = (0..3)
        .flat_map(|header_spaces| (room - 6..room + 3).map(move |payload_spaces| filled(header_spaces, payload_spaces)))
        .find(|token| token.len() == TOKEN_BYTES_MAX)
        .expect("some white space fills the token to the byte");
    assert_eq!(verify_at(&longest, ISSUED).state, State::Valid);
    refused_unread(&format!("{longest}A"), Reason::TooLarge);
    assert_eq!(inspect(&format!("{longest}A")).err(), Some(Reason::TooLarge));
}

#[test]
fn no_byte_of_a_token_may_change() {
    let token = key().sign(&claims());
    for position in 0..token.len() {
        let other = if &token[position..=position] == "A" { "B" } else { "A" };
        for replacement in [other, "=", "\n", "\u{e9}"] {
            let altered = format!("{}{replacement}{}", &token[..position], &token[position + 1..]);
            let verified = verify_at(&altered, ISSUED);
            assert!(matches!(verified.state, State::Invalid(_)) && verified.claims.is_none(), "{altered}");
        }
    }
    for around in [" ", "\n", "\u{feff}", "Bearer "] {
        refused_unread(&format!("{around}{token}"), Reason::Malformed);
    }
    refused_unread(&format!("{token}\n"), Reason::Malformed);
}

#[test]
fn the_last_character_of_a_signature_has_one_spelling() {
    let token = key().sign(&claims());
    let (rest, last) = token.split_at(token.len() - 1);
    // 64 bytes leave four unused bits in the last character; a lax reader takes 16 characters for the same signature.
    for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
        assert_eq!(verify_at(&format!("{rest}{other}"), ISSUED).entitled(), last.starts_with(other));
    }
}

#[test]
fn a_signature_with_s_above_the_group_order_is_refused() {
    let token = key().sign(&claims());
    let signed = token.rsplit_once('.').unwrap().0;
    refused_unread(&format!("{signed}.{}", encode(forged_with_s_plus_order(&token))), Reason::BadSignature);
}

#[test]
fn a_signature_with_r_of_small_order_is_refused() {
    let token = key().sign(&claims());
    let signed = token.rsplit_once('.').unwrap().0;
    refused_unread(&format!("{signed}.{}", encode(forged_with_small_r(signed))), Reason::BadSignature);
}

#[test]
fn inspection_shows_what_nobody_has_signed() {
    let thief = SigningKey::from_seed(&[66; 32]);
    let boastful = Claims { plan: "enterprise".to_owned(), ..claims() };
    let (header, read) = inspect(&thief.sign(&boastful)).unwrap();
    assert_eq!((&header["kid"], read), (&json!(thief.key_id()), boastful));
    assert_eq!(inspect("e30.e30.AA").err(), Some(Reason::MissingClaim("iss")));
    assert_eq!(inspect("W10.e30.AA").err(), Some(Reason::Malformed));
}

#[test]
fn codes_are_words_of_their_own() {
    let reasons = [
        Reason::TooLarge,
        Reason::Malformed,
        Reason::UnsupportedAlgorithm,
        Reason::WrongType,
        Reason::ForbiddenHeader("jku"),
        Reason::UnknownKey,
        Reason::BadSignature,
        Reason::MissingClaim("exp"),
        Reason::InvalidClaim("sub"),
        Reason::WrongIssuer,
        Reason::WrongAudience,
        Reason::KeyCompromised,
        Reason::KeyRetired,
        Reason::KeyNotActive,
        Reason::KeySetInvalid,
        Reason::KeySetExpired,
        Reason::StatusIndexOutOfRange,
        Reason::StatusListMissing,
        Reason::StatusListExpired,
    ];
    let states = [
        State::Valid,
        State::RefreshDue,
        State::InGrace,
        State::Superseded,
        State::Suspended,
        State::NotYetValid,
        State::Expired,
        State::Revoked,
        State::ClockBehind,
    ];
    let all: Vec<State> = states.into_iter().chain(reasons.map(State::Invalid)).collect();
    let codes: std::collections::BTreeSet<&str> = all.iter().map(State::code).collect();
    assert_eq!(codes.len(), all.len());
    assert!(codes.iter().all(|code| code.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')));
    assert!(all.iter().all(|state| state.to_string().starts_with("th")), "each says a sentence");
}
