//! Several at once, and too little of everything: no transaction waits for a network, whoever meets another one tries again, and
//! what has to be taken in is taken in.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use counterfoil::app::operators::Scope;
use counterfoil::app::sessions::{Arrival, Caller};
use counterfoil::app::{App, Error, Failure};
use counterfoil::clock::Clock;
use counterfoil::db::Engine;
use serde_json::json;
use tokio::task::JoinSet;

use crate::actors::Visitor;
use crate::admin_routes::{new_key, with_key};
use crate::world::{self, Setup, World, id_of};

/// An event about this customer, delivered by us alone.
async fn tell_of(world: &World, visitor: &Visitor) {
    let external = world.stored(visitor).await.stripe_customer_id.expect("a counterpart");
    let object = json!({ "object": "subscription", "id": "sub_x", "customer": external });
    world.deliver(&world.event("customer.subscription.updated", object)).await.accepted();
}

async fn no_transaction_is_open_while_the_provider_is_asked(world: &World) {
    world.allow_unsettled();
    // A delivery at the same moment has a transaction of its own.
    world.sandbox().drop_webhooks().await;
    let asked: Arc<Mutex<Vec<(String, usize)>>> = Arc::default();
    let (db, notes) = (world.app.db.clone(), Arc::clone(&asked));
    world.rewrite(move |path, _answer| {
        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.push((path.to_owned(), db.open_transactions()));
    });
    let ada = world.customer("ada@example.com").await;
    ada.checkout_url("professional").await;
    let url = ada.checkout_url("starter").await;
    world.sandbox().pay(&url, "success").await;
    tell_of(world, &ada).await;
    assert_eq!(world.app.work_inbox().await.expect("a database"), 1);
    for wish in [json!({ "plan": "professional", "preview": true }), json!({ "plan": "professional" })] {
        ada.http.post("/api/subscriptions/change", &wish).await.accepted();
    }
    for what in ["cancel", "resume"] {
        ada.http.post(&format!("/api/subscriptions/{what}"), &json!(null)).await.accepted();
    }
    world.app.sync_customer(&id_of(&ada)).await.expect("a look");
    world.app.sweep_open(world.app.now().plus_days(1)).await.expect("a sweep");
    world.app.sweep_events().await.expect("a sweep");
    world.app.compare_subscriptions().await.expect("a comparison");
    let deletion = json!({ "current_password": ada.password, "end_subscription": true });
    assert_eq!(ada.http.post("/api/customers/me/delete", &deletion).await.status, 204);
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    let paths: std::collections::BTreeSet<&str> = asked.iter().map(|(path, _)| path.as_str()).collect();
    assert!(paths.len() >= 8, "the provider was asked in many ways: {paths:?}");
    let during: Vec<_> = asked.iter().filter(|(_, open)| *open > 0).collect();
    assert!(during.is_empty(), "a transaction was open during {during:?}");
}

async fn no_session_of_the_old_password_outlives_its_change(world: &World) {
    for round in 0..3 {
        let email = format!("ada{round}@example.com");
        let ada = world.customer(&email).await;
        let kept = ada.http.token().expect("a session").to_owned();
        let mut logging_in = JoinSet::new();
        for _ in 0..8 {
            let (app, email, old) = (world.app.clone(), email.clone(), ada.password.clone());
            logging_in.spawn(async move { app.log_in(&email, &old, &Arrival::unknown()).await });
        }
        let id = id_of(&ada);
        let change = world.app.change_password(&id, &kept, &ada.password, "another one 9Z".to_owned());
        let (changed, logins) = tokio::join!(change, logging_in.join_all());
        changed.expect("the password is changed");
        for session in logins.into_iter().flatten() {
            let whose = world.app.identify(&session.1.token).await.expect("a database");
            assert_eq!(whose, Caller::Anonymous, "the old password's session is over");
        }
        assert_eq!(world.app.identify(&kept).await.expect("a database"), Caller::Customer(id_of(&ada)));
    }
}

/// The holder sleeps, somebody else looks meanwhile, and the holder wakes.
async fn who_has_lost_the_lease_writes_nothing(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "starter").await;
    let id = id_of(&ada);
    let asleep = world.app.try_lease(&id).await.unwrap().expect("it is free");
    let end = "update customer_leases set leased_until = $2 where customer_id = $1";
    let long_ago = world.app.now().plus_days(-1);
    world.app.db.query(end).bind(&id).bind(long_ago).execute().await.unwrap();
    let taken = world.app.try_lease(&id).await.unwrap().expect("it ran out");
    assert!(taken.fence > asleep.fence);
    let refused = world.app.sync_and_keep(&asleep).await.expect_err("the lease is lost");
    assert!(matches!(refused, Error::Failed(Failure::CustomerBusy)), "{refused:?}");
    world.app.sync_and_keep(&taken).await.expect("the new holder goes on");
    world.app.release(taken).await;
}

