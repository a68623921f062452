//! Licences: one row for each version ever issued. Nothing here is ever removed, and nothing
//! changed but the mark of a revocation.

use counterfoil_core::license::Terms;
use counterfoil_core::{CustomerId, LicenseId, PlanCode, Timestamp};

use super::batch::{Batch, nothing};
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
    /// See [`counterfoil_core::license::terms_digest`].
    pub terms_digest: String,
    /// `sign_up`, `email_verified`, `look`, or an operator.
    pub caused_by: String,
    /// The newest event that the look finished, or the operator's reason.
    pub cause_detail: Option<String>,
    pub revoked_at: Option<Timestamp>,
    pub revoked_because: Option<String>,
}

impl License {
    /// A version as it is once it is written.
    #[must_use]
    pub fn new(terms: &Terms, made: &Made<'_>) -> Self {
        Self {
            license_id: terms.license_id.clone(),
            customer_id: terms.customer_id.clone(),
            version: terms.version,
            token: made.token.to_owned(),
            plan: terms.plan.clone(),
            status: terms.status.to_owned(),
            trial: terms.trial,
            issued_at: terms.issued_at,
            expires_at: terms.expires_at,
            refresh_after: terms.refresh_after,
            paid_until: terms.paid_until,
            reason: made.reason.to_owned(),
            facts_digest: made.facts_digest.to_owned(),
            terms_digest: made.terms_digest.to_owned(),
            caused_by: made.caused_by.to_owned(),
            cause_detail: made.cause_detail.map(str::to_owned),
            revoked_at: None,
            revoked_because: None,
        }
    }
}

/// What is kept of a version beside what it says.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    pub token: &'a str,
    pub key_id: &'a str,
    pub reason: &'a str,
    pub facts_digest: &'a str,
    pub terms_digest: &'a str,
    pub caused_by: &'a str,
    pub cause_detail: Option<&'a str>,
}

pub(super) fn from_row(row: &Row) -> Result<License, DbError> {
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
        terms_digest: row.get("terms_digest")?,
        caused_by: row.get("caused_by")?,
        cause_detail: row.get("cause_detail")?,
        revoked_at: row.get("revoked_at")?,
        revoked_because: row.get("revoked_because")?,
    })
}

static INSERT: Batch = Batch::adding(
    "insert into licenses (license_id, customer_id, version, token, key_id, plan, status, trial, issued_at, expires_at, \
     refresh_after, paid_until, reason, facts_digest, terms_digest, caused_by, cause_detail) \
     values {(@1, @2, @3, @4, @5, @6, @7, @8, @9, @10, @11, @12, @13, @14, @15, @16, @17)}",
);

/// Writes versions. The unique index on customer and version makes a second writer of the same version fail.
pub async fn insert_all(tx: &mut Tx, versions: &[(&Terms, Made<'_>)]) -> Result<(), DbError> {
    INSERT
        .execute(tx, versions, nothing, |query, (terms, made)| {
            query
                .bind(&terms.license_id)
                .bind(&terms.customer_id)
                .bind(terms.version)
                .bind(made.token)
                .bind(made.key_id)
                .bind(&terms.plan)
                .bind(terms.status)
                .bind(terms.trial)
                .bind(terms.issued_at)
                .bind(terms.expires_at)
                .bind(terms.refresh_after)
                .bind(terms.paid_until)
                .bind(made.reason)
                .bind(made.facts_digest)
                .bind(made.terms_digest)
                .bind(made.caused_by)
                .bind(made.cause_detail)
        })
        .await?;
    Ok(())
}

/// The newest version.
pub async fn find_newest(tx: &mut Tx, customer_id: &CustomerId) -> Result<Option<License>, DbError> {
    tx.query(
        "select license_id, customer_id, version, token, plan, status, trial, issued_at, expires_at, refresh_after, \
         paid_until, reason, facts_digest, terms_digest, caused_by, cause_detail, revoked_at, revoked_because \
         from licenses where customer_id = $1 order by version desc limit 1",
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
         paid_until, reason, facts_digest, terms_digest, caused_by, cause_detail, revoked_at, revoked_because \
         from licenses where customer_id = $1 and license_id = $2",
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
             paid_until, reason, facts_digest, terms_digest, caused_by, cause_detail, revoked_at, revoked_because \
         from licenses where customer_id = $1 and version < $2 \
             order by version desc limit $3",
        )
        .bind(customer_id)
        .bind(before_version)
        .bind(limit)
        .all()
        .await?;
    rows.iter().map(from_row).collect()
}

/// Marks all versions of the customer that are not revoked yet. Answers how many these were.
pub async fn revoke_all(tx: &mut Tx, customer_id: &CustomerId, because: &str, now: Timestamp) -> Result<u64, DbError> {
    tx.query("update licenses set revoked_at = $2, revoked_because = $3 where customer_id = $1 and revoked_at is null")
        .bind(customer_id)
        .bind(now)
        .bind(because)
        .execute()
        .await
}

/// Whose license this is, for an operator who has nothing but its id.
pub async fn find_owner(tx: &mut Tx, license_id: &LicenseId) -> Result<Option<CustomerId>, DbError> {
    let row = tx.query("select customer_id from licenses where license_id = $1").bind(license_id).optional().await?;
    row.map(|row| row.parse("customer_id")).transpose()
}

/// Customers after this one who may have a license, by id; of one plan, or of all where the plan is empty.
pub async fn list_holders(tx: &mut Tx, plan: &str, after: &str, limit: i64) -> Result<Vec<CustomerId>, DbError> {
    let rows = tx
        .query(
            "select c.customer_id from customers c join subscriptions s on s.customer_id = c.customer_id \
             where c.deleted_at is null and c.customer_id > $1 and ($2 = '' or s.plan = $2) \
             order by c.customer_id limit $3",
        )
        .bind(after)
        .bind(plan)
        .bind(limit)
        .all()
        .await?;
    rows.iter().map(|row| row.parse("customer_id")).collect()
}

/// Customers after this one whose newest version was signed with a compromised key and has not expired, by id.
pub async fn list_signed_by_compromised(
    tx: &mut Tx,
    after: &str,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<CustomerId>, DbError> {
    let rows = tx
        .query(
            "select l.customer_id from licenses l join signing_keys k on k.key_id = l.key_id \
             join customers c on c.customer_id = l.customer_id \
             where k.state = 'compromised' and c.deleted_at is null and l.revoked_at is null and l.expires_at > $2 \
             and l.customer_id > $1 \
             and not exists (select 1 from licenses n where n.customer_id = l.customer_id and n.version > l.version) \
             order by l.customer_id limit $3",
        )
        .bind(after)
        .bind(now)
        .bind(limit)
        .all()
        .await?;
    rows.iter().map(|row| row.parse("customer_id")).collect()
}
