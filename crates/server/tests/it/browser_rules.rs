//! What every page of the table keeps to, as it is really served: no code inline, the policy beside it, nothing kept by anybody.
//! And what a mistake of ours tells.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, Uri};
use axum::routing::get;
use counterfoil::app::App;
use counterfoil::cli::service::{Roles, Service};
use counterfoil::config::{Config, Environment, LogFormat, Mode};
use counterfoil::db::Engine;
use counterfoil::telemetry;
use counterfoil::web::{WebOptions, WebState, layers};
use reqwest::Method;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::pages::submit;
use crate::principals::{CALLS, PAGES, Principal};
use crate::world::{Setup, World, tell};

/// What is inline in a page: styles, scripts, handlers, addresses that run. A browser under our policy would refuse them all.
fn inline(html: &str) -> Vec<String> {
    let mut found = Vec::new();
    for tag in html.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap_or_default();
        let lower = tag.to_ascii_lowercase();
        let name = lower.split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or_default();
        // Texts between quotes are values; an attribute's name stands outside of them.
        let outside: String = lower.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
        let names = outside.split_whitespace().skip(1).filter_map(|part| part.split_once('=').map(|(name, _)| name));
        found.extend(
            names.filter(|name| *name == "style" || name.starts_with("on")).map(|name| format!("{name}= in {tag}")),
        );
        if name == "style"
            || name == "script" && !outside.contains(" src=")
            || name == "base"
            || lower.contains("javascript:")
        {
            found.push(tag.to_owned());
        }
    }
    found
}

async fn no_page_has_code_inline_and_each_has_its_policy(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    world.http.post("/api/customers/password/forgot", &serde_json::json!({ "email": ada.email })).await.accepted();
    world.worked_off().await;
    let token = world.link_token(&ada.email, "/password/reset").await;
    let sql = "select attempt_id as x from checkout_attempts where customer_id = $1";
    let attempt: String =
        world.app.db.query(sql).bind(&ada.customer_id).one().await.expect("a row").get("x").expect("an id");
    let mail = world.mails().await[0].effect_id.to_string();
    let mut looked = 0;
    for (path, _) in PAGES {
        let path = path.replace("{effect_id}", &mail).replace("{file}", "style.css").replace("{*rest}", "nothing");
        let query = match path.as_str() {
            "/checkout/return" => format!("?attempt={attempt}"),
            "/account/change" => "?plan=enterprise&interval=year".to_owned(),
            _ => String::new(),
        };
        for http in [&ada.http, &world.http] {
            let request =
                http.request(Method::GET, &format!("{path}{query}")).header("cookie", format!("cf_link={token}"));
            let answer = http.send(request).await;
            let policy = answer.header("content-security-policy");
            assert!(
                policy.starts_with("default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; "),
                "{path}"
            );
            assert!(
                !policy.contains("unsafe") && !policy.contains('*') && !policy.contains("data:"),
                "{path}: {policy}"
            );
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
            assert!(answer.header("access-control-allow-origin").is_empty(), "{path}");
            if answer.header("content-type").starts_with("text/html") {
                assert_eq!(inline(&answer.body), Vec::<String>::new(), "{path}");
                assert_eq!(answer.header("cache-control"), "no-store", "{path}");
                looked += 1;
            }
        }
    }
    assert!(looked >= 30, "{looked} pages were looked at");
}

#[test]
fn what_is_inline_is_found() {
    for html in [
        "<p style=\"color: red\">",
        "<style>p { color: red }</style>",
        "<script>alert(1)</script>",
        "<img src=x onerror=\"alert(1)\">",
        "<a href=\"JavaScript:alert(1)\">",
        "<base href=\"//evil.example/\">",
        "<button\nonclick='alert(1)'>",
    ] {
        assert_eq!(inline(html).len(), 1, "{html}");
    }
    let fine = "<script src=\"/assets/enhance.js\" defer></script><p title=\"a style=x onclick=y\" data-one=\"1\">on style=</p>";
    assert_eq!(inline(fine), Vec::<String>::new());
}

/// Routes that panic, and some that answer 503, within everything that surrounds ours.
fn panicking(app: &App, https: bool) -> Router {
    let options = WebOptions { https, form_targets: Vec::new(), mail_from: String::new() };
    let state = WebState { app: app.clone(), metrics: telemetry::start_metrics(), options: Arc::new(options) };
    async fn broken() -> &'static str {
        panic!("canary: the inside of a mistake, cus_Qa8bC9dE0fG1h2")
    }
    async fn broken_with_data(uri: Uri) -> &'static str {
        panic!("canary: {uri}")
    }
    let routes = Router::new().route("/api/broken", get(broken)).route("/broken", get(broken));
    let bare = get(|| async { StatusCode::SERVICE_UNAVAILABLE });
    let routes = routes.route("/api/late", bare.clone()).route("/late", bare);
    let routes = routes.route("/told", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "told by its handler") }));
    let routes = routes.route("/api/broken/with-data", get(broken_with_data));
    layers::wrap(routes, &state).with_state(state)
}

