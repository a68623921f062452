//! Paying a checkout session: the card is tried first, and only success creates anything that lasts.
//!
//! A declined card leaves a failed payment intent and nothing else: no customer, no subscription, no invoice. The
//! session stays open for another try. Where the money is only under way, everything begins unpaid, and what becomes of it is told
//! three minutes later.

use serde_json::{Value, json};

use super::session_rules::stored_lines;
use super::{customers, payment_methods, sessions, setup_intents};
use crate::billing::cards::Card;
use crate::billing::invoices;
use crate::billing::lines;
use crate::billing::payments::{self, Failure, Holder, Intent, Taken};
use crate::billing::subscriptions::{self, Start};
use crate::clock::DAY;
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::store::Kind;

/// How long money is under way that is not there at once: as with the test accounts of Stripe's bank debits.
const UNDER_WAY_SECONDS: i64 = 180;

/// Who pays, as far as the page asked.
pub(crate) struct Payer {
    pub email: Option<String>,
    pub name: Option<String>,
}

/// Tries to pay an open session with a new card.
pub(crate) fn pay(cx: &mut Context, session: &str, card: Card, payer: &Payer) -> Result<(), Failure> {
    let mut details = payment_methods::empty_billing_details();
    json::set(&mut details, "email", payer.email.clone());
    json::set(&mut details, "name", payer.name.clone());
    let method = payment_methods::new(cx, card, &details);
    pay_with(cx, session, &method, payer)
}

pub(crate) fn pay_with(cx: &mut Context, session: &str, method: &str, payer: &Payer) -> Result<(), Failure> {
    cx.edit(Kind::Session, session, |value| {
        json::set(value, "_payer", json!({ "email": payer.email, "name": payer.name }));
        json::set(value, "_payment_method", method);
    });
    attempt(cx, session, method, Holder::Present)
}

/// The holder has answered the bank's question.
pub(crate) fn answer_authentication(cx: &mut Context, session: &str, passed: bool) -> Result<(), Failure> {
    let value = cx.object(Kind::Session, session);
    let method = json::text(&value, "_payment_method").to_owned();
    if passed {
        return attempt(cx, session, &method, Holder::HasAuthenticated);
    }
    let error = match json::opt_text(&value, "_setup_intent") {
        Some(intent) => {
            let error = ApiError::card(
                "We are unable to authenticate your payment method. Please choose a different payment method and try \
                 again.",
                "setup_intent_authentication_failure",
            );
            setup_intents::fail(cx, intent, error)
        }
        None => payments::fail_authentication(cx, json::text(&value, "_payment_intent")),
    };
    Err(Failure::Declined(error))
}

fn attempt(cx: &mut Context, session: &str, method: &str, holder: Holder) -> Result<(), Failure> {
    let value = cx.object(Kind::Session, session);
    let due = json::int(&value, "amount_total");
    if due > 0 {
        let intent = match json::opt_text(&value, "_payment_intent") {
            Some(intent) => intent.to_owned(),
            None => open_intent(cx, &value, due),
        };
        let taken = payments::confirm_at_checkout(cx, &intent, method, holder)?;
        complete(cx, session, Some(method), Some((&intent, taken)));
        return Ok(());
    }
    let intent = match json::opt_text(&value, "_setup_intent") {
        Some(intent) => intent.to_owned(),
        None => {
            let intent = setup_intents::open(cx, json::opt_text(&value, "customer"));
            cx.edit(Kind::Session, session, |value| json::set(value, "_setup_intent", intent.clone()));
            intent
        }
    };
    setup_intents::confirm(cx, &intent, method, holder)?;
    complete(cx, session, Some(method), None);
    Ok(())
}

fn open_intent(cx: &mut Context, session: &Value, due: i64) -> String {
    let subscription_mode = json::text(session, "mode") == "subscription";
    let data = &session["_payment_intent_data"];
    let description = json::opt_text(data, "description");
    let intent = payments::open(
        cx,
        &Intent {
            amount: due,
            currency: json::text(session, "currency"),
            customer: json::opt_text(session, "customer"),
            description: if subscription_mode { Some("Subscription creation") } else { description },
            metadata: data["metadata"].clone(),
            shipping: data["shipping"].clone(),
            saves_card: subscription_mode || json::flag(data, "saves_card"),
        },
    );
    cx.edit(Kind::Session, json::text(session, "id"), |value| {
        json::set(value, "_payment_intent", intent.clone());
    });
    intent
}

/// A session that needs no card: nothing is due and the merchant collects a card only if required.
pub(crate) fn complete_without_card(cx: &mut Context, session: &str) {
    complete(cx, session, None, None);
}

pub(crate) fn needs_card(session: &Value) -> bool {
    json::int(session, "amount_total") > 0 || json::text(session, "payment_method_collection") != "if_required"
}

