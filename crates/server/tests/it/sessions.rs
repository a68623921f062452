//! Where a customer is logged in: seen and ended by the owner, by an operator, and gone on all servers at once.

use counterfoil::app::operators::Scope;
use counterfoil::cli::service::{Roles, Service};
use counterfoil::db::Engine;
use reqwest::Method;
use serde_json::{Value, json};

use crate::actors::Visitor;
use crate::admin_routes::new_key;
use crate::client::{Answer, Http, form};
use crate::pages;
use crate::tap::OPERATOR;
use crate::world::{Setup, World};

const HOUR: i64 = 3600;
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// Another session of the same customer, begun with this browser.
async fn logged_in(ada: &Visitor, user_agent: &str) -> Visitor {
    let mut elsewhere = ada.clone();
    elsewhere.http.set_token(None);
    let body = json!({ "email": ada.email, "password": ada.password });
    let request = elsewhere.http.request(Method::POST, "/api/customers/login").header("user-agent", user_agent);
    let told = elsewhere.http.send(request.json(&body)).await.accepted();
    let token = told["token"].as_str().expect("a token").to_owned();
    ada.http.tap().guard_token(&token, &ada.email);
    elsewhere.http.set_token(Some(token));
    elsewhere
}

async fn listed(visitor: &Visitor) -> Vec<Value> {
    let told = visitor.http.get("/api/customers/sessions").await.accepted();
    told["sessions"].as_array().expect("a list").clone()
}

async fn end(visitor: &Visitor, session_id: &str) -> Answer {
    let path = format!("/api/customers/sessions/{session_id}");
    visitor.http.send(visitor.http.request(Method::DELETE, &path)).await
}

fn id(session: &Value) -> &str {
    session["session_id"].as_str().expect("an id")
}

async fn sessions_are_listed_in_words_and_ended_by_their_owner(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let phone =
        logged_in(&ada, "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/604.1").await;
    let laptop = logged_in(&ada, FIREFOX).await;
    let eve = world.customer("eve@example.com").await;
    let seen = listed(&laptop).await;
    let words: Vec<(&Value, &Value)> = seen.iter().map(|each| (&each["device"], &each["current"])).collect();
    assert_eq!(words[0], (&json!("Firefox on Linux"), &json!(true)), "the one that asks stands first");
    assert_eq!(seen.len(), 3);
    assert!(words[1..].contains(&(&json!("Safari on an iPhone"), &json!(false))), "{words:?}");
    assert!(seen.iter().all(|each| each["network"] == "127.0.0.x" && each["created_at"] == each["last_used_at"]));
    // What is shown opens nothing.
    for text in [id(&seen[0]), id(&seen[1])] {
        let mut thief = world.http.for_reader("a thief");
        thief.set_token(Some(text.to_owned()));
        thief.get("/api/customers/me").await.refused(401, "not_signed_in");
    }
    let phones =
        seen.iter().find(|each| each["device"] == "Safari on an iPhone").map(id).expect("the phone").to_owned();
    end(&eve, &phones).await.refused(404, "session_not_found");
    end(&ada, "nonsense").await.refused(404, "session_not_found");
    phone.me().await.accepted();
    assert_eq!(end(&laptop, &phones).await.status, 204);
    phone.me().await.refused(401, "not_signed_in");
    let again = end(&laptop, &phones).await.refused(404, "session_not_found");
    assert_eq!(again["field"], "session_id");
    assert_eq!(listed(&laptop).await.len(), 2);
    assert_eq!(
        laptop.http.post("/api/customers/sessions/end-others", &Value::Null).await.accepted(),
        json!({ "ended": 1 })
    );
    ada.me().await.refused(401, "not_signed_in");
    laptop.me().await.accepted();
    assert_eq!(
        laptop.http.post("/api/customers/sessions/end-others", &Value::Null).await.accepted(),
        json!({ "ended": 0 })
    );
    eve.me().await.accepted();
    let own = listed(&laptop).await;
    assert_eq!(end(&laptop, id(&own[0])).await.status, 204, "the own one as well");
    laptop.me().await.refused(401, "not_signed_in");
    let actions: Vec<String> =
        history(world, &ada).await.into_iter().filter(|action| action.starts_with("session")).collect();
    assert_eq!(actions, ["session_ended", "sessions_ended", "session_ended"]);
    let sql = "select detail from audit_log where customer_id = $1 and action = 'sessions_ended'";
    let row = world.app.db.query(sql).bind(&ada.customer_id).one().await.expect("one line");
    assert_eq!(row.get::<String>("detail").expect("a text"), "1 others");
}

