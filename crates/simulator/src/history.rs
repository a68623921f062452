//! What happened, in the order in which it happened: all that the checker may see besides Stripe's truth and the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use counterfoil_core::probe;
use serde_json::Value;

use crate::dice::hash;

/// An answer that a user has got.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Seconds since the story began.
    pub at: f64,
    /// Which user.
    pub user: usize,
    /// `POST /api/…`.
    pub call: String,
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl Answer {
    /// The body, where it is JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A mail that a mail server has taken.
#[derive(Clone, Debug)]
pub struct Mail {
    pub recipient: String,
    pub subject: String,
    pub body_text: String,
    pub message_id: String,
}

/// One state of a customer's subscription that was committed to our book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub customer_id: String,
    pub subscription: Option<String>,
    pub status: String,
    pub plan: String,
    /// Whether it ends without another word.
    pub ends: bool,
    /// The end of the running period, in Unix seconds.
    pub period_ends_at: Option<i64>,
}

/// What a subscription was at Stripe for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub status: String,
    pub price: String,
    pub ends: bool,
    /// The end of the running period, in Unix seconds.
    pub period_ends_at: Option<i64>,
    /// Whether Stripe counts a trial of it, or has.
    pub tried: bool,
}

impl Version {
    /// What this object of Stripe's is at this moment, and whose.
    fn of(object: &Value) -> Option<(&str, &str, Self)> {
        let items = object["items"]["data"].as_array()?;
        let version = Self {
            status: object["status"].as_str()?.to_owned(),
            price: items.first()?["price"]["id"].as_str()?.to_owned(),
            ends: !object["cancel_at"].is_null(),
            period_ends_at: items.iter().filter_map(|item| item["current_period_end"].as_i64()).max(),
            tried: !object["trial_end"].is_null(),
        };
        Some((object["id"].as_str()?, object["customer"].as_str().unwrap_or_default(), version))
    }
}

/// Everything that happened.
#[derive(Debug, Default)]
pub struct History {
    pub answers: Vec<Answer>,
    pub mails: Vec<Mail>,
    /// Events whose webhook was answered with 200.
    pub acknowledged: Vec<String>,
    /// Events with a signature that was not Stripe's, and how they were answered.
    pub forged: Vec<(String, u16)>,
    /// The first event that was sent to us, as somebody overheard it: its id, its bytes and its signature.
    pub overheard: Option<(String, String, String)>,
    /// True events that were sent again long after they had been signed, and how that was answered.
    pub replayed: Vec<(String, u16)>,
    /// Well-signed events that are none of ours.
    pub foreign: Vec<String>,
    /// Who asked for the checkout of which other customer, and how that was answered.
    pub trespasses: Vec<(usize, String, u16)>,
    /// The newest id of each user's account.
    pub ids: BTreeMap<usize, String>,
    /// When each event was first sent to us, in seconds since the story began.
    pub sent: BTreeMap<String, f64>,
    /// When Stripe last told us the subscriptions of each of its customers.
    pub looks: BTreeMap<String, f64>,
    /// Stripe's customers of whom a webhook was lost.
    pub unheard: BTreeSet<String>,
    /// Everything that each subscription ever was at Stripe for somebody who asked, one after the other.
    pub versions: BTreeMap<String, Vec<Version>>,
    /// When a subscription of each of Stripe's customers changed last, and those of whom two changes in one second were not looked at yet.
    changes: BTreeMap<String, f64>,
    crowded: BTreeSet<String>,
    /// Every state of a subscription that was committed to our book, in that order.
    pub seen: Vec<Seen>,
    /// Invoices whose money the vendor gave back, or the card's holder wants back.
    pub contested: BTreeSet<String>,
    /// What the world itself found wrong, such as a call inside a transaction.
    pub breaches: Vec<String>,
    /// How often each thing happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// How often a task died at each place on its way.
    pub deaths: BTreeMap<String, u64>,
    /// How often one died after each point of the ways of a checkout and of a webhook, and before the next.
    pub deaths_after: BTreeMap<&'static str, u64>,
    pub story: Story,
}

/// The story as people read it, and a number that two equal stories share.
#[derive(Debug, Default)]
pub struct Story {
    pub lines: Vec<String>,
    pub digest: u64,
}

impl Story {
    pub fn tell(&mut self, at: f64, line: fmt::Arguments<'_>) {
        let line = format!("{at:>12.3}  {line}");
        self.digest = hash(self.digest, line.as_bytes());
        self.lines.push(line);
    }
}

impl History {
    /// These are Stripe's subscriptions now. Nothing changes there without somebody who asks it to or a look at the clock, and after
    /// each of the two this is noted: so nobody was ever answered with a version that is not here.
    pub fn note_versions(&mut self, at: f64, objects: &[Value]) {
        for (id, customer, version) in objects.iter().filter_map(Version::of) {
            let known = self.versions.entry(id.to_owned()).or_default();
            if known.last() == Some(&version) {
                continue;
            }
            known.push(version);
            let before = self.changes.insert(customer.to_owned(), at);
            if before.is_some_and(|before| at - before < 1.0) {
                self.crowded.insert(customer.to_owned());
            }
        }
    }

    /// Stripe has answered this call.
    pub fn note_look(&mut self, at: f64, method: &str, target: &str) {
        let asked = target.strip_prefix("/v1/subscriptions?").filter(|_| method == "GET");
        if let Some(customer) = asked.and_then(|asked| asked.split('&').find_map(|each| each.strip_prefix("customer=")))
        {
            let is_crowded = self.crowded.remove(customer);
            probe!("F51", is_crowded);
            self.looks.insert(customer.to_owned(), at);
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}
