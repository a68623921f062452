//! How much may be on the way to Stripe at once: a bound on calls in flight, and a pace where the account has a rate limit.
//!
//! A slow Stripe must not collect every task of the process behind it; who waits too long is told so and can say 503. Requests
//! have three places of four at most: however many wait, what was paid is looked at by the workers meanwhile.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// How many calls may go ahead of the pace at once: a short burst is what the rate limit is made for.
const BURST_CALLS: u32 = 10;

/// For whom a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// For the workers, and for commands.
    Workers,
    /// For somebody who waits for an answer.
    Requests,
}

/// The way out.
#[derive(Debug)]
pub(super) struct Gate {
    permits: Semaphore,
    /// Those of them that requests may hold.
    for_requests: Semaphore,
    pace: Option<Mutex<Pace>>,
    wait_max: Duration,
}

impl Gate {
    pub(super) fn new(in_flight: usize, calls_per_second: Option<u32>, wait_max: Duration) -> Self {
        let pace = calls_per_second.map(|rate| Mutex::new(Pace::new(rate)));
        let places = in_flight.clamp(1, Semaphore::MAX_PERMITS);
        let for_requests = Semaphore::new((places - places / 4).max(1));
        Self { permits: Semaphore::new(places), for_requests, pace, wait_max }
    }

    /// Waits for a place; `None` where none came free in time, and then nothing was sent.
    pub(super) async fn enter(&self, side: Side, remaining: Duration) -> Option<Pass<'_>> {
        let wait = self.wait_max.min(remaining);
        let pass = tokio::time::timeout(wait, self.pass(side)).await.ok()??;
        if let Some(pace) = &self.pace {
            let turn = pace.lock().unwrap_or_else(PoisonError::into_inner).reserve(Instant::now(), wait)?;
            tokio::time::sleep(turn).await;
        }
        Some(pass)
    }

    /// The share first: who waits for it stands in nobody else's way.
    async fn pass(&self, side: Side) -> Option<Pass<'_>> {
        let share = match side {
            Side::Workers => None,
            Side::Requests => Some(self.for_requests.acquire().await.ok()?),
        };
        Some(Pass { _place: self.permits.acquire().await.ok()?, _share: share })
    }
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    _place: SemaphorePermit<'a>,
    _share: Option<SemaphorePermit<'a>>,
}

/// A token bucket, kept as the one instant at which it would be full again.
#[derive(Debug)]
struct Pace {
    step: Duration,
    full_at: Option<Instant>,
}

impl Pace {
    fn new(calls_per_second: u32) -> Self {
        Self { step: Duration::from_secs(1) / calls_per_second.max(1), full_at: None }
    }

    /// Takes the next turn and says how long to wait for it; takes nothing where that is longer than `wait_max`.
    fn reserve(&mut self, now: Instant, wait_max: Duration) -> Option<Duration> {
        let full_at = self.full_at.unwrap_or(now).max(now);
        let wait = full_at.duration_since(now).saturating_sub(self.step * (BURST_CALLS - 1));
        if wait > wait_max {
            return None;
        }
        self.full_at = Some(full_at + self.step);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_through_and_the_rest_is_paced() {
        let mut pace = Pace::new(10);
        let now = Instant::now();
        let second = Duration::from_secs(1);
        for _ in 0..BURST_CALLS {
            assert_eq!(pace.reserve(now, second), Some(Duration::ZERO));
        }
        assert_eq!(pace.reserve(now, second), Some(Duration::from_millis(100)));
        assert_eq!(pace.reserve(now, second), Some(Duration::from_millis(200)));
        assert_eq!(pace.reserve(now, Duration::from_millis(250)), None, "a turn too far away is not taken");
        let next = Duration::from_millis(300);
        assert_eq!(pace.reserve(now, next), Some(next), "one that comes just in time is");
        assert_eq!(pace.reserve(now + second * 10, second), Some(Duration::ZERO));
    }

    #[tokio::test]
    async fn a_full_gate_turns_away_in_time() {
        let gate = Gate::new(1, None, Duration::from_millis(20));
        for side in [Side::Workers, Side::Requests] {
            let held = gate.enter(side, Duration::from_secs(1)).await;
            assert!(held.is_some());
            assert!(gate.enter(side, Duration::from_secs(1)).await.is_none());
            drop(held);
            assert!(gate.enter(side, Duration::from_secs(1)).await.is_some());
        }
    }

    #[tokio::test]
    async fn requests_leave_a_quarter_of_the_places_to_the_workers() {
        let gate = Gate::new(64, None, Duration::from_millis(20));
        let mut held = Vec::new();
        while let Some(pass) = gate.enter(Side::Requests, Duration::from_secs(1)).await {
            held.push(pass);
        }
        assert_eq!(held.len(), 48);
        let waiting = (0..100).map(|_| gate.enter(Side::Requests, Duration::from_secs(1)));
        let all_wait = futures_util::future::join_all(waiting);
        let workers = async {
            let mut passes = Vec::new();
            while let Some(pass) = gate.enter(Side::Workers, Duration::ZERO).await {
                passes.push(pass);
            }
            passes.len()
        };
        let (refused, workers) = tokio::join!(all_wait, workers);
        assert!(refused.iter().all(Option::is_none));
        assert_eq!(workers, 16, "each at once");
    }
}
