//! The private keys that sign licences: in files of mode 0600, or encrypted in the database, or given by the operator.
//!
//! Which key signs is not decided here: the database says so, and a [`Keyring`] finds the private half of that one or says what
//! keeps it from doing so. It never offers another one in its place.

mod files;
mod sealed;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use counterfoil_license::SigningKey;

pub use files::{KEY_FILE, find, from_pem, key_files, load_or_create, write_secret};
pub use sealed::{Salt, Sealer};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no Ed25519 key.
    #[error(
        "{place} holds no Ed25519 private key in PKCS#8 PEM form (make one with `openssl genpkey -algorithm ed25519`)"
    )]
    NotAKey {
        /// Where the text came from.
        place: String,
    },
    /// The file cannot be read or written.
    #[error("the license key {} cannot be read or created: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key-encryption key is none.
    #[error("COUNTERFOIL_KEY_ENCRYPTION_KEY is no key of 32 bytes in base64 (make one with `openssl rand -base64 32`)")]
    NoEncryptionKey,
    /// The private half in the database does not open.
    #[error(
        "COUNTERFOIL_KEY_ENCRYPTION_KEY does not open the private half of the signing key {key_id} in the database: give the one \
         that it was encrypted with. Where that is lost, `counterfoil keys rotate --now --force` makes a new signing key"
    )]
    Sealed {
        /// The key.
        key_id: String,
    },
    /// The private half is somewhere else.
    #[error(
        "the private half of the signing key {key_id} is not at hand: {} Where it is lost, \
         `counterfoil keys rotate --now` makes a new signing key", place.advice()
    )]
    NotAtHand {
        /// The key.
        key_id: String,
        /// Where it was looked for.
        place: Place,
    },
    /// No key signs.
    #[error("no signing key is active: `counterfoil keys rotate --now` makes one")]
    NoneActive,
}

/// Where private keys are kept that are made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Files in this folder.
    Files(PathBuf),
    /// The database, encrypted.
    Database,
}

impl Place {
    fn advice(&self) -> String {
        match self {
            Self::Files(folder) => format!(
                "{} has no such file. Put its file there, or keep keys in the database, where all servers find them \
                 (COUNTERFOIL_LICENSE_KEY_STORE=database).",
                folder.display()
            ),
            Self::Database => {
                "the database does not hold it. Start once where its file is, and it is taken over.".to_owned()
            }
        }
    }
}

/// Finds private keys. Cheap to clone.
#[derive(Clone)]
pub struct Keyring {
    inner: Arc<Inner>,
}

struct Inner {
    given: Option<Arc<SigningKey>>,
    folder: PathBuf,
    sealer: Option<Sealer>,
    /// Keys that were found before; an id never comes to mean another key.
    found: Mutex<BTreeMap<String, Arc<SigningKey>>>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("place", &self.place()).finish_non_exhaustive()
    }
}

impl Keyring {
    /// The keys of this folder, those of the database where there is a sealer, and the one that the operator gave.
    #[must_use]
    pub fn new(given: Option<SigningKey>, folder: &Path, sealer: Option<Sealer>) -> Self {
        let given = given.map(Arc::new);
        Self { inner: Arc::new(Inner { given, folder: folder.to_owned(), sealer, found: Mutex::default() }) }
    }

    /// Where new keys are kept.
    #[must_use]
    pub fn place(&self) -> Place {
        match self.inner.sealer {
            Some(_) => Place::Database,
            None => Place::Files(self.inner.folder.clone()),
        }
    }

    /// The key that the operator gave.
    #[must_use]
    pub fn given(&self) -> Option<&SigningKey> {
        self.inner.given.as_deref()
    }

