//! What an agreement and its payments come to, by the calendar.

use counterfoil_core::facts::{Facts, Money, ProviderStatus, SubscriptionFacts};
use counterfoil_core::manual::{Account, Agreement, MONTHS_MAX, Payment, Planned, price_of, read_price};
use counterfoil_core::plan_change::{Present, decide};
use counterfoil_core::reduce::{later_duplicates, merge, reduce_all};
use counterfoil_core::subscription::{Attention, Standing};
use counterfoil_core::{
    ExternalCustomerId, ExternalSubscriptionId, Interval, PlanCode, PriceId, Refusal, Subscription, Timestamp,
};

use crate::support::{ACTIVE, catalog, day, facts_of, listed, plan, price, provided, provided_part, trial_until};

fn at(text: &str) -> Timestamp {
    format!("{text}T00:00:00Z").parse().expect("a day")
}

fn agreed(starts_on: &str, interval: Interval) -> Account {
    Account {
        agreement: Agreement {
            id: ExternalSubscriptionId::new("manual_subscription_1"),
            created_at: at(starts_on),
            starts_at: at(starts_on),
            plan: PlanCode::new("professional"),
            interval,
            planned: None,
            cancel_at: None,
            ended_at: None,
        },
        payments: Vec::new(),
    }
}

impl Paying for Account {
    fn pay(mut self, periods: i64) -> Self {
        let (from_month, until_month) = self.next_months(periods).expect("not too long");
        self.payments.push(Payment { from_month, until_month, amount: 100, refunded: 0 });
        self
    }

    fn refund(mut self, payment: usize, amount: i64) -> Self {
        self.payments[payment].refunded += amount;
        self
    }

    fn seen(&self, on: &str) -> SubscriptionFacts {
        self.facts(at(on)).expect("it has begun").0
    }

    fn state(&self, on: &str) -> (ProviderStatus, Option<Timestamp>, Money) {
        let seen = self.seen(on);
        (seen.status, seen.paid_until, seen.money)
    }
}

trait Paying {
    fn pay(self, periods: i64) -> Self;
    fn refund(self, payment: usize, amount: i64) -> Self;
    fn seen(&self, on: &str) -> SubscriptionFacts;
    fn state(&self, on: &str) -> (ProviderStatus, Option<Timestamp>, Money);
}

#[test]
fn periods_are_counted_from_the_first_day() {
    let mut account = agreed("2026-01-31", Interval::Month);
    for end in ["2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"] {
        account = account.pay(1);
        assert_eq!(account.paid_until(), Some(at(end)));
    }
    assert_eq!(agreed("2028-02-29", Interval::Year).pay(1).paid_until(), Some(at("2029-02-28")));
    assert_eq!(agreed("2028-02-29", Interval::Year).pay(4).paid_until(), Some(at("2032-02-29")));
    assert_eq!(agreed("2026-01-31", Interval::Month).next_months(MONTHS_MAX + 1), None);
    assert_eq!(agreed("2026-01-31", Interval::Month).next_months(0), None);
}

#[test]
fn periods_become_longer_with_the_month_for_which_that_is_planned() {
    let mut account = agreed("2026-01-31", Interval::Month).pay(1);
    let plan = PlanCode::new("professional");
    account.agreement.planned = Some(Planned { from_month: 3, plan, interval: Interval::Year });
    assert_eq!(account.next_months(2), Some((1, 3)));
    assert_eq!(account.next_months(4), Some((1, 3 + 24)));
    assert_eq!(account.running_months(at("2026-03-01")), 2);
    assert_eq!(account.running_months(at("2026-05-01")), 3 + 12);
}

#[test]
fn an_agreement_is_paid_for_a_hundred_years_ahead_and_no_further() {
    let (months, years) = (agreed("2026-01-31", Interval::Month), agreed("2026-01-31", Interval::Year));
    assert_eq!(months.next_months(MONTHS_MAX), Some((0, MONTHS_MAX)));
    assert_eq!(years.next_months(MONTHS_MAX / 12), Some((0, MONTHS_MAX)));
    let uneven = months.clone().pay(1);
    let planned = Planned { from_month: 1, plan: PlanCode::new("professional"), interval: Interval::Year };
    let uneven = Account { agreement: Agreement { planned: Some(planned), ..uneven.agreement }, ..uneven };
    assert_eq!(uneven.next_months(MONTHS_MAX / 12 - 1), Some((1, MONTHS_MAX - 11)));
    assert_eq!(uneven.next_months(MONTHS_MAX / 12), None, "a year that reaches a month too far");
    let full = months.pay(MONTHS_MAX);
    assert_eq!(full.next_months(1), None);
    assert_eq!(full.running_months(at("2126-06-01")), MONTHS_MAX, "no period runs beyond it");
}

