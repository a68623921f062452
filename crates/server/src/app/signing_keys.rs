//! The keys that sign: made, rotated, retired, given up.
//!
//! Which key signs stands in the database and is read by the transaction that signs. So every replica goes over to another key at
//! once, without a restart; one that does not hold the private half refuses to sign, and never signs with the old one instead.

use std::sync::Arc;

use counterfoil_core::signing_key::{KeyAction, KeyState, may_sign_from};
use counterfoil_core::{CustomerId, Refusal, Timestamp};
use counterfoil_license::{PublicKey, SigningKey};

use super::key_sets::InstalledKeys;
use super::operators::By;
use super::revocation::Again;
use super::{App, Error, Failure};
use crate::db::Tx;
use crate::keys::KeyError;
use crate::store;
use crate::store::signing_keys::StoredKey;

/// Licences that one round of the worker issues again, after a key was compromised.
const REISSUED_MAX: i64 = 500;

/// How keys are rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Without waiting until everybody who keeps a copy of the published keys knows the new one.
    pub now: bool,
    /// Although the installed key set of the root does not list the new key, or the old one cannot be read any more.
    pub force: bool,
}

/// What a rotation came to.
#[derive(Clone, Debug)]
pub enum Rotated {
    /// A new key is published; it may sign from then on.
    Published { key: StoredKey, ready_at: Timestamp },
    /// It signs, in the place of the other one.
    Activated { key: StoredKey, retired: Option<String> },
}

/// What giving a key up came to.
#[derive(Clone, Debug)]
pub struct Compromised {
    pub key: StoredKey,
    /// The key that signs in its place, where it signed.
    pub successor: Option<StoredKey>,
}

/// A key as it is stored, without its private half.
///
/// # Errors
/// [`Failure::Corrupt`] where the key has no public half to write down.
pub fn stored(key: &PublicKey, state: KeyState, now: Timestamp) -> Result<StoredKey, Failure> {
    let jwk = key.to_jwk();
    let x = jwk["x"].as_str().ok_or_else(|| Failure::Corrupt("a public key without x".into()))?;
    Ok(StoredKey {
        key_id: key.key_id().to_owned(),
        public_key: x.to_owned(),
        state,
        private_key: None,
        created_at: now,
        activated_at: (state == KeyState::Active).then_some(now),
        retired_at: (state == KeyState::Retired).then_some(now),
        compromised_at: None,
    })
}

impl App {
    /// The key that signs at this moment of the transaction: licences, and whatever else products verify with the same keys.
    ///
    /// # Errors
    /// [`Failure::SigningKey`] where this process does not hold it; failures of the database.
    pub async fn signer(&self, tx: &mut Tx) -> Result<Arc<SigningKey>, Error> {
        self.signer_among(store::signing_keys::find_active(tx).await?.as_slice())
    }

    /// The one of these keys that signs, where they were read in this transaction.
    ///
    /// # Errors
    /// As [`App::signer`].
    pub(super) fn signer_among(&self, keys: &[StoredKey]) -> Result<Arc<SigningKey>, Error> {
        let active = keys.iter().find(|key| key.state == KeyState::Active);
        let active = active.ok_or(Failure::SigningKey(KeyError::NoneActive))?;
        Ok(self.keys.find(&active.key_id, active.private_key.as_deref()).map_err(Failure::from)?)
    }

