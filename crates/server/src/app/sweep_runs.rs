//! Holding a sweep: one process at a time runs it, and whoever comes next goes on where the run stopped.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

use counterfoil_core::Timestamp;

use super::{App, Error};
use crate::providers::{EVENT_LOG_DAYS, ProviderError};
use crate::store;
use crate::store::sweeps::{Run, Sweep, Taken};

/// How long a sweep is held without a sign of life. It is renewed before every page and every look.
const HELD_SECONDS: i64 = 120;

/// How soon a run that failed goes on.
const RETRY_SECONDS: i64 = 300;

/// How far in our future a sweep may stand: the clocks of two machines differ, and half of what a reading of the log goes back
/// behind the one before hides nothing. Beyond it, a clock was ahead.
pub(super) const AHEAD_SECONDS_MAX: i64 = 1800;

/// The farthest that a sweep is set back for it: a day less than the log reaches, so that this is not taken for a gap in it.
const SET_BACK_DAYS_MAX: i64 = EVENT_LOG_DAYS - 1;

/// Later than any clock of ours will show.
const SOME_DAY: i64 = 36_500;

/// A sweep that this process holds.
pub(super) struct Held {
    sweep: Sweep,
    pub(super) taken: Taken,
}

/// How a step of a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more to do.
    GoOn,
    /// The run is over, or somebody else goes on with it.
    Over,
}

impl App {
    /// Takes a sweep that is due every `period_seconds`, where nobody else has it. The first run looks back to when this
    /// database was first used, and is due a period after that.
    pub(super) async fn take_sweep(&self, sweep: Sweep, period_seconds: i64) -> Result<Option<Held>, Error> {
        let (now, provider) = (self.now(), self.provider.name());
        let mut tx = self.db.begin().await?;
        let beginning = store::instance::find_beginning(&mut tx).await?.unwrap_or(now);
        store::sweeps::ensure(&mut tx, sweep, provider, beginning, beginning.plus_seconds(period_seconds)).await?;
        let (until, latest) = (now.plus_seconds(HELD_SECONDS), self.latest_believed(sweep, now));
        let taken = store::sweeps::take(&mut tx, sweep, provider, &self.holder, now, until, latest).await?;
        tx.commit().await?;
        let Some(taken) = taken else { return Ok(None) };
        if taken.done_until > now.plus_seconds(AHEAD_SECONDS_MAX) {
            self.set_back_until().insert(sweep.word(), now.plus_seconds(period_seconds));
        }
        Ok(Some(Held { sweep, taken: set_back(taken, sweep, period_seconds, now) }))
    }

    /// A sweep that stands after this instant is set back. Once in a period is enough: where two servers never agree on the time, they
    /// would take it from each other without end.
    fn latest_believed(&self, sweep: Sweep, now: Timestamp) -> Timestamp {
        let was_lately = self.set_back_until().get(sweep.word()).is_some_and(|until| now < *until);
        if was_lately { now.plus_days(SOME_DAY) } else { now.plus_seconds(AHEAD_SECONDS_MAX) }
    }

