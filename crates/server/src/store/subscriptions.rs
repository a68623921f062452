//! Subscriptions: one row a customer.

use counterfoil_core::subscription::{Record, Subscription};
use counterfoil_core::{CustomerId, ExternalSubscriptionId, PlanCode, Timestamp};

use super::batch::{Batch, nothing};
use crate::db::{DbError, Query, Row, Tx};

pub(super) fn from_row(row: &Row) -> Result<Subscription, DbError> {
    from_prefixed(row, "")
}

/// The same where each column's name has something in front, because columns of other tables stand beside it.
pub(super) fn from_prefixed(row: &Row, prefix: &str) -> Result<Subscription, DbError> {
    let column = |name: &str| format!("{prefix}{name}");
    let external_id: Option<String> = row.get(&column("stripe_subscription_id"))?;
    let record = Record {
        external_id: external_id.map(ExternalSubscriptionId::new),
        plan: PlanCode::new(row.get::<String>(&column("plan"))?),
        status: row.get(&column("status"))?,
        interval: super::interval(row, &column("billing_interval"))?,
        trial_ends_at: row.get(&column("trial_ends_at"))?,
        current_period_ends_at: row.get(&column("current_period_ends_at"))?,
        paid_until: row.get(&column("paid_until"))?,
        money_back: row.get(&column("money_back"))?,
        cancel_at: row.get(&column("cancel_at"))?,
        ended_at: row.get(&column("ended_at"))?,
        attention: row.get(&column("needs_attention"))?,
    };
    Subscription::from_record(record).map_err(|corrupt| DbError::other(corrupt.to_string()))
}

/// Binds a customer and its state, in the one order that the statements below number them.
fn bind_state<'q>(
    statement: Query<'q>,
    customer_id: &CustomerId,
    subscription: &Subscription,
    now: Timestamp,
) -> Query<'q> {
    let record = subscription.to_record();
    statement
        .bind(customer_id)
        .bind(record.external_id)
        .bind(record.plan)
        .bind(record.status)
        .bind(record.interval)
        .bind(record.trial_ends_at)
        .bind(record.current_period_ends_at)
        .bind(record.paid_until)
        .bind(record.money_back)
        .bind(record.cancel_at)
        .bind(record.ended_at)
        .bind(record.attention)
        .bind(now)
}

/// Writes the first state of a customer's subscription.
pub async fn insert(
    tx: &mut Tx,
    customer_id: &CustomerId,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<(), DbError> {
    let statement = tx.query(
        "insert into subscriptions (customer_id, stripe_subscription_id, plan, status, billing_interval, trial_ends_at, \
         current_period_ends_at, paid_until, money_back, cancel_at, ended_at, needs_attention, created_at, updated_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)",
    );
    bind_state(statement, customer_id, subscription, now).execute().await?;
    Ok(())
}

/// Replaces the state.
pub async fn update(
    tx: &mut Tx,
    customer_id: &CustomerId,
    subscription: &Subscription,
    now: Timestamp,
) -> Result<(), DbError> {
    let statement = tx.query(
        "update subscriptions set stripe_subscription_id = $2, plan = $3, status = $4, billing_interval = $5, \
         trial_ends_at = $6, current_period_ends_at = $7, paid_until = $8, money_back = $9, cancel_at = $10, \
         ended_at = $11, needs_attention = $12, updated_at = $13 where customer_id = $1",
    );
    bind_state(statement, customer_id, subscription, now).execute().await?;
    Ok(())
}

static REPLACE: Batch = Batch::adding(
    "insert into subscriptions (customer_id, stripe_subscription_id, plan, status, billing_interval, trial_ends_at, \
     current_period_ends_at, paid_until, money_back, cancel_at, ended_at, needs_attention, created_at, updated_at) \
     values {(@1, @2, @3, @4, @5, @6, @7, @8, @9, @10, @11, @12, @13, @13)} on conflict (customer_id) do update set \
     stripe_subscription_id = excluded.stripe_subscription_id, plan = excluded.plan, status = excluded.status, \
     billing_interval = excluded.billing_interval, trial_ends_at = excluded.trial_ends_at, \
     current_period_ends_at = excluded.current_period_ends_at, paid_until = excluded.paid_until, \
     money_back = excluded.money_back, cancel_at = excluded.cancel_at, ended_at = excluded.ended_at, \
     needs_attention = excluded.needs_attention, updated_at = excluded.updated_at",
);

/// Replaces the states of several customers. The rows are there: the insertion is only the form in which both engines take
/// several new states in one statement.
pub async fn replace_all(tx: &mut Tx, states: &[(&CustomerId, &Subscription)], now: Timestamp) -> Result<(), DbError> {
    REPLACE
        .execute(tx, states, nothing, |query, (customer_id, subscription)| {
            bind_state(query, customer_id, subscription, now)
        })
        .await?;
    Ok(())
}

/// The customer's subscription; each customer has one from sign-up on.
pub async fn find(tx: &mut Tx, customer_id: &CustomerId) -> Result<Option<Subscription>, DbError> {
    tx.query(
        "select stripe_subscription_id, plan, status, billing_interval, trial_ends_at, current_period_ends_at, paid_until, \
         money_back, cancel_at, ended_at, needs_attention from subscriptions where customer_id = $1",
    )
    .bind(customer_id)
    .optional()
    .await?
    .as_ref()
    .map(from_row)
    .transpose()
}

/// The plans that customers have, each once.
pub async fn list_plans(tx: &mut Tx) -> Result<Vec<PlanCode>, DbError> {
    let rows = tx.query("select distinct plan from subscriptions order by plan").all().await?;
    rows.iter().map(|row| Ok(PlanCode::new(row.get::<String>("plan")?))).collect()
}

/// Notes that the list of the run that began at this instant showed this subscription.
pub async fn set_listed(tx: &mut Tx, external_id: &ExternalSubscriptionId, at: Timestamp) -> Result<(), DbError> {
    tx.query("update subscriptions set listed_at = $2 where stripe_subscription_id = $1")
        .bind(external_id)
        .bind(at)
        .execute()
        .await?;
    Ok(())
}

/// Customers after `after` with an active link whose live subscription was not shown by the list of the run that began at
/// `started`. What changed since then was looked at since then.
pub async fn list_unlisted(
    tx: &mut Tx,
    provider: &str,
    started: Timestamp,
    after: &str,
    limit: i64,
) -> Result<Vec<CustomerId>, DbError> {
    let rows = tx
        .query(
            "select s.customer_id from subscriptions s join billing_links l on l.customer_id = s.customer_id \
             join customers c on c.customer_id = s.customer_id and c.deleted_at is null where l.provider = $1 and l.state = 'active' and s.stripe_subscription_id is not null \
             and s.status not in ('canceled', 'incomplete_expired') and (s.listed_at is null or s.listed_at <> $2) \
             and s.updated_at < $2 and s.customer_id > $3 order by s.customer_id limit $4",
        )
        .bind(provider)
        .bind(started)
        .bind(after)
        .bind(limit)
        .all()
        .await?;
    rows.iter().map(|row| row.parse("customer_id")).collect()
}
