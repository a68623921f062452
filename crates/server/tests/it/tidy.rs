//! Reads the tree: what a reviewer would otherwise have to say again and again.
//!
//! A budget may be broken where the result is plainly better: `// tidy: allow(WHAT) because …` on the line above (for a whole
//! file: anywhere in it), with WHAT one of `layer`, `file`, `function`, `global`, `sql`. The test prints the list.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 400;
const TEST_FILE_LINES_MAX: usize = 700;
const FUNCTION_LINES_MAX: usize = 70;

/// The layers of the server, from the bottom up. Imports go to a lower number or stay inside their own module.
const LAYERS: [(&str, u8); 17] = [
    ("checks", 0),
    ("clock", 0),
    ("entropy", 0),
    ("config", 0),
    ("telemetry", 0),
    ("simulation", 0),
    ("tasks", 0),
    ("points", 0),
    ("db", 1),
    ("store", 2),
    ("providers", 2),
    ("mail", 2),
    ("keys", 2),
    ("app", 3),
    ("web", 4),
    ("worker", 4),
    // On top, because here the parts are put together.
    ("cli", 5),
];

/// What the rules must not know: they do no input or output.
const CORE_FORBIDS: [&str; 9] =
    ["tokio", "sqlx", "reqwest", "axum", "std::fs", "std::net", "std::env", "std::process", "SystemTime"];

/// One file of the tree.
pub struct Source {
    /// Relative to the root, with `/`.
    pub path: String,
    pub text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        has_extension(&self.path, "rs")
    }

    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let by_name = name == "tests.rs" || name == "testing.rs" || name.ends_with("_tests.rs");
        by_name || self.path.contains("/tests/") || self.path.starts_with("tests/")
    }
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two folders up is the root").to_owned()
}

/// Every text file that belongs to the repository.
pub fn tree() -> Vec<Source> {
    const SKIPPED: [&str; 5] = ["target", "node_modules", ".git", "data", "__pycache__"];
    let root = root();
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the tree").map(|entry| entry.expect("an entry")) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().expect("a type");
            if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                folders.push(entry.path());
            } else if kind.is_file() && ![".git", "Cargo.lock"].contains(&name.as_str()) {
                // What is no UTF-8 is a picture.
                let Ok(text) = std::fs::read_to_string(entry.path()) else { continue };
                let path = entry.path().strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
                sources.push(Source { path, text });
            }
        }
    }
    sources.sort_by(|left, right| left.path.cmp(&right.path));
    assert!(sources.len() > 100, "the tree is found");
    sources
}

/// Collects what is wrong, and what is allowed although it would be.
#[derive(Default)]
struct Report {
    wrong: Vec<String>,
    allowed: Vec<String>,
}

impl Report {
    /// Line numbers begin with 0 here and with 1 in the message.
    fn add(&mut self, source: &Source, line: usize, what: &str, message: &str) {
        let place = format!("{}:{}: {message}", source.path, line + 1);
        match reason(source, line, what) {
            Some(reason) => self.allowed.push(format!("{place} ({reason})")),
            None => self.wrong.push(place),
        }
    }

    fn finish(self) {
        for allowed in &self.allowed {
            println!("allowed: {allowed}");
        }
        assert!(self.wrong.is_empty(), "{} things are not tidy:\n  {}", self.wrong.len(), self.wrong.join("\n  "));
    }
}

/// The reason that stands next to a broken budget.
fn reason(source: &Source, line: usize, what: &str) -> Option<String> {
    let mark = format!("tidy: allow({what}) because ");
    let near = |(number, _): &(usize, &str)| what == "file" || (number + 4 >= line && *number <= line + 1);
    let mut lines = source.text.lines().enumerate().filter(near);
    lines.find_map(|(_, text)| text.split_once(&mark).map(|(_, reason)| reason.trim().to_owned()))
}

