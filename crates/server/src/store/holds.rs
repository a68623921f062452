//! Holds: while one stands, no license is issued for the customer. An operator puts it there and takes it away.

use counterfoil_core::{CustomerId, Timestamp};

use crate::db::{DbError, Tx};

/// A hold that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub held_at: Timestamp,
    /// Who put it there.
    pub actor: String,
    pub reason: String,
}

/// The customer's hold.
pub async fn find(tx: &mut Tx, customer_id: &CustomerId) -> Result<Option<Hold>, DbError> {
    let row = tx
        .query("select held_at, actor, reason from license_holds where customer_id = $1")
        .bind(customer_id)
        .optional()
        .await?;
    row.map(|row| Ok(Hold { held_at: row.get("held_at")?, actor: row.get("actor")?, reason: row.get("reason")? }))
        .transpose()
}

/// Puts a hold there; one that stands stays as it is.
pub async fn put(tx: &mut Tx, customer_id: &CustomerId, by: (&str, &str), now: Timestamp) -> Result<bool, DbError> {
    let (actor, reason) = by;
    let inserted = tx
        .query(
            "insert into license_holds (customer_id, held_at, actor, reason) values ($1, $2, $3, $4) \
             on conflict (customer_id) do nothing",
        )
        .bind(customer_id)
        .bind(now)
        .bind(actor)
        .bind(reason)
        .execute()
        .await?;
    Ok(inserted == 1)
}

/// Takes it away.
pub async fn lift(tx: &mut Tx, customer_id: &CustomerId) -> Result<bool, DbError> {
    let removed = tx.query("delete from license_holds where customer_id = $1").bind(customer_id).execute().await?;
    Ok(removed == 1)
}
