//! The release server as a process of its own, with the settings of every run.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::http1::Connection;
use crate::people;
use crate::process::{self, free_port};
use crate::rows::PUBLIC_URL;

/// What webhooks are signed with.
pub const WEBHOOK_SECRET: &str = "whsec_bench0123456789abcdef";

/// How long a start may take, migrations included.
const START_MAX: Duration = Duration::from_secs(60);

/// How often it is asked whether the server answers.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// What a server does in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roles {
    /// As it is started without options.
    All,
    /// Takes in and answers; nothing is worked off.
    Web,
}

/// How servers are started.
pub struct Launcher {
    pub binary: PathBuf,
    pub license_key: String,
    pub stripe: SocketAddr,
}

/// A running server. It is ended with the value.
pub struct Server {
    pub address: SocketAddr,
    /// From the start of the process to its first answer with 200.
    pub start_millis: f64,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        process::terminate(&mut self.child);
    }
}

impl Server {
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Launcher {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// Where it ends or does not answer, with the end of its log.
    pub async fn start(&self, folder: &Path, database_url: &str, roles: Roles) -> anyhow::Result<Server> {
        std::fs::create_dir_all(folder)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let log = folder.join("server.log");
        let mut command = Command::new(&self.binary);
        command.arg("serve");
        if roles == Roles::Web {
            command.args(["--roles", "web"]);
        }
        command.env_clear().envs(self.environment(folder, database_url, address));
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(crate::postgres::log_file(&log)?);
        let began = Instant::now();
        let child = command.spawn().with_context(|| self.binary.display().to_string())?;
        let mut server = Server { address, start_millis: 0.0, child };
        while !is_ready(address).await {
            let ended = server.child.try_wait()?;
            if ended.is_some() || began.elapsed() > START_MAX {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                let from = said.char_indices().rev().nth(1500).map_or(0, |(at, _)| at);
                anyhow::bail!("the server does not start ({ended:?}): {}", &said[from..]);
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        server.start_millis = began.elapsed().as_secs_f64() * 1000.0;
        Ok(server)
    }

    fn environment(&self, folder: &Path, database_url: &str, address: SocketAddr) -> Vec<(&'static str, String)> {
        vec![
            ("PATH", std::env::var("PATH").unwrap_or_default()),
            ("TZ", "UTC".to_owned()),
            ("COUNTERFOIL_LISTEN", address.to_string()),
            ("COUNTERFOIL_PUBLIC_URL", PUBLIC_URL.to_owned()),
            ("COUNTERFOIL_DATA_DIR", folder.join("data").display().to_string()),
            ("DATABASE_URL", database_url.to_owned()),
            ("COUNTERFOIL_LICENSE_KEY", self.license_key.clone()),
            ("STRIPE_SECRET_KEY", "sk_test_bench0123456789abcdef".to_owned()),
            ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
            ("STRIPE_API_BASE", format!("http://{}", self.stripe)),
            ("COUNTERFOIL_RATE_LIMITS", "off".to_owned()),
            ("COUNTERFOIL_CHECKOUT_AUTH", "customer_id".to_owned()),
        ]
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    let mut request = Vec::new();
    people::http_request("GET", "/readyz", &[], "", &mut request);
    let Ok(mut connection) = Connection::open(address).await else { return false };
    connection.call(&request).await.is_ok_and(|answer| answer.status() == 200)
}
