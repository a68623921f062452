//! What becomes of an account's own rows: who holds them, what is changed once, and what is left in the end.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil::db::testing::TestDb;
use counterfoil::store::attempts::AttemptState;
use counterfoil::store::key_sets::{self, InstalledSet};
use counterfoil::store::{attempts, audit, customers, events, holds, inbox};
use counterfoil_core::{ExternalSessionId, PlanCode};

use super::{NOW, STRIPE, attempt, customer, event, id, later, with_fresh};

async fn an_account_is_held_and_changed_until_it_is_erased_once(db: &TestDb) {
    let (ada, nobody) = (customer(db, 1).await, id(9));
    assert!(committed!(db, |tx| customers::hold(tx, &ada)) && !committed!(db, |tx| customers::hold(tx, &nobody)));
    assert!(committed!(db, |tx| customers::hold_password(tx, &ada, "hash")));
    assert!(!committed!(db, |tx| customers::hold_password(tx, &ada, "another")), "it has been changed");
    assert!(committed!(db, |tx| customers::renew_password_hash(tx, &ada, "hash", "newer")));
    assert!(!committed!(db, |tx| customers::renew_password_hash(tx, &ada, "hash", "newest")), "it was another one");
    assert_eq!(committed!(db, |tx| customers::find_password_hash(tx, &ada)).as_deref(), Some("newer"));
    assert!(committed!(db, |tx| customers::is_unverified_without_license(tx, &ada)));
    assert!(committed!(db, |tx| customers::set_verified(tx, &ada, later(1))));
    assert!(!committed!(db, |tx| customers::set_verified(tx, &ada, later(2))), "that is nothing new");
    assert!(!committed!(db, |tx| customers::is_unverified_without_license(tx, &ada)));
    let email = "new@example.com".parse().unwrap();
    assert!(committed!(db, |tx| customers::set_email(tx, &ada, &email, later(3))));
    assert!(committed!(db, |tx| customers::set_password(tx, &ada, "set", later(3))));
    assert!(!committed!(db, |tx| customers::set_email(tx, &nobody, &email, later(3))));
    assert!(!committed!(db, |tx| customers::set_password(tx, &nobody, "set", later(3))));

    let all = [ada.clone(), nobody];
    let held = async || committed!(db, |tx| customers::hold_all(tx, &all.iter().collect::<Vec<_>>()));
    assert_eq!(held().await, BTreeMap::from([(ada.clone(), false)]));
    committed!(db, |tx| holds::put(tx, &ada, ("operator:cli", "leaked"), NOW));
    assert_eq!(held().await, BTreeMap::from([(ada.clone(), true)]));

    assert!(!committed!(db, |tx| customers::hold_tombstone(tx, &ada)), "it lives");
    assert!(committed!(db, |tx| customers::erase(tx, &ada, later(4))));
    assert!(!committed!(db, |tx| customers::erase(tx, &ada, later(5))), "it is erased already");
    assert!(
        committed!(db, |tx| customers::hold_tombstone(tx, &ada)) && !committed!(db, |tx| customers::hold(tx, &ada))
    );
    assert!(!committed!(db, |tx| customers::hold_password(tx, &ada, "")), "nobody logs in with nothing");
    assert!(!committed!(db, |tx| customers::set_email(tx, &ada, &email, later(6))));
    assert_eq!(held().await, BTreeMap::new());
    assert_eq!(committed!(db, |tx| customers::list_known(tx, &all)), BTreeSet::from([ada.clone()]), "it was ours");
    assert_eq!(committed!(db, |tx| customers::find_tombstone(tx, &ada)).unwrap().deleted_at, later(4));
}

async fn an_attempt_is_paying_from_the_payment_to_its_end(db: &TestDb) {
    let ada = customer(db, 1).await;
    let ids = [1, 2].map(|number| attempt(number).id);
    committed!(db, |tx| attempts::insert(tx, &ada, STRIPE, &attempt(1), NOW));
    let paying = async || committed!(db, |tx| attempts::is_paying(tx, &ada));
    let state = async |number: usize| {
        let found = committed!(db, |tx| attempts::find_state(tx, &ada, &ids[number])).unwrap();
        assert_eq!(found.1, PlanCode::new("professional"));
        found.0
    };
    assert_eq!((state(0).await, paying().await), (AttemptState::Opening, false));
    committed!(db, |tx| attempts::set_paying(tx, &ada, &ids[0], later(1)));
    assert_eq!((state(0).await, paying().await), (AttemptState::Paying, true));
    let session = ExternalSessionId::new("cs_1");
    committed!(db, |tx| attempts::set_session(tx, &ada, &ids[0], &session, None, None, later(2)));
    assert_eq!(state(0).await, AttemptState::Paying, "whoever tells of the session late does not reopen it");
    committed!(db, |tx| attempts::end(tx, &ada, &ids[0], AttemptState::Completed, later(3)));
    committed!(db, |tx| attempts::set_paying(tx, &ada, &ids[0], later(4)));
    assert_eq!((state(0).await, paying().await), (AttemptState::Completed, false));

    committed!(db, |tx| attempts::insert(tx, &ada, STRIPE, &attempt(2), later(5)));
    assert_eq!(committed!(db, |tx| attempts::end_abandoned(tx, &ada, later(5), later(9))), 0, "not yet long enough");
    assert_eq!(committed!(db, |tx| attempts::end_abandoned(tx, &ada, later(6), later(9))), 1);
    assert_eq!((state(0).await, state(1).await), (AttemptState::Completed, AttemptState::Failed));
}

