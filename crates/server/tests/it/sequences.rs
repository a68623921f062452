//! Every sequence of events that Stripe describes for a subscription's life, told in every order, ends in one state.
//!
//! What happened at Stripe happens once. Then our book is set back to where it stood before, and the events are delivered
//! in another order, each worked off before the next. Six events have 720 orders, and not each has to be walked to know them
//! all: where the book says the same after a set of events however the set was reached, and every event has been told after
//! every set that it is not in, then every order ends alike. Both are checked. Of longer sequences the six last events are
//! put into every order.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil::store;
use counterfoil_core::plan_change::PlannedChange;
use counterfoil_core::{CustomerId, Subscription, Timestamp};
use serde_json::Value;

use crate::actors::Visitor;
use crate::world::{Stored, World, id_of};

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;

/// More events than these are told in the order in which they came.
const PERMUTED_MAX: usize = 6;

/// Orders of `count` things that together tell each of them once after each set of the others.
fn orders(count: usize) -> Vec<Vec<usize>> {
    // A set is a number whose bits are its members.
    let steps = |order: &[usize]| {
        let mut told = 0;
        let each = |next: &usize| {
            let step = (told, *next);
            told |= 1 << next;
            step
        };
        order.iter().map(each).collect::<Vec<(usize, usize)>>()
    };
    let sets = 0..1_usize << count;
    let is_step = |set: usize, next: usize| set & (1 << next) == 0;
    let mut missing: BTreeSet<(usize, usize)> =
        sets.flat_map(|set| (0..count).filter(move |next| is_step(set, *next)).map(move |next| (set, next))).collect();
    let mut orders = Vec::new();
    while let Some((set, next)) = missing.iter().max_by_key(|(set, _)| set.count_ones()).copied() {
        // Backwards from a step that is missing, and forwards from it, by missing steps where there are any.
        let mut before = Vec::new();
        let mut rest = set;
        while rest != 0 {
            let members = (0..count).filter(|member| rest & (1 << member) != 0);
            let last =
                members.max_by_key(|member| missing.contains(&(rest & !(1 << member), *member))).expect("a member");
            before.insert(0, last);
            rest &= !(1 << last);
        }
        let mut order = before;
        order.push(next);
        order.extend((0..count).filter(|each| *each != next && set & (1 << each) == 0));
        for step in steps(&order) {
            missing.remove(&step);
        }
        orders.push(order);
    }
    orders
}

/// What our book says before the sequence, to set it back.
struct Page {
    customer_id: CustomerId,
    subscription: Subscription,
    planned: Option<PlannedChange>,
    attempts: Vec<(String, String)>,
    counterpart: Option<String>,
    version: i64,
    newest_mail: i64,
}

impl Page {
    async fn of(world: &World, visitor: &Visitor) -> Self {
        let customer_id = id_of(visitor);
        let mut tx = world.app.db.begin_read().await.unwrap();
        let subscription = store::subscriptions::find(&mut tx, &customer_id).await.unwrap().expect("a subscription");
        let planned = store::planned_changes::find(&mut tx, &customer_id).await.unwrap();
        let attempts = tx.query("select attempt_id, state from checkout_attempts").all().await.unwrap();
        let attempts = attempts.iter().map(|row| (row.get("attempt_id").unwrap(), row.get("state").unwrap())).collect();
        let newest = "select (select max(version) from licenses) as version, \
                      (select coalesce(max(id), 0) from outbox) as mail, \
                      (select stripe_customer_id from customers where customer_id = $1) as counterpart";
        let row = tx.query(newest).bind(&customer_id).one().await.unwrap();
        tx.rollback().await.unwrap();
        Self {
            customer_id,
            subscription,
            planned,
            attempts,
            counterpart: row.get("counterpart").unwrap(),
            version: row.get("version").unwrap(),
            newest_mail: row.get("mail").unwrap(),
        }
    }

