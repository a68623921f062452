//! The command line: everything an operator does, and what `cargo run` does.
//!
//! Results go to standard output, in words or with `--json` as JSON; logs and errors go to standard error. Exit codes: 0 done,
//! 1 failed or refused, 2 wrong usage or configuration.

mod admin;
mod core_dumps;
mod customer;
mod database;
mod demo;
mod doctor;
mod event;
mod job;
mod keys;
mod keys_root;
mod leaving;
mod license;
mod license_changes;
mod manual;
mod migrate;
mod open_files;
mod operator;
mod output;
mod reconcile;
mod sandbox;
mod serve;
pub mod service;
mod status_lists;
mod stripe;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError, Environment, LogFormat};
use crate::telemetry;

/// Subscriptions and signed licenses, from sign-up to a paid plan, with one customer id that is yours.
#[derive(Debug, Parser)]
#[command(name = "counterfoil", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
struct Common {
    /// The configuration file [default: ./counterfoil.toml, if it is there].
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Answer with JSON instead of words.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service (the default); without STRIPE_SECRET_KEY as a sandbox with play money.
    Serve(serve::ServeArgs),
    /// Walk through sign-up, checkout, payment and license on a database of its own.
    Demo(demo::DemoArgs),
    /// Bring the database's schema up to date.
    Migrate(migrate::MigrateArgs),
    /// Run the Stripe sandbox alone, for tests and development.
    Sandbox(sandbox::SandboxArgs),
    /// Read and verify licenses; issue, revoke and send them.
    #[command(subcommand)]
    License(license::LicenseCommand),
    /// The keys that sign licenses: see, rotate and give them up; the root that vouches for them.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Find customers, say what happened to them, and help them.
    #[command(subcommand)]
    Customer(customer::CustomerCommand),
    /// Make trials longer.
    #[command(subcommand)]
    Trial(trial::TrialCommand),
    /// Payment by invoice or bank transfer, as an operator writes it down.
    #[command(subcommand)]
    Manual(manual::ManualCommand),
    /// See the events that came from the payment provider, and work one off again.
    #[command(subcommand)]
    Event(event::EventCommand),
    /// See what is owed and not done yet, do it now, or give it up.
    #[command(subcommand)]
    Job(job::JobCommand),
    /// Compare the book with the payment provider.
    Reconcile(reconcile::ReconcileArgs),
    /// Make, list and take back the API keys of programs and operators.
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    /// Look at the whole installation, and say what works, what does not, and what to do about it.
    Doctor(doctor::DoctorArgs),
    /// Set up the account at Stripe, and check it.
    #[command(subcommand)]
    Stripe(stripe::StripeCommand),
    /// Print the version.
    Version,
}

impl Common {
    fn load_config(&self) -> Result<Config, ConfigError> {
        Config::load(self.config.as_deref(), &Environment::of_process())
    }

    /// For what is done before there is a webhook secret.
    fn load_config_without_webhook_secret(&self) -> Result<Config, ConfigError> {
        Config::load_without_webhook_secret(self.config.as_deref(), &Environment::of_process())
    }
}

/// Runs the command of this process.
pub fn main() -> ExitCode {
    #[cfg(feature = "planted-bugs")]
    crate::plant_from_environment();
    let cli = Cli::parse();
    let json = cli.common.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(json, &anyhow::Error::from(error).context("the runtime does not start")),
    };
    // An error means that a provider is installed already, which serves as well.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => output::fail(json, &error),
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let common = cli.common;
    match cli.command.unwrap_or(Command::Serve(serve::ServeArgs::default())) {
        Command::Serve(args) => serve::run(&common, args).await,
        Command::Demo(args) => demo::run(&common, args).await,
        Command::Migrate(args) => migrate::run(&common, args).await,
        Command::Sandbox(args) => sandbox::run(&common, args).await,
        Command::License(command) => license::run(&common, command).await,
        Command::Keys(command) => keys::run(&common, command).await,
        Command::Customer(command) => customer::run(&common, command).await,
        Command::Trial(command) => trial::run(&common, command).await,
        Command::Manual(command) => manual::run(&common, command).await,
        Command::Event(command) => event::run(&common, command).await,
        Command::Job(command) => job::run(&common, command).await,
        Command::Reconcile(args) => reconcile::run(&common, args).await,
        Command::Admin(command) => admin::run(&common, command).await,
        Command::Doctor(args) => doctor::run(&common, &args).await,
        Command::Stripe(command) => stripe::run(&common, command).await,
        Command::Version => {
            output::show(common.json, &serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }), || {
                format!("counterfoil {}", env!("CARGO_PKG_VERSION"))
            });
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Commands that answer and end are quiet unless something is wrong.
fn log_quietly() {
    if std::env::var_os("RUST_LOG").is_none() {
        return;
    }
    telemetry::start_logging(LogFormat::Auto);
}
