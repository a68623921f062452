//! Rows of the inbox as an operator sees them, and putting one back into the queue.

use counterfoil_core::{CustomerId, Timestamp};

use crate::db::{DbError, Row, Tx};

/// Where an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventState {
    /// It waits to be worked off.
    Pending,
    /// The state that it spoke of is in the book.
    Processed,
    /// It is not about us.
    Ignored,
    /// It was given up.
    Dead,
}

impl EventState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Processed, Self::Ignored, Self::Dead];

    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processed => "processed",
            Self::Ignored => "ignored",
            Self::Dead => "dead",
        }
    }

    /// The state that this word means.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// An event as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Rises with every row.
    pub number: i64,
    pub event_id: String,
    pub event_type: String,
    /// `webhook` or `sweep`.
    pub source: String,
    pub state: EventState,
    pub ignored_because: Option<String>,
    pub customer_id: Option<CustomerId>,
    pub external_customer: Option<String>,
    pub attempts: i64,
    /// `transient` or `permanent`, of the newest error.
    pub failure: Option<String>,
    pub last_error: Option<String>,
    pub received_at: Timestamp,
    pub run_at: Timestamp,
    pub processed_at: Option<Timestamp>,
}

fn stored_from_row(row: &Row) -> Result<StoredEvent, DbError> {
    let state: String = row.get("state")?;
    Ok(StoredEvent {
        number: row.get("id")?,
        event_id: row.get("event_id")?,
        event_type: row.get("event_type")?,
        source: row.get("source")?,
        state: EventState::parse(&state).ok_or_else(|| DbError::other("an event is in an unknown state"))?,
        ignored_because: row.get("ignored_because")?,
        customer_id: row.parse_optional("customer_id")?,
        external_customer: row.get("external_customer")?,
        attempts: row.get("attempts")?,
        failure: row.get("failure")?,
        last_error: row.get("last_error")?,
        received_at: row.get("received_at")?,
        run_at: row.get("run_at")?,
        processed_at: row.get("processed_at")?,
    })
}

/// Events before a number, newest first.
pub async fn list(
    tx: &mut Tx,
    state: Option<EventState>,
    customer_id: Option<&CustomerId>,
    before: i64,
    limit: i64,
) -> Result<Vec<StoredEvent>, DbError> {
    let rows = tx
        .query(
            "select id, event_id, event_type, source, state, ignored_because, customer_id, external_customer, attempts, failure, \
             last_error, received_at, run_at, processed_at from webhook_inbox where id < $1 \
             and ($2 = '' or state = $2) and ($3 = '' or customer_id = $3) order by id desc limit $4",
        )
        .bind(before)
        .bind(state.map_or("", EventState::word))
        .bind(customer_id.map_or("", CustomerId::as_str))
        .bind(limit)
        .all()
        .await?;
    rows.iter().map(stored_from_row).collect()
}

/// One event by the provider's id, with what was sent.
pub async fn find(tx: &mut Tx, event_id: &str) -> Result<Option<(StoredEvent, Vec<u8>)>, DbError> {
    let row = tx
        .query(
            "select id, event_id, event_type, source, state, ignored_because, customer_id, external_customer, attempts, failure, \
             last_error, received_at, run_at, processed_at, body from webhook_inbox where event_id = $1 \
             order by id desc limit 1",
        )
        .bind(event_id)
        .optional()
        .await?;
    row.map(|row| Ok((stored_from_row(&row)?, row.get("body")?))).transpose()
}

