//! A statement with its values, executed on whichever engine is there.

use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Postgres, Sqlite};

use super::error::DbError;
use super::open::{Access, Pools};
use super::passage::{self, Step};
use super::row::Row;
use super::value::{IntoValue, PgTime, Value};
use super::{Db, Tx, TxInner};

/// A statement that is being put together. Placeholders are `$1`, `$2` … in the order of the binds.
#[must_use = "a statement does nothing until it is executed"]
pub struct Query<'q> {
    target: Target<'q>,
    sql: &'static str,
    values: Vec<Value>,
}

enum Target<'q> {
    Db(&'q Db),
    Tx(&'q mut Tx),
}

impl<'q> Query<'q> {
    pub(super) fn on_db(db: &'q Db, sql: &'static str) -> Self {
        Self { target: Target::Db(db), sql, values: Vec::new() }
    }

    pub(super) fn on_tx(tx: &'q mut Tx, sql: &'static str) -> Self {
        Self { target: Target::Tx(tx), sql, values: Vec::new() }
    }

    /// Binds the next placeholder.
    pub fn bind(mut self, value: impl IntoValue) -> Self {
        self.values.push(value.into_value());
        self
    }

    /// Executes the statement and says how many rows it changed.
    ///
    /// # Errors
    /// See [`DbError`]. Inside a transaction, any error spoils the transaction.
    pub async fn execute(mut self) -> Result<u64, DbError> {
        let way_back = self.pass().await?;
        let changed = passage::drive(self.execute_now()).await?;
        way_back.arrive().await?;
        Ok(changed)
    }

    async fn execute_now(self) -> Result<u64, DbError> {
        let Self { target, sql, values } = self;
        match target {
            Target::Db(db) => {
                let changed = match writing(db)? {
                    Pools::Sqlite(pools) => sqlite(sql, values).execute(&pools.writer).await?.rows_affected(),
                    Pools::Postgres(pool) if db.inner.keeps_statements => {
                        postgres(sql, values, true).execute(pool).await?.rows_affected()
                    }
                    Pools::Postgres(pool) => {
                        let mut tx = pool.begin().await?;
                        let changed = postgres(sql, values, false).execute(&mut *tx).await?.rows_affected();
                        tx.commit().await?;
                        changed
                    }
                };
                Ok(changed)
            }
            Target::Tx(tx) => {
                tx.enter()?;
                let keeps_statements = tx.counted.0.keeps_statements;
                let changed = match tx.open()? {
                    TxInner::Sqlite(tx) => sqlite(sql, values).execute(&mut **tx).await?.rows_affected(),
                    TxInner::Postgres(tx) => {
                        postgres(sql, values, keeps_statements).execute(&mut **tx).await?.rows_affected()
                    }
                };
                tx.leave();
                Ok(changed)
            }
        }
    }

    /// All rows of the result. The statement limits how many there can be.
    ///
    /// # Errors
    /// See [`DbError`]. Inside a transaction, any error spoils the transaction.
    pub async fn all(mut self) -> Result<Vec<Row>, DbError> {
        let way_back = self.pass().await?;
        let rows = passage::drive(self.all_now()).await?;
        way_back.arrive().await?;
        Ok(rows)
    }

    /// What lies between the caller and the driver.
    async fn pass(&mut self) -> Result<passage::WayBack, DbError> {
        match &mut self.target {
            Target::Db(_) => passage::before(Step::Single).await,
            Target::Tx(tx) => {
                let passed = passage::before(Step::Statement).await;
                tx.spoiled |= passed.is_err();
                passed
            }
        }
    }

    async fn all_now(self) -> Result<Vec<Row>, DbError> {
        let Self { target, sql, values } = self;
        match target {
            Target::Db(db) => match reading(db, sql)? {
                Pools::Sqlite(pools) => {
                    let pool = if is_select(sql) { &pools.reader } else { &pools.writer };
                    Ok(sqlite(sql, values).fetch_all(pool).await?.into_iter().map(Row::sqlite).collect())
                }
                Pools::Postgres(pool) if db.inner.keeps_statements => {
                    Ok(postgres(sql, values, true).fetch_all(pool).await?.into_iter().map(Row::postgres).collect())
                }
                Pools::Postgres(pool) => {
                    let mut tx = pool.begin().await?;
                    let rows = postgres(sql, values, false).fetch_all(&mut *tx).await?;
                    tx.commit().await?;
                    Ok(rows.into_iter().map(Row::postgres).collect())
                }
            },
            Target::Tx(tx) => {
                tx.enter()?;
                let keeps_statements = tx.counted.0.keeps_statements;
                let rows = match tx.open()? {
                    TxInner::Sqlite(tx) => {
                        sqlite(sql, values).fetch_all(&mut **tx).await?.into_iter().map(Row::sqlite).collect()
                    }
                    TxInner::Postgres(tx) => {
                        let rows = postgres(sql, values, keeps_statements).fetch_all(&mut **tx).await?;
                        rows.into_iter().map(Row::postgres).collect()
                    }
                };
                tx.leave();
                Ok(rows)
            }
        }
    }

    /// The first row of the result, if there is one.
    ///
    /// # Errors
    /// As [`Query::all`].
    pub async fn optional(self) -> Result<Option<Row>, DbError> {
        // The whole result is read: a `returning` that is left half-read would leave its statement open.
        Ok(self.all().await?.into_iter().next())
    }

    /// The one row of the result.
    ///
    /// # Errors
    /// As [`Query::all`], and [`DbError::Other`] where there is no row.
    pub async fn one(self) -> Result<Row, DbError> {
        self.optional().await?.ok_or_else(|| DbError::other("a row that must be there is missing"))
    }
}

impl Tx {
    /// Marks the transaction as spoiled until the statement has succeeded, so that an error and an abandoned future leave
    /// the same mark.
    fn enter(&mut self) -> Result<(), DbError> {
        if self.spoiled {
            return Err(DbError::Spoiled);
        }
        self.spoiled = true;
        Ok(())
    }

    fn leave(&mut self) {
        self.spoiled = false;
    }
}

fn writing(db: &Db) -> Result<&Pools, DbError> {
    match db.inner.access {
        Access::Server | Access::Shared => Ok(&db.inner.pools),
        Access::ReadOnly => Err(DbError::ReadOnly),
    }
}

fn reading<'q>(db: &'q Db, sql: &str) -> Result<&'q Pools, DbError> {
    if is_select(sql) { Ok(&db.inner.pools) } else { writing(db) }
}

