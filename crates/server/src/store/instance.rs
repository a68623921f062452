//! The one row that says which installation this database belongs to, and with which kind of provider key it is used.

use counterfoil_core::{InstanceId, Timestamp};

use crate::db::{DbError, Tx};

/// The installation.
#[derive(Clone)]
pub struct Instance {
    pub instance_id: InstanceId,
    /// `sandbox`, `test` or `live`.
    pub realm: String,
    /// The key of the trial ledger's hashes.
    pub ledger_key: Vec<u8>,
}

/// The installation, if this database has been used.
pub async fn find(tx: &mut Tx) -> Result<Option<Instance>, DbError> {
    let row =
        tx.query("select instance_id, provider_account, ledger_key from instance where id = 1").optional().await?;
    row.map(|row| {
        Ok(Instance {
            instance_id: row.parse("instance_id")?,
            realm: row.get("provider_account")?,
            ledger_key: row.get("ledger_key")?,
        })
    })
    .transpose()
}

/// Notes the provider's account where none is noted yet, and answers the one that is.
pub async fn bind_external_account(tx: &mut Tx, account: &str) -> Result<Option<String>, DbError> {
    tx.query("update instance set external_account = $1 where id = 1 and external_account is null")
        .bind(account)
        .execute()
        .await?;
    find_external_account(tx).await
}

/// The provider's account that this database belongs to, where one is noted.
pub async fn find_external_account(tx: &mut Tx) -> Result<Option<String>, DbError> {
    let row = tx.query("select external_account from instance where id = 1").optional().await?;
    row.map_or(Ok(None), |row| row.get("external_account"))
}

/// When this database was first used.
pub async fn find_beginning(tx: &mut Tx) -> Result<Option<Timestamp>, DbError> {
    let row = tx.query("select created_at from instance where id = 1").optional().await?;
    row.map(|row| row.get("created_at")).transpose()
}

/// Writes the row; where one is there already, it stays.
pub async fn insert(tx: &mut Tx, instance: &Instance, livemode: bool, now: Timestamp) -> Result<(), DbError> {
    tx.query(
        "insert into instance (id, instance_id, livemode, provider_account, ledger_key, created_at) \
         values (1, $1, $2, $3, $4, $5) on conflict (id) do nothing",
    )
    .bind(&instance.instance_id)
    .bind(livemode)
    .bind(&instance.realm)
    .bind(&instance.ledger_key)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}