/// A holder that died gives nothing back. Whoever comes eleven seconds later goes on.
async fn the_lease_of_a_holder_that_died_runs_out(world: &World) {
    world.allow_unsettled();
    let ada = world.customer("ada@example.com").await;
    let id = id_of(&ada);
    let lease = world.app.try_lease(&id).await.unwrap().expect("it is free");
    let mut tx = world.app.db.begin().await.unwrap();
    lease.keep(&mut tx, world.app.now()).await.unwrap();
    tx.commit().await.unwrap();
    drop(lease);
    assert!(world.app.try_lease(&id).await.unwrap().is_none(), "it may still be alive");
    let later = App { clock: Clock::with_offset(Arc::new(AtomicI64::new(11))), ..world.app.clone() };
    let next = later.try_lease(&id).await.unwrap().expect("it has run out");
    later.release(next).await;
}

/// What is told during a look may be newer than the look: it gets one of its own.
async fn an_event_that_comes_during_a_look_is_not_finished_by_it(world: &World) {
    world.allow_unsettled();
    let ada = world.customer("ada@example.com").await;
    world.sandbox().drop_webhooks().await;
    ada.buy(world, "starter").await;
    world.app.sync_customer(&id_of(&ada)).await.expect("a look");
    let slow = json!({ "slow": { "times": 2, "millis": 700, "path": "/v1/subscriptions", "method": "GET" } });
    world.sandbox().faults(slow).await;
    let (app, id) = (world.app.clone(), id_of(&ada));
    let looking = tokio::spawn(async move { app.sync_customer(&id).await });
    tokio::time::sleep(Duration::from_millis(250)).await;
    tell_of(world, &ada).await;
    let assign = "update webhook_inbox set customer_id = $1 where state = 'pending'";
    assert_eq!(world.app.db.query(assign).bind(&ada.customer_id).execute().await.unwrap(), 1);
    looking.await.unwrap().expect("the look goes well");
    assert_eq!(world.app.queues().await.unwrap().0.pending, 1, "{:?}", world.inbox().await);
}

/// However many requests wait for a slow provider, what was paid is looked at meanwhile.
async fn a_worker_gets_through_while_requests_crowd_the_way_to_the_provider(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "starter").await;
    world.settled().await;
    let slow = json!({ "slow": { "times": 100, "millis": 5_000, "path": "/v1/billing_portal/sessions" } });
    world.sandbox().faults(slow).await;
    let mut asking = JoinSet::new();
    for _ in 0..100 {
        let http = ada.http.clone();
        asking.spawn(async move { http.post("/api/subscriptions/portal", &json!({})).await.status });
    }
    let left = async || world.sandbox().get("/_sandbox/faults").await["slow"]["times"].as_u64().expect("a number");
    world.until("requests have their places", async || left().await <= 52).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(left().await, 52, "no more than 48");
    let look = tokio::time::timeout(Duration::from_millis(1_500), world.app.sync_customer(&id_of(&ada))).await;
    look.expect("a worker does not wait").expect("a look");
    assert!(asking.try_join_next().is_none(), "all of them still wait");
    asking.shutdown().await;
    world.sandbox().clear_faults().await;
}

/// Whoever asks for a look and hangs up has asked all the same: it is done, the audit log has the line, and nobody waits for a lease.
async fn a_look_that_an_operator_hangs_up_on_is_done_and_written_down(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "starter").await;
    world.settled().await;
    let slow = json!({ "slow": { "times": 1, "millis": 1_500, "path": "/v1/subscriptions", "method": "GET" } });
    world.sandbox().faults(slow).await;
    let operator = with_key(world, &new_key(world, Scope::Support).await);
    let path = format!("/api/admin/customers/{}/sync", ada.customer_id);
    let asking = tokio::spawn(async move { operator.post(&path, &json!({ "reason": "asked by phone" })).await });
    let left = async || world.sandbox().get("/_sandbox/faults").await["slow"]["times"].as_u64().expect("a number");
    world.until("the provider is asked", async || left().await == 0).await;
    asking.abort();
    let lines = async || {
        let sql = "select action from audit_log where customer_id = $1 and action = 'looked_at_provider'";
        world.app.db.query(sql).bind(id_of(&ada)).all().await.unwrap().len()
    };
    world.until("the look is written down", async || lines().await == 1).await;
    assert!(world.app.try_lease(&id_of(&ada)).await.unwrap().is_some(), "its lease is given back");
}

/// An export reads for long. However many people want theirs, the readers of the database are there for licences.
async fn a_third_export_at_once_is_refused_and_licences_are_refreshed(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let two = (world.app.exports.take().expect("a place"), world.app.exports.take().expect("a second one"));
    let refused = ada.http.get("/api/customers/me/export").await;
    assert_eq!(refused.header("retry-after"), "2");
    refused.refused(503, "busy");
    assert!(matches!(world.app.export_for_operators(&id_of(&ada)).await, Err(Error::Failed(Failure::ExportsBusy))));
    ada.refresh(&ada.license).await.accepted();
    drop(two);
    ada.http.get("/api/customers/me/export").await.accepted();
}

