//! The billing portal's page: cancel at the end of the period, resume, change the plan, replace the card, pay what is
//! open.

use std::sync::Arc;

use askama::Template;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::{blocking, checkout::see_other, notice, page};
use crate::billing::cards::Card;
use crate::billing::invoices;
use crate::billing::lines::{money, product_name};
use crate::billing::payments::Holder;
use crate::billing::prorations::{self, OnFailure, Proration};
use crate::billing::subscriptions::{self, period_end};
use crate::clock::human_date;
use crate::context::{Cause, Context};
use crate::error::ApiError;
use crate::form::Params;
use crate::json;
use crate::resources::{payment_methods, subscription_update};
use crate::sandbox::Inner;
use crate::store::Kind;

#[derive(Template)]
#[template(path = "portal.html")]
struct PortalPage {
    email: String,
    card: Option<String>,
    subscriptions: Vec<SubscriptionCard>,
    invoices: Vec<InvoiceRow>,
    return_url: Option<String>,
    problem: Option<String>,
}

struct SubscriptionCard {
    id: String,
    name: String,
    price: String,
    state: String,
    can_cancel: bool,
    can_resume: bool,
    plans: Vec<(String, String)>,
}

struct InvoiceRow {
    id: String,
    date: String,
    amount: String,
    status: String,
    page: String,
    open: bool,
}

/// The session that an address names, if it still opens the portal.
fn session_of(cx: &Context, secret: &str) -> Result<Value, ApiError> {
    cx.store
        .newest_first(Kind::PortalSession)
        .map(|(_, session)| session)
        .find(|session| json::text(session, "_secret") == secret && json::int(session, "_expires_at") > cx.now)
        .cloned()
        .ok_or_else(|| ApiError::no_such("billing portal session", secret))
}

pub(crate) async fn show(State(inner): State<Arc<Inner>>, Path(secret): Path<String>) -> Response {
    show_with(&inner, &secret, None).await
}

async fn show_with(inner: &Arc<Inner>, secret: &str, problem: Option<String>) -> Response {
    let (worker, secret) = (Arc::clone(inner), secret.to_owned());
    let status = if problem.is_some() { StatusCode::PAYMENT_REQUIRED } else { StatusCode::OK };
    let rendered = blocking(move || {
        worker.write(&Cause::default(), |cx| {
            Ok(session_of(cx, &secret).ok().map(|session| portal_page(cx, &session, problem)))
        })
    });
    match rendered.await {
        Ok(Some(portal)) => page(status, &portal),
        Ok(None) => notice(
            StatusCode::GONE,
            "This page has expired",
            "Links to the billing portal work for an hour. Go back to the merchant and open it again.",
            None,
        ),
        Err(response) => response,
    }
}

