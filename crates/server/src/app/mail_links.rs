//! Links that go out by mail. Whoever has the link may do the one thing it is for, once; so only a hash of it is kept, and a
//! newer link of the same purpose ends the older ones.

use counterfoil_core::{CustomerId, Refusal, Timestamp, probe};

use super::{App, Error, secrets};
use crate::db::Tx;
use crate::store;
use crate::store::account_tokens::{NewToken, Purpose, Token};

/// What the tokens in links begin with.
pub const LINK_PREFIX: &str = "cfl_";

/// Links of one purpose that an account is sent in an hour; what is asked for beyond them sends nothing.
const LINKS_AN_HOUR_MAX: i64 = 3;

const HOUR_SECONDS: i64 = 3600;

/// How long rows of links that have run out are kept, so that the links of the last hour can be counted.
const KEPT_SECONDS: i64 = 24 * HOUR_SECONDS;

/// A link to be made.
pub(super) struct Wanted<'a> {
    pub customer_id: &'a CustomerId,
    pub purpose: Purpose,
    pub payload: Option<&'a str>,
    pub hours: i64,
}

impl App {
    /// Makes a link and ends the older ones. Answers its token, which is known at this moment only; `None` where there were
    /// too many within the hour, and the newest of those goes on working.
    pub(super) async fn new_link(
        &self,
        tx: &mut Tx,
        wanted: &Wanted<'_>,
        now: Timestamp,
    ) -> Result<Option<String>, Error> {
        let Wanted { customer_id, purpose, payload, hours } = *wanted;
        let since = now.plus_seconds(-HOUR_SECONDS);
        if store::account_tokens::count_since(tx, customer_id, purpose, since).await? >= LINKS_AN_HOUR_MAX {
            return Ok(None);
        }
        store::account_tokens::end(tx, customer_id, purpose, now).await?;
        let token = secrets::new_token(LINK_PREFIX, &self.entropy);
        let token_hash = secrets::hash_token(&token);
        let expires_at = now.plus_seconds(hours * HOUR_SECONDS);
        let new = NewToken { token_hash: &token_hash, customer_id, purpose, payload, expires_at };
        store::account_tokens::insert(tx, &new, now).await?;
        Ok(Some(token))
    }

    /// Whose link this is and what it is about, without using it up.
    ///
    /// # Errors
    /// [`Refusal::LinkInvalid`], or failures.
    pub async fn look_at_link(&self, token: &str, purpose: Purpose) -> Result<Token, Error> {
        let mut tx = self.db.begin_read().await?;
        let found = store::account_tokens::find(&mut tx, &secrets::hash_token(token), purpose, self.now()).await?;
        tx.rollback().await?;
        found.ok_or_else(|| Refusal::LinkInvalid.into())
    }

    /// Uses the link up, in the transaction that does what it is for.
    pub(super) async fn take_link(
        &self,
        tx: &mut Tx,
        token: &str,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<Token, Error> {
        let taken = store::account_tokens::take(tx, &secrets::hash_token(token), purpose, now).await?;
        probe!("F86", taken.is_none());
        taken.ok_or_else(|| Refusal::LinkInvalid.into())
    }

    /// The address of a page of ours, with a token in it.
    pub(super) fn link_to(&self, path: &str, token: &str) -> String {
        format!("{}{path}?token={token}", self.settings.public_url)
    }

    /// Removes links that ran out a while ago.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn forget_ended_links(&self) -> Result<u64, Error> {
        let before = self.now().plus_seconds(-KEPT_SECONDS);
        let mut tx = self.db.begin().await?;
        let removed = store::account_tokens::delete_expired(&mut tx, before).await?;
        tx.commit().await?;
        Ok(removed)
    }
}
