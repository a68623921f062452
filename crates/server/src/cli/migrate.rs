//! `counterfoil migrate`.

use std::process::ExitCode;

use clap::Args;
use secrecy::ExposeSecret as _;

use super::{Common, log_quietly, output};
use crate::db::{Db, SchemaState};

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
    let config = common.load_config()?;
    let url = config.database_url.expose_secret();
    if args.check {
        let db = Db::open_read_only(url).await?;
        let state = db.schema_state().await?;
        let current = matches!(state, SchemaState::Current { .. });
        let value = serde_json::json!({ "current": current, "state": format!("{state:?}") });
        output::show(common.json, &value, || match &state {
            SchemaState::Current { version } => format!("The schema is up to date (version {version})."),
            other => format!("Migrations are due: {other:?}. Run `counterfoil migrate`."),
        });
        return Ok(if current { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let db = Db::open(url).await?;
    let report = db.migrate().await?;
    let value = serde_json::json!({ "applied": report.applied, "database": db.place() });
    output::show(common.json, &value, || {
        if report.applied.is_empty() {
            format!("{}: nothing to do, the schema is up to date.", db.place())
        } else {
            format!("{}: applied {:?}.", db.place(), report.applied)
        }
    });
    db.close().await;
    Ok(ExitCode::SUCCESS)
}
