//! Rows of inbox and outbox beside the usual way: put back, hastened, revived, taken up by an operator, and forgotten.

use counterfoil::db::testing::TestDb;
use counterfoil::store::inbox::{NewEvent, Source};
use counterfoil::store::jobs::{self, JobState};
use counterfoil::store::outbox::{self, Kind, NewEffect, NewMail};
use counterfoil::store::{inbox, links};
use counterfoil_core::{CustomerId, EffectId, ExternalCustomerId};

use super::{NOW, STRIPE, customer, event, inbox_states, later, link, mail, with_fresh};

/// So many events that nobody has claimed, in their order.
async fn events(db: &TestDb, count: usize, external: Option<&ExternalCustomerId>) -> Vec<i64> {
    for number in 1..=count {
        committed!(db, |tx| inbox::insert(tx, &event(&format!("evt_{number}"), external), NOW));
    }
    committed!(db, |tx| inbox::claim(tx, NOW, NOW, 99)).into_iter().map(|row| row.id).collect()
}

async fn linked(db: &TestDb, owner: &CustomerId, external: &ExternalCustomerId) {
    assert!(committed!(db, |tx| links::open(tx, owner, STRIPE, false, &link(owner, 1))));
    assert!(committed!(db, |tx| links::activate(tx, owner, STRIPE, 1, external, NOW)));
}

async fn events_find_their_customer_once_the_counterpart_is_known(db: &TestDb) {
    let (ada, bob) = (customer(db, 1).await, customer(db, 2).await);
    let (hers, other) = (ExternalCustomerId::new("cus_a"), ExternalCustomerId::new("cus_other"));
    let ids = events(db, 3, Some(&hers)).await;
    committed!(db, |tx| inbox::ignore(tx, ids[2], "other_mode", NOW));
    linked(db, &ada, &hers).await;
    committed!(db, |tx| inbox::assign_all(tx, "manual", std::slice::from_ref(&hers)));
    assert_eq!(committed!(db, |tx| inbox::mark_seen(tx, &[(&ada, 7)])), 0, "an id of another provider");
    committed!(db, |tx| inbox::assign_all(tx, STRIPE, std::slice::from_ref(&hers)));
    assert_eq!(committed!(db, |tx| inbox::mark_seen(tx, &[(&ada, 7), (&bob, 7)])), 2, "those that wait");

    assert!(committed!(db, |tx| inbox::list_unlinked(tx, &ada, STRIPE)).is_empty());
    committed!(db, |tx| inbox::insert(tx, &event("evt_payment", None), NOW));
    let row = committed!(db, |tx| inbox::claim(tx, NOW, NOW, 99)).pop().unwrap();
    committed!(db, |tx| inbox::assign(tx, row.id, &ada, Some(&other)));
    assert_eq!(committed!(db, |tx| inbox::list_unlinked(tx, &ada, STRIPE)), [other]);
    assert!(!row.found_by_sweep, "a webhook brought it");
    let swept = NewEvent { source: Source::Sweep, event_type: "charge.refunded", ..event("evt_swept", None) };
    committed!(db, |tx| inbox::insert(tx, &swept, later(9)));
    assert!(committed!(db, |tx| inbox::claim(tx, later(9), NOW, 99)).iter().any(|row| row.found_by_sweep));
    assert_eq!(committed!(db, |tx| inbox::find_newest(tx, STRIPE)), Some((NOW, "invoice.paid".to_owned())));
    assert_eq!(committed!(db, |tx| inbox::find_newest(tx, "manual")), None);
    assert_eq!(committed!(db, |tx| inbox::newest_received(tx)), Some(NOW));
}

async fn events_are_put_back_hastened_and_revived(db: &TestDb) {
    let ids = events(db, 4, None).await;
    let due = async |at: i64| committed!(db, |tx| inbox::claim(tx, later(at), later(at), 99));
    committed!(db, |tx| inbox::put_back(tx, &ids[..2], later(5)));
    let attempts: Vec<_> = due(5).await.into_iter().map(|row| row.attempts).collect();
    assert_eq!(attempts.iter().sum::<i64>(), 1 + 1 + 2 + 2, "what nobody tried is no try");

    for (id, until, failure) in
        [(ids[0], 500, "permanent"), (ids[1], 600, "permanent"), (ids[2], 500, "transient"), (ids[3], 60, "permanent")]
    {
        committed!(db, |tx| inbox::postpone(tx, id, later(until), failure, "why"));
    }
    assert_eq!(committed!(db, |tx| inbox::hasten_hopeless(tx, later(9), later(60))), 2);
    assert_eq!(due(9).await.into_iter().map(|row| row.id).collect::<Vec<_>>(), ids[..2]);

    for id in &ids[..3] {
        committed!(db, |tx| inbox::bury(tx, *id, "permanent", "why", later(10)));
    }
    let queue = committed!(db, |tx| inbox::measure(tx, later(1)));
    assert_eq!((queue.pending, queue.dead, queue.unmatched, queue.oldest), (1, 3, 1, Some(NOW)));
    assert_eq!(committed!(db, |tx| inbox::measure(tx, NOW)).unmatched, 0, "it has not waited for long");
    assert_eq!(committed!(db, |tx| inbox::revive(tx, 4, 2, later(11))), 2);
    let again: Vec<_> = due(11).await.into_iter().map(|row| (row.id, row.attempts)).collect();
    assert_eq!(again, [(ids[1], 5), (ids[2], 5)], "the newest, after so many tries");
    assert_eq!(inbox_states(db).await, [("dead".to_owned(), 1), ("pending".to_owned(), 3)]);
}

