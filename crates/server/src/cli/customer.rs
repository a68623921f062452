//! `counterfoil customer`: what there is to know of one customer, for support.

use std::process::ExitCode;

use clap::Subcommand;
use counterfoil_core::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::output::{self, coded, table};
use super::{Common, log_quietly};
use crate::app::status::find_customer_by_any;
use crate::clock::Clock;
use crate::db::Db;
use crate::store;

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
}

/// Runs one of them; works beside a running service.
pub async fn run(common: &Common, command: CustomerCommand) -> anyhow::Result<ExitCode> {
    log_quietly();
    let CustomerCommand::Show { customer: wanted } = command;
    let config = common.load_config()?;
    let db = Db::open_read_only(config.database_url.expose_secret()).await?;
    let mut tx = db.begin_read().await?;
    let customer = find_customer_by_any(&mut tx, &wanted).await?.ok_or_else(|| {
        coded(
            "customer_not_found",
            "there is no such customer: give the id (cust_…), the e-mail address, or the id at Stripe (cus_…)",
        )
    })?;
    let id = &customer.customer_id;
    let subscription = store::subscriptions::find(&mut tx, id).await?;
    let licenses = store::licenses::list(&mut tx, id, i64::MAX, LINES_MAX).await?;
    let history = store::audit::list(&mut tx, id, LINES_MAX).await?;
    tx.rollback().await?;

    let now = Clock::system().now();
    let record = subscription.as_ref().map(|each| (each.status_word(now), each.to_record()));
    let value = json!({
        "customer_id": id,
        "email": customer.email,
        "company_name": customer.company_name,
        "created_at": customer.created_at,
        "stripe_customer_id": customer.external_id.as_ref().map(|id| id.as_str()),
        "subscription": record.as_ref().map(|(status, record)| json!({
            "plan": record.plan, "status": status,
            "stripe_subscription_id": record.external_id.as_ref().map(|id| id.as_str()),
            "trial_ends_at": record.trial_ends_at, "current_period_ends_at": record.current_period_ends_at,
            "paid_until": record.paid_until, "cancel_at": record.cancel_at, "ended_at": record.ended_at,
            "needs_attention": record.attention,
        })),
        "licenses": licenses.iter().map(|license| json!({
            "license_id": license.license_id, "version": license.version, "plan": license.plan,
            "issued_at": license.issued_at, "expires_at": license.expires_at, "reason": license.reason,
        })).collect::<Vec<_>>(),
        "history": history.iter().map(|line| json!({
            "at": line.at, "actor": line.actor, "action": line.action, "detail": line.detail,
        })).collect::<Vec<_>>(),
    });
    output::show(common.json, &value, || {
        let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), Timestamp::date_time_in_words);
        let mut rows = vec![
            ("customer", id.to_string()),
            ("email", customer.email.to_string()),
            ("company", customer.company_name.clone().unwrap_or_else(|| "-".to_owned())),
            ("since", customer.created_at.date_time_in_words()),
            ("at Stripe", customer.external_id.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)),
        ];
        if let Some((status, record)) = &record {
            rows.push(("plan", format!("{} ({status})", record.plan)));
            rows.push(("trial ends", time(record.trial_ends_at)));
            rows.push(("period ends", time(record.current_period_ends_at)));
            rows.push(("paid until", time(record.paid_until)));
            rows.push(("attention", record.attention.clone().unwrap_or_else(|| "-".to_owned())));
        }
        let mut text = table(&rows);
        for license in &licenses {
            text.push_str(&format!(
                "\n  license v{}: {} until {} ({})",
                license.version,
                license.plan,
                license.expires_at.date_time_in_words(),
                license.reason
            ));
        }
        for line in &history {
            text.push_str(&format!("\n  {}: {} by {} {}", line.at, line.action, line.actor, line.detail));
        }
        text
    });
    Ok(ExitCode::SUCCESS)
}
