//! Metadata: merged key by key, cleared by empty values, bounded as at Stripe.

use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::form::Params;
use crate::json;

const KEYS_MAX: usize = 50;
const KEY_CHARS_MAX: usize = 40;
const VALUE_CHARS_MAX: usize = 500;

/// The metadata of a new object.
pub(crate) fn new(params: &Params, path: &str) -> Result<Value, ApiError> {
    merged(&Value::Object(Map::new()), params, path)
}

/// `current` with what the call says.
pub(crate) fn merged(current: &Value, params: &Params, path: &str) -> Result<Value, ApiError> {
    let mut metadata = current.as_object().cloned().unwrap_or_default();
    match json::at(params.tree(), path) {
        None => {}
        Some(Value::Object(given)) => {
            for (key, value) in given {
                merge(&mut metadata, key, value.as_str().unwrap_or_default(), path)?;
            }
        }
        // Keys that are all numbers were read as a list.
        Some(Value::Array(given)) => {
            for (index, value) in given.iter().enumerate() {
                merge(&mut metadata, &index.to_string(), value.as_str().unwrap_or_default(), path)?;
            }
        }
        Some(_) => metadata.clear(),
    }
    if metadata.len() > KEYS_MAX {
        return Err(ApiError::invalid(format!("You can have up to {KEYS_MAX} metadata keys.")).param(path));
    }
    Ok(Value::Object(metadata))
}

fn merge(metadata: &mut Map<String, Value>, key: &str, value: &str, path: &str) -> Result<(), ApiError> {
    if key.chars().count() > KEY_CHARS_MAX || value.chars().count() > VALUE_CHARS_MAX {
        let message = format!(
            "Metadata keys can have up to {KEY_CHARS_MAX} characters, and values up to {VALUE_CHARS_MAX} characters."
        );
        return Err(ApiError::invalid(message).param(path));
    }
    if value.is_empty() {
        metadata.remove(key);
    } else {
        metadata.insert(key.to_owned(), Value::String(value.to_owned()));
    }
    Ok(())
}
