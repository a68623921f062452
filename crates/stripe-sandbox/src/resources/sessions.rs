//! Checkout sessions: rendered, created, listed, expired. Paying them is in `fulfilment`.

use serde_json::{Value, json};

use super::session_rules::{self, Line};
use super::{metadata, payment_intents};
use crate::api::{Call, Route, page, page_of};
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::store::Kind;

pub(crate) const ROUTES: &[Route] = &[
    Route::post(
        "/v1/checkout/sessions",
        "mode! allow_promotion_codes automatic_tax.enabled billing_address_collection cancel_url client_reference_id \
         currency customer customer_creation customer_email customer_update.address customer_update.name \
         customer_update.shipping expires_at line_items.#.price line_items.#.quantity \
         line_items.#.price_data.currency line_items.#.price_data.product line_items.#.price_data.unit_amount \
         line_items.#.price_data.unit_amount_decimal line_items.#.price_data.product_data.name \
         line_items.#.price_data.product_data.description line_items.#.price_data.product_data.metadata.* \
         line_items.#.price_data.recurring.interval line_items.#.price_data.recurring.interval_count locale \
         metadata metadata.* payment_intent_data.description payment_intent_data.metadata.* \
         payment_intent_data.setup_future_usage payment_intent_data.shipping.** payment_method_collection \
         payment_method_types.# phone_number_collection.enabled saved_payment_method_options.** submit_type \
         subscription_data.description subscription_data.metadata.* subscription_data.trial_end \
         subscription_data.trial_period_days \
         subscription_data.trial_settings.end_behavior.missing_payment_method subscription_data.billing_mode.** \
         success_url tax_id_collection.enabled tax_id_collection.required ui_mode integration_identifier \
         origin_context",
        create,
    ),
    Route::list("/v1/checkout/sessions", "customer payment_intent status subscription customer_details.email", list),
    Route::get("/v1/checkout/sessions/{id}", "", retrieve),
    Route::post("/v1/checkout/sessions/{id}", "metadata metadata.*", update),
    Route::post("/v1/checkout/sessions/{id}/expire", "", expire_call),
    Route::get("/v1/checkout/sessions/{id}/line_items", "limit starting_after ending_before", line_items),
];

fn create(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let params = &call.params;
    let request = session_rules::read(cx, params)?;
    let id = cx.ids.with_length("cs_test_", 58);
    let lines: Vec<Value> = request.lines.iter().map(|line| render_line(cx, line)).collect();
    let due_now = |line: &&Line| request.trial_end.is_none() || line.price["recurring"].is_null();
    let total: i64 = request.lines.iter().filter(due_now).map(Line::amount).sum();
    let subscription_mode = request.mode == "subscription";
    let email = request.customer.as_ref().and_then(|customer| json::opt_text(customer, "email"));
    let email = email.or(params.filled("customer_email"));
    let details = email.map(|email| customer_details(Some(email), None));
    let mut value = json!({
        "id": id,
        "object": "checkout.session",
        "allow_promotion_codes": params.flag("allow_promotion_codes")?,
        "amount_subtotal": total,
        "amount_total": total,
        "automatic_tax": {
            "enabled": params.flag("automatic_tax.enabled")?.unwrap_or_default(),
            "liability": null, "provider": null, "status": null,
        },
        "billing_address_collection": params.one_of("billing_address_collection", &["auto", "required"])?,
        "cancel_url": params.filled("cancel_url"),
        "client_reference_id": params.filled("client_reference_id"),
        "created": cx.now,
        "currency": request.currency,
        "customer": request.customer.as_ref().map(|customer| customer["id"].clone()),
        "customer_creation": customer_creation(&request, params.filled("customer_creation")),
        "customer_details": details,
        "customer_email": params.filled("customer_email"),
        "expires_at": request.expires_at,
        "locale": params.filled("locale"),
        "metadata": metadata::new(params, "metadata")?,
        "mode": request.mode,
        "payment_method_collection": subscription_mode.then(|| {
            params.filled("payment_method_collection").unwrap_or("always").to_owned()
        }),
        "payment_status": if total == 0 { "no_payment_required" } else { "unpaid" },
        "success_url": request.success_url,
        "tax_id_collection": {
            "enabled": params.flag("tax_id_collection.enabled")?.unwrap_or_default(),
            "required": params.one_of("tax_id_collection.required", &["if_supported", "never"])?.unwrap_or("never"),
        },
        "url": format!("{}/c/pay/{id}", cx.public_url),
        "_line_items": lines,
        "_payment_intent_data": {
            "description": params.filled("payment_intent_data.description"),
            "metadata": metadata::new(params, "payment_intent_data.metadata")?,
            "saves_card": params.has("payment_intent_data.setup_future_usage"),
            "shipping": payment_intents::shipping(params, "payment_intent_data.shipping"),
        },
        "_subscription_data": {
            "description": params.filled("subscription_data.description"),
            "metadata": metadata::new(params, "subscription_data.metadata")?,
            "missing_payment_method": request.missing_card,
            "trial_end": request.trial_end,
            "trial_days": params.int("subscription_data.trial_period_days")?,
        },
    });
    value.as_object_mut().expect("rendered as an object").extend(constant_fields());
    cx.create(Kind::Session, &id, value);
    Ok(json::public(&cx.object(Kind::Session, &id)))
}

