//! What every payment provider promises, as one list of stories that each of them passes on both engines.
//!
//! The first part speaks to the trait `PaymentProvider` alone, the second tells a customer's life through the whole service. No story
//! knows which provider it is told with: what happens at the provider goes through a [`Side`]. What a provider does not have it
//! has to refuse with one and the same answer, and that is part of the contract.

use std::collections::BTreeSet;
use std::fmt::Debug;

use counterfoil::providers::{Change, EventSpan, Made, NewCheckout, Page, PaymentRef, ProviderError, Terms};
use counterfoil_core::facts::{Money, PlannedPrice, ProviderStatus, SessionStatus, SubscriptionFacts};
use counterfoil_core::link::{Verdict, judge};
use counterfoil_core::{
    AttemptId, ExternalCustomerId, ExternalSessionId, ExternalSubscriptionId, Interval, PlanCode, Timestamp,
};
use serde_json::{Value, json};

use crate::actors::{CANCEL_URL, SUCCESS_URL, Visitor};
use crate::provider_sides::{Card, Invoice, Offer, Person, Side, fresh_id, key, new_customer, pass};
use crate::world::{World, id_of};

/// Makes a module of each story, with the story told at each provider on each engine.
macro_rules! at_each_provider {
    ($setup:expr; $($story:ident),+ $(,)?) => {$(
        mod $story {
            use super::{Card, Invoice, World};

            async fn at_stripe(world: &World) {
                super::$story(&Card { world }).await;
            }

            async fn by_invoice(world: &World) {
                super::$story(&Invoice { world }).await;
            }

            both_engines!($setup; at_stripe, by_invoice);
        }
    )+};
}

async fn make(side: &impl Side, email: &str) -> Person {
    let world = side.world();
    // What happens at the provider is heard by nobody here.
    world.allow_unsettled();
    let customer_id = fresh_id(world);
    let frozen = side.provider().freeze_customer(&new_customer(world, &customer_id, email));
    let id = side.provider().create_customer(&key(customer_id.as_str()), &frozen).await.unwrap().id;
    Person { customer_id, email: email.to_owned(), id }
}

/// Somebody with a running subscription to the plan `professional`.
async fn subscriber(side: &impl Side) -> (Person, ExternalSubscriptionId) {
    let person = make(side, "ada@example.com").await;
    let subscription = side.buy(&person, "professional").await;
    (person, subscription)
}

/// The only subscription, and what is planned for it.
async fn look(side: &impl Side, person: &Person) -> (SubscriptionFacts, Option<PlannedPrice>) {
    let mut facts = side.provider().fetch_facts(&person.id, &[]).await.unwrap();
    assert_eq!((facts.customer.as_ref(), facts.subscriptions.len()), (Some(&person.id), 1), "{facts:?}");
    (facts.subscriptions.remove(0), facts.planned_prices.pop())
}

async fn terms(side: &impl Side, subscription: &ExternalSubscriptionId) -> Terms {
    side.provider().read_terms(subscription).await.unwrap()
}

#[track_caller]
fn not_offered<T: Debug>(answer: Result<T, ProviderError>) {
    match answer {
        Err(error @ ProviderError::NotOffered { .. }) => assert!(!error.is_transient()),
        other => panic!("what is not offered has one answer, and not {other:?}"),
    }
}

/// All items of a list, page by page.
async fn all<T>(next: impl AsyncFn(Option<&str>) -> Page<T>) -> (Vec<T>, usize) {
    let (mut items, mut cursors) = (Vec::new(), BTreeSet::new());
    let mut cursor: Option<String> = None;
    loop {
        let page = next(cursor.as_deref()).await;
        items.extend(page.items);
        let Some(after) = page.next else { return (items, cursors.len() + 1) };
        assert!(cursors.insert(after.clone()), "the list goes on");
        cursor = Some(after);
    }
}

