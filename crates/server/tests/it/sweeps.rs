//! What happens when no webhook comes: the provider's own log of events, the daily comparison, and who runs them when.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use counterfoil::app::App;
use counterfoil::clock::Clock;
use counterfoil::store::sweeps::{self, Sweep};
use counterfoil_core::Timestamp;
use serde_json::json;

use crate::actors::Visitor;
use crate::counts::Counts;
use crate::recovery::forget_checkout;
use crate::world::{Stored, World};

const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

/// Customers to whom something happened on the day without webhooks, and one to whom nothing did.
struct Cast {
    buys: Visitor,
    upgrades: Visitor,
    plans_end: Visitor,
    ends: Visitor,
    refunded: Visitor,
    deleted: Visitor,
    renews: Visitor,
    fails_to_renew: Visitor,
    idle: Visitor,
}

async fn subscriber(world: &World, name: &str) -> Visitor {
    let mut visitor = world.customer(&format!("{name}@example.com")).await;
    visitor.subscribe(world, "starter").await;
    visitor
}

/// The path of a customer's subscription at the provider.
async fn at_stripe(world: &World, visitor: &Visitor) -> String {
    format!("/v1/subscriptions/{}", world.stored(visitor).await.stripe_subscription_id.expect("a subscription"))
}

async fn external(world: &World, visitor: &Visitor) -> String {
    world.stored(visitor).await.stripe_customer_id.expect("a counterpart")
}

async fn audited(world: &World, action: &str) -> Vec<String> {
    let sql = "select detail from audit_log where action = $1 order by id";
    let rows = world.app.db.query(sql).bind(action).all().await.unwrap();
    rows.iter().map(|row| row.get("detail").unwrap()).collect()
}

/// The service's own worker leaves the sweeps alone, so that the story says when they run.
async fn hold_sweeps(world: &World) {
    let (now, provider) = (world.app.now(), world.app.provider.name());
    let mut tx = world.app.db.begin().await.unwrap();
    for sweep in [Sweep::Events, Sweep::Comparison] {
        sweeps::ensure(&mut tx, sweep, provider, now, now).await.unwrap();
    }
    tx.query("update sweeps set due_at = $1").bind(now.plus_days(3650)).execute().await.unwrap();
    tx.commit().await.unwrap();
}

/// From now on this sweep runs when it is due, beginning at once.
async fn release(world: &World, sweep: Sweep) {
    let sql = "update sweeps set due_at = $2 where sweep = $1";
    world.app.db.query(sql).bind(sweep.word()).bind(world.app.now()).execute().await.unwrap();
}

async fn until(world: &World, at: Timestamp) {
    world.sandbox().advance(at.as_unix_seconds() - world.sandbox().now().await).await;
}

/// A day on which no webhook arrives and much happens.
async fn a_day_without_webhooks(world: &World) -> Cast {
    hold_sweeps(world).await;
    let renews = subscriber(world, "renews").await;
    let fails_to_renew = subscriber(world, "fails").await;
    world.sandbox().replace_card(&external(world, &fails_to_renew).await, "declined").await;
    let renewal = world.stored(&renews).await.current_period_ends_at.expect("a period");
    until(world, renewal.plus_seconds(-6 * HOUR)).await;
    let cast = Cast {
        buys: world.customer("buys@example.com").await,
        upgrades: subscriber(world, "upgrades").await,
        plans_end: subscriber(world, "plans").await,
        ends: subscriber(world, "ends").await,
        refunded: subscriber(world, "refunded").await,
        deleted: subscriber(world, "deleted").await,
        idle: subscriber(world, "idle").await,
        renews,
        fails_to_renew,
    };
    // While webhooks come, neither sweep finds anything, however far it has to look back.
    release(world, Sweep::Events).await;
    assert_eq!(world.app.sweep_events().await.unwrap().unwrap_or(0), 0);
    release(world, Sweep::Comparison).await;
    assert_eq!(world.app.compare_subscriptions().await.unwrap().unwrap_or(0), 0);
    hold_sweeps(world).await;
    assert_eq!(audited(world, "sweep_repaired").await.len(), 0);

    let stripe = world.sandbox();
    stripe.drop_webhooks().await;
    cast.buys.buy(world, "professional").await;
    let path = at_stripe(world, &cast.upgrades).await;
    let item = stripe.get(&path).await["items"]["data"][0]["id"].as_str().expect("an item").to_owned();
    let change = [("items[0][id]", item.as_str()), ("items[0][price]", "price_pro_monthly")];
    stripe.post(&path, &change).await;
    stripe.post(&at_stripe(world, &cast.plans_end).await, &[("cancel_at_period_end", "true")]).await;
    stripe.delete(&at_stripe(world, &cast.ends).await).await;
    let customer = external(world, &cast.refunded).await;
    let payment = stripe.list(&format!("/v1/payment_intents?customer={customer}")).await.remove(0);
    stripe.post("/v1/refunds", &[("payment_intent", payment["id"].as_str().expect("an id"))]).await;
    stripe.delete(&format!("/v1/customers/{}", external(world, &cast.deleted).await)).await;
    stripe.advance(DAY).await;
    assert_eq!(world.stored(&cast.buys).await.licenses, 1, "nobody has told us");
    cast
}

