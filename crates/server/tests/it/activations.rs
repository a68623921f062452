//! Machines: counted where the plan counts them, released by whoever may, and never more than the limit.

use counterfoil::app::activations::LIMIT;
use counterfoil::app::api_keys::create_api_key;
use counterfoil::app::operators::{By, Scope};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::actors::Visitor;
use crate::client::Answer;
use crate::pages::submit;
use crate::tap::OPERATOR;
use crate::world::{World, id_of};

/// Two machines in the trial, one with `starter`, three with `professional`; `enterprise` does not count them.
const SEATS: &str = r#"
    [[plans]]
    code = "trial"
    name = "Trial"
    trial_days = 14
    limits = { machines = 2 }

    [[plans]]
    code = "starter"
    name = "Starter"
    limits = { machines = 1 }
    prices = [{ interval = "month", currency = "usd", amount = 1900, stripe_price = "price_starter_monthly" }]

    [[plans]]
    code = "professional"
    name = "Professional"
    limits = { machines = 3 }
    prices = [{ interval = "month", currency = "usd", amount = 4900, stripe_price = "price_pro_monthly" }]

    [[plans]]
    code = "enterprise"
    name = "Enterprise"
    prices = [{ interval = "month", currency = "usd", amount = 19900, stripe_price = "price_enterprise_monthly" }]
"#;

const PLACE: &str = "/api/licenses/activations";

/// As a product does it: with the licence alone.
async fn activate(world: &World, token: &str, fingerprint: &str) -> Answer {
    world.http.post(PLACE, &json!({ "token": token, "fingerprint": fingerprint })).await
}

async fn release(world: &World, token: &str, fingerprint: &str) -> Answer {
    let body = json!({ "token": token, "fingerprint": fingerprint });
    world.http.post(&format!("{PLACE}/release"), &body).await
}

async fn delete(visitor: &Visitor, activation_id: &str) -> Answer {
    visitor.http.send(visitor.http.request(Method::DELETE, &format!("{PLACE}/{activation_id}"))).await
}

async fn listed(visitor: &Visitor) -> Vec<Value> {
    visitor.http.get(PLACE).await.accepted()["activations"].as_array().expect("a list").clone()
}

/// Activates all of these at the same moment.
async fn at_once(world: &World, visitor: &Visitor, fingerprints: Vec<String>) -> Vec<Answer> {
    let mut tasks = JoinSet::new();
    for fingerprint in fingerprints {
        let (http, body) = (world.http.clone(), json!({ "token": visitor.license, "fingerprint": fingerprint }));
        tasks.spawn(async move { http.post(PLACE, &body).await });
    }
    tasks.join_all().await
}

fn id(answer: &Answer) -> String {
    answer.accepted()["activation_id"].as_str().expect("an id").to_owned()
}

async fn machines_are_counted_and_a_place_that_is_given_back_is_free(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let first = activate(world, &ada.license, "4f:1c:33").await;
    assert_eq!((first.status, &first.json()["name"], &first.json()["limit"]), (201, &Value::Null, &json!(2)));
    let named = json!({ "token": ada.license, "fingerprint": "4f:1c:33", "name": " Laptop " });
    let again = world.http.post(PLACE, &named).await;
    assert_eq!((again.status, id(&again), &again.json()["name"]), (200, id(&first), &json!("Laptop")));
    let unnamed = activate(world, &ada.license, "4f:1c:33").await;
    assert_eq!((unnamed.status, &unnamed.json()["name"]), (200, &json!("Laptop")), "no name takes none away");
    assert_eq!(activate(world, &ada.license, "a0:00:01").await.status, 201);
    let refused = activate(world, &ada.license, "a0:00:02").await.refused(409, "activation_limit_reached");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("may be: 2.")), "{refused}");
    assert_eq!(activate(world, &ada.license, "4f:1c:33").await.status, 200, "who has a place keeps it");
    for _ in 0..2 {
        assert_eq!(release(world, &ada.license, "a0:00:01").await.status, 204, "a second time is as good");
    }
    let third = activate(world, &ada.license, "a0:00:02").await;
    let all = listed(&ada).await;
    assert_eq!((all.len(), &all[0]["activation_id"]), (2, &json!(id(&third))), "the newest first");
    assert_eq!(delete(&ada, &id(&third)).await.status, 204);
    delete(&ada, &id(&third)).await.refused(404, "activation_not_found");
    delete(&ada, "laptop").await.refused(404, "activation_not_found");
    assert_eq!(activate(world, &ada.license, "a0:00:03").await.status, 201);
    let kept = "select fingerprint_hash from license_activations where customer_id = $1";
    for row in world.app.db.query(kept).bind(&ada.customer_id).all().await.unwrap() {
        let hash: String = row.get("fingerprint_hash").unwrap();
        assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    }
}

