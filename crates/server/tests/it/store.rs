//! The store on both engines: what each statement promises, above all where several ask at once.

use std::collections::BTreeSet;
use std::time::Duration;

use counterfoil::db::testing::{self, TestDb};
use counterfoil::db::{Db, Engine};
use counterfoil::store::attempts::AttemptState;
use counterfoil::store::inbox::{NewEvent, Source};
use counterfoil::store::instance::Instance;
use counterfoil::store::outbox::NewMail;
use counterfoil::store::signing_keys::StoredKey;
use counterfoil::store::{
    api_keys, attempts, customers, holds, inbox, instance, leases, licenses, links, outbox, sessions,
};
use counterfoil::store::{signing_keys, subscriptions, trials};
use counterfoil_core::checkout::{OpenAttempt, Wish};
use counterfoil_core::license::Terms;
use counterfoil_core::link::{Link, LinkState};
use counterfoil_core::signing_key::KeyState;
use counterfoil_core::subscription::{Attention, Provided, Standing, State};
use counterfoil_core::trial::Entry;
use counterfoil_core::{
    ApiKeyId, AttemptId, CustomerId, EffectId, ExternalCustomerId, ExternalSessionId, ExternalSubscriptionId,
    IdempotencyKey, InstanceId, Interval, LicenseId, PlanCode, PriceId, SessionId, Subscription, Timestamp,
};
use tokio::task::JoinSet;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_790_000_000);
const STRIPE: &str = "stripe";

/// Those who ask at once.
const CROWD: usize = 8;

/// Checks the same on both engines, each with a fresh database: `name::sqlite` and `name::postgres`.
macro_rules! on_both_databases {
    ($($check:ident),+ $(,)?) => {$(
        mod $check {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::with_fresh(counterfoil::db::Engine::Sqlite, super::$check).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                super::with_fresh(counterfoil::db::Engine::Postgres, super::$check).await;
            }
        }
    )+};
}

async fn with_fresh(engine: Engine, check: impl AsyncFnOnce(&TestDb)) {
    if crate::world::is_at_hand(engine) {
        check(&testing::fresh(engine).await).await;
    }
}

/// Runs something in a transaction that is committed.
macro_rules! committed {
    ($db:expr, |$tx:ident| $work:expr) => {{
        let mut transaction = $db.begin().await.unwrap();
        let $tx = &mut transaction;
        let result = $work.await.unwrap();
        transaction.commit().await.unwrap();
        result
    }};
}

mod accounts;
mod lists;
mod queues;

fn id(number: u8) -> CustomerId {
    CustomerId::from_random([number; 16])
}

fn later(seconds: i64) -> Timestamp {
    NOW.plus_seconds(seconds)
}

/// A customer with its trial.
async fn customer(db: &Db, number: u8) -> CustomerId {
    let (customer_id, email) = (id(number), format!("c{number}@example.com").parse().unwrap());
    committed!(db, |tx| customers::insert(tx, &customer_id, &email, Some("Test Corp"), "hash", NOW));
    let trial = Subscription::trial(PlanCode::new("trial"), NOW.plus_days(14));
    committed!(db, |tx| subscriptions::insert(tx, &customer_id, &trial, NOW));
    customer_id
}

async fn customers_are_found_by_what_names_them_until_they_are_deleted(db: &TestDb) {
    let ada = customer(db, 1).await;
    let email = "c1@example.com".parse().unwrap();
    let found = committed!(db, |tx| customers::find(tx, &ada)).expect("by id");
    assert_eq!(
        (found.email.as_str(), found.company_name.as_deref(), found.external_id),
        ("c1@example.com", Some("Test Corp"), None)
    );
    assert_eq!(found.created_at, NOW);
    assert_eq!(committed!(db, |tx| customers::find_credentials(tx, &email)), Some((ada.clone(), "hash".to_owned())));
    let external = ExternalCustomerId::new("cus_x");
    assert!(committed!(db, |tx| customers::project_external_id(tx, &ada, Some(&external), later(1))));
    assert!(!committed!(db, |tx| customers::project_external_id(tx, &id(9), Some(&external), later(1))));
    let found = committed!(db, |tx| customers::find_by_email(tx, &email)).expect("by address");
    assert_eq!(found.external_id, Some(external.clone()));
    let mut tx = db.begin().await.unwrap();
    let taken = customers::insert(&mut tx, &id(2), &email, None, "hash", NOW).await.unwrap_err();
    assert!(taken.is_unique("customers.email"), "{taken}");
    assert!(tx.commit().await.is_err(), "what failed in the middle cannot be committed");
    let other = customer(db, 3).await;
    let mut tx = db.begin().await.unwrap();
    let twice = customers::project_external_id(&mut tx, &other, Some(&external), NOW).await.unwrap_err();
    assert!(twice.is_unique("customers.stripe_customer_id"), "{twice}");
    drop(tx);
    db.raw("update customers set deleted_at = created_at").await.unwrap();
    assert!(committed!(db, |tx| customers::find(tx, &ada)).is_none());
    assert!(committed!(db, |tx| customers::find_by_email(tx, &email)).is_none());
    assert!(committed!(db, |tx| customers::find_credentials(tx, &email)).is_none());
}

