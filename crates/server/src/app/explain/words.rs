//! The sentences. Each function is one subject; none leaves out a case.

use counterfoil_core::Timestamp;
use counterfoil_core::entitlement::{Ended, Grant};
use counterfoil_core::facts::Money;
use counterfoil_core::subscription::{Provided, Standing, State};

use crate::app::customer_files::CaseFile;
use crate::app::settings::EmailVerification;
use crate::store::audit::Entry;
use crate::store::events::EventLine;
use crate::store::licenses::License;
use crate::store::outbox::MailLine;

fn day(at: Timestamp) -> String {
    at.date_time_in_words()
}

fn date(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "unknown".to_owned(), day)
}

/// Why there is a right, or none.
pub(super) fn because(case: &CaseFile) -> String {
    match &case.right {
        Ok(grant) => granted(case, grant),
        Err(ended) => format!("No license: {}", refused(case, *ended)),
    }
}

fn granted(case: &CaseFile, grant: &Grant) -> String {
    let (plan, paid, works) = (&grant.plan, day(grant.paid_until), day(grant.grace_until));
    let is_over = case.file.now >= grant.paid_until;
    match (grant.status, grant.trial) {
        (_, true) => format!("A license for {plan}: the trial runs until {paid}."),
        ("past_due", _) if is_over => {
            format!(
                "A license for {plan}, in grace: a payment is overdue, it was paid until {paid} and works until {works}."
            )
        }
        ("past_due", _) => {
            format!(
                "A license for {plan}: it is paid until {paid}, though the newest invoice is not; it works until {works}."
            )
        }
        _ if is_over => {
            format!(
                "A license for {plan}, in grace: it was paid until {paid}, the renewal is not seen yet, and it works until {works}."
            )
        }
        _ => format!("A license for {plan}: it is paid until {paid}, and with grace it works until {works}."),
    }
}

fn refused(case: &CaseFile, ended: Ended) -> String {
    let provided = provided(case);
    let paid_until = date(provided.and_then(|provided| provided.paid_until));
    match ended {
        Ended::TrialOver => match trial_end(case) {
            Some(end) => format!("the trial ended on {}, and nothing was ever paid.", day(end)),
            None => "the trial is over, and nothing was ever paid.".to_owned(),
        },
        Ended::NotPaid => match provided.map(|provided| provided.standing) {
            Some(Standing::Unpaid) => {
                format!("every try to collect the payment failed. It was paid until {paid_until}.")
            }
            Some(Standing::Incomplete | Standing::IncompleteExpired) => "the first payment never came.".to_owned(),
            _ => format!("it was paid until {paid_until}, and the grace after that is over."),
        },
        Ended::Canceled => match provided.map(|provided| provided.standing) {
            Some(Standing::Canceled { ended_at }) => format!("the {} ended on {}.", thing(case), day(ended_at)),
            _ => format!("the {} has ended.", thing(case)),
        },
        Ended::Paused => "the subscription is paused at the provider.".to_owned(),
        Ended::Refunded => "the payment for the period was given back.".to_owned(),
        Ended::DisputeLost => "the customer's bank took the payment for the period back, for good.".to_owned(),
        Ended::Disputed => {
            "the customer disputes the payment, and the configuration gives nothing until that is decided.".to_owned()
        }
        Ended::PlanGone => "the plan is not in the configuration.".to_owned(),
        Ended::EmailNotVerified => {
            "the address is not verified, and the license of the trial is given once it is.".to_owned()
        }
        Ended::Revoked => match &case.hold {
            Some(hold) => {
                format!("{} revoked it on {}, because: {}.", hold.actor, day(hold.held_at), ended_by_dot(&hold.reason))
            }
            None => "an operator revoked it.".to_owned(),
        },
    }
}

/// Whether what governs is kept by invoice, and not at Stripe.
pub(super) fn is_by_invoice(case: &CaseFile) -> bool {
    case.file.subscription.as_ref().is_some_and(counterfoil_core::Subscription::is_manual)
}

