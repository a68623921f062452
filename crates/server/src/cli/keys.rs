//! `counterfoil keys`: the keys that sign licences, and the root that vouches for them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use counterfoil_core::Timestamp;
use counterfoil_core::signing_key::{KeyState, may_sign_from};
use serde_json::json;

use super::license_changes::Progress;
use super::operator::{Why, open_app};
use super::output::{self, coded};
use super::{Common, database, keys_root, log_quietly};
use crate::app::App;
use crate::app::key_sets::installed_keys;
use crate::app::operators::By;
use crate::app::signing_keys::{Rotated, Rotation};
use crate::store::signing_keys::StoredKey;
use crate::web::api::admin::signing_keys::{SigningKeyBody, SigningKeysBody};

/// Customers read at once.
const PAGE: i64 = 500;

/// Commands of `keys`.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List the signing keys; with --json as the root takes them.
    List,
    /// Make a key and publish it. It signs nothing until `keys rotate`.
    Generate {
        /// Although a key in the database cannot be read, because its key-encryption key is lost.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Go on to the next key: it is published first, and signs ten minutes later, without a restart.
    Rotate(RotateArgs),
    /// Take a key back that signs nothing yet.
    Retire {
        /// The id of the key, as `keys list` shows it.
        // It is a hash in base64url: one in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        key_id: String,
        #[command(flatten)]
        why: Why,
    },
    /// Give a key up that somebody else has: what it signed counts no more, and is issued again.
    Compromise {
        /// The id of the key, as `keys list` shows it.
        // It is a hash in base64url: one in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        key_id: String,
        #[command(flatten)]
        why: Why,
    },
    /// The offline root key that products pin, and the key sets that it signs.
    #[command(subcommand)]
    Root(RootCommand),
}

/// How keys are rotated.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// At once: products with a copy of the keys fail until they fetch them again.
    #[arg(long)]
    now: bool,
    /// Although the root's key set does not list the new key, or the old one cannot be read.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    why: Why,
}

/// Commands of `keys root`. The first two need neither a database nor a network.
#[derive(Debug, Subcommand)]
pub enum RootCommand {
    /// Make a root key, on a machine that is kept offline, and show what products pin.
    Init {
        /// The file of the private half; one that exists is never overwritten.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Sign the list of signing keys with the root.
    Sign(SignArgs),
    /// Serve a key set that the root has signed, at /.well-known/counterfoil-keys.jwt.
    Install {
        /// The file that `keys root sign` has written.
        file: PathBuf,
        /// What products pin (cfroot1:…); needed the first time, and where another root takes over.
        #[arg(long, value_name = "ROOT")]
        root: Option<String>,
        #[command(flatten)]
        why: Why,
    },
}

/// What is signed, and for how long.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// The file of the root's private half.
    #[arg(long, value_name = "FILE")]
    pub root: PathBuf,
    /// The output of `keys list --json`, or a JSON Web Key Set.
    #[arg(long, value_name = "FILE")]
    pub keys: PathBuf,
    /// Where to write the signed set.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// How many days it is good for. Sign the next one long before.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=3660))]
    pub valid_days: u32,
    /// The server's public URL, where the file does not say it.
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
}

/// Runs one of them; safe beside a running service.
pub async fn run(common: &Common, command: KeysCommand) -> anyhow::Result<ExitCode> {
    log_quietly();
    match command {
        KeysCommand::List => list(common).await,
        KeysCommand::Generate { force, why } => generate(common, force, &why).await,
        KeysCommand::Rotate(args) => rotate(common, &args).await,
        KeysCommand::Retire { key_id, why } => retire(common, &key_id, &why).await,
        KeysCommand::Compromise { key_id, why } => compromise(common, &key_id, &why).await,
        KeysCommand::Root(RootCommand::Init { out }) => keys_root::init(common, &out),
        KeysCommand::Root(RootCommand::Sign(args)) => keys_root::sign(common, &args),
        KeysCommand::Root(RootCommand::Install { file, root, why }) => {
            keys_root::install(common, &file, root.as_deref(), &why).await
        }
    }
}