#[test]
fn it_is_active_while_it_is_paid_and_overdue_afterwards() {
    let account = agreed("2026-01-31", Interval::Month);
    assert_eq!(account.facts(at("2026-01-30")), None, "before its first day there is nothing");
    assert_eq!(account.state("2026-01-31"), (ProviderStatus::Incomplete, None, Money::Kept));
    let paid = account.pay(1);
    assert_eq!(paid.state("2026-02-27"), (ProviderStatus::Active, Some(at("2026-02-28")), Money::Kept));
    assert_eq!(paid.state("2026-02-28"), (ProviderStatus::PastDue, Some(at("2026-02-28")), Money::Kept));
    assert_eq!(paid.seen("2026-02-27").period_ends_at, Some(at("2026-02-28")));
    assert_eq!(paid.seen("2026-04-01").period_ends_at, Some(at("2026-04-30")), "the calendar goes on without money");
    let late = paid.pay(1);
    assert_eq!(late.paid_until(), Some(at("2026-03-31")), "a late payment pays what was open");
    assert_eq!(late.seen("2026-03-01").prices, [PriceId::new("manual:professional:month")]);
}

#[test]
fn money_that_went_back_opens_its_period_again() {
    let two = agreed("2026-01-01", Interval::Month).pay(1).pay(1);
    let (first, second) = (Some(at("2026-02-01")), Some(at("2026-03-01")));
    let on = "2026-01-15";
    assert_eq!(two.clone().refund(1, 40).state(on), (ProviderStatus::Active, second, Money::PartlyRefunded));
    assert_eq!(two.clone().refund(1, 40).refund(1, 60).state(on), (ProviderStatus::Active, first, Money::Refunded));
    assert_eq!(two.clone().refund(1, 100).pay(1).state(on), (ProviderStatus::Active, second, Money::Kept));
    assert_eq!(two.clone().refund(0, 100).state(on), (ProviderStatus::Active, second, Money::Kept), "an older one");
    let none = two.refund(0, 100).refund(1, 100);
    assert_eq!(none.state(on), (ProviderStatus::PastDue, None, Money::Refunded));
    assert_eq!(none.next_months(1), Some((0, 1)));
}

#[test]
fn an_end_comes_by_the_clock_and_stays() {
    let mut account = agreed("2026-01-01", Interval::Month).pay(1);
    account.agreement.cancel_at = Some(at("2026-02-01"));
    let before = account.seen("2026-01-31");
    assert_eq!((before.status, before.cancel_at), (ProviderStatus::Active, Some(at("2026-02-01"))));
    let after = account.seen("2026-06-01");
    assert_eq!(
        (after.status, after.ended_at, after.cancel_at),
        (ProviderStatus::Canceled, Some(at("2026-02-01")), None)
    );
    account.agreement.ended_at = Some(at("2026-01-10"));
    assert_eq!(account.seen("2026-06-01").ended_at, Some(at("2026-01-10")), "whatever came first");
    account.agreement.ended_at = Some(at("2025-12-31"));
    assert_eq!(account.facts(at("2026-01-15")), None, "called off before its first day");
}

#[test]
fn terms_that_are_planned_take_over_by_the_clock() {
    let mut account = agreed("2026-01-31", Interval::Month).pay(1);
    let planned = Planned { plan: PlanCode::new("starter"), interval: Interval::Year, from_month: 1 };
    account.agreement.planned = Some(planned);
    let (before, coming) = account.facts(at("2026-02-01")).unwrap();
    let coming = coming.expect("it is planned");
    assert_eq!(before.prices, [price_of(&PlanCode::new("professional"), Interval::Month)]);
    assert_eq!((coming.price.as_str(), coming.starts_at), ("manual:starter:year", at("2026-02-28")));
    assert_eq!(account.next_months(1), Some((1, 13)), "the next payment is one for a year");
    let (after, coming) = account.facts(at("2026-02-28")).unwrap();
    assert_eq!((after.prices, coming), (vec![PriceId::new("manual:starter:year")], None));
    account.agreement.cancel_at = Some(at("2026-02-28"));
    assert_eq!(account.facts(at("2026-02-01")).unwrap().1, None, "nothing follows an end");
}

