//! Taking a database into use: which installation it is, and whether it fits the provider's key.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_core::signing_key::KeyState;
use counterfoil_core::{Catalog, InstanceId, Timestamp};
use counterfoil_license::SigningKey;

use super::signing_keys::stored;
use super::{Error, Failure};
use crate::db::{Db, Tx};
use crate::entropy::Entropy;
use crate::keys::{KeyError, Keyring};
use crate::providers::PaymentProvider;
use crate::store;
use crate::store::instance::Instance;
use crate::store::signing_keys::StoredKey;

/// With which kind of provider key a database is used. It never changes: ids of one kind mean nothing to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Realm {
    /// The built-in sandbox.
    Sandbox,
    /// Stripe's test mode.
    Test,
    /// Real money.
    Live,
}

impl Realm {
    /// The word that is stored.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Test => "test",
            Self::Live => "live",
        }
    }
}

/// Why the database was not taken into use.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It belongs to another realm.
    #[error(
        "this database was first used in {used} mode and cannot be used in {wanted} mode: its customers do not exist there. \
         Use another database (DATABASE_URL or COUNTERFOIL_DATA_DIR)"
    )]
    OtherRealm {
        /// The realm it belongs to.
        used: String,
        /// The realm of this start.
        wanted: &'static str,
    },
    /// The key belongs to another account of the provider.
    #[error(
        "the API key belongs to the account {wanted} at the payment provider, but this database was used with {used}. There \
         every customer would look deleted, and subscriptions would be ended. Use the key of {used}, or another database"
    )]
    OtherAccount {
        /// The account that is noted.
        used: String,
        /// The account of this start.
        wanted: String,
    },
    /// Customers have plans that the catalogue does not know: they would lose what they paid for.
    #[error(
        "customers have plans that the configuration does not know: {}. Put them back; a plan without prices stays valid for \
         those who have it and cannot be bought",
        plans.join(", ")
    )]
    PlansMissing {
        /// Their codes.
        plans: Vec<String>,
    },
    /// It failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// The installation of this database, written at the first start.
///
/// # Errors
/// [`StartError`].
pub async fn take_into_use(db: &Db, realm: Realm, entropy: &Entropy, now: Timestamp) -> Result<Instance, StartError> {
    let fresh = Instance {
        instance_id: InstanceId::from_random(entropy.bytes()),
        realm: realm.word().to_owned(),
        ledger_key: entropy.bytes::<32>().to_vec(),
    };
    let mut tx = db.begin().await.map_err(Error::from)?;
    // Where another replica starts at the same time, one row wins and both read it.
    store::instance::insert(&mut tx, &fresh, realm == Realm::Live, now).await.map_err(Error::from)?;
    let found = store::instance::find(&mut tx).await.map_err(Error::from)?;
    tx.commit().await.map_err(Error::from)?;
    let found = found.ok_or_else(|| Error::from(Failure::Corrupt("the instance row is missing".into())))?;
    if found.realm == realm.word() {
        Ok(found)
    } else {
        Err(StartError::OtherRealm { used: found.realm, wanted: realm.word() })
    }
}

/// How long a start waits for the provider to say whose key this is.
const ACCOUNT_WAIT: Duration = Duration::from_secs(3);

/// Refuses the key of another account than the one that this database was first used with. A provider that does not answer,
/// or a key that may not ask, keeps nobody from starting: licences are issued without the provider too. Whether it is known to be the
/// right one.
///
/// # Errors
/// [`StartError::OtherAccount`], or failures of the database.
pub async fn check_account(db: &Db, provider: &dyn PaymentProvider) -> Result<bool, StartError> {
    let wanted = match tokio::time::timeout(ACCOUNT_WAIT, provider.account_id()).await {
        Ok(Ok(Some(account))) => account,
        Ok(Ok(None)) => {
            tracing::warn!("the API key may not read its account: whether it is the right one was not checked");
            return Ok(false);
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "the payment provider did not say whose API key this is; it was not checked");
            return Ok(false);
        }
        Err(_elapsed) => {
            tracing::warn!("the payment provider does not answer; whose API key this is was not checked");
            return Ok(false);
        }
    };
    bind_account(db, wanted).await?;
    Ok(true)
}

