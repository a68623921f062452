//! The list of keys that the offline root signs, for products that pin the root.
//!
//! The root's private half is never read here. A set is taken in only where it does no harm: signed by the root that is pinned, for
//! this server, in force, not older than the one before, and with every key that products have to know.

use std::fmt::Write as _;

use counterfoil_core::signing_key::KeyState;
use counterfoil_core::{Refusal, Timestamp};
use counterfoil_license::{
    KEYS_MAX, KeyState as Listed, ListedKey, PublicKey, RootPublicKey, SignedKeySet, SignedKeySetError,
};
use sha2::{Digest as _, Sha256};

use super::operators::By;
use super::{App, Error, Failure};
use crate::checks::Check;
use crate::db::{Db, Tx};
use crate::store;
use crate::store::key_sets::InstalledSet;
use crate::store::signing_keys::StoredKey;

/// A set that ends sooner is due to be signed anew.
const DAYS_LEFT_MIN: i64 = 30;

/// A retired key still verifies what says that it was issued so long after: a signature that was under way while keys were rotated.
const RETIRED_SLACK_SECONDS: i64 = 3600;

/// The keys of an installation.
#[derive(Clone, Debug)]
pub struct InstalledKeys {
    /// The `iss` of what they sign.
    pub issuer: String,
    /// The oldest first.
    pub keys: Vec<StoredKey>,
    /// What the root signed last.
    pub key_set: Option<InstalledSet>,
}

/// The text as it is served, and its tag for caches.
#[derive(Clone, Debug)]
pub struct ServedSet {
    pub token: String,
    pub etag: String,
}

/// Reads keys and key set.
///
/// # Errors
/// Failures of the database.
pub async fn installed_keys(db: &Db, issuer: &str) -> Result<InstalledKeys, Error> {
    let mut tx = db.begin_read().await?;
    let keys = store::signing_keys::list_all(&mut tx).await?;
    let key_set = store::key_sets::find(&mut tx).await?;
    tx.rollback().await?;
    Ok(InstalledKeys { issuer: issuer.to_owned(), keys, key_set })
}

/// Refuses a key that products that pin the root would not know.
///
/// # Errors
/// [`Refusal::SigningKeyNotListed`]; failures.
pub async fn check_that_it_is_listed(tx: &mut Tx, key_id: &str) -> Result<(), Error> {
    let Some(installed) = store::key_sets::find(tx).await? else { return Ok(()) };
    match open(&installed)?.find(key_id).map(|listed| listed.state) {
        Some(Listed::Active) => Ok(()),
        _ => Err(Refusal::SigningKeyNotListed { key_id: key_id.to_owned() }.into()),
    }
}

fn open(installed: &InstalledSet) -> Result<SignedKeySet, Failure> {
    let corrupt = || Failure::Corrupt("the installed key set is none".into());
    let root: RootPublicKey = installed.root.parse().map_err(|_| corrupt())?;
    SignedKeySet::open(&installed.token, &root, None).map_err(|_| corrupt())
}

/// What the root is to sign for these keys: all that a set has room for, those in use first.
#[must_use]
pub fn to_be_signed(keys: &[(PublicKey, KeyState, Option<Timestamp>)]) -> Vec<ListedKey> {
    let rank = |state: KeyState| match state {
        KeyState::Active => 0,
        KeyState::Pending => 1,
        KeyState::Retired => 2,
        KeyState::Compromised => 3,
    };
    let mut keys: Vec<_> = keys.iter().collect();
    keys.sort_by_key(|(_, state, ended)| (rank(*state), std::cmp::Reverse(*ended)));
    let listed = |(key, state, ended): &(PublicKey, KeyState, Option<Timestamp>)| {
        let (state, expires_at) = match (state, ended) {
            (KeyState::Pending | KeyState::Active, _) => (Listed::Active, None),
            // A key of which it is not known when it ended is as good as one that signs.
            (KeyState::Retired, None) => (Listed::Active, None),
            (KeyState::Retired, Some(at)) => (Listed::Retired, Some(at.as_unix_seconds() + RETIRED_SLACK_SECONDS)),
            (KeyState::Compromised, _) => (Listed::Compromised, None),
        };
        ListedKey { key: key.clone(), state, not_before: None, expires_at }
    };
    keys.into_iter().take(KEYS_MAX).map(listed).collect()
}

