//! Trials: over by themselves, told about in time, made longer by an operator, one per person or company.

use counterfoil::app::api_keys::create_api_key;
use counterfoil::app::operators::{By, Scope};
use counterfoil_core::Timestamp;
use counterfoil_core::trial::TrialNotice;
use serde_json::{Value, json};

use crate::actors::Visitor;
use crate::client::{Answer, Http};
use crate::counts::Counts;
use crate::tap::OPERATOR;
use crate::world::{World, id_of};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// The mails about a trial's end that a customer has been sent, oldest first.
async fn told(world: &World, visitor: &Visitor) -> Vec<String> {
    let mails = world.mails().await;
    let own = mails.iter().rev().filter(|mail| mail.recipient == visitor.email);
    own.map(|mail| mail.subject.clone())
        .filter(|subject| subject.contains("trial") && subject.contains("end"))
        .collect()
}

async fn sweep(world: &World) -> usize {
    world.app.sweep_trials().await.expect("a sweep")
}

/// An operator with a key of this scope.
async fn operator(world: &World, scope: Scope) -> Http {
    let (app, by) = (&world.app, By::command_line("for a test").unwrap());
    let key = create_api_key(&app.db, &app.clock, &app.entropy, scope.word(), scope, &by).await.unwrap();
    let mut http = world.http.for_reader(OPERATOR);
    http.tap().guard_secret(&key.secret);
    http.set_token(Some(key.secret));
    http
}

async fn extend(http: &Http, customer_id: &str, body: Value) -> Answer {
    http.post(&format!("/api/admin/customers/{customer_id}/trial/extend"), &body).await
}

fn time(value: &Value) -> Timestamp {
    value.as_str().expect("a time").parse().expect("RFC 3339")
}

const IN_THREE_DAYS: &str = "Your Acme Studio trial ends in three days";
const TOMORROW: &str = "Your Acme Studio trial ends tomorrow";
const OVER: &str = "Your Acme Studio trial has ended";

async fn a_trials_end_is_told_three_days_and_one_day_before_and_when_it_has_come(world: &World) {
    let ada = world.customer("ada@example.com").await;
    assert_eq!(sweep(world).await, 0);
    world.sandbox().advance(11 * DAY - 60).await;
    assert_eq!(sweep(world).await, 0, "a minute too early");
    let counts = Counts::begin();
    for (seconds, subject) in [(120, IN_THREE_DAYS), (2 * DAY, TOMORROW), (DAY, OVER)] {
        world.sandbox().advance(seconds).await;
        assert_eq!((sweep(world).await, sweep(world).await), (1, 0), "{subject}");
        world.settled().await;
        let mail = world.mails().await.into_iter().find(|mail| mail.subject == subject).expect(subject);
        assert_eq!((mail.recipient.as_str(), mail.state.as_str()), (ada.email.as_str(), "sent"));
        assert!(mail.body_text.contains("/account#plans"), "how to go on: {}", mail.body_text);
    }
    world.sandbox().advance(30 * DAY).await;
    assert_eq!(sweep(world).await, 0);
    let told_of = TrialNotice::ALL.map(|notice| format!("trial_notices_total{{kind=\"{}\"}}", notice.word()));
    assert!(told_of.iter().all(|name| counts.of(name) == 1), "each once");
    assert_eq!(told(world, &ada).await, [IN_THREE_DAYS, TOMORROW, OVER]);
}

async fn a_sweep_that_was_down_says_only_what_is_still_true(world: &World) {
    let ada = world.customer("ada@example.com").await;
    world.sandbox().advance(13 * DAY + HOUR).await;
    let bob = world.customer("bob@example.com").await;
    assert_eq!(sweep(world).await, 1);
    assert_eq!(told(world, &ada).await, [TOMORROW]);
    world.sandbox().advance(14 * DAY + 2 * DAY).await;
    assert_eq!(sweep(world).await, 1, "what ended two weeks ago is no news, what ended two days ago is");
    assert_eq!(told(world, &ada).await, [TOMORROW]);
    assert_eq!(told(world, &bob).await, [OVER]);
}

