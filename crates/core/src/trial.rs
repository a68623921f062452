//! Trials: one per person or company, decided by our ledger and never by a request (invariant 8); what is told about their
//! end; and how an operator makes one longer.
//!
//! A trial ends by being compared with now. Nothing has to run for it to be over, and no provider is asked.

use crate::email::EmailAddress;
use crate::plan::Plan;
use crate::probe;
use crate::refusal::Refusal;
use crate::subscription::{State, Subscription};
use crate::time::Timestamp;

/// How far ahead an operator may set a trial's end: beyond it, it is no trial any more.
pub const EXTENSION_DAYS_MAX: i64 = 365;

/// A trial's end is told for this long after it. Where nothing was sent for longer, the news is none any more.
const ENDED_TOLD_DAYS: i64 = 7;

/// Where many people who do not know each other have their addresses: the domain says nothing about who they work for.
const PUBLIC_MAIL_DOMAINS: [&str; 72] = [
    "126.com",
    "163.com",
    "aol.com",
    "arcor.de",
    "att.net",
    "bigpond.com",
    "bluewin.ch",
    "bol.com.br",
    "btinternet.com",
    "comcast.net",
    "daum.net",
    "duck.com",
    "fastmail.com",
    "free.fr",
    "freenet.de",
    "gmail.com",
    "gmx.at",
    "gmx.ch",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hanmail.net",
    "hey.com",
    "hotmail.co.uk",
    "hotmail.com",
    "hotmail.de",
    "hotmail.fr",
    "hotmail.it",
    "icloud.com",
    "interia.pl",
    "laposte.net",
    "libero.it",
    "live.co.uk",
    "live.com",
    "live.fr",
    "mac.com",
    "mail.com",
    "mail.ru",
    "mailbox.org",
    "me.com",
    "msn.com",
    "naver.com",
    "o2.pl",
    "orange.fr",
    "outlook.com",
    "outlook.de",
    "outlook.fr",
    "pm.me",
    "posteo.de",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "rediffmail.com",
    "rocketmail.com",
    "seznam.cz",
    "sfr.fr",
    "sky.com",
    "t-online.de",
    "tuta.com",
    "tutanota.com",
    "uol.com.br",
    "verizon.net",
    "web.de",
    "wp.pl",
    "yahoo.co.jp",
    "yahoo.co.uk",
    "yahoo.com",
    "yahoo.de",
    "yandex.com",
    "yandex.ru",
    "ymail.com",
];

/// Who shares one trial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TrialPer {
    /// Each person has one.
    #[default]
    Person,
    /// All who have an address in a company's domain have one together.
    CompanyDomain {
        /// Domains beside the well-known ones whose addresses belong to people who do not know each other, in lower case.
        public_domains: Vec<String>,
    },
}

/// The names under which the ledger may know this address, the one that most people share first. They are hashed before
/// they are stored.
#[must_use]
pub fn ledger_names(email: &EmailAddress, per: &TrialPer) -> Vec<String> {
    let person = email.person_key();
    match per {
        TrialPer::Person => vec![person],
        TrialPer::CompanyDomain { public_domains } => {
            let domain = email.domain();
            let is_public = PUBLIC_MAIL_DOMAINS.contains(&domain) || public_domains.iter().any(|each| each == domain);
            // A person's name has something before the @, so the two never meet.
            if is_public { vec![person] } else { vec![format!("@{domain}"), person] }
        }
    }
}

/// What the ledger knows of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ends or ended.
    pub ends_at: Timestamp,
}

/// What signing up gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The first trial: to be written into the ledger.
    First(Entry),
    /// There was one before; it goes on, or stays ended, as the ledger says.
    Earlier(Entry),
}

impl Start {
    /// The trial, whichever it is.
    #[must_use]
    pub const fn entry(self) -> Entry {
        match self {
            Self::First(entry) | Self::Earlier(entry) => entry,
        }
    }
}

/// What the ledger has to note for a new address of somebody whose earlier address it knows: without it, leaving the old
/// address behind would be the way to a second trial. An entry that the new address has already stays as it is.
#[must_use]
pub const fn note_address(under_old: Option<Entry>, under_new: Option<Entry>) -> Option<Entry> {
    match (under_old, under_new) {
        (Some(entry), None) => Some(entry),
        (_, Some(_)) | (None, None) => None,
    }
}

