//! What the Stripe provider is made from, checked once at start.

use std::fmt;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// Stripe's own address. Other ones are the sandbox and test doubles.
pub const API_BASE: &str = "https://api.stripe.com";

/// Stripe allows 100 calls a second in live mode and 25 in test mode, for the whole account. We stay below both.
const LIVE_CALLS_PER_SECOND: u32 = 80;
const TEST_CALLS_PER_SECOND: u32 = 20;

/// Chance in `0.0..1.0`, drawn anew at each call; it spreads retries.
pub type Jitter = Box<dyn Fn() -> f64 + Send + Sync>;

/// What the provider needs to know.
#[derive(Clone, Debug)]
pub struct StripeConfig {
    /// Scheme and authority, such as [`API_BASE`]; a path is kept as a prefix.
    pub api_base: String,
    /// `sk_…` or `rk_…`.
    pub secret_key: SecretString,
    /// All `whsec_…` that are valid now: two while one is rolled. Without any, no webhook is believed.
    pub webhook_secrets: Vec<SecretString>,
    /// Whether real money moves.
    pub livemode: bool,
    /// The configuration of the billing portal that customers see; the account's default one without.
    pub portal_configuration: Option<String>,
    /// What checkout pages offer and ask for.
    pub checkout: CheckoutOptions,
    /// Bounds of time and number.
    pub limits: Limits,
}

/// What checkout pages offer and ask for, beyond a card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckoutOptions {
    /// A field for promotion codes.
    pub promotion_codes: bool,
    /// Stripe computes taxes.
    pub automatic_tax: bool,
    /// Businesses may give their tax id.
    pub tax_id_collection: bool,
    /// When the billing address is asked for; Stripe's own default where nothing is said.
    pub billing_address: Option<BillingAddress>,
}

/// When the billing address is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BillingAddress {
    /// Where something needs it.
    Auto,
    /// Always.
    Required,
}

impl BillingAddress {
    /// Stripe's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Required => "required",
        }
    }
}

impl StripeConfig {
    /// A configuration with the limits that suit the address and the mode.
    #[must_use]
    pub fn new(api_base: String, secret_key: SecretString, webhook_secrets: Vec<SecretString>, livemode: bool) -> Self {
        let calls_per_second = match (api_base.trim_end_matches('/') == API_BASE, livemode) {
            (true, true) => Some(LIVE_CALLS_PER_SECOND),
            (true, false) => Some(TEST_CALLS_PER_SECOND),
            (false, _) => None,
        };
        let limits = Limits { calls_per_second, ..Limits::default() };
        let checkout = CheckoutOptions::default();
        Self { api_base, secret_key, webhook_secrets, livemode, portal_configuration: None, checkout, limits }
    }
}

/// Bounds of one call and of all calls together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// One try, from the first byte sent to the last byte read.
    pub attempt_timeout: Duration,
    /// All tries and pauses of one call. Far below the 20 hours of the window protocol, so its check before the call holds
    /// for every try.
    pub call_timeout: Duration,
    /// Tries of one call.
    pub attempts_max: u32,
    /// The first pause; each further one is twice as long.
    pub backoff_base: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// Tries under way at once.
    pub in_flight_max: usize,
    /// How long a try waits for its place.
    pub queue_timeout: Duration,
    /// The pace, where the address has a rate limit.
    pub calls_per_second: Option<u32>,
    /// The longest answer that is read.
    pub answer_bytes_max: usize,
    /// The most pages of one list. More is an error: a list that is cut would lie.
    pub pages_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(20),
            call_timeout: Duration::from_secs(25),
            attempts_max: 3,
            backoff_base: Duration::from_millis(500),
            backoff_max: Duration::from_secs(5),
            in_flight_max: 64,
            queue_timeout: Duration::from_secs(10),
            calls_per_second: None,
            answer_bytes_max: 8 * 1024 * 1024,
            pages_max: 50,
        }
    }
}

