//! Webhook endpoints. The secret is told once; the target must be on this machine.

use serde_json::{Value, json};

use super::metadata;
use crate::api::{Call, Route, page};
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::store::Kind;

const ENDPOINTS_MAX: usize = 16;

pub(crate) const ROUTES: &[Route] = &[
    Route::post(
        "/v1/webhook_endpoints",
        "url! api_version connect description enabled_events.# metadata metadata.*",
        create,
    ),
    Route::list("/v1/webhook_endpoints", "", list),
    Route::get("/v1/webhook_endpoints/{id}", "", retrieve),
    Route::post("/v1/webhook_endpoints/{id}", "url description disabled enabled_events.# metadata metadata.*", update),
    Route::delete("/v1/webhook_endpoints/{id}", "", delete),
];

pub(crate) struct New<'a> {
    pub url: &'a str,
    pub secret: &'a str,
    pub events: Vec<String>,
    pub api_version: Option<&'a str>,
    pub description: Option<&'a str>,
    pub metadata: Value,
}

pub(crate) fn add(cx: &mut Context, new: New) -> String {
    let id = cx.ids.long("we_");
    let value = json!({
        "id": id,
        "object": "webhook_endpoint",
        "api_version": new.api_version,
        "application": null,
        "created": cx.now,
        "description": new.description,
        "enabled_events": new.events,
        "livemode": false,
        "metadata": new.metadata,
        "status": "enabled",
        "url": new.url,
        "_secret": new.secret,
    });
    cx.create(Kind::Endpoint, &id, value);
    id
}

/// The sandbox sends nothing off this machine, whatever it is asked to.
pub(crate) fn check_target(url: &str) -> Result<(), ApiError> {
    let refusal = |message: &str| ApiError::invalid(message.to_owned()).code("url_invalid").param("url");
    let parsed = reqwest::Url::parse(url).map_err(|_| refusal("Not a valid URL"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(refusal("Invalid URL: webhooks go to http or https addresses."));
    }
    let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if loopback || host == "localhost" {
        return Ok(());
    }
    Err(refusal("The sandbox sends webhooks only to this machine: use localhost or a loopback address."))
}

fn create(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let params = &call.params;
    let url = params.required("url")?;
    check_target(url)?;
    let events = params.texts("enabled_events");
    if events.is_empty() {
        return Err(ApiError::missing("enabled_events"));
    }
    if cx.store.newest_first(Kind::Endpoint).count() >= ENDPOINTS_MAX {
        return Err(ApiError::invalid(format!("You have reached the maximum of {ENDPOINTS_MAX} webhook endpoints.")));
    }
    let version = params.filled("api_version");
    if let Some(version) = version.filter(|version| !renders(version)) {
        let message = format!("Invalid API version: {version}. The sandbox renders events from 2025-03-31.basil on.");
        return Err(ApiError::invalid(message).param("api_version"));
    }
    let secret = cx.ids.with_length("whsec_", 32);
    let new = New {
        url,
        secret: &secret,
        events,
        api_version: version,
        description: params.filled("description"),
        metadata: metadata::new(params, "metadata")?,
    };
    let id = add(cx, new);
    let mut answer = json::public(&cx.object(Kind::Endpoint, &id));
    json::set(&mut answer, "secret", secret);
    Ok(answer)
}

/// Object shapes broke at basil; the sandbox knows only those since.
fn renders(version: &str) -> bool {
    version.get(..10).is_some_and(|date| date >= "2025-03-31") && version.get(10..11).is_some_and(|dot| dot == ".")
}

fn list(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    page(cx, call, Kind::Endpoint, |_| true)
}

fn retrieve(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    Ok(json::public(&cx.find(Kind::Endpoint, call.id())?))
}

fn update(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let params = &call.params;
    let mut value = cx.find(Kind::Endpoint, call.id())?;
    if let Some(url) = params.filled("url") {
        check_target(url)?;
        json::set(&mut value, "url", url);
    }
    if let Some(disabled) = params.flag("disabled")? {
        json::set(&mut value, "status", if disabled { "disabled" } else { "enabled" });
    }
    if let Some(description) = params.text("description") {
        json::set(&mut value, "description", Some(description).filter(|text| !text.is_empty()));
    }
    if params.has("enabled_events") {
        json::set(&mut value, "enabled_events", params.texts("enabled_events"));
    }
    let merged = metadata::merged(&value["metadata"], params, "metadata")?;
    json::set(&mut value, "metadata", merged);
    cx.store.put(Kind::Endpoint, call.id(), value);
    retrieve(cx, call)
}

fn delete(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    cx.find(Kind::Endpoint, call.id())?;
    cx.store.remove(Kind::Endpoint, call.id());
    Ok(json!({ "id": call.id(), "object": "webhook_endpoint", "deleted": true }))
}
