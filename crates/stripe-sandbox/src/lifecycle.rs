//! What time alone brings: renewals, ends of trials, retries, expiries. Every due step runs in order of its due time, and
//! each is one commit, so that a jump of the clock by a year looks like the year itself.

use std::sync::Arc;

use serde_json::Value;

use crate::billing::{invoices, payments::Holder, prorations, subscriptions};
use crate::clock::{DAY, HOUR};
use crate::context::{Cause, Context};
use crate::error::ApiError;
use crate::json;
use crate::resources::{fulfilment, schedules, sessions};
use crate::sandbox::Inner;
use crate::store::{Kind, Store};

const INCOMPLETE_SECONDS: i64 = 23 * HOUR;
const IDEMPOTENCY_SECONDS: i64 = DAY;
const EVENT_SECONDS: i64 = 30 * DAY;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    ExpireSession,
    SettleSession,
    ExpireIncomplete,
    ExpirePendingUpdate,
    WarnOfTrialEnd,
    Cancel,
    NextPhase,
    EndTrial,
    Renew,
    ResumeCollection,
    SettleInvoice,
    RetryInvoice,
}

struct Due {
    at: i64,
    step: Step,
    id: String,
}

/// Runs everything that is due by now. Called every half second by the delivery loop.
pub(crate) async fn catch_up(inner: &Arc<Inner>) {
    let inner = Arc::clone(inner);
    // A panic is told by its own message.
    let _done = crate::work::off_thread(move || catch_up_now(&inner)).await;
}

pub(crate) fn catch_up_now(inner: &Arc<Inner>) {
    let done = run_until(inner, inner.now(), false).and_then(|()| {
        inner.write(&Cause::default(), |cx| {
            prune(cx);
            Ok(())
        })
    });
    if let Err(error) = done {
        tracing::error!(message = error.message(), "the sandbox's clock could not run its due steps");
    }
}

/// Moves the clock forward, stopping at every due step on the way.
pub(crate) fn advance(inner: &Inner, seconds: i64) -> Result<(), ApiError> {
    let target = inner.now() + seconds;
    run_until(inner, target, true)?;
    inner.move_clock(target)
}

/// With `moves_clock` each step happens at its due time with the clock set to it.
fn run_until(inner: &Inner, target: i64, moves_clock: bool) -> Result<(), ApiError> {
    loop {
        let Some(due) = inner.read(|store| next_due(store, target)) else { return Ok(()) };
        if moves_clock && due.at > inner.now() {
            inner.move_clock(due.at)?;
        }
        inner.write_at(due.at.min(inner.now()), &Cause::default(), |cx| {
            // The world may have changed since the look without the lock.
            if next_due(cx.store, target).is_some_and(|next| next.step == due.step && next.id == due.id) {
                perform(cx, due.step, &due.id);
            }
            Ok(())
        })?;
    }
}

fn next_due(store: &Store, until: i64) -> Option<Due> {
    let sessions =
        store.oldest_first(Kind::Session).filter_map(|(id, value)| session_step(value).map(|step| (id, step)));
    let subscriptions = store
        .oldest_first(Kind::Subscription)
        .filter_map(|(id, value)| subscription_step(store, value).map(|step| (id, step)));
    let invoices =
        store.oldest_first(Kind::Invoice).filter_map(|(id, value)| invoice_step(value).map(|step| (id, step)));
    sessions
        .chain(subscriptions)
        .chain(invoices)
        .filter(|(_, (at, _))| *at <= until)
        .min_by_key(|(_, (at, _))| *at)
        .map(|(id, (at, step))| Due { at, step, id: id.to_owned() })
}

fn session_step(session: &Value) -> Option<(i64, Step)> {
    match json::text(session, "status") {
        "open" => Some((json::int(session, "expires_at"), Step::ExpireSession)),
        _ => Some((json::opt_int(session, "_settles_at")?, Step::SettleSession)),
    }
}

