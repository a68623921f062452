use counterfoil_core::{Catalog, Timestamp};
use serde_json::{Value, json};

use super::double::{Double, Reply, ok, stripe_error};
use super::stripe;
use crate::checks::{Check, Level};
use crate::providers::stripe::API_VERSION;
use crate::providers::{Expected, PaymentProvider};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_790_000_000);

fn account() -> Reply {
    ok(&json!({"id": "acct_1", "object": "account"}))
}

fn nothing() -> Reply {
    ok(&json!({"object": "list", "data": [], "has_more": false}))
}

/// What the doctor says where the account answers so; nothing is for sale, and nothing else is there.
async fn told(account: Reply, expected: &Expected<'_>) -> Vec<Check> {
    let double = Double::playing([account, nothing(), nothing(), nothing()]).await;
    stripe(&double).examine(expected).await
}

fn level_of(checks: &[Check], code: &str) -> Option<Level> {
    checks.iter().find(|check| check.code == code).map(|check| check.level)
}

fn catalog() -> Catalog {
    let trial = serde_json::from_value(json!({"code": "trial", "name": "Trial", "trial_days": 14})).unwrap();
    Catalog::new(vec![trial]).unwrap()
}

fn expecting(catalog: &Catalog) -> Expected<'_> {
    Expected {
        catalog,
        webhook_url: Some("https://billing.example.com/x"),
        account: Some("acct_1"),
        newest_event: None,
        now: Some(NOW),
    }
}

#[tokio::test]
async fn the_account_has_to_be_the_one_of_the_database() {
    let catalog = catalog();
    let same = told(account(), &expecting(&catalog)).await;
    assert_eq!(level_of(&same, "account"), Some(Level::Ok));
    let other = Expected { account: Some("acct_2"), ..expecting(&catalog) };
    assert_eq!(level_of(&told(account(), &other).await, "account_other"), Some(Level::Problem));
    let unknown = Expected { account: None, ..expecting(&catalog) };
    assert_eq!(level_of(&told(account(), &unknown).await, "account"), Some(Level::Ok));
    let message = "The provided key does not have the required permissions for this endpoint";
    let refused = stripe_error(403, "invalid_request_error", "", "", message);
    let restricted = told(refused, &expecting(&catalog)).await;
    assert_eq!(level_of(&restricted, "account_unreadable"), Some(Level::Warning));
    assert_eq!(level_of(&restricted, "webhook_missing"), Some(Level::Problem), "the rest is looked at");
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_before_webhooks_are_refused() {
    let catalog = catalog();
    let expected = expecting(&catalog);
    let at = |date: &'static str| told(account().header("date", date), &expected);
    // `NOW` is 14:13:20 on that day.
    let table = [
        ("Mon, 21 Sep 2026 14:13:25 GMT", "clock", Level::Ok),
        ("Mon, 21 Sep 2026 14:14:20 GMT", "clock_off", Level::Warning),
        ("Mon, 21 Sep 2026 14:12:20 GMT", "clock_off", Level::Warning),
        ("Mon, 21 Sep 2026 14:20:00 GMT", "clock_wrong", Level::Problem),
    ];
    for (date, code, level) in table {
        assert_eq!(level_of(&at(date).await, code), Some(level), "{date}");
    }
    assert_eq!(level_of(&at("nonsense").await, "clock"), None);
}

#[tokio::test]
async fn silence_of_the_webhooks_is_told() {
    let catalog = catalog();
    let day = 86_400;
    for (ago, code) in [
        (None, "webhook_untested"),
        (Some(day), "webhook_received"),
        (Some(7 * day), "webhook_received"),
        (Some(7 * day + 1), "webhook_quiet"),
    ] {
        let newest_event = ago.map(|seconds| (NOW.plus_seconds(-seconds), "invoice.paid"));
        let checks = told(account(), &Expected { newest_event, ..expecting(&catalog) }).await;
        assert!(level_of(&checks, code).is_some(), "{code}: {checks:?}");
    }
}

/// What is beside the account: the endpoints, the newest event, and the portal's configurations.
async fn told_of(endpoints: Reply, events: Reply, portals: Reply) -> Vec<Check> {
    let catalog = catalog();
    let double = Double::playing([account(), endpoints, events, portals]).await;
    let checks = stripe(&double).examine(&expecting(&catalog)).await;
    double.played_out(4);
    checks
}

#[tokio::test]
async fn a_restricted_key_is_told_which_permission_it_lacks() {
    let refused = || stripe_error(403, "invalid_request_error", "", "", "The key has not the required permissions.");
    let checks = told_of(refused(), refused(), refused()).await;
    let lacks: Vec<&Check> = checks.iter().filter(|check| check.code == "permission_missing").collect();
    let advice: Vec<&str> = lacks.iter().filter_map(|check| check.advice.as_deref()).collect();
    assert_eq!(advice.len(), 2, "{checks:?}");
    assert!(advice[0].contains("\"Webhook Endpoints: Read\"") && advice[1].contains("\"Customer portal: Read\""));
    assert!(lacks.iter().all(|check| check.level == Level::Problem));
    assert_eq!(level_of(&checks, "account_version"), None, "that is only told where it can be read");

    let strange = || stripe_error(400, "invalid_request_error", "", "", "Something else.");
    let checks = told_of(strange(), strange(), strange()).await;
    assert_eq!(checks.iter().filter(|check| check.code == "unreadable").count(), 2, "{checks:?}");
}

#[tokio::test]
async fn the_version_of_the_account_is_told_where_an_event_shows_it() {
    let event = json!({"id": "evt_1", "object": "event", "api_version": "2020-08-27"});
    let events = ok(&json!({"object": "list", "data": [event], "has_more": true}));
    let checks = told_of(nothing(), events, nothing()).await;
    let version = checks.iter().find(|check| check.code == "account_version").expect("the version");
    assert!(version.level == Level::Ok && version.message.contains("2020-08-27"), "{version:?}");
    assert_eq!(level_of(&told_of(nothing(), nothing(), nothing()).await, "account_version"), None);
}

#[tokio::test]
async fn of_several_endpoints_the_best_is_judged_and_the_others_are_told() {
    let endpoint = |id: &str, version: &str, status: &str| {
        json!({
            "id": id, "object": "webhook_endpoint", "url": "https://billing.example.com/x", "api_version": version,
            "status": status, "enabled_events": ["*"],
        })
    };
    let codes = async |endpoints: Vec<Value>| {
        let listed = ok(&json!({"object": "list", "data": endpoints, "has_more": false}));
        let checks = told_of(listed, nothing(), nothing()).await;
        let about = checks.iter().filter(|check| check.code.starts_with("webhook") && check.code != "webhook_untested");
        about.map(|check| check.code).collect::<Vec<_>>()
    };
    let (old, ours) = (endpoint("we_1", "2020-08-27", "enabled"), endpoint("we_2", API_VERSION, "enabled"));
    let off = endpoint("we_3", API_VERSION, "disabled");
    assert_eq!(codes(vec![ours.clone()]).await, ["webhook"]);
    assert_eq!(codes(vec![old.clone()]).await, ["webhook_version"]);
    for both in [vec![old.clone(), ours.clone()], vec![ours.clone(), old.clone()]] {
        assert_eq!(codes(both).await, ["webhook_twice"]);
    }
    assert_eq!(codes(vec![off.clone(), ours]).await, ["webhook"], "one that is switched off sends nothing");
    assert_eq!(codes(vec![off.clone(), old]).await, ["webhook_version"]);
    assert_eq!(codes(vec![off]).await, ["webhook_disabled"]);
}
