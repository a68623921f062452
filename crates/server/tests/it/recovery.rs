//! What happens when webhooks do not come: the sweep, and the page that the customer is sent back to. And when the book is an older
//! one: what it has lost is found again, and not made a second time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use counterfoil::app::manual::Step;
use counterfoil::app::operators::By;
use counterfoil::app::{App, Error, Failure};
use counterfoil::clock::Clock;
use counterfoil::store;
use counterfoil::worker::Chore;
use counterfoil_core::{Interval, PlanCode};
use serde_json::json;

use crate::actors::Visitor;
use crate::counts::Counts;
use crate::logs;
use crate::world::{World, id_of};

const HOUR: i64 = 3600;

/// A checkout whose customer comes back to our own page; answers where to pay, and where to come back to.
async fn checkout_with_our_return_page(world: &World, visitor: &Visitor) -> (String, String) {
    let base = world.config.public_url.as_str();
    let mut wish = visitor.wish("professional");
    wish["success_url"] = json!(format!("{base}/checkout/return?attempt={{ATTEMPT_ID}}"));
    wish["cancel_url"] = json!(format!("{base}/checkout/return?attempt={{ATTEMPT_ID}}&canceled=1"));
    let url = visitor.checkout_with(&wish).await.accepted()["checkout_url"].as_str().unwrap().to_owned();
    let sql = "select attempt_id from checkout_attempts where customer_id = $1 order by id desc limit 1";
    let row = world.app.db.query(sql).bind(&visitor.customer_id).one().await.unwrap();
    let attempt: String = row.get("attempt_id").unwrap();
    (url, format!("/checkout/return?attempt={attempt}"))
}

async fn scenario_77_the_sweep_repairs_a_day_without_webhooks(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let bob = world.customer("bob@example.com").await;
    world.sandbox().drop_webhooks().await;
    ada.buy(world, "professional").await;
    bob.checkout_url("starter").await;
    world.sandbox().advance(86_400 + 60).await;
    assert_eq!(world.stored(&ada).await.licenses, 1, "nobody has told us");
    for round in 0..2 {
        world.app.sweep_open(world.app.now()).await.unwrap();
        world.worked_off().await;
        let stored = world.stored(&ada).await;
        assert_eq!((stored.status.as_str(), stored.licenses, stored.mails), ("active", 2, 2), "round {round}");
    }
    let stored = world.stored(&bob).await;
    assert_eq!((stored.status.as_str(), stored.licenses), ("trialing", 1));
    let open = "select cast(count(*) as bigint) as n from checkout_attempts where state in ('opening', 'open')";
    assert_eq!(world.app.db.query(open).one().await.unwrap().get::<i64>("n").unwrap(), 0, "attempts end");
}

async fn the_sweep_finishes_a_customer_that_was_being_made(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let lose = json!({ "lose_answer": { "times": 3, "path": "/v1/customers", "method": "POST" } });
    world.sandbox().faults(lose).await;
    ada.checkout("professional").await.refused(503, "payment_provider_unavailable");
    world.sandbox().advance(600).await;
    assert_eq!(world.app.sweep_open(world.app.now()).await.unwrap(), 1);
    let customers = world.sandbox().customers().await;
    assert_eq!(customers.len(), 1);
    assert_eq!(world.stored(&ada).await.stripe_customer_id.as_deref(), customers[0]["id"].as_str());
}

async fn scenario_79_the_return_page_does_not_wait_for_the_webhook(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let (url, return_page) = checkout_with_our_return_page(world, &ada).await;
    world.sandbox().drop_webhooks().await;
    let early = ada.http.get(&return_page).await;
    assert!(!early.page().contains(&ada.license), "nothing is claimed before it is paid");
    assert!(early.body.contains("http-equiv=\"refresh\"") && !early.body.contains("was not paid"), "it is waited for");
    assert_eq!(world.stored(&ada).await.licenses, 1);
    let back = world.sandbox().pay(&url, "success").await;
    assert!(back.ends_with(&return_page), "{back}");
    let page = ada.http.get(&return_page).await;
    let license = ada.current_license().await.accepted();
    assert_eq!((&license["plan"], &license["version"]), (&json!("professional"), &json!(2)));
    assert!(page.page().contains(license["token"].as_str().unwrap()), "the page shows the licence");
    world.worked_off().await;
    for kind in ["checkout.session.completed", "customer.subscription.created", "invoice.paid"] {
        let event = world.sandbox().newest_event(kind).await;
        world.deliver(&event).await.accepted();
    }
    world.worked_off().await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.licenses, stored.mails), (2, 2), "the webhook after it brings nothing new");
}