/// Why the provider cannot be made, in words for whoever edits the configuration. No value of a secret is repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StripeConfigError {
    #[error("the Stripe API base `{0}` is not an http or https address such as {API_BASE}")]
    ApiBase(String),
    #[error("live mode needs an https address of the Stripe API")]
    InsecureLiveBase,
    #[error("the Stripe secret key is empty or has characters that no key has")]
    SecretKey,
    #[error("the Stripe secret key is of the other mode: live mode is {livemode}")]
    KeyOfOtherMode { livemode: bool },
    #[error("Stripe webhook secret number {position} is empty or has white space in it")]
    WebhookSecret { position: usize },
    #[error("the HTTP client for Stripe cannot be made: {0}")]
    Client(String),
}

/// The address, without a trailing slash.
#[derive(Clone)]
pub(super) struct ApiBase {
    text: String,
    url: Url,
}

impl ApiBase {
    pub(super) fn parse(text: &str, livemode: bool) -> Result<Self, StripeConfigError> {
        let refuse = || StripeConfigError::ApiBase(super::error::redact(text));
        let text = text.trim_end_matches('/');
        let url = Url::parse(text).map_err(|_| refuse())?;
        let plain = url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        match url.scheme() {
            _ if !plain => Err(refuse()),
            "https" => Ok(Self { text: text.to_owned(), url }),
            "http" if livemode => Err(StripeConfigError::InsecureLiveBase),
            "http" => Ok(Self { text: text.to_owned(), url }),
            _ => Err(refuse()),
        }
    }

    /// The address of a resource; `path` begins with a slash and is already escaped.
    pub(super) fn join(&self, path: &str, query: &str) -> String {
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{path}{mark}{query}", self.text)
    }

    pub(super) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether the address is this machine, to which no proxy leads.
    pub(super) fn is_loopback(&self) -> bool {
        crate::config::is_loopback(&self.url)
    }
}

impl fmt::Debug for ApiBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The `Authorization` header, marked so that no trace prints it.
pub(super) fn authorization(key: &SecretString, livemode: bool) -> Result<HeaderValue, StripeConfigError> {
    let key = key.expose_secret();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(StripeConfigError::SecretKey);
    }
    let is_of = |mode: &str| ["sk", "rk"].iter().any(|kind| key.starts_with(&format!("{kind}_{mode}_")));
    if (livemode && is_of("test")) || (!livemode && is_of("live")) {
        return Err(StripeConfigError::KeyOfOtherMode { livemode });
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| StripeConfigError::SecretKey)?;
    value.set_sensitive(true);
    Ok(value)
}

/// An empty secret would let anybody sign. White space is a stray line end of a file: with it nothing would ever match.
pub(super) fn check_webhook_secrets(secrets: &[SecretString]) -> Result<(), StripeConfigError> {
    let is_bad = |secret: &SecretString| {
        let secret = secret.expose_secret();
        secret.is_empty() || secret.contains(char::is_whitespace)
    };
    match secrets.iter().position(is_bad) {
        Some(index) => Err(StripeConfigError::WebhookSecret { position: index + 1 }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_and_a_place_and_no_more() {
        for text in ["https://api.stripe.com", "https://api.stripe.com/", "http://127.0.0.1:3101/stripe"] {
            let base = ApiBase::parse(text, false).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(base.is_https(), text.starts_with("https"), "{text}");
            let at = format!("{}/v1/prices", text.trim_end_matches('/'));
            assert_eq!(base.join("/v1/prices", ""), at);
            assert_eq!(base.join("/v1/prices", "limit=1"), format!("{at}?limit=1"));
        }
        for text in [
            "api.stripe.com",
            "ftp://api.stripe.com",
            "https://",
            "https://name@api.stripe.com",
            "https://:password@api.stripe.com",
            "https://api.stripe.com?x=1",
            "https://api.stripe.com#x",
        ] {
            assert!(matches!(ApiBase::parse(text, false), Err(StripeConfigError::ApiBase(_))), "{text}");
        }
    }

    #[test]
    fn this_machine_is_known_by_each_of_its_names() {
        for (text, is_loopback) in [
            ("http://localhost:12111", true),
            ("http://127.0.0.1:12111", true),
            ("http://127.1.2.3:1", true),
            ("http://[::1]:12111", true),
            ("https://api.stripe.com", false),
            ("https://localhost.example.com", false),
            ("https://10.0.0.1", false),
        ] {
            let base = ApiBase::parse(text, false).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(base.is_loopback(), is_loopback, "{text}");
        }
    }
}
