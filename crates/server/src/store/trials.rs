//! Trials: the ledger, one row for each name under which somebody had one, keyed by a keyed hash so that it can outlive the
//! customer without keeping an address; and what was decided about telling of their ends.

use counterfoil_core::trial::{Entry, TrialNotice};
use counterfoil_core::{CustomerId, PlanCode, Timestamp};

use crate::db::{DbError, Tx};

/// The trial under this name.
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

/// Writes the first trial under this name. False where there is one, or another transaction was quicker.
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

/// Moves the end of the trial under this name.
pub async fn set_end(tx: &mut Tx, person_hash: &str, ends_at: Timestamp) -> Result<(), DbError> {
    tx.query("update trial_ledger set ends_at = $2 where person_hash = $1")
        .bind(person_hash)
        .bind(ends_at)
        .execute()
        .await?;
    Ok(())
}

/// Customers whose own trial ends after the first instant and not after the second, and about whose end this notice was not
/// decided yet, the earliest first. Who has just paid, was deleted, or
/// gets no license because an operator holds it, is told nothing.
pub async fn list_untold(
    tx: &mut Tx,
    notice: TrialNotice,
    (after, until): (Timestamp, Timestamp),
    limit: i64,
) -> Result<Vec<CustomerId>, DbError> {
    let rows = tx
        .query(
            "select s.customer_id from subscriptions s join customers c on c.customer_id = s.customer_id \
             where s.status = 'trialing' and s.stripe_subscription_id is null \
             and s.trial_ends_at > $2 and s.trial_ends_at <= $3 and c.deleted_at is null \
             and not exists (select 1 from trial_notices n where n.customer_id = s.customer_id \
             and n.trial_ends_at = s.trial_ends_at and n.kind = $1) \
             and not exists (select 1 from license_holds h where h.customer_id = s.customer_id) \
             and not exists (select 1 from checkout_attempts a where a.customer_id = s.customer_id and a.state = 'paying') \
             order by s.trial_ends_at, s.customer_id limit $4",
        )
        .bind(notice.word())
        .bind(after)
        .bind(until)
        .bind(limit)
        .all()
        .await?;
    rows.iter().map(|row| row.parse("customer_id")).collect()
}

/// Notes that this notice about this end is decided. False where it was before: another replica was quicker.
pub async fn decide_notice(
    tx: &mut Tx,
    customer_id: &CustomerId,
    ends_at: Timestamp,
    notice: TrialNotice,
    now: Timestamp,
) -> Result<bool, DbError> {
    let inserted = tx
        .query(
            "insert into trial_notices (customer_id, trial_ends_at, kind, decided_at) values ($1, $2, $3, $4) \
             on conflict (customer_id, trial_ends_at, kind) do nothing",
        )
        .bind(customer_id)
        .bind(ends_at)
        .bind(notice.word())
        .bind(now)
        .execute()
        .await?;
    Ok(inserted == 1)
}

/// Removes what was decided about telling this customer. The ledger stays.
pub async fn delete_notices(tx: &mut Tx, customer_id: &CustomerId) -> Result<(), DbError> {
    tx.query("delete from trial_notices where customer_id = $1").bind(customer_id).execute().await?;
    Ok(())
}
