//! The one key set that the root signed last, and the root that it is checked against.

use counterfoil_core::Timestamp;

use crate::db::{DbError, Tx};

/// The installed key set.
#[derive(Clone, Debug)]
pub struct InstalledSet {
    /// The root's public half, as products pin it.
    pub root: String,
    pub token: String,
    pub serial: i64,
    pub expires_at: Timestamp,
    pub installed_at: Timestamp,
}

/// The installed set.
pub async fn find(tx: &mut Tx) -> Result<Option<InstalledSet>, DbError> {
    let row = tx
        .query("select root, token, serial, expires_at, installed_at from signed_key_sets where id = 1")
        .optional()
        .await?;
    row.map(|row| {
        Ok(InstalledSet {
            root: row.get("root")?,
            token: row.get("token")?,
            serial: row.get("serial")?,
            expires_at: row.get("expires_at")?,
            installed_at: row.get("installed_at")?,
        })
    })
    .transpose()
}

/// Puts a set in the place of the one before. Of two that come at once the higher serial stays; false where this is not it.
pub async fn put(tx: &mut Tx, set: &InstalledSet) -> Result<bool, DbError> {
    let written = tx
        .query(
            "insert into signed_key_sets (id, root, token, serial, expires_at, installed_at) values (1, $1, $2, $3, $4, $5) \
             on conflict (id) do update set root = excluded.root, token = excluded.token, serial = excluded.serial, \
             expires_at = excluded.expires_at, installed_at = excluded.installed_at \
             where signed_key_sets.serial <= excluded.serial or signed_key_sets.root <> excluded.root",
        )
        .bind(&set.root)
        .bind(&set.token)
        .bind(set.serial)
        .bind(set.expires_at)
        .bind(set.installed_at)
        .execute()
        .await?;
    Ok(written > 0)
}
