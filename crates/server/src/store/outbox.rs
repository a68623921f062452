//! The outbox: what we owe the world, written in the transaction of the change that caused it.
//!
//! The key of a row names what it is for (`license:{customer}:{version}`), so the same thing is owed once. Sending twice is
//! possible where a process dies after the mail server took it; the Message-ID is then the same.

use counterfoil_core::{CustomerId, EffectId, Timestamp};

use super::batch::{Batch, nothing};
use super::{Queue, in_order};
use crate::db::{DbError, Row, Tx};

/// What is owed beside mails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody has forgotten the password of the account with this address, if there is such an account.
    PasswordForgot,
    /// The provider is to be told the customer's address and name as they are now.
    CustomerUpdate,
    /// The account is deleted, and the providers are to delete their customer, too.
    CustomerDelete,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::PasswordForgot => "password_forgot",
            Self::CustomerUpdate => "customer_update",
            Self::CustomerDelete => "customer_delete",
        }
    }

    fn parse(word: &str) -> Result<Self, DbError> {
        match word {
            "password_forgot" => Ok(Self::PasswordForgot),
            "customer_update" => Ok(Self::CustomerUpdate),
            "customer_delete" => Ok(Self::CustomerDelete),
            _ => Err(DbError::other("the outbox holds something of an unknown kind")),
        }
    }
}

/// Something to be owed that is no mail.
#[derive(Clone, Debug)]
pub struct NewEffect<'a> {
    pub effect_id: &'a EffectId,
    pub kind: Kind,
    pub customer_id: Option<&'a CustomerId>,
    pub dedupe_key: &'a str,
    /// The address that it is about; empty where it is about none.
    pub address: &'a str,
}

/// A claimed row that is no mail.
#[derive(Clone, Debug)]
pub struct Effect {
    pub effect_id: EffectId,
    pub kind: Kind,
    pub customer_id: Option<CustomerId>,
    pub address: String,
    /// How often it was claimed.
    pub attempts: i64,
    pub created_at: Timestamp,
}

/// A mail to be owed.
#[derive(Clone, Debug)]
pub struct NewMail<'a> {
    pub effect_id: EffectId,
    pub customer_id: &'a CustomerId,
    pub dedupe_key: String,
    pub recipient: &'a str,
    pub subject: String,
    pub body_text: String,
    pub message_id: String,
    /// Recipient and text are taken out once the mail server has it.
    pub forget_when_sent: bool,
}

/// A mail in the outbox.
#[derive(Clone, Debug)]
pub struct Mail {
    pub effect_id: EffectId,
    pub recipient: String,
    pub subject: String,
    pub body_text: String,
    pub message_id: String,
    pub state: String,
    /// How often it was claimed.
    pub attempts: i64,
    pub created_at: Timestamp,
    pub sent_at: Option<Timestamp>,
}

fn from_row(row: &Row) -> Result<Mail, DbError> {
    Ok(Mail {
        effect_id: row.parse("effect_id")?,
        recipient: row.get("recipient")?,
        subject: row.get("subject")?,
        body_text: row.get("body_text")?,
        message_id: row.get("message_id")?,
        state: row.get("state")?,
        attempts: row.get("attempts")?,
        created_at: row.get("created_at")?,
        sent_at: row.get("sent_at")?,
    })
}

static INSERT_MAIL: Batch = Batch::adding(
    "insert into outbox (effect_id, customer_id, kind, dedupe_key, recipient, subject, body_text, message_id, \
     forget_when_sent, state, attempts, run_at, created_at) \
     values {(@1, @2, 'mail', @3, @4, @5, @6, @7, @9, 'pending', 0, @8, @8)} on conflict (dedupe_key) do nothing",
);

