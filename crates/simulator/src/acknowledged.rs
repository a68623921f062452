//! `S5`: what somebody was told with a good answer is there, whoever died afterwards.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::checker::{deleted, is_price_of, ours, text};
use crate::evidence::Evidence;
use crate::history::{Answer, Version};
use crate::shown::claims;

pub fn what_was_acknowledged_is_there(evidence: &Evidence) -> Vec<String> {
    let mut breaches = lost_events(evidence);
    for answer in evidence.history.answers.iter().filter(|answer| answer.is_good()) {
        let told = answer.json();
        breaches.extend(lost_license(evidence, answer, &told));
        breaches.extend(match answer.call.as_str() {
            "POST /api/customers/signup" => lost_customer(evidence, answer, &told),
            "POST /api/subscriptions/checkout" => lost_checkout(evidence, answer, &told),
            "POST /api/subscriptions/change" | "POST /api/subscriptions/cancel" | "POST /api/subscriptions/resume" => {
                lost_wish(evidence, answer, &told)
            }
            _ => None,
        });
    }
    breaches.extend(evidence.people.iter().filter(|person| person.customer_id.is_some()).filter_map(|person| {
        let logged_in = person.log_in.as_ref().is_some_and(Answer::is_good);
        if logged_in && person.deleted {
            return Some(format!("user {} logs in to an account that was deleted", person.number));
        }
        let status = person.log_in.as_ref().map_or(0, |answer| answer.status);
        (!logged_in && !person.deleted && !person.perhaps_deleted)
            .then(|| format!("user {} cannot log in with a password that was accepted ({status})", person.number))
    }));
    breaches
}

fn lost_events(evidence: &Evidence) -> Vec<String> {
    let events: BTreeSet<&str> = evidence.book.inbox.iter().map(|row| row["event_id"].as_str()).collect();
    let lost = evidence.history.acknowledged.iter().filter(|event| !events.contains(event.as_str()));
    lost.map(|event| format!("the event {event} was acknowledged and is not there")).collect()
}

fn lost_customer(evidence: &Evidence, answer: &Answer, told: &Value) -> Option<String> {
    let id = text(told, "/customer/customer_id");
    let is_there = evidence.book.customers.iter().any(|row| row["customer_id"] == id);
    (!is_there).then(|| format!("user {} signed up as {id}, who is not there", answer.user))
}

/// A licence that somebody was shown is in the book, so that it can be revoked. Those of a deleted account are gone.
fn lost_license(evidence: &Evidence, answer: &Answer, told: &Value) -> Option<String> {
    let tokens = ["/token", "/license/token"].map(|path| text(told, path));
    let (token, claims) = tokens.into_iter().find_map(|token| Some((token, claims(token)?)))?;
    let id = text(&claims, "/customer_id");
    let is_there = evidence.book.licenses.iter().any(|row| row["token"] == token);
    (!is_there && !deleted(evidence).contains(id))
        .then(|| format!("{} showed a licence of {id} that is not there", answer.call))
}

/// The payment page is there, and we know of it.
fn lost_checkout(evidence: &Evidence, answer: &Answer, told: &Value) -> Option<String> {
    let url = text(told, "/checkout_url");
    let mut sessions = evidence.truth.sessions.iter();
    let Some(session) = sessions.find(|session| url.contains(text(session, "/id"))) else {
        return Some(format!("user {} was sent to a payment page that is not there", answer.user));
    };
    let is_known = evidence.book.attempts.iter().any(|row| row["external"] == text(session, "/id"));
    (!is_known).then(|| format!("user {} was sent to a payment page of which nobody knows", answer.user))
}

/// What a change, a cancellation or a resumption was answered with was once so at Stripe, too.
fn lost_wish(evidence: &Evidence, answer: &Answer, told: &Value) -> Option<String> {
    let (plan, ends) = (text(told, "/plan"), !told["cancel_at"].is_null());
    let (accounts, ours) = (accounts(evidence, answer.user), ours(evidence));
    let held = evidence.truth.subscriptions.iter();
    let mut held =
        held.filter(|held| ours.get(text(held, "/customer")).is_some_and(|id| accounts.contains(*id))).peekable();
    held.peek()?;
    let is_so = |version: &Version| version.ends == ends && is_price_of(evidence, &version.price, plan);
    let was_so = held.any(|held| {
        evidence.history.versions.get(text(held, "/id")).is_some_and(|versions| versions.iter().any(is_so))
    });
    (!was_so).then(|| format!("{} told user {} of {plan} (ends: {ends}), which it never was", answer.call, answer.user))
}

/// Whoever has deleted an account may have another one since.
pub(crate) fn accounts(evidence: &Evidence, user: usize) -> BTreeSet<String> {
    let answers = evidence.history.answers.iter().filter(|answer| answer.user == user && answer.is_good());
    let named = answers
        .filter(|answer| matches!(answer.call.as_str(), "POST /api/customers/signup" | "POST /api/customers/login"));
    named.map(|answer| text(&answer.json(), "/customer/customer_id").to_owned()).collect()
}
