//! `If-None-Match`: whether the caller has already what would be answered.

use axum::http::{HeaderMap, header};

/// Whether the request names this tag.
pub fn is_kept(headers: &HeaderMap, etag: &str) -> bool {
    let given = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given.into_iter().any(|tags| is_among(etag, tags))
}

/// Whether `If-None-Match` names this tag, compared weakly (RFC 9110 §13.1.2).
fn is_among(etag: &str, tags: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    tags.trim() == "*" || tags.split(',').any(|tag| bare(tag) == bare(etag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        assert!(is_among("W/\"a\"", "\"b\", \"a\""));
        assert!(is_among("W/\"a\"", "W/\"a\""));
        assert!(is_among("W/\"a\"", "*"));
        assert!(!is_among("W/\"a\"", "\"b\", a"));
    }
}
