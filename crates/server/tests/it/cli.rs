//! The command line as a person or a script meets it: help, results in words and as JSON, and errors that say what to do.

use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use counterfoil::db::Engine;
use serde_json::{Value, json};

use crate::processes::{STRIPE_KEY, WEBHOOK_SECRET, World, command, engines, free_port, text};

/// What a command answered.
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Answer {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.code
    }

    #[track_caller]
    pub(crate) fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }

    /// Failed with this exit code, and said all of this on standard error.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in: {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
    }
}

pub fn run_in(folder: &Path, settings: &[(&str, &str)], arguments: &[&str]) -> Answer {
    let settings = settings.iter().map(|(name, value)| (*name, *value));
    Answer::of(command(folder).envs(settings).args(arguments).output().expect("the binary runs"))
}

/// In an empty folder, with these settings alone.
fn run(settings: &[(&str, &str)], arguments: &[&str]) -> Answer {
    let folder = tempfile::tempdir().expect("a folder");
    run_in(folder.path(), settings, arguments)
}

/// The error as `--json` writes it.
#[track_caller]
pub(crate) fn error_of(answer: &Answer) -> Value {
    let error: Value = serde_json::from_str(&answer.err).unwrap_or_else(|error| panic!("{error}: {}", answer.err));
    error["error"].clone()
}

const COMMANDS: [&[&str]; 57] = [
    &[],
    &["serve"],
    &["demo"],
    &["migrate"],
    &["sandbox"],
    &["license"],
    &["license", "verify"],
    &["license", "inspect"],
    &["license", "status-lists"],
    &["license", "issue"],
    &["license", "reissue"],
    &["license", "revoke"],
    &["license", "resend"],
    &["keys"],
    &["keys", "list"],
    &["keys", "generate"],
    &["keys", "rotate"],
    &["keys", "retire"],
    &["keys", "compromise"],
    &["keys", "root"],
    &["customer"],
    &["customer", "show"],
    &["customer", "explain"],
    &["customer", "sync"],
    &["customer", "set-email"],
    &["customer", "verify-email"],
    &["customer", "end-sessions"],
    &["customer", "export"],
    &["customer", "delete"],
    &["trial"],
    &["trial", "extend"],
    &["manual"],
    &["manual", "show"],
    &["manual", "start"],
    &["manual", "pay"],
    &["manual", "refund"],
    &["manual", "change"],
    &["manual", "cancel"],
    &["manual", "resume"],
    &["event"],
    &["event", "list"],
    &["event", "show"],
    &["event", "replay"],
    &["job"],
    &["job", "list"],
    &["job", "retry"],
    &["job", "discard"],
    &["reconcile"],
    &["admin"],
    &["admin", "create-key"],
    &["admin", "list-keys"],
    &["admin", "revoke-key"],
    &["doctor"],
    &["stripe"],
    &["stripe", "setup"],
    &["stripe", "doctor"],
    &["version"],
];

#[test]
fn every_command_and_option_is_described() {
    for words in COMMANDS {
        let help = run(&[], &[words, &["--help"]].concat()).succeeded();
        assert!(help.contains("Usage: counterfoil"), "{help}");
        assert!(help.contains("--json") && help.contains("--config <PATH>"), "{words:?}");
        let lines: Vec<&str> = help.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            assert!(line.chars().count() <= 110, "{words:?}: a line that does not fit: {line}");
            let item = line.trim_start();
            let is_item = line.starts_with("  ") && (item.starts_with('-') || item.starts_with('<'));
            if !is_item || item.starts_with("- ") {
                continue;
            }
            // The description stands after two spaces, or on the next line where the items are long.
            let indented = |next: &&str| next.trim_start().len() > 5 && next.starts_with("          ");
            let described = item.contains("  ") || lines.get(number + 1).is_some_and(indented);
            assert!(described, "{words:?}: {line}");
        }
        if words.len() < 2 {
            for command in subcommands(&help) {
                assert!(command.len() > 1, "{words:?}: a command without a description: {command:?}");
            }
        }
    }
}

