//! Stripe's objects as templates, rendered once, with places for a customer's tail.

use serde_json::{Value, json};

use crate::people::{TAIL, Template};

/// The price that everybody has paid: one of the plans that the server has without a configuration.
const PRICE: &str = "price_pro_monthly";
const AMOUNT: i64 = 4900;

/// What was paid for.
const PERIOD_SECONDS: i64 = 30 * 86_400;

pub const ACCOUNT: &str = r#"{"id":"acct_bench","object":"account"}"#;
pub const NOTHING: &str = r#"{"object":"list","data":[],"has_more":false}"#;
pub const UNKNOWN: &str = r#"{"error":{"type":"invalid_request_error","code":"resource_missing","message":"The benchmark's stub has no such thing."}}"#;

/// All templates.
pub struct Shapes {
    pub subscriptions: Template,
    pub payment: Template,
    pub paying_customer: Template,
    pub idle_customer: Template,
    pub open_session: Template,
    pub expired_session: Template,
}

impl Shapes {
    /// For periods that begin at `now`, in Unix seconds.
    pub fn new(now: i64) -> Self {
        let mut subscription = subscription(now, None);
        subscription["latest_invoice"] = invoice(now);
        Self {
            subscriptions: template(&json!({
                "object": "list", "data": [subscription], "has_more": false, "url": "/v1/subscriptions",
            })),
            payment: template(&payment(now)),
            paying_customer: template(&customer("cus_p", now)),
            idle_customer: template(&customer("cus_n", now)),
            open_session: template(&session("open", now)),
            expired_session: template(&session("expired", now)),
        }
    }
}

fn template(value: &Value) -> Template {
    Template::new(&value.to_string())
}

fn id(prefix: &str) -> String {
    format!("{prefix}{TAIL}")
}

fn metadata(instance: Option<&str>) -> Value {
    let mut metadata =
        json!({ "app": "counterfoil", "customer_id": format!("cust_{TAIL}{TAIL}"), "plan": "professional" });
    if let Some(instance) = instance {
        metadata["instance"] = json!(instance);
    }
    metadata
}

fn price(now: i64) -> Value {
    json!({
        "id": PRICE, "object": "price", "active": true, "billing_scheme": "per_unit", "created": now, "currency": "usd",
        "custom_unit_amount": null, "livemode": false, "lookup_key": null, "metadata": {}, "nickname": null,
        "product": "prod_professional",
        "recurring": { "interval": "month", "interval_count": 1, "meter": null, "trial_period_days": null, "usage_type": "licensed" },
        "tax_behavior": "unspecified", "tiers_mode": null, "transform_quantity": null, "type": "recurring",
        "unit_amount": AMOUNT, "unit_amount_decimal": AMOUNT.to_string(),
    })
}

/// A subscription that is paid to the end of its first period.
pub fn subscription(now: i64, instance: Option<&str>) -> Value {
    json!({
        "id": id("sub_"), "object": "subscription", "application": null, "application_fee_percent": null,
        "automatic_tax": { "disabled_reason": null, "enabled": false, "liability": null },
        "billing_cycle_anchor": now, "billing_cycle_anchor_config": null,
        "billing_mode": { "flexible": { "proration_discounts": "included" }, "type": "flexible" },
        "billing_schedules": [], "billing_thresholds": null, "cancel_at": null, "cancel_at_period_end": false, "canceled_at": null,
        "cancellation_details": { "comment": null, "feedback": null, "reason": null },
        "collection_method": "charge_automatically", "created": now, "currency": "usd", "customer": id("cus_p"),
        "customer_account": null, "days_until_due": null, "default_payment_method": id("pm_"), "default_source": null,
        "default_tax_rates": [], "description": null, "discounts": [], "ended_at": null,
        "invoice_settings": { "account_tax_ids": null, "issuer": { "type": "self" } },
        "items": { "object": "list", "has_more": false, "total_count": 1, "url": "/v1/subscription_items", "data": [{
            "id": id("si_"), "object": "subscription_item", "billing_thresholds": null, "created": now,
            "current_period_end": now + PERIOD_SECONDS, "current_period_start": now, "discounts": [], "metadata": {},
            "price": price(now), "quantity": 1, "subscription": id("sub_"), "tax_rates": [],
        }] },
        "latest_invoice": id("in_"), "livemode": false, "metadata": metadata(instance),
        "next_pending_invoice_item_invoice": null, "on_behalf_of": null, "pause_collection": null,
        "payment_settings": { "payment_method_options": null, "payment_method_types": null, "save_default_payment_method": "off" },
        "pending_invoice_item_interval": null, "pending_setup_intent": null, "pending_update": null, "schedule": null,
        "start_date": now, "status": "active", "test_clock": null, "transfer_data": null, "trial_end": null,
        "trial_settings": { "end_behavior": { "missing_payment_method": "create_invoice" } }, "trial_start": null,
    })
}

