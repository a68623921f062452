//! How often one caller may ask: a bucket of tokens for each, in the memory of this process.
//!
//! It keeps one customer's runaway product from taking the time of all others, and the database from being asked about who is
//! refused anyway. It is no count that has to be right: replicas count for themselves, and a restart begins anew. What has to
//! be right is counted in the database (`rate_limits.rs`).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use counterfoil_core::{Refusal, Timestamp};

/// Callers that are remembered. Beyond it those whose bucket is full again are forgotten, which changes nothing for them.
const CALLERS_MAX: usize = 100_000;

/// A refusal is remembered here for so long; then the store is asked again.
const REFUSED_SECONDS_MAX: i64 = 3_600;

/// How often.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// At once, after a rest.
    pub burst: u32,
    /// In the long run.
    pub per_minute: u32,
}

/// A license that was shown, as it is shipped: a thousand machines of one customer may start at nine o'clock.
pub const LICENSES_OF_A_CUSTOMER: Rate = Rate { burst: 1_000, per_minute: 600 };

/// Tokens that are none of ours, from everybody together: nobody who is refused by it has lost anything.
pub const TOKENS_OF_NOBODY: Rate = Rate { burst: 2_000, per_minute: 6_000 };

/// All buckets of this process.
#[derive(Debug, Default)]
pub struct Limits {
    buckets: Mutex<HashMap<String, Bucket>>,
    /// Whom the shared store has refused, until when.
    refused: Mutex<HashMap<String, Timestamp>>,
    /// Tokens that were taken from the shared store in a block, and are left.
    kept: Mutex<HashMap<String, u32>>,
}

/// What is left, in thousandths of a token, and when that was.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left_milli: i64,
    at: Timestamp,
}

impl Bucket {
    fn at(self, rate: Rate, now: Timestamp) -> Self {
        let millis = now.as_micros().saturating_sub(self.at.as_micros()).max(0) / 1_000;
        let gained = millis.saturating_mul(i64::from(rate.per_minute)) / 60;
        Self { left_milli: self.left_milli.saturating_add(gained).min(full(rate)), at: now }
    }
}

fn full(rate: Rate) -> i64 {
    i64::from(rate.burst) * 1_000
}

