//! Strict base64url and strict JSON objects.
//!
//! Two readers of one token must never see different things. So each value has exactly one accepted base64url text (no
//! padding, no stray trailing bits), and a JSON object that names a member twice is refused at any depth: which of the two
//! wins differs between parsers.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

pub(crate) fn to_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The member names of a JSON object, if the text is one and no object in it repeats a name.
pub(crate) fn object_members(json: &[u8]) -> Option<BTreeSet<String>> {
    match serde_json::from_slice(json) {
        Ok(Shape::Object(members)) => Some(members),
        Ok(Shape::Other) | Err(_) => None,
    }
}

/// What a JSON text is, its values walked through and dropped.
enum Shape {
    Object(BTreeSet<String>),
    Other,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON whose objects name each member once")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut members = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !members.insert(name) {
                return Err(A::Error::custom("a member is named twice"));
            }
            map.next_value::<Shape>()?;
        }
        Ok(Shape::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
        while seq.next_element::<Shape>()?.is_some() {}
        Ok(Shape::Other)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_has_one_text_per_value() {
        assert_eq!(from_base64url("AA").as_deref(), Some(&[0][..]));
        for other in ["AB", "AA=", "AA==", "AA\n", " AA", "A", "+/+/", "A\u{e9}"] {
            assert_eq!(from_base64url(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_member_named_twice_is_refused_at_any_depth() {
        let names = object_members(br#"{"a":{"b":1,"c":[{"b":2},{"b":3}]},"d":null,"e":1.5,"f":-1}"#).unwrap();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "d", "e", "f"]);
        for json in [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"b":2}}"#, r#"{"a":[{"b":1,"b":2}]}"#, r#"{"a":1,"\u0061":1}"#]
        {
            assert!(object_members(json.as_bytes()).is_none(), "{json}");
        }
    }

    #[test]
    fn only_an_object_is_an_object() {
        for json in ["", "[]", "1", "null", "\"{}\"", "{", "{} x", "{\"a\":1,}", "\u{feff}{}"] {
            assert!(object_members(json.as_bytes()).is_none(), "{json:?}");
        }
        assert!(
            object_members("[".repeat(100_000).as_bytes()).is_none(),
            "deep nesting is an error, not a stack overflow"
        );
        assert!(object_members(b"{\"a\":\"\xff\"}").is_none(), "not UTF-8");
    }
}
