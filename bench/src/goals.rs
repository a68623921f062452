//! The goals, each as a number from this run, what it is held against, and whether it is met.

use serde_json::{Value, json};

use crate::book::Book;
use crate::database::Engine;
use crate::limits::{ARGON2, BARE_HTTP, loop_name, pgbench_name};
use crate::once;
use crate::pgbench::Script;
use crate::scale::{size_name, size_workloads};
use crate::stats::ratio;
use crate::work::Rows;

/// What has to hold of the number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// One goal. A number is missing where its workload was not part of the run.
struct Goal {
    what: String,
    bound: Bound,
    found: Option<f64>,
    unit: &'static str,
}

impl Goal {
    fn met(&self) -> Option<bool> {
        self.found.map(|found| match self.bound {
            Bound::AtLeast(least) => found >= least,
            Bound::AtMost(most) => found <= most,
        })
    }

    fn bound_in_words(&self) -> String {
        match self.bound {
            Bound::AtLeast(least) => format!("≥ {least:.0} {}", self.unit),
            Bound::AtMost(most) => format!("≤ {most:.0} {}", self.unit),
        }
    }

    fn verdict(&self) -> &'static str {
        match self.met() {
            None => "not measured",
            Some(true) => "met",
            Some(false) => "MISSED",
        }
    }
}

const SQLITE: &str = Engine::Sqlite.word();
const POSTGRES: &str = Engine::Postgres.word();

fn share(book: &Book, what: &str, part: Option<f64>, limit: &str, least_percent: f64) -> Goal {
    let found = part.zip(book.find_number(limit)).and_then(|(part, whole)| ratio(part, whole));
    Goal {
        what: what.to_owned(),
        bound: Bound::AtLeast(least_percent),
        found: found.map(|part| part * 100.0),
        unit: "%",
    }
}

fn at_most(what: impl Into<String>, found: Option<f64>, most: f64, unit: &'static str) -> Goal {
    Goal { what: what.into(), bound: Bound::AtMost(most), found, unit }
}

fn all(book: &Book) -> Vec<Goal> {
    let speed =
        |workload: &str, engine, connections| book.find(workload, engine, connections).map(|found| found.per_second);
    let (acknowledged, license) = ("webhook acknowledged", "webhook to license");
    let mut goals = vec![
        share(
            book,
            "webhook acknowledged, SQLite, 64 connections : bare loop, 64 a transaction",
            speed(acknowledged, SQLITE, 64),
            &loop_name(Rows::Inbox, 64),
            60.0,
        ),
        share(
            book,
            "webhook acknowledged, PostgreSQL, 64 connections : pgbench, the same insert",
            speed(acknowledged, POSTGRES, 64),
            &pgbench_name(Script::Insert, 64),
            60.0,
        ),
        share(
            book,
            "webhook to license, SQLite, 16 connections : bare loop, all rows, 64 a transaction",
            speed(license, SQLITE, 16),
            &loop_name(Rows::All, 64),
            50.0,
        ),
        share(
            book,
            "webhook to license, PostgreSQL, 16 connections : pgbench, one transaction an event",
            speed(license, POSTGRES, 16),
            &pgbench_name(Script::Transaction, 16),
            90.0,
        ),
        share(
            book,
            "webhook to license, PostgreSQL, 16 connections : pgbench, one statement an event",
            speed(license, POSTGRES, 16),
            &pgbench_name(Script::Statement, 16),
            80.0,
        ),
    ];
    for engine in [SQLITE, POSTGRES] {
        for workload in ["license refresh", "validate"] {
            let what = format!("{workload}, {engine}, 64 connections : bare HTTP of the same size");
            goals.push(share(book, &what, speed(workload, engine, 64), BARE_HTTP, 50.0));
        }
        let what = format!("sign-up, {engine} : argon2id alone on all cores");
        goals.push(share(book, &what, speed("sign-up", engine, 16), ARGON2, 90.0));
    }
    goals.extend(latencies(book));
    goals.extend(costs(book));
    goals
}

fn latencies(book: &Book) -> Vec<Goal> {
    let mut goals = Vec::new();
    for engine in [SQLITE, POSTGRES] {
        let found = book.find("webhook acknowledged", engine, 64);
        let spread = found.and_then(|found| ratio(found.p99, found.p50));
        goals.push(at_most(format!("p99 : p50 of acknowledgement, {engine}, 64 connections"), spread, 5.0, "×"));
        let beside = book.find("acknowledged beside sign-ups", engine, 16).map(|found| found.p99);
        goals.push(at_most(
            format!("p99 of acknowledgement beside sign-ups, {engine}, 16 connections"),
            beside,
            20.0,
            "ms",
        ));
    }
    goals
}

