//! Requests that are meant to hurt: bytes that two readers would read differently, JSON without end, paths that lead out, and
//! texts that somebody hopes will be run. Each gets its answer at once, and changes nothing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::World;

const SIGN_UP: &str = "/api/customers/signup";

/// What comes back for these bytes until the server closes the connection, or falls silent.
async fn answer_to(world: &World, request: &[u8]) -> String {
    let address = world.config.public_url.as_str().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut stream = TcpStream::connect(address).await.expect("our server listens");
    // It may close before everything is sent.
    let _ = stream.write_all(request).await;
    let mut bytes = Vec::new();
    let reading = async { while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {} };
    let _silent = tokio::time::timeout(Duration::from_millis(500), reading).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("nothing")
}

async fn what_two_readers_read_differently_reaches_nobody(world: &World) {
    let before = world.counts().await;
    let body = json!({ "email": "ada@example.com", "password": "long enough 1" }).to_string();
    let length = body.len();
    let post = |headers: &str, body: &str| {
        format!("POST {SIGN_UP} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}\r\n{body}")
    };
    let many: String = (0..1000).map(|number| format!("x-{number}: y\r\n")).collect();
    let table: Vec<(&str, String, &[&str])> = vec![
        ("two lengths", post(&format!("content-length: {length}\r\ncontent-length: 2\r\n"), &body), &["400"]),
        ("a length that is none", post("content-length: +5\r\n", &body), &["400"]),
        ("a negative length", post("content-length: -1\r\n", &body), &["400"]),
        ("an unknown coding", post("transfer-encoding: gzip\r\n", &body), &["400", "501"]),
        ("chunked is not the last", post("transfer-encoding: chunked, gzip\r\n", &body), &["400", "501"]),
        ("a chunk that lies", post("transfer-encoding: chunked\r\n", "ZZ\r\nx\r\n0\r\n\r\n"), &["400"]),
        ("a folded header", post(&format!("x-a: b\r\n c: d\r\ncontent-length: {length}\r\n"), &body), &["400"]),
        ("a NUL in a header", post(&format!("x-a: b\0c\r\ncontent-length: {length}\r\n"), &body), &["400"]),
        ("a space before the colon", post(&format!("content-length : {length}\r\n"), &body), &["400"]),
        ("a long header", post(&format!("x-a: {}\r\n", "b".repeat(600_000)), &body), &["400", "431"]),
        ("a thousand headers", post(&many, &body), &["400", "431"]),
        ("a NUL in the path", "GET /\0 HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), &["400"]),
        ("no version", "GET /\r\n\r\n".to_owned(), &["400"]),
        ("another protocol", "\u{16}\u{3}\u{1}\u{2}\u{0}\r\n\r\n".to_owned(), &["400"]),
        ("a long path", format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000)), &["414", "431"]),
    ];
    for (name, request, expected) in table {
        let answer = answer_to(world, request.as_bytes()).await;
        assert!(expected.contains(&status(&answer)), "{name}: {}", answer.lines().next().unwrap_or("nothing"));
    }
    assert_eq!(world.counts().await, before, "nobody signed up");
    world.http.get("/livez").await.accepted();
}

/// Where a length and chunks are both told, the chunks count, as every current server reads it: what follows is not a second
/// request.
async fn a_length_beside_chunks_smuggles_nothing_in(world: &World) {
    let before = world.counts().await;
    let hidden = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let request = format!(
        "POST {SIGN_UP} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n",
        hidden.len() + 20,
        hidden.len()
    );
    let answer = answer_to(world, request.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "one request, one answer: {answer}");
    assert_eq!(status(&answer), "400", "{answer}");
    assert_eq!(world.counts().await, before);
}

/// Bodies are taken as they come: a small one that would unpack to a large one is not JSON.
async fn what_is_packed_is_not_unpacked_and_lengths_are_held(world: &World) {
    let before = world.counts().await;
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let packed = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3].repeat(100);
        let request = world.http.request(reqwest::Method::POST, SIGN_UP).header("content-encoding", coding);
        let answer = world.http.send(request.header("content-type", "application/json").body(packed)).await;
        assert!([400, 415].contains(&answer.status), "{coding}: {}", answer.body);
    }
    let head = format!("POST {SIGN_UP} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
    let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
    let endless = format!("{head}transfer-encoding: chunked\r\n\r\n{}", chunk.repeat(20));
    assert_eq!(
        status(&answer_to(world, endless.as_bytes()).await),
        "413",
        "more than it may be, whatever was announced"
    );
    let announced = format!("{head}content-length: 1000000000\r\n\r\n{{");
    assert_eq!(status(&answer_to(world, announced.as_bytes()).await), "413", "not a byte of it is waited for");
    assert_eq!(world.counts().await, before);
}

