//! API keys of vendor backends and operators. Only a hash of the secret is kept.

use counterfoil_core::{ApiKeyId, Timestamp};

use crate::db::{DbError, Row, Tx};

/// A key, without its secret.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub key_id: ApiKeyId,
    pub name: String,
    pub scope: String,
    pub created_at: Timestamp,
    /// To a few minutes.
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

fn from_row(row: &Row) -> Result<ApiKey, DbError> {
    Ok(ApiKey {
        key_id: row.parse("key_id")?,
        name: row.get("name")?,
        scope: row.get("scope")?,
        created_at: row.get("created_at")?,
        last_used_at: row.get("last_used_at")?,
        revoked_at: row.get("revoked_at")?,
    })
}

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

/// The key with this secret, unless revoked.
pub async fn find(tx: &mut Tx, secret_hash: &str) -> Result<Option<ApiKey>, DbError> {
    tx.query(
        "select key_id, name, scope, created_at, last_used_at, revoked_at from api_keys \
         where secret_hash = $1 and revoked_at is null",
    )
    .bind(secret_hash)
    .optional()
    .await?
    .as_ref()
    .map(from_row)
    .transpose()
}

/// All keys, the newest first, revoked ones too.
pub async fn list(tx: &mut Tx) -> Result<Vec<ApiKey>, DbError> {
    let rows = tx
        .query("select key_id, name, scope, created_at, last_used_at, revoked_at from api_keys order by id desc")
        .all()
        .await?;
    rows.iter().map(from_row).collect()
}

/// The key with this id.
pub async fn find_by_id(tx: &mut Tx, key_id: &ApiKeyId) -> Result<Option<ApiKey>, DbError> {
    tx.query("select key_id, name, scope, created_at, last_used_at, revoked_at from api_keys where key_id = $1")
        .bind(key_id)
        .optional()
        .await?
        .as_ref()
        .map(from_row)
        .transpose()
}

/// From now on the key opens nothing. The time of the first revocation stays.
pub async fn revoke(tx: &mut Tx, key_id: &ApiKeyId, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query("update api_keys set revoked_at = $2 where key_id = $1 and revoked_at is null")
        .bind(key_id)
        .bind(now)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Notes that the key was used.
pub async fn touch(tx: &mut Tx, key_id: &ApiKeyId, now: Timestamp) -> Result<(), DbError> {
    tx.query("update api_keys set last_used_at = $2 where key_id = $1").bind(key_id).bind(now).execute().await?;
    Ok(())
}
