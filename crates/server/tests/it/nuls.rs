//! A text with a NUL, which PostgreSQL keeps in no column and compares with none: wherever a text can be sent, it is the caller's
//! mistake and never ours.
//!
//! The places are taken from the description of the API and from the sources of the pages, so that a new one is tried by being there.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use counterfoil::app::operators::Scope;
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::actors::Visitor;
use crate::admin_routes::new_key;
use crate::client::{Answer, Http, form};
use crate::idor::{Place, Victim, pages};
use crate::tap::OPERATOR;
use crate::world::World;

const NUL: &str = "a\0b";
const ENCODED: &str = "a%00b";

/// A call with a NUL in one place.
struct Try {
    method: Method,
    path: String,
    place: String,
    body: Option<Value>,
}

/// What is sent of a schema, with nothing wrong in it.
fn sample(document: &Value, schema: &Value, name: &str, known: &BTreeMap<&'static str, String>) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.trim_start_matches('#')).expect("a schema");
        return sample(document, schema, name, known);
    }
    if let Some(known) = known.get(name) {
        return json!(known);
    }
    if let Some(example) = schema.get("example").or_else(|| schema["examples"].get(0)) {
        return example.clone();
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        let choices = schema[choice].as_array().into_iter().flatten();
        if let Some(one) = choices.into_iter().find(|one| one["type"] != "null") {
            return sample(document, one, name, known);
        }
    }
    let is = |kind: &str| match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(|each| each == kind),
        one => one == kind,
    };
    if is("object") {
        let fields = schema["properties"].as_object().into_iter().flatten();
        return fields.map(|(name, field)| (name.clone(), sample(document, field, name, known))).collect();
    }
    if is("array") {
        return json!([sample(document, &schema["items"], name, known)]);
    }
    match (&schema["enum"][0], is("integer"), is("boolean")) {
        (Value::Null, true, _) => json!(1),
        (Value::Null, _, true) => json!(false),
        (Value::Null, _, _) => json!("x"),
        (first, _, _) => first.clone(),
    }
}

/// The value with a NUL in place of each of its texts, one at a time.
fn poisoned(value: &Value) -> Vec<Value> {
    let in_place = |at: &dyn Fn(Value) -> Value, inner: &Value| poisoned(inner).into_iter().map(at).collect::<Vec<_>>();
    match value {
        Value::String(_) => vec![json!(NUL)],
        Value::Array(items) => items.first().map_or_else(Vec::new, |first| in_place(&|inner| json!([inner]), first)),
        Value::Object(fields) => {
            let each = |(name, inner): (&String, &Value)| {
                in_place(
                    &|inner| {
                        let mut fields = fields.clone();
                        fields.insert(name.clone(), inner);
                        Value::Object(fields)
                    },
                    inner,
                )
            };
            fields.iter().flat_map(each).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// The body with what has to be in it, and a NUL in each text of each field, one at a time.
fn bodies(document: &Value, operation: &Value, known: &BTreeMap<&'static str, String>) -> (Option<Value>, Vec<Value>) {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let Some(reference) = schema["$ref"].as_str() else { return (None, Vec::new()) };
    let schema = document.pointer(reference.trim_start_matches('#')).expect("a schema");
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let fields = || schema["properties"].as_object().into_iter().flatten();
    let well: Map<String, Value> = fields()
        .filter(|(name, _)| required.contains(&name.as_str()))
        .map(|(name, field)| (name.clone(), sample(document, field, name, known)))
        .collect();
    let mut all = Vec::new();
    for (name, field) in fields() {
        for bad in poisoned(&sample(document, field, name, known)) {
            let mut body = well.clone();
            body.insert(name.clone(), bad);
            all.push(Value::Object(body));
        }
    }
    (Some(Value::Object(well)), all)
}

/// All calls that are described, with a NUL in each place that takes a text.
async fn tries(world: &World, known: &BTreeMap<&'static str, String>) -> Vec<Try> {
    let document = world.http.get("/api/openapi.json").await.accepted();
    let mut tries = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let (well, bad) = bodies(&document, operation, known);
            let filled = known.iter().fold(path.clone(), |path, (name, id)| path.replace(&format!("{{{name}}}"), id));
            let one = |path: String, place: &str, body: Option<Value>| Try {
                method: method.clone(),
                path,
                place: place.to_owned(),
                body,
            };
            for each in operation["parameters"].as_array().into_iter().flatten() {
                let name = each["name"].as_str().expect("a name");
                match each["in"].as_str() {
                    Some("path") => {
                        let path = path.replace(&format!("{{{name}}}"), ENCODED);
                        tries.push(one(path, name, well.clone()));
                    }
                    Some("query") => tries.push(one(format!("{filled}?{}", form(&[(name, NUL)])), name, well.clone())),
                    // HTTP itself has no header with a NUL: `hostile.rs`.
                    _ => {}
                }
            }
            tries.extend(bad.into_iter().map(|body| one(filled.clone(), "the body", Some(body))));
        }
    }
    tries
}

/// What there is, by the names of the fields that stand for it.
fn known(victim: &Victim) -> BTreeMap<&'static str, String> {
    let mut known = victim.hers.clone();
    known.insert("token", victim.visitor.license.clone());
    known.insert("password", victim.visitor.password.clone());
    known.insert("current_password", victim.visitor.password.clone());
    known.insert("success_url", "http://localhost:3000/back".to_owned());
    known.insert("cancel_url", "http://localhost:3000/back".to_owned());
    known.insert("plan", "enterprise".to_owned());
    known.insert("kid", "A".repeat(43));
    known
}

