//! How a mail leaves: over SMTP, or not at all in the sandbox, where the outbox itself is the mailbox.
//!
//! Headers are built by lettre's typed builder, so no text can add a header of its own.

use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::AsyncSmtpTransport;
use lettre::{AsyncTransport as _, Tokio1Executor};
use secrecy::{ExposeSecret as _, SecretString};

use crate::store::outbox::Mail;

/// The longest that one attempt may take.
const SMTP_TIMEOUT: Duration = Duration::from_secs(30);

/// Carries mails.
#[derive(Clone)]
pub enum Mailer {
    /// To a mail server.
    Smtp {
        /// The pooled connections.
        transport: AsyncSmtpTransport<Tokio1Executor>,
        /// Who writes.
        from: Mailbox,
    },
    /// Nowhere: the row of the outbox is the mail, to be read there.
    Kept,
}

/// Why a mail did not leave.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The server's address or the sender's cannot be used.
    #[error("the mail settings cannot be used: {0}")]
    Settings(String),
    /// The mail cannot be put together: an address that no mail server takes.
    #[error("the mail cannot be addressed: {0}")]
    Address(String),
    /// The server refused it for good (5xx).
    #[error("the mail server refuses the mail: {0}")]
    Refused(String),
    /// The server cannot be reached, or asks to come back (4xx).
    #[error("the mail server did not take the mail: {0}")]
    Unavailable(String),
}

impl MailError {
    /// Whether trying again cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Address(_) | Self::Refused(_) => true,
            Self::Settings(_) | Self::Unavailable(_) => false,
        }
    }
}

impl Mailer {
    /// Mails go to this server (`smtp://user:password@host:587`, `smtps://…`), from this sender.
    ///
    /// # Errors
    /// [`MailError::Settings`] where URL or sender cannot be read; the URL is not repeated, as it holds a password.
    pub fn smtp(url: &SecretString, from: &str) -> Result<Self, MailError> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(&with_tls(url.expose_secret()))
            .map_err(|_| MailError::Settings("SMTP_URL is not of the form smtp://user:password@host:587".into()))?
            .timeout(Some(SMTP_TIMEOUT))
            .build();
        let from = from
            .parse()
            .map_err(|_| MailError::Settings(format!("`{from}` is no sender: write `Name <name@example.com>`")))?;
        Ok(Self::Smtp { transport, from })
    }

    /// Hands one mail over; `Ok` means that the server has taken responsibility for it.
    ///
    /// # Errors
    /// [`MailError`].
    pub async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        match self {
            Self::Kept => Ok(()),
            Self::Smtp { transport, from } => {
                let message = compose(mail, from)?;
                match transport.send(message).await {
                    Ok(_accepted) => Ok(()),
                    Err(error) if error.is_permanent() => Err(MailError::Refused(describe(&error))),
                    Err(error) => Err(MailError::Unavailable(describe(&error))),
                }
            }
        }
    }
}

/// `smtp://` alone would send password and mails in the clear. To another machine STARTTLS is required, unless the operator
/// has written `?tls=…` himself.
fn with_tls(url: &str) -> String {
    let rest = url.strip_prefix("smtp://").unwrap_or_default();
    let host = rest.rsplit('@').next().unwrap_or_default();
    let local = ["localhost", "127.", "[::1]"].iter().any(|name| host.starts_with(name));
    if rest.is_empty() || local || url.contains("tls=") {
        return url.to_owned();
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}tls=required")
}

fn compose(mail: &Mail, from: &Mailbox) -> Result<Message, MailError> {
    let to: Mailbox = mail.recipient.parse().map_err(|_| MailError::Address("not a mailbox".into()))?;
    Message::builder()
        .from(from.clone())
        .to(to)
        .subject(mail.subject.clone())
        .message_id(Some(mail.message_id.clone()))
        .header(ContentType::TEXT_PLAIN)
        .body(mail.body_text.clone())
        .map_err(|error| MailError::Address(error.to_string()))
}

/// The server's words may repeat the recipient; the status and the kind of failure are enough to act on.
fn describe(error: &lettre::transport::smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("SMTP status {code}"),
        None if error.is_timeout() => "time-out".into(),
        None if error.is_tls() => "TLS failed".into(),
        None => "no connection".into(),
    }
}
