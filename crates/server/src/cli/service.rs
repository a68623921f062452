//! Putting the service together from its configuration: the only place where all parts meet.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use counterfoil_core::return_url::ReturnUrls;
use counterfoil_stripe_sandbox::{Sandbox, SandboxConfig, SeedPrice, SeedWebhook};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::open_files;
use super::output::coded;
use crate::app::hasher::Hasher;
use crate::app::start::{self, Realm};
use crate::app::{App, Settings, Signals, secrets};
use crate::clock::Clock;
use crate::config::{CheckoutPage, Config, Mode};
use crate::db::{Db, Engine};
use crate::entropy::Entropy;
use crate::keys::{KeyError, Keyring, Sealer};
use crate::mail::Mailer;
use crate::providers::PaymentProvider;
use crate::providers::manual::Manual;
use crate::providers::stripe::{BillingAddress, CheckoutOptions, Stripe, StripeConfig};
use crate::web::listener::{self, Limits};
use crate::web::{WebOptions, WebState};
use crate::{keys, telemetry, web, worker};

/// How long requests and workers may take to finish once the service is told to stop.
const DRAIN_MAX: Duration = Duration::from_secs(20);

/// How long connections to the database may take to close.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Open files for the database, the provider, mails, logs and keys.
const FILES_BESIDE_CONNECTIONS: usize = 256;

/// How often what metrics have gathered is summed up. Without it, it would only be kept, unless somebody asks for the numbers.
const METRICS_UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The file in the data directory that holds the secret with which the embedded sandbox signs its webhooks.
const SANDBOX_SECRET_FILE: &str = "sandbox-webhook-secret";

/// The file in the data directory that holds what the embedded sandbox knows.
const SANDBOX_STATE_FILE: &str = "sandbox-stripe.log";

/// What this process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Answers requests.
    pub web: bool,
    /// Works off inbox and outbox, and sweeps.
    pub worker: bool,
}

impl Roles {
    /// Everything.
    pub const ALL: Self = Self { web: true, worker: true };
}

/// The running service.
pub struct Service {
    pub app: App,
    /// Where API and pages are.
    pub address: SocketAddr,
    /// Where the embedded sandbox is, in sandbox mode.
    pub sandbox_address: Option<SocketAddr>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// The sandbox stops last: what is being drained may still call it.
    sandbox_shutdown: CancellationToken,
    sandbox_tasks: TaskTracker,
}

/// The embedded sandbox, bound but not serving yet.
struct Embedded {
    sandbox: Sandbox,
    listener: TcpListener,
    access: SandboxAccess,
}

/// How to reach a sandbox, and how it signs.
pub struct SandboxAccess {
    pub address: SocketAddr,
    pub webhook_secret: SecretString,
}

