//! Looking whether the account at the payment provider fits this installation.

use counterfoil_core::{Catalog, Timestamp};

use super::{App, Error};
use crate::checks::{Check, Report};
use crate::db::Db;
use crate::providers::stripe::setup::WEBHOOK_PATH;
use crate::providers::{Expected, PaymentProvider};
use crate::store;

impl App {
    /// Looks whether the account fits, with what the running service works with.
    ///
    /// # Errors
    /// Failures of the database; those of the provider are lines of the report.
    pub async fn examine_provider(&self) -> Result<Report, Error> {
        let surroundings = Surroundings {
            catalog: &self.catalog,
            public_url: &self.settings.public_url,
            sandbox: self.settings.sandbox,
            now: self.now(),
        };
        examine(&self.db, self.provider.as_ref(), &surroundings).await
    }
}

/// What there is beside the database.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    pub catalog: &'a Catalog,
    /// Our own origin, without a slash at its end.
    pub public_url: &'a str,
    /// Whether the provider is the built-in sandbox.
    pub sandbox: bool,
    pub now: Timestamp,
}

/// Looks at the account, and only reads, here and there. It takes its parts one by one, so that it also works where the service
/// would refuse to start.
///
/// # Errors
/// Failures of the database; those of the provider are lines of the report.
pub async fn examine(
    db: &Db,
    provider: &dyn PaymentProvider,
    surroundings: &Surroundings<'_>,
) -> Result<Report, Error> {
    let mut tx = db.begin_read().await?;
    let account = store::instance::find_external_account(&mut tx).await?;
    let newest_event = store::inbox::find_newest(&mut tx, provider.name()).await?;
    tx.rollback().await?;
    let webhook_url = format!("{}{WEBHOOK_PATH}", surroundings.public_url);
    let expected = Expected {
        catalog: surroundings.catalog,
        webhook_url: (!surroundings.sandbox).then_some(webhook_url.as_str()),
        account: account.as_deref(),
        newest_event: newest_event.as_ref().map(|(at, event_type)| (*at, event_type.as_str())),
        now: (!surroundings.sandbox).then_some(surroundings.now),
    };
    Ok(Report::new(provider.examine(&expected).await))
}

/// What the look at the whole installation has not told already: it knows by itself when the newest webhook came.
#[must_use]
pub fn beside_the_rest(report: Report) -> Vec<Check> {
    const TOLD: [&str; 3] = ["webhook_received", "webhook_quiet", "webhook_untested"];
    report.checks.into_iter().filter(|check| !TOLD.contains(&check.code)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_whole_look_tells_of_webhooks_is_not_told_twice() {
        let codes = ["key_accepted", "webhook_received", "price_missing", "webhook_quiet", "webhook_untested"];
        let report = Report::new(codes.map(|code| Check::ok(code, "")).to_vec());
        let left: Vec<&str> = beside_the_rest(report).iter().map(|check| check.code).collect();
        assert_eq!(left, ["key_accepted", "price_missing"]);
    }
}
