//! An address that has to be verified before its trial gives a licence: by the link, by other links that went there, by an
//! operator. Whoever pays has the licence without.

use std::sync::Arc;

use counterfoil::app::customers::SignUp;
use counterfoil::app::operators::By;
use counterfoil::app::settings::EmailVerification;
use counterfoil::app::{App, Error, Settings};
use counterfoil_core::Refusal;
use counterfoil_core::trial::Extension;
use reqwest::Method;
use serde_json::{Value, json};

use crate::actors::Visitor;
use crate::client::{Answer, form};
use crate::world::{World, id_of};

const REQUIRED: &[(&str, &str)] = &[("COUNTERFOIL_EMAIL_VERIFICATION", "required")];
const REQUIRED_AND_CARRIED: &[(&str, &str)] =
    &[("COUNTERFOIL_EMAIL_VERIFICATION", "required"), ("COUNTERFOIL_CHECKOUT_TRIAL", "carry")];
const DAY: i64 = 86_400;
const NEW: &str = "ada.new@example.com";

async fn verify(world: &World, token: &str) -> Answer {
    world.http.post("/api/customers/email/verify", &json!({ "token": token })).await
}

async fn resend(visitor: &Visitor) -> Answer {
    visitor.http.post("/api/customers/email/verify/resend", &Value::Null).await
}

async fn link(world: &World, visitor: &Visitor) -> String {
    world.link_token(&visitor.email, "/email/verify").await
}

/// Why each version was issued, the newest first.
async fn reasons(visitor: &Visitor) -> Vec<String> {
    visitor.licenses().await.iter().map(|each| each["reason"].as_str().unwrap().to_owned()).collect()
}

fn by(reason: &str) -> By {
    By::command_line(reason).unwrap()
}

/// The service as it would be after a start with the other setting.
fn with_verification(world: &World, email_verification: EmailVerification) -> App {
    let settings = Settings { email_verification, ..(*world.app.settings).clone() };
    App { settings: Arc::new(settings), ..world.app.clone() }
}

async fn signing_up_gives_the_licence_once_the_address_is_verified(world: &World) {
    assert!(world.http.get("/signup").await.page().contains("Licence once your address is confirmed"));
    assert!(world.http.get("/").await.page().contains("comes as soon as you have confirmed the address"));
    let mut ada = world.visitor("ada@example.com");
    let answer = ada.sign_up().await.accepted();
    assert_eq!((&answer["license"], &answer["subscription"]["status"]), (&Value::Null, &json!("trialing")));
    let ends_at = ada.subscription().await["trial_ends_at"].clone();
    let me = ada.me().await.accepted();
    assert_eq!((&me["license"], &me["email_verified_at"]), (&Value::Null, &Value::Null));
    let refused = ada.current_license().await.refused(403, "email_not_verified");
    assert!(refused["detail"].as_str().unwrap().contains("/api/customers/email/verify/resend"), "{refused}");
    world.worked_off().await;
    let mails = world.mails().await;
    assert!(mails.len() == 1 && !mails[0].body_text.contains("eyJhbGciOi"), "one mail, without a licence: {mails:#?}");
    let explained = world.app.explain_customer(&id_of(&ada)).await.unwrap();
    assert_eq!((explained.entitled, explained.code.as_str()), (false, "email_not_verified"));
    assert!(explained.attention.is_empty(), "nothing to repair: {explained:#?}");
    assert!(explained.in_words().contains("The address is not verified."), "{}", explained.in_words());
    world.sandbox().advance(2 * 3600).await;
    let token = link(world, &ada).await;
    assert_eq!(verify(world, &token).await.accepted()["email"], "ada@example.com");
    verify(world, &token).await.refused(422, "link_invalid");
    world.worked_off().await;
    assert_eq!(reasons(&ada).await, ["trial_started"]);
    let license = ada.current_license().await.accepted();
    assert_eq!(license["version"], 1);
    let (token, until) = (license["token"].as_str().unwrap(), ends_at.as_str().unwrap());
    assert_eq!(ada.validate(token).await["valid"], true);
    assert_eq!(license["expires_at"].as_str().unwrap()[..19], until[..19], "the trial began with the sign-up");
    let mails = world.mails().await;
    assert!(mails.len() == 2 && mails[0].body_text.contains(token), "one mail with it: {mails:#?}");
    assert!(ada.me().await.accepted()["email_verified_at"].is_string());
    let explained = world.app.explain_customer(&id_of(&ada)).await.unwrap().in_words();
    assert!(explained.contains("by verifying the address") && explained.contains("was verified on"), "{explained}");
}

