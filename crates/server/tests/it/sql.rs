//! Every statement of the program, prepared on both engines: the compile-time check that runtime queries do not have.

use std::path::{Path, PathBuf};

use counterfoil::db::Engine;
use counterfoil::db::testing;
use counterfoil::store::batch;

use crate::world::is_at_hand;

/// Where statements are.
const FOLDERS: [&str; 4] = ["src/store", "src/app", "src/cli", "src/providers/manual"];

/// A statement, and the file it stands in.
#[derive(Debug)]
struct Statement {
    place: String,
    sql: String,
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            // What tests ask has no part in the program.
            if !path.ends_with("tests") {
                files.extend(rust_files(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The literal that `text` begins with, as the compiler reads it.
fn literal(text: &str) -> Option<String> {
    let mut chars = text.strip_prefix('"')?.chars().peekable();
    let mut read = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(read),
            '\\' => match chars.next()? {
                '\n' => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                'n' => read.push('\n'),
                other => read.push(other),
            },
            other => read.push(other),
        }
    }
}

/// The text of `const NAME: &str = "…"`.
fn constant(source: &str, name: &str) -> Option<String> {
    let declaration = source.find(&format!("const {name}: &str ="))?;
    let after = source[declaration..].split_once('=')?.1;
    literal(after.trim_start())
}

/// All statements that come of a template in this source, in each of their sizes.
fn from_templates(place: &str, source: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    for maker in ["Batch::adding(", "Batch::about("] {
        for (at, _) in source.match_indices(maker) {
            let line = source[..at].lines().count();
            let template = literal(source[at + maker.len()..].trim_start());
            let template = template.unwrap_or_else(|| panic!("{place}:{line}: a template that is no literal"));
            found.extend(batch::SIZES.map(|rows| Statement {
                place: format!("{place}:{line}, {rows} rows"),
                sql: batch::expand(&template, rows),
            }));
        }
    }
    found
}

/// All statements that are handed to `.query(` in this source.
fn statements(place: &str, source: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    for (at, _) in source.match_indices(".query(") {
        let argument = source[at + ".query(".len()..].trim_start();
        let name: String = argument.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
        let sql = match literal(argument) {
            Some(sql) => Some(sql),
            None if !name.is_empty() => constant(source, &name),
            // A URL's query has no argument or one that is no statement.
            None if argument.starts_with(')') || argument.starts_with('&') => continue,
            None => None,
        };
        let line = source[..at].lines().count();
        let sql = sql.unwrap_or_else(|| panic!("{place}:{line}: a statement that is neither literal nor constant"));
        found.push(Statement { place: format!("{place}:{line}"), sql });
    }
    found
}

fn all_statements() -> Vec<Statement> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    FOLDERS
        .iter()
        .flat_map(|folder| rust_files(&root.join(folder)))
        .flat_map(|path| {
            let source = std::fs::read_to_string(&path).expect("a source");
            let place = path.strip_prefix(root).expect("inside the crate").display().to_string();
            // What it executes comes of the templates in the other files.
            if place == "src/store/batch.rs" {
                return Vec::new();
            }
            let mut found = statements(&place, &source);
            found.extend(from_templates(&place, &source));
            found
        })
        .collect()
}

async fn every_statement_is_accepted(engine: Engine) {
    if !is_at_hand(engine) {
        return;
    }
    let db = testing::fresh(engine).await;
    let statements = all_statements();
    assert!(statements.len() >= 60, "only {} statements were found", statements.len());
    let of_templates = statements.iter().filter(|each| each.place.ends_with(" rows")).count();
    assert!(of_templates >= 10 * batch::SIZES.len(), "only {of_templates} statements come of templates");
    let mut refused = Vec::new();
    for Statement { place, sql } in &statements {
        if let Err(error) = db.prepare(sql).await {
            refused.push(format!("{place}: {error}\n    {sql}"));
        }
    }
    assert!(refused.is_empty(), "{} refuses:\n{}", engine.as_str(), refused.join("\n"));
    assert!(db.prepare("select nothing from customers").await.is_err(), "a wrong column is found out");
}

#[tokio::test]
async fn every_statement_is_accepted_by_sqlite() {
    every_statement_is_accepted(Engine::Sqlite).await;
}

#[tokio::test]
async fn every_statement_is_accepted_by_postgres() {
    every_statement_is_accepted(Engine::Postgres).await;
}

#[test]
fn literals_are_read_as_the_compiler_reads_them() {
    assert_eq!(literal("\"a \\\n     b\"").as_deref(), Some("a b"));
    assert_eq!(literal("\"say \\\"x\\\"\", y").as_deref(), Some("say \"x\""));
    assert_eq!(literal("NAME"), None);
    let source = "const NAME: &str = \"select 1\"; tx.query(NAME)  tx.query(\n  \"select 2\")";
    let found: Vec<String> = statements("x", source).into_iter().map(|each| each.sql).collect();
    assert_eq!(found, ["select 1", "select 2"]);
}

/// How SQLite would go about a statement, a line for each table.
async fn plan(db: &testing::TestDb, sql: &str) -> Vec<String> {
    let explain: &'static str = Box::leak(format!("explain query plan {sql}").into_boxed_str());
    let rows = db.db.query(explain).all().await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    rows.iter().map(|row| row.get("detail").expect("a line of the plan")).collect()
}

/// Statements that may look through a table that grows: none waits for them that pays or asks for a licence.
const MAY_SCAN: [(&str, &str); 3] = [
    ("src/store/exports.rs", "trial_ledger"),
    ("src/store/leases.rs", "customer_leases"),
    ("src/store/subscriptions.rs", "subscriptions"),
];

/// Tables with a row or more for each customer, event and mail.
const GROWING: [&str; 12] = [
    "account_tokens",
    "audit_log",
    "billing_links",
    "checkout_attempts",
    "customer_leases",
    "customers",
    "licenses",
    "license_statuses",
    "outbox",
    "subscriptions",
    "trial_ledger",
    "webhook_inbox",
];

/// What looks through a whole table is quick as long as there is little in it, and stops everything later. A column that is the same in
/// all rows, such as the provider, is no way to find any.
#[tokio::test]
async fn no_statement_looks_through_a_table_that_grows() {
    let db = testing::fresh(Engine::Sqlite).await;
    let partial = "select name from sqlite_master where type = 'index' and sql like '% where %'";
    let partial = db.db.query(partial).all().await.expect("the indexes");
    let partial: Vec<String> = partial.iter().map(|row| row.get("name").expect("a name")).collect();
    let mut slow = Vec::new();
    for Statement { place, sql } in all_statements() {
        for line in plan(&db, &sql).await {
            let words: Vec<&str> = line.split_whitespace().collect();
            let table = words.get(1).copied().unwrap_or_default();
            // Along an index that holds only what waits, or in the order that is wanted until there are enough of them.
            let index = words.iter().skip_while(|word| **word != "INDEX").nth(1).copied().unwrap_or_default();
            let is_bounded = partial.iter().any(|name| name == index)
                || ["order by id desc limit", "order by id limit"].iter().any(|end| sql.contains(end));
            let is_scan = words[0] == "SCAN" && GROWING.contains(&table) && !is_bounded;
            let is_all = line.ends_with("(provider=?)");
            if (is_scan || is_all) && !MAY_SCAN.iter().any(|(file, of)| place.starts_with(file) && *of == table) {
                slow.push(format!("{place}: {line}"));
            }
        }
    }
    assert!(slow.is_empty(), "{}", slow.join("\n"));
}

/// Whether a statement takes something out of the audit log, or changes what stands there.
fn rewrites_the_audit_log(sql: &str) -> bool {
    let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    let replaces = sql.contains("insert into audit_log") && sql.contains("on conflict");
    replaces || sql.contains("update audit_log") || sql.contains("delete from audit_log")
}

#[test]
fn what_was_audited_stays_as_it_was() {
    let about: Vec<Statement> = all_statements().into_iter().filter(|each| each.sql.contains("audit_log")).collect();
    assert!(about.len() >= 3, "{about:#?}");
    for Statement { place, sql } in &about {
        assert!(!rewrites_the_audit_log(sql), "{place}: {sql}");
    }
    for sql in ["update audit_log set reason = $1", "delete from audit_log where id < $1"] {
        assert!(rewrites_the_audit_log(sql), "{sql}");
    }
    for sql in ["insert into audit_log (at) values ($1)", "select id from audit_log where customer_id = $1"] {
        assert!(!rewrites_the_audit_log(sql), "{sql}");
    }
}
