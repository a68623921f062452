//! Verification: token, keys, expectations and time in; a graded state and the entitlements out.
//!
//! The order is the security of it: nothing in the payload is read before the signature is good, and time is judged last,
//! so that a forged token never answers "expired".

use std::fmt;

use serde_json::Value;

use crate::claims::Claims;
use crate::encoding;
use crate::keys::KeySet;
use crate::token::{self, Reason};

/// How far ahead of this machine's clock a license may have been issued. Clocks and time zones are set wrong by hours;
/// a day and more is a clock that no answer about time can rest on.
pub const ISSUED_AHEAD_SECONDS_MAX: i64 = 24 * 60 * 60;

/// Whose licenses are accepted, and for what product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expectations<'a> {
    /// The public URL of the issuing server, exactly as in the claim `iss`.
    pub issuer: &'a str,
    /// The product, exactly as in the claim `aud`.
    pub audience: &'a str,
}

impl<'a> Expectations<'a> {
    /// Licenses of this server for this product.
    pub fn new(issuer: &'a str, audience: &'a str) -> Self {
        Self { issuer, audience }
    }
}

/// What a license is worth at a given time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Good, nothing to do.
    Valid,
    /// Good, and a newer one is probably waiting at the server.
    RefreshDue,
    /// Good, but the paid period is over: it ends with the grace.
    InGrace,
    /// Over.
    Expired,
    /// Not yet good. Licenses start a little before they are issued, so this machine's clock is likely behind.
    NotYetValid,
    /// No license for this product, and why.
    Invalid(Reason),
}

impl State {
    /// A stable word for programs; it never changes once released. An invalid license answers its reason's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::RefreshDue => "refresh_due",
            Self::InGrace => "in_grace",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Invalid(reason) => reason.code(),
        }
    }

    /// Whether the product may run.
    pub fn entitled(&self) -> bool {
        match self {
            Self::Valid | Self::RefreshDue | Self::InGrace => true,
            Self::Expired | Self::NotYetValid | Self::Invalid(_) => false,
        }
    }

    /// Whether the product should ask the server for a newer license.
    pub fn should_refresh(&self) -> bool {
        match self {
            Self::RefreshDue | Self::InGrace | Self::Expired => true,
            Self::Valid | Self::NotYetValid | Self::Invalid(_) => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid => formatter.write_str("the license is valid"),
            Self::RefreshDue => formatter.write_str("the license is valid, and a newer one should be fetched"),
            Self::InGrace => formatter.write_str("the paid period is over, and the license still works for a while"),
            Self::Expired => formatter.write_str("the license has expired"),
            Self::NotYetValid => formatter.write_str("the license is not valid yet; is this machine's clock right?"),
            Self::Invalid(reason) => reason.fmt(formatter),
        }
    }
}

/// The answer of [`verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What the license is worth.
    pub state: State,
    /// What it says; there only when the signature is good and the claims are complete. That alone entitles to nothing:
    /// it may have expired, or be for another product.
    pub claims: Option<Claims>,
}

impl Verified {
    /// Whether the product may run.
    pub fn entitled(&self) -> bool {
        self.state.entitled()
    }

    /// The features that may be used now: none when not entitled.
    pub fn features(&self) -> &[String] {
        match &self.claims {
            Some(claims) if self.entitled() => &claims.features,
            Some(_) | None => &[],
        }
    }

    /// Whether this feature may be used now.
    pub fn has_feature(&self, name: &str) -> bool {
        self.features().iter().any(|feature| feature == name)
    }

    /// The limit of this name: `None` when not entitled, or when the plan sets no such limit.
    pub fn limit(&self, name: &str) -> Option<i64> {
        match &self.claims {
            Some(claims) if self.entitled() => claims.limits.get(name).copied(),
            Some(_) | None => None,
        }
    }
}

/// Verifies a license at the time `now_unix` (Unix seconds).
///
/// Every input has an answer; there is no error and no panic.
pub fn verify(token: &str, keys: &KeySet, expect: &Expectations<'_>, now_unix: i64) -> Verified {
    match authenticate(token, keys) {
        Ok(claims) => {
            let state = match accept(&claims, expect, now_unix) {
                Ok(()) => grade(&claims, now_unix),
                Err(reason) => State::Invalid(reason),
            };
            Verified { state, claims: Some(claims) }
        }
        Err(reason) => Verified { state: State::Invalid(reason), claims: None },
    }
}

/// Reads a token **without verifying it**, to show a person what it says: header and claims.
///
/// # Errors
/// When it is not a token with a license's claims. Whether anybody signed it is not looked at.
pub fn inspect(token: &str) -> Result<(Value, Claims), Reason> {
    let parts = token::split(token)?;
    encoding::object_members(&parts.header).ok_or(Reason::Malformed)?;
    let header = serde_json::from_slice(&parts.header).map_err(|_| Reason::Malformed)?;
    Ok((header, Claims::parse(&parts.payload)?))
}

/// Is it ours? The claims, once header and signature prove it.
fn authenticate(token: &str, keys: &KeySet) -> Result<Claims, Reason> {
    let parts = token::split(token)?;
    let key_id = token::key_id(&parts.header)?;
    let key = keys.find(&key_id).ok_or(Reason::UnknownKey)?;
    if !key.verifies(parts.signed, &parts.signature) {
        return Err(Reason::BadSignature);
    }
    Claims::parse(&parts.payload)
}

/// Is it for us? The reasons that no passing of time will heal, and the clock that is too wrong to go on.
fn accept(claims: &Claims, expect: &Expectations<'_>, now_unix: i64) -> Result<(), Reason> {
    claims.check()?;
    if claims.iss != expect.issuer {
        return Err(Reason::WrongIssuer);
    }
    if claims.aud != expect.audience {
        return Err(Reason::WrongAudience);
    }
    if claims.iat > now_unix.saturating_add(ISSUED_AHEAD_SECONDS_MAX) {
        return Err(Reason::IssuedInFuture);
    }
    Ok(())
}

/// How far along is it? A time belongs to what begins with it: at `exp` it is expired, at `nbf` it is valid.
fn grade(claims: &Claims, now_unix: i64) -> State {
    if now_unix >= claims.exp {
        State::Expired
    } else if now_unix < claims.nbf {
        State::NotYetValid
    } else if now_unix >= claims.paid_until {
        State::InGrace
    } else if now_unix >= claims.refresh_after {
        State::RefreshDue
    } else {
        State::Valid
    }
}
