//! What the status list says of a customer's licences, for products that verify offline.
//!
//! Each version has a word of its own in the list. It follows what happens to the customer's right: a version that was withdrawn
//! stays withdrawn, whatever is paid later, because what is paid later is a version of its own.

use crate::entitlement::{Ended, Grant};
use crate::facts::Money;
use crate::time::Timestamp;

/// What the list says of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Nothing against it.
    Valid,
    /// Withdrawn for good.
    Invalid,
    /// Out of force for now.
    Suspended,
    /// A newer version took its place, and it is still good.
    Superseded,
}

impl Listed {
    /// Each word, with itself.
    pub const ALL: [Self; 4] = [Self::Valid, Self::Invalid, Self::Suspended, Self::Superseded];

    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Suspended => "suspended",
            Self::Superseded => "superseded",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|listed| listed.word() == word)
    }
}

/// What becomes of all versions of a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Those that were suspended are in force again.
    Restore,
    /// All that are in force are suspended.
    Suspend,
    /// All are withdrawn for good.
    Withdraw,
    /// They stay as they are: what is over by the clock says so in each licence.
    Leave,
}

/// What the customer's right at this moment, and what became of the money for it, mean for the versions that are out.
#[must_use]
pub const fn mark(right: Result<&Grant, Ended>, money: Money) -> Mark {
    match (right, money) {
        (Ok(_), _) => Mark::Restore,
        (Err(Ended::Refunded | Ended::DisputeLost | Ended::Revoked), _)
        | (Err(Ended::Canceled), Money::Refunded | Money::DisputeLost) => Mark::Withdraw,
        // A payment, the customer or the bank may still bring it back; and who has canceled was not told off.
        (Err(Ended::Canceled | Ended::Disputed | Ended::Paused | Ended::NotPaid), _) => Mark::Suspend,
        // A plan that is missing from the configuration is the operator's slip, not the customer's.
        (Err(Ended::TrialOver | Ended::PlanGone | Ended::EmailNotVerified), _) => Mark::Leave,
    }
}

/// What becomes of an older version when a newer one is issued. One that reaches further than the newer one is withdrawn: its
/// time was given back, or exchanged for something else.
#[must_use]
pub fn replaced(old_expires_at: Timestamp, new_expires_at: Timestamp) -> Listed {
    if old_expires_at > new_expires_at { Listed::Invalid } else { Listed::Superseded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_mark() {
        use Ended::*;
        let marks = [
            (TrialOver, Mark::Leave),
            (NotPaid, Mark::Suspend),
            (Canceled, Mark::Suspend),
            (Paused, Mark::Suspend),
            (Refunded, Mark::Withdraw),
            (DisputeLost, Mark::Withdraw),
            (Disputed, Mark::Suspend),
            (PlanGone, Mark::Leave),
            (EmailNotVerified, Mark::Leave),
            (Revoked, Mark::Withdraw),
        ];
        for (ended, expected) in marks {
            assert_eq!(mark(Err(ended), Money::Kept), expected, "{ended:?}");
        }
        for money in [Money::Refunded, Money::DisputeLost] {
            assert_eq!(mark(Err(Canceled), money), Mark::Withdraw, "{money:?}");
        }
        for money in [Money::PartlyRefunded, Money::Disputed, Money::Held] {
            assert_eq!(mark(Err(Canceled), money), Mark::Suspend, "{money:?}");
        }
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for listed in Listed::ALL {
            assert_eq!(Listed::parse(listed.word()), Some(listed));
        }
        assert_eq!(Listed::parse("Valid"), None);
    }

    #[test]
    fn a_version_that_reaches_further_than_the_next_is_withdrawn() {
        let at = Timestamp::from_unix_seconds;
        assert_eq!(replaced(at(10), at(10)), Listed::Superseded);
        assert_eq!(replaced(at(9), at(10)), Listed::Superseded);
        assert_eq!(replaced(at(11), at(10)), Listed::Invalid);
    }
}
