//! Where a simulator takes the world's place: time, chance, the way to the database, to Stripe and to the mail server.
//!
//! Only with the feature `simulation`, which no release has. A simulated world belongs to one thread; code that runs on a thread
//! without one meets the real world, so that the feature changes nothing by itself.
//!
//! Every task of a simulated replica is wrapped by [`own`], so that a replica can be stopped for a while, or killed at any
//! instant with all that it was doing.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use tokio::runtime::Handle;

#[cfg(not(debug_assertions))]
compile_error!("`simulation` is for the simulator: build with debug assertions, and never release it");

// tidy: allow(layer) because the world takes the place of what is below and of what is above, and no release has it
use crate::db::DbError;
// tidy: allow(layer) because a world decides what becomes of each step and each mail
pub use crate::db::Step;
// tidy: allow(layer) because a world decides what becomes of each step and each mail
use crate::mail::MailError;

/// A future of the simulated world.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A call as it is sent to Stripe.
#[derive(Clone, Debug)]
pub struct StripeCall {
    /// `GET`, `POST` or `DELETE`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The `Idempotency-Key`, where there is one.
    pub idempotency_key: Option<String>,
    /// The body, form-encoded.
    pub body: String,
}

/// What comes back from Stripe.
#[derive(Clone, Debug)]
pub struct StripeAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Headers, by their lower-case names.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A mail as it is handed over.
#[derive(Clone, Debug)]
pub struct SentLetter {
    /// To whom.
    pub recipient: String,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub body_text: String,
    /// The id that stays the same at every try.
    pub message_id: String,
}

/// What becomes of a step.
#[derive(Debug)]
pub enum Fate {
    /// It is done.
    Go,
    /// It is done, and nobody hears of it.
    LoseAnswer,
    /// It is done, and the process is dead.
    DieAfter,
    /// It is not done.
    Fail(DbError),
    /// The process is dead before it.
    Die,
}

/// The simulated surroundings of all replicas on this thread.
pub trait World: Send + Sync {
    /// Microseconds since 1970, by the clock of the replica that runs.
    fn now_micros(&self) -> i64;
    /// Random bytes.
    fn fill(&self, bytes: &mut [u8]);
    /// The real runtime on which the database's driver works.
    fn driver(&self) -> Handle;
    /// How long the way to the database takes, where nothing is held while one waits.
    fn pause(&self, step: Step) -> Duration;
    /// What becomes of this step.
    fn fate(&self, step: Step) -> Fate;
    /// A transaction is open from now on (`1`), or no more (`-1`).
    fn hold(&self, change: i64);
    /// How many transactions are open.
    fn held(&self) -> i64;
    /// Calls Stripe. An error is an answer that never came.
    fn stripe(&self, call: StripeCall) -> Boxed<Result<StripeAnswer, String>>;
    /// Hands a mail over.
    fn mail(&self, letter: SentLetter) -> Boxed<Result<(), MailError>>;
    /// A task has died that had come so far.
    fn died(&self, at: &Progress);
}

/// How far a task has come: what it is doing, and what it has made to last since it began with that.
#[derive(Debug)]
pub struct Progress {
    what: Mutex<&'static str>,
    /// The point that was passed, and the one that the next commit is.
    points: Mutex<(&'static str, Option<&'static str>)>,
    /// Transactions that were committed.
    pub commits: AtomicU64,
    /// Calls that Stripe has carried out.
    pub calls: AtomicU64,
    /// Mails that the mail server has taken.
    pub mails: AtomicU64,
    told: AtomicBool,
}

impl Progress {
    /// At the beginning of this.
    #[must_use]
    pub fn of(what: &'static str) -> Arc<Self> {
        Arc::new(Self {
            what: Mutex::new(what),
            points: Mutex::default(),
            commits: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            mails: AtomicU64::new(0),
            told: AtomicBool::new(false),
        })
    }

    /// What the task does.
    #[must_use]
    pub fn doing(&self) -> &'static str {
        *self.what.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The point that it has passed, or nothing.
    #[must_use]
    pub fn point(&self) -> &'static str {
        self.points.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// It has come to this point.
    pub fn pass(&self, point: &'static str) {
        self.points.lock().unwrap_or_else(PoisonError::into_inner).0 = point;
    }

    /// Its next commit is this point.
    pub fn expect(&self, point: &'static str) {
        self.points.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(point);
    }

    /// A transaction was committed.
    pub fn commit(&self) {
        self.commits.fetch_add(1, Ordering::SeqCst);
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(point) = points.1.take() {
            points.0 = point;
        }
    }

