//! The service as real processes: the binary as Stripe's sandbox and as one or more servers in Stripe's test mode, with actors
//! that talk to them over HTTP.
//!
//! Every process is killed when its world goes out of scope. What the servers logged is then searched for everything that must
//! never be there: passwords, tokens, keys, addresses and the bodies of webhooks (invariant 7).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use counterfoil::db::testing::{self, POSTGRES_URL_VARIABLE, TestDb};
use counterfoil::db::{Db, Engine};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_counterfoil");
pub(crate) const STRIPE_KEY: &str = "sk_test_sandbox";
/// Servers that share a database keep their signing keys in it, under this one.
const KEY_ENCRYPTION_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

pub(crate) const WEBHOOK_SECRET: &str = "whsec_4a7dBq92LmX0canary";
pub(crate) const PASSWORD: &str = "canary-Horse-81-staple";
/// Travels in the body of many webhooks.
const COMPANY: &str = "Canary Works";

/// The longest that anything may take that is waited for. Far more than is needed: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(25);

/// Both engines, or SQLite alone where no PostgreSQL is given and none is required.
pub(crate) fn engines(what: &str) -> Vec<Engine> {
    let engines = testing::engines();
    if !engines.contains(&Engine::Postgres) {
        let required = std::env::var("COUNTERFOIL_TEST_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
        assert!(!required, "{what}: {POSTGRES_URL_VARIABLE} is not set, and PostgreSQL is required");
    }
    engines
}

pub(crate) fn has_postgres(what: &str) -> bool {
    engines(what).contains(&Engine::Postgres)
}

/// A port below those that the system hands out to outgoing connections, so that it stays ours while a server is down.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 12_000 + u16::try_from(std::process::id() % 180).expect("below 180") * 100;
    for _ in 0..1_000 {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in a thousand");
}

/// Waits until `check` answers something.
pub(crate) async fn until<T, W: Future<Output = Option<T>>>(what: &str, check: impl Fn() -> W) -> T {
    let waiting = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(found) => found,
        Err(_) => panic!("waited {} seconds in vain: {what}", PATIENCE.as_secs()),
    }
}

/// What a process needs of its surroundings, and what those need who measure the tests: which lines were reached, and which mutant runs.
const INHERITED: [&str; 6] = ["PATH", "HOME", "TMPDIR", "LLVM_PROFILE_FILE", "MUTANT", "MUTANT_REACHED"];

/// The binary with an environment of its own: nothing of the developer's settings reaches it.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    for name in INHERITED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

pub(crate) fn http_client() -> reqwest::Client {
    // An error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .expect("a client")
}

