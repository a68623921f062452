//! What becomes of claimed rows that could not be worked off: back into the queue, set aside, or given up.

use counterfoil_core::{Timestamp, probe};

use super::inbox::HIDDEN_SECONDS;
use super::{App, Error, Failure};
use crate::store;
use crate::store::inbox::Claimed;

/// How soon a row is tried again whose customer is being looked at by somebody else.
const BUSY_MILLIS: i64 = 150;

/// The longest pause between two tries. It is also how long a paying customer may have to wait once the provider is back.
const BACKOFF_SECONDS_MAX: i64 = 300;

/// The pause where trying again cannot help until somebody changes something: an API key that is refused, say. Any other look at the
/// customer finishes the row sooner, and so does a start.
const HOPELESS_MILLIS: i64 = 3_600_000;

/// How long an event may wait for its customer to be in the book before somebody has to be told.
pub(super) const UNMATCHED_SECONDS: i64 = 86_400;

/// How long a row is tried before it is set aside for an operator: as long as Stripe itself sends an event.
const GIVE_UP_DAYS: i64 = 3;

/// Age alone gives nothing up: after days without a worker, the first try would be the last one.
const GIVE_UP_TRIES: i64 = 10;

/// A row that is due later than this is nobody's claim, even by a clock that is a minute ahead. One that is due sooner needs no
/// hastening.
const HASTENED_AFTER_SECONDS: i64 = HIDDEN_SECONDS + 60;

/// How often a start tries what was given up. Not once, because Stripe may fail just then; and not as often as what is new, because
/// there are rows that can never go well, and they are tried again at every start.
const REVIVED_TRIES: i64 = 3;

/// How much of what was given up a start tries again, the newest first.
const REVIVED_MAX: i64 = 500;

impl App {
    /// Puts rows back whose customer is being looked at by somebody else: nobody has tried to work them off.
    ///
    /// # Errors
    /// Failures of the database; the rows come back by themselves then.
    pub(super) async fn put_back_rows(&self, rows: &[Claimed]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        probe!("F52");
        let run_at = self.now().plus_millis(self.entropy.around_millis(BUSY_MILLIS));
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let mut tx = self.db.begin().await?;
        store::inbox::put_back(&mut tx, &ids, run_at).await?;
        Ok(tx.commit().await?)
    }

    /// Sets rows aside that are not about us.
    pub(super) async fn ignore_rows(&self, rows: &[Claimed], because: &str) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        for row in rows {
            store::inbox::ignore(&mut tx, row.id, because, self.now()).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Puts rows back for later because of this error, or gives them up.
    ///
    /// # Errors
    /// Failures of the database; the rows come back by themselves then.
    pub(super) async fn fail_rows(&self, rows: &[Claimed], error: &Error) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let text = error.to_string();
        let failure = failure_word(error);
        metrics::counter!("counterfoil_inbox_failures_total", "failure" => failure).increment(rows.len() as u64);
        let mut tx = self.db.begin().await?;
        for row in rows {
            let unmatched = matches!(error, Error::Failed(Failure::NotInBook));
            probe!("F31", unmatched);
            let long = unmatched && now >= row.received_at.plus_seconds(UNMATCHED_SECONDS);
            if is_given_up(row.attempts, row.received_at, now) {
                store::inbox::bury(&mut tx, row.id, failure, &text, now).await?;
                let event_id = &row.event_id;
                tracing::error!(event_id, error = text, "an event was given up; an operator has to look");
                continue;
            }
            let run_at = match error {
                Error::Failed(Failure::ProviderKeyPoisoned { until }) => (*until).max(now),
                _ if long || !is_transient(error) => now.plus_millis(self.entropy.around_millis(HOPELESS_MILLIS)),
                _ => now.plus_millis(self.backoff_millis(row.attempts)),
            };
            store::inbox::postpone(&mut tx, row.id, run_at, failure, &text).await?;
            let (event_id, attempts) = (&row.event_id, row.attempts);
            if long {
                probe!("F33");
                tracing::error!(
                    event_id,
                    attempts,
                    "an event has waited for a day for a customer that is not in the book"
                );
            } else {
                tracing::warn!(event_id, attempts, failure, error = text, "an event has to wait");
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// Makes due what waits for somebody to change something, and puts what was given up back into the queue: this start may be
    /// the one with the change. An event of a refund or a dispute speaks of what no other look would be made for.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn hasten_hopeless(&self) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let claimed_until = now.plus_seconds(HASTENED_AFTER_SECONDS);
        let hastened = store::inbox::hasten_hopeless(&mut tx, now, claimed_until).await?;
        // Also where the last try failed by chance: whether that was all that stood in its way, nobody knows.
        let revived = store::inbox::revive(&mut tx, GIVE_UP_TRIES - REVIVED_TRIES, REVIVED_MAX, now).await?;
        tx.commit().await?;
        if hastened + revived > 0 {
            tracing::info!(hastened, revived, "events that waited for an operator, or were given up, are tried again");
        }
        Ok(())
    }

    /// The pause after this many tries: doubling from half a second, with jitter.
    #[must_use]
    pub fn backoff_millis(&self, attempts: i64) -> i64 {
        let doublings = u32::try_from(attempts.clamp(1, 20) - 1).unwrap_or(0);
        let millis = (500_i64 << doublings).min(BACKOFF_SECONDS_MAX * 1000);
        self.entropy.around_millis(millis)
    }
}

/// Whether a row of the inbox or of the outbox that was tried so often, since then, is left to an operator.
pub(super) fn is_given_up(attempts: i64, since: Timestamp, now: Timestamp) -> bool {
    attempts >= GIVE_UP_TRIES && now >= since.plus_days(GIVE_UP_DAYS)
}

/// The stored word for what trying again can do about an error.
pub(super) fn failure_word(error: &Error) -> &'static str {
    if is_transient(error) { "transient" } else { "permanent" }
}

/// Whether it may go well by itself. A refusal is an answer, and stays the same until somebody changes something.
fn is_transient(error: &Error) -> bool {
    match error {
        Error::Refused(_) => false,
        Error::Failed(failure) => failure.is_transient(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_given_up_after_many_tries_and_days_of_them_and_not_before_both() {
        let since = Timestamp::from_unix_seconds(1_790_000_000);
        let days = since.plus_days(GIVE_UP_DAYS);
        assert!(is_given_up(GIVE_UP_TRIES, since, days));
        assert!(!is_given_up(GIVE_UP_TRIES - 1, since, days));
        assert!(!is_given_up(GIVE_UP_TRIES, since, days.plus_seconds(-1)));
    }
}
