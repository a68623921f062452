//! Crashes: processes killed at the worst moments and started again. What was answered with 2xx is there afterwards, and
//! nothing happened twice (invariants 2, 3 and 6).

use std::time::Duration;

use counterfoil::db::{Db, Engine, Tx};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::processes::{Api, Customer, Plan, Running, Stripe, World, command, engines, fresh_email, text, until};

const CREATING: &str = "select cast(count(*) as bigint) as n from billing_links where state = 'creating'";
const NAMED: &str = "select cast(count(*) as bigint) as n from customers where stripe_customer_id is not null";
const SESSIONS_KNOWN: &str =
    "select cast(count(*) as bigint) as n from checkout_attempts where external_id is not null";
const ATTEMPTS: &str = "select cast(count(*) as bigint) as n from checkout_attempts";
const STORED: &str = "select cast(count(*) as bigint) as n from webhook_inbox where event_type = $1";
const SEEN: &str = "select cast(count(*) as bigint) as n from webhook_inbox where seen_by_fence is not null";

/// Tells the story on each engine, side by side: most of it is waiting.
macro_rules! on_both_engines {
    ($what:literal, $story:expr) => {{
        let with_postgres = engines($what).contains(&Engine::Postgres);
        let postgres = async {
            if with_postgres {
                $story(Engine::Postgres).await;
            }
        };
        tokio::join!($story(Engine::Sqlite), postgres);
    }};
}

/// Keeps the servers from committing anything until it is dropped.
struct Stopped(Tx);

impl Stopped {
    async fn at(db: &Db) -> Self {
        // On SQLite the transaction itself holds the one write lock.
        let mut tx = db.begin().await.expect("a transaction begins");
        if db.engine() == Engine::Postgres {
            let lock = "lock table billing_links, checkout_attempts, customer_leases in exclusive mode";
            tx.query(lock).execute().await.expect("the tables can be locked");
        }
        Self(tx)
    }

    async fn go_on(self) {
        self.0.rollback().await.expect("the lock is given back");
    }
}

/// A checkout in the background, whose answer nobody will hear.
fn start_checkout(api: Api, customer: &Customer) {
    let customer = customer.clone();
    tokio::spawn(async move { api.try_checkout(&customer).await });
}

/// Kills the server after Stripe has answered `path` and before any of it is committed.
async fn kill_between_answer_and_commit(world: &mut World, customer: &Customer, path: &str, begun: &'static str) {
    let calls = world.stripe.calls("POST", path).await;
    let before = world.count(begun, "").await;
    world.stripe.fault(json!({ "slow": { "times": 1, "millis": 1_500, "path": path, "method": "POST" } })).await;
    start_checkout(world.api(0), customer);
    until("the row that is committed before the call", || async {
        (world.count(begun, "").await > before).then_some(())
    })
    .await;
    let stopped = Stopped::at(&world.db).await;
    until("Stripe's answer", || async { (world.stripe.calls("POST", path).await > calls).then_some(()) }).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.servers[0].kill();
    stopped.go_on().await;
    world.stripe.heal().await;
}

#[tokio::test]
async fn scenario_4_a_kill_between_the_answer_of_stripe_and_our_commit_makes_nothing_twice() {
    async fn story(engine: Engine) {
        let mut world = World::new(engine, 1).await;
        let ada = world.api(0).sign_up().await;
        kill_between_answer_and_commit(&mut world, &ada, "/v1/customers", CREATING).await;
        let made = world.stripe.customers_of(&ada.id).await;
        assert_eq!(made.len(), 1, "Stripe did its work");
        assert_eq!(world.count(NAMED, "").await, 0, "and we did not note it");

        world.servers[0].start().await;
        kill_between_answer_and_commit(&mut world, &ada, "/v1/checkout/sessions", ATTEMPTS).await;
        assert_eq!(world.stripe.customers_of(&ada.id).await, made, "the same customer was found again");
        assert_eq!(world.count(NAMED, "").await, 1);
        let sessions = world.stripe.sessions_of(&ada.id).await;
        assert_eq!((sessions.len(), world.count(SESSIONS_KNOWN, "").await), (1, 0), "a session that we never heard of");

        world.servers[0].start().await;
        let url = world.api(0).checkout(&ada).await;
        assert_eq!(json!(url), sessions[0]["url"], "the page that was opened before the crash");
        assert_eq!(world.stripe.customers_of(&ada.id).await.len(), 1);
        assert_eq!(world.stripe.sessions_of(&ada.id).await.len(), 1);
        assert_eq!(world.stripe.pay(&url).await, 303);
        world.paid(&ada.id).await;
    }
    on_both_engines!("a kill between Stripe's answer and our commit", story);
}

