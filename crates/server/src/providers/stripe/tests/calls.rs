use counterfoil_core::ExternalSessionId;
use counterfoil_core::facts::SessionStatus;
use serde_json::{Value, json};

use super::double::{Double, Reply, answer, ok, stripe_error};
use super::{config, cus, key, stripe};
use crate::providers::stripe::{Stripe, StripeConfigError};
use crate::providers::{PaymentProvider, ProviderError};

fn page(ids: &[&str], has_more: bool) -> Reply {
    let data: Vec<Value> = ids
        .iter()
        .map(|id| json!({"id": id, "object": "customer", "created": 1_700_000_000, "metadata": {"customer_id": "cust_1", "instance": "inst_1"}}))
        .collect();
    ok(&json!({"object": "list", "data": data, "has_more": has_more}))
}

fn session(status: &str) -> Reply {
    ok(
        &json!({"id": "cs_1", "object": "checkout.session", "status": status, "url": "https://pay.example/cs_1#x", "expires_at": 1_700_086_400}),
    )
}

fn no_customer(status: u16) -> Reply {
    stripe_error(status, "invalid_request_error", "resource_missing", "id", "No such customer: 'cus_1'")
}

#[tokio::test]
async fn customers_are_listed_to_the_last_page() {
    let double = Double::playing([page(&["cus_3", "cus_2"], true), page(&["cus_1"], false)]).await;
    let found = stripe(&double).find_customers("a+b@example.com").await.unwrap();
    assert_eq!(found.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["cus_3", "cus_2", "cus_1"]);
    assert_eq!(found[0].customer_id.as_deref(), Some("cust_1"));
    assert_eq!(found[0].instance.as_deref(), Some("inst_1"));
    assert_eq!(
        double.lines(),
        [
            "GET /v1/customers?email=a%2Bb%40example.com&limit=100",
            "GET /v1/customers?email=a%2Bb%40example.com&limit=100&starting_after=cus_2"
        ]
    );
}

#[tokio::test]
async fn a_list_that_cannot_be_finished_is_an_error_and_never_short() {
    let unfinished: [Vec<Reply>; 5] = [
        vec![page(&["cus_2"], true), answer(404, "<html>")],
        vec![page(&["cus_2"], true), page(&[], true)],
        vec![page(&["cus_2"], true), page(&["cus_2"], true), page(&["cus_1"], false)],
        vec![ok(&json!({"object": "list"}))],
        vec![ok(&json!({"object": "list", "data": [{"object": "customer"}], "has_more": false}))],
    ];
    for script in unfinished {
        let double = Double::playing(script.clone()).await;
        let error = stripe(&double).find_customers("ada@example.com").await.unwrap_err();
        assert!(matches!(error, ProviderError::Unavailable { .. }), "{error} {script:?}");
    }

    let double = Double::playing([page(&["cus_3"], true), page(&["cus_2"], true), page(&["cus_1"], false)]).await;
    let mut config = config(&double.base);
    config.limits.pages_max = 2;
    let error = Stripe::new(config, Box::new(|| 0.0)).unwrap().find_customers("ada@example.com").await.unwrap_err();
    assert!(error.to_string().contains("more than 2 pages"), "{error}");
}

#[tokio::test]
async fn only_stripes_own_words_say_that_a_customer_is_not_there() {
    let double = Double::playing([no_customer(404)]).await;
    assert_eq!(stripe(&double).find_customer(&cus("cus_1")).await.unwrap(), None);

    let double = Double::playing([ok(&json!({"id": "cus_1", "object": "customer", "deleted": true}))]).await;
    assert!(stripe(&double).find_customer(&cus("cus_1")).await.unwrap().unwrap().deleted);

    let unknown_route =
        stripe_error(404, "invalid_request_error", "", "", "Unrecognized request URL (GET: /x/v1/customers/cus_1)");
    for reply in [answer(404, "<html>not found</html>"), answer(404, "{\"error\":\"not found\"}"), unknown_route] {
        let double = Double::playing([reply.clone()]).await;
        assert!(stripe(&double).find_customer(&cus("cus_1")).await.is_err(), "{reply:?}");
    }

    let double = Double::playing([]).await;
    assert!(matches!(stripe(&double).find_customer(&cus("")).await, Err(ProviderError::Missing { .. })));
    double.played_out(0);
}

#[tokio::test]
async fn a_session_is_opened_and_a_replayed_one_is_read_again() {
    let double = Double::playing([session("open")]).await;
    let opened = stripe(&double).create_checkout(&key(), "mode=subscription").await.unwrap();
    assert_eq!(opened.status, SessionStatus::Open);
    assert_eq!(opened.url.as_deref(), Some("https://pay.example/cs_1#x"));
    double.played_out(1);

    let double = Double::playing([session("open").header("idempotent-replayed", "true"), session("expired")]).await;
    let opened = stripe(&double).create_checkout(&key(), "mode=subscription").await.unwrap();
    assert_eq!((opened.status, opened.url), (SessionStatus::Expired, None));
    assert_eq!(double.lines(), ["POST /v1/checkout/sessions", "GET /v1/checkout/sessions/cs_1"]);
}

