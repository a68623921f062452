//! Events: what happened, newest first, for thirty days.

use serde_json::{Value, json};

use crate::api::{Call, Route, page};
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::store::Kind;
use crate::webhooks;

const TYPES_MAX: usize = 20;

pub(crate) const ROUTES: &[Route] =
    &[Route::list("/v1/events", "type types.# delivery_success", list), Route::get("/v1/events/{id}", "", retrieve)];

fn list(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let params = &call.params;
    let types = params.texts("types");
    if params.has("type") && !types.is_empty() {
        return Err(ApiError::invalid("You may pass either `type` or `types`, but not both."));
    }
    if types.len() > TYPES_MAX {
        return Err(ApiError::invalid(format!("You may pass up to {TYPES_MAX} types.")).param("types"));
    }
    let delivered = params.flag("delivery_success")?;
    let single = params.filled("type").map(str::to_owned);
    let wanted: Vec<String> = single.into_iter().chain(types).collect();
    let mut page = page(cx, call, Kind::Event, |event| {
        let kind = json::text(event, "type");
        let fits = wanted.is_empty() || wanted.iter().any(|pattern| webhooks::matches(pattern, kind));
        fits && delivered
            .is_none_or(|delivered| (webhooks::pending(cx.store, json::text(event, "id")) == 0) == delivered)
    })?;
    for event in page["data"].as_array_mut().into_iter().flatten() {
        *event = with_pending(cx, event);
    }
    Ok(page)
}

fn retrieve(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let event = cx.find(Kind::Event, call.id())?;
    Ok(with_pending(cx, &event))
}

fn with_pending(cx: &Context, event: &Value) -> Value {
    let mut event = json::public(event);
    event["pending_webhooks"] = json!(webhooks::pending(cx.store, json::text(&event, "id")));
    event
}
