//! `counterfoil license`: reading and verifying tokens.

use std::process::ExitCode;

use clap::Subcommand;
use counterfoil_core::Timestamp;
use counterfoil_license::{Expectations, KeySet, State, inspect, verify};

use super::output::coded;
use super::{Common, database, log_quietly, output};
use crate::clock::Clock;
use crate::config::Config;
use crate::store;

/// Commands of `license`.
#[derive(Debug, Subcommand)]
pub enum LicenseCommand {
    /// Verify a license with the public keys; exit with 1 where the product may not be used with it.
    Verify {
        /// The license, or `-` to read it from standard input.
        token: String,
        /// A file with the key set (JWKS) [default: the keys of the configured database].
        #[arg(long, value_name = "FILE")]
        jwks: Option<std::path::PathBuf>,
        /// The issuer to expect [default: COUNTERFOIL_PUBLIC_URL].
        #[arg(long)]
        issuer: Option<String>,
        /// The product to expect [default: COUNTERFOIL_PRODUCT].
        #[arg(long)]
        audience: Option<String>,
    },
    /// Show what a license says, without verifying it.
    Inspect {
        /// The license, or `-` to read it from standard input.
        token: String,
    },
}

/// Runs one of them.
pub async fn run(common: &Common, command: LicenseCommand) -> anyhow::Result<ExitCode> {
    log_quietly();
    match command {
        LicenseCommand::Verify { token, jwks, issuer, audience } => {
            let config = common.load_config()?;
            let keys = match jwks {
                Some(path) => {
                    let text = std::fs::read_to_string(&path)
                        .map_err(|error| coded("jwks_file", format!("{}: {error}", path.display())))?;
                    KeySet::from_jwks(&text)
                        .map_err(|error| coded("jwks_file", format!("{}: {error}", path.display())))?
                }
                None => keys_of_database(&config).await?,
            };
            let issuer = issuer.unwrap_or_else(|| config.public_url.as_str().to_owned());
            let audience = audience.unwrap_or_else(|| config.product.clone());
            let now = Clock::system().now();
            let verified = verify(&read(token)?, &keys, &Expectations::new(&issuer, &audience), now.as_unix_seconds());
            let value = serde_json::json!({
                "code": verified.state.code(),
                "entitled": verified.entitled(),
                "claims": verified.claims,
            });
            output::show(common.json, &value, || {
                let claims =
                    verified.claims.as_ref().map(|claims| format!("\n{}", describe(claims))).unwrap_or_default();
                format!("{}{claims}", sentence(&verified.state))
            });
            Ok(if verified.entitled() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        LicenseCommand::Inspect { token } => {
            let (header, claims) = inspect(&read(token)?)
                .map_err(|reason| coded(reason.code(), format!("this is no license: {reason}")))?;
            let value = serde_json::json!({ "verified": false, "header": header, "claims": claims });
            output::show(common.json, &value, || {
                format!("Not verified; this is what it says of itself.\n{}", describe(&claims))
            });
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn read(token: String) -> anyhow::Result<String> {
    if token != "-" {
        return Ok(token.trim().to_owned());
    }
    Ok(std::io::read_to_string(std::io::stdin())?.trim().to_owned())
}

async fn keys_of_database(config: &Config) -> anyhow::Result<KeySet> {
    let db = database::open_to_read(config).await?;
    let mut tx = db.begin_read().await?;
    let stored = store::signing_keys::list(&mut tx).await?;
    tx.rollback().await?;
    crate::app::licenses::key_set_of(&stored).map_err(anyhow::Error::from)
}

fn sentence(state: &State) -> String {
    format!("{}: {state}", state.code())
}

fn describe(claims: &counterfoil_license::Claims) -> String {
    let time = |seconds: i64| Timestamp::from_unix_seconds(seconds).date_time_in_words();
    output::table(&[
        ("customer", claims.customer_id.clone()),
        ("license", format!("{} (version {})", claims.jti, claims.ver)),
        ("product", claims.aud.clone()),
        ("issuer", claims.iss.clone()),
        ("plan", format!("{} ({})", claims.plan, claims.status)),
        ("features", claims.features.join(", ")),
        ("limits", claims.limits.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")),
        ("issued", time(claims.iat)),
        ("refresh after", time(claims.refresh_after)),
        ("paid until", time(claims.paid_until)),
        ("works until", time(claims.exp)),
    ])
}
