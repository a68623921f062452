//! Looking whether the account at Stripe fits this installation. Only reads; everything that is found becomes a line.

use counterfoil_core::{Plan, Price, Timestamp};
use serde_json::Value;

use super::client::Client;
use super::events::ASKED_FOR;
use super::facts::resource;
use super::form::Form;
use super::setup::{endpoints_at, has_our_version, price, price_differences};
use super::{API_VERSION, Stripe, json, list};
use crate::checks::Check;
use crate::providers::{Expected, ProviderError};

/// Stripe refuses nothing before a clock is five minutes off, and then every webhook.
const SKEW_SECONDS_WARNED: i64 = 30;
const SKEW_SECONDS_MAX: i64 = 240;

/// After so long without an event somebody should have a look.
const QUIET_DAYS_MAX: i64 = 7;
const DAY_SECONDS: i64 = 86_400;

/// The advice for everything that `stripe setup` does.
const RUN_SETUP: &str = "Run `counterfoil stripe setup`.";

impl Stripe {
    /// All that can be looked at. Without an answer to the first question there is nothing more to ask.
    pub(super) async fn look_at_account(&self, expected: &Expected<'_>) -> Vec<Check> {
        let mut checks = Vec::new();
        let mode = if self.livemode { "live" } else { "test" };
        match self.client.get("/v1/account", &Form::new()).await {
            Ok(found) => {
                checks.push(Check::ok("key", format!("the key works, in {mode} mode")));
                checks.push(account(expected.account, json::text(&found.body, &["id"]).unwrap_or_default()));
                checks.extend(clock(expected.now, found.date));
            }
            Err(ProviderError::Unauthorized { message, .. }) if !is_restricted(&message) => {
                let advice =
                    "Copy the secret key from Stripe's dashboard under Developers, API keys, into STRIPE_SECRET_KEY.";
                return vec![Check::problem("key_refused", format!("Stripe refuses the key: {message}"), advice)];
            }
            Err(ProviderError::Unauthorized { .. }) => {
                checks.push(Check::warning(
                    "account_unreadable",
                    format!("the key, in {mode} mode, may not read its account, so whose key it is cannot be compared"),
                    "Give the restricted key the permission \"Account: Read\" if you want that compared at each start.",
                ));
            }
            Err(error) => {
                let advice = "Look whether api.stripe.com (or STRIPE_API_BASE) can be reached from this machine.";
                return vec![Check::problem("stripe_unreachable", format!("Stripe does not answer: {error}"), advice)];
            }
        }
        if self.webhook_secrets.is_empty() {
            let advice = "Set STRIPE_WEBHOOK_SECRET to what `counterfoil stripe setup` printed for the endpoint.";
            checks.push(Check::problem("webhook_secret_missing", "STRIPE_WEBHOOK_SECRET is not set", advice));
        }
        for plan in expected.catalog.plans() {
            for each in &plan.prices {
                checks.push(self.look_at_price(plan, each).await);
            }
        }
        checks.extend(self.look_at_endpoint(expected).await);
        checks.push(self.look_at_portal().await);
        checks.push(one_subscription_hint());
        checks
    }

    async fn look_at_price(&self, plan: &Plan, wanted: &Price) -> Check {
        let id = &wanted.stripe_price;
        let what = format!("the price {} {} {} ({id})", plan.code, wanted.interval.as_str(), wanted.currency);
        match price(&self.client, id, &Form::new().field("expand[]", "product")).await {
            Ok(Some(found)) => judge_price(&what, wanted, &found),
            Ok(None) => Check::problem(
                "price_missing",
                format!("{what} does not exist"),
                format!("{RUN_SETUP} Then put the ids that it prints into the catalogue."),
            ),
            Err(error) => unreadable(&what, "Prices", &error),
        }
    }

    async fn look_at_endpoint(&self, expected: &Expected<'_>) -> Vec<Check> {
        let Some(url) = expected.webhook_url else {
            return vec![Check::ok(
                "webhook_sandbox",
                "the built-in sandbox sends its events to this service by itself",
            )];
        };
        if self.client.cannot_call_back(url) {
            let advice = format!(
                "Set COUNTERFOIL_PUBLIC_URL to the public address, or forward events while you develop: `stripe listen \
                 --forward-to {url}`."
            );
            let message = format!("Stripe cannot send events to {url}");
            return vec![Check::warning("webhook_unreachable", message, advice), newest_event(expected)];
        }
        let mut checks = match endpoints_at(&self.client, url).await {
            Ok(found) => judge_endpoints(url, &found),
            Err(error) => vec![unreadable("the webhook endpoints", "Webhook Endpoints", &error)],
        };
        checks.push(newest_event(expected));
        checks.extend(account_version(&self.client).await);
        checks
    }

