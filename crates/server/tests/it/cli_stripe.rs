//! `counterfoil stripe`, with the sandbox as an account that has never heard of us.

use std::path::{Path, PathBuf};

use counterfoil::db::testing::{self, TestDb};
use counterfoil::db::{Db, Engine};
use serde_json::{Value, json};

use crate::cli::{Answer, error_of};
use crate::processes::{
    Plan, Running, STRIPE_KEY, WEBHOOK_SECRET, World, command, engines, free_port, http_client, text, until,
};

const CATALOG: &str = r#"
[[plans]]
code = "trial"
name = "Trial"
trial_days = 14

[[plans]]
code = "starter"
name = "Starter"
description = "For one."
prices = [{ interval = "month", currency = "eur", amount = 1900, stripe_price = "new-starter-month" }]

[[plans]] # the one that most people take
code = "pro"
name = "Pro"

  [[plans.prices]]
  interval = "month"
  currency = "eur"
  amount = 4900
  stripe_price = "new-pro-month" # to be filled in

  [[plans.prices]]
  interval = "year"
  currency = "eur"
  amount = 49000
  stripe_price = "new-pro-year"
"#;

/// An account at Stripe, and an installation that has just been unpacked beside it.
struct Account {
    url: String,
    public_url: String,
    http: reqwest::Client,
    database_url: String,
    /// Settings that were found out on the way.
    settings: Vec<(&'static str, String)>,
    _sandbox: Running,
    _postgres: Option<TestDb>,
    folder: tempfile::TempDir,
}

impl Account {
    async fn new(engine: Engine) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let nothing = folder.path().join("nothing.toml");
        let trial = "[[plans]]\ncode = \"trial\"\nname = \"Trial\"\ntrial_days = 14\n";
        std::fs::write(&nothing, trial).expect("a file");
        std::fs::write(folder.path().join("counterfoil.toml"), CATALOG).expect("a file");
        let url = format!("http://127.0.0.1:{}", free_port());
        let mut sandbox = command(folder.path());
        sandbox.args(["sandbox", "--listen", url.trim_start_matches("http://"), "--config"]).arg(&nothing);
        let sandbox = Running::spawn(sandbox.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()));
        let http = http_client();
        let clock = format!("{url}/_sandbox/clock");
        until("the sandbox", || async { http.get(&clock).send().await.ok().map(drop) }).await;
        let postgres = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(testing::empty(Engine::Postgres).await),
        };
        let database_url = match &postgres {
            None => format!("sqlite://{}/data/counterfoil.db", folder.path().display()),
            Some(database) => database.url().to_owned(),
        };
        let account = Self {
            public_url: format!("http://localhost:{}", free_port()),
            url,
            http,
            database_url,
            settings: Vec::new(),
            _sandbox: sandbox,
            _postgres: postgres,
            folder,
        };
        account.run(&["migrate"]).succeeded();
        account
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        self.run_with(&[], arguments)
    }

    fn run_with(&self, settings: &[(&str, &str)], arguments: &[&str]) -> Answer {
        let mut command = command(self.folder.path());
        command
            .env("DATABASE_URL", &self.database_url)
            .env("COUNTERFOIL_PUBLIC_URL", &self.public_url)
            .env("STRIPE_SECRET_KEY", STRIPE_KEY)
            .env("STRIPE_API_BASE", &self.url)
            .envs(self.settings.clone())
            .envs(settings.iter().copied())
            .args(arguments);
        Answer::of(command.output().expect("the binary runs"))
    }

    fn setup(&self, arguments: &[&str]) -> Value {
        let answer = self.run(&[&["stripe", "setup", "--json"], arguments].concat());
        assert_eq!(answer.code, Some(0), "{}{}", answer.out, answer.err);
        answer.json()
    }

    /// Sets all up and takes over what it told.
    fn set_up(&mut self) -> Value {
        let told = self.setup(&["--write", "counterfoil.toml"]);
        self.settings = vec![
            ("STRIPE_WEBHOOK_SECRET", text(&told, "webhook_secret").to_owned()),
            ("STRIPE_PORTAL_CONFIGURATION", text(&told, "stripe_portal_configuration").to_owned()),
        ];
        told
    }

    /// What the audit log says of set-ups.
    async fn noted(&self) -> Vec<String> {
        let db = Db::open_read_only(&self.database_url).await.expect("the database");
        let rows = db.query("select detail from audit_log where action = 'stripe_set_up' order by id").all().await;
        let told = rows.expect("rows").iter().map(|row| row.get("detail").expect("a text")).collect();
        db.close().await;
        told
    }

    /// The codes that the doctor tells beside what is well.
    fn complaints(&self) -> Vec<String> {
        let answer = self.run(&["stripe", "doctor", "--json"]);
        let report = answer.json();
        let checks = report["checks"].as_array().expect("checks");
        let bad: Vec<&Value> = checks.iter().filter(|check| check["level"] != "ok").collect();
        assert!(bad.iter().all(|check| check["advice"].is_string()), "{report}");
        let broken = bad.iter().any(|check| check["level"] == "problem");
        assert_eq!(answer.code, Some(i32::from(broken)), "{report}{}", answer.err);
        bad.into_iter().map(|check| text(check, "code").to_owned()).collect()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.url)).bearer_auth(STRIPE_KEY).send().await;
        answer.expect("the sandbox answers").json().await.expect("JSON")
    }

    async fn post(&self, path: &str, form: &str) -> Value {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(STRIPE_KEY).body(form.to_owned());
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.send().await.expect("the sandbox answers");
        let status = answer.status();
        let body: Value = answer.json().await.expect("JSON");
        assert!(status.is_success(), "{body}");
        body
    }

    async fn list(&self, path: &str) -> Vec<Value> {
        self.get(&format!("{path}?limit=100")).await["data"].as_array().expect("a list").clone()
    }

    async fn control(&self, path: &str, body: Value) {
        let answer = self.http.post(format!("{}/_sandbox{path}", self.url)).body(body.to_string()).send().await;
        assert!(answer.expect("the sandbox answers").status().is_success());
    }

    async fn heal(&self) {
        self.http.delete(format!("{}/_sandbox/faults", self.url)).send().await.expect("the sandbox answers");
    }

    /// How many calls were no questions since the last time this was asked.
    async fn writes(&self) -> usize {
        let report = self.get("/_sandbox/calls").await;
        self.control("/calls/reset", json!(null)).await;
        let calls = report["calls"].as_array().expect("calls");
        assert!(calls.iter().all(|call| call["method"] != "POST" || call["idempotency_key"].is_string()), "{report}");
        calls.iter().filter(|call| call["method"] != "GET").count()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("counterfoil.toml")
    }

    fn edit(&self, from: &str, to: &str) {
        let old = std::fs::read_to_string(self.file()).expect("the file");
        assert!(old.contains(from), "{from} is not in {old}");
        std::fs::write(self.file(), old.replacen(from, to, 1)).expect("the file");
    }

    /// Products, prices, endpoints and portal configurations of ours.
    async fn inventory(&self) -> [usize; 4] {
        let ours = |values: Vec<Value>| values.iter().filter(|value| value["metadata"]["app"] == "counterfoil").count();
        [
            ours(self.list("/v1/products").await),
            ours(self.list("/v1/prices").await),
            ours(self.list("/v1/webhook_endpoints").await),
            ours(self.list("/v1/billing_portal/configurations").await),
        ]
    }
}