/// Status, plan, versions of the licence, and mails: one for each version.
fn told(stored: &Stored) -> (&str, &str, i64, i64) {
    (&stored.status, &stored.plan, stored.licenses, stored.mails)
}

async fn all_is_right(world: &World, cast: &Cast, place: &str) {
    for (who, status, plan, versions) in [
        (&cast.buys, "active", "professional", 2),
        (&cast.upgrades, "active", "professional", 3),
        (&cast.plans_end, "active", "starter", 2),
        (&cast.ends, "canceled", "starter", 2),
        (&cast.deleted, "canceled", "starter", 2),
        (&cast.renews, "active", "starter", 3),
        (&cast.fails_to_renew, "past_due", "starter", 3),
        (&cast.idle, "active", "starter", 2),
    ] {
        let stored = world.stored(who).await;
        assert_eq!(told(&stored), (status, plan, versions, versions), "{place}: {}", who.email);
    }
    let planned = world.stored(&cast.plans_end).await;
    assert_eq!(planned.cancel_at, planned.current_period_ends_at, "{place}");
    assert_eq!(world.stored(&cast.deleted).await.stripe_customer_id, None, "{place}");
}

async fn scenario_77_a_day_of_dropped_webhooks_and_one_reading_of_the_log(world: &World) {
    let cast = a_day_without_webhooks(world).await;
    let done = "select done_until from sweeps where sweep = 'events'";
    let begin: Timestamp = world.app.db.query(done).one().await.unwrap().get("done_until").unwrap();
    let counts = Counts::begin();
    release(world, Sweep::Events).await;
    world.app.sweep_events().await.unwrap();
    let is_reported = async || audited(world, "webhooks_missed").await.len() == 1;
    world.until("the log was read", is_reported).await;
    world.worked_off().await;
    all_is_right(world, &cast, "after the sweep").await;
    let refunded = world.stored(&cast.refunded).await;
    assert_eq!(refunded.needs_attention.as_deref(), Some("money_back"));
    let reports = audited(world, "webhooks_missed").await;
    assert_eq!(reports.len(), 1, "{reports:?}");
    let missed: u32 = reports[0].split(' ').next().and_then(|number| number.parse().ok()).expect("a number");
    assert!(missed >= 10, "{reports:?}");
    assert_eq!((counts.of("events_missed_total"), counts.of("event_log_gaps_total")), (missed.into(), 0));
    let since = begin.plus_seconds(-HOUR).date_time_in_words();
    assert!(reports[0].contains(&format!("since {since} came by no webhook")), "{reports:?}");
    assert!(audited(world, "sweep_repaired").await.len() >= 7);
    assert_eq!(world.app.sweep_events().await.unwrap(), None, "it is not due again");
    world.sandbox().advance(HOUR + 1).await;
    assert_eq!(world.app.sweep_events().await.unwrap().unwrap_or(0), 0, "the overlap brings nothing twice");
    release(world, Sweep::Comparison).await;
    assert_eq!(world.app.compare_subscriptions().await.unwrap().unwrap_or(0), 0, "and leaves nothing to be found");
    world.worked_off().await;
    all_is_right(world, &cast, "an hour later").await;
}

