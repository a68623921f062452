//! `counterfoil doctor`: is this installation well? It changes nothing, and looks at everything that it can reach, whatever
//! else is broken.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use counterfoil_core::Timestamp;
use reqwest::StatusCode;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::operator::{clock_of, running_sandbox};
use super::{Common, log_quietly, output, service};
use crate::app::doctor;
use crate::app::examine::{self, Surroundings};
use crate::app::key_sets::check_key_set;
use crate::app::sweep_checks;
use crate::checks::{Check, Level, Report};
use crate::clock::Clock;
use crate::config::{Config, Mode};
use crate::db::{Db, DbError};
use crate::entropy::Entropy;
use crate::keys::{self, KeyError};
use crate::mail::Mailer;
use crate::providers::stripe::Stripe;
use crate::store;

/// How long each part may take to answer.
const WAIT: Duration = Duration::from_secs(8);

/// How long the look at the account may take: it is a call for each price, and some more.
const ACCOUNT_WAIT: Duration = Duration::from_secs(30);

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Ask nobody outside: neither the payment provider, nor the mail server, nor the public address.
    #[arg(long)]
    offline: bool,
}

/// Looks at everything; 1 where something does not work.
pub async fn run(common: &Common, args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    log_quietly();
    let report = Report::new(match common.load_config() {
        Ok(config) => examine(&config, args.offline).await,
        Err(error) => error
            .problems
            .iter()
            .map(|problem| {
                let message = format!("{}: {}", problem.setting, problem.message);
                Check::problem(
                    problem.code,
                    message,
                    "counterfoil.example.toml shows every setting, with its environment variable.",
                )
            })
            .collect(),
    });
    output::show(common.json, &json!(report), || report.in_words());
    Ok(if report.has_problems() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn examine(config: &Config, offline: bool) -> Vec<Check> {
    let now = clock_of(config).await.now();
    let mut checks = vec![Check::ok("configuration", format!("the configuration is valid, for {}", mode(config)))];
    checks.push(check_folder(&config.data_dir));
    let db = match Db::open_read_only(config.database_url.expose_secret()).await {
        Ok(db) => {
            checks.extend(doctor::check_database(&db).await);
            checks.push(doctor::check_plans(&db, &config.catalog).await);
            checks.push(check_key(config, &db, now).await);
            checks.extend(check_key_set(&db, config.public_url.as_str(), now).await);
            checks.extend(doctor::check_queues(&db, now).await);
            checks.extend(sweep_checks::check_sweeps(&db, now).await);
            Some(db)
        }
        Err(error) => {
            checks.push(Check::problem(
                "database_unavailable",
                error.to_string(),
                "Check DATABASE_URL (or COUNTERFOIL_DATA_DIR), and that the database runs. `counterfoil serve` makes a new SQLite file.",
            ));
            None
        }
    };
    if offline {
        checks.push(doctor::not_asked());
    } else {
        checks.extend(check_provider(config, db.as_ref()).await);
        checks.push(check_mail(config).await);
        checks.push(check_public_url(config).await);
    }
    if let Some(db) = db {
        db.close().await;
    }
    checks
}

const fn mode(config: &Config) -> &'static str {
    match &config.mode {
        Mode::Sandbox => "the sandbox",
        Mode::Stripe { livemode: false, .. } => "test mode",
        Mode::Stripe { livemode: true, .. } => "live mode",
    }
}

/// Whether the folder is there, and nobody else reads the keys in it.
fn check_folder(folder: &Path) -> Check {
    let shown = folder.display();
    if !folder.is_dir() {
        let advice = "`counterfoil serve` makes it; see that COUNTERFOIL_DATA_DIR is the one that the service uses.";
        return Check::warning("data_dir_missing", format!("there is no data directory {shown}"), advice);
    }
    let open_to_others = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o077 != 0)
    };
    let mut files = keys::key_files(folder).unwrap_or_default();
    files.push(folder.join(keys::KEY_FILE));
    if let Some(key) = files.into_iter().find(|file| open_to_others(file)) {
        let advice = format!(
            "Run `chmod 600 {}`. If others use this machine, think of the key as known to them.",
            key.display()
        );
        return Check::problem(
            "license_key_readable",
            format!("others can read the license key {}", key.display()),
            advice,
        );
    }
    Check::ok("data_dir", format!("the data directory {shown} is there, and its key is nobody else's to read"))
}

async fn check_key(config: &Config, db: &Db, now: Timestamp) -> Check {
    let keys = match service::keyring(config) {
        Ok(keys) => keys,
        Err(error) => return unreadable(&error),
    };
    let is_new = async {
        let mut tx = db.begin_read().await?;
        let known = store::signing_keys::list_all(&mut tx).await?;
        tx.rollback().await?;
        Ok::<_, DbError>(known.is_empty())
    };
    let has_key = keys.given().is_some() || keys.in_files().is_ok_and(|found| !found.is_empty());
    match keys.in_files() {
        Err(error) => unreadable(&error),
        Ok(_) if !has_key && is_new.await.unwrap_or(false) => Check::warning(
            "license_key_missing",
            "there is no license key yet",
            "The first start makes one. If this installation has issued licenses, put its key back before it starts.",
        ),
        Ok(_) => doctor::check_key(db, &keys, config.public_url.as_str(), &config.product, now).await,
    }
}

