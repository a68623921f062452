//! The limits of this machine, measured in the same run as what is compared with them.

use std::time::Duration;

use anyhow::Context as _;

use crate::book::Book;
use crate::crypto;
use crate::database::{Database, Engine};
use crate::pgbench::{self, Script, Until};
use crate::rows::AtStripe;
use crate::stage::Bench;
use crate::work::{self, Rows};

/// Events in one transaction of the bare loop.
pub const BATCHES: [u64; 3] = [1, 8, 64];

/// Events a second that the fastest loop is expected to stay below: how many customers it is given.
const LOOP_RATE_MAX: u64 = 12_000;

/// Transactions a second that pgbench is expected to stay below.
const PGBENCH_RATE_MAX: u64 = 4_000;

pub fn loop_name(what: Rows, batch: u64) -> String {
    let what = match what {
        Rows::Inbox => "inbox row",
        Rows::All => "all rows",
    };
    format!("limit: SQLite loop, {what}, {batch} a transaction [/s]")
}

pub fn pgbench_name(script: Script, clients: u64) -> String {
    let what = match script {
        Script::Insert => "inbox row",
        Script::Transaction => "all rows, one transaction",
        Script::Statement => "all rows, one statement",
    };
    format!("limit: pgbench, {what}, {clients} clients [/s]")
}

/// The bare loop on SQLite: `what`, in every size of transaction.
pub fn sqlite_loop(bench: &Bench, book: &mut Book, what: Rows, time: Duration) {
    for batch in BATCHES {
        let measured = (|| {
            let customers = LOOP_RATE_MAX * time.as_secs().max(1);
            let filled = if what == Rows::All { customers } else { 0 };
            let (database, folder) = bench.database(Engine::Sqlite, filled, AtStripe::Paying)?;
            let Database::Sqlite(file) = &database else { anyhow::bail!("a database of the other engine") };
            let texts = bench.texts(Engine::Sqlite)?;
            let count = if what == Rows::All { customers } else { u64::MAX };
            let speed = work::loop_over(&file.path, &texts, what, batch, count, time)?;
            drop(database);
            std::fs::remove_dir_all(folder)?;
            Ok(speed)
        })();
        book.number(&loop_name(what, batch), measured);
    }
}

/// pgbench with the equivalent statements.
pub fn pgbench(bench: &Bench, book: &mut Book, script: Script, clients: u64, time: Duration) {
    let measured = (|| {
        let cluster = bench.cluster.as_ref().context("PostgreSQL was not asked for")?;
        let customers = PGBENCH_RATE_MAX * time.as_secs().max(1);
        let filled = if script == Script::Insert { 0 } else { customers };
        let (database, folder) = bench.database(Engine::Postgres, filled, AtStripe::Paying)?;
        let Database::Postgres(base) = &database else { anyhow::bail!("a database of the other engine") };
        let until = match script {
            Script::Insert => Until::Seconds(time.as_secs().max(1)),
            Script::Transaction | Script::Statement => Until::Transactions(customers),
        };
        let texts = bench.texts(Engine::Postgres)?;
        let speed = pgbench::transactions_per_second(cluster, &base.name, &folder, &texts, script, clients, until)?;
        let name = base.name.clone();
        drop(database);
        cluster.drop_database(&name)?;
        std::fs::remove_dir_all(folder)?;
        Ok(speed)
    })();
    book.number(&pgbench_name(script, clients), measured);
}

/// Signatures and password hashes.
pub fn mathematics(book: &mut Book, time: Duration) {
    let (signed, verified) = crypto::signatures_per_second(time / 4);
    book.number(SIGN, Ok(signed));
    book.number(VERIFY, Ok(verified));
    book.number(ARGON2, Ok(crypto::hashes_per_second(time)));
}

pub const SIGN: &str = "limit: Ed25519 sign, one core [/s]";
pub const VERIFY: &str = "limit: Ed25519 verify, one core [/s]";
pub const ARGON2: &str = "limit: argon2id, all cores [/s]";
pub const BARE_HTTP: &str = "limit: bare HTTP, bodies of a license refresh, 64 connections [/s]";
