//! The open connections: how many each client has, and which of them have waited too long.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use counterfoil_core::probe;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::watch::{Phase, Watch};
use crate::app::rate_limits::Network;

/// How often the connections are looked through at most, and at least where the limits are short.
const TICK_MAX: Duration = Duration::from_secs(1);
const TICK_MIN: Duration = Duration::from_millis(10);

/// The same once the service is to stop.
const TICK_STOPPING: Duration = Duration::from_millis(20);

/// How long the heads of requests may still come in then.
const STOPPING_HEAD: Duration = Duration::from_secs(1);

/// How long bodies may still come in, and answers be read, once the service is to stop: what is left of its twenty seconds is
/// for the requests themselves.
const STOPPING_MAX: Duration = Duration::from_secs(10);

/// All connections of one listener.
pub(super) struct Registry {
    pub(super) limits: Limits,
    /// From when on each answer is the last one on its connection.
    pub(super) stopping: AtomicBool,
    ticks: Arc<AtomicU64>,
    tick: Duration,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Noted>,
    by_client: HashMap<Network, usize>,
}

struct Noted {
    watch: Arc<Watch>,
    /// What ends it; `None` for the moment before its task is there.
    task: Option<AbortHandle>,
}

/// A place among a client's connections, given back when dropped.
pub(super) struct Place {
    registry: Arc<Registry>,
    client: Option<Network>,
    number: u64,
}

impl Registry {
    pub(super) fn new(limits: Limits) -> Self {
        let tick = (limits.shortest() / 8).clamp(TICK_MIN, TICK_MAX);
        let ticks = Arc::new(AtomicU64::new(1));
        Self { limits, stopping: AtomicBool::new(false), ticks, tick, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self) -> Arc<Watch> {
        Arc::new(Watch::new(Arc::clone(&self.ticks)))
    }

    /// A place for another connection of this client; `None` where it has as many as it may. No client is one without a limit.
    pub(super) fn place(self: &Arc<Self>, client: Option<Network>, watch: &Arc<Watch>) -> Option<Place> {
        let mut open = self.open();
        if let Some(client) = &client {
            match open.by_client.entry(client.clone()) {
                Entry::Occupied(entry) if *entry.get() >= self.limits.connections_of_one => return None,
                Entry::Occupied(mut entry) => *entry.get_mut() += 1,
                Entry::Vacant(entry) => _ = entry.insert(1),
            }
        }
        open.next += 1;
        let number = open.next;
        open.connections.insert(number, Noted { watch: Arc::clone(watch), task: None });
        Some(Place { registry: Arc::clone(self), client, number })
    }

    /// The task that serves a place, which may have ended by now.
    pub(super) fn note(&self, number: u64, task: AbortHandle) {
        if let Some(noted) = self.open().connections.get_mut(&number) {
            noted.task = Some(task);
        }
    }

    /// Looks through the connections again and again, until the service stops and the last one is gone.
    pub(super) async fn look_through(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(self.tick) => {}
            }
            self.ticks.fetch_add(1, Relaxed);
            self.end(|phase, lasted| self.limits.of(phase).is_some_and(|longest| lasted > longest));
        }
        self.stopping.store(true, Relaxed);
        let started = tokio::time::Instant::now();
        while !self.open().connections.is_empty() {
            let (has_begun_by_now, is_late) = (started.elapsed() >= STOPPING_HEAD, started.elapsed() >= STOPPING_MAX);
            self.end(|phase, _lasted| match phase {
                Wait::For(Phase::Idle) => true,
                // A request whose head is not there has not begun, but may be on its way on a connection that is new.
                Wait::For(Phase::Head) => has_begun_by_now,
                Wait::For(Phase::Body) | Wait::ForReader => is_late,
                Wait::For(Phase::Answer | Phase::Ended) => false,
            });
            tokio::time::sleep(TICK_STOPPING).await;
        }
    }

    /// Ends the connections that have waited too long for something.
    fn end(&self, is_too_long: impl Fn(Wait, Duration) -> bool) {
        let lasted = |ticks: u64| self.tick.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX));
        let mut ended = Vec::new();
        for noted in self.open().connections.values() {
            let Some(task) = &noted.task else { continue };
            let (phase, ticks) = noted.watch.phase();
            let wait = Wait::For(phase);
            if noted.watch.blocked_for().is_some_and(|ticks| is_too_long(Wait::ForReader, lasted(ticks))) {
                ended.push((Wait::ForReader, task.clone()));
            } else if is_too_long(wait, lasted(ticks)) && noted.watch.end(phase) {
                ended.push((wait, task.clone()));
            }
        }
        // Not while the list is held, from which each takes itself.
        for (wait, task) in ended {
            if let Some(word) = wait.word() {
                probe!("F69");
                metrics::counter!("counterfoil_connections_ended_total", "waited_for" => word).increment(1);
            }
            task.abort();
        }
    }
}

/// What keeps a connection open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    For(Phase),
    /// The client does not read what we have written.
    ForReader,
}

impl Wait {
    /// What the client did not do in time; `None` where that is no fault.
    const fn word(self) -> Option<&'static str> {
        match self {
            Self::For(Phase::Head) => Some("head"),
            Self::For(Phase::Body) => Some("body"),
            Self::ForReader => Some("reader"),
            Self::For(Phase::Answer | Phase::Idle | Phase::Ended) => None,
        }
    }
}

impl Place {
    pub(super) const fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.registry.open();
        open.connections.remove(&self.number);
        let Some(client) = self.client.take() else { return };
        if let Entry::Occupied(mut entry) = open.by_client.entry(client) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}
