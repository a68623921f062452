//! A world of its own for each test: the whole service on free loopback ports, with a fresh database and the sandbox in the
//! provider's role.
//!
//! When a story is told, nothing may be left over: no event and no mail waits, none was given up, and no mail shows what the
//! tap does not let pass. A story that ends otherwise on purpose says so.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use counterfoil::app::App;
use counterfoil::cli::service::{Roles, Service, seed_prices};
use counterfoil::config::{Config, Environment};
use counterfoil::db::testing::{self, TestDb};
use counterfoil::db::{Engine, Row};
use counterfoil::store::outbox::Mail;
use counterfoil_core::{CustomerId, Timestamp};
use counterfoil_stripe_sandbox::{SandboxConfig, SeedWebhook};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::actors::{Sandbox, Visitor};
use crate::client::{Answer, Http};
use crate::logs;
use crate::tap::Tap;

/// How long a test waits for what happens in the background.
const PATIENCE: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(15);

/// What a world is made from.
#[derive(Clone, Default)]
pub struct Setup {
    /// Only sessions and keys may start checkouts.
    pub auth_required: bool,
    /// Nobody works off inbox and outbox; the test does it by hand.
    pub no_worker: bool,
    /// Stripe's test mode against a sandbox of its own, instead of sandbox mode.
    pub stripe: Option<TestMode>,
    /// The text of a configuration file.
    pub file: Option<&'static str>,
    /// Further settings, as environment variables.
    pub settings: &'static [(&'static str, &'static str)],
}

impl Setup {
    pub fn auth_required() -> Self {
        Self { auth_required: true, ..Self::default() }
    }

    pub fn no_worker() -> Self {
        Self { no_worker: true, ..Self::default() }
    }

    pub fn configured(settings: &'static [(&'static str, &'static str)]) -> Self {
        Self { settings, ..Self::default() }
    }

    pub fn test_mode() -> Self {
        Self { stripe: Some(TestMode::default()), ..Self::default() }
    }
}

/// How our server is connected to what it takes for Stripe.
#[derive(Clone)]
pub struct TestMode {
    /// Our key.
    pub key: &'static str,
    /// The webhook secrets that we have been given.
    pub secrets: &'static str,
    /// The one that Stripe signs with.
    pub signs_with: &'static str,
    /// Whether the plans' prices exist there.
    pub has_prices: bool,
}

impl Default for TestMode {
    fn default() -> Self {
        const SECRET: &str = "whsec_b7f3d0c1a94e";
        Self { key: counterfoil_stripe_sandbox::API_KEY, secrets: SECRET, signs_with: SECRET, has_prices: true }
    }
}

/// Changes an answer of the provider before our server reads it.
type Rewrite = Box<dyn Fn(&str, &mut Value) + Send>;

type Rewriting = Arc<Mutex<Option<Rewrite>>>;

/// The provider in test mode: a sandbox outside of our server, whose answers a test can change.
struct Outside {
    base: String,
    rewriting: Rewriting,
    shutdown: CancellationToken,
}

pub struct World {
    /// The running service's use cases, for looking behind its answers.
    pub app: App,
    /// Our server as a stranger sees it.
    pub http: Http,
    pub config: Config,
    service: Service,
    sandbox: Sandbox,
    webhook_secret: String,
    rewriting: Option<Rewriting>,
    unsettled_allowed: AtomicBool,
    events: AtomicU64,
    outside_shutdown: Option<CancellationToken>,
    // Dropped in this order, after everything that uses them.
    _database: Option<TestDb>,
    folder: TempDir,
}

/// Tells a story in a world of its own.
pub async fn tell(engine: Engine, setup: Setup, story: impl AsyncFnOnce(&World)) {
    #[cfg(feature = "planted-bugs")]
    counterfoil::plant_from_environment();
    let Some(world) = World::start(engine, setup).await else { return };
    story(&world).await;
    world.end().await;
}

