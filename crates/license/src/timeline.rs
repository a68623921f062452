//! A license's life as a list of phases: what it is worth, and from when on.

use crate::claims::Claims;
use crate::state::State;
use crate::status_list::Status;
use crate::verify::grade;

/// A time in which a license is worth one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// From when on (Unix seconds); the first phase has no beginning.
    pub begins_at: Option<i64>,
    /// What the license is worth, judged by its own times alone: no revocation and no clock is looked at.
    pub state: State,
}

/// The phases of a license in their order: not yet valid, valid, refresh due, in grace, expired; without those that never are.
///
/// The claims may be anybody's, as [`inspect`](crate::inspect) reads them.
pub fn timeline(claims: &Claims) -> Vec<Phase> {
    let mut instants = [claims.nbf, claims.refresh_after, claims.paid_until, claims.exp];
    instants.sort_unstable();
    let mut phases = vec![Phase { begins_at: None, state: state_at(claims, i64::MIN) }];
    for at in instants {
        let phase = Phase { begins_at: Some(at), state: state_at(claims, at) };
        if phases.last().is_none_or(|last| last.state != phase.state) {
            phases.push(phase);
        }
    }
    phases
}

/// What the license is worth at a time, judged by its own times alone.
pub fn state_at(claims: &Claims, unix_seconds: i64) -> State {
    grade(claims, Status::Valid, unix_seconds)
}