fn step<'v>(told: &'v Value, words: &[(&str, &str)]) -> &'v Value {
    let steps = told["steps"].as_array().expect("steps");
    let fits = |step: &&Value| words.iter().all(|(key, value)| step[*key] == *value);
    steps.iter().find(fits).unwrap_or_else(|| panic!("no step {words:?} in {told}"))
}

fn actions(told: &Value) -> Vec<&str> {
    told["steps"].as_array().expect("steps").iter().map(|step| text(step, "action")).collect()
}

#[tokio::test]
async fn an_empty_account_is_set_up_once_and_then_left_alone() {
    for engine in engines("stripe setup") {
        let mut account = Account::new(engine).await;
        account.writes().await;
        let planned = account.setup(&["--dry-run"]);
        assert_eq!(actions(&planned), ["create"; 7], "{planned}");
        assert_eq!((account.writes().await, account.inventory().await), (0, [0; 4]));
        let words = account.run(&["stripe", "setup", "--dry-run"]).succeeded();
        assert!(words.contains("7 changes would be made"), "{words}");
        assert!(account.complaints().contains(&"price_missing".to_owned()));
        account.writes().await;

        let made = account.set_up();
        assert_eq!((account.writes().await, account.inventory().await), (7, [2, 3, 1, 1]));
        assert_eq!(made["ids_written"], 3);
        let file = std::fs::read_to_string(account.file()).expect("the file");
        assert!(file.contains("# to be filled in") && !file.contains("new-pro-month"), "{file}");
        assert_eq!(account.complaints(), ["webhook_untested"]);
        let endpoint = account.list("/v1/webhook_endpoints").await.remove(0);
        assert_eq!(endpoint["api_version"], counterfoil::providers::stripe::API_VERSION);
        assert_eq!(endpoint["url"], format!("{}/api/webhooks/stripe", account.public_url));
        assert!(!endpoint["enabled_events"].as_array().expect("events").contains(&json!("*")));

        account.writes().await;
        let again = account.setup(&["--write", "counterfoil.toml"]);
        assert_eq!((account.writes().await, &again["changes"], &again["ids_written"]), (0, &json!(0), &json!(0)));
        assert_eq!(actions(&again), ["keep"; 7], "{again}");
        assert!(again.get("webhook_secret").is_none());
        assert_eq!(again["prices"], made["prices"].as_array().map_or(json!([]), |prices| {
            let written = |price: &Value| {
                json!({ "price": price["price"], "in_catalog": price["stripe_price"], "stripe_price": price["stripe_price"] })
            };
            json!(prices.iter().map(written).collect::<Vec<_>>())
        }));
        let words = account.run(&["stripe", "setup"]).succeeded();
        assert!(words.contains("Nothing to change"), "{words}");
        let noted = account.noted().await;
        assert_eq!(noted.len(), 1, "only what was changed: {noted:?}");
        assert_eq!(noted[0].matches("create ").count(), 7, "{noted:?}");
    }
}

