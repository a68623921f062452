//! `counterfoil admin`: access for programs.

use std::process::ExitCode;

use clap::Subcommand;
use secrecy::ExposeSecret as _;

use super::{Common, log_quietly, output};
use crate::app::api_keys::create_api_key;
use crate::clock::Clock;
use crate::db::Db;
use crate::entropy::Entropy;

/// Commands of `admin`.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Make an API key for a vendor's backend. It is shown once.
    CreateKey {
        /// What the key is for, for your own lists.
        #[arg(long)]
        name: String,
        /// What the key may do: `checkout` starts checkouts for any customer.
        #[arg(long, default_value = "checkout")]
        scope: String,
    },
}

/// Runs one of them; safe beside a running service.
pub async fn run(common: &Common, command: AdminCommand) -> anyhow::Result<ExitCode> {
    log_quietly();
    let config = common.load_config()?;
    let AdminCommand::CreateKey { name, scope } = command;
    let db = Db::open_shared(config.database_url.expose_secret()).await?;
    let key = create_api_key(&db, &Clock::system(), &Entropy, &name, &scope).await?;
    let value = serde_json::json!({ "key_id": key.key_id, "secret": key.secret, "scope": scope });
    output::show(common.json, &value, || {
        format!(
            "{}\n\nSend it as `Authorization: Bearer …`. It is not shown again; only its hash is kept (key {}).",
            key.secret, key.key_id
        )
    });
    Ok(ExitCode::SUCCESS)
}
