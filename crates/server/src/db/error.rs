//! What can go wrong at the database, sorted by what a caller can do about it.
//!
//! A driver's error may carry a whole row in its details, so nothing of it is kept but message and code: no e-mail address
//! and no password reaches a log through here.

use counterfoil_core::probe;
use sqlx::error::ErrorKind;
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgDatabaseError;

/// A failure of the database. See each variant for what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DbError {
    /// No connection, no answer, or the server is going down or coming up. Try again later; after a commit, look first.
    #[error("the database is not available: {detail}")]
    Unavailable {
        /// What the driver said.
        detail: String,
    },
    /// Another transaction was in the way. Nothing was changed; the whole transaction may be tried again.
    #[error("the transaction met another one: {detail}")]
    Conflict {
        /// What the driver said.
        detail: String,
    },
    /// A unique constraint refused a row.
    #[error("a row with the same {target} is already there")]
    UniqueViolation {
        /// The constraint as `table.column` or `table.column,column`.
        target: String,
    },
    /// A row refers to one that is not there, or is still referred to.
    #[error("a row that another one refers to is missing or still in use")]
    ForeignKey,
    /// No space is left for data or memory.
    #[error("the database is out of space: {detail}")]
    Full {
        /// What the driver said.
        detail: String,
    },
    /// A text that cannot be kept: PostgreSQL takes none with a NUL. Whoever sent it has to send another.
    #[error("a text cannot be kept: {detail}")]
    BadText {
        /// What the driver said.
        detail: String,
    },
    /// A newer release has migrated this database. Running an older one against it could damage it.
    #[error(
        "the database has schema version {database}, but this release knows versions up to {binary}: run the release that \
         migrated it, or restore a backup from before the upgrade"
    )]
    NewerSchema {
        /// The newest version that was applied to the database.
        database: i64,
        /// The newest version that this binary brings.
        binary: i64,
    },
    /// The applied migrations are not the ones of this release.
    #[error("the database's schema does not fit this release: {detail}")]
    SchemaMismatch {
        /// Which migration, and how it differs.
        detail: String,
    },
    /// Another server process has this SQLite file.
    #[error(
        "another process uses {path}: stop it first, or use PostgreSQL (DATABASE_URL=postgres://…) to run several processes"
    )]
    Locked {
        /// The database file.
        path: String,
    },
    /// The URL names no database that we can open. The URL itself is not repeated, as it may hold a password.
    #[error("DATABASE_URL is not usable: {detail}")]
    BadUrl {
        /// What is wrong with it.
        detail: String,
    },
    /// A write on a handle that was opened to read only.
    #[error("the database was opened to read only")]
    ReadOnly,
    /// The transaction had a failed or abandoned statement and was rolled back.
    #[error("the transaction was rolled back, because a statement in it failed or was abandoned")]
    Spoiled,
    /// Anything else: most often a mistake in a statement.
    #[error("{detail}")]
    Other {
        /// What the driver said.
        detail: String,
    },
}

impl DbError {
    /// Whether this is a refusal by the unique constraint on these columns, written `customers.email` or
    /// `licenses.customer_id,version`.
    #[must_use]
    pub fn is_unique(&self, target: &str) -> bool {
        matches!(self, Self::UniqueViolation { target: found } if found == target)
    }

    /// Whether the same transaction may go through when it is tried again at once.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }

    /// Whether the database could not be reached.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Whether the database has no room for what is to be written.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::Unavailable { detail: detail.into() }
    }

    pub(crate) fn other(detail: impl Into<String>) -> Self {
        Self::Other { detail: detail.into() }
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
                Some(postgres) => from_postgres(postgres, &error.kind()),
                None => from_sqlite(error.code().as_deref(), error.message(), &error.kind()),
            },
            sqlx::Error::Io(error) => {
                probe!("F55");
                Self::unavailable(error.to_string())
            }
            sqlx::Error::Tls(error) => Self::unavailable(format!("TLS: {error}")),
            sqlx::Error::PoolTimedOut => {
                probe!("F57");
                Self::unavailable("no connection became free in time")
            }
            sqlx::Error::PoolClosed => Self::unavailable("the connections are closed"),
            sqlx::Error::WorkerCrashed => Self::unavailable("the connection's thread ended"),
            sqlx::Error::BeginFailed => Self::unavailable("no transaction could be begun"),
            sqlx::Error::Migrate(error) => Self::from(*error),
            other => Self::other(other.to_string()),
        }
    }
}

impl From<MigrateError> for DbError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) => Self::from(error),
            MigrateError::ExecuteMigration(error, version) => match Self::from(error) {
                Self::Other { detail } => Self::other(format!("migration {version}: {detail}")),
                sorted => sorted,
            },
            other => Self::SchemaMismatch { detail: other.to_string() },
        }
    }
}

fn from_postgres(error: &PgDatabaseError, kind: &ErrorKind) -> DbError {
    match kind {
        ErrorKind::UniqueViolation => DbError::UniqueViolation { target: postgres_unique_target(error) },
        ErrorKind::ForeignKeyViolation => DbError::ForeignKey,
        _ => by_sqlstate(error.code(), error.message()),
    }
}

