//! Webhooks: acknowledged, and followed to the licence.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::book::Sample;
use crate::database::{Database, Engine};
use crate::load::{Outcome, Until, drive};
use crate::process::{cpu_micros, memory_mib};
use crate::rows::AtStripe;
use crate::server::Roles;
use crate::stage::{Bench, Stage, Wanted};
use crate::stats::{Latencies, rate};

/// How often the inbox is looked at while it drains.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Whether anything waits. One row is enough to know.
const WAITING: &str = "select count(*) from (select 1 from webhook_inbox where state = 'pending' limit 1) as waiting";

/// How many wait.
const ALL_WAITING: &str = "select count(*) from webhook_inbox where state = 'pending'";

/// How long nothing may be worked off before the run is given up.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// Webhooks acknowledged, with nothing else to do for the server: events of customers whom the database does not know, in a process that
/// only takes in.
pub async fn acknowledged(bench: &Bench, engine: Engine, connections: usize, time: Duration) -> anyhow::Result<Sample> {
    let wanted = Wanted { engine, roles: Roles::Web, customers: 0, at_stripe: AtStripe::Unknown };
    let stage = bench.stage(wanted).await?;
    let before = cpu_micros(stage.server.pid())?;
    let outcome = drive(&[stage.server.address], connections, Until::Elapsed(time), Arc::new(stage.events(0))).await?;
    let cpu = cpu_micros(stage.server.pid())? - before;
    outcome.require_good()?;
    require(&stage.database, "select count(*) from webhook_inbox where state = 'pending'", outcome.good, "inbox rows")?;
    sample(&stage, &outcome, cpu)
}

/// What a run looks like from outside: throughput and latencies as the driver saw them.
pub fn sample(stage: &Stage<'_>, outcome: &Outcome, cpu: f64) -> anyhow::Result<Sample> {
    let (_, peak_mib) = memory_mib(stage.server.pid())?;
    Ok(Sample {
        per_second: outcome.per_second(),
        cpu_micros: each(cpu, outcome.good),
        peak_mib,
        ..spread(&outcome.latencies)
    })
}

pub fn spread(latencies: &Latencies) -> Sample {
    let of = |per_mille| latencies.percentile_millis(per_mille);
    Sample { p50: of(500), p95: of(950), p99: of(990), ..Sample::default() }
}

fn each(total: f64, count: u64) -> f64 {
    let per_second = rate(count, 1.0);
    if per_second > 0.0 { total / per_second } else { 0.0 }
}

/// A run from the webhook to the committed licence, and how its acknowledgements went.
pub struct Followed {
    /// Licences a second from the first request until nothing waits. Latencies are from acknowledgement to licence.
    pub licenses: Sample,
    /// The acknowledgements of the same run.
    pub acknowledgements: Sample,
    pub drained_after_seconds: f64,
}

/// Sends one event for each of so many customers who have paid, and waits until each of them has the licence.
pub async fn followed(bench: &Bench, engine: Engine, connections: usize, events: u64) -> anyhow::Result<Followed> {
    let wanted = Wanted { engine, roles: Roles::All, customers: events, at_stripe: AtStripe::Paying };
    let stage = bench.stage(wanted).await?;
    follow(&stage, events, connections).await
}

/// The same on a database that is there: the events are about its first customers, and nothing else was worked off yet.
pub async fn follow(stage: &Stage<'_>, events: u64, connections: usize) -> anyhow::Result<Followed> {
    let before = cpu_micros(stage.server.pid())?;
    let began = Instant::now();
    let outcome = drive(&[stage.server.address], connections, Until::Count(events), Arc::new(stage.events(0))).await?;
    wait_until_drained(&stage.database).await?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = cpu_micros(stage.server.pid())? - before;
    outcome.require_good()?;
    require_licenses(&stage.database, events)?;
    let micros = stage.database.micros_to_license()?;
    let micros = micros.into_iter().map(|each| u32::try_from(each).unwrap_or(0)).collect();
    let acknowledgements = sample(stage, &outcome, cpu)?;
    let spread = spread(&Latencies::new(micros));
    let licenses = Sample { per_second: rate(events, seconds), ..spread };
    let licenses = Sample { cpu_micros: each(cpu, events), peak_mib: acknowledgements.peak_mib, ..licenses };
    Ok(Followed { licenses, acknowledgements, drained_after_seconds: seconds - outcome.seconds })
}

/// Waits until no event waits any more.
///
/// # Errors
/// Where none was worked off for a while.
pub async fn wait_until_drained(database: &Database) -> anyhow::Result<()> {
    let (mut waiting, mut since) = (i64::MAX, Instant::now());
    while database.number(WAITING)? > 0 {
        if since.elapsed() > STUCK_AFTER {
            let left = database.number(ALL_WAITING)?;
            ensure!(left < waiting, "{left} events wait, and none was worked off for {} s", STUCK_AFTER.as_secs());
            (waiting, since) = (left, Instant::now());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Each event is worked off, and each customer has what was paid for: once.
pub fn require_licenses(database: &Database, events: u64) -> anyhow::Result<()> {
    for (sql, what) in [
        ("select count(*) from webhook_inbox where state = 'processed'", "events worked off"),
        (
            "select count(*) from subscriptions where status = 'active' and plan = 'professional'",
            "active subscriptions",
        ),
        ("select count(*) from licenses where version = 2 and plan = 'professional'", "second versions"),
        ("select count(*) from license_statuses where listed = 'superseded'", "superseded versions"),
        ("select count(*) from outbox where dedupe_key like '%:2'", "mails with the second version"),
    ] {
        require(database, sql, events, what)?;
    }
    Ok(())
}

/// Counts rows, and says what is wrong where they are more or fewer.
pub fn require(database: &Database, sql: &str, expected: u64, what: &str) -> anyhow::Result<()> {
    let found = database.number(sql)?;
    ensure!(found.unsigned_abs() == expected, "{found} {what} where there have to be {expected}");
    Ok(())
}
