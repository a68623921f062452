//! The compact form of a license: its three parts, its header, and why one is refused.
//!
//! The header is input from a stranger. It may say which of our keys it was signed with, and nothing else: algorithm and
//! type must be the one we write, and every member that would bring its own key or extension is refused unread.

use serde::Deserialize;

use crate::encoding;

/// The longest token that is looked at. A license is about 1 KiB; the limit keeps a stranger from making us work.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

pub(crate) const ALGORITHM: &str = "EdDSA";
pub(crate) const TYPE: &str = "license+jwt";

/// Header members that name or bring a key, or change how the token must be processed.
const FORBIDDEN: [&str; 9] = ["jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip"];

/// Why a token is no license at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLarge,
    /// Not three base64url parts of strict JSON with values of the right types.
    #[error("this is not a license token; was it copied in full?")]
    Malformed,
    /// The header's `alg` is not `EdDSA`.
    #[error("the token is signed with an algorithm that licenses do not use")]
    UnsupportedAlgorithm,
    /// The header's `typ` is not `license+jwt`: a token of ours or somebody's, but not a license.
    #[error("the token is not of the type license+jwt")]
    WrongType,
    /// The header has a member that licenses never have, such as `jku` or `crit`.
    #[error("the token's header has the forbidden member {0}")]
    ForbiddenHeader(&'static str),
    /// The header's `kid` is missing, or names no key of the set.
    #[error("the token is signed with a key that is not in the key set")]
    UnknownKey,
    /// The signature does not fit: the token was altered, or signed by somebody else.
    #[error("the signature is wrong")]
    BadSignature,
    /// Signed by a known key, but a claim is missing.
    #[error("the license lacks the claim {0}")]
    MissingClaim(&'static str),
    /// Signed by a known key, but a claim contradicts another.
    #[error("the license's claim {0} contradicts another claim")]
    InvalidClaim(&'static str),
    /// Issued by another server than expected.
    #[error("the license was issued by another server")]
    WrongIssuer,
    /// Issued for another product.
    #[error("the license is for another product")]
    WrongAudience,
    /// Issued more than a day in the future: this machine's clock is far behind.
    #[error("the license was issued in the future; is this machine's clock right?")]
    IssuedInFuture,
}

impl Reason {
    /// A stable word for programs; it never changes once released.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::WrongType => "wrong_type",
            Self::ForbiddenHeader(_) => "forbidden_header",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::MissingClaim(_) => "missing_claim",
            Self::InvalidClaim(_) => "invalid_claim",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::IssuedInFuture => "issued_in_future",
        }
    }
}

/// A token taken apart; nothing about it is proven yet.
pub(crate) struct Parts<'a> {
    pub header: Vec<u8>,
    pub payload: Vec<u8>,
    pub signature: Vec<u8>,
    /// The bytes that were signed: the first two parts as they stand in the token.
    pub signed: &'a [u8],
}

pub(crate) fn split(token: &str) -> Result<Parts<'_>, Reason> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Reason::TooLarge);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Reason::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(Reason::Malformed)?;
    // A fourth part would leave a dot inside the payload, which is not base64url.
    let decode = |part| encoding::from_base64url(part).ok_or(Reason::Malformed);
    Ok(Parts {
        header: decode(header)?,
        payload: decode(payload)?,
        signature: decode(signature)?,
        signed: signed.as_bytes(),
    })
}

#[derive(Deserialize)]
struct Header {
    alg: Option<String>,
    typ: Option<String>,
    kid: Option<String>,
}

/// Checks a header and answers its key id.
pub(crate) fn key_id(header: &[u8]) -> Result<String, Reason> {
    let members = encoding::object_members(header).ok_or(Reason::Malformed)?;
    if let Some(name) = FORBIDDEN.into_iter().find(|name| members.contains(*name)) {
        return Err(Reason::ForbiddenHeader(name));
    }
    let Header { alg, typ, kid } = serde_json::from_slice(header).map_err(|_| Reason::Malformed)?;
    if alg.as_deref() != Some(ALGORITHM) {
        return Err(Reason::UnsupportedAlgorithm);
    }
    if !typ.as_deref().is_some_and(is_license_type) {
        return Err(Reason::WrongType);
    }
    kid.ok_or(Reason::UnknownKey)
}

/// Media types are compared without regard to case, and `application/` may be left out (RFC 7515, section 4.1.9).
fn is_license_type(typ: &str) -> bool {
    let subtype = match typ.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        Some(_) | None => typ,
    };
    subtype.eq_ignore_ascii_case(TYPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_a_media_type() {
        for typ in ["license+jwt", "LICENSE+JWT", "application/license+jwt", "Application/License+JWT"] {
            assert!(is_license_type(typ), "{typ}");
        }
        for typ in
            ["", "JWT", "jwt", "license", "license+jwt ", "text/license+jwt", "application/application/license+jwt"]
        {
            assert!(!is_license_type(typ), "{typ}");
        }
        assert!(!is_license_type("applicatio\u{e9}/license+jwt"), "a character across the split is no panic");
    }

    #[test]
    fn a_token_has_three_parts() {
        for token in ["", ".", "e30", "e30.e30", "e30.e30.AA.AA", "e30.e30.AA.", "e30 .e30.AA", "e30.e30.AA\n"] {
            assert_eq!(split(token).err(), Some(Reason::Malformed), "{token:?}");
        }
        let parts = split("e30.W10.AA").unwrap();
        assert_eq!((parts.signed, &parts.header[..], &parts.payload[..]), (&b"e30.W10"[..], &b"{}"[..], &b"[]"[..]));
    }

    #[test]
    fn the_size_limit_is_exact() {
        let longest = "A".repeat(TOKEN_BYTES_MAX);
        assert_eq!(split(&longest).err(), Some(Reason::Malformed));
        assert_eq!(split(&(longest + "A")).err(), Some(Reason::TooLarge));
    }
}
