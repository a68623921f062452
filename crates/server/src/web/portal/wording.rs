//! What a customer has, in plain words: pure functions from the rules' types to what the pages say.

use counterfoil_core::entitlement::{Ended, Grant};
use counterfoil_core::facts::Money;
use counterfoil_core::subscription::{Provided, Standing, State};
use counterfoil_core::{Subscription, Timestamp};

use crate::store::licenses::License;
use crate::web::views::{MainAction, Notice, Tone, words};

const DAY_MICROS: u64 = 86_400_000_000;

/// From here on the end of a trial is worth a warning.
const TRIAL_WARN_DAYS: u64 = 3;

/// A state as the overview shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateWords {
    /// One or two words.
    pub stamp: String,
    pub sentence: String,
    pub tone: Tone,
    pub notices: Vec<Notice>,
}

impl StateWords {
    fn new(tone: Tone, stamp: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { stamp: stamp.into(), sentence: sentence.into(), tone, notices: Vec::new() }
    }

    fn noting(self, title: &str, text: impl Into<String>) -> Self {
        let notice = Notice { tone: self.tone, title: title.to_owned(), text: text.into() };
        Self { notices: vec![notice], ..self }
    }
}

/// Days until an instant; a day that has begun counts in full, so that nobody reads "0 days" while something still runs.
#[must_use]
pub fn days_left(ends_at: Timestamp, now: Timestamp) -> u64 {
    let micros = ends_at.as_micros().saturating_sub(now.as_micros());
    u64::try_from(micros).unwrap_or(0).div_ceil(DAY_MICROS)
}

/// The days of a running trial as holes; nothing else has any.
#[must_use]
pub fn punches(subscription: &Subscription, trial_days: u32, now: Timestamp) -> Vec<bool> {
    match &subscription.state {
        State::Trial { ends_at } => {
            let left = u32::try_from(days_left(*ends_at, now)).unwrap_or(u32::MAX);
            words::punches(trial_days.saturating_sub(left), trial_days)
        }
        State::Provided(_) => Vec::new(),
    }
}

/// The state of a subscription. `works_until` is the end of the licence in force, where one is.
#[must_use]
pub fn state(subscription: &Subscription, works_until: Option<Timestamp>, now: Timestamp) -> StateWords {
    match &subscription.state {
        State::Trial { ends_at } => trial(*ends_at, now),
        State::Provided(provided) => provided_state(provided, works_until, now),
    }
}

/// Where an operator has revoked the licence, nothing else matters to the customer.
#[must_use]
pub fn revoked() -> StateWords {
    let sentence = "Your licence was revoked. Please contact us; paying again does not bring it back.";
    StateWords::new(Tone::Alarm, "Revoked", sentence)
}

fn trial(ends_at: Timestamp, now: Timestamp) -> StateWords {
    let day = ends_at.date_in_words();
    if now >= ends_at {
        let sentence = format!("Your trial ended on {day}. Choose a plan to go on.");
        return StateWords::new(Tone::Alarm, "Trial ended", sentence);
    }
    let days = days_left(ends_at, now);
    let left = words::days_left(days);
    if days <= TRIAL_WARN_DAYS {
        let sentence = format!("Your trial runs until {day}, {left}. Choose a plan before then, and nothing stops.");
        return StateWords::new(Tone::Warn, left, sentence);
    }
    let sentence = format!("Your trial runs until {day}, {left}.");
    StateWords::new(Tone::Calm, left, sentence)
}

