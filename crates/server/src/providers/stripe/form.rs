//! `application/x-www-form-urlencoded` as Stripe reads it: `metadata[customer_id]=…`, `line_items[0][price]=…`,
//! `expand[]=…`.
//!
//! Ours, because a frozen request must come out byte for byte the same in every release: fields keep the order in which they
//! were added, and nothing but unreserved characters stays unescaped.

use std::fmt::Write as _;

/// Fields in the order of sending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    encoded: String,
}

impl Form {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds one field; nested names are written out, as in `subscription_data[metadata][plan]`.
    pub(super) fn field(mut self, name: &str, value: &str) -> Self {
        if !self.encoded.is_empty() {
            self.encoded.push('&');
        }
        escape(name, is_name_byte, &mut self.encoded);
        self.encoded.push('=');
        escape(value, is_unreserved, &mut self.encoded);
        self
    }

    pub(super) fn integer(self, name: &str, value: i64) -> Self {
        self.field(name, &value.to_string())
    }

    /// Adds the field where there is a value. An empty one would tell Stripe to unset.
    pub(super) fn optional(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) if !value.is_empty() => self.field(name, value),
            Some(_) | None => self,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.encoded
    }

    pub(super) fn into_string(self) -> String {
        self.encoded
    }
}

/// One segment of a path. `None` for texts that would change which resource is meant: nothing at all would turn a look-up
/// into a list, and dots would climb.
pub(super) fn path_segment(id: &str) -> Option<String> {
    if id.bytes().all(|byte| byte == b'.') {
        return None;
    }
    let mut encoded = String::with_capacity(id.len());
    escape(id, is_unreserved, &mut encoded);
    Some(encoded)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Brackets in names stay readable: Stripe takes them raw and escaped alike.
fn is_name_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'[' | b']')
}

fn escape(text: &str, is_plain: fn(u8) -> bool, out: &mut String) {
    for byte in text.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_unreserved_characters_is_escaped() {
        let form = Form::new()
            .field("email", "a+b c@example.com")
            .field("metadata[plan]", "100 % & ü/[x]")
            .field("expand[]", "data.latest_invoice")
            .integer("limit", 100)
            .optional("name", None)
            .optional("name", Some(""));
        assert_eq!(
            form.as_str(),
            "email=a%2Bb%20c%40example.com&metadata[plan]=100%20%25%20%26%20%C3%BC%2F%5Bx%5D\
             &expand[]=data.latest_invoice&limit=100"
        );
    }

    #[test]
    fn the_session_template_decodes_to_its_literal_braces() {
        let form = Form::new().field("success_url", "https://a.example/ok?s={CHECKOUT_SESSION_ID}");
        assert_eq!(form.as_str(), "success_url=https%3A%2F%2Fa.example%2Fok%3Fs%3D%7BCHECKOUT_SESSION_ID%7D");
    }

    #[test]
    fn a_path_segment_cannot_become_another_resource() {
        assert_eq!(path_segment("cus_1").as_deref(), Some("cus_1"));
        assert_eq!(path_segment("a/b?c#d").as_deref(), Some("a%2Fb%3Fc%23d"));
        assert_eq!(path_segment(""), None);
        assert_eq!(path_segment(".."), None);
    }
}
