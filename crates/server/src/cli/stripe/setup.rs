//! `counterfoil stripe setup`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::catalog_file;
use crate::app::App;
use crate::app::operators::By;
use crate::cli::operator::{open_app_of, running_sandbox};
use crate::cli::output::coded;
use crate::cli::{Common, output, service};
use crate::config::{Config, Mode};
use crate::entropy::Entropy;
use crate::keys;
use crate::providers::stripe::setup::{Done, Step, Subject, WEBHOOK_PATH, Wanted};
use crate::store::audit;

/// Options of `stripe setup`.
#[derive(Debug, Args)]
pub struct SetupArgs {
    /// Only read, and say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Confirm that a live key is meant.
    #[arg(long)]
    live: bool,
    /// Put the ids of the prices into the catalogue of this configuration file.
    #[arg(long, value_name = "PATH", conflicts_with = "dry_run")]
    write: Option<PathBuf>,
    /// Write the webhook secret into this new file instead of printing it.
    #[arg(long, value_name = "PATH")]
    webhook_secret_file: Option<PathBuf>,
    /// Overwrite the file of the webhook secret.
    #[arg(long, requires = "webhook_secret_file")]
    force: bool,
    /// Make a new endpoint: for another API version, or where the secret is lost.
    #[arg(long)]
    replace_webhook: bool,
}

pub(super) async fn run(common: &Common, args: &SetupArgs) -> anyhow::Result<ExitCode> {
    let config = common.load_config_without_webhook_secret()?;
    refuse_unconfirmed(args, &config)?;
    let (config, app) = open_app_of(config).await?;
    let sandbox = running_sandbox(&config).await?;
    let stripe = service::stripe(&config, sandbox.as_ref().map(|(access, _)| access), Entropy)?;
    let webhook_url = format!("{}{WEBHOOK_PATH}", config.public_url.as_str());
    let wanted = Wanted {
        instance: &app.instance.instance_id,
        plans: config.catalog.plans(),
        webhook_url: (!config.mode.is_sandbox()).then_some(webhook_url),
        replace_webhook: args.replace_webhook,
    };
    let steps = stripe.plan_setup(&wanted).await?;
    let mut outcome = Outcome { config: &config, steps: &steps, done: None, secret_file: None, written: None };
    if !args.dry_run {
        let done = stripe.carry_out_setup(&wanted, &steps).await?;
        // First of all: nobody will tell the secret again.
        outcome.secret_file = save_secret(args, &done)?;
        outcome.done = Some(done);
        note(&app, &steps).await?;
        if let Some(path) = &args.write {
            outcome.written = Some(write_ids(path, &outcome.ids())?);
        }
    }
    output::show(common.json, &outcome.to_json(), || outcome.in_words());
    Ok(ExitCode::SUCCESS)
}

/// Whatever can be refused is refused before the first call.
fn refuse_unconfirmed(args: &SetupArgs, config: &Config) -> anyhow::Result<()> {
    if config.mode.is_live() && !args.live && !args.dry_run {
        return Err(coded(
            "live_needs_confirmation",
            "this is a live key: look with --dry-run what would be done, then run again with --live",
        ));
    }
    match &args.webhook_secret_file {
        Some(path) if path.exists() && !args.force => Err(coded(
            "secret_file_exists",
            format!("{} is there already: choose another file, or add --force to overwrite it", path.display()),
        )),
        Some(_) | None => Ok(()),
    }
}

/// Where the secret was written; `None` where there is none, or where it is to be printed.
fn save_secret(args: &SetupArgs, done: &Done) -> anyhow::Result<Option<PathBuf>> {
    let (Some(secret), Some(path)) = (&done.webhook_secret, &args.webhook_secret_file) else { return Ok(None) };
    if let Err(error) = keys::write_secret(path, secret.expose_secret()) {
        // Better on the screen than nowhere.
        output::say(secret.expose_secret());
        return Err(error).with_context(|| format!("{} cannot be written; the secret is printed", path.display()));
    }
    Ok(Some(path.clone()))
}

async fn note(app: &App, steps: &[Step]) -> anyhow::Result<()> {
    let changed = steps.iter().filter(|step| step.writes()).map(|step| format!("{} {}", step.action(), step.subject));
    let changed: Vec<String> = changed.collect();
    if changed.is_empty() {
        return Ok(());
    }
    let by = By::command_line("stripe setup").map_err(crate::app::Error::from)?;
    let mut tx = app.db.begin().await?;
    audit::insert_by(&mut tx, by.entry(), "stripe_set_up", None, &changed.join(", "), app.now()).await?;
    Ok(tx.commit().await?)
}

fn write_ids(path: &Path, ids: &[(Subject, String, String)]) -> anyhow::Result<usize> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let pairs: Vec<(&str, &str)> = ids.iter().map(|(_, old, new)| (old.as_str(), new.as_str())).collect();
    let (text, count) = catalog_file::with_ids(&text, &pairs)
        .map_err(|reason| coded("catalog_file", format!("{}: {reason}", path.display())))?;
    if count > 0 {
        std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(count)
}

