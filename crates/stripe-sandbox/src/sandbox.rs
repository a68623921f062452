//! The sandbox as a whole: configuration, state behind one lock, clock, faults, and what is under way.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::calls::CallLog;
use crate::clock::Clock;
use crate::context::{Cause, Context};
use crate::error::ApiError;
use crate::faults::Faults;
use crate::ids::Ids;
use crate::json;
use crate::store::{Kind, Store};
use crate::{seed, web, webhooks};

/// What a sandbox is opened with.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Origin of the hosted pages, for example `http://127.0.0.1:3101`.
    pub public_url: String,
    /// The one key that is accepted; [`crate::API_KEY`] unless there is a reason.
    pub api_key: String,
    /// The file that keeps the state; `None` keeps it in memory.
    pub data: Option<PathBuf>,
    /// Prices that exist from the start, with their products.
    pub prices: Vec<SeedPrice>,
    /// A webhook endpoint that exists from the start.
    pub webhook: Option<SeedWebhook>,
}

/// A price, and the product that it belongs to.
#[derive(Clone, Debug)]
pub struct SeedPrice {
    pub price_id: String,
    pub product_name: String,
    pub description: String,
    /// `month` or `year`.
    pub interval: String,
    /// Three small letters, such as `eur`.
    pub currency: String,
    /// For each interval, in the smallest unit of the currency.
    pub amount: i64,
    /// Prices with the same key share a product.
    pub product_key: String,
}

/// Where events go, and the secret that signs them.
#[derive(Clone)]
pub struct SeedWebhook {
    pub url: String,
    pub secret: String,
}

impl std::fmt::Debug for SeedWebhook {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SeedWebhook").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Why a sandbox does not begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the sandbox's state file cannot be used")]
    State(#[source] std::io::Error),
    #[error("the sandbox cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("the sandbox cannot begin with this configuration: {0}")]
    Seed(String),
}

/// A stateful look-alike of Stripe. Clones share everything.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

impl Sandbox {
    /// Reads the state and makes sure that the configured prices and webhook endpoint exist.
    ///
    /// # Errors
    /// [`OpenError`] where the state cannot be read or written, or the configuration asks for what there cannot be.
    pub fn open(config: SandboxConfig) -> Result<Self, OpenError> {
        // Without a process-wide provider the client panics; a second installation is refused and harmless.
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(OpenError::Client)?;
        let store = Store::open(config.data.as_deref()).map_err(OpenError::State)?;
        let offset = store.get(Kind::Meta, CLOCK).map_or(0, |clock| json::int(clock, "offset_seconds"));
        let inner = Inner {
            public_url: config.public_url.trim_end_matches('/').to_owned(),
            api_key: config.api_key,
            store: Mutex::new(store),
            clock: Clock::starting_at(offset),
            faults: Mutex::default(),
            calls: Mutex::default(),
            keys_in_use: Mutex::default(),
            deliveries_under_way: Mutex::default(),
            wake: Notify::new(),
            http,
        };
        inner
            .write(&Cause::default(), |cx| seed::ensure(cx, &config.prices, config.webhook.as_ref()))
            .map_err(|error| OpenError::Seed(error.message().to_owned()))?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The API, the hosted pages, and the sandbox's own controls.
    pub fn router(&self) -> axum::Router {
        web::router(Arc::clone(&self.inner))
    }

    /// Sends webhooks and lets the clock's events happen, until cancelled.
    pub async fn run_deliveries(&self, shutdown: CancellationToken) {
        webhooks::run(Arc::clone(&self.inner), shutdown).await;
    }

    #[cfg(feature = "simulation")]
    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Seconds by which the sandbox's clock is ahead of the machine's.
    pub fn clock_offset(&self) -> Arc<AtomicI64> {
        self.inner.clock.shared_offset()
    }
}

const CLOCK: &str = "clock";

pub(crate) struct Inner {
    pub public_url: String,
    pub api_key: String,
    store: Mutex<Store>,
    clock: Clock,
    faults: Mutex<Faults>,
    calls: Mutex<CallLog>,
    keys_in_use: Mutex<HashSet<String>>,
    deliveries_under_way: Mutex<HashSet<String>>,
    wake: Notify,
    http: reqwest::Client,
}

impl Inner {
    pub(crate) fn now(&self) -> i64 {
        self.clock.now()
    }

