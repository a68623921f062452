//! Ten customers as support meets them, and what is said of each.

use counterfoil_core::entitlement::{Hold, right};
use counterfoil_core::facts::Money;
use counterfoil_core::subscription::{Attention as Flag, Provided, Standing, State};
use counterfoil_core::{
    Catalog, CustomerId, ExternalCustomerId, ExternalSubscriptionId, Interval, LicenseId, Plan, PlanCode, Subscription,
    Timestamp,
};

use super::explain;
use crate::app::customer_files::{CaseFile, CustomerFile};
use crate::app::settings::EmailVerification;
use crate::app::testing::plan;
use crate::store::attempts::AttemptLine;
use crate::store::audit;
use crate::store::customers::Customer;
use crate::store::events::EventLine;
use crate::store::holds;
use crate::store::licenses::License;
use crate::store::outbox::MailLine;

const ACTIVE: Standing = Standing::Active { cancel_at: None };

/// A day of November 2026 at nine in the morning, and later ones counted on.
fn day(number: i64) -> Timestamp {
    "2026-11-01T09:00:00Z".parse::<Timestamp>().unwrap().plus_days(number - 1)
}

fn catalog() -> Catalog {
    Catalog::new(vec![Plan { grace_days: 0, ..plan("trial", 14) }, plan("professional", 0)]).unwrap()
}

fn trial_until(end: Timestamp) -> Subscription {
    Subscription::trial(PlanCode::new("trial"), end)
}

fn provided(standing: Standing) -> Provided {
    Provided {
        id: ExternalSubscriptionId::new("sub_1"),
        standing,
        interval: Some(Interval::Month),
        period_ends_at: Some(day(32)),
        paid_until: Some(day(32)),
        money: Money::Kept,
        trial_ended_at: Some(day(15)),
    }
}

fn subscribed(provided: Provided) -> Subscription {
    Subscription { plan: PlanCode::new("professional"), state: State::Provided(provided), attention: None }
}

fn event(id: &str, kind: &str, state: &str) -> EventLine {
    EventLine {
        event_id: id.to_owned(),
        event_type: kind.to_owned(),
        state: state.to_owned(),
        attempts: 1,
        run_at: day(2).plus_seconds(60),
        last_error: None,
        received_at: day(2),
        processed_at: (state == "processed").then(|| day(2).plus_seconds(1)),
        is_matched: true,
    }
}

fn license(version: i64, plan: &str) -> License {
    let trial = plan == "trial";
    License {
        license_id: LicenseId::from_random([1; 16]),
        customer_id: customer().customer_id,
        version,
        token: String::new(),
        plan: PlanCode::new(plan),
        status: "active".to_owned(),
        trial,
        issued_at: day(2),
        expires_at: if trial { day(15) } else { day(39) },
        refresh_after: day(9),
        paid_until: day(32),
        reason: if trial { "trial_started" } else { "subscribed" }.to_owned(),
        facts_digest: String::new(),
        terms_digest: String::new(),
        caused_by: if trial { "sign_up" } else { "look" }.to_owned(),
        cause_detail: (!trial).then(|| "evt_paid".to_owned()),
        revoked_at: None,
        revoked_because: None,
    }
}

fn customer() -> Customer {
    Customer {
        customer_id: CustomerId::from_random([2; 16]),
        email: "ada@example.com".parse().unwrap(),
        company_name: Some("Test Corp".to_owned()),
        email_verified_at: None,
        external_id: Some(ExternalCustomerId::new("cus_1")),
        created_at: day(1),
    }
}

/// A customer with this subscription on this day, who got the usual licence and mail.
fn case(subscription: Subscription, now: Timestamp) -> CaseFile {
    let is_trial = matches!(subscription.state, State::Trial { .. });
    let license = if is_trial { license(1, "trial") } else { license(2, "professional") };
    let mail = MailLine {
        dedupe_key: format!("license:{}:{}", license.customer_id, license.version),
        subject: format!("Your licence No. {:04}", license.version),
        state: "sent".to_owned(),
        run_at: day(2),
        last_error: None,
        sent_at: Some(day(2).plus_seconds(5)),
    };
    let external_id = if is_trial { None } else { customer().external_id };
    CaseFile {
        right: right(&subscription, Hold::Free, &catalog(), now),
        verification: EmailVerification::Off,
        hold: None,
        planned: None,
        events: if is_trial { Vec::new() } else { vec![event("evt_paid", "invoice.paid", "processed")] },
        mails: vec![mail],
        checkouts: Vec::new(),
        file: CustomerFile {
            customer: Customer { external_id, ..customer() },
            subscription: Some(subscription),
            licenses: vec![license],
            machines: 0,
            history: Vec::new(),
            now,
        },
    }
}

