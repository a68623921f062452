//! The queues: what fails waits or is given up, an operator sees it and sets it right, and many events cost few looks.

use counterfoil::app::operators::By;
use counterfoil::app::queues::Wanted;
use counterfoil::cli::service::{Roles, Service};
use counterfoil::db::Engine;
use counterfoil::store::events::EventState;
use counterfoil::store::inbox::{self, NewEvent, Source};
use counterfoil::store::jobs::JobState;
use counterfoil::worker::Chore;
use counterfoil_core::{ExternalCustomerId, Refusal, Timestamp};
use serde_json::json;

use crate::actors::Visitor;
use crate::counts::Counts;
use crate::processes::until;
use crate::world::{Setup, World, id_of};

const HOUR: i64 = 3600;
const CUSTOMERS: usize = 100;
const BURSTS: usize = 10;
const EVENTS_A_BURST: usize = 1000;

fn by() -> By {
    By::command_line("for a test").unwrap()
}

fn all<S>(state: Option<S>) -> Wanted<S> {
    Wanted { state, customer_id: None, before: None, limit: 100 }
}

/// State, class of the newest error, and how long until the next try, of the one event.
async fn the_event(world: &World) -> (String, Option<String>, i64) {
    let row = world.app.db.query("select state, failure, run_at from webhook_inbox").one().await.unwrap();
    let wait = row.get::<Timestamp>("run_at").unwrap().seconds_since(world.app.now());
    (row.get("state").unwrap(), row.get("failure").unwrap(), wait)
}

async fn ten_thousand_events_of_a_hundred_customers_cost_a_look_a_burst_and_customer(world: &World) {
    // The first look gives each of them a licence, whose mail nobody sends here.
    world.allow_unsettled();
    let (app, stripe) = (&world.app, world.sandbox());
    let mut externals = Vec::new();
    for number in 0..CUSTOMERS {
        let made = stripe.post("/v1/customers", &[("email", "x@example.com")]).await;
        let external = made["id"].as_str().expect("an id").to_owned();
        known_customer(world, number, &external).await;
        externals.push(ExternalCustomerId::new(external));
    }
    let (mut looks, mut calls) = (0, 0);
    for burst in 0..BURSTS {
        stripe.reset_calls().await;
        let mut tx = app.db.begin().await.unwrap();
        for number in 0..EVENTS_A_BURST {
            let event_id = format!("evt_{burst}_{number}");
            let event = event(&event_id, &externals[number % CUSTOMERS]);
            assert!(inbox::insert(&mut tx, &event, app.now()).await.unwrap());
        }
        tx.commit().await.unwrap();
        // As many as the service runs side by side.
        let work = async || {
            while app.queues().await.unwrap().0.pending > 0 {
                // PostgreSQL may end one of several claims at once; the next round claims again.
                if let Err(error) = app.work_inbox().await {
                    assert!(
                        matches!(&error, counterfoil::app::Error::Failed(failure) if failure.is_transient()),
                        "{error}"
                    );
                }
            }
        };
        tokio::join!(work(), work(), work());
        let report = stripe.get("/_sandbox/calls").await;
        looks += report["counts"]["GET /v1/subscriptions"].as_u64().unwrap();
        calls += report["total"].as_u64().unwrap();
    }
    let events = BURSTS * EVENTS_A_BURST;
    println!("{events} events of {CUSTOMERS} customers in {BURSTS} bursts: {looks} looks, {calls} calls");
    let least = (BURSTS * CUSTOMERS) as u64;
    // Far from one look an event; on a busy machine the loops overtake each other more often.
    assert!((least..=least * 3).contains(&looks), "{looks} looks for {events} events");
    let done = "select cast(count(*) as bigint) as n from webhook_inbox where state = 'processed'";
    assert_eq!(app.db.query(done).one().await.unwrap().get::<i64>("n").unwrap(), events as i64);
}

fn event<'a>(event_id: &'a str, external: &'a ExternalCustomerId) -> NewEvent<'a> {
    NewEvent {
        source: Source::Webhook,
        provider: "stripe",
        account: "",
        event_id,
        event_type: "invoice.paid",
        livemode: false,
        api_version: None,
        external_customer: Some(external),
        external_payment: None,
        claimed_customer: None,
        claimed_instance: None,
        body: b"{}",
        ignored_because: None,
    }
}