async fn several_replicas_tell_it_once(world: &World) {
    let visitors = ["ada@example.com", "bob@example.com", "eve@example.com"];
    for email in visitors {
        world.customer(email).await;
    }
    world.sandbox().advance(11 * DAY + HOUR).await;
    let mut sweeps = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let app = world.app.clone();
        sweeps.spawn(async move { app.sweep_trials().await.expect("a sweep") });
    }
    assert_eq!(sweeps.join_all().await.iter().sum::<usize>(), visitors.len());
    for email in visitors {
        assert_eq!(world.mails_to(email).await, 2, "the welcome and one reminder");
    }
}

async fn who_has_paid_or_is_gone_or_held_is_told_nothing(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let (bob, eve) = (world.customer("bob@example.com").await, world.customer("eve@example.com").await);
    let gone = "update customers set deleted_at = $2 where customer_id = $1";
    world.app.db.query(gone).bind(&bob.customer_id).bind(world.app.now()).execute().await.unwrap();
    eve.checkout_url("professional").await;
    let paying = "update checkout_attempts set state = $2 where customer_id = $1";
    world.app.db.query(paying).bind(&eve.customer_id).bind("paying").execute().await.unwrap();
    let kim = world.customer("kim@example.com").await;
    let hold =
        "insert into license_holds (customer_id, held_at, actor, reason) values ($1, $2, 'operator:cli', 'asked')";
    world.app.db.query(hold).bind(&kim.customer_id).bind(world.app.now()).execute().await.unwrap();
    world.sandbox().advance(11 * DAY + HOUR).await;
    assert_eq!(sweep(world).await, 0);
    // The payment came to nothing: now she has to choose again, and in time.
    world.app.db.query(paying).bind(&eve.customer_id).bind("failed").execute().await.unwrap();
    assert_eq!(sweep(world).await, 1);
    assert_eq!(told(world, &eve).await, [IN_THREE_DAYS]);
    world.settled().await;
}

async fn reminders_can_be_switched_off(world: &World) {
    let ada = world.customer("ada@example.com").await;
    for days in [12, 1, 2] {
        world.sandbox().advance(days * DAY).await;
        assert_eq!(sweep(world).await, 0);
    }
    assert_eq!(world.mails_to(&ada.email).await, 1, "the welcome");
}

async fn a_trial_is_over_by_itself_with_the_provider_unreachable(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let end = time(&ada.subscription().await["trial_ends_at"]);
    let exp = time(&ada.current_license().await.accepted()["expires_at"]);
    assert_eq!(end, exp, "the trial has no grace");
    world.sandbox().faults(json!({ "calls": { "fail": 100_000 } })).await;
    world.sandbox().advance(14 * DAY - 60).await;
    assert_eq!(ada.validate(&ada.license).await["valid"], true);
    world.sandbox().advance(120).await;
    ada.log_in().await.accepted();
    assert_eq!(ada.subscription().await["status"], "trial_expired");
    let verdict = ada.validate(&ada.license).await;
    assert_eq!((&verdict["valid"], &verdict["code"]), (&json!(false), &json!("expired")));
    ada.refresh(&ada.license).await.refused(404, "no_license");
    assert_eq!(sweep(world).await, 1);
    assert_eq!(told(world, &ada).await, [OVER]);
    assert_eq!(world.stored(&ada).await.status, "trialing", "nobody had to write it down");
    world.sandbox().clear_faults().await;
    ada.subscribe(world, "professional").await;
}