fn costs(book: &Book) -> Vec<Goal> {
    let license = |engine| book.find("webhook to license", engine, 16);
    let cpu = |engine| license(engine).map(|found| found.cpu_micros);
    let peak = |engine| license(engine).map(|found| found.peak_mib);
    let idle = |engine| book.find_number(&once::idle_name(engine));
    vec![
        at_most("CPU of the server for a webhook, end to end, SQLite", cpu(SQLITE), 90.0, "µs"),
        at_most("CPU of the server for a webhook, end to end, PostgreSQL", cpu(POSTGRES), 60.0, "µs"),
        at_most(
            "Stripe calls that make something, first checkout",
            book.find_number(once::FIRST_CHECKOUT),
            2.0,
            "calls",
        ),
        at_most(
            "Stripe calls that make something, later checkout",
            book.find_number(once::LATER_CHECKOUT),
            1.0,
            "calls",
        ),
        at_most("resident memory, idle, SQLite", idle(Engine::Sqlite), 25.0, "MiB"),
        at_most("resident memory, idle, PostgreSQL", idle(Engine::Postgres), 25.0, "MiB"),
        at_most("resident memory under webhook load, SQLite", peak(SQLITE), 40.0, "MiB"),
        at_most("resident memory under webhook load, PostgreSQL", peak(POSTGRES), 40.0, "MiB"),
        at_most("start to first 200, SQLite", book.find_number(&once::start_name(Engine::Sqlite)), 40.0, "ms"),
        at_most("start to first 200, PostgreSQL", book.find_number(&once::start_name(Engine::Postgres)), 40.0, "ms"),
        at_most("release binary", book.find_number(once::BINARY), 30.0, "MiB"),
    ]
}

/// How much p99 grows with the database.
fn growth(book: &Book, [small, large]: [u64; 2]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for engine in [SQLITE, POSTGRES] {
        for workload in size_workloads() {
            let p99 = |customers| book.find(&size_name(workload, customers), engine, 16).map(|found| found.p99);
            let grown = p99(large).zip(p99(small)).and_then(|(large, small)| ratio(large, small));
            let what = format!("p99 of {workload}, {engine}, {large} customers : {small}");
            goals.push(at_most(what, grown.map(|ratio| ratio * 100.0), 150.0, "%"));
        }
    }
    goals
}

/// The table of goals. Those of which this run knows nothing are left out, unless none is known.
pub fn table(book: &Book, sizes: Option<[u64; 2]>) -> (String, Value) {
    let mut goals = all(book);
    if let Some(sizes) = sizes {
        goals.extend(growth(book, sizes));
    }
    goals.retain(|goal| goal.found.is_some());
    let mut text = "| goal | wanted | measured | |\n|---|---:|---:|---|\n".to_owned();
    for goal in &goals {
        let found = goal.found.map_or_else(String::new, |found| format!("{found:.1} {}", goal.unit));
        text.push_str(&format!("| {} | {} | {found} | {} |\n", goal.what, goal.bound_in_words(), goal.verdict()));
    }
    let json = goals.iter().map(|goal| {
        json!({ "goal": goal.what, "wanted": goal.bound_in_words(), "measured": goal.found, "unit": goal.unit, "met": goal.met() })
    });
    (text, json.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::{Sample, Series};

    #[test]
    fn a_goal_is_met_at_its_bound_and_missed_beyond_it() {
        let goal = |bound, found| Goal { what: String::new(), bound, found, unit: "" };
        assert_eq!(goal(Bound::AtLeast(60.0), Some(60.0)).met(), Some(true));
        assert_eq!(goal(Bound::AtLeast(60.0), Some(59.9)).met(), Some(false));
        assert_eq!(goal(Bound::AtMost(20.0), Some(20.1)).verdict(), "MISSED");
        assert_eq!(goal(Bound::AtMost(20.0), None).verdict(), "not measured");
    }

    #[test]
    fn what_was_not_measured_is_not_in_the_table() {
        let mut book = Book::default();
        assert!(!table(&book, None).0.contains("SQLite"));
        book.number(&loop_name(Rows::Inbox, 64), Ok(10_000.0));
        book.note(
            Series::new("webhook acknowledged", "sqlite", 64),
            Ok(Sample { per_second: 6_500.0, ..Sample::default() }),
        );
        let (text, json) = table(&book, None);
        assert!(text.contains("≥ 60 % | 65.0 % | met"), "{text}");
        assert_eq!(json[0]["met"], true);
    }
}