/// What is older than the log reaches is found by nobody but the comparison, and whoever watches is told so once.
async fn after_more_than_thirty_days_the_log_is_read_from_where_it_begins(world: &World) {
    hold_sweeps(world).await;
    let ada = world.customer("ada@example.com").await;
    world.sandbox().drop_webhooks().await;
    ada.buy(world, "professional").await;
    world.sandbox().advance(29 * DAY).await;
    for (days, gaps) in [(29, 0), (31, 1)] {
        let counts = Counts::begin();
        let since = world.app.now().plus_days(-days);
        let set = "update sweeps set done_until = $1 where sweep = 'events'";
        world.app.db.query(set).bind(since).execute().await.unwrap();
        release(world, Sweep::Events).await;
        assert!(world.app.sweep_events().await.unwrap().is_some());
        assert_eq!(counts.of("event_log_gaps_total"), gaps, "{days} days");
        assert!(places(world).await[0] > -HOUR, "it has come to its end: {:?}", places(world).await);
    }
    world.worked_off().await;
    assert_eq!(world.stored(&ada).await.plan, "professional");
}

async fn scenario_77_a_day_of_dropped_webhooks_and_the_comparison_alone(world: &World) {
    let cast = a_day_without_webhooks(world).await;
    let counts = Counts::begin();
    // The refund is not among them: no list of subscriptions shows it.
    release(world, Sweep::Comparison).await;
    world.app.compare_subscriptions().await.unwrap();
    world.until("seven are repaired", async || audited(world, "sweep_repaired").await.len() == 7).await;
    world.worked_off().await;
    all_is_right(world, &cast, "after the comparison").await;
    assert_eq!(audited(world, "sweep_repaired").await.len(), 7);
    assert_eq!(counts.of("sweep_repairs_total{sweep=\"comparison\"}"), 7);
    assert_eq!(world.app.compare_subscriptions().await.unwrap(), None, "it is not due again");
    world.sandbox().advance(DAY).await;
    assert_eq!(world.app.compare_subscriptions().await.unwrap().unwrap_or(0), 0);
    world.worked_off().await;
    all_is_right(world, &cast, "a day later").await;
}

async fn what_a_webhook_brings_after_the_sweep_is_done_already(world: &World) {
    hold_sweeps(world).await;
    let ada = world.customer("ada@example.com").await;
    world.sandbox().drop_webhooks().await;
    ada.buy(world, "professional").await;
    world.sandbox().advance(HOUR + 400).await;
    release(world, Sweep::Events).await;
    assert!(world.app.sweep_events().await.unwrap().expect("it is due") > 0);
    world.worked_off().await;
    let (before, rows) = (world.stored(&ada).await, world.inbox().await.len());
    assert_eq!((before.status.as_str(), before.licenses, before.mails), ("active", 2, 2));
    for kind in ["checkout.session.completed", "customer.subscription.created", "invoice.paid"] {
        world.deliver(&world.sandbox().newest_event(kind).await).await.accepted();
    }
    world.worked_off().await;
    assert_eq!((world.stored(&ada).await, world.inbox().await.len()), (before, rows));
}

async fn a_sweep_is_run_by_one_process_and_goes_on_after_a_crash(world: &World) {
    hold_sweeps(world).await;
    subscriber(world, "ada").await;
    world.sandbox().advance(2 * HOUR).await;
    // Another process holds the sweep and is gone in the middle of its run.
    let hold = "update sweeps set leased_until = $1, run_until = $2, position = 'evt_gone', holder = 'run_gone' where sweep = 'events'";
    release(world, Sweep::Events).await;
    world.app.sweep_events().await.unwrap();
    world.sandbox().advance(HOUR + 1).await;
    let now = world.app.now();
    let held_until = now.plus_seconds(60);
    let held = world.app.db.query(hold).bind(held_until).bind(now.floor_to_second()).execute().await.unwrap();
    assert_eq!(held, 1);
    assert_eq!(world.app.sweep_events().await.unwrap(), None, "somebody else has it");
    world.sandbox().advance(61).await;
    // The place to go on from is one that the provider does not know: the run begins anew instead of failing for ever.
    world.app.sweep_events().await.unwrap_err();
    assert_eq!(world.app.sweep_events().await.unwrap(), None, "not at once");
    world.sandbox().advance(301).await;
    assert_eq!(world.app.sweep_events().await.unwrap(), Some(0));
}

