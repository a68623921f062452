//! What an operator may write down.

use super::*;
use crate::app::manual::Step;
use crate::app::operators::By;
use crate::providers::manual::{NewPayment, NewRefund};

#[tokio::test]
async fn what_an_operator_mistypes_is_refused_before_anybody_is_looked_up() {
    let world = world(crate::db::Engine::Sqlite).await;
    let paid = |reference: &str| NewPayment {
        reference: reference.to_owned(),
        amount: 1,
        currency: "eur".to_owned(),
        periods: 1,
    };
    let start = |days: i64| Step::Start {
        plan: PlanCode::new("professional"),
        interval: Interval::Month,
        starts_at: Some(world.app.now().plus_days(days).plus_seconds(days.signum() * 60)),
        payment: Some(paid("INV-1")),
    };
    let refund = |payment: &str, reference: &str, amount| {
        Step::Refund(NewRefund { payment: payment.to_owned(), reference: reference.to_owned(), amount })
    };
    let (most, too_much) = ("ä".repeat(200), "ä".repeat(201));
    let change = |plan: &str| Step::Change { plan: PlanCode::new(plan), interval: None, at_period_end: true };
    let nobody: CustomerId = "cust_00000000000000000000000000000000".parse().unwrap();
    let by = By::command_line("for a test").unwrap();
    for (step, code, field) in [
        (start(3_660), "customer_not_found", Some("customer_id")),
        (start(3_661), "invalid_field", Some("starts_at")),
        (start(-3_660), "customer_not_found", Some("customer_id")),
        (start(-3_661), "invalid_field", Some("starts_at")),
        (Step::Pay(paid(&most)), "customer_not_found", Some("customer_id")),
        (Step::Pay(paid(&too_much)), "invalid_field", Some("reference")),
        (Step::Pay(NewPayment { currency: "e1r".to_owned(), ..paid("A") }), "invalid_field", Some("currency")),
        (Step::Pay(NewPayment { currency: "euro".to_owned(), ..paid("A") }), "invalid_field", Some("currency")),
        (Step::Pay(NewPayment { amount: 0, ..paid("A") }), "invalid_field", Some("amount")),
        (Step::Pay(NewPayment { periods: 0, ..paid("A") }), "invalid_field", Some("periods")),
        (refund("INV-1", "R-1", Some(1)), "customer_not_found", Some("customer_id")),
        (refund("INV-1", "R-1", Some(0)), "invalid_field", Some("amount")),
        (refund("INV-1", "", None), "invalid_field", Some("reference")),
        (refund("", "R-1", None), "invalid_field", Some("payment")),
        (change("professional"), "customer_not_found", Some("customer_id")),
        (change("trial"), "plan_not_for_sale", Some("plan")),
        (change("gold"), "plan_unknown", Some("plan")),
    ] {
        let Err(Error::Refused(refusal)) = world.app.keep_manually(&nobody, &step, &by).await else {
            panic!("{step:?} is not refused")
        };
        assert_eq!((refusal.code(), refusal.field()), (code, field), "{step:?}");
    }
}
