//! What a sandbox begins with: prices, their products, a webhook endpoint. Running it again changes nothing.

use serde_json::{Value, json};

use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::resources::webhook_endpoints::{self, New};
use crate::resources::{portal, prices};
use crate::sandbox::{SeedPrice, SeedWebhook};
use crate::store::Kind;

const SEEDED: &str = "seeded by the sandbox's configuration";

pub(crate) fn ensure(cx: &mut Context, prices: &[SeedPrice], webhook: Option<&SeedWebhook>) -> Result<(), ApiError> {
    portal::ensure_default_configuration(cx);
    for price in prices {
        ensure_price(cx, price)?;
    }
    webhook.map_or(Ok(()), |webhook| ensure_webhook(cx, webhook))
}

fn ensure_price(cx: &mut Context, seed: &SeedPrice) -> Result<(), ApiError> {
    if !matches!(seed.interval.as_str(), "day" | "week" | "month" | "year") || seed.amount < 0 {
        let message = format!("price {} needs an interval of month or year and a positive amount", seed.price_id);
        return Err(ApiError::invalid(message));
    }
    let product = format!("prod_{}", seed.product_key.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
    ensure_product(cx, &product, seed);
    let currency = seed.currency.to_lowercase();
    let recurring = Some((seed.interval.as_str(), 1));
    let new = prices::render(cx.now, &seed.price_id, &product, &currency, seed.amount, recurring);
    let same = |old: &Value| {
        ["currency", "unit_amount", "recurring", "product"].iter().all(|field| old.get(field) == new.get(field))
    };
    // A price changed in the configuration is changed here too; subscriptions keep the copy that they began with.
    if !cx.store.get(Kind::Price, &seed.price_id).is_some_and(same) {
        cx.create(Kind::Price, &seed.price_id, new);
    }
    Ok(())
}

fn ensure_product(cx: &mut Context, id: &str, seed: &SeedPrice) {
    let current = cx.object(Kind::Product, id);
    let description = Some(seed.description.as_str()).filter(|text| !text.is_empty());
    if current["name"] == json!(seed.product_name) && current["description"] == json!(description) {
        return;
    }
    let value = json!({
        "id": id,
        "object": "product",
        "active": true,
        "created": json::opt_int(&current, "created").unwrap_or(cx.now),
        "default_price": null,
        "description": description,
        "images": [],
        "livemode": false,
        "marketing_features": [],
        "metadata": {},
        "name": seed.product_name,
        "package_dimensions": null,
        "shippable": null,
        "statement_descriptor": null,
        "tax_code": null,
        "unit_label": null,
        "updated": cx.now,
        "url": null,
    });
    cx.create(Kind::Product, id, value);
}

/// The endpoint keeps its id, so that deliveries of an earlier run reach the new address.
fn ensure_webhook(cx: &mut Context, webhook: &SeedWebhook) -> Result<(), ApiError> {
    webhook_endpoints::check_target(&webhook.url)?;
    if webhook.secret.trim().is_empty() {
        return Err(ApiError::invalid("the webhook secret is empty"));
    }
    let seeded = cx
        .store
        .oldest_first(Kind::Endpoint)
        .find(|(_, endpoint)| json::text(endpoint, "description") == SEEDED)
        .map(|(id, endpoint)| (id.to_owned(), endpoint.clone()));
    let Some((id, endpoint)) = seeded else {
        webhook_endpoints::add(
            cx,
            New {
                url: &webhook.url,
                secret: &webhook.secret,
                events: vec!["*".into()],
                api_version: Some(crate::API_VERSION),
                description: Some(SEEDED),
                metadata: json!({}),
            },
        );
        return Ok(());
    };
    if json::text(&endpoint, "url") != webhook.url || json::text(&endpoint, "_secret") != webhook.secret {
        cx.edit(Kind::Endpoint, &id, |value| {
            json::set(value, "url", webhook.url.as_str());
            json::set(value, "_secret", webhook.secret.as_str());
        });
    }
    Ok(())
}