impl App {
    /// Takes a key set in that the root has signed, and serves it from now on. `root` says which root, where none is pinned yet or
    /// another one is to be.
    ///
    /// # Errors
    /// [`Refusal::KeySetRefused`], with what is wrong; failures.
    pub async fn install_key_set(&self, text: &str, root: Option<&str>, by: &By) -> Result<InstalledSet, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let before = store::key_sets::find(&mut tx).await?;
        let keys = store::signing_keys::list_all(&mut tx).await?;
        let refused = |reason: String| Error::from(Refusal::KeySetRefused { reason });
        let Some(root) = root.or(before.as_ref().map(|before| before.root.as_str())) else {
            return Err(refused(
                "no root is pinned here yet; say which one products pin (--root cfroot1:…)".to_owned(),
            ));
        };
        let root: RootPublicKey = root.trim().parse().map_err(|error| refused(format!("{error}")))?;
        let is_pinned = |before: &&InstalledSet| before.root == root.to_string();
        let seen = before.as_ref().filter(is_pinned).and_then(|before| u64::try_from(before.serial).ok());
        let set = SignedKeySet::open(text.trim(), &root, seen)
            .map_err(|error: SignedKeySetError| refused(format!("{error}")))?;
        judge(&set, &self.settings.public_url, &keys, now).map_err(refused)?;
        let serial = i64::try_from(set.serial).map_err(|_| refused("its serial is too high".to_owned()))?;
        let installed = InstalledSet {
            root: root.to_string(),
            token: text.trim().to_owned(),
            serial,
            expires_at: Timestamp::from_unix_seconds(set.expires_at),
            installed_at: now,
        };
        if !store::key_sets::put(&mut tx, &installed).await? {
            return Err(Refusal::SigningKeysChanged.into());
        }
        let told = format!("serial {serial}, {} keys, root {}", set.keys.len(), root.key_id());
        store::audit::insert_by(&mut tx, by.entry(), "key_set_installed", None, &told, now).await?;
        tx.commit().await?;
        Ok(installed)
    }

    /// The installed key set, as it is served.
    ///
    /// # Errors
    /// [`Refusal::NoKeySet`]; failures of the database.
    pub async fn served_key_set(&self) -> Result<ServedSet, Error> {
        let mut tx = self.db.begin_read().await?;
        let found = store::key_sets::find(&mut tx).await?;
        tx.rollback().await?;
        let installed = found.ok_or(Refusal::NoKeySet)?;
        let digest = Sha256::digest(installed.token.as_bytes());
        Ok(ServedSet { etag: format!("\"{}\"", hex::encode(&digest[..16])), token: installed.token })
    }
}

/// What is wrong with a set for these keys, in words.
fn judge(set: &SignedKeySet, issuer: &str, keys: &[StoredKey], now: Timestamp) -> Result<(), String> {
    if set.issuer != issuer {
        return Err(format!("it is for {}, and this server is {issuer}", set.issuer));
    }
    if set.expires_at <= now.as_unix_seconds() {
        return Err("it has ended already; sign a new one".to_owned());
    }
    let mut wrong = String::new();
    for key in keys {
        let listed = set.find(&key.key_id).map(|listed| listed.state);
        let problem = match (key.state, listed) {
            (KeyState::Active | KeyState::Pending, Some(Listed::Active)) => continue,
            (KeyState::Retired, Some(Listed::Active | Listed::Retired)) => continue,
            (KeyState::Compromised, None | Some(Listed::Compromised)) => continue,
            // A set has room for so many; those that signed last are in it.
            (KeyState::Retired, None) if set.keys.len() == KEYS_MAX => continue,
            (KeyState::Compromised, Some(_)) => "trusts the compromised",
            (_, None) => "does not list the",
            (_, Some(_)) => "does not trust the",
        };
        // Writing into a text cannot fail.
        let _ = write!(wrong, "; it {problem} key {} ({})", key.key_id, key.state.word());
    }
    match wrong.strip_prefix("; ") {
        None => Ok(()),
        Some(wrong) => Err(format!("{wrong}; sign one from what `counterfoil keys list --json` says now")),
    }
}