    async fn look_at_portal(&self) -> Check {
        let path = "/v1/billing_portal/configurations";
        let found = match &self.portal_configuration {
            Some(id) => match resource(path, id) {
                Ok(path) => self.client.get(&path, &Form::new()).await.map(|found| Some(found.body)),
                Err(error) => Err(error),
            },
            None => {
                let query = Form::new().field("is_default", "true").field("active", "true");
                list::all(&self.client, path, &query).await.map(|found| found.into_iter().next())
            }
        };
        judge_portal(self.portal_configuration.as_deref(), found)
    }
}

/// The key of an account may be good for nothing, or not for this.
fn is_restricted(message: &str) -> bool {
    message.contains("permission")
}

fn unreadable(what: &str, permission: &str, error: &ProviderError) -> Check {
    let message = format!("{what} cannot be read: {error}");
    match error {
        ProviderError::Unauthorized { .. } => {
            let advice = format!("Give the restricted key the permission \"{permission}: Read\".");
            Check::problem("permission_missing", message, advice)
        }
        _ => {
            Check::problem("unreadable", message, "Try again; if it stays, ask Stripe's support with the request's id.")
        }
    }
}

fn account(bound: Option<&str>, found: &str) -> Check {
    match bound {
        Some(bound) if bound != found => Check::problem(
            "account_other",
            format!("the key is of the account {found}, and the database belongs to {bound}"),
            format!("Use the key of {bound}, or another database."),
        ),
        Some(_) => Check::ok("account", format!("the account is {found}, as the database has it")),
        None => Check::ok("account", format!("the account is {found}; the database has not been used with one yet")),
    }
}

/// Signatures of webhooks carry Stripe's time and are taken for five minutes.
fn clock(now: Option<Timestamp>, stripes: Option<Timestamp>) -> Option<Check> {
    let ahead = now?.as_unix_seconds() - stripes?.as_unix_seconds();
    let advice = "Let the machine set its clock by the network (NTP).";
    let side = if ahead < 0 { "behind" } else { "ahead of" };
    let message = format!("this machine's clock is {} seconds {side} Stripe's", ahead.abs());
    Some(match ahead.abs() {
        SKEW_SECONDS_MAX.. => Check::problem("clock_wrong", format!("{message}, so webhooks are refused"), advice),
        SKEW_SECONDS_WARNED.. => Check::warning("clock_off", message, advice),
        _ => Check::ok("clock", "this machine's clock is right"),
    })
}

fn judge_price(what: &str, wanted: &Price, found: &Value) -> Check {
    let differences = price_differences(wanted, found);
    if !differences.is_empty() {
        let advice = format!("Correct the catalogue, or make a new price: {RUN_SETUP}");
        return Check::problem("price_differs", format!("{what}: {}", differences.join(", ")), advice);
    }
    if !json::flag(found, &["active"]) {
        let advice = format!("Nobody can buy it. {RUN_SETUP}");
        return Check::problem("price_archived", format!("{what} is archived"), advice);
    }
    let archived = json::at(found, &["product", "active"]).is_some_and(|active| active == false);
    if archived || json::flag(found, &["product", "deleted"]) {
        let advice = format!("Nobody can buy it. Make the product active in Stripe's dashboard. {RUN_SETUP}");
        return Check::problem("product_archived", format!("the product of {what} is archived"), advice);
    }
    Check::ok("price", format!("{what} is there"))
}

fn judge_endpoints(url: &str, found: &[Value]) -> Vec<Check> {
    let enabled = |value: &&Value| json::text(value, &["status"]) != Some("disabled");
    let best = found.iter().filter(enabled).min_by_key(|value| !has_our_version(value));
    let Some(endpoint) = best else {
        return vec![match found.first() {
            Some(_) => Check::problem("webhook_disabled", format!("the webhook endpoint {url} is disabled"), RUN_SETUP),
            None => Check::problem("webhook_missing", format!("there is no webhook endpoint for {url}"), RUN_SETUP),
        }];
    };
    let mut checks = Vec::new();
    let sent: Vec<&str> = json::list(endpoint, &["enabled_events"]).iter().filter_map(Value::as_str).collect();
    let missing: Vec<&str> =
        ASKED_FOR.into_iter().filter(|wanted| !sent.contains(wanted) && !sent.contains(&"*")).collect();
    if !missing.is_empty() {
        let message = format!("the webhook endpoint is not sent {}", missing.join(", "));
        checks.push(Check::problem("webhook_events_missing", message, RUN_SETUP));
    }
    if !has_our_version(endpoint) {
        let version = json::text(endpoint, &["api_version"]).unwrap_or("the account's default");
        checks.push(Check::warning(
            "webhook_version",
            format!("the webhook endpoint's API version is {version}; this release is made for {API_VERSION}"),
            "Make a new endpoint: `counterfoil stripe setup --replace-webhook`.",
        ));
    }
    if found.iter().filter(enabled).count() > 1 {
        checks.push(Check::warning(
            "webhook_twice",
            format!("there are several webhook endpoints for {url}, so every event arrives more than once"),
            "Delete those whose secret is not in STRIPE_WEBHOOK_SECRET, in Stripe's dashboard under Developers, Webhooks.",
        ));
    }
    if checks.is_empty() {
        let id = json::text(endpoint, &["id"]).unwrap_or_default();
        checks.push(Check::ok("webhook", format!("the webhook endpoint {id} sends all events to {url}")));
    }
    checks
}