/// Comments, strings and characters as blanks of the same length, so that braces and words that are left are code.
fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut at) = (String::with_capacity(text.len()), 0);
    while at < chars.len() {
        let length = literal_length(&chars[at..], at > 0 && is_word(chars[at - 1]));
        if length == 0 {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..at + length].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at += length;
        }
    }
    code
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// How many characters from here on are a comment, a string or a character; 0 where it is code.
fn literal_length(rest: &[char], inside_word: bool) -> usize {
    let until = |end: &str, from: usize| {
        let end: Vec<char> = end.chars().collect();
        (from..rest.len()).find(|at| rest[*at..].starts_with(&end)).map_or(rest.len(), |at| at + end.len())
    };
    match rest {
        ['/', '/', ..] => until("\n", 2) - 1,
        ['/', '*', ..] => until("*/", 2),
        ['"', ..] => {
            let mut at = 1;
            while at < rest.len() && rest[at] != '"' {
                at += if rest[at] == '\\' { 2 } else { 1 };
            }
            (at + 1).min(rest.len())
        }
        ['r', '#' | '"', ..] if !inside_word => {
            let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
            match rest.get(1 + hashes) {
                Some('"') => until(&format!("\"{}", "#".repeat(hashes)), 2 + hashes),
                _ => 0,
            }
        }
        ['\'', '\\', ..] => until("'", 3),
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

/// First and last line of every function with a body, counted from 0.
fn functions(code: &str) -> Vec<(usize, usize)> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if at > 0 && is_word(bytes[at - 1] as char) {
            continue;
        }
        let Some(open) = body_start(&bytes[at..]).map(|open| at + open) else { continue };
        let mut depth = 0_usize;
        for (offset, byte) in bytes[open..].iter().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                found.push((line_of(code, at), line_of(code, open + offset)));
                break;
            }
        }
    }
    found
}

/// The brace that opens the body; none for a declaration, or for the type `fn (…)`.
fn body_start(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    None
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count()
}

/// The modules of this crate that a file names, with the line.
fn modules_named(code: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if at > 0 && (is_word(code.as_bytes()[at - 1] as char) || code[..at].ends_with("$")) {
            continue;
        }
        let (line, rest) = (line_of(code, at), &code[at + "crate::".len()..]);
        let word = |text: &str| text.chars().take_while(|c| is_word(*c)).collect::<String>();
        match rest.strip_prefix('{') {
            None => named.push((line, word(rest))),
            Some(group) => {
                let (mut depth, mut start) = (0_i32, true);
                for (offset, c) in group.char_indices() {
                    if start && depth == 0 && is_word(c) {
                        named.push((line, word(&group[offset..])));
                        start = false;
                    }
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' => start = true,
                        _ => {}
                    }
                }
            }
        }
    }
    named
}

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|(layer, _)| *layer == name).map(|(_, rank)| *rank)
}

#[test]
fn imports_go_downwards_only() {
    let mut report = Report::default();
    let mut seen = BTreeSet::new();
    for source in tree().iter().filter(|source| source.is_rust()) {
        let Some(inside) = source.path.strip_prefix("crates/server/src/") else { continue };
        let own = inside.split(['/', '.']).next().unwrap_or_default();
        let Some(rank) = layer(own) else {
            let known = matches!(inside, "lib.rs" | "main.rs");
            assert!(known, "{} is in no layer: give it a place in LAYERS", source.path);
            continue;
        };
        seen.insert(own.to_owned());
        for (line, named) in modules_named(&code_of(&source.text)) {
            let goes_up = layer(&named).is_some_and(|other| other >= rank && rank > 0);
            let leaf_goes_up = rank == 0 && layer(&named).is_some_and(|other| other > 0);
            if named != own && (goes_up || leaf_goes_up) {
                report.add(source, line, "layer", &format!("{own} must not import {named}"));
            }
        }
    }
    assert_eq!(seen.len(), LAYERS.len(), "every layer is there: {seen:?}");
    report.finish();
}

#[test]
fn the_rules_do_no_input_and_no_output() {
    let mut report = Report::default();
    let pure = |path: &str| path.starts_with("crates/core/src/") || path.starts_with("crates/license/src/");
    for source in tree().iter().filter(|source| pure(&source.path)) {
        for (line, text) in code_of(&source.text).lines().enumerate() {
            for name in CORE_FORBIDS.iter().filter(|name| names(text, name)) {
                report.add(source, line, "layer", &format!("the rules must not use {name}"));
            }
        }
    }
    for manifest in ["crates/core/Cargo.toml", "crates/license/Cargo.toml"] {
        let text = std::fs::read_to_string(root().join(manifest)).expect("the manifest");
        let manifest_names = |name: &&&str| text.lines().any(|line| line.starts_with(**name));
        assert_eq!(CORE_FORBIDS.iter().find(manifest_names), None, "{manifest}");
    }
    report.finish();
}