/// A customer of ours with this counterpart, without the work of signing up.
async fn known_customer(world: &World, number: usize, external: &str) {
    let (id, email, now) = (format!("cust_{number:032x}"), format!("c{number}@example.com"), world.app.now());
    let ends = now.plus_days(14);
    let mut tx = world.app.db.begin().await.unwrap();
    let customer = "insert into customers (customer_id, email, password_hash, created_at, updated_at) \
                    values ($1, $2, '', $3, $3)";
    tx.query(customer).bind(id.as_str()).bind(email).bind(now).execute().await.unwrap();
    let subscription = "insert into subscriptions (customer_id, plan, status, trial_ends_at, current_period_ends_at, created_at, \
                        updated_at) values ($1, 'trial', 'trialing', $2, $2, $3, $3)";
    tx.query(subscription).bind(id.as_str()).bind(ends).bind(now).execute().await.unwrap();
    let link = "insert into billing_links (customer_id, provider, generation, state, idempotency_key, email, frozen_params, \
                opened_at, external_id, livemode, created_at, updated_at) \
                values ($1, 'stripe', 1, 'active', $2, 'x@example.com', '', $3, $4, $5, $3, $3)";
    let link = tx.query(link).bind(id.as_str()).bind(format!("k{number}")).bind(now).bind(external).bind(false);
    link.execute().await.unwrap();
    tx.commit().await.unwrap();
}

/// A customer with a counterpart, and one event about it in the inbox.
async fn one_event(world: &World) -> Visitor {
    let ada = world.customer("ada@example.com").await;
    ada.checkout_url("professional").await;
    let external = ExternalCustomerId::new(world.stored(&ada).await.stripe_customer_id.unwrap());
    world.sandbox().delivered().await;
    world.sandbox().drop_webhooks().await;
    world.app.db.query("delete from webhook_inbox").execute().await.unwrap();
    let mut tx = world.app.db.begin().await.unwrap();
    inbox::insert(&mut tx, &event("evt_1", &external), world.app.now()).await.unwrap();
    tx.commit().await.unwrap();
    ada
}

async fn refuse_our_key(world: &World) {
    world.sandbox().faults(json!({ "calls": { "fail": 1_000_000, "status": 401 } })).await;
}

/// Works the one event off until it does not wait any more. Answers how many tries that took.
async fn tries_until_it_is_over(world: &World) -> usize {
    let mut tries = 0;
    while the_event(world).await.0 == "pending" {
        tries += world.app.work_inbox().await.unwrap();
        world.sandbox().advance(2 * HOUR).await;
    }
    tries
}

async fn what_needs_an_operator_is_not_hammered_and_any_later_look_heals_it(world: &World) {
    let (mut ada, counts) = (one_event(world).await, Counts::begin());
    // The provider is down: soon again.
    world.sandbox().faults(json!({ "calls": { "fail": 1_000_000, "status": 503 } })).await;
    assert_eq!(world.app.work_inbox().await.unwrap(), 1);
    let (state, failure, wait) = the_event(world).await;
    assert_eq!((state.as_str(), failure.as_deref()), ("pending", Some("transient")));
    assert!(wait <= 1, "{wait}");
    // The key is refused: that does not go away by itself.
    refuse_our_key(world).await;
    world.sandbox().advance(10).await;
    assert_eq!(world.app.work_inbox().await.unwrap(), 1);
    let (state, failure, wait) = the_event(world).await;
    assert_eq!((state.as_str(), failure.as_deref()), ("pending", Some("permanent")));
    assert!((HOUR / 2 - 1..=2 * HOUR).contains(&wait), "{wait}");
    let failures = ["transient", "permanent"].map(|word| format!("inbox_failures_total{{failure=\"{word}\"}}"));
    assert_eq!(failures.map(|name| counts.of(&name)), [1, 1]);
    tries_until_it_is_over(world).await;
    let listed = world.app.list_events(&all(Some(EventState::Dead))).await.unwrap();
    assert_eq!(listed.rows.len(), 1);
    let tries = listed.rows[0].attempts;
    assert!((20..=40).contains(&tries), "three days of trying took {tries} tries");
    assert!(listed.rows[0].last_error.is_some());
    world.sandbox().clear_faults().await;
    world.app.sync_customer(&id_of(&ada)).await.unwrap();
    assert_eq!(the_event(world).await.0, "processed");
    ada.log_in().await.accepted();
    world.allow_unsettled();
}

