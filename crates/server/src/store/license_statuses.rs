//! What the status lists say: one row for each version, its random place in a list, and the word that stands there.

use std::collections::BTreeSet;

use counterfoil_core::listing::Listed;
use counterfoil_core::{CustomerId, LicenseId, Timestamp};

use super::batch::{Batch, nothing};
use crate::db::{DbError, Row, Tx};

/// A version's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The list, counted from 1.
    pub list: i64,
    /// The entry, counted from 0.
    pub index: i64,
}

/// A version's place, and what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub place: Place,
    pub listed: Listed,
}

pub(super) fn listed(row: &Row) -> Result<Listed, DbError> {
    let word: String = row.get("listed")?;
    Listed::parse(&word).ok_or_else(|| DbError::other("`listed` holds an unknown word"))
}

/// The list that places are drawn from.
pub async fn find_newest_list(tx: &mut Tx) -> Result<i64, DbError> {
    let row = tx.query("select coalesce(max(list), 1) as newest from license_statuses").one().await?;
    row.get("newest")
}

/// A place that was drawn for a version: whose, which, and where.
pub type Drawn<'a> = (&'a CustomerId, &'a LicenseId, Place);

static TAKE: Batch = Batch::adding(
    "insert into license_statuses (list, place, license_id, customer_id, listed, changed_at) \
     values {(@1, @2, @3, @4, 'valid', @5)} on conflict (list, place) do nothing returning license_id",
);

/// Takes these places for versions, as valid, and answers which versions have theirs: the place of another one was somebody's.
pub async fn take_all(tx: &mut Tx, drawn: &[Drawn<'_>], now: Timestamp) -> Result<BTreeSet<LicenseId>, DbError> {
    let rows = TAKE
        .all(tx, drawn, nothing, |query, (customer_id, license_id, place)| {
            query.bind(place.list).bind(place.index).bind(*license_id).bind(*customer_id).bind(now)
        })
        .await?;
    rows.iter().map(|row| row.parse("license_id")).collect()
}

/// What the list says of this version.
pub async fn find(tx: &mut Tx, license_id: &LicenseId) -> Result<Option<Entry>, DbError> {
    let row = tx
        .query("select list, place, listed from license_statuses where license_id = $1")
        .bind(license_id)
        .optional()
        .await?;
    let entry = |row: &Row| {
        let place = Place { list: row.get("list")?, index: row.get("place")? };
        Ok(Entry { place, listed: listed(row)? })
    };
    row.as_ref().map(entry).transpose()
}

/// Whether any version has a place in this list.
pub async fn exists(tx: &mut Tx, list: i64) -> Result<bool, DbError> {
    let row = tx.query("select 1 as one from license_statuses where list = $1 limit 1").bind(list).optional().await?;
    Ok(row.is_some())
}

/// The places of a list where something else than `valid` stands, in their order.
pub async fn list_marked(tx: &mut Tx, list: i64) -> Result<Vec<(i64, Listed)>, DbError> {
    let rows = tx
        .query("select place, listed from license_statuses where list = $1 and listed <> 'valid' order by place")
        .bind(list)
        .all()
        .await?;
    rows.iter().map(|row| Ok((row.get("place")?, listed(row)?))).collect()
}

static REPLACE_OLDER: Batch = Batch::about(
    "update license_statuses set changed_at = $1, listed = case when exists (select 1 from licenses l \
     where l.license_id = license_statuses.license_id and l.expires_at > (select n.expires_at from licenses n \
     where n.customer_id = license_statuses.customer_id order by n.version desc limit 1)) \
     then 'invalid' else 'superseded' end \
     where customer_id in ({@1}) and license_id not in ({@2}) and listed in ('valid', 'suspended')",
);

/// The older versions of these customers make way for these, which are their newest: those that reach no further are superseded,
/// the others are withdrawn.
pub async fn replace_older(tx: &mut Tx, newest: &[(&CustomerId, &LicenseId)], now: Timestamp) -> Result<(), DbError> {
    REPLACE_OLDER
        .execute(
            tx,
            newest,
            |query| query.bind(now),
            |query, (customer_id, license_id)| query.bind(*customer_id).bind(*license_id),
        )
        .await?;
    Ok(())
}

/// Withdraws all versions of the customer, for good.
pub async fn withdraw_all(tx: &mut Tx, customer_id: &CustomerId, now: Timestamp) -> Result<u64, DbError> {
    tx.query(
        "update license_statuses set listed = 'invalid', changed_at = $2 where customer_id = $1 and listed <> 'invalid'",
    )
    .bind(customer_id)
    .bind(now)
    .execute()
    .await
}

/// Suspends all versions of the customer that are in force.
pub async fn suspend_all(tx: &mut Tx, customer_id: &CustomerId, now: Timestamp) -> Result<u64, DbError> {
    tx.query(
        "update license_statuses set listed = 'suspended', changed_at = $2 \
         where customer_id = $1 and listed in ('valid', 'superseded')",
    )
    .bind(customer_id)
    .bind(now)
    .execute()
    .await
}

/// Puts suspended versions into force again: the newest one as valid, the older ones as superseded.
pub async fn restore_all(tx: &mut Tx, customer_id: &CustomerId, now: Timestamp) -> Result<u64, DbError> {
    tx.query(
        "update license_statuses set changed_at = $2, listed = case when license_id = (select l.license_id from licenses l \
         where l.customer_id = $1 order by l.version desc limit 1) then 'valid' else 'superseded' end \
         where customer_id = $1 and listed = 'suspended'",
    )
    .bind(customer_id)
    .bind(now)
    .execute()
    .await
}
