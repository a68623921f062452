//! What the checker is given: what people saw, what Stripe holds true, and what stands in the tables at the end. Plain data, so that
//! a checker can be tried on a history that never happened.

use std::collections::BTreeMap;

use anyhow::Context as _;
use counterfoil::app::App;
use counterfoil::db::Row;
use counterfoil_stripe_sandbox::simulation::Truth;
use serde_json::Value;

use crate::history::{Answer, History};
use crate::users::{Deletion, User};
use crate::world::World;

/// Everything that a verdict rests on.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The time at the end, in Unix seconds.
    pub now: i64,
    pub history: History,
    pub truth: Stripe,
    pub book: Book,
    pub people: Vec<Person>,
    /// The plan of each price, and the days of grace of each plan.
    pub plan_of_price: BTreeMap<String, String>,
    pub grace_days: BTreeMap<String, i64>,
    /// The published keys.
    pub jwks: String,
    pub issuer: String,
    pub audience: String,
    pub trial_days: i64,
    /// What nobody may be shown, with its name.
    pub secrets: Vec<(&'static str, &'static str)>,
    /// Stripe's truth and the tables a little while after everything was mended.
    pub soon: (Stripe, Book),
}

/// Stripe's truth, oldest first.
#[derive(Debug, Default)]
pub struct Stripe {
    pub customers: Vec<Value>,
    pub sessions: Vec<Value>,
    pub subscriptions: Vec<Value>,
    pub invoices: Vec<Value>,
    /// Webhooks that Stripe still wants to deliver.
    pub undelivered: usize,
}

/// A row of a table: its columns as text.
pub type Columns = BTreeMap<&'static str, String>;

/// The tables at the end.
#[derive(Debug, Default)]
pub struct Book {
    pub customers: Vec<Columns>,
    pub subscriptions: Vec<Columns>,
    pub licenses: Vec<Columns>,
    pub inbox: Vec<Columns>,
    pub outbox: Vec<Columns>,
    /// Leases that are held although nobody works any more.
    pub leases: Vec<Columns>,
    /// Checkouts, with the provider's session.
    pub attempts: Vec<Columns>,
    pub trials: Vec<Columns>,
}

/// A user at the end.
#[derive(Debug, Default)]
pub struct Person {
    pub number: usize,
    pub email: String,
    pub customer_id: Option<String>,
    pub deleted: bool,
    /// Nobody knows whether the account was deleted.
    pub perhaps_deleted: bool,
    /// The newest log-in, licence and subscription, after everything was mended.
    pub log_in: Option<Answer>,
    pub license: Option<Answer>,
    /// What we say of that licence to a program that asks.
    pub validation: Option<Answer>,
    pub subscription: Option<Answer>,
    /// The overview page of the account.
    pub page: Option<Answer>,
}

impl Person {
    /// The user, who looks once more at what is theirs.
    pub async fn at_the_end(mut user: User) -> Self {
        let mut person = Self {
            number: user.number,
            email: user.email.clone(),
            deleted: user.deletion == Deletion::Yes,
            perhaps_deleted: user.deletion == Deletion::Perhaps,
            ..Self::default()
        };
        user.token = None;
        for password in user.passwords.clone() {
            user.passwords = vec![password.clone()];
            let body = serde_json::json!({ "email": user.email, "password": password });
            let answer = user.post("/api/customers/login", &body).await;
            if let Some(good) = answer.as_ref().filter(|answer| answer.is_good()) {
                let told = good.json();
                user.token = told["token"].as_str().map(str::to_owned);
                user.customer_id = told["customer"]["customer_id"].as_str().map(str::to_owned);
                person.log_in = answer;
                break;
            }
            person.log_in = answer;
        }
        if user.token.is_some() {
            person.license = user.get("/api/licenses/current").await;
            let token = person.license.as_ref().map(|answer| answer.json()["token"].clone()).unwrap_or_default();
            person.validation = user.post("/api/licenses/validate", &serde_json::json!({ "token": token })).await;
            person.subscription = user.get("/api/subscriptions/current").await;
            person.page = user.get("/account").await;
        }
        person.customer_id = user.customer_id;
        person
    }
}

const CUSTOMERS: &str = "select customer_id, email, coalesce(stripe_customer_id, '') as external, \
    coalesce(cast(deleted_at as text), '') as deleted_at from customers order by id";
const SUBSCRIPTIONS: &str = "select customer_id, coalesce(stripe_subscription_id, '') as external, plan, status, \
    coalesce(cast(cancel_at as text), '') as cancel_at, coalesce(cast(paid_until as text), '') as paid_until, \
    coalesce(cast(current_period_ends_at as text), '') as period_ends_at from subscriptions order by id";
const LICENSES: &str = "select customer_id, cast(version as text) as version, token, plan, status, reason, \
    facts_digest, terms_digest, cast(expires_at as text) as expires_at, \
    coalesce(cast(revoked_at as text), '') as revoked_at from licenses order by customer_id, licenses.version";