fn with_money(money: Money, paid_until: Option<Timestamp>, flag: Flag) -> Subscription {
    let provided = Provided { money, paid_until, ..provided(ACTIVE) };
    Subscription { attention: Some(flag), ..subscribed(provided) }
}

#[test]
fn trial() {
    insta::assert_snapshot!(explain(&case(trial_until(day(15)), day(3))).in_words());
}

#[test]
fn expired_trial() {
    insta::assert_snapshot!(explain(&case(trial_until(day(15)), day(20))).in_words());
}

#[test]
fn paid() {
    insta::assert_snapshot!(explain(&case(subscribed(provided(ACTIVE)), day(10))).in_words());
}

#[test]
fn past_due_in_grace() {
    let subscription = subscribed(provided(Standing::PastDue { cancel_at: None }));
    insta::assert_snapshot!(explain(&case(subscription, day(34))).in_words());
}

#[test]
fn canceled_at_period_end() {
    let subscription = subscribed(provided(Standing::Active { cancel_at: Some(day(32)) }));
    insta::assert_snapshot!(explain(&case(subscription, day(10))).in_words());
}

#[test]
fn canceled() {
    let subscription = subscribed(provided(Standing::Canceled { ended_at: day(12) }));
    insta::assert_snapshot!(explain(&case(subscription, day(20))).in_words());
}

#[test]
fn refunded() {
    let subscription = with_money(Money::Refunded, None, Flag::MoneyBack);
    insta::assert_snapshot!(explain(&case(subscription, day(10))).in_words());
}

#[test]
fn disputed_under_hold() {
    let subscription = with_money(Money::Held, Some(day(32)), Flag::Disputed);
    insta::assert_snapshot!(explain(&case(subscription, day(10))).in_words());
}

#[test]
fn two_live_subscriptions() {
    let subscription = Subscription { attention: Some(Flag::SeveralLive), ..subscribed(provided(ACTIVE)) };
    insta::assert_snapshot!(explain(&case(subscription, day(10))).in_words());
}

#[test]
fn paid_by_invoice() {
    let by_invoice = Provided { id: ExternalSubscriptionId::new("manual_subscription_1"), ..provided(ACTIVE) };
    let several = Subscription { attention: Some(Flag::SeveralLive), ..subscribed(by_invoice) };
    let mut case = case(several, day(10));
    case.file.customer.external_id = None;
    case.events.clear();
    insta::assert_snapshot!(explain(&case).in_words());
}

#[test]
fn revoked() {
    let mut case = case(subscribed(provided(ACTIVE)), day(10));
    let reason = "the license was posted in a forum.".to_owned();
    case.right = right(case.file.subscription.as_ref().unwrap(), Hold::Revoked, &catalog(), day(10));
    case.hold = Some(holds::Hold { held_at: day(9), actor: "operator:cli".to_owned(), reason: reason.clone() });
    case.file.licenses[0].revoked_at = Some(day(9));
    case.file.licenses[0].revoked_because = Some(reason.clone());
    case.file.history = vec![audit::Entry {
        at: day(9),
        actor: "operator:cli".to_owned(),
        action: "license_revoked".to_owned(),
        detail: "2 versions".to_owned(),
        reason: Some(reason),
    }];
    insta::assert_snapshot!(explain(&case).in_words());
}

#[test]
fn events_that_wait_and_that_were_given_up() {
    let mut case = case(subscribed(provided(ACTIVE)), day(10));
    let stranger = EventLine { is_matched: false, ..event("evt_stranger", "customer.subscription.updated", "pending") };
    let error = Some("the provider does not answer".to_owned());
    let dead = EventLine { last_error: error.clone(), ..event("evt_dead", "invoice.paid", "dead") };
    case.events.splice(0..0, [stranger, dead]);
    case.mails[0].state = "dead".to_owned();
    case.mails[0].last_error = Some("550 no such user".to_owned());
    insta::assert_snapshot!(explain(&case).in_words());
}

