//! `counterfoil sandbox`: the Stripe look-alike alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use counterfoil_stripe_sandbox::{API_KEY, Sandbox, SandboxConfig, SeedWebhook};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::service::{bind, seed_prices};
use super::{Common, output};
use crate::telemetry;
use crate::web::listener::{self, Limits};

/// Options of `sandbox`.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Where to listen [default: COUNTERFOIL_SANDBOX_LISTEN, 127.0.0.1:3101].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Keep the state in this file; without it everything is forgotten at the end.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Send all events to this address.
    #[arg(long, value_name = "URL", requires = "webhook_secret")]
    webhook_url: Option<String>,
    /// Sign them with this secret.
    #[arg(long, value_name = "SECRET", requires = "webhook_url")]
    webhook_secret: Option<String>,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(common: &Common, args: SandboxArgs) -> anyhow::Result<ExitCode> {
    let config = common.load_config()?;
    telemetry::start_logging(config.log_format);
    let listen = args.listen.unwrap_or(config.sandbox_listen);
    if !listen.ip().is_loopback() {
        return Err(output::coded(
            "sandbox_not_loopback",
            format!(
                "the sandbox listens on loopback addresses only, and {listen} is none: its key is known to everybody"
            ),
        ));
    }
    let listener = bind(listen, "--listen")?;
    let url = format!("http://{}", listener.local_addr()?);
    let sandbox = Sandbox::open(SandboxConfig {
        public_url: url.clone(),
        api_key: API_KEY.to_owned(),
        data: args.data,
        prices: seed_prices(&config),
        webhook: args.webhook_url.zip(args.webhook_secret).map(|(url, secret)| SeedWebhook { url, secret }),
    })?;
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let (deliveries, stop) = (sandbox.clone(), shutdown.clone());
    tasks.spawn(async move { deliveries.run_deliveries(stop).await });
    listener::serve(listener, sandbox.router(), Limits::default(), &tasks, &shutdown);
    output::show(common.json, &serde_json::json!({ "event": "ready", "url": url, "api_key": API_KEY }), || {
        format!("The Stripe sandbox is ready at {url}, with the API key {API_KEY}.\nStop with Ctrl-C.")
    });
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(ExitCode::SUCCESS)
}
