//! One seed: a world is made, lived in, mended, and judged.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use counterfoil::cli::service;
use counterfoil::config::{Config, Environment};
use counterfoil::db::testing::{self, TestDb};
use counterfoil::db::{Db, Engine};
use counterfoil::simulation;
use counterfoil_stripe_sandbox::{Sandbox, SandboxConfig, SeedWebhook};
use tokio::runtime::{Builder, Runtime};

use crate::checker::{self, Breach};
use crate::evidence::{Book, Evidence, Stripe};
use crate::fault::{Course, Fault, Taken};
use crate::forgers;
use crate::history::{History, Seen};
use crate::mending::{Mended, leases_at_rest, mend};
use crate::replicas::Replicas;
use crate::surroundings::Surroundings;
use crate::swarm::{Swarm, Without};
use crate::trouble;
use crate::users::User;
use crate::witness;
use crate::world::World;

/// Stripe's secret is being rolled: both hold.
pub(crate) const WEBHOOK_SECRETS: [&str; 2] = ["whsec_simulated0000000000", "whsec_simulated0000000001"];
/// The one before them.
pub(crate) const OLD_SECRET: &str = "whsec_simulatedlongago000";

const MAIL_PASSWORD: &str = "canary-of-the-mail-server";
/// Where the service is reached.
pub(crate) const ISSUER: &str = "http://billing.example";

/// Chance in the fixed course: which it is does not matter, as long as it is the same.
const FIXED_SEED: u64 = 1;

/// How long users have for what they do, at most.
const LIVES_MAX: Duration = Duration::from_secs(8 * 3_600);

/// What came of a seed.
#[derive(Debug)]
pub struct Outcome {
    pub seed: u64,
    pub breaches: Vec<Breach>,
    pub history: History,
    /// The business content at the end, the same on every engine.
    pub gist: Vec<String>,
    pub swarm: String,
    pub steps: u64,
    /// Those that have a number, where the course is fixed.
    pub taken: Vec<Taken>,
    pub took: Duration,
}

/// A thread's tools: the runtime on which the database's driver works, and a database that is empty for each seed.
pub struct Bench {
    driver: Runtime,
    place: Place,
    folder: PathBuf,
    config: Config,
    /// Whether stories are told aloud while they happen.
    pub aloud: bool,
}

enum Place {
    /// A file that is copied for each seed.
    Sqlite {
        template: PathBuf,
        file: PathBuf,
    },
    Postgres(Box<TestDb>),
}

impl Bench {
    pub fn new(engine: Engine, job: usize) -> anyhow::Result<Self> {
        let driver = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let memory = PathBuf::from("/dev/shm");
        let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let folder = base.join(format!("counterfoil-simulator-{}-{}-{job}", std::process::id(), engine.as_str()));
        std::fs::create_dir_all(&folder)?;
        let place = match engine {
            Engine::Sqlite => {
                let (template, file) = (folder.join("template.db"), folder.join("seed.db"));
                driver.block_on(async {
                    let db = Db::open(&format!("sqlite://{}", template.display())).await?;
                    db.migrate().await?;
                    witness::begin(&db).await?;
                    db.close().await;
                    anyhow::Ok(())
                })?;
                Place::Sqlite { template, file }
            }
            Engine::Postgres => {
                let test = driver.block_on(testing::fresh(engine));
                driver.block_on(witness::begin(&test.db))?;
                Place::Postgres(Box::new(test))
            }
        };
        let config = configure(&folder)?;
        Ok(Self { driver, place, folder, config, aloud: false })
    }

    /// An empty database. SQLite's is opened within the world.
    fn database(&self) -> anyhow::Result<Db> {
        match &self.place {
            Place::Sqlite { template, file } => {
                for old in ["", "-wal", "-shm"] {
                    // There is none before the first seed.
                    let _absent = std::fs::remove_file(format!("{}{old}", file.display()));
                }
                std::fs::copy(template, file)?;
                Ok(self.driver.block_on(Db::open(&format!("sqlite://{}", file.display())))?)
            }
            Place::Postgres(test) => {
                self.driver.block_on(async {
                    let sql = "select string_agg(quote_ident(tablename), ', ') as tables from pg_tables \
                               where schemaname = 'public' and tablename <> '_sqlx_migrations'";
                    let tables: String = test.db.query(sql).one().await?.get("tables")?;
                    test.raw(&format!("truncate {tables} restart identity cascade")).await
                })?;
                Ok(test.db.clone())
            }
        }
    }

