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

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no Ed25519 key.
    #[error("{place} holds no Ed25519 private key in PKCS#8 PEM form (make one with `openssl genpkey -algorithm ed25519`)")]
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
    match std::fs::read_to_string(&path) {
        Ok(pem) => from_pem(&pem, &path.display().to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = SigningKey::from_seed(&seed);
            write_secret(&path, key.to_pem().as_str()).map_err(|source| KeyError::Io { path, source })?;
            Ok(key)
        }
        Err(source) => Err(KeyError::Io { path, source }),
    }
}

/// Writes a secret so that a crash leaves the whole file or none: temporary name, sync, rename, sync of the folder.
///
/// # Errors
/// What the system said.
pub fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
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
