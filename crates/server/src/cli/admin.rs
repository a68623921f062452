//! `counterfoil admin`: access for programs and for other operators.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Subcommand;
use counterfoil_core::{ApiKeyId, Refusal, Timestamp};
use serde_json::json;

use super::operator::Why;
use super::{Common, database, log_quietly, output};
use crate::app::api_keys::{create_api_key, list_api_keys, revoke_api_key};
use crate::app::operators::{By, Scope};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::store::api_keys::ApiKey;
use crate::web::api::admin::keys::ApiKeyBody;

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
    /// List all API keys, with what they may do and when they were last used.
    ListKeys,
    /// Take an API key back: it opens nothing from now on.
    RevokeKey {
        /// The id of the key, as `list-keys` shows it; not its secret.
        key_id: String,
        #[command(flatten)]
        why: Why,
    },
}

/// The words of [`Scope`].
const SCOPES: [&str; 5] = ["checkout", "read", "support", "billing", "admin"];

/// Runs one of them; safe beside a running service.
pub async fn run(common: &Common, command: AdminCommand) -> anyhow::Result<ExitCode> {
    log_quietly();
    match command {
        AdminCommand::CreateKey { name, scope } => create(common, &name, &scope).await,
        AdminCommand::ListKeys => list(common).await,
        AdminCommand::RevokeKey { key_id, why } => revoke(common, &key_id, &why).await,
    }
}

async fn create(common: &Common, name: &str, scope: &str) -> anyhow::Result<ExitCode> {
    let config = common.load_config()?;
    let wanted = Scope::parse(scope).ok_or_else(|| anyhow::anyhow!("there is no scope `{scope}`"))?;
    let by = By::command_line(&format!("a key for {name}"))?;
    let db = database::open_to_write(&config).await?;
    let key = create_api_key(&db, &Clock::system(), &Entropy, name, wanted, &by).await?;
    let value = json!({ "key_id": key.key_id, "secret": key.secret, "scope": scope });
    output::show(common.json, &value, || {
        format!(
            "{}\n\nSend it as `Authorization: Bearer …`. It is not shown again; only its hash is kept (key {}).",
            key.secret, key.key_id
        )
    });
    Ok(ExitCode::SUCCESS)
}

async fn list(common: &Common) -> anyhow::Result<ExitCode> {
    let db = database::open_to_read(&common.load_config()?).await?;
    let keys = list_api_keys(&db).await?;
    let value = json!({ "keys": keys.iter().map(ApiKeyBody::from).collect::<Vec<_>>() });
    output::show(common.json, &value, || match keys.as_slice() {
        [] => "there is no API key yet; `counterfoil admin create-key --name NAME` makes one".to_owned(),
        keys => keys.iter().map(in_words).collect::<Vec<_>>().join("\n"),
    });
    Ok(ExitCode::SUCCESS)
}

async fn revoke(common: &Common, key_id: &str, why: &Why) -> anyhow::Result<ExitCode> {
    let by = why.by()?;
    let unknown = |_| crate::app::Error::from(Refusal::ApiKeyUnknown);
    let key_id: ApiKeyId = key_id.trim().parse().map_err(unknown)?;
    let db = database::open_to_write(&common.load_config()?).await?;
    let key = revoke_api_key(&db, &Clock::system(), &key_id, &by).await?;
    output::show(common.json, &json!(ApiKeyBody::from(&key)), || in_words(&key));
    Ok(ExitCode::SUCCESS)
}

fn in_words(key: &ApiKey) -> String {
    let used = key.last_used_at.map_or_else(|| "never used".to_owned(), |at| format!("last used {}", words(at)));
    let mut line = format!("{}  {:<8}  {}, made {}, {used}", key.key_id, key.scope, key.name, words(key.created_at));
    if let Some(at) = key.revoked_at {
        // Writing into a text cannot fail.
        let _ = write!(line, ", revoked {}", words(at));
    }
    line
}

fn words(at: Timestamp) -> String {
    at.date_time_in_words()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_with_its_use_and_its_end() {
        let made = Timestamp::from_unix_seconds(1_793_534_400);
        let key = ApiKey {
            key_id: ApiKeyId::from_random([1; 16]),
            name: "shop".to_owned(),
            scope: "read".to_owned(),
            created_at: made,
            last_used_at: None,
            revoked_at: None,
        };
        let begin = format!("{}  read      shop, made {}", key.key_id, made.date_time_in_words());
        assert_eq!(in_words(&key), format!("{begin}, never used"));
        let (used, ended) = (made.plus_days(1), made.plus_days(2));
        let key = ApiKey { last_used_at: Some(used), revoked_at: Some(ended), ..key };
        let (used, ended) = (used.date_time_in_words(), ended.date_time_in_words());
        assert_eq!(in_words(&key), format!("{begin}, last used {used}, revoked {ended}"));
    }
}