/// Whether a statement only reads. `with` may begin a write, so it goes where writes go.
fn is_select(sql: &str) -> bool {
    sql.trim_start().get(..6).is_some_and(|word| word.eq_ignore_ascii_case("select"))
}

fn sqlite(sql: &'static str, values: Vec<Value>) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
    values.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Text(text) => query.bind(text),
        Value::Int(number) => query.bind(number),
        Value::Bool(flag) => query.bind(flag),
        Value::Time(time) => query.bind(time.map(|time| time.to_string())),
        Value::Bytes(bytes) => query.bind(bytes),
    })
}

/// What PostgreSQL reads in a statement, and SQLite takes for a comment: there one writer holds the whole database, so that no row
/// is ever locked by somebody else. Two who claim rows would otherwise wait for each other's, each in an order of its own.
const SKIP_LOCKED: &str = "/* for update skip locked */";

/// The statement as PostgreSQL gets it.
pub(super) fn for_postgres(sql: &str) -> Option<String> {
    sql.contains(SKIP_LOCKED).then(|| sql.replace(SKIP_LOCKED, "for update skip locked"))
}

/// Where statements are not kept, this one has no name, and is gone with the next one. Preparing and running it are two messages, so
/// it has to stand in a transaction: only there a pooler leaves both to the same session.
fn postgres(
    sql: &'static str,
    values: Vec<Value>,
    keeps_statements: bool,
) -> sqlx::query::Query<'static, Postgres, PgArguments> {
    let query = match for_postgres(sql) {
        // tidy: allow(sql) because one constant was put for another in a text of the program
        Some(sql) => sqlx::query(sqlx::AssertSqlSafe(sql)),
        None => sqlx::query(sql),
    };
    values.into_iter().fold(query.persistent(keeps_statements), |query, value| match value {
        Value::Text(text) => query.bind(text),
        Value::Int(number) => query.bind(number),
        Value::Bool(flag) => query.bind(flag),
        Value::Time(time) => query.bind(time.map(PgTime)),
        Value::Bytes(bytes) => query.bind(bytes),
    })
}
