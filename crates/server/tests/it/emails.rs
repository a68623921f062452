//! The address over the years: asked for, confirmed from the new mailbox, objected to from the old one, and known at Stripe.

use counterfoil::app::operators::By;
use reqwest::Method;
use serde_json::{Value, json};

use crate::actors::Visitor;
use crate::client::{Answer, form};
use crate::counts::Counts;
use crate::logs;
use crate::world::World;

const DAY: i64 = 86_400;
const NEW: &str = "ada.new@example.com";

async fn ask(visitor: &Visitor, new_email: &str) -> Answer {
    let body = json!({ "new_email": new_email, "current_password": visitor.password });
    visitor.http.post("/api/customers/email", &body).await
}

async fn confirm(world: &World, token: &str) -> Answer {
    world.http.post("/api/customers/email/confirm", &json!({ "token": token })).await
}

async fn object(world: &World, token: &str) -> Answer {
    world.http.post("/api/customers/email/object", &json!({ "token": token })).await
}

/// Asks for the address and answers the token that went to it.
async fn asked(world: &World, visitor: &Visitor, new_email: &str) -> String {
    assert_eq!(ask(visitor, new_email).await.status, 202);
    world.link_token(&new_email.to_lowercase(), "/email/confirm").await
}

/// The addresses of the customers at Stripe.
async fn at_stripe(world: &World) -> Vec<String> {
    let customers = world.sandbox().customers().await;
    customers.iter().map(|each| each["email"].as_str().unwrap().to_owned()).collect()
}

async fn owed_updates(world: &World) -> Vec<String> {
    let sql = "select state from outbox where kind = 'customer_update' order by id";
    let rows = world.app.db.query(sql).all().await.unwrap();
    rows.iter().map(|row| row.get("state").unwrap()).collect()
}

async fn a_new_address_counts_once_its_mailbox_has_answered(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let versions = ada.licenses().await.len();
    let token = asked(world, &ada, "Ada.New@Example.com").await;
    world.worked_off().await;
    assert_eq!(ada.me().await.accepted()["customer"]["email"], "ada@example.com", "nothing changes before");
    assert_eq!(at_stripe(world).await, ["ada@example.com"]);
    let objection = world.link_token(&ada.email, "/email/object").await;
    confirm(world, &objection).await.refused(422, "link_invalid");
    assert_eq!(confirm(world, &token).await.accepted()["email"], NEW);
    confirm(world, &token).await.refused(422, "link_invalid");
    object(world, &objection).await.refused(422, "link_invalid");
    world.settled().await;
    assert_eq!(ada.me().await.accepted()["customer"]["email"], NEW, "the session goes on");
    assert_eq!(at_stripe(world).await, [NEW]);
    assert_eq!(world.sandbox().customers().await[0]["name"], "Test Corp");
    assert_eq!(ada.licenses().await.len(), versions, "the licence carries no address");
    for address in ["ada@example.com", NEW] {
        let told =
            world.mails().await.iter().any(|mail| mail.recipient == address && mail.subject.contains("was changed"));
        assert!(told, "{address} is told");
    }
    ada.log_in().await.refused(401, "invalid_credentials");
    ada.email = NEW.to_owned();
    ada.http = world.http.for_reader(NEW);
    ada.log_in().await.accepted();
}

async fn what_is_asked_for_is_checked(world: &World) {
    let ada = world.customer("ada@example.com").await;
    world.customer("bob@example.com").await;
    let wrong = json!({ "new_email": NEW, "current_password": "wrong wrong" });
    ada.http.post("/api/customers/email", &wrong).await.refused(403, "wrong_password");
    assert_eq!(ask(&ada, "nonsense").await.refused(422, "invalid_email")["field"], "new_email");
    assert_eq!(ask(&ada, "ADA@example.com").await.refused(422, "invalid_field")["field"], "new_email");
    assert_eq!(ask(&ada, "bob@example.com").await.refused(409, "email_taken")["field"], "new_email");
    world.http.post("/api/customers/email", &wrong).await.refused(401, "not_signed_in");
    for number in 0..3 {
        assert_eq!(ask(&ada, &format!("ada{number}@example.com")).await.status, 202);
    }
    ask(&ada, NEW).await.refused(429, "too_many_requests");
    let older = world.link_token("ada1@example.com", "/email/confirm").await;
    confirm(world, &older).await.refused(422, "link_invalid");
    let newest = world.link_token("ada2@example.com", "/email/confirm").await;
    world.sandbox().advance(DAY + 1).await;
    confirm(world, &newest).await.refused(422, "link_invalid");
}

async fn an_objection_stops_the_change_and_ends_all_sessions(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let token = asked(world, &ada, NEW).await;
    let objection = world.link_token(&ada.email, "/email/object").await;
    assert_eq!(object(world, &objection).await.status, 204);
    confirm(world, &token).await.refused(422, "link_invalid");
    ada.me().await.refused(401, "not_signed_in");
    assert_eq!(world.stored(&ada).await.email, "ada@example.com");
}

