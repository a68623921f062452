//! Sending what is owed. A row is claimed, handed to the mail server, and only then marked; what fails comes back later.

use counterfoil_core::{CustomerId, EffectId, Timestamp, planted, probe};

use super::setbacks::is_given_up;
use super::{App, Error};
use crate::db::Tx;
use crate::mail::{Letter, MailError, Mailer, SMTP_TIMEOUT};
use crate::points;
use crate::store;
use crate::store::outbox::{Mail, NewMail};

/// Mails claimed at once: so few that even a mail server that takes each attempt to its time-out is through before the last
/// of them comes back and is sent by somebody else, too.
const CLAIM_MAX: i64 = 8;

const _: () = assert!(SMTP_TIMEOUT.as_secs() * CLAIM_MAX.unsigned_abs() < HIDDEN_SECONDS.unsigned_abs());

/// Mails ended at once where none is sent.
const KEPT_MAX: i64 = 200;

/// A claimed mail comes back after this long where its worker died.
const HIDDEN_SECONDS: i64 = 300;

/// A mail that is owed to a customer.
pub struct OwedMail<'a> {
    pub customer_id: &'a CustomerId,
    /// Names what it is for, where that must not be mailed twice.
    pub dedupe_key: Option<String>,
    pub recipient: &'a str,
    pub subject: String,
    pub body_text: String,
    /// Recipient and text are not kept once the mail server has them.
    pub forget_when_sent: bool,
}

impl App {
    /// Puts a mail into the outbox, in the transaction of what it tells of.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn owe_mail(&self, tx: &mut Tx, owed: OwedMail<'_>, now: Timestamp) -> Result<(), Error> {
        self.owe_mails(tx, vec![owed], now).await
    }

    /// The same for several mails.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn owe_mails(&self, tx: &mut Tx, owed: Vec<OwedMail<'_>>, now: Timestamp) -> Result<(), Error> {
        let mails: Vec<NewMail<'_>> = owed.into_iter().map(|owed| self.new_mail(owed)).collect();
        store::outbox::insert_mails(tx, &mails, now).await?;
        Ok(())
    }

    fn new_mail<'a>(&self, owed: OwedMail<'a>) -> NewMail<'a> {
        let effect_id = EffectId::from_random(self.entropy.bytes());
        let host = self.settings.public_url.split("://").nth(1).and_then(|rest| rest.split([':', '/']).next());
        NewMail {
            message_id: format!("<{effect_id}@{}>", host.unwrap_or("localhost")),
            dedupe_key: owed.dedupe_key.unwrap_or_else(|| format!("mail:{effect_id}")),
            effect_id,
            customer_id: owed.customer_id,
            recipient: owed.recipient,
            subject: owed.subject,
            body_text: owed.body_text,
            forget_when_sent: owed.forget_when_sent,
        }
    }

    /// Claims due mails and sends them. Answers how many there were.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn work_outbox(&self, mailer: &Mailer) -> Result<usize, Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        if mailer.keeps() {
            let kept = store::outbox::keep_due(&mut tx, now, KEPT_MAX).await?;
            tx.commit().await?;
            metrics::counter!("counterfoil_mails_sent_total").increment(kept);
            return Ok(usize::try_from(kept).unwrap_or(usize::MAX));
        }
        let claimed = store::outbox::claim(&mut tx, now, now.plus_seconds(HIDDEN_SECONDS), CLAIM_MAX).await?;
        tx.commit().await?;
        for mail in &claimed {
            points::passed("W7");
            let letter = Letter {
                recipient: &mail.recipient,
                subject: &mail.subject,
                body_text: &mail.body_text,
                message_id: &mail.message_id,
            };
            if planted!("mail-marked-before-sending") {
                self.settle_mail(mail, Ok(())).await?;
            }
            let result = mailer.send(&letter).await;
            self.settle_mail(mail, result).await?;
        }
        Ok(claimed.len())
    }

    async fn settle_mail(&self, mail: &Mail, result: Result<(), MailError>) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        match result {
            Ok(()) => {
                points::next("W10");
                store::outbox::set_sent(&mut tx, &mail.effect_id, now).await?;
                store::outbox::forget_sent(&mut tx, &mail.effect_id).await?;
                metrics::counter!("counterfoil_mails_sent_total").increment(1);
            }
            Err(error) if error.is_permanent() || is_given_up(mail.attempts, mail.created_at, now) => {
                let failure = if error.is_permanent() { "permanent" } else { "transient" };
                store::outbox::bury(&mut tx, &mail.effect_id, failure, &error.to_string()).await?;
                metrics::counter!("counterfoil_mails_dead_total").increment(1);
                tracing::error!(effect_id = %mail.effect_id, %error, "a mail was given up; an operator has to look");
            }
            Err(error) => {
                probe!("F66");
                let run_at = now.plus_millis(self.backoff_millis(mail.attempts));
                store::outbox::postpone(&mut tx, &mail.effect_id, run_at, &error.to_string()).await?;
                tracing::warn!(effect_id = %mail.effect_id, attempts = mail.attempts, %error, "a mail has to wait");
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// The newest mails, for the sandbox's mailbox.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn newest_mails(&self, limit: i64) -> Result<Vec<Mail>, Error> {
        let mut tx = self.db.begin_read().await?;
        let mails = store::outbox::list_newest(&mut tx, limit).await?;
        tx.rollback().await?;
        Ok(mails)
    }

    /// One mail.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn find_mail(&self, effect_id: &EffectId) -> Result<Option<Mail>, Error> {
        let mut tx = self.db.begin_read().await?;
        let mail = store::outbox::find(&mut tx, effect_id).await?;
        tx.rollback().await?;
        Ok(mail)
    }
}