async fn a_mistake_of_ours_is_answered_with_an_id_and_nothing_of_the_inside(world: &World) {
    for (path, kind) in [("/api/broken", "application/problem+json"), ("/broken", "text/html; charset=utf-8")] {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let answer = panicking(&world.app, false).oneshot(request).await.expect("an answer");
        let header =
            |name: &str| answer.headers().get(name).map_or("", |value| value.to_str().expect("a text")).to_owned();
        let id = header("x-request-id");
        assert_eq!((answer.status().as_u16(), header("content-type").as_str(), id.len()), (500, kind, 16), "{path}");
        assert_eq!(header("cache-control"), "no-store");
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
        let body = String::from_utf8_lossy(&body);
        assert!(body.contains(&id), "{path}: whoever asks for help can name it: {body}");
        for inside in ["canary", "cus_", "panicked", "browser_rules.rs"] {
            assert!(!body.contains(inside), "{path}: {inside}");
        }
    }
}

/// What takes too long is cut off with a status alone, and is told like anything else that goes wrong.
async fn what_took_too_long_is_told_in_words(world: &World) {
    let get = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let answer = panicking(&world.app, false).oneshot(request).await.expect("an answer");
        let (head, body) = answer.into_parts();
        let header = |name: &str| head.headers.get(name).map_or("", |value| value.to_str().expect("a text")).to_owned();
        let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
        let body = String::from_utf8_lossy(&body).into_owned();
        (head.status.as_u16(), header("content-type"), header("retry-after"), body)
    };
    for (path, kind) in [("/api/late", "application/problem+json"), ("/late", "text/html; charset=utf-8")] {
        let (status, content_type, retry_after, body) = get(path).await;
        assert_eq!((status, content_type.as_str(), retry_after.as_str()), (503, kind, "5"), "{path}");
        assert!(body.contains("timed_out"), "{path}: {body}");
    }
    let (status, _, _, body) = get("/told").await;
    assert_eq!((status, body.as_str()), (503, "told by its handler"), "who has something to say is heard");
}

const PANICS: &str = "COUNTERFOIL_TEST_PANICS";

/// Logs as `serve` does, in a process of its own: hook and subscriber are for a whole process.
async fn panic_in_requests() {
    telemetry::start_logging(LogFormat::Json);
    telemetry::log_panics();
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [
        ("COUNTERFOIL_LISTEN", "127.0.0.1:0".to_owned()),
        ("COUNTERFOIL_SANDBOX_LISTEN", "127.0.0.1:0".to_owned()),
        ("COUNTERFOIL_DATA_DIR", folder.path().display().to_string()),
    ];
    let config = Config::parse(None, &settings.into_iter().collect::<Environment>()).expect("a configuration");
    let service = Service::start(&config, Roles { web: true, worker: false }, true).await.expect("a service");
    for path in ["/api/broken", "/api/broken/with-data?of=ada-canary"] {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let answer = panicking(&service.app, false).oneshot(request).await.expect("an answer");
        assert_eq!(answer.status(), 500);
    }
    assert!(service.stop().await);
}

#[tokio::test]
async fn a_panic_is_lines_of_json_with_the_id_of_its_request() {
    if std::env::var_os(PANICS).is_some() {
        return panic_in_requests().await;
    }
    let own = "browser_rules::a_panic_is_lines_of_json_with_the_id_of_its_request";
    let mut child = std::process::Command::new(std::env::current_exe().expect("this program"));
    let ended = child.args([own, "--exact", "--nocapture"]).env(PANICS, "1").env("RUST_BACKTRACE", "1").output();
    let ended = ended.expect("this program runs");
    let log = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{log}");
    let line = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("no line of JSON: {line}"));
    let lines: Vec<Value> = log.lines().map(line).collect();
    let said = |words: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["message"].as_str().is_some_and(|message| message.contains(words))).collect()
    };
    let (places, answers, ends) = (said("panicked at "), said("a request panicked"), said("answered"));
    assert_eq!((places.len(), answers.len()), (2, 2), "{log}");
    for (place, answer) in places.iter().zip(&answers) {
        let id = |line: &Value| line["span"]["request_id"].as_str().unwrap_or_default().to_owned();
        assert_eq!((id(place).len(), id(place)), (16, id(answer)), "{log}");
        assert!(place["message"].as_str().is_some_and(|message| message.contains("browser_rules.rs:")), "{place}");
        assert_eq!((&place["level"], &answer["level"]), (&json!("ERROR"), &json!("ERROR")));
        assert!(ends.iter().any(|end| end["status"] == 500 && id(end) == id(place)), "{log}");
    }
    assert!(
        places[0]["text"].as_str().is_some_and(|text| text.starts_with("canary: the inside")),
        "a constant is told"
    );
    assert!(!log.contains("ada-canary"), "what a request brought is not: {log}");
}

