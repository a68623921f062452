//! Whether the money for a paid period is still ours: from the invoice to its payments, from a payment to its charge, and only
//! where the charge says so to its disputes. Never by the customer, whose other subscriptions a refund does not concern.
//!
//! `expand` reaches four levels deep, and the charge of an invoice in a list lies deeper. So the payments come with the list,
//! and the charge costs a call of its own: one for each subscription whose newest invoice was paid with money.

use counterfoil_core::facts::Money;
use counterfoil_core::{ExternalCustomerId, IdempotencyKey};
use serde_json::Value;

use super::client::Client;
use super::error::unreadable;
use super::facts::resource;
use super::form::Form;
use super::{json, list};
use crate::providers::{PaymentRef, ProviderError};

/// Payments that are followed for one invoice. More than one is rare: somebody paid a part by other means.
const PAYMENTS_MAX: usize = 5;

/// The payment that an object names, as `payment_intents/…` or `charges/…`: the path under which it is found.
pub(super) fn payment_ref(object: &Value) -> Option<PaymentRef> {
    let intent = json::reference(object, &["payment_intent"]).map(|id| format!("payment_intents/{id}"));
    intent.or_else(|| Some(format!("charges/{}", json::reference(object, &["charge"])?))).map(PaymentRef::new)
}

/// The payments that paid this invoice. It has none where nothing had to be paid. Before basil the invoice named its only one.
pub(super) fn payments_of(invoice: &Value) -> Vec<PaymentRef> {
    let took_money = |payment: &&Value| json::text(payment, &["status"]).is_none_or(|status| status == "paid");
    let listed = json::list(invoice, &["payments"]).iter().filter(took_money);
    let mut payments: Vec<PaymentRef> =
        listed.filter_map(|payment| payment_ref(json::at(payment, &["payment"])?)).take(PAYMENTS_MAX).collect();
    if json::at(invoice, &["payments"]).is_none() {
        payments.extend(payment_ref(invoice));
    }
    payments
}

/// What became of an invoice's money. One payment that was lost loses the period; refunds lose it once they are of all payments.
pub(super) async fn of_invoice(client: &Client, payments: &[PaymentRef]) -> Result<Money, ProviderError> {
    let mut each = Vec::new();
    for payment in payments {
        each.push(of_payment(client, payment).await?);
    }
    let any = |money| each.contains(&money);
    Ok(if any(Money::DisputeLost) {
        Money::DisputeLost
    } else if !each.is_empty() && each.iter().all(|money| *money == Money::Refunded) {
        Money::Refunded
    } else if any(Money::Disputed) {
        Money::Disputed
    } else if any(Money::Refunded) || any(Money::PartlyRefunded) {
        Money::PartlyRefunded
    } else {
        Money::Kept
    })
}

