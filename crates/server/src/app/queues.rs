//! The two queues as an operator sees them: events of the inbox, and jobs of the outbox, most of them mails.
//!
//! Nothing here can do harm. To replay an event says "look again" and applies no word of it; a mail that has left is never sent
//! again; and what is discarded stays to be seen, with who did it and why in the audit log.

use counterfoil_core::{CustomerId, EffectId, Refusal};

use super::operators::By;
use super::{App, Error};
use crate::store;
use crate::store::events::{EventState, StoredEvent};
use crate::store::jobs::{Job, JobState};

/// The most rows of one page.
pub const PAGE_MAX: i64 = 200;

/// How long a finished event is kept, to be read and replayed. The provider's own log ends after thirty days, and nothing is
/// delivered again that is older.
const EVENTS_KEPT_DAYS: i64 = 90;

/// How many of the oldest finished events are looked at in one round.
const EVENTS_FORGOTTEN_AT_ONCE: i64 = 1_000;

/// Nothing is put off for longer than this, except by a server whose clock is wrong.
const PUT_OFF_SECONDS_MAX: i64 = 3 * 3_600;

/// Which rows of a queue.
#[derive(Clone, Debug)]
pub struct Wanted<S> {
    pub state: Option<S>,
    pub customer_id: Option<CustomerId>,
    /// Rows before this one, by the number that the page before ended with.
    pub before: Option<i64>,
    pub limit: i64,
}

impl<S> Wanted<S> {
    fn bounds(&self) -> (i64, i64) {
        (self.before.unwrap_or(i64::MAX), self.limit.clamp(1, PAGE_MAX))
    }
}

/// One page, newest first.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    pub rows: Vec<T>,
    /// What to give as `before` for the next page; `None` on the last one.
    pub next: Option<i64>,
}

impl<T> Listed<T> {
    /// `rows` may hold one more than the page: then there is a next one.
    fn cut(mut rows: Vec<T>, limit: i64, number: impl Fn(&T) -> i64) -> Self {
        let limit = usize::try_from(limit).expect("a page has between 1 and 200 rows");
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(number) } else { None };
        Self { rows, next }
    }
}

impl App {
    /// Forgets events that were finished long ago: they hold what the provider knows of people.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn forget_old_events(&self) -> Result<u64, Error> {
        let before = self.now().plus_days(-EVENTS_KEPT_DAYS);
        let mut tx = self.db.begin().await?;
        let removed = store::events::delete_finished(&mut tx, before, EVENTS_FORGOTTEN_AT_ONCE).await?;
        tx.commit().await?;
        Ok(removed)
    }

    /// Makes due what a server put off for too long because its clock was ahead. Answers how many rows that were.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn bring_forward(&self) -> Result<u64, Error> {
        let now = self.now();
        let latest = now.plus_seconds(PUT_OFF_SECONDS_MAX);
        let mut tx = self.db.begin().await?;
        let events = store::events::bring_forward(&mut tx, latest, now).await?;
        let mails = store::outbox::bring_forward(&mut tx, latest, now).await?;
        tx.commit().await?;
        let brought = events + mails;
        if brought > 0 {
            tracing::warn!(events, mails, "what a wrong clock had put off for long is due now");
        }
        Ok(brought)
    }

    /// Events, newest first.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn list_events(&self, wanted: &Wanted<EventState>) -> Result<Listed<StoredEvent>, Error> {
        let (before, limit) = wanted.bounds();
        let mut tx = self.db.begin_read().await?;
        let customer = wanted.customer_id.as_ref();
        let rows = store::events::list(&mut tx, wanted.state, customer, before, limit + 1).await?;
        tx.rollback().await?;
        Ok(Listed::cut(rows, limit, |event| event.number))
    }

    /// One event, and what was sent.
    ///
    /// # Errors
    /// [`Refusal::EventUnknown`], or failures.
    pub async fn find_event(&self, event_id: &str) -> Result<(StoredEvent, Vec<u8>), Error> {
        let mut tx = self.db.begin_read().await?;
        let found = store::events::find(&mut tx, event_id).await?;
        tx.rollback().await?;
        Ok(found.ok_or(Refusal::EventUnknown)?)
    }

    /// Puts an event back into the queue, whatever became of it: its customer is looked at again.
    ///
    /// # Errors
    /// [`Refusal::EventUnknown`], or failures.
    pub async fn replay_event(&self, event_id: &str, by: &By) -> Result<StoredEvent, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let (event, _body) = store::events::find(&mut tx, event_id).await?.ok_or(Refusal::EventUnknown)?;
        store::events::replay(&mut tx, event.number, now).await?;
        let told = format!("{} {}, which was {}", event.event_type, event.event_id, event.state.word());
        store::audit::insert_by(&mut tx, by.entry(), "event_replayed", event.customer_id.as_ref(), &told, now).await?;
        tx.commit().await?;
        self.signals.inbox.notify_one();
        Ok(StoredEvent { state: EventState::Pending, attempts: 0, ignored_because: None, last_error: None, ..event })
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn list_jobs(&self, wanted: &Wanted<JobState>) -> Result<Listed<Job>, Error> {
        let (before, limit) = wanted.bounds();
        let mut tx = self.db.begin_read().await?;
        let customer = wanted.customer_id.as_ref();
        let rows = store::jobs::list(&mut tx, wanted.state, customer, before, limit + 1).await?;
        tx.rollback().await?;
        Ok(Listed::cut(rows, limit, |job| job.number))
    }

    /// Does a job now that waits or was given up.
    ///
    /// # Errors
    /// [`Refusal::JobUnknown`]; [`Refusal::JobDone`] where it is done or was discarded; or failures.
    pub async fn retry_job(&self, job_id: &EffectId, by: &By) -> Result<Job, Error> {
        let job = self.settle_job(job_id, by, "job_retried", JobState::Pending).await?;
        self.signals.outbox.notify_one();
        Ok(job)
    }

    /// Gives a job up for good.
    ///
    /// # Errors
    /// As [`App::retry_job`].
    pub async fn discard_job(&self, job_id: &EffectId, by: &By) -> Result<Job, Error> {
        self.settle_job(job_id, by, "job_discarded", JobState::Discarded).await
    }

    async fn settle_job(&self, job_id: &EffectId, by: &By, action: &str, state: JobState) -> Result<Job, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let job = store::jobs::find(&mut tx, job_id).await?.ok_or(Refusal::JobUnknown)?;
        let changed = match state {
            JobState::Discarded => store::jobs::discard(&mut tx, job_id).await?,
            JobState::Pending | JobState::Sent | JobState::Dead => store::jobs::retry(&mut tx, job_id, now).await?,
        };
        if !changed {
            return Err(Refusal::JobDone { state: job.state.word() }.into());
        }
        let told = format!("{} {}, which was {}", job.kind, job.job_id, job.state.word());
        store::audit::insert_by(&mut tx, by.entry(), action, job.customer_id.as_ref(), &told, now).await?;
        tx.commit().await?;
        Ok(Job { state, ..job })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_the_next_one_begins() {
        let page = |rows: Vec<i64>| {
            let page = Listed::cut(rows, 2, |row| *row);
            (page.rows, page.next)
        };
        assert_eq!(page(vec![9, 7, 5]), (vec![9, 7], Some(7)));
        assert_eq!(page(vec![9, 7]), (vec![9, 7], None));
        assert_eq!(page(vec![]), (vec![], None));
    }
}
