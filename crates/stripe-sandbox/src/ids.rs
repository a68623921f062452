//! The sandbox's only source of chance: identifiers that look like Stripe's.

use rand::distr::{Alphanumeric, SampleString};

#[derive(Clone, Copy, Default)]
pub(crate) struct Ids;

impl Ids {
    /// `cus_` and the like: the prefix and 14 letters or digits, as old as Stripe's first ids.
    pub(crate) fn short(self, prefix: &str) -> String {
        self.with_length(prefix, 14)
    }

    /// `sub_`, `in_`, `pi_` and the like: the prefix and 24 letters or digits.
    pub(crate) fn long(self, prefix: &str) -> String {
        self.with_length(prefix, 24)
    }

    pub(crate) fn with_length(self, prefix: &str, length: usize) -> String {
        format!("{prefix}{}", random_text(length))
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge where chance enters; everyone else is handed an id")]
fn random_text(length: usize) -> String {
    #[cfg(feature = "simulation")]
    if let Some(text) = crate::simulation::text(length) {
        return text;
    }
    Alphanumeric.sample_string(&mut rand::rng(), length)
}