/// Whose payment it is; `None` where Stripe knows none or it names nobody.
pub(super) async fn customer_of(
    client: &Client,
    payment: &PaymentRef,
) -> Result<Option<ExternalCustomerId>, ProviderError> {
    match client.get(&path(payment)?, &Form::new()).await {
        Ok(found) => Ok(json::reference(&found.body, &["customer"]).map(ExternalCustomerId::new)),
        Err(ProviderError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives all that is left of a payment back. Stripe gives no payment back twice, whatever the key.
pub(super) async fn give_back(
    client: &Client,
    key: &IdempotencyKey,
    payment: &PaymentRef,
) -> Result<(), ProviderError> {
    let (name, id) = match payment.as_str().split_once('/') {
        Some(("charges", id)) => ("charge", id),
        Some((_, id)) => ("payment_intent", id),
        None => ("payment_intent", payment.as_str()),
    };
    let form = Form::new().field(name, id).field("reason", "duplicate");
    match client.post("/v1/refunds", key, form.as_str()).await {
        Ok(_) => Ok(()),
        Err(ProviderError::Rejected { code: Some(code), .. }) if code == "charge_already_refunded" => Ok(()),
        Err(error) => Err(error),
    }
}

async fn of_payment(client: &Client, payment: &PaymentRef) -> Result<Money, ProviderError> {
    let expanded = Form::new().field("expand[]", "latest_charge");
    let query = if payment.as_str().starts_with("payment_intents/") { expanded } else { Form::new() };
    let found = client.get(&path(payment)?, &query).await?;
    let charge = json::at(&found.body, &["latest_charge"]).unwrap_or(&found.body);
    let Some(id) = json::text(charge, &["id"]).filter(|_| charge.is_object()) else {
        return Err(unreadable("a payment without its charge", found.request_id));
    };
    if json::flag(charge, &["disputed"]) {
        let disputes = list::all(client, "/v1/disputes", &Form::new().field("charge", id)).await?;
        if let Some(money) = of_disputes(&disputes) {
            return Ok(money);
        }
    }
    let part = json::integer(charge, &["amount_refunded"]).is_some_and(|amount| amount > 0);
    Ok(match (json::flag(charge, &["refunded"]), part) {
        (true, _) => Money::Refunded,
        (false, true) => Money::PartlyRefunded,
        (false, false) => Money::Kept,
    })
}

/// An inquiry takes no money and is no dispute yet. A word that is not known is an open one: it ends nothing, and is shown.
fn of_disputes(disputes: &[Value]) -> Option<Money> {
    let of_each = |dispute: &Value| match json::text(dispute, &["status"]).unwrap_or_default() {
        "lost" => Some(Money::DisputeLost),
        "won" | "prevented" | "warning_needs_response" | "warning_under_review" | "warning_closed" => None,
        _ => Some(Money::Disputed),
    };
    let each: Vec<Money> = disputes.iter().filter_map(of_each).collect();
    each.iter().find(|money| money.is_gone()).or(each.first()).copied()
}

fn path(payment: &PaymentRef) -> Result<String, ProviderError> {
    let (collection, id) = payment.as_str().split_once('/').unwrap_or(("payment_intents", payment.as_str()));
    resource(&format!("/v1/{collection}"), id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn payments_are_found_in_old_and_new_places() {
        let of = |invoice: Value| payments_of(&invoice).iter().map(|each| each.as_str().to_owned()).collect::<Vec<_>>();
        let intent = json!({"status": "paid", "payment": {"type": "payment_intent", "payment_intent": "pi_1"}});
        let charge = json!({"status": "paid", "payment": {"type": "charge", "charge": {"id": "ch_1"}}});
        let open = json!({"status": "open", "payment": {"type": "payment_intent", "payment_intent": "pi_2"}});
        assert_eq!(of(json!({"payments": {"data": [intent, open, charge]}})), ["payment_intents/pi_1", "charges/ch_1"]);
        assert_eq!(of(json!({"payments": {"data": []}, "charge": "ch_9"})), [""; 0], "nothing had to be paid");
        assert_eq!(of(json!({"payment_intent": "pi_1", "charge": "ch_1"})), ["payment_intents/pi_1"]);
        assert_eq!(of(json!({"payment_intent": null, "charge": "ch_1"})), ["charges/ch_1"]);
        assert_eq!(of(json!({"payment_intent": null})), [""; 0]);
    }

    #[test]
    fn of_several_disputes_the_worst_counts() {
        let of = |words: &[&str]| of_disputes(&words.iter().map(|word| json!({"status": word})).collect::<Vec<_>>());
        for closed in ["won", "prevented", "warning_needs_response", "warning_closed"] {
            assert_eq!(of(&[closed]), None, "{closed}");
        }
        for open in ["needs_response", "under_review", "appeal_under_review", "a_new_word"] {
            assert_eq!(of(&["won", open]), Some(Money::Disputed), "{open}");
        }
        assert_eq!(of(&["needs_response", "lost"]), Some(Money::DisputeLost));
        assert_eq!(of(&[]), None);
    }
}
