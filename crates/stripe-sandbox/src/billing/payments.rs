//! Payment intents and charges: one attempt at taking money, with everything it leaves behind.

use serde_json::{Value, json};

use super::cards::Behavior;
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::resources::{charges, disputes, payment_intents};
use crate::store::Kind;

/// Why an attempt took no money.
#[derive(Debug)]
pub(crate) enum Failure {
    Declined(ApiError),
    NeedsAuthentication,
}

impl Failure {
    pub(crate) fn into_error(self) -> ApiError {
        match self {
            Self::Declined(error) => error,
            Self::NeedsAuthentication => ApiError::card(
                "Your card was declined. This transaction requires authentication.",
                "authentication_required",
            )
            .with("decline_code", "authentication_required"),
        }
    }
}

/// Whether the card's holder is at hand to authenticate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    Absent,
    Present,
    HasAuthenticated,
}

pub(crate) struct Intent<'a> {
    pub amount: i64,
    pub currency: &'a str,
    pub customer: Option<&'a str>,
    pub description: Option<&'a str>,
    pub metadata: Value,
    pub shipping: Value,
    pub saves_card: bool,
}

pub(crate) fn open(cx: &mut Context, intent: &Intent) -> String {
    let id = cx.ids.long("pi_");
    let value = payment_intents::render(cx, &id, intent);
    cx.create(Kind::PaymentIntent, &id, value);
    cx.emit("payment_intent.created", Kind::PaymentIntent, &id);
    id
}

/// Whether the money is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Now,
    /// It is under way; [`settle`] tells what becomes of it.
    Later,
}

/// As [`confirm`], by somebody who is at the checkout, where money may be under way for a while.
pub(crate) fn confirm_at_checkout(
    cx: &mut Context,
    intent: &str,
    payment_method: &str,
    holder: Holder,
) -> Result<Taken, Failure> {
    if !behavior_of(cx, payment_method).is_late() {
        return confirm(cx, intent, payment_method, holder).map(|()| Taken::Now);
    }
    cx.edit(Kind::PaymentIntent, intent, |value| {
        json::set(value, "status", "processing");
        json::set(value, "payment_method", payment_method);
        json::set(value, "processing", json!({ "type": "card", "card": {} }));
    });
    cx.emit("payment_intent.processing", Kind::PaymentIntent, intent);
    Ok(Taken::Later)
}

/// What becomes of money that was under way. `None` where the payment was canceled meanwhile.
pub(crate) fn settle(cx: &mut Context, intent: &str) -> Option<Result<(), Failure>> {
    let value = cx.object(Kind::PaymentIntent, intent);
    if json::text(&value, "status") != "processing" {
        return None;
    }
    let method = json::text(&value, "payment_method").to_owned();
    cx.edit(Kind::PaymentIntent, intent, |value| json::set(value, "processing", Value::Null));
    Some(confirm(cx, intent, &method, Holder::Absent))
}

fn behavior_of(cx: &Context, payment_method: &str) -> Behavior {
    Behavior::from_name(json::text(&cx.object(Kind::PaymentMethod, payment_method), "_behavior"))
}

/// Tries to take the intent's money from a card.
pub(crate) fn confirm(cx: &mut Context, intent: &str, payment_method: &str, holder: Holder) -> Result<(), Failure> {
    let behavior = behavior_of(cx, payment_method);
    let authenticates = behavior == Behavior::NeedsAuthentication;
    if authenticates && holder == Holder::Present {
        cx.edit(Kind::PaymentIntent, intent, |value| {
            json::set(value, "status", "requires_action");
            json::set(value, "payment_method", payment_method);
            json::set(value, "next_action", json!({ "type": "use_stripe_sdk", "use_stripe_sdk": {} }));
        });
        cx.emit("payment_intent.requires_action", Kind::PaymentIntent, intent);
        return Err(Failure::NeedsAuthentication);
    }
    let refusal = match behavior.decline() {
        None if authenticates && holder == Holder::Absent => Some(Failure::NeedsAuthentication.into_error()),
        other => other,
    };
    match refusal {
        Some(error) => Err(Failure::Declined(fail(cx, intent, payment_method, error))),
        None => {
            succeed(cx, intent, payment_method, behavior);
            Ok(())
        }
    }
}

/// The holder gave up, or failed, the authentication that the bank had asked for.
pub(crate) fn fail_authentication(cx: &mut Context, intent: &str) -> ApiError {
    let error = ApiError::card(
        "We are unable to authenticate your payment method. Please choose a different payment method and try again.",
        "payment_intent_authentication_failure",
    );
    cx.edit(Kind::PaymentIntent, intent, |value| {
        json::set(value, "status", "requires_payment_method");
        json::set(value, "payment_method", Value::Null);
        json::set(value, "next_action", Value::Null);
        json::set(value, "last_payment_error", error.object());
    });
    cx.emit("payment_intent.payment_failed", Kind::PaymentIntent, intent);
    error
}

pub(crate) fn cancel(cx: &mut Context, intent: &str, reason: Option<&str>) {
    let now = cx.now;
    cx.edit(Kind::PaymentIntent, intent, |value| {
        json::set(value, "status", "canceled");
        json::set(value, "canceled_at", now);
        json::set(value, "cancellation_reason", reason);
        json::set(value, "next_action", Value::Null);
    });
    cx.emit("payment_intent.canceled", Kind::PaymentIntent, intent);
}

fn fail(cx: &mut Context, intent: &str, payment_method: &str, error: ApiError) -> ApiError {
    let charge = charges::create(cx, intent, payment_method, Some(&error));
    let error = error.with("charge", charge.clone());
    cx.edit(Kind::PaymentIntent, intent, |value| {
        json::set(value, "status", "requires_payment_method");
        json::set(value, "payment_method", Value::Null);
        json::set(value, "next_action", Value::Null);
        json::set(value, "latest_charge", charge.clone());
        json::set(value, "last_payment_error", error.object());
    });
    cx.emit("charge.failed", Kind::Charge, &charge);
    cx.emit("payment_intent.payment_failed", Kind::PaymentIntent, intent);
    error
}

fn succeed(cx: &mut Context, intent: &str, payment_method: &str, behavior: Behavior) {
    let charge = charges::create(cx, intent, payment_method, None);
    cx.edit(Kind::PaymentIntent, intent, |value| {
        let amount = json::int(value, "amount");
        json::set(value, "status", "succeeded");
        json::set(value, "amount_received", amount);
        json::set(value, "payment_method", payment_method);
        json::set(value, "latest_charge", charge.clone());
        json::set(value, "last_payment_error", Value::Null);
        json::set(value, "next_action", Value::Null);
    });
    cx.emit("charge.succeeded", Kind::Charge, &charge);
    cx.emit("payment_intent.succeeded", Kind::PaymentIntent, intent);
    match behavior {
        Behavior::Disputed => disputes::open(cx, &charge, false),
        Behavior::Inquired => disputes::open(cx, &charge, true),
        _ => {}
    }
}
