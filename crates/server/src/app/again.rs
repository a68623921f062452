//! Doing a whole transaction again where another one was in its way.
//!
//! The database rolled it back, so nothing of it is there; it loads, decides and saves anew. Only where all of it lies within the
//! one transaction is that right: what has asked somebody outside before keeps the answer, and does not ask again.

use std::time::Duration;

use tokio::time::Instant;

use super::{App, Error, Failure};

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
        let started = Instant::now();
        for done in 0..AGAIN_MAX {
            match work().await {
                Err(Error::Failed(Failure::Database(error)))
                    if error.is_conflict() && started.elapsed() < BEGUN_WITHIN =>
                {
                    tracing::info!(%error, done, "a transaction met another one and is done again");
                    let pause = self.entropy.around_millis(PAUSE_MILLIS << done).unsigned_abs();
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                result => return result,
            }
        }
        work().await
    }
}