    /// Sets the book back: as if nothing that came later had ever been told.
    async fn turn_back(&self, world: &World) {
        let (id, now) = (&self.customer_id, world.app.now());
        let mut tx = world.app.db.begin().await.unwrap();
        tx.query("delete from webhook_inbox").execute().await.unwrap();
        tx.query("delete from outbox where id > $1").bind(self.newest_mail).execute().await.unwrap();
        tx.query("delete from licenses where version > $1").bind(self.version).execute().await.unwrap();
        store::subscriptions::update(&mut tx, id, &self.subscription, now).await.unwrap();
        store::planned_changes::replace(&mut tx, id, self.planned.as_ref()).await.unwrap();
        for (attempt, state) in &self.attempts {
            let set = tx.query("update checkout_attempts set state = $2 where attempt_id = $1");
            set.bind(attempt.as_str()).bind(state.as_str()).execute().await.unwrap();
        }
        if let Some(counterpart) = &self.counterpart {
            let link = tx.query("update billing_links set state = 'active' where external_id = $1");
            link.bind(counterpart.as_str()).execute().await.unwrap();
            let project = tx.query("update customers set stripe_customer_id = $2 where customer_id = $1");
            project.bind(id).bind(counterpart.as_str()).execute().await.unwrap();
        }
        tx.commit().await.unwrap();
    }
}

/// Works off what has arrived.
async fn work_off(world: &World) {
    while world.app.work_inbox().await.unwrap() > 0 {}
}

/// The end, without what differs by the moment of the look.
fn comparable(stored: Stored) -> Stored {
    // A customer who is gone at Stripe takes the subscriptions with it; where Stripe no longer tells when, it is now.
    let ended_at = stored.ended_at.map(|_| Timestamp::from_unix_seconds(0));
    Stored { ended_at, ..stored }
}

/// The events since the beginning, oldest first.
async fn told_since(world: &World, known: &BTreeSet<String>) -> Vec<Value> {
    let mut events = world.sandbox().list("/v1/events").await;
    events.reverse();
    events.retain(|event| !known.contains(event["id"].as_str().expect("an id")));
    events
}

async fn event_ids(world: &World) -> BTreeSet<String> {
    let events = world.sandbox().list("/v1/events").await;
    events.iter().map(|event| event["id"].as_str().expect("an id").to_owned()).collect()
}

/// Lets it happen once and tells it in every order. Answers the end.
async fn in_every_order(world: &World, visitor: &Visitor, happen: impl AsyncFnOnce()) -> Stored {
    world.sandbox().delivered().await;
    work_off(world).await;
    world.sandbox().drop_webhooks().await;
    let (page, known) = (Page::of(world, visitor).await, event_ids(world).await);
    happen().await;
    let mut relevant = Vec::new();
    for event in told_since(world, &known).await {
        world.deliver(&event).await.accepted();
        let told = world.inbox().await;
        if told.last().is_some_and(|line| line.contains("pending")) {
            relevant.push(event);
        }
    }
    assert!(!relevant.is_empty(), "something is told");
    let at_first = relevant.split_off(relevant.len().saturating_sub(PERMUTED_MAX));
    let (at_first, permuted) = (relevant, at_first);
    let kinds: Vec<&str> = permuted.iter().map(|event| event["type"].as_str().expect("a type")).collect();
    let mut after: BTreeMap<BTreeSet<usize>, Stored> = BTreeMap::new();
    for order in orders(permuted.len()) {
        page.turn_back(world).await;
        for event in &at_first {
            tell(world, event).await;
        }
        let mut set = BTreeSet::new();
        for index in &order {
            tell(world, &permuted[*index]).await;
            set.insert(*index);
            let stored = comparable(world.stored(visitor).await);
            let first = after.entry(set.clone()).or_insert_with(|| stored.clone());
            assert_eq!(&stored, first, "after {set:?} of {kinds:?}, in the order {order:?}");
        }
    }
    assert_eq!(after.len(), (1 << permuted.len()) - 1, "every set was reached");
    world.allow_unsettled();
    let all = (0..permuted.len()).collect::<BTreeSet<usize>>();
    after.remove(&all).expect("the end")
}

/// Delivers one event and works it off.
async fn tell(world: &World, event: &Value) {
    let body = event.to_string();
    let signature = world.sign(&body, world.app.now().as_unix_seconds());
    world.app.receive_webhook(&[signature.as_bytes()], body.as_bytes()).await.unwrap();
    work_off(world).await;
}