async fn a_path_leads_to_a_route_or_nowhere(world: &World) {
    let paths = [
        "/..",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/%252e%252e/etc/passwd",
        "/assets/../../Cargo.toml",
        "/assets/%2e%2e%2fCargo.toml",
        "/assets/..%5c..%5cCargo.toml",
        "/assets/%00",
        "/assets//style.css",
        "/status-lists/../livez",
        "/status-lists/..%2f1.jwt",
        "/api/licenses/current;jsessionid=1",
        "/API/licenses/current",
        "/api//licenses/current",
        "/%ff%fe",
        "//example.com/",
    ];
    for path in paths {
        let answer =
            answer_to(world, format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await;
        assert!(["404", "400"].contains(&status(&answer)), "{path}: {answer}");
        assert!(!answer.contains("root:") && !answer.contains("[workspace"), "{path}");
    }
}

async fn json_without_end_or_sense_is_refused_at_once(world: &World) {
    let before = world.counts().await;
    let with = |name: &str| {
        format!("{{\"email\":\"ada@example.com\",\"password\":\"long enough 1\",\"company_name\":{name}}}")
    };
    let nested = |depth: usize| with(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    let table = [
        (nested(20_000), 422),
        (with(&"{\"a\":".repeat(10_000)), 422),
        (with("1e400"), 400),
        (with("-1e-400000000"), 422),
        (with("123456789012345678901234567890"), 422),
        (with("\"\\ud800\""), 400),
        (with("\"\\ud800\\u0041\""), 400),
        (with("\"\\x41\""), 400),
        (with("\"a\u{0}b\""), 400),
        (with("NaN"), 400),
        (with("0x10"), 422),
        (with("\"x\"}}"), 400),
        (format!("\u{feff}{}", with("\"x\"")), 400),
        (with("\"x\",\"email\":\"ben@example.com\""), 422),
        (with("\"x\",\"password\":\"another one 1\""), 422),
        (with("\"x\",\"company_name\":\"y\""), 422),
        (with("\"x\",\"__proto__\":{\"is_admin\":true}"), 422),
    ];
    for (body, expected) in table {
        let (shown, started): (String, _) = (body.chars().skip(60).take(60).collect(), Instant::now());
        let answer = world.http.post_text(SIGN_UP, "application/json", body).await;
        assert_eq!(answer.status, expected, "{shown}: {}", answer.body);
        assert!(started.elapsed() < Duration::from_secs(2), "{shown}");
    }
    assert_eq!(world.counts().await, before);
}

/// Whoever asks for a plan, a right or a provider's customer in a field of its own is refused, as the service answers it; every call with a body is tried in `fuzz_seeds`.
async fn fields_that_nobody_asked_for_are_refused_everywhere(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let before = world.counts().await;
    let bodies = [
        (SIGN_UP, json!({ "email": "ben@example.com", "password": "long enough 1" })),
        ("/api/customers/login", json!({ "email": "ada@example.com", "password": ada.password })),
        ("/api/subscriptions/checkout", ada.wish("professional")),
        ("/api/licenses/refresh", json!({ "token": ada.license })),
        ("/api/licenses/validate", json!({ "token": ada.license })),
        ("/api/customers/password/forgot", json!({ "email": "ada@example.com" })),
    ];
    let extra = [
        ("is_admin", json!(true)),
        ("trial_end", json!(4_102_444_800_i64)),
        ("stripe_customer_id", json!("x")),
        ("metadata", json!({ "customer_id": "somebody else" })),
        ("price", json!("free")),
        ("status", json!("active")),
    ];
    for (path, body) in bodies {
        for (name, value) in &extra {
            let mut body: Value = body.clone();
            body[*name] = value.clone();
            ada.http.post(path, &body).await.refused(422, "invalid_request");
        }
    }
    assert_eq!(world.counts().await, before);
}

async fn texts_that_are_meant_to_be_run_are_stored_and_shown_as_they_were_written(world: &World) {
    let payloads = [
        "Robert'); drop table customers; --",
        "' or '1'='1",
        "$1 ?1 :a %s %n {0} ${7*7} {{7*7}}",
        "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>",
        "../../etc/passwd",
        "=cmd|' /C calc'!A0",
    ];
    for (number, name) in payloads.iter().enumerate() {
        let mut ada = world.visitor(&format!("ada{number}@example.com"));
        let body = json!({ "email": ada.email, "password": ada.password, "company_name": name });
        let answer = world.http.for_reader(&ada.email).post(SIGN_UP, &body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        ada.log_in().await.accepted();
        assert_eq!(ada.me().await.accepted()["customer"]["company_name"], *name, "word for word");
    }
    let stored = world.counts().await;
    assert_eq!(stored[0], i64::try_from(payloads.len()).unwrap(), "no table was dropped, no row added");
}

both_engines!(
    what_two_readers_read_differently_reaches_nobody,
    a_length_beside_chunks_smuggles_nothing_in,
    what_is_packed_is_not_unpacked_and_lengths_are_held,
    a_path_leads_to_a_route_or_nowhere,
    json_without_end_or_sense_is_refused_at_once,
    fields_that_nobody_asked_for_are_refused_everywhere,
    texts_that_are_meant_to_be_run_are_stored_and_shown_as_they_were_written,
);
