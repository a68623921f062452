//! The public halves of all keys that ever signed a licence here, so that every replica publishes and accepts all of them.

use counterfoil_core::Timestamp;

use crate::db::{DbError, Tx};

/// Publishes a key; one that is known stays as it is.
pub async fn insert(tx: &mut Tx, key_id: &str, public_key: &str, now: Timestamp) -> Result<(), DbError> {
    tx.query(
        "insert into signing_keys (key_id, public_key, state, created_at) values ($1, $2, 'active', $3) \
         on conflict (key_id) do nothing",
    )
    .bind(key_id)
    .bind(public_key)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// All public keys as base64url `x`, the oldest first.
pub async fn list(tx: &mut Tx) -> Result<Vec<String>, DbError> {
    let rows = tx.query("select public_key from signing_keys order by created_at, key_id").all().await?;
    rows.iter().map(|row| row.get("public_key")).collect()
}

/// The ids of the keys that versions may be signed with: one, or one a replica.
pub async fn list_active(tx: &mut Tx) -> Result<Vec<String>, DbError> {
    let rows = tx.query("select key_id from signing_keys where state = 'active' order by key_id").all().await?;
    rows.iter().map(|row| row.get("key_id")).collect()
}
