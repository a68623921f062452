//! Stripe's error object, and whether a refusal keeps what was done before it.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::form::bracketed;

/// An answer other than 200. `executed` is true when the call had begun its work: the changes are kept (a declined
/// card leaves a failed charge behind) and the answer is stored under the idempotency key.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub status: StatusCode,
    pub executed: bool,
    fields: Map<String, Value>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &str, message: impl Into<String>) -> Self {
        let mut fields = Map::new();
        fields.insert("type".into(), kind.into());
        fields.insert("message".into(), Value::String(message.into()));
        Self { status, executed: false, fields }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    pub(crate) fn missing(path: &str) -> Self {
        let name = bracketed(path);
        Self::invalid(format!("Missing required param: {name}.")).code("parameter_missing").param(path)
    }

    pub(crate) fn unknown_parameter(path: &str) -> Self {
        let name = bracketed(path);
        Self::invalid(format!("Received unknown parameter: {name}")).code("parameter_unknown").param(path)
    }

    /// 404 when the object named by the path does not exist.
    pub(crate) fn no_such(noun: &str, id: &str) -> Self {
        let mut error = Self::no_such_reference(noun, id, "id");
        error.status = StatusCode::NOT_FOUND;
        error
    }

    /// 400 when a parameter names an object that does not exist.
    pub(crate) fn no_such_reference(noun: &str, id: &str, param: &str) -> Self {
        Self::invalid(format!("No such {noun}: '{id}'")).code("resource_missing").param(param)
    }

    pub(crate) fn unrecognized(method: &str, path: &str) -> Self {
        let message = format!(
            "Unrecognized request URL ({method}: {path}). The sandbox implements the part of Stripe's API that is \
             listed in its documentation."
        );
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message)
    }

    pub(crate) fn card(message: impl Into<String>, code: &str) -> Self {
        let mut error = Self::new(StatusCode::PAYMENT_REQUIRED, "card_error", message).code(code);
        error.executed = true;
        error
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", message)
    }

    pub(crate) fn idempotency(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, "idempotency_error", message)
    }

    pub(crate) fn api(status: StatusCode, message: impl Into<String>) -> Self {
        let mut error = Self::new(status, "api_error", message);
        error.executed = status == StatusCode::INTERNAL_SERVER_ERROR;
        error
    }

    #[must_use]
    pub(crate) fn code(self, code: &str) -> Self {
        self.with("code", code)
    }

    #[must_use]
    pub(crate) fn param(self, path: &str) -> Self {
        self.with("param", bracketed(path))
    }

    #[must_use]
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(key.into(), value.into());
        self
    }

    /// The same refusal, with nothing of the call's work kept.
    #[must_use]
    pub(crate) fn undone(mut self) -> Self {
        self.executed = false;
        self
    }

    pub(crate) fn message(&self) -> &str {
        self.fields.get("message").and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn body(&self) -> Value {
        json!({ "error": self.fields })
    }

    /// The error as a payment's `last_payment_error` shows it.
    pub(crate) fn object(&self) -> Value {
        Value::Object(self.fields.clone())
    }
}