async fn one_key_makes_one_customer(side: &impl Side) {
    let (world, provider) = (side.world(), side.provider());
    let (customer_id, email) = (fresh_id(world), "ada@example.com");
    let frozen = provider.freeze_customer(&new_customer(world, &customer_id, email));
    assert_eq!(frozen, provider.freeze_customer(&new_customer(world, &customer_id, email)), "frozen bytes are frozen");
    let Made { id: first, is_new } = provider.create_customer(&key("one"), &frozen).await.unwrap();
    assert!(is_new);
    assert_eq!(
        provider.create_customer(&key("one"), &frozen).await.unwrap(),
        Made { id: first.clone(), is_new: false }
    );
    assert_eq!(provider.find_customers(email).await.unwrap().len(), 1);
    // The key stands for these bytes and no others.
    let other = provider.freeze_customer(&new_customer(world, &fresh_id(world), "eve@example.com"));
    let mismatch = provider.create_customer(&key("one"), &other).await.unwrap_err();
    assert!(matches!(mismatch, ProviderError::KeyMismatch { .. }) && !mismatch.is_transient(), "{mismatch}");
    assert!(provider.find_customers("eve@example.com").await.unwrap().is_empty());
    assert_ne!(
        provider.create_customer(&key("two"), &frozen).await.unwrap().id,
        first,
        "another key is another customer"
    );
}

async fn after_a_lost_answer_a_customer_is_found_by_our_id(side: &impl Side) {
    let (world, provider) = (side.world(), side.provider());
    let person = make(side, "ada@example.com").await;
    let (other, instance) = (make(side, "ada@example.com").await, &world.app.instance.instance_id);
    let list = provider.find_customers(&person.email).await.unwrap();
    assert_eq!(list.len(), 2, "one address proves nothing");
    for each in [&person, &other] {
        let adopted = Verdict::Adopt { id: each.id.clone(), others: 0 };
        assert_eq!(judge(&list, &each.customer_id, instance), adopted);
    }
    assert_eq!(judge(&list, &fresh_id(world), instance), Verdict::None);
    let found = provider.find_customer(&person.id).await.unwrap().unwrap();
    assert_eq!(list.iter().find(|each| each.id == person.id), Some(&found));
    assert_eq!((found.customer_id.as_deref(), found.deleted), (Some(person.customer_id.as_str()), false));
    assert!(provider.find_customers("eve@example.com").await.unwrap().is_empty());
}

async fn an_address_goes_there_and_never_back(side: &impl Side) {
    let (world, provider) = (side.world(), side.provider());
    let person = make(side, "ada@example.com").await;
    let frozen = provider.freeze_customer(&new_customer(world, &person.customer_id, &person.email));
    for _ in 0..2 {
        let told = provider.update_customer(&key("update"), &person.id, "ada@example.org", Some("Ada Ltd")).await;
        told.unwrap();
    }
    // The creation is repeated after a crash: it makes nobody, and changes nothing back.
    let again = provider.create_customer(&key(person.customer_id.as_str()), &frozen).await.unwrap().id;
    assert_eq!(again, person.id);
    assert!(provider.find_customers(&person.email).await.unwrap().is_empty());
    let list = provider.find_customers("ada@example.org").await.unwrap();
    assert_eq!(list.iter().map(|each| &each.id).collect::<Vec<_>>(), [&person.id]);
    assert_eq!(list[0].customer_id.as_deref(), Some(person.customer_id.as_str()), "who it is stays");
}

async fn who_has_bought_nothing_has_no_subscription(side: &impl Side) {
    let person = make(side, "ada@example.com").await;
    let facts = side.provider().fetch_facts(&person.id, &[]).await.unwrap();
    assert_eq!((facts.customer.as_ref(), facts.customer_deleted), (Some(&person.id), false));
    assert!(facts.subscriptions.is_empty() && facts.sessions.is_empty() && facts.planned_prices.is_empty());
}

async fn what_is_paid_runs_to_the_end_of_its_period(side: &impl Side) {
    let (person, id) = subscriber(side).await;
    let (running, planned) = look(side, &person).await;
    assert_eq!((&running.id, &running.status, running.money), (&id, &ProviderStatus::Active, Money::Kept));
    assert_eq!(running.prices, [side.price("professional")]);
    assert_eq!((running.cancel_at, running.ended_at, planned), (None, None, None));
    let days = running.paid_until.unwrap().seconds_since(side.world().app.now()) / 86_400;
    assert!((27..=31).contains(&days), "a month: {running:?}");
    assert_eq!(running.period_ends_at, running.paid_until);
    let terms = terms(side, &id).await;
    assert_eq!((&terms.subscription, terms.items, terms.quantity), (&id, 1, 1));
    assert_eq!((&terms.price, Some(terms.period_ends_at)), (&running.prices[0], running.period_ends_at));
    let days = terms.period_ends_at.seconds_since(terms.period_starts_at) / 86_400;
    assert!((27..=31).contains(&days), "a month: {terms:?}");
    assert!(!terms.trialing && !terms.cancels_at_period_end && terms.schedule.is_none(), "{terms:?}");
}

