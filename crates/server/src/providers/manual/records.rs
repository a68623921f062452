//! The book's SQL: the only place that reads or writes its tables. Each function takes a transaction that this provider began.

use counterfoil_core::link::Candidate;
use counterfoil_core::manual::{Account, Agreement, Payment, Planned};
use counterfoil_core::{ExternalCustomerId, ExternalSubscriptionId, IdempotencyKey, Interval, PlanCode, Timestamp};

use super::Frozen;
use crate::db::{DbError, Row, Tx};

/// A subscription's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) customer: ExternalCustomerId,
    pub(super) agreement: Agreement,
    pub(super) revision: i64,
}

/// A payment's row, with what of it went back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub(super) id: i64,
    pub subscription: ExternalSubscriptionId,
    pub reference: String,
    pub currency: String,
    pub recorded_at: Timestamp,
    pub payment: Payment,
}

/// A payment to write.
#[derive(Clone, Debug)]
pub(super) struct Receipt<'a> {
    pub(super) reference: &'a str,
    pub(super) amount: i64,
    pub(super) currency: &'a str,
    pub(super) months: (i64, i64),
}

fn interval(row: &Row, column: &str) -> Result<Option<Interval>, DbError> {
    let text: Option<String> = row.get(column)?;
    let read =
        |text: String| Interval::parse(&text).ok_or_else(|| DbError::other(format!("`{column}` holds no interval")));
    text.map(read).transpose()
}

fn held(row: &Row) -> Result<Held, DbError> {
    let required = |value: Option<Interval>| value.ok_or_else(|| DbError::other("an agreement without an interval"));
    let planned: Option<(String, i64)> = match (row.get("planned_plan")?, row.get("planned_from_month")?) {
        (Some(plan), Some(month)) => Some((plan, month)),
        _ => None,
    };
    let planned = match planned {
        Some((plan, from_month)) => Some(Planned {
            plan: PlanCode::new(plan),
            interval: required(interval(row, "planned_interval")?)?,
            from_month,
        }),
        None => None,
    };
    Ok(Held {
        customer: ExternalCustomerId::new(row.get::<String>("external_customer")?),
        agreement: Agreement {
            id: ExternalSubscriptionId::new(row.get::<String>("external_id")?),
            created_at: row.get("created_at")?,
            starts_at: row.get("starts_at")?,
            plan: PlanCode::new(row.get::<String>("plan")?),
            interval: required(interval(row, "billing_interval")?)?,
            planned,
            cancel_at: row.get("cancel_at")?,
            ended_at: row.get("ended_at")?,
        },
        revision: row.get("revision")?,
    })
}

fn recorded(row: &Row) -> Result<Recorded, DbError> {
    Ok(Recorded {
        id: row.get("id")?,
        subscription: ExternalSubscriptionId::new(row.get::<String>("external_subscription")?),
        reference: row.get("reference")?,
        currency: row.get("currency")?,
        recorded_at: row.get("recorded_at")?,
        payment: Payment {
            from_month: row.get("from_month")?,
            until_month: row.get("until_month")?,
            amount: row.get("amount")?,
            refunded: row.get("refunded")?,
        },
    })
}

fn candidate(row: &Row) -> Result<Candidate, DbError> {
    Ok(Candidate {
        id: ExternalCustomerId::new(row.get::<String>("external_id")?),
        created_at: row.get("created_at")?,
        deleted: row.get::<Option<Timestamp>>("deleted_at")?.is_some(),
        customer_id: Some(row.get("customer_id")?),
        instance: Some(row.get("instance")?),
    })
}

