//! Mails: their texts, and the transports that carry them.

pub mod account;
pub mod texts;
mod transport;

pub(crate) use transport::SMTP_TIMEOUT;
pub use transport::{Letter, MailError, Mailer};
