//! The billing portal: configurations, and sessions whose pages are in `pages::portal`.

use serde_json::{Value, json};

use super::metadata;
use super::session_rules::is_web_url;
use crate::api::{Call, Route, page};
use crate::clock::HOUR;
use crate::context::Context;
use crate::error::ApiError;
use crate::form::Params;
use crate::json;
use crate::store::Kind;

const SESSION_SECONDS: i64 = HOUR;
const CONFIGURATION_FIELDS: &str = "active business_profile.headline business_profile.privacy_policy_url \
    business_profile.terms_of_service_url default_return_url features.** login_page.enabled metadata metadata.* name";

pub(crate) const ROUTES: &[Route] = &[
    Route::post("/v1/billing_portal/configurations", CONFIGURATION_FIELDS, create_configuration),
    Route::list("/v1/billing_portal/configurations", "active is_default", list_configurations),
    Route::get("/v1/billing_portal/configurations/{id}", "", retrieve_configuration),
    Route::post("/v1/billing_portal/configurations/{id}", CONFIGURATION_FIELDS, update_configuration),
    Route::post(
        "/v1/billing_portal/sessions",
        "customer! configuration flow_data.** locale return_url",
        create_session,
    ),
];

/// The sandbox begins with a default configuration, as an account does whose settings were saved once.
pub(crate) fn ensure_default_configuration(cx: &mut Context) {
    if cx.store.newest_first(Kind::PortalConfiguration).next().is_none() {
        let id = cx.ids.long("bpc_");
        let value = configuration(cx, &id, true);
        cx.create(Kind::PortalConfiguration, &id, value);
    }
}

fn configuration(cx: &Context, id: &str, is_default: bool) -> Value {
    json!({
        "id": id,
        "object": "billing_portal.configuration",
        "active": true,
        "application": null,
        "business_profile": { "headline": null, "privacy_policy_url": null, "terms_of_service_url": null },
        "created": cx.now,
        "default_return_url": null,
        "features": {
            "customer_update": { "allowed_updates": ["email"], "enabled": true },
            "invoice_history": { "enabled": true },
            "payment_method_update": { "enabled": true, "payment_method_configuration": null },
            "subscription_cancel": {
                "cancellation_reason": { "enabled": false, "options": [] },
                "enabled": true,
                "mode": "at_period_end",
                "proration_behavior": "none",
            },
            "subscription_update": {
                "billing_cycle_anchor": null,
                "default_allowed_updates": ["price"],
                "enabled": true,
                "products": [],
                "proration_behavior": "create_prorations",
                "schedule_at_period_end": { "conditions": [] },
                "trial_update_behavior": "end_trial",
            },
        },
        "is_default": is_default,
        "livemode": false,
        "login_page": { "enabled": false, "url": null },
        "metadata": {},
        "name": null,
        "updated": cx.now,
    })
}

fn create_configuration(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    if !call.params.has("features") {
        return Err(ApiError::missing("features"));
    }
    let id = cx.ids.long("bpc_");
    let mut value = configuration(cx, &id, false);
    for feature in ["customer_update", "invoice_history", "payment_method_update", "subscription_cancel"] {
        json::set(&mut value, &format!("features.{feature}.enabled"), false);
    }
    json::set(&mut value, "features.subscription_update.enabled", false);
    write(&mut value, &call.params)?;
    cx.create(Kind::PortalConfiguration, &id, value);
    cx.emit("billing_portal.configuration.created", Kind::PortalConfiguration, &id);
    Ok(json::public(&cx.object(Kind::PortalConfiguration, &id)))
}

fn write(value: &mut Value, params: &Params) -> Result<(), ApiError> {
    for field in ["default_return_url", "name", "business_profile.headline", "business_profile.privacy_policy_url"] {
        if let Some(text) = params.text(field) {
            json::set(value, field, Some(text).filter(|text| !text.is_empty()));
        }
    }
    if let Some(active) = params.flag("active")? {
        json::set(value, "active", active);
    }
    let features =
        ["customer_update", "invoice_history", "payment_method_update", "subscription_cancel", "subscription_update"];
    for feature in features {
        let path = format!("features.{feature}.enabled");
        if let Some(enabled) = params.flag(&path)? {
            json::set(value, &path, enabled);
        }
    }
    if let Some(mode) = params.one_of("features.subscription_cancel.mode", &["at_period_end", "immediately"])? {
        json::set(value, "features.subscription_cancel.mode", mode);
    }
    let behaviors = ["always_invoice", "create_prorations", "none"];
    for feature in ["subscription_cancel", "subscription_update"] {
        let path = format!("features.{feature}.proration_behavior");
        if let Some(behavior) = params.one_of(&path, &behaviors)? {
            json::set(value, &path, behavior);
        }
    }
    write_lists(value, params)?;
    let merged = metadata::merged(&value["metadata"], params, "metadata")?;
    json::set(value, "metadata", merged);
    Ok(())
}

