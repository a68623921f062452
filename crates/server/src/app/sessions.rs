//! Sessions: logging in and out, and whose request this is.

use counterfoil_core::{ApiKeyId, CustomerId, EmailAddress, Refusal, Timestamp, probe};

use super::api_keys::is_use_to_be_noted;
use super::operators::Scope;
use super::{App, Error, Failure, secrets};
use crate::db::Tx;
use crate::store;

/// What session tokens begin with.
pub const SESSION_PREFIX: &str = "cfs_";

/// What API keys begin with.
pub const API_KEY_PREFIX: &str = "cfk_";

/// A session lasts this long, used or not.
pub const SESSION_DAYS: i64 = 30;

/// A session that has just begun: the only moment at which its token is known.
#[derive(Clone)]
pub struct NewSession {
    pub token: String,
    pub expires_at: Timestamp,
}

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular.
    Anonymous,
    /// A customer with a session.
    Customer(CustomerId),
    /// A vendor's backend, or an operator, with an API key.
    Backend {
        /// The key.
        key_id: ApiKeyId,
        /// What it may do.
        scope: Scope,
    },
}

impl Caller {
    /// The customer of the session.
    ///
    /// # Errors
    /// [`Refusal::NotSignedIn`] where there is none.
    pub fn customer(&self) -> Result<&CustomerId, Refusal> {
        match self {
            Self::Customer(customer_id) => Ok(customer_id),
            Self::Anonymous | Self::Backend { .. } => Err(Refusal::NotSignedIn),
        }
    }
}

/// A password that is longer than any that can be chosen is not hashed at its length.
pub(super) fn bounded(password: &str) -> String {
    password.chars().take(counterfoil_core::password::PASSWORD_CHARS_MAX + 1).collect()
}

impl App {
    /// Logs in. One password hash on every path, and one answer for a wrong password and an unknown address.
    ///
    /// # Errors
    /// [`Refusal::InvalidCredentials`], or failures.
    pub async fn log_in(&self, email: &str, password: &str) -> Result<(CustomerId, NewSession), Error> {
        let known = match email.parse::<EmailAddress>() {
            Ok(email) => {
                let mut tx = self.db.begin_read().await?;
                let known = store::customers::find_credentials(&mut tx, &email).await?;
                tx.rollback().await?;
                known
            }
            Err(_invalid) => None,
        };
        probe!("F80", known.is_none());
        let (customer_id, stored) = known.map_or((None, None), |(id, hash)| (Some(id), Some(hash)));
        let matches = self.hasher.verify(&bounded(password), stored.clone()).await?;
        let (Some(customer_id), Some(stored), true) = (customer_id, stored, matches) else {
            metrics::counter!("counterfoil_logins_refused_total").increment(1);
            return Err(Refusal::InvalidCredentials.into());
        };
        let session = self.again(|| self.open_session(&customer_id, &stored)).await?;
        Ok((customer_id, session))
    }

    async fn open_session(&self, customer_id: &CustomerId, stored: &str) -> Result<NewSession, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        // A reset that ended all sessions in between must not be outlived by one that the old password opened.
        if !store::customers::hold_password(&mut tx, customer_id, stored).await? {
            probe!("F53");
            return Err(Refusal::InvalidCredentials.into());
        }
        let session = self.insert_session(&mut tx, customer_id, now).await?;
        tx.commit().await?;
        Ok(session)
    }

    /// Ends the session of this token, on all replicas at once.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn log_out(&self, token: &str) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        store::sessions::delete(&mut tx, &secrets::hash_token(token)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Removes sessions that have run out.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn forget_ended_sessions(&self) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        let removed = store::sessions::delete_expired(&mut tx, self.now()).await?;
        tx.commit().await?;
        Ok(removed)
    }

    /// Whose token this is. An unknown or ended one is nobody's.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn identify(&self, token: &str) -> Result<Caller, Error> {
        let hash = secrets::hash_token(token);
        if token.starts_with(API_KEY_PREFIX) {
            return self.identify_key(&hash).await;
        }
        let mut tx = self.db.begin_read().await?;
        let customer = store::sessions::find_customer(&mut tx, &hash, self.now()).await?;
        tx.rollback().await?;
        probe!("F83", customer.is_none());
        Ok(customer.map_or(Caller::Anonymous, Caller::Customer))
    }

    async fn identify_key(&self, secret_hash: &str) -> Result<Caller, Error> {
        let now = self.now();
        let mut tx = self.db.begin_read().await?;
        let key = store::api_keys::find(&mut tx, secret_hash).await?;
        tx.rollback().await?;
        let Some(key) = key else { return Ok(Caller::Anonymous) };
        let unknown = || Failure::Corrupt(format!("the API key {} has the unknown scope `{}`", key.key_id, key.scope));
        let scope = Scope::parse(&key.scope).ok_or_else(unknown)?;
        if is_use_to_be_noted(&key, now) {
            let mut tx = self.db.begin().await?;
            store::api_keys::touch(&mut tx, &key.key_id, now).await?;
            tx.commit().await?;
        }
        Ok(Caller::Backend { key_id: key.key_id, scope })
    }

    /// Writes a session for a customer that has just proved who it is.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn insert_session(
        &self,
        tx: &mut Tx,
        customer_id: &CustomerId,
        now: Timestamp,
    ) -> Result<NewSession, Error> {
        let token = secrets::new_token(SESSION_PREFIX, &self.entropy);
        let expires_at = now.plus_days(SESSION_DAYS);
        store::sessions::insert(tx, &secrets::hash_token(&token), customer_id, now, expires_at).await?;
        Ok(NewSession { token, expires_at })
    }
}
