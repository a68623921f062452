use counterfoil_core::{ExternalSubscriptionId, Interval, PriceId, Timestamp};
use serde_json::{Value, json};

use super::double::{Double, Reply, ok, stripe_error};
use super::{cus, key, stripe};
use crate::providers::{Change, PaymentProvider, ProviderError, Schedule, Terms};

const START: i64 = 1_700_000_000;
const END: i64 = 1_702_600_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

fn terms(schedule: Option<Schedule>) -> Terms {
    Terms {
        subscription: ExternalSubscriptionId::new("sub_1"),
        items: 1,
        item: "si_1".to_owned(),
        price: PriceId::new("price_pro"),
        quantity: 1,
        period_starts_at: at(START),
        period_ends_at: at(END),
        trialing: false,
        cancels_at_period_end: false,
        schedule,
    }
}

fn schedule(planned: Option<(&str, i64)>, cancel_at: Option<i64>) -> Schedule {
    Schedule {
        id: "sub_sched_1".to_owned(),
        running_since: Some(at(START)),
        planned: planned.map(|(price, starts_at)| (PriceId::new(price), at(starts_at))),
        cancel_at: cancel_at.map(at),
    }
}

fn subscription() -> Value {
    json!({
        "id": "sub_1", "status": "active", "cancel_at_period_end": false, "schedule": null,
        "items": {"data": [{
            "id": "si_1", "price": {"id": "price_pro"}, "quantity": 1, "current_period_start": START, "current_period_end": END,
        }]},
    })
}

fn schedule_object() -> Value {
    json!({
        "id": "sub_sched_1", "status": "active", "end_behavior": "release",
        "current_phase": {"start_date": START, "end_date": END},
        "phases": [
            {"start_date": START, "end_date": END, "items": [{"price": "price_pro"}]},
            {"start_date": END, "end_date": END + 100, "items": [{"price": {"id": "price_starter"}}]},
        ],
    })
}

/// What was asked, as `METHOD path body key`.
fn asked(double: &Double) -> Vec<String> {
    let told = |name: Option<&str>| name.map_or(String::new(), |key| format!(" [{key}]"));
    double
        .seen()
        .iter()
        .map(|seen| format!("{} {}{}", seen.line, seen.body, told(seen.header("idempotency-key"))))
        .collect()
}

#[tokio::test]
async fn terms_are_read_with_what_a_schedule_has_planned() {
    let id = ExternalSubscriptionId::new("sub_1");
    let double = Double::playing([ok(&subscription())]).await;
    assert_eq!(stripe(&double).read_terms(&id).await.unwrap(), terms(None));

    let mut scheduled = subscription();
    scheduled["schedule"] = json!("sub_sched_1");
    let double = Double::playing([ok(&scheduled), ok(&schedule_object())]).await;
    let planned = schedule(Some(("price_starter", END)), None);
    assert_eq!(stripe(&double).read_terms(&id).await.unwrap(), terms(Some(planned)));

    let mut ending = schedule_object();
    ending["end_behavior"] = json!("cancel");
    ending["phases"].as_array_mut().unwrap().pop();
    let double = Double::playing([ok(&scheduled), ok(&ending)]).await;
    assert_eq!(stripe(&double).read_terms(&id).await.unwrap(), terms(Some(schedule(None, Some(END)))));

    let double = Double::playing([ok(&json!({"id": "sub_1", "items": {"data": []}}))]).await;
    assert!(matches!(stripe(&double).read_terms(&id).await, Err(ProviderError::Unavailable { .. })));
}

#[tokio::test]
async fn more_is_charged_at_once_or_not_done_and_then_the_plan_for_less_is_off() {
    let change = Change::Now { price: PriceId::new("price_top"), prorated_from: at(START + 50) };
    let update = "POST /v1/subscriptions/sub_1 items[0][id]=si_1&items[0][price]=price_top&proration_behavior=always_invoice\
                  &payment_behavior=error_if_incomplete&proration_date=1700000050 [cf:inst:cust:cus:g1]";
    let double = Double::playing([ok(&subscription())]).await;
    stripe(&double).change_plan(&key(), &terms(None), &change).await.unwrap();
    assert_eq!(asked(&double), [update]);

    let double = Double::playing([ok(&subscription()), ok(&schedule_object())]).await;
    let planned = terms(Some(schedule(Some(("price_starter", END)), None)));
    stripe(&double).change_plan(&key(), &planned, &change).await.unwrap();
    let release = "POST /v1/subscription_schedules/sub_sched_1/release  [cf:inst:cust:cus:g1:release]";
    assert_eq!(asked(&double), [update, release]);

    let no_card = "This customer has no attached payment source or default payment method.";
    let refusals = [
        stripe_error(402, "card_error", "card_declined", "", "Your card was declined."),
        stripe_error(400, "invalid_request_error", "resource_missing", "", no_card),
    ];
    for refusal in refusals {
        let double = Double::playing([refusal]).await;
        let error = stripe(&double).change_plan(&key(), &planned, &change).await.unwrap_err();
        assert!(matches!(error, ProviderError::CardDeclined { .. }), "{error}");
        double.played_out(1);
    }
    // A card is blamed for nothing else that Stripe refuses.
    for (code, message) in [("resource_missing", "No such tax rate: 'txr_1'"), ("parameter_invalid", no_card)] {
        let double = Double::playing([stripe_error(400, "invalid_request_error", code, "", message)]).await;
        let error = stripe(&double).change_plan(&key(), &planned, &change).await.unwrap_err();
        assert!(matches!(error, ProviderError::Rejected { .. }), "{error}");
    }
}

