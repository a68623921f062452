//! Scenario 55: the four events of one purchase in all 24 orders end in one state.

use serde_json::Value;

use crate::world::{Stored, World};

const KINDS: [&str; 4] =
    ["checkout.session.completed", "customer.subscription.created", "customer.subscription.updated", "invoice.paid"];

/// All orders of four things.
fn orders() -> Vec<[usize; 4]> {
    let mut orders = Vec::new();
    for number in 0..4_usize.pow(4) {
        let order = [number / 64 % 4, number / 16 % 4, number / 4 % 4, number % 4];
        let mut sorted = order;
        sorted.sort_unstable();
        if sorted == [0, 1, 2, 3] {
            orders.push(order);
        }
    }
    orders
}

/// What must be the same for every customer: everything but names and the second of the purchase.
fn comparable(stored: &Stored) -> Stored {
    Stored {
        email: String::new(),
        stripe_customer_id: stored.stripe_customer_id.as_ref().map(|_| String::new()),
        stripe_subscription_id: stored.stripe_subscription_id.as_ref().map(|_| String::new()),
        current_period_ends_at: None,
        paid_until: None,
        ..stored.clone()
    }
}

async fn scenario_55_every_order_of_the_events_ends_in_the_same_state(world: &World) {
    let orders = orders();
    assert_eq!(orders.len(), 24);
    world.sandbox().drop_webhooks().await;
    let mut customers = Vec::new();
    for number in 0..orders.len() {
        let visitor = world.customer(&format!("ada{number}@example.com")).await;
        visitor.buy(world, "professional").await;
        let external = world.stored(&visitor).await.stripe_customer_id.expect("a counterpart");
        // Something that is told in an event of its own, as every checkout of old API versions did.
        let subscription = world.sandbox().list(&format!("/v1/subscriptions?customer={external}")).await[0].clone();
        let path = format!("/v1/subscriptions/{}", subscription["id"].as_str().unwrap());
        world.sandbox().post(&path, &[("metadata[told]", "yes")]).await;
        let mut events: Vec<Value> = Vec::new();
        for kind in KINDS {
            let event = world.sandbox().newest_event(kind).await;
            assert_eq!(event["data"]["object"]["customer"], external, "{kind} of this customer");
            events.push(event);
        }
        customers.push((visitor, events));
    }
    let mut ends = Vec::new();
    for ((visitor, events), order) in customers.iter().zip(&orders) {
        let mut before = world.stored(visitor).await;
        for index in order {
            world.deliver(&events[*index]).await.accepted();
            world.worked_off().await;
            let after = world.stored(visitor).await;
            if before.status == "active" {
                let what_was_bought = |stored: &Stored| (stored.status.clone(), stored.plan.clone());
                assert_eq!(what_was_bought(&after), what_was_bought(&before), "{order:?}");
                assert!(after.paid_until >= before.paid_until, "{order:?}: paid until {:?}", after.paid_until);
            }
            before = after;
        }
        assert_eq!(before.status, "active", "{order:?}");
        let stored = world.stored(visitor).await;
        assert_eq!(stored.paid_until, stored.current_period_ends_at, "{order:?}");
        ends.push((order, comparable(&stored)));
    }
    let (_, first) = &ends[0];
    assert_eq!((first.status.as_str(), first.licenses, first.mails), ("active", 2, 2));
    for (order, end) in &ends {
        assert_eq!(end, first, "{order:?}");
    }
}

both_engines!(scenario_55_every_order_of_the_events_ends_in_the_same_state);