async fn a_renewal_that_is_paid_moves_the_end_by_a_month(side: &impl Side) {
    let (person, id) = subscriber(side).await;
    let first = look(side, &person).await.0.paid_until.unwrap();
    side.will_pay(&person.id, &id).await;
    pass(side.world(), first).await;
    let (renewed, _) = look(side, &person).await;
    assert_eq!((&renewed.status, renewed.money), (&ProviderStatus::Active, Money::Kept));
    let days = renewed.paid_until.unwrap().seconds_since(first) / 86_400;
    assert!((27..=31).contains(&days), "{renewed:?}");
    assert_eq!(renewed.period_ends_at, renewed.paid_until);
}

async fn a_renewal_that_is_not_paid_is_overdue_until_it_is(side: &impl Side) {
    let (person, id) = subscriber(side).await;
    let first = look(side, &person).await.0.paid_until.unwrap();
    side.will_not_pay(&person.id).await;
    pass(side.world(), first).await;
    let (overdue, _) = look(side, &person).await;
    assert_eq!((&overdue.status, overdue.paid_until), (&ProviderStatus::PastDue, Some(first)), "{overdue:?}");
    assert!(overdue.period_ends_at > Some(first) && overdue.ended_at.is_none());
    side.pay_late(&person.id, &id).await;
    let (healed, _) = look(side, &person).await;
    assert_eq!((&healed.status, healed.paid_until), (&ProviderStatus::Active, overdue.period_ends_at));
}

async fn a_planned_end_can_be_taken_back_and_comes(side: &impl Side) {
    let (person, id) = subscriber(side).await;
    let end = look(side, &person).await.0.period_ends_at;
    for round in ["first", "second"] {
        side.provider().cancel(&key(&format!("{round} cancel")), &terms(side, &id).await).await.unwrap();
        let (ending, _) = look(side, &person).await;
        assert_eq!((&ending.status, ending.cancel_at, ending.ended_at), (&ProviderStatus::Active, end, None));
        assert_eq!(ending.paid_until, end);
    }
    side.provider().resume(&key("resume"), &terms(side, &id).await, false).await.unwrap();
    assert_eq!(look(side, &person).await.0.cancel_at, None);
    side.provider().cancel(&key("third cancel"), &terms(side, &id).await).await.unwrap();
    pass(side.world(), end.unwrap()).await;
    let (ended, _) = look(side, &person).await;
    assert_eq!((&ended.status, ended.ended_at), (&ProviderStatus::Canceled, end), "{ended:?}");
    assert_eq!(ended.cancel_at.or(end), end);
}

async fn what_is_ended_at_once_is_over_and_stays_so(side: &impl Side) {
    let (person, id) = subscriber(side).await;
    let running = terms(side, &id).await;
    for round in ["first", "second"] {
        side.provider().cancel_now(&key(&format!("{round} end")), &id).await.unwrap();
    }
    let (ended, planned) = look(side, &person).await;
    assert_eq!((&ended.status, planned), (&ProviderStatus::Canceled, None));
    let ago = side.world().app.now().seconds_since(ended.ended_at.unwrap());
    assert!((-2..60).contains(&ago), "{ended:?}");
    // Nothing brings it back.
    let change = Change::Now { price: side.price("starter"), prorated_from: side.world().app.now() };
    let provider = side.provider();
    let tries = [
        provider.change_plan(&key("late change"), &running, &change).await,
        provider.cancel(&key("late cancel"), &running).await,
        provider.resume(&key("late resume"), &running, false).await,
    ];
    for refused in tries {
        let error = refused.unwrap_err();
        assert!(!error.is_transient() && !matches!(error, ProviderError::NotOffered { .. }), "{error}");
    }
    assert_eq!(look(side, &person).await.0, ended);
}

async fn money_that_went_back_pays_for_nothing(side: &impl Side) {
    let (person, id) = subscriber(side).await;
    side.refund(&person.id, &id).await;
    let (refunded, _) = look(side, &person).await;
    assert_eq!((refunded.money, refunded.paid_until, refunded.ended_at), (Money::Refunded, None, None));
}