async fn without_the_setting_nothing_is_asked_for(world: &World) {
    assert!(world.http.get("/signup").await.page().contains("Licence at once"));
    assert!(world.http.get("/").await.page().contains("Your trial licence is ready at once"));
    let mut ada = world.visitor("ada@example.com");
    let answer = ada.sign_up().await.accepted();
    assert_eq!(answer["license"]["version"], 1);
    assert_eq!(answer["customer"].as_object().unwrap().len(), 4, "{answer}");
    world.worked_off().await;
    let mails = world.mails().await;
    assert!(mails.len() == 1 && mails[0].body_text.contains(&ada.license), "{mails:#?}");
    for page in ["/account", "/account/settings"] {
        assert!(!ada.http.get(page).await.page().contains("verify-resend"), "{page}");
    }
    // Who asks for a link all the same may have one; it brings no second version.
    assert_eq!(resend(&ada).await.status, 202);
    verify(world, &link(world, &ada).await).await.accepted();
    assert_eq!(reasons(&ada).await, ["trial_started"]);
}

async fn only_the_newest_link_works_for_a_day_and_there_are_three_an_hour(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let first = link(world, &ada).await;
    for wrong in ["", "cfl_", "cfl_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        verify(world, wrong).await.refused(422, "link_invalid");
    }
    world.http.post("/api/customers/email/confirm", &json!({ "token": first })).await.refused(422, "link_invalid");
    world.http.post("/api/customers/email/verify/resend", &Value::Null).await.refused(401, "not_signed_in");
    for _ in 0..2 {
        assert_eq!(resend(&ada).await.status, 202);
    }
    resend(&ada).await.refused(429, "too_many_requests");
    verify(world, &first).await.refused(422, "link_invalid");
    let newest = link(world, &ada).await;
    world.sandbox().advance(DAY + 1).await;
    verify(world, &newest).await.refused(422, "link_invalid");
    assert_eq!(resend(&ada).await.status, 202);
    verify(world, &link(world, &ada).await).await.accepted();
    resend(&ada).await.refused(409, "email_already_verified");
    assert_eq!(reasons(&ada).await, ["trial_started"]);
}

async fn whoever_pays_has_the_licence_without(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    assert_eq!(reasons(&ada).await, ["subscribed"]);
    let explained = world.app.explain_customer(&id_of(&ada)).await.unwrap().in_words();
    assert!(
        explained.contains("The address is not verified.") && explained.ends_with("To do\n  Nothing."),
        "{explained}"
    );
    verify(world, &link(world, &ada).await).await.accepted();
    assert_eq!(reasons(&ada).await, ["subscribed"], "there is nothing to issue again");
    ada.refresh(&ada.license.clone()).await.accepted();
}

async fn a_trial_that_goes_on_at_the_provider_gives_it_too(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    assert_eq!(ada.subscription().await["status"], "trialing");
    assert_eq!(reasons(&ada).await, ["plan_chosen"]);
}

async fn another_link_that_went_to_the_mailbox_verifies_it_too(world: &World) {
    let (ada, bob) = (world.customer("ada@example.com").await, world.customer("bob@example.com").await);
    let stale = link(world, &ada).await;
    let wish = json!({ "new_email": NEW, "current_password": ada.password });
    assert_eq!(ada.http.post("/api/customers/email", &wish).await.status, 202);
    let token = world.link_token(NEW, "/email/confirm").await;
    world.http.post("/api/customers/email/confirm", &json!({ "token": token })).await.accepted();
    assert_eq!(reasons(&ada).await, ["trial_started"]);
    verify(world, &stale).await.refused(422, "link_invalid");
    world.worked_off().await;
    let license = ada.current_license().await.accepted()["token"].as_str().unwrap().to_owned();
    let carried: Vec<_> = world.mails().await.into_iter().filter(|mail| mail.body_text.contains(&license)).collect();
    assert!(carried.len() == 1 && carried[0].recipient == NEW, "{carried:#?}");
    world.http.post("/api/customers/password/forgot", &json!({ "email": bob.email })).await;
    world.worked_off().await;
    let token = world.link_token(&bob.email, "/password/reset").await;
    let body = json!({ "token": token, "new_password": "another canary of bob 9W" });
    assert_eq!(world.http.post("/api/customers/password/reset", &body).await.status, 204);
    assert_eq!(world.stored(&bob).await.licenses, 1);
}

