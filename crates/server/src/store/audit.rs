//! The audit log: what was done to a customer, by whom and why. Rows are only ever added.

use counterfoil_core::{CustomerId, Timestamp};

use super::batch::Batch;
use crate::db::{DbError, Tx};

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The customer.
    Customer,
    /// A look at the provider.
    Sync,
    /// The payment provider, in a request of its own.
    Provider,
    /// A sweep, which found what nobody had told.
    Sweep,
}

impl Actor {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Sync => "sync",
            Self::Provider => "provider",
            Self::Sweep => "sweep",
        }
    }
}

/// One line of a customer's history.
#[derive(Clone, Debug)]
pub struct Entry {
    pub at: Timestamp,
    pub actor: String,
    pub action: String,
    pub detail: String,
    /// Why an operator did it.
    pub reason: Option<String>,
}

impl Entry {
    /// The line as people read it: when, what, by whom, and why where an operator did it.
    #[must_use]
    pub fn in_words(&self) -> String {
        let told = [self.action.as_str(), self.detail.as_str()].join(" ");
        let why = self.reason.as_ref().map(|reason| format!(", because: {reason}")).unwrap_or_default();
        format!("{}: {} by {}{why}", self.at.date_time_in_words(), told.trim(), self.actor)
    }
}

/// Adds a line. `detail` is a short sentence without secrets or addresses.
pub async fn insert(
    tx: &mut Tx,
    actor: Actor,
    action: &str,
    customer_id: Option<&CustomerId>,
    detail: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query("insert into audit_log (at, actor, action, customer_id, detail) values ($1, $2, $3, $4, $5)")
        .bind(now)
        .bind(actor.as_str())
        .bind(action)
        .bind(customer_id)
        .bind(detail)
        .execute()
        .await?;
    Ok(())
}

static INSERT: Batch =
    Batch::adding("insert into audit_log (at, actor, action, customer_id, detail) values {($1, $2, @1, @2, @3)}");

/// What was done to a customer: the action and its detail.
pub type Line<'a> = (&'a str, &'a CustomerId, String);

/// Adds lines about several customers.
pub async fn insert_all(tx: &mut Tx, actor: Actor, lines: &[Line<'_>], now: Timestamp) -> Result<(), DbError> {
    INSERT
        .execute(
            tx,
            lines,
            |query| query.bind(now).bind(actor.as_str()),
            |query, (action, customer_id, detail)| query.bind(*action).bind(*customer_id).bind(detail),
        )
        .await?;
    Ok(())
}

/// Adds a line about what an operator did.
pub async fn insert_by(
    tx: &mut Tx,
    by: (&str, &str),
    action: &str,
    customer_id: Option<&CustomerId>,
    detail: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let (actor, reason) = by;
    tx.query("insert into audit_log (at, actor, action, customer_id, detail, reason) values ($1, $2, $3, $4, $5, $6)")
        .bind(now)
        .bind(actor)
        .bind(action)
        .bind(customer_id)
        .bind(detail)
        .bind(reason)
        .execute()
        .await?;
    Ok(())
}

/// The newest lines of a customer.
pub async fn list(tx: &mut Tx, customer_id: &CustomerId, limit: i64) -> Result<Vec<Entry>, DbError> {
    let rows = tx
        .query(
            "select at, actor, action, detail, reason from audit_log where customer_id = $1 order by id desc limit $2",
        )
        .bind(customer_id)
        .bind(limit)
        .all()
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Entry {
                at: row.get("at")?,
                actor: row.get("actor")?,
                action: row.get("action")?,
                detail: row.get("detail")?,
                reason: row.get("reason")?,
            })
        })
        .collect()
}

/// Whether the history of the customer has this very line.
pub async fn is_noted(tx: &mut Tx, customer_id: &CustomerId, action: &str, detail: &str) -> Result<bool, DbError> {
    let row = tx
        .query("select id from audit_log where customer_id = $1 and action = $2 and detail = $3 limit 1")
        .bind(customer_id)
        .bind(action)
        .bind(detail)
        .optional()
        .await?;
    Ok(row.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_what_by_whom_and_why() {
        let entry = Entry {
            at: Timestamp::from_unix_seconds(1_790_000_000),
            actor: "customer".to_owned(),
            action: "signed_up".to_owned(),
            detail: String::new(),
            reason: None,
        };
        assert_eq!(entry.in_words(), "21 September 2026, 14:13 UTC: signed_up by customer");
        let by_operator = Entry {
            actor: "cli:ann".to_owned(),
            action: "trial_extended".to_owned(),
            detail: "by 14 days".to_owned(),
            reason: Some("asked by phone".to_owned()),
            ..entry
        };
        assert_eq!(
            by_operator.in_words(),
            "21 September 2026, 14:13 UTC: trial_extended by 14 days by cli:ann, because: asked by phone"
        );
    }
}
