//! The rules about what was signed: `S3`, `S6`, `S10` and `L2`. A licence counts wherever it was shown.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::acknowledged::accounts;
use crate::checker::{DAY, TOLERANCE, deleted, int, ours, text};
use crate::evidence::{Columns, Evidence};
use crate::shown::{claims, header, tokens};

/// What differs between two versions that say the same: when each was signed, what follows from that, its number, its id, and its place
/// in a status list.
const OF_EACH_VERSION: [&str; 6] = ["iat", "nbf", "jti", "ver", "refresh_after", "status_list"];

fn signed(evidence: &Evidence) -> Vec<Value> {
    tokens(evidence)
        .iter()
        .filter_map(|token| claims(token))
        .filter(|claims| claims["customer_id"].is_string())
        .collect()
}

/// The subscriptions of a customer that can have governed at this moment: those that were paid for, had begun and had not ended, as far
/// as clocks are right and a look is quick.
fn governing<'a>(evidence: &'a Evidence, customer_id: &str, at: i64) -> Vec<&'a Value> {
    let ours = ours(evidence);
    let mine = evidence.truth.subscriptions.iter().filter(|held| {
        ours.get(text(held, "/customer")).copied() == Some(customer_id)
            && !matches!(text(held, "/status"), "incomplete" | "incomplete_expired")
    });
    let ended_at = |held: &Value| held["ended_at"].as_i64().unwrap_or(i64::MAX);
    mine.filter(|held| int(held, "/created") <= at + TOLERANCE && at <= ended_at(held).saturating_add(TOLERANCE))
        .collect()
}

/// The latest end of what this customer had paid for by `at`, with the subscriptions that can have governed then. Where there was
/// none, all that was ever paid counts: that there was none is what `L2` says.
///
/// An invoice whose money went back stays paid at Stripe, and when it went back is known of the charge alone. So what a licence that
/// was signed after that is worth is judged here as if it had not; the tests about money that goes back look closer.
pub(crate) fn paid_through(evidence: &Evidence, customer_id: &str, at: i64) -> Option<i64> {
    let ours = ours(evidence);
    let governing: BTreeSet<&str> =
        governing(evidence, customer_id, at).into_iter().map(|held| text(held, "/id")).collect();
    let invoices = evidence.truth.invoices.iter().filter(|invoice| {
        ours.get(text(invoice, "/customer")).copied() == Some(customer_id)
            && text(invoice, "/status") == "paid"
            && int(invoice, "/status_transitions/paid_at") <= at + TOLERANCE
            && (governing.is_empty() || governing.contains(subscription_of(invoice)))
    });
    let lines = invoices.flat_map(|invoice| invoice["lines"]["data"].as_array().cloned().unwrap_or_default());
    lines.map(|line| int(&line, "/period/end")).max()
}

pub(crate) fn subscription_of(invoice: &Value) -> &str {
    text(invoice, "/parent/subscription_details/subscription")
}

pub fn no_signature_outlives_what_is_paid(evidence: &Evidence) -> Vec<String> {
    let claims = signed(evidence);
    let mut begun: BTreeMap<&str, i64> = BTreeMap::new();
    for each in &claims {
        let first = begun.entry(text(each, "/customer_id")).or_insert(i64::MAX);
        *first = (*first).min(int(each, "/iat"));
    }
    let mut breaches = Vec::new();
    for each in &claims {
        if !each["exp"].is_i64() || !each["plan"].is_string() {
            breaches.push(format!("a licence of {} has no end or no plan", text(each, "/customer_id")));
            continue;
        }
        let (id, plan, iat, exp) =
            (text(each, "/customer_id"), text(each, "/plan"), int(each, "/iat"), int(each, "/exp"));
        let trial_end = begun.get(id).map(|begun| begun + evidence.trial_days * DAY);
        let of_trial = trial_end.filter(|_| each["trial"] == true);
        let bound = of_trial.or_else(|| paid_through(evidence, id, iat));
        let bound = bound.map(|end| end + grace(evidence, each) + TOLERANCE);
        if bound.is_none_or(|bound| exp > bound) {
            let what = format!("a licence of {id} for {plan}, signed at {iat}, works until {exp}; bound: {bound:?}");
            breaches.push(what);
        }
    }
    breaches
}

