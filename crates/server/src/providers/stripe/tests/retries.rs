use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::double::{Double, Reply, answer, ok, stripe_error};
use super::{SECRET_KEY, config, cus, key, stripe};
use crate::providers::stripe::{Stripe, StripeConfig};
use crate::providers::{PaymentProvider, ProviderError};

const FROZEN: &str = "email=ada%40example.com&metadata[customer_id]=cust_1";

async fn create(script: Vec<Reply>) -> (Double, Result<String, ProviderError>) {
    let double = Double::playing(script).await;
    let stripe = stripe(&double);
    let result = stripe.create_customer(&key(), FROZEN).await.map(|made| made.id.as_str().to_owned());
    (double, result)
}

fn made() -> Reply {
    ok(&json!({"id": "cus_1", "object": "customer"}))
}

fn busy(status: u16, code: &str) -> Reply {
    stripe_error(status, "api_error", code, "", "busy")
}

#[tokio::test]
async fn each_try_carries_the_same_key_and_the_same_bytes() {
    for lost in [
        Reply::Drop,
        Reply::Cut,
        busy(500, ""),
        busy(503, ""),
        busy(429, ""),
        busy(409, "idempotency_key_in_use"),
        busy(409, "lock_timeout"),
    ] {
        let (double, result) = create(vec![lost.clone(), lost.clone(), made()]).await;
        assert_eq!(result.unwrap(), "cus_1", "{lost:?}");
        double.played_out(3);
        for seen in double.seen() {
            assert_eq!(seen.line, "POST /v1/customers");
            assert_eq!(seen.body, FROZEN);
            assert_eq!(seen.header("idempotency-key"), Some("cf:inst:cust:cus:g1"));
        }
    }
}

#[tokio::test]
async fn the_headers_are_stripes() {
    let (double, _) = create(vec![made()]).await;
    let seen = &double.seen()[0];
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {SECRET_KEY}").as_str()));
    assert_eq!(seen.header("stripe-version"), Some("2026-05-27.dahlia"));
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(seen.header("accept"), Some("application/json"));
    assert!(seen.header("user-agent").is_some_and(|agent| agent.starts_with("Counterfoil/")));
}

#[tokio::test]
async fn a_look_up_has_no_key_and_is_retried_too() {
    let double = Double::playing([Reply::Drop, busy(502, ""), made()]).await;
    let found = stripe(&double).find_customer(&cus("cus_1")).await.unwrap();
    assert_eq!(found.unwrap().id, cus("cus_1"));
    double.played_out(3);
    assert!(double.seen().iter().all(|seen| seen.header("idempotency-key").is_none()));
}

#[tokio::test]
async fn tries_are_bounded() {
    let (double, result) = create(vec![busy(500, ""), busy(500, ""), busy(500, "")]).await;
    double.played_out(3);
    assert!(matches!(result, Err(ProviderError::Unavailable { request_id: Some(id), .. }) if id == "req_double"));

    let in_use = busy(409, "idempotency_key_in_use");
    let (double, result) = create(vec![in_use.clone(), in_use.clone(), in_use]).await;
    double.played_out(3);
    assert!(matches!(result, Err(ProviderError::KeyInUse)));
}