async fn a_renewal_that_went_back_leaves_the_month_before(side: &impl Side) {
    let (person, id) = subscriber(side).await;
    let first = look(side, &person).await.0.paid_until;
    side.will_pay(&person.id, &id).await;
    pass(side.world(), first.unwrap()).await;
    side.refund(&person.id, &id).await;
    let (refunded, _) = look(side, &person).await;
    assert_eq!((refunded.money, refunded.paid_until), (Money::Refunded, first));
}

async fn a_plan_changes_now_or_with_the_period_or_not_at_all(side: &impl Side) {
    let (person, id) = subscriber(side).await;
    let (before, _) = look(side, &person).await;
    let (starter, enterprise) = (side.price("starter"), side.price("enterprise"));
    let change = async |name: &str, change: &Change| {
        side.provider().change_plan(&key(name), &terms(side, &id).await, change).await.unwrap();
        look(side, &person).await
    };
    let now = Change::Now { price: enterprise.clone(), prorated_from: side.world().app.now() };
    let (changed, planned) = change("now", &now).await;
    assert_eq!((&changed.prices, planned), (&vec![enterprise.clone()], None));
    assert_eq!((changed.period_ends_at, changed.paid_until), (before.period_ends_at, before.paid_until));
    let later = Change::AtPeriodEnd { price: starter.clone(), interval: Interval::Month };
    let coming =
        PlannedPrice { subscription: id.clone(), price: starter.clone(), starts_at: before.period_ends_at.unwrap() };
    for round in ["later", "again"] {
        let (still, planned) = change(round, &later).await;
        assert_eq!((&still.prices, planned.as_ref()), (&vec![enterprise.clone()], Some(&coming)));
    }
    let told = terms(side, &id).await.schedule.expect("a plan").planned;
    assert_eq!(told, Some((starter.clone(), coming.starts_at)));
    assert_eq!(change("stay", &Change::Stay).await.1, None);
    change("after all", &later).await;
    side.will_pay(&person.id, &id).await;
    pass(side.world(), coming.starts_at).await;
    let (after, planned) = look(side, &person).await;
    assert_eq!((&after.prices, planned, &after.status), (&vec![starter], None, &ProviderStatus::Active));
    assert!(after.paid_until > before.paid_until);
}

async fn an_end_takes_the_place_of_what_was_planned(side: &impl Side) {
    let (person, id) = subscriber(side).await;
    let end = look(side, &person).await.0.period_ends_at;
    let later = Change::AtPeriodEnd { price: side.price("starter"), interval: Interval::Month };
    side.provider().change_plan(&key("later"), &terms(side, &id).await, &later).await.unwrap();
    side.provider().cancel(&key("cancel"), &terms(side, &id).await).await.unwrap();
    let (ending, planned) = look(side, &person).await;
    assert_eq!((ending.cancel_at, planned), (end, None));
    side.provider().resume(&key("resume"), &terms(side, &id).await, false).await.unwrap();
    let (resumed, planned) = look(side, &person).await;
    assert_eq!((resumed.cancel_at, planned), (None, None), "who goes on goes on with the present plan");
    assert_eq!(resumed.prices, [side.price("professional")]);
}

async fn a_customer_is_deleted_on_our_word_and_once_more_is_as_good(side: &impl Side) {
    let (provider, (person, _id)) = (side.provider(), subscriber(side).await);
    for turn in ["delete", "delete", "delete again"] {
        provider.delete_customer(&key(turn), &person.id).await.expect("it is gone");
    }
    assert!(provider.find_customer(&person.id).await.unwrap().is_none_or(|found| found.deleted));
}

async fn a_customer_who_is_deleted_is_a_fact(side: &impl Side) {
    let (provider, (person, id)) = (side.provider(), subscriber(side).await);
    side.delete(&person.id).await;
    let facts = provider.fetch_facts(&person.id, &[]).await.unwrap();
    assert!(facts.customer_deleted, "{facts:?}");
    for each in &facts.subscriptions {
        assert_eq!((&each.id, &each.status), (&id, &ProviderStatus::Canceled));
    }
    assert!(provider.find_customers(&person.email).await.unwrap().is_empty(), "nobody is found by the address");
    assert!(provider.find_customer(&person.id).await.unwrap().is_none_or(|found| found.deleted));
    let told = provider.update_customer(&key("late"), &person.id, "ada@example.org", None).await.unwrap_err();
    assert!(matches!(told, ProviderError::CustomerMissing | ProviderError::Missing { .. }), "{told}");
}

