//! Every call of operators, taken from the description of the API, so that a new one is covered by being there.
//!
//! A call says which scope it needs in `x-scope`, and each field that its body needs has an `example`. What stands between braces
//! in its address is made by [`sample`], and what a call needs beyond that by [`prepare`].

use std::collections::BTreeMap;

use counterfoil::app::api_keys::{NewApiKey, create_api_key};
use counterfoil::app::manual::Step;
use counterfoil::app::operators::{By, Scope};
use counterfoil::providers::manual::NewPayment;
use counterfoil_core::signing_key::KeyState;
use counterfoil_core::{Interval, PlanCode};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Http, form};
use crate::logs;
use crate::tap::OPERATOR;
use crate::world::World;

/// A call as it is described.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// With braces.
    pub(crate) path: String,
    pub(crate) scope: Scope,
    /// Parameters that have an example, as a query.
    pub(crate) query: Vec<(String, String)>,
    /// The examples of all fields that are needed.
    pub(crate) body: Option<Value>,
}

impl Call {
    fn changes_something(&self) -> bool {
        self.method != Method::GET
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    async fn send(&self, http: &Http, place: &str, body: Option<&Value>) -> Answer {
        let pairs: Vec<(&str, &str)> = self.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let place = if pairs.is_empty() { place.to_owned() } else { format!("{place}?{}", form(&pairs)) };
        let mut request = http.request(self.method.clone(), &place);
        if let Some(body) = body {
            request = request.json(body);
        }
        http.send(request).await
    }
}

/// All calls below `/api/admin/`.
pub(crate) async fn described(world: &World) -> Vec<Call> {
    let document = world.http.get("/api/openapi.json").await.accepted();
    let mut calls = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        if !path.starts_with("/api/admin/") {
            continue;
        }
        for (method, operation) in item.as_object().expect("methods") {
            let name = format!("{method} {path}");
            let scope = operation["x-scope"].as_str().and_then(Scope::parse).filter(|scope| *scope != Scope::Checkout);
            let scope = scope.unwrap_or_else(|| {
                panic!("{name} does not say who may call it: add extensions((\"x-scope\" = json!(\"read\")))")
            });
            calls.push(Call {
                method: Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(),
                path: path.clone(),
                scope,
                query: query(operation),
                body: body(&document, operation, &name),
            });
        }
    }
    assert!(calls.len() >= 7, "{calls:?}");
    calls
}

fn query(operation: &Value) -> Vec<(String, String)> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    parameters
        .filter(|each| each["in"] == "query")
        .filter_map(|each| Some((text(&each["name"]), text(example(each).or_else(|| example(&each["schema"]))?))))
        .collect()
}

/// The example of a parameter or of a field. Newer documents have a list of them.
fn example(described: &Value) -> Option<&Value> {
    described.get("example").or_else(|| described["examples"].get(0))
}

fn body(document: &Value, operation: &Value, name: &str) -> Option<Value> {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let reference = schema["$ref"].as_str()?;
    let schema = document.pointer(reference.strip_prefix('#').expect("a reference within")).expect("a schema");
    let needed = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    // Where one of several fields is needed, the description cannot say which.
    let needed = needed.chain(name.ends_with("/trial/extend").then_some("days"));
    let body: serde_json::Map<String, Value> = needed
        .map(|field| {
            let found = example(&schema["properties"][field]);
            let example = found.unwrap_or_else(|| panic!("{name}: the field `{field}` has no #[schema(example = …)]"));
            (field.to_owned(), example.clone())
        })
        .collect();
    Some(Value::Object(body))
}

/// What stands for a part between braces: something of its own for every call.
async fn sample(world: &World, path: &str, part: &str) -> String {
    match part {
        "customer_id" => {
            let number = world.counts().await[0];
            world.customer(&format!("customer{number}@example.com")).await.customer_id
        }
        "kid" => pending_key(world).await,
        "activation_id" => {
            let number = world.counts().await[0];
            let ada = world.customer(&format!("customer{number}@example.com")).await;
            let machine = json!({ "token": ada.license, "fingerprint": "4f:1c:33" });
            let made = ada.http.post("/api/licenses/activations", &machine).await.accepted();
            made["activation_id"].as_str().expect("an id").to_owned()
        }
        "key_id" => new_key(world, Scope::Read).await.key_id.to_string(),
        "event_id" => {
            let event = world.event("customer.updated", json!({ "object": "customer" }));
            world.deliver(&event).await.accepted();
            event["id"].as_str().expect("an id").to_owned()
        }
        "job_id" => {
            // One that was given up: what is sent is over.
            world.allow_unsettled();
            let number = world.counts().await[0];
            let ada = world.customer(&format!("customer{number}@example.com")).await;
            world.worked_off().await;
            let sql = "update outbox set state = 'dead' where customer_id = $1 returning effect_id";
            world.app.db.query(sql).bind(&ada.customer_id).one().await.expect("a mail").get("effect_id").unwrap()
        }
        _ => panic!("{path}: say in `sample` what {{{part}}} stands for"),
    }
}

