//! The provider that checks webhooks, made once for each list of secrets. It makes no call.

use std::sync::OnceLock;

use counterfoil::providers::PaymentProvider;
use counterfoil::providers::stripe::{Stripe, StripeConfig};
use secrecy::SecretString;

/// The two that may be configured.
pub const SECRETS: [&str; 2] = ["whsec_3f5a9c71e0d84b26", "whsec_other"];

/// With none of them, the first, the second, or both, by the two lowest bits.
pub fn with_secrets(which: usize) -> &'static dyn PaymentProvider {
    static MADE: OnceLock<[Stripe; 4]> = OnceLock::new();
    &MADE.get_or_init(|| std::array::from_fn(make))[which & 0b11]
}

/// The secrets of that provider.
pub fn secrets(which: usize) -> impl Iterator<Item = &'static str> {
    SECRETS.into_iter().enumerate().filter(move |(place, _)| which & (1 << place) != 0).map(|(_, secret)| secret)
}

fn make(which: usize) -> Stripe {
    let secrets = secrets(which).map(SecretString::from).collect();
    let config = StripeConfig::new("http://127.0.0.1:9".to_owned(), "sk_test_51Fuzz".into(), secrets, false);
    Stripe::new(config, Box::new(|| 0.5)).expect("a provider for tests can be made")
}
