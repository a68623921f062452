//! The lease of one customer: who may look at the provider and write what it saw.
//!
//! A lease can be lost while its holder sleeps, so holding it is no proof. The fencing number is: it rises with every new
//! holder, and every write under the lease checks it in its own transaction (invariant 5).

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_core::{CustomerId, Timestamp};

use super::batch::{Batch, nothing};
use crate::db::{DbError, Tx};

/// Whose lease is held, and with which fencing number.
pub type Held<'a> = (&'a CustomerId, i64);

/// No lease reaches so far: one that does was taken by a server whose clock is wrong. It is nobody's, or that server's, which the
/// fencing number then keeps from writing.
pub const LEASED_SECONDS_MAX: i64 = 3_600;

/// Takes the lease where nobody holds it, and answers the fencing number.
pub async fn take(
    tx: &mut Tx,
    customer_id: &CustomerId,
    holder: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<i64>, DbError> {
    let row = tx
        .query(
            "insert into customer_leases (customer_id, fence, leased_until, holder) values ($1, 1, $2, $3) \
             on conflict (customer_id) do update set fence = customer_leases.fence + 1, leased_until = excluded.leased_until, \
             holder = excluded.holder where customer_leases.leased_until <= $4 or customer_leases.leased_until > $5 \
             returning fence",
        )
        .bind(customer_id)
        .bind(until)
        .bind(holder)
        .bind(now)
        .bind(now.plus_seconds(LEASED_SECONDS_MAX))
        .optional()
        .await?;
    row.map(|row| row.get("fence")).transpose()
}

static TAKE_FREE: Batch = Batch::about(
    "with free as materialized (select customer_id from customer_leases where (leased_until <= $1 or leased_until > $4) \
     and customer_id in ({@1}) \
     /* for update skip locked */) update customer_leases set fence = fence + 1, leased_until = $2, holder = $3 \
     where customer_id in (select customer_id from free) returning customer_id, fence",
);

static TAKE_FIRST: Batch = Batch::adding(
    "insert into customer_leases (customer_id, fence, leased_until, holder) values {(@1, 1, @2, @3)} \
     on conflict (customer_id) do nothing returning customer_id, fence",
);

/// Takes those leases that nobody holds, and answers their fencing numbers. It waits for nobody: on PostgreSQL, a lease whose
/// holder is writing at this moment is passed over, so that two who take and write many never wait for each other in a circle.
/// The customers come in order, because two who take the first lease of the same ones do wait.
pub async fn take_all(
    tx: &mut Tx,
    customers: &[CustomerId],
    holder: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<BTreeMap<CustomerId, i64>, DbError> {
    let mut taken = BTreeMap::new();
    let latest = now.plus_seconds(LEASED_SECONDS_MAX);
    let free = TAKE_FREE
        .all(tx, customers, |query| query.bind(now).bind(until).bind(holder).bind(latest), |query, id| query.bind(id))
        .await?;
    for row in free {
        taken.insert(row.parse("customer_id")?, row.get("fence")?);
    }
    let rest: Vec<&CustomerId> = customers.iter().filter(|customer_id| !taken.contains_key(*customer_id)).collect();
    let first = TAKE_FIRST.all(tx, &rest, nothing, |query, id| query.bind(*id).bind(until).bind(holder)).await?;
    for row in first {
        taken.insert(row.parse("customer_id")?, row.get("fence")?);
    }
    Ok(taken)
}

static EXTEND: Batch = Batch::about(
    "update customer_leases set leased_until = $1 where customer_id in ({@1}) \
     and fence = case customer_id [when @1 then cast(@2 as bigint)] end returning customer_id",
);

/// Moves the end of leases, into the past in order to give them back, and answers whose they were. Where another holder has taken
/// one since, it is not among them, and nothing may be written for that customer. On PostgreSQL the rows stay locked until the
/// transaction ends, so nobody takes such a lease meanwhile.
pub async fn extend(tx: &mut Tx, held: &[Held<'_>], until: Timestamp) -> Result<BTreeSet<CustomerId>, DbError> {
    let rows = EXTEND
        .all(tx, held, |query| query.bind(until), |query, (customer_id, fence)| query.bind(*customer_id).bind(*fence))
        .await?;
    rows.iter().map(|row| row.parse("customer_id")).collect()
}

/// Ends all leases of a holder that is known to be gone: an earlier run of the only process on this database.
pub async fn end_all_but(tx: &mut Tx, holder: &str, now: Timestamp) -> Result<u64, DbError> {
    tx.query("update customer_leases set leased_until = $2 where holder <> $1 and leased_until > $2")
        .bind(holder)
        .bind(now)
        .execute()
        .await
}