/// Whether the line has this as a word of its own.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + name.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[test]
fn files_and_functions_can_be_seen_whole() {
    let mut report = Report::default();
    for source in tree().iter().filter(|source| source.is_rust()) {
        let lines = source.text.lines().count();
        let max = if source.is_test() { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
        if lines > max {
            report.add(source, 0, "file", &format!("{lines} lines; at most {max}"));
        }
        for (first, last) in functions(&code_of(&source.text)) {
            let lines = last - first + 1;
            if lines > FUNCTION_LINES_MAX {
                let message = format!("a function of {lines} lines; at most {FUNCTION_LINES_MAX}");
                report.add(source, first, "function", &message);
            }
        }
    }
    report.finish();
}

#[test]
fn every_todo_has_a_number() {
    let mut report = Report::default();
    let mark = concat!("TO", "DO");
    for source in tree() {
        for (line, text) in source.text.lines().enumerate() {
            let numbered = text.split(mark).skip(1).all(|rest| rest.starts_with("(#"));
            if text.contains(mark) && !numbered {
                report.add(&source, line, "todo", &format!("a {mark} without the number of its issue"));
            }
        }
    }
    report.finish();
}

#[test]
fn nothing_global_changes() {
    const CHANGING: [&str; 7] = ["Mutex", "RwLock", "Atomic", "RefCell", "UnsafeCell", "Semaphore", "Notify"];
    let mut report = Report::default();
    for source in tree().iter().filter(|source| source.is_rust() && !source.is_test()) {
        for (line, text) in code_of(&source.text).lines().enumerate() {
            let text = text.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            let is_static = text.starts_with("static ") && CHANGING.iter().any(|kind| text.contains(kind));
            if is_static || text.starts_with("static mut ") || text.starts_with("thread_local!") {
                report.add(source, line, "global", "global state that changes: pass it as an argument");
            }
        }
    }
    report.finish();
}

#[test]
fn no_statement_is_put_together_from_text() {
    let mut report = Report::default();
    for source in tree().iter().filter(|source| source.is_rust() && !source.is_test()) {
        let code = code_of(&source.text);
        for (line, text) in code.lines().enumerate() {
            if names(text, "AssertSqlSafe") {
                report.add(source, line, "sql", "SQL is text of the program and of nobody else");
            }
            let outside = !source.path.starts_with("crates/server/src/db/");
            if outside && ["sqlx::query", "sqlx::raw_sql", "QueryBuilder"].iter().any(|name| text.contains(name)) {
                report.add(source, line, "sql", "statements go through the waist in db/");
            }
        }
        for (at, _) in code.match_indices(".query(") {
            if code[at + ".query(".len()..].trim_start().starts_with("&format!")
                || code[at + ".query(".len()..].trim_start().starts_with("format!")
            {
                report.add(source, line_of(&code, at), "sql", "values are bound, not formatted in");
            }
        }
    }
    report.finish();
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let used: BTreeSet<String> = manifest["workspace"]["dependencies"]
        .as_table()
        .expect("a table of dependencies")
        .keys()
        .filter(|name| !name.starts_with("counterfoil"))
        .cloned()
        .collect();
    let page = std::fs::read_to_string(root().join("docs/dependencies.md")).expect("the page");
    let explained: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.split_once("`: "))
        .inspect(|(name, reason)| assert!(reason.len() > 12, "{name} needs a reason"))
        .map(|(name, _)| name.to_owned())
        .collect();
    let unexplained: Vec<_> = used.difference(&explained).collect();
    let unused: Vec<_> = explained.difference(&used).collect();
    assert!(unexplained.is_empty(), "without a line in docs/dependencies.md: {unexplained:?}");
    assert!(unused.is_empty(), "in docs/dependencies.md, and not in Cargo.toml: {unused:?}");
}

/// A path of the machine that somebody worked on means nothing anywhere else.
#[test]
fn no_path_of_one_machine_is_in_the_tree() {
    let paths = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("../sha", "red")];
    let mut report = Report::default();
    for source in tree() {
        for (line, text) in source.text.lines().enumerate() {
            for path in paths.iter().filter(|path| text.contains(**path)) {
                report.add(&source, line, "path", &format!("names {path}"));
            }
        }
    }
    report.finish();
}

