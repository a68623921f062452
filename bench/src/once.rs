//! What is counted rather than timed: calls to Stripe, start-up and memory, rows and bytes for a customer.

use std::time::Duration;

use crate::book::Book;
use crate::database::{Database, Engine};
use crate::http1::Connection;
use crate::load::Requests as _;
use crate::process::memory_mib;
use crate::requests::{Checkouts, SignUps};
use crate::rows::AtStripe;
use crate::server::Roles;
use crate::stage::{Bench, Wanted};
use crate::stub::{Counts, since};
use crate::webhooks::{require_licenses, wait_until_drained};

pub const FIRST_CHECKOUT: &str = "Stripe calls, first checkout: made";
pub const LATER_CHECKOUT: &str = "Stripe calls, later checkout: made";
pub const BINARY: &str = "release binary [MiB]";
const BYTES_PER_MIB: f64 = 1_048_576.0;

/// How long a server does nothing before its memory counts as idle.
const IDLE_AFTER: Duration = Duration::from_secs(2);

/// Customers in the database that is there when a server starts.
const EXISTING: u64 = 1_000;

/// Customers that rows and bytes are divided by.
const STORED: u64 = 4_000;

pub fn idle_name(engine: Engine) -> String {
    format!("resident memory, idle, {} [MiB]", engine.word())
}

pub fn start_name(engine: Engine) -> String {
    format!("start to first 200, {} [ms]", engine.word())
}

/// Which calls a checkout makes, for somebody whom Stripe does not know yet, for somebody whom it knows, and for somebody who asks again
/// while the page is open.
pub async fn stripe_calls(bench: &Bench, book: &mut Book, engine: Engine) {
    for (at_stripe, name, again) in [
        (AtStripe::Unknown, FIRST_CHECKOUT, None),
        (AtStripe::Idle, LATER_CHECKOUT, Some("Stripe calls, checkout asked for again: read")),
    ] {
        match checkout_calls(bench, engine, at_stripe).await {
            Ok((first, second)) => {
                let made: u64 = first.iter().filter(|(asked, _)| asked.changes()).map(|(_, count)| *count).sum();
                let read: u64 = first.values().sum::<u64>() - made;
                eprintln!("  {name}: {}", in_words(&first));
                book.number(name, Ok(whole(made)));
                book.number(&name.replace(": made", ": read"), Ok(whole(read)));
                if let Some(again) = again {
                    book.number(again, Ok(whole(second.values().sum())));
                }
            }
            Err(error) => book.number(name, Err(error)),
        }
    }
}

async fn checkout_calls(bench: &Bench, engine: Engine, at_stripe: AtStripe) -> anyhow::Result<(Counts, Counts)> {
    let stage = bench.stage(Wanted { engine, roles: Roles::All, customers: 1, at_stripe }).await?;
    let mut connection = Connection::open(stage.server.address).await?;
    let mut request = Vec::new();
    Checkouts.write(0, &mut request);
    let mut counted = Vec::new();
    for _ in 0..2 {
        let before = bench.stub.counts();
        let answer = connection.call(&request).await?;
        let good = Checkouts.accepts(0, answer.status(), answer.body);
        anyhow::ensure!(good, "a checkout was answered {}: {}", answer.status(), String::from_utf8_lossy(answer.body));
        counted.push(since(&before, &bench.stub.counts()));
    }
    let second = counted.pop().unwrap_or_default();
    Ok((counted.pop().unwrap_or_default(), second))
}

