//! `counterfoil admin`: access for programs.

use std::process::ExitCode;

use clap::Subcommand;

use super::{Common, database, log_quietly, output};
use crate::app::api_keys::create_api_key;
use crate::app::operators::{By, Scope};
use crate::clock::Clock;
use crate::entropy::Entropy;

/// Commands of `admin`.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Make an API key for a vendor's backend or an operator. It is shown once.
    CreateKey {
        /// What the key is for, for your own lists.
        #[arg(long)]
        name: String,
        /// `checkout` (a backend), or `read`, `support`, `billing`, `admin`.
        #[arg(long, default_value = "checkout", value_parser = SCOPES, hide_possible_values = true)]
        scope: String,
    },
}

/// The words of [`Scope`].
const SCOPES: [&str; 5] = ["checkout", "read", "support", "billing", "admin"];

/// Runs one of them; safe beside a running service.
pub async fn run(common: &Common, command: AdminCommand) -> anyhow::Result<ExitCode> {
    log_quietly();
    let config = common.load_config()?;
    let AdminCommand::CreateKey { name, scope } = command;
    let wanted = Scope::parse(&scope).ok_or_else(|| anyhow::anyhow!("there is no scope `{scope}`"))?;
    let by = By::command_line(&format!("a key for {name}"))?;
    let db = database::open_to_write(&config).await?;
    let key = create_api_key(&db, &Clock::system(), &Entropy, &name, wanted, &by).await?;
    let value = serde_json::json!({ "key_id": key.key_id, "secret": key.secret, "scope": scope });
    output::show(common.json, &value, || {
        format!(
            "{}\n\nSend it as `Authorization: Bearer …`. It is not shown again; only its hash is kept (key {}).",
            key.secret, key.key_id
        )
    });
    Ok(ExitCode::SUCCESS)
}