async fn what_nobody_knows_is_told_so(side: &impl Side) {
    let provider = side.provider();
    let (nobody, nothing) = (ExternalCustomerId::new("cus_nobody"), ExternalSubscriptionId::new("sub_nothing"));
    assert_eq!(provider.find_customer(&nobody).await.unwrap(), None);
    let facts = provider.fetch_facts(&nobody, &[]).await.unwrap();
    assert!(facts.customer_deleted && facts.subscriptions.is_empty(), "{facts:?}");
    let told = provider.update_customer(&key("nobody"), &nobody, "ada@example.org", None).await.unwrap_err();
    assert!(matches!(told, ProviderError::CustomerMissing), "{told}");
    let told = provider.read_terms(&nothing).await.unwrap_err();
    assert!(matches!(told, ProviderError::Missing { .. }) && !told.is_transient(), "{told}");
    provider.cancel_now(&key("nothing"), &nothing).await.unwrap();
    assert_eq!(provider.find_customer_of_payment(&PaymentRef::new("nothing")).await.unwrap(), None);
}

async fn who_cannot_be_reached_may_be_asked_again(side: &impl Side) {
    let (world, provider) = (side.world(), side.cut_off().await);
    let (nobody, nothing) = (ExternalCustomerId::new("cus_nobody"), ExternalSubscriptionId::new("sub_nothing"));
    let customer_id = fresh_id(world);
    let frozen = provider.freeze_customer(&new_customer(world, &customer_id, "ada@example.com"));
    let errors = [
        provider.create_customer(&key("lost"), &frozen).await.unwrap_err(),
        provider.update_customer(&key("lost"), &nobody, "ada@example.com", None).await.unwrap_err(),
        provider.find_customers("ada@example.com").await.unwrap_err(),
        provider.find_customer(&nobody).await.unwrap_err(),
        provider.fetch_facts(&nobody, &[]).await.unwrap_err(),
        provider.read_terms(&nothing).await.unwrap_err(),
        provider.cancel_now(&key("lost"), &nothing).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, ProviderError::Unavailable { .. }) && error.is_transient(), "{error}");
    }
}

async fn a_payment_page_is_one_a_key_or_is_not_offered<S: Side>(side: &S) {
    let (provider, person) = (side.provider(), make(side, "ada@example.com").await);
    let attempt_id = AttemptId::from_random(side.world().app.entropy.bytes());
    let frozen = provider.freeze_checkout(&NewCheckout {
        instance: &side.world().app.instance.instance_id,
        customer_id: &person.customer_id,
        external_customer: &person.id,
        attempt_id: &attempt_id,
        plan: &PlanCode::new("professional"),
        price: &side.price("professional"),
        success_url: SUCCESS_URL,
        cancel_url: CANCEL_URL,
        trial_ends_at: None,
    });
    if !S::OFFERS.contains(&Offer::Checkout) {
        let session = ExternalSessionId::new("cs_nothing");
        assert_eq!(frozen, "", "there is nothing to send");
        not_offered(provider.create_checkout(&key("page"), &frozen).await);
        not_offered(provider.retrieve_checkout(&session).await);
        not_offered(provider.expire_checkout(&key("close"), &session).await);
        let looked = provider.fetch_facts(&person.id, &[(attempt_id, session)]).await.unwrap();
        assert!(looked.sessions.is_empty());
        return;
    }
    let opened = provider.create_checkout(&key("page"), &frozen).await.unwrap();
    assert!(opened.status == SessionStatus::Open && opened.url.is_some(), "{opened:?}");
    assert_eq!(provider.create_checkout(&key("page"), &frozen).await.unwrap(), opened);
    assert_eq!(provider.retrieve_checkout(&opened.id).await.unwrap(), opened);
    let sessions = [(attempt_id, opened.id.clone())];
    for (round, status) in
        [("open", SessionStatus::Open), ("once", SessionStatus::Expired), ("twice", SessionStatus::Expired)]
    {
        if round != "open" {
            assert_eq!(provider.expire_checkout(&key(round), &opened.id).await.unwrap().status, status);
        }
        let facts = provider.fetch_facts(&person.id, &sessions).await.unwrap();
        assert_eq!(facts.sessions.iter().map(|each| each.status).collect::<Vec<_>>(), [status], "{round}");
    }
    let replayed = provider.create_checkout(&key("page"), &frozen).await.unwrap();
    assert_eq!((&replayed.id, replayed.status), (&opened.id, SessionStatus::Expired), "the state is that of now");
}