async fn of_two_replicas_one_sweeps(world: &World) {
    hold_sweeps(world).await;
    let ada = world.customer("ada@example.com").await;
    world.sandbox().drop_webhooks().await;
    ada.buy(world, "professional").await;
    world.sandbox().advance(DAY + HOUR).await;
    let mut other = world.app.clone();
    other.holder = "run_other".into();
    world.sandbox().reset_calls().await;
    release(world, Sweep::Comparison).await;
    let (first, second) = tokio::join!(world.app.compare_subscriptions(), other.compare_subscriptions());
    let mut ran = [first.unwrap(), second.unwrap()];
    ran.sort();
    assert_eq!(ran, [None, Some(1)]);
    assert_eq!(world.sandbox().calls().await.get("GET /v1/subscriptions"), Some(&2), "the list, and one look");
    world.worked_off().await;
    assert_eq!(world.stored(&ada).await.mails, 2);
}

async fn what_other_programs_do_on_the_account_is_passed_over(world: &World) {
    hold_sweeps(world).await;
    let stripe = world.sandbox();
    stripe.drop_webhooks().await;
    let stranger = stripe
        .post(
            "/v1/customers",
            &[
                ("email", "x@example.com"),
                ("payment_method", "pm_card_visa"),
                ("invoice_settings[default_payment_method]", "pm_card_visa"),
            ],
        )
        .await;
    let stranger = stranger["id"].as_str().expect("an id");
    let theirs = [
        ("customer", stranger),
        ("items[0][price]", "price_starter_monthly"),
        ("metadata[customer_id]", "cust_0f1e2d3c4b5a69788796a5b4c3d2e1f0"),
        ("metadata[instance]", "inst_of_another_installation"),
    ];
    stripe.post("/v1/subscriptions", &theirs).await;
    stripe.advance(DAY + HOUR).await;
    release(world, Sweep::Events).await;
    assert!(world.app.sweep_events().await.unwrap().expect("it is due") > 0);
    world.worked_off().await;
    let inbox = world.inbox().await;
    assert!(!inbox.is_empty() && inbox.iter().all(|row| row.contains("ignored")), "{inbox:?}");
    release(world, Sweep::Comparison).await;
    assert_eq!(world.app.compare_subscriptions().await.unwrap(), Some(0));
    assert_eq!(audited(world, "sweep_repaired").await.len(), 0);
}

async fn a_customer_whose_link_a_restore_has_lost_is_found_by_the_comparison(world: &World) {
    hold_sweeps(world).await;
    let ada = world.customer("ada@example.com").await;
    world.sandbox().drop_webhooks().await;
    ada.buy(world, "professional").await;
    let linked = external(world, &ada).await;
    forget_checkout(world, &ada).await;
    world.sandbox().advance(DAY + HOUR).await;
    release(world, Sweep::Comparison).await;
    assert_eq!(world.app.compare_subscriptions().await.unwrap(), Some(1));
    world.worked_off().await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.stripe_customer_id, stored.licenses), (Some(linked), 2));
    assert_eq!(world.sandbox().customers().await.len(), 1);
}

/// As where somebody has wiped the test data at Stripe: no list shows the subscription, and no event tells of its end.
async fn what_no_list_shows_any_more_has_ended(world: &World) {
    hold_sweeps(world).await;
    let (ada, bob) = (subscriber(world, "ada").await, subscriber(world, "bob").await);
    world.settled().await;
    for sql in [
        "update billing_links set external_id = 'cus_wiped' where customer_id = $1",
        "update customers set stripe_customer_id = 'cus_wiped' where customer_id = $1",
        "update subscriptions set stripe_subscription_id = 'sub_wiped' where customer_id = $1",
    ] {
        world.app.db.query(sql).bind(&ada.customer_id).execute().await.unwrap();
    }
    world.sandbox().advance(DAY + HOUR).await;
    release(world, Sweep::Comparison).await;
    assert_eq!(world.app.compare_subscriptions().await.unwrap(), Some(1));
    assert_eq!(world.stored(&ada).await.status, "canceled");
    assert_eq!(world.stored(&bob).await.status, "active", "whom the list shows");
    world.allow_unsettled();
}

