//! Checkout attempts: stored before the provider hears of them, so that what it opened can always be found again.

use counterfoil_core::checkout::{OpenAttempt, Wish};
use counterfoil_core::{AttemptId, CustomerId, ExternalSessionId, PlanCode, PriceId, Timestamp};

use crate::db::{DbError, Row, Tx};

/// Where an attempt stands in our book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptState {
    /// Stored; the provider may or may not have opened a session.
    Opening,
    /// The customer can pay.
    Open,
    /// The customer went through, and the money is on its way: neither paid nor lost yet.
    Paying,
    /// The customer went through, and what came of it is in the subscription.
    Completed,
    /// It was closed, by time or by us.
    Expired,
    /// No session came of it.
    Failed,
}

impl AttemptState {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Open => "open",
            Self::Paying => "paying",
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }

    fn parse(text: &str) -> Result<Self, DbError> {
        [Self::Opening, Self::Open, Self::Paying, Self::Completed, Self::Expired, Self::Failed]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| DbError::other("a checkout attempt is in an unknown state"))
    }
}

fn from_row(row: &Row) -> Result<OpenAttempt, DbError> {
    let interval = super::interval(row, "billing_interval")?;
    Ok(OpenAttempt {
        id: row.parse("attempt_id")?,
        wish: Wish {
            plan: PlanCode::new(row.get::<String>("plan")?),
            interval: interval.ok_or_else(|| DbError::other("a checkout attempt has no interval"))?,
            price: PriceId::new(row.get::<String>("price")?),
            success_url: row.get("success_url")?,
            cancel_url: row.get("cancel_url")?,
        },
        frozen: row.get("frozen_params")?,
        trial_ends_at: row.get("trial_ends_at")?,
        session: row.get::<Option<String>>("external_id")?.map(ExternalSessionId::new),
    })
}