/// The invoice that paid it, with its payment, as `expand[]=data.latest_invoice.payments` brings it.
fn invoice(now: i64) -> Value {
    json!({
        "id": id("in_"), "object": "invoice", "amount_due": AMOUNT, "amount_paid": AMOUNT, "amount_remaining": 0,
        "attempt_count": 1, "attempted": true, "auto_advance": false, "billing_reason": "subscription_create",
        "collection_method": "charge_automatically", "created": now, "currency": "usd", "customer": id("cus_p"),
        "customer_email": format!("c{TAIL}@bench.example"), "discounts": [], "livemode": false, "metadata": {}, "number": "BENCH-0001",
        "lines": { "object": "list", "has_more": false, "total_count": 1, "url": "/v1/invoices/lines", "data": [{
            "id": id("il_"), "object": "line_item", "amount": AMOUNT, "currency": "usd", "description": "1 × Professional",
            "discountable": true, "discounts": [], "invoice": id("in_"), "livemode": false, "metadata": metadata(None),
            "parent": { "invoice_item_details": null, "type": "subscription_item_details", "subscription_item_details": {
                "invoice_item": null, "proration": false, "proration_details": { "credited_items": null },
                "subscription": id("sub_"), "subscription_item": id("si_"),
            } },
            "period": { "start": now, "end": now + PERIOD_SECONDS },
            "pricing": { "price_details": { "price": PRICE, "product": "prod_professional" }, "type": "price_details",
                "unit_amount_decimal": AMOUNT.to_string() },
            "quantity": 1, "subtotal": AMOUNT, "taxes": [],
        }] },
        "parent": { "quote_details": null, "type": "subscription_details",
            "subscription_details": { "metadata": metadata(None), "subscription": id("sub_") } },
        "payments": { "object": "list", "has_more": false, "url": "/v1/invoice_payments", "data": [{
            "id": id("inpay_"), "object": "invoice_payment", "amount_paid": AMOUNT, "amount_requested": AMOUNT, "created": now,
            "currency": "usd", "invoice": id("in_"), "is_default": true, "livemode": false,
            "payment": { "payment_intent": id("pi_"), "type": "payment_intent" }, "status": "paid",
        }] },
        "period_end": now, "period_start": now, "status": "paid",
        "status_transitions": { "finalized_at": now, "marked_uncollectible_at": null, "paid_at": now, "voided_at": null },
        "subtotal": AMOUNT, "total": AMOUNT,
    })
}

/// A payment with its charge, none of which went back.
fn payment(now: i64) -> Value {
    json!({
        "id": id("pi_"), "object": "payment_intent", "amount": AMOUNT, "amount_received": AMOUNT, "created": now, "currency": "usd",
        "customer": id("cus_p"), "livemode": false, "metadata": {}, "status": "succeeded",
        "latest_charge": {
            "id": id("ch_"), "object": "charge", "amount": AMOUNT, "amount_captured": AMOUNT, "amount_refunded": 0, "captured": true,
            "created": now, "currency": "usd", "customer": id("cus_p"), "disputed": false, "livemode": false, "metadata": {},
            "paid": true, "payment_intent": id("pi_"), "refunded": false, "status": "succeeded",
        },
    })
}

fn customer(prefix: &str, now: i64) -> Value {
    json!({
        "id": id(prefix), "object": "customer", "address": null, "balance": 0, "created": now, "currency": null,
        "default_source": null, "delinquent": false, "description": null, "email": format!("c{TAIL}@bench.example"),
        "invoice_prefix": "BENCH", "livemode": false, "metadata": metadata(None), "name": null, "phone": null, "shipping": null,
    })
}

fn session(status: &str, now: i64) -> Value {
    let url = (status == "open").then(|| format!("https://checkout.stripe.com/c/pay/cs_test_{TAIL}"));
    json!({
        "id": id("cs_test_"), "object": "checkout.session", "created": now, "currency": "usd", "expires_at": now + 86_400,
        "livemode": false, "metadata": {}, "mode": "subscription", "payment_status": "unpaid", "status": status, "subscription": null,
        "url": url,
    })
}
