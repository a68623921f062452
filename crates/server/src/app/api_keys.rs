//! API keys: made by an operator, for a vendor's backend or for other operators.

use counterfoil_core::ApiKeyId;

use super::operators::{By, Scope};
use super::sessions::API_KEY_PREFIX;
use super::{Error, secrets};
use crate::clock::Clock;
use crate::db::Db;
use crate::entropy::Entropy;
use crate::store;

/// A key that has just been made: the only moment at which its secret is known.
pub struct NewApiKey {
    pub key_id: ApiKeyId,
    pub secret: String,
}

/// Makes a key. It needs nothing but the database, so the command line can do it beside a running service.
///
/// # Errors
/// Failures of the database.
pub async fn create_api_key(
    db: &Db,
    clock: &Clock,
    entropy: &Entropy,
    name: &str,
    scope: Scope,
    by: &By,
) -> Result<NewApiKey, Error> {
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
