//! Stripe's customers and checkout sessions, and the bytes from which they are made.

use counterfoil_core::facts::SessionStatus;
use counterfoil_core::link::Candidate;
use counterfoil_core::{ExternalCustomerId, ExternalSessionId, Timestamp};
use serde_json::Value;

use super::config::{BillingAddress, CheckoutOptions};
use super::form::Form;
use super::json;
use crate::providers::{CheckoutSession, NewCheckout, NewCustomer};

/// `metadata.app`, by which objects of other programs on the same account are told apart.
const APP: &str = "counterfoil";

pub(super) fn customer_form(new: &NewCustomer<'_>) -> Form {
    Form::new()
        .field("email", new.email)
        .optional("name", new.name)
        .field("metadata[customer_id]", new.customer_id.as_str())
        .field("metadata[app]", APP)
        .field("metadata[instance]", new.instance.as_str())
}

/// An empty text takes a value away.
pub(super) fn update_form(email: &str, name: Option<&str>) -> Form {
    Form::new().field("email", email).field("name", name.unwrap_or_default())
}

/// Metadata stands on the session and on the subscription, because Stripe copies it from neither to the other. `ui_mode` and
/// `payment_method_types` are left out: the values of one API version are refused by another.
pub(super) fn checkout_form(new: &NewCheckout<'_>, options: &CheckoutOptions) -> Form {
    let form = Form::new()
        .field("mode", "subscription")
        .field("customer", new.external_customer.as_str())
        .field("client_reference_id", new.customer_id.as_str())
        .field("line_items[0][price]", new.price.as_str())
        .integer("line_items[0][quantity]", 1)
        .field("success_url", new.success_url)
        .field("cancel_url", new.cancel_url)
        .field("metadata[customer_id]", new.customer_id.as_str())
        .field("metadata[plan]", new.plan.as_str())
        .field("metadata[instance]", new.instance.as_str())
        .field("metadata[app]", APP)
        .field("metadata[attempt_id]", new.attempt_id.as_str())
        .field("subscription_data[metadata][customer_id]", new.customer_id.as_str())
        .field("subscription_data[metadata][plan]", new.plan.as_str())
        .field("subscription_data[metadata][instance]", new.instance.as_str())
        .field("subscription_data[metadata][app]", APP);
    with_options(with_trial(form, new.trial_ends_at), options)
}

/// A card is asked for although nothing is due yet; where it goes missing, the trial's end is the end.
fn with_trial(form: Form, ends_at: Option<Timestamp>) -> Form {
    let Some(ends_at) = ends_at else { return form };
    form.integer("subscription_data[trial_end]", ends_at.as_unix_seconds())
        .field("subscription_data[trial_settings][end_behavior][missing_payment_method]", "cancel")
        .field("payment_method_collection", "always")
}

/// What is not chosen is not sent, so that an account without these features is not asked for them. Taxes need an address and a
/// name, which the page asks for and keeps with Stripe's customer; they never come back to ours.
fn with_options(mut form: Form, options: &CheckoutOptions) -> Form {
    if options.promotion_codes {
        form = form.field("allow_promotion_codes", "true");
    }
    if options.automatic_tax {
        form = form.field("automatic_tax[enabled]", "true");
    }
    if options.tax_id_collection {
        form = form.field("tax_id_collection[enabled]", "true");
    }
    if options.automatic_tax || options.tax_id_collection {
        form = form.field("customer_update[address]", "auto").field("customer_update[name]", "auto");
    }
    form.optional("billing_address_collection", options.billing_address.map(BillingAddress::as_str))
}

/// A customer, or the stub of a deleted one. `None` where it has no id.
pub(super) fn customer(object: &Value) -> Option<Candidate> {
    Some(Candidate {
        id: ExternalCustomerId::new(json::text(object, &["id"])?),
        // The stub of a deleted customer tells no date; nothing is ever chosen by it.
        created_at: json::instant(object, &["created"]).unwrap_or(Timestamp::from_unix_seconds(0)),
        deleted: json::flag(object, &["deleted"]),
        customer_id: json::text(object, &["metadata", "customer_id"]).map(str::to_owned),
        instance: json::text(object, &["metadata", "instance"]).map(str::to_owned),
    })
}

/// A checkout session. `None` where it has no id.
pub(super) fn checkout(object: &Value) -> Option<CheckoutSession> {
    let status = match json::text(object, &["status"]) {
        Some("complete") => SessionStatus::Complete,
        Some("expired") => SessionStatus::Expired,
        // A word that we do not know ends nothing: the session stays watched until it is one of the two above.
        Some(_) | None => SessionStatus::Open,
    };
    let url = json::long_text(object, &["url"]).filter(|_| status == SessionStatus::Open);
    Some(CheckoutSession {
        id: ExternalSessionId::new(json::text(object, &["id"])?),
        status,
        url: url.map(str::to_owned),
        expires_at: json::instant(object, &["expires_at"]),
    })
}