/// What there is to tell.
struct Outcome<'a> {
    config: &'a Config,
    steps: &'a [Step],
    /// `None` where it was only looked.
    done: Option<Done>,
    secret_file: Option<PathBuf>,
    /// How many ids went into the file, where one was named.
    written: Option<usize>,
}

impl Outcome<'_> {
    fn id_of<'s>(&'s self, step: &'s Step) -> Option<&'s str> {
        let made = || self.done.as_ref()?.ids.get(&step.subject).map(String::as_str);
        step.id.as_deref().or_else(made)
    }

    /// Each price whose id is known: the id in the catalogue, and the real one.
    fn ids(&self) -> Vec<(Subject, String, String)> {
        let mut ids = Vec::new();
        for step in self.steps {
            let Subject::Price { plan, interval, currency } = &step.subject else { continue };
            let Some(plan) = self.config.catalog.find(plan) else { continue };
            let old = plan.prices.iter().find(|each| each.interval == *interval && each.currency == *currency);
            if let (Some(old), Some(new)) = (old, self.id_of(step)) {
                ids.push((step.subject.clone(), old.stripe_price.clone(), new.to_owned()));
            }
        }
        ids
    }

    fn portal(&self) -> Option<&str> {
        self.steps.iter().find(|step| step.subject == Subject::Portal).and_then(|step| self.id_of(step))
    }

    fn to_json(&self) -> Value {
        let step = |step: &Step| {
            let mut value = json!({
                "action": step.action(), "object": step.subject.word(), "id": self.id_of(step), "why": step.why,
            });
            match &step.subject {
                Subject::Product { plan } => value["plan"] = json!(plan),
                Subject::Price { plan, interval, currency } => {
                    value["plan"] = json!(plan);
                    value["interval"] = json!(interval);
                    value["currency"] = json!(currency);
                }
                Subject::Portal | Subject::Endpoint => {}
            }
            value
        };
        let price = |(subject, old, new): &(Subject, String, String)| json!({ "price": subject.to_string(), "in_catalog": old, "stripe_price": new });
        let mut value = json!({
            "dry_run": self.done.is_none(),
            "changes": self.steps.iter().filter(|step| step.writes()).count(),
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
            "prices": self.ids().iter().map(price).collect::<Vec<_>>(),
            "stripe_portal_configuration": self.portal(),
        });
        if let Some(path) = &self.secret_file {
            value["webhook_secret_file"] = json!(path);
        } else if let Some(secret) = self.secret() {
            value["webhook_secret"] = json!(secret);
        }
        if let Some(written) = self.written {
            value["ids_written"] = json!(written);
        }
        value
    }

    fn secret(&self) -> Option<&str> {
        Some(self.done.as_ref()?.webhook_secret.as_ref()?.expose_secret())
    }

    fn in_words(&self) -> String {
        let mut text = String::new();
        // Writing into a text cannot fail.
        for step in self.steps {
            let (id, why) = (self.id_of(step).unwrap_or_default(), step.why.as_str());
            let line = format!("{:<6}  {:<38}  {id}", step.action(), step.subject.to_string());
            let _ = writeln!(text, "{}", line.trim_end());
            if !why.is_empty() {
                let _ = writeln!(text, "        {why}");
            }
        }
        let changes = self.steps.iter().filter(|step| step.writes()).count();
        let counted = if changes == 1 { "1 change".to_owned() } else { format!("{changes} changes") };
        let _ = match (&self.done, changes) {
            (_, 0) => writeln!(text, "\nNothing to change: the account is set up."),
            (None, _) => writeln!(text, "\n{counted} would be made. Nothing was sent but questions."),
            (Some(_), _) => writeln!(text, "\n{counted} made."),
        };
        if self.done.is_some() {
            self.tell_settings(&mut text);
        }
        text.trim_end().to_owned()
    }

    /// What is to be put where now.
    fn tell_settings(&self, text: &mut String) {
        let differing: Vec<_> = self.ids().into_iter().filter(|(_, old, new)| old != new).collect();
        match self.written {
            Some(0) | None if differing.is_empty() => {}
            Some(count) => {
                let ids = output::count(count, "price id");
                let _ = writeln!(text, "\n{ids} written into the catalogue.");
            }
            None => {
                let _ =
                    writeln!(text, "\nPut these ids into the catalogue in counterfoil.toml (or use --write PATH):\n");
                for (subject, old, new) in &differing {
                    let _ = writeln!(text, "  stripe_price = \"{new}\"    # {subject}, now \"{old}\"");
                }
            }
        }
        if let Some(portal) = self.portal().filter(|id| self.config.portal_configuration.as_deref() != Some(id)) {
            let _ =
                writeln!(text, "\nOffer your plans in the billing portal, with this setting in counterfoil.toml:\n");
            let _ = writeln!(text, "  stripe_portal_configuration = \"{portal}\"");
        }
        if let Some(path) = &self.secret_file {
            let file = path.display();
            let _ = writeln!(text, "\nThe webhook secret is in {file}. Start the service with it:\n");
            let _ = writeln!(text, "  STRIPE_WEBHOOK_SECRET_FILE={file}");
        } else if let Some(secret) = self.secret() {
            let _ = writeln!(
                text,
                "\nKeep the webhook secret now, Stripe does not tell it again, and start the service with it:\n"
            );
            let _ = writeln!(text, "  STRIPE_WEBHOOK_SECRET={secret}");
        } else if matches!(&self.config.mode, Mode::Stripe { webhook_secrets, .. } if webhook_secrets.is_empty()) {
            let _ = writeln!(
                text,
                "\nSTRIPE_WEBHOOK_SECRET is not set. The endpoint's secret was told when it was made. Where it is lost, roll it\n\
                 in Stripe's dashboard under Developers, Webhooks, or run again with --replace-webhook."
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use counterfoil_core::{Interval, PlanCode};

    use super::*;
    use crate::providers::stripe::setup::Verdict;

    /// What is told where all of this is there already, with these settings.
    fn told(settings: &[(&str, &str)], kept: &[(Subject, &str)], written: Option<usize>, why: &str) -> String {
        let config = Config::parse(None, &settings.iter().copied().collect()).unwrap();
        let step = |(subject, id): &(Subject, &str)| Step {
            subject: subject.clone(),
            id: Some((*id).to_owned()),
            verdict: Verdict::Keep,
            why: why.to_owned(),
        };
        let steps: Vec<Step> = kept.iter().map(step).collect();
        let done = Done { ids: [].into(), webhook_secret: None };
        Outcome { config: &config, steps: &steps, done: Some(done), secret_file: None, written }.in_words()
    }

    #[test]
    fn only_ids_that_the_catalogue_lacks_are_to_be_put_into_it() {
        let monthly = Subject::Price {
            plan: PlanCode::new("professional"),
            interval: Interval::Month,
            currency: "usd".to_owned(),
        };
        let (there, other) = ([(monthly.clone(), "price_pro_monthly")], [(monthly.clone(), "price_other")]);
        let advice = "Put these ids into the catalogue";
        let words = told(&[], &other, None, "");
        let line = format!("  stripe_price = \"price_other\"    # {monthly}, now \"price_pro_monthly\"");
        assert!(words.contains(advice) && words.lines().any(|found| found == line), "{words}");
        for written in [None, Some(0)] {
            let words = told(&[], &there, written, "");
            assert!(!words.contains(advice) && !words.contains("written into"), "{words}");
        }
        let words = told(&[], &other, Some(1), "");
        assert!(words.contains("\n1 price id written into the catalogue.") && !words.contains(advice), "{words}");
    }

    #[test]
    fn a_portal_is_to_be_named_where_the_settings_name_another_one() {
        let named = |settings: &[(&str, &str)]| {
            let words = told(settings, &[(Subject::Portal, "bpc_1Mine")], None, "");
            words.contains("  stripe_portal_configuration = \"bpc_1Mine\"")
        };
        assert!(named(&[]) && named(&[("STRIPE_PORTAL_CONFIGURATION", "bpc_1Other")]));
        assert!(!named(&[("STRIPE_PORTAL_CONFIGURATION", "bpc_1Mine")]));
    }

    #[test]
    fn a_reason_stands_under_its_step_where_there_is_one() {
        let step = |why: &str| told(&[], &[(Subject::Endpoint, "we_1")], None, why);
        assert_eq!(step("").lines().nth(1), Some(""));
        assert_eq!(step("its version is another").lines().nth(1), Some("        its version is another"));
    }

    const FILE: &str = "[[plans]]\ncode = \"a\"\nprices = [ { stripe_price = \"old\" } ]\n";

    fn price(old: &str, new: &str) -> (Subject, String, String) {
        (Subject::Portal, old.to_owned(), new.to_owned())
    }

    #[test]
    fn a_file_that_has_the_ids_already_is_not_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), FILE).unwrap();
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        file.as_file().set_modified(long_ago).unwrap();
        let written_at = || file.as_file().metadata().unwrap().modified().unwrap();
        assert_eq!(write_ids(file.path(), &[price("old", "old")]).unwrap(), 0);
        assert_eq!(written_at(), long_ago, "whoever watches the file sees no change");
        assert_eq!(write_ids(file.path(), &[price("old", "price_1")]).unwrap(), 1);
        assert!(written_at() > long_ago && std::fs::read_to_string(file.path()).unwrap().contains("price_1"));
    }
}
