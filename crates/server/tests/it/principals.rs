//! Who may call what: one table of all routes, held against the description of the API and the router of the pages.
//!
//! A route that is in no line of the table fails here.

use std::collections::BTreeSet;

use crate::world::World;

/// Whose word a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Principal {
    /// Nobody's: it shows nothing of a customer.
    Anyone,
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

use Principal::{Anyone, License, Mail, Session, SessionOrBackend, Signature};

/// All calls but those of operators, which name their scope in the description (`admin_routes.rs`).
const CALLS: [(&str, &str, Principal); 36] = [
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
    ("GET", "/metrics", Anyone),
    ("GET", "/readyz", Anyone),
    ("GET", "/status-lists/{file}", Anyone),
];

/// All pages, for all their methods. The mailbox is there in the sandbox only.
const PAGES: [(&str, Principal); 33] = [
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

both_engines!(
    Setup::auth_required();
    every_route_is_in_the_table_of_principals,
);