    /// The key of an installation that has none yet: the given one, the one in the folder, or a new one of this seed.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn first(&self, seed: [u8; 32]) -> Result<SigningKey, KeyError> {
        if let Some(given) = self.given() {
            return Ok(given.clone());
        }
        match self.place() {
            Place::Files(folder) => load_or_create(&folder, seed),
            Place::Database => Ok(find(&self.inner.folder)?.unwrap_or_else(|| SigningKey::from_seed(&seed))),
        }
    }

    /// The key with this id, whose private half the database may hold.
    ///
    /// # Errors
    /// [`KeyError::NotAtHand`], [`KeyError::Sealed`], or what is wrong with a file.
    pub fn find(&self, key_id: &str, sealed: Option<&[u8]>) -> Result<Arc<SigningKey>, KeyError> {
        let mut found = self.inner.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = found.get(key_id) {
            return Ok(Arc::clone(key));
        }
        let key = self.search(key_id, sealed)?;
        found.insert(key_id.to_owned(), Arc::clone(&key));
        Ok(key)
    }

    fn search(&self, key_id: &str, sealed: Option<&[u8]>) -> Result<Arc<SigningKey>, KeyError> {
        if let Some(given) = self.inner.given.as_ref().filter(|given| given.key_id() == key_id) {
            return Ok(Arc::clone(given));
        }
        let opened = match (&self.inner.sealer, sealed) {
            (Some(sealer), Some(sealed)) => Some(sealer.open(key_id, sealed)),
            _ => None,
        };
        if let Some(Ok(key)) = opened {
            return Ok(Arc::new(key));
        }
        match (files::find_by_id(&self.inner.folder, key_id)?, opened) {
            (Some(key), _) => Ok(Arc::new(key)),
            (None, Some(Err(error))) => Err(error),
            (None, _) => Err(KeyError::NotAtHand { key_id: key_id.to_owned(), place: self.place() }),
        }
    }

    /// Keeps a new private key: as a file, or as what is to be stored in the database.
    ///
    /// # Errors
    /// [`KeyError::Io`].
    pub fn keep(&self, key: &SigningKey, salt: Salt) -> Result<Option<Vec<u8>>, KeyError> {
        match self.seal(key, salt) {
            Some(sealed) => Ok(Some(sealed)),
            None => files::save(&self.inner.folder, key).map(|()| None),
        }
    }

    /// What is to be stored in the database, where keys are kept there.
    #[must_use]
    pub fn seal(&self, key: &SigningKey, salt: Salt) -> Option<Vec<u8>> {
        self.inner.sealer.as_ref().map(|sealer| sealer.seal(key, salt))
    }

    /// The keys in files, used or not.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn in_files(&self) -> Result<Vec<SigningKey>, KeyError> {
        files::find_all(&self.inner.folder)
    }

    /// Removes a private key from this machine, as far as it is in files.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn forget(&self, key_id: &str) -> Result<(), KeyError> {
        self.inner.found.lock().unwrap_or_else(PoisonError::into_inner).remove(key_id);
        files::remove(&self.inner.folder, key_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = [3; 12];

    fn sealer(text: &str) -> Option<Sealer> {
        Some(Sealer::parse(text).unwrap())
    }

    fn own() -> Option<Sealer> {
        sealer("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    #[test]
    fn the_first_key_is_the_given_one_or_that_of_the_folder_or_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let first = |given: Option<SigningKey>, sealer: Option<Sealer>| {
            Keyring::new(given, folder.path(), sealer).first([9; 32]).unwrap().key_id().to_owned()
        };
        let is_empty = || std::fs::read_dir(folder.path()).unwrap().next().is_none();
        assert_eq!(first(Some(key(1)), None), key(1).key_id());
        assert_eq!(first(None, own()), key(9).key_id());
        assert!(is_empty(), "what was given, or is for the database, is not written into a file");
        assert_eq!(first(None, None), key(9).key_id());
        assert!(!is_empty());
        let made_before = Keyring::new(None, folder.path(), own()).first([8; 32]).unwrap();
        assert_eq!(made_before.key_id(), key(9).key_id(), "a file that is there is taken over into the database");
    }

    #[test]
    fn a_key_is_kept_where_keys_are_kept_and_found_there() {
        let folder = tempfile::tempdir().unwrap();
        let in_files = Keyring::new(None, folder.path(), None);
        assert_eq!(in_files.place(), Place::Files(folder.path().to_owned()));
        assert_eq!(in_files.keep(&key(1), SALT).unwrap(), None);
        assert_eq!(in_files.in_files().unwrap().len(), 1);
        assert_eq!(in_files.find(key(1).key_id(), None).unwrap().public(), key(1).public());

        let elsewhere = tempfile::tempdir().unwrap();
        let in_database = Keyring::new(Some(key(5)), elsewhere.path(), own());
        assert_eq!(in_database.place(), Place::Database);
        let sealed = in_database.keep(&key(2), SALT).unwrap().expect("it goes into the database");
        assert!(in_database.in_files().unwrap().is_empty());
        assert_eq!(in_database.find(key(2).key_id(), Some(&sealed)).unwrap().public(), key(2).public());
        assert_eq!(in_database.find(key(5).key_id(), None).unwrap().public(), key(5).public(), "the given one");
    }

    #[test]
    fn a_key_that_is_not_at_hand_is_told_with_what_to_do_and_none_is_offered_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let found = |given: Option<SigningKey>, sealer: Option<Sealer>, sealed: Option<&[u8]>| {
            Keyring::new(given, folder.path(), sealer).find(key(1).key_id(), sealed).map(|found| found.public())
        };
        let told = found(Some(key(2)), None, None).unwrap_err().to_string();
        let named = [key(1).key_id().to_owned(), format!("{} has no such file", folder.path().display())];
        assert!(named.iter().all(|part| told.contains(part)), "{told}");
        let told = found(None, own(), None).unwrap_err().to_string();
        assert!(told.contains("the database does not hold it"), "{told}");
        // Sealed with a key that is not the operator's any more: only its file helps.
        let sealed = sealer("//////////////////////////////////////////8=").unwrap().seal(&key(1), SALT);
        assert!(matches!(found(None, own(), Some(&sealed)), Err(KeyError::Sealed { .. })));
        assert!(matches!(found(None, None, Some(&sealed)), Err(KeyError::NotAtHand { .. })));
        files::save(folder.path(), &key(1)).unwrap();
        assert_eq!(found(None, own(), Some(&sealed)).unwrap(), key(1).public());
    }

    #[test]
    fn a_key_that_is_forgotten_is_found_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let keyring = Keyring::new(None, folder.path(), None);
        keyring.keep(&key(1), SALT).unwrap();
        keyring.find(key(1).key_id(), None).unwrap();
        keyring.forget(key(1).key_id()).unwrap();
        assert!(matches!(keyring.find(key(1).key_id(), None), Err(KeyError::NotAtHand { .. })));
        assert!(keyring.in_files().unwrap().is_empty());
    }
}
