//! `counterfoil license issue|reissue|revoke|resend`: what operators do to licences.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use counterfoil_core::{CustomerId, LicenseId, PlanCode};
use serde_json::json;

use super::Common;
use super::customer::find_id;
use super::operator::{Why, open_app};
use super::output::{self, coded};
use crate::app::App;
use crate::app::operators::By;
use crate::app::revocation::{Again, Reissue};
use crate::store::licenses::License;
use crate::web::api::admin::customers::VersionBody;
use crate::web::api::admin::licenses::RevokedBody;

/// Customers read at once.
const PAGE: i64 = 500;

/// How many of these are named in the end, of those for whom it did not work.
const FAILURES_SHOWN: usize = 5;

/// Commands of `license` that change something.
#[derive(Debug, Subcommand)]
pub enum ChangeCommand {
    /// Issue a license from what a customer is entitled to now; this ends a revocation.
    Issue {
        /// Our id (cust_…), the e-mail address, or the id at Stripe (cus_…).
        customer: String,
        #[command(flatten)]
        why: Why,
    },
    /// Issue licenses once more, with features, limits and grace as the configuration has them now.
    Reissue(ReissueArgs),
    /// Revoke all licenses of a customer, and issue none until `license issue`.
    Revoke {
        /// The customer, or the id of one of its licenses (lic_…).
        customer_or_license: String,
        #[command(flatten)]
        why: Why,
    },
    /// Send the newest license to its customer once more.
    Resend {
        /// Our id (cust_…), the e-mail address, or the id at Stripe (cus_…).
        customer: String,
        #[command(flatten)]
        why: Why,
    },
}

/// Runs one of them, beside the running service.
pub async fn run(common: &Common, command: ChangeCommand) -> anyhow::Result<ExitCode> {
    match command {
        ChangeCommand::Issue { customer, why } => issue(common, &customer, &why).await,
        ChangeCommand::Reissue(args) => reissue(common, args).await,
        ChangeCommand::Revoke { customer_or_license, why } => revoke(common, &customer_or_license, &why).await,
        ChangeCommand::Resend { customer, why } => resend(common, &customer, &why).await,
    }
}

/// Which licenses are issued once more.
#[derive(Debug, Args)]
pub struct ReissueArgs {
    /// One customer: our id (cust_…), the e-mail address, or the id at Stripe (cus_…).
    #[arg(required_unless_present_any = ["plan", "all"], conflicts_with_all = ["plan", "all"])]
    customer: Option<String>,
    /// Everybody on this plan whose license is not up to date.
    #[arg(long, conflicts_with = "all")]
    plan: Option<String>,
    /// Everybody on any plan whose license is not up to date.
    #[arg(long)]
    all: bool,
    /// Only count them.
    #[arg(long)]
    dry_run: bool,
    /// Send no mails; products fetch the new license by themselves.
    #[arg(long)]
    no_mail: bool,
    /// How many to issue in a second, at most.
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    per_second: u32,
    #[command(flatten)]
    why: Why,
}

/// Issues a license, and lifts a hold with it.
async fn issue(common: &Common, customer: &str, why: &Why) -> anyhow::Result<ExitCode> {
    let by = why.by()?;
    let (_config, app) = open_app(common).await?;
    let license = app.issue_by(&find_id(&app, customer).await?, &by).await?;
    show(common, &license, "issued");
    Ok(ExitCode::SUCCESS)
}

/// Revokes all licenses of a customer.
async fn revoke(common: &Common, wanted: &str, why: &Why) -> anyhow::Result<ExitCode> {
    let by = why.by()?;
    let (_config, app) = open_app(common).await?;
    let customer_id = match wanted.trim().parse::<LicenseId>() {
        Ok(license_id) => app.license_owner(&license_id).await?.ok_or_else(|| {
            coded("license_not_found", format!("there is no license {license_id}: give the claim `jti` of one of ours"))
        })?,
        Err(_) => find_id(&app, wanted).await?,
    };
    let revoked = app.revoke_licenses(&customer_id, &by).await?;
    output::show(common.json, &json!(RevokedBody::new(customer_id.to_string(), revoked)), || match revoked.changed {
        true => format!(
            "revoked {} versions of {customer_id}; none is issued until `counterfoil license issue {customer_id}`",
            revoked.versions
        ),
        false => format!("the licenses of {customer_id} were revoked before; nothing was changed"),
    });
    Ok(ExitCode::SUCCESS)
}

/// Sends the newest license once more.
async fn resend(common: &Common, customer: &str, why: &Why) -> anyhow::Result<ExitCode> {
    let by = why.by()?;
    let (_config, app) = open_app(common).await?;
    let license = app.resend_license(&find_id(&app, customer).await?, &by).await?;
    show(common, &license, "sends again");
    Ok(ExitCode::SUCCESS)
}

