//! Bad input: each gets a problem with a stable code and a sentence that helps, and changes nothing.

use counterfoil::cli::service::{Roles, Service};
use counterfoil::config::{Config, Environment};
use serde_json::{Value, json};

use crate::actors::{CANCEL_URL, SUCCESS_URL};
use crate::world::World;

const SIGN_UP: &str = "/api/customers/signup";
const CHECKOUT: &str = "/api/subscriptions/checkout";

async fn bodies_that_are_not_what_they_should_be_are_refused(world: &World) {
    let deep = format!("{}{}", "[".repeat(100_000 / 2), "]".repeat(1000));
    let sign_up = |rest: &str| format!("{{\"email\":\"ada@example.com\",\"password\":\"long enough 1\"{rest}}}");
    let table: Vec<(String, u16, &str)> = vec![
        (String::new(), 400, "malformed_json"),
        ("{".into(), 400, "malformed_json"),
        ("{\"email\":\"ada@example.com\",}".into(), 400, "malformed_json"),
        ("\u{feff}{}".into(), 400, "malformed_json"),
        (format!("{} trailing", sign_up("")), 400, "malformed_json"),
        (deep, 422, "invalid_request"),
        ("null".into(), 422, "invalid_request"),
        ("[]".into(), 422, "invalid_request"),
        ("{}".into(), 422, "invalid_request"),
        ("{\"email\":1,\"password\":\"long enough 1\"}".into(), 422, "invalid_request"),
        ("{\"email\":\"ada@example.com\",\"password\":null}".into(), 422, "invalid_request"),
        (sign_up(",\"company_name\":[]"), 422, "invalid_request"),
        (sign_up(",\"is_admin\":true"), 422, "invalid_request"),
        (sign_up(",\"stripe_customer_id\":\"x\""), 422, "invalid_request"),
        (sign_up(",\"plan\":\"enterprise\""), 422, "invalid_request"),
        (sign_up(",\"email\":\"bob@example.com\""), 422, "invalid_request"),
    ];
    let before = world.counts().await;
    for (body, status, code) in table {
        let shown: String = body.chars().take(60).collect();
        println!("{shown}");
        let answer = world.http.post_text(SIGN_UP, "application/json", body).await;
        answer.refused(status, code);
        assert!(answer.body.len() < 1000, "a problem is short whatever was sent");
    }
    let valid = sign_up("");
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"] {
        let answer = world.http.post_text(SIGN_UP, content_type, valid.clone()).await;
        answer.refused(415, "unsupported_media_type");
    }
    assert_eq!(world.counts().await, before, "nothing changed");
    let answer = world.http.post_text(SIGN_UP, "Application/JSON; charset=utf-8", valid).await;
    world.http.tap().guard_token(answer.json()["token"].as_str().unwrap(), "a stranger");
    assert_eq!(answer.status, 201);
}

async fn bodies_over_the_limit_are_refused(world: &World) {
    let before = world.counts().await;
    let padded = |bytes: usize| {
        let head = "{\"email\":\"ada@example.com\",\"password\":\"long enough 1\",\"company_name\":\"";
        format!("{head}{}\"}}", "x".repeat(bytes - head.len() - 2))
    };
    let at_limit = world.http.post_text(SIGN_UP, "application/json", padded(64 * 1024)).await;
    at_limit.refused(422, "invalid_field");
    let above = world.http.post_text(SIGN_UP, "application/json", padded(64 * 1024 + 1)).await;
    above.refused(413, "body_too_large");
    let now = world.app.now().as_unix_seconds();
    let event = |bytes: usize| {
        let mut event = world.event("some.event", json!({ "object": "thing", "padding": "" }));
        let missing = bytes - event.to_string().len();
        event["data"]["object"]["padding"] = json!("x".repeat(missing));
        event.to_string()
    };
    let above = event(1024 * 1024 + 1);
    world.deliver_signed(above.clone(), Some(&world.sign(&above, now))).await.refused(413, "body_too_large");
    assert_eq!(world.counts().await, before, "nothing changed");
    let at_limit = event(1024 * 1024);
    world.deliver_signed(at_limit.clone(), Some(&world.sign(&at_limit, now))).await.accepted();
}