async fn a_comparison_during_which_stripe_goes_away_is_done_again(world: &World) {
    hold_sweeps(world).await;
    let ada = subscriber(world, "ada").await;
    world.sandbox().drop_webhooks().await;
    world.sandbox().delete(&at_stripe(world, &ada).await).await;
    // The list is answered, and nothing after it.
    world.sandbox().faults(json!({ "calls": { "fail": 1_000, "after": 1, "status": 503 } })).await;
    release(world, Sweep::Comparison).await;
    assert!(world.app.compare_subscriptions().await.is_err(), "nobody was looked at");
    assert_eq!(audited(world, "sweep_repaired").await.len(), 0);
    world.sandbox().clear_faults().await;
    // A while later it is due again, for whoever comes first.
    world.sandbox().advance(HOUR).await;
    world.app.compare_subscriptions().await.unwrap();
    world.until("the end is found", async || audited(world, "sweep_repaired").await.len() == 1).await;
    assert_eq!(world.stored(&ada).await.status, "canceled");
}

/// Our service on a machine whose clock is so many seconds ahead of everybody else's.
fn ahead(world: &World, seconds: i64) -> App {
    let offset = world.app.now().seconds_since(Clock::system().now()) + seconds;
    let mut app = world.app.clone();
    app.clock = Clock::with_offset(Arc::new(AtomicI64::new(offset)));
    app.holder = "run_ahead".into();
    app
}

/// How far in the future the sweep of the log and the comparison stand, in seconds.
async fn places(world: &World) -> Vec<i64> {
    let rows = world.app.db.query("select done_until from sweeps order by sweep desc").all().await.unwrap();
    rows.iter().map(|row| row.get::<Timestamp>("done_until").unwrap().seconds_since(world.app.now())).collect()
}

async fn a_clock_that_was_ahead_hides_nothing_from_the_sweeps(world: &World) {
    hold_sweeps(world).await;
    let ada = subscriber(world, "ada").await;
    world.sandbox().advance(2 * HOUR).await;
    let wrong = ahead(world, 3 * DAY);
    release(world, Sweep::Events).await;
    assert_eq!(wrong.sweep_events().await.unwrap(), Some(0));
    release(world, Sweep::Comparison).await;
    assert_eq!(wrong.compare_subscriptions().await.unwrap(), Some(0));
    assert!(places(world).await.iter().all(|ahead| *ahead > 2 * DAY), "{:?}", places(world).await);
    let told = world.app.examine(true).await;
    for code in ["sweep_events_ahead", "sweep_comparison_ahead"] {
        assert!(told.checks.iter().any(|check| check.code == code), "{told:?}");
    }

    // The clock is put right. What happens now is read within the hour, as ever, and not when that clock would have.
    world.sandbox().drop_webhooks().await;
    let customer = external(world, &ada).await;
    let payment = world.sandbox().list(&format!("/v1/payment_intents?customer={customer}")).await.remove(0);
    world.sandbox().post("/v1/refunds", &[("payment_intent", payment["id"].as_str().expect("an id"))]).await;
    world.sandbox().advance(HOUR + 400).await;
    assert!(world.app.sweep_events().await.unwrap().expect("it is due") > 0);
    world.worked_off().await;
    assert_eq!(world.stored(&ada).await.needs_attention.as_deref(), Some("money_back"));
    assert_eq!(world.app.sweep_events().await.unwrap(), None, "it is not due again");

    // The list has shown the subscription at an instant that is still to come. That it does not show this one is seen all the same.
    let right = world.stored(&ada).await.stripe_subscription_id;
    let lost = "update subscriptions set stripe_subscription_id = 'sub_gone' where customer_id = $1";
    world.app.db.query(lost).bind(&ada.customer_id).execute().await.unwrap();
    world.app.compare_subscriptions().await.unwrap().expect("it is due");
    assert_eq!(world.stored(&ada).await.stripe_subscription_id, right);
    assert_eq!(world.app.compare_subscriptions().await.unwrap(), None, "it is not due again");
    assert!(places(world).await.iter().all(|ahead| *ahead <= 0), "{:?}", places(world).await);
    let told = world.app.examine(true).await;
    assert!(told.checks.iter().all(|check| !check.code.ends_with("_ahead")), "{told:?}");
    world.sandbox().advance(HOUR + 1).await;
    assert_eq!(world.app.sweep_events().await.unwrap(), Some(0));
    // Two that never agree on the time do not take it from each other without end.
    assert!(wrong.sweep_events().await.unwrap().is_some());
    assert!(world.app.sweep_events().await.unwrap().is_some(), "it is set back");
    assert!(wrong.sweep_events().await.unwrap().is_some());
    assert_eq!(world.app.sweep_events().await.unwrap(), None, "and not again within the hour");
}