/// A running process that is killed when this is dropped.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().expect("the binary starts"))
    }

    /// `kill -9`: no code of the process runs after this.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.0.id().to_string()).status();
        assert!(sent.expect("kill runs").success(), "the process is there");
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("a child can be asked")
    }

    pub(crate) async fn wait(&mut self) -> ExitStatus {
        for _ in 0..PATIENCE.as_millis() / POLL.as_millis() {
            if let Some(status) = self.ended() {
                return status;
            }
            tokio::time::sleep(POLL).await;
        }
        panic!("the process does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What must not be in a log, by what it is.
#[derive(Clone, Default)]
struct Secrets(Arc<Mutex<BTreeMap<String, &'static str>>>);

impl Secrets {
    fn add(&self, what: &'static str, secret: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.to_owned(), what);
    }

    fn found_in(&self, log: &str) -> Vec<&'static str> {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().filter(|(secret, _)| log.contains(secret.as_str())).map(|(_, what)| *what).collect()
    }
}

/// One server, running or not; its port and its files stay the same.
pub(crate) struct Server {
    pub(crate) url: String,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    log: PathBuf,
    http: reqwest::Client,
    pub(crate) running: Option<Running>,
}

impl Server {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(&mut self) {
        self.start_with(&[]).await;
    }

    pub(crate) async fn start_with(&mut self, arguments: &[&str]) {
        if let Err(status) = self.try_start(arguments).await {
            panic!("the server ended with {status}:\n{}", self.log_text());
        }
    }

    /// The same, where it may end instead.
    pub(crate) async fn try_start(&mut self, arguments: &[&str]) -> Result<(), ExitStatus> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log).expect("a log file");
        let mut command = (self.command)();
        command.args(arguments).stdout(log.try_clone().expect("a second handle")).stderr(log);
        let mut running = Running::spawn(&mut command);
        let ready = format!("{}/readyz", self.url);
        for _ in 0..PATIENCE.as_millis() / POLL.as_millis() {
            if let Some(status) = running.ended() {
                return Err(status);
            }
            if self.http.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
                self.running = Some(running);
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        panic!("the server does not become ready:\n{}", self.log_text());
    }

    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    pub(crate) fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// How a world is to be.
pub(crate) struct Plan {
    pub(crate) engine: Engine,
    pub(crate) servers: usize,
    /// Further settings of every server.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Whether the servers are started at once.
    pub(crate) start: bool,
}

impl Plan {
    pub(crate) fn new(engine: Engine, servers: usize) -> Self {
        Self { engine, servers, settings: Vec::new(), start: true }
    }
}

/// Stripe, a database, and servers on both.
pub(crate) struct World {
    pub(crate) stripe: Stripe,
    pub(crate) servers: Vec<Server>,
    /// For looking into the database beside the servers.
    pub(crate) db: Db,
    pub(crate) database_url: String,
    pub(crate) http: reqwest::Client,
    secrets: Secrets,
    _sandbox: Running,
    _postgres: Option<TestDb>,
    // Last: fields are dropped in order, and the files go when nothing uses them any more.
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new(engine: Engine, servers: usize) -> Self {
        Self::of(Plan::new(engine, servers)).await
    }

    pub(crate) async fn of(plan: Plan) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let http = http_client();
        let postgres = match plan.engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(testing::empty(Engine::Postgres).await),
        };
        let database_url = match &postgres {
            None => format!("sqlite://{}/shared/counterfoil.db", folder.path().display()),
            Some(database) => database.url().to_owned(),
        };
        let ports: Vec<u16> = (0..plan.servers).map(|_| free_port()).collect();
        let (sandbox, stripe) = start_sandbox(folder.path(), ports[0], &http).await;
        let servers = ports
            .iter()
            .enumerate()
            .map(|(index, port)| {
                let settings = server_settings(folder.path(), index, *port, ports[0], &stripe.url, &database_url);
                let (path, mut extra) = (folder.path().to_owned(), plan.settings.clone());
                if plan.servers > 1 {
                    // Each has a folder of its own; the keys are where all of them find them.
                    extra.push(("COUNTERFOIL_LICENSE_KEY_STORE", "database".to_owned()));
                    extra.push(("COUNTERFOIL_KEY_ENCRYPTION_KEY", KEY_ENCRYPTION_KEY.to_owned()));
                }
                let make = move || {
                    let mut command = command(&path);
                    command.arg("serve").envs(settings.clone()).envs(extra.clone());
                    command
                };
                Server {
                    url: format!("http://127.0.0.1:{port}"),
                    command: Box::new(make),
                    log: folder.path().join(format!("server-{index}.log")),
                    http: http.clone(),
                    running: None,
                }
            })
            .collect();
        let db = Db::open_shared(&database_url).await.expect("the database opens");
        let secrets = Secrets::default();
        for (what, secret) in [
            ("the Stripe key", STRIPE_KEY),
            ("the webhook secret", WEBHOOK_SECRET),
            ("a password", PASSWORD),
            ("a webhook's body", COMPANY),
            ("a webhook's body", "pending_webhooks"),
        ] {
            secrets.add(what, secret);
        }
        let mut world =
            Self { stripe, servers, db, database_url, http, secrets, _sandbox: sandbox, _postgres: postgres, folder };
        if plan.start {
            for index in 0..plan.servers {
                world.servers[index].start().await;
            }
        }
        world
    }

    /// The API of one of the servers.
    pub(crate) fn api(&self, server: usize) -> Api {
        Api { http: self.http.clone(), url: self.servers[server].url.clone(), secrets: self.secrets.clone() }
    }

    /// What is to be found in no log of this world, besides what is known to be secret anyway.
    pub(crate) fn keep_secret(&self, what: &'static str, secret: &str) {
        self.secrets.add(what, secret);
    }

    /// The number `n` that a statement answers; `value` is bound where it has a place for it.
    pub(crate) async fn count(&self, sql: &'static str, value: &str) -> i64 {
        let query = self.db.query(sql);
        let query = if sql.contains("$1") { query.bind(value) } else { query };
        query.one().await.expect("the statement runs").get("n").expect("a number called n")
    }

    /// Waits until this customer's newest licence is of the paid plan, and nothing waits in the inbox.
    pub(crate) async fn paid(&self, customer_id: &str) {
        const PAID: &str = "select cast(count(*) as bigint) as n from licenses l join subscriptions s \
             on s.customer_id = l.customer_id where l.customer_id = $1 and l.plan = 'professional' and s.status = 'active'";
        until("the paid license", || async { (self.count(PAID, customer_id).await > 0).then_some(()) }).await;
    }

    /// Waits until every event that was taken in is worked off.
    pub(crate) async fn quiet(&self) {
        const PENDING: &str = "select cast(count(*) as bigint) as n from webhook_inbox where state = 'pending'";
        until("an empty inbox", || async { (self.count(PENDING, "").await == 0).then_some(()) }).await;
    }

    /// Waits until nothing is left to do: no event to be worked off, no mail to be sent.
    pub(crate) async fn at_rest(&self) {
        const OWED: &str = "select cast(count(*) as bigint) as n from outbox where state = 'pending'";
        self.quiet().await;
        until("an empty outbox", || async { (self.count(OWED, "").await == 0).then_some(()) }).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for server in &mut self.servers {
            server.kill();
        }
        let logs: Vec<String> = self.servers.iter().map(Server::log_text).collect();
        if std::thread::panicking() {
            for (index, log) in logs.iter().enumerate() {
                let start = log.char_indices().rev().nth(6_000).map_or(0, |(at, _)| at);
                eprintln!("--- the end of the log of server {index}\n{}", &log[start..]);
            }
            return;
        }
        for log in logs {
            let found = self.secrets.found_in(&log);
            assert!(found.is_empty(), "these are in a server's log: {found:?}");
            assert_eq!(crate::logs::leaks(&log), Vec::<String>::new(), "in a server's log");
        }
    }
}

