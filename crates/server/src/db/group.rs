//! How transactions share a commit: what is open on the writing connection, and what is to be done between two holders.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::oneshot;

use super::batch::Texts;
use super::beside::{Asking, Beside};
use super::error::DbError;
use super::open::SQLITE_BEGIN;
use super::query;
use super::value::Value;
use super::writer::{Lease, Queue, Waiting, Write};

/// How many share one commit at most, and for how long a group takes in new ones. Both keep the file's lock short for other
/// processes, and the answer of the first member near.
const MEMBERS_MAX: usize = 64;
const AGE_MAX: Duration = Duration::from_millis(5);

/// The connection, and the transaction of the engine that is open on it.
pub(super) struct Session {
    /// `None` where it has to be opened anew.
    connection: Option<SqliteConnection>,
    /// The engine has ended a transaction with a rollback, asked to or by itself.
    was_rolled_back: Arc<AtomicBool>,
    group: Option<Group>,
    age_max: Duration,
    beside: Option<Beside>,
    texts: Texts,
    /// The driver itself counts the open transaction, because it begins others inside.
    pub(super) is_counted: bool,
}

struct Group {
    began: Instant,
    /// Those whose work is done and who wait for the commit.
    members: Vec<Member>,
    savepoint: Savepoint,
}

struct Member {
    changed: u64,
    done: oneshot::Sender<Result<u64, DbError>>,
}

/// The savepoint that was set last. The first of a group needs none: what it undoes is everything. The others take turns with two
/// names, so that whoever could not set its own never goes back to somebody else's.
#[derive(Clone, Copy)]
enum Savepoint {
    None,
    Odd,
    Even,
}

impl Savepoint {
    /// Releases the one before, and sets the next.
    const fn next(self) -> (Self, &'static str) {
        match self {
            Self::None => (Self::Odd, "savepoint odd"),
            Self::Odd => (Self::Even, "release odd; savepoint even"),
            Self::Even => (Self::Odd, "release even; savepoint odd"),
        }
    }
}

/// The connection ended, or the program does, before anybody could say what became of the work.
pub(super) fn ended() -> DbError {
    DbError::unavailable("the connection ended before the answer came")
}

fn taken_along() -> DbError {
    DbError::unavailable("the database ended the transaction that this one shared with others; nothing of it is stored")
}

async fn connect(
    options: &SqliteConnectOptions,
    was_rolled_back: Arc<AtomicBool>,
) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = options.connect().await?;
    // A full disk ends a transaction without being asked to, and only the hook tells.
    connection.lock_handle().await?.set_rollback_hook(move || was_rolled_back.store(true, Ordering::Release));
    Ok(connection)
}

impl Session {
    pub(super) async fn open(options: &SqliteConnectOptions, beside: Option<Beside>) -> Result<Box<Self>, DbError> {
        let was_rolled_back = Arc::new(AtomicBool::new(false));
        let mut session = Box::new(Self {
            connection: None,
            was_rolled_back,
            group: None,
            age_max: AGE_MAX,
            beside,
            texts: Texts::default(),
            is_counted: false,
        });
        session.ready(options).await?;
        Ok(session)
    }

    /// Lets groups grow for as long as a test wants, on a machine that may be slow.
    #[cfg(test)]
    pub(super) fn be_patient(&mut self, age_max: Duration) {
        self.age_max = age_max;
    }

    /// Opens the connection where there is none.
    pub(super) async fn ready(&mut self, options: &SqliteConnectOptions) -> Result<(), DbError> {
        if self.connection.is_none() {
            // Rare, and large: it stays off the stack of whoever writes.
            self.connection = Some(Box::pin(connect(options, Arc::clone(&self.was_rolled_back))).await?);
        }
        Ok(())
    }

    pub(super) fn connection(&mut self) -> Result<&mut SqliteConnection, DbError> {
        self.connection.as_mut().ok_or_else(ended)
    }

    pub(super) async fn close(self) {
        if let Some(connection) = self.connection {
            // The connection is gone either way.
            let _ = connection.close().await;
        }
    }