/// A customer who is known at Stripe and has bought nothing.
async fn known_at_stripe(world: &World) -> Visitor {
    let ada = world.customer("ada@example.com").await;
    ada.checkout_url("professional").await;
    ada
}

/// A customer who has bought.
async fn subscriber(world: &World) -> Visitor {
    let ada = world.customer("ada@example.com").await;
    ada.buy(world, "professional").await;
    world.sandbox().delivered().await;
    work_off(world).await;
    assert_eq!(world.stored(&ada).await.status, "active");
    ada
}

/// The customer's counterpart at Stripe.
async fn counterpart(world: &World, visitor: &Visitor) -> String {
    world.stored(visitor).await.stripe_customer_id.expect("a counterpart")
}

/// The address of the customer's subscription at Stripe.
async fn subscription(world: &World, visitor: &Visitor) -> String {
    let id = world.stored(visitor).await.stripe_subscription_id.expect("a subscription");
    format!("/v1/subscriptions/{id}")
}

/// Lets time pass until this long after the period's end.
async fn pass_the_period(world: &World, visitor: &Visitor, seconds: i64) {
    let end = world.stored(visitor).await.current_period_ends_at.expect("a period").as_unix_seconds();
    world.sandbox().advance(end - world.sandbox().now().await + seconds).await;
}

/// Makes a subscription at Stripe for a customer who is known there.
async fn begin(world: &World, visitor: &Visitor, card: &str, more: &[(&str, &str)]) -> Value {
    let customer = counterpart(world, visitor).await;
    world.sandbox().replace_card(&customer, card).await;
    let fixed = [("customer", customer.as_str()), ("items[0][price]", "price_pro_monthly")];
    world.sandbox().post("/v1/subscriptions", &[&fixed[..], more].concat()).await
}

async fn pay_open_invoice(world: &World, visitor: &Visitor) {
    let customer = counterpart(world, visitor).await;
    let open = world.sandbox().list(&format!("/v1/invoices?customer={customer}&status=open")).await;
    let invoice = open[0]["id"].as_str().expect("an open invoice");
    world.sandbox().post(&format!("/v1/invoices/{invoice}/pay"), &[]).await;
}

fn check(end: &Stored, status: &str, versions: i64) {
    assert_eq!((end.status.as_str(), end.licenses, end.mails), (status, versions, versions), "{end:?}");
}

async fn sequence_1_a_purchase(world: &World) {
    let ada = world.customer("ada@example.com").await;
    let url = ada.checkout_url("professional").await;
    let end = in_every_order(world, &ada, async || {
        world.sandbox().pay(&url, "success").await;
    });
    check(&end.await, "active", 2);
}

async fn sequence_2_a_trial_that_stripe_counts(world: &World) {
    let ada = known_at_stripe(world).await;
    let end = in_every_order(world, &ada, async || {
        begin(world, &ada, "success", &[("trial_period_days", "7")]).await;
    });
    check(&end.await, "trialing", 2);
}

async fn sequence_3_a_first_payment_that_comes_late(world: &World) {
    let ada = known_at_stripe(world).await;
    let end = in_every_order(world, &ada, async || {
        begin(world, &ada, "success", &[("payment_behavior", "default_incomplete")]).await;
        pay_open_invoice(world, &ada).await;
    });
    check(&end.await, "active", 2);
}

async fn sequence_3_a_first_payment_that_never_comes(world: &World) {
    let ada = known_at_stripe(world).await;
    let end = in_every_order(world, &ada, async || {
        begin(world, &ada, "success", &[("payment_behavior", "default_incomplete")]).await;
        world.sandbox().advance(23 * HOUR + 60).await;
    });
    check(&end.await, "trialing", 1);
}

async fn sequence_4_a_renewal(world: &World) {
    let ada = subscriber(world).await;
    let end = in_every_order(world, &ada, async || pass_the_period(world, &ada, 2 * HOUR).await).await;
    check(&end, "active", 3);
    assert_eq!(end.paid_until, end.current_period_ends_at);
}

