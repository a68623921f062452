//! Queries as they come in: the fields that are known, and no control characters in them.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A query of the shape `T`. None of its values has a control character: nothing that is asked for has one, and PostgreSQL keeps no
/// text with a NUL.
///
/// It is answered 422, because the call exists and the query can be put right. A segment of a path with such a character is answered
/// 404 instead: it is the name of something, and nothing is called so.
#[derive(Debug)]
pub struct PlainQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for PlainQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        read(&parts.uri).map(Self)
    }
}

/// Reads the query twice, with the same decoder: once as it is, once as the fields that are known.
fn read<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| not_this_query())?;
    if pairs.iter().any(|(name, value)| name.contains(char::is_control) || value.contains(char::is_control)) {
        return Err(not_this_query());
    }
    let Query(fields) = Query::try_from_uri(uri).map_err(|_| not_this_query())?;
    Ok(fields)
}

/// The call does not take this query.
fn not_this_query() -> Problem {
    let told = "The query has a parameter that this call does not take, or a value that it cannot read. See /api/docs.";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", told)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn is_read(query: &str) -> bool {
        let uri = format!("/path?{query}").parse().unwrap();
        read::<BTreeMap<String, String>>(&uri).is_ok()
    }

    #[test]
    fn control_characters_are_found_however_they_are_written() {
        for query in ["%00", "email=a%00b", "a=%0a", "a=%0D", "a=%7f", "a%1F=b", "a=%25%00", "a=ä%09", "a=%c2%85"] {
            assert!(!is_read(query), "{query}");
        }
        for query in ["", "email=a%40b.example", "a=%2500", "a=%", "a=%0", "a=00", "a=%+1", "a=%20%c3%a4", "a=%ä0"] {
            assert!(is_read(query), "{query}");
        }
    }
}