async fn an_extended_trial_brings_a_license_a_mail_and_reminders_of_its_own(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let support = operator(world, Scope::Support).await;
    world.sandbox().advance(11 * DAY + HOUR).await;
    ada.log_in().await.accepted();
    assert_eq!(sweep(world).await, 1);
    let before = time(&ada.subscription().await["trial_ends_at"]);
    world.sandbox().reset_calls().await;
    let asked = json!({ "days": 7, "reason": "asked by phone" });
    let told_back = extend(&support, &ada.customer_id, asked).await.accepted();
    assert_eq!(time(&told_back["trial_ends_at"]), before.plus_days(7));
    assert_eq!(told_back["version"], 2);
    assert!(world.sandbox().calls().await.is_empty(), "the provider is not asked");
    let license = ada.current_license().await.accepted();
    assert_eq!((&license["version"], &license["plan"]), (&json!(2), &json!("trial")));
    assert_eq!((time(&license["expires_at"]), &license["reason"]), (before.plus_days(7), &json!("trial_extended")));
    world.settled().await;
    let mail = world.mails().await.into_iter().next().expect("a mail");
    assert!(mail.body_text.contains("Your trial was extended.") && mail.body_text.contains("Trial until:"));
    assert!(mail.body_text.contains(license["token"].as_str().unwrap()));
    assert_eq!(sweep(world).await, 0);
    world.sandbox().advance(7 * DAY).await;
    assert_eq!(sweep(world).await, 1, "reminders of its own");
    assert_eq!(told(world, &ada).await, [IN_THREE_DAYS, IN_THREE_DAYS]);
    let history = "select detail, reason, actor from audit_log where action = 'trial_extended'";
    let row = world.app.db.query(history).one().await.unwrap();
    assert_eq!(row.get::<Option<String>>("reason").unwrap().as_deref(), Some("asked by phone"));
    assert!(row.get::<String>("actor").unwrap().starts_with("operator:key_"));
}

async fn a_trial_that_is_over_is_revived_and_a_paid_one_is_not(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    let support = operator(world, Scope::Support).await;
    world.sandbox().advance(40 * DAY).await;
    ada.log_in().await.accepted();
    assert_eq!(ada.validate(&ada.license).await["valid"], false);
    let asked = json!({ "days": 2, "reason": "was ill" });
    let told_back = extend(&support, &ada.customer_id, asked.clone()).await.accepted();
    assert_eq!(time(&told_back["trial_ends_at"]), world.app.now().floor_to_second().plus_days(2));
    ada.license = ada.current_license().await.accepted()["token"].as_str().unwrap().to_owned();
    assert_eq!(ada.validate(&ada.license).await["valid"], true);
    assert_eq!(ada.subscription().await["status"], "trialing");
    assert_eq!(sweep(world).await, 0, "the licence's mail has said when it ends");
    world.sandbox().advance(DAY + HOUR).await;
    assert_eq!((sweep(world).await, told(world, &ada).await), (1, vec![TOMORROW.to_owned()]));
    ada.subscribe(world, "professional").await;
    let before = (world.stored(&ada).await, world.counts().await);
    extend(&support, &ada.customer_id, asked).await.refused(409, "trial_not_extendable");
    assert_eq!((world.stored(&ada).await, world.counts().await), before);
}

async fn an_extension_wants_a_scope_a_reason_and_an_end_within_reason(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let (support, reader) = (operator(world, Scope::Support).await, operator(world, Scope::Read).await);
    let fine = json!({ "days": 7, "reason": "asked" });
    extend(&reader, &ada.customer_id, fine.clone()).await.refused(403, "scope_missing");
    extend(&world.http, &ada.customer_id, fine.clone()).await.refused(401, "operator_key_missing");
    extend(&ada.http, &ada.customer_id, fine.clone()).await.refused(403, "scope_missing");
    extend(&support, &format!("cust_{}", "ab".repeat(16)), fine.clone()).await.refused(404, "customer_not_found");
    extend(&support, "nobody", fine).await.refused(404, "customer_not_found");
    let far = world.app.now().plus_days(366).to_string();
    let bad = [
        json!({ "days": 0, "reason": "asked" }),
        json!({ "days": 366, "reason": "asked" }),
        json!({ "reason": "asked" }),
        json!({ "days": 7, "until": far, "reason": "asked" }),
        json!({ "until": far, "reason": "asked" }),
        json!({ "until": "2020-01-01T00:00:00Z", "reason": "asked" }),
        json!({ "days": 7, "reason": " " }),
    ];
    for body in bad {
        extend(&support, &ada.customer_id, body).await.refused(422, "invalid_field");
    }
    assert_eq!(world.stored(&ada).await.licenses, 1);
}