async fn of_many_who_verify_at_once_one_issues(world: &World) {
    for round in 0..3 {
        let ada = world.customer(&format!("ada{round}@example.com")).await;
        world.http.post("/api/customers/password/forgot", &json!({ "email": ada.email })).await;
        world.worked_off().await;
        let (token, id) = (link(world, &ada).await, id_of(&ada));
        let reset = world.link_token(&ada.email, "/password/reset").await;
        let body = json!({ "token": reset, "new_password": "another canary of ada 9W" });
        let by = by("seen the passport");
        let (first, second, third, _) = tokio::join!(
            verify(world, &token),
            verify(world, &token),
            world.http.post("/api/customers/password/reset", &body),
            world.app.verify_email_by(&id, &by),
        );
        for answer in [first, second, third] {
            assert!(matches!(answer.status, 200 | 204 | 422), "{} {}", answer.status, answer.body);
        }
        let stored = world.stored(&ada).await;
        assert_eq!(stored.licenses, 1);
        let welcome = world.mails().await.into_iter().filter(|mail| mail.subject.contains("trial has started"));
        assert_eq!(welcome.filter(|mail| mail.recipient == ada.email).count(), 1);
    }
}

async fn verifying_while_a_payment_arrives_loses_neither(world: &World) {
    for round in 0..3 {
        let ada = world.customer(&format!("ada{round}@example.com")).await;
        let token = link(world, &ada).await;
        ada.buy(world, "professional").await;
        let id = id_of(&ada);
        let (verified, looked) = tokio::join!(verify(world, &token), world.app.sync_customer(&id));
        verified.accepted();
        looked.unwrap();
        world.settled().await;
        let versions = ada.licenses().await;
        assert_eq!(versions[0]["plan"], "professional");
        let numbers: Vec<i64> = versions.iter().map(|each| each["version"].as_i64().unwrap()).collect();
        assert!(numbers == [1] || numbers == [2, 1], "{versions:#?}");
    }
}

async fn an_operator_vouches_for_an_address(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let id = id_of(&ada);
    let refused = world.app.issue_by(&id, &by("please")).await.expect_err("not verified");
    assert!(matches!(refused, Error::Refused(Refusal::EmailNotVerified)), "{refused}");
    let extended = world.app.extend_trial(&id, Extension::Days(3), &by("asked")).await.unwrap();
    assert!(extended.license.is_none(), "a longer trial, and still no licence");
    let verified = world.app.verify_email_by(&id, &by("seen the passport")).await.unwrap();
    assert_eq!(verified.license.unwrap().paid_until, extended.ends_at.floor_to_second());
    let again = world.app.verify_email_by(&id, &by("again")).await.expect_err("verified already");
    assert!(matches!(again, Error::Refused(Refusal::EmailAlreadyVerified)), "{again}");
    verify(world, &link(world, &ada).await).await.refused(422, "link_invalid");
    let rows = world.app.db.query("select actor, reason from audit_log where action = 'email_verified'").all().await;
    let lines: Vec<(String, String)> =
        rows.unwrap().iter().map(|row| (row.get("actor").unwrap(), row.get("reason").unwrap())).collect();
    assert_eq!(lines, [("operator:cli".to_owned(), "seen the passport".to_owned())]);
    let bob = world.customer("bob@example.com").await;
    world.app.set_email_by(&id_of(&bob), "bob.new@example.com", &by("by phone")).await.unwrap();
    assert_eq!(reasons(&bob).await, ["trial_started"]);
}

async fn whoever_has_a_licence_keeps_it_when_verification_comes_later(world: &World) {
    let before = with_verification(world, EmailVerification::Off);
    let wish = SignUp::parse("ada@example.com", "a canary of ada 7Q".to_owned(), None).unwrap();
    let (account, _) = before.sign_up(wish, &counterfoil::app::sessions::Arrival::unknown()).await.unwrap();
    let token = account.license.expect("a licence").token;
    let question = counterfoil::app::validation::Question { token: token.clone(), ..Default::default() };
    assert!(world.app.validate_license(&question).await.unwrap().valid);
    world.app.refresh_license(&token).await.unwrap();
    // And the other way round: what waits when it is switched off comes with the link, or with any look.
    let (bob, eve) = (world.customer("bob@example.com").await, world.customer("eve@example.com").await);
    let after = with_verification(world, EmailVerification::Off);
    assert!(after.verify_email(&link(world, &bob).await).await.unwrap().license.is_some());
    after.sync_customer(&id_of(&eve)).await.unwrap();
    assert_eq!(
        (reasons(&bob).await, reasons(&eve).await),
        (vec!["trial_started".into()], vec!["trial_started".into()])
    );
    world.app.signals.outbox.notify_one();
}