/// Name and description of each command in a help text.
fn subcommands(help: &str) -> Vec<Vec<&str>> {
    let list = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.is_empty());
    lines.map(|line| line.trim().splitn(2, "  ").collect()).collect()
}

#[test]
fn every_command_is_in_the_list_of_this_test() {
    let names = |help: &str| subcommands(help).iter().map(|command| command[0].to_owned()).collect::<Vec<_>>();
    let mut found = vec![Vec::new()];
    for name in names(&run(&[], &["--help"]).succeeded()).into_iter().filter(|name| name != "help") {
        found.push(vec![name.clone()]);
        let below = names(&run(&[], &[&name, "--help"]).succeeded());
        found.extend(below.into_iter().filter(|below| below != "help").map(|below| vec![name.clone(), below]));
    }
    let known: Vec<Vec<String>> =
        COMMANDS.iter().map(|words| words.iter().map(|&word| word.to_owned()).collect()).collect();
    assert_eq!(found.len(), known.len(), "{found:?}");
    assert!(found.iter().all(|words| known.contains(words)), "{found:?}");
}

#[test]
fn the_version_is_told_in_words_and_as_json() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(run(&[], &["version"]).succeeded(), format!("counterfoil {version}\n"));
    assert_eq!(run(&[], &["--version"]).succeeded(), format!("counterfoil {version}\n"));
    assert_eq!(run(&[], &["version", "--json"]).json(), json!({ "version": version }));
}

#[test]
fn wrong_usage_exits_with_2_and_a_suggestion() {
    run(&[], &["serv"]).refused(2, &["similar subcommand", "serve"]);
    run(&[], &["serve", "--role", "web"]).refused(2, &["--roles"]);
    run(&[], &["serve", "--roles", "wep"]).refused(2, &["web", "worker"]);
    run(&[], &["license", "verify"]).refused(2, &["<TOKEN|FILE>"]);
    run(&[], &["admin", "create-key"]).refused(2, &["--name"]);
    run(&[], &["admin", "create-key", "--name", "x", "--scope", "all"]).refused(2, &["--scope"]);
    run(&[], &["sandbox", "--webhook-url", "http://127.0.0.1:1"]).refused(2, &["--webhook-secret"]);
}

#[test]
fn an_unknown_setting_exits_with_2_and_a_suggestion() {
    let misspelt = [("COUNTERFOIL_LISTEM", "127.0.0.1:1")];
    for arguments in [&["serve"][..], &["migrate"], &["customer", "show", "x"], &[]] {
        run(&misspelt, arguments).refused(2, &["COUNTERFOIL_LISTEM", "did you mean COUNTERFOIL_LISTEN?"]);
    }
    let error = error_of(&run(&misspelt, &["serve", "--json"]));
    assert_eq!((&error["code"], &error["problems"][0]["code"]), (&json!("configuration"), &json!("unknown_setting")));

    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("counterfoil.toml"), "lissten = \"127.0.0.1:1\"\n").expect("a file");
    run_in(folder.path(), &[], &["serve"]).refused(2, &["lissten", "did you mean listen?"]);
    run(&[], &["serve", "--config", "nowhere.toml"]).refused(2, &["nowhere.toml"]);
}

