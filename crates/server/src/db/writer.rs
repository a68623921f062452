//! The one connection that writes to a SQLite file, and the queue of those who want it.
//!
//! A commit waits for the disk, and the disk takes as long for sixty-four transactions as for one. So whoever is done while others
//! wait does not commit at once: the connection goes on to the next, who works in the same transaction of the engine behind a
//! savepoint of its own, and one commit makes all of them last. How a group grows and ends is in [`super::group`].
//!
//! What this keeps true:
//! - Nobody hears of success before the commit that contains the work has succeeded.
//! - Nobody waits for somebody who may never come: where nobody stands in the queue, the commit follows at once.
//! - First come, first served.
//! - Whoever gives up, in whatever moment, takes only the own work back. A task cleans up behind a holder that was dropped.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteConnectOptions;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::beside::Beside;
use super::error::DbError;
use super::group::{self, Next, Session};
use super::value::Value;

/// How long one waits for the connection before the request is answered with "try again".
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The writing connection of one handle; clones of the handle share it.
pub(super) struct Writer {
    queue: Arc<Queue>,
}

/// What was made to last, and how often the disk was waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitCounts {
    /// Commits of the engine.
    pub commits: u64,
    /// Transactions and single statements that they made last.
    pub members: u64,
}

pub(super) struct Queue {
    pub(super) options: SqliteConnectOptions,
    state: Mutex<State>,
    commits: AtomicU64,
    members: AtomicU64,
}

pub(super) struct State {
    /// The connection, while nobody has it. Then nobody waits either.
    pub(super) idle: Option<Box<Session>>,
    pub(super) waiting: VecDeque<Waiting>,
    is_closed: bool,
}

/// Who stands in the queue.
pub(super) enum Waiting {
    /// A transaction that wants the connection.
    Turn(oneshot::Sender<Lease>),
    /// A statement that anybody may execute for its owner.
    Write(Write),
}

/// A statement outside a transaction, and who waits for the number of rows that it changed.
pub(super) struct Write {
    pub(super) sql: &'static str,
    pub(super) values: Vec<Value>,
    pub(super) done: oneshot::Sender<Result<u64, DbError>>,
}

impl Queue {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No code that could panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn nobody_waits(&self) -> bool {
        self.state().waiting.is_empty()
    }

    pub(super) fn count(&self, members: usize) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.members.fetch_add(members as u64, Ordering::Relaxed);
    }
}

impl Writer {
    pub(super) async fn open(options: SqliteConnectOptions, beside: Option<Beside>) -> Result<Self, DbError> {
        let idle = Some(Session::open(&options, beside).await?);
        let state = Mutex::new(State { idle, waiting: VecDeque::new(), is_closed: false });
        let (commits, members) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { queue: Arc::new(Queue { options, state, commits, members }) })
    }

    /// Begins a transaction, alone or as the next of a group.
    pub(super) async fn begin(&self) -> Result<Lease, DbError> {
        let mut lease = in_time(self.turn(false)?).await?;
        lease.stage = Stage::Working;
        let queue = Arc::clone(&lease.queue);
        lease.session()?.enter(&queue.options).await?;
        Ok(lease)
    }

    /// Begins a transaction that belongs to no group, and in which the driver may begin transactions of its own.
    pub(super) async fn begin_alone(&self) -> Result<Lease, DbError> {
        let mut lease = self.turn_alone().await?;
        lease.stage = Stage::Working;
        lease.session()?.enter_counted().await?;
        Ok(lease)
    }

    /// The connection with nothing open on it.
    pub(super) async fn turn_alone(&self) -> Result<Lease, DbError> {
        let mut lease = in_time(self.turn(false)?).await?;
        lease.settle().await?;
        Ok(lease)
    }

    /// Executes a statement that stands alone, and returns when it is on the disk.
    pub(super) async fn execute(&self, sql: &'static str, values: Vec<Value>) -> Result<u64, DbError> {
        let (mut lease, values) = match self.turn_to_write(sql, values)? {
            Turn::Now(turn) => turn,
            Turn::Later(outcome) => return in_time(Turn::Later(outcome)).await?,
        };
        lease.stage = Stage::Working;
        let queue = Arc::clone(&lease.queue);
        let changed = lease.session()?.write_alone(&queue, sql, values).await?;
        lease.pass_on();
        Ok(changed)
    }

    /// The connection where it is free; otherwise the statement stands in the queue for its owner.
    fn turn_to_write(&self, sql: &'static str, values: Vec<Value>) -> Result<TurnToWrite, DbError> {
        let mut state = self.queue.open_state()?;
        Ok(match state.idle.take() {
            Some(session) => Turn::Now((Lease::new(&self.queue, session), values)),
            None => {
                let (done, outcome) = oneshot::channel();
                state.waiting.push_back(Waiting::Write(Write { sql, values, done }));
                Turn::Later(outcome)
            }
        })
    }

    pub(super) fn counts(&self) -> CommitCounts {
        CommitCounts {
            commits: self.queue.commits.load(Ordering::Relaxed),
            members: self.queue.members.load(Ordering::Relaxed),
        }
    }

    /// How many stand in the queue, those included who have gone away.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue.state().waiting.len()
    }

    /// Waits for the connection to come back, and closes it.
    pub(super) async fn close(&self) {
        let lease = match self.turn(true) {
            Ok(Turn::Now(lease)) => Some(lease),
            Ok(Turn::Later(waiting)) => waiting.await.ok(),
            Err(_) => None,
        };
        let Some(mut lease) = lease else { return };
        // What could not be settled was answered with an error.
        let _ = lease.settle().await;
        if let Some(session) = lease.session.take() {
            session.close().await;
        }
    }

    /// A place in the queue; the last one, where it closes behind it.
    fn turn(&self, closes: bool) -> Result<Turn<Lease>, DbError> {
        let mut state = self.queue.open_state()?;
        state.is_closed = closes;
        Ok(match state.idle.take() {
            Some(session) => Turn::Now(Lease::new(&self.queue, session)),
            None => {
                let (sender, receiver) = oneshot::channel();
                state.waiting.push_back(Waiting::Turn(sender));
                Turn::Later(receiver)
            }
        })
    }
}