    /// All keys, and the key set of the root where there is one.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn signing_keys(&self) -> Result<InstalledKeys, Error> {
        super::key_sets::installed_keys(&self.db, &self.settings.public_url).await
    }

    /// Makes a key and publishes it. It signs nothing yet.
    ///
    /// # Errors
    /// [`Refusal::SigningKeyPending`] where another one waits; failures.
    pub async fn generate_key(&self, force: bool, by: &By) -> Result<StoredKey, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let keys = store::signing_keys::list_all(&mut tx).await?;
        if let Some(pending) = keys.iter().find(|key| key.state == KeyState::Pending) {
            return Err(Refusal::SigningKeyPending { key_id: pending.key_id.clone() }.into());
        }
        self.check_that_keys_open(&keys, force)?;
        let key = self.make_key(KeyState::Pending, now)?;
        if !store::signing_keys::insert(&mut tx, &key).await? {
            tx.rollback().await?;
            self.keys.forget(&key.key_id).map_err(Failure::from)?;
            return Err(Refusal::SigningKeysChanged.into());
        }
        store::audit::insert_by(&mut tx, by.entry(), "signing_key_generated", None, &key.key_id, now).await?;
        tx.commit().await?;
        Ok(key)
    }

    /// Goes on to the next key: publishes one where none is pending, and lets the pending one sign once it was published for long
    /// enough.
    ///
    /// # Errors
    /// [`Refusal::SigningKeyTooYoung`], [`Refusal::SigningKeyNotListed`], [`Refusal::SigningKeysChanged`]; failures.
    pub async fn rotate_keys(&self, how: Rotation, by: &By) -> Result<Rotated, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let keys = store::signing_keys::list_all(&mut tx).await?;
        let find = |state| keys.iter().find(|key| key.state == state);
        // Where the key-encryption key is lost, so is the pending key.
        let is_usable = |key: &&StoredKey| {
            !(how.now && how.force) || self.keys.find(&key.key_id, key.private_key.as_deref()).is_ok()
        };
        let Some(pending) = find(KeyState::Pending).filter(is_usable) else {
            if how.now {
                self.check_that_keys_open(&keys, how.force)?;
                return self.rotate_to_new(tx, find(KeyState::Active), how, by, now).await;
            }
            tx.rollback().await?;
            let key = self.generate_key(how.force, by).await?;
            let ready_at = may_sign_from(key.created_at);
            return Ok(Rotated::Published { key, ready_at });
        };
        pending.state.after(KeyAction::Activate)?;
        let ready_at = may_sign_from(pending.created_at);
        if now < ready_at && !how.now {
            return Err(Refusal::SigningKeyTooYoung { ready_at }.into());
        }
        // What nobody here can sign with must not be the one that signs.
        self.keys.find(&pending.key_id, pending.private_key.as_deref()).map_err(Failure::from)?;
        if !how.force {
            super::key_sets::check_that_it_is_listed(&mut tx, &pending.key_id).await?;
        }
        let retired = supersede(&mut tx, find(KeyState::Active), now).await?;
        if !store::signing_keys::activate(&mut tx, &pending.key_id, now).await? {
            return Err(Refusal::SigningKeysChanged.into());
        }
        self.note_rotation(&mut tx, &pending.key_id, retired.as_deref(), by, now).await?;
        let key = found(&mut tx, &pending.key_id).await?;
        tx.commit().await?;
        Ok(Rotated::Activated { key, retired })
    }

    async fn rotate_to_new(
        &self,
        mut tx: Tx,
        active: Option<&StoredKey>,
        how: Rotation,
        by: &By,
        now: Timestamp,
    ) -> Result<Rotated, Error> {
        let retired = supersede(&mut tx, active, now).await?;
        let key = self.make_key(KeyState::Active, now)?;
        let refused = match how.force {
            true => None,
            false => super::key_sets::check_that_it_is_listed(&mut tx, &key.key_id).await.err(),
        };
        let inserted = refused.is_none() && store::signing_keys::insert(&mut tx, &key).await?;
        if !inserted {
            tx.rollback().await?;
            self.keys.forget(&key.key_id).map_err(Failure::from)?;
            return Err(refused.unwrap_or_else(|| Refusal::SigningKeysChanged.into()));
        }
        self.note_rotation(&mut tx, &key.key_id, retired.as_deref(), by, now).await?;
        tx.commit().await?;
        Ok(Rotated::Activated { key, retired })
    }

    async fn note_rotation(
        &self,
        tx: &mut Tx,
        key_id: &str,
        retired: Option<&str>,
        by: &By,
        now: Timestamp,
    ) -> Result<(), Error> {
        let told = format!("{key_id} signs in the place of {}", retired.unwrap_or("none"));
        Ok(store::audit::insert_by(tx, by.entry(), "signing_key_rotated", None, &told, now).await?)
    }

    /// Takes a pending key back. What keys signed that were retired is good.
    ///
    /// # Errors
    /// [`Refusal::SigningKeyUnknown`]; [`Refusal::SigningKeyState`], also for the key that signs; failures.
    pub async fn retire_key(&self, key_id: &str, by: &By) -> Result<StoredKey, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let key = found(&mut tx, key_id).await?;
        key.state.after(KeyAction::Retire)?;
        if !store::signing_keys::retire(&mut tx, key_id, key.state, now).await? {
            return Err(Refusal::SigningKeysChanged.into());
        }
        store::audit::insert_by(&mut tx, by.entry(), "signing_key_retired", None, key_id, now).await?;
        let key = found(&mut tx, key_id).await?;
        tx.commit().await?;
        Ok(key)
    }

    /// Gives a key up that somebody else has: from now on nothing that it signed counts. Where it is the one that signs, another
    /// one does at once, published or not. The worker issues what it signed again; [`App::reissue_compromised`] does so now.
    ///
    /// # Errors
    /// [`Refusal::SigningKeyUnknown`], [`Refusal::SigningKeyState`], [`Refusal::SigningKeysChanged`]; failures.
    pub async fn compromise_key(&self, key_id: &str, by: &By) -> Result<Compromised, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let key = found(&mut tx, key_id).await?;
        key.state.after(KeyAction::Compromise)?;
        if !store::signing_keys::compromise(&mut tx, key_id, key.state, now).await? {
            return Err(Refusal::SigningKeysChanged.into());
        }
        let successor = match key.state {
            KeyState::Active => Some(self.succeed(&mut tx, now).await?),
            KeyState::Pending | KeyState::Retired | KeyState::Compromised => None,
        };
        let told = match &successor {
            Some(next) => format!("{key_id}, and {} signs in its place", next.key_id),
            None => key_id.to_owned(),
        };
        store::audit::insert_by(&mut tx, by.entry(), "signing_key_compromised", None, &told, now).await?;
        let key = found(&mut tx, key_id).await?;
        tx.commit().await?;
        // After the commit: a file that is left is removed by the next start.
        if let Err(error) = self.keys.forget(key_id) {
            tracing::warn!(%error, "the file of a compromised key could not be removed");
        }
        Ok(Compromised { key, successor })
    }

    /// The pending key where this process holds it, else a new one, signs.
    async fn succeed(&self, tx: &mut Tx, now: Timestamp) -> Result<StoredKey, Error> {
        let keys = store::signing_keys::list_all(tx).await?;
        let is_at_hand = |key: &&StoredKey| self.keys.find(&key.key_id, key.private_key.as_deref()).is_ok();
        if let Some(pending) = keys.iter().filter(|key| key.state == KeyState::Pending).find(is_at_hand)
            && store::signing_keys::activate(tx, &pending.key_id, now).await?
        {
            return found(tx, &pending.key_id).await;
        }
        let key = self.make_key(KeyState::Active, now)?;
        match store::signing_keys::insert(tx, &key).await? {
            true => Ok(key),
            false => Err(Refusal::SigningKeysChanged.into()),
        }
    }

    /// A new key. Its private half is kept before anybody hears of it; where the transaction fails, a file is left that signs nothing.
    fn make_key(&self, state: KeyState, now: Timestamp) -> Result<StoredKey, Error> {
        let key = SigningKey::from_seed(&self.entropy.bytes());
        let private_key = self.keys.keep(&key, self.entropy.bytes()).map_err(Failure::from)?;
        Ok(StoredKey { private_key, ..stored(&key.public(), state, now)? })
    }

    /// A key that is made under another key-encryption key than the others would be one that the other servers cannot read.
    fn check_that_keys_open(&self, keys: &[StoredKey], force: bool) -> Result<(), Error> {
        let sealed = keys.iter().filter(|key| key.private_key.is_some());
        for key in sealed.filter(|_| !force) {
            self.keys.find(&key.key_id, key.private_key.as_deref()).map_err(Failure::from)?;
        }
        Ok(())
    }

    /// Customers after this one whose newest licence was signed with a compromised key.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn signed_by_compromised(&self, after: &str, limit: i64) -> Result<Vec<CustomerId>, Error> {
        let mut tx = self.db.begin_read().await?;
        let found = store::licenses::list_signed_by_compromised(&mut tx, after, self.now(), limit).await?;
        tx.rollback().await?;
        Ok(found)
    }

    /// Issues one of them again under the key that signs now; false where nothing is entitled any more, or somebody was faster.
    ///
    /// # Errors
    /// Failures.
    pub async fn reissue_compromised(&self, customer_id: &CustomerId, by: &By) -> Result<bool, Error> {
        let again = Again { mail: true, only_if_due: true };
        match self.reissue_by(customer_id, by, again).await {
            Ok(issued) => Ok(issued.is_some()),
            Err(Error::Refused(Refusal::NoLicense | Refusal::LicenseRevoked | Refusal::CustomerUnknown)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What is left of that is done by the worker, so that neither a crash nor a signature under way leaves anybody behind.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn sweep_compromised(&self) -> Result<usize, Error> {
        let by = By::sweep("the key that signed the license is compromised");
        let mut issued = 0;
        let mut after = String::new();
        loop {
            let page = self.signed_by_compromised(&after, REISSUED_MAX).await?;
            let Some(last) = page.last() else { return Ok(issued) };
            after = last.to_string();
            for customer_id in &page {
                match self.reissue_compromised(customer_id, &by).await {
                    Ok(done) => issued += usize::from(done),
                    Err(error) => {
                        tracing::warn!(%customer_id, %error, "a license of a compromised key was not issued again")
                    }
                }
            }
        }
    }
}

async fn found(tx: &mut Tx, key_id: &str) -> Result<StoredKey, Error> {
    Ok(store::signing_keys::find(tx, key_id).await?.ok_or(Refusal::SigningKeyUnknown)?)
}

/// Retires the key that signs, if there is one.
async fn supersede(tx: &mut Tx, active: Option<&StoredKey>, now: Timestamp) -> Result<Option<String>, Error> {
    let Some(active) = active else { return Ok(None) };
    active.state.after(KeyAction::Supersede)?;
    match store::signing_keys::retire(tx, &active.key_id, active.state, now).await? {
        true => Ok(Some(active.key_id.clone())),
        false => Err(Refusal::SigningKeysChanged.into()),
    }
}
