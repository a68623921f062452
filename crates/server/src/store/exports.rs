//! What is read only to be handed out: a customer's rows as the export of the account lists them, the newest first.

use counterfoil_core::{CustomerId, ExternalCustomerId, Timestamp};

use crate::db::{DbError, Row, Tx};

/// One try to check out.
#[derive(Clone, Debug)]
pub struct AttemptRow {
    pub attempt_id: String,
    pub plan: String,
    pub interval: String,
    pub success_url: String,
    pub cancel_url: String,
    pub state: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// One generation of the thread to a provider.
#[derive(Clone, Debug)]
pub struct LinkRow {
    pub provider: String,
    pub state: String,
    pub email: String,
    pub currency: Option<String>,
    pub external_id: Option<ExternalCustomerId>,
    pub created_at: Timestamp,
}

/// One mail. Those with a link that opens the account come without their text.
#[derive(Clone, Debug)]
pub struct MailRow {
    pub recipient: String,
    pub subject: String,
    pub body_text: Option<String>,
    pub state: String,
    pub created_at: Timestamp,
    pub sent_at: Option<Timestamp>,
}

/// One session, without anything that opens it.
#[derive(Clone, Debug)]
pub struct SessionRow {
    pub device: String,
    pub network: String,
    pub created_at: Timestamp,
    pub last_seen_at: Timestamp,
    pub expires_at: Timestamp,
}

/// One entry of the trial ledger, without the name that it stands under.
#[derive(Clone, Debug)]
pub struct TrialRow {
    pub plan: String,
    pub started_at: Timestamp,
    pub ends_at: Timestamp,
}

/// The customer's attempts.
pub async fn list_attempts(tx: &mut Tx, customer_id: &CustomerId, limit: i64) -> Result<Vec<AttemptRow>, DbError> {
    let rows = tx
        .query(
            "select attempt_id, plan, billing_interval, success_url, cancel_url, state, created_at, updated_at \
             from checkout_attempts where customer_id = $1 order by id desc limit $2",
        )
        .bind(customer_id)
        .bind(limit)
        .all()
        .await?;
    let read = |row: &Row| {
        Ok(AttemptRow {
            attempt_id: row.get("attempt_id")?,
            plan: row.get("plan")?,
            interval: row.get("billing_interval")?,
            success_url: row.get("success_url")?,
            cancel_url: row.get("cancel_url")?,
            state: row.get("state")?,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
        })
    };
    rows.iter().map(read).collect()
}

/// The customer's links, at whatever provider.
pub async fn list_links(tx: &mut Tx, customer_id: &CustomerId, limit: i64) -> Result<Vec<LinkRow>, DbError> {
    let rows = tx
        .query(
            "select provider, state, email, currency, external_id, created_at from billing_links \
             where customer_id = $1 order by id desc limit $2",
        )
        .bind(customer_id)
        .bind(limit)
        .all()
        .await?;
    let read = |row: &Row| {
        Ok(LinkRow {
            provider: row.get("provider")?,
            state: row.get("state")?,
            email: row.get("email")?,
            currency: row.get("currency")?,
            external_id: row.get::<Option<String>>("external_id")?.map(ExternalCustomerId::new),
            created_at: row.get("created_at")?,
        })
    };
    rows.iter().map(read).collect()
}

/// Mails to the customer, sent or not.
pub async fn list_mails(tx: &mut Tx, customer_id: &CustomerId, limit: i64) -> Result<Vec<MailRow>, DbError> {
    let rows = tx
        .query(
            "select recipient, subject, body_text, forget_when_sent, state, created_at, sent_at from outbox \
             where customer_id = $1 and kind = 'mail' order by id desc limit $2",
        )
        .bind(customer_id)
        .bind(limit)
        .all()
        .await?;
    let read = |row: &Row| {
        let (opens_account, text): (bool, String) = (row.get("forget_when_sent")?, row.get("body_text")?);
        Ok(MailRow {
            recipient: row.get("recipient")?,
            subject: row.get("subject")?,
            body_text: Some(text).filter(|text| !opens_account && !text.is_empty()),
            state: row.get("state")?,
            created_at: row.get("created_at")?,
            sent_at: row.get("sent_at")?,
        })
    };
    rows.iter().map(read).collect()
}

/// The customer's sessions.
pub async fn list_sessions(tx: &mut Tx, customer_id: &CustomerId, limit: i64) -> Result<Vec<SessionRow>, DbError> {
    let rows = tx
        .query(
            "select device, network, created_at, last_seen_at, expires_at from sessions where customer_id = $1 \
             order by created_at desc limit $2",
        )
        .bind(customer_id)
        .bind(limit)
        .all()
        .await?;
    let read = |row: &Row| {
        Ok(SessionRow {
            device: row.get("device")?,
            network: row.get("network")?,
            created_at: row.get("created_at")?,
            last_seen_at: row.get("last_seen_at")?,
            expires_at: row.get("expires_at")?,
        })
    };
    rows.iter().map(read).collect()
}

/// The trials that the ledger has for the customer, one for each name of the same person.
pub async fn list_trials(tx: &mut Tx, customer_id: &CustomerId, limit: i64) -> Result<Vec<TrialRow>, DbError> {
    let rows = tx
        .query(
            "select plan, started_at, ends_at from trial_ledger where customer_id = $1 \
             order by started_at desc limit $2",
        )
        .bind(customer_id)
        .bind(limit)
        .all()
        .await?;
    let read = |row: &Row| {
        Ok(TrialRow { plan: row.get("plan")?, started_at: row.get("started_at")?, ends_at: row.get("ends_at")? })
    };
    rows.iter().map(read).collect()
}