async fn addresses_that_are_none_are_refused(world: &World) {
    let before = world.counts().await;
    let long = format!("{}@example.com", "a".repeat(250));
    let bad = [
        "",
        " ",
        "ada",
        "ada@",
        "@example.com",
        "ada@localhost",
        "ada@example",
        "ada@@example.com",
        "a b@example.com",
        "ada@exa mple.com",
        "\"ada\"@example.com",
        "ada@[127.0.0.1]",
        "ada@127.0.0.1",
        "ada@example.com\nBcc: x@example.com",
        "Ada <ada@example.com>",
        "ada@example..com",
        "ädä@example.com",
        "ada@-example.com",
        "ada\u{200b}@example.com",
        &long,
    ];
    for email in bad {
        let body = json!({ "email": email, "password": "long enough 1" });
        let problem = world.http.post(SIGN_UP, &body).await.refused(422, "invalid_email");
        assert_eq!(problem["field"], "email");
    }
    assert_eq!(world.counts().await, before);
}

async fn weak_passwords_are_refused(world: &World) {
    let before = world.counts().await;
    let (long, longer) = ("x9 ".repeat(42) + "ab", "x9 ".repeat(43));
    assert_eq!((long.len(), longer.len()), (128, 129));
    for password in
        ["", "seven77", "password", "PASSWORD", "12345678", "qwertyuiop", "aaaaaaaaaaaa", "ada@example.com", &longer]
    {
        let body = json!({ "email": "ada@example.com", "password": password });
        let problem = world.http.post(SIGN_UP, &body).await.refused(422, "weak_password");
        assert_eq!(problem["field"], "password");
    }
    assert_eq!(world.counts().await, before);
    for (index, password) in ["SecurePass123", "ünïcödé", "correct horse", &long].iter().enumerate() {
        let password = if password.chars().count() < 8 { format!("{password} ok") } else { (*password).to_owned() };
        let mut visitor = world.visitor(&format!("ada{index}@example.com"));
        visitor.password = password;
        visitor.sign_up().await.accepted();
        visitor.log_in().await.accepted();
    }
}

async fn company_names_that_would_mislead_are_refused(world: &World) {
    let before = world.counts().await;
    for name in
        ["x".repeat(201), "line\nbreak".into(), "nul\0".into(), "evil\u{202e}gnp.exe".into(), "\u{2066}x".into()]
    {
        let body = json!({ "email": "ada@example.com", "password": "long enough 1", "company_name": name });
        let problem = world.http.post(SIGN_UP, &body).await.refused(422, "invalid_field");
        assert_eq!(problem["field"], "company_name");
    }
    assert_eq!(world.counts().await, before);
    // What only looks dangerous is kept as it was written.
    let name = "O'Brien \"; drop table customers; -- <script>alert(1)</script> ✓ %s {{7*7}}";
    let body = json!({ "email": "ada@example.com", "password": "long enough 1", "company_name": name });
    let told = world.http.post(SIGN_UP, &body).await;
    world.http.tap().guard_token(told.json()["token"].as_str().unwrap(), "a stranger");
    assert_eq!(told.json()["customer"]["company_name"], name);
    let longest = json!({ "email": "bob@example.com", "password": "long enough 1", "company_name": "é".repeat(200) });
    let told = world.http.post(SIGN_UP, &longest).await.accepted();
    world.http.tap().guard_token(told["token"].as_str().unwrap(), "another stranger");
}

