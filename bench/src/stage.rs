//! What every run stands on: a stub, a PostgreSQL, and for each run a fresh copy of a database that the server itself has made.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use counterfoil_core::Timestamp;
use counterfoil_license::SigningKey;

use crate::database::{Database, Engine};
use crate::events::Events;
use crate::postgres::Cluster;
use crate::process::{self, run};
use crate::rows::{AtStripe, Maker};
use crate::server::{Launcher, Roles, Server, WEBHOOK_SECRET};
use crate::sqlite;
use crate::stub::Stub;
use crate::work::Texts;

/// The database that all others on PostgreSQL are copies of.
const TEMPLATE: &str = "bench_template";

/// The time of the machine. Signatures of events and the terms of licences follow it.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Everything that runs share.
pub struct Bench {
    pub folder: PathBuf,
    pub launcher: Launcher,
    pub stub: Stub,
    pub key: SigningKey,
    pub cluster: Option<Cluster>,
    /// The instance in the template of each engine, as events have to name it.
    instances: Vec<(Engine, String)>,
    made: AtomicU64,
    keep: bool,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.cluster = None;
        if self.keep {
            eprintln!("kept: {}", self.folder.display());
        } else {
            // What cannot be removed is in a folder for temporary things.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// What a run wants.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub engine: Engine,
    pub roles: Roles,
    pub customers: u64,
    pub at_stripe: AtStripe,
}

/// One run's database, and the server on it.
pub struct Stage<'a> {
    bench: &'a Bench,
    pub database: Database,
    pub server: Server,
    instance: String,
    folder: PathBuf,
    /// When the customers were made.
    seeded_at: Timestamp,
    at_stripe: AtStripe,
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        process::terminate(self.server.child());
        if let (Database::Postgres(base), Some(cluster)) = (&self.database, &self.bench.cluster) {
            let name = base.name.clone();
            if let Err(error) = cluster.drop_database(&name) {
                eprintln!("{name} is left: {error}");
            }
        }
        if !self.bench.keep {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

impl Bench {
    /// Finds or builds the server, starts what runs need, and makes the templates.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub async fn start(engines: &[Engine], folder: &Path, keep: bool) -> anyhow::Result<Self> {
        let binary = find_server()?;
        std::fs::create_dir_all(folder)?;
        let stub = Stub::start(now().as_unix_seconds()).await?;
        // A benchmark's licences protect nothing, so its key needs no secret.
        let key = SigningKey::from_seed(&[42; 32]);
        let launcher = Launcher { binary, license_key: key.to_pem().to_string(), stripe: stub.address };
        let cluster = match engines.contains(&Engine::Postgres) {
            true => Some(Cluster::start(&folder.join("postgres"))?),
            false => None,
        };
        let (folder, made) = (folder.to_owned(), AtomicU64::new(0));
        let mut bench = Self { folder, launcher, stub, key, cluster, instances: Vec::new(), made, keep };
        for engine in engines {
            let instance = bench.make_template(*engine).await?;
            bench.instances.push((*engine, instance));
        }
        Ok(bench)
    }

    fn cluster(&self) -> anyhow::Result<&Cluster> {
        self.cluster.as_ref().context("PostgreSQL was not asked for")
    }

    fn template_file(&self) -> PathBuf {
        self.folder.join("template.db")
    }

    /// Lets the server take an empty database into use, so that schema, instance and key are its own work.
    async fn make_template(&self, engine: Engine) -> anyhow::Result<String> {
        let folder = self.folder.join(format!("template-{}", engine.word()));
        let path = self.template_file();
        let url = match engine {
            Engine::Sqlite => format!("sqlite://{}", path.display()),
            Engine::Postgres => {
                self.cluster()?.create(TEMPLATE, None)?;
                self.cluster()?.url(TEMPLATE)
            }
        };
        drop(self.launcher.start(&folder, &url, Roles::All).await?);
        const INSTANCE: &str = "select instance_id from instance";
        match engine {
            Engine::Sqlite => sqlite::File::open(&path)?.text(INSTANCE),
            Engine::Postgres => self.cluster()?.connect(TEMPLATE)?.text(INSTANCE),
        }
    }

    pub fn instance(&self, engine: Engine) -> anyhow::Result<&str> {
        let found = self.instances.iter().find(|(known, _)| *known == engine);
        found.map(|(_, instance)| instance.as_str()).context("this engine was not asked for")
    }

    /// A copy of the template, with customers in it.
    pub fn database(&self, engine: Engine, customers: u64, at_stripe: AtStripe) -> anyhow::Result<(Database, PathBuf)> {
        let name = format!("bench_{}", self.made.fetch_add(1, Ordering::Relaxed));
        let folder = self.folder.join(&name);
        std::fs::create_dir_all(&folder)?;
        let database = match engine {
            Engine::Sqlite => {
                let path = folder.join("counterfoil.db");
                std::fs::copy(self.template_file(), &path)?;
                Database::Sqlite(sqlite::File::open(&path)?)
            }
            Engine::Postgres => {
                self.cluster()?.create(&name, Some(TEMPLATE))?;
                Database::Postgres(self.cluster()?.connect(&name)?)
            }
        };
        if customers > 0 {
            database.fill(&Maker::new(&self.key, self.instance(engine)?, now(), at_stripe), 0..customers)?;
        }
        Ok((database, folder))
    }

    /// A database and a server on it.
    pub async fn stage(&self, wanted: Wanted) -> anyhow::Result<Stage<'_>> {
        let seeded_at = now();
        let (database, folder) = self.database(wanted.engine, wanted.customers, wanted.at_stripe)?;
        let server = self.launcher.start(&folder, &database.url(), wanted.roles).await?;
        let instance = self.instance(wanted.engine)?.to_owned();
        Ok(Stage { bench: self, database, server, instance, folder, seeded_at, at_stripe: wanted.at_stripe })
    }

