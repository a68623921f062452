//! The configuration of the billing portal: a customer sees invoices, changes cards, and ends or changes the plan there by the
//! same rules as in our own pages.
//!
//! It is a configuration of our own beside the account's default one, which other programs may use. Stripe does not tell which
//! prices a configuration offers, so it carries a fingerprint of all that was sent.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::plan::text;
use super::{APP, Draft, Found, Part, Step, Subject, Verdict, Wanted};
use crate::providers::stripe::json;

/// Stripe's own limit for plans to switch to.
const PRODUCTS_MAX: usize = 10;

/// Where the fingerprint is kept.
const FINGERPRINT: &str = "counterfoil_fingerprint";

/// The e-mail address is not among what customers may change there: ours is the one that counts.
const FEATURES: [(&str, &str); 13] = [
    ("features[customer_update][enabled]", "true"),
    ("features[customer_update][allowed_updates][0]", "address"),
    ("features[customer_update][allowed_updates][1]", "tax_id"),
    ("features[invoice_history][enabled]", "true"),
    ("features[payment_method_update][enabled]", "true"),
    ("features[subscription_cancel][enabled]", "true"),
    ("features[subscription_cancel][mode]", "at_period_end"),
    ("features[subscription_cancel][proration_behavior]", "none"),
    ("features[subscription_update][default_allowed_updates][0]", "price"),
    // As our own changes: more at once and charged at once, less when the period ends, and a trial goes on.
    ("features[subscription_update][proration_behavior]", "always_invoice"),
    ("features[subscription_update][schedule_at_period_end][conditions][0][type]", "decreasing_item_amount"),
    ("features[subscription_update][schedule_at_period_end][conditions][1][type]", "shortening_interval"),
    ("features[subscription_update][trial_update_behavior]", "continue_trial"),
];

/// What is to be done about it, where these ids are known.
pub(super) fn step(wanted: &Wanted<'_>, found: &Found, known: &BTreeMap<Subject, String>) -> Step {
    let draft = draft(wanted);
    let subject = Subject::Portal;
    let Some(value) = found.portals.first() else {
        return Step { subject, id: None, verdict: Verdict::Create(draft), why: String::new() };
    };
    let id = json::text(value, &["id"]).map(str::to_owned);
    let why = match resolve(&subject, &draft, known) {
        None => "it offers what is made now",
        Some(fields) if holds(&fields, value) => {
            return Step { subject, id, verdict: Verdict::Keep, why: String::new() };
        }
        Some(_) => "what it offers differs",
    };
    Step { subject, id, verdict: Verdict::Update(draft), why: why.to_owned() }
}

fn draft(wanted: &Wanted<'_>) -> Draft {
    let mut draft: Draft = FEATURES.iter().map(|(name, value)| text(name, *value)).collect();
    let plans: Vec<_> = wanted.plans.iter().filter(|plan| !plan.prices.is_empty()).collect();
    let offers = !plans.is_empty() && plans.len() <= PRODUCTS_MAX;
    draft.push(text("features[subscription_update][enabled]", offers.to_string()));
    for (number, plan) in plans.iter().enumerate().filter(|_| offers) {
        let product = format!("features[subscription_update][products][{number}]");
        let id = Part::IdOf(Subject::Product { plan: plan.code.clone() });
        draft.push((format!("{product}[product]"), id));
        let prices = plan.prices.iter().enumerate();
        draft.extend(
            prices.map(|(at, price)| (format!("{product}[prices][{at}]"), Part::IdOf(Subject::of_price(plan, price)))),
        );
    }
    draft.push(text("metadata[app]", APP));
    draft.push(text("metadata[instance]", wanted.instance.as_str()));
    draft
}

/// The fields as they are sent; `None` where something that they name is not there yet.
pub(super) fn resolve(
    subject: &Subject,
    draft: &Draft,
    known: &BTreeMap<Subject, String>,
) -> Option<Vec<(String, String)>> {
    let mut fields = Vec::with_capacity(draft.len() + 1);
    for (name, part) in draft {
        let value = match part {
            Part::Text(value) => value.clone(),
            Part::IdOf(other) => known.get(other)?.clone(),
        };
        fields.push((name.clone(), value));
    }
    if *subject == Subject::Portal {
        let print = fingerprint(&fields);
        fields.push((format!("metadata[{FINGERPRINT}]"), print));
    }
    Some(fields)
}

fn fingerprint(fields: &[(String, String)]) -> String {
    let mut hash = Sha256::new();
    for (name, value) in fields {
        hash.update(format!("{name}={value}\n"));
    }
    hex::encode(&hash.finalize()[..16])
}

/// Whether the configuration is what these fields made. What is told in lists may come in another order, and is in the
/// fingerprint.
pub(super) fn holds(fields: &[(String, String)], value: &Value) -> bool {
    let print = format!("metadata[{FINGERPRINT}]");
    fields.iter().all(|(name, wanted)| {
        let path: Vec<&str> = name.split(['[', ']']).filter(|part| !part.is_empty()).collect();
        let in_list = path.iter().any(|part| part.parse::<usize>().is_ok());
        let compared = *name == print || (path.first() == Some(&"features") && !in_list);
        !compared || json::at(value, &path).is_some_and(|found| as_sent(found) == *wanted)
    })
}

fn as_sent(found: &Value) -> String {
    found.as_str().map_or_else(|| found.to_string(), str::to_owned)
}
