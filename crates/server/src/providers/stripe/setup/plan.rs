//! What is to be done so that there is what is wanted: a pure function of both.

use std::collections::BTreeMap;

use counterfoil_core::{Plan, Price};
use serde_json::Value;

use super::{APP, Draft, Found, Part, Step, Subject, Verdict, Wanted, lookup_key, portal};
use crate::providers::stripe::events::ASKED_FOR;
use crate::providers::stripe::{API_VERSION, json};

pub(super) fn plan(wanted: &Wanted<'_>, found: &Found) -> Vec<Step> {
    let mut steps = Vec::new();
    for plan in wanted.plans.iter().filter(|plan| !plan.prices.is_empty()) {
        steps.push(product(plan, found));
        steps.extend(plan.prices.iter().map(|price| price_step(plan, price, found)));
    }
    let known: BTreeMap<Subject, String> =
        steps.iter().filter_map(|step| Some((step.subject.clone(), step.id.clone()?))).collect();
    steps.push(portal::step(wanted, found, &known));
    if let Some(url) = &wanted.webhook_url {
        steps.extend(endpoint(wanted, url, found));
    }
    steps
}

pub(super) fn text(name: &str, value: impl Into<String>) -> (String, Part) {
    (name.to_owned(), Part::Text(value.into()))
}

fn product(plan: &Plan, found: &Found) -> Step {
    let subject = Subject::Product { plan: plan.code.clone() };
    let marked = found.products.iter().filter(|value| is_of(plan, value));
    let best = marked.min_by_key(|value| !json::flag(value, &["active"]));
    if let Some(value) = best {
        let id = json::text(value, &["id"]).map(str::to_owned);
        let (draft, why) = product_differences(plan, value);
        let verdict = if draft.is_empty() { Verdict::Keep } else { Verdict::Update(draft) };
        return Step { subject, id, verdict, why };
    }
    if let Some(id) = product_of_prices(plan, found) {
        let why = "its prices belong to it; made by hand, so it stays as it is".to_owned();
        return Step { subject, id: Some(id), verdict: Verdict::Keep, why };
    }
    let mut draft = vec![text("name", plan.name.trim())];
    if !plan.description.is_empty() {
        draft.push(text("description", &plan.description));
    }
    draft.push(text("metadata[app]", APP));
    draft.push(text("metadata[counterfoil_plan]", plan.code.as_str()));
    Step { subject, id: None, verdict: Verdict::Create(draft), why: String::new() }
}

fn is_of(plan: &Plan, product: &Value) -> bool {
    json::text(product, &["metadata", "counterfoil_plan"]) == Some(plan.code.as_str())
}

/// What of a product is not as the catalogue has it.
pub(super) fn product_differences(plan: &Plan, value: &Value) -> (Draft, String) {
    let (mut draft, mut why) = (Draft::new(), Vec::new());
    if json::long_text(value, &["name"]) != Some(plan.name.trim()) {
        draft.push(text("name", plan.name.trim()));
        why.push("its name differs");
    }
    if json::long_text(value, &["description"]).unwrap_or_default() != plan.description {
        draft.push(text("description", &plan.description));
        why.push("its description differs");
    }
    if !json::flag(value, &["active"]) {
        draft.push(text("active", "true"));
        why.push("it is archived");
    }
    (draft, why.join(", "))
}

fn product_of_prices(plan: &Plan, found: &Found) -> Option<String> {
    let of = |price: &Price| {
        let by_key = || found.by_lookup_key.get(&lookup_key(&plan.code, price));
        let value = found.prices.get(&price.stripe_price).or_else(by_key)?;
        json::reference(value, &["product"]).map(str::to_owned)
    };
    plan.prices.iter().find_map(of)
}

fn price_step(plan: &Plan, price: &Price, found: &Found) -> Step {
    let subject = Subject::of_price(plan, price);
    let key = lookup_key(&plan.code, price);
    let by_key = found.by_lookup_key.get(&key);
    let candidates: Vec<&Value> = found.prices.get(&price.stripe_price).into_iter().chain(by_key).collect();
    let id_of = |value: &Value| json::text(value, &["id"]).map(str::to_owned);
    let fitting = || candidates.iter().filter(|value| price_differences(price, value).is_empty());
    if let Some(value) = fitting().find(|value| json::flag(value, &["active"])) {
        let id = id_of(value);
        let why = if id.as_deref() == Some(&price.stripe_price) { "" } else { "the configuration has another id" };
        return Step { subject, id, verdict: Verdict::Keep, why: why.to_owned() };
    }
    if let Some(value) = fitting().next() {
        let draft = vec![text("active", "true")];
        return Step { subject, id: id_of(value), verdict: Verdict::Update(draft), why: "it is archived".to_owned() };
    }
    let mut draft = vec![
        ("product".to_owned(), Part::IdOf(Subject::Product { plan: plan.code.clone() })),
        text("currency", &price.currency),
        text("unit_amount", price.amount.to_string()),
        text("recurring[interval]", price.interval.as_str()),
        text("lookup_key", key),
    ];
    if by_key.is_some() {
        draft.push(text("transfer_lookup_key", "true"));
    }
    draft.push(text("metadata[app]", APP));
    draft.push(text("metadata[counterfoil_plan]", plan.code.as_str()));
    let why = candidates.first().map_or_else(String::new, |value| {
        let (id, differences) = (id_of(value).unwrap_or_default(), price_differences(price, value).join(", "));
        format!("of {id} {differences}; {id} stays as it is, for those who pay it")
    });
    Step { subject, id: None, verdict: Verdict::Create(draft), why }
}

