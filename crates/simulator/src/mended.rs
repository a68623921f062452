//! The judge's rules about a world in which nothing goes wrong any more: `L1` to `L3`.

use std::collections::BTreeMap;

use counterfoil_license::{Expectations, KeySet, verify};
use serde_json::Value;

use crate::checker::{DAY, deleted, int, live, text};
use crate::evidence::{Book, Columns, Evidence, Person, Stripe};
use crate::history::Answer;
use crate::shown::claims;
use crate::signed::{paid_through, subscription_of};

/// The one live subscription of a person, and its plan.
fn owed_to<'a>(evidence: &'a Evidence, person: &Person) -> Option<(&'a Value, &'a str)> {
    let id = person.customer_id.as_deref()?;
    let live = live(evidence, id);
    let [only] = live.as_slice() else { return None };
    let price = text(only, "/items/data/0/price/id");
    let plan = evidence.plan_of_price.get(price)?;
    (text(only, "/status") == "active").then_some((*only, plan.as_str()))
}

pub fn who_pays_has_a_license(evidence: &Evidence) -> Vec<String> {
    let Ok(keys) = KeySet::from_jwks(&evidence.jwks) else { return vec!["the key set cannot be read".to_owned()] };
    let expect = Expectations::new(&evidence.issuer, &evidence.audience);
    let mut breaches = Vec::new();
    for person in evidence.people.iter().filter(|person| !person.deleted && !person.perhaps_deleted) {
        let Some((held, plan)) = owed_to(evidence, person) else { continue };
        let id = person.customer_id.as_deref().unwrap_or_default();
        if is_contested(evidence, held) {
            continue;
        }
        let paid = paid_through(evidence, id, evidence.now).unwrap_or(0);
        if paid <= evidence.now {
            continue;
        }
        let told = person.license.as_ref().map(|answer| answer.json()).unwrap_or_default();
        let verified = verify(text(&told, "/token"), &keys, &expect, evidence.now);
        if !verified.entitled() {
            let status = person.license.as_ref().map_or(0, |answer| answer.status);
            breaches
                .push(format!("{id} pays for {plan} and has no licence that works ({status}, {:?})", verified.state));
        } else if text(&told, "/plan") != plan {
            breaches.push(format!("{id} pays for {plan} and has a licence for {}", text(&told, "/plan")));
        }
        let names = |page: &Answer| page.is_good() && page.body.to_lowercase().contains(&format!(">{plan}<"));
        if !person.page.as_ref().is_some_and(names) {
            let status = person.page.as_ref().map_or(0, |answer| answer.status);
            breaches.push(format!("{id} pays for {plan}, and the page does not say so ({status})"));
        }
    }
    breaches
}

/// Customers who have a counterpart at Stripe.
fn linked(book: &Book) -> impl Iterator<Item = &Columns> {
    book.customers.iter().filter(|row| row["deleted_at"].is_empty() && !row["external"].is_empty())
}

/// Whoever was sent to a payment page is looked at until it is settled, whether webhooks come or not. Where none of
/// theirs was lost, everything that we were told has been looked at, long before a comparison would find it.
pub fn soon_the_book_tells_the_truth(evidence: &Evidence) -> Vec<String> {
    let (truth, book) = &evidence.soon;
    let heard = |external: &String| !evidence.history.unheard.contains(external);
    let mut breaches = Vec::new();
    for row in linked(book) {
        let id = &row["customer_id"];
        let ours = book.subscriptions.iter().find(|each| each["customer_id"] == *id);
        for held in truth.subscriptions.iter().filter(|held| text(held, "/customer") == row["external"]) {
            let known = ours.filter(|ours| ours["external"] == text(held, "/id"));
            let what = match (text(held, "/status"), known) {
                ("active", None) => Some("is not known".to_owned()),
                (_, Some(known)) if heard(&row["external"]) => {
                    let plan = evidence.plan_of_price.get(text(held, "/items/data/0/price/id"));
                    differs(held, plan, known).then(|| format!("is {} and {}", known["plan"], known["status"]))
                }
                _ => None,
            };
            breaches.extend(what.map(|what| {
                format!("a subscription of {id} is {} at Stripe, and in our book it {what}", text(held, "/status"))
            }));
        }
    }
    breaches
}

/// Whoever our book has as paying has the licence for it by then, and the mail with it; one that a mail server refused before may wait for
/// its next try.
pub fn soon_who_pays_has_a_license_and_a_mail(evidence: &Evidence) -> Vec<String> {
    let (truth, book) = &evidence.soon;
    let mut breaches = Vec::new();
    for row in linked(book) {
        let id = &row["customer_id"];
        let active = |held: &&Value| {
            text(held, "/customer") == row["external"] && text(held, "/status") == "active" && is_paid(truth, held)
        };
        let known = book.subscriptions.iter().find(|each| each["customer_id"] == *id && each["status"] == "active");
        let (Some(held), Some(known)) = (truth.subscriptions.iter().find(active), known) else { continue };
        if known["external"] != text(held, "/id") || is_contested(evidence, held) {
            continue;
        }
        let newest = book.licenses.iter().rfind(|license| license["customer_id"] == *id);
        let Some(license) = newest.filter(|it| it["plan"] == known["plan"] && it["revoked_at"].is_empty()) else {
            breaches.push(format!("{id} pays for {}, and has no licence for it within ten minutes", known["plan"]));
            continue;
        };
        let key = format!("license:{id}:{}", license["version"]);
        let mail = book.outbox.iter().find(|mail| mail["dedupe_key"] == key);
        if mail.is_none_or(|mail| mail["state"] != "sent" && mail["error"].is_empty()) {
            breaches
                .push(format!("{id} pays for {}, and was not mailed the licence within ten minutes", known["plan"]));
        }
    }
    breaches
}