/// The grace of the plan that a licence is for, in seconds.
fn grace(evidence: &Evidence, claims: &Value) -> i64 {
    evidence.grace_days.get(text(claims, "/plan")).copied().unwrap_or(0) * DAY
}

pub fn one_version_for_one_set_of_facts(evidence: &Evidence) -> Vec<String> {
    let mut breaches = Vec::new();
    let owed: BTreeMap<&str, &Columns> =
        evidence.book.outbox.iter().map(|row| (row["dedupe_key"].as_str(), row)).collect();
    let taken: BTreeSet<&str> = evidence.history.mails.iter().map(|mail| mail.message_id.as_str()).collect();
    let gone: BTreeSet<&str> = deleted(evidence);
    for (number, row) in evidence.book.licenses.iter().enumerate() {
        let (id, version) = (row["customer_id"].as_str(), row["version"].as_str());
        let before = number.checked_sub(1).map(|before| &evidence.book.licenses[before]);
        if before.is_some_and(|before| is_said_again(before, row)) {
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

/// Whether a version was issued although the one before it was good and said the same, by our own account of it or by what was signed.
fn is_said_again(before: &Columns, row: &Columns) -> bool {
    let alike = ["facts_digest", "terms_digest"].iter().all(|column| before[*column] == row[*column]);
    let says_alike = said(&before["token"]).is_some_and(|said_before| said(&row["token"]) == Some(said_before));
    before["customer_id"] == row["customer_id"] && before["revoked_at"].is_empty() && (alike || says_alike)
}

/// What a licence says, and by which key.
fn said(token: &str) -> Option<(Value, Value)> {
    let mut said = claims(token)?;
    let members = said.as_object_mut()?;
    for name in OF_EACH_VERSION {
        members.remove(name);
    }
    Some((said, header(token)?["kid"].clone()))
}

pub fn one_trial_a_person(evidence: &Evidence) -> Vec<String> {
    let mut mailboxes: BTreeMap<String, usize> = BTreeMap::new();
    for row in evidence.book.customers.iter().filter(|row| row["deleted_at"].is_empty()) {
        *mailboxes.entry(row["email"].to_lowercase()).or_default() += 1;
    }
    let twice = mailboxes.into_iter().filter(|(_, count)| *count > 1);
    let mut breaches: Vec<String> = twice.map(|(email, count)| format!("{count} accounts belong to {email}")).collect();
    let trials: Vec<Value> = signed(evidence).into_iter().filter(|claims| claims["trial"] == true).collect();
    for person in &evidence.people {
        let mut accounts = accounts(evidence, person.number);
        accounts.extend(person.customer_id.clone());
        let mine: Vec<&Value> =
            trials.iter().filter(|claims| accounts.contains(text(claims, "/customer_id"))).collect();
        // Whoever comes back gets what is left of the one trial.
        let Some(begun) = mine.iter().map(|claims| int(claims, "/iat")).min() else { continue };
        let end = begun + evidence.trial_days * DAY + TOLERANCE;
        let ends = mine.iter().map(|claims| int(claims, "/exp"));
        if let Some(later) = ends.max().filter(|later| *later > end) {
            breaches.push(format!("user {} began a trial at {begun} and has one until {later}", person.number));
        }
    }
    breaches
}

/// Nobody is signed a licence for money where nothing was running that could be paid for, whatever we say of it when asked: it works
/// offline.
pub fn nothing_is_signed_after_the_end(evidence: &Evidence) -> Vec<String> {
    let paid = signed(evidence).into_iter().filter(|claims| claims["trial"] != true);
    let late = paid.filter(|claims| governing(evidence, text(claims, "/customer_id"), int(claims, "/iat")).is_empty());
    let told = late.map(|claims| {
        let (id, plan, iat) = (text(&claims, "/customer_id"), text(&claims, "/plan"), int(&claims, "/iat"));
        format!("{id} was given a licence for {plan} at {iat}, when no subscription was running")
    });
    told.collect()
}