async fn the_ledger_remembers_the_longer_trial_of_who_was_deleted(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let by = By::command_line("asked").unwrap();
    let wish = counterfoil_core::trial::Extension::Days(30);
    let extended = world.app.extend_trial(&id_of(&ada), wish, &by).await.unwrap();
    let gone = "update customers set deleted_at = $2, email = 'gone@example.com' where customer_id = $1";
    world.app.db.query(gone).bind(&ada.customer_id).bind(world.app.now()).execute().await.unwrap();
    let again = world.customer("Ada+again@example.com").await;
    assert_eq!(time(&again.subscription().await["trial_ends_at"]), extended.ends_at);
    world.sandbox().advance(45 * DAY).await;
    let mut late = world.visitor("ada+late@example.com");
    let answer = late.sign_up().await.accepted();
    assert_eq!((&answer["subscription"]["status"], &answer["license"]), (&json!("trial_expired"), &Value::Null));
    assert_eq!(sweep(world).await, 1, "only who had it in use is told that it ended");
}

async fn a_company_has_one_trial_together(world: &World) {
    let ada = world.customer("ada@acme.example").await;
    let end = time(&ada.subscription().await["trial_ends_at"]);
    world.sandbox().advance(4 * DAY).await;
    let bob = world.customer("bob@acme.example").await;
    assert_eq!(time(&bob.subscription().await["trial_ends_at"]), end, "what is left of it");
    for stranger in ["eve@gmail.com", "ada@gmail.com", "ada@mail.example", "bob@mail.example", "ada@other.example"] {
        let stranger = world.customer(stranger).await;
        assert!(time(&stranger.subscription().await["trial_ends_at"]) > end.plus_days(3), "{}", stranger.email);
    }
    world.sandbox().advance(20 * DAY).await;
    let mut eve = world.visitor("eve@acme.example");
    assert_eq!(eve.sign_up().await.accepted()["subscription"]["status"], "trial_expired");
    let kept = world.app.db.query("select person_hash from trial_ledger").all().await.unwrap();
    assert!(kept.iter().all(|row| !row.get::<String>("person_hash").unwrap().contains("acme")));
    world.worked_off().await;
}

async fn colleagues_who_sign_up_at_once_share_one_trial(world: &World) {
    let mut joining = tokio::task::JoinSet::new();
    for number in 0..8 {
        let mut visitor = world.visitor(&format!("colleague{number}@acme.example"));
        joining.spawn(async move { visitor.sign_up().await.accepted()["subscription"]["trial_ends_at"].clone() });
    }
    let mut ends: Vec<String> = joining.join_all().await.iter().map(|end| end.as_str().unwrap().to_owned()).collect();
    ends.sort();
    ends.dedup();
    assert_eq!(ends.len(), 1);
    let names = world.app.db.query("select person_hash from trial_ledger").all().await.unwrap();
    assert_eq!(names.len(), 9, "eight people and their company");
}

both_engines!(
    a_trials_end_is_told_three_days_and_one_day_before_and_when_it_has_come,
    a_sweep_that_was_down_says_only_what_is_still_true,
    several_replicas_tell_it_once,
    who_has_paid_or_is_gone_or_held_is_told_nothing,
    a_trial_is_over_by_itself_with_the_provider_unreachable,
    an_extended_trial_brings_a_license_a_mail_and_reminders_of_its_own,
    a_trial_that_is_over_is_revived_and_a_paid_one_is_not,
    an_extension_wants_a_scope_a_reason_and_an_end_within_reason,
    the_ledger_remembers_the_longer_trial_of_who_was_deleted,
);

both_engines!(Setup::configured(&[("COUNTERFOIL_TRIAL_REMINDERS", "false")]); reminders_can_be_switched_off);

both_engines!(
    Setup::configured(&[
        ("COUNTERFOIL_TRIAL_PER", "company_domain"), ("COUNTERFOIL_PUBLIC_MAIL_DOMAINS", "Mail.example, other.example")
    ]);
    a_company_has_one_trial_together,
    colleagues_who_sign_up_at_once_share_one_trial,
);