fn in_words(counts: &Counts) -> String {
    let each: Vec<String> = counts.iter().map(|(asked, count)| format!("{} × {count}", asked.word())).collect();
    each.join(", ")
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes of a benchmark are far below 2^52")]
fn whole(count: u64) -> f64 {
    count as f64
}

/// Start on an existing database, and memory at rest.
pub async fn start(bench: &Bench, book: &mut Book, engine: Engine) {
    let measured: anyhow::Result<(f64, f64)> = async {
        let wanted = Wanted { engine, roles: Roles::All, customers: EXISTING, at_stripe: AtStripe::Paying };
        let stage = bench.stage(wanted).await?;
        tokio::time::sleep(IDLE_AFTER).await;
        Ok((stage.server.start_millis, memory_mib(stage.server.pid())?.0))
    }
    .await;
    match measured {
        Ok((millis, mib)) => {
            book.number(&start_name(engine), Ok(millis));
            book.number(&idle_name(engine), Ok(mib));
        }
        Err(error) => book.number(&start_name(engine), Err(error)),
    }
}

/// The size of the program.
pub fn binary(bench: &Bench, book: &mut Book) {
    book.number(BINARY, bench.server_bytes().map(|bytes| whole(bytes) / BYTES_PER_MIB));
}

/// Rows of all tables that grow with customers.
const ROWS: &str = "select (select count(*) from customers) + (select count(*) from subscriptions) + \
    (select count(*) from billing_links) + (select count(*) from licenses) + (select count(*) from license_statuses) + \
    (select count(*) from trial_ledger) + (select count(*) from trial_notices) + (select count(*) from outbox) + \
    (select count(*) from sessions) + (select count(*) from audit_log) + (select count(*) from webhook_inbox) + \
    (select count(*) from customer_leases) + (select count(*) from checkout_attempts)";

/// What a customer costs, in rows and bytes: after signing up, and after the first payment with its one event.
pub async fn storage(bench: &Bench, book: &mut Book, engine: Engine) {
    let word = engine.word();
    let signed_up: anyhow::Result<(f64, f64)> = async {
        let real = rows_of_a_sign_up(bench, engine).await?;
        let (database, empty) =
            (bench.database(engine, STORED, AtStripe::Unknown)?, bench.database(engine, 0, AtStripe::Unknown)?);
        let rows = each(database.0.number(ROWS)?.unsigned_abs());
        anyhow::ensure!(rows == real, "a sign-up writes {real} rows, and the benchmark {rows}");
        Ok((rows, each(database.0.bytes()?.saturating_sub(empty.0.bytes()?))))
    }
    .await;
    note(book, &format!("a customer after signing up, {word}"), signed_up);
    let paid: anyhow::Result<(f64, f64)> = async {
        let wanted = Wanted { engine, roles: Roles::All, customers: STORED, at_stripe: AtStripe::Paying };
        let stage = bench.stage(wanted).await?;
        let events = std::sync::Arc::new(stage.events(0));
        let outcome =
            crate::load::drive(&[stage.server.address], 16, crate::load::Until::Count(STORED), events).await?;
        outcome.require_good()?;
        wait_until_drained(&stage.database).await?;
        require_licenses(&stage.database, STORED)?;
        let empty = bench.database(engine, 0, AtStripe::Unknown)?;
        let bytes = stage.database.bytes()?.saturating_sub(empty.0.bytes()?);
        Ok((each(stage.database.number(ROWS)?.unsigned_abs()), each(bytes)))
    }
    .await;
    note(book, &format!("a customer after the first payment, {word}"), paid);
}

fn each(total: u64) -> f64 {
    whole(total) / whole(STORED)
}

fn note(book: &mut Book, name: &str, measured: anyhow::Result<(f64, f64)>) {
    match measured {
        Ok((rows, bytes)) => {
            book.number(&format!("{name} [rows]"), Ok(rows));
            book.number(&format!("{name} [bytes]"), Ok(bytes));
        }
        Err(error) => book.number(&format!("{name} [bytes]"), Err(error)),
    }
}

/// The seeded rows stand for those of a sign-up; this is the sign-up.
async fn rows_of_a_sign_up(bench: &Bench, engine: Engine) -> anyhow::Result<f64> {
    let stage = bench.stage(Wanted { engine, roles: Roles::Web, customers: 0, at_stripe: AtStripe::Unknown }).await?;
    let mut connection = Connection::open(stage.server.address).await?;
    let mut request = Vec::new();
    SignUps { series: 0 }.write(0, &mut request);
    let status = connection.call(&request).await?.status();
    anyhow::ensure!(status == 201, "a sign-up was answered {status}");
    let database: &Database = &stage.database;
    Ok(whole(database.number(ROWS)?.unsigned_abs()))
}
