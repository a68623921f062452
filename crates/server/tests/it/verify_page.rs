//! The page where anybody verifies a licence: the answer in words, the licence's life with its dates, and what is no licence.

use counterfoil_core::Timestamp;
use counterfoil_license::inspect;

use crate::actors::Visitor;
use crate::client::Answer;
use crate::money_back::{payments, refund};
use crate::pages::submit;
use crate::world::World;

/// A stranger pastes this.
async fn verify(world: &World, license: &str, at: &str) -> Answer {
    let stranger = world.visitor("stranger@example.com");
    submit(world, &stranger, "/verify", &[("license", license), ("at", at)]).await
}

#[track_caller]
fn answered(answer: &Answer, code: &str) {
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains(&format!("data-code=\"{code}\"")), "{code}: {}", answer.body);
    assert_eq!(answer.header("cache-control"), "no-store");
}

fn day(visitor_license: &serde_json::Value, field: &str) -> String {
    visitor_license[field].as_str().expect("a time")[..10].to_owned()
}

/// The phase that is marked as the one that was asked for.
#[track_caller]
fn marked(answer: &Answer) -> &str {
    let parts: Vec<&str> = answer.body.split(" aria-current=\"step\">").collect();
    assert_eq!(parts.len(), 2, "one is marked: {}", answer.body);
    let (_, named) = parts[1].split_once("<strong>").expect("a name");
    named.split('<').next().expect("a name")
}

async fn the_phase_that_was_asked_for_is_marked_from_its_first_second_on(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let current = ada.current_license().await.accepted();
    let claims = inspect(&ada.license).expect("a licence").1;
    let in_words = |seconds: i64| Timestamp::from_unix_seconds(seconds).to_string();
    assert_eq!(marked(&verify(world, &ada.license, "").await), "Valid");
    let due =
        current["refresh_after"].as_str().expect("a time").parse::<Timestamp>().expect("a time").as_unix_seconds();
    for (at, phase) in [
        (claims.nbf - 1, "Not yet valid"),
        (claims.nbf, "Valid"),
        (due - 1, "Valid"),
        (due, "Refresh due"),
        (claims.exp - 1, "In grace"),
        (claims.exp + 3600, "Ended"),
    ] {
        assert_eq!(marked(&verify(world, &ada.license, &in_words(at)).await), phase, "{}", in_words(at));
    }
}

async fn anybody_sees_what_a_licence_is_worth(world: &World) {
    let form = world.http.get("/verify").await;
    assert!(form.page().contains("verify-form") && !form.body.contains("data-code"), "{}", form.body);
    let mut ada: Visitor = world.customer("ada@example.com").await;
    let trial = ada.license.clone();
    ada.subscribe(world, "professional").await;
    assert!(ada.http.get("/account/license").await.page().contains("href=\"/verify\""));
    let file = ada.http.get("/api/licenses/current/file?bundle=true").await.body;
    let current = ada.current_license().await.accepted();
    for text in [ada.license.as_str(), &format!("  {}\r\n", ada.license), &file] {
        let page = verify(world, text, "").await;
        answered(&page, "valid");
        for expected in [ada.customer_id.as_str(), "Professional", "api_access", "now, ", "aria-current=\"step\""] {
            assert!(page.body.contains(expected), "{expected}: {}", page.body);
        }
        for phase in ["Not yet valid", "Valid", "Refresh due", "In grace", "Ended"] {
            assert!(page.body.contains(&format!("<strong>{phase}</strong>")), "{phase}");
        }
        assert!(!page.body.contains("ada@example.com") && !page.body.contains("Test Corp"), "nobody's name");
    }
    let superseded = verify(world, &trial, "").await;
    answered(&superseded, "superseded");
    assert!(superseded.body.contains("there is a newer one"));
    answered(&verify(world, &ada.license, &day(&current, "refresh_after")).await, "valid");
    let ended = verify(world, &ada.license, "2099-01-01").await;
    answered(&ended, "expired");
    assert!(ended.body.contains("1 January 2099") && !ended.body.contains("api_access"), "{}", ended.body);
    answered(&verify(world, &ada.license, "2001-01-01").await, "not_yet_valid");
    let (before, after) = (&ada.license[..ada.license.len() - 20], &ada.license[ada.license.len() - 19..]);
    let other = if ada.license[before.len()..].starts_with('A') { 'B' } else { 'A' };
    let altered = format!("{before}{other}{after}");
    let forged = verify(world, &altered, "").await;
    assert!(forged.status == 200 && !forged.body.contains(&ada.customer_id), "{}", forged.body);
    assert!(!forged.body.contains("data-code=\"valid\"") && !forged.body.contains("id=\"phases\""));
}

async fn what_the_server_knows_counts_more_than_what_is_written(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    refund(world, &payments(world, &ada).await[0], None).await;
    world.settled().await;
    let page = verify(world, &ada.license, "").await;
    answered(&page, "refunded");
    assert!(page.body.contains("was refunded") && !page.body.contains("api_access"), "{}", page.body);
    assert!(page.body.contains("id=\"phases\""));
}

async fn what_is_no_licence_is_told_beside_the_form(world: &World) {
    let ada = world.customer("ada@example.com").await;
    for (license, at, sentence) in [
        ("", "", "Paste a licence, or the text"),
        ("this is not it", "", "This is not a licence"),
        ("-----BEGIN COUNTERFOIL LICENSE-----\nabc", "", "Was it copied in full?"),
        (ada.license.as_str(), "tomorrow", "Write a day such as"),
    ] {
        let page = verify(world, license, at).await;
        assert!(page.status == 422 && page.body.contains(sentence), "{sentence}: {} {}", page.status, page.body);
        assert!(page.header("content-type").starts_with("text/html") && page.body.contains("verify-form"));
        assert!(page.body.contains("One entry needs another look"), "announced above the form: {}", page.body);
        let (license, at) = (page.body.contains("license-error"), page.body.contains("at-error"));
        assert!(license != at, "beside one field: {}", page.body);
    }
    answered(&verify(world, "abc", "").await, "malformed");
    answered(&verify(world, &"A".repeat(17 * 1024), "").await, "too_large");
    let page = verify(world, &"A".repeat(100 * 1024), "").await;
    assert!(page.status == 413 && page.body.contains("longer than any licence"), "{} {}", page.status, page.body);
    let other = world.http.post_text("/verify", "application/json", "{}").await;
    assert!(other.status == 415 && other.body.contains("What was sent is not a form"), "{}", other.body);
    let nasty = verify(world, "<script>alert(1)</script>", "\"><script>alert(1)</script>").await;
    assert!(nasty.status == 422 && !nasty.body.contains("<script>alert"), "{}", nasty.body);
}

both_engines!(
    the_phase_that_was_asked_for_is_marked_from_its_first_second_on,
    anybody_sees_what_a_licence_is_worth,
    what_the_server_knows_counts_more_than_what_is_written,
    what_is_no_licence_is_told_beside_the_form,
);
