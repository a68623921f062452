//! Licences: one row for each version ever issued. Nothing here is ever changed or removed.

use counterfoil_core::license::Terms;
use counterfoil_core::{CustomerId, LicenseId, PlanCode, Timestamp};

use crate::db::{DbError, Row, Tx};

/// An issued version.
#[derive(Clone, Debug)]
pub struct License {
    pub license_id: LicenseId,
    pub customer_id: CustomerId,
    pub version: i64,
    pub token: String,
    pub plan: PlanCode,
    pub status: String,
    pub trial: bool,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    pub refresh_after: Timestamp,
    pub paid_until: Timestamp,
    /// Why it was issued, as a stable word.
    pub reason: String,
    /// See [`counterfoil_core::license::facts_digest`].
    pub facts_digest: String,
}

fn from_row(row: &Row) -> Result<License, DbError> {
    Ok(License {
        license_id: row.parse("license_id")?,
        customer_id: row.parse("customer_id")?,
        version: row.get("version")?,
        token: row.get("token")?,
        plan: PlanCode::new(row.get::<String>("plan")?),
        status: row.get("status")?,
        trial: row.get("trial")?,
        issued_at: row.get("issued_at")?,
        expires_at: row.get("expires_at")?,
        refresh_after: row.get("refresh_after")?,
        paid_until: row.get("paid_until")?,
        reason: row.get("reason")?,
        facts_digest: row.get("facts_digest")?,
    })
}

/// Writes a version. The unique index on customer and version makes a second writer of the same version fail.
pub async fn insert(
    tx: &mut Tx,
    terms: &Terms,
    token: &str,
    key_id: &str,
    reason: &str,
    facts_digest: &str,
) -> Result<(), DbError> {
    tx.query(
        "insert into licenses (license_id, customer_id, version, token, key_id, plan, status, trial, issued_at, expires_at, \
         refresh_after, paid_until, reason, facts_digest) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(&terms.license_id)
    .bind(&terms.customer_id)
    .bind(terms.version)
    .bind(token)
    .bind(key_id)
    .bind(&terms.plan)
    .bind(terms.status)
    .bind(terms.trial)
    .bind(terms.issued_at)
    .bind(terms.expires_at)
    .bind(terms.refresh_after)
    .bind(terms.paid_until)
    .bind(reason)
    .bind(facts_digest)
    .execute()
    .await?;
    Ok(())
}

/// The newest version.
pub async fn find_newest(tx: &mut Tx, customer_id: &CustomerId) -> Result<Option<License>, DbError> {
    tx.query(
        "select license_id, customer_id, version, token, plan, status, trial, issued_at, expires_at, refresh_after, \
         paid_until, reason, facts_digest from licenses where customer_id = $1 order by version desc limit 1",
    )
    .bind(customer_id)
    .optional()
    .await?
    .as_ref()
    .map(from_row)
    .transpose()
}

/// One version of this customer.
pub async fn find(tx: &mut Tx, customer_id: &CustomerId, license_id: &LicenseId) -> Result<Option<License>, DbError> {
    tx.query(
        "select license_id, customer_id, version, token, plan, status, trial, issued_at, expires_at, refresh_after, \
         paid_until, reason, facts_digest from licenses where customer_id = $1 and license_id = $2",
    )
    .bind(customer_id)
    .bind(license_id)
    .optional()
    .await?
    .as_ref()
    .map(from_row)
    .transpose()
}

/// Versions before `before_version`, newest first.
pub async fn list(
    tx: &mut Tx,
    customer_id: &CustomerId,
    before_version: i64,
    limit: i64,
) -> Result<Vec<License>, DbError> {
    let rows = tx
        .query(
            "select license_id, customer_id, version, token, plan, status, trial, issued_at, expires_at, refresh_after, \
             paid_until, reason, facts_digest from licenses where customer_id = $1 and version < $2 \
             order by version desc limit $3",
        )
        .bind(customer_id)
        .bind(before_version)
        .bind(limit)
        .all()
        .await?;
    rows.iter().map(from_row).collect()
}
