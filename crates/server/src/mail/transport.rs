//! How a mail leaves: over SMTP, or not at all in the sandbox, where the outbox itself is the mailbox.
//!
//! Headers are built by lettre's typed builder, so no text can add a header of its own.

use std::error::Error as _;
use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::AsyncSmtpTransport;
use lettre::transport::smtp::response::Category;
use lettre::{AsyncTransport as _, Tokio1Executor};
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::is_loopback;

/// The longest that one attempt may take as a whole. The transport's own time-out ends with the connection's making: a server
/// that falls silent afterwards would hold up every mail behind this one for ever.
pub(crate) const SMTP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a mail server may take to say hello.
const REACH_TIMEOUT: Duration = Duration::from_secs(8);

/// A mail to hand over.
#[derive(Clone, Debug)]
pub struct Letter<'a> {
    pub recipient: &'a str,
    pub subject: &'a str,
    pub body_text: &'a str,
    /// The same at every try, so that a mail that goes out twice is seen as one.
    pub message_id: &'a str,
}

/// Carries mails.
#[derive(Clone)]
pub enum Mailer {
    /// To a mail server.
    Smtp {
        /// One connection a mail. A pool would keep the one of a send that was given up, and the next mail would take the
        /// late answers to that for its own.
        transport: Box<AsyncSmtpTransport<Tokio1Executor>>,
        /// Who writes.
        from: Mailbox,
    },
    /// Nowhere: the row of the outbox is the mail, to be read there.
    Kept,
    /// To the mail server of a simulated world.
    #[cfg(feature = "simulation")]
    Simulated,
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
    /// The server refused it for good (55x).
    #[error("the mail server refuses the mail: {0}")]
    Refused(String),
    /// The server cannot be reached, asks to come back (4xx), or does not let us in.
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
        Ok(Self::Smtp { transport: Box::new(transport), from })
    }

    /// Whether the outbox itself is the mailbox.
    #[must_use]
    pub const fn keeps(&self) -> bool {
        match self {
            Self::Kept => true,
            Self::Smtp { .. } => false,
            #[cfg(feature = "simulation")]
            Self::Simulated => false,
        }
    }

    /// Whether the mail server answers and lets us in; nothing is sent.
    ///
    /// # Errors
    /// [`MailError::Unavailable`].
    pub async fn reach(&self) -> Result<(), MailError> {
        let Self::Smtp { transport, .. } = self else { return Ok(()) };
        match tokio::time::timeout(REACH_TIMEOUT, transport.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(MailError::Unavailable("it answers and takes no commands".into())),
            Ok(Err(error)) => Err(MailError::Unavailable(describe(&error))),
            Err(_elapsed) => Err(MailError::Unavailable("time-out".into())),
        }
    }

    /// Hands one mail over; `Ok` means that the server has taken responsibility for it.
    ///
    /// # Errors
    /// [`MailError`].
    pub async fn send(&self, letter: &Letter<'_>) -> Result<(), MailError> {
        self.send_within(SMTP_TIMEOUT, letter).await
    }

    async fn send_within(&self, limit: Duration, letter: &Letter<'_>) -> Result<(), MailError> {
        match self {
            Self::Kept => Ok(()),
            #[cfg(feature = "simulation")]
            Self::Simulated => simulated(limit, letter).await,
            Self::Smtp { transport, from } => {
                let message = compose(letter, from)?;
                match tokio::time::timeout(limit, transport.send(message)).await {
                    Ok(Ok(_accepted)) => Ok(()),
                    Ok(Err(error)) if refuses_this_mail(&error) => Err(MailError::Refused(describe(&error))),
                    Ok(Err(error)) => Err(MailError::Unavailable(describe(&error))),
                    Err(_elapsed) => Err(MailError::Unavailable("time-out".into())),
                }
            }
        }
    }
}

#[cfg(feature = "simulation")]
async fn simulated(limit: Duration, letter: &Letter<'_>) -> Result<(), MailError> {
    let world = crate::simulation::world().ok_or_else(|| MailError::Unavailable("there is no world".into()))?;
    let sending = world.mail(crate::simulation::SentLetter {
        recipient: letter.recipient.to_owned(),
        subject: letter.subject.to_owned(),
        body_text: letter.body_text.to_owned(),
        message_id: letter.message_id.to_owned(),
    });
    tokio::time::timeout(limit, sending).await.unwrap_or_else(|_elapsed| Err(MailError::Unavailable("time-out".into())))
}

/// `smtp://` alone would send password and mails in the clear. To another machine STARTTLS is required, unless the operator
/// has written `?tls=…` himself. Host and query are told apart as the transport tells them: a password may have anything in it.
fn with_tls(url: &str) -> String {
    let Ok(mut parsed) = reqwest::Url::parse(url) else { return url.to_owned() };
    let is_told = parsed.query_pairs().any(|(name, _)| name == "tls");
    if parsed.scheme() != "smtp" || is_loopback(&parsed) || is_told {
        return url.to_owned();
    }
    parsed.query_pairs_mut().append_pair("tls", "required");
    parsed.into()
}