/// Whether this engine is at hand. PostgreSQL may be left out unless it is required.
pub fn is_at_hand(engine: Engine) -> bool {
    let at_hand = testing::engines().contains(&engine);
    if !at_hand {
        let variable = testing::POSTGRES_URL_VARIABLE;
        let required = std::env::var("COUNTERFOIL_TEST_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
        assert!(!required, "PostgreSQL is required here, and {variable} is not set");
    }
    at_hand
}

/// An address that was free a moment ago.
pub fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

impl World {
    /// `None` where the engine is not at hand.
    pub async fn start(engine: Engine, setup: Setup) -> Option<Self> {
        if !is_at_hand(engine) {
            return None;
        }
        logs::watch();
        let folder = tempfile::tempdir().expect("a folder for the test");
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(testing::empty(engine).await),
        };
        let roles = Roles { web: true, worker: !setup.no_worker };
        let mut tries = 0;
        let (service, config, outside) = loop {
            tries += 1;
            let address = free_address();
            let outside = match &setup.stripe {
                Some(mode) => Some(Outside::start(mode, &address).await),
                None => None,
            };
            let config = configure(&setup, &address, folder.path(), database.as_ref(), outside.as_ref());
            match Service::start(&config, roles, true).await {
                Ok(service) => break (service, config, outside),
                // Another test took the port in between.
                Err(error) if tries < 5 && error.to_string().contains("in use") => {}
                Err(error) => panic!("the service does not start: {error:#}"),
            }
        };
        let tap = Arc::new(Tap::default());
        let webhook_secret = match &setup.stripe {
            Some(mode) => mode.signs_with.to_owned(),
            None => std::fs::read_to_string(folder.path().join("sandbox-webhook-secret")).expect("a secret"),
        };
        tap.guard_secret(&webhook_secret);
        tap.guard_secret(counterfoil_stripe_sandbox::API_KEY);
        let sandbox_base = match (&outside, service.sandbox_address) {
            (Some(outside), _) => outside.base.clone(),
            (None, Some(address)) => format!("http://{address}"),
            (None, None) => panic!("a world has a provider"),
        };
        Some(Self {
            app: service.app.clone(),
            http: Http::new(&format!("http://{}", service.address), tap),
            config,
            service,
            sandbox: Sandbox::at(&sandbox_base),
            webhook_secret,
            rewriting: outside.as_ref().map(|outside| Arc::clone(&outside.rewriting)),
            unsettled_allowed: AtomicBool::new(false),
            events: AtomicU64::new(0),
            outside_shutdown: outside.map(|outside| outside.shutdown),
            _database: database,
            folder,
        })
    }

    /// Ends the story: nothing may be left over.
    pub async fn end(self) {
        if !self.unsettled_allowed.load(Ordering::Relaxed) {
            self.settled().await;
            let (inbox, outbox) = self.app.queues().await.expect("counts");
            assert_eq!(inbox.dead + outbox.dead, 0, "something was given up: {inbox:?} {outbox:?}");
        }
        // A story that has taken the database away has no mails left to look at.
        for mail in self.app.newest_mails(1000).await.unwrap_or_default() {
            let (tap, place) = (self.http.tap(), format!("the mail `{}`", mail.subject));
            tap.look(&place, "a mail server", &mail.subject);
            // Nobody's session goes by mail, not even the recipient's.
            tap.look(&place, "a mail server", &mail.body_text);
        }
        if let Some(shutdown) = &self.outside_shutdown {
            shutdown.cancel();
        }
        assert!(self.service.stop().await, "the service stops in time");
        logs::assert_clean();
    }

    /// This story ends with work left over.
    pub fn allow_unsettled(&self) {
        self.unsettled_allowed.store(true, Ordering::Relaxed);
    }

    /// Stops the service and answers what it leaves on the disk: the data directory, and the database where it is not in it.
    pub async fn stop(self) -> Remains {
        assert!(self.service.stop().await, "the service stops in time");
        Remains { config: self.config, _database: self._database, _folder: self.folder }
    }

    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Where the sandbox inside of our server listens.
    pub fn sandbox_address(&self) -> std::net::SocketAddr {
        self.service.sandbox_address.expect("sandbox mode has a sandbox")
    }

    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    pub fn visitor(&self, email: &str) -> Visitor {
        Visitor::new(&self.http, email, &format!("canary {email} 7Q"))
    }

    /// A visitor who has signed up.
    pub async fn customer(&self, email: &str) -> Visitor {
        let mut visitor = self.visitor(email);
        visitor.sign_up().await.accepted();
        visitor
    }

    /// From now on the provider's answers are changed on their way to us.
    pub fn rewrite(&self, rewrite: impl Fn(&str, &mut Value) + Send + 'static) {
        let rewriting = self.rewriting.as_ref().expect("only the provider of test mode can be rewritten");
        *rewriting.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(rewrite));
    }

    /// Waits until all webhooks have arrived and neither event nor mail waits.
    pub async fn settled(&self) {
        self.sandbox.delivered().await;
        self.until("nothing waits", async || self.pending().await == 0).await;
    }

    /// Waits until neither event nor mail waits, whatever the sandbox still wants to send.
    pub async fn worked_off(&self) {
        self.until("nothing waits", async || self.pending().await == 0).await;
    }

    /// Rows of inbox and outbox that wait.
    pub async fn pending(&self) -> i64 {
        let (inbox, outbox) = self.app.queues().await.expect("counts");
        inbox.pending + outbox.pending
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let waiting = async {
            while !is_so().await {
                tokio::time::sleep(POLL).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let inbox = self.inbox().await;
            panic!("waited in vain until {what}; the inbox holds {inbox:#?}");
        }
    }

    /// An event as Stripe would send it, with an id of its own.
    pub fn event(&self, kind: &str, object: Value) -> Value {
        let number = self.events.fetch_add(1, Ordering::Relaxed);
        json!({
            "id": format!("evt_made{number:016}"), "object": "event", "api_version": "2026-05-27.dahlia",
            "created": self.app.now().as_unix_seconds(), "livemode": false, "pending_webhooks": 1,
            "request": { "id": null, "idempotency_key": null }, "type": kind, "data": { "object": object },
        })
    }

    /// The signature header over a body, made with the secret at this moment.
    pub fn sign(&self, body: &str, at: i64) -> String {
        format!("t={at},v1={}", sign(&self.webhook_secret, at, body))
    }

    /// Delivers an event, well signed, as Stripe would.
    pub async fn deliver(&self, event: &Value) -> Answer {
        let body = event.to_string();
        let signature = self.sign(&body, self.app.now().as_unix_seconds());
        self.deliver_signed(body, Some(&signature)).await
    }

    /// Delivers these bytes with this signature.
    pub async fn deliver_signed(&self, body: String, signature: Option<&str>) -> Answer {
        let mut request = self.http.request(reqwest::Method::POST, "/api/webhooks/stripe").body(body);
        if let Some(signature) = signature {
            request = request.header("stripe-signature", signature);
        }
        self.http.send(request.header("content-type", "application/json; charset=utf-8")).await
    }

    /// All mails, newest first.
    pub async fn mails(&self) -> Vec<Mail> {
        self.app.newest_mails(1000).await.expect("mails")
    }

    /// The token in the newest mail to this address that has a link to this page of ours.
    pub async fn link_token(&self, email: &str, path: &str) -> String {
        let start = format!("{}{path}?token=", self.config.public_url.as_str());
        let mails = self.mails().await;
        let found = mails.iter().filter(|mail| mail.recipient == email).find_map(|mail| {
            let (_, rest) = mail.body_text.split_once(&start)?;
            rest.split_whitespace().next().map(str::to_owned)
        });
        found.unwrap_or_else(|| panic!("no mail to {email} has a link to {path}: {mails:#?}"))
    }

    /// Mails to one address.
    pub async fn mails_to(&self, email: &str) -> usize {
        self.mails().await.iter().filter(|mail| mail.recipient == email).count()
    }

    /// The inbox as `type state reason error`, oldest first.
    pub async fn inbox(&self) -> Vec<String> {
        let sql = "select event_type, state, coalesce(ignored_because, '') as because, coalesce(last_error, '') as error \
                   from webhook_inbox order by id";
        let rows = self.app.db.query(sql).all().await.expect("rows");
        let text = |row: &Row, name: &str| row.get::<String>(name).expect("a text");
        rows.iter()
            .map(|row| {
                let columns = ["event_type", "state", "because", "error"].map(|name| text(row, name));
                columns.join(" ").trim_end().to_owned()
            })
            .collect()
    }

    /// What the tables say of a customer.
    pub async fn stored(&self, visitor: &Visitor) -> Stored {
        let row = self
            .app
            .db
            .query(
                "select c.customer_id, c.email, c.stripe_customer_id, s.plan, s.status, s.stripe_subscription_id, \
                 s.current_period_ends_at, s.paid_until, s.cancel_at, s.ended_at, s.needs_attention, \
                 (select cast(count(*) as bigint) from licenses l where l.customer_id = c.customer_id) as licenses, \
                 (select cast(count(*) as bigint) from outbox o where o.customer_id = c.customer_id) as mails \
                 from customers c join subscriptions s on s.customer_id = c.customer_id where c.customer_id = $1",
            )
            .bind(&visitor.customer_id)
            .one()
            .await
            .expect("a row");
        Stored {
            email: row.get("email").unwrap(),
            stripe_customer_id: row.get("stripe_customer_id").unwrap(),
            plan: row.get("plan").unwrap(),
            status: row.get("status").unwrap(),
            stripe_subscription_id: row.get("stripe_subscription_id").unwrap(),
            current_period_ends_at: row.get("current_period_ends_at").unwrap(),
            paid_until: row.get("paid_until").unwrap(),
            cancel_at: row.get("cancel_at").unwrap(),
            ended_at: row.get("ended_at").unwrap(),
            needs_attention: row.get("needs_attention").unwrap(),
            licenses: row.get("licenses").unwrap(),
            mails: row.get("mails").unwrap(),
        }
    }

    /// How many rows there are, in all tables that a request could change.
    pub async fn counts(&self) -> Vec<i64> {
        let sql = "select (select cast(count(*) as bigint) from customers) as a, \
                   (select cast(count(*) as bigint) from licenses) as b, \
                   (select cast(count(*) as bigint) from outbox) as c, \
                   (select cast(count(*) as bigint) from billing_links) as d, \
                   (select cast(count(*) as bigint) from checkout_attempts) as e, \
                   (select cast(count(*) as bigint) from webhook_inbox) as f, \
                   (select cast(count(*) as bigint) from sessions) as g, \
                   (select cast(count(*) as bigint) from trial_ledger) as h";
        let row = self.app.db.query(sql).one().await.expect("counts");
        ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| row.get::<i64>(name).unwrap()).to_vec()
    }
}

