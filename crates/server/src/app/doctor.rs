//! A look at the installation: what works, what does not, and what to do about it.
//!
//! Each part takes only what it looks at, so that a command can look at an installation whose other parts are broken. Nothing is
//! changed, neither here nor at the provider.

use counterfoil_core::{Catalog, CustomerId, LicenseId, Timestamp};
use counterfoil_license::{Claims, Expectations, verify};

use super::App;
use super::examine::beside_the_rest;
use super::key_sets::check_key_set;
use super::licenses::key_set_of;
use super::start::{StartError, check_catalog};
use super::sweep_checks::check_sweeps;
use crate::checks::{Check, Level, Report};
use crate::db::{Db, DbError, SchemaState};
use crate::keys::Keyring;
use crate::providers::{PaymentProvider, ProviderError};
use crate::store;

/// Work that waits longer than this is not being done.
const WAITING_SECONDS_MAX: i64 = 900;

/// After so long without any event, something may be wrong with the endpoint: a running subscription alone brings one a month.
const SILENT_DAYS_MAX: i64 = 35;

/// A clock that differs by more refuses webhooks that are signed well, some day.
const SKEW_SECONDS_MAX: i64 = 60;

impl App {
    /// Looks at what the running service works with; with `offline` nobody outside is asked.
    pub async fn examine(&self, offline: bool) -> Report {
        let mut checks = check_database(&self.db).await;
        checks.push(check_plans(&self.db, &self.catalog).await);
        let settings = &self.settings;
        checks.push(check_key(&self.db, &self.keys, &settings.public_url, &settings.product, self.now()).await);
        checks.extend(check_key_set(&self.db, &settings.public_url, self.now()).await);
        checks.extend(check_queues(&self.db, self.now()).await);
        checks.extend(check_sweeps(&self.db, self.now()).await);
        if offline {
            checks.push(not_asked());
            return Report::new(checks);
        }
        let provider = check_provider(self.provider.as_ref()).await;
        // Of a provider that does not answer there is nothing more to say, and the sandbox is what it is.
        let is_account = provider.level == Level::Ok && !settings.sandbox;
        checks.push(provider);
        if is_account {
            match self.examine_provider().await {
                Ok(report) => checks.extend(beside_the_rest(report)),
                Err(error) => checks.push(Check::problem(
                    "account_unexamined",
                    format!("the account at the provider was not looked at: {error}"),
                    "See the database first.",
                )),
            }
        }
        Report::new(checks)
    }
}

pub(super) fn unreadable(code: &'static str, error: &DbError) -> Check {
    Check::problem(code, format!("the database does not answer: {error}"), "See that it runs, and look into its log.")
}

/// The engine, its settings, and the schema.
pub async fn check_database(db: &Db) -> Vec<Check> {
    let engine = match db.inspect().await {
        Err(error) => return vec![unreadable("database", &error)],
        Ok(facts) if facts.wrong.is_empty() => {
            Check::ok("database", format!("{} answers, {} {}", db.place(), facts.engine.as_str(), facts.version))
        }
        Ok(facts) => Check::problem(
            "database_settings",
            format!("{}: {}", db.place(), facts.wrong.join("; ")),
            "Stop the service, put it right (PostgreSQL: 15 or later, synchronous_commit not off), and start it again.",
        ),
    };
    let schema = match db.schema_state().await {
        Err(error) => unreadable("database_schema", &error),
        Ok(SchemaState::Current { version }) => {
            Check::ok("database_schema", format!("the schema is at version {version}"))
        }
        Ok(SchemaState::Pending { versions }) => Check::problem(
            "database_schema",
            format!("the schema lacks {} migrations", versions.len()),
            "Run `counterfoil migrate`.",
        ),
        Ok(SchemaState::Newer { database, binary }) => Check::problem(
            "database_schema",
            format!("the schema is at version {database}, and this program knows {binary}"),
            "Use the release that made this schema.",
        ),
    };
    vec![engine, schema]
}

/// Whether the catalogue knows every plan that somebody has.
pub async fn check_plans(db: &Db, catalog: &Catalog) -> Check {
    match check_catalog(db, catalog).await {
        Ok(()) => {
            Check::ok("plans", format!("the {} plans of the configuration cover all customers", catalog.plans().len()))
        }
        Err(StartError::PlansMissing { plans }) => Check::problem(
            "plans_missing",
            format!("customers have plans that the configuration does not know: {}", plans.join(", ")),
            "Put them back; a plan without prices stays valid for those who have it and cannot be bought.",
        ),
        Err(error) => {
            Check::problem("plans", format!("the plans in use cannot be read: {error}"), "See the database first.")
        }
    }
}

