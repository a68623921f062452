//! Doing a whole transaction again where another one was in its way.
//!
//! The database rolled it back, so nothing of it is there; it loads, decides and saves anew. Only where all of it lies within the
//! one transaction is that right: what has asked somebody outside before keeps the answer, and does not ask again.

use std::time::Duration;

use tokio::time::Instant;

use super::{App, Error, Failure};
use crate::entropy::Entropy;

/// How often it is done again at most.
const AGAIN_MAX: u32 = 5;

/// Nothing is begun anew after this long. Where the other one holds a lock for seconds, the caller is told to come back.
const BEGUN_WITHIN: Duration = Duration::from_secs(3);

/// The first pause; each is twice as long as the one before, and spread, so that two who met do not meet again.
const PAUSE_MILLIS: i64 = 20;

impl App {
    /// Does a transaction, and does it again where another one was in its way.
    ///
    /// # Errors
    /// Those of `work`; a conflict where it met one every time.
    pub(super) async fn again<T, W: Future<Output = Result<T, Error>>>(
        &self,
        work: impl Fn() -> W,
    ) -> Result<T, Error> {
        again(self.entropy, BEGUN_WITHIN, work).await
    }
}

async fn again<T, W: Future<Output = Result<T, Error>>>(
    entropy: Entropy,
    begun_within: Duration,
    work: impl Fn() -> W,
) -> Result<T, Error> {
    let started = Instant::now();
    for done in 0..AGAIN_MAX {
        match work().await {
            Err(Error::Failed(Failure::Database(error))) if error.is_conflict() && started.elapsed() < begun_within => {
                tracing::info!(%error, done, "a transaction met another one and is done again");
                let pause = entropy.around_millis(PAUSE_MILLIS << done).unsigned_abs();
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            result => return result,
        }
    }
    work().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use counterfoil_core::Refusal;

    use super::*;
    use crate::db::DbError;

    const LONG: Duration = Duration::from_secs(60);

    fn conflict() -> Error {
        Failure::Database(DbError::Conflict { detail: "a deadlock".to_owned() }).into()
    }

    /// How often it is done, and what comes of it, where it goes well after so many conflicts.
    async fn done(begun_within: Duration, conflicts: u32) -> (u32, Result<u32, Error>) {
        let calls = Cell::new(0);
        let work = || async {
            calls.set(calls.get() + 1);
            if calls.get() > conflicts { Ok(calls.get()) } else { Err(conflict()) }
        };
        let result = again(Entropy, begun_within, work).await;
        (calls.get(), result)
    }

    #[tokio::test]
    async fn a_conflict_is_done_again_five_times_at_most() {
        for conflicts in [0, 1, 5] {
            let (calls, result) = done(LONG, conflicts).await;
            assert_eq!((calls, result.unwrap()), (conflicts + 1, conflicts + 1));
        }
        let (calls, result) = done(LONG, u32::MAX).await;
        assert_eq!(calls, 6);
        assert!(matches!(result, Err(Error::Failed(Failure::Database(error))) if error.is_conflict()));
    }

    #[tokio::test]
    async fn nothing_is_begun_anew_when_the_time_is_over() {
        let (calls, result) = done(Duration::ZERO, 1).await;
        assert!(calls == 1 && result.is_err());
    }

    #[tokio::test]
    async fn only_a_conflict_is_done_again() {
        for error in [Error::from(Refusal::NoLicense), Failure::Database(DbError::ReadOnly).into()] {
            let (calls, error) = (Cell::new(0), Cell::new(Some(error)));
            let work = || async {
                calls.set(calls.get() + 1);
                Err::<(), Error>(error.take().unwrap_or_else(conflict))
            };
            assert!(again(Entropy, LONG, work).await.is_err());
            assert_eq!(calls.get(), 1);
        }
    }
}
