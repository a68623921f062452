//! `counterfoil customer`: what there is to know of one customer, for support.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use counterfoil_core::{CustomerId, Timestamp};
use serde_json::json;

use super::operator::{Why, clock_of, open_app};
use super::output::{self, coded, table};
use super::{Common, database, leaving, log_quietly};
use crate::app::App;
use crate::app::customer_files::{CaseFile, CustomerFile};
use crate::app::explain::explain;
use crate::app::status::find_customer_by_any;
use crate::clock::Clock;
use crate::web::api::admin::customers::CustomerFileBody;

/// Commands of `customer`.
#[derive(Debug, Subcommand)]
pub enum CustomerCommand {
    /// Show a customer with subscription, licenses and history.
    Show {
        /// Our id (cust_…), the e-mail address, or the id at Stripe (cus_…).
        customer: String,
    },
    /// Say in words why a customer has a license, or has none, and what happens next.
    Explain {
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
    /// Give a customer another e-mail address at once; both addresses are told.
    SetEmail {
        /// Our id (cust_…), the e-mail address, or the id at Stripe (cus_…).
        customer: String,
        /// The new address.
        email: String,
        #[command(flatten)]
        why: Why,
    },
    /// Take an e-mail address for verified; a license that waits for it goes out by mail.
    VerifyEmail {
        /// Our id (cust_…), the e-mail address, or the id at Stripe (cus_…).
        customer: String,
        #[command(flatten)]
        why: Why,
    },
    /// End all sessions of a customer on all servers; the password stays.
    EndSessions {
        /// Our id (cust_…), the e-mail address, or the id at Stripe (cus_…).
        customer: String,
        #[command(flatten)]
        why: Why,
    },
    /// Hand out everything that is kept of a customer, as one JSON document.
    Export {
        /// Our id (cust_…), the e-mail address, or the id at Stripe (cus_…).
        customer: String,
        /// The file to write, which only you can read; standard output where none is given.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Delete an account for good: who it was goes, and a tombstone stays.
    Delete(leaving::DeleteArgs),
}

/// Runs one of them; works beside a running service.
pub async fn run(common: &Common, command: CustomerCommand) -> anyhow::Result<ExitCode> {
    log_quietly();
    match command {
        CustomerCommand::Show { customer } => show(common, &customer).await,
        CustomerCommand::Explain { customer } => explain_customer(common, &customer).await,
        CustomerCommand::Sync { customer, why } => sync(common, &customer, &why).await,
        CustomerCommand::SetEmail { customer, email, why } => set_email(common, &customer, &email, &why).await,
        CustomerCommand::VerifyEmail { customer, why } => verify_email(common, &customer, &why).await,
        CustomerCommand::EndSessions { customer, why } => end_sessions(common, &customer, &why).await,
        CustomerCommand::Export { customer, output } => leaving::export(common, &customer, output.as_deref()).await,
        CustomerCommand::Delete(args) => leaving::delete(common, &args).await,
    }
}

async fn show(common: &Common, wanted: &str) -> anyhow::Result<ExitCode> {
    let config = common.load_config()?;
    let db = database::open_to_read(&config).await?;
    let mut tx = db.begin_read().await?;
    let Some(customer) = find_customer_by_any(&mut tx, wanted.trim()).await? else {
        return leaving::show_tombstone(common, tx, wanted.trim()).await;
    };
    let file = CustomerFile::load(&mut tx, customer, Clock::system().now()).await?;
    tx.rollback().await?;
    output::show(common.json, &json!(CustomerFileBody::from(&file)), || in_words(&file));
    Ok(ExitCode::SUCCESS)
}

async fn explain_customer(common: &Common, wanted: &str) -> anyhow::Result<ExitCode> {
    let config = common.load_config()?;
    let db = database::open_to_read(&config).await?;
    // In sandbox mode the service lives in the sandbox's time, as long as that runs.
    let clock = clock_of(&config).await;
    let mut tx = db.begin_read().await?;
    let Some(customer) = find_customer_by_any(&mut tx, wanted.trim()).await? else {
        return leaving::show_tombstone(common, tx, wanted.trim()).await;
    };
    let rules = (&config.catalog, config.email_verification);
    let case = CaseFile::load(&mut tx, customer, rules, clock.now()).await?;
    tx.rollback().await?;
    let explanation = explain(&case);
    output::show(common.json, &json!(explanation), || explanation.in_words());
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

async fn set_email(common: &Common, wanted: &str, email: &str, why: &Why) -> anyhow::Result<ExitCode> {
    let by = why.by()?;
    let (_config, app) = open_app(common).await?;
    let customer_id = find_id(&app, wanted).await?;
    let email = app.set_email_by(&customer_id, email, &by).await?;
    output::show(common.json, &json!({ "customer_id": customer_id, "email": email }), || {
        format!("{customer_id} has the address {email} now; a mail tells both addresses")
    });
    Ok(ExitCode::SUCCESS)
}

async fn verify_email(common: &Common, wanted: &str, why: &Why) -> anyhow::Result<ExitCode> {
    let by = why.by()?;
    let (_config, app) = open_app(common).await?;
    let customer_id = find_id(&app, wanted).await?;
    let verified = app.verify_email_by(&customer_id, &by).await?;
    let version = verified.license.as_ref().map(|license| license.version);
    let value = json!({
        "customer_id": customer_id, "email": verified.email, "email_verified_at": verified.at, "version": version,
    });
    output::show(common.json, &value, || match version {
        Some(version) => format!("{} is verified; license version {version} goes out by mail", verified.email),
        None => format!("{} is verified; no license waited for it", verified.email),
    });
    Ok(ExitCode::SUCCESS)
}

async fn end_sessions(common: &Common, wanted: &str, why: &Why) -> anyhow::Result<ExitCode> {
    let by = why.by()?;
    let (_config, app) = open_app(common).await?;
    let customer_id = find_id(&app, wanted).await?;
    let ended = app.end_sessions_by(&customer_id, &by).await?;
    output::show(common.json, &json!({ "customer_id": customer_id, "ended": ended }), || match ended {
        0 => format!("{customer_id} was logged in nowhere"),
        1 => format!("the one session of {customer_id} has ended"),
        _ => format!("the {ended} sessions of {customer_id} have ended"),
    });
    Ok(ExitCode::SUCCESS)
}

/// The customer that an operator means.
pub async fn find_id(app: &App, wanted: &str) -> anyhow::Result<CustomerId> {
    Ok(app.find_customer(wanted).await?.ok_or_else(no_such_customer)?.customer_id)
}

pub fn no_such_customer() -> anyhow::Error {
    coded(
        "customer_not_found",
        "there is no such customer: give the id (cust_…), the e-mail address, or the id at Stripe (cus_…)",
    )
}

fn in_words(file: &CustomerFile) -> String {
    let none = || "-".to_owned();
    let time = |at: Option<Timestamp>| at.map_or_else(none, Timestamp::date_time_in_words);
    let customer = &file.customer;
    let mut rows = vec![
        ("customer", customer.customer_id.to_string()),
        ("email", customer.email.to_string()),
        ("verified", customer.email_verified_at.map_or_else(|| "no".to_owned(), Timestamp::date_time_in_words)),
        ("company", customer.company_name.clone().unwrap_or_else(none)),
        ("since", customer.created_at.date_time_in_words()),
        ("machines", file.machines.to_string()),
        ("at Stripe", customer.external_id.as_ref().map_or_else(none, ToString::to_string)),
    ];
    if let Some(subscription) = &file.subscription {
        let (status, record) = (subscription.status_word(file.now), subscription.to_record());
        let kept = if subscription.is_manual() { "by invoice" } else { "at Stripe" };
        let external = record.external_id.as_ref().map_or_else(none, |id| format!("{id} ({kept})"));
        rows.push(("plan", format!("{} ({status})", record.plan)));
        rows.push(("subscription", external));
        rows.push(("trial ends", time(record.trial_ends_at)));
        rows.push(("period ends", time(record.current_period_ends_at)));
        rows.push(("paid until", time(record.paid_until)));
        rows.push(("attention", record.attention.unwrap_or_else(none)));
    }
    let mut text = table(&rows);
    for each in &file.licenses {
        let until = each.expires_at.date_time_in_words();
        // Writing into a text cannot fail.
        let _ = write!(text, "\n  license v{}: {} until {until} ({})", each.version, each.plan, each.reason);
    }
    for each in &file.history {
        let _ = write!(text, "\n  {}", each.in_words());
    }
    text
}
