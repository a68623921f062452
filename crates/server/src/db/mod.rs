//! The database waist: one API over SQLite and PostgreSQL, so that a store function is written once.
//!
//! The two engines differ in pools, argument buffers and row types. All of that ends here: [`Query`] and [`Row`] dispatch
//! on an enum at the moment of execution, and nothing above this module branches on the engine. SQL is written with `$1`
//! placeholders, which both engines take.
//!
//! What this module keeps true:
//! - A transaction that is dropped is rolled back, also when the task that held it was cancelled in the middle of a statement.
//! - A transaction in which a statement failed cannot be committed. PostgreSQL answers such a `COMMIT` with a silent
//!   rollback and SQLite would keep the half that went well; neither is what a caller means.
//! - Our own tasks never see `SQLITE_BUSY`: one connection writes, and every transaction takes the write lock at its start.
//! - On SQLite transactions that wait for each other share a commit, and each hears of success only after it ([`writer`]).

mod batch;
mod beside;
mod error;
mod group;
#[cfg(test)]
mod group_tests;
mod inspect;
mod intake;
#[cfg(test)]
mod intake_tests;
mod migrate;
mod open;
mod passage;
mod query;
mod row;
#[doc(hidden)]
pub mod testing;
#[cfg(test)]
mod tests;
mod value;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::{PgConnection, PgPool, Postgres, Sqlite, SqliteConnection, Transaction};

pub use error::DbError;
pub use inspect::EngineFacts;
pub use intake::Adding;
pub use migrate::{MigrationReport, SchemaState};
pub use passage::Step;
pub use query::Query;
pub use row::{FromColumn, Row};
pub use value::{IntoValue, Value};
pub use writer::CommitCounts;

use intake::Intake;
use open::{Access, Breaks, Pools};
use writer::Lease;

/// The database engine behind a [`Db`]. For reports; store code never asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A file, one writer process.
    Sqlite,
    /// A server, several processes.
    Postgres,
}

impl Engine {
    /// The name in lower case, for logs and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// A handle on the database; clones share the pools.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    pools: Pools,
    /// For what has to be taken in while everything else waits; on a server on PostgreSQL.
    intake: Option<Intake>,
    breaks: Breaks,
    /// Transactions that have begun and are not over.
    open: AtomicUsize,
    access: Access,
    /// Whether prepared statements outlive their transaction; see [`open`].
    keeps_statements: bool,
    place: String,
}

impl Inner {
    /// Remembers that a connection broke, so that others are not trusted.
    fn noted<T>(&self, result: Result<T, impl Into<DbError>>) -> Result<T, DbError> {
        result.map_err(Into::into).inspect_err(|error| {
            if error.is_unavailable() {
                self.breaks.note();
            }
        })
    }
}

impl Db {
    /// Opens the database of a server process: `sqlite://path` (file and folder are created) or `postgres://…`. A SQLite file
    /// is locked against a second server process.
    ///
    /// # Errors
    /// [`DbError::BadUrl`], [`DbError::Locked`], or [`DbError::Unavailable`] where the server does not answer.
    pub async fn open(url: &str) -> Result<Self, DbError> {
        passage::drive(open::open(url, Access::Server)).await
    }

    /// Opens the database beside a running server, to read and to write. SQLite's own locks make that safe; a command that
    /// writes waits for the server's transaction and the server for the command's.
    ///
    /// # Errors
    /// As [`Db::open`], without [`DbError::Locked`].
    pub async fn open_shared(url: &str) -> Result<Self, DbError> {
        open::open(url, Access::Shared).await
    }

    /// Opens an existing database to read only; works beside a running server.
    ///
    /// # Errors
    /// As [`Db::open_shared`]; a missing file is [`DbError::Unavailable`].
    pub async fn open_read_only(url: &str) -> Result<Self, DbError> {
        open::open(url, Access::ReadOnly).await
    }