impl Service {
    /// Starts everything, in the order in which one part needs the other, and returns once requests are answered.
    ///
    /// # Errors
    /// What does not start, and what to do about it.
    pub async fn start(config: &Config, roles: Roles, migrate: bool) -> anyhow::Result<Self> {
        let listener = bind(config.listen, "COUNTERFOIL_LISTEN")?;
        let address = listener.local_addr()?;
        let entropy = Entropy;
        let db = open_database(config, migrate).await?;
        let embedded = match config.mode {
            Mode::Sandbox => Some(embed_sandbox(config, address, &entropy).await?),
            Mode::Stripe { .. } => None,
        };
        let clock =
            embedded.as_ref().map_or_else(Clock::system, |each| Clock::with_offset(each.sandbox.clock_offset()));
        let app = assemble(config, db, clock, embedded.as_ref().map(|each| &each.access)).await?;
        require_signer(&app).await?;
        if app.db.engine() == Engine::Sqlite {
            start::end_leases_of_earlier_runs(&app.db, &app.holder, app.now()).await?;
        }

        let (sandbox_tasks, sandbox_shutdown) = (TaskTracker::new(), CancellationToken::new());
        let sandbox_address = embedded.as_ref().map(|each| each.access.address);
        let mut form_targets = config.payment_pages();
        form_targets.extend(sandbox_address.map(|address| format!("http://{address}")));
        if let Some(embedded) = embedded {
            serve_sandbox(embedded, &sandbox_tasks, &sandbox_shutdown);
        }
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        if roles.worker {
            app.hasten_hopeless().await?;
            worker::start(&app, mailer(config)?, &tasks, &shutdown);
        }
        let options =
            WebOptions { https: config.public_url.is_https(), form_targets, mail_from: config.mail_from.clone() };
        let (app_of_web, metrics) = (app.for_requests(), telemetry::start_metrics());
        let state = WebState { app: app_of_web, metrics, options: Arc::new(options) };
        let upkeep = sum_metrics_up(state.metrics.clone());
        tasks.spawn(shutdown.clone().run_until_cancelled_owned(upkeep));
        // A worker answers nobody but those who look after it.
        let router = if roles.web { web::router(state) } else { web::operations_router(state) };
        listener::serve(listener, router, limits(config), &tasks, &shutdown);
        Ok(Self { app, address, sandbox_address, tasks, shutdown, sandbox_shutdown, sandbox_tasks })
    }

    /// Stops: no new requests, what runs is finished, then the database is closed. Answers whether all ended in time.
    pub async fn stop(self) -> bool {
        self.stop_within(DRAIN_MAX, CLOSE_MAX).await
    }

    async fn stop_within(self, drain_max: Duration, close_max: Duration) -> bool {
        self.shutdown.cancel();
        self.tasks.close();
        let drained = tokio::time::timeout(drain_max, self.tasks.wait()).await.is_ok();
        self.sandbox_shutdown.cancel();
        self.sandbox_tasks.close();
        let sandbox_drained = tokio::time::timeout(drain_max, self.sandbox_tasks.wait()).await.is_ok();
        // A database that does not answer must not keep the process alive.
        let closed = tokio::time::timeout(close_max, self.app.db.close()).await.is_ok();
        drained && sandbox_drained && closed
    }
}

/// Binds an address, or says how to choose another one.
pub fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    listener::bind(address).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => coded(
            "port_in_use",
            format!("{address} is in use by another program: stop that one, or choose another address with {setting}"),
        ),
        _ => coded("cannot_listen", format!("cannot listen on {address} ({setting}): {error}")),
    })
}

async fn open_database(config: &Config, migrate: bool) -> anyhow::Result<Db> {
    std::fs::create_dir_all(&config.data_dir).map_err(|error| {
        let folder = config.data_dir.display();
        coded(
            "data_dir",
            format!(
                "the data directory {folder} cannot be made: {error}. Choose another one with COUNTERFOIL_DATA_DIR"
            ),
        )
    })?;
    let db = Db::open(config.database_url.expose_secret()).await?;
    if migrate {
        let report = db.migrate().await?;
        if !report.applied.is_empty() {
            tracing::info!(versions = ?report.applied, "the database's schema was brought up to date");
        }
    } else {
        db.require_current_schema().await?;
    }
    Ok(db)
}