async fn the_return_page_is_for_its_own_customer(world: &World) {
    let (ada, eve) = (world.customer("ada@example.com").await, world.customer("eve@example.com").await);
    let (url, return_page) = checkout_with_our_return_page(world, &ada).await;
    world.sandbox().pay(&url, "success").await;
    world.settled().await;
    let theirs = eve.http.get(&return_page).await;
    let nobodys = eve.http.get(&format!("/checkout/return?attempt=att_{}", "0".repeat(32))).await;
    assert_eq!((theirs.status, nobodys.status), (404, 404));
    let stranger = world.http.get(&return_page).await;
    assert_eq!(stranger.status, 303, "a stranger has to log in first");
    assert!(stranger.header("location").starts_with("/login"), "{}", stranger.header("location"));
}

async fn an_event_of_an_old_subscription_does_not_end_the_new_one(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "starter").await;
    let old = world.stored(&ada).await.stripe_subscription_id.unwrap();
    world.sandbox().drop_webhooks().await;
    world.sandbox().delete(&format!("/v1/subscriptions/{old}")).await;
    let deleted = world.sandbox().newest_event("customer.subscription.deleted").await;
    world.app.sync_customer(&id_of(&ada)).await.unwrap();
    world.sandbox().clear_faults().await;
    ada.subscribe(world, "professional").await;
    let before = world.stored(&ada).await;
    world.deliver(&deleted).await.accepted();
    world.worked_off().await;
    assert_eq!(world.stored(&ada).await, before);
    assert_eq!((before.plan.as_str(), before.status.as_str()), ("professional", "active"));
}

/// As a backup has it that is older than the customer's first checkout.
pub async fn forget_checkout(world: &World, visitor: &Visitor) {
    for sql in [
        "delete from checkout_attempts where customer_id = $1",
        "delete from billing_links where customer_id = $1",
        "update customers set stripe_customer_id = null where customer_id = $1",
    ] {
        world.app.db.query(sql).bind(&visitor.customer_id).execute().await.unwrap();
    }
}

/// Somebody whose payment our book has forgotten, together with the counterpart.
async fn forgotten_buyer(world: &World, name: &str) -> (Visitor, String) {
    let buyer = world.customer(&format!("{name}@example.com")).await;
    world.sandbox().drop_webhooks().await;
    buyer.buy(world, "professional").await;
    let external = world.stored(&buyer).await.stripe_customer_id.expect("a counterpart");
    forget_checkout(world, &buyer).await;
    (buyer, external)
}

async fn a_counterpart_that_the_book_has_lost_is_linked_by_the_next_event(world: &World) {
    for (name, kind) in [("ada", "customer.subscription.created"), ("bob", "invoice_payment.paid")] {
        let (buyer, external) = forgotten_buyer(world, name).await;
        let event = world.sandbox().newest_event(kind).await;
        world.deliver(&event).await.accepted();
        while world.app.work_inbox().await.unwrap() > 0 {}
        let stored = world.stored(&buyer).await;
        assert_eq!(stored.stripe_customer_id.as_deref(), Some(external.as_str()), "{kind}");
        assert_eq!((stored.plan.as_str(), stored.licenses), ("professional", 2), "{kind}");
        assert_eq!(world.app.queues().await.unwrap().0.pending, 0, "{kind}");
    }
    assert_eq!(world.sandbox().customers().await.len(), 2);
    world.allow_unsettled();
}

/// The vendor has taken somebody for a customer by invoice whose card Stripe charges all the same.
async fn a_counterpart_is_found_again_beside_a_sale_by_invoice(world: &World) {
    let (buyer, external) = forgotten_buyer(world, "ada").await;
    let by = By::command_line("a test").unwrap();
    let sale =
        Step::Start { plan: PlanCode::new("enterprise"), interval: Interval::Year, starts_at: None, payment: None };
    world.app.keep_manually(&id_of(&buyer), &sale, &by).await.unwrap();
    assert_eq!(world.stored(&buyer).await.stripe_customer_id, None);
    let event = world.sandbox().newest_event("customer.subscription.created").await;
    world.deliver(&event).await.accepted();
    while world.app.work_inbox().await.unwrap() > 0 {}
    assert_eq!(world.stored(&buyer).await.stripe_customer_id, Some(external));
    world.allow_unsettled();
}

async fn a_checkout_finds_the_payment_that_the_book_has_lost(world: &World) {
    // Within a day the key tells of the counterpart, later the list does.
    for (name, hours) in [("ada", 1), ("bob", 25)] {
        let (buyer, external) = forgotten_buyer(world, name).await;
        world.sandbox().advance(hours * HOUR).await;
        buyer.checkout("starter").await.refused(409, "already_subscribed");
        let stored = world.stored(&buyer).await;
        assert_eq!(stored.stripe_customer_id, Some(external), "{name}");
        assert_eq!((stored.plan.as_str(), stored.licenses), ("professional", 2), "{name}");
    }
    assert_eq!(world.sandbox().open_sessions().await.len(), 0);
    assert_eq!(world.sandbox().customers().await.len(), 2);
    world.allow_unsettled();
}