/// What became of the money that was under way.
pub(crate) fn settle(cx: &mut Context, session: &str) {
    let value = cx.object(Kind::Session, session);
    cx.edit(Kind::Session, session, |value| json::set(value, "_settles_at", Value::Null));
    let (invoice, subscription) = (json::opt_text(&value, "invoice"), json::opt_text(&value, "subscription"));
    match payments::settle(cx, json::text(&value, "_payment_intent")) {
        None => {}
        Some(Ok(())) => {
            cx.edit(Kind::Session, session, |value| json::set(value, "payment_status", "paid"));
            if let Some(invoice) = invoice {
                invoices::mark_paid(cx, invoice, false);
            }
            cx.emit("checkout.session.async_payment_succeeded", Kind::Session, session);
        }
        Some(Err(_told_by_events)) => {
            if let Some(invoice) = invoice {
                invoices::record_failure(cx, invoice);
            }
            if let Some(subscription) = subscription {
                subscriptions::expire_incomplete(cx, subscription);
            }
            cx.emit("checkout.session.async_payment_failed", Kind::Session, session);
        }
    }
}

fn complete(cx: &mut Context, session: &str, method: Option<&str>, money: Option<(&str, Taken)>) {
    let intent = money.map(|(intent, _)| intent);
    let value = cx.object(Kind::Session, session);
    let payer = &value["_payer"];
    let email = json::opt_text(payer, "email").or_else(|| json::opt_text(&value, "customer_email"));
    let email = email.or_else(|| json::opt_text(&value, "customer_details.email"));
    let (email, name) = (email.map(str::to_owned), json::opt_text(payer, "name").map(str::to_owned));
    let customer = match json::opt_text(&value, "customer") {
        Some(customer) => Some(customer.to_owned()),
        None if json::text(&value, "customer_creation") == "always" => {
            Some(customers::create_guest(cx, email.as_deref(), name.as_deref()))
        }
        None => None,
    };
    if let Some(customer) = &customer {
        if let Some(method) = method {
            payment_methods::attach_to(cx, method, customer);
        }
        if let Some(intent) = intent {
            cx.edit(Kind::PaymentIntent, intent, |value| json::set(value, "customer", customer.clone()));
        }
    }
    let subscription_mode = json::text(&value, "mode") == "subscription";
    let subscribed = customer.as_deref().filter(|_| subscription_mode);
    let now = cx.now;
    let created = subscribed.map(|customer| subscribe(cx, &value, customer, method, money));
    let subscription = created.as_ref().map(|(subscription, _)| subscription.clone());
    cx.edit(Kind::Session, session, |value| {
        json::set(value, "status", "complete");
        json::set(value, "url", Value::Null);
        match money {
            None => json::set(value, "payment_status", "no_payment_required"),
            Some((_, Taken::Now)) => json::set(value, "payment_status", "paid"),
            Some((_, Taken::Later)) => {
                json::set(value, "payment_status", "unpaid");
                json::set(value, "_settles_at", now + UNDER_WAY_SECONDS);
            }
        }
        json::set(value, "customer", customer);
        json::set(value, "customer_details", sessions::customer_details(email.as_deref(), name.as_deref()));
        json::set(value, "payment_intent", intent.filter(|_| !subscription_mode));
        json::set(value, "invoice", created.as_ref().map(|(_, invoice)| invoice.clone()));
        json::set(value, "subscription", subscription.clone());
    });
    if let Some(subscription) = subscription {
        subscriptions::announce(cx, &subscription);
    }
    cx.emit("checkout.session.completed", Kind::Session, session);
}

/// The subscription and its first invoice, already paid unless the money is under way.
fn subscribe(
    cx: &mut Context,
    session: &Value,
    customer: &str,
    method: Option<&str>,
    money: Option<(&str, Taken)>,
) -> (String, String) {
    let data = &session["_subscription_data"];
    let (recurring, once): (Vec<_>, Vec<_>) =
        stored_lines(session).into_iter().partition(|(price, _)| !price["recurring"].is_null());
    // Trial days count from the moment of payment, a fixed trial end does not move.
    let trial_end = match json::opt_int(data, "trial_days") {
        Some(days) => Some(cx.now + days * DAY),
        None => json::opt_int(data, "trial_end").map(|end| end.max(cx.now + 1)),
    };
    let start = Start {
        customer,
        items: recurring,
        trial_end,
        default_payment_method: method,
        metadata: data["metadata"].clone(),
        description: json::opt_text(data, "description"),
        missing_card_at_trial_end: json::text(data, "missing_payment_method").to_owned(),
        cancel_at_period_end: false,
        cancel_at: None,
    };
    let subscription = subscriptions::begin(cx, &start);
    let extra = once.iter().map(|(price, quantity)| lines::of_price(cx, price, *quantity)).collect();
    let invoice = subscriptions::first_invoice(cx, &subscription, extra);
    invoices::finalize(cx, &invoice, money);
    (subscription, invoice)
}
