//! Verification: token, keys, expectations and time in; a graded state and the entitlements out.
//!
//! The order is the security of it: nothing in the payload is read before the signature is good, and time is judged last,
//! so that a forged token never answers "expired".

use serde_json::Value;

use crate::claims::Claims;
use crate::encoding;
use crate::keys::{KeySet, PublicKey};
use crate::rooted::{KeyState, SignedKeySet};
use crate::state::State;
use crate::status_list::{Status, StatusList};
use crate::token::{self, LICENSE, Reason};

/// How far this machine's clock may stand behind a time that has certainly passed, unless [`Verifier::clock_skew`] says
/// otherwise. Clocks and time zones are set wrong by hours; a day and more is a clock that no answer about time can rest on.
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

/// Where the keys come from: a plain set that the product ships or fetched, or one that the pinned root has signed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Trust<'a> {
    /// All of these keys, whenever a license was issued.
    Keys(&'a KeySet),
    /// These keys, each in its state and time.
    Signed(&'a SignedKeySet),
}

impl<'a> From<&'a KeySet> for Trust<'a> {
    fn from(keys: &'a KeySet) -> Self {
        Self::Keys(keys)
    }
}

impl<'a> From<&'a SignedKeySet> for Trust<'a> {
    fn from(keys: &'a SignedKeySet) -> Self {
        Self::Signed(keys)
    }
}

impl<'a> Trust<'a> {
    pub(crate) fn find(self, key_id: &str) -> Option<&'a PublicKey> {
        match self {
            Self::Keys(keys) => keys.find(key_id),
            Self::Signed(keys) => keys.find(key_id).map(|listed| &listed.key),
        }
    }

    /// Whether what this key has signed can be believed at all.
    fn check_state(self, key: &PublicKey) -> Result<(), Reason> {
        match self {
            Self::Keys(_) => Ok(()),
            Self::Signed(keys) => match keys.find(key.key_id()).ok_or(Reason::UnknownKey)?.state {
                KeyState::Active | KeyState::Retired => Ok(()),
                KeyState::Compromised => Err(Reason::KeyCompromised),
            },
        }
    }

    /// The same, for something that says when it was issued.
    pub(crate) fn check(self, key: &PublicKey, issued_at: i64) -> Result<(), Reason> {
        self.check_state(key)?;
        match self {
            Self::Keys(_) => Ok(()),
            Self::Signed(keys) => keys.find(key.key_id()).ok_or(Reason::UnknownKey)?.may_have_signed_at(issued_at),
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
        self.rights().map_or(&[], |claims| &claims.features)
    }

    /// Whether this feature may be used now.
    pub fn has_feature(&self, name: &str) -> bool {
        self.features().iter().any(|feature| feature == name)
    }

    /// The limit of this name: `None` when not entitled, or when the plan sets no such limit.
    pub fn limit(&self, name: &str) -> Option<i64> {
        self.rights().and_then(|claims| claims.limits.get(name).copied())
    }

    /// The plan's code: `None` when not entitled.
    pub fn plan(&self) -> Option<&str> {
        self.rights().map(|claims| claims.plan.as_str())
    }

    fn rights(&self) -> Option<&Claims> {
        self.claims.as_ref().filter(|_| self.entitled())
    }
}

/// Verifies a license at the time `now_unix` (Unix seconds), by a plain key set and nothing else.
///
/// Every input has an answer; there is no error and no panic. [`Verifier`] knows about revocation and clocks as well.
pub fn verify(token: &str, keys: &KeySet, expect: &Expectations<'_>, now_unix: i64) -> Verified {
    Verifier::new(keys, *expect).verify(token, now_unix)
}

/// Verifies licenses with everything that a product knows.
///
/// ```
/// # use counterfoil_license::{Expectations, KeySet, StatusList, Verified, Verifier};
/// # fn check(token: &str, keys: &KeySet, list: Option<&StatusList>, highest: i64, now_unix: i64) -> Verified {
/// Verifier::new(keys, Expectations::new("https://billing.example.com", "acme-editor"))
///     .status_list(list)
///     .highest_time_seen(highest)
///     .verify(token, now_unix)
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Verifier<'a> {
    trust: Trust<'a>,
    expect: Expectations<'a>,
    status_list: Option<&'a StatusList>,
    status_list_required: bool,
    highest_time_seen: Option<i64>,
    clock_skew_seconds: i64,
}

impl<'a> Verifier<'a> {
    /// A verifier with these keys (a [`KeySet`] or a [`SignedKeySet`]) and these expectations.
    pub fn new(trust: impl Into<Trust<'a>>, expect: Expectations<'a>) -> Self {
        Self {
            trust: trust.into(),
            expect,
            status_list: None,
            status_list_required: false,
            highest_time_seen: None,
            clock_skew_seconds: ISSUED_AHEAD_SECONDS_MAX,
        }
    }

    /// Looks the license up in this list. A list of another name than the license's says nothing about it.
    pub fn status_list(mut self, list: Option<&'a StatusList>) -> Self {
        self.status_list = list;
        self
    }

    /// Refuses a license that names a status list where that list is not at hand or has expired. Without this, a product
    /// that was never given a list runs to the end of its license.
    pub fn require_status_list(mut self, required: bool) -> Self {
        self.status_list_required = required;
        self
    }

