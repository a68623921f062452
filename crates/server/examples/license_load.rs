//! How many licences a server refreshes and validates in a second: `cargo run --release --example license_load -- URL`
//!
//! Start a server of its own for it (`cargo run --release` in an empty folder), because it signs customers up. Each of the two calls
//! is made for ten seconds over as many connections as are given (16), by the licences of 64 customers in turn, so that nobody's limit
//! is met. Every answer is looked at: one that is not the expected one ends the run.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const CUSTOMERS: usize = 64;
const SECONDS: u64 = 10;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "http://localhost:3100".to_owned());
    let connections = arguments.next().and_then(|number| number.parse().ok()).unwrap_or(16);
    match run(&url, connections).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(url: &str, connections: usize) -> Result<(), String> {
    let client = plain_client().map_err(|error| error.to_string())?;
    let run = std::process::id();
    let mut tokens = Vec::new();
    for number in 0..CUSTOMERS {
        let wish = json!({ "email": format!("load-{run}-{number}@example.com"), "password": "a load of licences 7Q" });
        let answer = post(&client, &format!("{url}/api/customers/signup"), &wish).await?;
        tokens.push(answer["license"]["token"].as_str().ok_or(format!("no licence: {answer}"))?.to_owned());
    }
    println!("{CUSTOMERS} customers, {connections} connections, {SECONDS} s each");
    let tokens: Arc<[String]> = tokens.into();
    for (call, member, expected) in [("refresh", "version", json!(1)), ("validate", "code", json!("valid"))] {
        let next = Arc::new(AtomicUsize::new(0));
        let until = Instant::now() + Duration::from_secs(SECONDS);
        let callers: Vec<_> = (0..connections)
            .map(|_| {
                let (client, tokens, next) = (client.clone(), Arc::clone(&tokens), Arc::clone(&next));
                let (address, expected) = (format!("{url}/api/licenses/{call}"), expected.clone());
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while Instant::now() < until {
                        let token = &tokens[next.fetch_add(1, Ordering::Relaxed) % CUSTOMERS];
                        let began = Instant::now();
                        let answer = post(&client, &address, &json!({ "token": token })).await?;
                        times.push(began.elapsed());
                        if answer[member] != expected {
                            return Err(format!("{address} answered {answer}"));
                        }
                    }
                    Ok(times)
                })
            })
            .collect();
        let mut times = Vec::new();
        for caller in callers {
            times.extend(caller.await.map_err(|error| error.to_string())??);
        }
        times.sort_unstable();
        let at = |share: usize| times.get(times.len() * share / 100).map_or(0.0, |time| time.as_secs_f64() * 1_000.0);
        let rate = times.len() as u64 / SECONDS;
        println!("{call}: {rate} a second, median {:.2} ms, 99 of 100 within {:.2} ms", at(50), at(99));
    }
    Ok(())
}

/// The server is asked over plain HTTP; no root is trusted, since none is needed.
fn plain_client() -> Result<reqwest::Client, Box<dyn std::error::Error>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build()?)
}

async fn post(client: &reqwest::Client, address: &str, body: &Value) -> Result<Value, String> {
    let answer = client.post(address).json(body).send().await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body: Value = answer.json().await.map_err(|error| error.to_string())?;
    if status.is_success() { Ok(body) } else { Err(format!("{address} answered {status}: {body}")) }
}
