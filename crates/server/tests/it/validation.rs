//! `validate` and `refresh` as a product meets them: every answer has a code, and nobody's haste is everybody's wait.

use counterfoil::app::Error;
use counterfoil::app::limits::{LICENSES_OF_A_CUSTOMER, TOKENS_OF_NOBODY};
use counterfoil::app::validation::Question;
use counterfoil_core::Refusal;
use counterfoil_license::{Expectations, KeySet, ValidationAnswer, ValidationAnswerError};
use serde_json::{Value, json};

use crate::world::World;

async fn ask(world: &World, question: Value) -> Value {
    world.http.post("/api/licenses/validate", &question).await.accepted()
}

fn told(answer: &Value) -> (Option<bool>, &str) {
    (answer["valid"].as_bool(), answer["code"].as_str().unwrap_or_default())
}

async fn a_product_asks_for_what_it_is_about_to_unlock(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "starter").await;
    let (token, product) = (ada.license.clone(), world.config.product.clone());
    let good = ask(world, json!({ "token": token, "product": product, "features": ["core", "exports"] })).await;
    assert_eq!(told(&good), (Some(true), "valid"));
    assert_eq!((&good["missing_features"], &good["limits"]["seats"]), (&json!([]), &json!(5)));
    let missing = ask(world, json!({ "token": token, "features": ["core", "sso", "api_access"] })).await;
    assert_eq!(told(&missing), (Some(false), "feature_missing"));
    assert_eq!(missing["missing_features"], json!(["sso", "api_access"]));
    assert_eq!((&missing["features"], &missing["plan"]), (&json!([]), &json!("starter")), "why, and no rights");
    let other = ask(world, json!({ "token": token, "product": "another-product" })).await;
    assert_eq!(told(&other), (Some(false), "wrong_product"));
}

async fn an_answer_is_given_for_any_moment(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let trial = ada.license.clone();
    ada.subscribe(world, "professional").await;
    let license = ada.current_license().await.accepted();
    let paid_until = world.stored(&ada).await.paid_until.unwrap();
    let at = |days: i64| json!(paid_until.plus_days(days));
    let table = [
        (at(-40), false, "not_yet_valid"),
        (at(-3), true, "refresh_due"),
        (at(0), true, "in_grace"),
        (at(6), true, "in_grace"),
        (at(7), false, "expired"),
    ];
    for (moment, valid, code) in table {
        let answer = ask(world, json!({ "token": license["token"], "at": moment })).await;
        assert_eq!(told(&answer), (Some(valid), code), "{moment}");
        assert_eq!(answer["at"], moment);
    }
    let old = ask(world, json!({ "token": trial })).await;
    assert_eq!((told(&old), &old["superseded"]), ((Some(true), "superseded"), &json!(true)));
    assert_eq!(told(&ask(world, json!({ "token": trial, "at": at(-1) })).await), (Some(false), "expired"));
    world
        .http
        .post("/api/licenses/validate", &json!({ "token": trial, "at": "soon" }))
        .await
        .refused(422, "invalid_request");
}

async fn a_signed_answer_is_for_one_question_only(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let keys = KeySet::from_jwks(&world.http.get("/.well-known/jwks.json").await.body).unwrap();
    let expect = Expectations::new(world.config.public_url.as_str(), &world.config.product);
    let now = world.app.now().as_unix_seconds();
    let open = |answer: &Value, nonce: &str, at: i64| {
        ValidationAnswer::open(answer["signed"].as_str().expect("it is signed"), &keys, &expect, nonce, at)
    };
    let answer = ask(world, json!({ "token": ada.license, "signed": true, "nonce": "8f2c" })).await;
    let read = open(&answer, "8f2c", now).unwrap();
    assert_eq!(
        (read.valid, read.code.as_str(), read.license_id.as_deref()),
        (true, "valid", answer["license_id"].as_str())
    );
    assert_eq!(open(&answer, "8f2d", now), Err(ValidationAnswerError::WrongNonce));
    assert_eq!(open(&answer, "8f2c", now + 400), Err(ValidationAnswerError::Expired));
    let no = ask(world, json!({ "token": "rubbish", "signed": true, "nonce": "1" })).await;
    let read = open(&no, "1", now).unwrap();
    assert_eq!((read.valid, read.code.as_str(), read.license_id), (false, "malformed", None));
    assert!(ask(world, json!({ "token": ada.license })).await.get("signed").is_none());
    let refused = [
        json!({ "token": ada.license, "nonce": "1" }),
        json!({ "token": ada.license, "signed": true, "nonce": "n".repeat(129) }),
        json!({ "token": ada.license, "features": vec!["core"; 101] }),
        json!({ "token": ada.license, "product": "p".repeat(129) }),
    ];
    for question in refused {
        world.http.post("/api/licenses/validate", &question).await.refused(422, "invalid_request");
    }
}

