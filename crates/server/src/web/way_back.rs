//! The path that a login leads back to: one of our own, in the eyes of every browser.

/// The longest path that a login leads back to.
const NEXT_BYTES_MAX: usize = 512;

/// The path, if it is one of our own and every browser reads it as that. `//host`, and a backslash or a tab that browsers turn
/// into it, lead elsewhere.
#[must_use]
pub fn own_path(path: &str) -> Option<&str> {
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let own = path.starts_with('/') && !path.starts_with("//");
    (own && plain && path.len() <= NEXT_BYTES_MAX).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_back_to_our_own_pages_only() {
        for path in ["/", "/account", "/checkout/return?attempt=att_1&try=2", "/account#plans", "/a//b"] {
            assert_eq!(own_path(path), Some(path));
        }
        let foreign = [
            "",
            "account",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/a\r\nSet-Cookie: x=y",
            " /account",
            "/ä",
        ];
        for path in foreign {
            assert_eq!(own_path(path), None, "{path:?}");
        }
        assert_eq!(own_path(&format!("/{}", "a".repeat(NEXT_BYTES_MAX))), None);
    }
}
