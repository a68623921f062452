//! Where the sweeps stand: one row a sweep and provider, held by one process at a time.
//!
//! The lease is fenced like a customer's: whoever lost it while it slept can write nothing more.

use counterfoil_core::Timestamp;

use crate::db::{DbError, Tx};

/// Which sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// The provider's event log, for what no webhook brought.
    Events,
    /// All subscriptions on both sides.
    Comparison,
}

impl Sweep {
    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Comparison => "comparison",
        }
    }
}

/// A sweep that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub fence: i64,
    /// Up to here everything has been looked through.
    pub done_until: Timestamp,
    /// The run that is under way, where an earlier holder began one.
    pub run: Option<Run>,
}

/// A run that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where it ends.
    pub until: Timestamp,
    /// Where in it to go on; `None` at its beginning.
    pub position: Option<String>,
    /// What it has found so far.
    pub found: i64,
}

/// Makes the row where there is none: `done_until` is where the first run begins.
pub async fn ensure(
    tx: &mut Tx,
    sweep: Sweep,
    provider: &str,
    done_until: Timestamp,
    due_at: Timestamp,
) -> Result<(), DbError> {
    tx.query(
        "insert into sweeps (sweep, provider, done_until, found, due_at, fence, leased_until, holder) \
         values ($1, $2, $3, 0, $4, 0, $3, '') on conflict (sweep, provider) do nothing",
    )
    .bind(sweep.word())
    .bind(provider)
    .bind(done_until)
    .bind(due_at)
    .execute()
    .await?;
    Ok(())
}

/// Takes the sweep where it is due and nobody holds it. What lies after `latest` is what a clock that was ahead has left: a sweep
/// that stands there is due, whatever its row says, and a lease until then is nobody's.
pub async fn take(
    tx: &mut Tx,
    sweep: Sweep,
    provider: &str,
    holder: &str,
    now: Timestamp,
    until: Timestamp,
    latest: Timestamp,
) -> Result<Option<Taken>, DbError> {
    let row = tx
        .query(
            "update sweeps set fence = fence + 1, leased_until = $5, holder = $3 \
             where sweep = $1 and provider = $2 and (due_at <= $4 or done_until > $6) \
             and (leased_until <= $4 or leased_until > $6) \
             returning fence, done_until, run_until, position, found",
        )
        .bind(sweep.word())
        .bind(provider)
        .bind(holder)
        .bind(now)
        .bind(until)
        .bind(latest)
        .optional()
        .await?;
    row.map(|row| {
        let run = match row.get::<Option<Timestamp>>("run_until")? {
            Some(until) => Some(Run { until, position: row.get("position")?, found: row.get("found")? }),
            None => None,
        };
        Ok(Taken { fence: row.get("fence")?, done_until: row.get("done_until")?, run })
    })
    .transpose()
}

/// Notes how far the run has come, and keeps the sweep. False where another holder has taken it since.
pub async fn keep(
    tx: &mut Tx,
    sweep: Sweep,
    provider: &str,
    fence: i64,
    run: &Run,
    leased_until: Timestamp,
) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "update sweeps set run_until = $4, position = $5, found = $6, leased_until = $7 \
             where sweep = $1 and provider = $2 and fence = $3",
        )
        .bind(sweep.word())
        .bind(provider)
        .bind(fence)
        .bind(run.until)
        .bind(run.position.as_deref())
        .bind(run.found)
        .bind(leased_until)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Ends the run and gives the sweep back until `due_at`. False where another holder has taken it since.
pub async fn finish(
    tx: &mut Tx,
    sweep: Sweep,
    provider: &str,
    fence: i64,
    done_until: Timestamp,
    due_at: Timestamp,
) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "update sweeps set done_until = $4, run_until = null, position = null, found = 0, due_at = $5, \
             leased_until = $4 where sweep = $1 and provider = $2 and fence = $3",
        )
        .bind(sweep.word())
        .bind(provider)
        .bind(fence)
        .bind(done_until)
        .bind(due_at)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Gives the sweep back in the middle of a run, to be gone on with at `again_at`. `from_the_start` forgets where the run was. It
/// stays due: that moves with a run that came to its end only, together with `done_until`, which says whether a clock was ahead.
pub async fn put_off(
    tx: &mut Tx,
    sweep: Sweep,
    provider: &str,
    fence: i64,
    from_the_start: bool,
    again_at: Timestamp,
) -> Result<(), DbError> {
    tx.query(
        "update sweeps set leased_until = $5, position = case when $4 then null else position end \
         where sweep = $1 and provider = $2 and fence = $3",
    )
    .bind(sweep.word())
    .bind(provider)
    .bind(fence)
    .bind(from_the_start)
    .bind(again_at)
    .execute()
    .await?;
    Ok(())
}

/// Gives back what a holder has that is known to be gone: an earlier run of the only process on this database.
pub async fn end_all_but(tx: &mut Tx, holder: &str, now: Timestamp) -> Result<(), DbError> {
    tx.query("update sweeps set leased_until = $2 where holder <> $1 and leased_until > $2")
        .bind(holder)
        .bind(now)
        .execute()
        .await?;
    Ok(())
}

/// Up to where each sweep has looked, for metrics.
pub async fn list_done(tx: &mut Tx) -> Result<Vec<(String, Timestamp)>, DbError> {
    let rows = tx.query("select sweep, min(done_until) as done_until from sweeps group by sweep").all().await?;
    rows.iter().map(|row| Ok((row.get("sweep")?, row.get("done_until")?))).collect()
}