fn unreadable(error: &KeyError) -> Check {
    Check::problem("license_key_unreadable", error.to_string(), "Put the right key back, or its backup.")
}

async fn check_provider(config: &Config, db: Option<&Db>) -> Vec<Check> {
    let sandbox = match running_sandbox(config).await {
        Ok(sandbox) => sandbox.map(|(access, _offset)| access),
        Err(error) => {
            return vec![Check::warning(
                "sandbox_not_running",
                error.to_string(),
                "Start the service to look further.",
            )];
        }
    };
    let mut checks = Vec::new();
    if let Mode::Stripe { api_base, .. } = &config.mode {
        // The time of this machine: in test mode the provider lives in it as well.
        checks.push(doctor::check_clock(time_of(api_base).await, Clock::system().now()));
    }
    let provider = match service::stripe(config, sandbox.as_ref(), Entropy) {
        Ok(provider) => provider,
        Err(error) => {
            let advice = "Check STRIPE_SECRET_KEY and STRIPE_API_BASE.";
            checks.push(Check::problem("provider", error.to_string(), advice));
            return checks;
        }
    };
    let answers =
        tokio::time::timeout(WAIT, doctor::check_provider(&provider)).await.unwrap_or_else(|_elapsed| silent());
    let is_well = answers.level == Level::Ok;
    checks.push(answers);
    if let (true, false, Some(db)) = (is_well, config.mode.is_sandbox(), db) {
        let told = check_account(config, db, &provider).await;
        // What the clock differs by is told once.
        checks.extend(told.into_iter().filter(|each| each.code != "clock"));
    }
    checks
}

fn silent() -> Check {
    let advice = "See that this machine reaches it.";
    Check::problem("provider_unavailable", "the payment provider does not answer", advice)
}

/// What `stripe doctor` looks at.
async fn check_account(config: &Config, db: &Db, provider: &Stripe) -> Vec<Check> {
    let surroundings = Surroundings {
        catalog: &config.catalog,
        public_url: config.public_url.as_str(),
        sandbox: false,
        now: Clock::system().now(),
    };
    match tokio::time::timeout(ACCOUNT_WAIT, examine::examine(db, provider, &surroundings)).await {
        Ok(Ok(report)) => examine::beside_the_rest(report),
        Ok(Err(error)) => vec![Check::problem(
            "account_unexamined",
            format!("the account at the provider was not looked at: {error}"),
            "See the database first.",
        )],
        Err(_elapsed) => vec![silent()],
    }
}

/// The time by the clock of whoever answers there.
async fn time_of(base: &str) -> Option<Timestamp> {
    let client = reqwest::Client::builder().timeout(WAIT).build().ok()?;
    let answer = client.head(base).send().await.ok()?;
    Timestamp::from_http_date(answer.headers().get("date")?.to_str().ok()?)
}

async fn check_mail(config: &Config) -> Check {
    let Some(url) = &config.smtp else {
        return match config.mode.is_sandbox() {
            true => Check::ok("mail", "mails stay in the mailbox of the sandbox"),
            false => Check::warning("mail_off", "SMTP_URL is not set: mails are kept and not sent", "Set SMTP_URL."),
        };
    };
    let reached = match Mailer::smtp(url, &config.mail_from) {
        Ok(mailer) => mailer.reach().await,
        Err(error) => Err(error),
    };
    match reached {
        Ok(()) => Check::ok("mail", "the mail server answers and lets us in"),
        Err(error) => {
            let advice = "Check SMTP_URL, and that this machine may reach the mail server. Mails wait until then.";
            Check::problem("mail_unavailable", error.to_string(), advice)
        }
    }
}

/// Whether the world reaches us under the address that stands in every licence. Only asked where it is one of the world's.
async fn check_public_url(config: &Config) -> Check {
    let base = config.public_url.as_str();
    if !config.public_url.is_https() {
        return Check::ok(
            "public_url",
            format!("the public address {base} is one of this machine's, and was not asked"),
        );
    }
    let asked = async { reqwest::Client::builder().timeout(WAIT).build()?.get(format!("{base}/livez")).send().await };
    judge_public_url(base, asked.await.ok().map(|answer| answer.status()))
}

/// What the answer means; none where nobody answers. A program that is not ours knows nothing of our health.
fn judge_public_url(base: &str, answer: Option<StatusCode>) -> Check {
    let advice =
        "See DNS, the certificate, and that the proxy leads to COUNTERFOIL_LISTEN. Webhooks take the same way.";
    match answer {
        Some(status) if status.is_success() => Check::ok("public_url", format!("{base} leads here")),
        Some(status) => Check::problem("public_url_wrong", format!("{base}/livez answers {}", status.as_u16()), advice),
        None => Check::problem("public_url_unreachable", format!("{base} does not answer"), advice),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_program_at_the_public_address_is_told_from_ours() {
        let base = "https://billing.example.com";
        let judged = |status: u16| judge_public_url(base, Some(StatusCode::from_u16(status).unwrap()));
        assert_eq!(judged(200), Check::ok("public_url", "https://billing.example.com leads here"));
        for status in [304, 403, 404, 502] {
            let told = judged(status);
            assert_eq!((told.level, told.code), (Level::Problem, "public_url_wrong"), "{status}");
            assert!(told.message.ends_with(&format!("/livez answers {status}")), "{}", told.message);
        }
        assert_eq!(judge_public_url(base, None).code, "public_url_unreachable");
    }
}
