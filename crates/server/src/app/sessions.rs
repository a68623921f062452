//! Sessions: logging in and out, and whose request this is.

use counterfoil_core::{ApiKeyId, CustomerId, EmailAddress, Refusal, SessionId, Timestamp, probe};

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

/// Seconds after which a further use of a session is noted.
const NOTED_EVERY_SECONDS: i64 = 3600;

/// What somebody comes in with.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The program, in words of ours.
    pub device: String,
    /// The network, without the end of its address.
    pub network: String,
    /// The token in the cookie that the new one takes the place of: that session ends.
    pub replaced: Option<String>,
}

impl Arrival {
    /// Somebody of whom nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            device: counterfoil_core::device::in_words(""),
            network: super::rate_limits::Network::unknown().in_words(),
            replaced: None,
        }
    }
}

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
    /// Logs in. One password hash on every path, and one answer for a wrong password and an unknown address. Whoever was let in has
    /// the password hashed once more where the stored hash is weaker than one of today.
    ///
    /// # Errors
    /// [`Refusal::InvalidCredentials`], or failures.
    pub async fn log_in(
        &self,
        email: &str,
        password: &str,
        arrival: &Arrival,
    ) -> Result<(CustomerId, NewSession), Error> {
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
        let checked = self.hasher.verify(&bounded(password), stored.clone()).await?;
        let (Some(customer_id), Some(mut stored), true) = (customer_id.clone(), stored, checked.matches) else {
            metrics::counter!("counterfoil_logins_refused_total").increment(1);
            // The address is in no log; a line is written for each, so that none takes longer than the other.
            let whose = customer_id.as_ref().map_or("nobody", CustomerId::as_str);
            tracing::info!(customer_id = whose, "a login was refused");
            return Err(Refusal::InvalidCredentials.into());
        };
        if checked.is_outdated {
            self.renew_hash(&customer_id, password, &mut stored).await;
        }
        let session = self.again(|| self.open_session(&customer_id, &stored, arrival)).await?;
        tracing::info!(%customer_id, "a customer logged in");
        Ok((customer_id, session))
    }

    /// Stores the password as a hash of today. Nobody is kept out because that did not work.
    async fn renew_hash(&self, customer_id: &CustomerId, password: &str, stored: &mut String) {
        let renewed = async {
            let new_hash = self.hasher.hash(password).await?;
            let mut tx = self.db.begin().await?;
            let is_renewed = store::customers::renew_password_hash(&mut tx, customer_id, stored, &new_hash).await?;
            tx.commit().await?;
            Ok::<_, Failure>(is_renewed.then_some(new_hash))
        };
        match renewed.await {
            Ok(Some(new_hash)) => *stored = new_hash,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a password hash could not be renewed; the next login tries it again"),
        }
    }

    async fn open_session(
        &self,
        customer_id: &CustomerId,
        stored: &str,
        arrival: &Arrival,
    ) -> Result<NewSession, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        // A reset that ended all sessions in between must not be outlived by one that the old password opened.
        if !store::customers::hold_password(&mut tx, customer_id, stored).await? {
            probe!("F53");
            return Err(Refusal::InvalidCredentials.into());
        }
        let session = self.insert_session(&mut tx, customer_id, arrival, now).await?;
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
        let now = self.now();
        let owner = store::sessions::find_owner(&mut tx, &hash, now).await?;
        tx.rollback().await?;
        let Some(owner) = owner else { return Ok(Caller::Anonymous) };
        if now.as_unix_seconds() - owner.last_seen_at.as_unix_seconds() >= NOTED_EVERY_SECONDS {
            self.note_use(&hash, now).await;
        }
        Ok(Caller::Customer(owner.customer_id))
    }

    /// Whoever only reads is answered although nothing can be written.
    async fn note_use(&self, token_hash: &str, now: Timestamp) {
        let noted = async {
            let mut tx = self.db.begin().await?;
            store::sessions::touch(&mut tx, token_hash, now).await?;
            tx.commit().await
        };
        if let Err(error) = noted.await {
            tracing::debug!(%error, "the use of a session could not be noted");
        }
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

    /// Writes a session for a customer that has just proved who it is, and ends the one whose cookie it takes over.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn insert_session(
        &self,
        tx: &mut Tx,
        customer_id: &CustomerId,
        arrival: &Arrival,
        now: Timestamp,
    ) -> Result<NewSession, Error> {
        if let Some(replaced) = &arrival.replaced {
            store::sessions::delete(tx, &secrets::hash_token(replaced)).await?;
        }
        let token = secrets::new_token(SESSION_PREFIX, &self.entropy);
        let expires_at = now.plus_days(SESSION_DAYS);
        let session = store::sessions::NewSession {
            token_hash: &secrets::hash_token(&token),
            session_id: &SessionId::from_random(self.entropy.bytes()),
            customer_id,
            device: &arrival.device,
            network: &arrival.network,
        };
        store::sessions::insert(tx, &session, now, expires_at).await?;
        Ok(NewSession { token, expires_at })
    }
}
