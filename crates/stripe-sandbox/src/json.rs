//! Reading and writing JSON by dotted path (`parent.subscription_details.subscription`, `items.data.0.price`).
//!
//! The sandbox keeps every resource in the shape in which it is answered, so that rendering, expanding and the
//! `previous_attributes` of events are general and cannot drift apart. Keys with a leading underscore are the
//! sandbox's own and are left out of every answer.

use serde_json::{Map, Value};

pub(crate) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |node, key| match node {
        Value::Array(items) => key.parse::<usize>().ok().and_then(|index| items.get(index)),
        _ => node.get(key),
    })
}

/// The text at `path`, or the empty string.
pub(crate) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    opt_text(value, path).unwrap_or_default()
}

pub(crate) fn opt_text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    at(value, path).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The whole number at `path`, or zero.
pub(crate) fn int(value: &Value, path: &str) -> i64 {
    opt_int(value, path).unwrap_or_default()
}

pub(crate) fn opt_int(value: &Value, path: &str) -> Option<i64> {
    at(value, path).and_then(Value::as_i64)
}

pub(crate) fn flag(value: &Value, path: &str) -> bool {
    at(value, path).and_then(Value::as_bool).unwrap_or_default()
}

/// The elements of the array at `path`; none when there is no array.
pub(crate) fn items<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Writes at `path`, making the objects on the way. Array elements on the way must exist.
pub(crate) fn set(value: &mut Value, path: &str, new: impl Into<Value>) {
    let mut node = value;
    let mut keys = path.split('.').peekable();
    while let Some(key) = keys.next() {
        if let Value::Array(items) = node {
            let index: usize = key.parse().expect("an array is entered by index");
            node = items.get_mut(index).expect("the element exists");
        } else {
            if !node.is_object() {
                *node = Value::Object(Map::new());
            }
            node = node.as_object_mut().expect("made an object above").entry(key).or_insert(Value::Null);
        }
        if keys.peek().is_none() {
            break;
        }
    }
    *node = new.into();
}

/// A copy without the sandbox's own keys.
pub(crate) fn public(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(key, _)| !key.starts_with('_'))
                .map(|(key, field)| (key.clone(), public(field)))
                .collect(),
        ),
        Value::Array(values) => Value::Array(values.iter().map(public).collect()),
        other => other.clone(),
    }
}

/// What an event's `previous_attributes` says: the old values of the keys that changed; arrays whole.
pub(crate) fn previous(old: &Value, new: &Value) -> Map<String, Value> {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return Map::new() };
    let mut changed = Map::new();
    for (key, before) in old {
        match new.get(key) {
            Some(after) if after == before => {}
            Some(after @ Value::Object(_)) if before.is_object() => {
                changed.insert(key.clone(), Value::Object(previous(before, after)));
            }
            _ => {
                changed.insert(key.clone(), before.clone());
            }
        }
    }
    for key in new.keys().filter(|key| !old.contains_key(*key)) {
        changed.insert(key.clone(), Value::Null);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn previous_holds_only_what_changed() {
        let old = json!({"a": 1, "b": {"c": 2, "d": 3}, "e": [1, 2]});
        let new = json!({"a": 1, "b": {"c": 2, "d": 4}, "e": [1], "f": true});
        assert_eq!(Value::Object(previous(&old, &new)), json!({"b": {"d": 3}, "e": [1, 2], "f": null}));
    }

    #[test]
    fn set_makes_objects_and_enters_arrays() {
        let mut value = json!({"items": {"data": [{"price": 1}]}});
        set(&mut value, "items.data.0.price", 2);
        set(&mut value, "new.inner", "x");
        assert_eq!(value, json!({"items": {"data": [{"price": 2}]}, "new": {"inner": "x"}}));
    }
}