async fn of_two_who_want_one_address_one_gets_it(world: &World) {
    let (ada, bob) = (world.customer("ada@example.com").await, world.customer("bob@example.com").await);
    let first = asked(world, &ada, NEW).await;
    let second = asked(world, &bob, NEW).await;
    let (a, b) = tokio::join!(confirm(world, &first), confirm(world, &second));
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{} {}", a.body, b.body);
    let taken = if a.status == 409 { a } else { b };
    taken.refused(409, "email_taken");
}

async fn a_new_address_is_no_way_to_a_second_trial(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let ends_at = ada.subscription().await["trial_ends_at"].clone();
    let token = asked(world, &ada, NEW).await;
    confirm(world, &token).await.accepted();
    let again = asked(world, &ada, "third@example.com").await;
    confirm(world, &again).await.accepted();
    world.sandbox().advance(2 * DAY).await;
    for address in ["ada+tag@example.com", NEW, "ada@example.com"] {
        let other = world.customer(address).await;
        assert_eq!(other.subscription().await["trial_ends_at"], ends_at, "{address} has had its trial");
    }
}

async fn a_customer_in_the_making_is_told_once_it_is_made(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let lose = json!({ "lose_answer": { "times": 3, "path": "/v1/customers", "method": "POST" } });
    world.sandbox().faults(lose).await;
    ada.checkout("professional").await.refused(503, "payment_provider_unavailable");
    let token = asked(world, &ada, NEW).await;
    confirm(world, &token).await.accepted();
    while world.app.work_effects().await.unwrap() > 0 {}
    assert_eq!(owed_updates(world).await, ["pending"], "it waits");
    assert_eq!(at_stripe(world).await, ["ada@example.com"], "made with the frozen bytes, and no answer came");
    ada.checkout_url("professional").await;
    assert_eq!(at_stripe(world).await, ["ada@example.com"], "the same customer");
    world.sandbox().advance(600).await;
    while world.app.work_effects().await.unwrap() > 0 {}
    assert_eq!(at_stripe(world).await, [NEW]);
    assert_eq!(owed_updates(world).await, ["sent"]);
    world.allow_unsettled();
}

async fn after_two_hours_without_stripe_exactly_the_newest_address_is_there(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.checkout_url("professional").await;
    world.sandbox().faults(json!({ "calls": { "fail": 100_000 } })).await;
    for address in ["second@example.com", NEW] {
        let token = asked(world, &ada, address).await;
        confirm(world, &token).await.accepted();
        world.sandbox().advance(3600).await;
        world.app.work_effects().await.unwrap();
    }
    assert_eq!(owed_updates(world).await, ["pending", "pending"]);
    world.sandbox().clear_faults().await;
    for _ in 0..3 {
        world.sandbox().advance(600).await;
        world.app.work_effects().await.unwrap();
    }
    assert_eq!(owed_updates(world).await, ["sent", "sent"]);
    assert_eq!(at_stripe(world).await, [NEW]);
    let updates = world.sandbox().list("/v1/events?type=customer.updated").await;
    assert_eq!(updates.len(), 1, "the older address never got there: {updates:#?}");
    // Nobody is created at the provider because of an address.
    let bob = world.customer("bob@example.com").await;
    let token = asked(world, &bob, "bob.new@example.com").await;
    confirm(world, &token).await.accepted();
    world.app.work_effects().await.unwrap();
    assert_eq!(at_stripe(world).await, [NEW]);
    ada.email = NEW.to_owned();
    world.allow_unsettled();
}

async fn what_stripe_does_not_take_for_days_is_given_up_and_says_whether_it_may_go_well(world: &World) {
    world.allow_unsettled();
    let ada = world.customer("ada@example.com").await;
    ada.checkout_url("professional").await;
    for (status, failure, address) in [(503, "transient", "second@example.com"), (401, "permanent", NEW)] {
        let token = asked(world, &ada, address).await;
        confirm(world, &token).await.accepted();
        let (counts, mut tries) = (Counts::begin(), 0);
        world.sandbox().faults(json!({ "calls": { "fail": 100_000, "status": status } })).await;
        while owed_updates(world).await.contains(&"pending".to_owned()) {
            tries += world.app.work_effects().await.unwrap();
            world.sandbox().advance(2 * 3600).await;
        }
        assert!((30..=40).contains(&tries), "three days of trying took {tries} tries");
        let sql = "select effect_id, failure from outbox where kind = 'customer_update' order by id desc limit 1";
        let row = world.app.db.query(sql).one().await.unwrap();
        assert_eq!(row.get::<String>("failure").unwrap(), failure, "HTTP {status}");
        let given_up: String = row.get("effect_id").unwrap();
        assert_eq!(logs::told("something owed was given up; an operator has to look", &given_up), 1);
        assert_eq!(counts.of("effects_dead_total"), 1);
        world.sandbox().clear_faults().await;
    }
    assert_eq!(owed_updates(world).await, ["dead", "dead"]);
}