/// Whether the key signs, and what it signs is taken by those who fetch the published keys.
pub async fn check_key(db: &Db, keys: &Keyring, issuer: &str, product: &str, now: Timestamp) -> Check {
    let published = async {
        let mut tx = db.begin_read().await?;
        let stored = store::signing_keys::list(&mut tx).await?;
        let active = store::signing_keys::find_active(&mut tx).await?;
        tx.rollback().await?;
        Ok::<_, DbError>((stored, active))
    };
    let (stored, active) = match published.await {
        Ok(found) => found,
        Err(error) => return unreadable("license_key", &error),
    };
    let advice = "Start the service once with this key; where it was replaced by mistake, put the old file back.";
    let Some(active) = active else {
        return Check::problem("license_key_not_published", "no signing key is active", advice);
    };
    let key = match keys.find(&active.key_id, active.private_key.as_deref()) {
        Ok(key) => key,
        Err(error) => {
            return Check::problem("license_key_unreadable", error.to_string(), "Nothing can be signed until then.");
        }
    };
    let token = key.sign(&sample(issuer, product, now));
    let expect = Expectations::new(issuer, product);
    let is_taken =
        key_set_of(&stored).is_ok_and(|keys| verify(&token, &keys, &expect, now.as_unix_seconds()).entitled());
    match is_taken {
        true => Check::ok(
            "license_key",
            format!("the license key {} signs, and its public half is published", key.key_id()),
        ),
        false => Check::problem(
            "license_key_not_published",
            format!(
                "what the license key {} signs is taken by nobody: its public half is not among the published ones",
                key.key_id()
            ),
            advice,
        ),
    }
}

/// A licence for nobody, for this very minute.
fn sample(issuer: &str, product: &str, now: Timestamp) -> Claims {
    let (customer, now) = (CustomerId::from_random([0; 16]), now.as_unix_seconds());
    let end = now + 60;
    Claims {
        iss: issuer.to_owned(),
        sub: customer.to_string(),
        customer_id: customer.to_string(),
        aud: product.to_owned(),
        iat: now,
        nbf: now,
        exp: end,
        jti: LicenseId::from_random([0; 16]).to_string(),
        ver: 1,
        plan: "none".to_owned(),
        status: "trialing".to_owned(),
        trial: true,
        features: Vec::new(),
        limits: std::collections::BTreeMap::new(),
        paid_until: end,
        grace_until: end,
        refresh_after: end,
        status_list: None,
    }
}

/// What waits, what was given up, and when the provider was last heard.
pub async fn check_queues(db: &Db, now: Timestamp) -> Vec<Check> {
    let read = async {
        let mut tx = db.begin_read().await?;
        let inbox = store::inbox::measure(&mut tx, now).await?;
        let outbox = store::outbox::measure(&mut tx).await?;
        let heard = store::inbox::newest_received(&mut tx).await?;
        tx.rollback().await?;
        Ok::<_, DbError>((inbox, outbox, heard))
    };
    let (inbox, outbox, heard) = match read.await {
        Ok(read) => read,
        Err(error) => return vec![unreadable("queues", &error)],
    };
    vec![
        check_queue(&Codes { name: "events", late: "events_late", dead: "events_dead" }, inbox, now),
        check_queue(&Codes { name: "mails", late: "mails_late", dead: "mails_dead" }, outbox, now),
        check_heard(heard, now),
    ]
}

/// The codes of a queue.
struct Codes {
    name: &'static str,
    late: &'static str,
    dead: &'static str,
}

fn check_queue(codes: &Codes, queue: store::Queue, now: Timestamp) -> Check {
    let store::Queue { dead, pending, oldest, .. } = queue;
    let name = codes.name;
    if dead > 0 {
        let what = format!("{name}: {dead} were given up, {pending} wait");
        return Check::problem(
            codes.dead,
            what,
            "`counterfoil event list --state dead` and `counterfoil job list --state dead` say why; repair the cause and try again.",
        );
    }
    match oldest {
        Some(since) if since < now.plus_seconds(-WAITING_SECONDS_MAX) => Check::problem(
            codes.late,
            format!("{name}: {pending} wait, the oldest since {}", since.date_time_in_words()),
            "See that the service runs with its worker, and look into its log for why they fail.",
        ),
        _ => Check::ok(name, format!("{name}: {pending} wait, none was given up")),
    }
}

/// Tells that nobody was asked, and who would have been.
#[must_use]
pub fn not_asked() -> Check {
    Check::ok("offline", "nobody outside was asked: whether the payment provider and others answer is not known")
}

