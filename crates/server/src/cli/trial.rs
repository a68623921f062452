//! `counterfoil trial`: what an operator does about a trial.

use std::process::ExitCode;

use clap::{ArgGroup, Subcommand};
use counterfoil_core::Timestamp;
use counterfoil_core::trial::{EXTENSION_DAYS_MAX, Extension};
use serde_json::json;

use super::customer::find_id;
use super::operator::{Why, day_or_instant, open_app};
use super::{Common, log_quietly, output};

/// Commands of `trial`.
#[derive(Debug, Subcommand)]
pub enum TrialCommand {
    /// Make a trial longer, or revive one that is over; the customer gets a new license by mail.
    #[command(group(ArgGroup::new("end").required(true)))]
    Extend {
        /// Our id (cust_…), the e-mail address, or the id at Stripe (cus_…).
        customer: String,
        /// Days to add to its end, or from now where it is over.
        #[arg(long, group = "end", value_parser = clap::value_parser!(i64).range(1..=EXTENSION_DAYS_MAX))]
        days: Option<i64>,
        /// The last day (2026-12-31, to its end in UTC), or an instant (2026-12-31T12:00:00Z).
        #[arg(long, group = "end", value_name = "DATE", value_parser = date)]
        until: Option<Timestamp>,
        #[command(flatten)]
        why: Why,
    },
}

fn date(text: &str) -> Result<Timestamp, String> {
    day_or_instant(text, "23:59:59")
}

/// Runs one of them; works beside a running service, and needs no payment provider.
pub async fn run(common: &Common, command: TrialCommand) -> anyhow::Result<ExitCode> {
    log_quietly();
    let TrialCommand::Extend { customer, days, until, why } = command;
    let by = why.by()?;
    let wish = match (days, until) {
        (_, Some(until)) => Extension::Until(until),
        (days, None) => Extension::Days(days.unwrap_or_default()),
    };
    let (_config, app) = open_app(common).await?;
    let customer_id = find_id(&app, &customer).await?;
    let extended = app.extend_trial(&customer_id, wish, &by).await?;
    let value = json!({
        "customer_id": extended.customer_id, "trial_ends_at": extended.ends_at,
        "license_id": extended.license.as_ref().map(|license| &license.license_id),
        "version": extended.license.as_ref().map(|license| license.version),
    });
    output::show(common.json, &value, || {
        let (id, end) = (&extended.customer_id, extended.ends_at.date_time_in_words());
        let then = match &extended.license {
            Some(license) => format!("license version {} goes out by mail", license.version),
            None => "the license waits until the address is verified".to_owned(),
        };
        format!("the trial of {id} runs until {end}; {then}")
    });
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_meant_to_its_end() {
        let read = |text: &str| date(text).map(|at| at.to_string());
        assert_eq!(read("2026-12-31").unwrap(), "2026-12-31T23:59:59.000000Z");
        assert_eq!(read("2026-12-31T12:00:00+01:00").unwrap(), "2026-12-31T11:00:00.000000Z");
        for bad in ["", "tomorrow", "31.12.2026", "2026-02-30"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