async fn a_lease_has_one_holder_and_a_stale_fence_writes_nothing(db: &TestDb) {
    let ada = customer(db, 1).await;
    let first = committed!(db, |tx| leases::take(tx, &ada, "a", NOW, later(10))).expect("free");
    assert_eq!(committed!(db, |tx| leases::take(tx, &ada, "b", later(9), later(19))), None, "taken");
    assert!(extended(db, &ada, first, later(20)).await);
    assert_eq!(committed!(db, |tx| leases::take(tx, &ada, "b", later(15), later(25))), None, "kept");
    let second = committed!(db, |tx| leases::take(tx, &ada, "b", later(20), later(30))).expect("run out");
    assert!(second > first);
    assert!(!extended(db, &ada, first, later(90)).await, "the first holder is fenced off");
    assert!(extended(db, &ada, second, later(21)).await, "given back");
    let third = committed!(db, |tx| leases::take(tx, &ada, "a", later(21), later(31))).expect("free again");
    assert_eq!(committed!(db, |tx| leases::end_all_but(tx, "a", later(22))), 0);
    assert_eq!(committed!(db, |tx| leases::end_all_but(tx, "z", later(22))), 1);
    assert!(committed!(db, |tx| leases::take(tx, &ada, "z", later(22), later(32))).is_some_and(|fence| fence > third));
}

async fn extended(db: &TestDb, whose: &CustomerId, fence: i64, until: Timestamp) -> bool {
    committed!(db, |tx| leases::extend(tx, &[(whose, fence)], until)).contains(whose)
}

async fn of_several_leases_each_is_held_by_its_own_fence(db: &TestDb) {
    let mut all = Vec::new();
    for number in 1..=21 {
        all.push(customer(db, number).await);
    }
    all.sort();
    let busy = committed!(db, |tx| leases::take(tx, &all[3], "b", NOW, later(10))).expect("free");
    committed!(db, |tx| leases::take(tx, &all[4], "b", later(-90), later(-80))).expect("free");
    let taken = committed!(db, |tx| leases::take_all(tx, &all, "a", NOW, later(10)));
    let fences: Vec<Option<i64>> = all.iter().map(|each| taken.get(each).copied()).collect();
    let expected = (0..21).map(|number| match number {
        3 => None,
        4 => Some(2),
        _ => Some(1),
    });
    assert_eq!(fences, expected.collect::<Vec<_>>(), "the held one is passed over, the one that ran out is taken");
    let own: Vec<(&CustomerId, i64)> = taken.iter().map(|(whose, fence)| (whose, *fence)).collect();
    let mut claimed = own.clone();
    claimed[0].1 += 1;
    claimed.push((&all[3], busy + 1));
    let extended = committed!(db, |tx| leases::extend(tx, &claimed, later(30)));
    assert_eq!(extended.into_iter().collect::<Vec<_>>(), own[1..].iter().map(|own| own.0.clone()).collect::<Vec<_>>());
    assert!(committed!(db, |tx| leases::take_all(tx, &all, "c", later(9), later(19))).is_empty(), "all are held");
    assert_eq!(committed!(db, |tx| leases::take_all(tx, &all, "c", later(10), later(20))).len(), 2, "two ran out");
}

async fn of_many_who_want_a_lease_one_gets_it(db: &TestDb) {
    let ada = customer(db, 1).await;
    for round in 0..5 {
        let mut crowd = JoinSet::new();
        for number in 0..CROWD {
            let (db, ada, at) = (db.db.clone(), ada.clone(), later(round * 100));
            crowd.spawn(async move {
                committed!(db, |tx| leases::take(tx, &ada, &format!("h{number}"), at, at.plus_seconds(50)))
            });
        }
        let fences: Vec<i64> = crowd.join_all().await.into_iter().flatten().collect();
        assert_eq!(fences, [round + 1]);
    }
}

fn event<'a>(event_id: &'a str, external: Option<&'a ExternalCustomerId>) -> NewEvent<'a> {
    NewEvent {
        source: Source::Webhook,
        provider: STRIPE,
        account: "",
        event_id,
        event_type: "invoice.paid",
        livemode: false,
        api_version: Some("2026-05-27.dahlia"),
        external_customer: external,
        external_payment: None,
        claimed_customer: None,
        claimed_instance: None,
        body: b"{\"\xff\":1}",
        ignored_because: None,
    }
}

async fn inbox_states(db: &TestDb) -> Vec<(String, i64)> {
    let sql = "select state, cast(count(*) as bigint) as n from webhook_inbox group by state order by state";
    let rows = db.query(sql).all().await.unwrap();
    rows.iter().map(|row| (row.get("state").unwrap(), row.get("n").unwrap())).collect()
}