    /// The task begins with something else.
    pub fn turn_to(&self, what: &'static str) {
        *self.what.lock().unwrap_or_else(PoisonError::into_inner) = what;
        *self.points.lock().unwrap_or_else(PoisonError::into_inner) = ("", None);
        for counter in [&self.commits, &self.calls, &self.mails] {
            counter.store(0, Ordering::SeqCst);
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        write!(f, "{}, {} commits", self.doing(), count(&self.commits))?;
        for (counter, name) in [(&self.calls, "calls"), (&self.mails, "mails")] {
            if count(counter) > 0 {
                write!(f, ", {} {name}", count(counter))?;
            }
        }
        Ok(())
    }
}

thread_local! {
    // tidy: allow(global) because a simulated world belongs to one thread, and no release has it
    static WORLD: RefCell<Option<Arc<dyn World>>> = const { RefCell::new(None) };
    // tidy: allow(global) because a simulated world belongs to one thread, and no release has it
    static LIFE: RefCell<Option<Arc<Life>>> = const { RefCell::new(None) };
    // tidy: allow(global) because a simulated world belongs to one thread, and no release has it
    static PROGRESS: RefCell<Option<Arc<Progress>>> = const { RefCell::new(None) };
}

/// Puts this thread into a world, or back into the real one.
pub fn enter(world: Option<Arc<dyn World>>) {
    WORLD.with(|current| *current.borrow_mut() = world);
}

/// The world of this thread.
#[must_use]
pub fn world() -> Option<Arc<dyn World>> {
    WORLD.with(|current| current.borrow().clone())
}

/// The replica that is running at this moment, if one is.
#[must_use]
pub fn life() -> Option<Arc<Life>> {
    LIFE.with(|current| current.borrow().clone())
}

/// How far the task has come that is running at this moment, where somebody wants to know.
#[must_use]
pub fn progress() -> Option<Arc<Progress>> {
    PROGRESS.with(|current| current.borrow().clone())
}

/// One life of a replica, from its start to its end.
pub struct Life {
    /// Which replica.
    pub replica: usize,
    /// By how much its clock is wrong.
    pub skew_micros: AtomicI64,
    dead: AtomicBool,
    stopped: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Life").field("replica", &self.replica).field("dead", &self.dead).finish_non_exhaustive()
    }
}

impl Life {
    /// A replica that has just been started.
    #[must_use]
    pub fn new(replica: usize, skew_micros: i64) -> Arc<Self> {
        Arc::new(Self {
            replica,
            skew_micros: AtomicI64::new(skew_micros),
            dead: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            waiting: Mutex::default(),
        })
    }

    /// Ends it as `kill -9` does: nothing of it runs any more.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Holds it as `SIGSTOP` does.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.stopped.store(false, Ordering::SeqCst);
        self.wake();
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Whether it is held.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in waiting {
            waker.wake();
        }
    }

    fn remember(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }
}

/// A task of a replica. After the replica's end it does nothing and its parts are dropped.
pub struct Owned<F> {
    life: Option<Arc<Life>>,
    progress: Option<Arc<Progress>>,
    work: Option<Pin<Box<F>>>,
}

/// Makes a future part of the replica that is running, and of what it is doing.
pub fn own<F: Future>(work: F) -> Owned<F> {
    Owned { life: life(), progress: progress(), work: Some(Box::pin(work)) }
}

/// Makes a future part of this replica.
pub fn own_by<F: Future>(life: &Arc<Life>, progress: Arc<Progress>, work: F) -> Owned<F> {
    Owned { life: Some(Arc::clone(life)), progress: Some(progress), work: Some(Box::pin(work)) }
}

impl<F> Owned<F> {
    /// The replica is dead, and this task with it.
    fn end(&mut self) {
        if self.work.take().is_none() {
            return;
        }
        if let (Some(world), Some(progress)) = (world(), &self.progress)
            && !progress.told.swap(true, Ordering::SeqCst)
        {
            world.died(progress);
        }
    }
}

impl<F: Future> Future for Owned<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let life = self.life.clone();
        if let Some(life) = &life {
            life.remember(cx.waker());
            if life.is_dead() {
                self.end();
                return Poll::Pending;
            }
            if life.is_stopped() {
                return Poll::Pending;
            }
        }
        let progress = self.progress.clone();
        let Some(work) = self.work.as_mut() else { return Poll::Pending };
        let before = LIFE.with(|current| current.replace(life.clone()));
        let progress_before = PROGRESS.with(|current| current.replace(progress));
        let polled = work.as_mut().poll(cx);
        LIFE.with(|current| *current.borrow_mut() = before);
        PROGRESS.with(|current| *current.borrow_mut() = progress_before);
        if life.is_some_and(|life| life.is_dead()) {
            self.end();
            return Poll::Pending;
        }
        polled
    }
}

/// Drives a future of the database's driver to its end while the simulated thread stands still, so that to the simulated world
/// it takes no time at all.
pub(crate) fn drive<F: Future>(handle: &Handle, work: F) -> F::Output {
    let _driver = handle.enter();
    // The budget of the simulated task must not make the driver yield to a runtime that stands still.
    let mut work = pin!(tokio::task::unconstrained(work));
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match work.as_mut().poll(&mut cx) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
