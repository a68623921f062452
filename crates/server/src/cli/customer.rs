//! `counterfoil customer`: what there is to know of one customer, for support.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Subcommand;
use counterfoil_core::subscription::Record;
use counterfoil_core::{CustomerId, Timestamp};
use serde_json::{Value, json};

use super::operator::{Why, open_app};
use super::output::{self, coded, table};
use super::{Common, database, log_quietly};
use crate::app::App;
use crate::app::status::find_customer_by_any;
use crate::clock::Clock;
use crate::db::Tx;
use crate::store;
use crate::store::audit;
use crate::store::customers::Customer;
use crate::store::licenses::License;

/// Versions and history lines shown.
const LINES_MAX: i64 = 20;

/// Commands of `customer`.
#[derive(Debug, Subcommand)]
pub enum CustomerCommand {
    /// Show a customer with subscription, licenses and history.
    Show {
        /// Our id (cust_…), the e-mail address, or the id at Stripe (cus_…).
        customer: String,
    },
    /// Look at the payment provider for a customer now, as a webhook would make us do.
    Sync {
        /// Our id (cust_…), the e-mail address, or the id at Stripe (cus_…).
        customer: String,
        #[command(flatten)]
        why: Why,
    },
}

/// Runs one of them; works beside a running service.
pub async fn run(common: &Common, command: CustomerCommand) -> anyhow::Result<ExitCode> {
    log_quietly();
    match command {
        CustomerCommand::Show { customer } => show(common, &customer).await,
        CustomerCommand::Sync { customer, why } => sync(common, &customer, &why).await,
    }
}

async fn show(common: &Common, wanted: &str) -> anyhow::Result<ExitCode> {
    let config = common.load_config()?;
    let db = database::open_to_read(&config).await?;
    let mut tx = db.begin_read().await?;
    let found = load(&mut tx, wanted.trim(), Clock::system().now()).await?;
    tx.rollback().await?;
    let file = found.ok_or_else(no_such_customer)?;
    output::show(common.json, &file.to_json(), || file.in_words());
    Ok(ExitCode::SUCCESS)
}

async fn sync(common: &Common, wanted: &str, why: &Why) -> anyhow::Result<ExitCode> {
    let by = why.by()?;
    let (_config, app) = open_app(common).await?;
    let customer_id = find_id(&app, wanted).await?;
    let changed = app.sync_by(&customer_id, &by).await?;
    output::show(common.json, &json!({ "customer_id": customer_id, "changed": changed }), || {
        let what = if changed { "what changed is written" } else { "nothing had changed" };
        format!("looked at {customer_id}: {what}")
    });
    Ok(ExitCode::SUCCESS)
}

/// The customer that an operator means.
pub async fn find_id(app: &App, wanted: &str) -> anyhow::Result<CustomerId> {
    let mut tx = app.db.begin_read().await?;
    let found = find_customer_by_any(&mut tx, wanted.trim()).await?;
    tx.rollback().await?;
    Ok(found.ok_or_else(no_such_customer)?.customer_id)
}

fn no_such_customer() -> anyhow::Error {
    coded(
        "customer_not_found",
        "there is no such customer: give the id (cust_…), the e-mail address, or the id at Stripe (cus_…)",
    )
}

/// Everything about one customer.
struct CustomerFile {
    customer: Customer,
    /// With the word for its status now.
    subscription: Option<(String, Record)>,
    /// Newest first.
    licenses: Vec<License>,
    /// Newest first.
    history: Vec<audit::Entry>,
}

async fn load(tx: &mut Tx, wanted: &str, now: Timestamp) -> anyhow::Result<Option<CustomerFile>> {
    let Some(customer) = find_customer_by_any(tx, wanted).await? else { return Ok(None) };
    let id = &customer.customer_id;
    let subscription = store::subscriptions::find(tx, id).await?;
    let licenses = store::licenses::list(tx, id, i64::MAX, LINES_MAX).await?;
    let history = audit::list(tx, id, LINES_MAX).await?;
    let subscription = subscription.map(|each| (each.status_word(now).to_owned(), each.to_record()));
    Ok(Some(CustomerFile { customer, subscription, licenses, history }))
}

impl CustomerFile {
    fn to_json(&self) -> Value {
        let subscription = self.subscription.as_ref().map(|(status, record)| {
            json!({
                "plan": record.plan, "status": status,
                "stripe_subscription_id": record.external_id.as_ref().map(|id| id.as_str()),
                "trial_ends_at": record.trial_ends_at, "current_period_ends_at": record.current_period_ends_at,
                "paid_until": record.paid_until, "cancel_at": record.cancel_at, "ended_at": record.ended_at,
                "needs_attention": record.attention,
            })
        });
        let license = |each: &License| {
            json!({
                "license_id": each.license_id, "version": each.version, "plan": each.plan,
                "issued_at": each.issued_at, "expires_at": each.expires_at, "reason": each.reason,
            })
        };
        let line = |each: &audit::Entry| json!({ "at": each.at, "actor": each.actor, "action": each.action, "detail": each.detail, "reason": each.reason });
        json!({
            "customer_id": self.customer.customer_id,
            "email": self.customer.email,
            "company_name": self.customer.company_name,
            "created_at": self.customer.created_at,
            "stripe_customer_id": self.customer.external_id.as_ref().map(|id| id.as_str()),
            "subscription": subscription,
            "licenses": self.licenses.iter().map(license).collect::<Vec<_>>(),
            "history": self.history.iter().map(line).collect::<Vec<_>>(),
        })
    }

    fn in_words(&self) -> String {
        let none = || "-".to_owned();
        let time = |at: Option<Timestamp>| at.map_or_else(none, Timestamp::date_time_in_words);
        let customer = &self.customer;
        let mut rows = vec![
            ("customer", customer.customer_id.to_string()),
            ("email", customer.email.to_string()),
            ("company", customer.company_name.clone().unwrap_or_else(none)),
            ("since", customer.created_at.date_time_in_words()),
            ("at Stripe", customer.external_id.as_ref().map_or_else(none, ToString::to_string)),
        ];
        if let Some((status, record)) = &self.subscription {
            let external = record.external_id.as_ref().map_or_else(none, ToString::to_string);
            rows.push(("plan", format!("{} ({status})", record.plan)));
            rows.push(("subscription", external));
            rows.push(("trial ends", time(record.trial_ends_at)));
            rows.push(("period ends", time(record.current_period_ends_at)));
            rows.push(("paid until", time(record.paid_until)));
            rows.push(("attention", record.attention.clone().unwrap_or_else(none)));
        }
        let mut text = table(&rows);
        for each in &self.licenses {
            let until = each.expires_at.date_time_in_words();
            // Writing into a text cannot fail.
            let _ = write!(text, "\n  license v{}: {} until {until} ({})", each.version, each.plan, each.reason);
        }
        for each in &self.history {
            let line = format!("{}: {} by {} {}", each.at, each.action, each.actor, each.detail);
            let _ = write!(text, "\n  {}", line.trim_end());
        }
        text
    }
}
