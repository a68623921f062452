//! The trial ledger: one row a person, keyed by a keyed hash of the normalised address, so that it can outlive the customer
//! without keeping an address.

use counterfoil_core::trial::Entry;
use counterfoil_core::{CustomerId, PlanCode, Timestamp};

use crate::db::{DbError, Tx};

/// The person's trial.
pub async fn find(tx: &mut Tx, person_hash: &str) -> Result<Option<Entry>, DbError> {
    let row = tx
        .query("select started_at, ends_at from trial_ledger where person_hash = $1")
        .bind(person_hash)
        .optional()
        .await?;
    row.map(|row| {
        let (started_at, ends_at): (Timestamp, Timestamp) = (row.get("started_at")?, row.get("ends_at")?);
        Ok(Entry { started_at, ends_at })
    })
    .transpose()
}

/// Writes the person's first trial. False where another transaction was quicker.
pub async fn insert(
    tx: &mut Tx,
    person_hash: &str,
    customer_id: &CustomerId,
    plan: &PlanCode,
    entry: Entry,
) -> Result<bool, DbError> {
    let inserted = tx
        .query(
            "insert into trial_ledger (person_hash, customer_id, plan, started_at, ends_at) values ($1, $2, $3, $4, $5) \
             on conflict (person_hash) do nothing",
        )
        .bind(person_hash)
        .bind(customer_id)
        .bind(plan)
        .bind(entry.started_at)
        .bind(entry.ends_at)
        .execute()
        .await?;
    Ok(inserted == 1)
}