fn compose(letter: &Letter<'_>, from: &Mailbox) -> Result<Message, MailError> {
    let to: Mailbox = letter.recipient.parse().map_err(|_| MailError::Address("not a mailbox".into()))?;
    Message::builder()
        .from(from.clone())
        .to(to)
        .subject(letter.subject)
        .message_id(Some(letter.message_id.to_owned()))
        .header(ContentType::TEXT_PLAIN)
        .body(letter.body_text.to_owned())
        .map_err(|error| MailError::Address(error.to_string()))
}

/// Whether the server refuses this very mail for good: 55x, about mailbox or content. Other 5xx are about the command or who
/// we are (535: wrong password); an operator repairs that, and then the mails that waited are sent.
fn refuses_this_mail(error: &lettre::transport::smtp::Error) -> bool {
    error.is_permanent() && error.status().is_some_and(|code| code.category == Category::MailSystem)
}

/// The server's words may repeat the recipient; the status and the kind of failure are enough to act on.
fn describe(error: &lettre::transport::smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("SMTP status {code}"),
        None if error.is_timeout() => "time-out".into(),
        None if is_about_tls(error) => "TLS failed".into(),
        None => "no connection".into(),
    }
}

/// A handshake that fails, such as over a certificate, is one more broken connection to the transport: only a cause further down
/// tells.
fn is_about_tls(error: &lettre::transport::smtp::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        source = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    /// What becomes of a mail where the server answers `MAIL` like this, or not at all.
    async fn answered(to_mail: &'static str) -> MailError {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (reader, mut writer) = stream.into_split();
            writer.write_all(b"220 test ready\r\n").await.unwrap();
            let mut lines = BufReader::new(reader).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let answer = if line.starts_with("MAIL") { to_mail } else { "250 fine\r\n" };
                if writer.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        let letter = Letter {
            recipient: "ada@example.com",
            subject: "Hello",
            body_text: "Hello.",
            message_id: "<1@example.com>",
        };
        let mailer = Mailer::smtp(&url.into(), "Billing <billing@example.com>").unwrap();
        mailer.send_within(Duration::from_millis(300), &letter).await.unwrap_err()
    }

    #[test]
    fn another_machine_is_asked_for_tls_whatever_the_password_says() {
        let required = [
            "smtp://mail.example.com:587",
            "smtp://user:p%40ss@mail.example.com",
            "smtp://user:xtls=y@mail.example.com:587",
            "smtp://user:password@localhost.example.com:587",
            "smtp://127.example.com:587",
            "smtp://mail.example.com:587#tls=none",
        ];
        for url in required {
            let asked = with_tls(url);
            let query = asked.split_once('?').map(|(_, rest)| rest.split('#').next().unwrap_or_default());
            assert_eq!(query, Some("tls=required"), "{url} became {asked}");
        }
        for url in [
            "smtps://mail.example.com",
            "smtp://localhost:25",
            "smtp://user:password@127.0.0.1:25",
            "smtp://[::1]:25",
            "smtp://mail.example.com?tls=opportunistic",
        ] {
            assert_eq!(with_tls(url), url);
        }
    }

    #[tokio::test]
    async fn a_server_that_falls_silent_is_left_in_time() {
        assert!(matches!(answered("").await, MailError::Unavailable(reason) if reason == "time-out"));
    }

    #[tokio::test]
    async fn only_what_is_about_the_mail_itself_is_refused_for_good() {
        for later in [
            "421 come back\r\n",
            "452 no room now\r\n",
            "530 log in first\r\n",
            "535 wrong password\r\n",
            "502 what?\r\n",
        ] {
            let error = answered(later).await;
            assert!(!error.is_permanent(), "{later} {error}");
        }
        for never in ["550 no such mailbox\r\n", "552 too large\r\n", "554 no\r\n"] {
            let error = answered(never).await;
            assert!(error.is_permanent(), "{never} {error}");
        }
    }

    #[tokio::test]
    async fn the_status_is_told_and_never_the_servers_words() {
        let error = answered("550 ada@example.com is nobody here\r\n").await;
        assert_eq!(error.to_string(), "the mail server refuses the mail: SMTP status 550");
    }

    /// Who answers in the clear where TLS is spoken has failed in another way than who does not answer at all.
    #[tokio::test]
    async fn a_server_that_cannot_be_reached_is_told_with_what_failed() {
        let reached = async |url: String| {
            let mailer = Mailer::smtp(&url.into(), "Billing <billing@example.com>").unwrap();
            mailer.reach().await.unwrap_err().to_string()
        };
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let told = reached(format!("smtp://{closed}")).await;
        assert_eq!(told, "the mail server did not take the mail: no connection");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let in_the_clear = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"220 test ready\r\n").await.unwrap();
            // Until the other side has read it and hangs up.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let told = reached(format!("smtps://{in_the_clear}")).await;
        assert_eq!(told, "the mail server did not take the mail: TLS failed");
    }
}