/// The id of the signing key that is pending.
async fn pending_key(world: &World) -> String {
    let keys = world.app.signing_keys().await.expect("keys").keys;
    match keys.into_iter().find(|key| key.state == KeyState::Pending) {
        Some(pending) => pending.key_id,
        None => world.app.generate_key(false, &By::command_line("for a test").unwrap()).await.expect("a key").key_id,
    }
}

/// What has to be so before a call can work. Most can always; `parts` is what `sample` made.
async fn prepare(world: &World, call: &Call, parts: &BTreeMap<String, String>) {
    if call.changes_something() && call.path.starts_with("/api/admin/signing-keys") && parts.is_empty() {
        // A new signing key is made where none is pending.
        let pending = pending_key(world).await;
        world.app.retire_key(&pending, &By::command_line("for a test").unwrap()).await.expect("a pending key");
    }
    let Some(step) = call.path.strip_prefix("/api/admin/customers/{customer_id}/manual/") else { return };
    let customer_id = parts["customer_id"].parse().expect("a customer id");
    let by = By::command_line("for a test").unwrap();
    let payment =
        NewPayment { reference: "INV-2026-0017".to_owned(), amount: 49_000, currency: "eur".to_owned(), periods: 1 };
    let start = Step::Start {
        plan: PlanCode::new("enterprise"),
        interval: Interval::Year,
        starts_at: None,
        payment: Some(payment),
    };
    let steps = match step {
        "start" => Vec::new(),
        "resume" => vec![start, Step::Cancel { now: false }],
        _ => vec![start],
    };
    for step in &steps {
        world.app.keep_manually(&customer_id, step, &by).await.expect("a step");
    }
}

/// The address with samples in place of its braces, and these samples by name.
async fn place(world: &World, call: &Call) -> (String, BTreeMap<String, String>) {
    let (mut place, mut parts) = (call.path.clone(), BTreeMap::new());
    while let Some((before, rest)) = place.split_once('{') {
        let (part, after) = rest.split_once('}').expect("braces come in pairs");
        let value = sample(world, &call.path, part).await;
        parts.insert(part.to_owned(), value.clone());
        place = format!("{before}{value}{after}");
    }
    (place, parts)
}

pub(crate) async fn new_key(world: &World, scope: Scope) -> NewApiKey {
    let (app, by) = (&world.app, By::command_line("for a test").unwrap());
    let key = create_api_key(&app.db, &app.clock, &app.entropy, scope.word(), scope, &by).await.unwrap();
    world.http.tap().guard_secret(&key.secret);
    key
}

pub(crate) fn with_key(world: &World, key: &NewApiKey) -> Http {
    let mut http = world.http.for_reader(OPERATOR);
    http.set_token(Some(key.secret.clone()));
    http
}

/// Lines of the audit log by operators' keys: in all, and by this one for this reason.
async fn audited(world: &World, key: &NewApiKey, reason: &str) -> (i64, i64) {
    let sql = "select cast(count(*) as bigint) as all_of_them, \
               cast(coalesce(sum(case when actor = $1 and reason = $2 then 1 else 0 end), 0) as bigint) as wanted \
               from audit_log where actor like 'operator:key_%'";
    let actor = format!("operator:{}", key.key_id);
    let row = world.app.db.query(sql).bind(actor).bind(reason).one().await.expect("a row");
    (row.get("all_of_them").unwrap(), row.get("wanted").unwrap())
}

