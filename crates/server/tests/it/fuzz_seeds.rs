//! The kept corpus of the fuzz targets, through the same functions and without a fuzzer: what was found once is tried by every run of the
//! tests.

use std::collections::BTreeSet;
use std::path::PathBuf;

#[path = "../../../../fuzz/src/targets/mod.rs"]
pub mod targets;

const CORPUS_BYTES_MAX: u64 = 1024 * 1024;
const INPUTS_MIN: usize = 10;

fn folder(name: &str) -> PathBuf {
    crate::tidy::root().join("fuzz/seeds").join(name)
}

/// The kept inputs of a target, in order.
fn kept(name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder(name)).expect("the target has a folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn every_kept_input_of_every_fuzz_target_holds() {
    for (name, target) in targets::ALL {
        for file in kept(name) {
            // Shown only where the next line panics.
            println!("{name}: {}", file.display());
            target(&std::fs::read(&file).expect("a kept input"));
        }
    }
}

#[test]
fn every_fuzz_target_has_a_corpus_and_the_corpus_is_small() {
    let known: BTreeSet<String> = targets::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    let entries = std::fs::read_dir(folder("")).expect("the kept corpus");
    let folders = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(known, folders);
    let files: Vec<Vec<PathBuf>> = known.iter().map(|name| kept(name)).collect();
    for (name, files) in known.iter().zip(&files) {
        assert!(files.len() >= INPUTS_MIN, "{name} has {} inputs", files.len());
        let source = crate::tidy::root().join("fuzz/src/targets").join(name).with_extension("rs");
        assert!(source.exists(), "{name} has a file of its own");
    }
    let bytes: u64 = files.iter().flatten().map(|file| std::fs::metadata(file).expect("a file").len()).sum();
    assert!(bytes < CORPUS_BYTES_MAX, "{bytes} bytes are kept");
}

#[test]
fn the_bodies_of_all_calls_are_fuzzed_and_have_an_input_that_is_kept() {
    let document = serde_json::to_value(counterfoil::web::api::openapi()).expect("a document");
    let mut described = BTreeSet::new();
    for (path, calls) in document["paths"].as_object().expect("paths") {
        for call in calls.as_object().expect("calls").values() {
            let body = call.pointer("/requestBody/content/application~1json/schema");
            let name = body.and_then(|body| body["$ref"].as_str()?.rsplit('/').next());
            described.extend(name.map(str::to_owned));
            // An event of the provider is whatever is signed, and has a target of its own.
            assert!(
                body.is_none() || name.is_some() || path == "/api/webhooks/stripe",
                "{path}: a body without a name"
            );
        }
    }
    let fuzzed: BTreeSet<String> = targets::bodies().into_iter().map(str::to_owned).collect();
    assert!(described.len() > 20, "{described:?}");
    assert_eq!(described, fuzzed);
    let kept: BTreeSet<String> = kept_bodies().into_iter().map(|(call, _)| call).collect();
    let without: Vec<&str> = targets::calls().into_iter().filter(|call| !kept.contains(*call)).collect();
    assert!(without.is_empty(), "no input is kept of {without:?}");
}

/// The target reads each body a second time, and panics where one is taken that has a field of its own.
#[test]
fn no_call_takes_a_field_that_it_does_not_know() {
    let run = targets::find("json").expect("the target");
    let mut tried = BTreeSet::new();
    for (call, body) in kept_bodies() {
        let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_str(&body) else { continue };
        for (name, value) in [("is_admin", serde_json::json!(true)), ("plan_code", serde_json::json!("enterprise"))] {
            fields.insert(name.to_owned(), value);
            run(format!("{call}\n{}", serde_json::Value::Object(fields.clone())).as_bytes());
        }
        tried.insert(call);
    }
    let missing: Vec<&str> = targets::calls().into_iter().filter(|call| !tried.contains(*call)).collect();
    assert!(missing.is_empty(), "not tried: {missing:?}");
}

/// The kept inputs of the target of bodies: the call that is named, and what follows.
fn kept_bodies() -> Vec<(String, String)> {
    let read = |file: &PathBuf| String::from_utf8_lossy(&std::fs::read(file).expect("a kept input")).into_owned();
    let split = |text: String| text.split_once('\n').map(|(call, body)| (call.to_owned(), body.to_owned()));
    kept("json").iter().map(read).filter_map(split).collect()
}