/// Whoever waits learns what the last answer was, and does not wait for a try that would come too late.
#[tokio::test]
async fn a_pause_that_would_outlast_the_call_is_not_begun() {
    let double = Double::playing([busy(500, "")]).await;
    let mut config = config(&double.base);
    (config.limits.backoff_base, config.limits.backoff_max) = (Duration::from_secs(10), Duration::from_secs(10));
    let (started, stripe) = (Instant::now(), Stripe::new(config, Box::new(|| 1.0)).unwrap());
    let error = stripe.create_customer(&key(), FROZEN).await.unwrap_err();
    assert!(matches!(&error, ProviderError::Unavailable { reason, .. } if reason.contains("HTTP 500")), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
    double.played_out(1);
}

#[tokio::test]
async fn what_cannot_change_is_not_tried_again() {
    let refusals = [
        busy(500, "").header("stripe-should-retry", "false"),
        stripe_error(400, "invalid_request_error", "parameter_unknown", "x", "Received unknown parameter: x"),
        stripe_error(401, "invalid_request_error", "", "", "Invalid API Key provided: sk_test_***cret"),
        stripe_error(
            400,
            "idempotency_error",
            "",
            "",
            "Keys for idempotent requests can only be used with the same parameters",
        ),
        answer(200, "<html>not JSON</html>"),
        answer(302, "").header("location", "http://127.0.0.1:1/elsewhere"),
    ];
    for refusal in refusals {
        let (double, result) = create(vec![refusal.clone()]).await;
        assert!(result.is_err(), "{refusal:?}");
        double.played_out(1);
    }
}

#[tokio::test]
async fn the_servers_advice_overrules_the_status() {
    let (double, result) = create(vec![busy(400, "").header("stripe-should-retry", "true"), made()]).await;
    assert!(result.is_ok());
    double.played_out(2);
}

#[tokio::test]
async fn a_replayed_server_error_is_told_at_once() {
    let replayed = busy(500, "").header("idempotent-replayed", "true").header("stripe-should-retry", "true");
    let (double, result) = create(vec![replayed]).await;
    double.played_out(1);
    assert!(matches!(result, Err(ProviderError::KeyPoisoned { .. })));
}

#[tokio::test]
async fn silence_and_a_closed_port_are_an_unknown_outcome_in_bounded_time() {
    let started = Instant::now();
    let (_double, result) = create(vec![Reply::Hang, Reply::Hang, Reply::Hang, Reply::Hang]).await;
    assert!(matches!(result, Err(ProviderError::Unavailable { reason, .. }) if reason.contains("timed out")));
    assert!(started.elapsed() < Duration::from_millis(1500));

    let nobody = Stripe::new(config("http://127.0.0.1:1"), Box::new(|| 0.0)).unwrap();
    let error = nobody.create_customer(&key(), FROZEN).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}

/// Whoever is there without TLS hears nothing of what we would have said.
#[tokio::test]
async fn where_no_tls_is_spoken_nothing_is_sent_and_it_is_tried_later() {
    let double = Double::playing(Vec::new()).await;
    let stripe = Stripe::new(config(&double.base.replace("http:", "https:")), Box::new(|| 0.0)).unwrap();
    let error = stripe.create_customer(&key(), FROZEN).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    double.played_out(0);
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let body = format!("{{\"id\":\"{}\"}}", "x".repeat(200));
    let within = async |bytes_max: usize| {
        let double = Double::playing([answer(200, &body)]).await;
        let mut config: StripeConfig = config(&double.base);
        config.limits.answer_bytes_max = bytes_max;
        let stripe = Stripe::new(config, Box::new(|| 0.0)).unwrap();
        let made = stripe.create_customer(&key(), FROZEN).await;
        double.played_out(1);
        made
    };
    for short in [100, body.len() - 1] {
        let error = within(short).await.unwrap_err();
        assert!(error.to_string().contains(&format!("longer than {short} bytes")), "{error}");
    }
    assert!(within(body.len()).await.is_ok(), "an answer may be as long as that");
}

#[tokio::test]
async fn neither_debug_nor_errors_show_a_secret() {
    let refusal = stripe_error(401, "invalid_request_error", "", "", "Invalid API Key provided: sk_test_*****cret");
    let double = Double::playing([refusal]).await;
    let stripe = stripe(&double);
    let error = stripe.find_customers("ada@example.com").await.unwrap_err();
    let nobody = Stripe::new(config("http://127.0.0.1:1"), Box::new(|| 0.0)).unwrap();
    let lost = nobody.find_customers("ada@example.com").await.unwrap_err();
    for text in [
        format!("{stripe:?}"),
        format!("{:?}", config("http://x")),
        format!("{error} {error:?}"),
        format!("{lost} {lost:?}"),
    ] {
        for secret in ["sk_test", "whsec_", "Secret", "cret", "ada"] {
            let shown = text
                .replace("SecretBox", "")
                .replace("secret_key", "")
                .replace("webhook_secrets", "")
                .replace("WebhookSecret", "");
            assert!(!shown.contains(secret), "{secret} in {text}");
        }
    }
}

/// Whatever stands between us and Stripe may answer in its place. What is not Stripe's own says nothing about what was done.
#[tokio::test]
async fn an_answer_that_makes_no_sense_is_an_unknown_outcome() {
    let bodies = [
        "",
        "<html>502 Bad Gateway</html>",
        "{\"id\":",
        "[]",
        "null",
        "\"cus_1\"",
        "{\"object\":\"customer\"}",
        "{\"id\":7}",
    ];
    for body in bodies {
        for status in [200, 502, 503] {
            let double = Double::playing(std::iter::repeat_n(answer(status, body), 3)).await;
            let error = stripe(&double).create_customer(&key(), "email=ada%40example.com").await.unwrap_err();
            assert!(matches!(error, ProviderError::Unavailable { .. }), "{status} {body}: {error:?}");
            let keys: Vec<_> =
                double.seen().iter().map(|seen| seen.header("idempotency-key").map(str::to_owned)).collect();
            assert!(keys.iter().all(|each| each.as_deref() == Some(key().as_str())), "{keys:?}");
        }
    }
}

/// A redirect would carry the key to another host.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Double::playing([made()]).await;
    let base: &'static str = Box::leak(elsewhere.base.clone().into_boxed_str());
    for status in [301, 302, 303, 307, 308] {
        let moved = answer(status, "{}").header("location", base);
        let (_double, result) = create(vec![moved]).await;
        assert!(matches!(result, Err(ProviderError::Unavailable { .. })), "{status}: {result:?}");
    }
    assert!(elsewhere.lines().is_empty(), "{:?}", elsewhere.lines());
}
