//! API keys: made by an operator, for a vendor's backend or for other operators.

use counterfoil_core::{ApiKeyId, Refusal, Timestamp};

use super::operators::{By, Scope};
use super::sessions::API_KEY_PREFIX;
use super::{Error, secrets};
use crate::clock::Clock;
use crate::db::Db;
use crate::entropy::Entropy;
use crate::store;
use crate::store::api_keys::ApiKey;

/// The longest name of a key, in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// The use of a key is noted at most this often, so that a busy backend does not write with every request.
const NOTED_EVERY_SECONDS: i64 = 300;

/// A key that has just been made: the only moment at which its secret is known.
pub struct NewApiKey {
    pub key_id: ApiKeyId,
    pub secret: String,
}

/// Makes a key. It needs nothing but the database, so the command line can do it beside a running service.
///
/// # Errors
/// [`Refusal::InvalidField`] for a name that is empty or too long, or failures of the database.
pub async fn create_api_key(
    db: &Db,
    clock: &Clock,
    entropy: &Entropy,
    name: &str,
    scope: Scope,
    by: &By,
) -> Result<NewApiKey, Error> {
    let name = checked_name(name)?;
    let now = clock.now();
    let key_id = ApiKeyId::from_random(entropy.bytes());
    let secret = secrets::new_token(API_KEY_PREFIX, entropy);
    let told = format!("{key_id} for {}", scope.word());
    let mut tx = db.begin().await?;
    store::api_keys::insert(&mut tx, &key_id, &secrets::hash_token(&secret), name, scope.word(), now).await?;
    store::audit::insert_by(&mut tx, by.entry(), "api_key_created", None, &told, now).await?;
    tx.commit().await?;
    Ok(NewApiKey { key_id, secret })
}

fn checked_name(name: &str) -> Result<&str, Refusal> {
    let name = name.trim();
    let refused = |reason| Err(Refusal::InvalidField { field: "name", reason });
    if name.is_empty() {
        refused("say what the key is for")
    } else if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        refused("it is one line of at most 100 characters")
    } else {
        Ok(name)
    }
}

/// All keys, the newest first, revoked ones too.
///
/// # Errors
/// Failures of the database.
pub async fn list_api_keys(db: &Db) -> Result<Vec<ApiKey>, Error> {
    let mut tx = db.begin_read().await?;
    let keys = store::api_keys::list(&mut tx).await?;
    tx.rollback().await?;
    Ok(keys)
}

/// Takes a key back: it opens nothing from now on, on all replicas. A second time changes nothing.
///
/// # Errors
/// [`Refusal::ApiKeyUnknown`], or failures of the database.
pub async fn revoke_api_key(db: &Db, clock: &Clock, key_id: &ApiKeyId, by: &By) -> Result<ApiKey, Error> {
    let now = clock.now();
    let mut tx = db.begin().await?;
    let revoked = store::api_keys::revoke(&mut tx, key_id, now).await?;
    let key = store::api_keys::find_by_id(&mut tx, key_id).await?.ok_or(Refusal::ApiKeyUnknown)?;
    if revoked {
        let told = format!("{key_id} of {}", key.scope);
        store::audit::insert_by(&mut tx, by.entry(), "api_key_revoked", None, &told, now).await?;
    }
    tx.commit().await?;
    Ok(key)
}

/// Whether the use of this key is to be noted now.
pub const fn is_use_to_be_noted(key: &ApiKey, now: Timestamp) -> bool {
    match key.last_used_at {
        None => true,
        Some(noted) => now.as_unix_seconds() - noted.as_unix_seconds() >= NOTED_EVERY_SECONDS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_of_one_to_a_hundred_characters() {
        let longest = "é".repeat(NAME_CHARS_MAX);
        for (name, kept) in [(" backend ", "backend"), ("x", "x"), (&longest, &longest)] {
            assert_eq!(checked_name(name).ok(), Some(kept));
        }
        for name in ["", "  ", "two\nlines", "a\u{7f}b", &format!("{longest}x")] {
            assert!(checked_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_use_of_a_key_is_noted_the_first_time_and_then_every_five_minutes() {
        let noted = Timestamp::from_unix_seconds(1_790_000_000);
        let is_noted = |last_used_at, seconds| {
            let (key_id, name, scope) = (ApiKeyId::from_random([1; 16]), String::new(), String::new());
            let key = ApiKey { key_id, name, scope, created_at: noted, last_used_at, revoked_at: None };
            is_use_to_be_noted(&key, noted.plus_seconds(seconds))
        };
        assert!(is_noted(None, 0));
        assert_eq!([0, 299, 300, 3000].map(|seconds| is_noted(Some(noted), seconds)), [false, false, true, true]);
    }
}