    /// Drops the connection with everything that is open on it.
    pub(super) fn abandon(&mut self) {
        self.connection = None;
        self.is_counted = false;
        self.fail(&ended());
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), DbError> {
        sqlx::query(sql).execute(self.connection()?).await?;
        Ok(())
    }

    /// Begins the work of the next holder: a transaction, or a savepoint in the one that is open.
    pub(super) async fn enter(&mut self, options: &SqliteConnectOptions) -> Result<(), DbError> {
        if let Some(group) = &mut self.group {
            let (savepoint, sql) = group.savepoint.next();
            group.savepoint = savepoint;
            return self.run(sql).await;
        }
        self.ready(options).await?;
        let asking = self.turn().await;
        self.was_rolled_back.store(false, Ordering::Release);
        self.run(SQLITE_BEGIN).await?;
        drop(asking);
        self.group = Some(Group { began: Instant::now(), members: Vec::new(), savepoint: Savepoint::None });
        Ok(())
    }

    /// Begins a transaction that the driver knows of, so that it sets savepoints where it would begin another one.
    pub(super) async fn enter_counted(&mut self) -> Result<(), DbError> {
        self.is_counted = true;
        let begun = self.connection()?.begin_with(SQLITE_BEGIN).await?;
        // What the driver would do at its end is done by us.
        std::mem::forget(begun);
        Ok(())
    }

    /// Lets a process beside this one go first, or asks the other one to.
    async fn turn(&mut self) -> Option<Asking> {
        match &mut self.beside {
            Some(beside) => Some(beside.turn().await),
            None => None,
        }
    }

    /// Whether nobody's work is open but the holder's.
    pub(super) fn is_alone(&self) -> bool {
        self.group.as_ref().is_none_or(|group| group.members.is_empty())
    }

    /// Whether nobody's work is open.
    pub(super) fn is_free(&self) -> bool {
        self.group.is_none()
    }

    /// Makes the work of the only member last.
    pub(super) async fn commit_alone(&mut self, queue: &Queue) -> Result<(), DbError> {
        self.run("commit").await?;
        self.group = None;
        queue.count(1);
        if std::mem::take(&mut self.is_counted)
            && let Some(connection) = self.connection.take()
        {
            // The driver goes on counting a transaction on this one, so the next opens another.
            Box::pin(connection.close()).await?;
        }
        Ok(())
    }