async fn sequence_5_a_renewal_that_fails(world: &World) {
    let ada = subscriber(world).await;
    let end = in_every_order(world, &ada, async || {
        world.sandbox().replace_card(&counterpart(world, &ada).await, "declined").await;
        pass_the_period(world, &ada, 2 * HOUR).await;
    });
    check(&end.await, "past_due", 3);
}

async fn sequence_5_a_renewal_that_fails_and_recovers(world: &World) {
    let ada = subscriber(world).await;
    let end = in_every_order(world, &ada, async || {
        let customer = counterpart(world, &ada).await;
        world.sandbox().replace_card(&customer, "declined").await;
        pass_the_period(world, &ada, 2 * HOUR).await;
        world.sandbox().replace_card(&customer, "success").await;
        pay_open_invoice(world, &ada).await;
    })
    .await;
    check(&end, "active", 3);
    assert_eq!(end.paid_until, end.current_period_ends_at);
}

async fn sequence_5_a_renewal_that_is_given_up(world: &World) {
    let ada = subscriber(world).await;
    let end = in_every_order(world, &ada, async || {
        world.sandbox().replace_card(&counterpart(world, &ada).await, "declined").await;
        pass_the_period(world, &ada, 28 * DAY).await;
    });
    check(&end.await, "canceled", 2);
}

async fn sequence_6_an_end_that_is_planned_taken_back_and_planned_again(world: &World) {
    let ada = subscriber(world).await;
    let path = subscription(world, &ada).await;
    let end = in_every_order(world, &ada, async || {
        for planned in ["true", "false", "true"] {
            world.sandbox().post(&path, &[("cancel_at_period_end", planned)]).await;
        }
        pass_the_period(world, &ada, HOUR).await;
    });
    check(&end.await, "canceled", 2);
}

async fn sequence_7_an_end_at_once(world: &World) {
    let ada = subscriber(world).await;
    let path = subscription(world, &ada).await;
    let end = in_every_order(world, &ada, async || {
        world.sandbox().delete(&path).await;
    });
    check(&end.await, "canceled", 2);
}

async fn sequence_8_an_upgrade_that_is_charged_at_once(world: &World) {
    let ada = subscriber(world).await;
    let path = subscription(world, &ada).await;
    let end = in_every_order(world, &ada, async || {
        let item = world.sandbox().get(&path).await["items"]["data"][0]["id"].as_str().expect("an item").to_owned();
        let change = [
            ("items[0][id]", item.as_str()),
            ("items[0][price]", "price_enterprise_monthly"),
            ("proration_behavior", "always_invoice"),
        ];
        world.sandbox().post(&path, &change).await;
    })
    .await;
    check(&end, "active", 3);
    assert_eq!(end.plan, "enterprise");
}

async fn sequence_8_a_downgrade_that_waits_for_the_period_to_end(world: &World) {
    let ada = subscriber(world).await;
    let id = world.stored(&ada).await.stripe_subscription_id.expect("a subscription");
    let end = in_every_order(world, &ada, async || {
        let made = world.sandbox().post("/v1/subscription_schedules", &[("from_subscription", &id)]).await;
        let phase = |name: &str| made["current_phase"][name].to_string();
        let path = format!("/v1/subscription_schedules/{}", made["id"].as_str().expect("an id"));
        let (start, stop) = (phase("start_date"), phase("end_date"));
        let phases = [
            ("end_behavior", "release"),
            ("phases[0][items][0][price]", "price_pro_monthly"),
            ("phases[0][start_date]", &start),
            ("phases[0][end_date]", &stop),
            ("phases[1][items][0][price]", "price_starter_monthly"),
            ("phases[1][duration][interval]", "month"),
            ("phases[1][proration_behavior]", "none"),
        ];
        world.sandbox().post(&path, &phases).await;
        pass_the_period(world, &ada, 2 * HOUR).await;
    })
    .await;
    check(&end, "active", 3);
    assert_eq!(end.plan, "starter");
}

