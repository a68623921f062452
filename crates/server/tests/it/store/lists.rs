//! What is listed for people and for sweeps: whose it is, and what is left out.

use counterfoil::db::testing::TestDb;
use counterfoil::store::inbox::NewEvent;
use counterfoil::store::sweeps::{self, Sweep};
use counterfoil::store::{events, inbox, links, subscriptions};
use counterfoil_core::facts::Money;
use counterfoil_core::subscription::{Provided, Standing, State};
use counterfoil_core::{CustomerId, ExternalCustomerId, ExternalSubscriptionId, Interval, PlanCode, Subscription};

use super::{NOW, STRIPE, customer, event, later, link, with_fresh};

async fn event_about(db: &TestDb, event: NewEvent<'_>, owner: Option<&CustomerId>) {
    assert!(committed!(db, |tx| inbox::insert(tx, &event, NOW)));
    let row =
        committed!(db, |tx| inbox::claim(tx, NOW, NOW, 100)).into_iter().find(|row| row.event_id == event.event_id);
    if let (Some(owner), Some(row)) = (owner, row) {
        committed!(db, |tx| inbox::assign(tx, row.id, owner, None));
    }
}

async fn events_about_a_customer_are_its_own_and_those_that_name_it_and_are_nobodys(db: &TestDb) {
    let (ada, bob) = (customer(db, 1).await, customer(db, 2).await);
    let (hers, his) = (ExternalCustomerId::new("cus_a"), ExternalCustomerId::new("cus_b"));
    event_about(db, event("evt_own", None), Some(&ada)).await;
    event_about(db, event("evt_his", Some(&hers)), Some(&bob)).await;
    event_about(db, event("evt_counterpart", Some(&hers)), None).await;
    event_about(db, event("evt_other", Some(&his)), None).await;
    event_about(db, event("evt_nobody", None), None).await;
    event_about(db, NewEvent { claimed_customer: Some(ada.as_str()), ..event("evt_claims", None) }, None).await;
    event_about(db, NewEvent { ignored_because: Some("other_mode"), ..event("evt_ignored", Some(&hers)) }, None).await;
    // Nobody had these counterparts when the events came.
    for (owner, external) in [(&ada, &hers), (&bob, &his)] {
        assert!(committed!(db, |tx| links::open(tx, owner, STRIPE, false, &link(owner, 1))));
        assert!(committed!(db, |tx| links::activate(tx, owner, STRIPE, 1, external, NOW)));
    }
    let about = async |whose: &CustomerId, limit: i64| {
        let lines = committed!(db, |tx| events::list_about(tx, whose, limit));
        lines.into_iter().map(|line| (line.event_id, line.is_matched)).collect::<Vec<_>>()
    };
    let line = |event_id: &str, is_matched: bool| (event_id.to_owned(), is_matched);
    let expected = [line("evt_claims", false), line("evt_counterpart", false), line("evt_own", true)];
    assert_eq!(about(&ada, 10).await, expected, "the newest first");
    assert_eq!(about(&bob, 10).await, [line("evt_other", false), line("evt_his", true)]);
    assert_eq!(about(&ada, 2).await, expected[..2]);
    let newest = committed!(db, |tx| events::list_about(tx, &ada, 1)).remove(0);
    assert_eq!((newest.event_type.as_str(), newest.state.as_str()), ("invoice.paid", "pending"));
    assert_eq!((newest.received_at, newest.processed_at, newest.last_error), (NOW, None, None));
}

