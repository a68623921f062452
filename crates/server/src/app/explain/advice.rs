//! What somebody should do something about, and what comes next by itself.

use counterfoil_core::Timestamp;
use counterfoil_core::entitlement::Ended;
use counterfoil_core::subscription::{self, Standing};

use super::words::{about_mail, is_by_invoice, provided, thing, trial_end};
use super::{Attention, Coming};
use crate::app::customer_files::CaseFile;

/// What somebody should do something about.
pub(super) fn attention(case: &CaseFile) -> Vec<Attention> {
    let to_do =
        |code: &str, what: String, advice: &str| Attention { code: code.to_owned(), what, advice: advice.to_owned() };
    let mut found: Vec<Attention> = Vec::new();
    if let Some(flag) = case.file.subscription.as_ref().and_then(|subscription| subscription.attention) {
        let (what, advice) = if is_by_invoice(case) { flagged_by_invoice(flag) } else { flagged(flag) };
        found.push(to_do(flag.word(), what.to_owned(), advice));
    }
    let is_live = case.file.subscription.as_ref().is_some_and(counterfoil_core::Subscription::is_live_at_provider);
    if case.hold.is_some() && is_live {
        let (what, advice) = match is_by_invoice(case) {
            true => (
                "The license is revoked, and the agreement by invoice runs on.",
                "End it with `counterfoil manual cancel --now`, and give back what is due; or issue a license again with `counterfoil license issue`.",
            ),
            false => (
                "The license is revoked, and the subscription goes on to be charged.",
                "Cancel the subscription at the provider, and refund what is due; or issue a license again with `counterfoil license issue`.",
            ),
        };
        found.push(to_do("pays_under_hold", what.to_owned(), advice));
    }
    for event in case.events.iter().filter(|event| event.state == "dead") {
        let error = event.last_error.as_deref().unwrap_or("no reason is known");
        let what = format!("The event {} ({}) was given up: {error}", event.event_type, event.event_id);
        found.push(to_do(
            "event_dead",
            what,
            "Repair the cause; then a look with `counterfoil customer sync` writes what is true now.",
        ));
    }
    for event in case.events.iter().filter(|event| event.state == "pending" && !event.is_matched) {
        let what = format!(
            "The event {} ({}) names this customer and is matched to nobody.",
            event.event_type, event.event_id
        );
        let advice = "Compare the customer at the provider with the one here; `counterfoil customer sync` looks at the one that is linked.";
        found.push(to_do("event_unmatched", what, advice));
    }
    for mail in case.mails.iter().filter(|mail| mail.state == "dead") {
        found.push(to_do(
            "mail_dead",
            about_mail(mail),
            "Check the address with the customer; then `counterfoil license resend`.",
        ));
    }
    if case.right.is_ok() && case.file.licenses.first().is_none_or(|license| case.file.now >= license.expires_at) {
        let what = "There is a right to a license, and none that works.".to_owned();
        found.push(to_do("license_missing", what, "Look at the provider with `counterfoil customer sync`."));
    }
    found
}

const fn flagged(flag: subscription::Attention) -> (&'static str, &'static str) {
    use subscription::Attention as Flag;
    match flag {
        Flag::PriceUnmapped => (
            "The price of the subscription is in no plan; the plan was kept.",
            "Put the price into a plan of the configuration, or move the subscription to one that is.",
        ),
        Flag::SeveralLive => (
            "Two subscriptions are live at the provider, and both are charged.",
            "End the later one where it is kept, at Stripe or with `counterfoil manual cancel --now`, and give its money back.",
        ),
        Flag::Disputed => {
            ("The payment is disputed.", "Send the provider the evidence before its deadline, or accept the dispute.")
        }
        Flag::MoneyBack => (
            "The payment of the period went back, and the subscription goes on to be charged.",
            "Cancel the subscription at the provider, if that was meant as well.",
        ),
        Flag::StatusUnknown => (
            "The provider used a word for the state that is not known here; what was known is kept.",
            "Update counterfoil, or look up the word at the provider.",
        ),
        Flag::Vanished => (
            "The subscription is not among those of the customer at the provider any more; what was known is kept.",
            "Look the subscription up at the provider; it may have moved to another customer or account.",
        ),
    }
}

/// The same where the agreement by invoice governs.
const fn flagged_by_invoice(flag: subscription::Attention) -> (&'static str, &'static str) {
    use subscription::Attention as Flag;
    match flag {
        Flag::SeveralLive => (
            "An agreement by invoice and another subscription are live, and both are paid.",
            "End the one that is not meant, at Stripe or with `counterfoil manual cancel --now`, and give its money back.",
        ),
        Flag::MoneyBack => (
            "The payment of the period went back, and the agreement by invoice runs on.",
            "End it with `counterfoil manual cancel --now`, or record the next payment with `counterfoil manual pay`.",
        ),
        Flag::PriceUnmapped | Flag::Disputed | Flag::StatusUnknown | Flag::Vanished => flagged(flag),
    }
}

/// What will happen, in order.
pub(super) fn next(case: &CaseFile) -> Vec<Coming> {
    let now = case.file.now;
    let mut coming = Vec::new();
    let mut add = |at: Option<Timestamp>, what: &str| {
        coming.extend(at.filter(|at| now < *at).map(|at| Coming { at, what: what.to_owned() }));
    };
    match provided(case) {
        None if case.right == Err(Ended::EmailNotVerified) => add(trial_end(case), "the trial ends"),
        None => add(trial_end(case), "the trial ends, and the license with it"),
        Some(provided) => match provided.standing {
            Standing::Trialing { cancel_at: None } => {
                add(provided.period_ends_at, "the trial ends, and the plan is charged")
            }
            Standing::Active { cancel_at: None } if is_by_invoice(case) => {
                add(provided.period_ends_at, "the period ends; the next payment by invoice is to be recorded by then");
            }
            Standing::Active { cancel_at: None } => add(provided.period_ends_at, "the plan is charged again"),
            Standing::Trialing { cancel_at } | Standing::Active { cancel_at } | Standing::PastDue { cancel_at } => {
                add(cancel_at, &format!("the {} ends", thing(case)));
            }
            Standing::Incomplete
            | Standing::IncompleteExpired
            | Standing::Unpaid
            | Standing::Paused
            | Standing::Canceled { .. } => {}
        },
    }
    if let Some(planned) = &case.planned {
        add(Some(planned.starts_at), &format!("the plan becomes {}", planned.plan));
    }
    if let (Ok(grant), Some(_)) = (&case.right, provided(case)) {
        add(Some(grant.grace_until), "the license stops, if nothing more is paid until then");
    }
    coming.sort_by_key(|each| each.at);
    coming
}
