//! What is printed at the end, and what is written for machines.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::book::Book;
use crate::goals;
use crate::process::processor;
use crate::stage::Bench;

/// The report as text and as JSON.
pub fn of(book: &Book, bench: &Bench, command: &str, sizes: Option<[u64; 2]>) -> (String, Value) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let postgres = bench.cluster.as_ref().and_then(|cluster| cluster.version().ok());
    let loads: Vec<String> = book.loads.iter().map(|load| format!("{load:.2}")).collect();
    let mut text = String::new();
    let _ = writeln!(text, "\n`{command}` on {cores} cores ({}).", processor());
    let _ = writeln!(
        text,
        "PostgreSQL {}. Load average at each round: {}.\n",
        postgres.as_deref().unwrap_or("not used"),
        loads.join(", ")
    );
    workloads(book, &mut text);
    numbers(book, &mut text);
    let (goals, goals_json) = goals::table(book, sizes);
    text.push_str(&goals);
    for told in &book.discarded {
        let _ = writeln!(text, "\nNot counted: {told}");
    }
    let mut value = book.to_json();
    value["command"] = json!(command);
    value["machine"] = json!({ "cores": cores, "processor": processor(), "postgres": postgres });
    value["goals"] = goals_json;
    (text, value)
}

fn workloads(book: &Book, text: &mut String) {
    if book.series().next().is_none() {
        return;
    }
    text.push_str("| workload | database | connections | a second | p50 ms | p95 ms | p99 ms | server CPU µs | peak MiB | runs |\n");
    text.push_str("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for (series, median, runs) in book.series() {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.0} | {:.1} | {runs} |",
            series.workload,
            series.engine,
            series.connections,
            median.per_second,
            median.p50,
            median.p95,
            median.p99,
            median.cpu_micros,
            median.peak_mib,
        );
    }
    text.push('\n');
}

fn numbers(book: &Book, text: &mut String) {
    if book.numbers().next().is_none() {
        return;
    }
    text.push_str("| number | median | runs |\n|---|---:|---:|\n");
    for (name, median, runs) in book.numbers() {
        let _ = writeln!(text, "| {name} | {median:.1} | {runs} |");
    }
    text.push('\n');
}