/// The next thing that happens to a subscription.
fn subscription_step(store: &Store, subscription: &Value) -> Option<(i64, Step)> {
    let status = json::text(subscription, "status");
    if matches!(status, "canceled" | "incomplete_expired") {
        return None;
    }
    let mut steps = Vec::new();
    if let Some(at) = json::opt_int(subscription, "cancel_at") {
        steps.push((at, Step::Cancel));
    }
    if let Some(at) = json::opt_int(subscription, "pending_update.expires_at") {
        steps.push((at, Step::ExpirePendingUpdate));
    }
    if let Some(at) = json::opt_int(subscription, "pause_collection.resumes_at") {
        steps.push((at, Step::ResumeCollection));
    }
    // Before a renewal of the same second, which then charges what the next phase has.
    steps.extend(schedules::phase_end(store, subscription).map(|at| (at, Step::NextPhase)));
    match status {
        "incomplete" => steps.push((json::int(subscription, "created") + INCOMPLETE_SECONDS, Step::ExpireIncomplete)),
        "trialing" => {
            steps.extend(subscriptions::trial_warning_at(subscription).map(|at| (at, Step::WarnOfTrialEnd)));
            steps.push((json::opt_int(subscription, "trial_end")?, Step::EndTrial));
        }
        "active" | "past_due" | "unpaid" => {
            let customer = store.get(Kind::Customer, json::text(subscription, "customer"));
            debug_assert!(customer.is_some(), "a subscription has a customer");
            steps.push((subscriptions::period_end(subscription), Step::Renew));
        }
        _ => {}
    }
    // A cancellation at the period's end wins over the renewal of the same second.
    steps.into_iter().min_by_key(|(at, _)| *at)
}

fn invoice_step(invoice: &Value) -> Option<(i64, Step)> {
    if !json::flag(invoice, "auto_advance") {
        return None;
    }
    match json::text(invoice, "status") {
        "draft" => Some((json::opt_int(invoice, "automatically_finalizes_at")?, Step::SettleInvoice)),
        "open" => Some((json::opt_int(invoice, "next_payment_attempt")?, Step::RetryInvoice)),
        _ => None,
    }
}

fn perform(cx: &mut Context, step: Step, id: &str) {
    match step {
        Step::ExpireSession => sessions::expire(cx, id),
        Step::SettleSession => fulfilment::settle(cx, id),
        Step::ExpireIncomplete => subscriptions::expire_incomplete(cx, id),
        Step::ExpirePendingUpdate => prorations::expire_pending(cx, id),
        Step::WarnOfTrialEnd => subscriptions::warn_of_trial_end(cx, id),
        Step::Cancel => subscriptions::cancel(cx, id, None),
        Step::NextPhase => schedules::next_phase(cx, id),
        Step::EndTrial => subscriptions::end_trial(cx, id),
        Step::Renew => subscriptions::renew(cx, id),
        Step::ResumeCollection => cx.change(Kind::Subscription, id, "customer.subscription.updated", |value| {
            json::set(value, "pause_collection", Value::Null);
        }),
        Step::SettleInvoice => settle(cx, id),
        // A failure is told by events and by the next attempt.
        Step::RetryInvoice => drop(invoices::collect(cx, id, None, Holder::Absent)),
    }
}

/// A paused collection keeps, voids or writes off what would be charged.
fn settle(cx: &mut Context, id: &str) {
    let invoice = cx.object(Kind::Invoice, id);
    let subscription = json::opt_text(&invoice, "parent.subscription_details.subscription")
        .map(|subscription| cx.object(Kind::Subscription, subscription))
        .unwrap_or_default();
    match json::opt_text(&subscription, "pause_collection.behavior") {
        None => subscriptions::settle(cx, id),
        Some("void") => {
            invoices::finalize(cx, id, None);
            if json::text(&cx.object(Kind::Invoice, id), "status") == "open" {
                invoices::void(cx, id);
            }
        }
        Some(_) => cx.change(Kind::Invoice, id, "invoice.updated", |value| {
            json::set(value, "auto_advance", false);
            json::set(value, "automatically_finalizes_at", Value::Null);
        }),
    }
}

fn prune(cx: &mut Context) {
    for (kind, seconds) in [(Kind::IdempotencyKey, IDEMPOTENCY_SECONDS), (Kind::Event, EVENT_SECONDS)] {
        let limit = cx.now - seconds;
        let old: Vec<String> = cx
            .store
            .oldest_first(kind)
            .take_while(|(_, value)| json::int(value, "created") < limit)
            .map(|(id, _)| id.to_owned())
            .collect();
        for id in old {
            cx.store.remove(kind, &id);
        }
    }
}