async fn who_has_not_paid_keeps_the_counterpart_that_the_book_has_lost(world: &World) {
    let ada = world.customer("ada@example.com").await;
    ada.checkout_url("professional").await;
    let external = world.stored(&ada).await.stripe_customer_id;
    forget_checkout(world, &ada).await;
    world.sandbox().advance(25 * HOUR).await;
    ada.checkout_url("professional").await;
    assert_eq!(world.stored(&ada).await.stripe_customer_id, external);
    assert_eq!(world.sandbox().customers().await.len(), 1);
    world.allow_unsettled();
}

/// Somebody has restored both sides, or another program copies customers: one is used, and whoever watches is told of the other.
async fn a_second_counterpart_with_our_id_is_told_and_the_older_one_is_kept(world: &World) {
    let ada = world.customer("ada@example.com").await;
    ada.checkout_url("professional").await;
    let external = world.stored(&ada).await.stripe_customer_id.expect("a counterpart");
    let made = world.sandbox().get(&format!("/v1/customers/{external}")).await;
    let metadata = made["metadata"].as_object().expect("metadata").iter();
    let mut copy: Vec<(String, String)> = metadata
        .map(|(name, value)| (format!("metadata[{name}]"), value.as_str().expect("a text").to_owned()))
        .collect();
    copy.push(("email".to_owned(), ada.email.clone()));
    let copy: Vec<(&str, &str)> = copy.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    world.sandbox().advance(1).await;
    world.sandbox().post("/v1/customers", &copy).await;
    forget_checkout(world, &ada).await;
    world.sandbox().advance(25 * HOUR).await;
    let counts = Counts::begin();
    ada.checkout_url("professional").await;
    assert_eq!(counts.of("duplicate_external_customers_total"), 1);
    assert_eq!(logs::told("the provider holds more than one customer", &ada.customer_id), 1);
    assert_eq!(world.stored(&ada).await.stripe_customer_id, Some(external));
    world.allow_unsettled();
}

/// With a key of another account nobody whom we know is there.
async fn in_another_account_nobody_is_taken_for_deleted(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.buy(world, "professional").await;
    world.sandbox().delivered().await;
    while world.app.work_inbox().await.unwrap() > 0 {}
    let ours = world.stored(&ada).await.stripe_customer_id.unwrap();
    let bob = world.customer("bob@example.com").await;
    let page = bob.checkout_url("professional").await;
    let open = world.sandbox().open_sessions().await[0]["id"].as_str().expect("an id").to_owned();
    let link = "update billing_links set external_id = $2 where customer_id = $1";
    let account = "update instance set external_account = $1";
    world.app.db.query(link).bind(&ada.customer_id).bind("cus_of_another_account").execute().await.unwrap();
    world.app.db.query(account).bind("acct_of_this_database").execute().await.unwrap();
    world.app.signals.is_our_account.store(false, Ordering::Relaxed);
    let id = id_of(&ada);
    let error = world.app.sync_customer(&id).await.unwrap_err();
    assert!(matches!(error, Error::Failed(Failure::OtherAccount)), "{error}");
    let wish = json!({ "current_password": ada.password });
    ada.http.post("/api/customers/me/delete", &wish).await.refused(503, "payment_provider_refuses_key");
    let stored = world.stored(&ada).await;
    assert_eq!((stored.status.as_str(), stored.licenses), ("active", 2), "nothing has ended");
    // Nor is a payment page forgotten that can still be paid.
    let session = "update checkout_attempts set external_id = $2 where customer_id = $1";
    world.app.db.query(session).bind(&bob.customer_id).bind("cs_test_of_another_account").execute().await.unwrap();
    bob.checkout("professional").await.refused(503, "payment_provider_refuses_key");
    world.app.db.query(session).bind(&bob.customer_id).bind(&open).execute().await.unwrap();
    // The right key again.
    assert_eq!(bob.checkout_url("professional").await, page, "it is still open");
    world.app.db.query(link).bind(&ada.customer_id).bind(&ours).execute().await.unwrap();
    world.app.sync_customer(&id).await.unwrap();
    ada.log_in().await.accepted();
    // And where it is known to be ours, a customer who is not there is gone.
    world.app.db.query(account).bind(None::<String>).execute().await.unwrap();
    world.app.db.query(link).bind(&ada.customer_id).bind("cus_that_was_wiped").execute().await.unwrap();
    world.app.sync_customer(&id).await.unwrap();
    assert_eq!(world.stored(&ada).await.status, "canceled");
    assert!(world.app.signals.is_our_account.load(Ordering::Relaxed));
    world.allow_unsettled();
}

