//! Migrations: the schema of each engine, embedded in the binary, applied in one transaction.
//!
//! A database that a newer release has migrated is refused rather than used: the older release does not know what the newer
//! one relies on. One transaction around all of it means that a database is at a known version or untouched, and lets the
//! lock that keeps replicas apart live in the transaction, where a pooler in transaction mode cannot lose it.

use counterfoil_core::probe;
use std::collections::BTreeSet;

use sqlx::migrate::Migrator;

use super::error::DbError;
use super::open::Pools;
use super::{Connection, Db, Engine, Tx, passage};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// Any number will do that no other program uses on the same database.
pub(super) const POSTGRES_LOCK_SQL: &str = "select pg_advisory_xact_lock(4857234905114)";

/// What [`Db::migrate`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationReport {
    /// The versions that were applied now; empty where the schema was up to date.
    pub applied: Vec<i64>,
    /// The version of the schema afterwards.
    pub version: i64,
}

/// How the database's schema compares to this binary's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// Equal: the server can start.
    Current {
        /// The version of both.
        version: i64,
    },
    /// Older, or empty: [`Db::migrate`] is due.
    Pending {
        /// The versions to be applied, in order.
        versions: Vec<i64>,
    },
    /// Newer: this binary must not be used with it.
    Newer {
        /// The newest version in the database.
        database: i64,
        /// The newest version that this binary brings.
        binary: i64,
    },
}

impl Db {
    /// Brings the schema up to date; replicas that start at once wait for each other.
    ///
    /// # Errors
    /// [`DbError::NewerSchema`] or [`DbError::SchemaMismatch`] where the database is not ours to migrate.
    pub async fn migrate(&self) -> Result<MigrationReport, DbError> {
        let migrator = migrator(self.engine());
        let mut tx = self.begin_migration().await?;
        if self.engine() == Engine::Postgres {
            tx.query(POSTGRES_LOCK_SQL).execute().await?;
        }
        let before = applied_versions(&mut tx).await?;
        refuse_newer(compare(migrator, &before))?;
        self.refuse_emptied(&before)?;
        let in_our_transaction =
            Migrator { migrations: migrator.migrations.clone(), locking: false, ..Migrator::DEFAULT };
        match tx.open()? {
            Connection::Sqlite(connection) => {
                passage::drive(in_our_transaction.run_direct(None, connection, false)).await?
            }
            Connection::Postgres(connection) => {
                passage::drive(in_our_transaction.run_direct(None, connection, false)).await?;
            }
        }
        let after = applied_versions(&mut tx).await?;
        tx.commit().await?;
        if let Pools::Sqlite(pools) = &self.inner.pools {
            pools.note_use().map_err(|error| DbError::unavailable(format!("lock file: {error}")))?;
        }
        Ok(MigrationReport {
            version: after.last().copied().unwrap_or_default(),
            applied: after.difference(&before).copied().collect(),
        })
    }

    fn refuse_emptied(&self, applied: &BTreeSet<i64>) -> Result<(), DbError> {
        match &self.inner.pools {
            Pools::Sqlite(pools) if applied.is_empty() && pools.was_in_use() => {
                let lock = pools.beside().display();
                let detail = format!(
                    "there was a database in this file, and it is empty now: restore a backup, or remove {lock} to begin anew"
                );
                Err(DbError::SchemaMismatch { detail })
            }
            Pools::Sqlite(_) | Pools::Postgres(_) => Ok(()),
        }
    }

    /// Compares the schemas without changing anything.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn schema_state(&self) -> Result<SchemaState, DbError> {
        let mut tx = self.begin().await?;
        let applied = applied_versions(&mut tx).await?;
        tx.rollback().await?;
        Ok(compare(migrator(self.engine()), &applied))
    }

    /// For a start without migrating.
    ///
    /// # Errors
    /// [`DbError::NewerSchema`], or [`DbError::SchemaMismatch`] where migrations are due.
    pub async fn require_current_schema(&self) -> Result<(), DbError> {
        match refuse_newer(self.schema_state().await?)? {
            SchemaState::Pending { versions } => Err(DbError::SchemaMismatch {
                detail: format!("{} migrations are due: run `counterfoil migrate`", versions.len()),
            }),
            SchemaState::Current { .. } | SchemaState::Newer { .. } => Ok(()),
        }
    }
}

fn migrator(engine: Engine) -> &'static Migrator {
    match engine {
        Engine::Sqlite => &SQLITE,
        Engine::Postgres => &POSTGRES,
    }
}

fn compare(migrator: &Migrator, applied: &BTreeSet<i64>) -> SchemaState {
    let known: BTreeSet<i64> = migrator.iter().map(|migration| migration.version).collect();
    let binary = known.last().copied().unwrap_or_default();
    match applied.last() {
        Some(&database) if database > binary => SchemaState::Newer { database, binary },
        _ if known.is_subset(applied) => SchemaState::Current { version: binary },
        _ => SchemaState::Pending { versions: known.difference(applied).copied().collect() },
    }
}

fn refuse_newer(state: SchemaState) -> Result<SchemaState, DbError> {
    match state {
        SchemaState::Newer { database, binary } => {
            probe!("F62");
            Err(DbError::NewerSchema { database, binary })
        }
        other => Ok(other),
    }
}

/// Versions in the migrator's own table, which is not there before the first migration.
async fn applied_versions(tx: &mut Tx) -> Result<BTreeSet<i64>, DbError> {
    // The engines keep their catalogue in different places.
    let table = match tx.open()? {
        Connection::Sqlite(_) => "select name from sqlite_master where type = 'table' and name = '_sqlx_migrations'",
        Connection::Postgres(_) => {
            "select to_regclass('_sqlx_migrations')::text as name where to_regclass('_sqlx_migrations') is not null"
        }
    };
    if tx.query(table).optional().await?.is_none() {
        return Ok(BTreeSet::new());
    }
    tx.query("select version from _sqlx_migrations where success")
        .all()
        .await?
        .iter()
        .map(|row| row.get("version"))
        .collect()
}