/// Whether money for what is running went back, or may. That revokes; whether it should is not the business of these rules. What was paid
/// for a period that is over says nothing about the one that runs.
fn is_contested(evidence: &Evidence, held: &Value) -> bool {
    let mine = evidence.truth.invoices.iter().filter(|invoice| subscription_of(invoice) == text(held, "/id"));
    let mut contested = mine.filter(|invoice| evidence.history.contested.contains(text(invoice, "/id")));
    // The first look is hours before the end.
    let covers = |line: &Value| int(line, "/period/end") > evidence.now - DAY;
    contested.any(|invoice| invoice["lines"]["data"].as_array().is_some_and(|lines| lines.iter().any(covers)))
}

/// Whether the newest invoice of a subscription is paid.
fn is_paid(truth: &Stripe, held: &Value) -> bool {
    let newest = truth.invoices.iter().rfind(|invoice| text(invoice, "/customer") == text(held, "/customer"));
    newest.is_some_and(|invoice| text(invoice, "/status") == "paid")
}

/// An event is finished by a look that began after it had come. What we read in Stripe's log may come as a webhook later.
pub fn what_came_was_looked_at(evidence: &Evidence) -> Vec<String> {
    let (_, book) = &evidence.soon;
    let counterparts: BTreeMap<&str, &str> =
        linked(book).map(|row| (row["customer_id"].as_str(), row["external"].as_str())).collect();
    let finished = book.inbox.iter().filter(|row| row["state"] == "processed" && row["source"] == "webhook");
    let unseen = finished.filter(|row| {
        let sent = evidence.history.sent.get(row["event_id"].as_str());
        let counterpart = counterparts.get(row["customer_id"].as_str());
        let look = counterpart.and_then(|counterpart| evidence.history.looks.get(*counterpart));
        counterpart.is_some() && sent.is_some_and(|sent| look.is_none_or(|look| look < sent))
    });
    let told = unseen.map(|row| (&row["event_id"], &row["event_type"], &row["customer_id"]));
    told.map(|(event, kind, id)| format!("{event} ({kind}) of {id} is finished, and nobody has looked since it came"))
        .collect()
}

fn differs(held: &Value, plan: Option<&String>, known: &Columns) -> bool {
    match text(held, "/status") {
        "active" => {
            known["status"] != "active"
                || plan.is_some_and(|plan| *plan != known["plan"])
                || held["cancel_at"].is_null() != known["cancel_at"].is_empty()
        }
        "canceled" => matches!(known["status"].as_str(), "active" | "past_due"),
        _ => false,
    }
}

pub fn who_does_not_pay_has_none(evidence: &Evidence) -> Vec<String> {
    let mut breaches = Vec::new();
    for person in evidence.people.iter().filter(|person| !person.deleted && !person.perhaps_deleted) {
        let Some(id) = person.customer_id.as_deref() else { continue };
        if !live(evidence, id).is_empty() {
            continue;
        }
        let told = person.subscription.as_ref().map(|answer| answer.json()).unwrap_or_default();
        let (status, plan) = (text(&told, "/status"), text(&told, "/plan"));
        if matches!(status, "active" | "past_due") {
            breaches.push(format!("{id} has no subscription at Stripe and is told that {plan} is {status}"));
        }
        let judged = person.validation.as_ref().map(|answer| answer.json()).unwrap_or_default();
        let token = person.license.as_ref().map(|answer| answer.json()["token"].clone()).unwrap_or_default();
        let is_trial = claims(token.as_str().unwrap_or_default()).is_none_or(|claims| claims["trial"] == true);
        if judged["valid"] != false && !is_trial {
            breaches.push(format!("{id} has no subscription at Stripe, and the licence is not called ended: {judged}"));
        }
        if person.log_in.as_ref().is_some_and(Answer::is_good) && person.license.is_none() {
            breaches.push(format!("{id} has no subscription at Stripe, and nobody says whether there is a licence"));
        }
    }
    breaches
}

pub fn nothing_is_left_over(evidence: &Evidence) -> Vec<String> {
    let waiting = |table: &str, rows: &[Columns], name: &str| -> Vec<String> {
        let left = rows.iter().filter(|row| matches!(row["state"].as_str(), "pending" | "dead"));
        left.map(|row| format!("{table}: {} is {}: {}", row[name], row["state"], row["error"])).collect()
    };
    let mut breaches = waiting("inbox", &evidence.book.inbox, "event_id");
    let gone = deleted(evidence);
    let dropped = evidence.book.inbox.iter().filter(|row| {
        row["state"] == "ignored" && !row["customer_id"].is_empty() && !gone.contains(row["customer_id"].as_str())
    });
    breaches.extend(dropped.map(|row| {
        let (event, kind, id) = (&row["event_id"], &row["event_type"], &row["customer_id"]);
        format!("inbox: {event} ({kind}) of {id} was set aside: {}", row["because"])
    }));
    breaches.extend(waiting("outbox", &evidence.book.outbox, "dedupe_key"));
    breaches.extend(evidence.book.leases.iter().map(|row| format!("the lease of {} is held", row["customer_id"])));
    if evidence.truth.undelivered > 0 {
        breaches.push(format!("{} webhooks could not be delivered", evidence.truth.undelivered));
    }
    breaches
}
