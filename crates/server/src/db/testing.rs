//! Databases for tests: fresh, migrated, and gone afterwards. Hidden from the documentation and unused by the server; it is
//! here and not in the test tree so that unit tests and integration tests share it.
//!
//! SQLite always; PostgreSQL where `COUNTERFOIL_TEST_POSTGRES_URL` names a private server on which the user may create
//! databases.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqlSafeStr as _};

use super::open::{Pools, SqlitePools};
use super::writer::Writer;
use super::{Db, DbError, Engine};

/// The variable that names the PostgreSQL server for tests.
pub const POSTGRES_URL_VARIABLE: &str = "COUNTERFOIL_TEST_POSTGRES_URL";

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A database that is removed when this is dropped.
pub struct TestDb {
    /// The open database. Public, so that a test can clone, close or replace it.
    pub db: Db,
    url: String,
    remains: Remains,
}

enum Remains {
    Folder(PathBuf),
    Database { server: String, name: String },
}

/// SQLite, and PostgreSQL where there is one: `for engine in engines() { … }`.
#[must_use]
pub fn engines() -> Vec<Engine> {
    match postgres_server() {
        Some(_) => vec![Engine::Sqlite, Engine::Postgres],
        None => {
            say_once_what_is_left_out();
            vec![Engine::Sqlite]
        }
    }
}

/// Straight to standard error: what tests print otherwise is shown only where one fails.
fn say_once_what_is_left_out() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let words = format!("left out: the tests on PostgreSQL, because {POSTGRES_URL_VARIABLE} is not set\n");
        let _nobody_listens = std::io::stderr().write_all(words.as_bytes());
    });
}

fn postgres_server() -> Option<String> {
    std::env::var(POSTGRES_URL_VARIABLE).ok().filter(|url| !url.trim().is_empty())
}

/// A migrated database of its own.
///
/// # Panics
/// Where it cannot be made: a test has nothing to go on then.
pub async fn fresh(engine: Engine) -> TestDb {
    let test_db = empty(engine).await;
    test_db.db.migrate().await.expect("a fresh database can be migrated");
    test_db
}

/// A database of its own without any table.
///
/// # Panics
/// Where it cannot be made.
pub async fn empty(engine: Engine) -> TestDb {
    let name = format!("cf_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let (url, remains) = match engine {
        Engine::Sqlite => {
            let folder = std::env::temp_dir().join(&name);
            // A process of an earlier boot may have had the same number.
            let _ = std::fs::remove_dir_all(&folder);
            (format!("sqlite://{}/counterfoil.db", folder.display()), Remains::Folder(folder))
        }
        Engine::Postgres => {
            let server = postgres_server().expect("a test on PostgreSQL runs only where its URL is set");
            on_server(&server, format!("drop database if exists {name} with (force)")).await.expect("no such database");
            on_server(&server, format!("create database {name}")).await.expect("a database for the test");
            (with_database(&server, &name), Remains::Database { server, name })
        }
    };
    let db = Db::open(&url).await.expect("a fresh database opens");
    TestDb { db, url, remains }
}

impl TestDb {
    /// The URL, for a second handle or another process.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes a SQLite file, and gives it a journal of another kind than ours, as somebody with the file in hand may do.
    ///
    /// # Panics
    /// Where SQLite does not do it.
    pub async fn leave_wal(&self) {
        self.db.close().await;
        let file = self.url.trim_start_matches("sqlite://").split('?').next().unwrap_or_default();
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
        let options = options.journal_mode(sqlx::sqlite::SqliteJournalMode::Delete);
        let connection = sqlx::ConnectOptions::connect(&options).await.expect("the file opens");
        sqlx::Connection::close(connection).await.expect("the file closes");
    }

    /// Prepares a statement without running it: syntax, tables, columns and parameter types are checked.
    ///
    /// # Errors
    /// Where the engine does not accept it.
    pub async fn prepare(&self, sql: &str) -> Result<(), DbError> {
        let own = |sql: String| AssertSqlSafe(sql).into_sql_str();
        match &self.db.inner.pools {
            Pools::Sqlite(pools) => {
                let mut lease = writer(pools).turn_alone().await?;
                drop(lease.connection()?.prepare(own(sql.to_owned())).await?);
            }
            Pools::Postgres(pool) => {
                let sql = super::query::for_postgres(sql).unwrap_or_else(|| sql.to_owned());
                drop(pool.prepare(own(sql)).await?);
            }
        }
        Ok(())
    }

    /// Runs SQL that only a test would run: several statements, no parameters.
    ///
    /// # Errors
    /// Where the engine refuses it.
    pub async fn raw(&self, sql: &str) -> Result<(), DbError> {
        let sql = AssertSqlSafe(sql.to_owned()).into_sql_str();
        let _rows_changed = match &self.db.inner.pools {
            Pools::Sqlite(pools) => {
                let mut lease = writer(pools).turn_alone().await?;
                lease.connection()?.execute(sql).await?.rows_affected()
            }
            Pools::Postgres(pool) => pool.execute(sql).await?.rows_affected(),
        };
        Ok(())
    }
}

fn writer(pools: &SqlitePools) -> &Writer {
    pools.writer.as_ref().expect("a database of a test takes writes")
}

impl std::ops::Deref for TestDb {
    type Target = Db;

    fn deref(&self) -> &Db {
        &self.db
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        match &self.remains {
            Remains::Folder(folder) => {
                let _ = std::fs::remove_dir_all(folder);
            }
            Remains::Database { server, name } => {
                let (server, sql) = (server.clone(), format!("drop database if exists {name} with (force)"));
                // A thread with a runtime of its own, as a drop cannot wait in the test's. Where it fails, the private
                // server goes away soon enough.
                let dropping = std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.map(|runtime| runtime.block_on(on_server(&server, sql)))
                });
                let _ = dropping.join();
            }
        }
    }
}

async fn on_server(server: &str, sql: String) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(server).await?;
    connection.execute(AssertSqlSafe(sql)).await?;
    connection.close().await
}

/// Replaces the path of the URL; its query, such as a socket's folder, stays.
fn with_database(server: &str, name: &str) -> String {
    let (address, query) = match server.split_once('?') {
        Some((address, query)) => (address, format!("?{query}")),
        None => (server, String::new()),
    };
    let (scheme, rest) = address.split_once("://").expect("a URL has a scheme");
    let host = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{host}/{name}{query}")
}