    /// Lives through a seed and judges it.
    pub fn run(&self, seed: u64, without: &Without) -> anyhow::Result<Outcome> {
        self.live_through(seed, Swarm::draw(seed, without), Course::Drawn)
    }

    /// Lives through the fixed course, in which nothing goes wrong but this, and judges it.
    pub fn run_fixed(&self, fault: Option<Fault>) -> anyhow::Result<Outcome> {
        self.live_through(FIXED_SEED, Swarm::fixed(), Course::Fixed(fault))
    }

    fn live_through(&self, seed: u64, swarm: Swarm, course: Course) -> anyhow::Result<Outcome> {
        let began = clock();
        let db = self.database()?;
        let keys = self.folder.join("keys");
        // The first start makes the key anew.
        let _absent = std::fs::remove_dir_all(&keys);
        let told = swarm.to_string();
        let world = World::new(seed, swarm, course, self.driver.handle().clone(), self.aloud);
        let surroundings = Arc::new(Surroundings(Arc::clone(&world)));
        simulation::enter(Some(surroundings.clone()));
        counterfoil_stripe_sandbox::simulation::enter(Some(surroundings));
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let evidence = runtime.block_on(self.story(seed, &world, db.clone()));
        // All tasks go before the database does.
        drop(runtime);
        simulation::enter(None);
        counterfoil_stripe_sandbox::simulation::enter(None);
        if matches!(self.place, Place::Sqlite { .. }) {
            self.driver.block_on(db.close());
        }
        let evidence = evidence?;
        let breaches = checker::judge(&evidence);
        let steps = world.steps.load(Ordering::Relaxed);
        let (gist, history) = (evidence.book.gist(), evidence.history);
        let taken = std::mem::take(&mut *world.taken.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Outcome { seed, breaches, history, gist, swarm: told, steps, taken, took: began.elapsed() })
    }

    async fn story(&self, seed: u64, world: &Arc<World>, db: Db) -> anyhow::Result<Evidence> {
        let sandbox = Sandbox::open(SandboxConfig {
            public_url: "http://pay.example".to_owned(),
            api_key: counterfoil_stripe_sandbox::API_KEY.to_owned(),
            data: None,
            prices: service::seed_prices(&self.config),
            webhook: Some(SeedWebhook {
                url: "http://127.0.0.1:9/api/webhooks/stripe".to_owned(),
                secret: WEBHOOK_SECRETS[0].to_owned(),
            }),
        })?;
        world.begin(sandbox);
        let replicas = Replicas::new(world, db, self.config.clone());
        replicas.set_pace(world.ordinary_pace());
        replicas.supervise();
        surround(world, &replicas);
        trouble::introduce_namesakes(world).await;
        let users = live(seed, world, &replicas).await?;
        pass_time(world, &replicas).await;
        let mended = mend(world, &replicas, users).await?;
        self.gather(world, &replicas, mended).await
    }