/// SQLSTATE codes, by what they mean to a caller: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn by_sqlstate(code: &str, message: &str) -> DbError {
    let detail = format!("{message} (SQLSTATE {code})");
    match code {
        // Serialization failure, deadlock, lock not available in time.
        "40001" | "40P01" | "55P03" => {
            probe!("F56");
            DbError::Conflict { detail }
        }
        "53100" | "53200" => DbError::Full { detail },
        "22021" => DbError::BadText { detail },
        // A statement timeout, an idle transaction that was ended, and a server that became a read-only replica.
        "57014" | "25P03" | "25006" => DbError::Unavailable { detail },
        // Connection (08), wrong password (28), no such database (3D), resources (53), shutting down or starting up (57P).
        code if ["08", "28", "3D", "53", "57P"].iter().any(|class| code.starts_with(class)) => {
            DbError::Unavailable { detail }
        }
        _ => DbError::Other { detail },
    }
}

/// The columns stand in the detail, `Key (customer_id, version)=(…) already exists.`, whose words are translated but whose
/// parentheses are not. Where the detail is withheld, the constraint's name has to do.
fn postgres_unique_target(error: &PgDatabaseError) -> String {
    let table = error.table().unwrap_or("?");
    let columns = error.detail().and_then(key_columns);
    match columns {
        Some(columns) => format!("{table}.{columns}"),
        None => format!("{table}.{}", error.constraint().unwrap_or("?")),
    }
}

fn key_columns(detail: &str) -> Option<String> {
    let (_, rest) = detail.split_once('(')?;
    let (columns, _) = rest.split_once(")=(")?;
    Some(columns.split(", ").collect::<Vec<_>>().join(","))
}

/// SQLite's primary result codes: <https://www.sqlite.org/rescode.html>.
fn from_sqlite(code: Option<&str>, message: &str, kind: &ErrorKind) -> DbError {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const READONLY: i32 = 8;
    const IOERR: i32 = 10;
    const FULL: i32 = 13;
    const CANTOPEN: i32 = 14;
    let extended: i32 = code.and_then(|code| code.parse().ok()).unwrap_or_default();
    let detail = format!("{message} (SQLite code {extended})");
    match (kind, extended & 0xff) {
        (ErrorKind::UniqueViolation, _) => DbError::UniqueViolation { target: sqlite_unique_target(message) },
        (ErrorKind::ForeignKeyViolation, _) => DbError::ForeignKey,
        (_, BUSY | LOCKED) => {
            probe!("F59");
            DbError::Conflict { detail }
        }
        (_, FULL) => {
            probe!("F60");
            DbError::Full { detail }
        }
        (_, READONLY | IOERR | CANTOPEN) => DbError::Unavailable { detail },
        _ => DbError::Other { detail },
    }
}

/// `UNIQUE constraint failed: licenses.customer_id, licenses.version` → `licenses.customer_id,version`.
fn sqlite_unique_target(message: &str) -> String {
    let columns = message.rsplit(": ").next().unwrap_or(message);
    let mut target = String::new();
    for (position, column) in columns.split(", ").enumerate() {
        if position == 0 {
            target.push_str(column);
        } else {
            target.push(',');
            target.push_str(column.split_once('.').map_or(column, |(_, name)| name));
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_name_a_unique_constraint_alike() {
        let sqlite = sqlite_unique_target("UNIQUE constraint failed: licenses.customer_id, licenses.version");
        assert_eq!(sqlite, "licenses.customer_id,version");
        assert_eq!(sqlite_unique_target("UNIQUE constraint failed: customers.email"), "customers.email");
        assert_eq!(
            key_columns("Key (customer_id, version)=(c, 1) already exists.").as_deref(),
            Some("customer_id,version")
        );
        assert_eq!(key_columns("Schlüssel »(email)=(a@b (c))« existiert bereits.").as_deref(), Some("email"));
        assert_eq!(key_columns("nothing of use"), None);
    }

    #[test]
    fn codes_of_postgres_are_sorted_by_what_a_caller_can_do() {
        for code in ["40001", "40P01", "55P03"] {
            assert!(by_sqlstate(code, "x").is_conflict(), "{code}");
        }
        for code in ["53100", "53200"] {
            assert!(by_sqlstate(code, "x").is_full(), "{code}");
        }
        for code in ["57014", "25P03", "25006", "08006", "28P01", "3D000", "53300", "57P01", "57P03"] {
            assert!(by_sqlstate(code, "x").is_unavailable(), "{code}");
        }
        assert!(matches!(by_sqlstate("22021", "a NUL"), DbError::BadText { .. }));
        for code in ["22003", "23514", "25001", "40002", "42601", "57000"] {
            let told = by_sqlstate(code, "why");
            assert_eq!(told, DbError::other(format!("why (SQLSTATE {code})")));
        }
    }

    #[test]
    fn sqlite_codes_are_sorted_by_their_primary_code() {
        let sorted = |code: &str| from_sqlite(Some(code), "x", &ErrorKind::Other);
        assert!(sorted("5").is_conflict());
        assert!(sorted("517").is_conflict(), "SQLITE_BUSY_SNAPSHOT");
        assert!(matches!(sorted("13"), DbError::Full { .. }));
        assert!(sorted("778").is_unavailable(), "SQLITE_IOERR_WRITE");
        assert!(matches!(sorted("1"), DbError::Other { .. }));
        assert!(!sorted("1").is_conflict() && !sorted("13").is_conflict() && !DbError::ForeignKey.is_conflict());
        assert!(!sorted("5").is_full() && !sorted("5").is_unavailable());
    }
}
