//! Password hashes: argon2id, at most as many at once as there are cores, off the async threads.
//!
//! Parameters m = 19 MiB, t = 2, p = 1 (OWASP's minimum for argon2id). The queue is bounded, so a flood of logins is told to
//! come back instead of filling memory, and webhooks never wait behind it.

use counterfoil_core::probe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Hashes that were begun.
    begun: Arc<AtomicU64>,
}

/// What a password turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Whether it belongs to the stored hash.
    pub matches: bool,
    /// Whether the stored hash is weaker than a new one would be.
    pub is_outdated: bool,
}

impl Hasher {
    /// A hasher for this many cores.
    ///
    /// # Panics
    /// Never: the parameters are constants that argon2 accepts.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        let cores = cores.max(1);
        let decoy = decoy().into();
        Self {
            running: Arc::new(Semaphore::new(cores)),
            admitted: Arc::new(Semaphore::new(cores + QUEUE_MAX)),
            decoy,
            begun: Arc::default(),
        }
    }

    /// How many hashes this process has begun to compute: whether a path does as much as another one is seen here, and not by
    /// the clock.
    #[must_use]
    pub fn hashes(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
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
    pub async fn verify(&self, password: &str, stored: Option<String>) -> Result<Checked, Failure> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy.to_string());
        let password = password.to_owned();
        let checked = self
            .run(move || match PasswordHash::new(&stored) {
                Ok(parsed) => Checked {
                    matches: argon2().verify_password(password.as_bytes(), &parsed).is_ok(),
                    is_outdated: is_outdated(&parsed),
                },
                Err(_) => Checked { matches: false, is_outdated: false },
            })
            .await?;
        Ok(Checked { matches: checked.matches && known, is_outdated: checked.is_outdated && known })
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| {
            probe!("F82");
            Failure::HasherBusy
        })?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| Failure::Stopping)?;
        self.begun.fetch_add(1, Ordering::Relaxed);
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

/// Whether a hash costs whoever guesses less than a new one would. One that costs more, from a release with other numbers, stays.
fn is_outdated(stored: &PasswordHash) -> bool {
    let today = argon2();
    let is_other =
        stored.algorithm.as_str() != Algorithm::Argon2id.as_str() || stored.version != Some(Version::V0x13.into());
    let is_cheaper =
        |params: Params| params.m_cost() < today.params().m_cost() || params.t_cost() < today.params().t_cost();
    is_other || Params::try_from(stored).map_or(true, is_cheaper)
}

/// A stored hash of no password, which costs as much to check as one of today.
fn decoy() -> String {
    let today = argon2();
    let (memory, passes, lanes) = (today.params().m_cost(), today.params().t_cost(), today.params().p_cost());
    let (salt, hash) = ("bm8gcGVyc29uJ3Mgc2FsdA", "bm8gcGFzc3dvcmQgbGVhZHMgdG8gdGhlc2UgYnl0ZXM");
    format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}")
}

fn hash_now(password: &str) -> String {
    argon2().hash_password(password.as_bytes()).expect("a bounded password always hashes").to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    #[tokio::test]
    async fn as_many_as_there_are_cores_run_at_once_a_short_queue_waits_and_the_rest_is_refused() {
        const ALL: u64 = 50;
        let hasher = Hasher::new(2);
        let counter = || Arc::new(AtomicU64::new(0));
        let (arrived, running, most) = (counter(), counter(), counter());
        // Nothing ends before all are there.
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..ALL {
            let (hasher, arrived, gate) = (hasher.clone(), Arc::clone(&arrived), Arc::clone(&gate));
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            all.spawn(async move {
                arrived.fetch_add(1, Ordering::SeqCst);
                let work = move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let open = gate.1.wait_while(gate.0.lock().unwrap(), |open| !*open).unwrap();
                    running.fetch_sub(1, Ordering::SeqCst);
                    drop(open);
                };
                hasher.run(work).await
            });
        }
        while arrived.load(Ordering::SeqCst) < ALL {
            tokio::task::yield_now().await;
        }
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        let results = all.join_all().await;
        let refused = results.iter().filter(|result| matches!(result, Err(Failure::HasherBusy))).count();
        let done = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!((done, refused), (2 + QUEUE_MAX, 50 - 2 - QUEUE_MAX));
        assert!(most.load(Ordering::SeqCst) <= 2);
        assert_eq!(hasher.hashes(), 34, "who is refused costs nothing");
    }

    #[test]
    fn the_decoy_costs_what_a_hash_of_today_costs() {
        let decoy = PasswordHash::new(&decoy()).unwrap();
        let today = PasswordHash::new(&hash_now("a fine password")).unwrap();
        let cost = |hash: &PasswordHash| {
            let params = Params::try_from(hash).unwrap();
            (params.m_cost(), params.t_cost(), params.p_cost(), params.output_len())
        };
        assert_eq!(cost(&decoy), cost(&today));
        assert_eq!((decoy.algorithm.as_str(), decoy.version), (today.algorithm.as_str(), today.version));
        let lengths = |hash: &PasswordHash| (hash.salt.as_ref().unwrap().len(), hash.hash.as_ref().unwrap().len());
        assert_eq!(lengths(&decoy), lengths(&today));
        assert!(argon2().verify_password(b"a fine password", &decoy).is_err());
    }

    fn hashed(algorithm: Algorithm, version: Version, memory_kib: u32, passes: u32) -> String {
        let params = Params::new(memory_kib, passes, LANES, None).unwrap();
        Argon2::new(algorithm, version, params).hash_password(b"a fine password").unwrap().to_string()
    }

    #[test]
    fn a_hash_is_outdated_where_it_is_cheaper_than_one_of_today() {
        use Algorithm::{Argon2i, Argon2id};
        use Version::{V0x10, V0x13};
        let table = [
            (hash_now("a fine password"), false),
            (hashed(Argon2id, V0x13, MEMORY_KIB + 1024, PASSES), false),
            (hashed(Argon2id, V0x13, MEMORY_KIB, PASSES + 1), false),
            (hashed(Argon2id, V0x13, MEMORY_KIB - 1024, PASSES), true),
            (hashed(Argon2id, V0x13, MEMORY_KIB, PASSES - 1), true),
            (hashed(Argon2i, V0x13, MEMORY_KIB, PASSES), true),
            (hashed(Argon2id, V0x10, MEMORY_KIB, PASSES), true),
        ];
        for (stored, expected) in table {
            assert_eq!(is_outdated(&PasswordHash::new(&stored).unwrap()), expected, "{stored}");
        }
    }
}