/// Owes mails, and says how many are new: a second one with the same key is not owed.
pub async fn insert_mails(tx: &mut Tx, mails: &[NewMail<'_>], now: Timestamp) -> Result<u64, DbError> {
    INSERT_MAIL
        .execute(tx, mails, nothing, |query, mail| {
            query
                .bind(&mail.effect_id)
                .bind(mail.customer_id)
                .bind(&mail.dedupe_key)
                .bind(mail.recipient)
                .bind(&mail.subject)
                .bind(&mail.body_text)
                .bind(&mail.message_id)
                .bind(now)
                .bind(mail.forget_when_sent)
        })
        .await
}

/// Claims due mails until `hidden_until`.
pub async fn claim(tx: &mut Tx, now: Timestamp, hidden_until: Timestamp, limit: i64) -> Result<Vec<Mail>, DbError> {
    let rows = tx
        .query(
            "with due as materialized (select id from outbox where state = 'pending' and kind = 'mail' and run_at <= $1 \
             order by run_at, id limit $3 /* for update skip locked */) \
             update outbox set run_at = $2, attempts = attempts + 1 where id in (select id from due) \
             returning id, effect_id, recipient, subject, body_text, message_id, state, attempts, created_at, sent_at",
        )
        .bind(now)
        .bind(hidden_until)
        .bind(limit)
        .all()
        .await?;
    in_order(rows)?.iter().map(from_row).collect()
}

/// Ends due mails that need no sending, because whoever reads them reads them here. Answers how many there were.
pub async fn keep_due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64, DbError> {
    tx.query(
        "with due as materialized (select id from outbox where state = 'pending' and kind = 'mail' and run_at <= $1 \
         order by run_at, id limit $2 /* for update skip locked */) \
         update outbox set state = 'sent', sent_at = $1, attempts = attempts + 1, last_error = null, failure = null \
         where id in (select id from due)",
    )
    .bind(now)
    .bind(limit)
    .execute()
    .await
}

/// Owes what is no mail. A second one with the same key is not owed.
pub async fn insert(tx: &mut Tx, effect: &NewEffect<'_>, now: Timestamp) -> Result<bool, DbError> {
    let inserted = tx
        .query(
            "insert into outbox (effect_id, customer_id, kind, dedupe_key, recipient, subject, body_text, message_id, state, \
             attempts, run_at, created_at) values ($1, $2, $3, $4, $5, '', '', '', 'pending', 0, $6, $6) \
             on conflict (dedupe_key) do nothing",
        )
        .bind(effect.effect_id)
        .bind(effect.customer_id)
        .bind(effect.kind.as_str())
        .bind(effect.dedupe_key)
        .bind(effect.address)
        .bind(now)
        .execute()
        .await?;
    Ok(inserted == 1)
}

/// Claims due rows that are no mails until `hidden_until`.
pub async fn claim_effects(
    tx: &mut Tx,
    now: Timestamp,
    hidden_until: Timestamp,
    limit: i64,
) -> Result<Vec<Effect>, DbError> {
    let rows = tx
        .query(
            "with due as materialized (select id from outbox where state = 'pending' and kind <> 'mail' and run_at <= $1 \
             order by run_at, id limit $3 /* for update skip locked */) \
             update outbox set run_at = $2, attempts = attempts + 1 where id in (select id from due) \
             returning id, effect_id, kind, customer_id, recipient, attempts, created_at",
        )
        .bind(now)
        .bind(hidden_until)
        .bind(limit)
        .all()
        .await?;
    in_order(rows)?.iter().map(effect_from_row).collect()
}

fn effect_from_row(row: &Row) -> Result<Effect, DbError> {
    Ok(Effect {
        effect_id: row.parse("effect_id")?,
        kind: Kind::parse(&row.get::<String>("kind")?)?,
        customer_id: row.parse_optional("customer_id")?,
        address: row.get("recipient")?,
        attempts: row.get("attempts")?,
        created_at: row.get("created_at")?,
    })
}

/// Takes recipient and text out of a mail that is gone, where they are not to be kept.
pub async fn forget_sent(tx: &mut Tx, effect_id: &EffectId) -> Result<(), DbError> {
    tx.query(
        "update outbox set recipient = '', body_text = '', body_html = null \
         where effect_id = $1 and forget_when_sent and state = 'sent'",
    )
    .bind(effect_id)
    .execute()
    .await?;
    Ok(())
}

/// Removes a row that is done and worth no memory.
pub async fn delete(tx: &mut Tx, effect_id: &EffectId) -> Result<(), DbError> {
    tx.query("delete from outbox where effect_id = $1 and state = 'pending'").bind(effect_id).execute().await?;
    Ok(())
}

/// The mail server took it.
pub async fn set_sent(tx: &mut Tx, effect_id: &EffectId, now: Timestamp) -> Result<(), DbError> {
    tx.query(
        "update outbox set state = 'sent', sent_at = $2, last_error = null, failure = null where effect_id = $1 and state = 'pending'",
    )
    .bind(effect_id)
    .bind(now)
    .execute()
    .await?;
    Ok(())
}

/// Puts a mail back for later.
pub async fn postpone(tx: &mut Tx, effect_id: &EffectId, run_at: Timestamp, error: &str) -> Result<(), DbError> {
    tx.query(
        "update outbox set run_at = $2, last_error = $3, failure = 'transient' where effect_id = $1 and state = 'pending'",
    )
        .bind(effect_id)
        .bind(run_at)
        .bind(error)
        .execute()
        .await?;
    Ok(())
}

/// Makes due now what waits for longer than until `latest`.
pub async fn bring_forward(tx: &mut Tx, latest: Timestamp, now: Timestamp) -> Result<u64, DbError> {
    tx.query(
        "update outbox set run_at = $2 where id in \
         (select id from outbox where state = 'pending' and run_at > $1 /* for update skip locked */)",
    )
    .bind(latest)
    .bind(now)
    .execute()
    .await
}

/// Gives a mail up: an operator has to look.
pub async fn bury(tx: &mut Tx, effect_id: &EffectId, failure: &'static str, error: &str) -> Result<(), DbError> {
    tx.query(
        "update outbox set state = 'dead', last_error = $2, failure = $3 where effect_id = $1 and state = 'pending'",
    )
    .bind(effect_id)
    .bind(error)
    .bind(failure)
    .execute()
    .await?;
    Ok(())
}

/// The newest mails, for the sandbox's mailbox.
pub async fn list_newest(tx: &mut Tx, limit: i64) -> Result<Vec<Mail>, DbError> {
    let rows = tx
        .query(
            "select effect_id, recipient, subject, body_text, message_id, state, attempts, created_at, sent_at \
             from outbox where kind = 'mail' order by id desc limit $1",
        )
        .bind(limit)
        .all()
        .await?;
    rows.iter().map(from_row).collect()
}

/// One mail.
pub async fn find(tx: &mut Tx, effect_id: &EffectId) -> Result<Option<Mail>, DbError> {
    tx.query(
        "select effect_id, recipient, subject, body_text, message_id, state, attempts, created_at, sent_at \
         from outbox where kind = 'mail' and effect_id = $1",
    )
    .bind(effect_id)
    .optional()
    .await?
    .as_ref()
    .map(from_row)
    .transpose()
}

/// How much waits and how much was given up, as for the inbox.
pub async fn measure(tx: &mut Tx) -> Result<Queue, DbError> {
    let row = tx
        .query(
            "select (select cast(count(*) as bigint) from \
             (select 1 as one from outbox where state = 'pending' limit $1) as waiting) as pending, \
             (select cast(count(*) as bigint) from \
             (select 1 as one from outbox where state = 'dead' limit $1) as buried) as dead, \
             (select min(created_at) from outbox where state = 'pending') as oldest",
        )
        .bind(super::COUNT_MAX)
        .one()
        .await?;
    Ok(Queue { pending: row.get("pending")?, dead: row.get("dead")?, unmatched: 0, oldest: row.get("oldest")? })
}

/// A mail as operators read it: without its text, which holds the license.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailLine {
    pub dedupe_key: String,
    pub subject: String,
    pub state: String,
    pub run_at: Timestamp,
    pub last_error: Option<String>,
    pub sent_at: Option<Timestamp>,
}

