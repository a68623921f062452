//! `counterfoil stripe`: sets the account at Stripe up, and looks whether it fits.
//!
//! What is to be done is decided and done in `providers::stripe::setup`; here it is asked for and told.

mod catalog_file;
mod setup;

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::operator::running_sandbox;
use super::{Common, database, log_quietly, output, service};
use crate::app::examine::{Surroundings, examine};
use crate::clock::Clock;
use crate::entropy::Entropy;

/// Commands of `stripe`.
#[derive(Debug, Subcommand)]
pub enum StripeCommand {
    /// Make or find the products, prices, webhook endpoint and portal that are needed.
    Setup(setup::SetupArgs),
    /// Look whether key, prices, webhook endpoint and portal are as they should be.
    Doctor,
}

/// Runs one of them; works beside a running service.
pub async fn run(common: &Common, command: StripeCommand) -> anyhow::Result<ExitCode> {
    log_quietly();
    match command {
        StripeCommand::Setup(args) => setup::run(common, &args).await,
        StripeCommand::Doctor => doctor(common).await,
    }
}

async fn doctor(common: &Common) -> anyhow::Result<ExitCode> {
    let config = common.load_config_without_webhook_secret()?;
    let db = database::open_to_read(&config).await?;
    let sandbox = running_sandbox(&config).await?;
    let stripe = service::stripe(&config, sandbox.as_ref().map(|(access, _)| access), Entropy)?;
    let surroundings = Surroundings {
        catalog: &config.catalog,
        public_url: config.public_url.as_str(),
        sandbox: config.mode.is_sandbox(),
        now: Clock::system().now(),
    };
    let report = examine(&db, &stripe, &surroundings).await?;
    output::show(common.json, &json!(report), || report.in_words());
    Ok(if report.has_problems() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
