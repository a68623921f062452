//! The configuration: `counterfoil.toml`, the environment on top, checked once at start and typed from then on.
//!
//! A start with a setting that cannot be right is refused with a sentence that says what to do, rather than found out by the
//! first customer. All problems are reported at once. Secrets are in types that print as `[REDACTED]`.

mod accounts;
mod check;
mod checkout;
mod error;
mod keys;
mod licenses;
mod limits;
mod mail;
mod mode;
mod network;
mod payments;
mod product;
mod reading;
mod settings;
mod source;
mod storage;
#[cfg(test)]
mod tests;
mod trials;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use counterfoil_core::Catalog;
use counterfoil_core::checkout::CheckoutTrial;
use counterfoil_core::facts::DisputePolicy;
use counterfoil_core::return_url::Origin;
use counterfoil_core::trial::TrialPer;
use secrecy::SecretString;

pub use error::{ConfigError, Problem};
pub use licenses::StatusListSettings;
pub use limits::{Connections, Limit, Rate, RateLimits, TrustedProxies};
pub use reading::is_loopback;
pub use source::Environment;

/// The file that is read where none is asked for.
pub const FILE_NAME: &str = "counterfoil.toml";

/// The catalogue of a configuration without plans.
const DEFAULT_CATALOG: &str = include_str!("default.toml");

/// Everything an operator can choose.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of API and pages.
    pub listen: SocketAddr,
    /// Address of the embedded Stripe sandbox.
    pub sandbox_listen: SocketAddr,
    /// Our own origin; `iss` of licences.
    pub public_url: PublicUrl,
    /// Where customers may be sent after checkout, besides our own origin.
    pub allowed_return_origins: Vec<Origin>,
    /// Where the payment provider shows its pages besides its own domains.
    pub payment_origins: Vec<Origin>,
    /// SQLite file and keys.
    pub data_dir: PathBuf,
    /// `sqlite://…` or `postgres://…`; may hold a password.
    pub database_url: SecretString,
    /// Sandbox, or Stripe with its keys.
    pub mode: Mode,
    /// The configuration of Stripe's billing portal that customers see; the account's default one without.
    pub portal_configuration: Option<String>,
    /// The pace of calls to Stripe; one that suits the address and the mode without.
    pub stripe_calls_per_second: Option<u32>,
    /// `smtp://user:password@host:587`.
    pub smtp: Option<SecretString>,
    /// The sender of mails.
    pub mail_from: String,
    /// Who may start a checkout.
    pub checkout_auth: CheckoutAuth,
    /// What an open dispute means for the licence.
    pub dispute_policy: DisputePolicy,
    /// What happens to a second subscription.
    pub duplicate_policy: DuplicatePolicy,
    /// What becomes of the provider's customer when an account is deleted.
    pub on_delete: OnDelete,
    /// What becomes of a trial where the customer pays before its end.
    pub checkout_trial: CheckoutTrial,
    /// What checkout pages offer and ask for.
    pub checkout: CheckoutPage,
    /// Whether an address has to be verified before its trial gives a licence.
    pub email_verification: EmailVerification,
    /// Who shares one trial.
    pub trial_per: TrialPer,
    /// Whether customers are told by mail that their trial ends.
    pub trial_reminders: bool,
    /// The vendor's product; `aud` of licences.
    pub product: String,
    /// The product as customers call it: on pages and in mails.
    pub product_name: String,
    /// The plans.
    pub catalog: Catalog,
    /// The private key that signs licences, in PEM; without one, a key is kept in `data_dir`.
    pub license_key: Option<SecretString>,
    /// Where status lists lie, and how long they live.
    pub status_list: StatusListSettings,
    /// The key under which the database keeps private keys, where it is to keep them: 32 bytes in base64.
    pub key_encryption_key: Option<SecretString>,
    /// How often strangers and customers may try.
    pub rate_limits: RateLimits,
    /// How many connections there may be.
    pub connections: Connections,
    /// Proxies in front of us.
    pub trusted_proxies: TrustedProxies,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// Where payments happen.