    async fn gather(&self, world: &Arc<World>, replicas: &Replicas, mended: Mended) -> anyhow::Result<Evidence> {
        let app = replicas.any_app().context("a mended world has a replica")?;
        let held = leases_at_rest(world, &app).await?;
        let seen = witness::told(&app.db).await?;
        let request = axum::http::Request::builder().uri("/.well-known/jwks.json").body(axum::body::Body::empty())?;
        let (_, _, jwks) = replicas.request(request).await.context("the keys are published")?;
        let plans = self.config.catalog.plans();
        let priced = plans.iter().flat_map(|plan| plan.prices.iter().map(move |price| (price, plan)));
        Ok(Evidence {
            now: world.now_seconds(),
            truth: Stripe::read(world),
            book: Book { leases: held, ..Book::read(&app).await? },
            people: mended.people,
            soon: mended.soon,
            plan_of_price: priced.map(|(price, plan)| (price.stripe_price.clone(), plan.code.to_string())).collect(),
            grace_days: plans.iter().map(|plan| (plan.code.to_string(), i64::from(plan.grace_days))).collect(),
            trial_days: plans.iter().map(|plan| i64::from(plan.trial_days)).max().unwrap_or(0),
            jwks,
            issuer: self.config.public_url.as_str().to_owned(),
            audience: self.config.product.clone(),
            secrets: secrets(),
            history: what_happened(world, seen),
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // The next start would make it anew; nothing is lost where it stays.
        let _left = std::fs::remove_dir_all(&self.folder);
    }
}

/// The history at its end.
fn what_happened(world: &World, seen: Vec<Seen>) -> History {
    let mut history = std::mem::take(&mut *world.history());
    let of_stripe = seen.iter().filter(|seen| seen.subscription.is_some()).count();
    history.counts.insert("states of subscriptions committed", of_stripe as u64);
    history.seen = seen;
    history
}

/// What no answer and no mail may show, word for word.
fn secrets() -> Vec<(&'static str, &'static str)> {
    vec![
        ("the API key", counterfoil_stripe_sandbox::API_KEY),
        ("the webhook's secret", WEBHOOK_SECRETS[0]),
        ("the webhook's next secret", WEBHOOK_SECRETS[1]),
        ("the mail server's password", MAIL_PASSWORD),
        // Each of them begins so.
        ("a password", "canary password"),
        ("a password", "another password of mine"),
    ]
}

fn configure(folder: &std::path::Path) -> anyhow::Result<Config> {
    let environment: Environment = [
        ("COUNTERFOIL_PUBLIC_URL", ISSUER.to_owned()),
        ("COUNTERFOIL_DATA_DIR", folder.display().to_string()),
        ("STRIPE_SECRET_KEY", counterfoil_stripe_sandbox::API_KEY.to_owned()),
        ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRETS.join(",")),
        ("STRIPE_API_BASE", "http://127.0.0.1:9".to_owned()),
        ("SMTP_URL", format!("smtp://acme:{MAIL_PASSWORD}@127.0.0.1:9")),
        ("COUNTERFOIL_MAIL_FROM", "Acme <billing@acme.example>".to_owned()),
        // Users of the simulator are many and in a hurry; what the limits do has tests of its own.
        ("COUNTERFOIL_RATE_LIMITS", "off".to_owned()),
        ("COUNTERFOIL_ALLOWED_RETURN_ORIGINS", "https://shop.example".to_owned()),
    ]
    .into_iter()
    .collect();
    Config::parse(None, &environment).context("the simulated configuration")
}

/// Everything that goes on beside the users.
fn surround(world: &Arc<World>, replicas: &Arc<Replicas>) {
    let (w, r) = (|| Arc::clone(world), || Arc::clone(replicas));
    tokio::spawn(trouble::deliver(w(), r()));
    tokio::spawn(trouble::kill(w(), r()));
    tokio::spawn(trouble::stop(w(), r()));
    if world.course == Course::Drawn {
        tokio::spawn(forgers::forge(w(), r()));
        tokio::spawn(forgers::replay(w(), r()));
        tokio::spawn(forgers::mistake(w(), r()));
    }
}

async fn live(seed: u64, world: &Arc<World>, replicas: &Arc<Replicas>) -> anyhow::Result<Vec<User>> {
    let lives: Vec<_> = (0..world.swarm.users)
        .map(|number| User::new(seed, number, world, replicas))
        .map(|user| match world.course {
            Course::Drawn => tokio::spawn(user.live()),
            Course::Fixed(_) => tokio::spawn(user.live_as_most_do()),
        })
        .collect();
    if world.swarm.outage_hours > 0 && !world.swarm.outage_at_creation {
        let seconds = world.draw(|dice| dice.between(1, 120));
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        world.begin_outage(world.swarm.outage_hours);
    }
    let mut users = Vec::new();
    for life in lives {
        users.push(tokio::time::timeout(LIVES_MAX, life).await.context("a user takes for ever")??);
    }
    Ok(users)
}

/// What follows by time alone: an outage ends, subscriptions are renewed, licences run out.
async fn pass_time(world: &World, replicas: &Replicas) {
    if world.is_outage() {
        replicas.set_pace(1_800);
        while world.is_outage() {
            tokio::time::sleep(Duration::from_secs(900)).await;
        }
        replicas.set_pace(world.ordinary_pace());
        tokio::time::sleep(Duration::from_secs(120)).await;
    }
    if world.swarm.days_after > 0 {
        world.tell(format_args!("{} days pass", world.swarm.days_after));
        replicas.set_pace(20 * 3_600);
        tokio::time::sleep(Duration::from_secs(world.swarm.days_after * 86_400)).await;
        replicas.set_pace(2);
        tokio::time::sleep(Duration::from_secs(120)).await;
    }
}

/// The machine's clock, for how long a seed took; nothing in the story reads it.
pub fn clock() -> Instant {
    Instant::now()
}