/// Lists are replaced as a whole; an empty text empties them.
fn write_lists(value: &mut Value, params: &Params) -> Result<(), ApiError> {
    let changes =
        params.one_of("features.subscription_update.trial_update_behavior", &["continue_trial", "end_trial"])?;
    if let Some(behavior) = changes {
        json::set(value, "features.subscription_update.trial_update_behavior", behavior);
    }
    for path in ["features.customer_update.allowed_updates", "features.subscription_update.default_allowed_updates"] {
        if params.has(path) {
            json::set(value, path, params.texts(path));
        }
    }
    let path = "features.subscription_update.schedule_at_period_end.conditions";
    if params.has(path) {
        let mut conditions = Vec::new();
        for condition in params.list(path) {
            let kind = condition.one_of("type", &["decreasing_item_amount", "shortening_interval"])?;
            conditions.push(json!({ "type": kind.ok_or_else(|| ApiError::missing(&format!("{path}.0.type")))? }));
        }
        json::set(value, path, conditions);
    }
    let offered = "features.subscription_update.products";
    let products: Vec<Value> = params
        .list(offered)
        .iter()
        .map(|product| {
            json!({
                "adjustable_quantity": { "enabled": false, "maximum": null, "minimum": 1 },
                "prices": product.texts("prices"),
                "product": product.filled("product"),
            })
        })
        .collect();
    if params.has(offered) {
        json::set(value, offered, products);
    }
    Ok(())
}

fn list_configurations(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let (active, is_default) = (call.params.flag("active")?, call.params.flag("is_default")?);
    page(cx, call, Kind::PortalConfiguration, |value| {
        active.is_none_or(|want| json::flag(value, "active") == want)
            && is_default.is_none_or(|want| json::flag(value, "is_default") == want)
    })
}

fn retrieve_configuration(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    Ok(json::public(&cx.find(Kind::PortalConfiguration, call.id())?))
}

fn update_configuration(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let mut value = cx.find(Kind::PortalConfiguration, call.id())?;
    write(&mut value, &call.params)?;
    json::set(&mut value, "updated", cx.now);
    cx.change(Kind::PortalConfiguration, call.id(), "billing_portal.configuration.updated", |stored| *stored = value);
    retrieve_configuration(cx, call)
}

fn create_session(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let params = &call.params;
    let customer = params.required("customer")?;
    cx.reference(Kind::Customer, customer, "customer")?;
    if params.filled("return_url").is_some_and(|url| !is_web_url(url)) {
        return Err(ApiError::invalid("Not a valid URL").code("url_invalid").param("return_url"));
    }
    let configuration = match params.filled("configuration") {
        Some(id) => cx.reference(Kind::PortalConfiguration, id, "configuration")?,
        None => cx
            .store
            .oldest_first(Kind::PortalConfiguration)
            .find(|(_, value)| json::flag(value, "is_default"))
            .map(|(_, value)| value.clone())
            .unwrap_or_default(),
    };
    let return_url = params.filled("return_url").or_else(|| json::opt_text(&configuration, "default_return_url"));
    let id = cx.ids.long("bps_");
    // The page's address is the session's only key, so it is not the id, which is in API answers and events.
    let secret = cx.ids.with_length("test_", 40);
    let value = json!({
        "id": id,
        "object": "billing_portal.session",
        "configuration": configuration["id"],
        "created": cx.now,
        "customer": customer,
        "customer_account": null,
        "flow": flow(cx, params, customer)?,
        "livemode": false,
        "locale": params.filled("locale"),
        "on_behalf_of": null,
        "return_url": return_url,
        "url": format!("{}/p/session/{secret}", cx.public_url),
        "_expires_at": cx.now + SESSION_SECONDS,
        "_secret": secret,
    });
    cx.create(Kind::PortalSession, &id, value);
    cx.emit("billing_portal.session.created", Kind::PortalSession, &id);
    Ok(json::public(&cx.object(Kind::PortalSession, &id)))
}

fn flow(cx: &Context, params: &Params, customer: &str) -> Result<Value, ApiError> {
    let kinds = ["payment_method_update", "subscription_cancel", "subscription_update", "subscription_update_confirm"];
    let Some(kind) = params.one_of("flow_data.type", &kinds)? else { return Ok(Value::Null) };
    let mut flow = json!({
        "after_completion": { "hosted_confirmation": null, "redirect": null, "type": "portal_homepage" },
        "subscription_cancel": null,
        "subscription_update": null,
        "subscription_update_confirm": null,
        "type": kind,
    });
    if let Some(url) = params.filled("flow_data.after_completion.redirect.return_url") {
        let after = json!({ "hosted_confirmation": null, "redirect": { "return_url": url }, "type": "redirect" });
        json::set(&mut flow, "after_completion", after);
    }
    if kind != "payment_method_update" {
        let path = format!("flow_data.{kind}.subscription");
        let id = params.required(&path)?;
        let subscription = cx.reference(Kind::Subscription, id, &path)?;
        if json::text(&subscription, "customer") != customer {
            return Err(ApiError::no_such_reference("subscription", id, &path));
        }
        let details = match kind {
            "subscription_cancel" => json!({ "retention": null, "subscription": id }),
            "subscription_update" => json!({ "subscription": id }),
            _ => json!({ "discounts": null, "items": [], "subscription": id }),
        };
        json::set(&mut flow, kind, details);
    }
    Ok(flow)
}
