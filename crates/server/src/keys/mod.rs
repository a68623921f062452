//! The key that signs licences: created on first start with file mode 0600, or given by the operator.
//!
//! Replicas that share a database should share the key. If they do not, licences still verify everywhere, because the public
//! half of every key that ever signed is kept in the database.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use counterfoil_license::SigningKey;

/// The file in the data directory that holds the key as PKCS#8 PEM.
pub const KEY_FILE: &str = "license-key.pem";

/// The file beside it that is locked while the key is made.
const LOCK_FILE: &str = "license-key.lock";

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
}

/// The key of a PEM text that the operator gave.
///
/// # Errors
/// [`KeyError::NotAKey`].
pub fn from_pem(pem: &str, place: &str) -> Result<SigningKey, KeyError> {
    SigningKey::from_pem(pem).map_err(|_| KeyError::NotAKey { place: place.to_owned() })
}

/// The key in the data directory, made from `seed` where there is none yet.
///
/// # Errors
/// [`KeyError`].
pub fn load_or_create(data_dir: &Path, seed: [u8; 32]) -> Result<SigningKey, KeyError> {
    let path = data_dir.join(KEY_FILE);
    let fail = |source| KeyError::Io { path: path.clone(), source };
    if let Some(key) = load(&path)? {
        return Ok(key);
    }
    // Replicas that share the folder and start at once take turns here: the first one makes the key, the others find it.
    std::fs::create_dir_all(data_dir).map_err(fail)?;
    let turn = OpenOptions::new().append(true).create(true).mode(0o600).open(data_dir.join(LOCK_FILE)).map_err(fail)?;
    turn.lock().map_err(fail)?;
    if let Some(key) = load(&path)? {
        return Ok(key);
    }
    let key = SigningKey::from_seed(&seed);
    write_secret(&path, key.to_pem().as_str()).map_err(fail)?;
    Ok(key)
}

/// The key in the data directory, where there is one; none is made.
///
/// # Errors
/// [`KeyError`].
pub fn find(data_dir: &Path) -> Result<Option<SigningKey>, KeyError> {
    load(&data_dir.join(KEY_FILE))
}

fn load(path: &Path) -> Result<Option<SigningKey>, KeyError> {
    match std::fs::read_to_string(path) {
        Ok(pem) => from_pem(&pem, &path.display().to_string()).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KeyError::Io { path: path.to_owned(), source }),
    }
}

/// Writes a secret so that a crash leaves the whole file or none: temporary name, sync, rename, sync of the folder.
///
/// # Errors
/// What the system said.
pub fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    // The parent of a bare name is an empty path.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let temporary = path.with_extension("tmp");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_the_same_time_end_with_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let ids: Vec<String> = std::thread::scope(|scope| {
            let folder = &folder;
            let start =
                |seed| scope.spawn(move || load_or_create(folder.path(), [seed; 32]).unwrap().key_id().to_owned());
            let starts: Vec<_> = (1..=8).map(start).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(load_or_create(folder.path(), [9; 32]).unwrap().key_id(), ids[0], "and it stays");
    }
}