async fn a_start_gives_what_was_given_up_a_few_tries_and_leaves_what_is_being_tried_alone(world: &World) {
    one_event(world).await;
    refuse_our_key(world).await;
    assert_eq!(world.app.work_inbox().await.unwrap(), 1);
    world.sandbox().advance(2 * HOUR).await;
    // Another process has just claimed it, when this one starts.
    let now = world.app.now();
    let mut tx = world.app.db.begin().await.unwrap();
    assert_eq!(inbox::claim(&mut tx, now, now.plus_seconds(15), 1).await.unwrap().len(), 1);
    tx.commit().await.unwrap();
    let row = async || world.app.db.query("select run_at, attempts from webhook_inbox").one().await.unwrap();
    world.app.hasten_hopeless().await.unwrap();
    assert_eq!(row().await.get::<Timestamp>("run_at").unwrap(), now.plus_seconds(15));
    world.sandbox().advance(HOUR).await;
    assert!(tries_until_it_is_over(world).await > 20);
    for _start in 0..2 {
        assert_eq!(the_event(world).await.0, "dead");
        world.app.hasten_hopeless().await.unwrap();
        assert_eq!(world.app.queues().await.unwrap().0.dead, 0);
        assert_eq!(tries_until_it_is_over(world).await, 3, "it never goes well, and comes back at each start");
    }
    // Stripe is down when the right key is there: that buries it once more, but not for good.
    world.app.hasten_hopeless().await.unwrap();
    world.sandbox().faults(json!({ "calls": { "fail": 1_000_000, "status": 503 } })).await;
    assert_eq!(tries_until_it_is_over(world).await, 3);
    let (state, failure, _) = the_event(world).await;
    assert_eq!((state.as_str(), failure.as_deref()), ("dead", Some("transient")));
    world.sandbox().clear_faults().await;
    world.app.hasten_hopeless().await.unwrap();
    assert_eq!(world.app.work_inbox().await.unwrap(), 1);
    assert_eq!(the_event(world).await.0, "processed");
    world.allow_unsettled();
}

/// A customer has paid, and every event of it was refused because of our key.
async fn paid_and_refused(world: &World) -> Visitor {
    let ada = world.customer("ada@example.com").await;
    let url = ada.checkout_url("professional").await;
    world.sandbox().pay(&url, "success").await;
    world.sandbox().delivered().await;
    refuse_our_key(world).await;
    while world.app.work_inbox().await.unwrap() > 0 {}
    let sql = "select cast(count(*) as bigint) as n from webhook_inbox where state = 'pending' and run_at > $1";
    let rows = world.app.db.query(sql).bind(world.app.now().plus_seconds(HOUR / 3)).one().await.unwrap();
    assert!(rows.get::<i64>("n").unwrap() > 0, "they wait for most of an hour");
    ada
}

/// The operator puts the right key in and starts the server again.
async fn all_goes_well_after_a_start(world: World, ada: &Visitor) {
    world.sandbox().clear_faults().await;
    let remains = world.stop().await;
    let service = Service::start(&remains.config, Roles { web: false, worker: true }, true).await.unwrap();
    until("all of them are worked off", || async {
        let (inbox, _) = service.app.queues().await.unwrap();
        (inbox.pending + inbox.dead == 0).then_some(())
    })
    .await;
    assert_eq!(service.app.current_license(&id_of(ada)).await.unwrap().plan.as_str(), "professional");
    assert!(service.stop().await);
}

async fn what_waits_for_an_operator_is_tried_at_the_next_start(engine: Engine) {
    let setup = Setup { no_worker: true, ..Setup::test_mode() };
    let Some(world) = World::start(engine, setup).await else { return };
    let ada = paid_and_refused(&world).await;
    all_goes_well_after_a_start(world, &ada).await;
}

async fn what_was_given_up_is_tried_again_at_the_next_start(engine: Engine) {
    let setup = Setup { no_worker: true, ..Setup::test_mode() };
    let Some(world) = World::start(engine, setup).await else { return };
    let ada = paid_and_refused(&world).await;
    // Nobody came for days.
    let now = world.app.now();
    let sql = "update webhook_inbox set received_at = $1, attempts = 70, run_at = $2 where state = 'pending'";
    world.app.db.query(sql).bind(now.plus_days(-4)).bind(now).execute().await.unwrap();
    while world.app.work_inbox().await.unwrap() > 0 {}
    let (inbox, _) = world.app.queues().await.unwrap();
    assert!(inbox.pending == 0 && inbox.dead > 0, "{inbox:?}");
    all_goes_well_after_a_start(world, &ada).await;
}

