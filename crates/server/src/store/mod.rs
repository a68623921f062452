//! SQL, one file per aggregate: rows to core types and back, nothing else.
//!
//! Every function takes the caller's transaction; none decides anything, reads a clock or draws a random number. Statements
//! are constants, one text for both engines. Where a row belongs to a customer, its customer id is part of the condition.

pub mod account_tokens;
pub mod activations;
pub mod api_keys;
pub mod attempts;
pub mod audit;
pub mod batch;
pub mod customers;
pub mod events;
pub mod exports;
pub mod holds;
pub mod inbox;
pub mod instance;
pub mod jobs;
pub mod key_sets;
pub mod leases;
pub mod license_statuses;
pub mod licenses;
pub mod links;
pub mod outbox;
pub mod planned_changes;
pub mod presented;
pub mod rate_limits;
pub mod sessions;
pub mod signing_keys;
pub mod standings;
pub mod subscriptions;
pub mod sweeps;
pub mod trials;

use counterfoil_core::{Interval, Timestamp};

use crate::db::{DbError, Row};

/// Rows of one kind that are counted at most: beyond that, the exact number tells nobody more.
pub const COUNT_MAX: i64 = 100_000;

/// How a queue is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    pub pending: i64,
    pub dead: i64,
    /// Events of ours that wait for long and belong to nobody in the book.
    pub unmatched: i64,
    /// When the oldest row that waits came in.
    pub oldest: Option<Timestamp>,
}

/// Rows that a statement changed, the oldest first: `returning` promises no order, and the engines differ in theirs.
fn in_order(rows: Vec<Row>) -> Result<Vec<Row>, DbError> {
    let mut numbered =
        rows.into_iter().map(|row| Ok((row.get("id")?, row))).collect::<Result<Vec<(i64, Row)>, DbError>>()?;
    numbered.sort_unstable_by_key(|(id, _)| *id);
    Ok(numbered.into_iter().map(|(_, row)| row).collect())
}

/// The interval column, empty where the price is in no plan.
fn interval(row: &Row, column: &str) -> Result<Option<Interval>, DbError> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| {
        Interval::parse(&text).ok_or_else(|| DbError::other(format!("`{column}` holds an unknown interval")))
    })
    .transpose()
}
