//! Bare HTTP: the server's own HTTP stack with nothing behind it, in a process of its own.

use std::io::BufRead as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::post;

use crate::load::{Requests, Until, drive};
use crate::people;
use crate::reads::Sizes;

/// What [`serve`] is called by on the command line.
pub const COMMAND: &str = "bare-http";

/// Answers every `POST /` with so many bytes once it has read the body, until it is killed. Prints its address first.
pub async fn serve(answer_bytes: usize) -> anyhow::Result<()> {
    let answer = Bytes::from("x".repeat(answer_bytes));
    let handler = move |body: Bytes| async move {
        debug_assert!(!body.is_empty(), "a request of this benchmark has a body");
        ([(header::CONTENT_TYPE, "application/json")], answer)
    };
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?);
    axum::serve(listener, Router::new().route("/", post(handler))).await?;
    Ok(())
}

struct Bare(Child);

impl Drop for Bare {
    fn drop(&mut self) {
        // It has nothing to finish.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Same {
    request: Vec<u8>,
    answer_bytes: usize,
}

impl Requests for Same {
    fn write(&self, _index: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.request);
    }

    fn accepts(&self, _index: u64, status: u16, body: &[u8]) -> bool {
        status == 200 && body.len() == self.answer_bytes
    }
}

/// Requests a second of these sizes.
///
/// # Errors
/// Where the process does not start.
pub async fn requests_per_second(sizes: &Sizes, connections: usize, time: Duration) -> anyhow::Result<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([COMMAND, "--answer-bytes", &sizes.answer.to_string()]);
    let mut bare = Bare(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
    let mut line = String::new();
    std::io::BufReader::new(bare.0.stdout.take().context("its output")?).read_line(&mut line)?;
    let address: SocketAddr = line.trim().parse().context("its address")?;
    let (mut request, body) = (Vec::new(), "x".repeat(sizes.request));
    people::http_request("POST", "/", &[], &body, &mut request);
    let same = Arc::new(Same { request, answer_bytes: sizes.answer });
    let outcome = drive(&[address], connections, Until::Elapsed(time), same).await?;
    outcome.require_good()?;
    Ok(outcome.per_second())
}
