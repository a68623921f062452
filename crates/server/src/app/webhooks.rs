//! Receiving a notification: verify, store, acknowledge. Nothing else happens before the answer.

use counterfoil_core::Timestamp;
use counterfoil_core::{planted, probe};

use super::{App, Error};
use crate::db::Tx;
use crate::points;
use crate::providers::{Notice, PaymentRef, WebhookRefusal};
use crate::store;
use crate::store::audit::Actor;
use crate::store::inbox::{NewEvent, Source};
use crate::tasks;

/// What came of a request that was believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Stored; a worker will look.
    Stored,
    /// Stored for the record; nothing is to be done.
    Ignored,
    /// It was there already.
    Duplicate,
}

/// Why a request was not accepted, or could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Not to be believed, or not an event.
    #[error(transparent)]
    Refused(#[from] WebhookRefusal),
    /// Not stored, so the sender has to try again.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl App {
    /// Takes a notification in. It is safe in the database when this returns.
    ///
    /// # Errors
    /// [`ReceiveError`]; the sender will repeat what failed.
    pub async fn receive_webhook(&self, signatures: &[&[u8]], body: &[u8]) -> Result<Received, ReceiveError> {
        let now = self.now();
        let notice = match self.provider.verify_webhook(signatures, body, now) {
            Ok(notice) => notice,
            Err(refusal) => return Err(self.note_refused_webhook(refusal, body.len(), now).await),
        };
        points::passed("W1");
        probe!("F22", notice.created_at.is_some_and(|at| at.plus_days(1) < now));
        let ignored_because = self.reason_to_ignore(&notice);
        probe!("F29", ignored_because.is_some_and(|because| because != "type_not_used"));
        let new = self.again(|| self.store_webhook(&notice, body, now)).await?;
        let received = match (new, ignored_because) {
            (false, _) => {
                probe!("F19");
                Received::Duplicate
            }
            (true, Some(_)) => Received::Ignored,
            (true, None) => Received::Stored,
        };
        metrics::counter!("counterfoil_webhooks_received_total").increment(1);
        tracing::info!(event_id = notice.event_id, event_type = notice.event_type, ?received, "webhook received");
        if received == Received::Stored {
            self.signals.inbox.notify_one();
        }
        Ok(received)
    }

    async fn store_webhook(&self, notice: &Notice, body: &[u8], now: Timestamp) -> Result<bool, Error> {
        if planted!("acknowledged-before-the-commit") {
            let mut tx = self.db.begin().await?;
            let new = self.store_notice(&mut tx, Source::Webhook, notice, body, now).await?;
            tokio::spawn(tasks::own(tx.commit()));
            return Ok(new);
        }
        let event = self.event_of(Source::Webhook, notice, body);
        points::next("W2");
        Ok(store::inbox::take_in(&self.db, &event, now).await?)
    }

    /// Puts a notification into the inbox. False where it is there already.
    pub(super) async fn store_notice(
        &self,
        tx: &mut Tx,
        source: Source,
        notice: &Notice,
        body: &[u8],
        now: Timestamp,
    ) -> Result<bool, Error> {
        Ok(store::inbox::insert(tx, &self.event_of(source, notice, body), now).await?)
    }

    fn event_of<'n>(&'n self, source: Source, notice: &'n Notice, body: &'n [u8]) -> NewEvent<'n> {
        NewEvent {
            source,
            provider: self.provider.name(),
            account: notice.account.as_deref().unwrap_or_default(),
            event_id: &notice.event_id,
            event_type: &notice.event_type,
            livemode: notice.livemode,
            api_version: notice.api_version.as_deref(),
            external_customer: notice.external_customer.as_ref(),
            external_payment: notice.payment.as_ref().map(PaymentRef::as_str),
            claimed_customer: notice.customer_id.as_deref(),
            claimed_instance: notice.instance.as_deref(),
            body,
            ignored_because: self.reason_to_ignore(notice),
        }
    }

    /// A forged request leaves a number; a well-signed one that is no event is the sender's mistake, and leaves a line.
    async fn note_refused_webhook(&self, refusal: WebhookRefusal, bytes: usize, now: Timestamp) -> ReceiveError {
        metrics::counter!("counterfoil_webhooks_refused_total").increment(1);
        tracing::warn!(%refusal, bytes, "a webhook request was refused");
        if !matches!(refusal, WebhookRefusal::NotAnEvent(_)) {
            return refusal.into();
        }
        let noted: Result<(), Error> = async {
            let mut tx = self.db.begin().await?;
            let told = format!("{bytes} well-signed bytes that are no event");
            store::audit::insert(&mut tx, Actor::Provider, "webhook_unreadable", None, &told, now).await?;
            Ok(tx.commit().await?)
        }
        .await;
        noted.map_or_else(ReceiveError::from, |()| refusal.into())
    }

    fn reason_to_ignore(&self, notice: &Notice) -> Option<&'static str> {
        let foreign = |instance: &String| instance != self.instance.instance_id.as_str();
        if notice.livemode != self.provider.livemode() {
            Some("other_mode")
        } else if notice.account.is_some() {
            Some("other_account")
        } else if notice.instance.as_ref().is_some_and(foreign) {
            Some("ignored_foreign")
        } else if !notice.relevant {
            Some("type_not_used")
        } else {
            None
        }
    }
}
