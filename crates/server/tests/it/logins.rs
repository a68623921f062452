//! What a login costs and says, whoever tries it; and where links in mails lead, whatever a request calls the server.

use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, form};
use crate::counts::Counts;
use crate::logs;
use crate::world::World;

async fn log_in(world: &World, email: &str, password: &str) -> Answer {
    world.http.post("/api/customers/login", &json!({ "email": email, "password": password })).await
}

async fn log_in_on_the_page(world: &World, email: &str, password: &str) -> Answer {
    let request =
        world.http.request(Method::POST, "/login").header("content-type", "application/x-www-form-urlencoded");
    world.http.send(request.body(form(&[("email", email), ("password", password)]))).await
}

/// Hashes that were computed for what is done here.
async fn hashes(world: &World, work: impl Future<Output = Answer>) -> (u64, u16) {
    let before = world.app.hasher.hashes();
    let answer = work.await;
    (world.app.hasher.hashes() - before, answer.status)
}

async fn each_login_costs_one_hash_whether_or_not_there_is_an_account(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let long = "x".repeat(10_000);
    for (email, password) in [
        ("ada@example.com", "not the password"),
        ("ADA@example.com", ""),
        ("ada@example.com", &long),
        ("nobody@example.com", "not the password"),
        ("nobody@example.com", ""),
        ("nobody@example.com", &long),
        ("no address", "not the password"),
        ("", ""),
    ] {
        assert_eq!(hashes(world, log_in(world, email, password)).await, (1, 401), "{email}");
        assert_eq!(hashes(world, log_in_on_the_page(world, email, password)).await, (1, 401), "{email}, on the page");
    }
    let right = async {
        let answer = log_in(world, &ada.email, &ada.password).await;
        world.http.tap().guard_token(answer.json()["token"].as_str().unwrap_or_default(), &ada.email);
        answer
    };
    // Who is let in is shown the own token; the tap takes the stranger for somebody else.
    assert_eq!(hashes(world, right).await, (1, 200));
    for email in ["ada@example.com", "nobody@example.com"] {
        let body = json!({ "email": email });
        let forgot = world.http.post("/api/customers/password/forgot", &body);
        assert_eq!(hashes(world, forgot).await, (0, 202), "{email}");
    }
    world.worked_off().await;
}

/// Who looks into the log learns whose account was tried, and no address.
async fn the_log_says_whose_account_was_opened_or_tried(world: &World) {
    let (ada, counts) = (world.customer("ada@example.com").await, Counts::begin());
    let told = |entry| logs::told(entry, &ada.customer_id);
    assert_eq!((told("a customer logged in"), told("a login was refused")), (0, 0));
    log_in(world, "ada@example.com", "not the password").await.refused(401, "invalid_credentials");
    let nobody = log_in(world, "nobody@example.com", "not the password").await;
    assert_eq!(logs::told("a login was refused", nobody.header("x-request-id")), 1, "a line for each");
    nobody.refused(401, "invalid_credentials");
    log_in_on_the_page(world, "ada@example.com", "not the password").await;
    assert_eq!((told("a customer logged in"), told("a login was refused")), (0, 2));
    let answer = log_in(world, &ada.email, &ada.password).await.accepted();
    world.http.tap().guard_token(answer["token"].as_str().expect("a token"), &ada.email);
    assert_eq!(counts.of("logins_refused_total"), 3, "that of nobody among them");
    assert_eq!((told("a customer logged in"), told("a login was refused")), (1, 2));
}

async fn signing_up_costs_one_hash_whether_or_not_the_address_is_taken(world: &World) {
    let mut ada = world.visitor("ada@example.com");
    assert_eq!(hashes(world, ada.sign_up()).await, (1, 201));
    assert_eq!(hashes(world, world.visitor("ada@example.com").sign_up()).await, (1, 409));
}

async fn stored_hash(world: &World) -> String {
    let row = world.app.db.query("select password_hash as x from customers").one().await.expect("a customer");
    row.get("x").expect("a hash")
}

async fn store_hash(world: &World, hash: &str) {
    world.app.db.query("update customers set password_hash = $1").bind(hash).execute().await.expect("an update");
}

fn weak_hash(password: &str) -> String {
    let params = Params::new(8 * 1024, 1, 1, None).expect("parameters");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password(password.as_bytes()).expect("a hash").to_string()
}

