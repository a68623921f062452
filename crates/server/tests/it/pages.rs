//! The way through the pages, as a browser without scripts goes it. What they look like is the browser test's; here it is what
//! they do, and that the tap finds nothing on any of them.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use counterfoil::app::App;
use counterfoil::app::settings::Settings;
use counterfoil::telemetry;
use counterfoil::web::{self, WebOptions, WebState};
use reqwest::Method;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::actors::Visitor;
use crate::client::{Answer, form};
use crate::world::World;

/// A form sent by a page of ours, with the session's cookie.
pub async fn submit(world: &World, visitor: &Visitor, path: &str, pairs: &[(&str, &str)]) -> Answer {
    let http = &visitor.http;
    let mut request = http.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
    request = request.header("origin", world.config.public_url.as_str()).header("sec-fetch-site", "same-origin");
    http.send(request.body(form(pairs))).await
}

/// Signs up on the page; the cookie becomes the visitor's token.
async fn sign_up_on_the_page(world: &World, visitor: &mut Visitor) {
    let (email, password) = (visitor.email.clone(), visitor.password.clone());
    let pairs = [("email", email.as_str()), ("password", &password), ("company_name", "Test Corp")];
    let answer = submit(world, visitor, "/signup", &pairs).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/account"));
    let cookie = answer.header("set-cookie");
    let token = cookie.trim_start_matches("cf_session=").split(';').next().unwrap().to_owned();
    visitor.http.tap().guard_token(&token, &visitor.email);
    visitor.http.set_token(Some(token));
    visitor.customer_id = visitor.me().await.accepted()["customer"]["customer_id"].as_str().unwrap().to_owned();
}

async fn scenario_83_from_page_to_page_nobody_sees_what_is_stripes(world: &World) {
    let mut ada = world.visitor("ada@example.com");
    let home = world.http.get("/").await;
    assert!(home.page().contains("Professional") && home.page().contains("49"), "plans and prices");
    assert!(home.body.contains("href=\"/login\"") && !home.body.contains("id=\"logout\""), "a stranger can come in");
    assert!(home.body.contains("id=\"sandbox-bar\""), "no real money moves here");
    sign_up_on_the_page(world, &mut ada).await;
    let overview = ada.http.get("/account").await;
    assert!(overview.page().contains("Trial") && overview.page().contains("14"), "{}", overview.body);
    assert!(
        overview.body.contains("id=\"logout\"") && !overview.body.contains("href=\"/login\""),
        "and a customer can go"
    );
    assert!(overview.body.contains("No. 0001") && !overview.body.contains("manage-billing"), "nothing was paid yet");
    let upgraded = submit(world, &ada, "/account/upgrade", &[("plan", "professional"), ("interval", "month")]).await;
    assert_eq!(upgraded.status, 303, "{}", upgraded.body);
    let back = world.sandbox().pay(upgraded.header("location"), "success").await;
    let return_page = back.strip_prefix(world.config.public_url.as_str()).expect("our own page");
    assert!(return_page.contains("att_") && crate::tap::provider_id(return_page).is_none(), "{return_page}");
    world.settled().await;
    let license = ada.current_license().await.accepted();
    let token = license["token"].as_str().unwrap();
    assert!(ada.http.get(return_page).await.page().contains(token), "the licence is shown");
    let page = ada.http.get("/account/license").await;
    assert!(page.page().contains(token) && page.body.contains("No. 0002"), "{}", page.body);
    assert_eq!(page.body.matches("· current").count(), 1, "one of its versions counts");
    let download = ada.http.get("/account/license/download").await;
    assert_eq!((download.status, download.body.trim_end()), (200, token));
    assert!(ada.http.get("/account").await.page().contains("Professional"));
    let mailbox = ada.http.get("/sandbox/mailbox").await;
    let mails: Vec<&str> = mailbox.page().split('"').filter(|text| text.starts_with("/sandbox/mailbox/eff_")).collect();
    assert_eq!(mails.len(), 2, "{mails:?}");
    for mail in mails {
        let page = ada.http.get(mail).await;
        assert!(page.page().contains("ada@example.com") && page.body.contains("eyJ"), "{}", page.body);
    }
    let subscribed = submit(world, &ada, "/account/upgrade", &[("plan", "starter"), ("interval", "month")]).await;
    assert_eq!(subscribed.status, 409, "people are told so on a page");
    assert!(subscribed.header("content-type").starts_with("text/html"));
}

