//! Which sessions there are, for their owner, and how they are ended: one, all others, or all of them by an operator.
//!
//! Ending asks for no password. Whoever has a session can do no harm with it but have the owner log in again, and an owner who
//! wants somebody out is not to be kept waiting. A session that was ended is gone on all replicas: nothing about callers is kept
//! in memory.

use counterfoil_core::{CustomerId, Refusal, SessionId};

use super::operators::By;
use super::{App, Error, secrets};
use crate::store;
use crate::store::audit::Actor;
use crate::store::sessions::Session;

/// Sessions that are listed at most.
const LISTED_MAX: i64 = 100;

impl App {
    /// The customer's sessions that last, the one of this token first.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn sessions(&self, customer_id: &CustomerId, own_token: &str) -> Result<Vec<Session>, Error> {
        let own = secrets::hash_token(own_token);
        let mut tx = self.db.begin_read().await?;
        let sessions = store::sessions::list(&mut tx, customer_id, &own, self.now(), LISTED_MAX).await?;
        tx.rollback().await?;
        Ok(sessions)
    }

    /// Ends one of the customer's own.
    ///
    /// # Errors
    /// [`Refusal::SessionUnknown`], also for somebody else's and for one that has ended; failures.
    pub async fn end_session(&self, customer_id: &CustomerId, session_id: &SessionId) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        if !store::sessions::delete_by_id(&mut tx, customer_id, session_id).await? {
            return Err(Refusal::SessionUnknown.into());
        }
        let (action, detail) = ("session_ended", session_id.as_str());
        store::audit::insert(&mut tx, Actor::Customer, action, Some(customer_id), detail, self.now()).await?;
        Ok(tx.commit().await?)
    }

    /// Ends all of the customer's but the one of this token; says how many.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn end_other_sessions(&self, customer_id: &CustomerId, own_token: &str) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        let ended = store::sessions::delete_others(&mut tx, customer_id, &secrets::hash_token(own_token)).await?;
        if ended > 0 {
            let (action, detail) = ("sessions_ended", format!("{ended} others"));
            store::audit::insert(&mut tx, Actor::Customer, action, Some(customer_id), &detail, self.now()).await?;
        }
        tx.commit().await?;
        Ok(ended)
    }

    /// Ends all of a customer's because an operator wants it; says how many.
    ///
    /// # Errors
    /// [`Refusal::CustomerUnknown`]; failures.
    pub async fn end_sessions_by(&self, customer_id: &CustomerId, by: &By) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        store::customers::find(&mut tx, customer_id).await?.ok_or(Refusal::CustomerUnknown)?;
        let ended = store::sessions::delete_all(&mut tx, customer_id).await?;
        let detail = format!("{ended} in all");
        store::audit::insert_by(&mut tx, by.entry(), "sessions_ended", Some(customer_id), &detail, self.now()).await?;
        tx.commit().await?;
        Ok(ended)
    }
}
