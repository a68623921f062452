//! `counterfoil manual`: payment by invoice or bank transfer, as an operator writes it down.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use counterfoil_core::{Interval, PlanCode, Timestamp};
use serde_json::json;

use super::customer::find_id;
use super::operator::{Why, day_or_instant, open_app};
use super::{Common, log_quietly, output};
use crate::app::manual::{ManualFile, Step};
use crate::providers::manual::{NewPayment, NewRefund};
use crate::web::api::admin::manual::AgreementBody;

/// Commands of `manual`.
#[derive(Debug, Subcommand)]
pub enum ManualCommand {
    /// Show what is written down of a customer.
    Show {
        #[command(flatten)]
        whose: Whose,
    },
    /// Sell a plan by invoice; without --reference it is not paid yet.
    Start {
        #[command(flatten)]
        whose: Whose,
        /// The plan's code; it needs no price in the configuration.
        #[arg(long)]
        plan: String,
        /// How often it is paid: month or year.
        #[arg(long, value_parser = interval)]
        interval: Interval,
        /// The first day, such as 2026-12-31 (UTC), or an instant; now without it.
        #[arg(long, value_name = "DATE", value_parser = first_day)]
        from: Option<Timestamp>,
        /// The number of the invoice or transfer that is paid already.
        #[arg(long, requires_all = ["amount", "currency"])]
        reference: Option<String>,
        /// Its amount, in the smallest unit of the currency.
        #[arg(long, requires = "reference")]
        amount: Option<i64>,
        /// Its currency: three small letters.
        #[arg(long, requires = "reference")]
        currency: Option<String>,
        /// How many periods it pays.
        #[arg(long, default_value_t = 1)]
        periods: i64,
        #[command(flatten)]
        why: Why,
    },
    /// Record money that came; it pays the next periods.
    #[command(
        override_usage = "counterfoil manual pay [OPTIONS] --reference ID --amount N --currency CODE --reason TEXT <CUSTOMER>"
    )]
    Pay {
        #[command(flatten)]
        whose: Whose,
        /// The number of the invoice or transfer; each is taken once.
        #[arg(long, value_name = "ID")]
        reference: String,
        /// In the smallest unit of the currency.
        #[arg(long, value_name = "N")]
        amount: i64,
        /// Three small letters.
        #[arg(long, value_name = "CODE")]
        currency: String,
        /// How many periods it pays.
        #[arg(long, default_value_t = 1)]
        periods: i64,
        #[command(flatten)]
        why: Why,
    },
    /// Record money that went back.
    Refund {
        #[command(flatten)]
        whose: Whose,
        /// The reference of the payment.
        #[arg(long, value_name = "ID")]
        payment: String,
        /// The number of the refund itself; each is taken once.
        #[arg(long, value_name = "ID")]
        reference: String,
        /// In the smallest unit of the currency; all that is left without it.
        #[arg(long)]
        amount: Option<i64>,
        #[command(flatten)]
        why: Why,
    },
    /// Change the plan, or how often it is paid.
    Change {
        #[command(flatten)]
        whose: Whose,
        /// The plan's code.
        #[arg(long)]
        plan: String,
        /// month or year; as now without it.
        #[arg(long, value_parser = interval)]
        interval: Option<Interval>,
        /// Wait for the next period.
        #[arg(long)]
        at_period_end: bool,
        #[command(flatten)]
        why: Why,
    },
    /// End the agreement when its period ends, or at once.
    Cancel {
        #[command(flatten)]
        whose: Whose,
        /// At once, and not with the period.
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Take a planned end back.
    Resume {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        why: Why,
    },
}

/// The customer that a command is about.
#[derive(Clone, Debug, Args)]
pub struct Whose {
    /// Our id (cust_…), the e-mail address, or the id at Stripe (cus_…).
    customer: String,
}

fn interval(text: &str) -> Result<Interval, String> {
    Interval::parse(text).ok_or_else(|| "write month or year".to_owned())
}

fn first_day(text: &str) -> Result<Timestamp, String> {
    day_or_instant(text, "00:00:00")
}