#[tokio::test]
async fn another_amount_makes_another_price_and_the_old_one_stays() {
    let mut account = Account::new(Engine::Sqlite).await;
    account.set_up();
    let prices = account.list("/v1/prices").await;
    let old = prices.iter().find(|price| price["unit_amount"] == 4900).expect("the price").clone();
    let mut amount = 4900;
    // There and back again within a day: what Stripe remembers of the first time is not taken for the third.
    for (number, next) in [5900, 4900, 5900, 4900].into_iter().enumerate() {
        account.edit(&format!("amount = {amount}\n"), &format!("amount = {next}\n"));
        amount = next;
        assert_eq!(account.complaints(), ["price_differs", "webhook_untested"]);
        let told = account.setup(&["--write", "counterfoil.toml"]);
        let new = step(&told, &[("object", "price"), ("action", "create"), ("interval", "month")]);
        assert!(text(new, "why").contains("stays as it is"), "{new}");
        step(&told, &[("object", "portal_configuration"), ("action", "update")]);
        let found = account.get(&format!("/v1/prices/{}", text(new, "id"))).await;
        assert_eq!((&found["unit_amount"], &found["lookup_key"]), (&json!(next), &json!("counterfoil:pro:month:eur")));
        assert_eq!(account.complaints(), ["webhook_untested"]);
        assert_eq!(account.inventory().await, [2, 4 + number, 1, 1]);
        assert_eq!(account.setup(&[])["changes"], 0);
    }
    let old = account.get(&format!("/v1/prices/{}", text(&old, "id"))).await;
    assert_eq!((&old["active"], &old["lookup_key"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn what_belongs_to_others_is_left_alone() {
    let mut account = Account::new(Engine::Sqlite).await;
    let product = account.post("/v1/products", "name=Pro&metadata[app]=other").await;
    let port = free_port();
    let endpoint = format!("url=http://localhost:{port}/api/webhooks/stripe&enabled_events[]=plan.created");
    let endpoint = account.post("/v1/webhook_endpoints", &endpoint).await;
    account.set_up();
    assert_eq!(account.inventory().await, [2, 3, 1, 1]);
    assert_eq!(account.get(&format!("/v1/products/{}", text(&product, "id"))).await, product);
    let after = account.get(&format!("/v1/webhook_endpoints/{}", text(&endpoint, "id"))).await;
    assert_eq!((&after["enabled_events"], &after["metadata"]), (&endpoint["enabled_events"], &endpoint["metadata"]));

    // A price that somebody made by hand and put into the catalogue is ours to sell, and its product not ours to rename.
    let form = format!("product={}&currency=eur&unit_amount=900&recurring[interval]=month", text(&product, "id"));
    let price = account.post("/v1/prices", &form).await;
    let plan = format!(
        "[[plans]]\ncode = \"mini\"\nname = \"Mini\"\nprices = [{{ interval = \"month\", currency = \"eur\", amount = 900, \
         stripe_price = \"{}\" }}]\n",
        text(&price, "id")
    );
    let file = std::fs::read_to_string(account.file()).expect("the file");
    std::fs::write(account.file(), format!("{file}\n{plan}")).expect("the file");
    let told = account.setup(&[]);
    assert_eq!(step(&told, &[("object", "product"), ("plan", "mini")])["action"], "keep");
    assert_eq!(step(&told, &[("object", "price"), ("plan", "mini")])["action"], "keep");
    assert_eq!(account.get(&format!("/v1/products/{}", text(&product, "id"))).await, product);
}

#[tokio::test]
async fn a_setup_that_breaks_off_anywhere_is_finished_by_the_next() {
    let mut account = Account::new(Engine::Sqlite).await;
    // Each run gets one call further than the one before.
    for made in 0..7 {
        let fault =
            json!({ "calls": { "fail": 1_000, "after": usize::from(made > 0), "method": "POST", "status": 400 } });
        account.control("/faults", fault).await;
        let answer = account.run(&["stripe", "setup"]);
        assert_eq!(answer.code, Some(1), "{}", answer.out);
        account.heal().await;
        assert_eq!(account.inventory().await.iter().sum::<usize>(), made);
    }
    // The work is done, and the answer that tells the secret is lost: it is told again to the same key.
    let fault = json!({ "lose_answer": { "times": 1, "method": "POST", "path": "/v1/webhook_endpoints" } });
    account.control("/faults", fault).await;
    account.set_up();
    assert_eq!(account.inventory().await, [2, 3, 1, 1]);
    assert_eq!(account.complaints(), ["webhook_untested"]);
    assert_eq!(account.setup(&[])["changes"], 0);
}

#[tokio::test]
async fn the_doctor_finds_what_is_broken_and_setup_mends_it() {
    let mut account = Account::new(Engine::Sqlite).await;
    let made = account.set_up();
    let id = |words: &[(&str, &str)]| text(step(&made, words), "id").to_owned();
    let price = format!("/v1/prices/{}", id(&[("object", "price"), ("plan", "starter")]));
    let product = format!("/v1/products/{}", id(&[("object", "product"), ("plan", "pro")]));
    let endpoint = format!("/v1/webhook_endpoints/{}", id(&[("object", "webhook_endpoint")]));
    let portal = format!("/v1/billing_portal/configurations/{}", id(&[("object", "portal_configuration")]));
    let faults = [
        (&price, "active=false", &["price_archived"][..]),
        (&product, "active=false", &["product_archived", "product_archived"]),
        (&endpoint, "enabled_events[]=invoice.paid", &["webhook_events_missing"]),
        (&endpoint, "disabled=true", &["webhook_disabled"]),
    ];
    for (path, form, codes) in faults {
        account.post(path, form).await;
        let mut expected: Vec<&str> = codes.to_vec();
        expected.push("webhook_untested");
        assert_eq!(account.complaints(), expected, "{path} {form}");
        assert_eq!(account.setup(&[])["changes"], 1, "{path} {form}");
        assert_eq!(account.complaints(), ["webhook_untested"], "{path} {form}");
    }
    account.post(&product, "name=Renamed").await;
    assert_eq!(account.setup(&[])["changes"], 1);
    assert_eq!(account.get(&product).await["name"], "Pro");
    account.post(&portal, "active=false").await;
    assert_eq!(account.complaints(), ["webhook_untested", "portal_missing"]);

    account.http.delete(format!("{}{endpoint}", account.url)).bearer_auth(STRIPE_KEY).send().await.expect("an answer");
    assert_eq!(account.complaints(), ["webhook_missing", "webhook_untested", "portal_missing"]);
    // Both were made by a call that Stripe still remembers; what it remembers is gone.
    assert_eq!(account.set_up()["changes"], 2);
    assert_eq!(account.complaints(), ["webhook_untested"]);
    let wrong = account.run_with(&[("STRIPE_SECRET_KEY", "sk_test_of_somebody")], &["stripe", "doctor", "--json"]);
    assert_eq!((wrong.code, &wrong.json()["checks"][0]["code"]), (Some(1), &json!("key_refused")));
    let closed = format!("http://127.0.0.1:{}", free_port());
    let silent = account.run_with(&[("STRIPE_API_BASE", &closed)], &["stripe", "doctor", "--json"]);
    assert_eq!((silent.code, &silent.json()["checks"][0]["code"]), (Some(1), &json!("stripe_unreachable")));
    account.settings.retain(|(name, _)| *name != "STRIPE_WEBHOOK_SECRET");
    assert_eq!(account.complaints(), ["webhook_secret_missing", "webhook_untested"]);
    account.run(&["serve"]).refused(2, &["STRIPE_WEBHOOK_SECRET", "counterfoil stripe setup"]);
}

#[tokio::test]
async fn an_endpoint_of_another_version_is_told_and_replaced_on_request() {
    let account = Account::new(Engine::Sqlite).await;
    let form =
        format!("url={}/api/webhooks/stripe&enabled_events[]=*&api_version=2025-03-31.basil", account.public_url);
    account.post("/v1/webhook_endpoints", &form).await;
    let told = account.setup(&["--write", "counterfoil.toml"]);
    assert!(text(step(&told, &[("action", "report")]), "why").contains("--replace-webhook"), "{told}");
    assert_eq!(
        step(&told, &[("object", "webhook_endpoint"), ("action", "update")])["id"],
        account.list("/v1/webhook_endpoints").await[0]["id"]
    );
    assert!(account.complaints().contains(&"webhook_version".to_owned()));
    let told = account.setup(&["--replace-webhook"]);
    assert!(text(&told, "webhook_secret").starts_with("whsec_"), "{told}");
    let old = text(step(&told, &[("action", "report")]), "id");
    assert!(account.complaints().contains(&"webhook_twice".to_owned()));
    let path = format!("{}/v1/webhook_endpoints/{old}", account.url);
    account.http.delete(path).bearer_auth(STRIPE_KEY).send().await.expect("an answer");
    assert_eq!(account.setup(&[])["changes"], 0);
}

#[tokio::test]
async fn the_secret_goes_into_a_file_of_its_own() {
    use std::os::unix::fs::PermissionsExt as _;
    let account = Account::new(Engine::Sqlite).await;
    let path = account.folder.path().join("webhook-secret");
    let arguments = ["stripe", "setup", "--webhook-secret-file", "webhook-secret"];
    std::fs::write(&path, "precious").expect("a file");
    account.run(&arguments).refused(1, &["webhook-secret", "--force"]);
    assert_eq!((account.writes().await, account.inventory().await), (0, [0; 4]), "it was refused first");
    let said = account.run(&[&arguments[..], &["--force"]].concat()).succeeded();
    let secret = std::fs::read_to_string(&path).expect("the file");
    assert!(secret.starts_with("whsec_") && !said.contains(&secret), "{said}");
    assert!(said.contains("STRIPE_WEBHOOK_SECRET_FILE=webhook-secret"), "{said}");
    assert_eq!(std::fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_key_that_may_not_do_it_is_told_which_permission_it_lacks() {
    let account = Account::new(Engine::Sqlite).await;
    for (path, method, permission) in [
        ("/v1/products", "GET", "\"Products: Read\""),
        ("/v1/prices", "POST", "\"Prices: Write\""),
        ("/v1/webhook_endpoints", "POST", "\"Webhook Endpoints: Write\""),
    ] {
        account
            .control("/faults", json!({ "calls": { "fail": 9, "status": 403, "path": path, "method": method } }))
            .await;
        account.run(&["stripe", "setup"]).refused(1, &[permission]);
        account.heal().await;
    }
    let live = [
        ("STRIPE_SECRET_KEY", "sk_live_canary0123456789"),
        ("STRIPE_API_BASE", "https://api.stripe.com"),
        ("COUNTERFOIL_PUBLIC_URL", "https://billing.example.com"),
        ("SMTP_URL", "smtp://user:secret@mail.example.com:587"),
        ("COUNTERFOIL_MAIL_FROM", "Billing <billing@example.com>"),
    ];
    account.run_with(&live, &["stripe", "setup"]).refused(1, &["live key", "--dry-run", "--live"]);
    assert_eq!(error_of(&account.run_with(&live, &["stripe", "setup", "--json"]))["code"], "live_needs_confirmation");
}

/// The service in sandbox mode, with the catalogue that is shipped.
fn in_sandbox_mode(folder: &Path, settings: &[(&str, String)], arguments: &[&str]) -> Answer {
    Answer::of(command(folder).envs(settings.iter().cloned()).args(arguments).output().expect("the binary runs"))
}

#[tokio::test]
async fn in_sandbox_mode_the_shipped_prices_are_there_already() {
    let folder = tempfile::tempdir().expect("a folder");
    let (port, sandbox_port) = (free_port(), free_port());
    let settings = [
        ("COUNTERFOIL_LISTEN", format!("127.0.0.1:{port}")),
        ("COUNTERFOIL_SANDBOX_LISTEN", format!("127.0.0.1:{sandbox_port}")),
    ];
    let silent = in_sandbox_mode(folder.path(), &settings, &["migrate"]);
    assert_eq!(silent.code, Some(0), "{}", silent.err);
    in_sandbox_mode(folder.path(), &settings, &["stripe", "doctor"]).refused(1, &["counterfoil serve"]);
    let mut serve = command(folder.path());
    serve.arg("serve").envs(settings.iter().cloned());
    let _service = Running::spawn(serve.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()));
    let (http, ready) = (http_client(), format!("http://127.0.0.1:{port}/readyz"));
    until("the service", || async { http.get(&ready).send().await.ok().map(drop) }).await;
    let told = in_sandbox_mode(folder.path(), &settings, &["stripe", "setup", "--json"]).json();
    for step in told["steps"].as_array().expect("steps").iter().filter(|step| step["plan"].is_string()) {
        assert_eq!(step["action"], "keep", "{step}");
    }
    assert_eq!(told["changes"], 1, "the portal's configuration: {told}");
    let again = in_sandbox_mode(folder.path(), &settings, &["stripe", "setup"]).succeeded();
    assert!(again.contains("Nothing to change"), "{again}");
    let well = in_sandbox_mode(folder.path(), &settings, &["stripe", "doctor"]).succeeded();
    assert!(well.contains("price_pro_monthly") && !well.contains("problem  "), "{well}");
}

#[tokio::test]
async fn an_operator_asks_the_doctor_over_the_api() {
    for engine in engines("the doctor over the API") {
        let world = World::of(Plan::new(engine, 1)).await;
        let settings = [
            ("DATABASE_URL", world.database_url.as_str()),
            ("STRIPE_SECRET_KEY", STRIPE_KEY),
            ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET),
        ];
        let key = |scope: &str| {
            let mut command = command(world.folder.path());
            command.envs(settings).args(["admin", "create-key", "--name", scope, "--scope", scope, "--json"]);
            text(&Answer::of(command.output().expect("the binary runs")).json(), "secret").to_owned()
        };
        let api = world.api(0);
        let ada = api.sign_up().await;
        world.stripe.pay(&api.checkout(&ada).await).await;
        world.paid(&ada.id).await;
        let (status, report) = api.get("/api/admin/stripe/doctor", Some(&key("read"))).await;
        assert_eq!((status, &report["level"]), (200, &json!("ok")), "{report}");
        let codes: Vec<&str> =
            report["checks"].as_array().expect("checks").iter().map(|check| text(check, "code")).collect();
        assert!(codes.contains(&"account") && codes.contains(&"webhook_received"), "{report}");
        // The look at everything has these in it, unless nobody outside is to be asked.
        let support = key("support");
        for (query, asks) in [("", true), ("?offline=true", false)] {
            let (status, report) = api.get(&format!("/api/admin/doctor{query}"), Some(&support)).await;
            let has =
                |code: &str| report["checks"].as_array().expect("checks").iter().any(|check| check["code"] == code);
            assert_eq!((status, has("account"), has("offline")), (200, asks, !asks), "{report}");
            assert!(has("sweep_events") && has("sweep_comparison"), "{report}");
        }
        let (status, answer) = api.get("/api/admin/doctor?offline=perhaps", Some(&support)).await;
        assert_eq!((status, &answer["code"]), (422, &json!("invalid_request")));
        let (status, answer) = api.get("/api/admin/stripe/doctor", Some(&key("checkout"))).await;
        assert_eq!((status, &answer["code"]), (403, &json!("scope_missing")));
    }
}
