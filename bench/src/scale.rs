//! More replicas, and more customers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::book::{Book, Sample, Series};
use crate::bouncer::Bouncer;
use crate::database::{Database, Engine};
use crate::load::{Outcome, Until, drive};
use crate::process::cpu_micros;
use crate::reads::measure;
use crate::requests::Prepared;
use crate::rows::{AtStripe, Maker};
use crate::server::{Roles, Server};
use crate::stage::{Bench, Stage, Wanted, now};
use crate::stats::rate;
use crate::webhooks::{follow, require, require_licenses, spread, wait_until_drained};

/// Connections of the driver, over all replicas together.
const CONNECTIONS: usize = 32;

/// Customers whose licences are shown.
const SHOWN: u64 = 2_000;

/// Processes on one database.
const REPLICAS: [usize; 3] = [1, 2, 3];

/// How the replicas reach PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Direct,
    Pgbouncer,
}

impl Way {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Pgbouncer => "pgbouncer",
        }
    }
}

/// The same work with one, two and three replicas, directly and through pgbouncer.
pub async fn replicas(bench: &Bench, book: &mut Book, time: Duration, events: u64) {
    for way in [Way::Direct, Way::Pgbouncer] {
        for replicas in REPLICAS {
            let name =
                |what: &str| Series::new(format!("{what}, {replicas} × {}", way.word()), "postgres", CONNECTIONS);
            match on_replicas(bench, way, replicas, time, events).await {
                Ok((refresh, license)) => {
                    book.note(name("license refresh"), Ok(refresh));
                    book.note(name("webhook to license"), Ok(license));
                }
                Err(error) => book.note(name("replicas"), Err(error)),
            }
        }
    }
}

async fn on_replicas(
    bench: &Bench,
    way: Way,
    replicas: usize,
    time: Duration,
    events: u64,
) -> anyhow::Result<(Sample, Sample)> {
    let cluster = bench.cluster.as_ref().context("PostgreSQL was not asked for")?;
    let seeded_at = now();
    let (database, folder) = bench.database(Engine::Postgres, events.max(SHOWN), AtStripe::Paying)?;
    let Database::Postgres(base) = &database else { anyhow::bail!("a database of the other engine") };
    let bouncer = match way {
        Way::Direct => None,
        Way::Pgbouncer => Some(Bouncer::start(cluster, &folder)?),
    };
    let url = bouncer.as_ref().map_or_else(|| base.url(), |bouncer| bouncer.url(&base.name));
    let mut servers: Vec<Server> = Vec::new();
    for replica in 0..replicas {
        let own = folder.join(format!("replica{replica}"));
        servers.push(bench.launcher.start(&own, &url, Roles::All).await?);
    }
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    let cpu = || servers.iter().map(|server| cpu_micros(server.pid())).sum::<anyhow::Result<f64>>();

    let instance = bench.instance(Engine::Postgres)?;
    let maker = Maker::new(&bench.key, instance, seeded_at, AtStripe::Paying);
    let shown = Arc::new(Prepared::refresh(&maker, 0..SHOWN));
    let before = cpu()?;
    let outcome = drive(&addresses, CONNECTIONS, Until::Elapsed(time), shown).await?;
    outcome.require_good()?;
    let refresh = of(&outcome, cpu()? - before);

    let secret = crate::server::WEBHOOK_SECRET;
    let sent = Arc::new(crate::events::Events::new(secret, instance, now().as_unix_seconds(), 0));
    let (before, began) = (cpu()?, Instant::now());
    let outcome = drive(&addresses, CONNECTIONS, Until::Count(events), sent).await?;
    wait_until_drained(&database).await?;
    let per_second = rate(events, began.elapsed().as_secs_f64());
    outcome.require_good()?;
    require_licenses(&database, events)?;
    let license = Sample { per_second, ..of(&outcome, cpu()? - before) };
    let name = base.name.clone();
    drop((servers, bouncer));
    drop(database);
    cluster.drop_database(&name)?;
    Ok((refresh, license))
}

fn of(outcome: &Outcome, cpu: f64) -> Sample {
    let cpu_micros = cpu / rate(outcome.good, 1.0).max(1.0);
    Sample { per_second: outcome.per_second(), cpu_micros, ..spread(&outcome.latencies) }
}

/// What is asked of a small and of a large database.
const ASKED: [&str; 3] = ["license refresh", "validate", "webhook acknowledged"];

/// Customers who pay in the beginning; nobody asks for their licences afterwards.
const PAYERS: u64 = 1_000;

/// Requests that are prepared for one run.
const PREPARED: u64 = 30_000;

/// Events of one run never are those of another.
const EVENTS_MAX: u64 = 1_000_000;

pub fn size_name(what: &str, customers: u64) -> String {
    format!("{what}, {customers} customers")
}

/// What is compared between the two sizes.
pub fn size_workloads() -> impl Iterator<Item = &'static str> {
    ASKED.into_iter().chain(["webhook to license"])
}

/// The same requests on a database with few customers and on one with many, in turn. The customers that are asked about lie all over the
/// database, and each is asked about once as long as there are enough of them.
///
/// # Errors
/// Where a database cannot be filled, or its server does not start.
pub async fn sizes(
    bench: &Bench,
    book: &mut Book,
    engine: Engine,
    customers: [u64; 2],
    runs: usize,
    time: Duration,
) -> anyhow::Result<()> {
    const CONNECTIONS: usize = 16;
    let series = |what: &str, count: u64| Series::new(size_name(what, count), engine.word(), CONNECTIONS);
    let mut stages: Vec<(u64, Stage<'_>)> = Vec::new();
    for count in customers {
        let began = Instant::now();
        let wanted = Wanted { engine, roles: Roles::All, customers: count, at_stripe: AtStripe::Paying };
        let mut stage = bench.stage(wanted).await?;
        eprintln!("  {count} customers written in {:.0} s", began.elapsed().as_secs_f64());
        book.note(
            series("webhook to license", count),
            follow(&stage, PAYERS, CONNECTIONS).await.map(|run| run.licenses),
        );
        // From here on events are only taken in, so that every run finds the customers as they were.
        stage.restart(Roles::Web).await?;
        stages.push((count, stage));
    }
    for run in 0..runs {
        for (count, stage) in &stages {
            for what in ASKED {
                let measured = ask(stage, what, *count, run as u64, CONNECTIONS, time).await;
                book.note(series(what, *count), measured);
            }
        }
    }
    Ok(())
}

async fn ask(
    stage: &Stage<'_>,
    what: &str,
    customers: u64,
    run: u64,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Sample> {
    // Numbers are scattered over the ids, so any stretch of them lies all over the database.
    let numbers = (0..PREPARED).map(|nth| PAYERS + (run * PREPARED + nth) % (customers - PAYERS));
    let until = Until::Elapsed(time);
    let (sample, _good) = match what {
        "license refresh" => {
            measure(stage, connections, until, Arc::new(Prepared::refresh(&stage.maker(), numbers))).await?
        }
        "validate" => measure(stage, connections, until, Arc::new(Prepared::validate(&stage.maker(), numbers))).await?,
        _ => {
            let events = Arc::new(stage.events(PAYERS + run * EVENTS_MAX));
            let before = stage.database.number(INBOX)?;
            let (sample, good) = measure(stage, connections, until, events).await?;
            require(&stage.database, INBOX, before.unsigned_abs() + good, "inbox rows")?;
            (sample, good)
        }
    };
    Ok(sample)
}

const INBOX: &str = "select count(*) from webhook_inbox";
