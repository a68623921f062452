//! Operators: what their keys may do, and who did what for which reason.

use counterfoil_core::{ApiKeyId, Refusal};

/// The longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 500;

/// What an API key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A vendor's backend: starts checkouts for any customer, and nothing else.
    Checkout,
    /// An operator who looks.
    Read,
    /// Looks, and helps: mails, replays, longer trials.
    Support,
    /// The same, and what costs or brings money: payments by hand, licenses, repairs.
    Billing,
    /// Everything.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Checkout, Self::Read, Self::Support, Self::Billing, Self::Admin];

    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Checkout => "checkout",
            Self::Read => "read",
            Self::Support => "support",
            Self::Billing => "billing",
            Self::Admin => "admin",
        }
    }

    /// The scope that this word means.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.word() == word)
    }

    /// Whether a key of this scope may do what `needed` stands for. The scopes of operators contain each other.
    #[must_use]
    pub const fn allows(self, needed: Self) -> bool {
        match needed {
            Self::Checkout => matches!(self, Self::Checkout | Self::Admin),
            Self::Read => matches!(self, Self::Read | Self::Support | Self::Billing | Self::Admin),
            Self::Support => matches!(self, Self::Support | Self::Billing | Self::Admin),
            Self::Billing => matches!(self, Self::Billing | Self::Admin),
            Self::Admin => matches!(self, Self::Admin),
        }
    }
}

/// Who changes something by hand, and why: the two things that the audit log wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    actor: String,
    reason: String,
}

impl By {
    /// Somebody at the command line, who has the database's password anyway.
    ///
    /// # Errors
    /// [`Refusal::InvalidField`] for a reason that is empty or too long.
    pub fn command_line(reason: &str) -> Result<Self, Refusal> {
        Ok(Self { actor: "operator:cli".to_owned(), reason: checked(reason)? })
    }

    /// Somebody with an operator's key.
    ///
    /// # Errors
    /// As [`By::command_line`].
    pub fn key(key_id: &ApiKeyId, reason: &str) -> Result<Self, Refusal> {
        Ok(Self { actor: format!("operator:{key_id}"), reason: checked(reason)? })
    }

    /// The service itself, going on with what an operator decided.
    #[must_use]
    pub fn sweep(reason: &'static str) -> Self {
        Self { actor: "sweep".to_owned(), reason: reason.to_owned() }
    }

    /// `operator:cli`, or `operator:` and the id of the key.
    #[must_use]
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Both, as the audit log takes them.
    #[must_use]
    pub fn entry(&self) -> (&str, &str) {
        (&self.actor, &self.reason)
    }
}

fn checked(reason: &str) -> Result<String, Refusal> {
    let reason = reason.trim();
    let refused = |reason| Err(Refusal::InvalidField { field: "reason", reason });
    if reason.is_empty() {
        refused("say in a few words why, for the audit log")
    } else if reason.chars().count() > REASON_CHARS_MAX {
        refused("it has at most 500 characters")
    } else if reason.chars().any(char::is_control) {
        refused("it is one line of text")
    } else {
        Ok(reason.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scopes_of_operators_contain_each_other_and_a_backend_has_none_of_them() {
        let row = |scope: Scope| Scope::ALL.map(|needed| scope.allows(needed));
        assert_eq!(row(Scope::Checkout), [true, false, false, false, false]);
        assert_eq!(row(Scope::Read), [false, true, false, false, false]);
        assert_eq!(row(Scope::Support), [false, true, true, false, false]);
        assert_eq!(row(Scope::Billing), [false, true, true, true, false]);
        assert_eq!(row(Scope::Admin), [true, true, true, true, true]);
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.word()), Some(scope));
        }
    }

    #[test]
    fn the_audit_log_hears_who_it_was_and_why() {
        let key_id = ApiKeyId::from_random([1; 16]);
        let by_key = format!("operator:{key_id}");
        for (by, actor, reason) in [
            (By::command_line(" asked ").unwrap(), "operator:cli", "asked"),
            (By::key(&key_id, "asked").unwrap(), by_key.as_str(), "asked"),
            (By::sweep("due"), "sweep", "due"),
        ] {
            assert_eq!((by.actor(), by.reason(), by.entry()), (actor, reason, (actor, reason)));
        }
    }

    #[test]
    fn a_reason_is_one_line_that_says_something() {
        assert_eq!(By::command_line("  asked by phone ").unwrap().reason(), "asked by phone");
        assert!(By::command_line(&"é".repeat(REASON_CHARS_MAX)).is_ok());
        for bad in ["", "  ", "two\nlines", &"x".repeat(REASON_CHARS_MAX + 1)] {
            assert!(By::command_line(bad).is_err(), "{bad:?}");
        }
    }
}
