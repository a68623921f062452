//! `counterfoil migrate`.

use std::process::ExitCode;

use clap::Args;
use secrecy::ExposeSecret as _;

use super::database::migrations;
use super::{Common, log_quietly, output};
use crate::db::{Db, DbError, SchemaState};

/// Options of `migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Change nothing; exit with 1 where migrations are due.
    #[arg(long)]
    check: bool,
}

/// Brings the schema up to date, or says whether it is.
pub async fn run(common: &Common, args: MigrateArgs) -> anyhow::Result<ExitCode> {
    log_quietly();
    // A new installation migrates first, and then makes the endpoint that has the secret.
    let config = common.load_config_without_webhook_secret()?;
    let url = config.database_url.expose_secret();
    if args.check {
        return check(common, &Db::open_read_only(url).await?).await;
    }
    let db = Db::open(url).await?;
    let report = db.migrate().await?;
    let value = serde_json::json!({ "database": db.place(), "version": report.version, "applied": report.applied });
    output::show(common.json, &value, || match report.applied.len() {
        0 => format!("{}: nothing to do, the schema is up to date (version {}).", db.place(), report.version),
        count => format!("{}: {} applied, the schema is at version {}.", db.place(), migrations(count), report.version),
    });
    db.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn check(common: &Common, db: &Db) -> anyhow::Result<ExitCode> {
    let (state, due) = match db.schema_state().await? {
        SchemaState::Newer { database, binary } => return Err(DbError::NewerSchema { database, binary }.into()),
        SchemaState::Current { .. } => ("current", Vec::new()),
        SchemaState::Pending { versions } => ("pending", versions),
    };
    let value = serde_json::json!({ "database": db.place(), "state": state, "due": due });
    output::show(common.json, &value, || match due.len() {
        0 => format!("{}: the schema is up to date.", db.place()),
        count => format!("{}: {} due. Run `counterfoil migrate`.", db.place(), migrations(count)),
    });
    Ok(if due.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