impl Queue {
    fn open_state(&self) -> Result<MutexGuard<'_, State>, DbError> {
        let state = self.state();
        if state.is_closed { Err(sqlx::Error::PoolClosed.into()) } else { Ok(state) }
    }
}

/// The connection together with the values that were to be written, or what came of the statement.
type TurnToWrite = Turn<(Lease, Vec<Value>), Result<u64, DbError>>;

enum Turn<T, L = T> {
    Now(T),
    Later(oneshot::Receiver<L>),
}

async fn in_time<T>(turn: Turn<T>) -> Result<T, DbError> {
    match turn {
        Turn::Now(turn) => Ok(turn),
        Turn::Later(waiting) => match tokio::time::timeout(WAIT_MAX, waiting).await {
            Ok(turn) => turn.map_err(|_| group::ended()),
            Err(_) => Err(sqlx::Error::PoolTimedOut.into()),
        },
    }
}

/// The connection in the hands of one who works with it. Dropping it undoes the own work and gives the connection away.
pub(super) struct Lease {
    pub(super) queue: Arc<Queue>,
    /// `None` once it was given away.
    pub(super) session: Option<Box<Session>>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing of its own was begun.
    Fresh,
    /// There is something to undo, or a statement under way.
    Working,
    /// Between two holders, in a task that nobody cancels.
    Between,
}

impl Lease {
    pub(super) fn new(queue: &Arc<Queue>, session: Box<Session>) -> Self {
        Self { queue: Arc::clone(queue), session: Some(session), stage: Stage::Fresh }
    }

    pub(super) fn session(&mut self) -> Result<&mut Session, DbError> {
        self.session.as_deref_mut().ok_or_else(group::ended)
    }

    /// The driver's connection.
    pub(super) fn connection(&mut self) -> Result<&mut SqliteConnection, DbError> {
        self.session()?.connection()
    }

    /// Makes the work last: alone, or with the group that grows as long as others wait.
    pub(super) async fn commit(mut self) -> Result<(), DbError> {
        let queue = Arc::clone(&self.queue);
        let session = self.session()?;
        if session.is_alone() && (session.is_counted || queue.nobody_waits()) {
            session.commit_alone(&queue).await?;
            self.pass_on();
            return Ok(());
        }
        let outcome = session.join();
        self.pass_on();
        outcome.await.map_err(|_| group::ended())?.map(|_| ())
    }

    /// Undoes the work, and no one else's.
    pub(super) async fn rollback(mut self) -> Result<(), DbError> {
        let session = self.session()?;
        if session.is_alone() {
            session.undo().await;
            self.pass_on();
            return Ok(());
        }
        // Half of it must not be done twice, so it is done by a task that nobody cancels.
        let _ = tokio::spawn(undo(self)).await;
        Ok(())
    }

    /// Commits what the group has so far. Only for one who has begun nothing.
    async fn settle(&mut self) -> Result<(), DbError> {
        let queue = Arc::clone(&self.queue);
        self.stage = Stage::Between;
        let session = self.session()?;
        session.commit(&queue).await;
        session.ready(&queue.options).await?;
        self.stage = Stage::Fresh;
        Ok(())
    }

    /// Gives the connection to the next in the queue, or to a task that has something to do before.
    pub(super) fn pass_on(mut self) {
        self.stage = Stage::Between;
        match group::next(self) {
            Next::Over => {}
            work => match Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(group::drive(work))),
                Err(_) => drop(work),
            },
        }
    }
}

async fn undo(mut lease: Lease) {
    lease.stage = Stage::Between;
    if let Some(session) = &mut lease.session {
        session.undo().await;
    }
    group::drive(group::next(lease)).await;
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut session) = self.session.take() else { return };
        let runtime = Handle::try_current();
        match (self.stage, runtime) {
            (Stage::Fresh, _) => Self::new(&self.queue, session).pass_on(),
            (Stage::Working, Ok(runtime)) => drop(runtime.spawn(undo(Self::new(&self.queue, session)))),
            // No task can clean up any more: the connection ends, which undoes all that is open on it.
            (Stage::Working | Stage::Between, _) => {
                session.abandon();
                let mut lease = Self::new(&self.queue, session);
                lease.stage = Stage::Between;
                // What is left to do is dropped, and comes here again with one less in the queue.
                drop(group::next(lease));
            }
        }
    }
}