fn customer_creation(request: &session_rules::Request, given: Option<&str>) -> Option<String> {
    if request.customer.is_some() {
        return None;
    }
    let default = if request.mode == "subscription" { "always" } else { "if_required" };
    Some(given.unwrap_or(default).to_owned())
}

/// What every session of the sandbox has alike.
fn constant_fields() -> serde_json::Map<String, Value> {
    let fields = json!({
        "adaptive_pricing": null,
        "after_expiration": null,
        "branding_settings": {
            "background_color": "#ffffff", "border_style": "rounded", "button_color": "#0074d4",
            "display_name": "Sandbox", "font_family": "default", "icon": null, "logo": null,
        },
        "client_secret": null,
        "collected_information": null,
        "consent": null,
        "consent_collection": null,
        "currency_conversion": null,
        "custom_fields": [],
        "custom_text": {
            "after_submit": null, "shipping_address": null, "submit": null, "terms_of_service_acceptance": null,
        },
        "customer_account": null,
        "discounts": [],
        "invoice": null,
        "invoice_creation": null,
        "livemode": false,
        "origin_context": null,
        "payment_intent": null,
        "payment_link": null,
        "payment_method_configuration_details": null,
        "payment_method_options": { "card": { "request_three_d_secure": "automatic" } },
        "payment_method_types": ["card"],
        "permissions": null,
        "phone_number_collection": { "enabled": false },
        "recovered_from": null,
        "saved_payment_method_options": null,
        "setup_intent": null,
        "shipping_address_collection": null,
        "shipping_cost": null,
        "shipping_options": [],
        "status": "open",
        "submit_type": null,
        "subscription": null,
        "total_details": { "amount_discount": 0, "amount_shipping": 0, "amount_tax": 0 },
        "ui_mode": "hosted_page",
        "wallet_options": null,
    });
    fields.as_object().cloned().unwrap_or_default()
}

fn render_line(cx: &Context, line: &Line) -> Value {
    let amount = line.amount();
    json!({
        "id": cx.ids.long("li_"),
        "object": "item",
        "adjustable_quantity": null,
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": line.price["currency"],
        "description": crate::billing::lines::product_name(cx, json::text(&line.price, "product")),
        "metadata": {},
        "price": json::public(&line.price),
        "quantity": line.quantity,
    })
}

pub(crate) fn customer_details(email: Option<&str>, name: Option<&str>) -> Value {
    json!({
        "address": null, "business_name": null, "email": email, "individual_name": null, "name": name, "phone": null,
        "tax_exempt": "none", "tax_ids": [],
    })
}

fn list(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    call.params.one_of("status", &["complete", "expired", "open"])?;
    let wanted = ["customer", "payment_intent", "status", "subscription", "customer_details.email"];
    page(cx, call, Kind::Session, |value| {
        wanted.iter().all(|path| call.params.filled(path).is_none_or(|want| json::text(value, path) == want))
    })
}

fn retrieve(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    Ok(json::public(&cx.find(Kind::Session, call.id())?))
}

fn update(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let value = cx.find(Kind::Session, call.id())?;
    let merged = metadata::merged(&value["metadata"], &call.params, "metadata")?;
    cx.edit(Kind::Session, call.id(), |value| json::set(value, "metadata", merged));
    retrieve(cx, call)
}

fn expire_call(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let value = cx.find(Kind::Session, call.id())?;
    let status = json::text(&value, "status");
    if status != "open" {
        return Err(ApiError::invalid(format!(
            "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of \
             `{status}`."
        )));
    }
    expire(cx, call.id());
    retrieve(cx, call)
}

pub(crate) fn expire(cx: &mut Context, id: &str) {
    cx.edit(Kind::Session, id, |value| {
        json::set(value, "status", "expired");
        json::set(value, "url", Value::Null);
    });
    let intent = json::opt_text(&cx.object(Kind::Session, id), "_payment_intent").map(str::to_owned);
    if let Some(intent) = intent {
        crate::billing::payments::cancel(cx, &intent, Some("expired"));
    }
    cx.emit("checkout.session.expired", Kind::Session, id);
}

fn line_items(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let value = cx.find(Kind::Session, call.id())?;
    page_of(&call.params, json::items(&value, "_line_items").to_vec(), &call.path)
}
