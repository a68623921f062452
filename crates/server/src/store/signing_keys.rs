//! The keys that sign, will sign or ever signed: their public halves, where each is in its life, and the private halves where these
//! are kept here, encrypted.

use std::fmt;

use counterfoil_core::Timestamp;
use counterfoil_core::signing_key::KeyState;
use counterfoil_license::KEYS_MAX;

use crate::db::{Db, DbError, Query, Row, Tx};

/// A key.
#[derive(Clone)]
pub struct StoredKey {
    pub key_id: String,
    /// `x` of the JSON Web Key, in base64url.
    pub public_key: String,
    pub state: KeyState,
    /// The private half, encrypted.
    pub private_key: Option<Vec<u8>>,
    /// When it was published.
    pub created_at: Timestamp,
    pub activated_at: Option<Timestamp>,
    pub retired_at: Option<Timestamp>,
    pub compromised_at: Option<Timestamp>,
}

/// Neither half is for logs.
impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKey").field("key_id", &self.key_id).field("state", &self.state).finish_non_exhaustive()
    }
}

fn from_row(row: &Row) -> Result<StoredKey, DbError> {
    Ok(StoredKey {
        key_id: row.get("key_id")?,
        public_key: row.get("public_key")?,
        // A check constraint keeps other words out; a key of an unknown state would be trusted by nobody.
        state: KeyState::parse(&row.get::<String>("state")?).unwrap_or(KeyState::Compromised),
        private_key: row.get("private_key")?,
        created_at: row.get("created_at")?,
        activated_at: row.get("activated_at")?,
        retired_at: row.get("retired_at")?,
        compromised_at: row.get("compromised_at")?,
    })
}

/// Publishes a key. Answers false where it is known already, or where another one is pending or active and only one can be.
pub async fn insert(tx: &mut Tx, key: &StoredKey) -> Result<bool, DbError> {
    let inserted = tx
        .query(
            "insert into signing_keys (key_id, public_key, state, private_key, created_at, activated_at, retired_at) \
             values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
        )
        .bind(&key.key_id)
        .bind(&key.public_key)
        .bind(key.state.word())
        .bind(key.private_key.as_ref())
        .bind(key.created_at)
        .bind(key.activated_at)
        .bind(key.retired_at)
        .execute()
        .await?;
    Ok(inserted > 0)
}

/// All keys, the oldest first.
pub async fn list_all(tx: &mut Tx) -> Result<Vec<StoredKey>, DbError> {
    let rows = tx
        .query(
            "select key_id, public_key, state, private_key, created_at, activated_at, retired_at, compromised_at \
             from signing_keys order by created_at, key_id",
        )
        .all()
        .await?;
    rows.iter().map(from_row).collect()
}

/// The public keys to publish, as base64url `x`: the active one, the pending one, then those that signed last. A set has room for
/// [`KEYS_MAX`]; those that were retired longest ago make room.
pub async fn list(tx: &mut Tx) -> Result<Vec<String>, DbError> {
    read_public(tx.query(LIST_PUBLIC)).await
}

/// The same by itself.
pub async fn look_up(db: &Db) -> Result<Vec<String>, DbError> {
    read_public(db.query(LIST_PUBLIC)).await
}

const LIST_PUBLIC: &str = "select public_key from signing_keys where state <> 'compromised' \
     order by case state when 'active' then 0 when 'pending' then 1 else 2 end, retired_at desc, key_id limit $1";

async fn read_public(query: Query<'_>) -> Result<Vec<String>, DbError> {
    let rows = query.bind(KEYS_MAX as i64).all().await?;
    rows.iter().map(|row| row.get("public_key")).collect()
}

/// The ids of the keys whose licences are good.
pub async fn list_trusted(tx: &mut Tx) -> Result<Vec<String>, DbError> {
    let rows = tx.query("select key_id from signing_keys where state <> 'compromised' order by key_id").all().await?;
    rows.iter().map(|row| row.get("key_id")).collect()
}

/// The keys whose licences are good, the one that signs among them.
pub async fn list_good(tx: &mut Tx) -> Result<Vec<StoredKey>, DbError> {
    let rows = tx
        .query(
            "select key_id, public_key, state, private_key, created_at, activated_at, retired_at, compromised_at \
             from signing_keys where state <> 'compromised' order by key_id",
        )
        .all()
        .await?;
    rows.iter().map(from_row).collect()
}

/// The key that signs.
pub async fn find_active(tx: &mut Tx) -> Result<Option<StoredKey>, DbError> {
    let row = tx
        .query(
            "select key_id, public_key, state, private_key, created_at, activated_at, retired_at, compromised_at \
             from signing_keys where state = 'active'",
        )
        .optional()
        .await?;
    row.as_ref().map(from_row).transpose()
}

/// One key.
pub async fn find(tx: &mut Tx, key_id: &str) -> Result<Option<StoredKey>, DbError> {
    let row = tx
        .query(
            "select key_id, public_key, state, private_key, created_at, activated_at, retired_at, compromised_at \
             from signing_keys where key_id = $1",
        )
        .bind(key_id)
        .optional()
        .await?;
    row.as_ref().map(from_row).transpose()
}

/// The pending key begins to sign. False where it is pending no more.
pub async fn activate(tx: &mut Tx, key_id: &str, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query("update signing_keys set state = 'active', activated_at = $2 where key_id = $1 and state = 'pending'")
        .bind(key_id)
        .bind(now)
        .execute()
        .await?;
    Ok(changed > 0)
}

/// The key signs no more, and its private half is forgotten. False where it is in another state by now.
pub async fn retire(tx: &mut Tx, key_id: &str, from: KeyState, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "update signing_keys set state = 'retired', retired_at = $3, private_key = null \
             where key_id = $1 and state = $2",
        )
        .bind(key_id)
        .bind(from.word())
        .bind(now)
        .execute()
        .await?;
    Ok(changed > 0)
}

/// What the key signed counts no more. False where it is in another state by now.
pub async fn compromise(tx: &mut Tx, key_id: &str, from: KeyState, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "update signing_keys set state = 'compromised', compromised_at = $3, private_key = null \
             where key_id = $1 and state = $2",
        )
        .bind(key_id)
        .bind(from.word())
        .bind(now)
        .execute()
        .await?;
    Ok(changed > 0)
}

/// Stores the private half of a key that has none here.
pub async fn take_over(tx: &mut Tx, key_id: &str, private_key: &[u8]) -> Result<(), DbError> {
    tx.query(
        "update signing_keys set private_key = $2 \
         where key_id = $1 and private_key is null and state in ('pending', 'active')",
    )
    .bind(key_id)
    .bind(private_key)
    .execute()
    .await?;
    Ok(())
}
