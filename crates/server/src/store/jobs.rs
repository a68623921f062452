//! Rows of the outbox as an operator sees them, and what an operator may do with them.

use counterfoil_core::{CustomerId, EffectId, Timestamp};

use crate::db::{DbError, Row, Tx};

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It waits to be done.
    Pending,
    /// It is done.
    Sent,
    /// It was given up.
    Dead,
    /// An operator has given it up for good.
    Discarded,
}

impl JobState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Sent, Self::Dead, Self::Discarded];

    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Dead => "dead",
            Self::Discarded => "discarded",
        }
    }

    /// The state that this word means.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// A row of the outbox as an operator sees it: without the text, which holds a licence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Rises with every row.
    pub number: i64,
    pub job_id: EffectId,
    pub kind: String,
    /// What it is for: the same thing is owed once.
    pub purpose: String,
    pub state: JobState,
    pub customer_id: Option<CustomerId>,
    pub attempts: i64,
    /// `transient` or `permanent`, of the newest error.
    pub failure: Option<String>,
    pub last_error: Option<String>,
    pub created_at: Timestamp,
    pub run_at: Timestamp,
    pub done_at: Option<Timestamp>,
}

fn job_from_row(row: &Row) -> Result<Job, DbError> {
    let state: String = row.get("state")?;
    Ok(Job {
        number: row.get("id")?,
        job_id: row.parse("effect_id")?,
        kind: row.get("kind")?,
        purpose: row.get("dedupe_key")?,
        state: JobState::parse(&state).ok_or_else(|| DbError::other("a job is in an unknown state"))?,
        customer_id: row.parse_optional("customer_id")?,
        attempts: row.get("attempts")?,
        failure: row.get("failure")?,
        last_error: row.get("last_error")?,
        created_at: row.get("created_at")?,
        run_at: row.get("run_at")?,
        done_at: row.get("sent_at")?,
    })
}

/// Jobs before a number, newest first.
pub async fn list(
    tx: &mut Tx,
    state: Option<JobState>,
    customer_id: Option<&CustomerId>,
    before: i64,
    limit: i64,
) -> Result<Vec<Job>, DbError> {
    let rows = tx
        .query(
            "select id, effect_id, kind, dedupe_key, state, customer_id, attempts, failure, last_error, created_at, run_at, \
             sent_at from outbox where id < $1 and ($2 = '' or state = $2) and ($3 = '' or customer_id = $3) \
             order by id desc limit $4",
        )
        .bind(before)
        .bind(state.map_or("", JobState::word))
        .bind(customer_id.map_or("", CustomerId::as_str))
        .bind(limit)
        .all()
        .await?;
    rows.iter().map(job_from_row).collect()
}

/// One job.
pub async fn find(tx: &mut Tx, job_id: &EffectId) -> Result<Option<Job>, DbError> {
    tx.query(
        "select id, effect_id, kind, dedupe_key, state, customer_id, attempts, failure, last_error, created_at, run_at, \
         sent_at from outbox where effect_id = $1",
    )
    .bind(job_id)
    .optional()
    .await?
    .as_ref()
    .map(job_from_row)
    .transpose()
}

/// Lets a job that waits or was given up be done at once. False where it is over.
pub async fn retry(tx: &mut Tx, job_id: &EffectId, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "update outbox set state = 'pending', attempts = 0, run_at = $2 \
             where effect_id = $1 and state in ('pending', 'dead')",
        )
        .bind(job_id)
        .bind(now)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Gives a job up for good, and forgets what is to be forgotten once it is sent. False where it is over already.
pub async fn discard(tx: &mut Tx, job_id: &EffectId) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "update outbox set state = 'discarded', recipient = case when forget_when_sent then '' else recipient end, \
             body_text = case when forget_when_sent then '' else body_text end \
             where effect_id = $1 and state in ('pending', 'dead')",
        )
        .bind(job_id)
        .execute()
        .await?;
    Ok(changed == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_asked_for_by_the_word_that_is_stored() {
        let words = ["pending", "sent", "dead", "discarded"];
        assert_eq!(JobState::ALL.map(JobState::word), words);
        assert_eq!(words.map(JobState::parse), JobState::ALL.map(Some));
        assert_eq!(JobState::parse("lost"), None);
    }
}