#[test]
fn the_next_turn_is_the_next_moment_at_which_the_facts_change() {
    let mut account = agreed("2026-01-31", Interval::Month).pay(1);
    account.agreement.cancel_at = Some(at("2026-04-30"));
    let turns = [
        ("2026-01-01", Some("2026-01-31")),
        ("2026-01-31", Some("2026-02-28")),
        ("2026-02-28", Some("2026-03-31")),
        ("2026-03-31", Some("2026-04-30")),
        ("2026-04-30", None),
    ];
    for (on, expected) in turns {
        assert_eq!(account.next_turn(at(on)), expected.map(at), "{on}");
    }
    // Between two turns nothing changes.
    let mut now = at("2026-01-31");
    while let Some(next) = account.next_turn(now) {
        assert_eq!(account.facts(now), account.facts(next.plus_seconds(-1)));
        assert_ne!(account.facts(now), account.facts(next));
        now = next;
    }
}

#[test]
fn a_manual_price_names_what_it_sells() {
    let catalog = catalog();
    let (plan, interval) = catalog.resolve(&price_of(&PlanCode::new("starter"), Interval::Year)).unwrap();
    assert_eq!(
        (plan.code.as_str(), interval),
        ("starter", Interval::Year),
        "also where the catalogue has no such price"
    );
    let (plan, interval) = catalog.resolve(&PriceId::new("price_pro_yearly")).unwrap();
    assert_eq!((plan.code.as_str(), interval), ("professional", Interval::Year));
    for unknown in ["manual:gone:year", "manual:starter:week", "manual:starter", "manual:", "price_gone", ""] {
        assert!(catalog.resolve(&PriceId::new(unknown)).is_none(), "{unknown}");
    }
    assert_eq!(read_price(&PriceId::new("price_pro_yearly")), None);
}

#[test]
fn no_price_of_the_catalogue_looks_like_a_manual_one() {
    let plans =
        vec![plan("trial", 14, 0, vec![]), plan("starter", 0, 3, vec![price("manual:starter:month", Interval::Month)])];
    assert!(counterfoil_core::Catalog::new(plans).unwrap_err().0.contains("manual:starter:month"));
}

#[test]
fn a_customer_asks_the_vendor_for_another_plan() {
    let current = price_of(&PlanCode::new("starter"), Interval::Month);
    let wish = PlanCode::new("professional");
    let present = Present { standing: ACTIVE, price: &current, planned: None, is_period_paid: false };
    let refused = decide(&catalog(), present, &wish, None).unwrap_err();
    assert!(matches!(refused, Refusal::ChangeNotPossible { reason } if reason.contains("invoice")), "{refused}");
}

/// What one provider knows; the id of its customer tells which.
fn known(customer: &str, deleted: bool, subscriptions: Vec<SubscriptionFacts>) -> Facts {
    let customer = Some(ExternalCustomerId::new(customer));
    Facts { customer, customer_deleted: deleted, ..listed(subscriptions) }
}

fn stripe(deleted: bool, subscriptions: Vec<SubscriptionFacts>) -> Facts {
    known("cus_1", deleted, subscriptions)
}

fn by_hand(deleted: bool, subscriptions: Vec<SubscriptionFacts>) -> Facts {
    known("manual_customer_1", deleted, subscriptions)
}

fn judged(current: &Subscription, looks: &[Facts]) -> Subscription {
    reduce_all(current, looks, &catalog(), day(10))
}

fn governing_id(subscription: &Subscription) -> &str {
    provided_part(subscription).id.as_str()
}

fn live(id: &str) -> SubscriptionFacts {
    facts_of(id, ProviderStatus::Active)
}

fn ended(id: &str) -> SubscriptionFacts {
    SubscriptionFacts { ended_at: Some(day(5)), ..facts_of(id, ProviderStatus::Canceled) }
}

#[test]
fn a_live_subscription_anywhere_beats_an_ended_one_elsewhere() {
    let over = provided("sub_1", Standing::Canceled { ended_at: day(5) });
    let next = judged(&over, &[stripe(false, vec![ended("sub_1")]), by_hand(false, vec![live("manual_1")])]);
    assert_eq!((governing_id(&next), next.attention), ("manual_1", None));
    let over = provided("manual_1", Standing::Canceled { ended_at: day(5) });
    let next = judged(&over, &[stripe(false, vec![live("sub_2")]), by_hand(false, vec![ended("manual_1")])]);
    assert_eq!((governing_id(&next), next.attention), ("sub_2", None));
}