/// Settings, the code of what is wrong with them, and words of the message.
type Refused<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a [&'a str]);

#[test]
fn settings_that_cannot_be_right_are_refused_at_start() {
    let key = ("STRIPE_SECRET_KEY", "sk_test_canary0123456789");
    let live = ("STRIPE_SECRET_KEY", "sk_live_canary0123456789");
    let secret = ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET);
    let https = ("COUNTERFOIL_PUBLIC_URL", "https://billing.example.com");
    let smtp = ("SMTP_URL", "smtp://user:canaryPass@mail.example.com:587");
    let from = ("COUNTERFOIL_MAIL_FROM", "Billing <billing@example.com>");
    let table: [Refused; 9] = [
        (&[key], "webhook_secret_missing", &["STRIPE_WEBHOOK_SECRET", "Webhooks", "whsec_"]),
        (&[("STRIPE_SECRET_KEY", "sk_test_..."), secret], "placeholder_secret", &["placeholder", "API keys"]),
        (&[key, ("STRIPE_WEBHOOK_SECRET", "whsec_xxx")], "placeholder_secret", &["STRIPE_WEBHOOK_SECRET"]),
        (&[("STRIPE_SECRET_KEY", "pk_test_canary01234"), secret], "invalid_stripe_key", &["publishable"]),
        (&[live, secret, smtp, from], "live_needs_https", &["https://"]),
        (&[live, secret, https], "live_needs_smtp", &["SMTP_URL"]),
        (
            &[live, secret, https, smtp, from, ("COUNTERFOIL_CHECKOUT_AUTH", "customer_id")],
            "live_needs_checkout_auth",
            &["required"],
        ),
        (
            &[live, secret, https, smtp, from, ("STRIPE_API_BASE", "http://127.0.0.1:1")],
            "live_needs_stripe_api",
            &["api.stripe.com"],
        ),
        (&[("COUNTERFOIL_LISTEN", "0.0.0.0:3100")], "sandbox_needs_loopback", &["127.0.0.1:3100"]),
    ];
    for (settings, code, words) in table {
        let answer = run(settings, &["serve"]);
        answer.refused(2, words);
        answer.refused(2, &[&format!("[{code}]")]);
        assert!(!answer.err.contains("canary"), "a secret is repeated: {}", answer.err);
        assert!(!answer.err.contains("{public_url}"), "{}", answer.err);
    }
}

#[test]
fn a_database_that_does_not_answer_is_told_without_its_password() {
    let url = format!("postgres://billing:hunter2@127.0.0.1:{}/billing", free_port());
    // Not the usual address, at which whoever runs the tests may have a server.
    let listen = format!("127.0.0.1:{}", free_port());
    for arguments in
        [&["serve"][..], &["migrate"], &["migrate", "--check"], &["customer", "show", "x"], &["license", "verify", "x"]]
    {
        let answer = run(&[("DATABASE_URL", &url), ("COUNTERFOIL_LISTEN", &listen)], arguments);
        answer.refused(1, &["PostgreSQL database billing at 127.0.0.1", "refused", "Check DATABASE_URL"]);
        assert!(!answer.err.contains("hunter2"), "{}", answer.err);
    }
    let error = error_of(&run(&[("DATABASE_URL", &url)], &["migrate", "--json"]));
    assert_eq!(error["code"], "database_unavailable");
    assert!(text(&error, "advice").contains("DATABASE_URL"));
}

#[test]
fn a_port_in_use_is_told_with_the_setting_that_chooses_another() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let other = format!("127.0.0.1:{}", free_port());
    let in_use = [("COUNTERFOIL_LISTEN", address.as_str()), ("COUNTERFOIL_SANDBOX_LISTEN", &other)];
    run(&in_use, &["serve"]).refused(1, &[&address, "in use", "COUNTERFOIL_LISTEN"]);
    assert_eq!(error_of(&run(&in_use, &["serve", "--json"]))["code"], "port_in_use");
    let sandbox = [("COUNTERFOIL_LISTEN", other.as_str()), ("COUNTERFOIL_SANDBOX_LISTEN", &address)];
    run(&sandbox, &["serve"]).refused(1, &[&address, "in use", "COUNTERFOIL_SANDBOX_LISTEN"]);
    run(&[], &["sandbox", "--listen", &address]).refused(1, &[&address, "in use", "--listen"]);
    run(&[], &["sandbox", "--listen", "0.0.0.0:3101"]).refused(1, &["loopback"]);
}