async fn history(world: &World, visitor: &Visitor) -> Vec<String> {
    let sql = "select action from audit_log where customer_id = $1 order by id";
    let rows = world.app.db.query(sql).bind(&visitor.customer_id).all().await.expect("rows");
    rows.iter().map(|row| row.get::<String>("action").expect("an action")).collect()
}

async fn the_last_use_is_noted_once_an_hour_and_does_not_prolong_anything(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let first = listed(&ada).await[0].clone();
    world.sandbox().advance(HOUR - 60).await;
    ada.me().await.accepted();
    assert_eq!(listed(&ada).await[0]["last_used_at"], first["last_used_at"], "not with every request");
    world.sandbox().advance(120).await;
    ada.me().await.accepted();
    let later = listed(&ada).await[0].clone();
    assert!(later["last_used_at"].as_str() > first["last_used_at"].as_str(), "{later}");
    assert_eq!(later["expires_at"], first["expires_at"], "thirty days are thirty days");
}

async fn a_use_that_cannot_be_noted_keeps_nobody_from_reading(world: &World) {
    world.allow_unsettled();
    let ada = world.customer("ada@example.com").await;
    world.settled().await;
    world.sandbox().advance(2 * HOUR).await;
    let broken = match world.app.db.engine() {
        Engine::Sqlite => {
            "create trigger full_disk before update on sessions begin select raise(abort, 'the disk is full'); end"
        }
        Engine::Postgres => {
            "alter table sessions add constraint full_disk check (last_seen_at <= created_at) not valid"
        }
    };
    world.app.db.query(broken).execute().await.expect("a table that takes no updates");
    ada.me().await.accepted();
    let seen = listed(&ada).await;
    assert_eq!(seen[0]["last_used_at"], seen[0]["created_at"]);
}

/// A cookie that a new one takes the place of is in nobody's hands any more: its session ends. Tokens of programs stay.
async fn logging_in_again_in_a_browser_ends_the_session_before(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let elsewhere = logged_in(&ada, FIREFOX).await;
    let body = json!({ "email": ada.email, "password": ada.password });
    let cookie = format!("a=b; cf_session={}", ada.http.token().expect("a session"));
    let stranger = ada.http.for_reader(&ada.email);
    let request = stranger.request(Method::POST, "/api/customers/login").header("cookie", &cookie);
    let mut wrong = body.clone();
    wrong["password"] = json!("not the password");
    let refused = stranger.request(Method::POST, "/api/customers/login").header("cookie", &cookie).json(&wrong);
    stranger.send(refused).await.refused(401, "invalid_credentials");
    ada.me().await.accepted();
    let told = stranger.send(request.json(&body)).await.accepted();
    ada.http.tap().guard_token(told["token"].as_str().expect("a token"), &ada.email);
    ada.me().await.refused(401, "not_signed_in");
    elsewhere.me().await.accepted();
    let page = stranger.request(Method::POST, "/login").header("content-type", "application/x-www-form-urlencoded");
    let page = page.header("sec-fetch-site", "same-origin");
    let pairs = form(&[("email", ada.email.as_str()), ("password", &ada.password)]);
    let cookie = format!("cf_session={}", elsewhere.http.token().expect("a session"));
    let answer = stranger.send(page.header("cookie", cookie).body(pairs)).await;
    assert_eq!(answer.status, 303);
    elsewhere.me().await.refused(401, "not_signed_in");
}

async fn the_settings_page_shows_where_one_is_logged_in_and_has_the_buttons(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let laptop = logged_in(&ada, FIREFOX).await;
    let page = ada.http.get("/account/settings").await;
    assert!(page.page().contains("Firefox on Linux") && page.body.contains("this one"), "{}", page.body);
    assert!(!page.body.contains("cfs_") && page.body.contains("id=\"end-others\""));
    let seen = listed(&ada).await;
    let laptops = id(&seen[1]).to_owned();
    for _ in 0..2 {
        let ended = pages::submit(world, &ada, "/account/sessions/end", &[("session_id", &laptops)]).await;
        assert_eq!((ended.status, ended.header("location")), (303, "/account/settings#sessions"), "also a second time");
    }
    laptop.me().await.refused(401, "not_signed_in");
    let third = logged_in(&ada, FIREFOX).await;
    let ended = pages::submit(world, &ada, "/account/sessions/end-others", &[]).await;
    assert_eq!((ended.status, ended.header("location")), (303, "/account/settings?done=sessions#sessions"));
    third.me().await.refused(401, "not_signed_in");
    let page = ada.http.get("/account/settings?done=sessions").await;
    assert!(page.page().contains("You are logged in here only") && !page.body.contains("id=\"end-others\""));
    let own = listed(&ada).await;
    let out = pages::submit(world, &ada, "/account/sessions/end", &[("session_id", id(&own[0]))]).await;
    assert_eq!((out.status, out.header("location")), (303, "/login"));
    assert!(out.header("set-cookie").starts_with("cf_session=; "), "the browser forgets its cookie");
    ada.me().await.refused(401, "not_signed_in");
}

