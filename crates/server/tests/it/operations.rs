//! What surrounds every call: health, numbers, headers, the description of the API, and how the service starts again.

use std::collections::BTreeSet;

use counterfoil::app::operators::Scope;
use counterfoil::cli::service::{Roles, Service};
use counterfoil::config::{CheckoutAuth, Mode};
use counterfoil::db::Engine;
use counterfoil::store::sweeps::{self, Sweep};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::admin_routes::new_key;
use crate::client::{Answer, Http};
use crate::counts::Counts;
use crate::tap::OPERATOR;
use crate::world::{Setup, World};

/// Every call of the API, as the contract has it.
const CALLS: [(&str, &str); 23] = [
    ("POST", "/api/customers/signup"),
    ("POST", "/api/customers/login"),
    ("POST", "/api/customers/logout"),
    ("GET", "/api/customers/me"),
    ("POST", "/api/subscriptions/checkout"),
    ("GET", "/api/subscriptions/current"),
    ("GET", "/api/licenses/current"),
    ("GET", "/api/licenses/current/file"),
    ("GET", "/api/licenses"),
    ("POST", "/api/licenses/refresh"),
    ("POST", "/api/licenses/validate"),
    ("GET", "/api/licenses/activations"),
    ("DELETE", "/api/licenses/activations/{activation_id}"),
    ("POST", "/api/licenses/activations/release"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/status-lists/{file}"),
    ("GET", "/.well-known/counterfoil-keys.jwt"),
    ("POST", "/api/webhooks/stripe"),
    ("GET", "/livez"),
    ("GET", "/api/customers/me/export"),
    ("POST", "/api/customers/me/delete"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
];

async fn call(world: &World, method: &str, path: &str) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    world.http.send(world.http.request(method, path)).await
}

async fn the_document_describes_every_call_and_every_call_is_there(world: &World) {
    let document = world.http.get("/api/openapi.json").await.accepted();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{document}");
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            described.insert((method.to_uppercase(), path.clone()));
            assert!(operation["responses"].as_object().is_some_and(|all| !all.is_empty()), "{method} {path}");
            assert!(
                operation["summary"].is_string() || operation["description"].is_string(),
                "{method} {path} is explained"
            );
        }
    }
    let expected: BTreeSet<_> = CALLS.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    let missing: Vec<_> = expected.difference(&described).collect();
    assert!(missing.is_empty(), "{missing:?} is not described");
    // Whoever signs up has a place in the first list.
    world.customer("ada@example.com").await;
    for (method, path) in &described {
        let answer = call(world, method, &path.replace("{file}", "1.jwt")).await;
        let is_there = !matches!(answer.status, 404 | 405 | 500) || answer.body.contains("\"no_key_set\"");
        assert!(is_there, "{method} {path}: {}", answer.status);
    }
    let shown = reached(&document, |path| !path.starts_with("/api/admin/"));
    assert!(
        !shown.contains("stripe_") && shown.contains("\"CustomerBody\""),
        "no answer has a place for a provider's id"
    );
    assert!(reached(&document, |path| path.starts_with("/api/admin/")).contains("stripe_"), "operators see them");
}

/// Everything that the document says about these paths, with the schemas that it leads to.
fn reached(document: &Value, wanted: impl Fn(&str) -> bool) -> String {
    let paths = document["paths"].as_object().expect("paths");
    let mut text: String =
        paths.iter().filter(|(path, _)| wanted(path)).map(|(path, item)| format!("{path} {item}")).collect();
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let mut left: Vec<_> = schemas.iter().collect();
    loop {
        let (named, others): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(name, _)| text.contains(&format!("#/components/schemas/{name}\"")));
        if named.is_empty() {
            return text;
        }
        text.extend(named.iter().map(|(name, schema)| format!("\"{name}\" {schema}")));
        left = others;
    }
}

async fn the_page_of_the_api_brings_what_it_needs(world: &World) {
    let entry = world.http.get("/api/docs").await;
    let path = if entry.status == 200 { "/api/docs".to_owned() } else { entry.header("location").to_owned() };
    let page = world.http.get(&path).await;
    let html = page.page();
    let links: Vec<&str> =
        html.split(['"', '\'']).filter(|text| [".js", ".css"].iter().any(|kind| text.ends_with(kind))).collect();
    assert!(links.len() >= 3, "{links:?}");
    for link in links {
        assert!(!link.contains("//"), "embedded, not from elsewhere: {link}");
        let asset = world.http.get(&format!("/api/docs/{}", link.trim_start_matches("./"))).await;
        assert!(asset.status == 200 && !asset.body.is_empty(), "{link}: {}", asset.status);
    }
}