/// Stores an attempt before its session is asked for.
pub async fn insert(
    tx: &mut Tx,
    customer_id: &CustomerId,
    provider: &str,
    attempt: &OpenAttempt,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(
        "insert into checkout_attempts (attempt_id, customer_id, provider, plan, billing_interval, price, success_url, \
         cancel_url, frozen_params, trial_ends_at, state, created_at, updated_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'opening', $11, $11)",
    )
    .bind(&attempt.id)
    .bind(customer_id)
    .bind(provider)
    .bind(&attempt.wish.plan)
    .bind(attempt.wish.interval)
    .bind(&attempt.wish.price)
    .bind(&attempt.wish.success_url)
    .bind(&attempt.wish.cancel_url)
    .bind(&attempt.frozen)
    .bind(attempt.trial_ends_at)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// The customer's attempts that are not over, oldest first.
pub async fn list_open(tx: &mut Tx, customer_id: &CustomerId, provider: &str) -> Result<Vec<OpenAttempt>, DbError> {
    let rows = tx
        .query(
            "select attempt_id, plan, billing_interval, price, success_url, cancel_url, frozen_params, trial_ends_at, \
             external_id from checkout_attempts where customer_id = $1 and provider = $2 and state in ('opening', 'open', 'paying') order by id",
        )
        .bind(customer_id)
        .bind(provider)
        .all()
        .await?;
    rows.iter().map(from_row).collect()
}

/// State and plan of one attempt of this customer.
pub async fn find_state(
    tx: &mut Tx,
    customer_id: &CustomerId,
    attempt_id: &AttemptId,
) -> Result<Option<(AttemptState, PlanCode)>, DbError> {
    let row = tx
        .query("select state, plan from checkout_attempts where customer_id = $1 and attempt_id = $2")
        .bind(customer_id)
        .bind(attempt_id)
        .optional()
        .await?;
    row.map(|row| Ok((AttemptState::parse(&row.get::<String>("state")?)?, PlanCode::new(row.get::<String>("plan")?))))
        .transpose()
}

/// Whether the customer went through a checkout whose money is on its way.
pub async fn is_paying(tx: &mut Tx, customer_id: &CustomerId) -> Result<bool, DbError> {
    let row = tx
        .query("select attempt_id from checkout_attempts where customer_id = $1 and state = 'paying' limit 1")
        .bind(customer_id)
        .optional()
        .await?;
    Ok(row.is_some())
}

/// Notes the session that the provider opened.
pub async fn set_session(
    tx: &mut Tx,
    customer_id: &CustomerId,
    attempt_id: &AttemptId,
    session: &ExternalSessionId,
    url: Option<&str>,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(
        "update checkout_attempts set external_id = $3, url = $4, expires_at = $5, updated_at = $6, \
         state = case when state = 'paying' then 'paying' else 'open' end \
         where customer_id = $1 and attempt_id = $2 and state in ('opening', 'open', 'paying')",
    )
    .bind(customer_id)
    .bind(attempt_id)
    .bind(session)
    .bind(url)
    .bind(expires_at)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// The customer went through an attempt, and the money is on its way.
pub async fn set_paying(
    tx: &mut Tx,
    customer_id: &CustomerId,
    attempt_id: &AttemptId,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(
        "update checkout_attempts set state = 'paying', url = null, updated_at = $3 \
         where customer_id = $1 and attempt_id = $2 and state in ('opening', 'open')",
    )
    .bind(customer_id)
    .bind(attempt_id)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// Ends an attempt; one that is over stays as it is.
pub async fn end(
    tx: &mut Tx,
    customer_id: &CustomerId,
    attempt_id: &AttemptId,
    state: AttemptState,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(
        "update checkout_attempts set state = $3, url = null, updated_at = $4 \
         where customer_id = $1 and attempt_id = $2 and state in ('opening', 'open', 'paying')",
    )
    .bind(customer_id)
    .bind(attempt_id)
    .bind(state.as_str())
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// Ends attempts that were stored before `stored_before` and whose session we never heard of: its address was given to
/// nobody, and it can no longer be paid.
pub async fn end_abandoned(
    tx: &mut Tx,
    customer_id: &CustomerId,
    stored_before: Timestamp,
    now: Timestamp,
) -> Result<u64, DbError> {
    tx.query(
        "update checkout_attempts set state = 'failed', updated_at = $3 \
         where customer_id = $1 and state = 'opening' and created_at < $2",
    )
    .bind(customer_id)
    .bind(stored_before)
    .bind(now)
    .execute()
    .await
}

/// Customers with an attempt that has been open since before `updated_before`, the longest waiting first; once for each attempt,
/// so that only those are read that wait.
pub async fn list_waiting(
    tx: &mut Tx,
    provider: &str,
    updated_before: Timestamp,
    limit: i64,
) -> Result<Vec<CustomerId>, DbError> {
    let rows = tx
        .query(
            "select customer_id from checkout_attempts \
             where provider = $1 and state in ('opening', 'open', 'paying') and updated_at < $2 \
             order by updated_at, customer_id limit $3",
        )
        .bind(provider)
        .bind(updated_before)
        .bind(limit)
        .all()
        .await?;
    rows.iter().map(|row| row.parse("customer_id")).collect()
}

/// Puts the customer's open attempts at the end of the queue of those that are looked at.
pub async fn touch_open(tx: &mut Tx, customer_id: &CustomerId, now: Timestamp) -> Result<(), DbError> {
    tx.query(
        "update checkout_attempts set updated_at = $2 where customer_id = $1 and state in ('opening', 'open', 'paying')",
    )
    .bind(customer_id)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// An attempt that is not over, as operators read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptLine {
    pub plan: PlanCode,
    pub state: String,
    pub created_at: Timestamp,
}

/// The customer's attempts that are not over, at whatever provider, the newest first.
pub async fn list_unfinished(tx: &mut Tx, customer_id: &CustomerId) -> Result<Vec<AttemptLine>, DbError> {
    let rows = tx
        .query(
            "select plan, state, created_at from checkout_attempts \
             where customer_id = $1 and state in ('opening', 'open', 'paying') order by id desc",
        )
        .bind(customer_id)
        .all()
        .await?;
    rows.iter()
        .map(|row| {
            Ok(AttemptLine {
                plan: PlanCode::new(row.get::<String>("plan")?),
                state: row.get("state")?,
                created_at: row.get("created_at")?,
            })
        })
        .collect()
}

/// Takes out of the customer's attempts what they were made with. That they were made stays.
pub async fn erase(tx: &mut Tx, customer_id: &CustomerId) -> Result<(), DbError> {
    tx.query(
        "update checkout_attempts set success_url = '', cancel_url = '', frozen_params = '', url = null \
         where customer_id = $1",
    )
    .bind(customer_id)
    .execute()
    .await?;
    Ok(())
}
