//! Finding what no webhook has told: open checkouts, links in the making, and the provider's own log of events.
//!
//! A sweep decides nothing and applies nothing. It only makes a customer be looked at, so it can run beside webhooks and twice
//! at once. A repair is counted and written to the audit log, because it means that webhooks do not arrive.

use counterfoil_core::{CustomerId, Timestamp, planted, probe};

use super::sweep_runs::{Held, Step};
use super::sync::Synced;
use super::{App, Error};
use crate::providers::{EVENT_LOG_DAYS, EventSpan, LoggedEvent};
use crate::store;
use crate::store::audit::Actor;
use crate::store::inbox::Source;
use crate::store::sweeps::{Run, Sweep};

/// Customers of each kind that are looked at in one round of the open ones.
const OPEN_MAX: i64 = 100;

/// How often the provider's log is read.
pub(super) const EVENTS_EVERY_SECONDS: i64 = 3600;

/// How far a reading goes back behind the end of the one before: an event may show up in the log late.
const OVERLAP_SECONDS: i64 = 3600;

/// The longest span of the log that is read in one run. After a long outage several follow each other at once.
const SPAN_DAYS: i64 = 1;

/// An event that is younger may still be on its way as a webhook.
const ON_ITS_WAY_SECONDS: i64 = 300;

impl App {
    /// Looks again at customers whose checkout, or whose creation at the provider, has been open for a while.
    ///
    /// # Errors
    /// Failures of the database; a customer that fails is tried again in a later round.
    pub async fn sweep_open(&self, older_than: Timestamp) -> Result<usize, Error> {
        let provider = self.provider.name();
        let mut tx = self.db.begin_read().await?;
        let mut customers = store::attempts::list_waiting(&mut tx, provider, older_than, OPEN_MAX).await?;
        customers.retain(|_| !planted!("sweep-passes-open-checkouts-over"));
        for provider in self.providers() {
            customers.extend(store::links::list_creating(&mut tx, provider.name(), older_than, OPEN_MAX).await?);
        }
        tx.rollback().await?;
        customers.sort();
        customers.dedup();
        for customer_id in &customers {
            match self.sync_customer(customer_id).await {
                Ok(Synced::Done { changed: true }) => self.note_repair("open", customer_id).await?,
                Ok(Synced::Done { changed: false } | Synced::Busy) => {}
                Err(error) => tracing::warn!(%customer_id, %error, "the sweep could not look at a customer"),
            }
            // Whatever came of it: those that were not looked at yet come first in the next round.
            let (mut tx, now) = (self.db.begin().await?, self.now());
            store::attempts::touch_open(&mut tx, customer_id, now).await?;
            for provider in self.providers() {
                store::links::touch_creating(&mut tx, customer_id, provider.name(), now).await?;
            }
            tx.commit().await?;
        }
        Ok(customers.len())
    }

    /// Reads the provider's log where that is due, and puts into the inbox what no webhook has brought. Answers how many
    /// events that were; `None` where it is not due, or somebody else does it.
    ///
    /// # Errors
    /// Failures; the next try goes on where this one stopped.
    pub async fn sweep_events(&self) -> Result<Option<i64>, Error> {
        let mut missed = None;
        while let Some(held) = self.take_sweep(Sweep::Events, EVENTS_EVERY_SECONDS).await? {
            match self.read_event_log(&held).await {
                Ok(found) => missed = Some(missed.unwrap_or(0) + found),
                Err(error) => {
                    self.put_sweep_off(&held, &error).await;
                    return Err(error);
                }
            }
        }
        Ok(missed)
    }

    /// One span of the log, to its last page. The next one is due an hour after the end of this one, so at once after an outage.
    async fn read_event_log(&self, held: &Held) -> Result<i64, Error> {
        let now = self.now();
        let begin = self.reachable(held.taken.done_until, now);
        let mut run = held.taken.run.clone().unwrap_or_else(|| Run {
            until: begin.plus_days(SPAN_DAYS).min(now.floor_to_second()).max(begin),
            position: None,
            found: 0,
        });
        loop {
            if self.keep_sweep(held, &run).await? == Step::Over {
                return Ok(0);
            }
            let since = begin.plus_seconds(-OVERLAP_SECONDS);
            let span = EventSpan { since, until: run.until, after: run.position.as_deref() };
            let page = self.provider.list_events(&span).await?;
            run.found += self.take_in(&page.items).await?;
            run.position = page.next;
            if run.position.is_none() {
                break;
            }
        }
        self.report_missed(run.found, since_words(begin), now).await?;
        self.finish_sweep(held, run.until, run.until.plus_seconds(EVENTS_EVERY_SECONDS)).await?;
        Ok(run.found)
    }

    /// Where reading begins. What is older than the log reaches can be found by the daily comparison only.
    fn reachable(&self, done_until: Timestamp, now: Timestamp) -> Timestamp {
        let oldest = now.plus_days(-EVENT_LOG_DAYS);
        if done_until < oldest {
            metrics::counter!("counterfoil_event_log_gaps_total").increment(1);
            tracing::error!(
                from = %done_until, to = %oldest,
                "the provider's log of events does not reach back to the last sweep; the daily comparison finds what changed"
            );
        }
        done_until.max(oldest)
    }

    /// Puts events into the inbox like webhooks. Answers how many were new and should have come long ago.
    async fn take_in(&self, events: &[LoggedEvent]) -> Result<i64, Error> {
        let now = self.now();
        let (mut new, mut missed) = (0_usize, 0);
        let mut tx = self.db.begin().await?;
        for event in events {
            let notice = &event.notice;
            if !self.store_notice(&mut tx, Source::Sweep, notice, &event.body, now).await? {
                continue;
            }
            new += 1;
            let late = notice.created_at.is_none_or(|at| at.plus_seconds(ON_ITS_WAY_SECONDS) < now);
            missed += i64::from(late);
        }
        tx.commit().await?;
        if new > 0 {
            self.signals.inbox.notify_one();
        }
        metrics::counter!("counterfoil_events_missed_total").increment(missed.unsigned_abs());
        Ok(missed)
    }

    async fn report_missed(&self, missed: i64, since: String, now: Timestamp) -> Result<(), Error> {
        if missed == 0 {
            return Ok(());
        }
        tracing::error!(missed, since, "events came by no webhook: check the webhook endpoint at the provider");
        let told = format!("{missed} events since {since} came by no webhook");
        let mut tx = self.db.begin().await?;
        store::audit::insert(&mut tx, Actor::Sweep, "webhooks_missed", None, &told, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// A sweep has changed what a customer has: somebody should have told us before.
    pub(super) async fn note_repair(&self, sweep: &'static str, customer_id: &CustomerId) -> Result<(), Error> {
        probe!("F23");
        metrics::counter!("counterfoil_sweep_repairs_total", "sweep" => sweep).increment(1);
        tracing::warn!(%customer_id, sweep, "a sweep found a change that no webhook had brought");
        let told = format!("found by the sweep `{sweep}`; no webhook had brought it");
        let mut tx = self.db.begin().await?;
        store::audit::insert(&mut tx, Actor::Sweep, "sweep_repaired", Some(customer_id), &told, self.now()).await?;
        tx.commit().await?;
        Ok(())
    }
}

fn since_words(begin: Timestamp) -> String {
    begin.plus_seconds(-OVERLAP_SECONDS).date_time_in_words()
}