#[tokio::test]
async fn less_is_planned_with_a_schedule_that_is_made_once() {
    let change = Change::AtPeriodEnd { price: PriceId::new("price_starter"), interval: Interval::Month };
    let update = "POST /v1/subscription_schedules/sub_sched_1 end_behavior=release&phases[0][items][0][price]=price_pro\
                  &phases[0][items][0][quantity]=1&phases[0][start_date]=1700000000&phases[0][end_date]=1702600000\
                  &phases[0][proration_behavior]=none&phases[1][items][0][price]=price_starter\
                  &phases[1][items][0][quantity]=1&phases[1][duration][interval]=month\
                  &phases[1][duration][interval_count]=1&phases[1][proration_behavior]=none [cf:inst:cust:cus:g1]";
    let double = Double::playing([ok(&schedule_object()), ok(&schedule_object())]).await;
    stripe(&double).change_plan(&key(), &terms(None), &change).await.unwrap();
    let make = "POST /v1/subscription_schedules from_subscription=sub_1 [cf:inst:cust:cus:g1:schedule]";
    assert_eq!(asked(&double), [make, update]);

    let double = Double::playing([ok(&schedule_object())]).await;
    stripe(&double).change_plan(&key(), &terms(Some(schedule(None, None))), &change).await.unwrap();
    assert_eq!(asked(&double), [update]);
}

#[tokio::test]
async fn an_end_is_planned_and_taken_back_where_it_stands() {
    let by_schedule = terms(Some(schedule(Some(("price_starter", END)), None)));
    let by_period = Terms { cancels_at_period_end: true, ..terms(None) };
    let mut dated = subscription();
    dated["cancel_at"] = json!(END);
    let key_of_test = "[cf:inst:cust:cus:g1";
    let cancel = async |terms: &Terms| {
        let double = Double::playing([ok(&subscription())]).await;
        stripe(&double).cancel(&key(), terms).await.unwrap();
        asked(&double)
    };
    assert_eq!(
        cancel(&terms(None)).await,
        [format!("POST /v1/subscriptions/sub_1 cancel_at_period_end=true {key_of_test}]")]
    );
    let ended = &cancel(&by_schedule).await[0];
    assert!(ended.starts_with("POST /v1/subscription_schedules/sub_sched_1 end_behavior=cancel&phases[0]"), "{ended}");
    assert!(!ended.contains("phases[1]"), "nothing comes after: {ended}");

    let resume = async |terms: &Terms, paused: bool, answers: Vec<Reply>| {
        let double = Double::playing(answers).await;
        stripe(&double).resume(&key(), terms, paused).await.unwrap();
        asked(&double)
    };
    let one = || vec![ok(&subscription())];
    let unset = format!("POST /v1/subscriptions/sub_1 cancel_at= {key_of_test}");
    assert_eq!(resume(&terms(None), false, one()).await, [format!("{unset}]")]);
    let taken_back = format!("POST /v1/subscriptions/sub_1 cancel_at_period_end=false {key_of_test}]");
    assert_eq!(resume(&by_period, false, one()).await, std::slice::from_ref(&taken_back));
    // A version of the API that keeps the date is told about it too.
    let kept = resume(&by_period, false, vec![ok(&dated), ok(&subscription())]).await;
    assert_eq!(kept, [taken_back, format!("{unset}:undated]")]);
    let released = format!("POST /v1/subscription_schedules/sub_sched_1/release  {key_of_test}:release]");
    assert_eq!(resume(&by_schedule, false, one()).await, [released]);
    assert_eq!(
        resume(&terms(None), true, one()).await,
        [format!("POST /v1/subscriptions/sub_1/resume  {key_of_test}]")]
    );
}

#[tokio::test]
async fn previews_and_portal_pages_are_never_answered_from_memory() {
    let double = Double::playing([
        ok(&json!({"amount_due": 1234, "currency": "usd"})),
        ok(&json!({"url": "https://p.example/x"})),
    ])
    .await;
    let stripe = stripe(&double);
    let price = PriceId::new("price_top");
    // The instant stays inside the period, outside of which Stripe knows no proration.
    let told = stripe.preview_change(&terms(None), &price, at(START - 1)).await.unwrap();
    assert_eq!((told.amount_due, told.currency.as_str()), (1234, "usd"));
    assert_eq!(stripe.open_portal(&cus("cus_1"), "http://localhost/a").await.unwrap(), "https://p.example/x");
    assert_eq!(
        asked(&double),
        [
            "POST /v1/invoices/create_preview subscription=sub_1&subscription_details[items][0][id]=si_1\
             &subscription_details[items][0][price]=price_top&subscription_details[proration_behavior]=always_invoice\
             &subscription_details[proration_date]=1700000000",
            "POST /v1/billing_portal/sessions customer=cus_1&return_url=http%3A%2F%2Flocalhost%2Fa",
        ]
    );
    let double = Double::playing([ok(&json!({"url": "https://p.example/y"}))]).await;
    let mut config = super::config(&double.base);
    config.portal_configuration = Some("bpc_1".to_owned());
    let configured = super::super::Stripe::new(config, Box::new(|| 0.5)).unwrap();
    configured.open_portal(&cus("cus_1"), "http://localhost/a").await.unwrap();
    assert!(asked(&double)[0].ends_with("&configuration=bpc_1"));
    let double = Double::playing([ok(&json!({"amount_due": null}))]).await;
    let unclear = super::stripe(&double).preview_change(&terms(None), &price, at(START)).await;
    assert!(matches!(unclear, Err(ProviderError::Unavailable { .. })));
}
