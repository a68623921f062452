//! The database of commands that answer and end, beside a service that may be running.

use super::output::coded;
use crate::config::Config;
use crate::db::{Db, DbError, SchemaState};
use secrecy::ExposeSecret as _;

/// Opens it to look. A schema that does not fit this release is refused before anything is read from it.
pub async fn open_to_read(config: &Config) -> anyhow::Result<Db> {
    let db = Db::open_read_only(config.database_url.expose_secret()).await?;
    require_schema(&db).await?;
    Ok(db)
}

/// Opens it to write. Where there is no database yet, none is made: the command has nothing to work on then.
pub async fn open_to_write(config: &Config) -> anyhow::Result<Db> {
    open_to_read(config).await?.close().await;
    Ok(Db::open_shared(config.database_url.expose_secret()).await?)
}

async fn require_schema(db: &Db) -> anyhow::Result<()> {
    match db.schema_state().await? {
        SchemaState::Current { .. } => Ok(()),
        SchemaState::Newer { database, binary } => Err(DbError::NewerSchema { database, binary }.into()),
        SchemaState::Pending { versions } => Err(coded(
            "database_not_migrated",
            format!("{} lacks {}: run `counterfoil migrate` first", db.place(), migrations(versions.len())),
        )),
    }
}

/// A number of migrations in words.
pub fn migrations(count: usize) -> String {
    if count == 1 { "1 migration".to_owned() } else { format!("{count} migrations") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_migration_is_not_several() {
        assert_eq!([0, 1, 2].map(migrations), ["0 migrations", "1 migration", "2 migrations"]);
    }
}