    pub(crate) fn clock_offset_seconds(&self) -> i64 {
        self.clock.offset()
    }

    pub(crate) fn ids(&self) -> Ids {
        Ids
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(crate) fn calls(&self) -> MutexGuard<'_, CallLog> {
        lock(&self.calls)
    }

    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&self.store())
    }

    /// Runs `work` and commits what it did; a refusal that did not begin its work leaves nothing.
    pub(crate) fn write<T>(
        &self,
        cause: &Cause,
        work: impl FnOnce(&mut Context) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        self.write_at(self.now(), cause, work)
    }

    pub(crate) fn write_at<T>(
        &self,
        now: i64,
        cause: &Cause,
        work: impl FnOnce(&mut Context) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut store = self.store();
        let outcome = work(&mut self.context(&mut store, now, cause));
        if outcome.as_ref().is_err_and(|error| !error.executed) {
            store.rollback();
            return outcome;
        }
        self.commit(&mut store)?;
        outcome
    }

    pub(crate) fn context<'a>(&'a self, store: &'a mut Store, now: i64, cause: &'a Cause) -> Context<'a> {
        Context { store, now, ids: self.ids(), public_url: &self.public_url, cause }
    }

    pub(crate) fn commit(&self, store: &mut Store) -> Result<(), ApiError> {
        let changed = store.commit().map_err(|error| {
            tracing::error!(%error, "the sandbox's state could not be written");
            ApiError::api(StatusCode::INTERNAL_SERVER_ERROR, "The sandbox could not write its state.")
        })?;
        // The delivery loop commits too: waking it for nothing would make it spin.
        if changed {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// The state. Whatever a panicking call left half done is undone first.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        let mut store = lock(&self.store);
        store.rollback();
        store
    }

    /// Sets the clock to `target`, durably; it never goes back.
    pub(crate) fn move_clock(&self, target: i64) -> Result<(), ApiError> {
        let offset = self.clock.offset() + (target - self.now()).max(0);
        self.write(&Cause::default(), |cx| {
            cx.store.put(Kind::Meta, CLOCK, json!({ "offset_seconds": offset }));
            Ok(())
        })?;
        self.clock.set_offset(offset);
        self.wake.notify_one();
        Ok(())
    }

    /// `None` when another call uses the key at this moment.
    pub(crate) fn use_key(&self, key: &str) -> Option<KeyInUse<'_>> {
        lock(&self.keys_in_use).insert(key.to_owned()).then(|| KeyInUse { inner: self, key: key.to_owned() })
    }

    /// Forgets deliveries that an earlier, cancelled loop had under way.
    pub(crate) fn nothing_under_way(&self) {
        lock(&self.deliveries_under_way).clear();
    }

    pub(crate) fn is_under_way(&self, delivery: &str) -> bool {
        lock(&self.deliveries_under_way).contains(delivery)
    }

    pub(crate) fn set_under_way(&self, delivery: &str) {
        lock(&self.deliveries_under_way).insert(delivery.to_owned());
    }

    pub(crate) fn clear_under_way(&self, delivery: &str) {
        lock(&self.deliveries_under_way).remove(delivery);
        self.wake.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An idempotency key while a call runs under it.
pub(crate) struct KeyInUse<'a> {
    inner: &'a Inner,
    key: String,
}

impl Drop for KeyInUse<'_> {
    fn drop(&mut self) {
        lock(&self.inner.keys_in_use).remove(&self.key);
    }
}