async fn the_audit_log_keeps_the_order(db: &TestDb) {
    let ada = customer(db, 1).await;
    for number in 0..5 {
        let told = format!("line {number}");
        committed!(db, |tx| audit::insert(tx, audit::Actor::Sync, "looked", Some(&ada), &told, NOW));
    }
    committed!(db, |tx| audit::insert(tx, audit::Actor::Provider, "started", None, "", NOW));
    committed!(db, |tx| audit::insert_by(tx, ("operator:cli", "asked"), "helped", Some(&ada), "line 5", NOW));
    let lines = committed!(db, |tx| audit::list(tx, &ada, 3));
    assert_eq!(lines.iter().map(|line| line.detail.as_str()).collect::<Vec<_>>(), ["line 5", "line 4", "line 3"]);
    assert_eq!((lines[1].actor.as_str(), lines[1].action.as_str(), lines[1].at), ("sync", "looked", NOW));
    assert_eq!((lines[0].actor.as_str(), lines[0].reason.as_deref()), ("operator:cli", Some("asked")));
    assert_eq!(lines[1].reason, None);
}

async fn lines_about_several_customers_are_each_in_its_own_history(db: &TestDb) {
    let (ada, bob) = (customer(db, 1).await, customer(db, 2).await);
    let lines = [("looked", &ada, "one".to_owned()), ("looked", &bob, "two".to_owned()), ("left", &ada, String::new())];
    committed!(db, |tx| audit::insert_all(tx, audit::Actor::Sweep, &lines, NOW));
    let history = committed!(db, |tx| audit::list(tx, &ada, 9));
    let told: Vec<_> = history.iter().map(|line| (line.action.as_str(), line.detail.as_str())).collect();
    assert_eq!(told, [("left", ""), ("looked", "one")]);
    assert_eq!((history[0].actor.as_str(), history[0].at), ("sweep", NOW));
    assert!(committed!(db, |tx| audit::is_noted(tx, &bob, "looked", "two")));
    assert!(!committed!(db, |tx| audit::is_noted(tx, &bob, "looked", "one")));
}

async fn of_two_key_sets_the_one_with_the_higher_serial_stays_until_another_root_takes_over(db: &TestDb) {
    let set = |root: &str, serial: i64| InstalledSet {
        root: root.to_owned(),
        token: format!("{root} {serial}"),
        serial,
        expires_at: later(99),
        installed_at: NOW,
    };
    for (root, serial, is_put) in [("a", 5, true), ("a", 4, false), ("a", 5, true), ("a", 6, true), ("b", 1, true)] {
        assert_eq!(committed!(db, |tx| key_sets::put(tx, &set(root, serial))), is_put, "{root} {serial}");
    }
    assert_eq!(committed!(db, |tx| key_sets::find(tx)).unwrap().token, "b 1");
}

async fn events_that_a_wrong_clock_has_put_off_are_brought_forward(db: &TestDb) {
    for event_id in ["evt_1", "evt_2", "evt_3"] {
        committed!(db, |tx| inbox::insert(tx, &event(event_id, None), NOW));
    }
    let claimed = committed!(db, |tx| inbox::claim(tx, NOW, later(60), 2));
    assert_eq!(claimed.len(), 2);
    assert_eq!(committed!(db, |tx| events::bring_forward(tx, later(60), later(1))), 0, "so long is not too long");
    assert_eq!(committed!(db, |tx| events::bring_forward(tx, later(59), later(1))), 2);
    assert_eq!(committed!(db, |tx| inbox::claim(tx, later(1), later(60), 10)).len(), 3);
}

on_both_databases!(
    an_account_is_held_and_changed_until_it_is_erased_once,
    an_attempt_is_paying_from_the_payment_to_its_end,
    the_audit_log_keeps_the_order,
    lines_about_several_customers_are_each_in_its_own_history,
    of_two_key_sets_the_one_with_the_higher_serial_stays_until_another_root_takes_over,
    events_that_a_wrong_clock_has_put_off_are_brought_forward,
);
