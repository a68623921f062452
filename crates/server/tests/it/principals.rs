//! Who may call what: one table of all routes, held against the description of the API and the router of the pages.
//!
//! A route that is in no line of the table fails here.

use std::collections::BTreeSet;

use reqwest::Method;

use crate::world::World;

/// Whose word a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    /// Nobody's: it shows nothing of a customer.
    Anyone,
    /// Nobody's on the machine itself; elsewhere that of an operator.
    Machine,
    /// A customer's session.
    Session,
    /// A session, or the key of a vendor's backend.
    SessionOrBackend,
    /// A licence in the body.
    License,
    /// A token from a mail, in the body or in a cookie.
    Mail,
    /// Stripe's signature.
    Signature,
}

use Principal::{Anyone, License, Machine, Mail, Session, SessionOrBackend, Signature};

/// All calls but those of operators, which name their scope in the description (`admin_routes.rs`).
pub(crate) const CALLS: [(&str, &str, Principal); 39] = [
    ("GET", "/.well-known/counterfoil-keys.jwt", Anyone),
    ("GET", "/.well-known/jwks.json", Anyone),
    ("POST", "/api/customers/email", Session),
    ("POST", "/api/customers/email/confirm", Mail),
    ("POST", "/api/customers/email/object", Mail),
    ("POST", "/api/customers/email/verify", Mail),
    ("POST", "/api/customers/email/verify/resend", Session),
    ("POST", "/api/customers/login", Anyone),
    ("POST", "/api/customers/logout", Session),
    ("GET", "/api/customers/me", Session),
    ("POST", "/api/customers/me/delete", Session),
    ("GET", "/api/customers/me/export", Session),
    ("POST", "/api/customers/password", Session),
    ("POST", "/api/customers/password/forgot", Anyone),
    ("POST", "/api/customers/password/reset", Mail),
    ("GET", "/api/customers/sessions", Session),
    ("POST", "/api/customers/sessions/end-others", Session),
    ("DELETE", "/api/customers/sessions/{session_id}", Session),
    ("POST", "/api/customers/signup", Anyone),
    ("GET", "/api/licenses", Session),
    ("GET", "/api/licenses/activations", Session),
    ("POST", "/api/licenses/activations", License),
    ("POST", "/api/licenses/activations/release", License),
    ("DELETE", "/api/licenses/activations/{activation_id}", Session),
    ("GET", "/api/licenses/current", Session),
    ("GET", "/api/licenses/current/file", Session),
    ("POST", "/api/licenses/refresh", License),
    ("POST", "/api/licenses/validate", License),
    ("POST", "/api/subscriptions/cancel", Session),
    ("POST", "/api/subscriptions/change", Session),
    ("POST", "/api/subscriptions/checkout", SessionOrBackend),
    ("GET", "/api/subscriptions/current", Session),
    ("POST", "/api/subscriptions/portal", Session),
    ("POST", "/api/subscriptions/resume", Session),
    ("POST", "/api/webhooks/stripe", Signature),
    ("GET", "/livez", Anyone),
    ("GET", "/metrics", Machine),
    ("GET", "/readyz", Anyone),
    ("GET", "/status-lists/{file}", Anyone),
];

/// All pages, for all their methods. The mailbox is there in the sandbox only.
pub(crate) const PAGES: [(&str, Principal); 35] = [
    ("/", Anyone),
    ("/account", Session),
    ("/account/cancel", Session),
    ("/account/change", Session),
    ("/account/delete", Session),
    ("/account/email", Session),
    ("/account/email/verify", Session),
    ("/account/export", Session),
    ("/account/license", Session),
    ("/account/license/bundle", Session),
    ("/account/license/download", Session),
    ("/account/license/file", Session),
    ("/account/machines/release", Session),
    ("/account/password", Session),
    ("/account/portal", Session),
    ("/account/resume", Session),
    ("/account/sessions/end", Session),
    ("/account/sessions/end-others", Session),
    ("/account/settings", Session),
    ("/account/upgrade", Session),
    ("/assets/{file}", Anyone),
    ("/checkout/return", Session),
    ("/email/confirm", Mail),
    ("/email/object", Mail),
    ("/email/verify", Mail),
    ("/favicon.ico", Anyone),
    ("/login", Anyone),
    ("/logout", Anyone),
    ("/password/forgot", Anyone),
    ("/password/reset", Mail),
    ("/sandbox/mailbox", Anyone),
    ("/sandbox/mailbox/{effect_id}", Anyone),
    ("/signup", Anyone),
    ("/verify", License),
    // A route of the whole API for what is not there.
    ("/api/{*rest}", Anyone),
];

