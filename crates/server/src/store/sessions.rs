//! Sessions of customers. Only a hash of the token is kept, so that a copy of the table opens no account.

use counterfoil_core::{CustomerId, SessionId, Timestamp};

use crate::db::{DbError, Row, Tx};

/// A session that begins.
#[derive(Clone, Debug)]
pub struct NewSession<'a> {
    pub token_hash: &'a str,
    pub session_id: &'a SessionId,
    pub customer_id: &'a CustomerId,
    /// What it began on, and in which network, in words of ours.
    pub device: &'a str,
    pub network: &'a str,
}

/// Whose a session is, and when that was last noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub customer_id: CustomerId,
    pub last_seen_at: Timestamp,
}

/// One session as its owner sees it, without anything that opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub session_id: SessionId,
    pub device: String,
    pub network: String,
    pub created_at: Timestamp,
    /// True to the hour.
    pub last_seen_at: Timestamp,
    pub expires_at: Timestamp,
    /// Whether it is the one that asks.
    pub is_current: bool,
}

/// Writes a session.
pub async fn insert(
    tx: &mut Tx,
    session: &NewSession<'_>,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), DbError> {
    tx.query(
        "insert into sessions (token_hash, session_id, customer_id, device, network, created_at, last_seen_at, expires_at) \
         values ($1, $2, $3, $4, $5, $6, $6, $7)",
    )
    .bind(session.token_hash)
    .bind(session.session_id.as_str())
    .bind(session.customer_id)
    .bind(session.device)
    .bind(session.network)
    .bind(now)
    .bind(expires_at)
    .execute()
    .await?;
    Ok(())
}

/// Whose session this is, while it lasts and the customer is there.
pub async fn find_owner(tx: &mut Tx, token_hash: &str, now: Timestamp) -> Result<Option<Owner>, DbError> {
    let row = tx
        .query(
            "select s.customer_id, s.last_seen_at from sessions s join customers c on c.customer_id = s.customer_id \
             where s.token_hash = $1 and s.expires_at > $2 and c.deleted_at is null",
        )
        .bind(token_hash)
        .bind(now)
        .optional()
        .await?;
    let read = |row: Row| Ok(Owner { customer_id: row.parse("customer_id")?, last_seen_at: row.get("last_seen_at")? });
    row.map(read).transpose()
}

/// Notes that the session is used.
pub async fn touch(tx: &mut Tx, token_hash: &str, now: Timestamp) -> Result<(), DbError> {
    tx.query("update sessions set last_seen_at = $2 where token_hash = $1")
        .bind(token_hash)
        .bind(now)
        .execute()
        .await?;
    Ok(())
}

/// The customer's sessions that last: the one with this hash first, then those that were used last.
pub async fn list(
    tx: &mut Tx,
    customer_id: &CustomerId,
    own_hash: &str,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Session>, DbError> {
    let rows = tx
        .query(
            "select session_id, device, network, created_at, last_seen_at, expires_at, \
             cast(case when token_hash = $2 then 1 else 0 end as bigint) as is_current from sessions \
             where customer_id = $1 and expires_at > $3 \
             order by is_current desc, last_seen_at desc, created_at desc, session_id limit $4",
        )
        .bind(customer_id)
        .bind(own_hash)
        .bind(now)
        .bind(limit)
        .all()
        .await?;
    rows.iter().map(from_row).collect()
}

fn from_row(row: &Row) -> Result<Session, DbError> {
    Ok(Session {
        session_id: row.parse("session_id")?,
        device: row.get("device")?,
        network: row.get("network")?,
        created_at: row.get("created_at")?,
        last_seen_at: row.get("last_seen_at")?,
        expires_at: row.get("expires_at")?,
        is_current: row.get::<i64>("is_current")? == 1,
    })
}

/// Ends one of the customer's by its id; says whether it was there.
pub async fn delete_by_id(tx: &mut Tx, customer_id: &CustomerId, session_id: &SessionId) -> Result<bool, DbError> {
    let deleted = tx
        .query("delete from sessions where customer_id = $1 and session_id = $2")
        .bind(customer_id)
        .bind(session_id.as_str())
        .execute()
        .await?;
    Ok(deleted == 1)
}

/// Ends one session.
pub async fn delete(tx: &mut Tx, token_hash: &str) -> Result<(), DbError> {
    tx.query("delete from sessions where token_hash = $1").bind(token_hash).execute().await?;
    Ok(())
}

/// Ends the customer's sessions on all replicas, but for the one with this hash.
pub async fn delete_others(tx: &mut Tx, customer_id: &CustomerId, kept_hash: &str) -> Result<u64, DbError> {
    tx.query("delete from sessions where customer_id = $1 and token_hash <> $2")
        .bind(customer_id)
        .bind(kept_hash)
        .execute()
        .await
}

/// Ends all of the customer's sessions.
pub async fn delete_all(tx: &mut Tx, customer_id: &CustomerId) -> Result<u64, DbError> {
    tx.query("delete from sessions where customer_id = $1").bind(customer_id).execute().await
}

/// Removes what has run out; says how many.
pub async fn delete_expired(tx: &mut Tx, now: Timestamp) -> Result<u64, DbError> {
    tx.query("delete from sessions where expires_at <= $1").bind(now).execute().await
}
