//! When a call is sent again within itself, and after how long: Stripe's own rules, with 429 added.
//!
//! A retry is always the same bytes under the same key, so it is safe whatever became of the first try. Chance is passed in.

use counterfoil_core::probe;
use std::time::Duration;

use super::error::Answer;

/// What became of one try.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A full answer, whatever its status.
    Answered(Answer),
    /// No answer, or only a part of one.
    Lost(String),
    /// It never left: retrying at once would meet the same.
    Refused(String),
}

/// Whether the same request may be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Again,
    Stop,
}

/// The order of the rules is Stripe's: a lost connection, then the server's own advice, then the status.
pub(super) fn judge(outcome: &Outcome) -> Verdict {
    let answer = match outcome {
        Outcome::Lost(_) => {
            probe!("F39");
            return Verdict::Again;
        }
        Outcome::Refused(_) => return Verdict::Stop,
        Outcome::Answered(answer) => answer,
    };
    probe!("F35", answer.is_rate_limited());
    probe!("F41", answer.is_key_in_use());
    // A stored server error is replayed for as long as Stripe remembers the key; the server's advice cannot mend that.
    if answer.is_poisoned() {
        return Verdict::Stop;
    }
    match answer.should_retry {
        Some(true) => return Verdict::Again,
        Some(false) => return Verdict::Stop,
        None => {}
    }
    // The official SDKs leave a plain 429 to the caller. Our caller would only wait longer and try the same again.
    match answer.status {
        409 | 429 | 500.. => Verdict::Again,
        _ if answer.is_rate_limited() => Verdict::Again,
        _ => Verdict::Stop,
    }
}

/// The pause before try number `tries_done + 1`: `min(base · 2^(n−1), cap)`, times a factor between one half and one.
/// `chance` is in `0.0..1.0`; anything else is clamped.
pub(super) fn pause(tries_done: u32, base: Duration, cap: Duration, chance: f64) -> Duration {
    let doublings = tries_done.saturating_sub(1).min(16);
    let full = base.saturating_mul(1 << doublings).min(cap);
    let chance = if chance.is_finite() { chance.clamp(0.0, 1.0) } else { 1.0 };
    full.mul_f64(0.5 + chance / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, should_retry: Option<bool>, replayed: bool) -> Outcome {
        Outcome::Answered(Answer { status, request_id: None, should_retry, replayed, date: None, body: None })
    }

    #[test]
    fn the_rules_in_a_table() {
        let table = [
            (Outcome::Lost(String::new()), Verdict::Again),
            (Outcome::Refused(String::new()), Verdict::Stop),
            (answered(200, None, false), Verdict::Stop),
            (answered(400, None, false), Verdict::Stop),
            (answered(400, Some(true), false), Verdict::Again),
            (answered(401, None, false), Verdict::Stop),
            (answered(402, Some(false), false), Verdict::Stop),
            (answered(404, None, false), Verdict::Stop),
            (answered(409, None, false), Verdict::Again),
            (answered(409, Some(false), false), Verdict::Stop),
            (answered(429, None, false), Verdict::Again),
            (answered(500, None, false), Verdict::Again),
            (answered(500, Some(false), false), Verdict::Stop),
            (answered(503, None, false), Verdict::Again),
            (answered(500, None, true), Verdict::Stop),
            (answered(500, Some(true), true), Verdict::Stop),
        ];
        for (outcome, expected) in table {
            assert_eq!(judge(&outcome), expected, "{outcome:?}");
        }
    }

    /// As Stripe answers a creation of test data that comes too fast.
    #[test]
    fn a_limit_that_is_told_with_400_is_a_limit() {
        let told = |code: &str| {
            let body = Some(serde_json::json!({ "error": { "type": "invalid_request_error", "code": code } }));
            judge(&Outcome::Answered(Answer {
                status: 400,
                request_id: None,
                should_retry: None,
                replayed: false,
                date: None,
                body,
            }))
        };
        assert_eq!((told("rate_limit"), told("parameter_missing")), (Verdict::Again, Verdict::Stop));
    }

    #[test]
    fn pauses_double_up_to_the_cap_and_are_halved_at_most() {
        let (base, cap) = (Duration::from_millis(500), Duration::from_secs(5));
        let millis = |tries, chance| pause(tries, base, cap, chance).as_millis();
        assert_eq!(
            [millis(1, 1.0), millis(2, 1.0), millis(3, 1.0), millis(4, 1.0), millis(5, 1.0)],
            [500, 1000, 2000, 4000, 5000]
        );
        assert_eq!([millis(1, 0.0), millis(1, 0.5), millis(40, 0.0)], [250, 375, 2500]);
        assert_eq!(millis(1, f64::NAN), 500);
    }
}