fn check_heard(heard: Option<Timestamp>, now: Timestamp) -> Check {
    const ADVICE: &str =
        "See at the provider that the webhook endpoint exists, is enabled, and what its deliveries came to.";
    match heard {
        Some(at) if at >= now.plus_days(-SILENT_DAYS_MAX) => {
            Check::ok("webhooks", format!("the newest webhook came on {}", at.date_time_in_words()))
        }
        Some(at) => {
            Check::warning("webhooks_silent", format!("no webhook came since {}", at.date_time_in_words()), ADVICE)
        }
        None => Check::warning(
            "webhooks_silent",
            "no webhook ever came; before the first payment that is as it should be",
            ADVICE,
        ),
    }
}

/// Whether the provider takes our key.
pub async fn check_provider(provider: &dyn PaymentProvider) -> Check {
    let name = provider.name();
    let account = match provider.account_id().await {
        // The key may not read its account, or it is no key at all. Customers every key of ours may read.
        Ok(None) => provider.find_customers("doctor@invalid.example").await.map(|_nobody| None),
        told => told,
    };
    match account {
        Ok(Some(account)) => Check::ok("provider", format!("{name} answers for the account {account}")),
        Ok(None) => Check::ok("provider", format!("{name} answers; the key may not read its account")),
        Err(ProviderError::Unauthorized { .. }) => Check::problem(
            "provider_refuses_key",
            format!("{name} refuses the API key"),
            "Put a key that is valid into STRIPE_SECRET_KEY.",
        ),
        Err(error) => Check::problem(
            "provider_unavailable",
            format!("{name} does not answer: {error}"),
            "See that this machine reaches it. Licenses go on without it; checkouts do not.",
        ),
    }
}

/// Our clock beside the one of whoever answered at `theirs`.
#[must_use]
pub fn check_clock(theirs: Option<Timestamp>, now: Timestamp) -> Check {
    let Some(theirs) = theirs else {
        return Check::warning(
            "clock",
            "the provider did not tell its time, so the clock was not checked",
            "Try again later.",
        );
    };
    let skew = now.as_unix_seconds() - theirs.as_unix_seconds();
    if skew.abs() <= SKEW_SECONDS_MAX {
        return Check::ok("clock", format!("the clock differs from the provider's by {} seconds", skew.abs()));
    }
    let side = if skew > 0 { "ahead of" } else { "behind" };
    Check::problem(
        "clock_skew",
        format!("the clock is {} seconds {side} the provider's", skew.abs()),
        "Set it, and let NTP keep it: webhooks are refused by their time, and licenses begin and end by it.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_790_000_000);

    #[test]
    fn a_clock_may_differ_by_a_minute() {
        for (seconds, level) in
            [(0, Level::Ok), (60, Level::Ok), (-60, Level::Ok), (61, Level::Problem), (-61, Level::Problem)]
        {
            assert_eq!(check_clock(Some(NOW.plus_seconds(seconds)), NOW).level, level, "{seconds}");
        }
        assert_eq!(check_clock(None, NOW).level, Level::Warning);
        assert!(check_clock(Some(NOW.plus_seconds(-90)), NOW).message.contains("90 seconds ahead of"));
        assert!(check_clock(Some(NOW.plus_seconds(90)), NOW).message.contains("90 seconds behind"));
    }

    #[tokio::test]
    async fn wrong_settings_of_the_database_are_told() {
        let db = crate::db::testing::fresh(crate::db::Engine::Sqlite).await;
        let codes = |checks: Vec<Check>| checks.iter().map(|check| check.code).collect::<Vec<_>>();
        assert_eq!(codes(check_database(&db.db).await), ["database", "database_schema"]);
        db.leave_wal().await;
        let read_only = Db::open_read_only(db.url()).await.unwrap();
        assert_eq!(codes(check_database(&read_only).await), ["database_settings", "database_schema"]);
    }

    #[test]
    fn a_provider_that_is_silent_for_five_weeks_is_told_of() {
        for (heard, code) in [
            (Some(NOW), "webhooks"),
            (Some(NOW.plus_days(-SILENT_DAYS_MAX)), "webhooks"),
            (Some(NOW.plus_days(-SILENT_DAYS_MAX).plus_seconds(-1)), "webhooks_silent"),
            (None, "webhooks_silent"),
        ] {
            assert_eq!(check_heard(heard, NOW).code, code, "{heard:?}");
        }
    }

    #[test]
    fn a_queue_is_a_problem_where_rows_were_given_up_or_nobody_works() {
        let check = |dead, age: i64| {
            let codes = Codes { name: "mails", late: "mails_late", dead: "mails_dead" };
            let oldest = Some(NOW.plus_seconds(-age));
            let queue = store::Queue { pending: 3, dead, unmatched: 0, oldest };
            check_queue(&codes, queue, NOW).code
        };
        assert_eq!((check(0, 900), check(0, 901), check(1, 0)), ("mails", "mails_late", "mails_dead"));
    }
}
