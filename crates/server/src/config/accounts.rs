//! The settings of accounts.

use super::EmailVerification;
use super::error::Problems;
use super::settings;
use super::source::Values;

/// Whether an address has to be verified before its trial gives a licence.
pub(super) fn email_verification(values: &Values, problems: &mut Problems) -> Option<EmailVerification> {
    let Some(given) = values.get(&settings::EMAIL_VERIFICATION) else { return Some(EmailVerification::Off) };
    match given.text.as_str() {
        "off" => Some(EmailVerification::Off),
        "required" => Some(EmailVerification::Required),
        other => {
            let message = format!("`{other}` is unknown: write `off` or `required`");
            problems.add("invalid_email_verification", &given.name, message);
            None
        }
    }
}
