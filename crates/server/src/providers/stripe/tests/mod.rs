//! The provider against a scripted double, and its readers against objects of old and new API versions.

mod calls;
mod changes;
mod doctor;
mod double;
mod frozen;
mod lists;
mod look;
mod notices;
mod retries;
mod setup;
mod signatures;
mod subscription_table;

use std::time::Duration;

use counterfoil_core::{ExternalCustomerId, IdempotencyKey};
use secrecy::SecretString;

use self::double::Double;
use super::{CheckoutOptions, Limits, Stripe, StripeConfig};

const SECRET_KEY: &str = "sk_test_51Secret";
const WEBHOOK_SECRET: &str = "whsec_Secret";

fn config(api_base: &str) -> StripeConfig {
    let mut config = StripeConfig::new(api_base.to_owned(), SECRET_KEY.into(), vec![WEBHOOK_SECRET.into()], false);
    config.limits = Limits {
        attempt_timeout: Duration::from_millis(250),
        call_timeout: Duration::from_secs(1),
        backoff_base: Duration::from_millis(1),
        backoff_max: Duration::from_millis(4),
        ..Limits::default()
    };
    config
}

fn stripe(double: &Double) -> Stripe {
    Stripe::new(config(&double.base), Box::new(|| 0.5)).unwrap()
}

/// A provider that makes no call, with these webhook secrets.
fn offline(secrets: &[&str]) -> Stripe {
    let mut config = config("http://127.0.0.1:9");
    config.webhook_secrets = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
    Stripe::new(config, Box::new(|| 0.5)).unwrap()
}

/// The same with other checkout pages.
fn offline_with(checkout: CheckoutOptions) -> Stripe {
    Stripe::new(StripeConfig { checkout, ..config("http://127.0.0.1:9") }, Box::new(|| 0.5)).unwrap()
}

fn key() -> IdempotencyKey {
    IdempotencyKey::from_stored("cf:inst:cust:cus:g1".to_owned())
}

fn cus(id: &str) -> ExternalCustomerId {
    ExternalCustomerId::new(id)
}
