//! The API key: as a bearer token, or as the user name of basic authentication.

use axum::http::{HeaderMap, header};
use base64::Engine;

use crate::error::ApiError;

pub(super) fn check(headers: &HeaderMap, expected: &str) -> Result<(), ApiError> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(key_of);
    match given {
        Some(key) if key == expected => Ok(()),
        Some(key) => Err(ApiError::unauthorized(format!("Invalid API Key provided: {}", masked(&key)))),
        None => Err(ApiError::unauthorized(
            "You did not provide an API key. You need to provide your API key in the Authorization header, using \
             Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
        )),
    }
}

fn key_of(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    scheme.eq_ignore_ascii_case("basic").then(|| text.split(':').next().unwrap_or_default().to_owned())
}

/// A wrong key may be a real one, so an answer shows only what kind it is.
fn masked(key: &str) -> String {
    let kind: Vec<&str> = key.splitn(3, '_').collect();
    match kind.as_slice() {
        [first, second, _] if first.len() <= 4 && second.len() <= 4 => format!("{first}_{second}_***"),
        _ => "***".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_and_masked() {
        assert_eq!(key_of("Bearer sk_test_a").as_deref(), Some("sk_test_a"));
        assert_eq!(key_of("Basic c2tfdGVzdF9hOg==").as_deref(), Some("sk_test_a"));
        assert_eq!(key_of("Digest x"), None);
        assert_eq!(masked("sk_live_secret_part"), "sk_live_***");
        assert_eq!(masked("nonsense"), "***");
    }
}
