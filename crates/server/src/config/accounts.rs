//! The settings of accounts.

use super::error::Problems;
use super::reading::choice;
use super::settings;
use super::source::Values;
use super::{EmailVerification, OnDelete};

/// How accounts begin and how they end.
pub(super) struct Accounts {
    pub(super) email_verification: EmailVerification,
    pub(super) on_delete: OnDelete,
}

pub(super) fn accounts(values: &Values, problems: &mut Problems) -> Option<Accounts> {
    let words = [("off", EmailVerification::Off), ("required", EmailVerification::Required)];
    let (setting, code) = (&settings::EMAIL_VERIFICATION, "invalid_email_verification");
    let email_verification = choice(values, setting, code, &words, EmailVerification::Off, problems);
    let words = [("keep", OnDelete::Keep), ("delete", OnDelete::Delete)];
    let on_delete = choice(values, &settings::ON_DELETE, "invalid_on_delete", &words, OnDelete::Keep, problems);
    Some(Accounts { email_verification: email_verification?, on_delete: on_delete? })
}
