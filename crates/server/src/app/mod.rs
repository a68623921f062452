//! Use cases: one file a noun, one function a verb, each *load, decide, save*.
//!
//! This layer opens and commits every transaction, in plain sight, and makes every call to the provider, never inside one
//! (invariant 7). It knows nothing of HTTP.

pub mod activations;
mod again;
pub mod api_keys;
mod argon;
pub mod checkout;
mod closing;
pub mod comparison;
mod counterparts;
pub mod customer_files;
pub mod customers;
pub mod deletion;
pub mod doctor;
mod duplicates;
pub mod effects;
pub mod emails;
pub mod error;
pub mod examine;
pub mod explain;
pub mod export;
pub mod hasher;
pub mod inbox;
pub mod issuing;
pub mod key_sets;
pub mod leases;
pub mod license_files;
pub mod licenses;
pub mod limits;
pub mod links;
pub mod mail_links;
pub mod manual;
pub mod operators;
pub mod outbox;
pub mod own_sessions;
mod owners;
pub mod passwords;
pub mod plan_changes;
pub mod queues;
pub mod rate_limits;
pub mod reasons;
pub mod reconcile;
pub mod revocation;
mod saving;
pub mod secrets;
pub mod sessions;
mod setbacks;
pub mod settings;
pub mod signing_keys;
pub mod start;
pub mod status;
pub mod status_lists;
pub mod subscriptions;
pub mod sweep_checks;
mod sweep_runs;
pub mod sweeps;
pub mod sync;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod tombstones;
pub mod trials;
pub mod validation;
pub mod verification;
pub mod webhooks;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use counterfoil_core::{Catalog, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::db::Db;
use crate::entropy::Entropy;
use crate::keys::Keyring;
use crate::providers::PaymentProvider;
use crate::providers::manual::Manual;
use crate::store::instance::Instance;

pub use error::{Error, Failure};
pub use settings::Settings;

/// Everything that use cases share. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub db: Db,
    pub clock: Clock,
    pub entropy: Entropy,
    /// Where checkouts go.
    pub provider: Arc<dyn PaymentProvider>,
    /// Payment by invoice, recorded by operators.
    pub manual: Arc<Manual>,
    pub catalog: Arc<Catalog>,
    /// Finds the private half of the key that signs; see [`App::signer`].
    pub keys: Keyring,
    pub hasher: hasher::Hasher,
    pub settings: Arc<Settings>,
    pub instance: Arc<Instance>,
    /// Names this run of the process in leases.
    pub holder: Arc<str>,
    pub signals: Arc<Signals>,
    /// The published keys as they were read last.
    pub read_keys: Arc<licenses::ReadKeys>,
    /// The status lists that this process has signed.
    pub status_lists: Arc<status_lists::StatusLists>,
    /// Who asks how often.
    pub limits: Arc<limits::Limits>,
    /// How many exports may be under way.
    pub exports: Arc<export::Places>,
}

/// Wakes the workers of this process at once; other replicas find the rows by polling.
#[derive(Debug, Default)]
pub struct Signals {
    /// An event is waiting.
    pub inbox: Notify,
    /// A mail is waiting.
    pub outbox: Notify,
    /// Something else that we owe is waiting.
    pub effects: Notify,
    /// Sweeps that this process has set back, each with the time until which it does not do so again.
    pub set_back: Mutex<BTreeMap<&'static str, Timestamp>>,
    /// The provider has said that the key is one of the account that this database belongs to.
    pub is_our_account: AtomicBool,
    /// The service stops: no more rows are claimed, and what was begun comes to its end.
    pub stopping: CancellationToken,
}

impl App {
    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The same for those who answer requests: however many wait for the provider, workers get through to it.
    #[must_use]
    pub fn for_requests(&self) -> Self {
        let provider = self.provider.for_requests().unwrap_or_else(|| Arc::clone(&self.provider));
        Self { provider, ..self.clone() }
    }

    /// Every provider at which a customer can have a counterpart.
    #[must_use]
    pub fn providers(&self) -> [&dyn PaymentProvider; 2] {
        [self.provider.as_ref(), self.manual.as_ref()]
    }

    /// The provider that keeps the customer or the subscription of this id.
    #[must_use]
    pub fn keeper(&self, external_id: &str) -> &dyn PaymentProvider {
        if counterfoil_core::manual::is_own(external_id) { self.manual.as_ref() } else { self.provider.as_ref() }
    }
}
