//! Everything that is no webhook: what customers and products ask of the server.

use std::sync::Arc;
use std::time::Duration;

use crate::book::Sample;
use crate::database::Engine;
use crate::load::{Requests, Until, drive};
use crate::process::cpu_micros;
use crate::requests::{Checkouts, Mixed, Prepared, SignUps};
use crate::rows::AtStripe;
use crate::server::Roles;
use crate::stage::{Bench, Stage, Wanted};
use crate::webhooks::{require, require_licenses, sample, spread, wait_until_drained};

/// Customers whose licences are shown, in turn.
const SHOWN: u64 = 2_000;

/// Checkouts a second that the server is expected to stay below: how many customers there are to check out.
const CHECKOUT_RATE_MAX: u64 = 500;

/// The same for the events of the mixture.
const MIXED_EVENT_RATE_MAX: u64 = 2_500;

/// A request that changes nothing, or so little that it is counted at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    Refresh,
    Validate,
    KeySet,
    Login,
}

impl Read {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Refresh => "license refresh",
            Self::Validate => "validate",
            Self::KeySet => "JWKS",
            Self::Login => "login",
        }
    }

    fn requests(self, stage: &Stage<'_>, key_id: &str) -> Prepared {
        match self {
            Self::Refresh => Prepared::refresh(&stage.maker(), 0..SHOWN),
            Self::Validate => Prepared::validate(&stage.maker(), 0..SHOWN),
            Self::KeySet => Prepared::key_set(key_id),
            Self::Login => Prepared::login(0..SHOWN),
        }
    }
}

/// The database with some customers, and a server that does everything.
async fn stage(bench: &Bench, engine: Engine, customers: u64, at_stripe: AtStripe) -> anyhow::Result<Stage<'_>> {
    bench.stage(Wanted { engine, roles: Roles::All, customers, at_stripe }).await
}

/// Drives a server and says what it cost.
pub async fn measure<R: Requests>(
    stage: &Stage<'_>,
    connections: usize,
    until: Until,
    requests: Arc<R>,
) -> anyhow::Result<(Sample, u64)> {
    let before = cpu_micros(stage.server.pid())?;
    let outcome = drive(&[stage.server.address], connections, until, requests).await?;
    let cpu = cpu_micros(stage.server.pid())? - before;
    outcome.require_good()?;
    Ok((sample(stage, &outcome, cpu)?, outcome.good))
}