async fn what_a_product_sends_is_looked_at(world: &World) {
    let ada = world.customer("ada@example.com").await;
    for (field, fingerprint, name) in [
        ("fingerprint", String::new(), "Laptop".to_owned()),
        ("fingerprint", "f".repeat(201), "Laptop".to_owned()),
        ("name", "4f".to_owned(), "n".repeat(101)),
        ("name", "4f".to_owned(), "Lap\u{202e}top".to_owned()),
    ] {
        let body = json!({ "token": ada.license, "fingerprint": fingerprint, "name": name });
        assert_eq!(world.http.post(PLACE, &body).await.refused(422, "invalid_field")["field"], field);
    }
    let most = json!({ "token": ada.license, "fingerprint": "ä".repeat(100), "name": "ä".repeat(100) });
    assert_eq!(world.http.post(PLACE, &most).await.status, 201);
    world.http.post(PLACE, &json!({ "token": ada.license })).await.refused(422, "invalid_request");
    release(world, &ada.license, "").await.refused(422, "invalid_field");
}

async fn a_license_that_is_worth_nothing_activates_nothing(world: &World) {
    let (ada, ben) = (world.customer("ada@example.com").await, world.customer("ben@example.com").await);
    let eve = world.customer("eve@example.com").await;
    for visitor in [&ada, &ben, &eve] {
        assert_eq!(activate(world, &visitor.license, "4f").await.status, 201);
    }
    let (signed, signature) = ada.license.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", ben.license.rsplit_once('.').unwrap().1);
    assert!(!signature.is_empty() && forged != ada.license);
    for token in ["", "rubbish", &forged] {
        activate(world, token, "a0").await.refused(401, "license_invalid");
        release(world, token, "4f").await.refused(401, "license_invalid");
    }
    let by = By::command_line("posted in a forum").unwrap();
    world.app.revoke_licenses(&id_of(&ben), &by).await.expect("it is revoked");
    activate(world, &ben.license, "a0").await.refused(403, "license_revoked");
    activate(world, &ben.license, "4f").await.refused(403, "license_revoked");
    release(world, &ben.license, "4f").await.refused(403, "license_revoked");
    let gone = json!({ "current_password": eve.password });
    assert_eq!(eve.http.post("/api/customers/me/delete", &gone).await.status, 204);
    activate(world, &eve.license, "a0").await.refused(410, "customer_deleted");
    release(world, &eve.license, "4f").await.refused(410, "customer_deleted");
    world.sandbox().advance(20 * 86_400).await;
    let ended = activate(world, &ada.license, "a0").await.refused(403, "license_not_valid");
    assert!(ended["detail"].as_str().is_some_and(|detail| detail.contains("`expired`")), "{ended}");
    activate(world, &ada.license, "4f").await.refused(403, "license_not_valid");
    assert_eq!(release(world, &ada.license, "4f").await.status, 204, "a place is given back all the same");
    let left = "select cast(count(*) as bigint) as n from license_activations where customer_id <> $1";
    let left = world.app.db.query(left).bind(&ben.customer_id).one().await.unwrap();
    assert_eq!(left.get::<i64>("n").unwrap(), 0, "who is deleted leaves none");
}

async fn nobody_sees_or_releases_the_machines_of_others(world: &World) {
    let (ada, eve) = (world.customer("ada@example.com").await, world.customer("eve@example.com").await);
    let adas = id(&activate(world, &ada.license, "4f").await);
    assert_ne!(id(&activate(world, &eve.license, "4f").await), adas, "the same machine of two customers is two");
    assert_eq!(listed(&eve).await.len(), 1);
    delete(&eve, &adas).await.refused(404, "activation_not_found");
    submit(world, &eve, "/account/machines/release", &[("activation_id", &adas)]).await;
    assert_eq!(release(world, &eve.license, "4f").await.status, 204);
    assert_eq!((listed(&ada).await.len(), listed(&eve).await.len()), (1, 0));
    world.http.get(PLACE).await.refused(401, "not_signed_in");
    let anybody = world.http.request(Method::DELETE, &format!("{PLACE}/{adas}"));
    world.http.send(anybody).await.refused(401, "not_signed_in");
}

async fn of_many_at_once_as_many_as_allowed_get_a_place(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let fingerprints = (0..16).map(|number| format!("machine {number}")).collect();
    let answers = at_once(world, &ada, fingerprints).await;
    let with = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((with(201), with(409)), (2, 14));
    assert_eq!(listed(&ada).await.len(), 2);
    let ben = world.customer("ben@example.com").await;
    let same = at_once(world, &ben, vec!["one".to_owned(); 8]).await;
    assert_eq!(same.iter().filter(|answer| answer.status == 201).count(), 1);
    assert!(same.iter().all(|answer| id(answer) == id(&same[0])));
}

