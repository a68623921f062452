//! Writing what looks showed: everything that changes for a customer changes in one fenced transaction (invariant 3).
//!
//! Customers whose looks end at the same moment share a transaction and its statements, and nothing else. Each is fenced by itself:
//! who has lost the lease is left out. Where a transaction of several fails, each is written in one of its own, so that nobody
//! loses anything because of somebody else.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_core::entitlement::{Ended, Grant, Hold, right};
use counterfoil_core::facts::{Facts, ProviderStatus, SessionStatus};
use counterfoil_core::link::LinkState;
use counterfoil_core::plan_change::{self, PlannedChange};
use counterfoil_core::reduce::{later_duplicates, merge, reduce_all};
use counterfoil_core::{CustomerId, ExternalCustomerId, ExternalSubscriptionId, Subscription, Timestamp, planted};

use super::customers::no_subscription;
use super::issuing::{Cause, Due};
use super::leases::{Afterwards, Lease, still_held};
use super::settings::EmailVerification;
use super::sync::{Before, Sight};
use super::{App, Error, Failure};
use crate::db::Tx;
use crate::points;
use crate::store;
use crate::store::attempts::AttemptState;
use crate::store::audit::{Actor, Line};
use crate::store::inbox::Finished;
use crate::store::leases::Held;
use crate::store::links::Settled;
use crate::store::signing_keys::StoredKey;
use crate::store::standings::Standing;

/// An attempt whose session we never heard of is over after this long: sessions live for 24 hours, the rest is for clocks.
const ABANDONED_AFTER_SECONDS: i64 = 26 * 3600;

/// A look that is to be written.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) lease: &'a Lease,
    pub(super) before: &'a Before,
    pub(super) sight: &'a Sight,
}

/// What a look came to once it was written.
pub(super) struct Saved {
    pub(super) changed: bool,
    /// What the customer pays for twice.
    pub(super) duplicates: Vec<ExternalSubscriptionId>,
}

/// What a look means.
struct Decided<'a> {
    seen: Seen<'a>,
    standing: Standing,
    next: Subscription,
    facts: Facts,
    planned: Option<PlannedChange>,
    right: Result<Grant, Ended>,
    cause: Cause,
    events: u64,
}

impl Decided<'_> {
    fn customer_id(&self) -> &CustomerId {
        &self.seen.lease.customer_id
    }

    fn state_changed(&self) -> bool {
        self.next != self.standing.subscription
    }
}

