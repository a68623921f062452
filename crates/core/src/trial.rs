//! One trial per person, decided by our ledger and never by a request (invariant 8).

use crate::plan::Plan;
use crate::time::Timestamp;

/// What the ledger knows of a person's trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ends or ended.
    pub ends_at: Timestamp,
}

/// What signing up gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The person's first trial: to be written into the ledger.
    First(Entry),
    /// The person had one before; it goes on, or stays ended, as the ledger says.
    Earlier(Entry),
}

impl Start {
    /// The trial, whichever it is.
    #[must_use]
    pub const fn entry(self) -> Entry {
        match self {
            Self::First(entry) | Self::Earlier(entry) => entry,
        }
    }
}

/// Decides which trial a person gets who signs up now.
#[must_use]
pub fn start(earlier: Option<Entry>, plan: &Plan, now: Timestamp) -> Start {
    match earlier {
        Some(entry) => Start::Earlier(entry),
        None => {
            let ends_at = now.floor_to_second().plus_days(i64::from(plan.trial_days));
            Start::First(Entry { started_at: now, ends_at })
        }
    }
}