pub(super) fn thing(case: &CaseFile) -> &'static str {
    if is_by_invoice(case) { "agreement by invoice" } else { "subscription" }
}

fn ended_by_dot(text: &str) -> &str {
    text.trim_end_matches('.')
}

pub(super) fn provided(case: &CaseFile) -> Option<&Provided> {
    match &case.file.subscription.as_ref()?.state {
        State::Provided(provided) => Some(provided),
        State::Trial { .. } => None,
    }
}

pub(super) fn trial_end(case: &CaseFile) -> Option<Timestamp> {
    match &case.file.subscription.as_ref()?.state {
        State::Provided(provided) => provided.trial_ended_at,
        State::Trial { ends_at } => Some(*ends_at),
    }
}

/// Who it is.
pub(super) fn who(case: &CaseFile) -> Vec<String> {
    let customer = &case.file.customer;
    let company = customer.company_name.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
    let at_provider = match &customer.external_id {
        Some(id) => format!("At Stripe it is {id}."),
        None => "It is not at Stripe.".to_owned(),
    };
    let mut lines =
        vec![format!("{}: {}{company}, since {}.", customer.customer_id, customer.email, day(customer.created_at))];
    lines.extend(verified(case));
    lines.push(at_provider);
    lines
}

/// Whether the address is known to be the customer's; nothing where nobody asks.
fn verified(case: &CaseFile) -> Option<String> {
    match (case.file.customer.email_verified_at, case.verification) {
        (Some(at), _) => Some(format!("The address was verified on {}.", day(at))),
        (None, EmailVerification::Required) => Some("The address is not verified.".to_owned()),
        (None, EmailVerification::Off) => None,
    }
}

/// What it has at Stripe or by invoice, or our trial.
pub(super) fn subscription(case: &CaseFile) -> Vec<String> {
    let Some(subscription) = &case.file.subscription else { return vec!["There is none.".to_owned()] };
    let plan = &subscription.plan;
    let provided = match &subscription.state {
        State::Trial { ends_at } if case.file.now < *ends_at => {
            return vec![format!("Our own trial (plan {plan}), until {}; nothing at the provider.", day(*ends_at))];
        }
        State::Trial { ends_at } => {
            return vec![format!(
                "Our own trial (plan {plan}), over since {}; nothing at the provider.",
                day(*ends_at)
            )];
        }
        State::Provided(provided) => provided,
    };
    let per = provided.interval.map(|interval| format!(" by the {}", interval.as_str())).unwrap_or_default();
    let where_kept = if is_by_invoice(case) { "By invoice" } else { "At Stripe" };
    let mut lines = vec![
        format!("{where_kept}, {}: {plan}{per}, {}.", provided.id, provided.standing.word()),
        format!("The period ends {}; it is paid until {}.", date(provided.period_ends_at), date(provided.paid_until)),
    ];
    lines.extend(about_money(provided.money).map(str::to_owned));
    if let Some(end) = provided.standing.cancel_at() {
        lines.push(format!("It is to end on {}.", day(end)));
    }
    if let Some(planned) = &case.planned {
        let at = day(planned.starts_at);
        lines.push(format!("It goes over to {} by the {} on {at}.", planned.plan, planned.interval.as_str()));
    }
    lines
}

const fn about_money(money: Money) -> Option<&'static str> {
    match money {
        Money::Kept => None,
        Money::PartlyRefunded => Some("A part of the money was given back, which takes nothing away."),
        Money::Disputed => Some("The customer's bank asks for the money back, and nobody has decided yet."),
        Money::Held => Some("The customer's bank asks for the money back; nothing is given until that is decided."),
        Money::Refunded => Some("The money for the newest paid period was given back."),
        Money::DisputeLost => Some("The bank took the money for the newest paid period back."),
    }
}