async fn an_operator_sets_an_address_and_both_mailboxes_are_told(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    world.customer("bob@example.com").await;
    let id = ada.customer_id.parse().unwrap();
    let by = By::command_line("lost the old mailbox").unwrap();
    let taken = world.app.set_email_by(&id, "bob@example.com", &by).await.unwrap_err();
    assert!(taken.to_string().contains("already an account"), "{taken}");
    world.app.set_email_by(&id, NEW, &by).await.unwrap();
    world.worked_off().await;
    assert_eq!((world.mails_to("ada@example.com").await, world.mails_to(NEW).await), (2, 1));
    ada.email = NEW.to_owned();
    ada.http = world.http.for_reader(NEW);
    ada.log_in().await.accepted();
    let rows =
        world.app.db.query("select actor, reason from audit_log where action = 'email_changed'").all().await.unwrap();
    let line = |name: &str| rows[0].get::<String>(name).unwrap();
    assert_eq!((line("actor").as_str(), line("reason").as_str()), ("operator:cli", "lost the old mailbox"));
}

/// A form as a page sends it.
async fn submit(world: &World, cookie: &str, path: &str, pairs: &[(&str, &str)]) -> Answer {
    let mut request =
        world.http.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
    request = request.header("origin", world.config.public_url.as_str()).header("sec-fetch-site", "same-origin");
    world.http.send(request.header("cookie", cookie).body(form(pairs))).await
}

async fn from_the_settings_page_to_the_new_address(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let session = format!("cf_session={}", ada.http.token().unwrap());
    for (email, password, status) in [(NEW, "wrong wrong", 403), ("x", ada.password.as_str(), 422)] {
        let pairs = [("new_email", email), ("current_password", password)];
        let refused = submit(world, &session, "/account/email", &pairs).await;
        assert!(refused.status == status && refused.body.contains("-error\""), "{}", refused.body);
        assert!(refused.body.contains(&format!("value=\"{email}\"")), "what was typed is kept: {}", refused.body);
    }
    let pairs = [("new_email", NEW), ("current_password", ada.password.as_str())];
    let asked = submit(world, &session, "/account/email", &pairs).await;
    assert_eq!((asked.status, asked.header("location")), (303, "/account/settings?done=email"));
    let token = world.link_token(NEW, "/email/confirm").await;
    let opened = world.http.get(&format!("/email/confirm?token={token}")).await;
    assert_eq!((opened.status, opened.header("location")), (303, "/email/confirm"));
    let cookie = format!("cf_link={token}");
    let request = world.http.request(Method::GET, "/email/confirm").header("cookie", &cookie);
    let page = world.http.send(request).await;
    assert!(page.page().contains("question-submit") && !page.body.contains(&token));
    assert_eq!(world.stored(&ada).await.email, "ada@example.com", "opening the page changes nothing");
    assert!(submit(world, &cookie, "/email/confirm", &[]).await.page().contains(NEW));
    let again = submit(world, &cookie, "/email/confirm", &[]).await;
    assert!(again.status == 422 && again.body.contains("does not work any more"));
    let another = submit(world, &session, "/account/email", &[("new_email", "third@example.com"), pairs[1]]).await;
    assert_eq!(another.status, 303);
    let objection = format!("cf_link={}", world.link_token(NEW, "/email/object").await);
    let request = world.http.request(Method::GET, "/email/object").header("cookie", &objection);
    assert!(world.http.send(request).await.page().contains("Stop the change"));
    let stopped = submit(world, &format!("{objection}; {session}"), "/email/object", &[]).await;
    assert!(stopped.page().contains("The change is stopped") && !stopped.body.contains("id=\"logout\""));
    assert_eq!(ada.me().await.json()["code"], Value::from("not_signed_in"));
}

both_engines!(
    a_new_address_counts_once_its_mailbox_has_answered,
    what_is_asked_for_is_checked,
    an_objection_stops_the_change_and_ends_all_sessions,
    of_two_who_want_one_address_one_gets_it,
    a_new_address_is_no_way_to_a_second_trial,
    an_operator_sets_an_address_and_both_mailboxes_are_told,
    from_the_settings_page_to_the_new_address,
);
both_engines!(
    Setup::no_worker();
    a_customer_in_the_making_is_told_once_it_is_made,
    after_two_hours_without_stripe_exactly_the_newest_address_is_there,
    what_stripe_does_not_take_for_days_is_given_up_and_says_whether_it_may_go_well,
);