    /// The long texts of an event's rows, for the loops that write without a server.
    pub fn texts(&self, engine: Engine) -> anyhow::Result<Texts> {
        let instance = self.instance(engine)?;
        let events = Events::new(WEBHOOK_SECRET, instance, now().as_unix_seconds(), 0);
        let maker = Maker::new(&self.key, instance, now(), AtStripe::Paying);
        Ok(Texts {
            body: events.body(0),
            token: maker.token(0),
            key_id: self.key.key_id().to_owned(),
            instance: instance.to_owned(),
        })
    }

    pub fn server_bytes(&self) -> anyhow::Result<u64> {
        Ok(std::fs::metadata(&self.launcher.binary)?.len())
    }
}

impl Stage<'_> {
    /// Ends the server and starts another one on the same database.
    pub async fn restart(&mut self, roles: Roles) -> anyhow::Result<()> {
        process::terminate(self.server.child());
        self.server = self.bench.launcher.start(&self.folder, &self.database.url(), roles).await?;
        Ok(())
    }

    /// Events about the customers from `first` on.
    pub fn events(&self, first: u64) -> Events {
        Events::new(WEBHOOK_SECRET, &self.instance, now().as_unix_seconds(), first)
    }

    /// The same customers again, for their tokens.
    pub fn maker(&self) -> Maker<'_> {
        Maker::new(&self.bench.key, &self.instance, self.seeded_at, self.at_stripe)
    }
}

/// The release binary beside this one. It is built where it is missing; where it is there it is taken as it is.
fn find_server() -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os("COUNTERFOIL_BENCH_SERVER") {
        return Ok(given.into());
    }
    let own = std::env::current_exe()?;
    let target = own.parent().and_then(Path::parent).context("run it with cargo run")?;
    let binary = target.join("release/counterfoil");
    eprintln!("cargo build --release -p counterfoil");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a workspace")?;
    build.current_dir(root).env("CARGO_TARGET_DIR", target);
    run(build.args(["build", "--release", "--locked", "-p", "counterfoil"]))?;
    anyhow::ensure!(binary.exists(), "there is no {} after building it", binary.display());
    Ok(binary)
}