async fn a_trial_that_is_over_gives_nothing_for_a_verified_address(world: &World) {
    let ada = world.customer("ada@example.com").await;
    world.sandbox().advance(12 * DAY).await;
    assert_eq!(world.app.sweep_trials().await.unwrap(), 0, "a stranger's mailbox is left alone");
    world.sandbox().advance(3 * DAY).await;
    ada.current_license().await.refused(404, "no_license");
    assert_eq!(resend(&ada).await.status, 202);
    verify(world, &link(world, &ada).await).await.accepted();
    assert_eq!(reasons(&ada).await, [""; 0]);
    ada.current_license().await.refused(404, "no_license");
    let again = world.customer("ada+tag@example.com").await;
    verify(world, &link(world, &again).await).await.accepted();
    assert_eq!(reasons(&again).await, [""; 0], "one trial a person");
}

/// A form as a page sends it.
async fn submit(world: &World, cookie: &str, path: &str) -> Answer {
    let mut request =
        world.http.request(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
    request = request.header("origin", world.config.public_url.as_str()).header("sec-fetch-site", "same-origin");
    world.http.send(request.header("cookie", cookie).body(form(&[]))).await
}

async fn opening_the_link_changes_nothing_and_its_button_does(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let session = format!("cf_session={}", ada.http.token().unwrap());
    assert!(ada.http.get("/account").await.page().contains("verify-resend"));
    let waiting = ada.http.get("/account/license").await;
    assert!(waiting.status == 403 && waiting.body.contains("Send the link again"), "{}", waiting.body);
    let download = ada.http.get("/account/license/download").await;
    assert!(download.status == 403 && download.body.contains("email_not_verified"), "{}", download.body);
    let sent = submit(world, &session, "/account/email/verify").await;
    assert_eq!((sent.status, sent.header("location")), (303, "/account/settings?done=verify"));
    assert!(ada.http.get("/account/settings?done=verify").await.page().contains("Your address is not confirmed yet"));
    let token = link(world, &ada).await;
    // What a mail scanner does, and more than once.
    for _ in 0..2 {
        let opened = world.http.get(&format!("/email/verify?token={token}")).await;
        assert_eq!((opened.status, opened.header("location")), (303, "/email/verify"));
        let request = world.http.request(Method::GET, "/email/verify").header("cookie", format!("cf_link={token}"));
        let page = world.http.send(request).await;
        assert!(page.page().contains("question-submit") && !page.body.contains(&token));
    }
    assert_eq!(world.stored(&ada).await.licenses, 0, "opening it verifies nothing");
    let done = submit(world, &format!("cf_link={token}"), "/email/verify").await;
    assert!(done.page().contains("Your address is confirmed") && done.body.contains("Open licence"));
    let again = submit(world, &format!("cf_link={token}"), "/email/verify").await;
    assert!(again.status == 422 && again.body.contains("does not work any more"));
    assert!(!ada.http.get("/account").await.page().contains("verify-resend"));
    assert!(ada.http.get("/account/settings").await.page().contains("Your address was confirmed on"));
    assert!(ada.http.get("/account/license").await.page().contains("license-token"));
    let idle = submit(world, &session, "/account/email/verify").await;
    assert_eq!((idle.status, idle.header("location")), (303, "/account/settings"));
}

both_engines!(without_the_setting_nothing_is_asked_for);
both_engines!(
    Setup::configured(super::REQUIRED);
    signing_up_gives_the_licence_once_the_address_is_verified,
    only_the_newest_link_works_for_a_day_and_there_are_three_an_hour,
    whoever_pays_has_the_licence_without,
    another_link_that_went_to_the_mailbox_verifies_it_too,
    of_many_who_verify_at_once_one_issues,
    verifying_while_a_payment_arrives_loses_neither,
    an_operator_vouches_for_an_address,
    whoever_has_a_licence_keeps_it_when_verification_comes_later,
    a_trial_that_is_over_gives_nothing_for_a_verified_address,
    opening_the_link_changes_nothing_and_its_button_does,
);
both_engines!(Setup::configured(super::REQUIRED_AND_CARRIED); a_trial_that_goes_on_at_the_provider_gives_it_too);
