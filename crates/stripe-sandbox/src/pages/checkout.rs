//! The hosted checkout page: choose a test card, pay, and go back to the merchant.

use std::sync::Arc;

use askama::Template;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::{blocking, notice, page};
use crate::billing::cards::Card;
use crate::billing::lines::money;
use crate::billing::payments::Failure;
use crate::clock::human_date;
use crate::context::{Cause, Context};
use crate::error::ApiError;
use crate::form::Params;
use crate::json;
use crate::resources::fulfilment::{self, Payer};
use crate::sandbox::Inner;
use crate::store::Kind;

#[derive(Template)]
#[template(path = "checkout.html")]
struct CheckoutPage {
    id: String,
    lines: Vec<Line>,
    total: String,
    trial: Option<String>,
    subscription: bool,
    needs_card: bool,
    /// Shown when the merchant already told who pays.
    email: Option<String>,
    chosen: String,
    problem: Option<String>,
    cancel_url: Option<String>,
}

struct Line {
    name: String,
    description: String,
    price: String,
}

#[derive(Template)]
#[template(path = "authenticate.html")]
struct AuthenticationPage {
    total: String,
}

/// What became of an attempt to pay.
enum Outcome {
    Paid { success_url: String },
    Declined { message: String },
    Authenticate,
    NotOpen,
}

pub(crate) async fn show(State(inner): State<Arc<Inner>>, Path(session): Path<String>) -> Response {
    show_with(&inner, &session, StatusCode::OK, "success", None).await
}

async fn show_with(
    inner: &Arc<Inner>,
    id: &str,
    status: StatusCode,
    chosen: &str,
    problem: Option<String>,
) -> Response {
    let worker = Arc::clone(inner);
    let (id, chosen) = (id.to_owned(), chosen.to_owned());
    let found = blocking(move || {
        worker.write(&Cause::default(), |cx| {
            let session = cx.object(Kind::Session, &id);
            let open = json::text(&session, "status") == "open";
            Ok((session.clone(), open.then(|| checkout_page(cx, &session, chosen, problem))))
        })
    });
    match found.await {
        Ok((_, Some(checkout))) => page(status, &checkout),
        Ok((session, None)) => closed(&session, StatusCode::OK),
        Err(response) => response,
    }
}

fn checkout_page(cx: &Context, session: &Value, chosen: String, problem: Option<String>) -> CheckoutPage {
    let currency = json::text(session, "currency");
    let lines = json::items(session, "_line_items").iter().map(|line| {
        let product = cx.object(Kind::Product, json::text(line, "price.product"));
        let quantity = json::int(line, "quantity");
        let amount = money(json::int(line, "amount_total"), currency);
        let interval = interval(line);
        Line {
            name: if quantity > 1 {
                format!("{quantity} × {}", json::text(line, "description"))
            } else {
                json::text(line, "description").to_owned()
            },
            description: json::text(&product, "description").to_owned(),
            price: format!("{amount}{interval}"),
        }
    });
    let customer = cx.object(Kind::Customer, json::text(session, "customer"));
    let known = json::opt_text(&customer, "email").or_else(|| json::opt_text(session, "customer_email"));
    CheckoutPage {
        id: session["id"].as_str().unwrap_or_default().to_owned(),
        lines: lines.collect(),
        total: money(json::int(session, "amount_total"), currency),
        trial: trial(cx.now, session),
        subscription: json::text(session, "mode") == "subscription",
        needs_card: fulfilment::needs_card(session),
        email: known.map(str::to_owned),
        chosen,
        problem,
        cancel_url: json::opt_text(session, "cancel_url").map(str::to_owned),
    }
}

fn interval(line: &Value) -> String {
    let count = json::int(line, "price.recurring.interval_count");
    match json::opt_text(line, "price.recurring.interval") {
        None => String::new(),
        Some(interval) if count > 1 => format!(" every {count} {interval}s"),
        Some(interval) => format!(" per {interval}"),
    }
}

fn trial(now: i64, session: &Value) -> Option<String> {
    let days = json::opt_int(session, "_subscription_data.trial_days").map(|days| now + days * crate::clock::DAY);
    let end = days.or_else(|| json::opt_int(session, "_subscription_data.trial_end"))?;
    Some(human_date(end))
}

fn closed(session: &Value, complete_status: StatusCode) -> Response {
    match json::text(session, "status") {
        "complete" => {
            let back = success_url(session);
            notice(
                complete_status,
                "This checkout is complete",
                "The payment went through. Nothing is charged twice.",
                Some((&back, "Return to the merchant")),
            )
        }
        "expired" => notice(
            StatusCode::GONE,
            "This checkout has expired",
            "Nothing was charged. Go back to the merchant and start again.",
            json::opt_text(session, "cancel_url").map(|url| (url, "Return to the merchant")),
        ),
        _ => notice(
            StatusCode::NOT_FOUND,
            "There is no such checkout",
            "Check the address, or go back to the merchant and start again.",
            None,
        ),
    }
}

