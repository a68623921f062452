//! Opening: from a URL to pools with the settings that durability and fairness need.
//!
//! SQLite gets one connection that writes and a few that read: writers queue in our pool, in order, instead of racing for
//! the file's lock, and share commits ([`super::writer`]). A file lock beside the database keeps a second server process out, because its memory of leases and
//! wake-ups would be another one. PostgreSQL settings are sent with each transaction and never as session state, so that a
//! pooler in transaction mode may sit in between. Prepared statements are session state as well: a URL with
//! `statement-cache-capacity=0` says that none is to outlive its transaction.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool, Row as _, SqlitePool};

use super::beside::Beside;
use super::error::DbError;
use super::intake::{self, Intake};
use super::writer::Writer;
use super::{Db, Inner};

/// How long a task waits for a connection before the request is answered with "try again".
const POSTGRES_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
const SQLITE_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long SQLite waits for the lock of another process, such as a command beside the server.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections of one process. PostgreSQL's own default allows 100 in total, which leaves room for several replicas.
const POSTGRES_CONNECTIONS_MAX: u32 = 16;
const SQLITE_READERS_MAX: u32 = 4;

/// What the writer keeps of the file, in KiB (negative is how SQLite knows it from pages). With SQLite's own 2 MiB most of what a
/// commit touches is read from the file again.
const SQLITE_WRITER_CACHE: &str = "-8192";

/// Statements that a connection keeps prepared: more than the program has.
const STATEMENTS_KEPT: usize = 512;

/// For how long an idle connection to PostgreSQL is believed to be there still.
const POSTGRES_TRUSTED: Duration = Duration::from_secs(1);

/// Takes the write lock at once: a transaction that reads first and writes later could be refused in the middle.
pub(super) const SQLITE_BEGIN: &str = "begin immediate";

/// One round trip. `set local` ends with the transaction, so nothing sticks to a connection that a pooler shares.
pub(super) const POSTGRES_BEGIN: &str = "begin isolation level read committed; set local statement_timeout = '30s'; \
     set local lock_timeout = '10s'; set local idle_in_transaction_session_timeout = '60s'";
pub(super) const POSTGRES_BEGIN_READ_ONLY: &str =
    "begin isolation level read committed read only; set local statement_timeout = '30s'";

/// Migrations may take their time; the next replica waits for them.
pub(super) const POSTGRES_BEGIN_MIGRATION: &str = "begin isolation level read committed";

/// The migrator names its statements whatever the URL says. In the session that a pooler gives us, an earlier run's may be left.
pub(super) const POSTGRES_BEGIN_MIGRATION_POOLED: &str = "begin isolation level read committed; deallocate all";

/// Who opens the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The one server process of a SQLite file, or one of many of PostgreSQL.
    Server,
    /// A command beside the server that may write.
    Shared,
    /// A command that looks.
    ReadOnly,
}

pub(super) enum Pools {
    Sqlite(SqlitePools),
    Postgres(PgPool),
}

pub(super) struct SqlitePools {
    /// `None` where the file was opened to read only.
    pub(super) writer: Option<Writer>,
    pub(super) reader: SqlitePool,
    lock: Option<File>,
    /// What stands beside the file since it was first used.
    beside: PathBuf,
}

impl SqlitePools {
    /// Whether this file was a database before: an empty one in its place has lost everything, and nobody begins anew in it.
    pub(super) fn was_in_use(&self) -> bool {
        std::fs::metadata(&self.beside).is_ok_and(|found| found.len() > 0)
    }