async fn a_sweep_has_one_holder_and_goes_on_where_it_was(db: &TestDb) {
    let sweep = (Sweep::Events, STRIPE);
    committed!(db, |tx| sweeps::ensure(tx, sweep.0, sweep.1, later(-100), NOW));
    committed!(db, |tx| sweeps::ensure(tx, sweep.0, sweep.1, later(-5), later(900)));
    let take = async |holder: &str, now: i64| {
        committed!(db, |tx| sweeps::take(tx, sweep.0, sweep.1, holder, later(now), later(now + 10), later(10_000)))
    };
    assert_eq!(take("a", -1).await, None, "not yet due");
    let first = take("a", 0).await.expect("due and free");
    assert_eq!((first.done_until, first.run.as_ref()), (later(-100), None), "there already, and left as it was");
    assert_eq!(take("b", 9).await, None, "held");
    let run = sweeps::Run { until: later(0), position: Some("evt_7".to_owned()), found: 3 };
    assert!(committed!(db, |tx| sweeps::keep(tx, sweep.0, sweep.1, first.fence, &run, later(20))));
    let second = take("b", 20).await.expect("run out");
    assert_eq!((second.fence, second.run.as_ref()), (first.fence + 1, Some(&run)));
    assert!(!committed!(db, |tx| sweeps::keep(tx, sweep.0, sweep.1, first.fence, &run, later(99))), "fenced off");
    assert!(!committed!(db, |tx| sweeps::finish(tx, sweep.0, sweep.1, first.fence, later(9), later(99))));
    committed!(db, |tx| sweeps::put_off(tx, sweep.0, sweep.1, first.fence, true, later(99)));
    committed!(db, |tx| sweeps::put_off(tx, sweep.0, sweep.1, second.fence, false, later(40)));
    assert_eq!(take("b", 39).await, None);
    let third = take("b", 40).await.expect("put off until now");
    assert_eq!(third.run.as_ref(), Some(&run), "it goes on where it was");
    committed!(db, |tx| sweeps::put_off(tx, sweep.0, sweep.1, third.fence, true, later(60)));
    let again = take("b", 60).await.expect("put off until now");
    assert_eq!(again.run, Some(sweeps::Run { position: None, ..run }), "or from the start");
    committed!(db, |tx| sweeps::end_all_but(tx, "b", later(61)));
    assert_eq!(take("a", 61).await, None, "its own are kept");
    committed!(db, |tx| sweeps::end_all_but(tx, "a", later(61)));
    let last = take("a", 61).await.expect("of a process that is gone");
    assert!(committed!(db, |tx| sweeps::finish(tx, sweep.0, sweep.1, last.fence, later(50), later(100))));
    assert_eq!(committed!(db, |tx| sweeps::list_done(tx)), [("events".to_owned(), later(50))]);
    assert_eq!(take("a", 99).await, None, "done");
    assert_eq!(take("a", 100).await.expect("due again").run, None);
}

async fn a_comparison_misses_the_subscriptions_that_no_list_has_shown(db: &TestDb) {
    let mut all = Vec::new();
    for number in 1..=5 {
        let owner = customer(db, number).await;
        committed!(db, |tx| links::open(tx, &owner, STRIPE, false, &link(&owner, 1)));
        let external = ExternalCustomerId::new(format!("cus_{number}"));
        committed!(db, |tx| links::activate(tx, &owner, STRIPE, 1, &external, NOW));
        let subscription = Subscription {
            plan: PlanCode::new("professional"),
            state: State::Provided(Provided {
                id: ExternalSubscriptionId::new(format!("sub_{number}")),
                standing: match number {
                    2 => Standing::Canceled { ended_at: NOW },
                    _ => Standing::Active { cancel_at: None },
                },
                interval: Some(Interval::Month),
                period_ends_at: Some(later(99)),
                paid_until: Some(later(99)),
                money: Money::Kept,
                trial_ended_at: None,
            }),
            attention: None,
        };
        committed!(db, |tx| subscriptions::update(tx, &owner, &subscription, later(i64::from(number))));
        all.push(owner);
    }
    committed!(db, |tx| subscriptions::set_listed(tx, &ExternalSubscriptionId::new("sub_1"), later(5)));
    committed!(db, |tx| subscriptions::set_listed(tx, &ExternalSubscriptionId::new("sub_3"), later(4)));
    let missed = async |after: &str, limit: i64| {
        committed!(db, |tx| subscriptions::list_unlisted(tx, STRIPE, later(5), after, limit))
    };
    // The first was shown, the second is over, and the fifth was changed since.
    assert_eq!(missed("", 10).await, [all[2].clone(), all[3].clone()]);
    assert_eq!(missed("", 1).await, [all[2].clone()]);
    assert_eq!(missed(all[2].as_str(), 10).await, [all[3].clone()]);
    assert!(committed!(db, |tx| links::retire(tx, &all[2], STRIPE, 1, later(6))));
    db.raw("update customers set deleted_at = created_at where email = 'c4@example.com'").await.unwrap();
    assert_eq!(missed("", 10).await, [], "nobody looks for those who have gone");
}

on_both_databases!(
    events_about_a_customer_are_its_own_and_those_that_name_it_and_are_nobodys,
    a_sweep_has_one_holder_and_goes_on_where_it_was,
    a_comparison_misses_the_subscriptions_that_no_list_has_shown,
);
