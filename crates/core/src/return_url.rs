//! Where a customer may be sent after checkout: only to origins on the list, decided by origin and never by a prefix of text.
//!
//! What passes reaches the provider as the caller wrote it, so that a literal `{CHECKOUT_SESSION_ID}` stays literal.

use crate::probe;
use std::fmt;

use url::{Host, Url};

/// The longest return URL, in bytes.
pub const RETURN_URL_BYTES_MAX: usize = 2048;

/// The template that the provider fills in.
const SESSION_TEMPLATE: &str = "{CHECKOUT_SESSION_ID}";

/// The template that we fill in: the id of our checkout attempt.
pub const ATTEMPT_TEMPLATE: &str = "{ATTEMPT_ID}";

/// An origin: scheme, host and port, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin(String);

/// The text is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no origin: write scheme, host and port only, such as https://example.com")]
pub struct InvalidOrigin(pub String);

impl Origin {
    /// Parses `https://example.com` or `http://localhost:3000`; a path, query or user is refused.
    ///
    /// # Errors
    /// [`InvalidOrigin`] with the text.
    pub fn parse(text: &str) -> Result<Self, InvalidOrigin> {
        let refuse = || InvalidOrigin(text.to_owned());
        let url = Url::parse(text).map_err(|_| refuse())?;
        let bare = matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none();
        if bare { Ok(Self(url.origin().ascii_serialization())) } else { Err(refuse()) }
    }

    /// As browsers write it in the `Origin` header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A return URL that passed, exactly as the caller wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnUrl(String);

impl ReturnUrl {
    /// The URL as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The list of origins.
#[derive(Clone, Debug)]
pub struct ReturnUrls {
    allowed: Vec<Origin>,
    any_loopback: bool,
}

/// The URL leads somewhere that is not on the list, or is not a plain absolute http(s) URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the URL is not on the list of allowed return origins")]
pub struct NotAllowed;

impl ReturnUrls {
    /// `any_loopback` also lets any http(s) URL on `localhost` or a loopback address pass, which only sandbox mode sets.
    #[must_use]
    pub fn new(allowed: Vec<Origin>, any_loopback: bool) -> Self {
        Self { allowed, any_loopback }
    }

    /// Checks one URL.
    ///
    /// # Errors
    /// [`NotAllowed`], whatever the reason: an attacker learns nothing, and the caller's log has the text.
    pub fn check(&self, text: &str) -> Result<ReturnUrl, NotAllowed> {
        if text.len() > RETURN_URL_BYTES_MAX || !is_plain(text) {
            probe!("F76");
            return Err(NotAllowed);
        }
        let url = Url::parse(&without_templates(text)).map_err(|_| NotAllowed)?;
        let origin = Origin(url.origin().ascii_serialization());
        let loopback = self.any_loopback && is_loopback(&url);
        if loopback || self.allowed.contains(&origin) {
            return Ok(ReturnUrl(text.to_owned()));
        }
        probe!("F76");
        Err(NotAllowed)
    }
}

/// Parsers differ on odd texts (backslashes, tabs, missing slashes); what is plain, they all read alike. It names no user.
fn is_plain(text: &str) -> bool {
    let rest = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) | (None, Some(rest)) => rest,
        (None, None) => return false,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let visible = |b: u8| b.is_ascii_graphic() && !matches!(b, b'\\' | b'<' | b'>' | b'"' | b'`' | b'^' | b'|');
    let braces_ok = !without_templates(text).contains(['{', '}']);
    !authority.is_empty() && !authority.contains(['@', '{', '%']) && text.bytes().all(visible) && braces_ok
}

fn without_templates(text: &str) -> String {
    text.replace(SESSION_TEMPLATE, "session").replace(ATTEMPT_TEMPLATE, "attempt")
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
