//! The public conformance vectors: made here from fixed seeds, kept in `vectors/license-v1.json`, and passed by our verifier.
//!
//! Every expected answer is written by hand in `vector_cases`; none is asked of the verifier. After a change there,
//! `COUNTERFOIL_WRITE_VECTORS=1 cargo test -p counterfoil-license --test it vectors` writes the file anew.

use std::path::PathBuf;

use counterfoil_license::{
    Expectations, KeySet, LicenseFile, SignedKeySet, State, StatusList, Trust, Verified, Verifier,
};
use serde_json::{Map, Value, json};

use crate::forge::{DAY, ISSUED, ISSUER, PRODUCT, claims, keys};
use crate::{vector_cases, vector_files, vector_lists};

/// One line of the file.
pub struct Case(Map<String, Value>);

/// A token that is valid a day after it was issued, by the two ordinary keys, until something else is said.
pub fn case(name: &str, token: impl Into<String>) -> Case {
    let mut members = Map::new();
    let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
    set("name", json!(name));
    set("token", json!(token.into()));
    set("trust", json!({"jwks": keys().to_jwks()}));
    set("issuer", json!(ISSUER));
    set("audience", json!(PRODUCT));
    set("now", json!(ISSUED + DAY));
    Case(members).expect("valid")
}

impl Case {
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    pub fn at(self, now: i64) -> Self {
        self.with("now", now)
    }

    pub fn expect(self, state: &str) -> Self {
        let entitled = ["valid", "refresh_due", "in_grace", "superseded"].contains(&state);
        let features = if entitled { json!(claims().features) } else { json!([]) };
        self.with("expected", json!({"state": state, "code": state, "entitled": entitled, "features": features}))
    }

    pub fn refused(self, code: &str) -> Self {
        self.with("expected", json!({"state": "invalid", "code": code, "entitled": false, "features": []}))
    }
}

fn made() -> Value {
    let cases = [vector_cases::all(), vector_lists::all()].concat_cases();
    json!({
        "format": "counterfoil license vectors",
        "version": 1,
        "about": "Each case is one call of a verifier: token, trust (a JWKS, or a root with the key set it signed and the highest \
                  serial seen), issuer, audience and now (Unix seconds), and optionally status_list, status_list_required, \
                  highest_time_seen and clock_skew (seconds, else a day). The private keys are made of public seeds and \
                  protect nothing.",
        "cases": cases,
        "about_files": "Each file is a text that a person may paste or a machine may read: a .lic file, a bundle, or a bare token, with \
                        the parts that have to be found in it, or the code with which it is refused.",
        "files": vector_files::all(),
    })
}

trait ConcatCases {
    fn concat_cases(self) -> Vec<Value>;
}

impl ConcatCases for [Vec<Case>; 2] {
    fn concat_cases(self) -> Vec<Value> {
        self.into_iter().flatten().map(|Case(members)| Value::Object(members)).collect()
    }
}

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/license-v1.json"))
}

fn stored() -> Value {
    serde_json::from_str(&std::fs::read_to_string(path()).unwrap()).unwrap()
}

#[test]
fn the_file_of_vectors_is_what_its_generator_makes() {
    let made = made();
    if std::env::var_os("COUNTERFOIL_WRITE_VECTORS").is_some() {
        std::fs::create_dir_all(path().parent().unwrap()).unwrap();
        std::fs::write(path(), serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
    }
    assert!(stored() == made, "vectors/license-v1.json is out of date; the head of this file says how to write it");
}

#[test]
fn the_vectors_are_many_and_name_every_state() {
    let stored = stored();
    let cases = stored["cases"].as_array().unwrap();
    let names: std::collections::BTreeSet<_> = cases.iter().map(|case| case["name"].as_str().unwrap()).collect();
    assert!(cases.len() >= 80 && names.len() == cases.len(), "{} cases, {} names", cases.len(), names.len());
    let codes: std::collections::BTreeSet<_> =
        cases.iter().map(|case| case["expected"]["code"].as_str().unwrap()).collect();
    for code in "valid refresh_due in_grace superseded suspended not_yet_valid expired revoked clock_behind too_large \
                 malformed unsupported_algorithm wrong_type forbidden_header unknown_key bad_signature missing_claim \
                 invalid_claim wrong_issuer wrong_audience key_compromised key_retired key_not_active key_set_invalid \
                 key_set_expired key_set_rollback status_list_invalid status_index_out_of_range status_list_missing \
                 status_list_expired"
        .split_whitespace()
    {
        assert!(codes.contains(code), "no case answers {code}");
    }
}

#[test]
fn our_verifier_passes_its_vectors() {
    for case in stored()["cases"].as_array().unwrap() {
        let expected = &case["expected"];
        let answer = answer(case);
        assert_eq!(answer, *expected, "{}", case["name"]);
    }
}

#[test]
fn our_parser_reads_the_files() {
    let stored = stored();
    let files = stored["files"].as_array().unwrap();
    assert!(files.len() >= 20);
    for file in files {
        let found = match LicenseFile::parse(file["text"].as_str().unwrap()) {
            Ok(LicenseFile { license, key_set, status_list }) => {
                let parts = [("license", Some(license)), ("key_set", key_set), ("status_list", status_list)];
                parts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text?)))).collect()
            }
            Err(error) => json!({"code": error.code()}),
        };
        assert_eq!(found, file["expected"], "{}", file["name"]);
    }
}

/// What a product would do with the case, from the texts on.
fn answer(case: &Value) -> Value {
    let trust = &case["trust"];
    if let Some(jwks) = trust.get("jwks") {
        match KeySet::from_jwks(&jwks.to_string()) {
            Ok(keys) => answer_by(case, (&keys).into()),
            Err(_) => refusal("key_set_invalid"),
        }
    } else {
        let root = trust["root"].as_str().unwrap().parse().unwrap();
        match SignedKeySet::open(trust["key_set"].as_str().unwrap(), &root, trust["serial_seen"].as_u64()) {
            Ok(keys) => answer_by(case, (&keys).into()),
            Err(error) => refusal(error.code()),
        }
    }
}

fn answer_by(case: &Value, trust: Trust<'_>) -> Value {
    let text = |name: &str| case[name].as_str();
    let list = match text("status_list").map(|list| StatusList::open(list, trust)).transpose() {
        Ok(list) => list,
        Err(error) => return refusal(error.code()),
    };
    let expect = Expectations::new(text("issuer").unwrap(), text("audience").unwrap());
    let mut verifier = Verifier::new(trust, expect)
        .status_list(list.as_ref())
        .require_status_list(case["status_list_required"].as_bool().unwrap_or(false));
    if let Some(highest) = case["highest_time_seen"].as_i64() {
        verifier = verifier.highest_time_seen(highest);
    }
    if let Some(skew) = case["clock_skew"].as_i64() {
        verifier = verifier.clock_skew(skew);
    }
    let verified: Verified = verifier.verify(text("token").unwrap(), case["now"].as_i64().unwrap());
    let (state, code): (&State, _) = (&verified.state, verified.state.code());
    json!({"state": state.name(), "code": code, "entitled": verified.entitled(), "features": verified.features()})
}

fn refusal(code: &str) -> Value {
    json!({"state": "invalid", "code": code, "entitled": false, "features": []})
}
