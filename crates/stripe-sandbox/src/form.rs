//! Stripe's form encoding: `a[b][0][c]=v`, `expand[]=x`, raw or percent-encoded brackets.
//!
//! Decoding gives a tree of objects, arrays and texts. Numbers and booleans are read where a parameter is used, because
//! only the parameter knows what it is.

use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::json;

/// Deeper nesting than any parameter of Stripe's API has.
const DEPTH_MAX: usize = 12;
const PAIRS_MAX: usize = 2_000;

/// Decoded parameters of one call.
#[derive(Clone, Debug)]
pub(crate) struct Params(Value);

impl Params {
    pub(crate) fn decode(encoded: &[&str]) -> Result<Self, ApiError> {
        let mut root = Value::Object(Map::new());
        let pairs = encoded.iter().flat_map(|part| part.split('&')).filter(|pair| !pair.is_empty());
        for (index, pair) in pairs.enumerate() {
            if index >= PAIRS_MAX {
                return Err(ApiError::invalid("Too many parameters."));
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (percent_decode(key)?, percent_decode(value)?);
            insert(&mut root, &path_of(&key)?, value);
        }
        Ok(Self(arrays(root)))
    }

    pub(crate) fn tree(&self) -> &Value {
        &self.0
    }

    pub(crate) fn nested(&self, path: &str) -> Self {
        Self(json::at(&self.0, path).cloned().unwrap_or_else(|| Value::Object(Map::new())))
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        json::at(&self.0, path).is_some()
    }

    /// The text given for `path`; `Some("")` means: unset it.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        json::at(&self.0, path).and_then(Value::as_str)
    }

    pub(crate) fn filled(&self, path: &str) -> Option<&str> {
        self.text(path).filter(|text| !text.is_empty())
    }

    pub(crate) fn required(&self, path: &str) -> Result<&str, ApiError> {
        self.filled(path).ok_or_else(|| ApiError::missing(path))
    }

    pub(crate) fn int(&self, path: &str) -> Result<Option<i64>, ApiError> {
        self.filled(path)
            .map(|text| {
                text.parse().map_err(|_| {
                    ApiError::invalid(format!("Invalid integer: {text}")).code("parameter_invalid_integer").param(path)
                })
            })
            .transpose()
    }

    pub(crate) fn flag(&self, path: &str) -> Result<Option<bool>, ApiError> {
        self.filled(path)
            .map(|text| match text {
                "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                other => Err(ApiError::invalid(format!("Invalid boolean: {other}")).param(path)),
            })
            .transpose()
    }

    pub(crate) fn one_of<'a>(&'a self, path: &str, allowed: &[&str]) -> Result<Option<&'a str>, ApiError> {
        let Some(given) = self.filled(path) else { return Ok(None) };
        if allowed.contains(&given) {
            return Ok(Some(given));
        }
        let (last, first) = allowed.split_last().expect("at least one value is allowed");
        let message = format!("Invalid {}: must be one of {}, or {last}", bracketed(path), first.join(", "));
        Err(ApiError::invalid(message).param(path))
    }

    /// The elements of a list parameter, each as parameters of its own.
    pub(crate) fn list(&self, path: &str) -> Vec<Self> {
        json::items(&self.0, path).iter().cloned().map(Self).collect()
    }

    pub(crate) fn texts(&self, path: &str) -> Vec<String> {
        json::items(&self.0, path).iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }
}

/// `a.b.0.c` as Stripe writes parameters in messages: `a[b][0][c]`.
pub(crate) fn bracketed(path: &str) -> String {
    let mut keys = path.split('.');
    let mut name = keys.next().unwrap_or_default().to_owned();
    for key in keys {
        name.push_str(&format!("[{key}]"));
    }
    name
}

pub(crate) fn percent_decode(text: &str) -> Result<String, ApiError> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        match bytes[index] {
            b'+' => decoded.push(b' '),
            b'%' => {
                let byte = text.get(index + 1..index + 3).and_then(|pair| u8::from_str_radix(pair, 16).ok());
                decoded.push(byte.ok_or_else(|| ApiError::invalid("Invalid percent-encoding."))?);
                index += 2;
            }
            other => decoded.push(other),
        }
        index += 1;
    }
    String::from_utf8(decoded).map_err(|_| ApiError::invalid("Invalid UTF-8."))
}

fn path_of(key: &str) -> Result<Vec<String>, ApiError> {
    let malformed = || ApiError::invalid(format!("Invalid parameter name: {key}"));
    let (head, mut rest) = key.find('[').map_or((key, ""), |open| key.split_at(open));
    let mut path = vec![head.to_owned()];
    while !rest.is_empty() {
        let inner = rest.strip_prefix('[').ok_or_else(malformed)?;
        let (name, after) = inner.split_once(']').ok_or_else(malformed)?;
        path.push(name.to_owned());
        rest = after;
    }
    if head.is_empty() || path.len() > DEPTH_MAX {
        return Err(malformed());
    }
    Ok(path)
}

/// Arrays are kept as objects while inserting; `[]` takes the next free number.
fn insert(root: &mut Value, path: &[String], value: String) {
    let mut node = root;
    for key in path {
        if !node.is_object() {
            *node = Value::Object(Map::new());
        }
        let fields = node.as_object_mut().expect("made an object above");
        let key = if key.is_empty() { fields.len().to_string() } else { key.clone() };
        node = fields.entry(key).or_insert(Value::Null);
    }
    *node = Value::String(value);
}

fn arrays(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let mut numbered: Vec<(usize, String)> =
        fields.keys().filter_map(|key| key.parse().ok().map(|index| (index, key.clone()))).collect();
    if fields.is_empty() || numbered.len() != fields.len() {
        return Value::Object(fields.into_iter().map(|(key, field)| (key, arrays(field))).collect());
    }
    numbered.sort_unstable();
    let mut fields = fields;
    Value::Array(numbered.into_iter().filter_map(|(_, key)| fields.remove(&key)).map(arrays).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decode(text: &str) -> Value {
        Params::decode(&[text]).expect("decodes").0
    }

    #[test]
    fn nested_keys_arrays_and_empty_values() {
        assert_eq!(
            decode("a[b][0][c]=1&a%5Bb%5D%5B0%5D%5Bd%5D=x+y&expand[]=p&expand[]=q.r&description="),
            json!({"a": {"b": [{"c": "1", "d": "x y"}]}, "expand": ["p", "q.r"], "description": ""})
        );
    }

    #[test]
    fn a_literal_template_survives_percent_encoding() {
        let tree = decode("success_url=http%3A%2F%2Fx%2F%3Fs%3D%7BCHECKOUT_SESSION_ID%7D");
        assert_eq!(tree["success_url"], "http://x/?s={CHECKOUT_SESSION_ID}");
    }

    #[test]
    fn malformed_names_are_refused() {
        for bad in ["a[b=1", "[a]=1", "a[b]c=1", "a=%zz", "a=%ff"] {
            assert!(Params::decode(&[bad]).is_err(), "{bad}");
        }
    }
}