async fn scenario_30_checkouts_that_cannot_be_are_refused_without_asking_stripe(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let before = world.counts().await;
    let wish = |changes: &[(&str, Value)]| {
        let mut wish = ada.wish("professional");
        for (name, value) in changes {
            wish[*name] = value.clone();
        }
        wish
    };
    let unknown_id = format!("cust_{}", "0".repeat(32));
    let table = [
        (wish(&[("customer_id", json!(unknown_id))]), 404, "customer_not_found"),
        (wish(&[("customer_id", json!("cust_1"))]), 404, "customer_not_found"),
        (wish(&[("customer_id", json!(""))]), 404, "customer_not_found"),
        (wish(&[("customer_id", json!(ada.customer_id.to_uppercase()))]), 404, "customer_not_found"),
        (wish(&[("customer_id", json!(7))]), 422, "invalid_request"),
        (wish(&[("plan", json!("platinum"))]), 422, "plan_unknown"),
        (wish(&[("plan", json!(""))]), 422, "plan_unknown"),
        (wish(&[("plan", json!("Professional"))]), 422, "plan_unknown"),
        (wish(&[("plan", json!("trial"))]), 422, "plan_not_for_sale"),
        (wish(&[("interval", json!("week"))]), 422, "invalid_request"),
        (wish(&[("metadata", json!({ "customer_id": "x" }))]), 422, "invalid_request"),
        (wish(&[("price", json!("price_pro_monthly"))]), 422, "invalid_request"),
        (json!({ "customer_id": ada.customer_id, "plan": "professional" }), 422, "invalid_request"),
    ];
    for (body, status, code) in table {
        println!("{body}");
        world.http.post(CHECKOUT, &body).await.refused(status, code);
    }
    let unknown = world.http.post(CHECKOUT, &wish(&[("plan", json!("platinum"))])).await;
    let detail = unknown.json()["detail"].as_str().unwrap().to_owned();
    for plan in ["starter", "professional", "enterprise"] {
        assert!(detail.contains(plan), "the known plans are listed: {detail}");
    }
    assert_eq!(world.counts().await, before, "nothing changed");
    assert!(world.sandbox().calls().await.is_empty(), "scenario 30: and the provider was not called");
}

async fn scenario_26_return_urls_that_lead_elsewhere_are_refused(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let before = world.counts().await;
    let long = format!("http://localhost:3000/{}", "x".repeat(2048));
    let bad = [
        "",
        "//evil.example/x",
        "/relative",
        "https:evil.example",
        "https://evil.example/",
        "https://localhost.evil.example/",
        "https://localhost@evil.example/",
        "http://localhost:3000@evil.example/",
        "http://evil.example\\@localhost/",
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://localhost/x",
        "http://",
        "http:///x",
        "http://localhost:3000/\tx",
        "http://localhost:3000/\nx",
        " http://localhost:3000/",
        "HTTP://evil.example",
        "http://127.0.0.1.evil.example/",
        "http://lоcalhost/",
        "http://local%68ost.evil.example/",
        "http://[::2]/",
        "http://user:pw@localhost:3000/",
        "http://localhost:3000/{OTHER_TEMPLATE}",
        &long,
    ];
    for url in bad {
        for field in ["success_url", "cancel_url"] {
            let mut wish = ada.wish("professional");
            wish[field] = json!(url);
            let problem = ada.checkout_with(&wish).await.refused(422, "return_url_not_allowed");
            assert_eq!(problem["field"], field);
            assert!(!problem["detail"].as_str().unwrap().contains("evil"), "what was sent is not repeated");
        }
    }
    assert_eq!(world.counts().await, before, "nothing changed");
    assert!(world.sandbox().calls().await.is_empty());
    let own = format!("{}/back?x={{CHECKOUT_SESSION_ID}}#done", world.config.public_url.as_str());
    for url in [own.as_str(), "http://localhost/", "https://localhost:9/", "http://127.0.0.1:5/x", "http://[::1]:3000/"]
    {
        let mut wish = ada.wish("professional");
        wish["success_url"] = json!(url);
        ada.checkout_with(&wish).await.accepted();
    }
}

async fn outside_of_the_sandbox_only_listed_origins_are_return_urls(world: &World) {
    let ada = world.customer("ada@example.com").await;
    for (url, allowed) in [
        (SUCCESS_URL, true),
        ("http://localhost:3001/", false),
        ("https://localhost:3000/", false),
        ("http://127.0.0.1:3000/", false),
        (&format!("{}/account", world.config.public_url.as_str()), true),
    ] {
        let body =
            json!({ "customer_id": ada.customer_id, "plan": "starter", "success_url": url, "cancel_url": CANCEL_URL });
        let answer = ada.checkout_with(&body).await;
        if allowed { drop(answer.accepted()) } else { drop(answer.refused(422, "return_url_not_allowed")) }
    }
}

async fn a_price_that_stripe_does_not_know_is_the_operators_problem(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let problem = ada.checkout("professional").await.refused(502, "price_missing_at_provider");
    assert!(problem["detail"].as_str().unwrap().contains("stripe_price"), "it says what to check");
    assert_eq!(world.stored(&ada).await.status, "trialing");
}

