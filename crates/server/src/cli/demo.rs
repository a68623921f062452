//! `counterfoil demo`: the way from sign-up to a paid licence, driven over HTTP and told step by step, with what the database
//! holds after each. It runs on ports and files of its own and leaves nothing behind.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use counterfoil_license::{Expectations, KeySet, verify};
use serde_json::{Value, json};

use super::Common;
use super::output::{coded, say, table};
use super::service::{Roles, Service};
use crate::config::{Config, Environment};
use crate::entropy::Entropy;

/// How long the webhook may take to bring the licence.
const PATIENCE: Duration = Duration::from_secs(10);

/// Options of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Use this PostgreSQL database [default: a SQLite file that is removed afterwards].
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
}

/// Runs the demo; what does not come out as promised ends it with an error.
pub async fn run(common: &Common, args: DemoArgs) -> anyhow::Result<ExitCode> {
    let folder = std::env::temp_dir().join(format!("counterfoil-demo-{}", hex::encode(Entropy.bytes::<6>())));
    let config = demo_config(&folder, args.postgres.as_deref())?;
    let service = Service::start(&config, Roles::ALL, true).await?;
    let mut told = Told { json: common.json, steps: Vec::new() };
    let result = walk(&service, &config, &mut told).await;
    service.stop().await;
    // The folder is the demo's own, made above under a random name.
    if let Err(error) = std::fs::remove_dir_all(&folder) {
        tracing::debug!(%error, "the demo's folder could not be removed");
    }
    result?;
    if common.json {
        say(&format!("{:#}", json!({ "ok": true, "steps": told.steps })));
    } else {
        say("All of it came out as promised. Run `counterfoil serve` and click through it yourself.");
    }
    Ok(ExitCode::SUCCESS)
}

/// Encrypts the signing key of demos.
const DEMO_ENCRYPTION_KEY: &str = "ZGVtb2RlbW9kZW1vZGVtb2RlbW9kZW1vZGVtb2RlbW8=";

fn demo_config(folder: &std::path::Path, postgres: Option<&str>) -> anyhow::Result<Config> {
    let address = free_address()?;
    let mut settings = vec![
        ("COUNTERFOIL_LISTEN", address.to_string()),
        ("COUNTERFOIL_SANDBOX_LISTEN", free_address()?.to_string()),
        ("COUNTERFOIL_PUBLIC_URL", format!("http://{address}")),
        ("COUNTERFOIL_DATA_DIR", folder.display().to_string()),
    ];
    if let Some(url) = postgres {
        settings.push(("DATABASE_URL", url.to_owned()));
        // The next demo on this database has another folder, and signs with the same key. Nothing of it is secret.
        settings.push(("COUNTERFOIL_LICENSE_KEY_STORE", "database".to_owned()));
        settings.push(("COUNTERFOIL_KEY_ENCRYPTION_KEY", DEMO_ENCRYPTION_KEY.to_owned()));
    }
    let environment: Environment = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(Config::parse(None, &environment)?)
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// What was shown, and what is kept for `--json`.
struct Told {
    json: bool,
    steps: Vec<Value>,
}

impl Told {
    fn step(&mut self, title: &str, call: &str, answer: &Value, database: &[(&str, String)]) {
        let number = self.steps.len() + 1;
        let stored: serde_json::Map<String, Value> =
            database.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        self.steps.push(json!({ "title": title, "call": call, "answer": answer, "database": stored }));
        if !self.json {
            let answer = indent(&format!("{:#}", shortened(answer)));
            let stored = indent(&table(database));
            say(&format!("{number}. {title}\n   {call}\n{answer}\n   The database now holds:\n{stored}\n"));
        }
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("   {line}")).collect::<Vec<_>>().join("\n")
}

/// Tokens are long; their beginning is enough to see what they are.
fn shortened(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() > 90 => json!(format!("{}…", text.chars().take(60).collect::<String>())),
        Value::Array(items) => items.iter().map(shortened).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shortened(value))).collect(),
        other => other.clone(),
    }
}

