//! The life of a signing key: pending, active, retired, compromised, and never back.
//!
//! A key is published before it signs, so that whoever keeps a copy of the public keys knows it by then. One that has signed stays
//! published as long as anybody may hold what it signed, unless somebody else has it: then nothing that it signed counts.

use crate::{Refusal, Timestamp};

/// How long the published keys may be kept by those who fetch them.
pub const KEYS_CACHED_SECONDS: u32 = 300;

/// How long a key is published before it may sign: twice as long, for those whose copy was kept by somebody between.
pub const PUBLISHED_SECONDS_MIN: i64 = 2 * KEYS_CACHED_SECONDS as i64;

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Published, and signs nothing yet.
    Pending,
    /// It signs. There is one.
    Active,
    /// It signs no more; what it signed is good.
    Retired,
    /// Somebody else has it; nothing that it signed counts.
    Compromised,
}

/// What can be done to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAction {
    /// It begins to sign.
    Activate,
    /// Another one signs in its place.
    Supersede,
    /// An operator wants it to sign nothing (any more).
    Retire,
    /// An operator knows, or fears, that somebody else has it.
    Compromise,
}

impl KeyState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Active, Self::Retired, Self::Compromised];

    /// The stable word, as it is stored.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Compromised => "compromised",
        }
    }

    /// The state that this word means.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether the public half is published, and what it signed is taken.
    #[must_use]
    pub const fn is_trusted(self) -> bool {
        match self {
            Self::Pending | Self::Active | Self::Retired => true,
            Self::Compromised => false,
        }
    }

    /// The state after an action.
    ///
    /// # Errors
    /// [`Refusal::SigningKeyState`], with what to do instead.
    pub const fn after(self, action: KeyAction) -> Result<Self, Refusal> {
        let (state, advice) = (self.word(), "nothing brings a key back; generate another one");
        match (self, action) {
            (Self::Pending, KeyAction::Activate) => Ok(Self::Active),
            (Self::Pending, KeyAction::Retire) | (Self::Active, KeyAction::Supersede) => Ok(Self::Retired),
            (Self::Pending | Self::Active | Self::Retired, KeyAction::Compromise) => Ok(Self::Compromised),
            (Self::Active, KeyAction::Retire) => {
                Err(Refusal::SigningKeyState { state, advice: "it signs; rotate, and another one signs in its place" })
            }
            (Self::Active, KeyAction::Activate) => {
                Err(Refusal::SigningKeyState { state, advice: "there is nothing to do" })
            }
            (Self::Pending | Self::Retired | Self::Compromised, KeyAction::Supersede)
            | (Self::Retired | Self::Compromised, KeyAction::Activate | KeyAction::Retire)
            | (Self::Compromised, KeyAction::Compromise) => Err(Refusal::SigningKeyState { state, advice }),
        }
    }
}

/// When a key that was published then may sign.
#[must_use]
pub const fn may_sign_from(published_at: Timestamp) -> Timestamp {
    published_at.plus_seconds(PUBLISHED_SECONDS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_only_goes_forward() {
        use KeyAction::{Activate, Compromise, Retire, Supersede};
        use KeyState::{Active, Compromised, Pending, Retired};
        let no = None;
        let table = [
            (Pending, [Some(Active), no, Some(Retired), Some(Compromised)]),
            (Active, [no, Some(Retired), no, Some(Compromised)]),
            (Retired, [no, no, no, Some(Compromised)]),
            (Compromised, [no; 4]),
        ];
        assert_eq!(table.map(|(state, _)| state), KeyState::ALL);
        for (state, row) in table {
            for (action, expected) in [Activate, Supersede, Retire, Compromise].into_iter().zip(row) {
                let reached = state.after(action);
                assert_eq!(reached.clone().ok(), expected, "{state:?} {action:?}");
                assert!(expected.is_some() || reached.unwrap_err().code() == "signing_key_state");
            }
        }
    }

    #[test]
    fn words_are_read_back() {
        for state in KeyState::ALL {
            assert_eq!(KeyState::parse(state.word()), Some(state));
        }
        assert_eq!(KeyState::parse("Active"), None);
    }

    #[test]
    fn what_a_key_signed_is_taken_unless_it_was_compromised() {
        let trusted = KeyState::ALL.into_iter().filter(|state| state.is_trusted());
        assert!(trusted.eq([KeyState::Pending, KeyState::Active, KeyState::Retired]));
    }

    #[test]
    fn a_key_signs_when_every_copy_of_the_published_ones_has_it() {
        let published = Timestamp::from_unix_seconds(1_790_000_000);
        // Kept by a proxy to its end, and then by a product to its end.
        let copies = 2 * i64::from(KEYS_CACHED_SECONDS);
        assert!(may_sign_from(published).seconds_since(published) >= copies);
    }
}
