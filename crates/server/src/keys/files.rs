//! Key files: mode 0600, written whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use counterfoil_license::SigningKey;
use secrecy::zeroize::Zeroizing;

use super::KeyError;

/// The file in the data directory that holds the key as PKCS#8 PEM.
pub const KEY_FILE: &str = "license-key.pem";

/// What the files of keys begin and end with that were made later; between stands the id of the key.
const KEY_FILE_START: &str = "license-key-";
const KEY_FILE_END: &str = ".pem";

/// The file beside it that is locked while the key is made.
const LOCK_FILE: &str = "license-key.lock";

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

/// The file of a key that was made later.
#[must_use]
pub fn name_of(key_id: &str) -> String {
    format!("{KEY_FILE_START}{key_id}{KEY_FILE_END}")
}

/// The key with this id in the data directory, where there is one.
///
/// # Errors
/// [`KeyError`].
pub fn find_by_id(data_dir: &Path, key_id: &str) -> Result<Option<SigningKey>, KeyError> {
    let is_it = |key: &SigningKey| key.key_id() == key_id;
    match load(&data_dir.join(name_of(key_id)))?.filter(is_it) {
        Some(key) => Ok(Some(key)),
        None => Ok(find(data_dir)?.filter(is_it)),
    }
}

/// Every key in the data directory.
///
/// # Errors
/// [`KeyError`], also where one of several files is no key.
pub fn find_all(data_dir: &Path) -> Result<Vec<SigningKey>, KeyError> {
    let mut keys: Vec<SigningKey> = find(data_dir)?.into_iter().collect();
    for path in key_files(data_dir)? {
        keys.extend(load(&path)?);
    }
    Ok(keys)
}

/// The files of keys that were made later.
///
/// # Errors
/// [`KeyError::Io`].
pub fn key_files(data_dir: &Path) -> Result<Vec<PathBuf>, KeyError> {
    let fail = |source| KeyError::Io { path: data_dir.to_owned(), source };
    let entries = match std::fs::read_dir(data_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(fail)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fail)?;
        let is_key = |name: &str| name.starts_with(KEY_FILE_START) && name.ends_with(KEY_FILE_END);
        if entry.file_name().to_str().is_some_and(is_key) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Writes the file of a key that was made later.
///
/// # Errors
/// [`KeyError::Io`].
pub fn save(data_dir: &Path, key: &SigningKey) -> Result<(), KeyError> {
    let path = data_dir.join(name_of(key.key_id()));
    write_secret(&path, key.to_pem().as_str()).map_err(|source| KeyError::Io { path, source })
}

/// Removes every file that holds this key.
///
/// # Errors
/// [`KeyError`].
pub fn remove(data_dir: &Path, key_id: &str) -> Result<(), KeyError> {
    let first = find(data_dir)?.is_some_and(|key| key.key_id() == key_id).then(|| data_dir.join(KEY_FILE));
    for path in first.into_iter().chain([data_dir.join(name_of(key_id))]) {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(|source| KeyError::Io { path, source })?,
        }
    }
    Ok(())
}

/// The text is wiped once the key is read from it.
fn load(path: &Path) -> Result<Option<SigningKey>, KeyError> {
    match std::fs::read_to_string(path).map(Zeroizing::new) {
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
    // What a crash may have left. Where it cannot be removed, the next line says that it is in the way.
    let _ = std::fs::remove_file(&temporary);
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
    fn a_key_is_found_by_its_id_in_whichever_file_it_is() {
        let folder = tempfile::tempdir().unwrap();
        assert!(find_all(&folder.path().join("missing")).unwrap().is_empty());
        let (first, second) = (load_or_create(folder.path(), [1; 32]).unwrap(), SigningKey::from_seed(&[2; 32]));
        save(folder.path(), &second).unwrap();
        for key in [&first, &second] {
            assert_eq!(find_by_id(folder.path(), key.key_id()).unwrap().unwrap().public(), key.public());
        }
        assert_eq!(find_all(folder.path()).unwrap().len(), 2);
        for key in [&first, &second] {
            remove(folder.path(), key.key_id()).unwrap();
            remove(folder.path(), key.key_id()).unwrap();
            assert!(find_by_id(folder.path(), key.key_id()).unwrap().is_none());
        }
    }

    #[test]
    fn what_is_no_folder_holds_no_keys_and_what_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data");
        assert!(key_files(&file).unwrap().is_empty(), "it is not there yet");
        std::fs::write(&file, "no folder").unwrap();
        let told = key_files(&file).unwrap_err().to_string();
        assert!(told.contains(file.to_str().unwrap()), "{told}");
    }

    /// A key that is there and cannot be read must never be taken for one that is missing: another would be made in its place.
    #[test]
    fn a_key_that_cannot_be_read_or_removed_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let in_the_way = folder.path().join(KEY_FILE);
        std::fs::create_dir(&in_the_way).unwrap();
        for error in [find(folder.path()).unwrap_err(), load_or_create(folder.path(), [1; 32]).unwrap_err()] {
            assert!(matches!(&error, KeyError::Io { path, .. } if *path == in_the_way), "{error}");
        }
        std::fs::remove_dir(&in_the_way).unwrap();
        let of_this_key = folder.path().join(name_of("k1"));
        std::fs::create_dir(&of_this_key).unwrap();
        let error = remove(folder.path(), "k1").unwrap_err();
        assert!(matches!(&error, KeyError::Io { path, .. } if *path == of_this_key), "{error}");
    }

    #[test]
    fn a_secret_is_written_into_a_folder_of_its_own_over_what_a_crash_left() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/secret.pem");
        write_secret(&path, "first").unwrap();
        let left = path.with_extension("tmp");
        std::fs::write(&left, "half of a secret, and longer than the whole").unwrap();
        write_secret(&path, "second").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!left.exists());
        // What is no file is not moved out of the way.
        std::fs::create_dir(&left).unwrap();
        write_secret(&path, "third").unwrap_err();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
    }

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
