//! Revocation that works offline: each version has a random place in a signed list, and the list says what became of it.
//!
//! What stands in a list changes in the transaction that changes the right. The list itself is signed when somebody asks, at
//! most once a minute, and is the same text for as long as nothing in it changes: products and proxies keep it by its `ETag`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use counterfoil_core::entitlement::{Ended, Grant};
use counterfoil_core::listing::{Listed, Mark, mark};
use counterfoil_core::{CustomerId, LicenseId, Refusal, Subscription, Timestamp};
use counterfoil_license::{SigningKey, Status, StatusEntries, StatusList, StatusReference};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use super::{App, Error, Failure};
use crate::db::Tx;
use crate::store;
use crate::store::license_statuses::{Drawn, Place};

/// Places in a list. So many licences share one that fetching it does not tell whose product asks.
pub const LIST_PLACES: usize = 1 << 16;

/// A list counts as full when so many random places in a row are taken: at about three in five.
const DRAWS_MAX: usize = 16;

/// For how long a list is not looked at again, and how long proxies may keep it.
pub const LIST_FRESH_SECONDS: u32 = 60;

/// A list whose words do not change is signed anew this many times in its life.
const SIGNED_PER_LIFE: i64 = 4;

/// A list as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedStatusList {
    /// `typ: statuslist+jwt`.
    pub token: String,
    /// The same on every replica for as long as the list says the same.
    pub etag: String,
}

/// The lists that this process has signed.
#[derive(Debug, Default)]
pub struct StatusLists(Mutex<HashMap<i64, Kept>>);

#[derive(Debug)]
struct Kept {
    looked_at: Timestamp,
    signed: Arc<SignedStatusList>,
}

impl App {
    /// A place for each of these new versions: random, and nobody else's.
    pub(super) async fn take_places(
        &self,
        tx: &mut Tx,
        whose: &[(&CustomerId, &LicenseId)],
        now: Timestamp,
    ) -> Result<Vec<StatusReference>, Error> {
        let newest = store::license_statuses::find_newest_list(tx).await?;
        let mut places: BTreeMap<&LicenseId, Place> = BTreeMap::new();
        // The next list is empty, unless others have filled it meanwhile.
        for list in [newest, newest + 1] {
            for _ in 0..DRAWS_MAX {
                let waiting = whose.iter().filter(|(_, license_id)| !places.contains_key(license_id));
                let draw = || Place { list, index: i64::from(u16::from_le_bytes(self.entropy.bytes())) };
                let mut drawn: Vec<Drawn<'_>> =
                    waiting.map(|(customer, license)| (*customer, *license, draw())).collect();
                if drawn.is_empty() {
                    break;
                }
                // Whoever draws a place that another transaction is about to take waits for it. In one order, nobody waits in a circle.
                drawn.sort_by_key(|(_, _, place)| (place.list, place.index));
                let taken = store::license_statuses::take_all(tx, &drawn, now).await?;
                let ours = drawn.into_iter().filter(|(_, license_id, _)| taken.contains(*license_id));
                places.extend(ours.map(|(_, license_id, place)| (license_id, place)));
            }
        }
        let reference = |license_id: &LicenseId| {
            let place = places.get(license_id)?;
            Some(StatusReference { idx: place.index.unsigned_abs(), uri: self.status_list_uri(place.list) })
        };
        let references: Option<Vec<StatusReference>> =
            whose.iter().map(|(_, license_id)| reference(license_id)).collect();
        references.ok_or_else(|| Failure::Corrupt("an empty status list has no free place".into()).into())
    }

    /// Where a list is fetched, and its name.
    #[must_use]
    pub fn status_list_uri(&self, list: i64) -> String {
        format!("{}/{list}.jwt", self.settings.status_list.url)
    }