fn portal_page(cx: &Context, session: &Value, problem: Option<String>) -> PortalPage {
    let customer = json::text(session, "customer");
    let value = cx.object(Kind::Customer, customer);
    let owned = |kind| {
        cx.store.newest_first(kind).map(|(_, value)| value).filter(|value| json::text(value, "customer") == customer)
    };
    let subscriptions: Vec<&Value> =
        owned(Kind::Subscription).filter(|subscription| !subscriptions::is_over(subscription)).collect();
    let card = subscriptions
        .iter()
        .find_map(|subscription| json::opt_text(subscription, "default_payment_method"))
        .or_else(|| json::opt_text(&value, "invoice_settings.default_payment_method"))
        .map(|id| cx.object(Kind::PaymentMethod, id))
        .map(|card| {
            let brand = json::text(&card, "card.brand");
            let name = if brand == "amex" { "American Express".to_owned() } else { capitalized(brand) };
            format!("{name} ending in {}", json::text(&card, "card.last4"))
        });
    PortalPage {
        email: json::text(&value, "email").to_owned(),
        card,
        subscriptions: subscriptions.iter().map(|subscription| subscription_card(cx, subscription)).collect(),
        invoices: owned(Kind::Invoice).take(12).map(invoice_row).collect(),
        return_url: json::opt_text(session, "return_url").map(str::to_owned),
        problem,
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn subscription_card(cx: &Context, subscription: &Value) -> SubscriptionCard {
    let item = &subscription["items"]["data"][0];
    let scheduled = json::opt_int(subscription, "cancel_at");
    let status = json::text(subscription, "status");
    let end = human_date(period_end(subscription));
    let state = match (scheduled, status) {
        (Some(at), _) => format!("Ends on {}", human_date(at)),
        (None, "trialing") => format!("In trial until {end}"),
        (None, "past_due" | "unpaid") => "The last payment failed".to_owned(),
        (None, "paused") => "Paused".to_owned(),
        (None, "incomplete") => "Waiting for the first payment".to_owned(),
        (None, _) => format!("Renews on {end}"),
    };
    let current = json::text(item, "price.id");
    let plans = cx
        .store
        .oldest_first(Kind::Price)
        .map(|(_, price)| price)
        .filter(|price| json::flag(price, "active") && !price["recurring"].is_null())
        .filter(|price| price["currency"] == item["price"]["currency"] && json::text(price, "id") != current)
        .map(|price| (json::text(price, "id").to_owned(), priced(cx, price)))
        .collect();
    SubscriptionCard {
        id: json::text(subscription, "id").to_owned(),
        name: product_name(cx, json::text(item, "price.product")),
        price: priced(cx, &item["price"]),
        state,
        can_cancel: scheduled.is_none(),
        can_resume: scheduled.is_some(),
        plans,
    }
}

fn priced(cx: &Context, price: &Value) -> String {
    let name = product_name(cx, json::text(price, "product"));
    let amount = money(json::int(price, "unit_amount"), json::text(price, "currency"));
    format!("{name}, {amount} per {}", json::text(price, "recurring.interval"))
}

fn invoice_row(invoice: &Value) -> InvoiceRow {
    InvoiceRow {
        id: json::text(invoice, "id").to_owned(),
        date: human_date(json::int(invoice, "created")),
        amount: money(json::int(invoice, "total"), json::text(invoice, "currency")),
        status: json::text(invoice, "status").to_owned(),
        page: format!("/invoice/{}", json::text(invoice, "id")),
        open: json::text(invoice, "status") == "open",
    }
}

pub(crate) async fn act(State(inner): State<Arc<Inner>>, Path(secret): Path<String>, body: Bytes) -> Response {
    let form = std::str::from_utf8(&body).ok().and_then(|text| Params::decode(&[text]).ok());
    let Some(form) = form else {
        return notice(StatusCode::BAD_REQUEST, "That did not work", "The form could not be read.", None);
    };
    let (worker, key) = (Arc::clone(&inner), secret.clone());
    let done = crate::work::off_thread(move || {
        worker.write(&Cause::default(), |cx| {
            let session = session_of(cx, &key)?;
            perform(cx, &session, &form)
        })
    });
    match done.await {
        Ok(Ok(())) => see_other(&format!("/p/session/{secret}")),
        Ok(Err(error)) => show_with(&inner, &secret, Some(error.message().to_owned())).await,
        Err(_) => super::bug(),
    }
}

fn perform(cx: &mut Context, session: &Value, form: &Params) -> Result<(), ApiError> {
    let customer = json::text(session, "customer");
    match form.text("action") {
        Some("card") => {
            let card = form.filled("card").and_then(Card::for_renewals);
            let card = card.ok_or_else(|| ApiError::invalid("Choose one of the test cards."))?;
            payment_methods::replace_card(cx, customer, card);
            Ok(())
        }
        Some("pay") => {
            let invoice = owned(cx, Kind::Invoice, form.required("invoice")?, customer)?;
            if json::text(&invoice, "status") != "open" {
                return Err(ApiError::invalid("This invoice is not open any more."));
            }
            invoices::collect(cx, json::text(&invoice, "id"), None, Holder::HasAuthenticated)
                .map_err(|failure| failure.into_error())
        }
        Some(action @ ("cancel" | "resume" | "change")) => {
            let before = owned(cx, Kind::Subscription, form.required("subscription")?, customer)?;
            if subscriptions::is_over(&before) {
                return Err(ApiError::invalid("This subscription has ended."));
            }
            let id = json::text(&before, "id").to_owned();
            match action {
                // On flexible billing the portal sets `cancel_at` alone.
                "cancel" => subscription_update::schedule(cx, &id, period_end(&before), false),
                "resume" => subscription_update::unschedule(cx, &id),
                _ => change_plan(cx, &id, &before, form.required("price")?)?,
            }
            if before != cx.object(Kind::Subscription, &id) {
                cx.emit_with_previous("customer.subscription.updated", Kind::Subscription, &id, &before);
            }
            Ok(())
        }
        _ => Err(ApiError::invalid("Unknown action.")),
    }
}

fn owned(cx: &Context, kind: Kind, id: &str, customer: &str) -> Result<Value, ApiError> {
    let value = cx.find(kind, id)?;
    if json::text(&value, "customer") == customer { Ok(value) } else { Err(ApiError::no_such(kind.noun(), id)) }
}

fn change_plan(cx: &mut Context, id: &str, before: &Value, price: &str) -> Result<(), ApiError> {
    let price = crate::resources::subscriptions::recurring_price(cx, price, "price")?;
    let mut items = json::items(before, "items.data").to_vec();
    json::set(&mut items[0], "price", json::public(&price));
    prorations::change_items(cx, id, items, Proration::AtOnce, cx.now, OnFailure::Refuse)
}
