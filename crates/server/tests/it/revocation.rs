//! What is revoked stays revoked, through anything; and licences that an operator issues again.

use counterfoil::app::issuing::Next;
use counterfoil::app::operators::By;
use counterfoil::app::reasons::{Cause, Reason};
use counterfoil::app::revocation::{Again, Reissue};
use counterfoil_core::Refusal;
use serde_json::json;

use crate::actors::Visitor;
use crate::counts::Counts;
use crate::world::{World, id_of};

/// The most that is done in one sequence.
const STEPS: usize = 12;

fn by(reason: &str) -> By {
    By::command_line(reason).expect("a reason")
}

fn refusal(error: counterfoil::app::Error) -> Refusal {
    match error {
        counterfoil::app::Error::Refused(refusal) => refusal,
        counterfoil::app::Error::Failed(failure) => panic!("it failed: {failure}"),
    }
}

async fn revoke(world: &World, visitor: &Visitor) {
    let revoked = world.app.revoke_licenses(&id_of(visitor), &by("posted in a forum")).await.expect("it is revoked");
    assert!(revoked.changed);
    world.settled().await;
}

async fn a_revoked_license_is_refused_everywhere_and_its_customer_is_told_once(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let trial = ada.license.clone();
    ada.subscribe(world, "professional").await;
    let (mails, counts) = (world.stored(&ada).await.mails, Counts::begin());
    revoke(world, &ada).await;
    assert_eq!(counts.of("licenses_revoked_total"), 2, "the versions");
    for token in [&trial, &ada.license] {
        let judged = ada.validate(token).await;
        assert_eq!((&judged["valid"], &judged["code"]), (&json!(false), &json!("revoked")));
        assert_eq!(judged["features"], json!([]));
        ada.refresh(token).await.refused(403, "license_revoked");
    }
    ada.current_license().await.refused(403, "license_revoked");
    assert!(ada.me().await.accepted()["license"].is_null());
    assert!(ada.licenses().await.iter().all(|license| license["revoked_at"].is_string()));
    ada.checkout("enterprise").await.refused(403, "license_revoked");
    let wish = json!({ "plan": "enterprise" });
    ada.http.post("/api/subscriptions/change", &wish).await.refused(403, "license_revoked");
    for path in ["/account/license", "/account/license/file", "/account/license/bundle", "/account/license/download"] {
        let page = ada.http.send(ada.http.request(reqwest::Method::GET, path).header("accept", "text/html")).await;
        assert!(page.status == 403 && page.body.contains("contact us"), "{path}: {} {}", page.status, page.body);
    }
    let account = ada.http.get("/account").await;
    assert!(account.page().contains("Your licence was revoked. Please contact us"), "{}", account.body);
    let newest = world.mails().await[0].clone();
    assert_eq!(world.stored(&ada).await.mails, mails + 1);
    assert!(newest.subject.ends_with("licence was revoked") && newest.body_text.contains("contact us"));
    assert!(!newest.body_text.contains("forum"), "the operator's words are not the customer's");
    let again = world.app.revoke_licenses(&id_of(&ada), &by("once more")).await.expect("nothing to do");
    assert_eq!((again.changed, again.versions), (false, 0));
    assert_eq!(world.stored(&ada).await.mails, mails + 1);
}

async fn a_license_is_issued_again_by_an_operator_only_and_what_was_revoked_stays_so(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let leaked = ada.license.clone();
    revoke(world, &ada).await;
    let refused = world.app.reissue_by(&id_of(&ada), &by("a new key"), Again { mail: true, only_if_due: false }).await;
    assert_eq!(refusal(refused.expect_err("under a hold")), Refusal::LicenseRevoked);
    assert_eq!(
        refusal(world.app.resend_license(&id_of(&ada), &by("asked")).await.expect_err("held")),
        Refusal::LicenseRevoked
    );
    let issued = world.app.issue_by(&id_of(&ada), &by("they moved to another server")).await.expect("a license");
    world.settled().await;
    assert_eq!((issued.version, issued.caused_by.as_str()), (3, "operator:cli"));
    assert_eq!(issued.cause_detail.as_deref(), Some("they moved to another server"));
    assert_eq!(ada.validate(&issued.token).await["valid"], true);
    assert_eq!(ada.current_license().await.accepted()["version"], 3);
    assert_eq!(ada.validate(&leaked).await["code"], "revoked");
    ada.refresh(&leaked).await.refused(403, "license_revoked");
    let changed = world.app.sync_by(&id_of(&ada), &by("to see")).await.expect("a look");
    assert!(!changed, "the look finds the license that the operator issued");
    // Nothing is entitled any more: the hold stays.
    let ben = world.customer("ben@example.com").await;
    revoke(world, &ben).await;
    world.sandbox().advance(15 * 86_400).await;
    assert_eq!(refusal(world.app.issue_by(&id_of(&ben), &by("please")).await.expect_err("over")), Refusal::NoLicense);
    assert_eq!(ben.validate(&ben.license).await["code"], "revoked");
}

/// One thing that may happen to a customer whose license is revoked.
async fn happen(world: &World, visitor: &Visitor, what: u64) {
    let id = id_of(visitor);
    let again = |only_if_due| Again { mail: true, only_if_due };
    match what {
        0 => drop(world.app.sync_customer(&id).await),
        1 => drop(world.app.sync_by(&id, &by("to see")).await),
        2 => {
            let customer = world.stored(visitor).await.stripe_customer_id;
            let object = json!({ "id": "sub_Replay0001", "object": "subscription", "customer": customer });
            world.deliver(&world.event("customer.subscription.updated", object)).await.accepted();
        }
        3 => world.sandbox().advance(32 * 86_400).await,
        4 => drop(world.app.reissue_by(&id, &by("a new plan"), again(false)).await),
        5 => drop(world.app.reissue_by(&id, &by("a run"), again(true)).await),
        6 => drop(visitor.checkout("enterprise").await),
        7 => drop(visitor.http.post("/api/subscriptions/change", &json!({ "plan": "enterprise" })).await),
        8 => drop(visitor.http.post("/api/subscriptions/cancel", &json!({})).await),
        9 => drop(visitor.http.post("/api/subscriptions/resume", &json!({})).await),
        _ => drop(world.app.resend_license(&id, &by("asked")).await),
    }
    world.settled().await;
}