    /// Lets the lists say what the customer's right means for the versions that are out.
    pub(super) async fn mark_licenses(
        &self,
        tx: &mut Tx,
        customer_id: &CustomerId,
        subscription: &Subscription,
        right: Result<&Grant, Ended>,
        now: Timestamp,
    ) -> Result<(), Error> {
        match mark(right, subscription.money()) {
            Mark::Restore => store::license_statuses::restore_all(tx, customer_id, now).await?,
            Mark::Suspend => store::license_statuses::suspend_all(tx, customer_id, now).await?,
            Mark::Withdraw => store::license_statuses::withdraw_all(tx, customer_id, now).await?,
            Mark::Leave => 0,
        };
        Ok(())
    }

    /// A list, signed.
    ///
    /// # Errors
    /// [`Refusal::StatusListUnknown`] where no version has a place in it; failures.
    pub async fn status_list(&self, list: i64) -> Result<Arc<SignedStatusList>, Error> {
        let now = self.now();
        // Whoever comes while a list is made waits for it: it is made once.
        let mut kept = self.status_lists.0.lock().await;
        if let Some(found) = kept.get(&list)
            && now < found.looked_at.plus_seconds(i64::from(LIST_FRESH_SECONDS))
            && found.looked_at <= now
        {
            return Ok(Arc::clone(&found.signed));
        }
        let mut tx = self.db.begin_read().await?;
        let exists = store::license_statuses::exists(&mut tx, list).await?;
        let marked = store::license_statuses::list_marked(&mut tx, list).await?;
        let signer = self.signer(&mut tx).await?;
        tx.rollback().await?;
        if !exists {
            return Err(Refusal::StatusListUnknown.into());
        }
        let etag = self.etag(signer.key_id(), &marked, now);
        let signed = match kept.get(&list) {
            Some(old) if old.signed.etag == etag => Arc::clone(&old.signed),
            Some(_) | None => Arc::new(SignedStatusList { token: self.sign_list(&signer, list, &marked, now)?, etag }),
        };
        kept.insert(list, Kept { looked_at: now, signed: Arc::clone(&signed) });
        Ok(signed)
    }

    /// How many lists there are: they are counted from 1.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn count_status_lists(&self) -> Result<i64, Error> {
        let mut tx = self.db.begin_read().await?;
        let newest = store::license_statuses::find_newest_list(&mut tx).await?;
        let count = if store::license_statuses::exists(&mut tx, newest).await? { newest } else { 0 };
        tx.rollback().await?;
        Ok(count)
    }

    fn sign_list(
        &self,
        signer: &SigningKey,
        list: i64,
        marked: &[(i64, Listed)],
        now: Timestamp,
    ) -> Result<String, Error> {
        let mut entries = StatusEntries::new(LIST_PLACES);
        for &(index, listed) in marked {
            let index = usize::try_from(index).ok().filter(|&index| index < LIST_PLACES);
            let index = index.ok_or_else(|| Failure::Corrupt("a place beyond the end of its status list".into()))?;
            entries.set(index, status(listed));
        }
        let settings = &self.settings.status_list;
        let issued_at = now.as_unix_seconds();
        Ok(signer.sign_status_list(&StatusList {
            uri: self.status_list_uri(list),
            issued_at,
            expires_at: issued_at + settings.life_seconds,
            ttl_seconds: Some(settings.ttl_seconds.unsigned_abs()),
            entries,
        }))
    }

    /// A mark of what the list says, of the key, and of the quarter of its life: replicas sign at different seconds and agree
    /// in this.
    fn etag(&self, key_id: &str, marked: &[(i64, Listed)], now: Timestamp) -> String {
        let settings = &self.settings.status_list;
        let quarter = now.as_unix_seconds().div_euclid((settings.life_seconds / SIGNED_PER_LIFE).max(1));
        let mut digest = Sha256::new();
        digest.update(format!("{}\n{}\n{quarter}\n", settings.url, key_id));
        for (index, listed) in marked {
            digest.update(format!("{index} {}\n", listed.word()));
        }
        format!("W/\"{}\"", hex::encode(&digest.finalize()[..16]))
    }
}

const fn status(listed: Listed) -> Status {
    match listed {
        Listed::Valid => Status::Valid,
        Listed::Invalid => Status::Invalid,
        Listed::Suspended => Status::Suspended,
        Listed::Superseded => Status::Superseded,
    }
}