/// The secret cannot be read back, so the only proof is an event that came.
fn newest_event(expected: &Expected<'_>) -> Check {
    let test = "To test the secret, resend an event in Stripe's dashboard under Developers, Webhooks, or run \
        `stripe trigger invoice.paid`, and look again.";
    let Some((at, event_type)) = expected.newest_event else {
        return Check::warning("webhook_untested", "no event with a good signature has ever come", test);
    };
    let message = format!("the newest event with a good signature, {event_type}, came on {}", at.date_time_in_words());
    let quiet =
        expected.now.is_some_and(|now| now.as_unix_seconds() - at.as_unix_seconds() > QUIET_DAYS_MAX * DAY_SECONDS);
    if quiet { Check::warning("webhook_quiet", message, test) } else { Check::ok("webhook_received", message) }
}

/// Only told: our endpoint and our calls name their version.
async fn account_version(client: &Client) -> Option<Check> {
    let events = list::newest(client, "/v1/events", &Form::new(), 1).await.ok()?;
    let version = json::text(events.first()?, &["api_version"])?.to_owned();
    Some(Check::ok(
        "account_version",
        format!("the account's own API version is {version}, which does not matter here"),
    ))
}

fn judge_portal(configured: Option<&str>, found: Result<Option<Value>, ProviderError>) -> Check {
    match (configured, found) {
        (Some(id), Ok(Some(value))) if json::flag(&value, &["active"]) => {
            Check::ok("portal", format!("the billing portal's configuration {id} is there"))
        }
        (Some(id), Ok(_) | Err(ProviderError::Missing { .. })) => Check::problem(
            "portal_missing",
            format!("the billing portal's configuration {id} is not there, or not active"),
            format!("{RUN_SETUP} Then set STRIPE_PORTAL_CONFIGURATION to the id that it prints."),
        ),
        (None, Ok(Some(_))) => Check::ok("portal", "the billing portal has the account's default configuration")
            .with_advice("To offer your plans there, set STRIPE_PORTAL_CONFIGURATION to the id that `counterfoil stripe setup` prints."),
        (None, Ok(None)) => Check::problem(
            "portal_missing",
            "the billing portal has no configuration, so customers cannot change their card",
            format!("{RUN_SETUP} Then set STRIPE_PORTAL_CONFIGURATION to the id that it prints."),
        ),
        (_, Err(error)) => unreadable("the billing portal's configuration", "Customer portal", &error),
    }
}

fn one_subscription_hint() -> Check {
    Check::ok("one_subscription", "whether the account limits customers to one subscription cannot be read")
        .with_advice("As a second belt, switch it on in Stripe's dashboard under Settings, Checkout and Payment Links.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_judged_by_how_far_and_told_by_which_side() {
        let at = |seconds: i64| Timestamp::from_unix_seconds(1_800_000_000 + seconds);
        let told = |ahead: i64| clock(Some(at(ahead)), Some(at(0))).map(|check| (check.code, check.message));
        assert_eq!(told(0).unwrap().0, "clock");
        for (ahead, code) in
            [(SKEW_SECONDS_WARNED - 1, "clock"), (SKEW_SECONDS_WARNED, "clock_off"), (SKEW_SECONDS_MAX, "clock_wrong")]
        {
            assert_eq!(told(ahead).unwrap().0, code);
            assert_eq!(told(-ahead).unwrap().0, code);
        }
        assert!(told(SKEW_SECONDS_MAX).unwrap().1.contains("ahead of Stripe's"));
        assert!(told(-SKEW_SECONDS_MAX).unwrap().1.contains("behind Stripe's"));
        assert_eq!(clock(None, Some(at(0))), None);
    }
}