async fn what_is_no_mail_is_owed_once_and_comes_back_as_it_was(db: &TestDb) {
    let ada = customer(db, 1).await;
    let kinds = [Kind::PasswordForgot, Kind::CustomerUpdate, Kind::CustomerDelete];
    let ids = [1, 2, 3].map(|number| EffectId::from_random([number; 16]));
    for (number, kind) in kinds.into_iter().enumerate() {
        let (owner, key) = ((number > 0).then_some(&ada), format!("key {number}"));
        let (effect_id, address) = (&ids[number], "ada@example.com");
        let effect = NewEffect { effect_id, kind, customer_id: owner, dedupe_key: &key, address };
        assert!(committed!(db, |tx| outbox::insert(tx, &effect, NOW)));
        let again = NewEffect { effect_id: &EffectId::from_random([9; 16]), ..effect };
        assert!(!committed!(db, |tx| outbox::insert(tx, &again, NOW)), "owed already");
    }
    committed!(db, |tx| outbox::insert_mails(tx, &[mail(&ada, 7)], NOW));
    let claimed = committed!(db, |tx| outbox::claim_effects(tx, NOW, later(60), 9));
    let told: Vec<_> = claimed.iter().map(|each| (each.kind, each.customer_id.is_some(), each.attempts)).collect();
    assert_eq!(told, [(kinds[0], false, 1), (kinds[1], true, 1), (kinds[2], true, 1)], "and no mail");
    assert_eq!((claimed[0].effect_id.clone(), claimed[0].address.as_str()), (ids[0].clone(), "ada@example.com"));
    committed!(db, |tx| outbox::delete(tx, &ids[0]));
    assert_eq!(committed!(db, |tx| outbox::bring_forward(tx, later(60), later(1))), 0, "so long is not too long");
    assert_eq!(committed!(db, |tx| outbox::bring_forward(tx, later(59), later(1))), 2);
    assert_eq!(committed!(db, |tx| outbox::claim_effects(tx, later(1), later(60), 9)).len(), 2);
}

async fn mails_are_kept_or_forgotten_and_operators_take_jobs_up(db: &TestDb) {
    let (ada, bob) = (customer(db, 1).await, customer(db, 2).await);
    let secret = NewMail { forget_when_sent: true, ..mail(&ada, 3) };
    let owed = [mail(&ada, 1), mail(&bob, 2), secret];
    assert_eq!(committed!(db, |tx| outbox::insert_mails(tx, &owed, NOW)), 3);
    let ids = [1, 2, 3].map(|number| mail(&ada, number).effect_id);
    let queue = committed!(db, |tx| outbox::measure(tx));
    assert_eq!((queue.pending, queue.dead, queue.oldest), (3, 0, Some(NOW)));
    let listed = async |state, whose, before, limit| {
        let rows = committed!(db, |tx| jobs::list(tx, state, whose, before, limit));
        rows.into_iter().map(|job| job.job_id).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, None, i64::MAX, 2).await, [ids[2].clone(), ids[1].clone()], "the newest first");
    assert_eq!(listed(None, Some(&bob), i64::MAX, 9).await, [ids[1].clone()]);

    assert_eq!(committed!(db, |tx| outbox::keep_due(tx, NOW, 2)), 2, "whoever reads them reads them here");
    assert_eq!(listed(Some(JobState::Sent), None, i64::MAX, 9).await, [ids[1].clone(), ids[0].clone()]);
    let waits = committed!(db, |tx| jobs::find(tx, &ids[2])).unwrap();
    assert_eq!((waits.state, waits.kind.as_str(), waits.attempts), (JobState::Pending, "mail", 0));
    assert!(!committed!(db, |tx| jobs::retry(tx, &ids[0], NOW)) && !committed!(db, |tx| jobs::discard(tx, &ids[0])));
    committed!(db, |tx| outbox::bury(tx, &ids[2], "permanent", "refused"));
    assert!(committed!(db, |tx| jobs::retry(tx, &ids[2], later(1))), "what was given up is done again");
    assert!(committed!(db, |tx| jobs::discard(tx, &ids[2])) && !committed!(db, |tx| jobs::discard(tx, &ids[2])));
    assert!(!committed!(db, |tx| jobs::retry(tx, &ids[2], later(2))), "for good");
    let discarded = committed!(db, |tx| outbox::find(tx, &ids[2])).unwrap();
    assert_eq!((discarded.recipient.as_str(), discarded.body_text.as_str()), ("", ""));

    for (id, kept) in [(&ids[0], "text"), (&ids[2], "")] {
        committed!(db, |tx| outbox::forget_sent(tx, id));
        assert_eq!(committed!(db, |tx| outbox::find(tx, id)).unwrap().body_text, kept);
    }
    let lines = committed!(db, |tx| outbox::list_of_customer(tx, &ada, 9));
    let told: Vec<_> = lines.iter().map(|line| (line.subject.as_str(), line.state.as_str(), line.sent_at)).collect();
    assert_eq!(told, [("No. 3", "discarded", None), ("No. 1", "sent", Some(NOW))]);
    committed!(db, |tx| outbox::erase(tx, &ada));
    assert!(committed!(db, |tx| outbox::find(tx, &ids[2])).is_none(), "what was not sent");
    let sent = committed!(db, |tx| outbox::find(tx, &ids[0])).unwrap();
    assert_eq!((sent.recipient.as_str(), sent.state.as_str()), ("", "sent"), "that it was sent stays");
    assert_eq!(committed!(db, |tx| outbox::find(tx, &ids[1])).unwrap().recipient, "c1@example.com");
}