/// What of a price is not as the catalogue has it. A price cannot be changed, so each of these asks for another one.
pub(in crate::providers::stripe) fn price_differences(price: &Price, value: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |what: &str, found: Option<String>, wanted: String| {
        if found.as_ref() != Some(&wanted) {
            let found = found.unwrap_or_else(|| "nothing".to_owned());
            differences.push(format!("the {what} is {found} instead of {wanted}"));
        }
    };
    let told = |path: &[&str]| json::text(value, path).map(str::to_owned);
    compare("currency", told(&["currency"]), price.currency.clone());
    let amount = json::integer(value, &["unit_amount"]).map(|amount| amount.to_string());
    compare("amount", amount, price.amount.to_string());
    let count = json::integer(value, &["recurring", "interval_count"]).filter(|count| *count != 1);
    let interval = told(&["recurring", "interval"]);
    let interval = interval.map(|word| count.map_or_else(|| word.clone(), |count| format!("{count} {word}s")));
    compare("interval", interval, price.interval.as_str().to_owned());
    if told(&["recurring", "usage_type"]).is_some_and(|usage| usage != "licensed") {
        differences.push("it is charged by usage".to_owned());
    }
    differences
}

fn endpoint(wanted: &Wanted<'_>, url: &str, found: &Found) -> Vec<Step> {
    if found.unreachable {
        let why = format!(
            "Stripe cannot send to {url}: set COUNTERFOIL_PUBLIC_URL to the public address, or forward events while you develop, \
             with `stripe listen --forward-to {url}`"
        );
        return vec![Step { subject: Subject::Endpoint, id: None, verdict: Verdict::Report, why }];
    }
    let is_ours = |value: &Value| json::text(value, &["metadata", "app"]) == Some(APP);
    let best = found.endpoints.iter().min_by_key(|value| (!has_our_version(value), !is_ours(value)));
    let make = |why: &str| Step {
        subject: Subject::Endpoint,
        id: None,
        verdict: Verdict::Create(new_endpoint(wanted, url)),
        why: why.to_owned(),
    };
    let (kept, mut steps) = match best {
        None => (None, vec![make("")]),
        Some(_) if wanted.replace_webhook => (None, vec![make("--replace-webhook asks for a new one")]),
        Some(value) => (Some(value), existing_endpoint(wanted, value)),
    };
    let others = found.endpoints.iter().filter(|value| kept.is_none_or(|kept| !std::ptr::eq(*value, kept)));
    steps.extend(others.map(|value| {
        Step {
            subject: Subject::Endpoint,
            id: json::text(value, &["id"]).map(str::to_owned),
            verdict: Verdict::Report,
            why: "sends to the same address, so every event arrives twice; once the secret of the other one is in \
              STRIPE_WEBHOOK_SECRET and the service runs with it, delete this one in Stripe's dashboard"
                .to_owned(),
        }
    }));
    steps
}

fn existing_endpoint(wanted: &Wanted<'_>, value: &Value) -> Vec<Step> {
    let id = json::text(value, &["id"]).map(str::to_owned);
    let (draft, why) = endpoint_differences(wanted, value);
    let verdict = if draft.is_empty() { Verdict::Keep } else { Verdict::Update(draft) };
    let mut steps = vec![Step { subject: Subject::Endpoint, id: id.clone(), verdict, why }];
    if !has_our_version(value) {
        let version = json::text(value, &["api_version"]).unwrap_or("the account's default");
        let why = format!(
            "its API version is {version} instead of {API_VERSION}, which cannot be changed: run again with --replace-webhook \
             to make a new endpoint"
        );
        steps.push(Step { subject: Subject::Endpoint, id, verdict: Verdict::Report, why });
    }
    steps
}

pub(in crate::providers::stripe) fn has_our_version(endpoint: &Value) -> bool {
    json::text(endpoint, &["api_version"]) == Some(API_VERSION)
}

fn new_endpoint(wanted: &Wanted<'_>, url: &str) -> Draft {
    let mut draft = vec![text("url", url), text("api_version", API_VERSION), text("description", "Counterfoil")];
    draft.extend(events());
    draft.extend(endpoint_metadata(wanted));
    draft
}

fn events() -> impl Iterator<Item = (String, Part)> {
    ASKED_FOR.iter().map(|event_type| text("enabled_events[]", *event_type))
}

fn endpoint_metadata(wanted: &Wanted<'_>) -> [(String, Part); 2] {
    [text("metadata[app]", APP), text("metadata[instance]", wanted.instance.as_str())]
}

/// What of an endpoint is not as it should be and can be changed.
pub(super) fn endpoint_differences(wanted: &Wanted<'_>, value: &Value) -> (Draft, String) {
    let (mut draft, mut why) = (Draft::new(), Vec::new());
    let mut sent: Vec<&str> = json::list(value, &["enabled_events"]).iter().filter_map(Value::as_str).collect();
    sent.sort_unstable();
    if sent != ASKED_FOR {
        draft.extend(events());
        why.push("its events differ");
    }
    if json::text(value, &["status"]) == Some("disabled") {
        draft.push(text("disabled", "false"));
        why.push("it is disabled");
    }
    let told = |key: &str| json::text(value, &["metadata", key]);
    if told("app") != Some(APP) || told("instance") != Some(wanted.instance.as_str()) {
        draft.extend(endpoint_metadata(wanted));
        why.push("it does not carry our mark");
    }
    (draft, why.join(", "))
}