/// What brought the change that one sees, and what operators did.
pub(super) fn last_change(case: &CaseFile) -> Vec<String> {
    let newest = case.events.iter().find(|event| event.state == "processed");
    let mut lines = vec![match newest {
        Some(event) => format!(
            "The newest event that was worked off: {} ({}), arrived {}, done {}.",
            event.event_type,
            event.event_id,
            day(event.received_at),
            date(event.processed_at)
        ),
        None => "No event about it was ever worked off.".to_owned(),
    }];
    lines.extend(case.file.history.iter().take(3).map(Entry::in_words));
    lines
}

/// The newest version.
pub(super) fn license(case: &CaseFile) -> Vec<String> {
    let Some(license) = case.file.licenses.first() else { return vec!["None was ever issued.".to_owned()] };
    let mut lines = vec![
        format!(
            "Version {}: {}, issued {}, works until {}.",
            license.version,
            license.plan,
            day(license.issued_at),
            day(license.expires_at)
        ),
        format!("It was issued because of: {}{}.", license.reason, caused(license)),
    ];
    if let Some(at) = license.revoked_at {
        let because = license.revoked_because.as_deref().unwrap_or("no reason is known");
        lines.push(format!("It was revoked on {}, because: {}.", day(at), ended_by_dot(because)));
    }
    lines
}

fn caused(license: &License) -> String {
    match (license.caused_by.as_str(), &license.cause_detail) {
        ("sign_up", _) => ", by signing up".to_owned(),
        ("email_verified", _) => ", by verifying the address".to_owned(),
        ("look", Some(event)) => format!(", found after the event {event}"),
        ("look", None) => ", found in a look without an event".to_owned(),
        (operator, Some(reason)) => format!(", by {operator}, who said: {}", ended_by_dot(reason)),
        (operator, None) => format!(", by {operator}"),
    }
}

/// The mail that carried the newest version.
pub(super) fn mail(case: &CaseFile) -> Vec<String> {
    let customer_id = &case.file.customer.customer_id;
    let Some(license) = case.file.licenses.first() else { return vec!["There is nothing to send.".to_owned()] };
    let key = format!("license:{customer_id}:{}", license.version);
    match case.mails.iter().find(|mail| mail.dedupe_key == key) {
        Some(mail) => vec![about_mail(mail)],
        None => vec![format!("Version {} was not mailed.", license.version)],
    }
}

pub(super) fn about_mail(mail: &MailLine) -> String {
    let subject = &mail.subject;
    match (mail.state.as_str(), mail.sent_at, &mail.last_error) {
        ("sent", at, _) => format!("“{subject}” was sent on {}.", date(at)),
        ("pending", _, None) => format!("“{subject}” is about to be sent."),
        ("pending", _, Some(error)) => format!("“{subject}” is tried again on {}: {error}", day(mail.run_at)),
        (_, _, error) => format!("“{subject}” was given up: {}", error.as_deref().unwrap_or("no reason is known")),
    }
}

/// What is under way.
pub(super) fn waiting(case: &CaseFile) -> Vec<String> {
    let mut lines: Vec<String> = case.events.iter().filter(|event| event.state == "pending").map(about_event).collect();
    lines.extend(case.mails.iter().filter(|mail| mail.state == "pending").map(about_mail));
    lines.extend(case.checkouts.iter().map(|checkout| {
        format!("A checkout of {} is {} since {}.", checkout.plan, checkout.state, day(checkout.created_at))
    }));
    if lines.is_empty() {
        lines.push("Nothing: no event, no mail, no checkout.".to_owned());
    }
    lines
}

fn about_event(event: &EventLine) -> String {
    let told = format!("The event {} ({}), arrived {},", event.event_type, event.event_id, day(event.received_at));
    let error = event.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    match event.is_matched {
        true => format!("{told} is tried again on {} after {} tries{error}", day(event.run_at), event.attempts),
        false => format!("{told} names this customer and could not be matched so far{error}."),
    }
}
