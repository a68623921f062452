//! The judge. It sees what people saw, Stripe's truth and the tables, and nothing of how the application works.
//!
//! Each rule has the name under which `docs/reliability/catalogue.md` lists it: `S1` to `S10` must hold at every moment, `L1` to `L3` once
//! everything has been mended.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::evidence::Evidence;
use crate::shown::{claims, foreign_word, is_shown, tokens};
use crate::{acknowledged, mended, order, signed};

pub(crate) const DAY: i64 = 86_400;

/// Replicas' clocks are wrong by four minutes at most, and the look happens before the signature.
pub(crate) const TOLERANCE: i64 = 900;

/// A broken rule, and what breaks it.
pub type Breach = (&'static str, String);

type Rule = (&'static str, fn(&Evidence) -> Vec<String>);

/// Every rule, in the order of its name.
pub const RULES: [Rule; 20] = [
    ("S1", one_counterpart),
    ("S2", one_live_subscription),
    ("S3", signed::no_signature_outlives_what_is_paid),
    ("S4", order::what_has_ended_stays_ended),
    ("S4", order::nothing_older_replaces_what_is_newer),
    ("S5", acknowledged::what_was_acknowledged_is_there),
    ("S6", signed::one_version_for_one_set_of_facts),
    ("S7", nothing_of_others),
    ("S8", no_provider_ids),
    ("S9", forged_events_do_nothing),
    ("S9", foreign_events_do_nothing),
    ("S10", signed::one_trial_a_person),
    ("L1", mended::who_pays_has_a_license),
    ("L1", mended::soon_the_book_tells_the_truth),
    ("L1", mended::soon_who_pays_has_a_license_and_a_mail),
    ("L1", mended::what_came_was_looked_at),
    ("L2", mended::who_does_not_pay_has_none),
    ("L2", signed::nothing_is_signed_after_the_end),
    ("L3", mended::nothing_is_left_over),
    ("W", what_the_world_saw),
];

pub fn judge(evidence: &Evidence) -> Vec<Breach> {
    RULES.iter().flat_map(|(name, rule)| rule(evidence).into_iter().map(move |what| (*name, what))).collect()
}

pub(crate) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn int(value: &Value, path: &str) -> i64 {
    value.pointer(path).and_then(Value::as_i64).unwrap_or_default()
}

/// Whether this price is one of this plan's.
pub(crate) fn is_price_of(evidence: &Evidence, price: &str, plan: &str) -> bool {
    evidence.plan_of_price.get(price).is_some_and(|other| other == plan)
}

/// Our id of each of Stripe's customers.
pub(crate) fn ours(evidence: &Evidence) -> BTreeMap<&str, &str> {
    let pairs = evidence.truth.customers.iter();
    pairs.map(|customer| (text(customer, "/id"), text(customer, "/metadata/customer_id"))).collect()
}

fn one_counterpart(evidence: &Evidence) -> Vec<String> {
    let mut counted: BTreeMap<&str, usize> =
        evidence.book.customers.iter().map(|row| (row["customer_id"].as_str(), 0)).collect();
    let ours = ours(evidence);
    let alive = evidence.truth.customers.iter().filter(|customer| customer["_deleted"] != true);
    for id in alive.map(|customer| text(customer, "/metadata/customer_id")) {
        // Others have customers at Stripe, too.
        if let Some(count) = counted.get_mut(id) {
            *count += 1;
        }
    }
    let twice = counted.into_iter().filter(|(_, count)| *count > 1);
    let twice = twice.map(|(id, count)| format!("{id} has {count} customers at Stripe"));
    let linked = evidence.book.customers.iter().filter(|row| !row["external"].is_empty());
    let strange = linked.filter(|row| ours.get(row["external"].as_str()).is_none_or(|id| *id != row["customer_id"]));
    let strange = strange.map(|row| format!("{} is linked to somebody else's {}", row["customer_id"], row["external"]));
    twice.chain(strange).collect()
}

/// Subscriptions of one of our customers that have not ended.
pub(crate) fn live<'a>(evidence: &'a Evidence, customer_id: &str) -> Vec<&'a Value> {
    let ours = ours(evidence);
    let mine = |each: &&Value| ours.get(text(each, "/customer")).copied() == Some(customer_id);
    let alive =
        |each: &&Value| matches!(text(each, "/status"), "active" | "trialing" | "past_due" | "unpaid" | "paused");
    evidence.truth.subscriptions.iter().filter(mine).filter(alive).collect()
}

