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

mod error;
mod inspect;
mod migrate;
mod open;
mod query;
mod row;
#[doc(hidden)]
pub mod testing;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;
use std::sync::Arc;

use sqlx::{Postgres, Sqlite, Transaction};

pub use error::DbError;
pub use inspect::EngineFacts;
pub use migrate::{MigrationReport, SchemaState};
pub use query::Query;
pub use row::{FromColumn, Row};
pub use value::{IntoValue, Value};

use open::{Access, Pools};

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
    access: Access,
    place: String,
}

impl Db {
    /// Opens the database of a server process: `sqlite://path` (file and folder are created) or `postgres://…`. A SQLite file
    /// is locked against a second server process.
    ///
    /// # Errors
    /// [`DbError::BadUrl`], [`DbError::Locked`], or [`DbError::Unavailable`] where the server does not answer.
    pub async fn open(url: &str) -> Result<Self, DbError> {
        open::open(url, Access::Server).await
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
        let (sqlite_begin, postgres_begin) = match self.inner.access {
            Access::Server | Access::Shared => (open::SQLITE_BEGIN, open::POSTGRES_BEGIN),
            Access::ReadOnly => ("begin", open::POSTGRES_BEGIN_READ_ONLY),
        };
        self.begin_with(sqlite_begin, postgres_begin).await
    }

    /// Begins a transaction that only reads: on SQLite it holds up no writer and sees one moment of the database.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] where no connection is to be had in time.
    pub async fn begin_read(&self) -> Result<Tx, DbError> {
        let db = self.clone();
        self.begin_in_task(async move {
            Ok(match &db.inner.pools {
                Pools::Sqlite(pools) => TxInner::Sqlite(pools.reader.begin_with("begin").await?),
                Pools::Postgres(pool) => TxInner::Postgres(pool.begin_with(open::POSTGRES_BEGIN_READ_ONLY).await?),
            })
        })
        .await
    }

    async fn begin_with(&self, sqlite_begin: &'static str, postgres_begin: &'static str) -> Result<Tx, DbError> {
        let db = self.clone();
        self.begin_in_task(async move {
            Ok(match &db.inner.pools {
                Pools::Sqlite(pools) => TxInner::Sqlite(pools.writer.begin_with(sqlite_begin).await?),
                Pools::Postgres(pool) => TxInner::Postgres(pool.begin_with(postgres_begin).await?),
            })
        })
        .await
    }

    /// In a task of its own: a PostgreSQL connection whose `BEGIN` was sent but not awaited would go back to the pool inside
    /// a transaction that nobody ends. A cancelled caller leaves the task to finish, and the dropped `Tx` rolls back.
    async fn begin_in_task(
        &self,
        begin: impl Future<Output = Result<TxInner, sqlx::Error>> + Send + 'static,
    ) -> Result<Tx, DbError> {
        let begun = tokio::spawn(begin).await;
        let inner = begun.map_err(|_| DbError::unavailable("the runtime is shutting down"))??;
        Ok(Tx { inner, spoiled: false })
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

    /// Asks the database for an answer.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] where there is none.
    pub async fn ping(&self) -> Result<(), DbError> {
        self.query("select 1 as alive").one().await.map(|_| ())
    }

    /// Waits for connections in use to come back and closes them all; releases the lock on a SQLite file.
    pub async fn close(&self) {
        match &self.inner.pools {
            Pools::Sqlite(pools) => pools.close().await,
            Pools::Postgres(pool) => pool.close().await,
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
    inner: TxInner,
    spoiled: bool,
}

enum TxInner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
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
    pub async fn commit(self) -> Result<(), DbError> {
        if self.spoiled {
            self.rollback().await?;
            return Err(DbError::Spoiled);
        }
        match self.inner {
            TxInner::Sqlite(tx) => tx.commit().await?,
            TxInner::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }

    /// Undoes the changes.
    ///
    /// # Errors
    /// Where the connection is gone; the database rolls back by itself then.
    pub async fn rollback(self) -> Result<(), DbError> {
        match self.inner {
            TxInner::Sqlite(tx) => tx.rollback().await?,
            TxInner::Postgres(tx) => tx.rollback().await?,
        }
        Ok(())
    }
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("spoiled", &self.spoiled).finish_non_exhaustive()
    }
}