const INBOX: &str = "select event_id, source, state, event_type, coalesce(customer_id, '') as customer_id, \
    coalesce(ignored_because, '') as because, coalesce(last_error, '') as error from webhook_inbox order by id";
const OUTBOX: &str =
    "select dedupe_key, state, kind, message_id, coalesce(last_error, '') as error from outbox order by id";
const ATTEMPTS: &str =
    "select customer_id, plan, state, coalesce(external_id, '') as external from checkout_attempts order by id";
// Who the person is, is a hash that is keyed anew in each world.
const TRIALS: &str = "select customer_id, plan, cast(started_at as text) as started_at, cast(ends_at as text) as ends_at \
    from trial_ledger order by customer_id";
const LEASES: &str = "select customer_id from customer_leases where leased_until > $1 order by customer_id";

async fn rows(app: &App, sql: &'static str, columns: &[&'static str]) -> anyhow::Result<Vec<Columns>> {
    let rows = app.db.query(sql).all().await?;
    let read = |row: &Row| columns.iter().map(|column| Ok((*column, row.get(column)?))).collect();
    rows.iter().map(read).collect::<Result<_, counterfoil::db::DbError>>().context(sql)
}

/// The leases that are held by a clock that is wrong by so many seconds.
pub async fn held(app: &App, skew: i64) -> anyhow::Result<Vec<Columns>> {
    let rows = app.db.query(LEASES).bind(app.now().plus_seconds(skew)).all().await?;
    rows.iter().map(|row| Ok(Columns::from([("customer_id", row.get("customer_id")?)]))).collect()
}

const OF_SUBSCRIPTION: [&str; 7] =
    ["customer_id", "external", "plan", "status", "cancel_at", "paid_until", "period_ends_at"];
const OF_LICENSE: [&str; 10] = [
    "customer_id",
    "version",
    "token",
    "plan",
    "status",
    "reason",
    "facts_digest",
    "terms_digest",
    "expires_at",
    "revoked_at",
];
const OF_EVENT: [&str; 7] = ["event_id", "source", "state", "event_type", "customer_id", "because", "error"];

impl Book {
    /// The tables, but for the leases: whether one is held is another question at each moment.
    pub async fn read(app: &App) -> anyhow::Result<Self> {
        Ok(Self {
            customers: rows(app, CUSTOMERS, &["customer_id", "email", "external", "deleted_at"]).await?,
            subscriptions: rows(app, SUBSCRIPTIONS, &OF_SUBSCRIPTION).await?,
            licenses: rows(app, LICENSES, &OF_LICENSE).await?,
            inbox: rows(app, INBOX, &OF_EVENT).await?,
            outbox: rows(app, OUTBOX, &["dedupe_key", "state", "kind", "message_id", "error"]).await?,
            leases: Vec::new(),
            attempts: rows(app, ATTEMPTS, &["customer_id", "plan", "state", "external"]).await?,
            trials: rows(app, TRIALS, &["customer_id", "plan", "started_at", "ends_at"]).await?,
        })
    }

    /// What is the same on every engine: business, without ids of rows and tokens.
    pub fn gist(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, table, columns) in [
            ("customer", &self.customers, &["customer_id", "email", "external"][..]),
            ("subscription", &self.subscriptions, &OF_SUBSCRIPTION),
            (
                "license",
                &self.licenses,
                &["customer_id", "version", "plan", "status", "reason", "facts_digest", "expires_at"],
            ),
            ("event", &self.inbox, &["event_id", "state"]),
            ("owed", &self.outbox, &["dedupe_key", "state"]),
            ("attempt", &self.attempts, &["customer_id", "plan", "state", "external"]),
            ("trial", &self.trials, &["customer_id", "plan", "started_at", "ends_at"]),
        ] {
            let value = |row: &Columns, column: &str| match column {
                // The engines write an instant each in its own way.
                "cancel_at" | "paid_until" | "period_ends_at" | "expires_at" | "started_at" | "ends_at" => {
                    row[column].replace('T', " ").chars().take("2026-12-01 10:00:00".len()).collect()
                }
                _ => row[column].clone(),
            };
            let line =
                |row: &Columns| columns.iter().map(|column| value(row, column)).collect::<Vec<String>>().join(" ");
            let mut of_table: Vec<String> = table.iter().map(|row| format!("{name} {}", line(row))).collect();
            of_table.sort();
            lines.extend(of_table);
        }
        lines
    }
}

impl Stripe {
    pub fn read(world: &World) -> Self {
        let sandbox = world.sandbox();
        Self {
            customers: sandbox.truth(Truth::Customers),
            sessions: sandbox.truth(Truth::Sessions),
            subscriptions: sandbox.truth(Truth::Subscriptions),
            invoices: sandbox.truth(Truth::Invoices),
            undelivered: sandbox.undelivered(),
        }
    }
}