    /// Begins a transaction. SQLite takes its one write lock at once (`begin immediate`); PostgreSQL is in read committed.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] where no connection is to be had in time, [`DbError::Conflict`] where another process holds
    /// SQLite's write lock for too long.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        match &self.inner.pools {
            Pools::Sqlite(pools) => match &pools.writer {
                Some(writer) => self.begin_on_sqlite(async { Ok(TxInner::Writer(writer.begin().await?)) }).await,
                None => self.begin_read().await,
            },
            Pools::Postgres(pool) => {
                let begin = match self.inner.access {
                    Access::Server | Access::Shared => open::POSTGRES_BEGIN,
                    Access::ReadOnly => open::POSTGRES_BEGIN_READ_ONLY,
                };
                self.begin_on_postgres(pool, begin).await
            }
        }
    }

    /// Begins a transaction that only reads: on SQLite it holds up no writer and sees one moment of the database.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] where no connection is to be had in time.
    pub async fn begin_read(&self) -> Result<Tx, DbError> {
        match &self.inner.pools {
            Pools::Sqlite(pools) => {
                self.begin_on_sqlite(async { Ok(TxInner::Reader(pools.reader.begin_with("begin").await?)) }).await
            }
            Pools::Postgres(pool) => self.begin_on_postgres(pool, open::POSTGRES_BEGIN_READ_ONLY).await,
        }
    }

    /// Begins a transaction that may take its time, and in which the migrator begins its own.
    async fn begin_migration(&self) -> Result<Tx, DbError> {
        match &self.inner.pools {
            Pools::Sqlite(pools) => {
                let writer = pools.writer.as_ref().ok_or(DbError::ReadOnly)?;
                self.begin_on_sqlite(async { Ok(TxInner::Writer(writer.begin_alone().await?)) }).await
            }
            Pools::Postgres(pool) if self.inner.keeps_statements => {
                self.begin_on_postgres(pool, open::POSTGRES_BEGIN_MIGRATION).await
            }
            Pools::Postgres(pool) => self.begin_on_postgres(pool, open::POSTGRES_BEGIN_MIGRATION_POOLED).await,
        }
    }

    /// A caller may be cancelled here: the connection is cleaned up behind it.
    async fn begin_on_sqlite(&self, begin: impl Future<Output = Result<TxInner, DbError>>) -> Result<Tx, DbError> {
        passage::before(Step::Begin).await?;
        Ok(self.begun(passage::drive(Box::pin(begin)).await?))
    }

    /// In a task of its own: a connection whose `BEGIN` was sent but not awaited would go back to the pool inside a transaction
    /// that nobody ends. A cancelled caller leaves the task to finish, and the dropped `Tx` rolls back.
    async fn begin_on_postgres(&self, pool: &PgPool, begin: &'static str) -> Result<Tx, DbError> {
        passage::before(Step::Begin).await?;
        let pool = pool.clone();
        let begun =
            passage::drive(async move { tokio::spawn(async move { pool.begin_with(begin).await }).await }).await;
        let inner = self.inner.noted(begun.map_err(|_| DbError::unavailable("the runtime is shutting down"))?)?;
        Ok(self.begun(TxInner::Postgres(inner)))
    }

    fn begun(&self, inner: TxInner) -> Tx {
        self.inner.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(Arc::clone(&self.inner));
        Tx { inner: Some(inner), spoiled: false, held: passage::Held::begin(), counted: open }
    }

    /// A statement outside a transaction: one read, or one write that stands alone.
    ///
    /// Never await a write through `Db` while holding a [`Tx`]: on SQLite both want the one writing connection.
    pub fn query(&self, sql: &'static str) -> Query<'_> {
        Query::on_db(self, sql)
    }

    /// Which engine this is.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.inner.pools {
            Pools::Sqlite(_) => Engine::Sqlite,
            Pools::Postgres(_) => Engine::Postgres,
        }
    }

    /// Where the database is, in words and without a password.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.inner.place
    }

    /// How many transactions of this handle and its clones have begun and are not over.
    #[must_use]
    pub fn open_transactions(&self) -> usize {
        self.inner.open.load(Ordering::Relaxed)
    }

    /// How many transactions SQLite's commits have made last through this handle and its clones; zero on PostgreSQL, which groups
    /// commits by itself.
    #[must_use]
    pub fn commit_counts(&self) -> CommitCounts {
        match &self.inner.pools {
            Pools::Sqlite(pools) => pools.writer.as_ref().map(writer::Writer::counts).unwrap_or_default(),
            Pools::Postgres(_) => CommitCounts::default(),
        }
    }

    /// Asks the database for an answer, and whether it takes writes where we have some.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] where there is none.
    pub async fn ping(&self) -> Result<(), DbError> {
        if self.engine() == Engine::Sqlite || self.inner.access == Access::ReadOnly {
            return self.query("select 1 as alive").one().await.map(|_| ());
        }
        let row = self.query("select current_setting('transaction_read_only') as read_only").one().await?;
        match row.get::<String>("read_only")?.as_str() {
            "on" => Err(open::takes_no_writes()),
            _ => Ok(()),
        }
    }

    /// Waits for connections in use to come back and closes them all; releases the lock on a SQLite file.
    pub async fn close(&self) {
        match &self.inner.pools {
            Pools::Sqlite(pools) => passage::drive(pools.close()).await,
            Pools::Postgres(pool) => passage::drive(pool.close()).await,
        }
        if let Some(intake) = &self.inner.intake {
            intake.pool.close().await;
        }
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Db").field(&self.inner.place).finish()
    }
}