#[tokio::test]
async fn a_kill_while_the_answers_of_stripe_are_lost_makes_nothing_twice() {
    async fn story(engine: Engine) {
        let mut world = World::new(engine, 1).await;
        let mut customers = Vec::new();
        for _ in 0..3 {
            customers.push(world.api(0).sign_up().await);
        }
        let lost = json!({ "lose_answer": { "times": 1_000, "path": "/v1/customers", "method": "POST" } });
        world.stripe.fault(lost).await;
        customers.iter().for_each(|customer| start_checkout(world.api(0), customer));
        until("three customers at Stripe", || async {
            (world.stripe.list("/v1/customers").await.len() == 3).then_some(())
        })
        .await;
        world.servers[0].kill();
        world.stripe.heal().await;
        assert_eq!(world.count(NAMED, "").await, 0);

        world.servers[0].start().await;
        let mut again = JoinSet::new();
        for customer in customers.clone() {
            let api = world.api(0);
            again.spawn(async move { api.checkout(&customer).await });
        }
        assert_eq!(again.join_all().await.len(), 3);
        for customer in &customers {
            assert_eq!(world.stripe.customers_of(&customer.id).await.len(), 1);
        }
        assert_eq!(world.count(NAMED, "").await, 3);
    }
    on_both_engines!("a kill while Stripe's answers are lost", story);
}

#[tokio::test]
async fn what_a_webhook_brought_before_a_kill_is_worked_off_after_it() {
    async fn story(engine: Engine) {
        let mut world = World::new(engine, 1).await;
        let ada = world.api(0).sign_up().await;
        let url = world.api(0).checkout(&ada).await;
        world.servers[0].kill();
        // Without a worker, the 200 is all that happens.
        world.servers[0].start_with(&["--roles", "web"]).await;
        assert_eq!(world.stripe.pay(&url).await, 303);
        until("the acknowledged event", || async {
            (world.count(STORED, "checkout.session.completed").await == 1).then_some(())
        })
        .await;
        // Nothing is sent a second time: what comes, comes from what was stored.
        world.stripe.fault(json!({ "webhooks": { "drop": 1_000 } })).await;
        world.servers[0].kill();
        world.servers[0].start().await;
        world.paid(&ada.id).await;
    }
    on_both_engines!("a kill after a webhook's 200", story);
}

/// On PostgreSQL the other process goes on; on SQLite the same one does, once it is started again.
#[tokio::test]
async fn a_kill_during_the_look_at_stripe_is_made_up_for() {
    async fn story(engine: Engine) {
        let mut world = World::new(engine, if engine == Engine::Postgres { 2 } else { 1 }).await;
        if engine == Engine::Postgres {
            // The first process alone has a worker, until it is killed.
            world.servers[1].kill();
            world.servers[1].start_with(&["--roles", "web"]).await;
        }
        let ada = world.api(0).sign_up().await;
        let url = world.api(0).checkout(&ada).await;
        let slow =
            json!({ "slow": { "times": 1_000, "millis": 20_000, "path": "/v1/subscriptions", "method": "GET" } });
        world.stripe.fault(slow).await;
        assert_eq!(world.stripe.pay(&url).await, 303);
        until("a look that is under way", || async { (world.count(SEEN, "").await > 0).then_some(()) }).await;
        until("every event stored", || async { (world.count(STORED, "invoice.paid").await == 1).then_some(()) }).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        world.servers[0].kill();
        world.stripe.heal().await;
        world.stripe.fault(json!({ "webhooks": { "drop": 1_000 } })).await;
        if engine == Engine::Postgres {
            world.servers[1].kill();
            world.servers[1].start().await;
        } else {
            world.servers[0].start().await;
        }
        world.paid(&ada.id).await;
        world.quiet().await;
        const VERSIONS: &str = "select cast(count(*) as bigint) as n from licenses where customer_id = $1";
        assert_eq!(world.count(VERSIONS, &ada.id).await, 2, "and no version too many");
    }
    on_both_engines!("a kill during the look", story);
}

