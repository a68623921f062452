//! Bodies as they come in: bounded, JSON, and nothing in them that we do not know.

use std::fmt;
use std::marker::PhantomData;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use counterfoil_core::probe;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::problem::Problem;

/// The largest body of an ordinary request.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// The largest body of a webhook: Stripe's events stay far below it.
pub const WEBHOOK_BODY_BYTES_MAX: usize = 1024 * 1024;

/// How much of serde's reason is passed on.
const REASON_CHARS_MAX: usize = 200;

/// A JSON body of the shape `T`.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Send JSON, with the header `Content-Type: application/json`.",
            ));
        }
        let bytes = read_body(request, state, BODY_BYTES_MAX).await?;
        parse(&bytes).map(Self)
    }
}

/// An object inside a body, where there is one: for `deserialize_with`. What serde derives would take a list for an object whose names
/// were left out.
///
/// # Errors
/// What is neither an object of this shape nor null.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(ObjectVisitor(PhantomData))
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with named fields")
    }

    fn visit_unit<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

/// Whether the body is said to be JSON.
#[must_use]
pub fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// The whole body, or the problem that it is too large or broke off.
///
/// # Errors
/// 413 above `limit`, 400 where the connection broke off.
pub async fn read_body<S: Send + Sync>(request: Request, state: &S, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        probe!("F68");
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("The body is larger than the {limit} bytes that are accepted here."),
        )
    };
    // What is announced to be too large is not waited for.
    if request.headers().get(header::CONTENT_LENGTH).is_some_and(|length| announces_more(length, limit)) {
        return Err(too_large());
    }
    let mut request = request;
    DefaultBodyLimit::max(limit).apply(&mut request);
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Problem::new(StatusCode::BAD_REQUEST, "body_broken_off", "The body did not arrive in full."),
    })
}

fn announces_more(length: &HeaderValue, limit: usize) -> bool {
    length.to_str().ok().and_then(|text| text.parse::<usize>().ok()).is_some_and(|bytes| bytes > limit)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // serde reads a list as an object without names. Nobody means that.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_request",
            "The body is a JSON list; an object with named fields is expected here.",
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            probe!("F72", error.to_string().starts_with("unknown field"));
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_request",
                format!("The body is JSON, but not what is expected here: {}.", shortened(&error)),
            )
        }
        serde_json::error::Category::Syntax | serde_json::error::Category::Eof | serde_json::error::Category::Io => {
            probe!("F71");
            let detail = format!("The body is not valid JSON: {}.", shortened(&error));
            Problem::new(StatusCode::BAD_REQUEST, "malformed_json", detail)
        }
    })
}

/// serde repeats the name or the text that it met, and a stranger's may be as long as the body.
fn shortened(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.char_indices().nth(REASON_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        amount: i64,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(default, deserialize_with = "object")]
        inner: Option<Inner>,
    }

    #[test]
    fn an_object_inside_a_body_is_an_object() {
        let read = |text: &str| parse::<Outer>(text.as_bytes()).map(|outer| outer.inner);
        assert_eq!(read(r#"{"inner":{"amount":5}}"#).unwrap(), Some(Inner { amount: 5 }));
        assert_eq!(read(r#"{"inner":null}"#).unwrap(), None);
        assert_eq!(read("{}").unwrap(), None);
        let refused = [
            r#"{"inner":[5]}"#,
            r#"{"inner":{"amount":5,"amount":6}}"#,
            r#"{"inner":{"amount":5,"more":6}}"#,
            r#"{"inner":{}}"#,
            r#"{"inner":5}"#,
            r#"{"inner":"5"}"#,
        ];
        for text in refused {
            assert_eq!(read(text).unwrap_err().code, "invalid_request", "{text}");
        }
    }

    #[test]
    fn a_reason_is_short_whatever_was_sent() {
        for text in [format!("{{\"{}\":1}}", "ä".repeat(9_000)), format!("{{\"inner\":\"{}\"}}", "x".repeat(9_000))] {
            let problem = parse::<Outer>(text.as_bytes()).unwrap_err();
            assert_eq!(problem.code, "invalid_request");
            assert!(problem.detail.chars().count() < 300, "{}", problem.detail);
            assert!(problem.detail.contains('…'), "it says that it is cut: {}", problem.detail);
        }
        let problem = parse::<Outer>(b"{\"amount\":5}").unwrap_err();
        assert!(problem.detail.contains("unknown field `amount`, expected `inner`"), "{}", problem.detail);
    }

    #[test]
    fn a_list_is_no_object_without_names() {
        for text in ["[]", "[null]", " \r\n\t[{\"amount\":5}]"] {
            let problem = parse::<Outer>(text.as_bytes()).unwrap_err();
            assert!(problem.code == "invalid_request" && problem.detail.contains("a JSON list"), "{}", problem.detail);
        }
        assert_eq!(parse::<Outer>(b" \n{}").unwrap(), Outer { inner: None });
    }

    #[test]
    fn a_length_announces_too_much_only_above_the_limit() {
        let announces = |length: &'static str| announces_more(&HeaderValue::from_static(length), 10);
        assert!(announces("11") && announces("900000"));
        for length in ["10", "9", "0", "-11", "eleven", ""] {
            assert!(!announces(length), "{length:?}");
        }
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_the_limit_and_what_is_announced_above_it_is_not_waited_for() {
        let read = async |body: axum::body::Body, length: Option<&str>| {
            let mut request = Request::new(body);
            if let Some(length) = length {
                request.headers_mut().insert(header::CONTENT_LENGTH, length.parse().unwrap());
            }
            read_body(request, &(), 10).await.map_err(|problem| (problem.status.as_u16(), problem.code))
        };
        assert_eq!(read("ten bytes!".into(), None).await.unwrap(), "ten bytes!");
        assert_eq!(read("ten bytes!".into(), Some("10")).await.unwrap(), "ten bytes!");
        let too_large = (413, "body_too_large");
        assert_eq!(read("eleven bytes".into(), None).await, Err(too_large), "whatever was announced");
        let endless =
            || axum::body::Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(read(endless(), Some("11")).await, Err(too_large));
        let broken = futures_util::stream::iter([Ok(Bytes::from_static(b"half")), Err(std::io::Error::other("gone"))]);
        assert_eq!(read(axum::body::Body::from_stream(broken), None).await, Err((400, "body_broken_off")));
    }
}