    /// Notes beside the file that there is a database in it now.
    pub(super) fn note_use(&self) -> std::io::Result<()> {
        match &self.lock {
            Some(lock) if !self.was_in_use() => (&*lock).write_all(b"The database beside this file is in use.\n"),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn beside(&self) -> &Path {
        &self.beside
    }

    pub(super) async fn close(&self) {
        self.reader.close().await;
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
        if let Some(lock) = &self.lock {
            // Dropping the file would do, but clones of the handle may live on. Nothing is left to do where it fails.
            let _ = lock.unlock();
        }
    }
}

pub(super) async fn open(url: &str, access: Access) -> Result<Db, DbError> {
    let scheme = url.split(':').next().unwrap_or_default();
    let breaks = Breaks::default();
    let (pools, intake, place) = match scheme {
        "sqlite" => open_sqlite(url, access).await.map(|(pools, place)| (pools, None, place))?,
        "postgres" | "postgresql" => open_postgres(url, access, &breaks).await?,
        _ => return Err(bad_url("it must begin with sqlite:// or postgres://")),
    };
    let keeps_statements = keeps_statements(url);
    Ok(Db {
        inner: Arc::new(Inner { pools, intake, breaks, open: AtomicUsize::new(0), access, keeps_statements, place }),
    })
}

/// Whether a prepared statement is still there when the next transaction begins. Behind a pooler in transaction mode that one
/// meets another session. The driver then goes on giving statements names that several of its connections share, so `Query`
/// uses none.
fn keeps_statements(url: &str) -> bool {
    !parameters(url).any(|parameter| parameter == "statement-cache-capacity=0")
}

fn names_statement_cache(url: &str) -> bool {
    parameters(url).any(|parameter| parameter.starts_with("statement-cache-capacity="))
}

fn parameters(url: &str) -> impl Iterator<Item = &str> {
    url.split_once('?').map_or("", |(_, parameters)| parameters).split('&')
}

fn bad_url(detail: impl Into<String>) -> DbError {
    DbError::BadUrl { detail: detail.into() }
}

async fn open_postgres(url: &str, access: Access, breaks: &Breaks) -> Result<(Pools, Option<Intake>, String), DbError> {
    let options = PgConnectOptions::from_str(url).map_err(|error| bad_url(error.to_string()))?;
    let options =
        if options.get_application_name().is_some() { options } else { options.application_name("counterfoil") };
    // Only for numbers with a point, of which we have none, and a pooler refuses what it does not know.
    let options = options.extra_float_digits(None);
    let address = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let database = options.get_database().unwrap_or(options.get_username()).to_owned();
    let place = format!("PostgreSQL database {database} at {address}");

    // A connection of its own first: the pool would hide the reason behind "timed out".
    let probe = tokio::time::timeout(POSTGRES_ACQUIRE_TIMEOUT, options.connect());
    match probe.await {
        Ok(Ok(mut connection)) => {
            if access != Access::ReadOnly {
                refuse_read_only(&mut connection).await.map_err(|error| explain(error, &place))?;
            }
            // Only a courtesy to the server; the connection is gone either way.
            let _ = connection.close().await;
        }
        Ok(Err(error)) => return Err(explain(DbError::from(error), &place)),
        Err(_) => return Err(explain(DbError::unavailable("no answer in time"), &place)),
    }
    let options = if names_statement_cache(url) { options } else { options.statement_cache_capacity(STATEMENTS_KEPT) };
    let intake = match access {
        Access::Server => Some(Intake::new(intake_pool(&options, breaks).await)),
        Access::Shared | Access::ReadOnly => None,
    };
    let pool = postgres_pool(POSTGRES_CONNECTIONS_MAX, breaks).connect_lazy_with(options);
    Ok((Pools::Postgres(pool), intake, place))
}

/// What takes events in has its connections from the start and keeps them while they are well: it is to have them also where the
/// server gives out no more. Where it gives out none now, it goes on without.
async fn intake_pool(options: &PgConnectOptions, breaks: &Breaks) -> PgPool {
    let pool = postgres_pool(intake::CONNECTIONS, breaks).idle_timeout(None).max_lifetime(None);
    let pool = pool.connect_lazy_with(options.clone());
    // Held side by side, or the second would be the first one again.
    let mut held = Vec::new();
    for _ in 0..intake::CONNECTIONS {
        held.extend(pool.acquire().await.ok());
    }
    drop(held);
    pool
}

fn postgres_pool(connections_max: u32, breaks: &Breaks) -> PgPoolOptions {
    let breaks = breaks.clone();
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(POSTGRES_ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(move |connection, seen| {
            let is_trusted = breaks.trusts(seen.idle_for);
            Box::pin(async move { Ok(is_trusted || connection.ping().await.is_ok()) })
        })
}

/// When a connection to PostgreSQL broke last. Whatever was idle at that moment is asked for a sign of life before it is used, which
/// is a round trip; so is what has been idle for long.
#[derive(Clone, Default)]
pub(super) struct Breaks(Arc<Mutex<Option<Instant>>>);

impl Breaks {
    pub(super) fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn trusts(&self, idle_for: Duration) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle_for <= POSTGRES_TRUSTED && last.is_none_or(|last| last.elapsed() > idle_for)
    }
}

/// A standby, or an old primary that was demoted, answers every question and takes no write: nothing that begins there ends well.
async fn refuse_read_only(connection: &mut PgConnection) -> Result<(), DbError> {
    // Not prepared, since it stands outside of a transaction.
    let row = connection.fetch_one("select current_setting('transaction_read_only')").await?;
    let read_only: String = row.try_get(0)?;
    if read_only == "on" { Err(takes_no_writes()) } else { Ok(()) }
}

pub(super) fn takes_no_writes() -> DbError {
    counterfoil_core::probe!("F58");
    DbError::unavailable("it takes no writes: it is a standby or set to read only. Give the address of the primary")
}

fn explain(error: DbError, place: &str) -> DbError {
    match error {
        DbError::Unavailable { detail } => DbError::unavailable(format!("{place}: {detail}")),
        other => other,
    }
}

async fn open_sqlite(url: &str, access: Access) -> Result<(Pools, String), DbError> {
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(bad_url("an in-memory database would be gone with its first connection; name a file"));
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|error| bad_url(error.to_string()))?;
    let path = options.get_filename().to_path_buf();
    if path.as_os_str().is_empty() {
        return Err(bad_url("it names no file: write sqlite://path/to/counterfoil.db"));
    }
    let place = format!("SQLite file {}", path.display());
    let unavailable = |error: std::io::Error| explain(DbError::unavailable(error.to_string()), &place);
    let path = match access {
        Access::Server | Access::Shared => create_file(&path).map_err(unavailable)?,
        Access::ReadOnly => path.canonicalize().map_err(unavailable)?,
    };
    let lock = match access {
        Access::Server => Some(lock_file(&with_ending(&path, ".lock"), &path, &place)?),
        Access::Shared | Access::ReadOnly => None,
    };
    let options = options
        .filename(&path)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(SQLITE_BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS_KEPT);
    // Readers are held to their word by SQLite itself.
    let reader = sqlite_readers().connect_lazy_with(options.clone().pragma("query_only", "on"));
    let writer = match access {
        Access::Server | Access::Shared => {
            // `full`: a commit that was acknowledged survives a power cut, not only a crash. What a savepoint would go back to
            // stays in memory.
            let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
            let options = options.pragma("temp_store", "memory").pragma("cache_size", SQLITE_WRITER_CACHE);
            // Without the file nobody stands back for anybody, which is how it is on a folder that takes no new files.
            let turns = private_file(&with_ending(&path, ".turn")).ok();
            let beside = turns.map(if access == Access::Server { Beside::server } else { Beside::command });
            Some(Writer::open(options, beside).await.map_err(|error| explain(error, &place))?)
        }
        Access::ReadOnly => None,
    };
    let beside = with_ending(&path, ".lock");
    Ok((Pools::Sqlite(SqlitePools { writer, reader, lock, beside }), place))
}

fn sqlite_readers() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(SQLITE_READERS_MAX)
        .acquire_timeout(SQLITE_ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        // The pool asks a connection for a sign of life when it comes back, and a rollback that was under way is done then. A file
        // does not hang up in between.
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
}

/// Creates folder and file where they are missing, for the owner only: the file holds password hashes and licences.
fn create_file(path: &Path) -> std::io::Result<PathBuf> {
    if let Some(folder) = path.parent() {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
    }
    private_file(path)?;
    path.canonicalize()
}

fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The lock is on a file beside the database: SQLite uses locks on the database file itself. The file stays when the server
/// ends, the lock does not, even after `kill -9`.
fn lock_file(lock: &Path, path: &Path, place: &str) -> Result<File, DbError> {
    let unavailable = |error: std::io::Error| explain(DbError::unavailable(format!("lock file: {error}")), place);
    let file = private_file(lock).map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DbError::Locked { path: path.display().to_string() }),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_whether_statements_stay_prepared() {
        let place = "postgres://billing@db/billing";
        for (query, keeps, names) in [
            ("", true, false),
            ("?sslmode=require", true, false),
            ("?statement-cache-capacity=0", false, true),
            ("?sslmode=require&statement-cache-capacity=0", false, true),
            ("?statement-cache-capacity=100", true, true),
            ("?application_name=statement-cache-capacity", true, false),
        ] {
            let url = format!("{place}{query}");
            assert_eq!((keeps_statements(&url), names_statement_cache(&url)), (keeps, names), "{url}");
        }
    }

    #[test]
    fn a_connection_is_believed_to_be_there_unless_it_was_idle_for_long_or_when_another_one_broke() {
        let breaks = Breaks::default();
        assert!(breaks.trusts(Duration::ZERO) && breaks.trusts(POSTGRES_TRUSTED));
        assert!(!breaks.trusts(POSTGRES_TRUSTED + Duration::from_nanos(1)));
        breaks.note();
        assert!(!breaks.trusts(POSTGRES_TRUSTED), "it was idle then");
        let noted = Instant::now();
        while noted.elapsed().is_zero() {}
        assert!(breaks.trusts(Duration::ZERO), "it was used since");
    }
}
