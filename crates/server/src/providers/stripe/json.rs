//! Reading Stripe's objects field by field.
//!
//! Typed structs lose a whole event when one field changes its shape. Here every field is optional, every reference may be
//! a text or an expanded object, and what cannot be read is simply absent: the caller decides what absence means.

use counterfoil_core::Timestamp;
use serde_json::Value;

/// Stripe's ids have up to 255 characters, and so has every text that we look up by.
const TEXT_CHARS_MAX: usize = 255;

/// The value at a path of keys.
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |inner, key| inner.get(*key)).filter(|found| !found.is_null())
}

/// A text of a sensible size. A NUL is refused, because PostgreSQL cannot store one and the row would fail for ever.
pub(super) fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path)?.as_str().filter(|text| is_storable(text))
}

fn is_storable(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_CHARS_MAX && !text.contains('\0')
}

/// A text of any length, for URLs.
pub(super) fn long_text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path)?.as_str().filter(|text| !text.is_empty() && !text.contains('\0'))
}

/// The id in a reference, which is a text, or the object itself where it was expanded.
pub(super) fn reference<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    let found = at(value, path)?;
    found.as_str().or_else(|| found.get("id")?.as_str()).filter(|id| is_storable(id))
}

/// An instant in Unix seconds. Zero, negative and null all mean that there is none: 1970 must never reach a licence.
pub(super) fn instant(value: &Value, path: &[&str]) -> Option<Timestamp> {
    at(value, path)?.as_i64().filter(|seconds| *seconds > 0).map(Timestamp::from_unix_seconds)
}

/// A whole number.
pub(super) fn integer(value: &Value, path: &[&str]) -> Option<i64> {
    at(value, path)?.as_i64()
}

/// A flag; absent is false.
pub(super) fn flag(value: &Value, path: &[&str]) -> bool {
    at(value, path).and_then(Value::as_bool).unwrap_or(false)
}

/// The elements of a list, which is an array or a list object with `data`.
pub(super) fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    let found = at(value, path);
    let array = found.and_then(Value::as_array).or_else(|| found?.get("data")?.as_array());
    array.map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn absent_null_zero_and_oversize_are_all_nothing() {
        let value =
            json!({ "null": null, "zero": 0, "minus": -5, "nul": "a\u{0}b", "long": "x".repeat(256), "ok": "x" });
        assert_eq!(at(&value, &["null"]), None);
        assert_eq!(instant(&value, &["zero"]), None);
        assert_eq!(instant(&value, &["minus"]), None);
        assert_eq!(text(&value, &["nul"]), None);
        assert_eq!(text(&value, &["long"]), None);
        assert_eq!(text(&value, &["ok"]), Some("x"));
        assert!(!flag(&value, &["ok"]));
    }

    #[test]
    fn a_long_text_may_be_as_long_as_it_likes_and_nothing_else() {
        let url = format!("https://pay.example/{}", "x".repeat(2000));
        let value = json!({ "url": url, "empty": "", "nul": "a\u{0}b", "number": 7 });
        assert_eq!(long_text(&value, &["url"]), Some(url.as_str()));
        for nothing in ["empty", "nul", "number", "absent"] {
            assert_eq!(long_text(&value, &[nothing]), None, "{nothing}");
        }
    }

    #[test]
    fn references_and_lists_are_read_in_both_forms() {
        let value = json!({ "a": "id_1", "b": { "id": "id_2" }, "c": [1], "d": { "data": [1, 2] } });
        assert_eq!(reference(&value, &["a"]), Some("id_1"));
        assert_eq!(reference(&value, &["b"]), Some("id_2"));
        assert_eq!(list(&value, &["c"]).len(), 1);
        assert_eq!(list(&value, &["d"]).len(), 2);
        assert!(list(&value, &["a"]).is_empty());
    }
}
