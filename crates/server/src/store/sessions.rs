//! Sessions of customers. Only a hash of the token is kept, so that a copy of the table opens no account.

use counterfoil_core::{CustomerId, Timestamp};

use crate::db::{DbError, Tx};

/// Writes a session.
pub async fn insert(
    tx: &mut Tx,
    token_hash: &str,
    customer_id: &CustomerId,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), DbError> {
    tx.query(
        "insert into sessions (token_hash, customer_id, created_at, last_seen_at, expires_at) values ($1, $2, $3, $3, $4)",
    )
    .bind(token_hash)
    .bind(customer_id)
    .bind(now)
    .bind(expires_at)
    .execute()
    .await?;
    Ok(())
}

/// Whose session this is, while it lasts and the customer is there.
pub async fn find_customer(tx: &mut Tx, token_hash: &str, now: Timestamp) -> Result<Option<CustomerId>, DbError> {
    let row = tx
        .query(
            "select s.customer_id from sessions s join customers c on c.customer_id = s.customer_id \
             where s.token_hash = $1 and s.expires_at > $2 and c.deleted_at is null",
        )
        .bind(token_hash)
        .bind(now)
        .optional()
        .await?;
    row.map(|row| row.parse("customer_id")).transpose()
}

/// Ends one session.
pub async fn delete(tx: &mut Tx, token_hash: &str) -> Result<(), DbError> {
    tx.query("delete from sessions where token_hash = $1").bind(token_hash).execute().await?;
    Ok(())
}

/// Ends the customer's sessions on all replicas, but for the one with this hash.
pub async fn delete_others(tx: &mut Tx, customer_id: &CustomerId, kept_hash: &str) -> Result<u64, DbError> {
    tx.query("delete from sessions where customer_id = $1 and token_hash <> $2")
        .bind(customer_id)
        .bind(kept_hash)
        .execute()
        .await
}

/// Ends all of the customer's sessions.
pub async fn delete_all(tx: &mut Tx, customer_id: &CustomerId) -> Result<u64, DbError> {
    tx.query("delete from sessions where customer_id = $1").bind(customer_id).execute().await
}

/// Removes what has run out; says how many.
pub async fn delete_expired(tx: &mut Tx, now: Timestamp) -> Result<u64, DbError> {
    tx.query("delete from sessions where expires_at <= $1").bind(now).execute().await
}