fn server_settings(
    folder: &Path,
    index: usize,
    port: u16,
    public_port: u16,
    stripe_url: &str,
    database_url: &str,
) -> Vec<(&'static str, String)> {
    vec![
        ("STRIPE_SECRET_KEY", STRIPE_KEY.to_owned()),
        ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
        ("STRIPE_API_BASE", stripe_url.to_owned()),
        ("COUNTERFOIL_LISTEN", format!("127.0.0.1:{port}")),
        ("COUNTERFOIL_PUBLIC_URL", format!("http://127.0.0.1:{public_port}")),
        ("COUNTERFOIL_DATA_DIR", folder.join(format!("data-{index}")).display().to_string()),
        ("DATABASE_URL", database_url.to_owned()),
        ("COUNTERFOIL_ALLOWED_RETURN_ORIGINS", "http://localhost:3000".to_owned()),
    ]
}

async fn start_sandbox(folder: &Path, webhook_port: u16, http: &reqwest::Client) -> (Running, Stripe) {
    let url = format!("http://127.0.0.1:{}", free_port());
    let log = File::create(folder.join("sandbox.log")).expect("a log file");
    let webhook_url = format!("http://127.0.0.1:{webhook_port}/api/webhooks/stripe");
    let mut command = command(folder);
    command
        .args(["sandbox", "--listen", url.trim_start_matches("http://"), "--data", "stripe.log"])
        .args(["--webhook-url", &webhook_url, "--webhook-secret", WEBHOOK_SECRET])
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log);
    let running = Running::spawn(&mut command);
    let stripe = Stripe { url, http: http.clone() };
    until("the sandbox", || async {
        let answer = stripe.http.get(format!("{}/_sandbox/clock", stripe.url)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success()).then_some(())
    })
    .await;
    (running, stripe)
}

/// Stripe, as its dashboard and its customers see it.
#[derive(Clone)]
pub(crate) struct Stripe {
    pub(crate) url: String,
    http: reqwest::Client,
}