/// Puts an event back into the queue, as if it had just come.
pub async fn replay(tx: &mut Tx, number: i64, now: Timestamp) -> Result<(), DbError> {
    tx.query(
        "update webhook_inbox set state = 'pending', attempts = 0, run_at = $2, ignored_because = null, last_error = null, \
         failure = null, seen_by_fence = null, processed_at = null where id = $1",
    )
    .bind(number)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// Takes the bodies out of the events about this customer that are done, also of those that were never more than stored: they
/// hold what the provider knows of a person, and nobody reads them again.
pub async fn erase_bodies(tx: &mut Tx, customer_id: &CustomerId) -> Result<u64, DbError> {
    let nothing: &[u8] = &[];
    tx.query(
        "update webhook_inbox set body = $2 where state <> 'pending' and (customer_id = $1 or external_customer in \
         (select external_id from billing_links where customer_id = $1))",
    )
    .bind(customer_id)
    .bind(nothing)
    .execute()
    .await
}

/// Finishes an event about a deleted customer: there is nothing to do about it, and its body is not kept.
pub async fn finish_for_deleted(tx: &mut Tx, id: i64, now: Timestamp) -> Result<(), DbError> {
    let nothing: &[u8] = &[];
    tx.query(
        "update webhook_inbox set state = 'ignored', ignored_because = 'customer_deleted', processed_at = $2, body = $3, \
         last_error = null, failure = null where id = $1 and state = 'pending'",
    )
    .bind(id)
    .bind(now)
    .bind(nothing)
    .execute()
    .await?;
    Ok(())
}

/// Deletes what was finished before this among so many of the oldest finished events. What waits and what was given up stays.
pub async fn delete_finished(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, DbError> {
    tx.query(
        "delete from webhook_inbox where id in (select id from webhook_inbox where id in \
         (select id from webhook_inbox where state in ('processed', 'ignored') order by id limit $2) \
         and processed_at < $1 /* for update skip locked */)",
    )
    .bind(before)
    .bind(limit)
    .execute()
    .await
}

/// Makes due now what waits for longer than until `latest`.
pub async fn bring_forward(tx: &mut Tx, latest: Timestamp, now: Timestamp) -> Result<u64, DbError> {
    tx.query(
        "update webhook_inbox set run_at = $2 where id in \
         (select id from webhook_inbox where state = 'pending' and run_at > $1 /* for update skip locked */)",
    )
    .bind(latest)
    .bind(now)
    .execute()
    .await
}

/// An event as operators read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLine {
    pub event_id: String,
    pub event_type: String,
    pub state: String,
    pub attempts: i64,
    pub run_at: Timestamp,
    pub last_error: Option<String>,
    pub received_at: Timestamp,
    pub processed_at: Option<Timestamp>,
    /// Whether it is known whose it is.
    pub is_matched: bool,
}

/// The newest events of a customer, with those that name it and are matched to nobody.
pub async fn list_about(tx: &mut Tx, customer_id: &CustomerId, limit: i64) -> Result<Vec<EventLine>, DbError> {
    let rows = tx
        .query(
            "select event_id, event_type, state, attempts, run_at, last_error, received_at, processed_at, customer_id \
             from webhook_inbox where customer_id = $1 or (customer_id is null and state in ('pending', 'dead') and \
             (claimed_customer = $1 or external_customer in (select external_id from billing_links where customer_id = $1))) \
             order by id desc limit $2",
        )
        .bind(customer_id)
        .bind(limit)
        .all()
        .await?;
    rows.iter()
        .map(|row| {
            Ok(EventLine {
                event_id: row.get("event_id")?,
                event_type: row.get("event_type")?,
                state: row.get("state")?,
                attempts: row.get("attempts")?,
                run_at: row.get("run_at")?,
                last_error: row.get("last_error")?,
                received_at: row.get("received_at")?,
                processed_at: row.get("processed_at")?,
                is_matched: row.get::<Option<String>>("customer_id")?.is_some(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_asked_for_by_the_word_that_is_stored() {
        let words = ["pending", "processed", "ignored", "dead"];
        assert_eq!(EventState::ALL.map(EventState::word), words);
        assert_eq!(words.map(EventState::parse), EventState::ALL.map(Some));
        assert_eq!(EventState::parse("lost"), None);
    }
}