#[test]
fn migrate_makes_a_database_and_says_what_is_due() {
    let folder = tempfile::tempdir().expect("a folder");
    let listen = format!("127.0.0.1:{}", free_port());
    let at = |arguments: &[&str]| run_in(folder.path(), &[("COUNTERFOIL_LISTEN", &listen)], arguments);
    at(&["migrate", "--check"]).refused(1, &["counterfoil.db", "counterfoil migrate"]);
    assert!(!folder.path().join("data").exists(), "a check makes nothing");
    std::fs::create_dir(folder.path().join("data")).expect("a folder");
    std::fs::write(folder.path().join("data/counterfoil.db"), "").expect("an empty file is an empty database");
    let due = at(&["migrate", "--check"]);
    assert!(due.code == Some(1) && due.out.contains("due. Run `counterfoil migrate`"), "{}{}", due.out, due.err);
    assert_eq!(at(&["migrate", "--check", "--json"]).json()["state"], "pending");
    for arguments in [&["customer", "show", "x@example.com"][..], &["admin", "create-key", "--name", "shop"]] {
        at(arguments).refused(1, &["counterfoil.db lacks", "run `counterfoil migrate` first"]);
    }
    at(&["serve", "--no-migrate"]).refused(1, &["run `counterfoil migrate`"]);

    assert!(at(&["migrate"]).succeeded().contains("applied, the schema is at version"));
    assert!(at(&["migrate"]).succeeded().contains("nothing to do"));
    assert_eq!(at(&["migrate", "--json"]).json()["applied"], json!([]));
    assert!(at(&["migrate", "--check"]).succeeded().contains("up to date"));
    assert_eq!(at(&["migrate", "--check", "--json"]).json()["state"], "current");
}

fn check_demo(settings: &[&str]) {
    let words = run(&[], &[&["demo"], settings].concat()).succeeded();
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    for step in [
        "1. A visitor signs up",
        "customers.stripe_customer_id NULL",
        "2. The customer chooses the professional plan",
        "3. The customer pays",
        "subscriptions.plan professional",
        "licenses, newest version 2",
        "4. The product verifies the license offline",
        "All of it came out as promised.",
    ] {
        assert!(words.contains(step), "`{step}` is not in: {words}");
    }
    let told = run(&[], &[&["demo", "--json"], settings].concat()).json();
    assert_eq!((&told["ok"], told["steps"].as_array().map(Vec::len)), (&json!(true), Some(4)));
    assert_eq!(told["steps"][3]["answer"]["state"], "valid");
}

#[test]
fn the_demo_comes_out_as_promised() {
    check_demo(&[]);
    run(&[], &["demo", "--postgres", "postgres://u:hunter2@127.0.0.1:1/x"])
        .refused(1, &["127.0.0.1:1", "DATABASE_URL"]);
}

#[tokio::test]
async fn the_demo_comes_out_as_promised_on_postgres() {
    if engines("the demo").contains(&Engine::Postgres) {
        let database = counterfoil::db::testing::empty(Engine::Postgres).await;
        let url = database.url().to_owned();
        tokio::task::spawn_blocking(move || check_demo(&["--postgres", &url])).await.expect("the demo");
    }
}

/// A world with a customer who has paid, and the commands beside its running server.
pub(crate) struct Beside {
    pub(crate) world: World,
    settings: Vec<(&'static str, String)>,
}

impl Beside {
    pub(crate) async fn of(engine: Engine) -> Self {
        let world = World::new(engine, 1).await;
        let settings = vec![
            ("DATABASE_URL", world.database_url.clone()),
            ("COUNTERFOIL_PUBLIC_URL", world.servers[0].url.clone()),
            ("STRIPE_SECRET_KEY", STRIPE_KEY.to_owned()),
            ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
            ("STRIPE_API_BASE", world.stripe.url.clone()),
            ("COUNTERFOIL_DATA_DIR", world.folder.path().join("data-0").display().to_string()),
        ];
        Self { world, settings }
    }

    /// The environment of the running server, to be changed.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        self.settings.clone()
    }