#[tokio::test]
async fn sigterm_lets_requests_finish_and_exits_with_0() {
    let mut world = World::new(Engine::Sqlite, 1).await;
    let mut customers = Vec::new();
    for _ in 0..6 {
        customers.push(world.api(0).sign_up().await);
    }
    let slow = json!({ "slow": { "times": 6, "millis": 1_500, "path": "/v1/customers", "method": "POST" } });
    world.stripe.fault(slow).await;
    let mut requests = JoinSet::new();
    for customer in customers {
        let api = world.api(0);
        requests.spawn(async move { api.try_checkout(&customer).await });
    }
    until("six requests under way", || async { (world.count(CREATING, "").await == 6).then_some(()) }).await;
    // Somebody who has connected and says nothing must not hold it up.
    let address = world.servers[0].url.trim_start_matches("http://").to_owned();
    let mut silent = tokio::net::TcpStream::connect(&address).await.expect("it is still listening");

    let mut running = world.servers[0].running.take().expect("it runs");
    running.signal("TERM");
    for answer in requests.join_all().await {
        let (status, body) = answer.expect("a request that was begun is answered");
        assert_eq!(status, 200, "{body}");
    }
    assert_eq!(running.wait().await.code(), Some(0), "{}", world.servers[0].log_text());
    assert!(world.servers[0].log_text().contains("stopped"));
    let silence = silent.read(&mut [0; 1]).await;
    assert!(matches!(silence, Ok(0) | Err(_)), "the silent one was hung up on");
    world.servers[0].start().await;
}

#[tokio::test]
async fn a_second_server_on_one_sqlite_file_is_refused() {
    let mut plan = Plan::new(Engine::Sqlite, 2);
    plan.start = false;
    let mut world = World::of(plan).await;
    world.servers[0].start().await;
    let status = world.servers[1].try_start(&[]).await.expect_err("the file is in use");
    assert_eq!(status.code(), Some(1));
    let told = world.servers[1].log_text();
    assert!(told.contains("another process uses") && told.contains("DATABASE_URL=postgres"), "{told}");
    world.api(0).sign_up().await;

    // What the first one leaves behind when it is killed keeps nobody out.
    world.servers[0].kill();
    world.servers[1].start().await;
}

#[tokio::test]
async fn a_database_of_a_newer_release_is_refused_and_left_alone() {
    async fn story(engine: Engine) {
        let mut world = World::new(engine, 1).await;
        world.api(0).sign_up().await;
        world.servers[0].kill();
        let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
                     values (9999, 'from the future', true, $1, 0)";
        world.db.query(newer).bind(b"x".as_slice()).execute().await.expect("the row is written");

        for arguments in [vec!["migrate"], vec!["migrate", "--check"]] {
            let output = command(world.folder.path())
                .args(&arguments)
                .env("DATABASE_URL", &world.database_url)
                .output()
                .expect("the binary runs");
            let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
            assert!(told.contains("schema version 9999") && told.contains("run the release that"), "{told}");
        }
        let log = world.folder.path().join("refused.log");
        let file = std::fs::File::create(&log).expect("a file");
        let mut serve = command(world.folder.path());
        serve.env("DATABASE_URL", &world.database_url).env("COUNTERFOIL_DATA_DIR", "data-0");
        serve.env("COUNTERFOIL_LISTEN", format!("127.0.0.1:{}", crate::processes::free_port()));
        serve.env("COUNTERFOIL_SANDBOX_LISTEN", format!("127.0.0.1:{}", crate::processes::free_port()));
        let mut running = Running::spawn(serve.arg("serve").stderr(file));
        assert_eq!(running.wait().await.code(), Some(1));
        assert!(std::fs::read_to_string(&log).expect("a log").contains("schema version 9999"));
        const CUSTOMERS: &str = "select cast(count(*) as bigint) as n from customers";
        assert_eq!(world.count(CUSTOMERS, "").await, 1, "nothing was touched");
    }
    on_both_engines!("a database of a newer release", story);
}

/// What one actor was told; only 2xx answers count.
#[derive(Default)]
struct History {
    signed_up: Vec<Customer>,
    opened: Vec<(String, String)>,
    paid: Vec<String>,
}

/// Signs up, checks out and pays, again and again, whatever happens to the server, until told to stop.
async fn live(api: Api, stripe: Stripe, stop: CancellationToken) -> History {
    let mut history = History::default();
    let pause = Duration::from_millis(100);
    while !stop.is_cancelled() {
        tokio::time::sleep(pause).await;
        let Some((201, answer)) = api.try_sign_up(&fresh_email()).await else { continue };
        let customer = api.customer(&answer);
        history.signed_up.push(customer.clone());
        while !stop.is_cancelled() {
            tokio::time::sleep(pause).await;
            let Some((200, answer)) = api.try_checkout(&customer).await else { continue };
            let url = text(&answer, "checkout_url").to_owned();
            history.opened.push((customer.id.clone(), url.clone()));
            assert_eq!(stripe.pay(&url).await, 303, "an answered page can be paid on");
            history.paid.push(customer.id.clone());
            break;
        }
    }
    history
}

