//! How much may be on the way to Stripe at once: a bound on calls in flight, and a pace where the account has a rate limit.
//!
//! A slow Stripe must not collect every task of the process behind it; who waits too long is told so and can say 503.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// How many calls may go ahead of the pace at once: a short burst is what the rate limit is made for.
const BURST_CALLS: u32 = 10;

/// The way out.
#[derive(Debug)]
pub(super) struct Gate {
    permits: Semaphore,
    pace: Option<Mutex<Pace>>,
    wait_max: Duration,
}

impl Gate {
    pub(super) fn new(in_flight: usize, calls_per_second: Option<u32>, wait_max: Duration) -> Self {
        let pace = calls_per_second.map(|rate| Mutex::new(Pace::new(rate)));
        Self { permits: Semaphore::new(in_flight.clamp(1, Semaphore::MAX_PERMITS)), pace, wait_max }
    }

    /// Waits for a place; `None` where none came free in time, and then nothing was sent.
    pub(super) async fn enter(&self, remaining: Duration) -> Option<SemaphorePermit<'_>> {
        let wait = self.wait_max.min(remaining);
        let permit = tokio::time::timeout(wait, self.permits.acquire()).await.ok()?.ok()?;
        if let Some(pace) = &self.pace {
            let turn = pace.lock().unwrap_or_else(PoisonError::into_inner).reserve(Instant::now(), wait)?;
            tokio::time::sleep(turn).await;
        }
        Some(permit)
    }
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
        assert_eq!(pace.reserve(now + second * 10, second), Some(Duration::ZERO));
    }

    #[tokio::test]
    async fn a_full_gate_turns_away_in_time() {
        let gate = Gate::new(1, None, Duration::from_millis(20));
        let held = gate.enter(Duration::from_secs(1)).await;
        assert!(held.is_some());
        assert!(gate.enter(Duration::from_secs(1)).await.is_none());
        drop(held);
        assert!(gate.enter(Duration::from_secs(1)).await.is_some());
    }
}