#[test]
fn what_a_deleted_customer_had_is_over_from_now_on_and_what_was_over_stays_as_it_was() {
    let before = [ended("sub_1"), facts_of("sub_2", ProviderStatus::IncompleteExpired)];
    let after =
        |deleted| merge(&[stripe(deleted, [before.to_vec(), vec![live("sub_3")]].concat())], day(10)).subscriptions;
    let closed = SubscriptionFacts { status: ProviderStatus::Canceled, ended_at: Some(day(10)), ..live("sub_3") };
    assert_eq!(after(true), [before.to_vec(), vec![closed]].concat());
    assert_eq!(after(false), [before.to_vec(), vec![live("sub_3")]].concat());
}

#[test]
fn two_live_ones_at_two_providers_are_flagged() {
    let looks = [stripe(false, vec![live("sub_1")]), by_hand(false, vec![live("manual_1")])];
    for current in [provided("sub_1", ACTIVE), provided("manual_1", ACTIVE), trial_until(15)] {
        let next = judged(&current, &looks);
        assert_eq!(next.attention, Some(Attention::SeveralLive));
        let later = later_duplicates(&next, &merge(&looks, day(10)), &catalog());
        assert_eq!(
            later.len(),
            usize::from(governing_id(&next) == "manual_1"),
            "the later by id, where it is not kept"
        );
    }
}

#[test]
fn no_policy_ends_an_agreement_by_invoice() {
    let later = |id: &str| SubscriptionFacts { created_at: day(9), ..live(id) };
    for (kept, second, ended) in [("sub_1", "manual_1", vec![]), ("manual_1", "sub_1", vec!["sub_1"])] {
        let facts = Facts { subscriptions: vec![live(kept), later(second)], ..Facts::default() };
        let told = later_duplicates(&provided(kept, ACTIVE), &facts, &catalog());
        assert_eq!(told.iter().map(ExternalSubscriptionId::as_str).collect::<Vec<_>>(), ended, "beside {kept}");
    }
}

#[test]
fn a_customer_deleted_at_one_provider_loses_nothing_at_the_other() {
    for (mine, other, deleted_at_stripe) in [("sub_1", "manual_1", false), ("manual_1", "sub_1", true)] {
        let current = provided(mine, ACTIVE);
        let of = |id: &str| vec![live(id)];
        let (at_stripe, at_hand) = if deleted_at_stripe { (of(other), of(mine)) } else { (of(mine), of(other)) };
        let looks = [stripe(deleted_at_stripe, at_stripe), by_hand(!deleted_at_stripe, at_hand)];
        let next = judged(&current, &looks);
        assert_eq!((governing_id(&next), next.attention), (mine, None), "what was deleted is over and counts no more");
        assert!(provided_part(&next).standing.is_live());
    }
}

#[test]
fn a_customer_deleted_where_it_governs_is_over_and_what_runs_elsewhere_takes_over() {
    for listed_still in [true, false] {
        let gone = stripe(true, if listed_still { vec![live("sub_1")] } else { vec![] });
        let alone = judged(&provided("sub_1", ACTIVE), &[gone.clone(), by_hand(false, vec![])]);
        assert_eq!(provided_part(&alone).standing, Standing::Canceled { ended_at: day(10) });
        assert_eq!(alone, judged(&provided("sub_1", ACTIVE), std::slice::from_ref(&gone)), "as with one provider");
        let taken = judged(&provided("sub_1", ACTIVE), &[gone, by_hand(false, vec![live("manual_1")])]);
        assert_eq!((governing_id(&taken), taken.attention), ("manual_1", None));
    }
}

#[test]
fn what_vanished_at_one_provider_is_not_ended_by_a_deletion_at_the_other() {
    let looks = [stripe(false, vec![]), by_hand(true, vec![ended("manual_1")])];
    let next = judged(&provided("sub_1", ACTIVE), &looks);
    assert_eq!((governing_id(&next), next.attention), ("sub_1", Some(Attention::Vanished)));
    let only = judged(&provided("sub_1", ACTIVE), &looks[1..]);
    assert_eq!((provided_part(&only).standing, only.attention), (ACTIVE, Some(Attention::Vanished)));
}
