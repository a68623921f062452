//! Activations: the machines on which a customer has said that it uses its licence. Of what tells a machine apart there is a keyed
//! hash only.

use counterfoil_core::{ActivationId, CustomerId, Timestamp};

use crate::db::{DbError, Row, Tx};

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    pub activation_id: ActivationId,
    /// What the customer or the product calls it.
    pub name: Option<String>,
    /// When it was first seen.
    pub activated_at: Timestamp,
}

fn from_row(row: &Row) -> Result<Activation, DbError> {
    Ok(Activation {
        activation_id: row.parse("activation_id")?,
        name: row.get("name")?,
        activated_at: row.get("activated_at")?,
    })
}

/// Writes one. The unique index on customer and fingerprint makes a second one of the same machine fail.
pub async fn insert(
    tx: &mut Tx,
    customer_id: &CustomerId,
    fingerprint_hash: &str,
    activation: &Activation,
) -> Result<(), DbError> {
    tx.query(
        "insert into license_activations (activation_id, customer_id, fingerprint_hash, name, activated_at) \
         values ($1, $2, $3, $4, $5)",
    )
    .bind(&activation.activation_id)
    .bind(customer_id)
    .bind(fingerprint_hash)
    .bind(activation.name.as_deref())
    .bind(activation.activated_at)
    .execute()
    .await?;
    Ok(())
}

/// The customer's machine with this fingerprint.
pub async fn find(
    tx: &mut Tx,
    customer_id: &CustomerId,
    fingerprint_hash: &str,
) -> Result<Option<Activation>, DbError> {
    tx.query(
        "select activation_id, name, activated_at from license_activations \
         where customer_id = $1 and fingerprint_hash = $2",
    )
    .bind(customer_id)
    .bind(fingerprint_hash)
    .optional()
    .await?
    .as_ref()
    .map(from_row)
    .transpose()
}

/// Gives it another name.
pub async fn rename(
    tx: &mut Tx,
    customer_id: &CustomerId,
    activation_id: &ActivationId,
    name: &str,
) -> Result<(), DbError> {
    tx.query("update license_activations set name = $3 where customer_id = $1 and activation_id = $2")
        .bind(customer_id)
        .bind(activation_id)
        .bind(name)
        .execute()
        .await?;
    Ok(())
}

/// How many the customer has.
pub async fn count(tx: &mut Tx, customer_id: &CustomerId) -> Result<i64, DbError> {
    let sql = tx.query("select count(*) as n from license_activations where customer_id = $1").bind(customer_id);
    sql.one().await?.get("n")
}

/// The customer's, the newest first.
pub async fn list(tx: &mut Tx, customer_id: &CustomerId, limit: i64) -> Result<Vec<Activation>, DbError> {
    let rows = tx
        .query(
            "select activation_id, name, activated_at from license_activations where customer_id = $1 \
             order by id desc limit $2",
        )
        .bind(customer_id)
        .bind(limit)
        .all()
        .await?;
    rows.iter().map(from_row).collect()
}

/// Whose it is, for an operator who has nothing but its id.
pub async fn find_owner(tx: &mut Tx, activation_id: &ActivationId) -> Result<Option<CustomerId>, DbError> {
    let row = tx
        .query("select customer_id from license_activations where activation_id = $1")
        .bind(activation_id)
        .optional()
        .await?;
    row.map(|row| row.parse("customer_id")).transpose()
}

/// Removes one of the customer's; says whether it was there.
pub async fn delete(tx: &mut Tx, customer_id: &CustomerId, activation_id: &ActivationId) -> Result<bool, DbError> {
    let deleted = tx
        .query("delete from license_activations where customer_id = $1 and activation_id = $2")
        .bind(customer_id)
        .bind(activation_id)
        .execute()
        .await?;
    Ok(deleted == 1)
}

/// Removes the customer's machine with this fingerprint, if it is there.
pub async fn delete_machine(tx: &mut Tx, customer_id: &CustomerId, fingerprint_hash: &str) -> Result<(), DbError> {
    tx.query("delete from license_activations where customer_id = $1 and fingerprint_hash = $2")
        .bind(customer_id)
        .bind(fingerprint_hash)
        .execute()
        .await?;
    Ok(())
}

/// Removes all of the customer's.
pub async fn delete_all(tx: &mut Tx, customer_id: &CustomerId) -> Result<(), DbError> {
    tx.query("delete from license_activations where customer_id = $1").bind(customer_id).execute().await?;
    Ok(())
}