/// Runs one of them; works beside a running service.
pub async fn run(common: &Common, command: ManualCommand) -> anyhow::Result<ExitCode> {
    log_quietly();
    let (whose, order) = order(command);
    let by = order.as_ref().map(|(_, why)| why.by()).transpose()?;
    let (_config, app) = open_app(common).await?;
    let customer_id = find_id(&app, &whose.customer).await?;
    let file = match (&order, &by) {
        (Some((step, _)), Some(by)) => app.keep_manually(&customer_id, step, by).await?,
        (Some(_), None) | (None, _) => app.manual_file(&customer_id).await?,
    };
    let now = app.now();
    let value = json!({
        "customer_id": customer_id, "looked": file.looked,
        "subscription": {
            "plan": file.shown.record.plan, "status": file.shown.record.status,
            "paid_until": file.shown.record.paid_until, "cancel_at": file.shown.record.cancel_at,
        },
        "agreements": file.statements.iter().map(|each| AgreementBody::new(each, now)).collect::<Vec<_>>(),
    });
    output::show(common.json, &value, || in_words(&file, now));
    Ok(ExitCode::SUCCESS)
}

/// What to do, and why; nothing for a command that only shows.
fn order(command: ManualCommand) -> (Whose, Option<(Step, Why)>) {
    match command {
        ManualCommand::Show { whose } => (whose, None),
        ManualCommand::Start { whose, plan, interval, from, reference, amount, currency, periods, why } => {
            let paid = (reference, amount, currency);
            let payment = match paid {
                (Some(reference), Some(amount), Some(currency)) => {
                    Some(NewPayment { reference, amount, currency, periods })
                }
                _ => None,
            };
            let step = Step::Start { plan: PlanCode::new(plan), interval, starts_at: from, payment };
            (whose, Some((step, why)))
        }
        ManualCommand::Pay { whose, reference, amount, currency, periods, why } => {
            (whose, Some((Step::Pay(NewPayment { reference, amount, currency, periods }), why)))
        }
        ManualCommand::Refund { whose, payment, reference, amount, why } => {
            (whose, Some((Step::Refund(NewRefund { payment, reference, amount }), why)))
        }
        ManualCommand::Change { whose, plan, interval, at_period_end, why } => {
            (whose, Some((Step::Change { plan: PlanCode::new(plan), interval, at_period_end }, why)))
        }
        ManualCommand::Cancel { whose, now, why } => (whose, Some((Step::Cancel { now }, why))),
        ManualCommand::Resume { whose, why } => (whose, Some((Step::Resume, why))),
    }
}

fn in_words(file: &ManualFile, now: Timestamp) -> String {
    let record = &file.shown.record;
    let mut text = format!("{} ({})", record.plan, record.status);
    if !file.looked {
        text.push_str("; what was written shows here as soon as the other provider answers");
    }
    if file.statements.is_empty() {
        text.push_str("\n  nothing is written down by hand");
    }
    for statement in &file.statements {
        let account = &statement.account;
        let (plan, interval) = account.terms(now);
        let from = account.agreement.starts_at.date_in_words();
        let until = account
            .paid_until()
            .map_or_else(|| "not paid".to_owned(), |at| format!("paid until {}", at.date_in_words()));
        let end = match (account.ended_at(now), account.agreement.cancel_at) {
            (Some(at), _) => format!(", ended on {}", at.date_in_words()),
            (None, Some(at)) => format!(", ends on {}", at.date_in_words()),
            (None, None) => String::new(),
        };
        // Writing into a text cannot fail.
        let _ = write!(text, "\n  {plan} per {} from {from}, {until}{end}", interval.as_str());
        let coming = account.agreement.planned.as_ref().map(|planned| (planned, account.month(planned.from_month)));
        if let Some((planned, at)) = coming.filter(|(_, at)| now < *at && account.ended_at(now).is_none()) {
            let (per, at) = (planned.interval.as_str(), at.date_in_words());
            let _ = write!(text, "\n    then {} per {per}, from {at} on", planned.plan);
        }
        for each in &statement.payments {
            let back = match each.payment.refunded {
                0 => String::new(),
                refunded => format!(", {refunded} went back"),
            };
            let _ = write!(text, "\n    {}: {} {}{back}", each.reference, each.payment.amount, each.currency);
        }
    }
    text
}
