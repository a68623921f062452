//! Passwords over the years: forgotten, reset by mail, changed. Who comes in by a link comes in once.

use reqwest::Method;
use serde_json::{Value, json};

use crate::actors::Visitor;
use crate::client::{Answer, form};
use crate::counts::Counts;
use crate::world::World;

const HOUR: i64 = 3600;
const NEW: &str = "another canary of ada 9W";

async fn forgot(world: &World, email: &str) -> Answer {
    world.http.post("/api/customers/password/forgot", &json!({ "email": email })).await
}

async fn reset(world: &World, token: &str, password: &str) -> Answer {
    let body = json!({ "token": token, "new_password": password });
    world.http.post("/api/customers/password/reset", &body).await
}

async fn change(visitor: &Visitor, current: &str, new: &str) -> Answer {
    let body = json!({ "current_password": current, "new_password": new });
    visitor.http.post("/api/customers/password", &body).await
}

/// Asks for a link and reads it in the mail.
async fn reset_link(world: &World, visitor: &Visitor) -> String {
    assert_eq!(forgot(world, &visitor.email).await.status, 202);
    world.worked_off().await;
    world.link_token(&visitor.email, "/password/reset").await
}

async fn subjects(world: &World, email: &str) -> Vec<String> {
    let mails = world.mails().await;
    mails.into_iter().filter(|mail| mail.recipient == email).map(|mail| mail.subject).collect()
}

async fn a_forgotten_password_is_reset_by_mail_and_ends_every_session(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let elsewhere = ada.clone();
    ada.log_in().await.accepted();
    let token = reset_link(world, &ada).await;
    reset(world, &token, "short").await.refused(422, "weak_password");
    assert_eq!(reset(world, &token, NEW).await.status, 204, "the link outlives a password that was refused");
    for session in [&ada, &elsewhere] {
        session.me().await.refused(401, "not_signed_in");
    }
    ada.log_in().await.refused(401, "invalid_credentials");
    ada.password = NEW.to_owned();
    ada.http.tap().guard_secret(NEW);
    ada.log_in().await.accepted();
    world.worked_off().await;
    let told = subjects(world, &ada.email).await;
    assert_eq!(told[..2], ["Your Acme Studio password was changed", "Choose a new password for Acme Studio"]);
}

async fn a_link_works_once_for_an_hour_and_only_the_newest(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let first = reset_link(world, &ada).await;
    let second = reset_link(world, &ada).await;
    reset(world, &first, NEW).await.refused(422, "link_invalid");
    assert_eq!(reset(world, &second, NEW).await.status, 204);
    reset(world, &second, NEW).await.refused(422, "link_invalid");
    let late = reset_link(world, &ada).await;
    world.sandbox().advance(HOUR + 1).await;
    reset(world, &late, NEW).await.refused(422, "link_invalid");
    for nothing in ["", "cfl_", &ada.license, ada.http.token().unwrap_or("none")] {
        reset(world, nothing, NEW).await.refused(422, "link_invalid");
    }
}

async fn of_many_who_use_a_link_at_once_one_gets_in(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let token = reset_link(world, &ada).await;
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..6 {
        let (http, token) = (world.http.clone(), token.clone());
        let body = json!({ "token": token, "new_password": format!("a fine password {number}") });
        tries.spawn(async move { http.post("/api/customers/password/reset", &body).await.status });
    }
    let mut statuses = tries.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 422, 422, 422, 422, 422]);
}

async fn an_hour_has_three_links_and_the_answer_stays_the_same(world: &World) {
    let (ada, counts) = (world.customer("ada@example.com").await, Counts::begin());
    for _ in 0..5 {
        assert_eq!(forgot(world, &ada.email).await.status, 202);
        world.worked_off().await;
    }
    let links = subjects(world, &ada.email).await.iter().filter(|subject| subject.starts_with("Choose")).count();
    assert_eq!((links, counts.of("links_withheld_total")), (3, 2));
    let newest = world.link_token(&ada.email, "/password/reset").await;
    assert_eq!(reset(world, &newest, NEW).await.status, 204, "asking too often does not end the newest link");
    world.sandbox().advance(HOUR + 1).await;
    reset_link(world, &ada).await;
}

