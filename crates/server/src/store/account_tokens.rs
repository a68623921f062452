//! Links that went out by mail. Only a hash of the token is kept, so that a copy of the table opens no account.

use counterfoil_core::{CustomerId, Timestamp};

use crate::db::{DbError, Row, Tx};

/// What a link is for. A token of one purpose is none for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Choose a new password.
    ResetPassword,
    /// Confirm a new address; the payload is the address.
    ChangeEmail,
    /// Stop a change of the address that is not confirmed yet.
    ObjectToEmail,
    /// Show that the address given at sign-up is one's own.
    VerifyEmail,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ResetPassword => "reset_password",
            Self::ChangeEmail => "change_email",
            Self::ObjectToEmail => "object_to_email",
            Self::VerifyEmail => "verify_email",
        }
    }
}

/// A link to be sent.
#[derive(Clone, Debug)]
pub struct NewToken<'a> {
    pub token_hash: &'a str,
    pub customer_id: &'a CustomerId,
    pub purpose: Purpose,
    /// What it is about, where the purpose alone does not say.
    pub payload: Option<&'a str>,
    pub expires_at: Timestamp,
}

/// A link that still works.
#[derive(Clone, Debug)]
pub struct Token {
    pub customer_id: CustomerId,
    pub payload: Option<String>,
}

fn from_row(row: &Row) -> Result<Token, DbError> {
    Ok(Token { customer_id: row.parse("customer_id")?, payload: row.get("payload")? })
}

/// Writes a link.
pub async fn insert(tx: &mut Tx, token: &NewToken<'_>, now: Timestamp) -> Result<(), DbError> {
    tx.query(
        "insert into account_tokens (token_hash, customer_id, purpose, payload, created_at, expires_at) \
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(token.token_hash)
    .bind(token.customer_id)
    .bind(token.purpose.as_str())
    .bind(token.payload)
    .bind(now)
    .bind(token.expires_at)
    .execute()
    .await?;
    Ok(())
}

/// The link, while it works.
pub async fn find(tx: &mut Tx, token_hash: &str, purpose: Purpose, now: Timestamp) -> Result<Option<Token>, DbError> {
    tx.query(
        "select customer_id, payload from account_tokens \
         where token_hash = $1 and purpose = $2 and used_at is null and expires_at > $3",
    )
    .bind(token_hash)
    .bind(purpose.as_str())
    .bind(now)
    .optional()
    .await?
    .as_ref()
    .map(from_row)
    .transpose()
}

/// Uses the link up. Of several who try at once, one gets it.
pub async fn take(tx: &mut Tx, token_hash: &str, purpose: Purpose, now: Timestamp) -> Result<Option<Token>, DbError> {
    tx.query(
        "update account_tokens set used_at = $3 \
         where token_hash = $1 and purpose = $2 and used_at is null and expires_at > $3 returning customer_id, payload",
    )
    .bind(token_hash)
    .bind(purpose.as_str())
    .bind(now)
    .optional()
    .await?
    .as_ref()
    .map(from_row)
    .transpose()
}

/// Ends the customer's links of one purpose.
pub async fn end(tx: &mut Tx, customer_id: &CustomerId, purpose: Purpose, now: Timestamp) -> Result<u64, DbError> {
    tx.query("update account_tokens set used_at = $3 where customer_id = $1 and purpose = $2 and used_at is null")
        .bind(customer_id)
        .bind(purpose.as_str())
        .bind(now)
        .execute()
        .await
}

/// Ends all of the customer's links.
pub async fn end_all(tx: &mut Tx, customer_id: &CustomerId, now: Timestamp) -> Result<u64, DbError> {
    tx.query("update account_tokens set used_at = $2 where customer_id = $1 and used_at is null")
        .bind(customer_id)
        .bind(now)
        .execute()
        .await
}

/// How many links of one purpose were made since then.
pub async fn count_since(
    tx: &mut Tx,
    customer_id: &CustomerId,
    purpose: Purpose,
    since: Timestamp,
) -> Result<i64, DbError> {
    let row = tx
        .query(
            "select cast(count(*) as bigint) as n from account_tokens \
             where customer_id = $1 and purpose = $2 and created_at > $3",
        )
        .bind(customer_id)
        .bind(purpose.as_str())
        .bind(since)
        .one()
        .await?;
    row.get("n")
}

/// Removes what ran out before then; says how many.
pub async fn delete_expired(tx: &mut Tx, before: Timestamp) -> Result<u64, DbError> {
    tx.query("delete from account_tokens where expires_at <= $1").bind(before).execute().await
}

/// Removes all of the customer's links: one of them may hold an address.
pub async fn delete_all(tx: &mut Tx, customer_id: &CustomerId) -> Result<u64, DbError> {
    tx.query("delete from account_tokens where customer_id = $1").bind(customer_id).execute().await
}