async fn what_is_not_there_is_a_problem_and_so_is_the_wrong_method(world: &World) {
    for path in
        ["/api/nothing", "/api/customers", "/api/customers/signup/", "/api//customers/me", "/api/%00", "/api/..%2f"]
    {
        world.http.get(path).await.refused(404, "not_found");
    }
    call(world, "POST", "/api/nothing").await.refused(404, "not_found");
    call(world, "DELETE", "/api/nothing").await.refused(404, "not_found");
    for (method, path) in CALLS {
        let wrong = if method == "GET" { "DELETE" } else { "PUT" };
        call(world, wrong, path).await.refused(405, "method_not_allowed");
        if method == "GET" {
            let (get, head) = (call(world, "GET", path).await, call(world, "HEAD", path).await);
            assert_eq!((head.status, head.body.as_str()), (get.status, ""), "HEAD {path}");
        } else {
            let get = call(world, "GET", path).await;
            get.refused(405, "method_not_allowed");
            assert!(get.header("allow").contains(method), "{path} says what it takes: {}", get.header("allow"));
        }
    }
    let page = world.http.get("/nothing").await;
    assert_eq!(page.status, 404);
    assert!(page.header("content-type").starts_with("text/html"), "people get a page");
}

async fn every_answer_has_an_id_of_its_own_and_headers_that_keep_browsers_safe(world: &World) {
    let mut ids = BTreeSet::new();
    for path in ["/", "/signup", "/livez", "/api/customers/me", "/api/nothing", "/nothing", "/.well-known/jwks.json"] {
        let answer = world.http.get(path).await;
        let id = answer.header("x-request-id");
        assert!(id.len() == 16 && ids.insert(id.to_owned()), "{path}: {id}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        let policy = answer.header("content-security-policy");
        for rule in ["default-src 'self'", "frame-ancestors 'none'", "object-src 'none'", "base-uri 'none'"] {
            assert!(policy.contains(rule), "{path}: {rule}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        let kept = path == "/.well-known/jwks.json";
        assert_eq!(answer.header("cache-control") == "no-store", !kept, "{path}");
    }
    let faked = world.http.request(Method::GET, "/livez").header("x-request-id", "evil");
    assert_ne!(world.http.send(faked).await.header("x-request-id"), "evil");
}

async fn another_sites_form_acts_in_nobodys_name(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let cookie = format!("cf_session={}", ada.http.token().unwrap());
    let stranger = ada.http.for_reader(&ada.email);
    for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("origin", "null")] {
        for path in ["/api/customers/logout", "/logout", "/account/upgrade", "/api/subscriptions/checkout"] {
            let request = stranger.request(Method::POST, path).header("cookie", &cookie).header(name, value);
            assert_eq!(stranger.send(request.body("plan=starter")).await.status, 403, "{name}: {value} {path}");
        }
    }
    ada.me().await.accepted();
    let own = stranger.request(Method::POST, "/api/customers/logout").header("cookie", &cookie);
    let own = own.header("origin", world.config.public_url.as_str()).header("sec-fetch-site", "same-origin");
    assert_eq!(stranger.send(own).await.status, 204);
}

async fn numbers_are_for_the_machine_itself_and_for_operators(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let ask = async |http: &Http, passed_on: &[(&str, &str)]| {
        let asked = passed_on
            .iter()
            .fold(http.request(Method::GET, "/metrics"), |asked, (name, value)| asked.header(*name, *value));
        http.send(asked).await
    };
    assert!(ask(&world.http, &[]).await.body.contains("counterfoil_signups_total"), "Prometheus on this machine");
    let by_key = async |scope| {
        let mut http = world.http.for_reader(OPERATOR);
        http.set_token(Some(new_key(world, scope).await.secret));
        http
    };
    let (reader, seller) = (by_key(Scope::Read).await, by_key(Scope::Checkout).await);
    for passed_on in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
        ("via", "1.1 proxy"),
        ("host", "billing.example.com"),
    ] {
        ask(&world.http, &[passed_on]).await.refused(401, "operator_key_missing");
        ask(&ada.http, &[passed_on]).await.refused(403, "scope_missing");
        ask(&seller, &[passed_on]).await.refused(403, "scope_missing");
        let told = ask(&reader, &[passed_on]).await;
        assert_eq!(told.status, 200, "{passed_on:?}");
        assert!(told.body.contains("counterfoil_signups_total"), "{passed_on:?}");
    }
}

async fn numbers_are_there_and_name_nobody(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    world.http.get("/api/licenses/current?token=canary").await;
    let answer = world.http.get("/metrics").await;
    assert!(answer.header("content-type").starts_with("text/plain"), "{}", answer.header("content-type"));
    for name in [
        "counterfoil_signups_total",
        "counterfoil_licenses_issued_total",
        "counterfoil_webhooks_received_total",
        "counterfoil_http_requests_total",
        "counterfoil_inbox_rows",
        "counterfoil_outbox_rows",
        "counterfoil_inbox_rows{state=\"dead\"} 0",
        "counterfoil_inbox_oldest_seconds 0",
        "counterfoil_inbox_unmatched_rows 0",
        "counterfoil_sweep_age_seconds{sweep=\"events\"}",
        "counterfoil_sweep_repairs_total{sweep=\"comparison\"}",
        "counterfoil_inbox_failures_total{failure=\"permanent\"}",
    ] {
        assert!(answer.body.contains(name), "{name} is missing");
    }
    assert!(answer.body.contains("route=\"/api/customers/signup\""));
    for secret in ["ada@", &ada.customer_id, "cust_", "canary", "eyJhbGciOi"] {
        assert!(!answer.body.contains(secret), "{secret} is in the numbers");
    }
}

/// Alarms ring at these numbers.
async fn the_numbers_of_queues_and_sweeps_are_those_of_their_rows(world: &World) {
    world.allow_unsettled();
    for name in ["ada", "bob", "eve"] {
        world.customer(&format!("{name}@example.com")).await;
    }
    for kind in ["invoice.paid", "customer.deleted", "invoice.updated"] {
        let object = json!({ "id": "in_Some00000001", "object": "invoice", "customer": "cus_Stranger000001" });
        world.deliver(&world.event(kind, object)).await.accepted();
    }
    world.sandbox().advance(7_200).await;
    let (now, days_ago) = (world.app.now(), world.app.now().plus_days(-2));
    let mut tx = world.app.db.begin().await.unwrap();
    for (sweep, age) in [(Sweep::Events, 600), (Sweep::Comparison, 7_200)] {
        let provider = world.app.provider.name();
        sweeps::ensure(&mut tx, sweep, provider, now.plus_seconds(-age), now.plus_days(1)).await.unwrap();
    }
    tx.commit().await.unwrap();
    for sql in [
        "update outbox set created_at = $1, state = 'dead' where recipient = 'ada@example.com'",
        "update webhook_inbox set received_at = $1, state = 'dead' where event_type = 'invoice.paid'",
        "update webhook_inbox set received_at = $1 where event_type = 'customer.deleted'",
    ] {
        assert_eq!(world.app.db.query(sql).bind(days_ago).execute().await.unwrap(), 1, "{sql}");
    }
    let counts = Counts::begin();
    world.http.get("/metrics").await;
    for (name, least, most) in [
        ("inbox_rows{state=\"pending\"}", 2, 2),
        ("inbox_rows{state=\"dead\"}", 1, 1),
        ("inbox_oldest_seconds", 172_800, 172_900),
        ("inbox_unmatched_rows", 1, 1),
        ("outbox_rows{state=\"pending\"}", 2, 2),
        ("outbox_rows{state=\"dead\"}", 1, 1),
        ("outbox_oldest_seconds", 7_200, 7_300),
        ("sweep_age_seconds{sweep=\"events\"}", 600, 700),
        ("sweep_age_seconds{sweep=\"comparison\"}", 7_200, 7_300),
    ] {
        let number = counts.of(name);
        assert!((least..=most).contains(&number), "{name} is {number}");
    }
}

async fn without_the_database_nothing_is_claimed_or_acknowledged(world: &World) {
    world.allow_unsettled();
    let mut ada = world.customer("ada@example.com").await;
    world.app.db.close().await;
    world.http.get("/livez").await.accepted();
    world.http.get("/readyz").await.refused(503, "database_unavailable");
    ada.log_in().await.refused(503, "database_unavailable");
    ada.me().await.refused(503, "database_unavailable");
    ada.checkout("professional").await.refused(503, "database_unavailable");
    world.visitor("bob@example.com").sign_up().await.refused(503, "database_unavailable");
    let event = world.event("checkout.session.completed", json!({ "object": "checkout.session" }));
    world.deliver(&event).await.refused(503, "database_unavailable");
    assert!(world.sandbox().calls().await.is_empty(), "the provider is not called for what cannot be kept");
    let page = world.http.get("/account").await;
    assert!(page.status == 303 || page.status == 503, "{}", page.status);
}

async fn a_running_service_keeps_its_appointments(world: &World) {
    let sql = "select cast(count(*) as bigint) as n from sweeps where run_until is null and due_at > $1";
    let kept = async || {
        let row = world.app.db.query(sql).bind(world.app.now()).one().await.unwrap();
        row.get::<i64>("n").unwrap() == 2
    };
    world.until("the log was read and the books were compared", kept).await;
}

both_engines!(
    a_running_service_keeps_its_appointments,
    the_document_describes_every_call_and_every_call_is_there,
    the_page_of_the_api_brings_what_it_needs,
    what_is_not_there_is_a_problem_and_so_is_the_wrong_method,
    every_answer_has_an_id_of_its_own_and_headers_that_keep_browsers_safe,
    another_sites_form_acts_in_nobodys_name,
    numbers_are_there_and_name_nobody,
    numbers_are_for_the_machine_itself_and_for_operators,
    without_the_database_nothing_is_claimed_or_acknowledged,
);

both_engines!(Setup::no_worker(); the_numbers_of_queues_and_sweeps_are_those_of_their_rows);

/// A restart keeps everything; a start with a key of another mode is refused and changes nothing.
async fn a_database_stays_in_the_mode_it_was_first_used_with(engine: Engine) {
    let Some(world) = World::start(engine, Setup::default()).await else { return };
    let ada = world.customer("ada@example.com").await;
    let url = ada.checkout_url("professional").await;
    world.settled().await;
    let instance = world.app.instance.instance_id.clone();
    let remains = world.stop().await;
    for (key, livemode, named) in [("sk_test_4eC39HqLyjWD", false, "test"), ("sk_live_4eC39HqLyjWD", true, "live")] {
        let mut other = remains.config.clone();
        other.checkout_auth = CheckoutAuth::Required;
        other.mode = Mode::Stripe {
            secret_key: SecretString::from(key),
            webhook_secrets: vec![SecretString::from("whsec_b7f3d0c1a94e")],
            livemode,
            api_base: "https://api.stripe.com".to_owned(),
        };
        let error = Service::start(&other, Roles::ALL, true).await.err().expect("another mode is refused").to_string();
        assert!(error.contains("sandbox mode") && error.contains(named) && error.contains("DATABASE_URL"), "{error}");
    }
    let service = Service::start(&remains.config, Roles::ALL, true).await.expect("the same mode starts again");
    assert_eq!(service.app.instance.instance_id, instance);
    let me: Value = ada.me().await.accepted();
    assert_eq!(me["customer"]["customer_id"], ada.customer_id);
    // The sandbox kept its half too, at whatever port it listens now.
    let again = ada.checkout_url("professional").await;
    assert_eq!(again.rsplit('/').next(), url.rsplit('/').next(), "the session that was open still is");
    assert!(service.stop().await);
}

#[tokio::test]
async fn a_database_stays_in_the_mode_it_was_first_used_with_on_sqlite() {
    a_database_stays_in_the_mode_it_was_first_used_with(Engine::Sqlite).await;
}

#[tokio::test]
async fn a_database_stays_in_the_mode_it_was_first_used_with_on_postgres() {
    a_database_stays_in_the_mode_it_was_first_used_with(Engine::Postgres).await;
}

#[tokio::test]
async fn a_second_process_on_the_same_file_is_refused() {
    let world = World::start(Engine::Sqlite, Setup::default()).await.expect("SQLite is at hand");
    let mut second = world.config.clone();
    second.listen = "127.0.0.1:0".parse().unwrap();
    let error = Service::start(&second, Roles::ALL, true).await.err().expect("the file is locked").to_string();
    assert!(error.contains("another process uses") && error.contains("DATABASE_URL"), "{error}");
    world.end().await;
}