#[derive(Clone, Debug)]
pub enum Mode {
    /// The embedded Stripe look-alike.
    Sandbox,
    /// Stripe, or a test double that answers like it.
    Stripe {
        /// `sk_…` or `rk_…`.
        secret_key: SecretString,
        /// All that are valid now: two while one is rolled. Empty only where the configuration was read without.
        webhook_secrets: Vec<SecretString>,
        /// Whether real money moves.
        livemode: bool,
        /// Without a slash at its end.
        api_base: String,
    },
}

impl Mode {
    /// Whether this is the sandbox.
    #[must_use]
    pub const fn is_sandbox(&self) -> bool {
        matches!(self, Self::Sandbox)
    }

    /// Whether real money moves.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self, Self::Stripe { livemode: true, .. })
    }
}

/// Who may start a checkout. A customer id stands in every licence, so it is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckoutAuth {
    /// The customer's own session, or a vendor backend's key.
    Required,
    /// The customer id alone: for trying things out in the sandbox.
    CustomerId,
}

/// Whether an address has to be verified before its trial gives a licence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailVerification {
    /// No: signing up gives the licence.
    Off,
    /// Yes. Whoever pays has the licence without.
    Required,
}

/// What checkout pages offer and ask for, beyond a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckoutPage {
    /// A field for promotion codes.
    pub promotion_codes: bool,
    /// The provider computes taxes.
    pub automatic_tax: bool,
    /// Businesses may give their tax id.
    pub tax_id_collection: bool,
    /// Whether the billing address is always asked for; the provider's own default where nothing is said.
    pub billing_address_required: Option<bool>,
}

/// What happens where a customer pays for a second subscription beside the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicatePolicy {
    /// An operator is told.
    Flag,
    /// The later one is canceled at once, and an operator can see it.
    Cancel,
    /// The same, and what was paid for its newest period is given back first.
    CancelAndRefund,
}

/// What becomes of the provider's customer when an account is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// It stays with its invoices, which the law may want kept.
    Keep,
    /// It is deleted as well.
    Delete,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text where standard error is a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Our own origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(Origin);

impl PublicUrl {
    /// Scheme, host and port, without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The same as an origin.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.0
    }

    /// Whether browsers reach us over TLS, so that cookies can be `Secure`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.as_str().starts_with("https://")
    }
}

impl Config {
    /// Reads the file at `path`, which must exist, or [`FILE_NAME`] in the working directory, which may be missing; then the
    /// environment; then checks it all.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let mut problems = error::Problems::default();
        let file = source::file_text(path, &mut problems);
        Self::from_parts(file.as_deref(), environment, problems)
    }

    /// As [`Config::load`], for what has to be done before there is a webhook secret: making the endpoint that has one. Without
    /// it no webhook is believed.
    ///
    /// # Errors
    /// [`ConfigError`] with everything else that is wrong.
    pub fn load_without_webhook_secret(path: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let mut problems = error::Problems::default();
        let file = source::file_text(path, &mut problems);
        let values = source::gather(file.as_deref(), environment, &mut problems);
        let config = check::check(values, &mut problems);
        problems.forgive(mode::WEBHOOK_SECRET_MISSING);
        problems.into_result(config)
    }

    /// As [`Config::load`], with the file's text at hand.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn parse(file: Option<&str>, environment: &Environment) -> Result<Self, ConfigError> {
        Self::from_parts(file, environment, error::Problems::default())
    }

    fn from_parts(
        file: Option<&str>,
        environment: &Environment,
        mut problems: error::Problems,
    ) -> Result<Self, ConfigError> {
        let values = source::gather(file, environment, &mut problems);
        let config = check::check(values, &mut problems);
        problems.into_result(config)
    }
}