fn provided_state(provided: &Provided, works_until: Option<Timestamp>, now: Timestamp) -> StateWords {
    if let Some(words) = about_money(provided, now) {
        return words;
    }
    match provided.standing {
        Standing::Incomplete => {
            StateWords::new(Tone::Warn, "Not paid yet", "Your first payment has not been confirmed yet.")
        }
        Standing::IncompleteExpired => StateWords::new(
            Tone::Alarm,
            "Not paid",
            "Your first payment was never completed. Choose a plan to start again.",
        ),
        Standing::Trialing { cancel_at } => provided_trial(provided, cancel_at, now),
        Standing::Active { cancel_at: Some(end) } => canceling(end),
        Standing::Active { cancel_at: None } => active(provided.paid_until, now),
        Standing::PastDue { cancel_at } => past_due(provided.paid_until, cancel_at, works_until, now),
        Standing::Unpaid => StateWords::new(
            Tone::Alarm,
            "Unpaid",
            "Your plan has stopped, because its renewal was not paid.",
        )
        .noting(
            "Your plan has stopped",
            "Each try to collect the payment failed. As soon as the open invoice is paid, a new licence is issued by itself.",
        ),
        Standing::Paused => StateWords::new(
            Tone::Warn,
            "Paused",
            "Your plan is paused: nothing is charged, and there is no licence until it goes on.",
        ),
        Standing::Canceled { ended_at } => {
            let sentence = format!("Your plan ended on {}. Choose a plan to go on.", ended_at.date_in_words());
            StateWords::new(Tone::Alarm, "Canceled", sentence)
        }
    }
}

/// A payment that went back, or may: it says more than the standing, which still reads as if all were well.
fn about_money(provided: &Provided, now: Timestamp) -> Option<StateWords> {
    match provided.standing {
        Standing::Trialing { .. } | Standing::Active { .. } | Standing::PastDue { .. } => {}
        Standing::Incomplete
        | Standing::IncompleteExpired
        | Standing::Unpaid
        | Standing::Paused
        | Standing::Canceled { .. } => return None,
    }
    match provided.money {
        Money::Held => Some(StateWords::new(
            Tone::Warn,
            "On hold",
            "Your bank questions your last payment. There is no licence until that is decided.",
        )),
        Money::Refunded | Money::DisputeLost if provided.paid_until.is_none_or(|end| end <= now) => {
            Some(StateWords::new(
                Tone::Alarm,
                "Refunded",
                "Your last payment went back to you, and your licence ended with it. Write to us if you want to go on.",
            ))
        }
        Money::Refunded | Money::DisputeLost | Money::Kept | Money::PartlyRefunded | Money::Disputed => None,
    }
}

fn provided_trial(provided: &Provided, cancel_at: Option<Timestamp>, now: Timestamp) -> StateWords {
    let Some(ends_at) = provided.paid_until.or(provided.period_ends_at).filter(|end| now < *end) else {
        return StateWords::new(Tone::Warn, "Trial", "Your trial is over, and its first payment is being confirmed.");
    };
    let (day, left) = (ends_at.date_in_words(), words::days_left(days_left(ends_at, now)));
    let then = if cancel_at.is_some() { "It ends then, and nothing is charged." } else { "Then your plan is charged." };
    StateWords::new(Tone::Calm, left.clone(), format!("Your trial runs until {day}, {left}. {then}"))
}

fn canceling(end: Timestamp) -> StateWords {
    let sentence =
        format!("Your plan ends on {}. It does not renew, and nothing more is charged.", end.date_in_words());
    StateWords::new(Tone::Calm, "Ending", sentence)
}

fn active(paid_until: Option<Timestamp>, now: Timestamp) -> StateWords {
    match paid_until {
        Some(end) if now < end => {
            let sentence = format!("Paid until {}. It renews by itself.", end.date_in_words());
            StateWords::new(Tone::Good, "Active", sentence)
        }
        Some(end) => {
            let sentence = format!("Paid until {}. The renewal is being confirmed.", end.date_in_words());
            StateWords::new(Tone::Warn, "Active", sentence)
        }
        None => StateWords::new(Tone::Warn, "Active", "Your payment is being confirmed."),
    }
}