async fn forms_lead_to_us_and_to_the_payment_pages_alone(world: &World) {
    let expected = match &world.config.mode {
        Mode::Sandbox => format!("http://{}", world.sandbox_address()),
        Mode::Stripe { api_base, .. } => {
            format!("https://checkout.stripe.com https://billing.stripe.com https://pay.acme.example {api_base}")
        }
    };
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    for path in ["/", "/login", "/account", "/account/settings", "/nothing", "/api/customers/me"] {
        let answer = ada.http.get(path).await;
        let policy = answer.header("content-security-policy");
        assert_eq!(
            policy,
            format!(
                "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'self' {expected}"
            ),
            "{path}"
        );
    }
    // Where the forms do lead: a browser holds the redirect against the policy.
    let ben = world.customer("ben@example.com").await;
    let wish = [("plan", "starter"), ("interval", "month")];
    for (visitor, path, fields) in [(&ada, "/account/portal", &[][..]), (&ben, "/account/upgrade", &wish)] {
        let answer = submit(world, visitor, path, fields).await;
        let place = answer.header("location");
        let is_allowed = expected.split(' ').any(|allowed| place.starts_with(&format!("{allowed}/")));
        assert!(answer.status == 303 && is_allowed, "{path}: {} {place}", answer.status);
    }
}

#[tokio::test]
async fn forms_lead_to_the_pages_of_stripe_where_stripe_takes_payments() {
    let setup =
        Setup { settings: &[("COUNTERFOIL_PAYMENT_ORIGINS", "https://pay.acme.example")], ..Setup::test_mode() };
    tell(Engine::Sqlite, setup, forms_lead_to_us_and_to_the_payment_pages_alone).await;
}

async fn under_https_browsers_are_told_to_stay_there(world: &World) {
    for (https, expected) in [(true, "max-age=31536000; includeSubDomains"), (false, "")] {
        for path in ["/broken", "/api/broken", "/nothing"] {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            let answer = panicking(&world.app, https).oneshot(request).await.expect("an answer");
            let header = |name: &str| answer.headers().get(name).map_or("", |value| value.to_str().expect("a text"));
            assert_eq!(header("strict-transport-security"), expected, "{path}");
            assert_eq!(header("cross-origin-opener-policy"), "same-origin", "{path}");
        }
    }
}

/// An answer to a session is in no cache, and no script of another origin reads it, whatever it asks before.
async fn what_is_a_customers_is_kept_by_nobody_and_read_by_no_other_origin(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let mut looked = 0;
    for (method, path, principal) in CALLS {
        if principal != Principal::Session || method != "GET" {
            continue;
        }
        let answer = ada.http.send(ada.http.request(Method::GET, path).header("origin", "https://evil.example")).await;
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.status);
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        let asked = ada.http.request(Method::OPTIONS, path).header("origin", "https://evil.example");
        let asked = ada.http.send(asked.header("access-control-request-method", "GET")).await;
        for each in [&answer, &asked] {
            assert!(!each.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{path}");
        }
        looked += 1;
    }
    assert!(looked >= 8, "{looked} calls were looked at");
}

async fn methods_that_nobody_needs_are_refused_everywhere(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let cookie = format!("cf_session={}; canary=1", ada.http.token().expect("a session"));
    for path in ["/", "/account", "/api/customers/me", "/api/customers/login", "/livez", "/.well-known/jwks.json"] {
        for method in ["TRACE", "TRACK", "PROPFIND", "DELETE", "PUT"] {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let request = world.http.request(method.clone(), path).header("cookie", &cookie);
            // As a program, which is not asked where it comes from.
            let answer = world.http.send(request.header("content-type", "application/json")).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(
                !answer.body.contains("cf_session") && !answer.body.contains("canary"),
                "{method} {path} repeats nothing"
            );
        }
    }
    ada.me().await.accepted();
}

both_engines!(
    no_page_has_code_inline_and_each_has_its_policy,
    a_mistake_of_ours_is_answered_with_an_id_and_nothing_of_the_inside,
    what_took_too_long_is_told_in_words,
    forms_lead_to_us_and_to_the_payment_pages_alone,
    under_https_browsers_are_told_to_stay_there,
    what_is_a_customers_is_kept_by_nobody_and_read_by_no_other_origin,
    methods_that_nobody_needs_are_refused_everywhere,
);