async fn a_refund_by_us_is_done_once_or_is_not_offered<S: Side>(side: &S) {
    let (provider, (person, id)) = (side.provider(), subscriber(side).await);
    if !S::OFFERS.contains(&Offer::RefundByUs) {
        not_offered(provider.payments_of_newest_period(&id).await);
        not_offered(provider.give_back(&key("back"), &PaymentRef::new("INV-1")).await);
        assert_eq!(look(side, &person).await.0.money, Money::Kept);
        return;
    }
    let payments = provider.payments_of_newest_period(&id).await.unwrap();
    assert_eq!(payments.len(), 1);
    assert_eq!(provider.find_customer_of_payment(&payments[0]).await.unwrap().as_ref(), Some(&person.id));
    for round in ["back", "again"] {
        provider.give_back(&key(round), &payments[0]).await.unwrap();
    }
    let (refunded, _) = look(side, &person).await;
    assert_eq!((refunded.money, refunded.paid_until), (Money::Refunded, None));
}

async fn lists_go_to_their_last_page_or_are_not_offered<S: Side>(side: &S) {
    let (provider, (person, id), now) = (side.provider(), subscriber(side).await, side.world().app.now());
    let span = |since: i64, until: i64| (now.plus_seconds(since), now.plus_seconds(until));
    let (past, future) = (span(-3600, 3600), span(3600, 7200));
    if !S::OFFERS.contains(&Offer::ListOfAll) {
        not_offered(provider.list_subscriptions(None).await);
    } else {
        let sandbox = side.world().sandbox();
        sandbox.replace_card(person.id.as_str(), "success").await;
        let price = side.price("starter");
        for _ in 0..100 {
            let pairs = [("customer", person.id.as_str()), ("items[0][price]", price.as_str())];
            sandbox.post("/v1/subscriptions", &pairs).await;
        }
        provider.cancel_now(&key("end"), &id).await.unwrap();
        let (listed, pages) = all(async |after| provider.list_subscriptions(after).await.unwrap()).await;
        let ids: BTreeSet<&str> = listed.iter().map(|each| each.facts.id.as_str()).collect();
        assert_eq!((listed.len(), ids.len(), pages), (101, 101, 2), "each once");
        let ours = listed.iter().find(|each| each.facts.id == id).expect("one that has ended is there too");
        assert_eq!(
            (ours.external_customer.as_ref(), &ours.facts.status),
            (Some(&person.id), &ProviderStatus::Canceled)
        );
        assert_eq!(ours.customer_id.as_deref(), Some(person.customer_id.as_str()));
    }
    let read = async |(since, until): (Timestamp, Timestamp)| {
        all(async |after| provider.list_events(&EventSpan { since, until, after }).await.unwrap()).await
    };
    if !S::OFFERS.contains(&Offer::EventLog) {
        not_offered(provider.list_events(&EventSpan { since: past.0, until: past.1, after: None }).await);
        return;
    }
    let (events, pages) = read(past).await;
    let ids: BTreeSet<&str> = events.iter().map(|each| each.notice.event_id.as_str()).collect();
    assert!(pages > 1 && ids.len() == events.len(), "each once");
    for each in &events {
        assert!(each.notice.relevant, "{:?}", each.notice);
        assert_eq!(each.notice.external_customer.as_ref(), Some(&person.id), "{:?}", each.notice);
    }
    assert!(read(future).await.0.is_empty(), "the end of a span is its end");
}

async fn what_else_is_not_offered_has_one_answer<S: Side>(side: &S) {
    let (provider, (person, id), now) = (side.provider(), subscriber(side).await, side.world().app.now());
    let offers = |what: Offer| S::OFFERS.contains(&what);
    let terms = terms(side, &id).await;
    let price = side.price("enterprise");
    match provider.open_portal(&person.id, SUCCESS_URL).await {
        Ok(url) if offers(Offer::Portal) => assert!(url.starts_with("http"), "{url}"),
        other => not_offered(other),
    }
    match provider.preview_change(&terms, &price, now).await {
        Ok(preview) if offers(Offer::Preview) => {
            assert!(preview.amount_due > 0 && preview.currency.len() == 3, "{preview:?}");
        }
        other => not_offered(other),
    }
    match provider.resume(&key("unpause"), &terms, true).await {
        Err(error) if offers(Offer::Pause) => assert!(!error.is_transient(), "it is not paused: {error}"),
        other => not_offered(other),
    }
    // What nobody has signed is refused, whether somebody could have signed it or not.
    for signatures in [&[][..], &[&b"t=1,v1=00"[..]][..]] {
        assert!(provider.verify_webhook(signatures, b"{}", now).is_err());
    }
    assert_eq!(look(side, &person).await.0.prices, [side.price("professional")], "a preview changes nothing");
    assert_eq!((provider.name(), provider.livemode()), (S::NAME, false));
    provider.account_id().await.unwrap();
}