/// One kind of reading request.
pub async fn read(
    bench: &Bench,
    engine: Engine,
    read: Read,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Sample> {
    let stage = stage(bench, engine, SHOWN, AtStripe::Paying).await?;
    let requests = Arc::new(read.requests(&stage, bench.key.key_id()));
    let (sample, good) = measure(&stage, connections, Until::Elapsed(time), requests).await?;
    if read == Read::Login {
        require(&stage.database, "select count(*) from sessions", SHOWN + good, "sessions")?;
    }
    Ok(sample)
}

/// Sign-ups: customer, trial, licence, mail and session.
pub async fn sign_up(bench: &Bench, engine: Engine, connections: usize, time: Duration) -> anyhow::Result<Sample> {
    let stage = stage(bench, engine, 0, AtStripe::Unknown).await?;
    let (sample, good) = measure(&stage, connections, Until::Elapsed(time), Arc::new(SignUps { series: 0 })).await?;
    for (sql, what) in [
        ("select count(*) from customers", "customers"),
        ("select count(*) from licenses where version = 1", "licenses"),
        ("select count(*) from trial_ledger", "trials"),
        ("select count(*) from sessions", "sessions"),
        ("select count(*) from outbox where dedupe_key like 'license:%'", "mails"),
    ] {
        require(&stage.database, sql, good, what)?;
    }
    Ok(sample)
}

/// First checkouts: each customer becomes known at Stripe, and has a session there.
pub async fn checkout(bench: &Bench, engine: Engine, connections: usize, time: Duration) -> anyhow::Result<Sample> {
    let customers = CHECKOUT_RATE_MAX * time.as_secs().max(1);
    let stage = stage(bench, engine, customers, AtStripe::Unknown).await?;
    let (sample, good) = measure(&stage, connections, Until::Count(customers), Arc::new(Checkouts)).await?;
    require(&stage.database, "select count(*) from checkout_attempts where state = 'open'", good, "open attempts")?;
    require(&stage.database, "select count(*) from billing_links where state = 'active'", good, "links")?;
    Ok(sample)
}

/// A day's mixture: products refresh and validate, events come in, a few people sign up and log in.
pub async fn mixed(bench: &Bench, engine: Engine, connections: usize, time: Duration) -> anyhow::Result<Sample> {
    // Events are about customers whom nobody else asks about: whoever has paid gets another licence.
    let (first, payers) = (SHOWN, MIXED_EVENT_RATE_MAX * time.as_secs().max(1));
    let stage = stage(bench, engine, SHOWN + payers, AtStripe::Paying).await?;
    let maker = stage.maker();
    let mixed = Arc::new(Mixed::new(vec![
        (110, Box::new(Prepared::refresh(&maker, 0..SHOWN))),
        (50, Box::new(Prepared::validate(&maker, 0..SHOWN))),
        (20, Box::new(stage.events(first))),
        (18, Box::new(Prepared::key_set(bench.key.key_id()))),
        (1, Box::new(SignUps { series: 1 })),
        (1, Box::new(Prepared::login(0..SHOWN))),
    ]));
    drop(maker);
    let (sample, _good) = measure(&stage, connections, Until::Elapsed(time), Arc::clone(&mixed)).await?;
    wait_until_drained(&stage.database).await?;
    require_licenses(&stage.database, mixed.good(2))?;
    require(&stage.database, "select count(*) from customers", SHOWN + payers + mixed.good(4), "customers")?;
    Ok(sample)
}

/// Acknowledgements while sign-ups keep argon2 busy on all cores: of both, what the sender of the events sees.
pub async fn beside_argon2(
    bench: &Bench,
    engine: Engine,
    connections: usize,
    time: Duration,
) -> anyhow::Result<(Sample, Sample)> {
    let stage = bench.stage(Wanted { engine, roles: Roles::Web, customers: 0, at_stripe: AtStripe::Unknown }).await?;
    let (addresses, until) = ([stage.server.address], Until::Elapsed(time));
    let events = drive(&addresses, connections, until, Arc::new(stage.events(0)));
    let sign_ups = drive(&addresses, connections, until, Arc::new(SignUps { series: 0 }));
    let (events, sign_ups) = tokio::join!(events, sign_ups);
    let (events, sign_ups) = (events?, sign_ups?);
    events.require_good()?;
    sign_ups.require_good()?;
    require(&stage.database, "select count(*) from webhook_inbox", events.good, "inbox rows")?;
    require(&stage.database, "select count(*) from customers", sign_ups.good, "customers")?;
    let of = |outcome: &crate::load::Outcome| Sample { per_second: outcome.per_second(), ..spread(&outcome.latencies) };
    Ok((of(&events), of(&sign_ups)))
}

/// The bodies of a refresh, as large as they are: what bare HTTP is measured with.
pub struct Sizes {
    pub request: usize,
    pub answer: usize,
}

/// Asks once, to know the sizes.
pub async fn refresh_sizes(bench: &Bench, engine: Engine) -> anyhow::Result<Sizes> {
    let stage = stage(bench, engine, 1, AtStripe::Paying).await?;
    let requests = Prepared::refresh(&stage.maker(), 0..1);
    let mut connection = crate::http1::Connection::open(stage.server.address).await?;
    let mut request = Vec::new();
    requests.write(0, &mut request);
    let answer = connection.call(&request).await?.body.len();
    Ok(Sizes { request: requests.request_bytes(), answer })
}