/// What a stopped service left.
pub struct Remains {
    pub config: Config,
    _database: Option<TestDb>,
    _folder: TempDir,
}

/// One customer in the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub email: String,
    pub stripe_customer_id: Option<String>,
    pub plan: String,
    pub status: String,
    pub stripe_subscription_id: Option<String>,
    pub current_period_ends_at: Option<Timestamp>,
    pub paid_until: Option<Timestamp>,
    pub cancel_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub needs_attention: Option<String>,
    pub licenses: i64,
    pub mails: i64,
}

/// The customer id as a type.
pub fn id_of(visitor: &Visitor) -> CustomerId {
    visitor.customer_id.parse().expect("a customer id")
}

/// One `v1` signature, written here a second time: a mistake in our own would otherwise agree with itself.
pub fn sign(secret: &str, at: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key");
    mac.update(format!("{at}.{body}").as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn configure(
    setup: &Setup,
    address: &str,
    folder: &Path,
    database: Option<&TestDb>,
    outside: Option<&Outside>,
) -> Config {
    let mut variables = vec![
        ("COUNTERFOIL_LISTEN", address.to_owned()),
        ("COUNTERFOIL_SANDBOX_LISTEN", "127.0.0.1:0".to_owned()),
        ("COUNTERFOIL_PUBLIC_URL", format!("http://{address}")),
        ("COUNTERFOIL_DATA_DIR", folder.display().to_string()),
    ];
    if let Some(database) = database {
        variables.push(("DATABASE_URL", database.url().to_owned()));
    }
    if let (Some(mode), Some(outside)) = (&setup.stripe, outside) {
        variables.push(("STRIPE_SECRET_KEY", mode.key.to_owned()));
        variables.push(("STRIPE_WEBHOOK_SECRET", mode.secrets.to_owned()));
        variables.push(("STRIPE_API_BASE", outside.base.clone()));
        variables.push(("COUNTERFOIL_CHECKOUT_AUTH", "customer_id".to_owned()));
        variables.push(("COUNTERFOIL_ALLOWED_RETURN_ORIGINS", "http://localhost:3000".to_owned()));
    }
    if setup.auth_required {
        variables.push(("COUNTERFOIL_CHECKOUT_AUTH", "required".to_owned()));
    }
    variables.extend(setup.settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let environment: Environment = variables.into_iter().collect();
    Config::parse(setup.file, &environment).expect("the test's configuration is one")
}

impl Outside {
    async fn start(mode: &TestMode, server: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let catalog = Config::parse(None, &Environment::default()).expect("the defaults are a configuration");
        let sandbox = counterfoil_stripe_sandbox::Sandbox::open(SandboxConfig {
            public_url: base.clone(),
            api_key: counterfoil_stripe_sandbox::API_KEY.to_owned(),
            data: None::<PathBuf>,
            prices: if mode.has_prices { seed_prices(&catalog) } else { Vec::new() },
            webhook: Some(SeedWebhook {
                url: format!("http://{server}/api/webhooks/stripe"),
                secret: mode.signs_with.to_owned(),
            }),
        })
        .expect("a sandbox");
        let (rewriting, shutdown) = (Rewriting::default(), CancellationToken::new());
        let router = sandbox.router().layer(middleware::from_fn_with_state(Arc::clone(&rewriting), rewritten));
        let stop = shutdown.clone();
        tokio::spawn(async move { sandbox.run_deliveries(stop).await });
        let stop = shutdown.clone();
        tokio::spawn(async move {
            let stopped = async move { stop.cancelled().await };
            axum::serve(listener, router).with_graceful_shutdown(stopped).await
        });
        Self { base, rewriting, shutdown }
    }
}

async fn rewritten(State(rewriting): State<Rewriting>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    // What the test itself asks with the sandbox's own client is not rewritten: it looks for the truth.
    let is_ours =
        request.headers().get("user-agent").is_some_and(|agent| agent.as_bytes().starts_with(b"Counterfoil/"));
    let response = next.run(request).await;
    if !is_ours || rewriting.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 24).await.expect("a whole answer");
    let mut value: Value = serde_json::from_slice(&bytes).expect("the provider answers JSON");
    if let Some(rewrite) = rewriting.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
        rewrite(&path, &mut value);
    }
    parts.headers.remove("content-length");
    Response::from_parts(parts, axum::body::Body::from(value.to_string()))
}