/// The newest mails to a customer.
pub async fn list_of_customer(tx: &mut Tx, customer_id: &CustomerId, limit: i64) -> Result<Vec<MailLine>, DbError> {
    let rows = tx
        .query(
            "select dedupe_key, subject, state, run_at, last_error, sent_at from outbox \
             where customer_id = $1 and kind = 'mail' order by id desc limit $2",
        )
        .bind(customer_id)
        .bind(limit)
        .all()
        .await?;
    rows.iter()
        .map(|row| {
            Ok(MailLine {
                dedupe_key: row.get("dedupe_key")?,
                subject: row.get("subject")?,
                state: row.get("state")?,
                run_at: row.get("run_at")?,
                last_error: row.get("last_error")?,
                sent_at: row.get("sent_at")?,
            })
        })
        .collect()
}

/// Removes what is still owed to the customer, and takes recipient and text out of what was sent. That it was sent stays.
pub async fn erase(tx: &mut Tx, customer_id: &CustomerId) -> Result<(), DbError> {
    tx.query("delete from outbox where customer_id = $1 and state <> 'sent'").bind(customer_id).execute().await?;
    tx.query("update outbox set recipient = '', body_text = '', body_html = null where customer_id = $1")
        .bind(customer_id)
        .execute()
        .await?;
    Ok(())
}
