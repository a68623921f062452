//! Which passwords we take: long enough, not absurdly long, and not one of those that everybody tries first. No composition
//! rules, after NIST SP 800-63B and OWASP ASVS 5.0 §6.2.

use std::fmt;

/// The shortest password, in characters.
pub const PASSWORD_CHARS_MIN: usize = 8;

/// The longest password, in characters; longer ones are refused, never cut.
pub const PASSWORD_CHARS_MAX: usize = 128;

/// Sorted, in lower case, one a line.
const COMMON: &str = include_str!("../data/common-passwords.txt");

/// A password that a customer may have. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// Why a password is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// Fewer than [`PASSWORD_CHARS_MIN`] characters.
    #[error("use at least 8 characters")]
    TooShort,
    /// More than [`PASSWORD_CHARS_MAX`] characters.
    #[error("use at most 128 characters")]
    TooLong,
    /// One of the passwords that are tried first.
    #[error("this is one of the most common passwords; use another one, three random words for example")]
    Common,
    /// The e-mail address itself, or the part before its @.
    #[error("do not use your e-mail address as the password")]
    SameAsEmail,
}

impl Password {
    /// Checks a new password of the customer with this address.
    ///
    /// # Errors
    /// [`WeakPassword`] says what to change.
    pub fn choose(text: String, email: &crate::EmailAddress) -> Result<Self, WeakPassword> {
        let chars = text.chars().count();
        if chars < PASSWORD_CHARS_MIN {
            return Err(WeakPassword::TooShort);
        }
        if chars > PASSWORD_CHARS_MAX {
            return Err(WeakPassword::TooLong);
        }
        let folded = text.to_lowercase();
        let local = email.as_str().split('@').next().unwrap_or_default();
        if folded == email.as_str() || folded == local {
            return Err(WeakPassword::SameAsEmail);
        }
        if is_common(&folded) {
            return Err(WeakPassword::Common);
        }
        Ok(Self(text))
    }

    /// The text, for the hash function and nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

fn is_common(folded: &str) -> bool {
    let mut distinct: Vec<char> = folded.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    distinct.len() < 3 || COMMON.lines().any(|line| line == folded)
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}