/// A transaction. Store functions take `&mut Tx`; the use case that began it commits it. Dropping it rolls back.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Tx {
    /// `None` once it has ended.
    inner: Option<TxInner>,
    spoiled: bool,
    held: passage::Held,
    counted: Open,
}

/// Counts a transaction for as long as it is there.
struct Open(Arc<Inner>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

enum TxInner {
    Writer(Lease),
    Reader(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// The driver's connection inside a transaction.
enum Connection<'t> {
    Sqlite(&'t mut SqliteConnection),
    Postgres(&'t mut PgConnection),
}

impl Tx {
    /// A statement inside the transaction.
    pub fn query<'t>(&'t mut self, sql: &'static str) -> Query<'t> {
        Query::on_tx(self, sql)
    }

    /// Makes the changes last.
    ///
    /// # Errors
    /// [`DbError::Spoiled`] where a statement failed or was abandoned before: nothing is kept then. After
    /// [`DbError::Unavailable`] the outcome is unknown.
    pub async fn commit(mut self) -> Result<(), DbError> {
        if self.spoiled {
            self.rollback().await?;
            return Err(DbError::Spoiled);
        }
        let way_back = passage::before(Step::Commit).await?;
        match self.inner.take() {
            Some(TxInner::Writer(lease)) => passage::drive(Box::pin(lease.commit())).await?,
            Some(TxInner::Reader(tx)) => passage::drive(tx.commit()).await?,
            Some(TxInner::Postgres(tx)) => self.counted.0.noted(passage::drive(tx.commit()).await)?,
            None => {}
        }
        // Nothing is held any more on the way back.
        drop(self);
        way_back.arrive().await
    }

    /// Undoes the changes.
    ///
    /// # Errors
    /// Where the connection is gone; the database rolls back by itself then.
    pub async fn rollback(mut self) -> Result<(), DbError> {
        match self.inner.take() {
            Some(TxInner::Writer(lease)) => passage::drive(Box::pin(lease.rollback())).await?,
            Some(TxInner::Reader(tx)) => passage::drive(tx.rollback()).await?,
            Some(TxInner::Postgres(tx)) => passage::drive(tx.rollback()).await?,
            None => {}
        }
        Ok(())
    }

    /// The driver's connection.
    fn open(&mut self) -> Result<Connection<'_>, DbError> {
        Ok(match self.inner.as_mut().ok_or(DbError::Spoiled)? {
            TxInner::Writer(lease) => Connection::Sqlite(lease.connection()?),
            TxInner::Reader(tx) => Connection::Sqlite(tx),
            TxInner::Postgres(tx) => Connection::Postgres(tx),
        })
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            self.held.let_go(inner);
        }
    }
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("spoiled", &self.spoiled).finish_non_exhaustive()
    }
}
