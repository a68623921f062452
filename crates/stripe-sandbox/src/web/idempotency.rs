//! Idempotency keys: the first executed answer is stored in the commit of its work, and replayed.

use axum::http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::clock::DAY;
use crate::error::ApiError;
use crate::form::Params;
use crate::json;
use crate::store::{Kind, Store};

pub(super) const KEY_CHARS_MAX: usize = 255;

/// A stored answer.
pub(super) struct Stored {
    pub status: StatusCode,
    pub body: String,
    pub request_id: String,
}

/// What a call asks for, independent of the order of its parameters.
pub(super) fn fingerprint(path: &str, params: &Params) -> String {
    let mut hash = Sha256::new();
    hash.update(path.as_bytes());
    hash.update([0]);
    write_sorted(&mut hash, params.tree());
    hex::encode(hash.finalize())
}

fn write_sorted(hash: &mut Sha256, node: &Value) {
    match node {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            hash.update(b"{");
            for (key, value) in fields {
                hash.update(json!(key).to_string());
                hash.update(b":");
                write_sorted(hash, value);
            }
            hash.update(b"}");
        }
        other => hash.update(other.to_string()),
    }
}

pub(super) fn check_key(key: &str) -> Result<(), ApiError> {
    if key.is_empty() || key.chars().count() > KEY_CHARS_MAX {
        let message = format!("Idempotency keys have between 1 and {KEY_CHARS_MAX} characters.");
        return Err(ApiError::idempotency(StatusCode::BAD_REQUEST, message));
    }
    Ok(())
}

pub(super) fn in_use(key: &str) -> ApiError {
    let message = format!(
        "There is currently another in-progress request using this Idempotent Key (that probably means you submitted \
         twice, and the other request is still going through): {key}. Please try again later."
    );
    ApiError::idempotency(StatusCode::CONFLICT, message).code("idempotency_key_in_use")
}

/// The stored answer to the same call, or a refusal when the key was used for another.
pub(super) fn find(store: &Store, key: &str, fingerprint: &str, now: i64) -> Result<Option<Stored>, ApiError> {
    let Some(record) = store.get(Kind::IdempotencyKey, key) else { return Ok(None) };
    if json::int(record, "created") + DAY <= now {
        return Ok(None);
    }
    if json::text(record, "fingerprint") != fingerprint {
        let message = format!(
            "Keys for idempotent requests can only be used with the same parameters they were first used with. Try \
             using a key other than '{key}' if you meant to execute a different request."
        );
        return Err(ApiError::idempotency(StatusCode::BAD_REQUEST, message));
    }
    let status = u16::try_from(json::int(record, "status")).ok().and_then(|code| StatusCode::from_u16(code).ok());
    Ok(Some(Stored {
        status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        body: json::text(record, "body").to_owned(),
        request_id: json::text(record, "request_id").to_owned(),
    }))
}

pub(super) fn store(store: &mut Store, key: &str, fingerprint: &str, now: i64, answer: &Stored) {
    // An expired record is replaced as a whole, so that pruning by age keeps its order.
    store.remove(Kind::IdempotencyKey, key);
    let record = json!({
        "created": now,
        "fingerprint": fingerprint,
        "status": answer.status.as_u16(),
        "body": answer.body,
        "request_id": answer.request_id,
    });
    store.put(Kind::IdempotencyKey, key, record);
}
