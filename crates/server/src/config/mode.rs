//! Sandbox, test or live: decided by the Stripe key alone, and what each of them demands of the other settings.

use counterfoil_core::return_url::Origin;
use reqwest::Url;
use secrecy::SecretString;

use super::error::Problems;
use super::reading::{is_loopback, is_placeholder, placeholder};
use super::settings;
use super::source::{Given, Values};
use super::{CheckoutAuth, Config, Mode};

const STRIPE_API_BASE: &str = "https://api.stripe.com";
const WEBHOOK_SECRET_PREFIX: &str = "whsec_";

/// Where Stripe's checkout and its billing portal are, unless the account has a domain of its own for them.
const STRIPE_PAGES: [&str; 2] = ["https://checkout.stripe.com", "https://billing.stripe.com"];

/// The code for a webhook secret that is not set.
pub(super) const WEBHOOK_SECRET_MISSING: &str = "webhook_secret_missing";

impl Config {
    /// The origins of the provider's pages. A double of Stripe shows them where its API is.
    #[must_use]
    pub fn payment_pages(&self) -> Vec<String> {
        let Mode::Stripe { api_base, .. } = &self.mode else { return Vec::new() };
        let own = self.payment_origins.iter().map(Origin::as_str);
        let mut pages: Vec<String> = STRIPE_PAGES.into_iter().chain(own).map(str::to_owned).collect();
        if api_base != STRIPE_API_BASE {
            pages.extend(Url::parse(api_base).ok().map(|url| url.origin().ascii_serialization()));
        }
        pages
    }
}

/// Whether this is the sandbox: also known where the key itself cannot be used.
pub(super) fn is_sandbox(values: &Values) -> bool {
    values.get(&settings::STRIPE_SECRET_KEY).is_none()
}

pub(super) fn mode(values: &Values, problems: &mut Problems) -> Option<Mode> {
    let Some(key) = values.get(&settings::STRIPE_SECRET_KEY) else { return Some(Mode::Sandbox) };
    let livemode = key_mode(key, problems);
    // Where one of these is wrong, a problem is noted and the rest is still checked against a stand-in.
    let webhook_secrets = webhook_secrets(values, problems).unwrap_or_default();
    let api_base = api_base(values, problems).unwrap_or_else(|| STRIPE_API_BASE.to_owned());
    let livemode = livemode?;
    if livemode && api_base != STRIPE_API_BASE {
        let message = format!("a live key is sent to {STRIPE_API_BASE} only: remove this setting or use a test key");
        problems.add("live_needs_stripe_api", values.name(&settings::STRIPE_API_BASE), message);
    }
    Some(Mode::Stripe { secret_key: key.text.clone().into(), webhook_secrets, livemode, api_base })
}

fn key_mode(key: &Given, problems: &mut Problems) -> Option<bool> {
    let kinds = [("sk_test_", false), ("rk_test_", false), ("sk_live_", true), ("rk_live_", true)];
    let found = kinds.iter().find_map(|(prefix, live)| Some((key.text.strip_prefix(prefix)?, *live)));
    match found {
        Some((rest, _)) if is_placeholder(rest) => {
            placeholder(&key.name, "copy the secret key from Stripe's dashboard under Developers, API keys", problems);
            None
        }
        None if is_placeholder(&key.text) => {
            placeholder(&key.name, "copy the secret key from Stripe's dashboard under Developers, API keys", problems);
            None
        }
        Some(_) if !key.text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            let message = "has a space or a sign in it that no key has: copy it once more";
            problems.add("invalid_stripe_key", &key.name, message);
            None
        }
        Some((_, live)) => Some(live),
        None => {
            let message = match key.text.starts_with("pk_") {
                true => "is a publishable key; the secret one begins with sk_test_ or sk_live_",
                false => "is no Stripe secret key: it begins with sk_test_, rk_test_, sk_live_ or rk_live_",
            };
            problems.add("invalid_stripe_key", &key.name, message);
            None
        }
    }
}