/// `METHOD path` of all described calls; those of operators apart.
async fn described(world: &World) -> (BTreeSet<String>, BTreeSet<String>) {
    let document = world.http.get("/api/openapi.json").await.accepted();
    let mut calls = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("methods").keys() {
            calls.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    calls.into_iter().partition(|call| call.contains(" /api/admin/"))
}

async fn every_route_is_in_the_table_of_principals(world: &World) {
    let (_operators, calls) = described(world).await;
    let table: BTreeSet<_> = CALLS.iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    assert_eq!(calls, table, "a call has no principal, or a principal has no call");
    let mut routed = BTreeSet::new();
    for source in [include_str!("../../src/web/portal/mod.rs"), include_str!("../../src/web/api/mod.rs")] {
        let paths = source.split(".route(\"").skip(1).filter_map(|rest| rest.split_once('"'));
        routed.extend(paths.map(|(path, _)| path.to_owned()));
    }
    let described: BTreeSet<_> = CALLS.iter().map(|(_, path, _)| (*path).to_owned()).collect();
    let pages: BTreeSet<_> = PAGES.iter().map(|(path, _)| (*path).to_owned()).collect();
    let routed: BTreeSet<_> = routed.difference(&described).cloned().collect();
    assert_eq!(routed, pages, "a page has no principal, or a principal has no page");
}

/// Another site's form, and its script, are refused by every route that changes something, before anything else is looked at.
async fn every_route_that_changes_something_refuses_another_site(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let cookie = format!("cf_session={}", ada.http.token().expect("a session"));
    let (operators, calls) = described(world).await;
    let calls = operators.iter().chain(&calls).filter_map(|call| call.split_once(' '));
    let pages = PAGES.iter().filter(|(path, _)| is_posted(path)).map(|(path, _)| ("POST", *path));
    let routes: Vec<(&str, &str)> = calls.filter(|(method, _)| *method != "GET").chain(pages).collect();
    assert!(routes.len() >= 60, "{routes:?}");
    let before = world.counts().await;
    for (method, path) in routes {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        for foreign in [
            &[][..],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
        ] {
            for kind in [Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("text/ping"), None] {
                let mut request = world.http.request(method.clone(), path).header("cookie", &cookie);
                for (name, value) in foreign {
                    request = request.header(*name, *value);
                }
                if let Some(kind) = kind {
                    request = request.header("content-type", kind);
                }
                let answer = world.http.send(request.body("{}")).await;
                assert_eq!(answer.status, 403, "{method} {path} from {foreign:?} as {kind:?}");
                let is_page = answer.header("content-type").starts_with("text/html");
                assert!(is_page || answer.json()["code"] == "cross_site_request", "{method} {path}: {}", answer.body);
            }
        }
    }
    assert_eq!(world.counts().await, before);
    ada.me().await.accepted();
    // A program with a cookie jar sends what no form can send.
    let body = serde_json::json!({ "token": ada.license }).to_string();
    let request = world.http.request(Method::POST, "/api/licenses/validate").header("cookie", &cookie);
    let answer = world.http.send(request.header("content-type", "application/json").body(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    // What has no body says so all the same, or where it comes from; a token in the header is no browser's doing.
    let path = "/api/customers/sessions/end-others";
    let bare = || world.http.request(Method::POST, path).header("cookie", &cookie);
    world.http.send(bare()).await.refused(403, "cross_site_request");
    world.http.send(bare().header("content-type", "application/json")).await.accepted();
    world.http.send(bare().header("origin", world.config.public_url.as_str())).await.accepted();
    ada.http.send(ada.http.request(Method::POST, path).header("cookie", &cookie)).await.accepted();
}

/// Whether the page has a form that is sent to it.
fn is_posted(path: &str) -> bool {
    let router = include_str!("../../src/web/portal/mod.rs");
    let own = router.split_once(&format!(".route(\"{path}\"")).map_or("", |(_, rest)| rest);
    own.split(".route(").next().is_some_and(|own| own.contains("post("))
}

/// What is only looked at changes nothing: not one row comes, goes or is written anew by any page or call that is got.
async fn nothing_that_is_only_asked_for_changes_anything(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let (_, calls) = described(world).await;
    let got = calls.iter().filter_map(|call| call.strip_prefix("GET ")).map(str::to_owned);
    let pages = PAGES.iter().map(|(path, _)| path.replace("{*rest}", "nothing"));
    let state = async || (world.counts().await, ada.me().await.accepted(), ada.licenses().await);
    let before = state().await;
    for path in got.chain(pages) {
        ada.http.get(&path).await;
        ada.http.get(&format!("{path}?token=cfl_x&attempt=x&plan=starter&interval=month&session_id=x")).await;
    }
    assert_eq!(state().await, before);
}

both_engines!(
    Setup::auth_required();
    every_route_is_in_the_table_of_principals,
    every_route_that_changes_something_refuses_another_site,
    nothing_that_is_only_asked_for_changes_anything,
);