/// A hash of an older release is as good as its parameters. It is renewed when its password is at hand: at the next login.
async fn a_weaker_hash_is_renewed_by_the_next_login(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let (today, weak) = (stored_hash(world).await, weak_hash(&ada.password));
    store_hash(world, &weak).await;
    log_in(world, &ada.email, "not the password").await.refused(401, "invalid_credentials");
    assert_eq!(stored_hash(world).await, weak, "only the right password is hashed anew");
    let (before, sessions) = (world.app.hasher.hashes(), world.counts().await[6]);
    ada.log_in().await.accepted();
    let renewed = stored_hash(world).await;
    assert_eq!(world.app.hasher.hashes() - before, 2, "checked, and hashed once more");
    assert!(renewed != weak && renewed != today && renewed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{renewed}");
    assert_eq!(world.counts().await[6], sessions + 1, "no session has ended by it");
    ada.log_in().await.accepted();
    assert_eq!(stored_hash(world).await, renewed, "and then it stays");
    // One that costs more than today's was written by a release that knew why.
    let params = Params::new(32 * 1024, 3, 1, None).expect("parameters");
    let strong = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let strong = strong.hash_password(ada.password.as_bytes()).expect("a hash").to_string();
    store_hash(world, &strong).await;
    ada.log_in().await.accepted();
    assert_eq!(stored_hash(world).await, strong);
}

/// A flood of passwords is worked off by a few at once. The rest is told to come back, and events do not wait behind it.
async fn a_flood_of_logins_is_told_to_come_back_and_events_are_taken_meanwhile(world: &World) {
    world.customer("ada@example.com").await;
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..300 {
        let http = world.http.clone();
        let body = json!({ "email": format!("nobody{}@example.com", number % 7), "password": "not the password" });
        flood.spawn(async move { http.post("/api/customers/login", &body).await });
    }
    for _ in 0..20 {
        let event = world.event("customer.updated", json!({ "object": "customer" }));
        world.deliver(&event).await.accepted();
    }
    let answers = flood.join_all().await;
    let (refused, tried): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 503);
    assert!(refused.iter().all(|answer| !answer.header("retry-after").is_empty()), "each hears when to come back");
    // On a machine that has no time some wait in vain for a connection to the database before.
    let (busy, late): (Vec<_>, Vec<_>) = refused.into_iter().partition(|answer| answer.json()["code"] == "busy");
    for answer in &late {
        answer.refused(503, "database_unavailable");
    }
    for answer in &tried {
        answer.refused(401, "invalid_credentials");
    }
    println!("{} of 300 were tried", tried.len());
    assert!(!busy.is_empty() && tried.len() >= 33, "{} were told to come back", busy.len());
}

/// Links are put together from the setting. What a request calls the server is in none of them, nor in any redirect.
async fn links_lead_to_the_configured_address_whatever_a_request_calls_the_server(world: &World) {
    let headers = [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("x-original-host", "evil.example"),
        ("forwarded", "host=evil.example;proto=https"),
    ];
    let send = async |method: Method, path: &str, body: Option<Value>| {
        let mut request = world.http.request(method, path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = world.http.send(match body {
            Some(body) => request.json(&body),
            None => request,
        });
        let answer = answer.await;
        let shown = format!("{:?} {}", answer.headers, answer.body);
        assert!(!shown.contains("evil.example"), "{path}: {shown}");
        answer
    };
    let sign_up = json!({ "email": "ada@example.com", "password": "canary ada 7Q" });
    world.http.tap().guard_secret("canary ada 7Q");
    send(Method::POST, "/api/customers/signup", Some(sign_up)).await.accepted();
    let forgot = json!({ "email": "ada@example.com" });
    assert_eq!(send(Method::POST, "/api/customers/password/forgot", Some(forgot)).await.status, 202);
    for path in ["/", "/login", "/signup", "/account", "/account/settings", "/.well-known/jwks.json", "/nothing"] {
        send(Method::GET, path, None).await;
    }
    world.worked_off().await;
    let mails = world.mails().await;
    assert_eq!(mails.len(), 2, "{mails:#?}");
    let public_url = world.config.public_url.as_str();
    for mail in mails {
        assert!(mail.body_text.contains(public_url) && !mail.body_text.contains("evil"), "{}", mail.body_text);
        let links = mail.body_text.match_indices("http").map(|(at, _)| &mail.body_text[at..]);
        assert!(links.into_iter().all(|link| link.starts_with(public_url)), "{}", mail.body_text);
    }
}

both_engines!(
    each_login_costs_one_hash_whether_or_not_there_is_an_account,
    the_log_says_whose_account_was_opened_or_tried,
    signing_up_costs_one_hash_whether_or_not_the_address_is_taken,
    a_weaker_hash_is_renewed_by_the_next_login,
    a_flood_of_logins_is_told_to_come_back_and_events_are_taken_meanwhile,
    links_lead_to_the_configured_address_whatever_a_request_calls_the_server,
);