async fn an_event_is_stored_once_and_stays_as_it_is(db: &TestDb) {
    let external = ExternalCustomerId::new("cus_x");
    assert!(committed!(db, |tx| inbox::insert(tx, &event("evt_1", Some(&external)), NOW)));
    let ignored = NewEvent { ignored_because: Some("other_mode"), ..event("evt_1", None) };
    assert!(!committed!(db, |tx| inbox::insert(tx, &ignored, later(1))), "there already, whatever it is called now");
    assert!(committed!(db, |tx| inbox::insert(tx, &NewEvent { account: "acct_1", ..ignored.clone() }, NOW)));
    assert_eq!(inbox_states(db).await, [("ignored".to_owned(), 1), ("pending".to_owned(), 1)]);
    let claimed = committed!(db, |tx| inbox::claim(tx, NOW, later(60), 10));
    assert_eq!(claimed.len(), 1);
    assert_eq!((claimed[0].event_id.as_str(), claimed[0].attempts, claimed[0].received_at), ("evt_1", 1, NOW));
    assert_eq!(claimed[0].external_customer, Some(external));
    assert!(committed!(db, |tx| inbox::claim(tx, later(59), later(90), 10)).is_empty(), "hidden while it is worked on");
    assert_eq!(
        committed!(db, |tx| inbox::claim(tx, later(60), later(90), 10))[0].attempts,
        2,
        "and back where that died"
    );
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let db = db.db.clone();
        crowd.spawn(async move { committed!(db, |tx| inbox::insert(tx, &event("evt_2", None), NOW)) });
    }
    assert_eq!(crowd.join_all().await.into_iter().filter(|new| *new).count(), 1);
}

async fn a_crowd_of_workers_is_handed_each_row_once(db: &TestDb) {
    let ada = customer(db, 1).await;
    for number in 0..60 {
        committed!(db, |tx| inbox::insert(tx, &event(&format!("evt_{number}"), None), NOW));
        committed!(db, |tx| outbox::insert_mails(tx, &[mail(&ada, number)], NOW));
    }
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let db = db.db.clone();
        crowd.spawn(async move {
            let mut seen = Vec::new();
            // On PostgreSQL an empty hand may only mean that others were quicker with these rows.
            let mut empty_hands = 0;
            while empty_hands < 10 {
                let events = committed!(db, |tx| inbox::claim(tx, NOW, later(60), 7));
                let mails = committed!(db, |tx| outbox::claim(tx, NOW, later(60), 7));
                empty_hands = if events.is_empty() && mails.is_empty() { empty_hands + 1 } else { 0 };
                seen.extend(events.into_iter().map(|each| each.event_id));
                seen.extend(mails.into_iter().map(|each| each.effect_id.to_string()));
            }
            seen
        });
    }
    let seen: Vec<String> = crowd.join_all().await.into_iter().flatten().collect();
    assert_eq!(seen.len(), 120, "each row once");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 120);
}

async fn who_claims_steps_around_what_others_hold(db: &TestDb) {
    if db.engine() == Engine::Sqlite {
        // There is one writer at a time, and nothing to step around.
        return;
    }
    let ada = customer(db, 1).await;
    for event_id in ["evt_1", "evt_2"] {
        committed!(db, |tx| inbox::insert(tx, &event(event_id, None), NOW));
    }
    let first = committed!(db, |tx| inbox::claim(tx, NOW, NOW, 1)).remove(0);
    committed!(db, |tx| inbox::assign(tx, first.id, &ada, None));
    // A look marks the rows of its customer, and has not committed yet.
    let mut looking = db.begin().await.unwrap();
    assert_eq!(inbox::mark_seen(&mut looking, &[(&ada, 1)]).await.unwrap(), 1);
    let claiming = async { committed!(db, |tx| inbox::claim(tx, NOW, later(60), 10)) };
    let claimed = tokio::time::timeout(Duration::from_secs(5), claiming).await.expect("nobody is waited for");
    assert_eq!(claimed.len(), 1);
    assert_ne!(claimed[0].id, first.id);
    looking.commit().await.unwrap();
    assert_eq!(committed!(db, |tx| inbox::claim(tx, NOW, later(60), 10))[0].id, first.id, "it comes in the next round");
}

