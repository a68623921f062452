use counterfoil_core::{Catalog, Timestamp};
use serde_json::json;

use super::double::{Double, Reply, ok, stripe_error};
use super::stripe;
use crate::checks::{Check, Level};
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
    for (ago, code) in [(None, "webhook_untested"), (Some(day), "webhook_received"), (Some(8 * day), "webhook_quiet")] {
        let newest_event = ago.map(|seconds| (NOW.plus_seconds(-seconds), "invoice.paid"));
        let checks = told(account(), &Expected { newest_event, ..expecting(&catalog) }).await;
        assert!(level_of(&checks, code).is_some(), "{code}: {checks:?}");
    }
}