at_each_provider!(
    Setup::no_worker();
    one_key_makes_one_customer,
    after_a_lost_answer_a_customer_is_found_by_our_id,
    an_address_goes_there_and_never_back,
    who_has_bought_nothing_has_no_subscription,
    what_is_paid_runs_to_the_end_of_its_period,
    a_renewal_that_is_paid_moves_the_end_by_a_month,
    a_renewal_that_is_not_paid_is_overdue_until_it_is,
    a_planned_end_can_be_taken_back_and_comes,
    what_is_ended_at_once_is_over_and_stays_so,
    money_that_went_back_pays_for_nothing,
    a_renewal_that_went_back_leaves_the_month_before,
    a_plan_changes_now_or_with_the_period_or_not_at_all,
    an_end_takes_the_place_of_what_was_planned,
    a_customer_is_deleted_on_our_word_and_once_more_is_as_good,
    a_customer_who_is_deleted_is_a_fact,
    what_nobody_knows_is_told_so,
    who_cannot_be_reached_may_be_asked_again,
    a_payment_page_is_one_a_key_or_is_not_offered,
    a_refund_by_us_is_done_once_or_is_not_offered,
    lists_go_to_their_last_page_or_are_not_offered,
    what_else_is_not_offered_has_one_answer,
);

/// Lets the period end, and everything that is due with it.
async fn through(side: &impl Side, visitor: &mut Visitor, end: Timestamp) {
    pass(side.world(), end).await;
    side.world().settled().await;
    side.world().app.sweep_manual().await.unwrap();
    side.world().settled().await;
    visitor.log_in().await.accepted();
}

/// What changed at the provider, as it becomes known to us.
async fn heard(side: &impl Side) {
    side.world().settled().await;
    side.world().app.sweep_manual().await.unwrap();
    side.world().settled().await;
}

/// Version, plan and reason of the newest licence.
async fn newest(visitor: &Visitor) -> (i64, String, String) {
    let license = visitor.licenses().await[0].clone();
    let text = |name: &str| license[name].as_str().unwrap().to_owned();
    (license["version"].as_i64().unwrap(), text("plan"), text("reason"))
}

fn issued(version: i64, reason: &str) -> (i64, String, String) {
    (version, "professional".to_owned(), reason.to_owned())
}

async fn held_by(side: &impl Side, visitor: &Visitor) -> (ExternalCustomerId, ExternalSubscriptionId) {
    let subscription = side.world().stored(visitor).await.stripe_subscription_id.expect("a subscription");
    (side.counterpart(visitor).await, ExternalSubscriptionId::new(subscription))
}