/// The template stands in the address as it was given; browsers and merchants may have escaped its braces.
fn success_url(session: &Value) -> String {
    let id = json::text(session, "id");
    json::text(session, "success_url").replace("{CHECKOUT_SESSION_ID}", id).replace("%7BCHECKOUT_SESSION_ID%7D", id)
}

pub(crate) async fn pay(State(inner): State<Arc<Inner>>, Path(session): Path<String>, body: Bytes) -> Response {
    let Ok(form) = read(&body) else {
        return notice(StatusCode::BAD_REQUEST, "That did not work", "The form could not be read.", None);
    };
    let choice = form.filled("card").unwrap_or_default().to_owned();
    let payer = Payer { email: form.filled("email").map(str::to_owned), name: form.filled("name").map(str::to_owned) };
    let (worker, id, chosen) = (Arc::clone(&inner), session.clone(), choice.clone());
    let outcome = blocking(move || {
        with_open(&worker, &id, |cx, value| {
            if !fulfilment::needs_card(value) {
                fulfilment::complete_without_card(cx, &id);
                return Ok(Ok(()));
            }
            let card = Card::at_checkout(&chosen).ok_or_else(|| ApiError::invalid("Choose one of the test cards."))?;
            Ok(fulfilment::pay(cx, &id, card, &payer))
        })
    });
    finish(&inner, &session, &choice, outcome.await).await
}

pub(crate) async fn show_authentication(State(inner): State<Arc<Inner>>, Path(session): Path<String>) -> Response {
    let worker = Arc::clone(&inner);
    let found =
        blocking(move || Ok(worker.read(|store| store.get(Kind::Session, &session).cloned().unwrap_or_default())));
    match found.await {
        Ok(session) if json::text(&session, "status") == "open" => {
            let total = money(json::int(&session, "amount_total"), json::text(&session, "currency"));
            page(StatusCode::OK, &AuthenticationPage { total })
        }
        Ok(session) => closed(&session, StatusCode::OK),
        Err(response) => response,
    }
}

pub(crate) async fn authenticate(
    State(inner): State<Arc<Inner>>,
    Path(session): Path<String>,
    body: Bytes,
) -> Response {
    let passed = read(&body).is_ok_and(|form| form.text("outcome") == Some("complete"));
    let (worker, id) = (Arc::clone(&inner), session.clone());
    let outcome = blocking(move || {
        with_open(&worker, &id, |cx, value| {
            if json::opt_text(value, "_payment_method").is_none() {
                return Err(ApiError::invalid("There is no payment to authenticate. Choose a card first."));
            }
            Ok(fulfilment::answer_authentication(cx, &id, passed))
        })
    });
    finish(&inner, &session, "authentication", outcome.await).await
}

fn read(body: &Bytes) -> Result<Params, ApiError> {
    let text = std::str::from_utf8(body).map_err(|_| ApiError::invalid("Invalid UTF-8."))?;
    Params::decode(&[text])
}

/// Lets `work` pay the session if it is still open. A declined card is an outcome whose traces are kept.
fn with_open(
    inner: &Inner,
    id: &str,
    work: impl FnOnce(&mut Context, &Value) -> Result<Result<(), Failure>, ApiError>,
) -> Result<Outcome, ApiError> {
    inner.write(&Cause::default(), |cx| {
        let session = cx.object(Kind::Session, id);
        if json::text(&session, "status") != "open" {
            return Ok(Outcome::NotOpen);
        }
        let customer = cx.object(Kind::Customer, json::text(&session, "customer"));
        if json::flag(&customer, "_deleted") {
            return Err(ApiError::invalid("This customer does not exist any more. Nothing was charged."));
        }
        Ok(match work(cx, &session)? {
            Ok(()) => Outcome::Paid { success_url: success_url(&session) },
            Err(Failure::NeedsAuthentication) => Outcome::Authenticate,
            Err(Failure::Declined(error)) => Outcome::Declined { message: error.message().to_owned() },
        })
    })
}

async fn finish(inner: &Arc<Inner>, id: &str, choice: &str, outcome: Result<Outcome, Response>) -> Response {
    match outcome {
        Ok(Outcome::Paid { success_url }) => see_other(&success_url),
        Ok(Outcome::Authenticate) => see_other(&format!("/c/pay/{id}/authenticate")),
        Ok(Outcome::Declined { message }) => {
            show_with(inner, id, StatusCode::PAYMENT_REQUIRED, choice, Some(message)).await
        }
        Ok(Outcome::NotOpen) => {
            let session = inner.read(|store| store.get(Kind::Session, id).cloned().unwrap_or_default());
            closed(&session, StatusCode::CONFLICT)
        }
        Err(response) => response,
    }
}

pub(super) fn see_other(url: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, url)]).into_response()
}