async fn an_operator_ends_all_sessions_of_a_customer(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let (laptop, eve) = (logged_in(&ada, FIREFOX).await, world.customer("eve@example.com").await);
    let mut desk = world.http.for_reader(OPERATOR);
    desk.set_token(Some(new_key(world, Scope::Support).await.secret));
    let path = format!("/api/admin/customers/{}/sessions/end", ada.customer_id);
    let told = desk.post(&path, &json!({ "reason": "a stolen laptop" })).await.accepted();
    assert_eq!(told, json!({ "customer_id": ada.customer_id, "ended": 2 }));
    for session in [&ada, &laptop] {
        session.me().await.refused(401, "not_signed_in");
    }
    eve.me().await.accepted();
    logged_in(&ada, FIREFOX).await.me().await.accepted();
    let nobody = format!("/api/admin/customers/cust_{}/sessions/end", "0".repeat(32));
    desk.post(&nobody, &json!({ "reason": "a stolen laptop" })).await.refused(404, "customer_not_found");
}

both_engines!(
    sessions_are_listed_in_words_and_ended_by_their_owner,
    the_last_use_is_noted_once_an_hour_and_does_not_prolong_anything,
    a_use_that_cannot_be_noted_keeps_nobody_from_reading,
    logging_in_again_in_a_browser_ends_the_session_before,
    the_settings_page_shows_where_one_is_logged_in_and_has_the_buttons,
    an_operator_ends_all_sessions_of_a_customer,
);

fn unlimited() -> Setup {
    Setup { settings: &[("COUNTERFOIL_RATE_LIMITS", "off")], ..Setup::test_mode() }
}

/// Two servers on one database. Whatever ends a session on one of them has ended it on the other with the very next request.
#[tokio::test]
async fn a_session_that_ended_on_one_server_is_refused_by_the_other_at_once() {
    let Some(world) = World::start(Engine::Postgres, unlimited()).await else { return };
    let mut second = world.config.clone();
    second.listen = "127.0.0.1:0".parse().expect("an address");
    let second = Service::start(&second, Roles { web: true, worker: false }, true).await.expect("a second server");
    let there = |visitor: &Visitor| {
        let mut http =
            Http::new(&format!("http://{}", second.address), world.http.tap_of_all()).for_reader(&visitor.email);
        http.set_token(visitor.http.token().map(str::to_owned));
        http
    };
    let ada = world.customer("ada@example.com").await;
    let mut desk = world.http.for_reader(OPERATOR);
    desk.set_token(Some(new_key(&world, Scope::Support).await.secret));
    let new_password = "another canary of ada 9W";
    for how in ["logout", "the list", "the others", "an operator", "a new password", "the deletion"] {
        let (one, other) = (logged_in(&ada, FIREFOX).await, logged_in(&ada, FIREFOX).await);
        // Both servers have just answered for it.
        one.me().await.accepted();
        there(&one).get("/api/customers/me").await.accepted();
        match how {
            "logout" => assert_eq!(one.log_out().await.status, 204),
            "the list" => {
                let seen = listed(&one).await;
                assert_eq!(end(&other, id(&seen[0])).await.status, 204);
            }
            "the others" => {
                other.http.post("/api/customers/sessions/end-others", &Value::Null).await.accepted();
            }
            "an operator" => {
                let path = format!("/api/admin/customers/{}/sessions/end", ada.customer_id);
                desk.post(&path, &json!({ "reason": "a stolen laptop" })).await.accepted();
            }
            "a new password" => {
                let body = json!({ "current_password": ada.password, "new_password": new_password });
                assert_eq!(other.http.post("/api/customers/password", &body).await.status, 204);
                let back = json!({ "current_password": new_password, "new_password": ada.password });
                assert_eq!(other.http.post("/api/customers/password", &back).await.status, 204);
            }
            _ => {
                let body = json!({ "current_password": ada.password });
                other.http.post("/api/customers/me/delete", &body).await.accepted();
            }
        }
        there(&one).get("/api/customers/me").await.refused(401, "not_signed_in");
        one.me().await.refused(401, "not_signed_in");
    }
    assert!(second.stop().await, "the second server stops in time");
    world.end().await;
}
