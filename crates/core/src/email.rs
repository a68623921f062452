//! E-mail addresses, parsed once at the door.
//!
//! One rule for all: surrounding space is dropped, the local part is ASCII without quotes, an international domain is turned
//! into its ASCII form, and everything is lower case. Two texts that reach the same mailbox at any provider of today become
//! the same value, so the unique index on it bites.

use crate::probe;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The longest address that fits an SMTP path (RFC 5321 §4.5.3.1.3, less the angle brackets).
pub const EMAIL_CHARS_MAX: usize = 254;

/// A normalised e-mail address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailAddress(String);

/// Why a text is no e-mail address that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEmail {
    /// Longer than [`EMAIL_CHARS_MAX`].
    #[error("the address is longer than 254 characters")]
    TooLong,
    /// Not `name@domain`, or with characters that an address cannot have.
    #[error("write it as name@example.com")]
    Malformed,
    /// The domain has no dot, so no mail from elsewhere arrives there.
    #[error("the part after the @ needs a full domain such as example.com")]
    DomainIncomplete,
}

impl FromStr for EmailAddress {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim_matches(' ');
        if text.len() > EMAIL_CHARS_MAX {
            return Err(InvalidEmail::TooLong);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidEmail::Malformed)?;
        if local.contains(['"', '\\']) || !local.is_ascii() {
            return Err(InvalidEmail::Malformed);
        }
        probe!("F73", !domain.is_ascii());
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidEmail::Malformed)?;
        // A last label of digits is an IP address (or nothing); no mail domain ends so.
        match domain.rsplit_once('.') {
            Some((_, last)) if last.bytes().all(|b| b.is_ascii_digit()) => return Err(InvalidEmail::Malformed),
            Some(_) => {}
            None => return Err(InvalidEmail::DomainIncomplete),
        }
        let address = format!("{}@{domain}", local.to_ascii_lowercase());
        if address.len() > EMAIL_CHARS_MAX {
            return Err(InvalidEmail::TooLong);
        }
        let options = email_address::Options::default().without_display_text().without_domain_literal();
        email_address::EmailAddress::parse_with_options(&address, options).map_err(|_| InvalidEmail::Malformed)?;
        Ok(Self(address))
    }
}

impl EmailAddress {
    /// The normalised address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the @.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').expect("a parsed address has an @").1
    }

    /// The address with what one person varies freely taken out: a `+tag`, and the dots that Gmail ignores. It is the key of
    /// the trial ledger and never an address to write to.
    #[must_use]
    pub fn person_key(&self) -> String {
        let (local, domain) = self.0.rsplit_once('@').expect("a parsed address has an @");
        // Without a name before it, a `+` starts no tag: `+a@` and `+b@` are two people.
        let local = match local.split_once('+') {
            Some((name, _tag)) if !name.is_empty() => name,
            Some(_) | None => local,
        };
        match domain {
            "gmail.com" | "googlemail.com" => format!("{}@gmail.com", local.replace('.', "")),
            _ => format!("{local}@{domain}"),
        }
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Masked, so that an address reaches no log by way of `{:?}`.
impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(…)")
    }
}

impl Serialize for EmailAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