/// A checkout that was held up while the account was deleted on another server.
async fn nobody_who_is_deleted_gets_a_counterpart(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let mut tx = world.app.db.begin_read().await.unwrap();
    let loaded = store::customers::find(&mut tx, &id_of(&ada)).await.unwrap().expect("the account");
    tx.rollback().await.unwrap();
    let body = json!({ "current_password": ada.password });
    ada.http.post("/api/customers/me/delete", &body).await.accepted();
    let error = world.app.ensure_external_customer(world.app.provider.as_ref(), &loaded).await.unwrap_err();
    assert!(matches!(error, Error::Failed(Failure::CustomerBusy)), "{error}");
    assert_eq!(world.sandbox().customers().await.len(), 0);
    let sql = "select cast(count(*) as bigint) as n from billing_links";
    assert_eq!(world.app.db.query(sql).one().await.unwrap().get::<i64>("n").unwrap(), 0);
    world.allow_unsettled();
}

/// What a server does whose clock is three days ahead, in the midst of the others.
async fn a_server_that_is_days_ahead_makes_nobody_twice(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let ahead = App { clock: Clock::with_offset(Arc::new(AtomicI64::new(72 * HOUR))), ..world.app.clone() };
    let mut tx = world.app.db.begin_read().await.unwrap();
    let loaded = store::customers::find(&mut tx, &id_of(&ada)).await.unwrap().expect("the account");
    tx.rollback().await.unwrap();
    // The others have just sent the call that creates the customer, and do not know what became of it.
    world.sandbox().faults(json!({ "calls": { "fail": 3, "method": "POST", "path": "/v1/customers" } })).await;
    ada.checkout("professional").await.refused(503, "payment_provider_unavailable");
    let error = ahead.ensure_external_customer(ahead.provider.as_ref(), &loaded).await.unwrap_err();
    assert!(matches!(error, Error::Failed(Failure::CounterpartInTheMaking)), "{error}");
    // It dies and leaves a lease that would hold the customer up for days.
    let mut tx = world.app.db.begin().await.unwrap();
    let (id, now) = (id_of(&ada), ahead.now());
    let fence = store::leases::take(&mut tx, &id, "run_ahead", now, now.plus_seconds(10)).await.unwrap();
    assert!(fence.is_some());
    tx.commit().await.unwrap();
    ada.checkout_url("professional").await;
    assert_eq!(world.sandbox().customers().await.len(), 1);
    // What it has put off is not put off by the right clock.
    let put_off = "update outbox set run_at = $1 where state = 'pending'";
    assert!(world.app.db.query(put_off).bind(ahead.now()).execute().await.unwrap() > 0);
    Chore::PutOff.run(&world.app).await.unwrap();
    let due = "select cast(count(*) as bigint) as n from outbox where state = 'pending' and run_at > $1";
    let row = world.app.db.query(due).bind(world.app.now()).one().await.unwrap();
    assert_eq!(row.get::<i64>("n").unwrap(), 0);
    let mut tx = world.app.db.begin().await.unwrap();
    store::leases::take(&mut tx, &id, "run_ahead", now, now.plus_seconds(10)).await.unwrap().expect("free");
    let taken = store::leases::take_all(&mut tx, std::slice::from_ref(&id), "run_b", world.app.now(), world.app.now());
    assert_eq!(taken.await.unwrap().len(), 1, "and so do those who take many at once");
    tx.commit().await.unwrap();
    world.allow_unsettled();
}

both_engines!(
    Setup::no_worker();
    a_server_that_is_days_ahead_makes_nobody_twice,
    a_counterpart_that_the_book_has_lost_is_linked_by_the_next_event,
    a_counterpart_is_found_again_beside_a_sale_by_invoice,
    a_checkout_finds_the_payment_that_the_book_has_lost,
    who_has_not_paid_keeps_the_counterpart_that_the_book_has_lost,
    a_second_counterpart_with_our_id_is_told_and_the_older_one_is_kept,
    in_another_account_nobody_is_taken_for_deleted,
    nobody_who_is_deleted_gets_a_counterpart,
);

both_engines!(
    scenario_77_the_sweep_repairs_a_day_without_webhooks,
    the_sweep_finishes_a_customer_that_was_being_made,
    scenario_79_the_return_page_does_not_wait_for_the_webhook,
    the_return_page_is_for_its_own_customer,
    an_event_of_an_old_subscription_does_not_end_the_new_one,
);
