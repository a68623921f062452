//! Either engine, as a run sees it.

use std::ops::Range;

use crate::rows::Maker;
use crate::{postgres, sqlite};

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// A database of one run.
pub enum Database {
    Sqlite(sqlite::File),
    Postgres(postgres::Base),
}

impl Database {
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(file) => file.url(),
            Self::Postgres(base) => base.url(),
        }
    }

    pub fn number(&self, sql: &str) -> anyhow::Result<i64> {
        match self {
            Self::Sqlite(file) => file.number(sql),
            Self::Postgres(base) => base.number(sql),
        }
    }

    pub fn fill(&self, maker: &Maker<'_>, numbers: Range<u64>) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(file) => file.fill(maker, numbers),
            Self::Postgres(base) => base.fill(maker, numbers),
        }
    }

    pub fn bytes(&self) -> anyhow::Result<u64> {
        match self {
            Self::Sqlite(file) => file.bytes(),
            Self::Postgres(base) => base.bytes(),
        }
    }

    /// For each event that is worked off, the microseconds between its acknowledgement and the commit of what it meant.
    pub fn micros_to_license(&self) -> anyhow::Result<Vec<i64>> {
        match self {
            Self::Sqlite(file) => file.numbers(
                "select cast(round((julianday(processed_at) - julianday(received_at)) * 86400000000.0) as integer) \
                 from webhook_inbox where state = 'processed'",
            ),
            Self::Postgres(base) => base.numbers(
                "select (extract(epoch from processed_at - received_at) * 1000000)::bigint \
                 from webhook_inbox where state = 'processed'",
            ),
        }
    }
}
