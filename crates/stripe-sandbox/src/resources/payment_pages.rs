//! `payment_pages`: the private calls with which the official CLI pays a checkout session.

use serde_json::{Value, json};

use super::fulfilment::{self, Payer};
use super::payment_methods;
use crate::api::{Call, Route};
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::store::Kind;

pub(crate) const ROUTES: &[Route] = &[
    Route::get("/v1/payment_pages/{id}", "", retrieve),
    Route::post("/v1/payment_pages/{id}/confirm", "payment_method! expected_amount", confirm),
];

fn retrieve(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let session = cx.find(Kind::Session, call.id())?;
    Ok(render(&session))
}

fn render(session: &Value) -> Value {
    let mut page = json::public(session);
    json::set(&mut page, "session_id", session["id"].clone());
    json::set(&mut page, "total_summary", json!({ "due": session["amount_total"], "total": session["amount_total"] }));
    page
}

fn confirm(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let session = cx.find(Kind::Session, call.id())?;
    if json::text(&session, "status") != "open" {
        return Err(ApiError::invalid("This Checkout Session is no longer open.").code("checkout_not_active_session"));
    }
    let expected = call.params.int("expected_amount")?;
    if expected.is_some_and(|expected| expected != json::int(&session, "amount_total")) {
        let message = "The expected amount does not match the amount of this Checkout Session.";
        return Err(ApiError::invalid(message).code("checkout_amount_mismatch").param("expected_amount"));
    }
    let method = payment_methods::named(cx, call.params.required("payment_method")?, "payment_method")?;
    let details = cx.object(Kind::PaymentMethod, &method)["billing_details"].clone();
    let payer = Payer {
        email: json::opt_text(&details, "email").map(str::to_owned),
        name: json::opt_text(&details, "name").map(str::to_owned),
    };
    fulfilment::pay_with(cx, call.id(), &method, &payer).map_err(|failure| failure.into_error())?;
    Ok(render(&cx.object(Kind::Session, call.id())))
}
