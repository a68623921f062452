//! The judge. It sees what people saw, Stripe's truth and the tables, and nothing of how the application works.
//!
//! Each rule has the name under which `docs/reliability/catalogue.md` lists it: `S1` to `S10` must hold at every moment, `L1` to `L3` once
//! everything has been mended.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::acknowledged;
use crate::evidence::{Columns, Evidence};
use crate::history::Version;
use crate::mended;
use crate::shown::{claims, foreign_word, is_shown, tokens};

const DAY: i64 = 86_400;

/// Replicas' clocks are wrong by four minutes at most, and the look happens before the signature.
const TOLERANCE: i64 = 900;

/// A broken rule, and what breaks it.
pub type Breach = (&'static str, String);

type Rule = (&'static str, fn(&Evidence) -> Vec<String>);

/// Every rule, in the order of its name.
pub const RULES: [Rule; 18] = [
    ("S1", one_counterpart),
    ("S2", one_live_subscription),
    ("S3", no_signature_outlives_what_is_paid),
    ("S4", what_has_ended_stays_ended),
    ("S4", nothing_older_replaces_what_is_newer),
    ("S5", acknowledged::what_was_acknowledged_is_there),
    ("S6", one_version_for_one_set_of_facts),
    ("S7", nothing_of_others),
    ("S8", no_provider_ids),
    ("S9", forged_events_do_nothing),
    ("S10", one_trial_a_person),
    ("L1", mended::who_pays_has_a_license),
    ("L1", mended::soon_the_book_tells_the_truth),
    ("L1", mended::soon_who_pays_has_a_license_and_a_mail),
    ("L1", mended::what_came_was_looked_at),
    ("L2", mended::who_does_not_pay_has_none),
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

/// The latest end of what this customer had paid for by `at`.
pub(crate) fn paid_through(evidence: &Evidence, customer_id: &str, at: i64) -> Option<i64> {
    let ours = ours(evidence);
    let invoices = evidence.truth.invoices.iter().filter(|invoice| {
        ours.get(text(invoice, "/customer")).copied() == Some(customer_id)
            && text(invoice, "/status") == "paid"
            && int(invoice, "/status_transitions/paid_at") <= at + TOLERANCE
    });
    let lines = invoices.flat_map(|invoice| invoice["lines"]["data"].as_array().cloned().unwrap_or_default());
    lines.map(|line| int(&line, "/period/end")).max()
}

fn no_signature_outlives_what_is_paid(evidence: &Evidence) -> Vec<String> {
    let claims: Vec<Value> = tokens(evidence).iter().filter_map(|token| claims(token)).collect();
    let mut begun: BTreeMap<String, i64> = BTreeMap::new();
    for each in &claims {
        let first = begun.entry(text(each, "/customer_id").to_owned()).or_insert(i64::MAX);
        *first = (*first).min(int(each, "/iat"));
    }
    let mut breaches = Vec::new();
    for each in claims.iter().filter(|each| each["customer_id"].is_string()) {
        if !each["exp"].is_i64() || !each["plan"].is_string() {
            breaches.push(format!("a licence of {} has no end or no plan", text(each, "/customer_id")));
            continue;
        }
        let (id, plan, iat, exp) =
            (text(each, "/customer_id"), text(each, "/plan"), int(each, "/iat"), int(each, "/exp"));
        let grace = evidence.grace_days.get(plan).copied().unwrap_or(0) * DAY;
        let trial_end = begun.get(id).map(|begun| begun + evidence.trial_days * DAY);
        let of_trial = trial_end.filter(|_| each["trial"] == true);
        let bound = of_trial.or_else(|| paid_through(evidence, id, iat)).map(|end| end + grace + TOLERANCE);
        if bound.is_none_or(|bound| exp > bound) {
            let what = format!("a licence of {id} for {plan}, signed at {iat}, works until {exp}; bound: {bound:?}");
            breaches.push(what);
        }
    }
    breaches
}

fn what_has_ended_stays_ended(evidence: &Evidence) -> Vec<String> {
    let mut ended: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut breaches = Vec::new();
    for seen in &evidence.history.seen {
        let Some(subscription) = seen.subscription.as_deref() else { continue };
        let key = (seen.customer_id.as_str(), subscription);
        if matches!(seen.status.as_str(), "canceled" | "incomplete_expired") {
            ended.insert(key);
        } else if ended.contains(&key) {
            breaches.push(format!("{} of {} had ended and is {}", subscription, seen.customer_id, seen.status));
        }
    }
    breaches
}

/// What we write of a subscription follows the order of what it was at Stripe.
fn nothing_older_replaces_what_is_newer(evidence: &Evidence) -> Vec<String> {
    let mut applied: BTreeMap<&str, usize> = BTreeMap::new();
    let mut breaches = Vec::new();
    for seen in evidence.history.seen.iter().filter(|seen| matches!(seen.status.as_str(), "active" | "past_due")) {
        let Some(subscription) = seen.subscription.as_deref() else { continue };
        let Some(versions) = evidence.history.versions.get(subscription) else { continue };
        let is_it = |version: &Version| {
            evidence.plan_of_price.get(&version.price) == Some(&seen.plan) && version.ends == seen.ends
        };
        let last = applied.entry(subscription).or_default();
        match versions.iter().skip(*last).position(is_it) {
            Some(further) => *last += further,
            None if versions.iter().take(*last).any(is_it) => {
                let (id, plan, ends) = (&seen.customer_id, &seen.plan, seen.ends);
                breaches.push(format!(
                    "{subscription} of {id} became {plan} (ends: {ends}) again, which it was long before"
                ));
            }
            None => {}
        }
    }
    breaches
}

fn one_version_for_one_set_of_facts(evidence: &Evidence) -> Vec<String> {
    let mut breaches = Vec::new();
    let owed: BTreeMap<&str, &Columns> =
        evidence.book.outbox.iter().map(|row| (row["dedupe_key"].as_str(), row)).collect();
    let taken: BTreeSet<&str> = evidence.history.mails.iter().map(|mail| mail.message_id.as_str()).collect();
    let gone: BTreeSet<&str> = deleted(evidence);
    for (number, row) in evidence.book.licenses.iter().enumerate() {
        let (id, version) = (row["customer_id"].as_str(), row["version"].as_str());
        let before = number.checked_sub(1).map(|before| &evidence.book.licenses[before]);
        let same = |before: &&Columns| {
            ["customer_id", "facts_digest", "terms_digest"].iter().all(|column| before[column] == row[column])
                && before["revoked_at"].is_empty()
        };
        if before.filter(same).is_some() {
            breaches.push(format!("{id} has version {version} for facts that the version before has, too"));
        }
        if gone.contains(id) {
            continue;
        }
        match owed.get(format!("license:{id}:{version}").as_str()) {
            None => breaches.push(format!("no mail is owed for version {version} of {id}")),
            Some(mail) if mail["state"] == "sent" && !taken.contains(mail["message_id"].as_str()) => {
                breaches.push(format!("the mail of version {version} of {id} is marked as sent and nobody has it"));
            }
            Some(_) => {}
        }
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
    let found = shown
        .chain(mailed)
        .chain(signed)
        .filter_map(|(place, text)| Some(format!("{place} shows {}", foreign_word(&text)?)));
    found.collect()
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
    breaches
}

fn one_trial_a_person(evidence: &Evidence) -> Vec<String> {
    let mut accounts: BTreeMap<String, usize> = BTreeMap::new();
    for row in evidence.book.customers.iter().filter(|row| row["deleted_at"].is_empty()) {
        *accounts.entry(row["email"].to_lowercase()).or_default() += 1;
    }
    let twice = accounts.into_iter().filter(|(_, count)| *count > 1);
    let mut breaches: Vec<String> = twice.map(|(email, count)| format!("{count} accounts belong to {email}")).collect();
    for person in &evidence.people {
        let mine = evidence.history.answers.iter().filter(|answer| {
            answer.user == person.number && answer.call == "POST /api/customers/signup" && answer.is_good()
        });
        let claimed = mine.filter_map(|answer| claims(text(&answer.json(), "/license/token")));
        let trials: Vec<(i64, i64)> = claimed
            .filter(|claims| claims["trial"] == true)
            .map(|claims| (int(&claims, "/iat"), int(&claims, "/exp")))
            .collect();
        // Whoever comes back gets what is left of the one trial.
        let Some(begun) = trials.iter().map(|(iat, _)| *iat).min() else { continue };
        let end = begun + evidence.trial_days * DAY + TOLERANCE;
        if let Some((_, exp)) = trials.iter().find(|(_, exp)| *exp > end) {
            breaches.push(format!("user {} began a trial at {begun} and has one until {exp}", person.number));
        }
    }
    breaches
}

fn what_the_world_saw(evidence: &Evidence) -> Vec<String> {
    let mut breaches = evidence.history.breaches.clone();
    let broken = evidence.history.answers.iter().filter(|answer| answer.status == 500);
    breaches.extend(broken.map(|answer| format!("{} of user {} was answered with 500", answer.call, answer.user)));
    breaches
}