impl App {
    /// Writes what these looks showed, and answers for each what it came to.
    pub(super) async fn save_looks(&self, seen: &[Seen<'_>], afterwards: Afterwards) -> Vec<Result<Saved, Error>> {
        if afterwards == Afterwards::GiveBack {
            seen.iter().for_each(|seen| seen.lease.end_renewal());
        }
        let lost = || Error::from(Failure::CustomerBusy);
        match self.again(|| self.save_in_one(seen, afterwards)).await {
            Ok(saved) => saved.into_iter().map(|saved| saved.ok_or_else(lost)).collect(),
            Err(error) if seen.len() < 2 => vec![Err(error)],
            Err(Error::Failed(Failure::Database(error))) if error.is_unavailable() => {
                seen.iter().map(|_| Err(error.clone().into())).collect()
            }
            Err(error) => {
                tracing::warn!(%error, looks = seen.len(), "looks could not be written together, and are written one by one");
                let mut saved = Vec::new();
                for seen in seen {
                    let one = self.again(|| self.save_in_one(std::slice::from_ref(seen), afterwards)).await;
                    saved.push(one.and_then(|mut one| one.pop().flatten().ok_or_else(lost)));
                }
                saved
            }
        }
    }

    /// The one transaction: lease, subscription, licence, mail, attempts and events of a customer change together or not at all
    /// (invariant 3). `None` for a customer whose lease was lost.
    async fn save_in_one(&self, seen: &[Seen<'_>], afterwards: Afterwards) -> Result<Vec<Option<Saved>>, Error> {
        points::passed("W6");
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let held: Vec<Held<'_>> = seen.iter().map(|seen| seen.lease.held()).collect();
        let ours = still_held(&mut tx, &held, afterwards, now).await?;
        let kept: Vec<Seen<'_>> = seen.iter().copied().filter(|seen| ours.contains(&seen.lease.customer_id)).collect();
        let decided = self.decide(&mut tx, &kept, now).await?;
        self.save_states(&mut tx, &decided, now).await?;
        let issued = self.save_licenses(&mut tx, &decided, now).await?;
        self.save_currencies(&mut tx, &decided, now).await?;
        for each in &decided {
            self.save_counterparts(&mut tx, each, now).await?;
        }
        points::next("W7");
        tx.commit().await?;

        if !issued.is_empty() {
            self.signals.outbox.notify_one();
        }
        let mut saved = BTreeMap::new();
        for each in &decided {
            let (customer_id, state_changed) = (each.customer_id(), each.state_changed());
            let is_issued = issued.contains(customer_id);
            metrics::counter!("counterfoil_syncs_total").increment(1);
            tracing::info!(%customer_id, state_changed, issued = is_issued, events = each.events, "looked at the provider");
            let duplicates = later_duplicates(&each.next, &each.facts, &self.catalog);
            saved.insert(customer_id.clone(), Saved { changed: state_changed || is_issued, duplicates });
        }
        Ok(seen.iter().map(|seen| saved.remove(&seen.lease.customer_id)).collect())
    }

    /// Finishes the events that asked for the looks, and finds out what the looks mean for where the customers stand now.
    async fn decide<'a>(&self, tx: &mut Tx, kept: &[Seen<'a>], now: Timestamp) -> Result<Vec<Decided<'a>>, Error> {
        let held: Vec<Held<'_>> = kept.iter().map(|seen| seen.lease.held()).collect();
        if planted!("finishes-what-it-has-not-seen") {
            store::inbox::mark_seen(tx, &held).await?;
        }
        let mut finished = store::inbox::finish_seen(tx, &held, now).await?;
        let whose: Vec<&CustomerId> = kept.iter().map(|seen| &seen.lease.customer_id).collect();
        let mut standings = store::standings::list(tx, &whose).await?;
        let mut decided = Vec::new();
        for seen in kept {
            let customer_id = &seen.lease.customer_id;
            let standing = standings.remove(customer_id).ok_or_else(|| no_subscription(customer_id))?;
            decided.push(self.decide_one(*seen, standing, finished.remove(customer_id), now));
        }
        Ok(decided)
    }

    fn decide_one<'a>(
        &self,
        seen: Seen<'a>,
        standing: Standing,
        finished: Option<Finished>,
        now: Timestamp,
    ) -> Decided<'a> {
        let looks = &seen.sight.facts;
        let next = reduce_all(&standing.subscription, looks, &self.catalog, now);
        let facts = merge(looks, now);
        let planned = plan_change::planned(&next, &facts, &self.catalog);
        let right = right(&next, self.hold_over_standing(&standing), &self.catalog, now);
        let events = finished.as_ref().map_or(0, |finished| finished.count);
        let cause = Cause::Look { event_id: finished.map(|finished| finished.newest_event_id) };
        Decided { seen, standing, next, facts, planned, right, cause, events }
    }

    /// What stands over a subscription, as [`hold_over`](super::licenses::hold_over) says of one customer.
    fn hold_over_standing(&self, standing: &Standing) -> Hold {
        let is_withheld = match self.settings.email_verification {
            EmailVerification::Off => false,
            EmailVerification::Required => standing.is_unverified && standing.newest.is_none(),
        };
        match (standing.is_held, is_withheld) {
            (true, _) => Hold::Revoked,
            (false, true) => Hold::Unverified,
            (false, false) => Hold::Free,
        }
    }

    async fn save_states(&self, tx: &mut Tx, decided: &[Decided<'_>], now: Timestamp) -> Result<(), Error> {
        let changed: Vec<&Decided<'_>> = decided.iter().filter(|each| each.state_changed()).collect();
        let states: Vec<(&CustomerId, &Subscription)> =
            changed.iter().map(|each| (each.customer_id(), &each.next)).collect();
        store::subscriptions::replace_all(tx, &states, now).await?;
        let mut lines: Vec<Line<'_>> = Vec::new();
        for each in changed {
            let (customer_id, current, next) = (each.customer_id(), &each.standing.subscription, &each.next);
            lines.push(("subscription_changed", customer_id, difference(current, next, now)));
            if next.money() != current.money() {
                lines.push(("money_changed", customer_id, next.money().word().to_owned()));
            }
            if let Some(attention) = next.attention {
                metrics::counter!("counterfoil_attention_total", "why" => attention.word()).increment(1);
                tracing::warn!(%customer_id, why = attention.word(), "a customer needs an operator's attention");
            }
        }
        store::audit::insert_all(tx, Actor::Sync, &lines, now).await?;
        Ok(())
    }

    /// Marks the versions that are out, issues those that are due, and answers to whom.
    async fn save_licenses(
        &self,
        tx: &mut Tx,
        decided: &[Decided<'_>],
        now: Timestamp,
    ) -> Result<BTreeSet<CustomerId>, Error> {
        for each in decided {
            // Whoever is entitled to a licence has the suspended versions back; where there are none, nothing is to be marked.
            if each.right.is_err() || each.standing.has_suspended {
                let right = each.right.as_ref().map_err(|ended| *ended);
                self.mark_licenses(tx, each.customer_id(), &each.next, right, now).await?;
            }
        }
        let keys = match decided.iter().any(|each| each.right.is_ok()) {
            true => store::signing_keys::list_good(tx).await?,
            false => Vec::new(),
        };
        let due: Vec<Due<'_>> = decided.iter().filter_map(|each| self.due(each, &keys)).collect();
        self.issue_all(tx, &due, &keys, now).await?;
        Ok(due.iter().map(|due| due.customer.customer_id.clone()).collect())
    }

    fn due<'a>(&self, decided: &'a Decided<'_>, keys: &[StoredKey]) -> Option<Due<'a>> {
        let grant = decided.right.as_ref().ok()?;
        let next = self.next_version(decided.standing.newest.as_ref(), keys, grant, &decided.cause)?;
        Some(Due { customer: &decided.seen.before.customer, grant, next })
    }

    /// Notes the currencies that providers have settled on since our book was read.
    async fn save_currencies(&self, tx: &mut Tx, decided: &[Decided<'_>], now: Timestamp) -> Result<(), Error> {
        let mut settled: Vec<Settled<'_>> = Vec::new();
        for each in decided {
            let Sight { counterparts, facts } = each.seen.sight;
            for (counterpart, look) in counterparts.iter().zip(facts) {
                if let Some(currency) = look.currency.as_deref().filter(|_| look.currency != counterpart.currency) {
                    let provider = self.keeper(counterpart.id.as_str()).name();
                    settled.push((each.customer_id(), provider, &counterpart.id, currency));
                }
            }
        }
        Ok(store::links::set_currencies(tx, &settled, now).await?)
    }

    /// What else a look changes, and mostly does not.
    async fn save_counterparts(&self, tx: &mut Tx, decided: &Decided<'_>, now: Timestamp) -> Result<(), Error> {
        let (customer_id, seen) = (decided.customer_id(), decided.seen);
        if decided.planned.is_some() || decided.standing.has_plans {
            store::planned_changes::replace(tx, customer_id, decided.planned.as_ref()).await?;
        }
        for (counterpart, look) in seen.sight.counterparts.iter().zip(&seen.sight.facts) {
            if look.customer_deleted {
                self.retire_link(tx, customer_id, &counterpart.id, now).await?;
            }
            self.save_sessions(tx, customer_id, look, now).await?;
        }
        if seen.before.open.iter().any(|attempt| attempt.session.is_none()) {
            let stored_before = now.plus_seconds(-ABANDONED_AFTER_SECONDS);
            store::attempts::end_abandoned(tx, customer_id, stored_before, now).await?;
        }
        Ok(())
    }

    async fn save_sessions(
        &self,
        tx: &mut Tx,
        customer_id: &CustomerId,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<(), Error> {
        for session in &facts.sessions {
            let state = match session.status {
                // A page of a customer that is gone takes no payment, and must not be answered as the one to pay on.
                SessionStatus::Open if facts.customer_deleted => AttemptState::Expired,
                SessionStatus::Open => continue,
                // The attempt stays among the open ones, so that nobody is let pay a second time.
                SessionStatus::Complete if payment_is_under_way(facts) => {
                    store::attempts::set_paying(tx, customer_id, &session.attempt_id, now).await?;
                    continue;
                }
                SessionStatus::Complete => AttemptState::Completed,
                SessionStatus::Expired => AttemptState::Expired,
            };
            store::attempts::end(tx, customer_id, &session.attempt_id, state, now).await?;
        }
        Ok(())
    }

    /// Retires the active link to this counterpart and takes its id off the customer's row.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn retire_link(
        &self,
        tx: &mut Tx,
        customer_id: &CustomerId,
        external: &ExternalCustomerId,
        now: Timestamp,
    ) -> Result<(), Error> {
        let provider = self.keeper(external.as_str()).name();
        let Some(link) = store::links::find_newest(tx, customer_id, provider).await? else { return Ok(()) };
        if link.state != LinkState::Active(external.clone()) {
            return Ok(());
        }
        store::links::retire(tx, customer_id, provider, link.generation, now).await?;
        if provider == self.provider.name() {
            store::customers::project_external_id(tx, customer_id, None, now).await?;
        }
        store::audit::insert(tx, Actor::Sync, "external_customer_gone", Some(customer_id), "", now).await?;
        Ok(())
    }
}

/// What support reads of a change: plan and status before and after it, and what else is new where these stay as they are.
fn difference(current: &Subscription, next: &Subscription, now: Timestamp) -> String {
    let (old, new) = (current.to_record(), next.to_record());
    let mut told = format!("{} {} -> {} {}", old.plan, current.status_word(now), new.plan, next.status_word(now));
    if let Some(interval) = new.interval.filter(|_| new.interval != old.interval) {
        told.push_str(&format!(", paid by the {}", interval.as_str()));
    }
    if let Some(until) = new.paid_until.filter(|_| new.paid_until != old.paid_until) {
        told.push_str(&format!(", paid until {}", until.date_in_words()));
    }
    match new.cancel_at {
        _ if new.cancel_at == old.cancel_at || new.ended_at.is_some() => {}
        Some(end) => told.push_str(&format!(", ends on {}", end.date_in_words())),
        None => told.push_str(", goes on after its period"),
    }
    told
}

/// Whether a subscription exists that may still be paid for the first time.
fn payment_is_under_way(facts: &Facts) -> bool {
    !planted!("paying-forgotten")
        && facts.subscriptions.iter().any(|each| match each.status {
            ProviderStatus::Incomplete => true,
            ProviderStatus::Active | ProviderStatus::Trialing | ProviderStatus::PastDue => {
                each.paid_until.is_none() && !each.money.is_gone()
            }
            ProviderStatus::IncompleteExpired
            | ProviderStatus::Unpaid
            | ProviderStatus::Paused
            | ProviderStatus::Canceled
            | ProviderStatus::Unknown(_) => false,
        })
}

#[cfg(test)]
mod tests {
    use counterfoil_core::facts::Money;
    use counterfoil_core::subscription::{Provided, Standing as Standings, State};
    use counterfoil_core::{Interval, PlanCode};

    use super::*;

    #[test]
    fn a_change_that_keeps_plan_and_status_says_what_else_is_new() {
        const NOW: Timestamp = Timestamp::from_unix_seconds(1_790_000_000);
        let active = |cancel_at, interval, days| {
            let (ends, standing) = (Some(NOW.plus_days(days)), Standings::Active { cancel_at });
            let id = ExternalSubscriptionId::new("x");
            let (interval, money) = (Some(interval), Money::Kept);
            let provided = Provided {
                id,
                standing,
                interval,
                period_ends_at: ends,
                paid_until: ends,
                money,
                trial_ended_at: None,
            };
            Subscription { plan: PlanCode::new("pro"), state: State::Provided(provided), attention: None }
        };
        let ended = |by_month: Subscription| match by_month.state {
            State::Provided(provided) => {
                let provided = Provided { standing: Standings::Canceled { ended_at: NOW }, ..provided };
                Subscription { state: State::Provided(provided), ..by_month }
            }
            State::Trial { .. } => unreachable!("it was subscribed to"),
        };
        let month = || active(None, Interval::Month, 30);
        let canceling = || active(Some(NOW.plus_days(30)), Interval::Month, 30);
        for (current, next, expected) in [
            (month(), active(None, Interval::Year, 365), "active, paid by the year, paid until 21 September 2027"),
            (month(), active(None, Interval::Month, 60), "active, paid until 20 November 2026"),
            (month(), canceling(), "active, ends on 21 October 2026"),
            (canceling(), month(), "active, goes on after its period"),
            (canceling(), ended(month()), "canceled"),
        ] {
            assert_eq!(difference(&current, &next, NOW), format!("pro active -> pro {expected}"));
        }
    }
}