async fn asking_does_the_same_for_every_address(world: &World) {
    world.allow_unsettled();
    world.customer("ada@example.com").await;
    let rows = async || {
        let sql =
            "select kind, state, cast(count(*) as bigint) as n from outbox where kind <> 'mail' group by kind, state";
        let rows = world.app.db.query(sql).all().await.unwrap();
        rows.iter().map(|row| row.get::<i64>("n").unwrap()).sum::<i64>()
    };
    let known = forgot(world, "ada@example.com").await;
    assert_eq!(rows().await, 1);
    let unknown = forgot(world, "nobody@example.com").await;
    assert_eq!(rows().await, 2, "the very same is written for an address that nobody has");
    assert_eq!((known.status, &known.body), (unknown.status, &unknown.body));
    forgot(world, "nobody@example.com").await;
    assert_eq!(rows().await, 2, "asked twice before the worker came, it is one");
    forgot(world, "no address").await.refused(422, "invalid_email");
    while world.app.work_effects().await.unwrap() > 0 {}
    assert_eq!(rows().await, 0, "a stranger's address is not kept");
    assert_eq!(world.mails_to("nobody@example.com").await, 0);
    assert_eq!(world.mails_to("ada@example.com").await, 2);
}

async fn a_password_is_changed_by_who_knows_it_and_other_sessions_end(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let elsewhere = ada.clone();
    ada.log_in().await.accepted();
    let link = reset_link(world, &ada).await;
    let refused = change(&ada, "not the password", NEW).await.refused(403, "wrong_password");
    assert_eq!(refused["field"], "current_password");
    let refused = change(&ada, &ada.password, "password").await.refused(422, "weak_password");
    assert_eq!(refused["field"], "new_password");
    world.http.post("/api/customers/password", &Value::Null).await.refused(401, "not_signed_in");
    elsewhere.me().await.accepted();
    assert_eq!(change(&ada, &ada.password, NEW).await.status, 204);
    ada.me().await.accepted();
    elsewhere.me().await.refused(401, "not_signed_in");
    reset(world, &link, "yet another one").await.refused(422, "link_invalid");
    ada.log_in().await.refused(401, "invalid_credentials");
    world.worked_off().await;
    assert_eq!(subjects(world, &ada.email).await[0], "Your Acme Studio password was changed");
}

/// A form as the page sends it, with the cookie of the link.
async fn submit(world: &World, cookie: &str, path: &str, pairs: &[(&str, &str)]) -> Answer {
    let mut request =
        world.http.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
    request = request.header("origin", world.config.public_url.as_str()).header("sec-fetch-site", "same-origin");
    world.http.send(request.header("cookie", cookie).body(form(pairs))).await
}

