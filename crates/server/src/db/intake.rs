//! What has to be taken in while everything else waits: rows that a sender would otherwise have to send again.
//!
//! On PostgreSQL there are connections that nothing else uses, and a task for each that is busy. Whoever comes while all of them are
//! waits, and those who wait go together, as one statement with one commit. Nobody is answered before the commit that holds its row.
//! On SQLite one writer serves everybody in order, and does the same ([`super::writer`]).

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::PgPool;
use tokio::sync::oneshot;

use super::error::DbError;
use super::passage::{self, Step};
use super::query::{self, Query};
use super::value::Value;
use super::{Db, Pools, group};

/// Connections that only take in. Two keep the log's sync busy while the next rows are on their way.
pub(super) const CONNECTIONS: u32 = 2;

/// A statement that adds a row unless there is one with its key.
#[derive(Debug)]
pub struct Adding {
    /// For one row.
    pub one: &'static str,
    /// For as many rows as it has room for, but no more than these: how many that is, and the text. It answers the keys of the rows that
    /// were added.
    pub many: fn(usize) -> (usize, &'static str),
    /// The columns of the key. They are text, and the first values of a row.
    pub key: &'static [&'static str],
}

/// Who waits to be taken in, and how many tasks are at it.
pub(super) struct Intake {
    pub(super) pool: PgPool,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    at_work: u32,
}

struct Waiting {
    adding: &'static Adding,
    values: Vec<Value>,
    done: oneshot::Sender<Result<bool, DbError>>,
}

impl Intake {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, queue: Mutex::default() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts somebody in the queue. True where a task has to begin.
    fn push(&self, waiting: Waiting) -> bool {
        let mut queue = self.queue();
        queue.waiting.push_back(waiting);
        let begins = queue.at_work < CONNECTIONS;
        queue.at_work += u32::from(begins);
        begins
    }

    /// Those who go next, all with the same statement, and its text. `None` where nobody waits: the task is over then.
    fn next(&self) -> Option<(&'static str, Vec<Waiting>)> {
        let mut queue = self.queue();
        queue.waiting.retain(|waiting| !waiting.done.is_closed());
        let Some(first) = queue.waiting.front() else {
            queue.at_work -= 1;
            return None;
        };
        let adding = first.adding;
        let alike = queue.waiting.iter().take_while(|waiting| std::ptr::eq(waiting.adding, adding)).count();
        let (size, sql) = (adding.many)(alike);
        Some((sql, queue.waiting.drain(..size.clamp(1, alike)).collect()))
    }
}

/// Counts a task that broke off, so that another one begins in its place.
struct AtWork<'i>(Option<&'i Intake>);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if let Some(intake) = self.0 {
            intake.queue().at_work -= 1;
        }
    }
}

impl Db {
    /// Adds a row unless there is one with its key, and says whether it did. It lasts when this returns.
    ///
    /// # Errors
    /// See [`DbError`]. The row may have been added also where the answer got lost.
    pub async fn take_in(&self, adding: &'static Adding, values: Vec<Value>) -> Result<bool, DbError> {
        let way_back = passage::before(Step::Write).await?;
        let added = self.inner.noted(passage::drive(self.take_in_now(adding, values)).await)?;
        way_back.arrive().await?;
        Ok(added)
    }

    async fn take_in_now(&self, adding: &'static Adding, values: Vec<Value>) -> Result<bool, DbError> {
        let (Pools::Postgres(_), Some(intake)) = (query::writing(self)?, &self.inner.intake) else {
            return Ok(Box::pin(Query::with(self, adding.one, values).execute_now()).await? == 1);
        };
        let (done, outcome) = oneshot::channel();
        if intake.push(Waiting { adding, values, done }) {
            let db = self.clone();
            tokio::spawn(async move {
                if let Some(intake) = &db.inner.intake {
                    db.serve(intake).await;
                }
            });
        }
        outcome.await.unwrap_or_else(|_| Err(group::ended()))
    }

    /// Takes in until nobody waits.
    async fn serve(&self, intake: &Intake) {
        let mut at_work = AtWork(Some(intake));
        while let Some((sql, waiting)) = intake.next() {
            self.add_together(intake, sql, waiting).await;
        }
        at_work.0 = None;
    }

    async fn add_together(&self, intake: &Intake, sql: &'static str, waiting: Vec<Waiting>) {
        let Some(adding) = waiting.first().map(|first| first.adding) else { return };
        let rows: Vec<Vec<Value>> = waiting.iter().map(|waiting| waiting.values.clone()).collect();
        let added = self.add(intake, adding, sql, rows).await;
        match added {
            Ok(added) => {
                for (waiting, added) in waiting.into_iter().zip(added) {
                    // Who does not wait any more does not hear it.
                    let _ = waiting.done.send(Ok(added));
                }
            }
            // One of them is at fault, and the others are not to suffer from it.
            Err(error) if waiting.len() > 1 && !error.is_unavailable() => {
                for Waiting { values, done, .. } in waiting {
                    let (_, sql) = (adding.many)(1);
                    let alone = self.add(intake, adding, sql, vec![values]).await;
                    let _ = done.send(alone.map(|added| added.contains(&true)));
                }
            }
            Err(error) => {
                for waiting in waiting {
                    let _ = waiting.done.send(Err(error.clone()));
                }
            }
        }
    }

    /// For each row whether it was added. Of two with the same key the first one was.
    async fn add(
        &self,
        intake: &Intake,
        adding: &Adding,
        sql: &'static str,
        rows: Vec<Vec<Value>>,
    ) -> Result<Vec<bool>, DbError> {
        let keys: Vec<Vec<String>> = rows.iter().map(|row| key_of(&row[..adding.key.len()])).collect();
        let answered = query::rows_on(self, &intake.pool, sql, rows.into_iter().flatten().collect()).await?;
        let key =
            |row: &super::Row| adding.key.iter().map(|column| row.get(column)).collect::<Result<Vec<String>, _>>();
        let mut added = answered.iter().map(key).collect::<Result<BTreeSet<_>, _>>()?;
        Ok(keys.into_iter().map(|key| added.remove(&key)).collect())
    }
}

fn key_of(values: &[Value]) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::Text(Some(text)) => text.clone(),
        Value::Text(None) | Value::Int(_) | Value::Bool(_) | Value::Time(_) | Value::Bytes(_) => String::new(),
    };
    values.iter().map(text).collect()
}
