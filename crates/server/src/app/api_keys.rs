//! API keys: made by an operator, used by a vendor's backend.

use counterfoil_core::{ApiKeyId, Refusal};

use super::sessions::API_KEY_PREFIX;
use super::{Error, secrets};
use crate::clock::Clock;
use crate::db::Db;
use crate::entropy::Entropy;
use crate::store;
use crate::store::audit::Actor;

/// May start checkouts for any customer.
pub const SCOPE_CHECKOUT: &str = "checkout";

/// A key that has just been made: the only moment at which its secret is known.
pub struct NewApiKey {
    pub key_id: ApiKeyId,
    pub secret: String,
}

/// Makes a key. It needs nothing but the database, so the command line can do it beside a running service.
///
/// # Errors
/// [`Refusal::InvalidField`] for an unknown scope, or failures.
pub async fn create_api_key(
    db: &Db,
    clock: &Clock,
    entropy: &Entropy,
    name: &str,
    scope: &str,
) -> Result<NewApiKey, Error> {
    if scope != SCOPE_CHECKOUT {
        return Err(Refusal::InvalidField { field: "scope", reason: "the only scope is `checkout`" }.into());
    }
    let now = clock.now();
    let key_id = ApiKeyId::from_random(entropy.bytes());
    let secret = secrets::new_token(API_KEY_PREFIX, entropy);
    let mut tx = db.begin().await?;
    store::api_keys::insert(&mut tx, &key_id, &secrets::hash_token(&secret), name, scope, now).await?;
    store::audit::insert(&mut tx, Actor::Operator, "api_key_created", None, &format!("{key_id} for {scope}"), now)
        .await?;
    tx.commit().await?;
    Ok(NewApiKey { key_id, secret })
}