impl Limits {
    /// Takes a token of this caller.
    ///
    /// # Errors
    /// [`Refusal::TooManyRequests`] where there is none.
    pub fn take(&self, caller: &str, rate: Rate, now: Timestamp) -> Result<(), Refusal> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= CALLERS_MAX && !buckets.contains_key(caller) {
            buckets.retain(|_, bucket| bucket.at(rate, now).left_milli < full(rate));
            // Only an attack by so many at once gets here; who was remembered counts anew.
            if buckets.len() >= CALLERS_MAX {
                buckets.clear();
            }
        }
        let fresh = Bucket { left_milli: full(rate), at: now };
        let bucket = buckets.get(caller).map_or(fresh, |bucket| bucket.at(rate, now));
        let enough = bucket.left_milli >= 1_000;
        let left_milli = if enough { bucket.left_milli - 1_000 } else { bucket.left_milli };
        buckets.insert(caller.to_owned(), Bucket { left_milli, ..bucket });
        if enough {
            return Ok(());
        }
        let millis = (1_000 - left_milli).saturating_mul(60) / i64::from(rate.per_minute.max(1));
        let retry_after_seconds = u32::try_from(millis.max(0) / 1_000 + 1).unwrap_or(u32::MAX);
        Err(Refusal::TooManyRequests { retry_after_seconds })
    }

    /// Whether the shared store has lately refused this bucket for longer than until now.
    pub(super) fn check_refused(&self, bucket: &str, now: Timestamp) -> Result<(), Refusal> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not keep anybody out for longer than the store would.
        let until =
            refused.get(bucket).filter(|until| **until > now && until.seconds_since(now) <= REFUSED_SECONDS_MAX);
        let Some(until) = until else { return Ok(()) };
        let retry_after_seconds = u32::try_from(until.seconds_since(now) + 1).unwrap_or(u32::MAX);
        Err(Refusal::TooManyRequests { retry_after_seconds })
    }

    pub(super) fn remember_refused(&self, bucket: &str, until: Timestamp, now: Timestamp) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= CALLERS_MAX {
            refused.retain(|_, until| *until > now);
        }
        if refused.len() < CALLERS_MAX {
            refused.insert(bucket.to_owned(), until);
        }
    }

    /// Keeps what is left of a block.
    pub(super) fn keep(&self, caller: &str, tokens: u32) {
        if tokens == 0 {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= CALLERS_MAX {
            kept.clear();
        }
        let left = kept.entry(caller.to_owned()).or_default();
        *left = left.saturating_add(tokens);
    }

    /// Takes a token of a block, where one is left.
    pub(super) fn take_kept(&self, caller: &str) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(left) = kept.get_mut(caller) else { return false };
        *left -= 1;
        if *left == 0 {
            kept.remove(caller);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, per_minute: 6 };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000 + seconds)
    }

    #[test]
    fn a_burst_goes_ahead_and_the_rest_in_their_time() {
        let limits = Limits::default();
        for _ in 0..3 {
            assert_eq!(limits.take("ada", RATE, at(0)), Ok(()));
        }
        assert_eq!(limits.take("ada", RATE, at(0)), Err(Refusal::TooManyRequests { retry_after_seconds: 11 }));
        assert_eq!(limits.take("ada", RATE, at(4)), Err(Refusal::TooManyRequests { retry_after_seconds: 7 }));
        assert_eq!(limits.take("ben", RATE, at(4)), Ok(()), "each has a bucket of their own");
        assert_eq!(limits.take("ada", RATE, at(11)), Ok(()));
        assert!(limits.take("ada", RATE, at(11)).is_err());
    }

    #[test]
    fn a_clock_that_is_set_back_takes_nothing_away() {
        let limits = Limits::default();
        assert_eq!(limits.take("ada", RATE, at(1_000)), Ok(()));
        assert_eq!(limits.take("ada", RATE, at(0)), Ok(()));
        assert_eq!(limits.take("ada", RATE, at(0)), Ok(()));
        assert!(limits.take("ada", RATE, at(0)).is_err());
        assert_eq!(limits.take("ada", RATE, at(600)), Ok(()), "it fills from where the clock is now");
    }

    #[test]
    fn callers_who_rest_are_forgotten() {
        let limits = Limits::default();
        for caller in 0..CALLERS_MAX {
            assert_eq!(limits.take(&caller.to_string(), RATE, at(0)), Ok(()));
        }
        assert_eq!(limits.take("ada", RATE, at(60)), Ok(()));
        assert_eq!(limits.buckets.lock().unwrap().len(), 1);
    }

    #[test]
    fn who_has_no_tokens_left_is_not_forgotten_for_those_who_rest() {
        let limits = Limits::default();
        for caller in 0..CALLERS_MAX {
            assert_eq!(limits.take(&caller.to_string(), RATE, at(0)), Ok(()));
        }
        let busy = |now| limits.take("0", RATE, now);
        assert!(busy(at(0)).is_ok() && busy(at(0)).is_ok() && busy(at(0)).is_err(), "the same caller, and no new one");
        assert!(busy(at(60)).is_ok() && busy(at(60)).is_ok() && busy(at(60)).is_ok());
        assert_eq!(limits.take("ada", RATE, at(60)), Ok(()));
        assert!(busy(at(60)).is_err());
        assert_eq!(limits.buckets.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_refusal_is_remembered_until_its_end_and_never_for_long() {
        let limits = Limits::default();
        limits.remember_refused("ada", at(30), at(0));
        assert_eq!(limits.check_refused("ada", at(20)), Err(Refusal::TooManyRequests { retry_after_seconds: 11 }));
        assert_eq!(limits.check_refused("ada", at(30)), Ok(()));
        assert_eq!(
            limits.check_refused("ada", at(30 - REFUSED_SECONDS_MAX - 1)),
            Ok(()),
            "by a clock that was set back"
        );
    }

    #[test]
    fn so_many_refusals_are_remembered_and_what_has_passed_makes_room() {
        let limits = Limits::default();
        for bucket in 0..=CALLERS_MAX {
            limits.remember_refused(&bucket.to_string(), if bucket == 1 { at(40) } else { at(10) }, at(0));
        }
        let is_refused = |bucket: usize, now| limits.check_refused(&bucket.to_string(), now).is_err();
        assert!(is_refused(0, at(9)) && is_refused(CALLERS_MAX - 1, at(9)) && !is_refused(CALLERS_MAX, at(9)));
        limits.remember_refused("ada", at(30), at(10));
        assert!(limits.check_refused("ada", at(29)).is_err() && is_refused(1, at(39)));
        assert_eq!(limits.refused.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_block_is_used_up_token_by_token_and_blocks_of_too_many_are_given_up() {
        let limits = Limits::default();
        assert!(!limits.take_kept("ada"));
        limits.keep("ada", 0);
        assert!(!limits.take_kept("ada"));
        limits.keep("ada", 2);
        limits.keep("ada", 1);
        for _ in 0..3 {
            assert!(limits.take_kept("ada"));
        }
        assert!(!limits.take_kept("ada") && limits.kept.lock().unwrap().is_empty());
        for caller in 0..=CALLERS_MAX {
            limits.keep(&caller.to_string(), 1);
        }
        assert_eq!(limits.kept.lock().unwrap().len(), 1, "what is lost costs the shared store a question more");
    }
}