fn webhook_secrets(values: &Values, problems: &mut Problems) -> Option<Vec<SecretString>> {
    const ADVICE: &str = "run `counterfoil stripe setup`, or create an endpoint in Stripe's dashboard under Developers, Webhooks \
         (your public URL followed by /api/webhooks/stripe), and copy its signing secret (whsec_…)";
    let Some(given) = values.get(&settings::STRIPE_WEBHOOK_SECRET) else {
        let message = format!("is missing, so no payment would ever arrive: {ADVICE}");
        problems.add(WEBHOOK_SECRET_MISSING, settings::STRIPE_WEBHOOK_SECRET.variable, message);
        return None;
    };
    let texts: Vec<&str> = given.text.split(',').map(str::trim).collect();
    for text in &texts {
        match text.strip_prefix(WEBHOOK_SECRET_PREFIX) {
            _ if text.is_empty() => {
                let message = "has an empty part between its commas, and anybody could sign with an empty secret";
                problems.add("webhook_secret_missing", &given.name, message);
            }
            Some(rest) if is_placeholder(rest) => placeholder(&given.name, ADVICE, problems),
            // With white space in it nothing would ever match.
            Some(rest) if rest.contains(char::is_whitespace) => {
                problems.add("invalid_webhook_secret", &given.name, "has white space in it: copy it once more");
            }
            Some(_) => continue,
            None if is_placeholder(text) => placeholder(&given.name, ADVICE, problems),
            None => problems.add("invalid_webhook_secret", &given.name, "is no signing secret: it begins with whsec_"),
        }
        return None;
    }
    Some(texts.into_iter().map(SecretString::from).collect())
}

fn api_base(values: &Values, problems: &mut Problems) -> Option<String> {
    let Some(given) = values.get(&settings::STRIPE_API_BASE) else { return Some(STRIPE_API_BASE.to_owned()) };
    let url = Url::parse(&given.text).ok().filter(|url| {
        let bare =
            url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        bare && matches!(url.scheme(), "http" | "https") && url.has_host()
    });
    let Some(url) = url else {
        let message = format!("is no address of an API: write {STRIPE_API_BASE} or http://127.0.0.1:3101");
        problems.add("invalid_api_base", &given.name, message);
        return None;
    };
    if url.scheme() == "http" && !is_loopback(&url) {
        let message =
            "the key would travel unencrypted: use https, or a loopback address such as http://127.0.0.1:3101";
        problems.add("api_base_needs_https", &given.name, message);
        return None;
    }
    Some(url.as_str().trim_end_matches('/').to_owned())
}

/// Rules between settings. They need all of them, so they come last.
pub(super) fn check_together(config: &Config, values: &Values, problems: &mut Problems) {
    match &config.mode {
        Mode::Sandbox => check_sandbox(config, values, problems),
        Mode::Stripe { livemode: true, .. } => check_live(config, values, problems),
        Mode::Stripe { livemode: false, .. } => {}
    }
}

fn check_sandbox(config: &Config, values: &Values, problems: &mut Problems) {
    for (setting, address) in [(&settings::LISTEN, config.listen), (&settings::SANDBOX_LISTEN, config.sandbox_listen)] {
        if !address.ip().is_loopback() {
            let message = format!(
                "without STRIPE_SECRET_KEY this is the sandbox, where anybody may sign up, pay with play money and read all \
                 mails, so it listens on loopback only: write 127.0.0.1:{}, or set STRIPE_SECRET_KEY",
                address.port()
            );
            problems.add("sandbox_needs_loopback", values.name(setting), message);
        }
    }
    if config.listen == config.sandbox_listen && config.listen.port() != 0 {
        let message = format!("is {}, as the server's own address is: choose another port", config.listen);
        problems.add("address_used_twice", values.name(&settings::SANDBOX_LISTEN), message);
    }
}

fn check_live(config: &Config, values: &Values, problems: &mut Problems) {
    if !config.public_url.is_https() {
        let message = "a live key needs a public address with https://, as passwords and licenses pass through it";
        problems.add("live_needs_https", values.name(&settings::PUBLIC_URL), message);
    }
    if config.smtp.is_none() {
        let message = "is missing: with a live key people pay, and their licenses go out by mail";
        problems.add("live_needs_smtp", settings::SMTP_URL.variable, message);
    }
    if config.checkout_auth == CheckoutAuth::CustomerId {
        let message = "`customer_id` is for trying things out: with a live key, anybody who holds a license could start a \
             checkout in its owner's name; write `required`";
        problems.add("live_needs_checkout_auth", values.name(&settings::CHECKOUT_AUTH), message);
    }
}
