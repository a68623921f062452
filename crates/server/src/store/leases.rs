//! The lease of one customer: who may look at the provider and write what it saw.
//!
//! A lease can be lost while its holder sleeps, so holding it is no proof. The fencing number is: it rises with every new
//! holder, and every write under the lease checks it in its own transaction (invariant 5).

use counterfoil_core::{CustomerId, Timestamp};

use crate::db::{DbError, Tx};

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
             holder = excluded.holder where customer_leases.leased_until <= $4 returning fence",
        )
        .bind(customer_id)
        .bind(until)
        .bind(holder)
        .bind(now)
        .optional()
        .await?;
    row.map(|row| row.get("fence")).transpose()
}

/// Moves the end of the lease, into the past in order to give it back. False where another holder has taken it since: then nothing
/// may be written. On PostgreSQL the row stays locked until the transaction ends, so nobody takes the lease meanwhile.
pub async fn extend(tx: &mut Tx, customer_id: &CustomerId, fence: i64, until: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query("update customer_leases set leased_until = $3 where customer_id = $1 and fence = $2")
        .bind(customer_id)
        .bind(fence)
        .bind(until)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Ends all leases of a holder that is known to be gone: an earlier run of the only process on this database.
pub async fn end_all_but(tx: &mut Tx, holder: &str, now: Timestamp) -> Result<u64, DbError> {
    tx.query("update customer_leases set leased_until = $2 where holder <> $1 and leased_until > $2")
        .bind(holder)
        .bind(now)
        .execute()
        .await
}
