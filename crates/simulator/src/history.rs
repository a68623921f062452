//! What happened, in the order in which it happened: all that the checker may see besides Stripe's truth and the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

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

/// One row of the customers' book, as somebody saw it who looked from time to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub customer_id: String,
    pub subscription: Option<String>,
    pub status: String,
    pub plan: String,
    /// Whether it ends without another word.
    pub ends: bool,
    pub period_ends_at: Option<String>,
}

/// What a subscription was at Stripe for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub price: String,
    pub ends: bool,
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
    /// What each subscription was at Stripe, one after the other, as its events tell.
    pub versions: BTreeMap<String, Vec<Version>>,
    pub seen: Vec<Seen>,
    /// Users to whom the vendor gave money back, or whose card's holder wants it back.
    pub contested: BTreeSet<usize>,
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
    /// An event is about to be sent for the first time, in the order of what happened.
    pub fn note_version(&mut self, body: &str) {
        let event: Value = serde_json::from_str(body).unwrap_or_default();
        let object = &event["data"]["object"];
        let price = object["items"]["data"][0]["price"]["id"].as_str();
        if let (Some(id), Some(price)) = (object["id"].as_str().filter(|_| object["object"] == "subscription"), price) {
            let version = Version { price: price.to_owned(), ends: !object["cancel_at"].is_null() };
            self.versions.entry(id.to_owned()).or_default().push(version);
        }
    }

    /// Stripe has answered this call.
    pub fn note_look(&mut self, at: f64, method: &str, target: &str) {
        let asked = target.strip_prefix("/v1/subscriptions?").filter(|_| method == "GET");
        if let Some(customer) = asked.and_then(|asked| asked.split('&').find_map(|each| each.strip_prefix("customer=")))
        {
            self.looks.insert(customer.to_owned(), at);
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}
