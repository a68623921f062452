//! `counterfoil serve`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use super::service::{Roles, Service};
use super::{Common, core_dumps};
use crate::config::Config;
use crate::telemetry;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Answers requests.
    Web,
    /// Works off events and mails.
    Worker,
}

/// Options of `serve`.
#[derive(Debug, Default, Args)]
pub struct ServeArgs {
    /// What this process does; several replicas can share the work.
    #[arg(long, value_delimiter = ',', value_name = "ROLE")]
    roles: Vec<Role>,
    /// Do not bring the schema up to date; refuse to start where it is not.
    #[arg(long)]
    no_migrate: bool,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(common: &Common, args: ServeArgs) -> anyhow::Result<ExitCode> {
    let config = common.load_config()?;
    telemetry::start_logging(config.log_format);
    telemetry::log_panics();
    core_dumps::forbid();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let roles = if args.roles.is_empty() {
        Roles::ALL
    } else {
        Roles { web: args.roles.contains(&Role::Web), worker: args.roles.contains(&Role::Worker) }
    };
    let service = Service::start(&config, roles, !args.no_migrate).await?;
    announce(common, &config, roles, &service);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: finishing what was begun");
    let in_time = service.stop().await;
    tracing::info!(in_time, "stopped");
    Ok(if in_time { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn announce(common: &Common, config: &Config, roles: Roles, service: &Service) {
    let url = config.public_url.as_str();
    let database = service.app.db.place();
    let value = serde_json::json!({
        "event": "ready",
        "version": env!("CARGO_PKG_VERSION"),
        "address": service.address.to_string(),
        "public_url": url,
        "sandbox": service.sandbox_address.map(|address| format!("http://{address}")),
        "database": database,
    });
    if common.json {
        println!("{value}");
        return;
    }
    println!("Counterfoil {} is ready.\n", env!("CARGO_PKG_VERSION"));
    if roles.web {
        println!("  Pages      {url}");
        println!("  API        {url}/api/docs");
    } else {
        println!("  Worker     health and numbers at http://{}", service.address);
    }
    println!("  Database   {database}");
    if let Some(sandbox) = service.sandbox_address.filter(|_| roles.web) {
        println!("  Mailbox    {url}/sandbox/mailbox");
        println!("  Stripe     http://{sandbox} (built-in sandbox: no account, no real money)");
        println!("\nOpen {url}/signup, sign up, choose a plan and pay with the test card.");
    }
    println!("Stop with Ctrl-C.");
}