/// The first account that a database is used with stays its account.
pub(super) async fn bind_account(db: &Db, wanted: String) -> Result<(), StartError> {
    let mut tx = db.begin().await.map_err(Error::from)?;
    let used = store::instance::bind_external_account(&mut tx, &wanted).await.map_err(Error::from)?;
    tx.commit().await.map_err(Error::from)?;
    match used {
        Some(used) if used != wanted => Err(StartError::OtherAccount { used, wanted }),
        Some(_) | None => Ok(()),
    }
}

/// Refuses a catalogue that lacks a plan that somebody has.
///
/// # Errors
/// [`StartError::PlansMissing`], or failures of the database.
pub async fn check_catalog(db: &Db, catalog: &Catalog) -> Result<(), StartError> {
    let mut tx = db.begin_read().await.map_err(Error::from)?;
    let in_use = store::subscriptions::list_plans(&mut tx).await.map_err(Error::from)?;
    tx.rollback().await.map_err(Error::from)?;
    let plans: Vec<String> =
        in_use.iter().filter(|plan| catalog.find(plan).is_none()).map(ToString::to_string).collect();
    if plans.is_empty() { Ok(()) } else { Err(StartError::PlansMissing { plans }) }
}

/// Sees that there is a key that signs, and that the database knows the keys that this process holds.
///
/// The first start makes the key. A key that the operator gives and nobody knows takes over at once. Files of keys that the database
/// does not know are those of a newer database than this one, which is a backup: they are published, so that what they signed is
/// good, and sign nothing.
///
/// # Errors
/// [`Failure::SigningKey`]; failures of the database.
pub async fn ready_keys(db: &Db, keys: &Keyring, entropy: &Entropy, now: Timestamp) -> Result<(), Error> {
    let mut tx = db.begin().await?;
    let known = store::signing_keys::list_all(&mut tx).await?;
    install_first_or_given(&mut tx, keys, entropy, &known, now).await?;
    // Where another process was faster, it is its key that is known.
    let known = store::signing_keys::list_all(&mut tx).await?;
    publish_unknown_files(&mut tx, keys, entropy, &known, now).await?;
    seal_and_forget(&mut tx, keys, entropy, &known).await?;
    tx.commit().await?;
    Ok(())
}

async fn install_first_or_given(
    tx: &mut Tx,
    keys: &Keyring,
    entropy: &Entropy,
    known: &[StoredKey],
    now: Timestamp,
) -> Result<(), Error> {
    if known.is_empty() {
        let first = keys.first(entropy.bytes()).map_err(Failure::from)?;
        return insert_key(tx, keys, entropy, &first, KeyState::Active, now).await;
    }
    let is_unknown = |given: &&SigningKey| known.iter().all(|key| key.key_id != given.key_id());
    let Some(given) = keys.given().filter(is_unknown) else { return Ok(()) };
    for active in known.iter().filter(|key| key.state == KeyState::Active) {
        store::signing_keys::retire(tx, &active.key_id, active.state, now).await?;
    }
    insert_key(tx, keys, entropy, given, KeyState::Active, now).await?;
    let by = ("start", "COUNTERFOIL_LICENSE_KEY gives another key");
    store::audit::insert_by(tx, by, "signing_key_rotated", None, given.key_id(), now).await?;
    Ok(())
}

/// Only where this process holds the key that signs: the files of another installation's folder are none of ours.
async fn publish_unknown_files(
    tx: &mut Tx,
    keys: &Keyring,
    entropy: &Entropy,
    known: &[StoredKey],
    now: Timestamp,
) -> Result<(), Error> {
    if !known.iter().filter(|key| key.state == KeyState::Active).any(|key| find(keys, key).is_ok()) {
        return Ok(());
    }
    let files = keys.in_files().map_err(Failure::from)?;
    for key in files.iter().filter(|key| known.iter().all(|other| other.key_id != key.key_id())) {
        insert_key(tx, keys, entropy, key, KeyState::Retired, now).await?;
        let by = ("start", "its file is in the data directory, and the database did not know it");
        store::audit::insert_by(tx, by, "signing_key_published", None, key.key_id(), now).await?;
    }
    Ok(())
}