impl Stripe {
    /// Every object of a list, from the first page to the last.
    pub(crate) async fn list(&self, path: &str) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let url = format!("{}{path}{separator}limit=100{after}", self.url);
            let answer = self.http.get(url).bearer_auth(STRIPE_KEY).send().await.expect("the sandbox answers");
            let page: Value = answer.json().await.expect("JSON");
            let rows = page["data"].as_array().unwrap_or_else(|| panic!("no list at {path}: {page}")).clone();
            after = format!("&starting_after={}", rows.last().map_or("", |row| text(row, "id")));
            all.extend(rows);
            if page["has_more"] != json!(true) {
                return all;
            }
        }
    }

    /// The customers that carry our id.
    pub(crate) async fn customers_of(&self, customer_id: &str) -> Vec<Value> {
        let mut customers = self.list("/v1/customers").await;
        customers.retain(|customer| customer["metadata"]["customer_id"] == customer_id);
        customers
    }

    /// The checkout sessions that were made for our id.
    pub(crate) async fn sessions_of(&self, customer_id: &str) -> Vec<Value> {
        let mut sessions = self.list("/v1/checkout/sessions").await;
        sessions.retain(|session| session["client_reference_id"] == customer_id);
        sessions
    }

    pub(crate) async fn fault(&self, fault: Value) {
        let url = format!("{}/_sandbox/faults", self.url);
        let answer = self.http.post(url).body(fault.to_string()).send().await.expect("the sandbox answers");
        assert!(answer.status().is_success(), "{fault} is a fault that the sandbox knows");
    }

    pub(crate) async fn heal(&self) {
        self.http.delete(format!("{}/_sandbox/faults", self.url)).send().await.expect("the sandbox answers");
    }

    /// How often a call was answered, faults included.
    pub(crate) async fn calls(&self, method: &str, path: &str) -> u64 {
        let answer = self.http.get(format!("{}/_sandbox/calls", self.url)).send().await.expect("the sandbox answers");
        let calls: Value = answer.json().await.expect("JSON");
        let beginning = format!("{method} {path}");
        let counts = calls["counts"].as_object().expect("counts");
        counts.iter().filter(|(call, _)| call.starts_with(&beginning)).filter_map(|(_, count)| count.as_u64()).sum()
    }

    /// The customer pays on the hosted page with a card that works.
    pub(crate) async fn pay(&self, checkout_url: &str) -> u16 {
        let form = self.http.post(checkout_url).header("content-type", "application/x-www-form-urlencoded");
        form.body("card=success").send().await.expect("the payment page answers").status().as_u16()
    }

    /// The events of one type, as they would be sent: body and signature.
    pub(crate) async fn signed_events(&self, kind: &str, now: i64) -> Vec<(String, String)> {
        let events = self.list(&format!("/v1/events?type={kind}")).await;
        let sign = |event: Value| {
            let body = event.to_string();
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(WEBHOOK_SECRET.as_bytes()).expect("any key will do");
            mac.update(format!("{now}.{body}").as_bytes());
            let signature = format!("t={now},v1={}", hex::encode(mac.finalize().into_bytes()));
            (body, signature)
        };
        events.into_iter().map(sign).collect()
    }
}

/// Somebody who has signed up.
#[derive(Clone, Debug)]
pub(crate) struct Customer {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) token: String,
    pub(crate) license: String,
}

/// The API of one server.
#[derive(Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    pub(crate) url: String,
    secrets: Secrets,
}

impl Api {
    /// Status and JSON, or nothing where the connection broke.
    pub(crate) async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Option<(u16, Value)> {
        let mut request = self.http.post(format!("{}{path}", self.url)).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.ok()?))
    }

    /// The same for what is read.
    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> (u16, Value) {
        let mut request = self.http.get(format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    pub(crate) async fn try_sign_up(&self, email: &str) -> Option<(u16, Value)> {
        let body = json!({ "email": email, "password": PASSWORD, "company_name": COMPANY });
        self.post("/api/customers/signup", None, &body).await
    }

    /// Reads the answer to a sign-up that went through.
    pub(crate) fn customer(&self, answer: &Value) -> Customer {
        let customer = Customer {
            id: text(&answer["customer"], "customer_id").to_owned(),
            email: text(&answer["customer"], "email").to_owned(),
            token: text(answer, "token").to_owned(),
            license: text(&answer["license"], "token").to_owned(),
        };
        self.secrets.add("a session token", &customer.token);
        self.secrets.add("a license", &customer.license);
        self.secrets.add("an address", &customer.email);
        customer
    }

    pub(crate) async fn sign_up(&self) -> Customer {
        let (status, answer) = self.try_sign_up(&fresh_email()).await.expect("the server answers");
        assert_eq!(status, 201, "{answer}");
        self.customer(&answer)
    }

    pub(crate) async fn try_checkout(&self, customer: &Customer) -> Option<(u16, Value)> {
        let body = json!({
            "customer_id": customer.id, "plan": "professional",
            "success_url": "http://localhost:3000/success", "cancel_url": "http://localhost:3000/cancel",
        });
        self.post("/api/subscriptions/checkout", Some(&customer.token), &body).await
    }

    /// The page to pay on.
    pub(crate) async fn checkout(&self, customer: &Customer) -> String {
        let (status, answer) = self.try_checkout(customer).await.expect("the server answers");
        assert_eq!(status, 200, "{answer}");
        text(&answer, "checkout_url").to_owned()
    }

    pub(crate) async fn deliver(&self, body: &str, signature: &str) -> Option<u16> {
        let request = self.http.post(format!("{}/api/webhooks/stripe", self.url));
        let request = request.header("content-type", "application/json").header("stripe-signature", signature);
        request.body(body.to_owned()).send().await.ok().map(|answer| answer.status().as_u16())
    }
}

pub(crate) fn fresh_email() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("ada-{}-{}@example.com", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_else(|| panic!("no text `{field}` in {value}"))
}

/// Unix seconds, for signatures of our own.
pub(crate) fn now() -> i64 {
    counterfoil::clock::Clock::system().now().as_unix_seconds()
}