async fn list(common: &Common) -> anyhow::Result<ExitCode> {
    let config = common.load_config()?;
    let db = database::open_to_read(&config).await?;
    let installed = installed_keys(&db, config.public_url.as_str()).await?;
    output::show(common.json, &json!(SigningKeysBody::from(&installed)), || {
        let mut lines: Vec<String> = installed.keys.iter().map(in_words).collect();
        lines.push(match &installed.key_set {
            Some(set) => format!("the root {} signed them, to {}", set.root, set.expires_at.date_in_words()),
            None => "no root signs them".to_owned(),
        });
        lines.join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

fn in_words(key: &StoredKey) -> String {
    let since = |at: Option<Timestamp>| at.unwrap_or(key.created_at).date_time_in_words();
    let told = match key.state {
        KeyState::Pending => format!("published {}", since(None)),
        KeyState::Active => format!("signs since {}", since(key.activated_at)),
        KeyState::Retired => format!("retired {}", since(key.retired_at)),
        KeyState::Compromised => format!("given up {}", since(key.compromised_at)),
    };
    format!("{}  {:<11}  {told}", key.key_id, key.state.word())
}

async fn generate(common: &Common, force: bool, why: &Why) -> anyhow::Result<ExitCode> {
    let by = why.by()?;
    let (_config, app) = open_app(common).await?;
    let key = app.generate_key(force, &by).await?;
    show_published(common, &key, may_sign_from(key.created_at));
    Ok(ExitCode::SUCCESS)
}

fn show_published(common: &Common, key: &StoredKey, ready_at: Timestamp) {
    let value = json!({ "rotated": false, "key": SigningKeyBody::from(key), "ready_at": ready_at });
    output::show(common.json, &value, || {
        format!(
            "{}\nIt is published and signs nothing yet. After {} `counterfoil keys rotate` lets it sign; where a root signs the \
             keys, have it sign them again first.",
            in_words(key),
            ready_at.date_time_in_words()
        )
    });
}

async fn rotate(common: &Common, args: &RotateArgs) -> anyhow::Result<ExitCode> {
    let by = args.why.by()?;
    let (_config, app) = open_app(common).await?;
    match app.rotate_keys(Rotation { now: args.now, force: args.force }, &by).await? {
        Rotated::Published { key, ready_at } => show_published(common, &key, ready_at),
        Rotated::Activated { key, retired } => {
            let value = json!({ "rotated": true, "key": SigningKeyBody::from(&key), "retired": retired });
            output::show(common.json, &value, || match &retired {
                Some(retired) => {
                    format!("{}\nIt signs in the place of {retired}, whose licenses stay good.", in_words(&key))
                }
                None => in_words(&key),
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn retire(common: &Common, key_id: &str, why: &Why) -> anyhow::Result<ExitCode> {
    let by = why.by()?;
    let (_config, app) = open_app(common).await?;
    let key = app.retire_key(key_id.trim(), &by).await?;
    output::show(common.json, &json!(SigningKeyBody::from(&key)), || in_words(&key));
    Ok(ExitCode::SUCCESS)
}

async fn compromise(common: &Common, key_id: &str, why: &Why) -> anyhow::Result<ExitCode> {
    let by = why.by()?;
    let (_config, app) = open_app(common).await?;
    let given_up = app.compromise_key(key_id.trim(), &by).await?;
    let (issued, failures) = reissue(&app, &by).await?;
    let successor = given_up.successor.as_ref().map(|key| key.key_id.clone());
    let value = json!({
        "key": SigningKeyBody::from(&given_up.key), "successor": successor, "issued": issued, "failed": failures.len(),
    });
    output::show(common.json, &value, || {
        let next = successor.map(|key_id| format!("\n{key_id} signs in its place.")).unwrap_or_default();
        format!(
            "{}{next}\nissued {issued} licenses again. Where a root signs the keys, have it sign them again now: until then \
             products that pin it trust the key.",
            in_words(&given_up.key)
        )
    });
    match failures.first() {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => {
            let message =
                format!("{} licenses were not issued; the running service goes on with these. {first}", failures.len());
            Err(coded("reissue_incomplete", message))
        }
    }
}

/// Issues what the compromised keys signed again. What is left, a running service does.
async fn reissue(app: &App, by: &By) -> anyhow::Result<(usize, Vec<String>)> {
    let mut due = Vec::new();
    let mut after = String::new();
    loop {
        let page = app.signed_by_compromised(&after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.to_string();
        due.extend(page);
    }
    let (mut issued, mut failures) = (0, Vec::new());
    let progress = Progress::of(due.len());
    for (number, customer_id) in due.iter().enumerate() {
        match app.reissue_compromised(customer_id, by).await {
            Ok(done) => issued += usize::from(done),
            Err(error) => failures.push(format!("{customer_id}: {error}")),
        }
        progress.show(number + 1);
    }
    progress.end();
    Ok((issued, failures))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_with_the_day_of_what_it_is_now() {
        let day = |days: i64| Timestamp::from_unix_seconds(1_793_534_400).plus_days(days);
        let key = |state| StoredKey {
            key_id: "abc".to_owned(),
            public_key: String::new(),
            state,
            private_key: None,
            created_at: day(0),
            activated_at: Some(day(1)),
            retired_at: Some(day(2)),
            compromised_at: Some(day(3)),
        };
        for (state, told, days) in [
            (KeyState::Pending, "abc  pending      published", 0),
            (KeyState::Active, "abc  active       signs since", 1),
            (KeyState::Retired, "abc  retired      retired", 2),
            (KeyState::Compromised, "abc  compromised  given up", 3),
        ] {
            assert_eq!(in_words(&key(state)), format!("{told} {}", day(days).date_time_in_words()));
        }
    }
}
