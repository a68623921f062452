//! Buckets of rate limits, one row each. Taking is one statement, so two replicas never take the same token.

use crate::db::{DbError, Row, Tx};

/// A try, in microseconds.
#[derive(Clone, Debug)]
pub struct Try {
    pub bucket: String,
    /// How long it takes until a token is back.
    pub cost: i64,
    /// How long it takes until an empty bucket is full.
    pub capacity: i64,
}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub allowed: bool,
    /// When the bucket is full again.
    pub full_at: i64,
}

fn taken_from_row(row: &Row) -> Result<Taken, DbError> {
    let allowed: i64 = row.get("allowed")?;
    Ok(Taken { allowed: allowed == 1, full_at: row.get("full_at")? })
}

/// Takes a token. A try that is refused takes nothing, so that waiting helps also whoever was too hasty.
pub async fn take(tx: &mut Tx, wanted: &Try, now: i64) -> Result<Taken, DbError> {
    let row = tx
        .query(
            "insert into rate_limits (bucket, full_at, cost, latest, allowed) values ($1, $2, $3, $4, 1) \
             on conflict (bucket) do update set \
             full_at = case when rate_limits.full_at <= excluded.full_at - excluded.cost then excluded.full_at \
             when rate_limits.full_at <= excluded.latest then rate_limits.full_at + excluded.cost \
             else rate_limits.full_at end, \
             allowed = case when rate_limits.full_at <= excluded.latest then 1 else 0 end, \
             cost = excluded.cost, latest = excluded.latest returning full_at, allowed",
        )
        .bind(wanted.bucket.as_str())
        .bind(now + wanted.cost)
        .bind(wanted.cost)
        .bind(now + wanted.capacity - wanted.cost)
        .one()
        .await?;
    taken_from_row(&row)
}

/// Takes a token of each of three different buckets by one statement: what a login costs.
pub async fn take_three(tx: &mut Tx, wanted: &[Try; 3], now: i64) -> Result<[Taken; 3], DbError> {
    let mut query = tx.query(
        "insert into rate_limits (bucket, full_at, cost, latest, allowed) \
         values ($1, $2, $3, $4, 1), ($5, $6, $7, $8, 1), ($9, $10, $11, $12, 1) \
         on conflict (bucket) do update set \
         full_at = case when rate_limits.full_at <= excluded.full_at - excluded.cost then excluded.full_at \
         when rate_limits.full_at <= excluded.latest then rate_limits.full_at + excluded.cost \
         else rate_limits.full_at end, \
         allowed = case when rate_limits.full_at <= excluded.latest then 1 else 0 end, \
         cost = excluded.cost, latest = excluded.latest returning bucket, full_at, allowed",
    );
    for one in wanted {
        query = query.bind(one.bucket.as_str()).bind(now + one.cost).bind(one.cost).bind(now + one.capacity - one.cost);
    }
    let rows = query.all().await?;
    let mut taken = [Taken { allowed: false, full_at: now }; 3];
    for row in &rows {
        let bucket: String = row.get("bucket")?;
        for (one, taken) in wanted.iter().zip(&mut taken) {
            if one.bucket == bucket {
                *taken = taken_from_row(row)?;
            }
        }
    }
    Ok(taken)
}

/// Forgets buckets that are full again, which changes nothing for anybody; says how many.
pub async fn delete_full(tx: &mut Tx, now: i64) -> Result<u64, DbError> {
    tx.query("delete from rate_limits where full_at <= $1").bind(now).execute().await
}
