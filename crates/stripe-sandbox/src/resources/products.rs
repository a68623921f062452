//! Products.

use serde_json::{Value, json};

use super::metadata;
use crate::api::{Call, Route, page};
use crate::context::Context;
use crate::error::ApiError;
use crate::form::Params;
use crate::json;
use crate::store::Kind;

pub(crate) const ROUTES: &[Route] = &[
    Route::post("/v1/products", PARAMS_CREATE, create),
    Route::list("/v1/products", "active ids.# url shippable", list),
    Route::get("/v1/products/{id}", "", retrieve),
    Route::post("/v1/products/{id}", PARAMS_UPDATE, update),
];

const PARAMS_CREATE: &str = "name! id active description images images.# marketing_features.** metadata metadata.* \
    package_dimensions.** shippable statement_descriptor tax_code unit_label url";
const PARAMS_UPDATE: &str = "name active description images images.# marketing_features.** metadata metadata.* \
    package_dimensions.** shippable statement_descriptor tax_code unit_label url default_price";

fn create(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let id = match call.params.filled("id") {
        Some(id) if cx.store.get(Kind::Product, id).is_some() => {
            return Err(ApiError::invalid("Product already exists.").code("resource_already_exists").param("id"));
        }
        Some(id) => id.to_owned(),
        None => cx.ids.short("prod_"),
    };
    create_with_id(cx, &id, &call.params, "")?;
    Ok(json::public(&cx.object(Kind::Product, &id)))
}

/// Makes a product from `{prefix}name` and its neighbours, for `product_data` too.
pub(crate) fn create_with_id(cx: &mut Context, id: &str, params: &Params, prefix: &str) -> Result<(), ApiError> {
    let name = params.required(&format!("{prefix}name"))?;
    let value = json!({
        "id": id,
        "object": "product",
        "active": params.flag(&format!("{prefix}active"))?.unwrap_or(true),
        "created": cx.now,
        "default_price": null,
        "description": params.filled(&format!("{prefix}description")),
        "images": params.texts(&format!("{prefix}images")),
        "livemode": false,
        "marketing_features": [],
        "metadata": metadata::new(params, &format!("{prefix}metadata"))?,
        "name": name,
        "package_dimensions": null,
        "shippable": null,
        "statement_descriptor": params.filled(&format!("{prefix}statement_descriptor")),
        "tax_code": null,
        "unit_label": params.filled(&format!("{prefix}unit_label")),
        "updated": cx.now,
        "url": params.filled(&format!("{prefix}url")),
    });
    cx.create(Kind::Product, id, value);
    cx.emit("product.created", Kind::Product, id);
    Ok(())
}

fn retrieve(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    Ok(json::public(&cx.find(Kind::Product, call.id())?))
}

fn list(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let active = call.params.flag("active")?;
    let ids = call.params.texts("ids");
    page(cx, call, Kind::Product, |value| {
        active.is_none_or(|active| json::flag(value, "active") == active)
            && (ids.is_empty() || ids.iter().any(|id| id == json::text(value, "id")))
    })
}

fn update(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let mut value = cx.find(Kind::Product, call.id())?;
    for field in ["name", "description", "statement_descriptor", "unit_label", "url", "default_price"] {
        if let Some(text) = call.params.text(field) {
            json::set(&mut value, field, Some(text).filter(|text| !text.is_empty()));
        }
    }
    if let Some(active) = call.params.flag("active")? {
        json::set(&mut value, "active", active);
    }
    let merged = metadata::merged(&value["metadata"], &call.params, "metadata")?;
    json::set(&mut value, "metadata", merged);
    json::set(&mut value, "updated", cx.now);
    cx.change(Kind::Product, call.id(), "product.updated", |stored| *stored = value);
    Ok(json::public(&cx.object(Kind::Product, call.id())))
}