async fn an_event_that_belongs_to_nobody_is_told_about_after_a_day(world: &World) {
    let stranger = format!("cust_{}", "7".repeat(32));
    let instance = world.app.instance.instance_id.to_string();
    let object = json!({ "object": "invoice", "metadata": { "customer_id": stranger, "instance": instance } });
    world.deliver(&world.event("invoice.paid", object)).await.accepted();
    world.app.work_inbox().await.unwrap();
    assert_eq!(world.app.queues().await.unwrap().0.unmatched, 0);
    world.sandbox().advance(25 * HOUR).await;
    world.app.work_inbox().await.unwrap();
    let (inbox, _) = world.app.queues().await.unwrap();
    assert_eq!((inbox.pending, inbox.unmatched), (1, 1));
    let (_, failure, wait) = the_event(world).await;
    assert_eq!(failure.as_deref(), Some("transient"));
    assert!(wait >= HOUR / 2 - 1, "{wait}");
    world.allow_unsettled();
}

async fn an_event_is_replayed_whatever_became_of_it(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let before = world.stored(&ada).await;
    let processed = world.app.list_events(&all(Some(EventState::Processed))).await.unwrap().rows.remove(0);
    let ignored = world.app.list_events(&all(Some(EventState::Ignored))).await.unwrap().rows.remove(0);
    for event in [&processed, &ignored] {
        let replayed = world.app.replay_event(&event.event_id, &by()).await.unwrap();
        assert_eq!(replayed.state, EventState::Pending);
    }
    world.settled().await;
    assert_eq!(world.stored(&ada).await, before, "it only says: look again");
    let (again, body) = world.app.find_event(&processed.event_id).await.unwrap();
    assert_eq!((again.state, again.customer_id), (EventState::Processed, Some(id_of(&ada))));
    assert!(again.processed_at > processed.processed_at);
    assert!(String::from_utf8(body).unwrap().contains(&processed.event_id));
    let unknown = world.app.replay_event("evt_none", &by()).await.unwrap_err();
    assert!(unknown.to_string().contains("no event"), "{unknown}");
    let sql =
        "select cast(count(*) as bigint) as n from audit_log where action = 'event_replayed' and reason = 'for a test'";
    assert_eq!(world.app.db.query(sql).one().await.unwrap().get::<i64>("n").unwrap(), 2);
    let page = Wanted { limit: 2, customer_id: Some(id_of(&ada)), ..all(None) };
    let first = world.app.list_events(&page).await.unwrap();
    let second = world.app.list_events(&Wanted { before: first.next, ..page }).await.unwrap();
    assert!(first.rows.len() == 2 && first.rows[1].number > second.rows[0].number, "newest first, page by page");
}

async fn a_job_is_retried_or_discarded_and_never_done_twice(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let bob = world.customer("bob@example.com").await;
    world.settled().await;
    let job = |customer| Wanted { customer_id: Some(id_of(customer)), ..all::<JobState>(None) };
    let (adas, bobs) = (
        world.app.list_jobs(&job(&ada)).await.unwrap().rows.remove(0),
        world.app.list_jobs(&job(&bob)).await.unwrap().rows.remove(0),
    );
    for result in [world.app.retry_job(&adas.job_id, &by()).await, world.app.discard_job(&adas.job_id, &by()).await] {
        let refused = result.unwrap_err();
        let done = Refusal::JobDone { state: "sent" };
        assert!(matches!(&refused, counterfoil::app::Error::Refused(found) if *found == done), "{refused}");
    }
    world.app.db.query("update outbox set state = 'dead', sent_at = null").execute().await.unwrap();
    assert_eq!(world.app.queues().await.unwrap().1.dead, 2);
    world.app.retry_job(&adas.job_id, &by()).await.unwrap();
    world.app.discard_job(&bobs.job_id, &by()).await.unwrap();
    world.settled().await;
    let states: Vec<JobState> =
        world.app.list_jobs(&all(None)).await.unwrap().rows.iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Discarded, JobState::Sent]);
    world.app.retry_job(&bobs.job_id, &by()).await.unwrap_err();
}

async fn a_comparison_tells_what_differs_and_brings_it_in_line(world: &World) {
    let (mut ada, mut bob) = (world.customer("ada@example.com").await, world.customer("bob@example.com").await);
    ada.subscribe(world, "professional").await;
    bob.subscribe(world, "starter").await;
    assert!(compared(world, None).await.is_empty(), "both sides say the same");
    world.sandbox().drop_webhooks().await;
    let subscription = world.stored(&ada).await.stripe_subscription_id.unwrap();
    world.sandbox().delete(&format!("/v1/subscriptions/{subscription}")).await;
    let before = world.stored(&ada).await;
    let found = compared(world, None).await;
    assert_eq!(world.stored(&ada).await, before, "looking changes nothing");
    let names: Vec<&str> = found[0].fields.iter().map(|field| field.name).collect();
    assert_eq!((found.len(), &found[0].customer_id, found[0].fixed), (1, &id_of(&ada), false));
    assert!(names.contains(&"status") && names.contains(&"ended"), "{found:?}");
    let status = found[0].fields.iter().find(|field| field.name == "status").unwrap();
    assert_eq!((status.book.as_str(), status.provider.as_str()), ("active", "canceled"));
    let fixed = compared(world, Some(&by())).await;
    assert!(fixed.len() == 1 && fixed[0].fixed, "{fixed:?}");
    assert_eq!(world.stored(&ada).await.status, "canceled");
    assert!(compared(world, None).await.is_empty());
}