async fn refunded(world: &World, amount: &[(&str, &str)]) -> Stored {
    let ada = subscriber(world).await;
    let customer = counterpart(world, &ada).await;
    let payments = world.sandbox().list(&format!("/v1/payment_intents?customer={customer}")).await;
    let payment = [("payment_intent", payments[0]["id"].as_str().expect("an id"))];
    in_every_order(world, &ada, async || {
        world.sandbox().post("/v1/refunds", &[&payment[..], amount].concat()).await;
    })
    .await
}

async fn sequence_9_a_full_refund(world: &World) {
    let end = refunded(world, &[]).await;
    check(&end, "active", 2);
    assert_eq!((end.paid_until, end.needs_attention.as_deref()), (None, Some("money_back")));
}

async fn sequence_9_a_partial_refund(world: &World) {
    let end = refunded(world, &[("amount", "100")]).await;
    check(&end, "active", 2);
    assert_eq!((end.paid_until, end.needs_attention), (end.current_period_ends_at, None));
}

async fn disputed(world: &World, decision: &str) -> Stored {
    let ada = known_at_stripe(world).await;
    let customer = counterpart(world, &ada).await;
    let attach = "/v1/payment_methods/pm_card_createDispute/attach";
    in_every_order(world, &ada, async || {
        let card = world.sandbox().post(attach, &[("customer", customer.as_str())]).await;
        let pairs = [
            ("customer", customer.as_str()),
            ("items[0][price]", "price_pro_monthly"),
            ("default_payment_method", card["id"].as_str().expect("a card")),
        ];
        world.sandbox().post("/v1/subscriptions", &pairs).await;
        let dispute = world.sandbox().newest_event("charge.dispute.created").await["data"]["object"]["id"].clone();
        world.sandbox().decide_dispute(dispute.as_str().expect("an id"), decision).await;
    })
    .await
}

async fn sequence_10_a_dispute_that_is_lost(world: &World) {
    let end = disputed(world, "lost").await;
    check(&end, "active", 1);
    assert_eq!((end.paid_until, end.needs_attention.as_deref()), (None, Some("money_back")));
}

async fn sequence_10_a_dispute_that_is_won(world: &World) {
    let end = disputed(world, "won").await;
    check(&end, "active", 2);
    assert_eq!((end.paid_until, end.needs_attention), (end.current_period_ends_at, None));
}

async fn sequence_11_a_customer_who_is_deleted(world: &World) {
    let ada = subscriber(world).await;
    let customer = counterpart(world, &ada).await;
    let end = in_every_order(world, &ada, async || {
        world.sandbox().delete(&format!("/v1/customers/{customer}")).await;
    })
    .await;
    check(&end, "canceled", 2);
    assert_eq!(end.stripe_customer_id, None);
}

#[test]
fn the_orders_tell_each_event_after_each_set_of_the_others() {
    for count in 1..=PERMUTED_MAX {
        let orders = orders(count);
        let mut steps = BTreeSet::new();
        for order in &orders {
            assert_eq!(order.iter().copied().collect::<BTreeSet<_>>().len(), count);
            for place in 0..count {
                steps.insert((order[..place].iter().copied().collect::<BTreeSet<_>>(), order[place]));
            }
        }
        assert_eq!(steps.len(), count << (count - 1), "{count} events, {} orders", orders.len());
    }
}

both_engines!(
    Setup::no_worker();
    sequence_1_a_purchase,
    sequence_2_a_trial_that_stripe_counts,
    sequence_3_a_first_payment_that_comes_late,
    sequence_3_a_first_payment_that_never_comes,
    sequence_4_a_renewal,
    sequence_5_a_renewal_that_fails,
    sequence_5_a_renewal_that_fails_and_recovers,
    sequence_5_a_renewal_that_is_given_up,
    sequence_6_an_end_that_is_planned_taken_back_and_planned_again,
    sequence_7_an_end_at_once,
    sequence_8_an_upgrade_that_is_charged_at_once,
    sequence_8_a_downgrade_that_waits_for_the_period_to_end,
    sequence_9_a_full_refund,
    sequence_9_a_partial_refund,
    sequence_10_a_dispute_that_is_lost,
    sequence_10_a_dispute_that_is_won,
    sequence_11_a_customer_who_is_deleted,
);
