//! `counterfoil license status-lists`: the signed status lists as files, for a static host.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::Common;
use super::operator::open_app;
use super::output::{self, coded};

/// Arguments of `license status-lists`.
#[derive(Debug, Args)]
pub struct StatusListsArgs {
    /// The folder to write to; it is created.
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
}

/// Writes every list, each whole or not at all.
pub async fn run(common: &Common, args: &StatusListsArgs) -> anyhow::Result<ExitCode> {
    let (_config, app) = open_app(common).await?;
    let mut written = Vec::new();
    std::fs::create_dir_all(&args.output).map_err(|error| unwritable(&args.output, &error))?;
    for number in 1..=app.count_status_lists().await? {
        let path = args.output.join(format!("{number}.jwt"));
        let list = app.status_list(number).await?;
        replace(&path, &list.token).map_err(|error| unwritable(&path, &error))?;
        written.push(json!({ "file": path, "uri": app.status_list_uri(number) }));
    }
    output::show(common.json, &json!({ "lists": written }), || {
        format!("wrote {} status lists to {}", written.len(), args.output.display())
    });
    Ok(ExitCode::SUCCESS)
}

/// A web server beside us reads the old file or the new one, and nothing in between.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text)?;
    std::fs::rename(&fresh, path)
}

fn unwritable(path: &Path, error: &std::io::Error) -> anyhow::Error {
    coded("output", format!("{} cannot be written: {error}", path.display()))
}