    /// A command in another environment; what comes later counts.
    pub(crate) fn run_in_environment(&self, settings: &[(&'static str, String)], arguments: &[&str]) -> Answer {
        let mut command = command(self.world.folder.path());
        command.envs(settings.iter().cloned()).args(arguments);
        Answer::of(command.output().expect("the binary runs"))
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Answer {
        self.run_with(arguments, "")
    }

    fn run_with(&self, arguments: &[&str], input: &str) -> Answer {
        let mut command = command(self.world.folder.path());
        command.envs(self.settings.clone()).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        // A command that reads nothing may be gone already.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        Answer::of(child.wait_with_output().expect("the binary runs"))
    }
}

#[tokio::test]
async fn a_customer_is_shown_by_each_of_its_names() {
    for engine in engines("customer show") {
        let beside = Beside::of(engine).await;
        let ada = beside.world.api(0).sign_up().await;
        let url = beside.world.api(0).checkout(&ada).await;
        beside.world.stripe.pay(&url).await;
        beside.world.paid(&ada.id).await;
        let at_stripe = beside.world.stripe.customers_of(&ada.id).await;
        let names = [ada.id.clone(), ada.email.to_uppercase(), text(&at_stripe[0], "id").to_owned()];
        for name in &names {
            let shown = beside.run(&["customer", "show", name, "--json"]).json();
            assert_eq!((text(&shown, "customer_id"), text(&shown, "email")), (ada.id.as_str(), ada.email.as_str()));
            assert_eq!(shown["stripe_customer_id"], at_stripe[0]["id"]);
            assert_eq!(shown["subscription"]["plan"], "professional");
            assert_eq!(shown["licenses"].as_array().map(Vec::len), Some(2));
            assert!(shown["history"].as_array().is_some_and(|lines| lines.len() >= 2));
            let words = beside.run(&["customer", "show", name]).succeeded();
            for expected in [ada.id.as_str(), &ada.email, "professional (active)", "license v2", "signed_up"] {
                assert!(words.contains(expected), "`{expected}` is not in: {words}");
            }
        }
        for unknown in ["cust_00000000000000000000000000000000", "nobody@example.com", "cus_nobody", "", "%"] {
            beside.run(&["customer", "show", unknown]).refused(1, &["no such customer", "cust_…", "cus_…"]);
        }
        let error = error_of(&beside.run(&["customer", "show", "cus_nobody", "--json"]));
        assert_eq!(error["code"], "customer_not_found");
    }
}

#[tokio::test]
async fn an_account_is_deleted_by_whoever_writes_its_id() {
    let beside = Beside::of(Engine::Sqlite).await;
    let ada = beside.world.api(0).sign_up().await;
    let delete = ["customer", "delete", &ada.email, "--reason", "she asked"];
    let refused = beside.run_with(&delete, "yes\n");
    refused.refused(1, &["nothing was deleted"]);
    assert!(refused.err.contains(&format!("Write {} to delete", ada.id)), "{}", refused.err);
    beside.run(&["customer", "show", &ada.id]).succeeded();
    let done = beside.run_with(&delete, &format!("{}\n", ada.id)).succeeded();
    assert!(done.contains(&format!("{} is deleted", ada.id)), "{done}");
}

#[tokio::test]
async fn where_nobody_watches_a_log_line_is_json() {
    let beside = Beside::of(Engine::Sqlite).await;
    let told = beside.world.servers[0].log_text();
    let lines: Vec<Value> = told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(lines.iter().any(|line| line["level"] == "INFO"), "{told}");
}

#[tokio::test]
async fn a_license_is_verified_and_inspected() {
    let beside = Beside::of(Engine::Sqlite).await;
    let ada = beside.world.api(0).sign_up().await;
    let token = ada.license.as_str();
    let words = beside.run(&["license", "verify", token]).succeeded();
    assert!(words.starts_with("valid") && words.contains(&ada.id) && words.contains("trial (trialing)"), "{words}");
    let told = beside.run(&["license", "verify", token, "--json"]).json();
    assert_eq!((&told["entitled"], text(&told["claims"], "customer_id")), (&json!(true), ada.id.as_str()));
    let piped = beside.run_with(&["license", "verify", "-", "--json"], &format!("{token}\n"));
    assert_eq!(piped.json(), told);
    assert_eq!(beside.run_with(&["license", "inspect", "-", "--json"], token).json()["claims"], told["claims"]);

    // By the published keys alone, without any database.
    let jwks_url = format!("{}/.well-known/jwks.json", beside.world.servers[0].url);
    let jwks = beside.world.http.get(jwks_url).send().await.expect("keys").text().await.expect("text");
    std::fs::write(beside.world.folder.path().join("jwks.json"), jwks).expect("a file");
    let offline = ["license", "verify", token, "--jwks", "jwks.json"];
    let elsewhere = [("COUNTERFOIL_PUBLIC_URL", beside.world.servers[0].url.as_str())];
    run_in(beside.world.folder.path(), &elsewhere, &offline).succeeded();
    let issuer = [&offline[..], &["--issuer", "https://somebody.example"]].concat();
    assert_eq!(run_in(beside.world.folder.path(), &[], &issuer).code, Some(1));
    let audience = [&offline[..], &["--audience", "another-product"]].concat();
    assert_eq!(run_in(beside.world.folder.path(), &elsewhere, &audience).code, Some(1));
    let no_file = ["license", "verify", token, "--jwks", "nowhere.json"];
    run_in(beside.world.folder.path(), &[], &no_file).refused(1, &["nowhere.json"]);

    // The last characters of a signature hold unused bits; one in the middle never does.
    let middle = token.len() - 40;
    let other = if token.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let altered = format!("{}{other}{}", &token[..middle], &token[middle + 1..]);
    let refused = beside.run(&["license", "verify", &altered]);
    assert!(refused.code == Some(1) && refused.out.starts_with("bad_signature"), "{}{}", refused.out, refused.err);
    let told = beside.run(&["license", "verify", &altered, "--json"]);
    assert_eq!((told.code, &told.json()["entitled"]), (Some(1), &json!(false)));
    assert!(beside.run(&["license", "inspect", &altered]).succeeded().contains("Not verified"));
    for junk in ["junk", "", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "-"] {
        let refused = beside.run(&["license", "verify", "--", junk]);
        assert!(refused.code == Some(1) && refused.err.is_empty(), "{junk}: {}{}", refused.out, refused.err);
        let inspected = beside.run(&["license", "inspect", "--", junk]);
        inspected.refused(1, &["no license"]);
        let error = error_of(&beside.run(&["license", "inspect", "--json", "--", junk]));
        assert!(!text(&error, "code").is_empty());
    }
}

/// A licence of the year 2027, its bundle, and the pinned root, in files of this folder.
fn license_files(folder: &Path) -> (String, String) {
    use counterfoil_license::{
        Claims, LicenseFile, ListedKey, RootKey, SignedKeySet, SigningKey, Status, StatusEntries, StatusList,
        StatusReference,
    };
    let (issued, day) = (1_800_000_000, 86_400);
    let (key, root) = (SigningKey::from_seed(&[7; 32]), RootKey::from_seed(&[9; 32]));
    let (iss, uri) = ("https://billing.example.com".to_owned(), "https://billing.example.com/status/1".to_owned());
    let license = key.sign(&Claims {
        iss: iss.clone(),
        sub: "cust_1".into(),
        customer_id: "cust_1".into(),
        aud: "acme-editor".into(),
        iat: issued,
        nbf: issued - 60,
        exp: issued + 37 * day,
        jti: "lic_1".into(),
        ver: 1,
        plan: "professional".into(),
        status: "active".into(),
        trial: false,
        features: vec![],
        limits: [].into(),
        paid_until: issued + 30 * day,
        grace_until: issued + 37 * day,
        refresh_after: issued + 23 * day,
        status_list: Some(StatusReference { idx: 5, uri: uri.clone() }),
    });
    let keys = vec![ListedKey::active(key.public())];
    let set = SignedKeySet { issuer: iss, issued_at: issued, expires_at: issued + 400 * day, serial: 1, keys };
    let mut entries = StatusEntries::new(8);
    let mut list = |name: &str, status| {
        entries.set(5, status);
        let (uri, entries) = (uri.clone(), entries.clone());
        let list = StatusList { uri, issued_at: issued, expires_at: issued + day, ttl_seconds: None, entries };
        let token = key.sign_status_list(&list);
        std::fs::write(folder.join(name), &token).expect("a file");
        token
    };
    let good = list("good.list", Status::Valid);
    list("revoked.list", Status::Invalid);
    let single = LicenseFile { license: license.clone(), key_set: None, status_list: None };
    std::fs::write(folder.join("license.lic"), single.to_string()).expect("a file");
    let bundle = LicenseFile { key_set: Some(root.sign(&set)), status_list: Some(good), ..single };
    std::fs::write(folder.join("bundle.lic"), bundle.to_string()).expect("a file");
    (license, root.public().to_string())
}

#[test]
fn a_license_file_is_read_and_its_life_is_drawn_without_any_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let (token, root) = license_files(folder.path());
    let run = |arguments: &[&str]| run_in(folder.path(), &[], &[&["license"], arguments].concat());

    let drawn = run(&["inspect", "license.lic", "--at", "2027-02-10"]).succeeded();
    let order = [
        "before",
        "not_yet_valid",
        "| 15 January 2027",
        "refresh_due",
        "> 10 February 2027",
        "4 days to in_grace",
        "expired",
    ];
    let places: Vec<_> =
        order.iter().map(|words| drawn.find(words).unwrap_or_else(|| panic!("{words}: {drawn}"))).collect();
    assert!(places.is_sorted() && drawn.starts_with("Not verified"), "{drawn}");
    let told = run(&["inspect", &token, "--at", "2027-03-01T00:00:00Z", "--json"]).json();
    assert_eq!((&told["code"], &told["verified"]), (&json!("expired"), &json!(false)));
    assert_eq!(told["timeline"].as_array().map(Vec::len), Some(5));
    run(&["inspect", &token, "--at", "tomorrow"]).refused(2, &["2026-12-31"]);

    let by_root = ["inspect", "bundle.lic", "--root", &root, "--at", "2027-01-16"];
    assert!(run(&by_root).succeeded().starts_with("valid: "));
    let revoked = run(&[&by_root[..], &["--status-list", "revoked.list", "--json"]].concat()).json();
    assert_eq!((&revoked["code"], &revoked["verified"]), (&json!("revoked"), &json!(true)));

    let issuer = ["--issuer", "https://billing.example.com", "--audience", "acme-editor", "--at", "2027-01-16"];
    let verify = |arguments: &[&str]| run(&[&["verify"], arguments, &issuer].concat());
    assert!(verify(&["bundle.lic", "--root", &root]).succeeded().starts_with("valid: "));
    let stopped = verify(&["bundle.lic", "--root", &root, "--status-list", "revoked.list"]);
    assert!(stopped.code == Some(1) && stopped.out.starts_with("revoked: "), "{}{}", stopped.out, stopped.err);
    verify(&["license.lic", "--root", &root]).refused(1, &["--key-set"]);
    verify(&["license.lic", "--root", "cfroot1:AAAA"]).refused(1, &["root key"]);
    verify(&["bundle.lic", "--root", &root, "--jwks", "x"]).refused(2, &["--jwks"]);
    std::fs::write(folder.path().join("cut.lic"), "-----BEGIN COUNTERFOIL LICENSE-----\nAAAA\n").expect("a file");
    run(&["inspect", "cut.lic"]).refused(1, &["copied in full"]);
    verify(&["cut.lic", "--root", &root]).refused(1, &["copied in full"]);
}

#[tokio::test]
async fn an_api_key_is_made_beside_the_running_service_and_starts_checkouts() {
    for engine in engines("admin create-key") {
        let beside = Beside::of(engine).await;
        let ada = beside.world.api(0).sign_up().await;
        let made = beside.run(&["admin", "create-key", "--name", "shop", "--json"]).json();
        let secret = text(&made, "secret");
        beside.world.keep_secret("an API key", secret);
        assert_eq!(made["scope"], "checkout");
        let body = json!({
            "customer_id": ada.id, "plan": "professional",
            "success_url": "http://localhost:3000/success", "cancel_url": "http://localhost:3000/cancel",
        });
        let path = "/api/subscriptions/checkout";
        let (status, answer) = beside.world.api(0).post(path, Some(secret), &body).await.expect("an answer");
        assert_eq!(status, 200, "{answer}");
        let (status, answer) = beside.world.api(0).post(path, Some("cfk_wrong"), &body).await.expect("an answer");
        assert_eq!((status, &answer["code"]), (401, &json!("not_signed_in")));
        let words = beside.run(&["admin", "create-key", "--name", "second"]).succeeded();
        assert!(words.contains("Authorization: Bearer") && words.contains("not shown again"), "{words}");
        let listing = "select cast(count(*) as bigint) as n from api_keys where secret_hash = $1";
        assert_eq!(beside.world.count(listing, secret).await, 0, "only a hash is kept");
    }
}

#[tokio::test]
async fn an_operators_key_opens_what_its_scope_allows() {
    for engine in engines("operators' keys") {
        let beside = Beside::of(engine).await;
        let api = beside.world.api(0);
        let key = |scope: &str| {
            let made = beside.run(&["admin", "create-key", "--name", scope, "--scope", scope, "--json"]).json();
            beside.world.keep_secret("an operator's key", text(&made, "secret"));
            text(&made, "secret").to_owned()
        };
        let (status, answer) = api.get("/api/admin/who", Some(&key("read"))).await;
        assert_eq!((status, &answer["scope"]), (200, &json!("read")), "{answer}");
        let (status, answer) = api.get("/api/admin/who", Some(&key("checkout"))).await;
        assert_eq!((status, &answer["code"]), (403, &json!("scope_missing")));
        let (status, answer) = api.get("/api/admin/who", None).await;
        assert_eq!((status, &answer["code"]), (401, &json!("operator_key_missing")));
        let ada = api.sign_up().await;
        let (status, answer) = api.get("/api/admin/who", Some(&ada.token)).await;
        assert_eq!((status, &answer["code"]), (403, &json!("scope_missing")));
    }
}

#[tokio::test]
async fn an_operator_looks_at_the_provider_and_says_why() {
    for engine in engines("customer sync") {
        let beside = Beside::of(engine).await;
        let ada = beside.world.api(0).sign_up().await;
        let url = beside.world.api(0).checkout(&ada).await;
        beside.world.stripe.pay(&url).await;
        beside.world.paid(&ada.id).await;
        beside.run(&["customer", "sync", &ada.id]).refused(2, &["--reason"]);
        beside.run(&["customer", "sync", &ada.id, "--reason", " "]).refused(1, &["audit log"]);
        let told = beside.run(&["customer", "sync", &ada.email, "--reason", "asked by phone", "--json"]).json();
        assert_eq!((text(&told, "customer_id"), &told["changed"]), (ada.id.as_str(), &json!(false)));
        let shown = beside.run(&["customer", "show", &ada.id, "--json"]).json();
        let line = &shown["history"][0];
        assert_eq!(
            (text(line, "actor"), text(line, "action"), text(line, "reason")),
            ("operator:cli", "looked_at_provider", "asked by phone")
        );
    }
}

#[tokio::test]
async fn an_operator_makes_a_trial_longer() {
    for engine in engines("trial extend") {
        let beside = Beside::of(engine).await;
        let ada = beside.world.api(0).sign_up().await;
        beside.run(&["trial", "extend", &ada.id, "--reason", "asked"]).refused(2, &["--days", "--until"]);
        beside.run(&["trial", "extend", &ada.id, "--days", "366", "--reason", "asked"]).refused(2, &["1..=365"]);
        beside.run(&["trial", "extend", &ada.id, "--until", "soon", "--reason", "asked"]).refused(2, &["2026-12-31"]);
        beside.run(&["trial", "extend", "x@example.com", "--days", "7", "--reason", "asked"]).refused(1, &["customer"]);
        beside.run(&["trial", "extend", &ada.id, "--until", "2020-01-01", "--reason", "x"]).refused(1, &["`until`"]);
        let told = beside.run(&["trial", "extend", &ada.email, "--days", "7", "--reason", "asked", "--json"]).json();
        assert_eq!((text(&told, "customer_id"), &told["version"]), (ada.id.as_str(), &json!(2)));
        let shown = beside.run(&["customer", "show", &ada.id, "--json"]).json();
        assert_eq!(shown["subscription"]["trial_ends_at"], told["trial_ends_at"]);
        let line = &shown["history"][0];
        assert_eq!((text(line, "action"), text(line, "reason")), ("trial_extended", "asked"));
    }
}

#[test]
fn a_reader_who_has_read_enough_is_no_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = command(folder.path())
        .args(["demo", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let answer = Answer::of(child.wait_with_output().expect("the binary runs"));
    assert_eq!((answer.code, answer.err.contains("panicked")), (Some(0), false), "{}", answer.err);
}