async fn a_run_that_a_clock_ahead_has_left_in_the_middle_is_begun_anew(world: &World) {
    hold_sweeps(world).await;
    subscriber(world, "ada").await;
    world.sandbox().advance(2 * HOUR).await;
    release(world, Sweep::Events).await;
    let later = world.app.now().plus_days(3).floor_to_second();
    let left = "update sweeps set leased_until = $1, run_until = $1, position = 'evt_gone', holder = 'run_gone' where sweep = 'events'";
    world.app.db.query(left).bind(later).execute().await.unwrap();
    assert_eq!(world.app.sweep_events().await.unwrap(), Some(0), "nobody holds it until then");
    assert!(places(world).await[0] <= 0, "{:?}", places(world).await);
}

async fn many_links_that_do_not_come_to_an_end_hold_nobody_up(world: &World) {
    let ada = world.customer("ada@example.com").await;
    // Each of them has to wait for its stored error to go away, in every round.
    let customer = "insert into customers (customer_id, email, password_hash, created_at, updated_at) \
                    values ($1, $2, '', $3, $3)";
    let subscription = "insert into subscriptions (customer_id, plan, status, trial_ends_at, current_period_ends_at, created_at, \
                        updated_at) values ($1, 'trial', 'trialing', $2, $2, $2, $2)";
    let stuck = "insert into billing_links (customer_id, provider, generation, state, idempotency_key, email, frozen_params, \
                 opened_at, poisoned_at, livemode, created_at, updated_at) \
                 values ($1, 'stripe', 1, 'creating', $2, 'x@example.com', '', $3, $4, $5, $3, $3)";
    let (long_ago, soon) = (world.app.now().plus_days(-2), world.app.now().plus_seconds(660));
    let mut tx = world.app.db.begin().await.unwrap();
    for number in 0..105 {
        let (id, email) = (format!("cust_{number:032x}"), format!("c{number}@example.com"));
        tx.query(customer).bind(id.as_str()).bind(email).bind(long_ago).execute().await.unwrap();
        tx.query(subscription).bind(id.as_str()).bind(long_ago).execute().await.unwrap();
        let insert = tx.query(stuck).bind(id.as_str()).bind(format!("k{number}")).bind(long_ago).bind(soon).bind(false);
        insert.execute().await.unwrap();
    }
    tx.commit().await.unwrap();
    let lose = json!({ "lose_answer": { "times": 3, "path": "/v1/customers", "method": "POST" } });
    world.sandbox().faults(lose).await;
    ada.checkout("professional").await.refused(503, "payment_provider_unavailable");
    world.sandbox().advance(600).await;
    for round in 1..=2 {
        world.app.sweep_open(world.app.now()).await.unwrap();
        let done = world.stored(&ada).await.stripe_customer_id.is_some();
        assert_eq!(done, round == 2, "in round {round}");
    }
}

both_engines!(
    scenario_77_a_day_of_dropped_webhooks_and_one_reading_of_the_log,
    scenario_77_a_day_of_dropped_webhooks_and_the_comparison_alone,
    after_more_than_thirty_days_the_log_is_read_from_where_it_begins,
    what_a_webhook_brings_after_the_sweep_is_done_already,
    a_sweep_is_run_by_one_process_and_goes_on_after_a_crash,
    of_two_replicas_one_sweeps,
    what_other_programs_do_on_the_account_is_passed_over,
    a_customer_whose_link_a_restore_has_lost_is_found_by_the_comparison,
    what_no_list_shows_any_more_has_ended,
    a_comparison_during_which_stripe_goes_away_is_done_again,
    a_clock_that_was_ahead_hides_nothing_from_the_sweeps,
    a_run_that_a_clock_ahead_has_left_in_the_middle_is_begun_anew,
    many_links_that_do_not_come_to_an_end_hold_nobody_up,
);