async fn only_what_was_seen_before_the_look_is_finished_by_it(db: &TestDb) {
    let (ada, bob) = (customer(db, 1).await, customer(db, 2).await);
    let mut ids = Vec::new();
    for (event_id, owner) in [("evt_1", &ada), ("evt_2", &ada), ("evt_3", &bob), ("evt_4", &ada)] {
        if event_id == "evt_4" {
            assert_eq!(committed!(db, |tx| inbox::mark_seen(tx, &[(&ada, 7)])), 2);
        }
        committed!(db, |tx| inbox::insert(tx, &event(event_id, None), NOW));
        let row = committed!(db, |tx| inbox::claim(tx, NOW, later(60), 1)).remove(0);
        committed!(db, |tx| inbox::assign(tx, row.id, owner, None));
        ids.push(row.id);
    }
    let others = [(&ada, 6), (&bob, 7)];
    assert!(committed!(db, |tx| inbox::finish_seen(tx, &others, later(1))).is_empty(), "another's mark");
    let finished = committed!(db, |tx| inbox::finish_seen(tx, &[(&ada, 7), (&bob, 6)], later(1)));
    let finished: Vec<_> = finished.iter().map(|(id, each)| (id, each.count, each.newest_event_id.as_str())).collect();
    assert_eq!(finished, [(&ada, 2, "evt_2")]);
    assert_eq!(inbox_states(db).await, [("pending".to_owned(), 2), ("processed".to_owned(), 2)]);
    // What is done is done: nothing brings it back or changes why.
    committed!(db, |tx| inbox::postpone(tx, ids[0], NOW, "transient", "late"));
    committed!(db, |tx| inbox::ignore(tx, ids[0], "late", NOW));
    committed!(db, |tx| inbox::bury(tx, ids[1], "transient", "late", NOW));
    assert_eq!(inbox_states(db).await, [("pending".to_owned(), 2), ("processed".to_owned(), 2)]);
    committed!(db, |tx| inbox::postpone(tx, ids[3], later(500), "transient", "what"));
    committed!(db, |tx| inbox::postpone(tx, ids[3], later(400), "permanent", "why"));
    let row = db.query("select last_error, run_at from webhook_inbox where event_id = 'evt_4'").one().await.unwrap();
    assert_eq!(
        (row.get::<String>("last_error").unwrap(), row.get::<Timestamp>("run_at").unwrap()),
        ("why".into(), later(400))
    );
    committed!(db, |tx| inbox::ignore(tx, ids[2], "not ours", NOW));
    committed!(db, |tx| inbox::bury(tx, ids[3], "permanent", "given up", NOW));
    let expected = [("dead".to_owned(), 1), ("ignored".to_owned(), 1), ("processed".to_owned(), 2)];
    assert_eq!(inbox_states(db).await, expected);
}

fn mail(customer_id: &CustomerId, number: usize) -> NewMail<'_> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    NewMail {
        effect_id: EffectId::from_random(bytes),
        customer_id,
        dedupe_key: format!("license:{customer_id}:{number}"),
        recipient: "c1@example.com",
        subject: format!("No. {number}"),
        body_text: "text".to_owned(),
        message_id: format!("<{number}@localhost>"),
        forget_when_sent: false,
    }
}

async fn a_mail_is_owed_once_and_ends_once(db: &TestDb) {
    let ada = customer(db, 1).await;
    assert_eq!(committed!(db, |tx| outbox::insert_mails(tx, &[mail(&ada, 1)], NOW)), 1);
    let again = NewMail { effect_id: EffectId::from_random([9; 16]), ..mail(&ada, 1) };
    let owed = [again, mail(&ada, 2)];
    assert_eq!(committed!(db, |tx| outbox::insert_mails(tx, &owed, NOW)), 1, "the same key is owed once");
    assert_eq!(committed!(db, |tx| outbox::claim(tx, NOW, later(60), 10)).len(), 2);
    let (first, second) = (mail(&ada, 1).effect_id, mail(&ada, 2).effect_id);
    committed!(db, |tx| outbox::postpone(tx, &first, later(5), "busy"));
    assert_eq!(committed!(db, |tx| outbox::claim(tx, later(5), later(60), 10))[0].attempts, 2);
    committed!(db, |tx| outbox::set_sent(tx, &first, later(6)));
    committed!(db, |tx| outbox::bury(tx, &second, "permanent", "refused"));
    committed!(db, |tx| outbox::bury(tx, &first, "transient", "too late"));
    committed!(db, |tx| outbox::postpone(tx, &second, NOW, "too late"));
    committed!(db, |tx| outbox::set_sent(tx, &second, NOW));
    let newest = committed!(db, |tx| outbox::list_newest(tx, 10));
    let states: Vec<_> = newest.iter().map(|mail| (mail.subject.as_str(), mail.state.as_str(), mail.sent_at)).collect();
    assert_eq!(states, [("No. 2", "dead", None), ("No. 1", "sent", Some(later(6)))]);
    assert_eq!(committed!(db, |tx| outbox::list_newest(tx, 1)).len(), 1);
    assert_eq!(committed!(db, |tx| outbox::find(tx, &first)).unwrap().message_id, "<1@localhost>");
    assert!(committed!(db, |tx| outbox::find(tx, &EffectId::from_random([8; 16]))).is_none());
    assert!(committed!(db, |tx| outbox::claim(tx, later(9999), later(10_000), 10)).is_empty());
}

fn link(customer_id: &CustomerId, generation: i64) -> Link {
    let instance = InstanceId::from_random([1; 16]);
    Link {
        generation,
        key: IdempotencyKey::customer(&instance, customer_id, generation),
        email: "c1@example.com".to_owned(),
        frozen: "email=c1%40example.com".to_owned(),
        opened_at: NOW,
        state: LinkState::Creating,
    }
}