    /// Executes a statement with a commit of its own.
    pub(super) async fn write_alone(
        &mut self,
        queue: &Queue,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<u64, DbError> {
        self.ready(&queue.options).await?;
        let _asking = self.turn().await;
        let changed = query::sqlite(sql, values).execute(self.connection()?).await?.rows_affected();
        queue.count(1);
        Ok(changed)
    }

    /// Counts the holder among those who wait for the commit.
    pub(super) fn join(&mut self) -> oneshot::Receiver<Result<u64, DbError>> {
        let (done, outcome) = oneshot::channel();
        self.add(0, done);
        outcome
    }

    /// Undoes the holder's work. Also right where nothing was begun, and where the commit of a lone holder was abandoned.
    pub(super) async fn undo(&mut self) {
        let savepoint = match &self.group {
            Some(group) if !group.members.is_empty() => group.savepoint,
            Some(_) | None => return self.undo_all(&taken_along()).await,
        };
        let undone = match savepoint {
            Savepoint::None => Err(ended()),
            Savepoint::Odd => self.run("rollback to odd").await,
            Savepoint::Even => self.run("rollback to even").await,
        };
        if undone.is_err() {
            self.undo_all(&taken_along()).await;
        }
    }

    /// Undoes everything that is open, and tells the members why.
    async fn undo_all(&mut self, why: &DbError) {
        // An error of the engine means that nothing was open. Whatever else is wrong with the connection, the next one does not
        // have it, and neither does it count what the driver has begun.
        let is_usable = matches!(self.run("rollback").await, Ok(()) | Err(DbError::Other { .. })) && !self.is_counted;
        self.is_counted = false;
        if !is_usable {
            self.connection = None;
        }
        self.fail(why);
    }

    fn fail(&mut self, error: &DbError) {
        for member in self.group.take().map(|group| group.members).into_iter().flatten() {
            // Who does not wait any more does not hear it.
            let _ = member.done.send(Err(error.clone()));
        }
    }

    /// Where the engine has ended the transaction, nobody's work is kept.
    pub(super) fn notice_rollback(&mut self) {
        if self.was_rolled_back.load(Ordering::Acquire) {
            self.fail(&taken_along());
        }
    }

    fn is_due(&self) -> bool {
        self.group
            .as_ref()
            .is_some_and(|group| group.members.len() >= MEMBERS_MAX || group.began.elapsed() >= self.age_max)
    }

    fn room(&self) -> usize {
        MEMBERS_MAX - self.group.as_ref().map_or(0, |group| group.members.len()).min(MEMBERS_MAX)
    }

    /// Makes the work of all members last, and tells them.
    pub(super) async fn commit(&mut self, queue: &Queue) {
        self.notice_rollback();
        if self.group.is_none() {
            return;
        }
        if let Err(error) = self.run("commit").await {
            return self.undo_all(&error).await;
        }
        let members = self.group.take().map(|group| group.members).unwrap_or_default();
        queue.count(members.len());
        for member in members {
            // Who does not wait any more does not hear it.
            let _ = member.done.send(Ok(member.changed));
        }
    }

    /// The connection within a group, which is begun where there is none.
    pub(super) async fn enter_group(&mut self, queue: &Queue) -> Result<(&mut SqliteConnection, &mut Texts), DbError> {
        if self.group.is_none() {
            self.enter(&queue.options).await?;
        }
        Ok((self.connection.as_mut().ok_or_else(ended)?, &mut self.texts))
    }

    /// Counts one whose work is done among those who wait for the commit.
    pub(super) fn add(&mut self, changed: u64, done: oneshot::Sender<Result<u64, DbError>>) {
        match &mut self.group {
            Some(group) => group.members.push(Member { changed, done }),
            // There is nothing to commit, and whoever asked hears that.
            None => drop(done),
        }
    }
}

/// What is to be done between two holders.
pub(super) enum Next {
    /// Nothing: somebody has the connection, or nobody wants it.
    Over,
    /// The group is complete.
    Commit(Lease),
    /// Statements that wait to be executed.
    Write(Lease, Vec<Write>),
}

/// Gives the connection to the next who wants it, or says what comes before that.
pub(super) fn next(mut lease: Lease) -> Next {
    let Some(session) = &mut lease.session else { return Next::Over };
    session.notice_rollback();
    if session.is_due() {
        return Next::Commit(lease);
    }
    let (room, has_group) = (session.room(), session.group.is_some());
    let queue = Arc::clone(&lease.queue);
    let mut state = queue.state();
    loop {
        match state.waiting.pop_front() {
            None if has_group => return Next::Commit(lease),
            None => {
                state.idle = lease.session.take();
                return Next::Over;
            }
            Some(Waiting::Turn(turn)) => {
                let Some(session) = lease.session.take() else { return Next::Over };
                // Who has gone away gives it back.
                match turn.send(Lease::new(&queue, session)) {
                    Ok(()) => return Next::Over,
                    Err(mut refused) => lease.session = refused.session.take(),
                }
            }
            Some(Waiting::Write(write)) => {
                let mut writes = vec![write];
                while writes.len() < room
                    && let Some(Waiting::Write(write)) =
                        state.waiting.pop_front_if(|front| matches!(front, Waiting::Write(_)))
                {
                    writes.push(write);
                }
                return Next::Write(lease, writes);
            }
        }
    }
}

/// Does what is to be done until somebody has the connection or nobody wants it.
pub(super) async fn drive(mut work: Next) {
    loop {
        let (mut lease, writes) = match work {
            Next::Over => return,
            Next::Commit(lease) => (lease, None),
            Next::Write(lease, writes) => (lease, Some(writes)),
        };
        let queue = Arc::clone(&lease.queue);
        if let Some(session) = &mut lease.session {
            match writes {
                None => session.commit(&queue).await,
                Some(writes) => session.write_all(&queue, writes).await,
            }
        }
        work = next(lease);
    }
}
