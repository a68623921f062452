//! What we owe the world beside mails: rows of the outbox that are worked off in their own loop, so that a provider that is
//! down holds up no mail.

use super::setbacks::{failure_word, is_given_up};
use super::{App, Error, Failure};
use crate::store;
use crate::store::outbox::{Effect, Kind};

/// Rows claimed at once.
const CLAIM_MAX: i64 = 8;

/// A claimed row comes back after this long where its worker died.
const HIDDEN_SECONDS: i64 = 300;

/// How soon a row is tried again whose customer is held by somebody else.
const BUSY_MILLIS: i64 = 300;

impl App {
    /// Claims what is due and does it. Answers how many rows there were.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn work_effects(&self) -> Result<usize, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let claimed = store::outbox::claim_effects(&mut tx, now, now.plus_seconds(HIDDEN_SECONDS), CLAIM_MAX).await?;
        tx.commit().await?;
        for effect in &claimed {
            let result = match effect.kind {
                Kind::PasswordForgot => self.answer_forgotten_password(effect).await,
                Kind::CustomerUpdate => self.update_external_customer(effect).await,
                Kind::CustomerDelete => self.delete_external_customer(effect).await,
            };
            if let Err(error) = result {
                self.put_effect_back(effect, &error).await?;
            }
        }
        Ok(claimed.len())
    }

    async fn put_effect_back(&self, effect: &Effect, error: &Error) -> Result<(), Error> {
        let (now, text) = (self.now(), error.to_string());
        let mut tx = self.db.begin().await?;
        if matches!(error, Error::Failed(Failure::CustomerBusy)) {
            // Somebody else is looking at the customer: nothing failed.
            let run_at = now.plus_millis(self.entropy.around_millis(BUSY_MILLIS));
            store::outbox::postpone(&mut tx, &effect.effect_id, run_at, &text).await?;
            return Ok(tx.commit().await?);
        }
        if is_given_up(effect.attempts, effect.created_at, now) {
            store::outbox::bury(&mut tx, &effect.effect_id, failure_word(error), &text).await?;
            metrics::counter!("counterfoil_effects_dead_total").increment(1);
            tracing::error!(effect_id = %effect.effect_id, error = text, "something owed was given up; an operator has to look");
        } else {
            let run_at = now.plus_millis(self.backoff_millis(effect.attempts));
            store::outbox::postpone(&mut tx, &effect.effect_id, run_at, &text).await?;
            tracing::warn!(
                effect_id = %effect.effect_id, attempts = effect.attempts, error = text, "something owed has to wait"
            );
        }
        tx.commit().await?;
        Ok(())
    }
}