/// Writes a customer where nobody has this key yet.
pub(super) async fn insert_customer(
    tx: &mut Tx,
    id: &ExternalCustomerId,
    key: &IdempotencyKey,
    frozen: (&str, &Frozen),
    now: Timestamp,
) -> Result<(), DbError> {
    let (bytes, read) = frozen;
    tx.query(
        "insert into manual_customers (external_id, idempotency_key, frozen_params, email, customer_id, instance, created_at) \
         values ($1, $2, $3, $4, $5, $6, $7) on conflict (idempotency_key) do nothing",
    )
    .bind(id)
    .bind(key)
    .bind(bytes)
    .bind(&read.email)
    .bind(&read.customer_id)
    .bind(&read.instance)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// Who was made with this key, and from which bytes.
pub(super) async fn find_by_key(
    tx: &mut Tx,
    key: &IdempotencyKey,
) -> Result<Option<(ExternalCustomerId, String)>, DbError> {
    let row = tx
        .query("select external_id, frozen_params from manual_customers where idempotency_key = $1")
        .bind(key)
        .optional()
        .await?;
    row.map(|row| Ok((ExternalCustomerId::new(row.get::<String>("external_id")?), row.get("frozen_params")?)))
        .transpose()
}

/// One customer.
pub(super) async fn find_customer(tx: &mut Tx, id: &ExternalCustomerId) -> Result<Option<Candidate>, DbError> {
    tx.query("select external_id, customer_id, instance, created_at, deleted_at from manual_customers where external_id = $1")
        .bind(id)
        .optional()
        .await?
        .as_ref()
        .map(candidate)
        .transpose()
}

/// Another address of a customer. False where there is none, or none any more.
pub(super) async fn set_email(tx: &mut Tx, id: &ExternalCustomerId, email: &str) -> Result<bool, DbError> {
    let changed = tx
        .query("update manual_customers set email = $2 where external_id = $1 and deleted_at is null")
        .bind(id)
        .bind(email)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// All customers with this address.
pub(super) async fn list_customers(tx: &mut Tx, email: &str) -> Result<Vec<Candidate>, DbError> {
    let rows = tx
        .query(
            "select external_id, customer_id, instance, created_at, deleted_at from manual_customers \
             where email = $1 and deleted_at is null order by created_at, external_id",
        )
        .bind(email)
        .all()
        .await?;
    rows.iter().map(candidate).collect()
}

/// Marks a customer as deleted. What says who it was goes; what was paid stays for the books.
pub(super) async fn delete_customer(tx: &mut Tx, id: &ExternalCustomerId, now: Timestamp) -> Result<(), DbError> {
    tx.query(
        "update manual_customers set deleted_at = $2, email = '', frozen_params = '' where external_id = $1 and deleted_at is null",
    )
    .bind(id)
    .bind(now)
    .execute()
    .await?;
    tx.query(
        "update manual_subscriptions set ended_at = $2, look_at = $2, revision = revision + 1 \
         where external_customer = $1 and ended_at is null",
    )
    .bind(id)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// Writes a new subscription.
pub(super) async fn insert(tx: &mut Tx, held: &Held, now: Timestamp) -> Result<(), DbError> {
    tx.query(
        "insert into manual_subscriptions (external_id, external_customer, plan, billing_interval, starts_at, revision, look_at, \
         created_at) values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&held.agreement.id)
    .bind(&held.customer)
    .bind(&held.agreement.plan)
    .bind(held.agreement.interval)
    .bind(held.agreement.starts_at)
    .bind(held.revision)
    .bind(now)
    .bind(held.agreement.created_at)
    .execute()
    .await?;
    Ok(())
}

/// Replaces what can change, and asks for a look. False where somebody else was quicker: nothing is written then.
pub(super) async fn save(tx: &mut Tx, held: &Held, now: Timestamp) -> Result<bool, DbError> {
    let planned = held.agreement.planned.as_ref();
    let changed = tx
        .query(
            "update manual_subscriptions set plan = $3, billing_interval = $4, planned_plan = $5, planned_interval = $6, \
             planned_from_month = $7, cancel_at = $8, ended_at = $9, look_at = $10, revision = revision + 1 \
             where external_id = $1 and revision = $2",
        )
        .bind(&held.agreement.id)
        .bind(held.revision)
        .bind(&held.agreement.plan)
        .bind(held.agreement.interval)
        .bind(planned.map(|planned| &planned.plan))
        .bind(planned.map(|planned| planned.interval))
        .bind(planned.map(|planned| planned.from_month))
        .bind(held.agreement.cancel_at)
        .bind(held.agreement.ended_at)
        .bind(now)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// One subscription.
pub(super) async fn find(tx: &mut Tx, id: &ExternalSubscriptionId) -> Result<Option<Held>, DbError> {
    tx.query(
        "select external_id, external_customer, plan, billing_interval, planned_plan, planned_interval, planned_from_month, \
         starts_at, cancel_at, ended_at, revision, created_at from manual_subscriptions where external_id = $1",
    )
    .bind(id)
    .optional()
    .await?
    .as_ref()
    .map(held)
    .transpose()
}

/// All subscriptions of a customer, the oldest first.
pub(super) async fn list(tx: &mut Tx, customer: &ExternalCustomerId) -> Result<Vec<Held>, DbError> {
    let rows = tx
        .query(
            "select external_id, external_customer, plan, billing_interval, planned_plan, planned_interval, \
             planned_from_month, starts_at, cancel_at, ended_at, revision, created_at from manual_subscriptions \
             where external_customer = $1 order by created_at, external_id",
        )
        .bind(customer)
        .all()
        .await?;
    rows.iter().map(held).collect()
}

/// All payments of a customer, in the order in which they were recorded.
pub(super) async fn list_payments(tx: &mut Tx, customer: &ExternalCustomerId) -> Result<Vec<Recorded>, DbError> {
    let rows = tx
        .query(
            "select p.id, p.external_subscription, p.reference, p.amount, p.currency, p.from_month, p.until_month, \
             p.recorded_at, (select coalesce(cast(sum(r.amount) as bigint), 0) from manual_refunds r \
             where r.payment_id = p.id) as refunded from manual_payments p where p.external_customer = $1 order by p.id",
        )
        .bind(customer)
        .all()
        .await?;
    rows.iter().map(recorded).collect()
}

/// Writes a payment. A reference that this customer has used is a unique violation.
pub(super) async fn insert_payment(
    tx: &mut Tx,
    held: &Held,
    receipt: &Receipt<'_>,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(
        "insert into manual_payments (external_customer, external_subscription, reference, amount, currency, from_month, \
         until_month, recorded_at) values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&held.customer)
    .bind(&held.agreement.id)
    .bind(receipt.reference)
    .bind(receipt.amount)
    .bind(receipt.currency)
    .bind(receipt.months.0)
    .bind(receipt.months.1)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// Writes a refund. A reference that this customer has used is a unique violation.
pub(super) async fn insert_refund(
    tx: &mut Tx,
    customer: &ExternalCustomerId,
    payment: &Recorded,
    reference: &str,
    amount: i64,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(
        "insert into manual_refunds (external_customer, payment_id, reference, amount, recorded_at) values ($1, $2, $3, $4, $5)",
    )
    .bind(customer)
    .bind(payment.id)
    .bind(reference)
    .bind(amount)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// Whether this customer's refund of this reference is written already.
pub(super) async fn is_refund(tx: &mut Tx, customer: &ExternalCustomerId, reference: &str) -> Result<bool, DbError> {
    let row = tx
        .query("select id from manual_refunds where external_customer = $1 and reference = $2")
        .bind(customer)
        .bind(reference)
        .optional()
        .await?;
    Ok(row.is_some())
}

/// Subscriptions that somebody has to look at by now, the longest waiting first.
pub(super) async fn list_due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Held>, DbError> {
    let rows = tx
        .query(
            "select external_id, external_customer, plan, billing_interval, planned_plan, planned_interval, \
             planned_from_month, starts_at, cancel_at, ended_at, revision, created_at from manual_subscriptions \
             where look_at <= $1 order by look_at limit $2",
        )
        .bind(now)
        .bind(limit)
        .all()
        .await?;
    rows.iter().map(held).collect()
}

/// Sets the next look, unless something was written since.
pub(super) async fn set_look(tx: &mut Tx, held: &Held, next: Option<Timestamp>) -> Result<(), DbError> {
    tx.query("update manual_subscriptions set look_at = $3 where external_id = $1 and revision = $2")
        .bind(&held.agreement.id)
        .bind(held.revision)
        .bind(next)
        .execute()
        .await?;
    Ok(())
}

/// What is agreed, with its own payments out of all of the customer's.
pub(super) fn account(held: &Held, payments: &[Recorded]) -> Account {
    let own = payments.iter().filter(|each| each.subscription == held.agreement.id).map(|each| each.payment);
    Account { agreement: held.agreement.clone(), payments: own.collect() }
}