/// The application on this database: for the service itself, and for commands beside it.
pub async fn assemble(config: &Config, db: Db, clock: Clock, sandbox: Option<&SandboxAccess>) -> anyhow::Result<App> {
    let (now, entropy) = (clock.now(), Entropy);
    let realm = match &config.mode {
        Mode::Sandbox => Realm::Sandbox,
        Mode::Stripe { livemode: false, .. } => Realm::Test,
        Mode::Stripe { livemode: true, .. } => Realm::Live,
    };
    let instance = start::take_into_use(&db, realm, &entropy, now).await?;
    start::check_catalog(&db, &config.catalog).await?;
    let provider: Arc<dyn PaymentProvider> = Arc::new(stripe(config, sandbox, entropy)?);
    // The embedded sandbox is one account.
    let is_our_account = sandbox.is_some() || start::check_account(&db, provider.as_ref()).await?;
    let keys = keyring(config)?;
    start::ready_keys(&db, &keys, &entropy, now).await?;
    let holder: Arc<str> = format!("run_{}", hex::encode(entropy.bytes::<8>())).into();
    let manual = Manual::new(db.clone(), clock.clone(), entropy, provider.livemode());
    Ok(App {
        db,
        clock,
        entropy,
        provider,
        manual: Arc::new(manual),
        catalog: Arc::new(config.catalog.clone()),
        keys,
        hasher: Hasher::new(std::thread::available_parallelism().map_or(1, usize::from)),
        settings: Arc::new(settings(config)),
        instance: Arc::new(instance),
        holder,
        signals: Arc::new(Signals { is_our_account: is_our_account.into(), ..Signals::default() }),
        read_keys: Arc::default(),
        status_lists: Arc::default(),
        limits: Arc::default(),
        exports: Arc::default(),
    })
}

/// Where the configuration says that private keys are.
pub fn keyring(config: &Config) -> Result<Keyring, KeyError> {
    let given = config.license_key.as_ref();
    let given = given.map(|pem| keys::from_pem(pem.expose_secret(), "COUNTERFOIL_LICENSE_KEY")).transpose()?;
    let sealer = config.key_encryption_key.as_ref().map(|key| Sealer::parse(key.expose_secret())).transpose()?;
    Ok(Keyring::new(given, &config.data_dir, sealer))
}

/// A server that cannot sign would take money and give nothing for it.
async fn require_signer(app: &App) -> anyhow::Result<()> {
    let mut tx = app.db.begin_read().await?;
    let signer = app.signer(&mut tx).await;
    tx.rollback().await?;
    match signer {
        Ok(_) => Ok(()),
        Err(error) => Err(coded("license_key_unusable", error.to_string())),
    }
}

fn settings(config: &Config) -> Settings {
    let mut origins = config.allowed_return_origins.clone();
    origins.push(config.public_url.origin().clone());
    Settings {
        public_url: config.public_url.as_str().to_owned(),
        product: config.product.clone(),
        product_name: config.product_name.clone(),
        return_urls: ReturnUrls::new(origins, config.mode.is_sandbox()),
        checkout_auth: config.checkout_auth,
        dispute_policy: config.dispute_policy,
        duplicate_policy: config.duplicate_policy,
        on_delete: config.on_delete,
        checkout_trial: config.checkout_trial,
        email_verification: config.email_verification,
        trial_per: config.trial_per.clone(),
        trial_reminders: config.trial_reminders,
        status_list: config.status_list.clone(),
        rate_limits: config.rate_limits,
        trusted_proxies: config.trusted_proxies.clone(),
        sandbox: config.mode.is_sandbox(),
    }
}

/// The client for Stripe, or for the sandbox in its place.
pub fn stripe(config: &Config, sandbox: Option<&SandboxAccess>, entropy: Entropy) -> anyhow::Result<Stripe> {
    let mut stripe = match (&config.mode, sandbox) {
        (Mode::Stripe { secret_key, webhook_secrets, livemode, api_base }, _) => {
            StripeConfig::new(api_base.clone(), secret_key.clone(), webhook_secrets.clone(), *livemode)
        }
        (Mode::Sandbox, Some(sandbox)) => StripeConfig::new(
            format!("http://{}", sandbox.address),
            SecretString::from(counterfoil_stripe_sandbox::API_KEY),
            vec![sandbox.webhook_secret.clone()],
            false,
        ),
        (Mode::Sandbox, None) => anyhow::bail!("sandbox mode needs a sandbox"),
    };
    stripe.portal_configuration = config.portal_configuration.clone();
    stripe.limits.calls_per_second = config.stripe_calls_per_second.or(stripe.limits.calls_per_second);
    stripe.checkout = checkout_options(&config.checkout);
    let jitter = Box::new(move || entropy.fraction());
    Stripe::new(stripe, jitter).context("the payment provider cannot be used")
}

