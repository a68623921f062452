//! A look at the engine itself: its version, and the settings that durability stands on.

use super::open::Access;
use super::{Db, DbError, Engine, Tx};

/// The oldest PostgreSQL that the statements are written for, as `server_version_num` counts.
const POSTGRES_VERSION_MIN: i64 = 150_000;

/// What the engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFacts {
    pub engine: Engine,
    pub version: String,
    /// What is not as it has to be, each a sentence.
    pub wrong: Vec<String>,
}

impl Db {
    /// Asks the engine.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn inspect(&self) -> Result<EngineFacts, DbError> {
        let is_writer = self.inner.access != Access::ReadOnly;
        let mut tx = if is_writer { self.begin().await? } else { self.begin_read().await? };
        let facts = match self.engine() {
            Engine::Sqlite => inspect_sqlite(&mut tx, is_writer).await?,
            Engine::Postgres => inspect_postgres(&mut tx).await?,
        };
        tx.rollback().await?;
        Ok(facts)
    }
}

async fn inspect_sqlite(tx: &mut Tx, is_writer: bool) -> Result<EngineFacts, DbError> {
    let version = tx.query("select sqlite_version() as version").one().await?.get("version")?;
    let journal: String = tx.query("pragma journal_mode").one().await?.get("journal_mode")?;
    let foreign_keys: i64 = tx.query("pragma foreign_keys").one().await?.get("foreign_keys")?;
    let synchronous: i64 = tx.query("pragma synchronous").one().await?.get("synchronous")?;
    let mut wrong = Vec::new();
    if journal != "wal" {
        wrong.push(format!("journal_mode is {journal} and not wal, so readers and the writer wait for each other"));
    }
    if foreign_keys != 1 {
        wrong.push("foreign keys are not enforced".to_owned());
    }
    // Only the connection that writes has to wait for the disk.
    if is_writer && synchronous < 2 {
        wrong.push("synchronous is not full, so a power cut could lose what was acknowledged".to_owned());
    }
    Ok(EngineFacts { engine: Engine::Sqlite, version, wrong })
}

async fn inspect_postgres(tx: &mut Tx) -> Result<EngineFacts, DbError> {
    let sql = "select current_setting('server_version') as version, cast(current_setting('server_version_num') as bigint) as n, \
               current_setting('synchronous_commit') as waits";
    let row = tx.query(sql).one().await?;
    let (version, waits): (String, String) = (row.get("version")?, row.get("waits")?);
    let mut wrong = Vec::new();
    if is_old(row.get("n")?) {
        wrong.push(format!("PostgreSQL {version} is older than 15"));
    }
    // A role, a database or the whole server may be set so. Every other value waits at least for the server's own disk.
    if waits == "off" {
        wrong.push("synchronous_commit is off, so a crash could lose what was acknowledged".to_owned());
    }
    Ok(EngineFacts { engine: Engine::Postgres, version, wrong })
}

fn is_old(version: i64) -> bool {
    version < POSTGRES_VERSION_MIN
}

#[cfg(test)]
mod tests {
    use crate::db::testing;

    use super::*;

    #[tokio::test]
    async fn an_engine_as_we_set_it_up_is_right_and_a_journal_of_another_kind_is_found() {
        for engine in testing::engines() {
            let db = testing::fresh(engine).await;
            let facts = db.db.inspect().await.unwrap();
            assert_eq!((facts.engine, facts.wrong), (engine, Vec::new()));
            if engine == Engine::Sqlite {
                db.leave_wal().await;
                let wrong = Db::open_read_only(db.url()).await.unwrap().inspect().await.unwrap().wrong;
                assert!(wrong.len() == 1 && wrong[0].contains("journal_mode is delete"), "{wrong:?}");
            }
        }
    }
    #[test]
    fn the_first_release_of_the_oldest_postgres_is_enough() {
        assert!(is_old(140_099) && !is_old(150_000) && !is_old(170_002));
    }

    #[tokio::test]
    async fn a_writer_that_does_not_wait_for_the_disk_is_found() {
        for engine in testing::engines() {
            let db = testing::fresh(engine).await;
            let (set, told) = match engine {
                Engine::Sqlite => ("pragma synchronous = normal", "synchronous is not full"),
                Engine::Postgres => (
                    "do $$ begin execute format('alter database %I set synchronous_commit = off', current_database()); end $$",
                    "synchronous_commit is off",
                ),
            };
            db.raw(set).await.unwrap();
            let seen = match engine {
                Engine::Sqlite => db.db.clone(),
                // What is set of a database counts for whoever connects from now on.
                Engine::Postgres => Db::open(db.url()).await.unwrap(),
            };
            let wrong = seen.inspect().await.unwrap().wrong;
            assert!(wrong.len() == 1 && wrong[0].contains(told), "{wrong:?}");
        }
    }
}
