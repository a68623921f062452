//! The settings of mails.

use lettre::Tokio1Executor;
use lettre::message::Mailbox;
use lettre::transport::smtp::AsyncSmtpTransport;
use reqwest::Url;
use secrecy::SecretString;

use super::error::Problems;
use super::reading::{is_placeholder, placeholder};
use super::settings;
use super::source::Values;

const MAIL_FROM_DEFAULT: &str = "Counterfoil <no-reply@localhost>";

/// How mails are sent, and in whose name.
pub(super) struct Mail {
    pub(super) smtp: Option<SecretString>,
    pub(super) from: String,
}

pub(super) fn mail(values: &Values, problems: &mut Problems) -> Option<Mail> {
    let smtp = smtp(values, problems);
    let from = mail_from(values, smtp.is_some(), problems)?;
    Some(Mail { smtp, from })
}

/// Where it is wrong, a problem is noted, and the rest is checked as if it were right.
fn smtp(values: &Values, problems: &mut Problems) -> Option<SecretString> {
    let given = values.get(&settings::SMTP_URL)?;
    let is_usable = |_: &Url| AsyncSmtpTransport::<Tokio1Executor>::from_url(&given.text).is_ok();
    let url = Url::parse(&given.text).ok().filter(is_usable);
    match url {
        None => {
            let message = "is no mail server: write smtp://user:password@host:587, or smtps:// for TLS from the start; \
                           `?tls=` takes `required` or `opportunistic`";
            problems.add("invalid_smtp_url", &given.name, message);
        }
        Some(url) if url.password().is_some_and(is_placeholder) => {
            placeholder(
                &given.name,
                "put the mail server's real password in, with special characters as %XX",
                problems,
            );
        }
        Some(_) => {}
    }
    Some(given.text.clone().into())
}

fn mail_from(values: &Values, has_smtp: bool, problems: &mut Problems) -> Option<String> {
    match values.get(&settings::MAIL_FROM) {
        Some(given) if is_sender(&given.text) => Some(given.text.clone()),
        Some(given) => {
            let message = format!("`{}` is no sender: write `Name <address@example.com>`", given.text);
            problems.add("invalid_mail_from", &given.name, message);
            None
        }
        None if has_smtp => {
            let message = "is missing: mails through SMTP_URL need a sender such as `Billing <billing@example.com>`";
            problems.add("mail_from_missing", settings::MAIL_FROM.variable, message);
            None
        }
        None => Some(MAIL_FROM_DEFAULT.to_owned()),
    }
}

/// Read as it will be when a mail is written: what fails there would be found out by the first customer.
fn is_sender(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok() && !text.contains(char::is_control)
}