async fn a_customer_has_one_link_in_use_and_each_counterpart_one_customer(db: &TestDb) {
    let (ada, bob) = (customer(db, 1).await, customer(db, 2).await);
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let (db, ada) = (db.db.clone(), ada.clone());
        crowd.spawn(async move { committed!(db, |tx| links::open(tx, &ada, STRIPE, false, &link(&ada, 1))) });
    }
    assert_eq!(crowd.join_all().await.into_iter().filter(|opened| *opened).count(), 1);
    assert!(!committed!(db, |tx| links::open(tx, &ada, STRIPE, false, &link(&ada, 2))), "not beside the first");
    assert_eq!(committed!(db, |tx| links::find_newest(tx, &ada, STRIPE)), Some(link(&ada, 1)));
    assert_eq!(committed!(db, |tx| links::list_creating(tx, STRIPE, later(1), 10)), std::slice::from_ref(&ada));
    assert!(committed!(db, |tx| links::list_creating(tx, STRIPE, NOW, 10)).is_empty(), "not yet long enough");
    committed!(db, |tx| links::poison(tx, &ada, STRIPE, 1, later(3)));
    committed!(db, |tx| links::poison(tx, &ada, STRIPE, 1, later(9)));
    let poisoned = committed!(db, |tx| links::find_newest(tx, &ada, STRIPE)).unwrap().state;
    assert_eq!(poisoned, LinkState::Poisoned { at: later(3) }, "the first time counts");
    let (external, other) = (ExternalCustomerId::new("cus_a"), ExternalCustomerId::new("cus_b"));
    assert!(committed!(db, |tx| links::activate(tx, &ada, STRIPE, 1, &external, later(4))));
    assert!(!committed!(db, |tx| links::activate(tx, &ada, STRIPE, 1, &other, later(5))), "set once");
    assert_eq!(
        committed!(db, |tx| links::find_newest(tx, &ada, STRIPE)).unwrap().state,
        LinkState::Active(external.clone())
    );
    assert_eq!(committed!(db, |tx| links::find_customer(tx, STRIPE, &external)), Some(ada.clone()));
    committed!(db, |tx| links::open(tx, &bob, STRIPE, false, &link(&bob, 1)));
    let mut tx = db.begin().await.unwrap();
    let stolen = links::activate(&mut tx, &bob, STRIPE, 1, &external, NOW).await.unwrap_err();
    assert!(stolen.is_unique("billing_links.external_id,provider"), "{stolen}");
    drop(tx);
    assert!(committed!(db, |tx| links::retire(tx, &ada, STRIPE, 1, later(6))));
    assert!(!committed!(db, |tx| links::retire(tx, &ada, STRIPE, 1, later(7))));
    assert!(committed!(db, |tx| links::open(tx, &ada, STRIPE, false, &link(&ada, 2))));
    assert_eq!(committed!(db, |tx| links::find_newest(tx, &ada, STRIPE)).unwrap().generation, 2);
    assert_eq!(
        committed!(db, |tx| links::find_customer(tx, STRIPE, &external)),
        Some(ada.clone()),
        "also when retired"
    );
    let found = committed!(db, |tx| customers::find_by_external_id(tx, "cus_a"));
    assert_eq!(found.map(|customer| customer.customer_id), Some(ada));
}

fn attempt(number: u8) -> OpenAttempt {
    OpenAttempt {
        id: AttemptId::from_random([number; 16]),
        wish: Wish {
            plan: PlanCode::new("professional"),
            interval: Interval::Month,
            price: PriceId::new("price_pro_monthly"),
            success_url: "http://localhost/{CHECKOUT_SESSION_ID}".to_owned(),
            cancel_url: "http://localhost/".to_owned(),
        },
        frozen: "mode=subscription".to_owned(),
        trial_ends_at: Some(NOW.plus_days(9)),
        session: None,
    }
}

async fn an_attempt_is_open_until_it_has_ended_once(db: &TestDb) {
    let (ada, bob) = (customer(db, 1).await, customer(db, 2).await);
    for (owner, number, at) in [(&ada, 1, 0), (&ada, 2, 10), (&bob, 3, 5)] {
        committed!(db, |tx| attempts::insert(tx, owner, STRIPE, &attempt(number), later(at)));
    }
    assert_eq!(committed!(db, |tx| attempts::list_open(tx, &ada, STRIPE)), [attempt(1), attempt(2)]);
    let first = attempt(1).id;
    let session = ExternalSessionId::new("cs_1");
    committed!(db, |tx| attempts::set_session(tx, &ada, &first, &session, Some("http://x"), Some(later(99)), later(1)));
    let state = async || committed!(db, |tx| attempts::find_state(tx, &ada, &first));
    assert_eq!(state().await, Some((AttemptState::Open, PlanCode::new("professional"))));
    assert_eq!(committed!(db, |tx| attempts::find_state(tx, &bob, &first)), None, "nobody else's");
    let waiting = committed!(db, |tx| attempts::list_waiting(tx, STRIPE, later(100), 10));
    assert_eq!(waiting, [ada.clone(), bob.clone(), ada.clone()], "each attempt, the longest waiting first");
    committed!(db, |tx| attempts::touch_open(tx, &ada, later(50)));
    assert_eq!(committed!(db, |tx| attempts::list_waiting(tx, STRIPE, later(100), 1)), std::slice::from_ref(&bob));
    assert!(committed!(db, |tx| attempts::list_waiting(tx, STRIPE, later(5), 10)).is_empty());
    committed!(db, |tx| attempts::end(tx, &bob, &first, AttemptState::Failed, later(2)));
    committed!(db, |tx| attempts::end(tx, &ada, &first, AttemptState::Completed, later(2)));
    committed!(db, |tx| attempts::end(tx, &ada, &first, AttemptState::Expired, later(3)));
    committed!(db, |tx| attempts::set_session(tx, &ada, &first, &ExternalSessionId::new("cs_2"), None, None, later(4)));
    assert_eq!(state().await, Some((AttemptState::Completed, PlanCode::new("professional"))));
    assert_eq!(committed!(db, |tx| attempts::list_open(tx, &ada, STRIPE)), [attempt(2)]);
    let mut tx = db.begin().await.unwrap();
    let twice = attempts::set_session(&mut tx, &bob, &attempt(3).id, &session, None, None, NOW).await.unwrap_err();
    assert!(twice.is_unique("checkout_attempts.external_id,provider"), "{twice}");
}

