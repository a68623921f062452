//! API keys of vendor backends and operators. Only a hash of the secret is kept.

use counterfoil_core::{ApiKeyId, Timestamp};

use crate::db::{DbError, Tx};

/// Writes a key.
pub async fn insert(
    tx: &mut Tx,
    key_id: &ApiKeyId,
    secret_hash: &str,
    name: &str,
    scope: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query("insert into api_keys (key_id, secret_hash, name, scope, created_at) values ($1, $2, $3, $4, $5)")
        .bind(key_id)
        .bind(secret_hash)
        .bind(name)
        .bind(scope)
        .bind(now)
        .execute()
        .await?;
    Ok(())
}

/// Id and scope of the key with this secret, unless revoked.
pub async fn find(tx: &mut Tx, secret_hash: &str) -> Result<Option<(ApiKeyId, String)>, DbError> {
    let row = tx
        .query("select key_id, scope from api_keys where secret_hash = $1 and revoked_at is null")
        .bind(secret_hash)
        .optional()
        .await?;
    row.map(|row| Ok((row.parse("key_id")?, row.get("scope")?))).transpose()
}