async fn a_counterpart_settles_on_a_currency_and_is_listed_while_it_is_in_use(db: &TestDb) {
    let (ada, bob) = (customer(db, 1).await, customer(db, 2).await);
    let (hers, his) = (ExternalCustomerId::new("cus_a"), ExternalCustomerId::new("cus_b"));
    linked(db, &ada, &hers).await;
    linked(db, &bob, &his).await;
    let settled = [(&ada, STRIPE, &hers, "eur"), (&bob, STRIPE, &his, "usd")];
    committed!(db, |tx| links::set_currencies(tx, &settled, later(1)));
    let currency = async |whose: &CustomerId| committed!(db, |tx| links::find_currency(tx, whose, STRIPE));
    assert_eq!((currency(&ada).await.as_deref(), currency(&bob).await.as_deref()), (Some("eur"), Some("usd")));
    let current = committed!(db, |tx| links::list_current(tx, &[&ada]));
    assert_eq!(current.keys().collect::<Vec<_>>(), [&ada]);
    let each = &current[&ada].links[0];
    assert_eq!(
        (each.provider.as_str(), each.external_id.as_ref(), each.currency.as_deref()),
        (STRIPE, Some(&hers), Some("eur"))
    );
    assert!(!current[&ada].has_attempts);
    let mut both = vec![ada.clone(), bob.clone()];
    both.sort();
    assert_eq!(committed!(db, |tx| links::list_linked(tx, STRIPE, "", 9)), both);
    assert_eq!(committed!(db, |tx| links::list_linked(tx, STRIPE, both[0].as_str(), 9)), both[1..]);

    assert!(!committed!(db, |tx| links::give_up(tx, &ada, STRIPE, 1, later(2))), "it has its counterpart");
    assert!(committed!(db, |tx| links::retire(tx, &ada, STRIPE, 1, later(2))));
    assert_eq!(currency(&ada).await, None);
    assert!(committed!(db, |tx| links::open(tx, &ada, STRIPE, false, &link(&ada, 2))));
    committed!(db, |tx| links::touch_creating(tx, &ada, STRIPE, later(50)));
    assert!(committed!(db, |tx| links::list_creating(tx, STRIPE, later(50), 9)).is_empty(), "it was just looked at");
    assert!(committed!(db, |tx| links::give_up(tx, &ada, STRIPE, 2, later(51))));
    assert!(!committed!(db, |tx| links::give_up(tx, &ada, STRIPE, 2, later(52))), "once");
    committed!(db, |tx| links::erase(tx, &bob));
    let erased = committed!(db, |tx| links::find_newest(tx, &bob, STRIPE)).unwrap();
    assert_eq!((erased.email.as_str(), erased.frozen.as_str()), ("", ""));
    assert_eq!(committed!(db, |tx| links::find_customer(tx, STRIPE, &his)), Some(bob), "what still comes finds it");
}

on_both_databases!(
    events_find_their_customer_once_the_counterpart_is_known,
    events_are_put_back_hastened_and_revived,
    what_is_no_mail_is_owed_once_and_comes_back_as_it_was,
    mails_are_kept_or_forgotten_and_operators_take_jobs_up,
    a_counterpart_settles_on_a_currency_and_is_listed_while_it_is_in_use,
);
