//! What commands of operators share: the reason that the audit log wants, and the application beside a running service.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use counterfoil_core::Timestamp;

use super::output::coded;
use super::service::{self, SandboxAccess};
use super::{Common, database};
use crate::app::App;
use crate::app::operators::By;
use crate::clock::Clock;
use crate::config::Config;

/// How long the sandbox may take to tell its time.
const SANDBOX_WAIT: Duration = Duration::from_secs(5);

/// Why something is changed by hand.
#[derive(Clone, Debug, Args)]
pub struct Why {
    /// Why, in a few words, for the audit log.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl Why {
    /// Who does it, and why.
    pub fn by(&self) -> anyhow::Result<By> {
        Ok(By::command_line(&self.reason).map_err(crate::app::Error::from)?)
    }
}

/// An instant, or a day, which stands for this time of it in UTC.
pub fn day_or_instant(text: &str, time: &str) -> Result<Timestamp, String> {
    text.parse()
        .or_else(|_| format!("{text}T{time}Z").parse())
        .map_err(|_| "write a day such as 2026-12-31, or an instant such as 2026-12-31T12:00:00Z".to_owned())
}

/// The application as the running service has it, on the same database and with the same provider; it starts no worker.
///
/// In sandbox mode the provider is the sandbox of the running service, and the time is that sandbox's time.
pub async fn open_app(common: &Common) -> anyhow::Result<(Config, App)> {
    open_app_of(common.load_config()?).await
}

/// The same for a configuration that was read already.
pub async fn open_app_of(config: Config) -> anyhow::Result<(Config, App)> {
    let db = database::open_to_write(&config).await?;
    let sandbox = running_sandbox(&config).await?;
    let (access, clock) = match sandbox {
        Some((access, offset)) => (Some(access), Clock::with_offset(Arc::new(AtomicI64::new(offset)))),
        None => (None, Clock::system()),
    };
    let app = service::assemble(&config, db, clock, access.as_ref()).await?;
    Ok((config, app))
}

/// The time in which the running service lives; our own where its sandbox does not run.
pub async fn clock_of(config: &Config) -> Clock {
    match running_sandbox(config).await {
        Ok(Some((_access, offset))) => Clock::with_offset(Arc::new(AtomicI64::new(offset))),
        Ok(None) | Err(_) => Clock::system(),
    }
}

/// The sandbox of the running service, and how far its clock is ahead; `None` where the provider is Stripe.
pub async fn running_sandbox(config: &Config) -> anyhow::Result<Option<(SandboxAccess, i64)>> {
    if !config.mode.is_sandbox() {
        return Ok(None);
    }
    let address = config.sandbox_listen;
    let asleep = || {
        coded(
            "sandbox_not_running",
            format!(
                "the sandbox at {address} does not answer: start the service with `counterfoil serve`, and give this command \
                 the same COUNTERFOIL_SANDBOX_LISTEN"
            ),
        )
    };
    let client = reqwest::Client::builder().timeout(SANDBOX_WAIT).build()?;
    let answer = client.get(format!("http://{address}/_sandbox/clock")).send().await.map_err(|_silent| asleep())?;
    let told = answer.bytes().await.map_err(|_broken| asleep())?;
    let told: serde_json::Value = serde_json::from_slice(&told).map_err(|_other| asleep())?;
    let offset = told["offset_seconds"].as_i64().ok_or_else(asleep)?;
    let secret = service::read_sandbox_secret(config)?.context("the sandbox of another data directory runs there")?;
    Ok(Some((SandboxAccess { address, webhook_secret: secret.into() }, offset)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// A sandbox that answers each question with this.
    fn sandbox(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                // Whoever hangs up has heard enough.
                let _ = stream.read(&mut [0; 4096]);
                let length = answer.len();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(format!("{head}{answer}").as_bytes());
            }
        });
        address
    }

    #[tokio::test]
    async fn a_command_lives_in_the_time_of_the_sandbox_that_runs() {
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join("sandbox-webhook-secret"), "whsec_x").unwrap();
        let days_ahead = async |address: &str| {
            let settings = [("COUNTERFOIL_SANDBOX_LISTEN", address), ("COUNTERFOIL_DATA_DIR", data_dir)];
            let config = Config::parse(None, &settings.into_iter().collect()).unwrap();
            let ahead = clock_of(&config).await.now().as_unix_seconds() - Clock::system().now().as_unix_seconds();
            (running_sandbox(&config).await.map(|running| running.map(|(_, offset)| offset)), (ahead + 60) / 86_400)
        };
        let (running, ahead) = days_ahead(&sandbox("{\"offset_seconds\": 864000}")).await;
        assert_eq!((running.unwrap(), ahead), (Some(864_000), 10));
        // Somebody else answers there.
        let (running, ahead) = days_ahead(&sandbox("{\"hello\": 1}")).await;
        assert!(running.unwrap_err().to_string().contains("does not answer"));
        assert_eq!(ahead, 0);
    }
}
