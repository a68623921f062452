use counterfoil_core::link::{
    Candidate, Link, LinkState, POISON_WAIT_SECONDS, SETTLE_SECONDS, Step, Verdict, WINDOW_SECONDS, judge, next_step,
};
use counterfoil_core::{CustomerId, ExternalCustomerId, IdempotencyKey, InstanceId, Timestamp};

use crate::support::day;

fn link(generation: i64, state: LinkState) -> Link {
    let (instance, customer) = (InstanceId::from_random([1; 16]), CustomerId::from_random([2; 16]));
    Link {
        generation,
        key: IdempotencyKey::customer(&instance, &customer, generation),
        email: "ada@example.com".into(),
        frozen: "email=ada%40example.com".into(),
        opened_at: day(1),
        state,
    }
}

fn opened(seconds: i64) -> Timestamp {
    day(1).plus_seconds(seconds)
}

#[test]
fn the_table_of_next_steps() {
    let creating = link(3, LinkState::Creating);
    let poisoned = link(3, LinkState::Poisoned { at: opened(100) });
    let active = link(3, LinkState::Active(ExternalCustomerId::new("cus_1")));
    let retired = link(3, LinkState::Retired);
    let settled = opened(WINDOW_SECONDS + SETTLE_SECONDS);
    let believed = opened(100 + POISON_WAIT_SECONDS);
    let table = [
        (None, opened(0), Step::Open { generation: 1 }),
        (Some(&creating), opened(-1), Step::Send),
        (Some(&creating), opened(0), Step::Send),
        (Some(&creating), opened(WINDOW_SECONDS).plus_millis(-1), Step::Send),
        (Some(&creating), opened(WINDOW_SECONDS), Step::Wait { until: settled }),
        (Some(&creating), settled.plus_millis(-1), Step::Wait { until: settled }),
        (Some(&creating), settled, Step::LookUp),
        (Some(&creating), opened(i64::MAX), Step::LookUp),
        (Some(&poisoned), opened(100), Step::Wait { until: believed }),
        (Some(&poisoned), believed.plus_millis(-1), Step::Wait { until: believed }),
        (Some(&poisoned), believed, Step::LookUp),
        (Some(&poisoned), opened(WINDOW_SECONDS * 9), Step::LookUp),
        (Some(&active), opened(WINDOW_SECONDS * 9), Step::Done(ExternalCustomerId::new("cus_1"))),
        (Some(&retired), opened(0), Step::Open { generation: 4 }),
    ];
    for (link, now, step) in table {
        assert_eq!(next_step(link, now), step, "{link:?} at {now}");
    }
}

#[test]
fn within_the_window_an_outage_of_half_a_day_needs_no_search() {
    const { assert!(WINDOW_SECONDS >= 12 * 3600) };
}

#[test]
fn the_window_ends_well_before_the_provider_forgets_a_key() {
    const { assert!(WINDOW_SECONDS + SETTLE_SECONDS < 24 * 3600 - 3 * 3600) };
}

fn ours() -> (CustomerId, InstanceId) {
    (CustomerId::from_random([7; 16]), InstanceId::from_random([8; 16]))
}

/// A customer of the provider's list that is ours, made on that day.
fn candidate(id: &str, created_on: i64) -> Candidate {
    let (customer, instance) = ours();
    Candidate {
        id: ExternalCustomerId::new(id),
        created_at: day(created_on),
        deleted: false,
        customer_id: Some(customer.to_string()),
        instance: Some(instance.to_string()),
    }
}

fn verdict(list: &[Candidate]) -> Verdict {
    let (customer, instance) = ours();
    judge(list, &customer, &instance)
}

#[test]
fn the_same_email_alone_proves_nothing() {
    let bare = Candidate { customer_id: None, instance: None, ..candidate("cus_bare", 1) };
    let other_customer =
        Candidate { customer_id: Some(CustomerId::from_random([9; 16]).to_string()), ..candidate("cus_other", 1) };
    let other_instance =
        Candidate { instance: Some(InstanceId::from_random([9; 16]).to_string()), ..candidate("cus_foreign", 1) };
    let no_instance = Candidate { instance: None, ..candidate("cus_half", 1) };
    let deleted = Candidate { deleted: true, ..candidate("cus_deleted", 1) };
    let strangers = [bare, other_customer, other_instance, no_instance, deleted];
    assert_eq!(verdict(&strangers), Verdict::None);
    assert_eq!(verdict(&[]), Verdict::None);
    let among = [strangers.as_slice(), &[candidate("cus_ours", 9)]].concat();
    assert_eq!(verdict(&among), Verdict::Adopt { id: ExternalCustomerId::new("cus_ours"), others: 0 });
}

#[test]
fn of_several_the_oldest_is_adopted_in_whatever_order_they_come() {
    let oldest = Verdict::Adopt { id: ExternalCustomerId::new("cus_b"), others: 2 };
    let mut list = vec![candidate("cus_a", 5), candidate("cus_b", 2), candidate("cus_c", 2)];
    for _ in 0..list.len() {
        list.rotate_left(1);
        assert_eq!(verdict(&list), oldest);
    }
    list.reverse();
    assert_eq!(verdict(&list), oldest);
}
