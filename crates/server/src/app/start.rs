//! Taking a database into use: which installation it is, and whether it fits the provider's key.

use counterfoil_core::{Catalog, InstanceId, Timestamp};
use counterfoil_license::SigningKey;

use super::{Error, Failure};
use crate::db::Db;
use crate::entropy::Entropy;
use crate::store;
use crate::store::instance::Instance;

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

/// Publishes the public half of the key that this process signs with.
///
/// # Errors
/// Failures of the database.
pub async fn publish_key(db: &Db, key: &SigningKey, now: Timestamp) -> Result<(), Error> {
    let jwk = key.public().to_jwk();
    let x = jwk["x"].as_str().ok_or_else(|| Failure::Corrupt("a public key without x".into()))?;
    let mut tx = db.begin().await?;
    store::signing_keys::insert(&mut tx, key.key_id(), x, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends leases of earlier runs: only where this process is the only one on the database (SQLite).
///
/// # Errors
/// Failures of the database.
pub async fn end_leases_of_earlier_runs(db: &Db, holder: &str, now: Timestamp) -> Result<(), Error> {
    let mut tx = db.begin().await?;
    store::leases::end_all_but(&mut tx, holder, now).await?;
    tx.commit().await?;
    Ok(())
}
