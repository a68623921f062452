//! The compact form of what we sign: its three parts, its header, and why a license is refused.
//!
//! The header is input from a stranger. It may say which of our keys it was signed with, and nothing else: algorithm and
//! type must be the one we write, and every member that would bring its own key or extension is refused unread. Licenses,
//! status lists and key sets are signed alike and differ in their type, so that none can be passed off as another.

use serde::Deserialize;

use crate::encoding;
use crate::keys::PublicKey;

/// The longest token that is looked at. A license is about 1 KiB; the limit keeps a stranger from making us work.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

pub(crate) const ALGORITHM: &str = "EdDSA";

/// What a signed text is for, and how long one of its kind may be.
pub(crate) struct Kind {
    /// The header's `typ`.
    pub typ: &'static str,
    /// The longest text that is looked at.
    pub bytes_max: usize,
}

pub(crate) const LICENSE: Kind = Kind { typ: "license+jwt", bytes_max: TOKEN_BYTES_MAX };

/// Header members that name or bring a key, or change how the token must be processed.
const FORBIDDEN: [&str; 9] = ["jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip"];

/// Why a token is no license at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is longer than any license")]
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
    /// The key set says that somebody else has the private key.
    #[error("the license is signed with a key that is no longer trusted")]
    KeyCompromised,
    /// Issued after the key set says that the key was retired.
    #[error("the license is signed with a key that was retired before")]
    KeyRetired,
    /// Issued before the key set says that the key is used.
    #[error("the license is signed with a key that was not yet in use")]
    KeyNotActive,
    /// The signed key set is of another server.
    #[error("the key set was made for another server")]
    KeySetInvalid,
    /// The signed key set has ended: a newer one is needed.
    #[error("the key set has expired; a newer one is needed")]
    KeySetExpired,
    /// The license's place lies beyond the end of its status list.
    #[error("the status list has no place for this license")]
    StatusIndexOutOfRange,
    /// A status list is required, and the one that the license names is not there.
    #[error("the status list that the license names is missing")]
    StatusListMissing,
    /// A status list in force is required, and this one has ended.
    #[error("the status list has expired; a newer one is needed")]
    StatusListExpired,
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
            Self::KeyCompromised => "key_compromised",
            Self::KeyRetired => "key_retired",
            Self::KeyNotActive => "key_not_active",
            Self::KeySetInvalid => "key_set_invalid",
            Self::KeySetExpired => "key_set_expired",
            Self::StatusIndexOutOfRange => "status_index_out_of_range",
            Self::StatusListMissing => "status_list_missing",
            Self::StatusListExpired => "status_list_expired",
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

pub(crate) fn split<'a>(token: &'a str, kind: &Kind) -> Result<Parts<'a>, Reason> {
    if token.len() > kind.bytes_max {
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
fn key_id(header: &[u8], kind: &Kind) -> Result<String, Reason> {
    let members = encoding::object_members(header).ok_or(Reason::Malformed)?;
    if let Some(name) = FORBIDDEN.into_iter().find(|name| members.contains(*name)) {
        return Err(Reason::ForbiddenHeader(name));
    }
    let Header { alg, typ, kid } = serde_json::from_slice(header).map_err(|_| Reason::Malformed)?;
    if alg.as_deref() != Some(ALGORITHM) {
        return Err(Reason::UnsupportedAlgorithm);
    }
    if !typ.as_deref().is_some_and(|typ| is_type(typ, kind.typ)) {
        return Err(Reason::WrongType);
    }
    kid.ok_or(Reason::UnknownKey)
}

/// The payload of a text of this kind, once header and signature prove that a trusted key has signed it.
pub(crate) fn open<'k>(
    token: &str,
    kind: &Kind,
    find: impl FnOnce(&str) -> Option<&'k PublicKey>,
) -> Result<(Vec<u8>, &'k PublicKey), Reason> {
    let parts = split(token, kind)?;
    let key_id = key_id(&parts.header, kind)?;
    let key = find(&key_id).ok_or(Reason::UnknownKey)?;
    if !key.verifies(parts.signed, &parts.signature) {
        return Err(Reason::BadSignature);
    }
    Ok((parts.payload, key))
}

/// Media types are compared without regard to case, and `application/` may be left out (RFC 7515, section 4.1.9).
fn is_type(typ: &str, wanted: &str) -> bool {
    let subtype = match typ.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        Some(_) | None => typ,
    };
    subtype.eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_a_media_type() {
        for typ in ["license+jwt", "LICENSE+JWT", "application/license+jwt", "Application/License+JWT"] {
            assert!(is_type(typ, LICENSE.typ), "{typ}");
        }
        for typ in
            ["", "JWT", "jwt", "license", "license+jwt ", "text/license+jwt", "application/application/license+jwt"]
        {
            assert!(!is_type(typ, LICENSE.typ), "{typ}");
        }
        assert!(!is_type("applicatio\u{e9}/license+jwt", LICENSE.typ), "a character across the split is no panic");
    }

    #[test]
    fn a_token_has_three_parts() {
        for token in ["", ".", "e30", "e30.e30", "e30.e30.AA.AA", "e30.e30.AA.", "e30 .e30.AA", "e30.e30.AA\n"] {
            assert_eq!(split(token, &LICENSE).err(), Some(Reason::Malformed), "{token:?}");
        }
        let parts = split("e30.W10.AA", &LICENSE).unwrap();
        assert_eq!((parts.signed, &parts.header[..], &parts.payload[..]), (&b"e30.W10"[..], &b"{}"[..], &b"[]"[..]));
    }

    #[test]
    fn the_size_limit_is_exact() {
        let longest = "A".repeat(TOKEN_BYTES_MAX);
        assert_eq!(split(&longest, &LICENSE).err(), Some(Reason::Malformed));
        assert_eq!(split(&(longest + "A"), &LICENSE).err(), Some(Reason::TooLarge));
    }
}
