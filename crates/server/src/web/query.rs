//! Queries as they come in: the fields that are known, and no control characters in them.

use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A query of the shape `T`. None of its values has a control character: nothing that is asked for has one, and PostgreSQL keeps no
/// text with a NUL.
#[derive(Debug)]
pub struct PlainQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for PlainQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if parts.uri.query().is_some_and(has_control) {
            return Err(not_this_query());
        }
        let Query(fields) = Query::from_request_parts(parts, state).await.map_err(|_| not_this_query())?;
        Ok(Self(fields))
    }
}

/// The query is none of this call.
fn not_this_query() -> Problem {
    let told = "The query has a parameter that this call does not take, or a value that it cannot read. See /api/docs.";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", told)
}

/// An address itself has no control character; it may hold one that is encoded.
fn has_control(encoded: &str) -> bool {
    encoded.split('%').skip(1).any(|rest| {
        let digits = rest.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).is_some_and(|byte| byte.is_ascii_control())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_found_however_they_are_written() {
        for query in ["%00", "email=a%00b", "a=%0a", "a=%0D", "a=%7f", "a%1F=b", "a=%25%00", "a=ä%09"] {
            assert!(has_control(query), "{query}");
        }
        for query in ["", "email=a%40b.example", "a=%2500", "a=%", "a=%0", "a=00", "a=%+1", "a=%20%c3%a4", "a=%ä0"] {
            assert!(!has_control(query), "{query}");
        }
    }
}
