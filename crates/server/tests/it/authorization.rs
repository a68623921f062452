//! Who may do what. A customer id stands in every licence, so where checkout needs more, it alone is worth nothing.

use counterfoil::app::App;
use counterfoil::app::api_keys::{NewApiKey, create_api_key};
use counterfoil::app::operators::{By, Scope};
use serde_json::{Value, json};

use crate::client::Answer;
use crate::world::World;

/// A problem without what differs from request to request.
fn same_for_all(answer: &Answer) -> (u16, Value, Vec<String>) {
    let mut problem = answer.json();
    problem.as_object_mut().expect("an object").remove("request_id");
    let mut headers: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
    headers.sort();
    (answer.status, problem, headers)
}

async fn scenario_27_checkout_wants_the_own_session_or_a_key(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let eve = world.customer("eve@example.com").await;
    let wish = ada.wish("professional");
    let before = world.counts().await;
    world.http.post("/api/subscriptions/checkout", &wish).await.refused(401, "not_signed_in");
    let theirs = eve.checkout_with(&wish).await;
    theirs.refused(404, "customer_not_found");
    let mut nobodys = wish.clone();
    nobodys["customer_id"] = format!("cust_{}", "ab".repeat(16)).into();
    let nobodys = eve.checkout_with(&nobodys).await;
    assert_eq!(same_for_all(&theirs), same_for_all(&nobodys), "nobody learns which customers exist");
    let mut faked = eve.clone();
    for token in ["cfs_", "cfk_x", "", "null", &ada.customer_id] {
        faked.http.set_token(Some(token.to_owned()));
        faked.checkout_with(&wish).await.refused(401, "not_signed_in");
    }
    assert_eq!(world.counts().await, before, "nothing changed");
    assert!(world.sandbox().calls().await.is_empty());
    ada.checkout_with(&wish).await.accepted();
}

async fn new_key(app: &App, scope: Scope) -> NewApiKey {
    let by = By::command_line("for a test").unwrap();
    create_api_key(&app.db, &app.clock, &app.entropy, scope.word(), scope, &by).await.unwrap()
}

async fn a_vendors_backend_may_check_out_for_any_customer(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let app = &world.app;
    let key = new_key(app, Scope::Checkout).await;
    let mut backend = world.http.for_reader("the vendor's backend");
    backend.tap().guard_secret(&key.secret);
    backend.set_token(Some(key.secret));
    let url = backend.post("/api/subscriptions/checkout", &ada.wish("professional")).await.accepted();
    assert_eq!(url, ada.checkout("professional").await.accepted(), "whoever asks, it is one checkout");
    let mut unknown = ada.wish("professional");
    unknown["customer_id"] = format!("cust_{}", "ab".repeat(16)).into();
    backend.post("/api/subscriptions/checkout", &unknown).await.refused(404, "customer_not_found");
    // The key opens nobody's account.
    for path in [
        "/api/customers/me",
        "/api/subscriptions/current",
        "/api/licenses/current",
        "/api/licenses/current/file",
        "/api/licenses",
    ] {
        backend.get(path).await.refused(401, "not_signed_in");
    }
    let revoke = "update api_keys set revoked_at = $1";
    app.db.query(revoke).bind(app.now()).execute().await.unwrap();
    backend.post("/api/subscriptions/checkout", &ada.wish("professional")).await.refused(401, "not_signed_in");
    // An operator who may only look cannot start one.
    let reader = new_key(app, Scope::Billing).await;
    backend.tap().guard_secret(&reader.secret);
    backend.set_token(Some(reader.secret));
    backend.post("/api/subscriptions/checkout", &ada.wish("professional")).await.refused(403, "scope_missing");
}

/// Whoever may not start a checkout for others gets one answer, whoever they are, and Stripe hears nothing.
async fn by_a_checkout_nobody_learns_who_is_there_or_pays(world: &World) {
    let eve = world.customer("eve@example.com").await;
    let tries = world.customer("ada@example.com").await;
    let mut pays = world.customer("bob@example.com").await;
    pays.subscribe(world, "professional").await;
    let gone = world.customer("cyd@example.com").await;
    let body = json!({ "current_password": gone.password });
    gone.http.post("/api/customers/me/delete", &body).await.accepted();
    let nobody = format!("cust_{}", "ab".repeat(16));
    let key = new_key(&world.app, Scope::Billing).await;
    let mut operator = world.http.for_reader("an operator who may not check out");
    operator.tap().guard_secret(&key.secret);
    operator.set_token(Some(key.secret));
    world.settled().await;
    let (before, calls) = (world.counts().await, world.sandbox().calls().await.len());
    for (who, caller, status) in
        [("a stranger", &world.http, 401), ("another customer", &eve.http, 404), ("an operator", &operator, 403)]
    {
        let mut answers = Vec::new();
        for target in [&nobody, &tries.customer_id, &pays.customer_id, &gone.customer_id] {
            let mut wish = eve.wish("starter");
            wish["customer_id"] = target.as_str().into();
            answers.push(same_for_all(&caller.post("/api/subscriptions/checkout", &wish).await));
        }
        assert_eq!(answers[0].0, status, "{who}");
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{who}: {answers:#?}");
    }
    assert_eq!((world.counts().await, world.sandbox().calls().await.len()), (before, calls), "nothing changed");
}

async fn what_belongs_to_a_customer_is_shown_to_nobody_else(world: &World) {
    let (ada, eve) = (world.customer("ada@example.com").await, world.customer("eve@example.com").await);
    for path in [
        "/api/customers/me",
        "/api/subscriptions/current",
        "/api/licenses/current",
        "/api/licenses",
        "/api/licenses/activations",
    ] {
        world.http.get(path).await.refused(401, "not_signed_in");
        let shown = eve.http.get(path).await;
        shown.accepted();
        assert!(!shown.body.contains(&ada.customer_id) && !shown.body.contains(&ada.email), "{path}");
    }
    world.http.post("/api/customers/logout", &Value::Null).await.refused(401, "not_signed_in");
}

both_engines!(
    Setup::auth_required();
    scenario_27_checkout_wants_the_own_session_or_a_key,
    by_a_checkout_nobody_learns_who_is_there_or_pays,
    a_vendors_backend_may_check_out_for_any_customer,
    what_belongs_to_a_customer_is_shown_to_nobody_else,
);