async fn from_the_trial_to_the_end_it_is_one_customer(side: &impl Side) {
    let (world, mut ada) = (side.world(), side.world().customer("ada@example.com").await);
    let id = ada.customer_id.clone();
    assert_eq!((ada.subscription().await["status"].clone(), newest(&ada).await.0), (json!("trialing"), 1));
    side.sell(&mut ada, "professional").await;
    assert_eq!(newest(&ada).await, issued(2, "subscribed"));
    let license = ada.current_license().await.accepted();
    let first = world.stored(&ada).await.paid_until.unwrap();
    let expires: Timestamp = license["expires_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(expires.as_unix_seconds(), first.plus_days(7).as_unix_seconds(), "what is paid, and a week");
    let (customer, subscription) = held_by(side, &ada).await;
    side.will_pay(&customer, &subscription).await;
    through(side, &mut ada, first).await;
    assert_eq!(ada.subscription().await["status"], "active");
    assert_eq!(newest(&ada).await, issued(3, "renewed"));
    // The customer ends it, thinks better of it, and ends it all the same.
    let act = async |what: &str| ada.http.post(&format!("/api/subscriptions/{what}"), &Value::Null).await.accepted();
    let ending = act("cancel").await;
    assert_eq!((&ending["status"], &ending["cancel_at"]), (&json!("active"), &ending["current_period_ends_at"]));
    assert_eq!(act("resume").await["cancel_at"], Value::Null);
    assert_eq!(act("cancel").await["cancel_at"], ending["cancel_at"]);
    assert_eq!(newest(&ada).await.0, 3, "until then the licence is as good as ever");
    let last = ada.current_license().await.accepted()["token"].as_str().unwrap().to_owned();
    let end = world.stored(&ada).await.cancel_at.unwrap();
    through(side, &mut ada, end).await;
    let ended = ada.subscription().await;
    assert_eq!((&ended["status"], &ended["ended_at"]), (&json!("canceled"), &ending["cancel_at"]));
    ada.refresh(&last).await.refused(404, "no_license");
    let versions = world.app.license_history(&id_of(&ada), i64::MAX).await.unwrap();
    assert_eq!(versions.iter().map(|each| each.version).collect::<Vec<_>>(), [3, 2, 1]);
    for each in versions {
        assert_eq!(counterfoil_license::inspect(&each.token).unwrap().1.customer_id, id);
    }
    // And begins anew, still the same customer.
    side.sell(&mut ada, "professional").await;
    assert_eq!((newest(&ada).await.0, &ada.customer_id), (4, &id));
}

async fn who_does_not_pay_is_overdue_and_is_healed_by_paying(side: &impl Side) {
    let (world, mut ada) = (side.world(), side.world().customer("ada@example.com").await);
    side.sell(&mut ada, "professional").await;
    let first = world.stored(&ada).await.paid_until.unwrap();
    let (customer, subscription) = held_by(side, &ada).await;
    side.will_not_pay(&customer).await;
    through(side, &mut ada, first).await;
    assert_eq!(ada.subscription().await["status"], "past_due");
    assert_eq!((newest(&ada).await, world.stored(&ada).await.paid_until), (issued(3, "payment_overdue"), Some(first)));
    assert_eq!(ada.validate(&ada.license).await["valid"], true, "the grace has begun");
    side.pay_late(&customer, &subscription).await;
    heard(side).await;
    assert_eq!(ada.subscription().await["status"], "active");
    let versions = ada.licenses().await;
    let since: Vec<&str> = versions.iter().rev().skip(3).map(|each| each["reason"].as_str().unwrap()).collect();
    // A look asks the provider several questions: a sweep's may have seen the payment before the state that it leads to.
    assert!(since == ["renewed"] || since == ["renewed", "status_changed"], "{since:?}");
    assert!(world.stored(&ada).await.paid_until > Some(first));
}

async fn who_has_the_money_back_has_no_licence(side: &impl Side) {
    let (world, mut ada) = (side.world(), side.world().customer("ada@example.com").await);
    side.sell(&mut ada, "professional").await;
    let (customer, subscription) = held_by(side, &ada).await;
    side.refund(&customer, &subscription).await;
    heard(side).await;
    let stored = world.stored(&ada).await;
    assert_eq!((stored.paid_until, stored.needs_attention.as_deref()), (None, Some("money_back")));
    let judged = ada.validate(&ada.license).await;
    assert_eq!((&judged["valid"], &judged["code"]), (&json!(false), &json!("refunded")));
    ada.refresh(&ada.license).await.refused(404, "no_license");
}

async fn who_is_deleted_there_stays_a_customer_here(side: &impl Side) {
    let (world, mut ada) = (side.world(), side.world().customer("ada@example.com").await);
    side.sell(&mut ada, "professional").await;
    let (customer, _) = held_by(side, &ada).await;
    side.delete(&customer).await;
    heard(side).await;
    world.until("the end is known", async || world.stored(&ada).await.status == "canceled").await;
    side.sell(&mut ada, "professional").await;
    assert_eq!(ada.subscription().await["status"], "active");
    assert_ne!(side.counterpart(&ada).await, customer, "another counterpart of the same customer");
}

at_each_provider!(
    Setup::default();
    from_the_trial_to_the_end_it_is_one_customer,
    who_does_not_pay_is_overdue_and_is_healed_by_paying,
    who_has_the_money_back_has_no_licence,
    who_is_deleted_there_stays_a_customer_here,
);