/// At no moment has anybody two: also not where one of them has ended since.
fn one_live_subscription(evidence: &Evidence) -> Vec<String> {
    let ours = ours(evidence);
    let mut lives: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    for held in &evidence.truth.subscriptions {
        let Some(id) = ours.get(text(held, "/customer")) else { continue };
        // What was never paid was never live.
        if matches!(text(held, "/status"), "incomplete" | "incomplete_expired") {
            continue;
        }
        let end = held["ended_at"].as_i64().unwrap_or(i64::MAX);
        lives.entry(id).or_default().push((int(held, "/created"), end));
    }
    let mut breaches = Vec::new();
    for (id, mut lives) in lives {
        lives.sort_unstable();
        let doubled = lives.windows(2).filter(|pair| pair[1].0 < pair[0].1);
        breaches.extend(doubled.map(|pair| format!("{id} has two live subscriptions from {} on", pair[1].0)));
    }
    breaches
}

pub(crate) fn deleted(evidence: &Evidence) -> BTreeSet<&str> {
    let gone = evidence.book.customers.iter().filter(|row| !row["deleted_at"].is_empty());
    gone.map(|row| row["customer_id"].as_str()).collect()
}

fn nothing_of_others(evidence: &Evidence) -> Vec<String> {
    let trespasses = evidence.history.trespasses.iter().filter(|(_, _, status)| (200..300).contains(status));
    let mut breaches: Vec<String> =
        trespasses.map(|(user, id, _)| format!("user {user} was let into the checkout of {id}")).collect();
    for answer in &evidence.history.answers {
        for other in evidence.people.iter().filter(|person| person.number != answer.user) {
            if is_shown(&answer.body, other) {
                breaches.push(format!("{} of user {} shows user {}", answer.call, answer.user, other.number));
            }
        }
    }
    for mail in &evidence.history.mails {
        let others = evidence.people.iter().filter(|person| !mail.recipient.eq_ignore_ascii_case(&person.email));
        for other in others.filter(|other| is_shown(&mail.body_text, other)) {
            breaches.push(format!("the mail `{}` to {} shows user {}", mail.subject, mail.recipient, other.number));
        }
    }
    breaches
}

fn no_provider_ids(evidence: &Evidence) -> Vec<String> {
    let shown = evidence.history.answers.iter().map(|answer| {
        // The address of the payment page is Stripe's own.
        let told = answer.json();
        let url = text(&told, "/checkout_url");
        let body = if url.is_empty() { answer.body.clone() } else { answer.body.replace(url, "") };
        (format!("{} of user {}", answer.call, answer.user), format!("{body} {}", answer.headers))
    });
    let mailed = evidence.history.mails.iter();
    let mailed =
        mailed.map(|mail| (format!("the mail {}", mail.subject), format!("{} {}", mail.subject, mail.body_text)));
    let signed = tokens(evidence).into_iter().filter_map(|token| claims(&token));
    let signed = signed.map(|claims| (format!("the licence {}", text(&claims, "/jti")), claims.to_string()));
    let mut breaches = Vec::new();
    for (place, text) in shown.chain(mailed).chain(signed) {
        breaches.extend(foreign_word(&text).map(|word| format!("{place} shows {word}")));
        let secrets = evidence.secrets.iter().filter(|(_, secret)| text.contains(secret));
        breaches.extend(secrets.map(|(name, _)| format!("{place} shows {name}")));
    }
    breaches
}

fn forged_events_do_nothing(evidence: &Evidence) -> Vec<String> {
    let mut breaches = Vec::new();
    for (event, status) in &evidence.history.forged {
        if !(400..500).contains(status) && *status < 500 {
            breaches.push(format!("the forged event {event} was answered with {status}"));
        }
        if evidence.book.inbox.iter().any(|row| row["event_id"] == *event) {
            breaches.push(format!("the forged event {event} was stored"));
        }
    }
    let believed = evidence.history.replayed.iter().filter(|(_, status)| *status < 400);
    breaches.extend(believed.map(|(event, status)| {
        format!("the event {event} was signed long before, sent again, and answered with {status}")
    }));
    breaches
}

/// What is of another mode, account or installation is kept, and nobody is looked at because of it.
fn foreign_events_do_nothing(evidence: &Evidence) -> Vec<String> {
    let foreign: BTreeSet<&str> = evidence.history.foreign.iter().map(String::as_str).collect();
    let stored = evidence.book.inbox.iter().filter(|row| foreign.contains(row["event_id"].as_str()));
    let worked = stored.filter(|row| row["state"] != "ignored");
    worked.map(|row| format!("the event {}, which is none of ours, is {}", row["event_id"], row["state"])).collect()
}

fn what_the_world_saw(evidence: &Evidence) -> Vec<String> {
    let mut breaches = evidence.history.breaches.clone();
    let broken = evidence.history.answers.iter().filter(|answer| answer.status == 500);
    breaches.extend(broken.map(|answer| format!("{} of user {} was answered with 500", answer.call, answer.user)));
    breaches
}
