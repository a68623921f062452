//! Holding a sweep: one process at a time runs it, and whoever comes next goes on where the run stopped.

use counterfoil_core::Timestamp;

use super::{App, Error};
use crate::providers::ProviderError;
use crate::store;
use crate::store::sweeps::{Run, Sweep, Taken};

/// How long a sweep is held without a sign of life. It is renewed before every page and every look.
const HELD_SECONDS: i64 = 120;

/// How soon a run that failed goes on.
const RETRY_SECONDS: i64 = 300;

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
        let until = now.plus_seconds(HELD_SECONDS);
        let taken = store::sweeps::take(&mut tx, sweep, provider, &self.holder, now, until).await?;
        tx.commit().await?;
        Ok(taken.map(|taken| Held { sweep, taken }))
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
        let due_at = self.now().plus_seconds(RETRY_SECONDS);
        let result: Result<(), Error> = async {
            let mut tx = self.db.begin().await?;
            let (provider, fence) = (self.provider.name(), held.taken.fence);
            store::sweeps::put_off(&mut tx, held.sweep, provider, fence, from_the_start, due_at).await?;
            Ok(tx.commit().await?)
        }
        .await;
        if let Err(error) = result {
            tracing::debug!(sweep = held.sweep.word(), %error, "a sweep was not given back; it comes back by itself");
        }
    }
}

fn is_about_the_call(error: &ProviderError) -> bool {
    matches!(error, ProviderError::Missing { .. } | ProviderError::Rejected { .. })
}
