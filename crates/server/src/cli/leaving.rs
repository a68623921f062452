//! `counterfoil customer export` and `delete`: taking data along, and going; and what is shown of who has gone.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::Common;
use super::customer::{find_id, no_such_customer};
use super::operator::{Why, open_app};
use super::output::{self, coded};
use crate::app::deletion::Running;
use crate::app::tombstones::TombstoneFile;
use crate::db::Tx;
use crate::web::api::admin::customers::HistoryLineBody;

/// Whom to delete.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Our id (cust_…), the e-mail address, or the id at Stripe (cus_…).
    customer: String,
    #[command(flatten)]
    why: Why,
    /// End a running subscription at once; what is left of its period is not paid back.
    #[arg(long)]
    end_subscription: bool,
    /// Do not ask whether this is meant.
    #[arg(long)]
    yes: bool,
}

/// Writes the export.
pub async fn export(common: &Common, wanted: &str, file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let (_config, app) = open_app(common).await?;
    let customer_id = find_id(&app, wanted).await?;
    let export = json!(app.export_for_operators(&customer_id).await?);
    let Some(file) = file else {
        output::say(&format!("{export:#}"));
        return Ok(ExitCode::SUCCESS);
    };
    write_private(file, &export).with_context(|| format!("{} could not be written", file.display()))?;
    let told = json!({ "customer_id": customer_id, "file": file });
    output::show(common.json, &told, || format!("what is kept of {customer_id} is in {}", file.display()));
    Ok(ExitCode::SUCCESS)
}

/// A file that is there already is never written over: it may be somebody else's.
fn write_private(file: &Path, export: &Value) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(PathBuf::from(file))?;
    file.write_all(format!("{export:#}\n").as_bytes())?;
    file.sync_all()
}

/// Deletes an account.
pub async fn delete(common: &Common, args: &DeleteArgs) -> anyhow::Result<ExitCode> {
    let by = args.why.by()?;
    let (_config, app) = open_app(common).await?;
    let customer_id = find_id(&app, &args.customer).await?;
    if !args.yes {
        confirm(customer_id.as_str())?;
    }
    let deleted_at = app.delete_customer_by(&customer_id, &by, Running::of(args.end_subscription)).await?;
    output::show(common.json, &json!({ "customer_id": customer_id, "deleted_at": deleted_at }), || {
        format!("{customer_id} is deleted; a last mail tells the customer")
    });
    Ok(ExitCode::SUCCESS)
}

fn confirm(customer_id: &str) -> anyhow::Result<()> {
    let question = format!("This cannot be taken back. Write {customer_id} to delete the account: ");
    let mut err = std::io::stderr().lock();
    // Where nobody can read the question, nobody answers it either.
    let _ = err.write_all(question.as_bytes()).and_then(|()| err.flush());
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("the answer could not be read")?;
    if answer.trim() == customer_id {
        return Ok(());
    }
    Err(coded("not_confirmed", "nothing was deleted: the answer was another one; `--yes` answers in advance"))
}

/// Shows what is left of a deleted account, where that is meant.
pub async fn show_tombstone(common: &Common, mut tx: Tx, wanted: &str) -> anyhow::Result<ExitCode> {
    let file = TombstoneFile::find(&mut tx, wanted).await?.ok_or_else(no_such_customer)?;
    tx.rollback().await?;
    let history: Vec<HistoryLineBody> = file.history.iter().map(Into::into).collect();
    let told = json!({
        "customer_id": file.tombstone.customer_id,
        "code": "customer_deleted",
        "created_at": file.tombstone.created_at,
        "deleted_at": file.tombstone.deleted_at,
        "stripe_customer_id": file.tombstone.external_id.as_ref().map(ToString::to_string),
        "history": history,
    });
    output::show(common.json, &told, || file.in_words());
    Ok(ExitCode::SUCCESS)
}