/// Whether products that pin the root can go on: nothing to tell where no root signs.
pub async fn check_key_set(db: &Db, issuer: &str, now: Timestamp) -> Option<Check> {
    const ADVICE: &str = "Take the output of `counterfoil keys list --json` to the root (`counterfoil keys root sign`), and install what it \
                          signs (`counterfoil keys root install`).";
    let InstalledKeys { keys, key_set, .. } = match installed_keys(db, issuer).await {
        Ok(found) => found,
        Err(error) => {
            return Some(Check::problem(
                "key_set",
                format!("the key set cannot be read: {error}"),
                "See the database first.",
            ));
        }
    };
    let installed = key_set?;
    let ends = installed.expires_at.date_in_words();
    let judged = open(&installed).map_err(|error| error.to_string()).and_then(|set| judge(&set, issuer, &keys, now));
    Some(match judged {
        Err(wrong) => {
            Check::problem("key_set_stale", format!("the key set of the root no longer fits: {wrong}"), ADVICE)
        }
        Ok(()) if installed.expires_at < now.plus_days(DAYS_LEFT_MIN) => Check::warning(
            "key_set_ends",
            format!("the key set of the root ends on {ends}; then products refuse every license"),
            ADVICE,
        ),
        Ok(()) => Check::ok("key_set", format!("the key set of the root lists all keys, to {ends}")),
    })
}

#[cfg(test)]
mod tests {
    use counterfoil_license::SigningKey;

    use super::*;
    use crate::app::signing_keys::stored;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_790_000_000);
    const ISSUER: &str = "https://billing.example.com";

    fn key(seed: u8, state: KeyState) -> (PublicKey, KeyState, Option<Timestamp>) {
        let ended = (!matches!(state, KeyState::Active | KeyState::Pending)).then_some(NOW.plus_days(-i64::from(seed)));
        (SigningKey::from_seed(&[seed; 32]).public(), state, ended)
    }

    fn judged(listed: &[(u8, KeyState)], held: &[(u8, KeyState)]) -> Result<(), String> {
        let public: Vec<_> = listed.iter().map(|(seed, state)| key(*seed, *state)).collect();
        let set = SignedKeySet {
            issuer: ISSUER.to_owned(),
            issued_at: NOW.as_unix_seconds(),
            expires_at: NOW.as_unix_seconds() + 60,
            serial: 1,
            keys: to_be_signed(&public),
        };
        let held: Vec<_> =
            held.iter().map(|(seed, state)| stored(&key(*seed, *state).0, *state, NOW).unwrap()).collect();
        judge(&set, ISSUER, &held, NOW)
    }

    #[test]
    fn a_set_is_good_where_it_has_what_products_need_and_nothing_that_harms() {
        use KeyState::{Active, Compromised, Pending, Retired};
        let held = [(1, Active), (2, Pending), (3, Retired), (4, Compromised)];
        assert_eq!(judged(&held, &held), Ok(()));
        assert_eq!(judged(&held[..3], &held), Ok(()), "a compromised key may be left out");
        assert_eq!(
            judged(&[(1, Active), (2, Active), (3, Active)], &held),
            Ok(()),
            "signed before the third was retired"
        );
        let faults: [(&[(u8, KeyState)], &str); 4] = [
            (&[(1, Active), (3, Retired)], "does not list"),
            (&[(1, Retired), (2, Pending), (3, Retired)], "does not trust"),
            (&[(1, Active), (2, Pending)], "does not list"),
            (&[(1, Active), (2, Pending), (3, Retired), (4, Retired)], "trusts the compromised"),
        ];
        for (listed, words) in faults {
            assert!(judged(listed, &held).unwrap_err().contains(words), "{listed:?}");
        }
    }

    #[test]
    fn of_too_many_keys_those_that_signed_last_are_listed() {
        let mut keys: Vec<_> = (1..=40).map(|seed| key(seed, KeyState::Retired)).collect();
        keys.push(key(41, KeyState::Active));
        let listed = to_be_signed(&keys);
        assert_eq!((listed.len(), listed[0].state), (KEYS_MAX, Listed::Active));
        assert_eq!(listed[1].key, key(1, KeyState::Retired).0);
        let ended = NOW.plus_days(-1).as_unix_seconds();
        assert_eq!(listed[1].expires_at, Some(ended + RETIRED_SLACK_SECONDS), "what it signed until then is good");
        let all: Vec<_> = (1..=40).map(|seed| (seed, KeyState::Retired)).chain([(41, KeyState::Active)]).collect();
        assert_eq!(judged(&all, &all), Ok(()), "a set has no room for all of them");
    }
}