/// Decides which trial somebody gets who signs up now.
#[must_use]
pub fn start(earlier: Option<Entry>, plan: &Plan, now: Timestamp) -> Start {
    match earlier {
        Some(entry) => {
            probe!("F50");
            Start::Earlier(entry)
        }
        None => {
            let ends_at = now.floor_to_second().plus_days(i64::from(plan.trial_days));
            Start::First(Entry { started_at: now, ends_at })
        }
    }
}

/// What a customer is told about the end of a trial, each once for one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialNotice {
    /// It ends in three days.
    ThreeDays,
    /// It ends tomorrow.
    OneDay,
    /// It is over.
    Ended,
}

impl TrialNotice {
    /// All of them, in the order in which they become true.
    pub const ALL: [Self; 3] = [Self::ThreeDays, Self::OneDay, Self::Ended];

    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ThreeDays => "three_days",
            Self::OneDay => "one_day",
            Self::Ended => "ended",
        }
    }

    /// The ends of trials of which this is the one thing to say now: after the first instant, and not after the second. What is
    /// no longer true is not said, so somebody who was not told for days hears the newest only.
    #[must_use]
    pub const fn ends_between(self, now: Timestamp) -> (Timestamp, Timestamp) {
        match self {
            Self::ThreeDays => (now.plus_days(1), now.plus_days(3)),
            Self::OneDay => (now, now.plus_days(1)),
            Self::Ended => (now.plus_days(-ENDED_TOLD_DAYS), now),
        }
    }

    /// Whether this is the one thing to say now.
    #[must_use]
    pub fn is_due(self, ends_at: Timestamp, now: Timestamp) -> bool {
        let (after, until) = self.ends_between(now);
        after < ends_at && ends_at <= until
    }

    /// Whether giving the trial has said it already: whoever is given one for two days is not told that three are left.
    #[must_use]
    pub const fn is_said_by_giving(self, ends_at: Timestamp, given_at: Timestamp) -> bool {
        let since = match self {
            Self::ThreeDays => ends_at.plus_days(-3),
            Self::OneDay => ends_at.plus_days(-1),
            Self::Ended => ends_at,
        };
        since.as_micros() <= given_at.as_micros()
    }
}

/// How much longer an operator wants a trial to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// By days, from its end, or from now where it is over.
    Days(i64),
    /// To this instant.
    Until(Timestamp),
}

/// The new end of a trial that an operator makes longer. One that is over is revived.
///
/// # Errors
/// [`Refusal::TrialNotExtendable`] once a subscription was paid for; [`Refusal::InvalidField`] for an end that is not later, or
/// too far ahead.
pub fn extend(subscription: &Subscription, by: Extension, now: Timestamp) -> Result<Timestamp, Refusal> {
    let current = match &subscription.state {
        State::Trial { ends_at } => *ends_at,
        State::Provided(provided) if provided.standing.is_live() => {
            return Err(Refusal::TrialNotExtendable { reason: "a paid subscription runs" });
        }
        State::Provided(_) => {
            return Err(Refusal::TrialNotExtendable {
                reason: "a paid subscription came after it. A new checkout goes on from there",
            });
        }
    };
    let (field, wanted) = match by {
        Extension::Days(days) if (1..=EXTENSION_DAYS_MAX).contains(&days) => {
            ("days", current.max(now).floor_to_second().plus_days(days))
        }
        Extension::Days(_) => return refuse("days", "give 1 to 365 days"),
        Extension::Until(until) => ("until", until.floor_to_second()),
    };
    if wanted <= now || wanted <= current {
        return refuse(field, "the trial has to end later than it does, and in the future");
    }
    if wanted > now.plus_days(EXTENSION_DAYS_MAX) {
        return refuse(field, "a trial ends at most 365 days ahead");
    }
    Ok(wanted)
}

const fn refuse(field: &'static str, reason: &'static str) -> Result<Timestamp, Refusal> {
    Err(Refusal::InvalidField { field, reason })
}