    /// The latest time that the product has ever seen, kept by it: the clock may not stand more than the skew before it,
    /// and within the skew this time counts in place of the clock.
    pub fn highest_time_seen(mut self, unix_seconds: i64) -> Self {
        self.highest_time_seen = Some(unix_seconds);
        self
    }

    /// How far the clock may stand behind a time that has certainly passed; [`ISSUED_AHEAD_SECONDS_MAX`] unless set.
    pub fn clock_skew(mut self, seconds: i64) -> Self {
        self.clock_skew_seconds = seconds.max(0);
        self
    }

    /// What the license is worth at the time `now_unix` (Unix seconds).
    ///
    /// Every input has an answer; there is no error and no panic.
    #[must_use]
    pub fn verify(&self, token: &str, now_unix: i64) -> Verified {
        match self.authenticate(token) {
            Ok(claims) => {
                let state = self.judge(&claims, now_unix).unwrap_or_else(State::Invalid);
                Verified { state, claims: Some(claims) }
            }
            Err(reason) => Verified { state: State::Invalid(reason), claims: None },
        }
    }

    /// Is it ours? The claims, once header, signature and the state of the key prove it.
    fn authenticate(&self, token: &str) -> Result<Claims, Reason> {
        let (payload, key) = token::open(token, &LICENSE, |key_id| self.trust.find(key_id))?;
        self.trust.check_state(key)?;
        let claims = Claims::parse(&payload)?;
        self.trust.check(key, claims.iat)?;
        Ok(claims)
    }

    fn judge(&self, claims: &Claims, clock: i64) -> Result<State, Reason> {
        let now_unix = self.highest_time_seen.map_or(clock, |highest| clock.max(highest));
        self.accept(claims, now_unix)?;
        let status = self.status(claims, now_unix)?;
        if self.clock_is_behind(claims, clock) {
            return Ok(State::ClockBehind);
        }
        Ok(grade(claims, status, now_unix))
    }

    /// Is it for us? The reasons that no newer license list and no set clock will heal.
    fn accept(&self, claims: &Claims, now_unix: i64) -> Result<(), Reason> {
        claims.check()?;
        if claims.iss != self.expect.issuer {
            return Err(Reason::WrongIssuer);
        }
        if claims.aud != self.expect.audience {
            return Err(Reason::WrongAudience);
        }
        match self.trust {
            Trust::Signed(keys) if keys.issuer != claims.iss => Err(Reason::KeySetInvalid),
            Trust::Signed(keys) if now_unix >= keys.expires_at => Err(Reason::KeySetExpired),
            Trust::Signed(_) | Trust::Keys(_) => Ok(()),
        }
    }

    /// What the status list says, if there is one for this license. An expired list still counts where it speaks against
    /// the license: what it says was true once, and revocation is for good.
    fn status(&self, claims: &Claims, now_unix: i64) -> Result<Status, Reason> {
        let Some(place) = &claims.status_list else { return Ok(Status::Valid) };
        let Some(list) = self.status_list.filter(|list| list.uri == place.uri) else {
            return if self.status_list_required { Err(Reason::StatusListMissing) } else { Ok(Status::Valid) };
        };
        let status = list.entries.get(place.idx).ok_or(Reason::StatusIndexOutOfRange)?;
        if self.status_list_required && now_unix >= list.expires_at && status != Status::Invalid {
            return Err(Reason::StatusListExpired);
        }
        Ok(status)
    }

    /// Everything that a trusted key has signed was signed before now.
    fn clock_is_behind(&self, claims: &Claims, clock: i64) -> bool {
        let key_set_issued_at = match self.trust {
            Trust::Signed(keys) => Some(keys.issued_at),
            Trust::Keys(_) => None,
        };
        let list_issued_at = self.status_list.map(|list| list.issued_at);
        let passed = [Some(claims.iat), self.highest_time_seen, key_set_issued_at, list_issued_at];
        passed.into_iter().flatten().any(|passed| passed > clock.saturating_add(self.clock_skew_seconds))
    }
}

/// How far along is it? A time belongs to what begins with it: at `exp` it is expired, at `nbf` it is valid.
pub(crate) fn grade(claims: &Claims, status: Status, now_unix: i64) -> State {
    if status == Status::Invalid {
        State::Revoked
    } else if now_unix >= claims.exp {
        State::Expired
    } else if now_unix < claims.nbf {
        State::NotYetValid
    } else if status == Status::Suspended {
        State::Suspended
    } else if status == Status::Superseded {
        State::Superseded
    } else if now_unix >= claims.paid_until {
        State::InGrace
    } else if now_unix >= claims.refresh_after {
        State::RefreshDue
    } else {
        State::Valid
    }
}

/// Reads a token **without verifying it**, to show a person what it says: header and claims.
///
/// # Errors
/// When it is not a token with a license's claims. Whether anybody signed it is not looked at.
pub fn inspect(token: &str) -> Result<(Value, Claims), Reason> {
    let parts = token::split(token, &LICENSE)?;
    encoding::object_members(&parts.header).ok_or(Reason::Malformed)?;
    let header = serde_json::from_slice(&parts.header).map_err(|_| Reason::Malformed)?;
    Ok((header, Claims::parse(&parts.payload)?))
}