async fn callers(world: &World, victim: &Victim) -> Vec<(&'static str, Http)> {
    let mut operator = world.http.for_reader(OPERATOR);
    operator.set_token(Some(new_key(world, Scope::Admin).await.secret));
    vec![
        ("a stranger", world.http.for_reader("a stranger")),
        ("the customer", victim.visitor.http.clone()),
        ("an operator", operator),
    ]
}

async fn a_nul_is_a_mistake_of_the_caller_everywhere(world: &World) {
    let victim = Victim::of(world).await;
    let tries = tries(world, &known(&victim)).await;
    let (in_paths, in_bodies) = (
        tries.iter().filter(|one| one.path.contains("%00")).count(),
        tries.iter().filter(|one| one.place == "the body"),
    );
    assert!(in_paths >= 25 && in_bodies.count() >= 40, "{} places were found", tries.len());
    let mut wrong = Vec::new();
    for (who, http) in callers(world, &victim).await {
        for one in &tries {
            let mut request = http.request(one.method.clone(), &one.path);
            if let Some(body) = &one.body {
                request = request.json(body);
            }
            let answer = http.send(request).await;
            if answer.status >= 500 {
                wrong.push(format!(
                    "{} {} as {who}, {}: {} {}",
                    one.method, one.path, one.place, answer.status, answer.body
                ));
            }
        }
        for route in pages() {
            for field in route.fields.iter().filter(|field| field.place != Place::Header) {
                let is_encoded = matches!(field.place, Place::Path | Place::Cookie);
                let value = if is_encoded { ENCODED } else { NUL };
                let mut one = route.clone();
                one.fields.retain(|other| other.name != field.name || other.place == field.place);
                let answer = one.send(&http, Some((field, value)), &victim.hers).await;
                if answer.status >= 500 {
                    wrong.push(format!("{} as {who}, {}: {}", route.name(), field.name, answer.status));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} answers are mistakes of ours:\n{}", wrong.len(), wrong.join("\n"));
}

/// Both engines refuse in the same words, before either is asked.
async fn what_operators_look_for_has_no_control_characters(world: &World) {
    let victim = Victim::of(world).await;
    let (_, http) = callers(world, &victim).await.remove(2);
    for text in ["a%00b", "a%0Ab", "%7f"] {
        for name in ["email", "external_id"] {
            http.get(&format!("/api/admin/customers?{name}={text}")).await.refused(422, "invalid_request");
        }
        http.get(&format!("/api/admin/events?state={text}")).await.refused(422, "invalid_request");
        http.get(&format!("/api/admin/events/{text}")).await.refused(404, "not_found");
        let reason = json!({ "reason": "to see what happens" });
        for path in ["events/{}/replay", "signing-keys/{}/retire", "signing-keys/{}/compromise"] {
            let path = format!("/api/admin/{}", path.replace("{}", text));
            http.post(&path, &reason).await.refused(404, "not_found");
        }
    }
}

/// The licence, as signed with a key of this name.
fn named_key(license: &str, key_id: &str) -> String {
    let (header, rest) = license.split_once('.').expect("three parts");
    let header = URL_SAFE_NO_PAD.decode(header).expect("base64url");
    let mut header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"] = json!(key_id);
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

async fn a_token_whose_key_has_no_name_of_ours_is_not_looked_for(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let in_length = format!("{}\0", "A".repeat(42));
    for key_id in ["\0", NUL, "", "key\n", in_length.as_str(), &"A".repeat(43)] {
        let token = named_key(&ada.license, key_id);
        let told = ada.http.post("/api/licenses/validate", &json!({ "token": token })).await.accepted();
        assert_eq!((&told["valid"], &told["code"]), (&json!(false), &json!("unknown_key")), "{key_id:?}");
        let machine = json!({ "token": token, "fingerprint": "4f:1c:33" });
        for (path, body) in [
            ("/api/licenses/refresh", json!({ "token": token })),
            ("/api/licenses/activations", machine.clone()),
            ("/api/licenses/activations/release", machine.clone()),
        ] {
            ada.http.post(path, &body).await.refused(401, "license_invalid");
        }
        let page = asked_on_the_page(&ada, &token).await;
        assert!(page.page().contains("unknown_key") || page.body.contains("not issued here"), "{key_id:?}");
    }
}

async fn asked_on_the_page(ada: &Visitor, token: &str) -> Answer {
    let request = ada.http.request(Method::POST, "/verify").header("content-type", "application/x-www-form-urlencoded");
    ada.http.send(request.body(form(&[("license", token)]))).await
}

both_engines!(
    Setup { auth_required: true, settings: &[("COUNTERFOIL_RATE_LIMITS", "off")], ..Setup::default() };
    a_nul_is_a_mistake_of_the_caller_everywhere,
    what_operators_look_for_has_no_control_characters,
    a_token_whose_key_has_no_name_of_ours_is_not_looked_for,
);