async fn the_link_leaves_the_address_and_opening_it_changes_nothing(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    assert!(world.http.get("/login").await.page().contains("href=\"/password/forgot\""));
    for email in [ada.email.as_str(), "nobody@example.com"] {
        let said = submit(world, "", "/password/forgot", &[("email", email)]).await;
        assert!(said.page().contains("Look into your mailbox") && !said.body.contains(email));
    }
    assert_eq!(submit(world, "", "/password/forgot", &[("email", "x")]).await.status, 422);
    world.worked_off().await;
    let token = world.link_token(&ada.email, "/password/reset").await;
    // A mail scanner opens the link, several times.
    for _ in 0..2 {
        let opened = world.http.get(&format!("/password/reset?token={token}")).await;
        assert_eq!((opened.status, opened.header("location")), (303, "/password/reset"));
        let cookie = opened.header("set-cookie");
        assert!(cookie.starts_with(&format!("cf_link={token}; Path=/password/reset; ")), "{cookie}");
        assert!(cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Lax"));
    }
    let cookie = format!("cf_link={token}");
    let page = world.http.request(Method::GET, "/password/reset").header("cookie", &cookie);
    let page = world.http.send(page).await;
    assert!(page.page().contains("reset-form") && !page.body.contains(&token), "the page does not repeat the token");
    assert_eq!((page.header("cache-control"), page.header("referrer-policy")), ("no-store", "same-origin"));
    let weak = submit(world, &cookie, "/password/reset", &[("new_password", "short")]).await;
    assert_eq!(weak.status, 422);
    let signed_in = format!("{cookie}; cf_session={}", ada.http.token().unwrap());
    let set = submit(world, &signed_in, "/password/reset", &[("new_password", NEW)]).await;
    assert!(set.page().contains("Your password is set") && !set.body.contains("id=\"logout\""), "logged out by it");
    assert!(set.header("set-cookie").starts_with("cf_link=; Path=/password/reset; Max-Age=0"));
    for (cookie, query) in [(cookie.as_str(), ""), ("", ""), ("", "?token=%0d%0aSet-Cookie:x"), ("", "?token=")] {
        let request = world.http.request(Method::GET, &format!("/password/reset{query}")).header("cookie", cookie);
        let page = world.http.send(request).await;
        assert!(page.status == 422 || page.header("set-cookie").starts_with("cf_link=; "), "{query}: {}", page.status);
    }
    ada.password = NEW.to_owned();
    ada.log_in().await.accepted();
}

async fn the_settings_page_changes_the_password(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    assert_eq!(world.http.get("/account/settings").await.header("location"), "/login?next=/account/settings");
    assert!(ada.http.get("/account/settings").await.page().contains("password-form"));
    let session = format!("cf_session={}", ada.http.token().unwrap());
    let pairs = [("username", "x"), ("current_password", "wrong wrong"), ("new_password", NEW)];
    let wrong = submit(world, &session, "/account/password", &pairs).await;
    assert!(
        wrong.status == 403 && wrong.body.contains("current_password-error") && !wrong.body.contains("wrong wrong")
    );
    let pairs = [("current_password", ada.password.as_str()), ("new_password", "12345678")];
    let weak = submit(world, &session, "/account/password", &pairs).await;
    assert!(weak.status == 422 && weak.body.contains("new_password-error"), "{}", weak.body);
    let pairs = [("current_password", ada.password.as_str()), ("new_password", NEW)];
    let changed = submit(world, &session, "/account/password", &pairs).await;
    assert_eq!((changed.status, changed.header("location")), (303, "/account/settings?done=password"));
    assert!(ada.http.get("/account/settings?done=password").await.page().contains("Your password is changed"));
    ada.password = NEW.to_owned();
    ada.log_in().await.accepted();
}

async fn the_longest_password_counts_to_its_last_character(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let longest = "long canary of ada 7Q ".repeat(6)[..128].to_owned();
    ada.http.tap().guard_secret(&longest);
    assert_eq!(change(&ada, &ada.password, &longest).await.status, 204);
    for other in [format!("{longest}x"), longest[..127].to_owned()] {
        ada.password = other;
        ada.log_in().await.refused(401, "invalid_credentials");
    }
    ada.password = longest;
    ada.log_in().await.accepted();
}

async fn a_session_that_ran_out_is_removed_and_one_that_lasts_is_not(world: &World) {
    world.allow_unsettled();
    let mut ada = world.customer("ada@example.com").await;
    world.sandbox().advance(20 * 24 * HOUR).await;
    ada.log_in().await.accepted();
    world.sandbox().advance(15 * 24 * HOUR).await;
    assert_eq!(world.app.forget_ended_sessions().await.unwrap(), 1, "the one of the sign-up");
    assert_eq!(world.app.forget_ended_sessions().await.unwrap(), 0);
    ada.me().await.accepted();
}

both_engines!(
    the_longest_password_counts_to_its_last_character,
    a_forgotten_password_is_reset_by_mail_and_ends_every_session,
    a_link_works_once_for_an_hour_and_only_the_newest,
    of_many_who_use_a_link_at_once_one_gets_in,
    an_hour_has_three_links_and_the_answer_stays_the_same,
    a_password_is_changed_by_who_knows_it_and_other_sessions_end,
    the_link_leaves_the_address_and_opening_it_changes_nothing,
    the_settings_page_changes_the_password,
);
both_engines!(
    Setup::no_worker();
    asking_does_the_same_for_every_address,
    a_session_that_ran_out_is_removed_and_one_that_lasts_is_not,
);