async fn who_has_the_newest_license_is_told_so_in_a_line(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let refresh = async |token: &str, etag: &str| {
        let request = world.http.request(reqwest::Method::POST, "/api/licenses/refresh").header("if-none-match", etag);
        world.http.send(request.json(&json!({ "token": token }))).await
    };
    let first = ada.refresh(&ada.license).await;
    let etag = first.header("etag").to_owned();
    assert_eq!(etag, format!("{:?}", first.accepted()["license_id"].as_str().unwrap()));
    let same = refresh(&ada.license, &etag).await;
    assert_eq!((same.status, same.body.as_str()), (304, ""));
    let trial = ada.license.clone();
    ada.subscribe(world, "starter").await;
    let newer = refresh(&trial, &etag).await;
    assert_eq!(newer.accepted()["token"], ada.license.as_str());
    assert_eq!(refresh("rubbish", "*").await.status, 401, "nothing is said to who has no licence");
}

async fn one_customer_s_haste_is_nobody_else_s_wait(world: &World) {
    let (ada, ben) = (world.customer("ada@example.com").await, world.customer("ben@example.com").await);
    let now = world.app.now();
    let drain = |caller: &str, rate| while world.app.limits.take(caller, rate, now).is_ok() {};
    drain(&ada.customer_id, LICENSES_OF_A_CUSTOMER);
    // The clock goes on meanwhile, and each tenth of a second gives one more.
    let mut refused = None;
    for _ in 0..100 {
        let answer = ada.refresh(&ada.license).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("haste is refused");
    refused.refused(429, "too_many_requests");
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| (1..=2).contains(&seconds)));
    ben.refresh(&ben.license).await.accepted();
    drain("", TOKENS_OF_NOBODY);
    ben.refresh(&ben.license).await.accepted();
    assert_eq!(told(&ben.validate(&ben.license).await), (Some(true), "valid"));
}

/// A flood of what is nobody's costs the database nothing: it is gone here, and the flood is still told to wait.
async fn tokens_of_nobody_are_counted_before_anything_is_read_for_them(world: &World) {
    world.allow_unsettled();
    let ada = world.customer("ada@example.com").await;
    // From here on the keys are known.
    assert_eq!(told(&ada.validate(&ada.license).await), (Some(true), "valid"));
    let (forged, _) = ada.license.rsplit_once('.').expect("a signature");
    let question = Question { token: format!("{forged}.{}", "A".repeat(86)), ..Question::default() };
    for _ in 0..500 {
        world.app.validate_license(&question).await.expect("an answer");
    }
    let (now, mut left) = (world.app.now(), 0);
    while world.app.limits.take("", TOKENS_OF_NOBODY, now).is_ok() {
        left += 1;
    }
    assert!(left >= 1_500, "each is counted once: {left} of 2,000 are left");
    world.app.db.close().await;
    let mut answers = Vec::new();
    for _ in 0..50 {
        answers.push(world.app.validate_license(&question).await.expect_err("neither room nor a database"));
    }
    let refused = answers.iter().filter(|error| matches!(error, Error::Refused(Refusal::TooManyRequests { .. })));
    // The clock goes on meanwhile, and each hundredth of a second lets one more through to where the database was.
    assert!(refused.count() > 0, "{answers:?}");
    let own = Question { token: ada.license.clone(), ..Question::default() };
    let error = world.app.validate_license(&own).await.expect_err("there is no database");
    assert!(matches!(error, Error::Failed(_)), "a licence of ours is asked for all the same: {error}");
}

both_engines!(
    a_product_asks_for_what_it_is_about_to_unlock,
    an_answer_is_given_for_any_moment,
    a_signed_answer_is_for_one_question_only,
    who_has_the_newest_license_is_told_so_in_a_line,
    one_customer_s_haste_is_nobody_else_s_wait,
    tokens_of_nobody_are_counted_before_anything_is_read_for_them,
);