async fn every_call_of_operators_is_closed_to_everybody_else(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let mut keys = Vec::new();
    for scope in Scope::ALL {
        keys.push((scope, new_key(world, scope).await));
    }
    let mut refused = 0;
    for call in described(world).await {
        let ((place, _), body, name) = (place(world, &call).await, call.body.as_ref(), call.name());
        println!("{name} as anybody else");
        call.send(&world.http, &place, body).await.refused(401, "operator_key_missing");
        let mut forged = world.http.for_reader(OPERATOR);
        forged.set_token(Some("cfk_forged".to_owned()));
        call.send(&forged, &place, body).await.refused(401, "operator_key_missing");
        call.send(&ada.http, &place, body).await.refused(403, "scope_missing");
        for (_, key) in keys.iter().filter(|(scope, _)| !scope.allows(call.scope)) {
            call.send(&with_key(world, key), &place, body).await.refused(403, "scope_missing");
            assert_eq!(audited(world, key, "").await.0, 0, "{name} left a line although it was refused");
            refused += 1;
            let told: usize =
                keys.iter().map(|(_, key)| logs::told("an API key was refused", key.key_id.as_str())).sum();
            assert_eq!(told, refused, "{name}: a line of the log says which key was refused");
        }
    }
}

async fn every_call_of_operators_works_with_its_scope_and_what_changes_something_is_audited(world: &World) {
    for call in described(world).await {
        let key = new_key(world, call.scope).await;
        let (http, name) = (with_key(world, &key), call.name());
        let (place, parts) = place(world, &call).await;
        prepare(world, &call, &parts).await;
        println!("{name} with {}", call.scope.word());
        let (before, _) = audited(world, &key, "").await;
        if !call.changes_something() {
            call.send(&http, &place, None).await.accepted();
            assert_eq!(audited(world, &key, "").await.0, before, "{name} only looks");
            continue;
        }
        let mut body = call.body.clone().unwrap_or_else(|| panic!("{name} changes something and takes no reason"));
        assert!(body["reason"].is_string(), "{name} takes no reason");
        for empty in ["", "   ", "two\nlines"] {
            body["reason"] = json!(empty);
            let problem = call.send(&http, &place, Some(&body)).await.refused(422, "invalid_field");
            assert_eq!(problem["field"], "reason", "{name}");
        }
        body.as_object_mut().unwrap().remove("reason");
        call.send(&http, &place, Some(&body)).await.refused(422, "invalid_request");
        let reason = format!("to see that {name} works");
        assert_eq!(audited(world, &key, &reason).await, (before, 0), "{name} left a line although it was refused");
        body["reason"] = json!(reason);
        call.send(&http, &place, Some(&body)).await.accepted();
        assert_eq!(audited(world, &key, &reason).await.1, 1, "{name} leaves one line with its actor and its reason");
    }
}

async fn keys_are_listed_without_secrets_and_a_revoked_one_opens_nothing(world: &World) {
    let admin = new_key(world, Scope::Admin).await;
    let http = with_key(world, &admin);
    let wish = json!({ "name": " help desk ", "scope": "support", "reason": "a new colleague" });
    let made = http.post("/api/admin/keys", &wish).await;
    assert_eq!((made.status, made.header("cache-control")), (201, "no-store"));
    let made = made.json();
    let (key_id, secret) = (made["key_id"].as_str().unwrap(), made["secret"].as_str().unwrap().to_owned());
    let mut desk = world.http.for_reader(OPERATOR);
    desk.set_token(Some(secret.clone()));
    desk.get("/api/admin/who").await.accepted();
    world.http.tap().guard_secret(&secret);
    let listed = http.get("/api/admin/keys").await.accepted();
    let keys = listed["keys"].as_array().unwrap();
    assert_eq!((keys.len(), &keys[0]["key_id"], &keys[0]["name"]), (2, &made["key_id"], &json!("help desk")));
    assert!(keys[0]["last_used_at"].is_string() && keys[0]["revoked_at"].is_null(), "{listed}");
    for (field, value) in [("scope", "root"), ("name", " "), ("name", "a\tb")] {
        let mut bad = wish.clone();
        bad[field] = json!(value);
        assert_eq!(http.post("/api/admin/keys", &bad).await.refused(422, "invalid_field")["field"], field);
    }
    let path = format!("/api/admin/keys/{key_id}/revoke");
    let revoked = http.post(&path, &json!({ "reason": "left us" })).await.accepted();
    assert!(revoked["revoked_at"].is_string(), "{revoked}");
    assert_eq!(http.post(&path, &json!({ "reason": "again" })).await.accepted(), revoked, "the first time counts");
    assert_eq!(audited(world, &admin, "again").await.1, 0);
    desk.get("/api/admin/who").await.refused(401, "operator_key_missing");
    for unknown in [format!("key_{}", "0".repeat(32)), "%20".to_owned(), admin.secret.clone()] {
        let path = format!("/api/admin/keys/{unknown}/revoke");
        let answer = http.post(&path, &json!({ "reason": "left us" })).await;
        answer.refused(404, "api_key_not_found");
    }
}