/// Private halves go from files into the database where they are kept there, and those of compromised keys go for good.
async fn seal_and_forget(tx: &mut Tx, keys: &Keyring, entropy: &Entropy, known: &[StoredKey]) -> Result<(), Error> {
    for key in known.iter().filter(|key| key.private_key.is_none()) {
        match key.state {
            KeyState::Pending | KeyState::Active => {
                if let Some(sealed) = find(keys, key).ok().and_then(|held| keys.seal(&held, entropy.bytes())) {
                    store::signing_keys::take_over(tx, &key.key_id, &sealed).await?;
                }
            }
            KeyState::Compromised => keys.forget(&key.key_id).map_err(Failure::from)?,
            KeyState::Retired => {}
        }
    }
    Ok(())
}

fn find(keys: &Keyring, key: &StoredKey) -> Result<Arc<SigningKey>, KeyError> {
    keys.find(&key.key_id, key.private_key.as_deref())
}

async fn insert_key(
    tx: &mut Tx,
    keys: &Keyring,
    entropy: &Entropy,
    key: &SigningKey,
    state: KeyState,
    now: Timestamp,
) -> Result<(), Error> {
    let private_key = match state {
        KeyState::Pending | KeyState::Active => keys.seal(key, entropy.bytes()),
        KeyState::Retired | KeyState::Compromised => None,
    };
    let row = StoredKey { private_key, ..stored(&key.public(), state, now)? };
    store::signing_keys::insert(tx, &row).await?;
    Ok(())
}

/// Ends leases of earlier runs: only where this process is the only one on the database (SQLite).
///
/// # Errors
/// Failures of the database.
pub async fn end_leases_of_earlier_runs(db: &Db, holder: &str, now: Timestamp) -> Result<(), Error> {
    let mut tx = db.begin().await?;
    store::leases::end_all_but(&mut tx, holder, now).await?;
    store::sweeps::end_all_but(&mut tx, holder, now).await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing;
    use crate::store::sweeps::Sweep;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_790_000_000);

    #[tokio::test]
    async fn what_an_earlier_run_held_is_free_and_what_this_one_holds_is_not() {
        for engine in testing::engines() {
            let db = testing::fresh(engine).await;
            let (soon, later) = (NOW.plus_seconds(1), NOW.plus_seconds(300));
            let mut tx = db.begin().await.unwrap();
            for (sweep, holder) in [(Sweep::Events, "run_old"), (Sweep::Comparison, "run_new")] {
                store::sweeps::ensure(&mut tx, sweep, "stripe", NOW, NOW).await.unwrap();
                let taken = store::sweeps::take(&mut tx, sweep, "stripe", holder, NOW, later, later).await.unwrap();
                assert!(taken.is_some(), "it is due");
            }
            tx.commit().await.unwrap();
            end_leases_of_earlier_runs(&db, "run_new", soon).await.unwrap();
            let mut tx = db.begin().await.unwrap();
            let mut is_free = async |sweep| {
                let taken = store::sweeps::take(&mut tx, sweep, "stripe", "run_other", soon, later, later).await;
                taken.unwrap().is_some()
            };
            assert!(is_free(Sweep::Events).await);
            assert!(!is_free(Sweep::Comparison).await);
        }
    }

    #[tokio::test]
    async fn a_database_stays_with_the_account_and_the_mode_it_was_first_used_with() {
        for engine in testing::engines() {
            let db = testing::fresh(engine).await;
            take_into_use(&db, Realm::Test, &Entropy, NOW).await.unwrap();
            bind_account(&db, "acct_first".to_owned()).await.unwrap();
            bind_account(&db, "acct_first".to_owned()).await.unwrap();
            let other = bind_account(&db, "acct_other".to_owned()).await.unwrap_err();
            assert!(matches!(other, StartError::OtherAccount { used, .. } if used == "acct_first"));
            let live = take_into_use(&db, Realm::Live, &Entropy, NOW).await.err().unwrap();
            assert!(matches!(live, StartError::OtherRealm { used, wanted: "live" } if used == "test"));
        }
    }
}