async fn a_key_that_stripe_refuses_is_the_operators_problem(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let problem = ada.checkout("professional").await.refused(503, "payment_provider_refuses_key");
    assert!(problem["detail"].as_str().unwrap().contains("STRIPE_SECRET_KEY"), "it says what to check");
    assert_eq!(world.stored(&ada).await.stripe_customer_id, None);
    assert!(world.sandbox().customers().await.is_empty());
}

async fn tokens_that_are_no_licenses_are_answered_and_not_believed(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let (head, signature) = ada.license.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    let long = "x".repeat(20_000);
    for token in ["", "x", "a.b.c", &forged, head, &long, "eyJhbGciOiJub25lIn0.e30."] {
        let judged = world.http.post("/api/licenses/validate", &json!({ "token": token })).await.accepted();
        assert_eq!((&judged["valid"], &judged["customer_id"]), (&json!(false), &Value::Null), "{judged}");
        ada.refresh(token).await.refused(401, "license_invalid");
    }
    world.http.post("/api/licenses/validate", &json!({})).await.refused(422, "invalid_request");
    for query in ["before=x", "before=1.5", "after=1", "before=99999999999999999999"] {
        ada.http.get(&format!("/api/licenses?{query}")).await.refused(422, "invalid_request");
    }
}

both_engines!(
    bodies_that_are_not_what_they_should_be_are_refused,
    bodies_over_the_limit_are_refused,
    addresses_that_are_none_are_refused,
    weak_passwords_are_refused,
    company_names_that_would_mislead_are_refused,
    scenario_30_checkouts_that_cannot_be_are_refused_without_asking_stripe,
    scenario_26_return_urls_that_lead_elsewhere_are_refused,
    tokens_that_are_no_licenses_are_answered_and_not_believed,
);
both_engines!(Setup::test_mode(); outside_of_the_sandbox_only_listed_origins_are_return_urls);
both_engines!(
    Setup { stripe: Some(TestMode { has_prices: false, ..TestMode::default() }), ..Setup::default() };
    a_price_that_stripe_does_not_know_is_the_operators_problem
);
both_engines!(
    Setup { stripe: Some(TestMode { key: "sk_test_4eC39HqLyjWD", ..TestMode::default() }), ..Setup::default() };
    a_key_that_stripe_refuses_is_the_operators_problem
);

fn configuration(pairs: &[(&str, &str)]) -> Result<Config, String> {
    let environment: Environment = pairs.iter().copied().collect();
    Config::parse(None, &environment)
        .map_err(|error| error.problems.iter().map(|problem| format!("{} {}", problem.code, problem.message)).collect())
}

#[test]
fn a_setting_that_does_not_exist_stops_the_start_and_the_meant_one_is_named() {
    let problem = configuration(&[("COUNTERFOIL_LISTENN", "127.0.0.1:1")]).unwrap_err();
    assert!(problem.contains("unknown_setting") && problem.contains("COUNTERFOIL_LISTEN"), "{problem}");
}

#[test]
fn scenario_37_stripe_without_a_webhook_secret_does_not_start() {
    let problem = configuration(&[("STRIPE_SECRET_KEY", "sk_test_4eC39HqLyjWD")]).unwrap_err();
    assert!(problem.contains("webhook_secret_missing"), "{problem}");
}

#[tokio::test]
async fn a_database_that_is_not_there_stops_the_start_with_its_place_and_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(&[
        ("COUNTERFOIL_LISTEN", "127.0.0.1:0"),
        ("COUNTERFOIL_DATA_DIR", folder.path().to_str().unwrap()),
        ("DATABASE_URL", "postgres://billing:the-canary@127.0.0.1:1/billing"),
    ])
    .unwrap();
    let error = Service::start(&config, Roles::ALL, true).await.err().expect("there is no database");
    let text = format!("{error:#}");
    assert!(text.contains("127.0.0.1:1") && !text.contains("the-canary"), "{text}");
}

#[tokio::test]
async fn a_port_in_use_stops_the_start_and_the_setting_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(&[
        ("COUNTERFOIL_LISTEN", &taken.local_addr().unwrap().to_string()),
        ("COUNTERFOIL_DATA_DIR", folder.path().to_str().unwrap()),
    ])
    .unwrap();
    let error = Service::start(&config, Roles::ALL, true).await.err().expect("the port is taken");
    assert!(error.to_string().contains("in use") && error.to_string().contains("COUNTERFOIL_LISTEN"), "{error}");
}
