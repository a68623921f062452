//! Password hashes: at most as many at once as there are cores, off the async threads. The queue is bounded, so a flood of logins is told
//! to come back instead of filling memory, and webhooks never wait behind it.

use counterfoil_core::probe;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::argon::{self, Memory};
use super::error::Failure;

pub use super::argon::Checked;

/// Requests that may wait for a hash beyond those that are being computed.
const QUEUE_MAX: usize = 32;

/// How much less of a busy core a hash gets than a request: about a tenth of the share.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// For how long the memory of a hash stays for the next one.
const MEMORY_KEPT: Duration = Duration::from_secs(10);

/// Hashes and checks passwords.
#[derive(Clone, Debug)]
pub struct Hasher {
    threads: Arc<Threads>,
    admitted: Arc<Semaphore>,
    /// The hash of nothing in particular: a login for an unknown address is checked against it, so that it takes as long.
    decoy: Arc<str>,
    /// Hashes that were begun.
    begun: Arc<AtomicU64>,
}

impl Hasher {
    /// A hasher for this many cores.
    ///
    /// # Panics
    /// Never: the parameters are constants that argon2 accepts.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        let cores = cores.max(1);
        let decoy = argon::decoy().into();
        Self {
            threads: Arc::new(Threads { count: cores, jobs: OnceLock::new() }),
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
        self.run(move |memory| argon::hash(&password, memory)).await
    }

    /// Whether the password belongs to the stored hash. `None` costs exactly as much and is never true.
    ///
    /// # Errors
    /// [`Failure::HasherBusy`] where too many wait already.
    pub async fn verify(&self, password: &str, stored: Option<String>) -> Result<Checked, Failure> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy.to_string());
        let password = password.to_owned();
        let checked = self.run(move |memory| argon::check(&password, &stored, memory)).await?;
        Ok(Checked { matches: checked.matches && known, is_outdated: checked.is_outdated && known })
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut Memory) -> T + Send + 'static) -> Result<T, Failure> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| {
            probe!("F82");
            Failure::HasherBusy
        })?;
        self.begun.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "simulation")]
        if crate::simulation::world().is_some() {
            drop(admitted);
            return Ok(work(&mut Memory::default()));
        }
        let (done, result) = oneshot::channel();
        self.threads.run(Box::new(move |memory| {
            // Who gave up while others were served costs nothing more. Who gives up later still holds a place until the end.
            let result = (!done.is_closed()).then(|| work(memory));
            drop(admitted);
            let _ = result.map(|result| done.send(result));
        }))?;
        result.await.map_err(|_| Failure::Stopping)
    }
}

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// Threads that only hash, from the first hash on.
#[derive(Debug)]
struct Threads {
    count: usize,
    jobs: OnceLock<mpsc::Sender<Job>>,
}

impl Threads {
    fn run(&self, job: Job) -> Result<(), Failure> {
        self.jobs.get_or_init(|| start(self.count)).send(job).map_err(|_| Failure::Stopping)
    }
}

/// They end when nobody can send any more.
fn start(count: usize) -> mpsc::Sender<Job> {
    let (jobs, waiting) = mpsc::channel::<Job>();
    let (waiting, spare) = (Arc::new(Mutex::new(waiting)), Arc::new(Mutex::new(Vec::<Memory>::new())));
    for _ in 0..count {
        let (waiting, spare) = (Arc::clone(&waiting), Arc::clone(&spare));
        let work = move || {
            give_way();
            loop {
                let next = locked(&waiting).recv_timeout(MEMORY_KEPT);
                let job = match next {
                    Ok(job) => job,
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        locked(&spare).clear();
                        continue;
                    }
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                };
                let mut memory = locked(&spare).pop().unwrap_or_default();
                // Whoever waits hears that there is no result; the thread goes on.
                let _ = catch_unwind(AssertUnwindSafe(|| job(&mut memory)));
                locked(&spare).push(memory);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("password-hasher".to_owned()).spawn(work) {
            tracing::error!(%error, "a thread for password hashes did not start");
        }
    }
    jobs
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A hash keeps a core busy for long, and whoever waits for one waits for long anyway: what is answered at once goes first. On other
/// systems this would be a wish about the whole process.
#[cfg(target_os = "linux")]
fn give_way() {
    // Without it the hash is as good.
    let _ = rustix::process::nice(NICE);
}

#[cfg(not(target_os = "linux"))]
const fn give_way() {}

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
                let work = move |_: &mut Memory| {
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
}