fn past_due(
    paid_until: Option<Timestamp>,
    cancel_at: Option<Timestamp>,
    works_until: Option<Timestamp>,
    now: Timestamp,
) -> StateWords {
    let mut sentence = match paid_until {
        Some(end) if now < end => {
            format!("Paid until {}. Your newest invoice has not been paid yet.", end.date_in_words())
        }
        Some(end) => {
            format!("Your plan was paid until {}. The renewal has not been paid yet.", end.date_in_words())
        }
        None => "Your plan has not been paid yet.".to_owned(),
    };
    if let Some(end) = cancel_at {
        sentence.push_str(&format!(" Your plan ends on {}.", end.date_in_words()));
    }
    let text = match works_until {
        Some(end) => format!(
            "Your licence works until {}. The payment is tried again; see that your card is good for it before then, and \
             nothing stops.",
            end.date_in_words()
        ),
        None => {
            "Your licence has ended. As soon as the open invoice is paid, a new one is issued by itself.".to_owned()
        }
    };
    StateWords::new(Tone::Alarm, "Past due", sentence).noting("Your last payment did not go through", text)
}

/// What the overview says while the money of a checkout is on its way.
#[must_use]
pub fn payment_pending() -> Notice {
    Notice {
        tone: Tone::Calm,
        title: "Your payment is being confirmed".to_owned(),
        text: "Some ways to pay take a few days. You need to do nothing, and please do not pay a second time: your new licence \
               arrives by mail as soon as the payment is confirmed."
            .to_owned(),
    }
}

/// The one thing to do next. Where a subscription is live, a second one would be charged as well, so there is nothing to buy.
#[must_use]
pub fn main_action(subscription: &Subscription) -> MainAction {
    match &subscription.state {
        // An overdue invoice is paid by a transfer, on no page of ours.
        State::Provided(provided)
            if !subscription.is_manual()
                && matches!(provided.standing, Standing::PastDue { .. } | Standing::Unpaid) =>
        {
            MainAction::FixPayment
        }
        State::Provided(provided) if provided.standing.is_live() => MainAction::OpenLicense,
        State::Provided(_) | State::Trial { .. } => MainAction::Upgrade,
    }
}

/// The stamp on a licence: what a check of it would say now.
#[must_use]
pub fn license_stamp(license: &License, right: &Result<Grant, Ended>, now: Timestamp) -> (&'static str, Tone) {
    if now >= license.expires_at {
        return ("Expired", Tone::Alarm);
    }
    match right {
        Err(Ended::TrialOver) => ("Trial ended", Tone::Alarm),
        Err(Ended::NotPaid) => ("Not paid", Tone::Alarm),
        Err(Ended::Canceled) => ("Canceled", Tone::Alarm),
        Err(Ended::Paused) => ("Paused", Tone::Warn),
        Err(Ended::Refunded) => ("Refunded", Tone::Alarm),
        Err(Ended::DisputeLost) => ("Not paid", Tone::Alarm),
        Err(Ended::Disputed) => ("On hold", Tone::Warn),
        Err(Ended::PlanGone) => ("Not valid", Tone::Alarm),
        Err(Ended::EmailNotVerified) => ("Not confirmed", Tone::Warn),
        Err(Ended::Revoked) => ("Revoked", Tone::Alarm),
        Ok(_) if now >= license.paid_until => ("In grace", Tone::Warn),
        Ok(_) if license.trial => ("Trial", Tone::Calm),
        Ok(_) => ("Valid", Tone::Good),
    }
}

/// Why a version was issued. The words are stored, so one of a newer release may be among them.
#[must_use]
pub fn reason(word: &str, plan_name: &str) -> String {
    match word {
        "trial_started" => "Trial started".to_owned(),
        "trial_extended" => "Trial extended".to_owned(),
        "subscribed" => format!("Subscribed to {plan_name}"),
        "plan_chosen" => format!("Chose {plan_name}, in the trial"),
        "plan_changed" => format!("Changed to {plan_name}"),
        "renewed" => "Renewed".to_owned(),
        "payment_overdue" => "Payment overdue".to_owned(),
        "status_changed" => "State of the subscription changed".to_owned(),
        "reissued" => "Issued again".to_owned(),
        other => words::humanize(other),
    }
}

#[cfg(test)]
mod tests;