#[tokio::test]
async fn what_checkout_misses_is_named() {
    let missing =
        |param: &str, message: &str| stripe_error(400, "invalid_request_error", "resource_missing", param, message);
    let double = Double::playing([missing("customer", "No such customer: 'cus_1'")]).await;
    let error = stripe(&double).create_checkout(&key(), "").await.unwrap_err();
    assert!(matches!(error, ProviderError::CustomerMissing));

    let double = Double::playing([missing("line_items[0][price]", "No such price: 'price_x'")]).await;
    let error = stripe(&double).create_checkout(&key(), "").await.unwrap_err();
    assert!(matches!(error, ProviderError::PriceMissing { .. }));
}

#[tokio::test]
async fn expiring_answers_the_session_as_it_stands() {
    let id = ExternalSessionId::new("cs_1");
    let double = Double::playing([session("expired")]).await;
    assert_eq!(stripe(&double).expire_checkout(&key(), &id).await.unwrap().status, SessionStatus::Expired);
    let seen = &double.seen()[0];
    assert_eq!((seen.line.as_str(), seen.body.as_str()), ("POST /v1/checkout/sessions/cs_1/expire", ""));
    assert_eq!(seen.header("content-length"), Some("0"));

    let message = "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of `complete`.";
    let double =
        Double::playing([stripe_error(400, "invalid_request_error", "", "", message), session("complete")]).await;
    assert_eq!(stripe(&double).expire_checkout(&key(), &id).await.unwrap().status, SessionStatus::Complete);
    double.played_out(2);

    let message = "Received unknown parameter: x";
    let double = Double::playing([stripe_error(400, "invalid_request_error", "parameter_unknown", "x", message)]).await;
    let refused = stripe(&double).expire_checkout(&key(), &id).await;
    assert!(matches!(refused, Err(ProviderError::Rejected { .. })), "{refused:?}");
    double.played_out(1);
}

#[test]
fn a_bad_configuration_is_refused_at_start() {
    let refused = |change: fn(&mut crate::providers::stripe::StripeConfig)| {
        let mut config = config("https://api.example.com");
        change(&mut config);
        Stripe::new(config, Box::new(|| 0.0)).unwrap_err()
    };
    assert!(matches!(refused(|c| c.api_base = "api.stripe.com".into()), StripeConfigError::ApiBase(_)));
    assert!(matches!(refused(|c| c.api_base = "https://a:b@api.stripe.com".into()), StripeConfigError::ApiBase(_)));
    assert!(matches!(refused(|c| c.secret_key = "".into()), StripeConfigError::SecretKey));
    assert!(matches!(refused(|c| c.secret_key = "sk_test_1\n".into()), StripeConfigError::SecretKey));
    assert!(matches!(refused(|c| c.livemode = true), StripeConfigError::KeyOfOtherMode { livemode: true }));
    assert!(matches!(
        refused(|c| c.secret_key = "rk_live_1".into()),
        StripeConfigError::KeyOfOtherMode { livemode: false }
    ));
    for secret in ["", "  ", "whsec_x\n"] {
        let mut config = config("https://api.example.com");
        config.webhook_secrets.push(secret.into());
        assert_eq!(
            Stripe::new(config, Box::new(|| 0.0)).unwrap_err(),
            StripeConfigError::WebhookSecret { position: 2 }
        );
    }
    let mut live = config("http://127.0.0.1:1");
    live.livemode = true;
    live.secret_key = "sk_live_1".into();
    assert_eq!(Stripe::new(live, Box::new(|| 0.0)).unwrap_err(), StripeConfigError::InsecureLiveBase);
}

#[test]
fn the_real_address_is_paced_and_a_double_is_not() {
    let paced = |base: &str, livemode| {
        crate::providers::stripe::StripeConfig::new(base.into(), "sk_1".into(), vec![], livemode)
            .limits
            .calls_per_second
    };
    assert_eq!(paced("https://api.stripe.com", true), Some(80));
    assert_eq!(paced("https://api.stripe.com/", false), Some(20));
    assert_eq!(paced("http://127.0.0.1:3101", false), None);
}

#[test]
fn the_https_client_is_made_without_any_set_up() {
    let stripe = Stripe::new(config("https://api.example.com"), Box::new(|| 0.0)).unwrap();
    assert_eq!((stripe.name(), stripe.livemode()), ("stripe", false));
    let mut live = config("https://api.example.com");
    (live.livemode, live.secret_key) = (true, "sk_live_1".into());
    assert!(Stripe::new(live, Box::new(|| 0.0)).unwrap().livemode());
}

#[test]
fn only_a_stripe_elsewhere_cannot_call_this_machine_back() {
    let table = [
        ("https://api.example.com", "http://localhost:3000/x", true),
        ("https://api.example.com", "http://127.0.0.1:3000/x", true),
        ("https://api.example.com", "https://billing.example.com/x", false),
        ("http://127.0.0.1:3101", "http://localhost:3000/x", false),
        ("http://127.0.0.1:3101", "https://billing.example.com/x", false),
    ];
    for (base, url, cannot) in table {
        let stripe = Stripe::new(config(base), Box::new(|| 0.0)).unwrap();
        assert_eq!(stripe.client.cannot_call_back(url), cannot, "{base} to {url}");
    }
}