/// The commit itself may fail. Until it has not, nobody is told that the event is safe.
async fn what_could_not_be_committed_is_not_acknowledged(world: &World) {
    world.allow_unsettled();
    let statements: [&'static str; 2] = match world.app.db.engine() {
        Engine::Sqlite => [
            "create table broken (id text references customers (customer_id) deferrable initially deferred)",
            "create trigger breaking after insert on webhook_inbox begin insert into broken values ('nobody'); end",
        ],
        Engine::Postgres => [
            "create function breaking() returns trigger language plpgsql as 'begin raise exception ''no''; end'",
            "create constraint trigger breaking after insert on webhook_inbox deferrable initially deferred \
             for each row execute function breaking()",
        ],
    };
    for statement in statements {
        world.app.db.query(statement).execute().await.unwrap();
    }
    let answer = world.deliver(&world.event("some.event", json!({ "object": "thing" }))).await;
    assert!(answer.status >= 500, "{}", answer.body);
    assert!(world.inbox().await.is_empty());
}

/// That a customer could not be read does not mean that it is gone.
async fn a_customer_that_could_not_be_read_is_not_taken_for_deleted(world: &World) {
    let ada = world.customer("ada@example.com").await;
    ada.checkout_url("starter").await;
    let fault = json!({ "calls": { "fail": 50, "status": 500, "path": "/v1/customers/*", "method": "GET" } });
    world.sandbox().faults(fault).await;
    world.app.sync_customer(&id_of(&ada)).await.expect_err("the provider does not answer");
    world.sandbox().clear_faults().await;
    ada.checkout_url("professional").await;
    assert_eq!(world.sandbox().customers().await.len(), 1, "no second customer");
}

both_engines!(
    Setup::no_worker();
    an_event_that_comes_during_a_look_is_not_finished_by_it,
    the_lease_of_a_holder_that_died_runs_out,
    what_could_not_be_committed_is_not_acknowledged,
);

both_engines!(
    Setup { no_worker: true, ..Setup::test_mode() };
    no_transaction_is_open_while_the_provider_is_asked,
);

both_engines!(
    no_session_of_the_old_password_outlives_its_change,
    who_has_lost_the_lease_writes_nothing,
    a_customer_that_could_not_be_read_is_not_taken_for_deleted,
    a_third_export_at_once_is_refused_and_licences_are_refreshed,
    a_worker_gets_through_while_requests_crowd_the_way_to_the_provider,
    a_look_that_an_operator_hangs_up_on_is_done_and_written_down,
);

/// Two transactions that lock in opposite order: the database ends one of them, and the login that it hits is done again.
///
/// PostgreSQL ends whoever finds the circle, which is the login only if the other closes it within a second of the login's
/// waiting (`deadlock_timeout`). On a busy machine it can be the other one: then both try once more.
#[tokio::test]
async fn a_login_that_is_ended_by_a_deadlock_is_done_again() {
    world::tell(Engine::Postgres, Setup::default(), async |world: &World| {
        let ada = world.customer("ada@example.com").await;
        for _ in 0..10 {
            let before = counterfoil_core::faults::reached()[55];
            let other_lived = login_against_the_order(world, &ada.customer_id, &ada.password).await;
            if other_lived && counterfoil_core::faults::reached()[55] > before {
                return;
            }
        }
        panic!("in ten deadlocks the login was never the one that was ended");
    })
    .await;
}

/// A login that must succeed, beside a transaction that has locked the sessions and then wants the customer.
/// Says whether that transaction was committed.
async fn login_against_the_order(world: &World, customer_id: &str, password: &str) -> bool {
    let mut other = world.app.db.begin().await.unwrap();
    other.query("lock table sessions in exclusive mode").execute().await.unwrap();
    let (app, password) = (world.app.clone(), password.to_owned());
    let login = tokio::spawn(async move { app.log_in("ada@example.com", &password, &Arrival::unknown()).await });
    let waits = "select 1 as one from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' \
                 and query like '%sessions%'";
    world.until("the login waits", async || world.app.db.query(waits).optional().await.unwrap().is_some()).await;
    let update = "update customers set updated_at = updated_at where customer_id = $1";
    let updated = other.query(update).bind(customer_id).execute().await;
    let lived = match updated {
        Ok(_) => other.commit().await.is_ok(),
        Err(_) => {
            other.rollback().await.ok();
            false
        }
    };
    login.await.unwrap().expect("the login succeeds, at once or when it is done again");
    lived
}

/// Whoever holds all connections holds up everybody but the provider's notifications.
#[tokio::test]
async fn an_event_is_taken_in_while_every_other_connection_is_held() {
    world::tell(Engine::Postgres, Setup::no_worker(), async |world: &World| {
        let mut held = Vec::new();
        while let Ok(Ok(tx)) = tokio::time::timeout(Duration::from_millis(700), world.app.db.begin()).await {
            held.push(tx);
        }
        assert!(held.len() >= 8, "{} connections", held.len());
        let event = world.event("some.event", json!({ "object": "thing" }));
        let answer = tokio::time::timeout(Duration::from_secs(3), world.deliver(&event)).await;
        answer.expect("it does not wait").accepted();
        for tx in held {
            tx.rollback().await.unwrap();
        }
        assert_eq!(world.inbox().await.len(), 1);
    })
    .await;
}