    fn set_back_until(&self) -> MutexGuard<'_, BTreeMap<&'static str, Timestamp>> {
        self.signals.set_back.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how far the run has come. [`Step::Over`] where somebody else has taken it since.
    pub(super) async fn keep_sweep(&self, held: &Held, run: &Run) -> Result<Step, Error> {
        let until = self.now().plus_seconds(HELD_SECONDS);
        let mut tx = self.db.begin().await?;
        let ours = store::sweeps::keep(&mut tx, held.sweep, self.provider.name(), held.taken.fence, run, until).await?;
        tx.commit().await?;
        Ok(if ours { Step::GoOn } else { Step::Over })
    }

    /// Ends the run and gives the sweep back until `due_at`.
    pub(super) async fn finish_sweep(
        &self,
        held: &Held,
        done_until: Timestamp,
        due_at: Timestamp,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let (provider, fence) = (self.provider.name(), held.taken.fence);
        store::sweeps::finish(&mut tx, held.sweep, provider, fence, done_until, due_at).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Gives the sweep back in the middle of a run, because of this failure.
    pub(super) async fn put_sweep_off(&self, held: &Held, error: &Error) {
        // Where the provider refuses, the place to go on from may be what it does not know any more.
        let from_the_start =
            matches!(error, Error::Failed(super::Failure::Provider(refused)) if is_about_the_call(refused));
        let again_at = self.now().plus_seconds(RETRY_SECONDS);
        let result: Result<(), Error> = async {
            let mut tx = self.db.begin().await?;
            let (provider, fence) = (self.provider.name(), held.taken.fence);
            store::sweeps::put_off(&mut tx, held.sweep, provider, fence, from_the_start, again_at).await?;
            Ok(tx.commit().await?)
        }
        .await;
        if let Err(error) = result {
            tracing::debug!(sweep = held.sweep.word(), %error, "a sweep was not given back; it comes back by itself");
        }
    }
}

/// Does not believe what a clock that was ahead has left.
///
/// How long ago that clock was last right, the row does not say; only that up to then everything was looked through. A worker that
/// ran all the while came to an end within a period of it. One that stood still in between may have come to it earlier, so we go
/// back by as much as the clock was ahead besides: what is read twice is passed over.
fn set_back(taken: Taken, sweep: Sweep, period_seconds: i64, now: Timestamp) -> Taken {
    let latest = now.plus_seconds(AHEAD_SECONDS_MAX);
    if taken.done_until <= latest {
        // A run that was to end there has its place in a list up to an instant that has not come yet: it begins anew.
        return Taken { run: taken.run.filter(|run| run.until <= latest), ..taken };
    }
    let ahead = taken.done_until.seconds_since(now);
    let back = ahead.min(SET_BACK_DAYS_MAX * 86_400) + period_seconds;
    let done_until = now.plus_seconds(-back);
    tracing::error!(
        sweep = sweep.word(), stood_at = %taken.done_until, %done_until,
        "a sweep stands in the future, so a clock was ahead; what it may have hidden is looked through again"
    );
    Taken { done_until, run: None, ..taken }
}

fn is_about_the_call(error: &ProviderError) -> bool {
    matches!(error, ProviderError::Missing { .. } | ProviderError::Rejected { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_790_000_000);
    const DAY: i64 = 86_400;

    #[test]
    fn a_sweep_that_stands_in_the_future_is_set_back_by_as_much_and_a_period() {
        let run = |until: i64| Run { until: NOW.plus_seconds(until), position: Some("x".to_owned()), found: 1 };
        let believed = |done: i64, until: i64| {
            let taken = Taken { fence: 1, done_until: NOW.plus_seconds(done), run: Some(run(until)) };
            let taken = set_back(taken, Sweep::Events, 3600, NOW);
            (taken.done_until.seconds_since(NOW), taken.run.is_some())
        };
        for (done, until, expected) in [
            (-3600, 0, (-3600, true)),
            (AHEAD_SECONDS_MAX, AHEAD_SECONDS_MAX, (AHEAD_SECONDS_MAX, true)),
            (-3600, AHEAD_SECONDS_MAX + 1, (-3600, false)),
            (3 * DAY, 3 * DAY, (-3 * DAY - 3600, false)),
            (3 * DAY, 0, (-3 * DAY - 3600, false)),
            (4000 * DAY, 0, (-SET_BACK_DAYS_MAX * DAY - 3600, false)),
        ] {
            assert_eq!(believed(done, until), expected, "{done} {until}");
        }
        let (farthest, _) = believed(4000 * DAY, 0);
        assert!(
            (-EVENT_LOG_DAYS * DAY..-28 * DAY).contains(&farthest),
            "the log of events reaches back to it: {farthest}"
        );
    }

    #[test]
    fn a_run_begins_anew_where_the_provider_refuses_and_goes_on_where_it_was_away() {
        let (message, request_id) = (|| "no such event".to_owned(), None);
        let refusals = [
            ProviderError::Missing { message: message(), request_id: request_id.clone() },
            ProviderError::Rejected { code: None, message: message(), request_id: request_id.clone() },
        ];
        assert!(refusals.iter().all(is_about_the_call));
        let others = [
            ProviderError::Unavailable { reason: "it timed out".to_owned(), request_id: request_id.clone() },
            ProviderError::Unauthorized { message: "expired".to_owned(), request_id },
            ProviderError::KeyInUse,
        ];
        assert!(!others.iter().any(is_about_the_call));
    }
}