fn checkout_options(page: &CheckoutPage) -> CheckoutOptions {
    let billing_address = page.billing_address_required.map(|required| match required {
        true => BillingAddress::Required,
        false => BillingAddress::Auto,
    });
    CheckoutOptions {
        promotion_codes: page.promotion_codes,
        automatic_tax: page.automatic_tax,
        tax_id_collection: page.tax_id_collection,
        billing_address,
    }
}

fn mailer(config: &Config) -> anyhow::Result<Mailer> {
    match &config.smtp {
        Some(url) => Ok(Mailer::smtp(url, &config.mail_from)?),
        None => {
            if !config.mode.is_sandbox() {
                tracing::warn!("SMTP_URL is not set: mails are kept in the outbox and not sent");
            }
            Ok(Mailer::Kept)
        }
    }
}

/// The catalogue's prices, as the sandbox is to offer them.
pub fn seed_prices(config: &Config) -> Vec<SeedPrice> {
    let each_plan = config.catalog.plans().iter();
    each_plan
        .flat_map(|plan| plan.prices.iter().map(move |price| (plan, price)))
        .map(|(plan, price)| SeedPrice {
            price_id: price.stripe_price.clone(),
            product_name: plan.name.clone(),
            description: plan.description.clone(),
            interval: price.interval.as_str().to_owned(),
            currency: price.currency.clone(),
            amount: price.amount,
            product_key: plan.code.to_string(),
        })
        .collect()
}

async fn embed_sandbox(config: &Config, server: SocketAddr, entropy: &Entropy) -> anyhow::Result<Embedded> {
    let listener = bind(config.sandbox_listen, "COUNTERFOIL_SANDBOX_LISTEN")?;
    let address = listener.local_addr()?;
    let secret = match read_sandbox_secret(config)? {
        Some(secret) => secret,
        None => {
            let (secret, path) = (secrets::new_token("whsec_", entropy), config.data_dir.join(SANDBOX_SECRET_FILE));
            keys::write_secret(&path, &secret).with_context(|| format!("{} cannot be written", path.display()))?;
            secret
        }
    };
    let sandbox = Sandbox::open(SandboxConfig {
        public_url: format!("http://{address}"),
        api_key: counterfoil_stripe_sandbox::API_KEY.to_owned(),
        data: Some(config.data_dir.join(SANDBOX_STATE_FILE)),
        prices: seed_prices(config),
        webhook: Some(SeedWebhook { url: format!("http://{server}/api/webhooks/stripe"), secret: secret.clone() }),
    })
    .context("the sandbox does not start")?;
    Ok(Embedded { sandbox, listener, access: SandboxAccess { address, webhook_secret: secret.into() } })
}

/// The secret with which the sandbox of this data directory signs; `None` before its first start.
pub fn read_sandbox_secret(config: &Config) -> anyhow::Result<Option<String>> {
    let path = config.data_dir.join(SANDBOX_SECRET_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn serve_sandbox(embedded: Embedded, tasks: &TaskTracker, shutdown: &CancellationToken) {
    let (deliveries, stop) = (embedded.sandbox.clone(), shutdown.clone());
    tasks.spawn(async move { deliveries.run_deliveries(stop).await });
    listener::serve(embedded.listener, embedded.sandbox.router(), Limits::default(), tasks, shutdown);
}

async fn sum_metrics_up(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(METRICS_UPKEEP_EVERY).await;
        metrics.run_upkeep();
    }
}

/// As many connections as are configured, and no more than there can be open files beside those of everything else.
fn limits(config: &Config) -> Limits {
    let files = open_files::raise_limit().saturating_sub(FILES_BESIDE_CONNECTIONS).max(1);
    Limits {
        connections: config.connections.all.min(files),
        connections_of_one: config.connections.per_address,
        proxies: config.trusted_proxies.clone(),
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests;
