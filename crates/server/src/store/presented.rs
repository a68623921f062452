//! A licence that somebody shows: everything that is known of it and of whose it is, in one statement.

use counterfoil_core::listing::Listed;
use counterfoil_core::{CustomerId, LicenseId, Subscription, Timestamp};

use super::license_statuses::listed;
use super::licenses::{self, License};
use super::subscriptions;
use crate::db::{Db, DbError, Query, Row, Tx};

/// What is known of the customer that a licence names, and of the licence.
#[derive(Clone, Debug)]
pub struct Presented {
    /// Only a tombstone is left of the account.
    pub is_deleted: bool,
    /// The version that is shown; `None` where it was never issued to this customer.
    pub shown: Option<Shown>,
    pub newest: Option<License>,
    pub subscription: Option<Subscription>,
    /// An operator holds every licence back.
    pub is_held: bool,
}

/// The version that is shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    pub revoked_at: Option<Timestamp>,
    /// What the status lists say of it.
    pub listed: Option<Listed>,
}

const FIND: &str = "select c.deleted_at, h.customer_id as held, p.license_id as shown, p.revoked_at as shown_revoked_at, e.listed, \
     s.customer_id as subscribed, s.stripe_subscription_id as s_stripe_subscription_id, s.plan as s_plan, \
     s.status as s_status, s.billing_interval as s_billing_interval, s.trial_ends_at as s_trial_ends_at, \
     s.current_period_ends_at as s_current_period_ends_at, s.paid_until as s_paid_until, s.money_back as s_money_back, \
     s.cancel_at as s_cancel_at, s.ended_at as s_ended_at, s.needs_attention as s_needs_attention, \
     l.license_id, l.customer_id, l.version, l.token, l.plan, l.status, l.trial, l.issued_at, l.expires_at, l.refresh_after, \
     l.paid_until, l.reason, l.facts_digest, l.terms_digest, l.caused_by, l.cause_detail, l.revoked_at, l.revoked_because \
     from customers c left join license_holds h on h.customer_id = c.customer_id \
     left join subscriptions s on s.customer_id = c.customer_id \
     left join licenses p on p.customer_id = c.customer_id and p.license_id = $2 \
     left join license_statuses e on e.license_id = p.license_id \
     left join licenses l on l.customer_id = c.customer_id \
     and l.version = (select max(m.version) from licenses m where m.customer_id = c.customer_id) \
     where c.customer_id = $1";

/// What is known of this licence, in the caller's transaction. `None` where nobody has this customer id, and nobody had.
pub async fn find(tx: &mut Tx, customer_id: &CustomerId, license_id: &LicenseId) -> Result<Option<Presented>, DbError> {
    read(tx.query(FIND), customer_id, license_id).await
}

/// The same by itself.
pub async fn look_up(db: &Db, customer_id: &CustomerId, license_id: &LicenseId) -> Result<Option<Presented>, DbError> {
    read(db.query(FIND), customer_id, license_id).await
}

async fn read(
    query: Query<'_>,
    customer_id: &CustomerId,
    license_id: &LicenseId,
) -> Result<Option<Presented>, DbError> {
    let row = query.bind(customer_id).bind(license_id).optional().await?;
    row.as_ref().map(from_row).transpose()
}

fn from_row(row: &Row) -> Result<Presented, DbError> {
    let is_there = |column: &str| Ok::<_, DbError>(row.get::<Option<String>>(column)?.is_some());
    let shown = match is_there("shown")? {
        true => Some(Shown {
            revoked_at: row.get("shown_revoked_at")?,
            listed: if is_there("listed")? { Some(listed(row)?) } else { None },
        }),
        false => None,
    };
    Ok(Presented {
        is_deleted: row.get::<Option<Timestamp>>("deleted_at")?.is_some(),
        shown,
        newest: if is_there("license_id")? { Some(licenses::from_row(row)?) } else { None },
        subscription: if is_there("subscribed")? { Some(subscriptions::from_prefixed(row, "s_")?) } else { None },
        is_held: is_there("held")?,
    })
}
