//! A statement with its values, executed on whichever engine is there.

use std::sync::Arc;

use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, Executor, PgPool, Postgres, Sqlite};

use super::error::DbError;
use super::open::{self, Access, Pools, SqlitePools};
use super::passage::{self, Step};
use super::row::Row;
use super::value::{IntoValue, PgTime, Value};
use super::writer::Writer;
use super::{Connection, Db, Inner, Tx};

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

    pub(super) fn with(db: &'q Db, sql: &'static str, values: Vec<Value>) -> Self {
        Self { target: Target::Db(db), sql, values }
    }

    pub(super) fn on_tx(tx: &'q mut Tx, sql: &'static str) -> Self {
        Self { target: Target::Tx(tx), sql, values: Vec::new() }
    }

    /// Binds the next placeholder.
    pub fn bind(mut self, value: impl IntoValue) -> Self {
        self.values.push(value.into_value());
        self
    }

    /// Binds the next placeholders.
    pub fn bind_all(mut self, values: impl IntoIterator<Item = Value>) -> Self {
        self.values.extend(values);
        self
    }

    /// Executes the statement and says how many rows it changed.
    ///
    /// # Errors
    /// See [`DbError`]. Inside a transaction, any error spoils the transaction.
    pub async fn execute(mut self) -> Result<u64, DbError> {
        let way_back = self.pass().await?;
        let handle = self.handle();
        let changed = handle.noted(passage::drive(self.execute_now()).await)?;
        way_back.arrive().await?;
        Ok(changed)
    }

    pub(super) async fn execute_now(self) -> Result<u64, DbError> {
        let Self { target, sql, values } = self;
        match target {
            Target::Db(db) => match writing(db)? {
                Pools::Sqlite(pools) => Box::pin(writer(pools)?.execute(sql, values)).await,
                Pools::Postgres(pool) if db.inner.keeps_statements => {
                    Ok(postgres(sql, values, true).execute(pool).await?.rows_affected())
                }
                Pools::Postgres(pool) => Box::pin(executed_in_tx(db, pool, sql, values)).await,
            },
            Target::Tx(tx) => {
                tx.enter()?;
                let keeps_statements = tx.counted.0.keeps_statements;
                let changed = match tx.open()? {
                    Connection::Sqlite(connection) => sqlite(sql, values).execute(connection).await?.rows_affected(),
                    Connection::Postgres(connection) => {
                        postgres(sql, values, keeps_statements).execute(connection).await?.rows_affected()
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
        let handle = self.handle();
        let rows = handle.noted(passage::drive(self.all_now()).await)?;
        way_back.arrive().await?;
        Ok(rows)
    }

    fn handle(&self) -> Arc<Inner> {
        Arc::clone(match &self.target {
            Target::Db(db) => &db.inner,
            Target::Tx(tx) => &tx.counted.0,
        })
    }

    /// What lies between the caller and the driver.
    async fn pass(&mut self) -> Result<passage::WayBack, DbError> {
        match &mut self.target {
            Target::Db(_) if is_select(self.sql) => passage::before(Step::Single).await,
            Target::Db(_) => passage::before(Step::Write).await,
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
                Pools::Sqlite(pools) if is_select(sql) => sqlite_rows(&pools.reader, sql, values).await,
                Pools::Sqlite(pools) => Box::pin(written_rows(writer(pools)?, sql, values)).await,
                Pools::Postgres(pool) => Box::pin(rows_on(db, pool, sql, values)).await,
            },
            Target::Tx(tx) => {
                tx.enter()?;
                let keeps_statements = tx.counted.0.keeps_statements;
                let rows = match tx.open()? {
                    Connection::Sqlite(connection) => sqlite_rows(connection, sql, values).await?,
                    Connection::Postgres(connection) => {
                        postgres_rows(connection, sql, values, keeps_statements).await?
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

/// A statement of its own where a pooler wants it in a transaction.
async fn executed_in_tx(db: &Db, pool: &PgPool, sql: &'static str, values: Vec<Value>) -> Result<u64, DbError> {
    let mut tx = db.begin_on_postgres(pool, open::POSTGRES_BEGIN).await?;
    let changed = Query { target: Target::Tx(&mut tx), sql, values }.execute_now().await?;
    tx.commit().await?;
    Ok(changed)
}

/// What a statement of its own answers, on one of the pools.
pub(super) async fn rows_on(
    db: &Db,
    pool: &PgPool,
    sql: &'static str,
    values: Vec<Value>,
) -> Result<Vec<Row>, DbError> {
    if db.inner.keeps_statements {
        return postgres_rows(pool, sql, values, true).await;
    }
    let mut tx = db.begin_on_postgres(pool, open::POSTGRES_BEGIN).await?;
    let rows = Query { target: Target::Tx(&mut tx), sql, values }.all_now().await?;
    tx.commit().await?;
    Ok(rows)
}

/// What a write of its own hands out.
async fn written_rows(writer: &Writer, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, DbError> {
    let mut lease = writer.begin().await?;
    let rows = sqlite_rows(lease.connection()?, sql, values).await?;
    lease.commit().await?;
    Ok(rows)
}

pub(super) fn writing(db: &Db) -> Result<&Pools, DbError> {
    match db.inner.access {
        Access::Server | Access::Shared => Ok(&db.inner.pools),
        Access::ReadOnly => Err(DbError::ReadOnly),
    }
}

fn writer(pools: &SqlitePools) -> Result<&Writer, DbError> {
    pools.writer.as_ref().ok_or(DbError::ReadOnly)
}

fn reading<'q>(db: &'q Db, sql: &str) -> Result<&'q Pools, DbError> {
    if is_select(sql) { Ok(&db.inner.pools) } else { writing(db) }
}

/// Whether a statement only reads. `with` may begin a write, so it goes where writes go.
fn is_select(sql: &str) -> bool {
    sql.trim_start().get(..6).is_some_and(|word| word.eq_ignore_ascii_case("select"))
}

async fn sqlite_rows<'c>(
    on: impl Executor<'c, Database = Sqlite>,
    sql: &'static str,
    values: Vec<Value>,
) -> Result<Vec<Row>, DbError> {
    Ok(sqlite(sql, values).fetch_all(on).await?.into_iter().map(Row::sqlite).collect())
}

async fn postgres_rows<'c>(
    on: impl Executor<'c, Database = Postgres>,
    sql: &'static str,
    values: Vec<Value>,
    keeps_statements: bool,
) -> Result<Vec<Row>, DbError> {
    Ok(postgres(sql, values, keeps_statements).fetch_all(on).await?.into_iter().map(Row::postgres).collect())
}

pub(super) fn sqlite(sql: &'static str, values: Vec<Value>) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
    sqlx::query_with(sql, sqlite_arguments(values.into_iter()))
}

pub(super) fn sqlite_arguments(values: impl Iterator<Item = Value>) -> SqliteArguments {
    let mut arguments = SqliteArguments::default();
    for value in values {
        // Only what is too long for SQLite is refused here, and then the statement is for its missing value.
        let _ = match value {
            Value::Text(text) => arguments.add(text),
            Value::Int(number) => arguments.add(number),
            Value::Bool(flag) => arguments.add(flag),
            Value::Time(time) => arguments.add(time.map(|time| time.to_string())),
            Value::Bytes(bytes) => arguments.add(bytes),
        };
    }
    arguments
}

/// How locks on rows are written: SQLite takes them for a comment, since there one writer holds the whole database. PostgreSQL reads
/// what is in it: `/* for no key update */`, or `/* for update skip locked */` where two who claim rows would otherwise wait for each
/// other's, each in an order of its own.
const LOCK: &str = "/* for ";

/// The statement as PostgreSQL gets it.
pub(super) fn for_postgres(sql: &str) -> Option<String> {
    sql.contains(LOCK).then(|| sql.replace(LOCK, "for ").replace(" */", ""))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// On SQLite a write that is taken for a read fails, and a read that is taken for a write waits for every writer.
    #[test]
    fn a_statement_reads_where_it_begins_with_select() {
        for (sql, reads) in [
            ("select 1", true),
            ("SELECT 1", true),
            ("\n    select\n1", true),
            ("with n as (select 1) delete from customers", false),
            ("insert into customers select 1", false),
            ("update customers set email = (select 1)", false),
            ("selec", false),
            ("séleçt", false),
            ("", false),
        ] {
            assert_eq!(is_select(sql), reads, "{sql}");
        }
    }
}
