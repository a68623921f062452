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

/// The pause between two looks through the connections: a second, and less where a limit is shorter than eight seconds.
const TICK_MAX: Duration = Duration::from_secs(1);
const TICK_MIN: Duration = Duration::from_millis(10);

/// The pause once the service is to stop.
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
            self.end(|wait, lasted| self.is_too_long(wait, lasted));
        }
        self.stopping.store(true, Relaxed);
        let started = tokio::time::Instant::now();
        while !self.open().connections.is_empty() {
            self.end(|wait, _lasted| wait.is_over_at_the_end(started.elapsed()));
            tokio::time::sleep(TICK_STOPPING).await;
        }
    }

    /// A tick may have been all but over when the wait began, so that one more than the limit has to pass.
    fn is_too_long(&self, wait: Wait, lasted: Duration) -> bool {
        self.limits.of(wait).is_some_and(|longest| lasted > longest)
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

    /// Whether nobody goes on waiting, so long after the service was told to stop.
    fn is_over_at_the_end(self, stopping: Duration) -> bool {
        match self {
            Self::For(Phase::Idle) => true,
            // A request whose head is not there has not begun, but may be on its way on a connection that is new.
            Self::For(Phase::Head) => stopping >= STOPPING_HEAD,
            Self::For(Phase::Body) | Self::ForReader => stopping >= STOPPING_MAX,
            Self::For(Phase::Answer | Phase::Ended) => false,
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Limits of some seconds, so that a tick is a second.
    fn registry(connections_of_one: usize) -> Arc<Registry> {
        let (head, body, read, idle) = (8 * SECOND, 16 * SECOND, 24 * SECOND, 32 * SECOND);
        Arc::new(Registry::new(Limits { head, body, read, idle, connections_of_one, ..Limits::default() }))
    }

    fn client(last: u8) -> Network {
        Network::of([203, 0, 113, last].into())
    }

    #[test]
    fn a_place_that_is_given_back_makes_room_for_one_more_and_no_two() {
        let registry = registry(3);
        let place = |client: Option<Network>| registry.place(client, &registry.watch());
        let mut held: Vec<Place> = (0..3).map(|_| place(Some(client(1))).unwrap()).collect();
        assert!(place(Some(client(1))).is_none());
        assert!(place(Some(client(2))).is_some() && place(None).is_some(), "others have their own");
        held.pop();
        held.push(place(Some(client(1))).unwrap());
        assert!(place(Some(client(1))).is_none(), "those that stayed still count");
        drop(held);
        let open = registry.open();
        assert!(open.connections.is_empty() && open.by_client.is_empty(), "nothing is kept of who is gone");
    }

    #[test]
    fn a_wait_is_too_long_once_its_limit_is_over_and_an_answer_may_take_its_time() {
        let registry = registry(1);
        for (wait, longest) in [
            (Wait::For(Phase::Head), 8 * SECOND),
            (Wait::For(Phase::Body), 16 * SECOND),
            (Wait::ForReader, 24 * SECOND),
            (Wait::For(Phase::Idle), 32 * SECOND),
        ] {
            assert!(!registry.is_too_long(wait, longest), "{wait:?}");
            assert!(registry.is_too_long(wait, longest + SECOND), "{wait:?}");
        }
        for wait in [Wait::For(Phase::Answer), Wait::For(Phase::Ended)] {
            assert!(!registry.is_too_long(wait, Duration::MAX), "{wait:?}");
        }
    }

    #[test]
    fn at_the_end_idle_ones_go_first_then_heads_then_slow_clients_and_never_what_is_being_answered() {
        let left = |stopping: Duration| {
            let phases = [Phase::Idle, Phase::Head, Phase::Body, Phase::Answer, Phase::Ended];
            let waits = phases.map(Wait::For).into_iter().chain([Wait::ForReader]);
            waits.filter(|wait| !wait.is_over_at_the_end(stopping)).collect::<Vec<_>>()
        };
        let (head, body, answer) = (Wait::For(Phase::Head), Wait::For(Phase::Body), Wait::For(Phase::Answer));
        let (ended, just) = (Wait::For(Phase::Ended), Duration::from_millis(1));
        assert_eq!(left(Duration::ZERO), [head, body, answer, ended, Wait::ForReader]);
        assert_eq!(left(STOPPING_HEAD - just), left(Duration::ZERO));
        assert_eq!(left(STOPPING_HEAD), [body, answer, ended, Wait::ForReader]);
        assert_eq!(left(STOPPING_MAX - just), left(STOPPING_HEAD));
        assert_eq!(left(STOPPING_MAX), [answer, ended]);
    }

    #[test]
    fn operators_are_told_what_a_client_did_not_do_and_nothing_where_that_is_no_fault() {
        let words = [Phase::Head, Phase::Body, Phase::Answer, Phase::Idle, Phase::Ended].map(Wait::For);
        assert_eq!(words.map(Wait::word), [Some("head"), Some("body"), None, None, None]);
        assert_eq!(Wait::ForReader.word(), Some("reader"));
    }

    #[tokio::test]
    async fn who_waits_for_too_long_is_ended_and_who_was_quicker_in_the_end_is_not() {
        let registry = registry(9);
        let (slow, quick) = (registry.watch(), registry.watch());
        let places = [&slow, &quick].map(|watch| registry.place(None, watch).unwrap());
        let tasks = [0, 1].map(|index: usize| {
            let task = tokio::spawn(std::future::pending::<()>());
            registry.note(places[index].number(), task.abort_handle());
            task
        });
        registry.ticks.fetch_add(8, Relaxed);
        registry.end(|wait, lasted| registry.is_too_long(wait, lasted));
        assert_eq!(slow.phase(), (Phase::Head, 8), "it has its full time");
        assert!(quick.begin(false));
        registry.ticks.fetch_add(1, Relaxed);
        registry.end(|wait, lasted| registry.is_too_long(wait, lasted));
        assert_eq!((slow.phase().0, quick.phase()), (Phase::Ended, (Phase::Answer, 1)));
        let [slow, quick] = tasks;
        assert!(slow.await.unwrap_err().is_cancelled());
        assert!(!quick.is_finished());
    }
}