async fn what_was_finished_long_ago_is_forgotten_and_what_needs_somebody_is_not(world: &World) {
    let day = 24 * HOUR;
    let external = ExternalCustomerId::new("cus_of_nobody".to_owned());
    let mut tx = world.app.db.begin().await.unwrap();
    for number in 1..=5 {
        assert!(inbox::insert(&mut tx, &event(&format!("evt_{number}"), &external), world.app.now()).await.unwrap());
    }
    tx.commit().await.unwrap();
    let set = async |event_id: &str, state: &str, days: i64| {
        let at = world.app.now().plus_seconds(-days * day - 1);
        let sql = "update webhook_inbox set state = $2, processed_at = $3, run_at = $4 where event_id = $1";
        let later = world.app.now().plus_days(400);
        let finished = (state != "pending").then_some(at);
        world.app.db.query(sql).bind(event_id).bind(state).bind(finished).bind(later).execute().await.unwrap();
    };
    set("evt_1", "dead", 200).await;
    set("evt_2", "pending", 0).await;
    set("evt_3", "processed", 89).await;
    set("evt_4", "ignored", 90).await;
    set("evt_5", "processed", 90).await;
    let left = async || {
        let rows = world.app.db.query("select event_id from webhook_inbox order by id").all().await.unwrap();
        rows.iter().map(|row| row.get::<String>("event_id").unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(world.app.forget_old_events().await.unwrap(), 2);
    assert_eq!(left().await, ["evt_1", "evt_2", "evt_3"]);
    world.sandbox().advance(day).await;
    Chore::OldEvents.run(&world.app).await.unwrap();
    assert_eq!(left().await, ["evt_1", "evt_2"]);
    world.allow_unsettled();
}

async fn a_row_that_cannot_be_read_holds_up_nobody_else(world: &World) {
    world.allow_unsettled();
    let visitors = [world.customer("ada@example.com").await, world.customer("bob@example.com").await];
    for visitor in &visitors {
        visitor.buy(world, "starter").await;
    }
    world.sandbox().delivered().await;
    let spoil = "update customers set email = 'no address' where customer_id = $1";
    world.app.db.query(spoil).bind(&visitors[0].customer_id).execute().await.unwrap();
    while world.app.work_inbox().await.unwrap() > 0 {}
    let failed =
        "select cast(count(*) as bigint) as n from webhook_inbox where customer_id = $1 and last_error is not null";
    for (visitor, status, fails) in [(&visitors[0], "trialing", true), (&visitors[1], "active", false)] {
        assert_eq!(world.stored(visitor).await.status, status, "{:#?}", world.inbox().await);
        let row = world.app.db.query(failed).bind(&visitor.customer_id).one().await.unwrap();
        assert_eq!(row.get::<i64>("n").unwrap() > 0, fails, "{}", visitor.email);
    }
}

/// All pages.
async fn compared(world: &World, fix: Option<&By>) -> Vec<counterfoil::app::reconcile::Difference> {
    let (mut cursor, mut found) = (None, Vec::new());
    loop {
        let page = world.app.reconcile(cursor.as_deref(), fix).await.unwrap();
        found.extend(page.differences);
        cursor = page.next;
        if cursor.is_none() {
            return found;
        }
    }
}

both_engines!(
    Setup::no_worker();
    ten_thousand_events_of_a_hundred_customers_cost_a_look_a_burst_and_customer,
    what_needs_an_operator_is_not_hammered_and_any_later_look_heals_it,
    a_start_gives_what_was_given_up_a_few_tries_and_leaves_what_is_being_tried_alone,
    a_row_that_cannot_be_read_holds_up_nobody_else,
    an_event_that_belongs_to_nobody_is_told_about_after_a_day,
    what_was_finished_long_ago_is_forgotten_and_what_needs_somebody_is_not,
);

both_engines!(
    an_event_is_replayed_whatever_became_of_it,
    a_job_is_retried_or_discarded_and_never_done_twice,
    a_comparison_tells_what_differs_and_brings_it_in_line,
);

restarts!(what_waits_for_an_operator_is_tried_at_the_next_start, what_was_given_up_is_tried_again_at_the_next_start,);
