//! Where the keys that sign licences are kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::error::Problems;
use super::reading::choice;
use super::settings;
use super::source::Values;

const BYTES: usize = 32;

/// The key under which the database keeps private keys; none where files do.
pub(super) fn encryption_key(values: &Values, problems: &mut Problems) -> Option<Option<SecretString>> {
    let words = [("file", false), ("database", true)];
    let in_database =
        choice(values, &settings::LICENSE_KEY_STORE, "invalid_license_key_store", &words, false, problems)?;
    match values.get(&settings::KEY_ENCRYPTION_KEY) {
        Some(given) if !is_key(&given.text) => {
            let message = "must be 32 bytes in base64; `openssl rand -base64 32` makes them";
            problems.add("invalid_key_encryption_key", &given.name, message);
            None
        }
        Some(given) => Some(in_database.then(|| given.text.clone().into())),
        None if in_database => {
            let message = "is missing: with license_key_store = \"database\" private keys are encrypted with it; \
                           `openssl rand -base64 32` makes one";
            problems.add("key_encryption_key_missing", settings::KEY_ENCRYPTION_KEY.variable, message);
            None
        }
        None => Some(None),
    }
}

fn is_key(text: &str) -> bool {
    STANDARD.decode(text).map(Zeroizing::new).is_ok_and(|bytes| bytes.len() == BYTES)
}