async fn pages_send_strangers_to_the_login_and_back(world: &World) {
    let ada = world.customer("ada@example.com").await;
    for path in [
        "/account",
        "/account/license",
        "/account/license/file",
        "/account/license/bundle",
        "/account/license/download",
    ] {
        let answer = world.http.get(path).await;
        assert_eq!(answer.status, 303, "{path}");
        assert!(answer.header("location").starts_with("/login"), "{path}: {}", answer.header("location"));
    }
    let mut stranger = ada.clone();
    stranger.http.set_token(None);
    for next in ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"] {
        let pairs = [("email", ada.email.as_str()), ("password", &ada.password), ("next", next)];
        let answer = submit(world, &stranger, "/login", &pairs).await;
        let cookie = answer.header("set-cookie").trim_start_matches("cf_session=").split(';').next().unwrap();
        stranger.http.tap().guard_token(cookie, &ada.email);
        assert_eq!((answer.status, answer.header("location")), (303, "/account"), "not to {next}");
    }
    let wrong = submit(world, &stranger, "/login", &[("email", &ada.email), ("password", "wrong wrong")]).await;
    assert_eq!(wrong.status, 401);
    assert!(!wrong.body.contains("wrong wrong"), "what was typed is not repeated");
}

async fn what_people_type_is_shown_as_text(world: &World) {
    let mut ada = world.visitor("ada@example.com");
    let name = "<script>alert(1)</script>\"'&";
    let body = json!({ "email": ada.email, "password": ada.password, "company_name": name });
    let answer = ada.http.post("/api/customers/signup", &body);
    let token = answer.await.accepted()["token"].as_str().unwrap().to_owned();
    ada.http.tap().guard_token(&token, &ada.email);
    ada.http.set_token(Some(token));
    for path in ["/account", "/account/license", "/sandbox/mailbox", "/signup?email=<script>alert(1)</script>"] {
        let page = ada.http.get(path).await;
        assert!(!page.body.contains("<script>alert"), "{path}");
    }
    let refused = submit(world, &ada, "/signup", &[("email", "<script>alert(2)</script>"), ("password", "x")]).await;
    assert!(!refused.body.contains("<script>alert"), "{}", refused.body);
    assert_eq!(ada.me().await.accepted()["customer"]["company_name"], Value::from(name));
}

async fn a_sign_up_that_is_refused_says_so_beside_the_field_and_keeps_what_was_typed(world: &World) {
    let fields = [("email", "ada@example.com"), ("password", "short"), ("company_name", "Ada & Sons")];
    let answer = submit(world, &world.visitor("ada@example.com"), "/signup", &fields).await;
    let page = answer.body.as_str();
    assert_eq!(answer.status, 422, "{page}");
    assert!(page.contains("One entry needs another look") && page.contains("ada@example.com"), "{page}");
    assert!(page.contains("Ada &#38; Sons") || page.contains("Ada &amp; Sons"), "{page}");
    assert_eq!(world.counts().await.first(), Some(&0), "nobody is there");
}

async fn where_real_money_moves_nobody_reads_the_mails_of_others(world: &World) {
    let ada = world.customer("ada@example.com").await;
    world.worked_off().await;
    let mail = format!("/sandbox/mailbox/{}", world.mails().await[0].effect_id);
    assert!(ada.http.get(&mail).await.page().contains("ada@example.com"), "in the sandbox they are shown");
    let settings = Settings { sandbox: false, ..(*world.app.settings).clone() };
    let app = App { settings: Arc::new(settings), ..world.app.clone() };
    let options = WebOptions { https: true, form_targets: Vec::new(), mail_from: String::new() };
    let service = web::router(WebState { app, metrics: telemetry::start_metrics(), options: Arc::new(options) });
    for (path, status) in [("/", 200), ("/sandbox/mailbox", 404), (mail.as_str(), 404)] {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let answer = service.clone().oneshot(request).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
        let body = String::from_utf8_lossy(&body);
        assert!(!body.contains("ada@example.com") && !body.contains("sandbox-bar"), "{path}: {body}");
    }
}

both_engines!(
    scenario_83_from_page_to_page_nobody_sees_what_is_stripes,
    pages_send_strangers_to_the_login_and_back,
    what_people_type_is_shown_as_text,
    a_sign_up_that_is_refused_says_so_beside_the_field_and_keeps_what_was_typed,
    where_real_money_moves_nobody_reads_the_mails_of_others,
);
