//! What a license is worth, in grades, and which grade wins where several are true.

use std::fmt;

use crate::token::Reason;

/// What a license is worth at a given time.
///
/// Several of these can be true at once. The answer is the first one in this order: [`Invalid`](State::Invalid),
/// [`ClockBehind`](State::ClockBehind), [`Revoked`](State::Revoked), [`Expired`](State::Expired),
/// [`NotYetValid`](State::NotYetValid), [`Suspended`](State::Suspended), [`Superseded`](State::Superseded),
/// [`InGrace`](State::InGrace), [`RefreshDue`](State::RefreshDue), [`Valid`](State::Valid). What ends a license outranks
/// what only interrupts it, and a newer license that is waiting outranks the reasons to ask for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Good, nothing to do.
    Valid,
    /// Good, and a newer one is probably waiting at the server.
    RefreshDue,
    /// Good, but the paid period is over: it ends with the grace.
    InGrace,
    /// Good, and a newer one is certainly waiting at the server.
    Superseded,
    /// Out of force for now, for example while a payment is disputed.
    Suspended,
    /// Not yet good. Licenses start a little before they are issued, so this machine's clock is likely behind.
    NotYetValid,
    /// Over.
    Expired,
    /// Withdrawn for good, for example because the money was refunded.
    Revoked,
    /// This machine's clock stands before a time that has certainly passed: no answer about time can rest on it.
    ClockBehind,
    /// No license for this product, and why.
    Invalid(Reason),
}

impl State {
    /// A stable word for programs; it never changes once released. An invalid license answers its reason's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(reason) => reason.code(),
            other => other.name(),
        }
    }

    /// A stable word for the grade alone: `invalid` for every reason.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::RefreshDue => "refresh_due",
            Self::InGrace => "in_grace",
            Self::Superseded => "superseded",
            Self::Suspended => "suspended",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::ClockBehind => "clock_behind",
            Self::Invalid(_) => "invalid",
        }
    }

    /// Whether the product may run.
    pub fn entitled(&self) -> bool {
        match self {
            Self::Valid | Self::RefreshDue | Self::InGrace | Self::Superseded => true,
            Self::Suspended
            | Self::NotYetValid
            | Self::Expired
            | Self::Revoked
            | Self::ClockBehind
            | Self::Invalid(_) => false,
        }
    }

    /// Whether the product should ask the server for a newer license.
    pub fn should_refresh(&self) -> bool {
        match self {
            Self::RefreshDue | Self::InGrace | Self::Superseded | Self::Suspended | Self::Expired | Self::Revoked => {
                true
            }
            Self::Valid | Self::NotYetValid | Self::ClockBehind | Self::Invalid(_) => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Valid => "the license is valid",
            Self::RefreshDue => "the license is valid, and a newer one should be fetched",
            Self::InGrace => "the paid period is over, and the license still works for a while",
            Self::Superseded => "the license is valid, and a newer one has taken its place and should be fetched",
            Self::Suspended => "the license is suspended for now",
            Self::NotYetValid => "the license is not valid yet; is this machine's clock right?",
            Self::Expired => "the license has expired",
            Self::Revoked => "the license was revoked",
            Self::ClockBehind => "this machine's clock is behind a time that has already passed; please set it right",
            Self::Invalid(reason) => return reason.fmt(formatter),
        })
    }
}
