//! SECURITY.md's list: every line is there, and what it names is there as well.

use crate::tidy::{root, tree};

const LINES: usize = 51;

/// The lines of the list as their columns.
fn lines(page: &str) -> Vec<Vec<&str>> {
    page.lines()
        .filter(|line| line.starts_with("| ") && line[2..].starts_with(|first: char| first.is_ascii_digit()))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// What is wrong with a line; nothing where all is well.
fn wrong(columns: &[&str]) -> Option<String> {
    let [_, requirements, what, how] = columns[..] else { return Some("a line has four columns".to_owned()) };
    let is_requirement = |text: &str| {
        let numbers: Vec<_> = text.split('.').collect();
        numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u8>().is_ok())
    };
    if !requirements.split(',').flat_map(|part| part.split(" to ")).all(|text| is_requirement(text.trim())) {
        return Some(format!("`{requirements}` are no requirements of ASVS"));
    }
    if what.len() < 12 || how.len() < 30 {
        return Some("it says too little".to_owned());
    }
    let named: Vec<&str> = how.split('`').skip(1).step_by(2).collect();
    if let Some(missing) = named.iter().find(|text| text.contains(".rs::") && !is_test(text)) {
        return Some(format!("there is no test `{missing}`"));
    }
    let is_path =
        |text: &str| text.contains('/') && !text.contains("::") && !text.starts_with('/') && !text.contains(' ');
    let missing = named.iter().find(|text| is_path(text) && !root().join(text).exists());
    missing.map(|missing| format!("there is no file `{missing}`"))
}

/// `file.rs::name`: a function of this name in a file whose path ends so. One of a file of tests is run, since nothing that nobody
/// calls compiles there.
fn is_test(text: &str) -> bool {
    let Some((file, name)) = text.split_once("::") else { return false };
    tree()
        .iter()
        .any(|source| source.path.ends_with(&format!("/{file}")) && crate::faults::has_function(&source.text, name))
}

#[test]
fn every_line_is_there_once_and_names_what_is_there() {
    let page = std::fs::read_to_string(root().join("SECURITY.md")).expect("the page");
    let lines = lines(&page);
    let numbers: Vec<usize> = lines.iter().map(|columns| columns[0].parse().expect("a number")).collect();
    assert_eq!(numbers, (1..=LINES).collect::<Vec<_>>());
    let wrong: Vec<String> =
        lines.iter().filter_map(|columns| Some(format!("{}: {}", columns[0], wrong(columns)?))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let tested = lines.iter().filter(|columns| columns[3].contains(".rs::")).count();
    println!("{tested} of {LINES} lines are held by tests of this repository");
    assert!(tested >= 44, "{tested} lines name a test");
}

#[test]
fn a_line_that_names_nothing_is_found() {
    let good =
        "| 1 | 8.2.1 | every route says whose word it takes | `security_list.rs::a_line_that_names_nothing_is_found` |";
    assert_eq!(wrong(&lines(good)[0]), None);
    for (from, to, problem) in [
        ("a_line_that", "no_line_that", "no test"),
        ("security_list.rs", "elsewhere.rs", "no test"),
        (
            "`security_list.rs::a_line_that_names_nothing_is_found`",
            "`docs/no-such-page.md` and more to read",
            "no file",
        ),
        ("8.2.1", "8.2", "no requirements"),
        ("`security_list.rs::a_line_that_names_nothing_is_found`", "it is fine", "too little"),
    ] {
        let bad = good.replace(from, to);
        assert!(wrong(&lines(&bad)[0]).is_some_and(|told| told.contains(problem)), "{bad}");
    }
}
