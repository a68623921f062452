//! The fault catalogue, the marks that count its rows and the mistakes that are planted on purpose belong together: what is named
//! in one place is there in the other.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_core::faults::{PLANTED, ROWS, reached};
use counterfoil_core::probe;

use crate::tidy::tree;

/// The texts between `begin` and the next quote in the sources of the product, with how often each is there.
fn named_in_product(begin: &str) -> BTreeMap<String, usize> {
    let is_product = |path: &str| path.starts_with("crates/core/src/") || path.starts_with("crates/server/src/");
    let mut named = BTreeMap::new();
    for source in tree().iter().filter(|source| is_product(&source.path) && !source.path.contains("/faults/")) {
        for rest in source.text.split(begin).skip(1) {
            let name = rest.split('"').next().expect("a text before the quote");
            *named.entry(name.to_owned()).or_default() += 1;
        }
    }
    named
}

#[test]
fn each_planted_mistake_stands_once_in_the_code() {
    let expected: BTreeMap<String, usize> = PLANTED.iter().map(|bug| (bug.name.to_owned(), 1)).collect();
    assert_eq!(expected.len(), PLANTED.len(), "each name is given once");
    assert_eq!(named_in_product(concat!("planted", "!(\"")), expected);
}

#[test]
fn a_mistake_is_found_by_the_tests_that_are_named_for_it() {
    let script = std::fs::read_to_string(crate::tidy::root().join("scripts/planted")).expect("the script");
    let known: BTreeSet<&str> = PLANTED.iter().map(|bug| bug.name).collect();
    let (_, table) = script.split_once("<<'TABLE'\n").expect("the script has a table");
    let (table, _) = table.split_once("\nTABLE").expect("the table ends");
    let mut listed = BTreeSet::new();
    for line in table.lines() {
        let (name, test) = line.split_once(' ').expect("a mistake and its test");
        assert!(known.contains(name), "no mistake is called {name}");
        assert!(listed.insert(name), "{name} is listed twice");
        assert!(is_test(test.trim()), "there is no test {test}");
    }
    assert_eq!(listed, known);
}

#[test]
fn every_mark_is_one_of_a_row() {
    let rows: BTreeSet<&str> = ROWS.iter().map(|(row, _)| *row).collect();
    let marks = named_in_product(concat!("probe", "!(\""));
    assert!(marks.keys().all(|mark| rows.contains(mark.as_str())), "{marks:?}");
    assert!(marks.len() >= 45, "{} rows are marked in the product", marks.len());
    let before = reached();
    probe!("F90");
    assert!(reached()[89] > before[89]);
}

#[test]
fn the_catalogue_has_each_row_once_and_names_tests_that_are_there() {
    let page = std::fs::read_to_string(crate::tidy::root().join("docs/reliability/catalogue.md")).expect("the page");
    let mut rows = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with("| F")) {
        let columns: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, fault, promise, proof] = columns[..] else { panic!("four columns: {line}") };
        assert!(rows.insert(number.to_owned()), "{number} is there twice");
        assert!(fault.len() > 10 && promise.len() > 5, "{number} says too little");
        let proofs: Vec<&str> = proof.split('`').skip(1).step_by(2).collect();
        assert!(!proofs.is_empty(), "{number} names no proof");
        for each in proofs {
            assert!(is_proof(each), "{number}: there is no `{each}`");
        }
    }
    let expected: BTreeSet<String> = ROWS.iter().map(|(row, _)| (*row).to_owned()).collect();
    assert_eq!(rows, expected);
}

/// A layer of which each run says what it found, a file of the tree, or a test.
fn is_proof(text: &str) -> bool {
    // Long-running proofs that are programs of their own.
    const LAYERS: [&str; 2] = ["simulator", "scripts/fuzz"];
    let is_layer = match text.split_once(' ') {
        Some(("scripts/chaos", scenario)) => names("tests/chaos/run.py", scenario),
        Some(("scripts/hostile", tool)) => names("tests/hostile/run.py", tool),
        Some(("scripts/fuzz", target)) => crate::fuzz_seeds::targets::find(target).is_some(),
        Some((layer, _)) => LAYERS.contains(&layer),
        None => LAYERS.contains(&text),
    };
    is_layer || is_test(text) || text.contains('/') && crate::tidy::root().join(text).exists()
}

/// Whether a program has something that goes by this name.
fn names(program: &str, name: &str) -> bool {
    let text = std::fs::read_to_string(crate::tidy::root().join(program)).expect("the program");
    text.contains(&format!("\"{name}\""))
}

/// `it::module::name`, `core::file::name`, `counterfoil::…::name` (of the library), `stripe_sandbox::…`, `license::…`, `npm::file`.
/// A module's name is that of its file, or of the last folder.
fn is_test(text: &str) -> bool {
    let Some((place, name)) = text.rsplit_once("::") else { return false };
    let mut parts = place.split("::");
    let folder = match parts.next() {
        Some("it") => "crates/server/tests/it/",
        Some("core") => "crates/core/",
        Some("counterfoil") => "crates/server/src/",
        Some("stripe_sandbox") => "crates/stripe-sandbox/",
        Some("license") => "crates/license/",
        Some("npm") => return crate::tidy::root().join(format!("tests/npm/{name}.test.mjs")).exists(),
        _ => return false,
    };
    let file = parts.collect::<Vec<_>>().join("/");
    let is_there = |path: &str| path.starts_with(folder) && path.trim_end_matches(".rs").ends_with(&file);
    tree().iter().any(|source| is_there(&source.path) && has_function(&source.text, name))
}

pub(crate) fn has_function(text: &str, name: &str) -> bool {
    text.contains(&format!("fn {name}("))
        || text.contains(&format!("\n    {name} => "))
        || text.contains(&format!("\n    {name},"))
}
