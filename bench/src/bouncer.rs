//! pgbouncer in transaction mode, in front of the private PostgreSQL.

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::postgres::{Cluster, is_root, log_file, owner};
use crate::process::free_port;

/// Connections to PostgreSQL that all replicas share. Fewer than two replicas would open by themselves.
const POOL: u32 = 20;

const START_MAX: Duration = Duration::from_secs(10);

/// The running pooler.
pub struct Bouncer {
    pub port: u16,
    child: Child,
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        // It keeps nothing that would have to be written.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bouncer {
    /// Starts it with nothing set but the mode and the size of its pool.
    ///
    /// # Errors
    /// Where it is not installed (`scripts/bench` does that) or does not start.
    pub fn start(cluster: &Cluster, folder: &Path) -> anyhow::Result<Self> {
        let (port, program) = (free_port()?, program()?);
        let settings = folder.join("pgbouncer.ini");
        std::fs::write(&settings, Self::settings(cluster.port, port))?;
        let mut command = Command::new(program);
        let log = folder.join("pgbouncer.log");
        let child =
            command.arg(&settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log_file(&log)?).spawn()?;
        let bouncer = Self { port, child };
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            anyhow::ensure!(began.elapsed() < START_MAX, "pgbouncer does not start: {}", said());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(bouncer)
    }

    fn settings(postgres: u16, port: u16) -> String {
        // It refuses to run as root, and becomes somebody else by itself where it is told whom.
        let user = if is_root() { format!("user = {}\n", owner()) } else { String::new() };
        format!(
            "[databases]\n* = host=127.0.0.1 port={postgres} user=postgres\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = {POOL}\n\
             max_client_conn = 500\n{user}"
        )
    }

    /// The address of a database through it. Prepared statements of one transaction are not there in the next one.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?statement-cache-capacity=0", self.port)
    }
}

fn program() -> anyhow::Result<PathBuf> {
    let places = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"].map(PathBuf::from);
    places.into_iter().find(|place| place.exists()).context("no pgbouncer found: run scripts/bench, or install it")
}
