//! Prices.

use serde_json::{Value, json};

use super::{metadata, products};
use crate::api::{Call, Route, page};
use crate::context::Context;
use crate::error::ApiError;
use crate::form::Params;
use crate::json;
use crate::store::Kind;

const LOOKUP_KEYS_MAX: usize = 10;

pub(crate) const ROUTES: &[Route] = &[
    Route::post(
        "/v1/prices",
        "currency! active billing_scheme lookup_key metadata metadata.* nickname product product_data.name \
         product_data.active product_data.metadata.* product_data.statement_descriptor product_data.unit_label \
         product_data.tax_code recurring.interval recurring.interval_count recurring.usage_type tax_behavior \
         transfer_lookup_key unit_amount unit_amount_decimal",
        create,
    ),
    Route::list(
        "/v1/prices",
        "active currency lookup_keys.# product recurring.interval recurring.usage_type type",
        list,
    ),
    Route::get("/v1/prices/{id}", "", retrieve),
    Route::post(
        "/v1/prices/{id}",
        "active lookup_key metadata metadata.* nickname tax_behavior transfer_lookup_key",
        update,
    ),
];

fn create(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let params = &call.params;
    let product = match params.filled("product") {
        Some(id) => {
            cx.reference(Kind::Product, id, "product")?;
            id.to_owned()
        }
        None if params.has("product_data") => {
            let id = cx.ids.short("prod_");
            products::create_with_id(cx, &id, params, "product_data.")?;
            id
        }
        None => return Err(ApiError::missing("product")),
    };
    let id = cx.ids.long("price_");
    let mut value = read(cx, &id, params, "", &product)?;
    if let Some(key) = params.filled("lookup_key") {
        free_lookup_key(cx, key, params.flag("transfer_lookup_key")?.unwrap_or_default())?;
        json::set(&mut value, "lookup_key", key);
    }
    json::set(&mut value, "active", params.flag("active")?.unwrap_or(true));
    json::set(&mut value, "metadata", metadata::new(params, "metadata")?);
    json::set(&mut value, "nickname", params.filled("nickname"));
    cx.create(Kind::Price, &id, value);
    cx.emit("price.created", Kind::Price, &id);
    Ok(json::public(&cx.object(Kind::Price, &id)))
}

/// A price from `{prefix}currency`, `{prefix}unit_amount` and `{prefix}recurring`; for `price_data` too.
pub(crate) fn read(cx: &Context, id: &str, params: &Params, prefix: &str, product: &str) -> Result<Value, ApiError> {
    let name = |field: &str| format!("{prefix}{field}");
    let currency = params.required(&name("currency"))?.to_lowercase();
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(ApiError::invalid(format!("Invalid currency: {currency}.")).param(&name("currency")));
    }
    let amount = match (params.int(&name("unit_amount"))?, params.filled(&name("unit_amount_decimal"))) {
        (Some(amount), _) => amount,
        (None, Some(decimal)) => decimal.parse().map_err(|_| {
            ApiError::invalid("The sandbox takes whole amounts only.").param(&name("unit_amount_decimal"))
        })?,
        (None, None) => return Err(ApiError::missing(&name("unit_amount"))),
    };
    if amount < 0 {
        let path = name("unit_amount");
        return Err(ApiError::invalid("This value must be greater than or equal to 0.").param(&path));
    }
    let interval = params.one_of(&name("recurring.interval"), &["day", "week", "month", "year"])?;
    if interval.is_none() && params.has(&name("recurring")) {
        return Err(ApiError::missing(&name("recurring.interval")));
    }
    let count = params.int(&name("recurring.interval_count"))?.unwrap_or(1);
    Ok(render(cx.now, id, product, &currency, amount, interval.map(|interval| (interval, count))))
}

pub(crate) fn render(
    now: i64,
    id: &str,
    product: &str,
    currency: &str,
    amount: i64,
    recurring: Option<(&str, i64)>,
) -> Value {
    let recurring_value = recurring.map(|(interval, count)| {
        json!({
            "interval": interval, "interval_count": count, "meter": null,
            "usage_type": "licensed",
        })
    });
    json!({
        "id": id,
        "object": "price",
        "active": true,
        "billing_scheme": "per_unit",
        "created": now,
        "currency": currency,
        "custom_unit_amount": null,
        "livemode": false,
        "lookup_key": null,
        "metadata": {},
        "nickname": null,
        "product": product,
        "recurring": recurring_value,
        "tax_behavior": "unspecified",
        "tiers_mode": null,
        "transform_quantity": null,
        "type": if recurring.is_some() { "recurring" } else { "one_time" },
        "unit_amount": amount,
        "unit_amount_decimal": amount.to_string(),
    })
}

fn free_lookup_key(cx: &mut Context, key: &str, transfer: bool) -> Result<(), ApiError> {
    let holder = cx.store.newest_first(Kind::Price).find(|(_, price)| json::text(price, "lookup_key") == key);
    let Some(holder) = holder.map(|(id, _)| id.to_owned()) else { return Ok(()) };
    if !transfer {
        let message =
            format!("A price (`{holder}`) already uses that lookup key. Use `transfer_lookup_key=true` to move it.");
        return Err(ApiError::invalid(message).code("resource_already_exists").param("lookup_key"));
    }
    cx.change(Kind::Price, &holder, "price.updated", |price| json::set(price, "lookup_key", Value::Null));
    Ok(())
}

fn list(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let params = &call.params;
    let keys = params.texts("lookup_keys");
    if keys.len() > LOOKUP_KEYS_MAX {
        let message = format!("You may only specify up to {LOOKUP_KEYS_MAX} lookup keys.");
        return Err(ApiError::invalid(message).param("lookup_keys"));
    }
    let active = params.flag("active")?;
    let filters = [("currency", "currency"), ("product", "product"), ("recurring.interval", "recurring.interval")];
    page(cx, call, Kind::Price, |price| {
        active.is_none_or(|active| json::flag(price, "active") == active)
            && (keys.is_empty() || keys.iter().any(|key| key == json::text(price, "lookup_key")))
            && filters
                .iter()
                .all(|(param, path)| params.filled(param).is_none_or(|want| json::text(price, path) == want))
            && params.filled("type").is_none_or(|want| json::text(price, "type") == want)
    })
}

fn retrieve(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    Ok(json::public(&cx.find(Kind::Price, call.id())?))
}

fn update(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let mut value = cx.find(Kind::Price, call.id())?;
    if let Some(active) = call.params.flag("active")? {
        json::set(&mut value, "active", active);
    }
    if let Some(nickname) = call.params.text("nickname") {
        json::set(&mut value, "nickname", Some(nickname).filter(|text| !text.is_empty()));
    }
    if let Some(key) = call.params.filled("lookup_key").filter(|key| *key != json::text(&value, "lookup_key")) {
        free_lookup_key(cx, key, call.params.flag("transfer_lookup_key")?.unwrap_or_default())?;
        json::set(&mut value, "lookup_key", key);
    }
    let merged = metadata::merged(&value["metadata"], &call.params, "metadata")?;
    json::set(&mut value, "metadata", merged);
    cx.change(Kind::Price, call.id(), "price.updated", |stored| *stored = value);
    Ok(json::public(&cx.object(Kind::Price, call.id())))
}