async fn no_sequence_of_events_issues_a_license_under_a_hold(world: &World) {
    for seed in 1..=4_u64 {
        let mut ada = world.customer(&format!("ada{seed}@example.com")).await;
        if seed % 2 == 0 {
            ada.subscribe(world, "professional").await;
        }
        revoke(world, &ada).await;
        let (before, mut state) = (world.stored(&ada).await, seed);
        let mut done = Vec::new();
        for _ in 0..STEPS {
            // Numbers as from a die, the same in every run: Knuth's MMIX generator.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let what = (state >> 33) % 11;
            done.push(what);
            happen(world, &ada, what).await;
            let after = world.stored(&ada).await;
            assert_eq!((after.licenses, after.mails), (before.licenses, before.mails), "seed {seed}: {done:?}");
            assert_eq!(ada.validate(&ada.license).await["code"], "revoked", "seed {seed}: {done:?}");
        }
    }
}

async fn a_look_issues_nothing_because_the_catalog_was_edited_and_a_reissue_does(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let id = id_of(&ada);
    assert_eq!(world.app.reissue_state(&id).await.expect("a state"), Reissue::UpToDate);
    let mut edited = world.app.clone();
    let plans = world.app.catalog.plans().iter().cloned().map(|mut plan| {
        plan.features.push("brand_new".to_owned());
        plan.grace_days += 1;
        plan
    });
    edited.catalog = std::sync::Arc::new(counterfoil_core::Catalog::new(plans.collect()).expect("a catalog"));
    assert!(!edited.sync_by(&id, &by("to see")).await.expect("a look"));
    assert_eq!(
        (world.stored(&ada).await.licenses, edited.reissue_state(&id).await.expect("a state")),
        (2, Reissue::Due)
    );
    let due = Again { mail: false, only_if_due: true };
    let mails = world.stored(&ada).await.mails;
    let issued = edited.reissue_by(&id, &by("a feature"), due).await.expect("a license").expect("it was due");
    assert_eq!((issued.version, issued.reason.as_str(), world.stored(&ada).await.mails), (3, "reissued", mails));
    assert!(ada.current_license().await.accepted()["token"].as_str().is_some_and(|token| token == issued.token));
    assert!(
        edited.reissue_by(&id, &by("again"), due).await.expect("no failure").is_none(),
        "it says all of it already"
    );
    assert_eq!(edited.license_holders(None, None, 10).await.expect("a page"), std::slice::from_ref(&id));
    assert_eq!(edited.license_holders(Some(&issued.plan), None, 10).await.expect("a page"), std::slice::from_ref(&id));
    assert!(edited.license_holders(None, Some(&id), 10).await.expect("a page").is_empty());
}

async fn an_explanation_names_the_event_the_license_and_the_mail(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let told = world.app.explain_customer(&id_of(&ada)).await.expect("an explanation");
    assert!(
        told.entitled && told.because.starts_with("A license for professional: it is paid until"),
        "{}",
        told.because
    );
    let text = told.in_words();
    for part in ["Version 2: professional", "found after the event evt_", "was sent on", "the plan is charged again"] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
    revoke(world, &ada).await;
    let told = world.app.explain_customer(&id_of(&ada)).await.expect("an explanation");
    assert!(!told.entitled && told.because.contains("because: posted in a forum."), "{}", told.because);
    assert_eq!(told.attention[0].code, "pays_under_hold");
}

/// A look that has decided to issue before an operator revoked, or the customer left, and writes after it.
async fn nothing_is_issued_to_whoever_was_revoked_or_deleted_meanwhile(world: &World) {
    let (ada, bob) = (world.customer("ada@example.com").await, world.customer("bob@example.com").await);
    let (mut accounts, cause) = (Vec::new(), Cause::Look { event_id: None });
    for visitor in [&ada, &bob] {
        accounts.push(world.app.account(&id_of(visitor)).await.expect("an account"));
    }
    revoke(world, &ada).await;
    bob.http.post("/api/customers/me/delete", &json!({ "current_password": bob.password })).await.accepted();
    for (account, refused) in accounts.iter().zip([Refusal::LicenseRevoked, Refusal::CustomerDeleted]) {
        let grant = account.right.as_ref().expect("a trial");
        let next = Next { version: 2, reason: Reason::Subscribed, cause: &cause, mail: true };
        let mut tx = world.app.db.begin().await.expect("a transaction");
        let issued = world.app.issue_license(&mut tx, &account.customer, grant, next, world.app.now()).await;
        assert_eq!(refusal(issued.expect_err("nobody gets one")).to_string(), refused.to_string());
        drop(tx);
    }
}

both_engines!(
    nothing_is_issued_to_whoever_was_revoked_or_deleted_meanwhile,
    a_revoked_license_is_refused_everywhere_and_its_customer_is_told_once,
    a_license_is_issued_again_by_an_operator_only_and_what_was_revoked_stays_so,
    no_sequence_of_events_issues_a_license_under_a_hold,
    a_look_issues_nothing_because_the_catalog_was_edited_and_a_reissue_does,
    an_explanation_names_the_event_the_license_and_the_mail,
);