async fn a_smaller_plan_takes_nothing_away_and_lets_nothing_in(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let trial = ada.license.clone();
    ada.subscribe(world, "professional").await;
    for fingerprint in ["a", "b", "c"] {
        assert_eq!(activate(world, &trial, fingerprint).await.status, 201, "the plan of now counts, not the licence's");
    }
    ada.http.post("/api/subscriptions/change", &json!({ "plan": "starter" })).await.accepted();
    let end = world.stored(&ada).await.current_period_ends_at.expect("a period").as_unix_seconds();
    world.sandbox().advance(end - world.sandbox().now().await + 2 * 3600).await;
    world.settled().await;
    ada.log_in().await.accepted();
    let newest = async || ada.current_license().await.accepted()["token"].as_str().expect("a licence").to_owned();
    let token = newest().await;
    let now = ada.http.get(PLACE).await.accepted();
    assert_eq!((&now["limit"], now["activations"].as_array().map(Vec::len)), (&json!(1), Some(3)));
    assert!(ada.http.get("/account/license").await.page().contains("3 machines in use, and your plan has 1."));
    assert_eq!(activate(world, &token, "a").await.status, 200, "who has a place keeps it");
    for fingerprint in ["a", "b", "c"] {
        activate(world, &token, "d").await.refused(409, "activation_limit_reached");
        assert_eq!(release(world, &token, fingerprint).await.status, 204);
    }
    assert_eq!(activate(world, &token, "d").await.status, 201);
    ada.http.post("/api/subscriptions/change", &json!({ "plan": "enterprise" })).await.accepted();
    world.settled().await;
    let token = newest().await;
    for number in 0..5 {
        let answer = activate(world, &token, &format!("more {number}")).await;
        assert_eq!((answer.status, &answer.json()["limit"]), (201, &Value::Null), "this plan has no limit `{LIMIT}`");
    }
}

async fn the_license_page_shows_machines_where_there_is_something_to_show(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let page = ada.http.get("/account/license").await;
    assert!(page.page().contains("0 of 2 machines in use."), "the trial counts them");
    let named = json!({ "token": ada.license, "fingerprint": "4f", "name": "<b>Laptop</b>" });
    let laptop = id(&world.http.post(PLACE, &named).await);
    let page = ada.http.get("/account/license").await;
    assert!(page.page().contains("1 of 2 machines in use.") && page.page().contains(&laptop));
    assert!(!page.body.contains("<b>Laptop"), "what a product sends is shown as text");
    for _ in 0..2 {
        let done = submit(world, &ada, "/account/machines/release", &[("activation_id", &laptop)]).await;
        assert_eq!((done.status, done.header("location")), (303, "/account/license#machines"), "a second click too");
    }
    assert!(listed(&ada).await.is_empty());
    ada.subscribe(world, "enterprise").await;
    assert!(!ada.http.get("/account/license").await.page().contains("id=\"machines\""), "nothing to show");
}

async fn operators_see_machines_and_release_them_for_a_reason(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let named = json!({ "token": ada.license, "fingerprint": "4f", "name": "Laptop" });
    let laptop = id(&world.http.post(PLACE, &named).await);
    let export = ada.http.get("/api/customers/me/export").await.accepted();
    assert_eq!((&export["activations"][0]["name"], &export["activations"][1]), (&json!("Laptop"), &Value::Null));
    let (app, by) = (&world.app, By::command_line("for a test").unwrap());
    let key = create_api_key(&app.db, &app.clock, &app.entropy, "desk", Scope::Support, &by).await.unwrap();
    world.http.tap().guard_secret(&key.secret);
    let mut desk = world.http.for_reader(OPERATOR);
    desk.set_token(Some(key.secret));
    let customer = format!("/api/admin/customers/{}", ada.customer_id);
    assert_eq!(desk.get(&customer).await.accepted()["machines"], 1);
    let seen = desk.get(&format!("{customer}/activations")).await.accepted();
    assert_eq!((&seen["limit"], &seen["activations"][0]["activation_id"]), (&json!(2), &json!(laptop)));
    let path = format!("/api/admin/activations/{laptop}/release");
    let released = desk.post(&path, &json!({ "reason": "the laptop was stolen" })).await.accepted();
    assert_eq!(released["customer_id"], ada.customer_id);
    desk.post(&path, &json!({ "reason": "again" })).await.refused(404, "activation_not_found");
    let shown = desk.get(&customer).await.accepted();
    assert_eq!(shown["machines"], 0);
    let line = &shown["history"][0];
    assert_eq!((&line["action"], &line["reason"]), (&json!("activation_released"), &json!("the laptop was stolen")));
}

both_engines!(
    Setup { file: Some(super::SEATS), ..Setup::default() };
    machines_are_counted_and_a_place_that_is_given_back_is_free,
    what_a_product_sends_is_looked_at,
    a_license_that_is_worth_nothing_activates_nothing,
    nobody_sees_or_releases_the_machines_of_others,
    of_many_at_once_as_many_as_allowed_get_a_place,
    a_smaller_plan_takes_nothing_away_and_lets_nothing_in,
    the_license_page_shows_machines_where_there_is_something_to_show,
    operators_see_machines_and_release_them_for_a_reason,
);