fn terms(customer_id: &CustomerId, version: i64) -> Terms {
    Terms {
        license_id: LicenseId::from_random([u8::try_from(version).unwrap(); 16]),
        customer_id: customer_id.clone(),
        version,
        plan: PlanCode::new("professional"),
        status: "active",
        trial: false,
        features: vec!["core".to_owned()],
        limits: [("seats".to_owned(), 5)].into(),
        issued_at: NOW,
        not_before: later(-60),
        refresh_after: later(100),
        paid_until: later(200),
        expires_at: later(300),
    }
}

fn made() -> licenses::Made<'static> {
    licenses::Made {
        token: "token",
        key_id: "kid",
        reason: "renewed",
        facts_digest: "digest",
        terms_digest: "all of it",
        caused_by: "look",
        cause_detail: Some("evt_1"),
    }
}

async fn a_version_is_issued_once(db: &TestDb) {
    let (ada, bob) = (customer(db, 1).await, customer(db, 2).await);
    for version in 1..=5 {
        committed!(db, |tx| licenses::insert_all(tx, &[(&terms(&ada, version), made())]));
    }
    let mut crowd = JoinSet::new();
    for number in 0..CROWD {
        let (db, ada) = (db.db.clone(), ada.clone());
        crowd.spawn(async move {
            let mut terms = terms(&ada, 6);
            terms.license_id = LicenseId::from_random([100 + u8::try_from(number).unwrap(); 16]);
            let mut tx = db.begin().await.unwrap();
            let result = licenses::insert_all(&mut tx, &[(&terms, made())]).await;
            match result {
                Ok(()) => tx.commit().await.unwrap(),
                Err(ref error) => assert!(error.is_unique("licenses.customer_id,version"), "{error}"),
            }
            result.is_ok()
        });
    }
    assert_eq!(crowd.join_all().await.into_iter().filter(|issued| *issued).count(), 1);
    let newest = committed!(db, |tx| licenses::find_newest(tx, &ada)).unwrap();
    assert_eq!(
        (newest.version, newest.paid_until, newest.expires_at, newest.trial),
        (6, later(200), later(300), false)
    );
    let page = committed!(db, |tx| licenses::list(tx, &ada, 5, 2));
    assert_eq!(page.iter().map(|each| each.version).collect::<Vec<_>>(), [4, 3]);
    let one = committed!(db, |tx| licenses::find(tx, &ada, &terms(&ada, 2).license_id)).unwrap();
    assert_eq!((one.version, one.reason.as_str(), one.facts_digest.as_str()), (2, "renewed", "digest"));
    assert_eq!((one.caused_by.as_str(), one.cause_detail.as_deref()), ("look", Some("evt_1")));
    assert_eq!(committed!(db, |tx| licenses::find_owner(tx, &one.license_id)), Some(ada.clone()));
    assert_eq!(committed!(db, |tx| licenses::revoke_all(tx, &ada, "leaked", later(1))), 6);
    assert_eq!(committed!(db, |tx| licenses::revoke_all(tx, &ada, "again", later(2))), 0);
    let one = committed!(db, |tx| licenses::find(tx, &ada, &one.license_id)).unwrap();
    assert_eq!((one.revoked_at, one.revoked_because.as_deref()), (Some(later(1)), Some("leaked")));
    assert!(committed!(db, |tx| holds::put(tx, &ada, ("operator:cli", "leaked"), later(1))));
    assert!(!committed!(db, |tx| holds::put(tx, &ada, ("operator:cli", "again"), later(2))), "it stands already");
    let hold = committed!(db, |tx| holds::find(tx, &ada)).unwrap();
    assert_eq!((hold.held_at, hold.actor.as_str(), hold.reason.as_str()), (later(1), "operator:cli", "leaked"));
    assert_eq!(committed!(db, |tx| holds::find(tx, &bob)), None);
    assert!(committed!(db, |tx| holds::lift(tx, &ada)) && !committed!(db, |tx| holds::lift(tx, &ada)));
    assert!(committed!(db, |tx| licenses::find(tx, &bob, &terms(&ada, 2).license_id)).is_none(), "nobody else's");
    assert!(committed!(db, |tx| licenses::find_newest(tx, &bob)).is_none());
}

