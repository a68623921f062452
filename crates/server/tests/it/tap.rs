//! The tap: everything that leaves our server in a test flows past here, and what no end user may see stops the test.
//!
//! It keeps invariant 1 (no provider id in an answer, page or mail) and the rule that nobody is shown a password or somebody
//! else's session. Licences and percent-encoding are opened before the look, so that neither can hide anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What ids and secrets of the provider begin with.
const PREFIXES: [&str; 23] = [
    "cus", "sub", "si", "cs", "pi", "pm", "seti", "in", "price", "prod", "evt", "acct", "whsec", "sk", "rk", "pk",
    "bps", "bpc", "ch", "re", "dp", "ii", "req",
];

/// The shortest random part of an id.
const RANDOM_CHARS_MIN: usize = 8;

/// The reader who may see the provider's ids: somebody with an operator's key. Secrets and sessions stay hidden from it, too.
pub const OPERATOR: &str = "an operator";

/// What must not be shown, beside what looks like a provider's id.
#[derive(Default)]
pub struct Tap {
    /// Nobody is shown these: passwords, webhook secrets.
    secrets: Mutex<BTreeSet<String>>,
    /// Session tokens, and the one reader who may be shown each.
    tokens: Mutex<BTreeMap<String, String>>,
}

impl Tap {
    /// Nobody may be shown this text.
    pub fn guard_secret(&self, secret: &str) {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.to_owned());
    }

    /// Only its owner may be shown this token.
    pub fn guard_token(&self, token: &str, owner: &str) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned(), owner.to_owned());
    }

    /// Looks at a text on its way to `reader`.
    ///
    /// # Panics
    /// Where it holds what the reader may not see; `place` says where it came from.
    pub fn look(&self, place: &str, reader: &str, text: &str) {
        if let Some(id) = provider_id(text).filter(|_| reader != OPERATOR) {
            panic!("{place} shows a provider's id: {id}");
        }
        for secret in self.secrets.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            assert!(!text.contains(secret), "{place} shows a secret");
        }
        for (token, owner) in self.tokens.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            assert!(owner == reader || !text.contains(token), "{place} shows {reader} the session of {owner}");
        }
    }
}

/// The first provider id in a text, also inside a licence or behind percent-encoding.
pub fn provider_id(text: &str) -> Option<String> {
    let (rest, claims) = open_licenses(text);
    let decoded = percent_decoded(&rest);
    [rest, claims, decoded].iter().find_map(|text| plain_id(text))
}

fn plain_id(text: &str) -> Option<String> {
    // Part of a longer token, such as our own `cust_…` or a licence's base64url, is no id.
    let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    PREFIXES.iter().find_map(|prefix| {
        text.match_indices(prefix).find_map(|(start, _)| {
            let before = text[..start].chars().next_back();
            let after = text[start + prefix.len()..].strip_prefix('_')?;
            let after = after.strip_prefix("test_").or_else(|| after.strip_prefix("live_")).unwrap_or(after);
            let random: String = after.chars().take_while(char::is_ascii_alphanumeric).collect();
            // English words such as `in_progress` have neither a digit nor a capital.
            let is_random = random.len() >= RANDOM_CHARS_MIN && !random.chars().all(|c| c.is_ascii_lowercase());
            (is_random && !before.is_some_and(in_word)).then(|| format!("{prefix}_{random}"))
        })
    })
}

/// The text without its licences, and what stands in these.
fn open_licenses(text: &str) -> (String, String) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let (mut rest, mut claims) = (String::with_capacity(text.len()), String::new());
    let mut left = text;
    while let Some(start) = left.find("eyJ") {
        let (before, from) = left.split_at(start);
        let end = from.find(|c| !is_token(c)).unwrap_or(from.len());
        rest.push_str(before);
        rest.push(' ');
        for part in from[..end].split('.') {
            let decoded = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
            if let Ok(json) = String::from_utf8(decoded) {
                claims.push_str(&json);
            }
        }
        left = &from[end..];
    }
    rest.push_str(left);
    (rest, claims)
}

fn percent_decoded(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut left = text;
    while let Some(at) = left.find('%') {
        decoded.push_str(&left[..at]);
        let code = left.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code.filter(u8::is_ascii) {
            Some(byte) => {
                decoded.push(char::from(byte));
                left = &left[at + 3..];
            }
            None => {
                decoded.push('%');
                left = &left[at + 1..];
            }
        }
    }
    decoded.push_str(left);
    decoded
}

#[test]
fn the_tap_sees_ids_wherever_they_hide() {
    let payload = URL_SAFE_NO_PAD.encode(r#"{"x":"sub_1Abcdefgh"}"#);
    let hidden = [
        "{\"id\":\"cus_Qa8bC9dE0fG1h2\"}".to_owned(),
        "see https://example.com/?s=cs_test_a1B2c3D4e5F6g7".to_owned(),
        "to=%2Fsomewhere%3Fx%3Dcus_Qa8bC9dE0f".to_owned(),
        "whsec_0123456789abcdef".to_owned(),
        format!("token eyJhbGciOiJFZERTQSJ9.{payload}.c2ln"),
    ];
    for text in hidden {
        assert!(provider_id(&text).is_some(), "{text}");
    }
}

#[test]
fn the_tap_lets_our_own_words_pass() {
    let ours = [
        "cust_0123456789abcdef0123456789abcdef att_0123456789abcdef0123456789abcdef",
        "eyJhbGciOiJFZERTQSJ9.eyJhIjoxfQ.in_Abcdefgh0123",
        "price_starter_monthly checkout_in_progress cfs_x-in_0123456789",
    ];
    for text in ours {
        assert_eq!(provider_id(text), None, "{text}");
    }
}

#[test]
#[should_panic(expected = "shows bob the session of ada")]
fn the_tap_knows_whose_session_is_shown() {
    let tap = Tap::default();
    tap.guard_token("cfs_token", "ada");
    tap.look("a page", "ada", "cfs_token");
    tap.look("a page", "bob", "cfs_token");
}
