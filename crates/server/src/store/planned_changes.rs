//! Planned changes of the plan: at most one a customer, a copy of what the provider has planned.

use counterfoil_core::plan_change::PlannedChange;
use counterfoil_core::{CustomerId, PlanCode};

use crate::db::{DbError, Row, Tx};

fn from_row(row: &Row) -> Result<PlannedChange, DbError> {
    let interval = super::interval(row, "billing_interval")?;
    Ok(PlannedChange {
        plan: PlanCode::new(row.get::<String>("plan")?),
        interval: interval.ok_or_else(|| DbError::other("a planned change without an interval".to_owned()))?,
        starts_at: row.get("starts_at")?,
    })
}

/// Writes what is planned now, or that nothing is.
pub async fn replace(tx: &mut Tx, customer_id: &CustomerId, planned: Option<&PlannedChange>) -> Result<(), DbError> {
    let Some(planned) = planned else {
        tx.query("delete from planned_changes where customer_id = $1").bind(customer_id).execute().await?;
        return Ok(());
    };
    tx.query(
        "insert into planned_changes (customer_id, plan, billing_interval, starts_at) values ($1, $2, $3, $4) \
         on conflict (customer_id) do update set plan = excluded.plan, billing_interval = excluded.billing_interval, \
         starts_at = excluded.starts_at",
    )
    .bind(customer_id)
    .bind(planned.plan.clone())
    .bind(planned.interval)
    .bind(planned.starts_at)
    .execute()
    .await?;
    Ok(())
}

/// What is planned for this customer.
pub async fn find(tx: &mut Tx, customer_id: &CustomerId) -> Result<Option<PlannedChange>, DbError> {
    tx.query("select plan, billing_interval, starts_at from planned_changes where customer_id = $1")
        .bind(customer_id)
        .optional()
        .await?
        .as_ref()
        .map(from_row)
        .transpose()
}