async fn walk(service: &Service, config: &Config, told: &mut Told) -> anyhow::Result<()> {
    let base = config.public_url.as_str();
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()?;
    let who = hex::encode(Entropy.bytes::<4>());
    let body =
        json!({ "email": format!("test-{who}@example.com"), "password": "SecurePass123", "company_name": "Test Corp" });
    let signed_up = post(&http, &format!("{base}/api/customers/signup"), &body, 201).await?;
    let id = signed_up["customer"]["customer_id"].as_str().context("no customer_id in the answer")?.to_owned();
    let session = signed_up["token"].as_str().context("no token in the answer")?.to_owned();
    told.step("A visitor signs up", "POST /api/customers/signup", &signed_up, &stored(service, &id).await?);

    let body = json!({
        "customer_id": id, "plan": "professional",
        "success_url": "http://localhost:3000/success", "cancel_url": "http://localhost:3000/cancel",
    });
    let checkout = post(&http, &format!("{base}/api/subscriptions/checkout"), &body, 200).await?;
    let pay_at = checkout["checkout_url"].as_str().context("no checkout_url in the answer")?.to_owned();
    told.step(
        "The customer chooses the professional plan",
        "POST /api/subscriptions/checkout",
        &checkout,
        &stored(service, &id).await?,
    );

    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let paid = http.post(&pay_at).header(form[0].0, form[0].1).body("card=success").send().await?;
    ensure!(paid.status().is_redirection(), "the payment page answered {}", paid.status());
    let license = wait_for_license(&http, base, &session).await?;
    told.step(
        "The customer pays, the webhook arrives, and the license is issued again",
        "GET /api/licenses/current",
        &license,
        &stored(service, &id).await?,
    );

    let jwks = http.get(format!("{base}/.well-known/jwks.json")).send().await?.text().await?;
    let keys = KeySet::from_jwks(&jwks)?;
    let token = license["token"].as_str().context("no token in the answer")?;
    let now = service.app.now().as_unix_seconds();
    let verified = verify(token, &keys, &Expectations::new(base, &config.product), now);
    ensure!(verified.entitled(), "the license does not verify: {}", verified.state.code());
    let claims = json!({ "state": verified.state.code(), "claims": verified.claims });
    told.step(
        "The product verifies the license offline, with the published keys alone",
        "GET /.well-known/jwks.json",
        &claims,
        &stored(service, &id).await?,
    );
    Ok(())
}

async fn post(http: &reqwest::Client, url: &str, body: &Value, wanted: u16) -> anyhow::Result<Value> {
    let response = http.post(url).json(body).send().await?;
    let status = response.status().as_u16();
    let answer: Value = response.json().await?;
    ensure!(status == wanted, "{url} answered {status}: {answer}");
    Ok(answer)
}

async fn wait_for_license(http: &reqwest::Client, base: &str, session: &str) -> anyhow::Result<Value> {
    let waiting = async {
        loop {
            let url = format!("{base}/api/licenses/current");
            let license: Value = http.get(url).bearer_auth(session).send().await?.json().await?;
            if license["plan"] == "professional" {
                return anyhow::Ok(license);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .map_err(|_| coded("no_license_in_time", format!("no paid license within {} seconds", PATIENCE.as_secs())))?
}

/// What the tables say of this customer.
async fn stored(service: &Service, customer_id: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut tx = service.app.db.begin_read().await?;
    let row = tx
        .query(
            "select c.stripe_customer_id, s.plan, s.status, s.stripe_subscription_id, \
             (select max(version) from licenses l where l.customer_id = c.customer_id) as version, \
             (select count(*) from outbox o where o.customer_id = c.customer_id) as mails \
             from customers c join subscriptions s on s.customer_id = c.customer_id where c.customer_id = $1",
        )
        .bind(customer_id)
        .one()
        .await?;
    tx.rollback().await?;
    let text = |name: &str| -> anyhow::Result<String> {
        Ok(row.get::<Option<String>>(name)?.unwrap_or_else(|| "NULL".to_owned()))
    };
    let number = |name: &str| -> anyhow::Result<String> {
        Ok(row.get::<Option<i64>>(name)?.map_or_else(|| "NULL".to_owned(), |n| n.to_string()))
    };
    Ok(vec![
        ("customers.customer_id", customer_id.to_owned()),
        ("customers.stripe_customer_id", text("stripe_customer_id")?),
        ("subscriptions.plan", text("plan")?),
        ("subscriptions.status", text("status")?),
        ("subscriptions.stripe_subscription_id", text("stripe_subscription_id")?),
        ("licenses, newest version", number("version")?),
        ("outbox, mails", number("mails")?),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_wherever_it_stands() {
        let (kept, long) = ("a".repeat(90), "b".repeat(91));
        let cut = format!("{}…", "b".repeat(60));
        let answer = json!({ "token": long, "list": [kept, long], "number": 1, "none": null });
        let expected = json!({ "token": cut, "list": [kept, cut], "number": 1, "none": null });
        assert_eq!(shortened(&answer), expected);
    }
}
