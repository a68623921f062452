//! What one call or one lifecycle step works with: the tables, the time, chance, and who caused it.

use serde_json::{Map, Value, json};

use crate::error::ApiError;
use crate::ids::Ids;
use crate::json;
use crate::store::{Kind, Store};
use crate::webhooks;

/// The API request behind an event; both are absent when the clock caused it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cause {
    pub request_id: Option<String>,
    pub idempotency_key: Option<String>,
}

pub(crate) struct Context<'a> {
    pub store: &'a mut Store,
    pub now: i64,
    pub ids: Ids,
    /// Origin of the hosted pages.
    pub public_url: &'a str,
    pub cause: &'a Cause,
}

impl Context<'_> {
    /// The object a URL names: 404 when there is none.
    pub(crate) fn find(&self, kind: Kind, id: &str) -> Result<Value, ApiError> {
        self.store.get(kind, id).cloned().ok_or_else(|| ApiError::no_such(kind.noun(), id))
    }

    /// The object a parameter names: 400 when there is none or it was deleted.
    pub(crate) fn reference(&self, kind: Kind, id: &str, param: &str) -> Result<Value, ApiError> {
        self.store
            .get(kind, id)
            .filter(|value| !json::flag(value, "_deleted"))
            .cloned()
            .ok_or_else(|| ApiError::no_such_reference(kind.noun(), id, param))
    }

    /// An object that another object refers to, which therefore exists.
    pub(crate) fn object(&self, kind: Kind, id: &str) -> Value {
        self.store.get(kind, id).cloned().unwrap_or(Value::Null)
    }

    pub(crate) fn create(&mut self, kind: Kind, id: &str, value: Value) {
        self.store.put(kind, id, value);
    }

    /// Changes an object without an event.
    pub(crate) fn edit(&mut self, kind: Kind, id: &str, change: impl FnOnce(&mut Value)) {
        let mut value = self.object(kind, id);
        change(&mut value);
        self.store.put(kind, id, value);
    }

    /// Changes an object and, when anything public changed, sends `event` with the previous attributes.
    pub(crate) fn change(&mut self, kind: Kind, id: &str, event: &str, change: impl FnOnce(&mut Value)) {
        let before = json::public(&self.object(kind, id));
        self.edit(kind, id, change);
        let after = json::public(&self.object(kind, id));
        let previous = json::previous(&before, &after);
        if !previous.is_empty() {
            self.emit_object(event, after, Some(previous));
        }
    }

    pub(crate) fn emit(&mut self, event: &str, kind: Kind, id: &str) {
        let object = json::public(&self.object(kind, id));
        self.emit_object(event, object, None);
    }

    pub(crate) fn emit_with_previous(&mut self, event: &str, kind: Kind, id: &str, before: &Value) {
        let after = json::public(&self.object(kind, id));
        let previous = json::previous(&json::public(before), &after);
        self.emit_object(event, after, Some(previous));
    }

    fn emit_object(&mut self, event: &str, object: Value, previous: Option<Map<String, Value>>) {
        let id = self.ids.long("evt_");
        let mut data = json!({ "object": object });
        if let Some(previous) = previous {
            data["previous_attributes"] = Value::Object(previous);
        }
        let value = json!({
            "id": id,
            "object": "event",
            "api_version": crate::API_VERSION,
            "created": self.now,
            "data": data,
            "livemode": false,
            "pending_webhooks": 0,
            "request": { "id": self.cause.request_id, "idempotency_key": self.cause.idempotency_key },
            "type": event,
        });
        webhooks::enqueue(self, &id, value);
    }
}