/// Issues licenses once more: of one customer, or of all whose license is not up to date.
async fn reissue(common: &Common, args: ReissueArgs) -> anyhow::Result<ExitCode> {
    let by = args.why.by()?;
    let (_config, app) = open_app(common).await?;
    if let Some(customer) = &args.customer {
        let customer_id = find_id(&app, customer).await?;
        if args.dry_run {
            let state = app.reissue_state(&customer_id).await?;
            let due = state == Reissue::Due;
            output::show(common.json, &json!({ "customer_id": customer_id, "due": due }), || match state {
                Reissue::Due => format!("the license of {customer_id} would say something new"),
                Reissue::UpToDate => format!("the license of {customer_id} says all of it already"),
                Reissue::Nothing => format!("{customer_id} has nothing to issue"),
                Reissue::Held => format!("the licenses of {customer_id} are revoked"),
            });
            return Ok(ExitCode::SUCCESS);
        }
        let again = Again { mail: !args.no_mail, only_if_due: false };
        let license = app.reissue_by(&customer_id, &by, again).await?;
        license.iter().for_each(|license| show(common, license, "issued"));
        return Ok(ExitCode::SUCCESS);
    }
    let plan = args.plan.as_deref().map(PlanCode::new);
    if let Some(unknown) = plan.as_ref().filter(|plan| app.catalog.find(plan).is_none()) {
        return Err(coded("plan_unknown", format!("there is no plan `{unknown}` in the configuration")));
    }
    reissue_many(common, &app, plan.as_ref(), &args, &by).await
}

async fn reissue_many(
    common: &Common,
    app: &App,
    plan: Option<&PlanCode>,
    args: &ReissueArgs,
    by: &By,
) -> anyhow::Result<ExitCode> {
    let Count { due, seen } = count(app, plan).await?;
    let mut told = json!({ "customers": seen, "due": due.len(), "issued": 0, "failed": 0, "dry_run": args.dry_run });
    if args.dry_run || due.is_empty() {
        output::show(common.json, &told, || {
            format!("{} of {seen} customers have a license that would say something new", due.len())
        });
        return Ok(ExitCode::SUCCESS);
    }
    let pause = Duration::from_secs(1) / args.per_second;
    let (mut issued, mut failures) = (0, Vec::new());
    let progress = Progress::of(due.len());
    for (number, customer_id) in due.iter().enumerate() {
        let again = Again { mail: !args.no_mail, only_if_due: true };
        match app.reissue_by(customer_id, by, again).await {
            Ok(Some(_)) => issued += 1,
            // Somebody else, or an earlier run, was faster.
            Ok(None) => {}
            Err(error) => failures.push(format!("{customer_id}: {error}")),
        }
        progress.show(number + 1);
        tokio::time::sleep(pause).await;
    }
    progress.end();
    told["issued"] = json!(issued);
    told["failed"] = json!(failures.len());
    output::show(common.json, &told, || format!("issued {issued} of {} licenses", due.len()));
    if failures.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let shown = failures.iter().take(FAILURES_SHOWN).cloned().collect::<Vec<_>>().join("; ");
    let message = format!("{} licenses were not issued; the same command goes on with these. {shown}", failures.len());
    Err(coded("reissue_incomplete", message))
}

/// Who is due, and how many customers there are.
struct Count {
    due: Vec<CustomerId>,
    seen: usize,
}

async fn count(app: &App, plan: Option<&PlanCode>) -> anyhow::Result<Count> {
    let mut count = Count { due: Vec::new(), seen: 0 };
    let mut after: Option<CustomerId> = None;
    loop {
        let page = app.license_holders(plan, after.as_ref(), PAGE).await?;
        let Some(last) = page.last().cloned() else { return Ok(count) };
        count.seen += page.len();
        for customer_id in page {
            if app.reissue_state(&customer_id).await? == Reissue::Due {
                count.due.push(customer_id);
            }
        }
        after = Some(last);
    }
}

/// A line that tells a person at a terminal how far it is; a file or a pipe gets none.
pub struct Progress {
    total: usize,
    is_seen: bool,
}

impl Progress {
    pub fn of(total: usize) -> Self {
        Self { total, is_seen: std::io::stderr().is_terminal() }
    }

    pub fn show(&self, done: usize) {
        if self.is_seen {
            let mut err = std::io::stderr().lock();
            // Whoever does not see the line misses nothing.
            let _ = write!(err, "\r{}", self.line(done));
            let _ = err.flush();
        }
    }

    fn line(&self, done: usize) -> String {
        const WIDTH: usize = 30;
        format!("[{:<WIDTH$}] {done} of {}", "#".repeat(done * WIDTH / self.total.max(1)), self.total)
    }

    pub fn end(&self) {
        if self.is_seen {
            let _ = writeln!(std::io::stderr());
        }
    }
}

fn show(common: &Common, license: &License, what: &str) {
    output::show(common.json, &json!(VersionBody::from(license)), || {
        let until = license.expires_at.date_time_in_words();
        format!("{what} version {} of {}: {}, works until {until}", license.version, license.customer_id, license.plan)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_grows_with_what_is_done() {
        let line = |done, total| Progress { total, is_seen: false }.line(done);
        assert_eq!(line(0, 0), format!("[{}] 0 of 0", " ".repeat(30)));
        assert_eq!(line(1, 4), format!("[{}{}] 1 of 4", "#".repeat(7), " ".repeat(23)));
        assert_eq!(line(4, 4), format!("[{}] 4 of 4", "#".repeat(30)));
    }
}