async fn an_event_is_shown_with_its_body_where_that_is_asked_for(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "starter").await;
    let row = world.app.db.query("select event_id from webhook_inbox order by id limit 1").one().await.unwrap();
    let (event, http) = (row.get::<String>("event_id").unwrap(), with_key(world, &new_key(world, Scope::Read).await));
    let plain = http.get(&format!("/api/admin/events/{event}")).await.accepted();
    assert_eq!((plain["event_id"].as_str(), &plain["body"]), (Some(event.as_str()), &Value::Null));
    let whole = http.get(&format!("/api/admin/events/{event}?body=true")).await.accepted();
    let sent: Value = serde_json::from_str(whole["body"].as_str().expect("a text")).expect("as Stripe sent it");
    assert_eq!(sent["id"].as_str(), Some(event.as_str()));
}

async fn the_use_of_a_key_is_noted_once_in_a_few_minutes(world: &World) {
    let key = new_key(world, Scope::Read).await;
    let http = with_key(world, &key);
    let noted = async || {
        let sql = "select last_used_at from api_keys where key_id = $1";
        let row = world.app.db.query(sql).bind(&key.key_id).one().await.expect("the key");
        row.get::<Option<counterfoil_core::Timestamp>>("last_used_at").unwrap()
    };
    assert_eq!(noted().await, None);
    http.get("/api/admin/who").await.accepted();
    let first = noted().await;
    assert!(first.is_some());
    world.sandbox().advance(200).await;
    http.get("/api/admin/who").await.accepted();
    assert_eq!(noted().await, first, "not with every request");
    world.sandbox().advance(200).await;
    http.get("/api/admin/who").await.accepted();
    assert!(noted().await > first);
}

async fn a_customer_is_found_by_address_or_provider_id_and_shown(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let http = with_key(world, &new_key(world, Scope::Read).await);
    let support = with_key(world, &new_key(world, Scope::Support).await);
    let at_stripe = world.stored(&ada).await.stripe_customer_id.expect("a counterpart");
    for query in ["email=ADA%40example.com".to_owned(), format!("external_id={at_stripe}")] {
        let found = http.get(&format!("/api/admin/customers?{query}")).await.accepted();
        assert_eq!(found["customers"][0]["customer_id"], ada.customer_id, "{query}: {found}");
    }
    let nobody = http.get("/api/admin/customers?email=nobody%40example.com").await.accepted();
    assert_eq!(nobody["customers"], json!([]));
    for query in ["", "?", "?name=ada", "?email=a%40b.example&external_id=x"] {
        http.get(&format!("/api/admin/customers{query}")).await.refused(422, "invalid_request");
    }
    let shown = http.get(&format!("/api/admin/customers/{}", ada.customer_id)).await.accepted();
    assert_eq!((&shown["email"], &shown["subscription"]["plan"]), (&json!(ada.email), &json!("professional")));
    assert_eq!((shown["licenses"].as_array().map(Vec::len), &shown["licenses"][0]["version"]), (Some(2), &json!(2)));
    assert!(!shown.to_string().contains(&ada.license), "no token");
    for unknown in [format!("cust_{}", "0".repeat(32)), "%20".to_owned(), "ada@example.com".to_owned()] {
        http.get(&format!("/api/admin/customers/{unknown}")).await.refused(404, "customer_not_found");
        let path = format!("/api/admin/customers/{unknown}/sync");
        support.post(&path, &json!({ "reason": "asked by phone" })).await.refused(404, "customer_not_found");
    }
}

both_engines!(
    every_call_of_operators_is_closed_to_everybody_else,
    every_call_of_operators_works_with_its_scope_and_what_changes_something_is_audited,
    keys_are_listed_without_secrets_and_a_revoked_one_opens_nothing,
    an_event_is_shown_with_its_body_where_that_is_asked_for,
    the_use_of_a_key_is_noted_once_in_a_few_minutes,
    a_customer_is_found_by_address_or_provider_id_and_shown,
);
