//! Sign-up, login, logout and the customer's own record.

use counterfoil_core::Timestamp;
use serde_json::{Value, json};

use crate::world::World;

async fn signing_up_gives_a_trial_a_license_a_session_and_a_mail(world: &World) {
    let mut ada = world.visitor("Ada@Example.COM");
    let answer = ada.sign_up().await;
    assert_eq!(answer.status, 201);
    let told = answer.json();
    assert_eq!(told["customer"]["email"], "ada@example.com", "the address is normalized");
    assert_eq!(told["customer"]["company_name"], "Test Corp");
    assert_eq!(told["subscription"]["trial_ends_at"], told["subscription"]["current_period_ends_at"]);
    assert_eq!(told["license"]["version"], 1);
    let cookie = answer.header("set-cookie");
    for part in ["cf_session=cfs_", "; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=2592000"] {
        assert!(cookie.contains(part), "{part} is missing in the cookie");
    }
    assert!(!cookie.contains("Secure"), "plain http would lose a Secure cookie");
    let me = ada.me().await.accepted();
    assert_eq!(me["customer"], told["customer"]);
    assert_eq!(me["subscription"], told["subscription"]);
    assert_eq!(me["license"]["token"], told["license"]["token"]);
    let mails = world.mails().await;
    assert_eq!((mails.len(), mails[0].recipient.as_str()), (1, "ada@example.com"));
    assert!(mails[0].body_text.contains(&ada.license));
}

async fn the_cookie_and_the_bearer_token_are_the_same_session(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let token = ada.http.token().expect("a session").to_owned();
    let stranger = world.http.for_reader(&ada.email);
    let with_cookie = stranger.request(reqwest::Method::GET, "/api/customers/me");
    let with_cookie = stranger.send(with_cookie.header("cookie", format!("a=b; cf_session={token}"))).await.accepted();
    assert_eq!(with_cookie, ada.me().await.accepted());
    // An Authorization header is meant; the cookie beside it may only happen to be there.
    let both = stranger.request(reqwest::Method::GET, "/api/customers/me").bearer_auth("cfs_nobody");
    stranger.send(both.header("cookie", format!("cf_session={token}"))).await.refused(401, "not_signed_in");
}

async fn logging_in_begins_a_session_and_logging_out_ends_that_one_only(world: &World) {
    let first = world.customer("ada@example.com").await;
    let mut second = first.clone();
    second.log_in().await.accepted();
    assert_ne!(first.http.token(), second.http.token());
    let gone = second.log_out().await;
    assert_eq!((gone.status, gone.body.as_str()), (204, ""));
    assert!(gone.header("set-cookie").starts_with("cf_session=; "), "the browser forgets its cookie");
    second.me().await.refused(401, "not_signed_in");
    second.log_out().await.refused(401, "not_signed_in");
    first.me().await.accepted();
}

async fn a_wrong_password_and_an_unknown_address_get_the_same_answer(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.password = "something else entirely".to_owned();
    let mut nobody = world.visitor("nobody@example.com");
    let mut without_request_id = async |email: &str, password: &str| {
        (nobody.email, nobody.password) = (email.to_owned(), password.to_owned());
        let mut problem = nobody.log_in().await.refused(401, "invalid_credentials");
        problem.as_object_mut().expect("an object").remove("request_id");
        problem
    };
    let wrong = without_request_id("ada@example.com", "something else entirely").await;
    assert_eq!(wrong, without_request_id("nobody@example.com", "something else entirely").await);
    assert_eq!(wrong, without_request_id("not an address", "x").await);
    assert_eq!(wrong, without_request_id("ada@example.com", &"x".repeat(10_000)).await);
    assert_eq!(wrong, without_request_id("ada@example.com", "").await);
}

async fn an_address_belongs_to_one_customer_however_it_is_written(world: &World) {
    world.customer("ada@example.com").await;
    let before = world.counts().await;
    for email in ["ada@example.com", " ADA@Example.Com ", "ada@EXAMPLE.com"] {
        world.visitor(email).sign_up().await.refused(409, "email_taken");
    }
    assert_eq!(world.counts().await, before, "a refusal changes nothing");
    let mut international = world.visitor("jo@bücher.example");
    international.sign_up().await.accepted();
    world.visitor("jo@xn--bcher-kva.example").sign_up().await.refused(409, "email_taken");
}

async fn the_same_address_signing_up_ten_times_at_once_becomes_one_customer(world: &World) {
    let mut signing_up = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let mut ada = world.visitor("ada@example.com");
        signing_up.spawn(async move { ada.sign_up().await });
    }
    let answers = signing_up.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        refused.refused(409, "email_taken");
    }
    assert_eq!(world.counts().await[..3], [1, 1, 1], "one customer, one licence, one mail");
}

async fn a_second_address_of_the_same_person_goes_on_with_the_first_trial(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let first = ada.subscription().await;
    world.sandbox().advance(86_400).await;
    let tagged = world.customer("ada+again@example.com").await;
    assert_eq!(tagged.subscription().await["trial_ends_at"], first["trial_ends_at"]);
    world.sandbox().advance(15 * 86_400).await;
    let mut late = world.visitor("ada+later@example.com");
    let told = late.sign_up().await.accepted();
    assert_eq!((&told["license"], &told["subscription"]["status"]), (&Value::Null, &json!("trial_expired")));
    late.current_license().await.refused(404, "no_license");
    // An account without a trial can still buy.
    late.subscribe(world, "starter").await;
}

async fn a_session_ends_after_thirty_days(world: &World) {
    let ada = world.customer("ada@example.com").await;
    world.sandbox().advance(30 * 86_400 - 60).await;
    ada.me().await.accepted();
    world.sandbox().advance(120).await;
    ada.me().await.refused(401, "not_signed_in");
}

async fn a_trial_that_is_over_unlocks_nothing(world: &World) {
    let ada = world.customer("ada@example.com").await;
    assert_eq!(ada.validate(&ada.license).await["valid"], true);
    world.sandbox().advance(14 * 86_400 + 1).await;
    let judged = ada.validate(&ada.license).await;
    assert_eq!((&judged["valid"], &judged["features"]), (&json!(false), &json!([])));
    ada.refresh(&ada.license).await.refused(404, "no_license");
    assert_eq!(ada.subscription().await["status"], "trial_expired");
}

async fn passwords_and_tokens_are_stored_as_hashes_only(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let sql = "select password_hash from customers where customer_id = $1";
    let row = world.app.db.query(sql).bind(&ada.customer_id).one().await.unwrap();
    let hash: String = row.get("password_hash").unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    let row = world.app.db.query("select token_hash, expires_at from sessions").one().await.unwrap();
    let stored: String = row.get("token_hash").unwrap();
    assert!(!stored.contains(ada.http.token().unwrap().trim_start_matches("cfs_")));
    assert!(row.get::<Timestamp>("expires_at").unwrap() > world.app.now().plus_days(29));
}

both_engines!(
    signing_up_gives_a_trial_a_license_a_session_and_a_mail,
    the_cookie_and_the_bearer_token_are_the_same_session,
    logging_in_begins_a_session_and_logging_out_ends_that_one_only,
    a_wrong_password_and_an_unknown_address_get_the_same_answer,
    an_address_belongs_to_one_customer_however_it_is_written,
    the_same_address_signing_up_ten_times_at_once_becomes_one_customer,
    a_second_address_of_the_same_person_goes_on_with_the_first_trial,
    a_session_ends_after_thirty_days,
    a_trial_that_is_over_unlocks_nothing,
    passwords_and_tokens_are_stored_as_hashes_only,
);