async fn a_person_has_one_trial_however_many_ask_at_once(db: &TestDb) {
    let entry = |number: usize| Entry { started_at: later(number as i64), ends_at: later(1000 + number as i64) };
    assert!(committed!(db, |tx| trials::find(tx, "person")).is_none());
    let mut crowd = JoinSet::new();
    for number in 0..CROWD {
        let db = db.db.clone();
        let plan = PlanCode::new("trial");
        crowd.spawn(async move {
            let entry = entry(number);
            committed!(db, |tx| trials::insert(tx, "person", &id(1), &plan, entry)).then_some(entry)
        });
    }
    let written: Vec<Entry> = crowd.join_all().await.into_iter().flatten().collect();
    assert_eq!(written.len(), 1);
    assert_eq!(committed!(db, |tx| trials::find(tx, "person")), Some(written[0]));
}

async fn subscriptions_come_back_as_they_were_stored(db: &TestDb) {
    let ada = customer(db, 1).await;
    let (some, none) = (Some(later(77)), None);
    let standings = [
        Standing::Incomplete,
        Standing::IncompleteExpired,
        Standing::Trialing { cancel_at: none },
        Standing::Active { cancel_at: some },
        Standing::Active { cancel_at: none },
        Standing::PastDue { cancel_at: some },
        Standing::Unpaid,
        Standing::Paused,
        Standing::Canceled { ended_at: Timestamp::from_micros(1_790_000_000_123_456) },
    ];
    for standing in standings {
        for (attention, interval) in [(None, None), (Some(Attention::SeveralLive), Some(Interval::Year))] {
            let subscription = Subscription {
                plan: PlanCode::new("professional"),
                state: State::Provided(Provided {
                    id: ExternalSubscriptionId::new("sub_1"),
                    standing,
                    interval,
                    period_ends_at: some,
                    paid_until: none,
                    money: counterfoil_core::facts::Money::Kept,
                    trial_ended_at: some,
                }),
                attention,
            };
            committed!(db, |tx| subscriptions::update(tx, &ada, &subscription, NOW));
            assert_eq!(committed!(db, |tx| subscriptions::find(tx, &ada)), Some(subscription));
        }
    }
    assert_eq!(committed!(db, |tx| subscriptions::find(tx, &id(9))), None);
}