#[test]
fn migrations_come_in_pairs() {
    let names = |engine: &str| -> BTreeSet<String> {
        let folder = root().join("crates/server/migrations").join(engine);
        let entries = std::fs::read_dir(folder).expect("the migrations");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
    assert!(!names("sqlite").is_empty());
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for source in tree().iter().filter(|source| has_extension(&source.path, "md")) {
        let folder = root().join(&source.path).parent().expect("a file is in a folder").to_owned();
        for (target, line) in links(&source.text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').map_or((target.as_str(), None), |(f, a)| (f, Some(a)));
            let path = if file.is_empty() { root().join(&source.path) } else { folder.join(file) };
            let fits = match (path.exists(), anchor) {
                (false, _) => false,
                (true, None) => true,
                (true, Some(anchor)) => std::fs::read_to_string(&path).is_ok_and(|text| has_heading(&text, anchor)),
            };
            if !fits {
                broken.push(format!("{}:{}: {target}", source.path, line + 1));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n  {}", broken.join("\n  "));
}

/// A page that nothing leads to is read by nobody.
#[test]
fn every_document_is_reached_from_the_readme() {
    let documents: Vec<Source> = tree().into_iter().filter(|source| has_extension(&source.path, "md")).collect();
    let root = root().canonicalize().expect("a root");
    let mut reached = BTreeSet::from(["README.md".to_owned()]);
    let mut waiting: Vec<String> = reached.iter().cloned().collect();
    while let Some(path) = waiting.pop() {
        let Some(source) = documents.iter().find(|source| source.path == path) else { continue };
        let folder = root.join(&path).parent().expect("a file is in a folder").to_owned();
        for (target, _) in links(&source.text) {
            // A link within the page leads to no other one.
            let Some(file) = target.split('#').next().filter(|file| !file.is_empty()) else { continue };
            let Ok(file) = folder.join(file).canonicalize() else { continue };
            // A link to a folder leads to all that is in it.
            let led_to = documents.iter().filter(|other| root.join(&other.path).starts_with(&file));
            for other in led_to {
                if reached.insert(other.path.clone()) {
                    waiting.push(other.path.clone());
                }
            }
        }
    }
    let lost: Vec<&String> = documents.iter().map(|each| &each.path).filter(|path| !reached.contains(*path)).collect();
    assert!(lost.is_empty(), "no link leads to {lost:?}");
}

/// The targets of `[text](target)` outside of code, with their lines.
fn links(text: &str) -> Vec<(String, usize)> {
    let (mut found, mut in_block) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        if in_block {
            continue;
        }
        // Every other piece between backticks is code. Where a link's text is code, its target is in the piece after it.
        for piece in line.split('`').step_by(2) {
            let targets = piece.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            found.extend(targets.map(|(target, _)| (target.split(' ').next().unwrap_or_default().to_owned(), number)));
        }
    }
    found
}

fn has_heading(text: &str, anchor: &str) -> bool {
    let slug = |heading: &str| -> String {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        heading.to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line.trim_start_matches('#').trim()) == anchor)
}

#[test]
fn the_reader_of_code_knows_code_from_text() {
    let source = "fn a() { let _ = \"}\"; let c = '{'; /* } */ }\n// fn b() {\nfn d<'x>(e: &'x str) -> [u8; 3]\nwhere\n{\n    \
                  r#\"{ \" {\"# ;\n}\ntrait T { fn f(&self); }\n";
    assert_eq!(functions(&code_of(source)), [(0, 0), (2, 6)]);
    let named = modules_named(&code_of("use crate::{app::{x, y}, db};\nuse crate::web::z; // crate::cli\n"));
    let expected = [(0, "app"), (0, "db"), (1, "web")].map(|(line, name)| (line, name.to_owned()));
    assert_eq!(named, expected);
    assert_eq!(links("[a](b.md) `[c](d)` [`e`](f#g)"), [("b.md".to_owned(), 0), ("f#g".to_owned(), 0)]);
}

#[test]
fn every_crate_forbids_unsafe_code() {
    for source in
        tree().iter().filter(|source| source.path.ends_with("Cargo.toml") && !source.path.starts_with("fuzz/"))
    {
        if source.path == "Cargo.toml" {
            assert!(source.text.contains("unsafe_code = \"forbid\""), "the workspace forbids unsafe code");
        } else if source.text.contains("[package]") {
            assert!(source.text.contains("[lints]\nworkspace = true"), "{} takes the workspace's lints", source.path);
        }
    }
}

#[test]
fn everything_comes_from_the_registry() {
    for lock in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let text = std::fs::read_to_string(root().join(lock)).expect("a lock file");
        let sources: Vec<&str> = text.lines().filter(|line| line.starts_with("source = ")).collect();
        assert!(sources.len() > 100, "{lock} names {} sources", sources.len());
        for source in sources {
            assert_eq!(source, "source = \"registry+https://github.com/rust-lang/crates.io-index\"", "{lock}");
        }
    }
}
