//! The driver: so many connections, each sending its next request as soon as the last one is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::http1::Connection;
use crate::stats::{Latencies, rate};

/// What is sent. One instance serves all connections.
pub trait Requests: Send + Sync + 'static {
    /// Writes request `index`; no two requests of a run have the same index.
    fn write(&self, index: u64, out: &mut Vec<u8>);

    /// Whether this is the answer that request `index` has to get.
    fn accepts(&self, index: u64, status: u16, body: &[u8]) -> bool;
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// No request begins after this time.
    Elapsed(Duration),
    /// So many requests are sent.
    Count(u64),
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub seconds: f64,
    /// Requests that got the answer they had to get.
    pub good: u64,
    pub bad: u64,
    /// The first wrong answer, for whoever has to find out why.
    pub first_bad: Option<String>,
    pub latencies: Latencies,
}

impl Outcome {
    pub fn per_second(&self) -> f64 {
        rate(self.good, self.seconds)
    }

    /// # Errors
    /// Where any answer was wrong, or there was none at all: such a run measures nothing.
    pub fn require_good(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.bad == 0,
            "{} of {} answers were wrong, the first: {}",
            self.bad,
            self.bad + self.good,
            self.first_bad.as_deref().unwrap_or("?")
        );
        anyhow::ensure!(self.good > 0, "nothing was answered");
        Ok(())
    }
}

struct Shared<R> {
    requests: Arc<R>,
    next: AtomicU64,
    until: Until,
    begin: Barrier,
}

/// Sends requests over `connections` connections, spread evenly over the addresses, until the run is over.
pub async fn drive<R: Requests>(
    addresses: &[SocketAddr],
    connections: usize,
    until: Until,
    requests: Arc<R>,
) -> anyhow::Result<Outcome> {
    let shared = Arc::new(Shared { requests, next: AtomicU64::new(0), until, begin: Barrier::new(connections + 1) });
    let mut workers = JoinSet::new();
    for index in 0..connections {
        let connection = Connection::open(addresses[index % addresses.len()]).await.context("the server's address")?;
        workers.spawn(work(connection, Arc::clone(&shared)));
    }
    shared.begin.wait().await;
    let began = Instant::now();
    let (mut outcome, mut micros) = (Outcome::default(), Vec::new());
    while let Some(part) = workers.join_next().await {
        let (part, mut times) = part.context("a connection's task broke off")?.context("a connection broke")?;
        outcome.good += part.good;
        outcome.bad += part.bad;
        outcome.first_bad = outcome.first_bad.or(part.first_bad);
        micros.append(&mut times);
    }
    outcome.seconds = began.elapsed().as_secs_f64();
    outcome.latencies = Latencies::new(micros);
    Ok(outcome)
}

async fn work<R: Requests>(mut connection: Connection, shared: Arc<Shared<R>>) -> std::io::Result<(Outcome, Vec<u32>)> {
    let (mut outcome, mut micros, mut request) = (Outcome::default(), Vec::new(), Vec::new());
    shared.begin.wait().await;
    let began = Instant::now();
    loop {
        let index = shared.next.fetch_add(1, Ordering::Relaxed);
        match shared.until {
            Until::Elapsed(limit) if began.elapsed() >= limit => break,
            Until::Count(count) if index >= count => break,
            Until::Elapsed(_) | Until::Count(_) => {}
        }
        request.clear();
        shared.requests.write(index, &mut request);
        let sent = Instant::now();
        let answer = connection.call(&request).await?;
        micros.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
        if shared.requests.accepts(index, answer.status(), answer.body) {
            outcome.good += 1;
        } else {
            outcome.bad += 1;
            outcome.first_bad.get_or_insert_with(|| {
                let body: String = String::from_utf8_lossy(answer.body).chars().take(300).collect();
                format!("{} {body}", answer.first_line)
            });
        }
    }
    Ok((outcome, micros))
}
