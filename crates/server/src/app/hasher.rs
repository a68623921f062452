//! Password hashes: argon2id, at most as many at once as there are cores, off the async threads.
//!
//! Parameters m = 19 MiB, t = 2, p = 1 (OWASP's minimum for argon2id). The queue is bounded, so a flood of logins is told to
//! come back instead of filling memory, and webhooks never wait behind it.

use counterfoil_core::probe;
use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use tokio::sync::Semaphore;

use super::error::Failure;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Requests that may wait for a hash beyond those that are being computed.
const QUEUE_MAX: usize = 32;

/// Hashes and checks passwords.
#[derive(Clone, Debug)]
pub struct Hasher {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    /// The hash of nothing in particular: a login for an unknown address is checked against it, so that it takes as long.
    decoy: Arc<str>,
}

impl Hasher {
    /// A hasher for this many cores.
    ///
    /// # Panics
    /// Never: the parameters are constants that argon2 accepts.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        let cores = cores.max(1);
        let decoy = hash_now("a password that nobody has").into();
        Self { running: Arc::new(Semaphore::new(cores)), admitted: Arc::new(Semaphore::new(cores + QUEUE_MAX)), decoy }
    }

    /// The hash of a new password as a PHC string.
    ///
    /// # Errors
    /// [`Failure::HasherBusy`] where too many wait already.
    pub async fn hash(&self, password: &str) -> Result<String, Failure> {
        let password = password.to_owned();
        self.run(move || hash_now(&password)).await
    }

    /// Whether the password belongs to the stored hash. `None` costs exactly as much and is never true.
    ///
    /// # Errors
    /// [`Failure::HasherBusy`] where too many wait already.
    pub async fn verify(&self, password: &str, stored: Option<String>) -> Result<bool, Failure> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy.to_string());
        let password = password.to_owned();
        let matches = self
            .run(move || {
                PasswordHash::new(&stored)
                    .is_ok_and(|parsed| argon2().verify_password(password.as_bytes(), &parsed).is_ok())
            })
            .await?;
        Ok(matches && known)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| {
            probe!("F82");
            Failure::HasherBusy
        })?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| Failure::Stopping)?;
        #[cfg(feature = "simulation")]
        if crate::simulation::world().is_some() {
            drop((running, admitted));
            return Ok(work());
        }
        let result = tokio::task::spawn_blocking(move || {
            let result = work();
            // Held here and not by the waiting future: a caller that gives up does not free a core that still works.
            drop((running, admitted));
            result
        });
        result.await.map_err(|_| Failure::Stopping)
    }
}

fn argon2() -> Argon2<'static> {
    #[cfg(feature = "simulation")]
    if crate::simulation::world().is_some() {
        let params = Params::new(Params::MIN_M_COST, 1, LANES, None).expect("the least that argon2 accepts");
        return Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    }
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash_now(password: &str) -> String {
    argon2().hash_password(password.as_bytes()).expect("a bounded password always hashes").to_string()
}