#[test]
fn what_waits_is_told_and_nobody_has_to_do_anything_about_it() {
    let mut case = case(subscribed(provided(ACTIVE)), day(10));
    let error = Some("the provider does not answer".to_owned());
    case.events.insert(0, EventLine { last_error: error, ..event("evt_late", "invoice.paid", "pending") });
    case.checkouts = vec![AttemptLine { plan: PlanCode::new("starter"), state: "open".to_owned(), created_at: day(9) }];
    let mail = |subject: &str, last_error: Option<&str>| MailLine {
        dedupe_key: String::new(),
        subject: subject.to_owned(),
        state: "pending".to_owned(),
        last_error: last_error.map(str::to_owned),
        sent_at: None,
        ..case.mails[0].clone()
    };
    let mails = [mail("Your plan has changed", None), mail("Your link", Some("421 come back later"))];
    case.mails.extend(mails);
    let told = explain(&case);
    assert_eq!(told.attention, []);
    let waiting = told.known.into_iter().find(|known| known.about == "Waiting").unwrap().lines;
    assert_eq!(
        waiting,
        [
            "The event invoice.paid (evt_late), arrived 2 November 2026, 09:00 UTC, is tried again on 2 November 2026, 09:01 UTC \
             after 1 tries: the provider does not answer",
            "“Your plan has changed” is about to be sent.",
            "“Your link” is tried again on 2 November 2026, 09:00 UTC: 421 come back later",
            "A checkout of starter is open since 9 November 2026, 09:00 UTC.",
        ]
    );
}

#[test]
fn a_trial_without_a_license_ends_alone_and_one_that_ends_this_second_is_over() {
    let mut unverified = case(trial_until(day(15)), day(3));
    unverified.right = right(unverified.file.subscription.as_ref().unwrap(), Hold::Unverified, &catalog(), day(3));
    let [end] = explain(&unverified).next.try_into().unwrap();
    assert_eq!((end.at, end.what.as_str()), (day(15), "the trial ends"));
    let told = explain(&case(trial_until(day(15)), day(15)));
    assert!(!told.entitled && told.next.is_empty(), "{:?}", told.next);
    let words = told.in_words();
    assert!(words.contains("Our own trial (plan trial), over since 15 November 2026"), "{words}");
}

#[test]
fn what_is_overdue_what_is_not_seen_yet_and_what_has_failed_are_told_apart() {
    let because = |standing, now| explain(&case(subscribed(provided(standing)), now)).because;
    let overdue = || Standing::PastDue { cancel_at: None };
    for (standing, now, sentence) in [
        (overdue(), day(20), "it is paid until"),
        (overdue(), day(20), "though the newest invoice is not"),
        (overdue(), day(34), "a payment is overdue"),
        (ACTIVE, day(20), "and with grace it works until"),
        (ACTIVE, day(34), "the renewal is not seen yet"),
        (ACTIVE, day(60), "and the grace after that is over"),
        (Standing::Unpaid, day(60), "every try to collect the payment failed"),
        (Standing::Incomplete, day(60), "the first payment never came"),
        (Standing::IncompleteExpired, day(60), "the first payment never came"),
        (Standing::Paused, day(20), "paused at the provider"),
        (Standing::Canceled { ended_at: day(12) }, day(20), "ended on"),
    ] {
        let told = because(standing, now);
        assert!(told.contains(sentence), "`{sentence}` is not in: {told}");
    }
}

#[test]
fn every_sentence_is_one() {
    let standings = [
        ACTIVE,
        Standing::Active { cancel_at: Some(day(32)) },
        Standing::Trialing { cancel_at: None },
        Standing::PastDue { cancel_at: None },
        Standing::Unpaid,
        Standing::Paused,
        Standing::Incomplete,
        Standing::IncompleteExpired,
        Standing::Canceled { ended_at: day(3) },
    ];
    for standing in standings {
        for now in [day(5), day(32), day(33), day(60)] {
            let told = explain(&case(subscribed(provided(standing)), now));
            assert!(told.because.ends_with('.') && told.because.contains("icense"), "{}", told.because);
            assert_eq!(told.entitled, told.because.starts_with("A license"), "{}", told.because);
            assert!(told.next.iter().all(|coming| now < coming.at), "{:?}", told.next);
            assert!(told.known.iter().all(|known| !known.lines.is_empty()), "{:?}", told.known);
        }
    }
}