#[tokio::test]
async fn kills_at_random_moments_lose_and_double_nothing() {
    let seed = std::env::var("COUNTERFOIL_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from_be_bytes(counterfoil::entropy::Entropy.bytes()));
    println!("COUNTERFOIL_TEST_SEED={seed} repeats the moments of these kills");
    on_both_engines!("kills at random moments", |engine| random_kills(engine, seed));
}

async fn random_kills(engine: Engine, seed: u64) {
    const KILLS: usize = 10;
    let mut world = World::new(engine, 1).await;
    let mut chance = seed | 1;
    let mut next_pause = move || {
        // xorshift: any even spread will do.
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        Duration::from_millis(100 + chance % 900)
    };
    let pauses: Vec<Duration> = (0..KILLS).map(|_| next_pause()).collect();
    let stop = CancellationToken::new();
    let mut actors = JoinSet::new();
    for _ in 0..8 {
        actors.spawn(live(world.api(0), world.stripe.clone(), stop.clone()));
    }
    for pause in pauses {
        tokio::time::sleep(pause).await;
        world.servers[0].kill();
        world.servers[0].start().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.cancel();
    let histories = actors.join_all().await;

    for id in histories.iter().flat_map(|history| &history.paid) {
        world.paid(id).await;
    }
    world.quiet().await;
    let sessions = world.stripe.list("/v1/checkout/sessions").await;
    let (mut signed_up, mut opened, mut paid) = (0, 0, 0);
    for history in histories {
        check_history(&world, &history, &sessions).await;
        signed_up += history.signed_up.len();
        opened += history.opened.len();
        paid += history.paid.len();
    }
    println!("{engine:?}: {KILLS} kills, {signed_up} sign-ups, {opened} checkouts, {paid} payments");
    assert!(paid > 0, "the run got somewhere");
    check_stripe(&world).await;
    check_mails(&world).await;
}

/// Everything that was answered with 2xx is there.
async fn check_history(world: &World, history: &History, sessions: &[Value]) {
    const THERE: &str = "select cast(count(*) as bigint) as n from customers c join subscriptions s on \
         s.customer_id = c.customer_id join licenses l on l.customer_id = c.customer_id and l.version = 1 \
         where c.customer_id = $1";
    for customer in &history.signed_up {
        assert_eq!(world.count(THERE, &customer.id).await, 1, "{} was answered with 201", customer.id);
    }
    for (id, url) in &history.opened {
        let own = || sessions.iter().filter(|session| session["client_reference_id"] == id.as_str());
        assert_eq!(own().filter(|session| session["status"] == "complete").count(), 1, "{url} was paid");
        assert!(own().all(|session| session["status"] != "open"), "and nothing can be paid twice");
    }
    if let Some(customer) = history.signed_up.last() {
        let body = json!({ "token": customer.license });
        let (status, answer) =
            world.api(0).post("/api/licenses/validate", None, &body).await.expect("the server answers");
        assert_eq!((status, &answer["valid"]), (200, &json!(true)), "{answer}");
    }
}

/// At most one customer at Stripe for each of ours, and at most one subscription.
async fn check_stripe(world: &World) {
    for path in ["/v1/customers", "/v1/subscriptions"] {
        let objects = world.stripe.list(path).await;
        let mut owners: Vec<&Value> = objects.iter().map(|object| &object["metadata"]["customer_id"]).collect();
        let count = owners.len();
        owners.sort_unstable_by_key(|owner| owner.to_string());
        owners.dedup();
        assert_eq!(owners.len(), count, "{path}: one for each of our customers");
    }
}

/// One mail for each version: none without, none with two.
async fn check_mails(world: &World) {
    const WITHOUT: &str = "select cast(count(*) as bigint) as n from licenses l where not exists (select 1 from outbox o \
         where o.dedupe_key = 'license:' || l.customer_id || ':' || cast(l.version as text))";
    const TOO_MANY: &str = "select cast(count(*) as bigint) as n from licenses l where l.version > 2";
    assert_eq!(world.count(WITHOUT, "").await, 0);
    assert_eq!(world.count(TOO_MANY, "").await, 0, "no version without a reason");
}
