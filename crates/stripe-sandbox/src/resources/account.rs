//! The one account of the sandbox.

use serde_json::{Value, json};

use crate::api::{Call, Route};
use crate::context::Context;
use crate::error::ApiError;

const ID: &str = "acct_1CounterfoilSandbox";

pub(crate) const ROUTES: &[Route] = &[Route::get("/v1/account", "", retrieve)];

fn retrieve(_: &mut Context, _: &Call) -> Result<Value, ApiError> {
    Ok(json!({
        "id": ID,
        "object": "account",
        "business_type": "company",
        "capabilities": { "card_payments": "active", "transfers": "active" },
        "charges_enabled": true,
        "country": "US",
        "created": 1_735_689_600,
        "default_currency": "usd",
        "details_submitted": true,
        "email": "sandbox@example.com",
        "metadata": {},
        "payouts_enabled": true,
        "settings": {
            "bacs_debit_payments": { "display_name": null, "service_user_number": null },
            "branding": { "icon": null, "logo": null, "primary_color": null, "secondary_color": null },
            "card_payments": {
                "statement_descriptor_prefix": null,
                "statement_descriptor_prefix_kana": null,
                "statement_descriptor_prefix_kanji": null,
            },
            "dashboard": { "display_name": "Sandbox", "timezone": "Etc/UTC" },
            "invoices": { "default_account_tax_ids": null, "hosted_payment_method_save": null },
            "payments": {
                "statement_descriptor": null,
                "statement_descriptor_kana": null,
                "statement_descriptor_kanji": null,
            },
            "sepa_debit_payments": {},
        },
        "type": "standard",
    }))
}