async fn sessions_and_keys_open_doors_until_they_end(db: &TestDb) {
    let ada = customer(db, 1).await;
    let ids = [1, 2, 3].map(|number| SessionId::from_random([number; 16]));
    let session = |token_hash: &'static str, number: usize| sessions::NewSession {
        token_hash,
        session_id: &ids[number],
        customer_id: &ada,
        device: "curl",
        network: "203.0.113.x",
    };
    committed!(db, |tx| sessions::insert(tx, &session("hash-1", 0), NOW, later(10)));
    committed!(db, |tx| sessions::insert(tx, &session("hash-2", 1), NOW, later(20)));
    let owner = sessions::Owner { customer_id: ada.clone(), last_seen_at: NOW };
    assert_eq!(committed!(db, |tx| sessions::find_owner(tx, "hash-1", later(9))), Some(owner));
    committed!(db, |tx| sessions::touch(tx, "hash-2", later(5)));
    let listed = committed!(db, |tx| sessions::list(tx, &ada, "hash-1", later(6), 9));
    let shown: Vec<_> = listed.iter().map(|each| (&each.session_id, each.is_current, each.last_seen_at)).collect();
    assert_eq!(shown, [(&ids[0], true, NOW), (&ids[1], false, later(5))]);
    assert_eq!(committed!(db, |tx| sessions::list(tx, &id(9), "hash-1", NOW, 9)), [], "somebody else's list");
    assert!(!committed!(db, |tx| sessions::delete_by_id(tx, &id(9), &ids[0])), "somebody else ends nothing");
    assert_eq!(committed!(db, |tx| sessions::find_owner(tx, "hash-1", later(10))), None);
    assert_eq!(committed!(db, |tx| sessions::delete_expired(tx, later(10))), 1);
    committed!(db, |tx| sessions::delete(tx, "hash-2"));
    assert_eq!(committed!(db, |tx| sessions::find_owner(tx, "hash-2", NOW)), None);
    committed!(db, |tx| sessions::insert(tx, &session("hash-3", 2), NOW, later(20)));
    db.raw("update customers set deleted_at = created_at").await.unwrap();
    assert_eq!(committed!(db, |tx| sessions::find_owner(tx, "hash-3", NOW)), None, "a deleted customer's session");
    let key_id = ApiKeyId::from_random([4; 16]);
    committed!(db, |tx| api_keys::insert(tx, &key_id, "secret-hash", "shop", "checkout", NOW));
    let key = committed!(db, |tx| api_keys::find(tx, "secret-hash")).unwrap();
    assert_eq!((key.key_id, key.scope.as_str(), key.last_used_at), (key_id.clone(), "checkout", None));
    committed!(db, |tx| api_keys::touch(tx, &key_id, later(1)));
    assert_eq!(committed!(db, |tx| api_keys::list(tx))[0].last_used_at, Some(later(1)));
    assert!(committed!(db, |tx| api_keys::revoke(tx, &key_id, later(2))));
    assert!(!committed!(db, |tx| api_keys::revoke(tx, &key_id, later(3))));
    let revoked = committed!(db, |tx| api_keys::find_by_id(tx, &key_id)).unwrap();
    assert_eq!(revoked.revoked_at, Some(later(2)), "the first time stays");
    assert!(committed!(db, |tx| api_keys::find(tx, "secret-hash")).is_none());
    let key = |key_id: &str, state| StoredKey {
        key_id: key_id.to_owned(),
        public_key: format!("x-{key_id}"),
        state,
        private_key: Some(vec![1, 2, 3]),
        created_at: NOW,
        activated_at: None,
        retired_at: None,
        compromised_at: None,
    };
    let keys = [("a", KeyState::Pending), ("b", KeyState::Active), ("b", KeyState::Retired), ("c", KeyState::Active)];
    let inserted = [true, true, false, false];
    for ((key_id, state), inserted) in keys.into_iter().zip(inserted) {
        assert_eq!(committed!(db, |tx| signing_keys::insert(tx, &key(key_id, state))), inserted, "{key_id} {state:?}");
    }
    assert_eq!(committed!(db, |tx| signing_keys::list(tx)), ["x-b", "x-a"], "what signs comes first");
    assert!(!committed!(db, |tx| signing_keys::retire(tx, "b", KeyState::Pending, later(1))), "it is in another state");
    assert!(committed!(db, |tx| signing_keys::retire(tx, "b", KeyState::Active, later(1))));
    assert!(committed!(db, |tx| signing_keys::activate(tx, "a", later(1))));
    assert!(!committed!(db, |tx| signing_keys::activate(tx, "a", later(2))), "it signs already");
    let retired = committed!(db, |tx| signing_keys::find(tx, "b")).unwrap();
    assert_eq!((retired.state, retired.private_key, retired.retired_at), (KeyState::Retired, None, Some(later(1))));
    assert_eq!(committed!(db, |tx| signing_keys::find_active(tx)).unwrap().private_key, Some(vec![1, 2, 3]));
    assert!(committed!(db, |tx| signing_keys::compromise(tx, "b", KeyState::Retired, later(2))));
    assert!(!committed!(db, |tx| signing_keys::compromise(tx, "b", KeyState::Retired, later(3))), "it is given up");
    assert_eq!(committed!(db, |tx| signing_keys::list(tx)), ["x-a"]);
    assert_eq!(committed!(db, |tx| signing_keys::list_trusted(tx)), ["a"]);
}

async fn of_replicas_that_start_together_one_names_the_installation(db: &TestDb) {
    assert!(committed!(db, |tx| instance::find(tx)).is_none());
    let mut crowd = JoinSet::new();
    for number in 0..CROWD {
        let db = db.db.clone();
        crowd.spawn(async move {
            let own = Instance {
                instance_id: InstanceId::from_random([u8::try_from(number).unwrap(); 16]),
                realm: "test".to_owned(),
                ledger_key: vec![u8::try_from(number).unwrap(); 32],
            };
            let mut tx = db.begin().await.unwrap();
            instance::insert(&mut tx, &own, false, NOW).await.unwrap();
            let found = instance::find(&mut tx).await.unwrap().expect("somebody's");
            tx.commit().await.unwrap();
            (found.instance_id.to_string(), found.ledger_key)
        });
    }
    let found: BTreeSet<(String, Vec<u8>)> = crowd.join_all().await.into_iter().collect();
    assert_eq!(found.len(), 1);
}

on_both_databases!(
    customers_are_found_by_what_names_them_until_they_are_deleted,
    a_lease_has_one_holder_and_a_stale_fence_writes_nothing,
    of_several_leases_each_is_held_by_its_own_fence,
    of_many_who_want_a_lease_one_gets_it,
    an_event_is_stored_once_and_stays_as_it_is,
    a_crowd_of_workers_is_handed_each_row_once,
    who_claims_steps_around_what_others_hold,
    only_what_was_seen_before_the_look_is_finished_by_it,
    a_mail_is_owed_once_and_ends_once,
    a_customer_has_one_link_in_use_and_each_counterpart_one_customer,
    an_attempt_is_open_until_it_has_ended_once,
    a_version_is_issued_once,
    a_person_has_one_trial_however_many_ask_at_once,
    subscriptions_come_back_as_they_were_stored,
    sessions_and_keys_open_doors_until_they_end,
    of_replicas_that_start_together_one_names_the_installation,
);
