//! One API call over HTTP: authenticated, decoded, kept from running twice, executed in one commit, answered with
//! Stripe's headers.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::idempotency::{self, Stored};
use super::{auth, broken};
use crate::api::dispatch;
use crate::calls::CallRecord;
use crate::clock::http_date;
use crate::context::Cause;
use crate::error::ApiError;
use crate::faults::Fate;
use crate::form::Params;
use crate::sandbox::Inner;

const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What a call is, apart from its parameters.
struct Head {
    method: Method,
    path: String,
    query: String,
    request_id: String,
    idempotency_key: Option<String>,
    version: String,
}

struct Answer {
    status: StatusCode,
    body: String,
    /// Executed calls say that a retry would not help.
    executed: bool,
    original_request: Option<String>,
    replayed: bool,
}

impl Answer {
    fn refusal(error: &ApiError) -> Self {
        Self {
            status: error.status,
            body: error.body().to_string(),
            executed: error.executed || error.status == StatusCode::PAYMENT_REQUIRED,
            original_request: None,
            replayed: false,
        }
    }
}

pub(super) async fn call(State(inner): State<Arc<Inner>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let head = Head {
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        request_id: inner.ids().short("req_"),
        idempotency_key: header_text(&parts.headers, "idempotency-key").filter(|_| parts.method == Method::POST),
        version: header_text(&parts.headers, "stripe-version").unwrap_or_else(|| crate::API_VERSION.to_owned()),
        method: parts.method,
    };
    let fate = inner.faults().fate(head.method.as_str(), &head.path);
    let answer = match to_bytes(body, BODY_BYTES_MAX).await {
        Ok(body) => answer(&inner, &head, &parts.headers, body, fate).await,
        Err(_) => Answer::refusal(&ApiError::invalid("The request's body is too large or broke off.")),
    };
    inner.calls().add(CallRecord {
        method: head.method.to_string(),
        path: head.path.clone(),
        idempotency_key: head.idempotency_key.clone(),
        request_id: head.request_id.clone(),
        status: answer.status.as_u16(),
        replayed: answer.replayed,
        faulty: fate.fails_with.is_some() || fate.loses_answer || fate.stores_error,
    });
    let response = respond(&head, &answer, inner.now());
    if fate.loses_answer { broken::off(response, &answer.body) } else { response }
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

async fn answer(inner: &Arc<Inner>, head: &Head, headers: &HeaderMap, body: Bytes, fate: Fate) -> Answer {
    if let Err(error) = auth::check(headers, &inner.api_key) {
        return Answer::refusal(&error);
    }
    if let Some(status) = fate.fails_with {
        return injected_failure(status);
    }
    let params = match decode(head, headers, &body) {
        Ok(params) => params,
        Err(error) => return Answer::refusal(&error),
    };
    // The key is held while a slow call waits, so that a second call meets it in use.
    let _in_use = match &head.idempotency_key {
        None => None,
        Some(key) => match idempotency::check_key(key)
            .and_then(|()| inner.use_key(key).ok_or_else(|| idempotency::in_use(key)))
        {
            Ok(held) => Some(held),
            Err(error) => return Answer::refusal(&error),
        },
    };
    if fate.waits_millis > 0 {
        tokio::time::sleep(Duration::from_millis(fate.waits_millis)).await;
    }
    let worker = Arc::clone(inner);
    let (method, path) = (head.method.clone(), head.path.clone());
    let cause = Cause { request_id: Some(head.request_id.clone()), idempotency_key: head.idempotency_key.clone() };
    let executed = crate::work::off_thread(move || execute(&worker, &method, &path, params, &cause, fate.stores_error));
    match executed.await {
        Ok(answer) => answer,
        Err(_) => Answer::refusal(&ApiError::api(StatusCode::INTERNAL_SERVER_ERROR, "The sandbox has a bug here.")),
    }
}

fn decode(head: &Head, headers: &HeaderMap, body: &[u8]) -> Result<Params, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/json") && !body.is_empty() {
        return Err(ApiError::invalid(
            "Invalid request (check that your POST content type is application/x-www-form-urlencoded).",
        ));
    }
    let body = std::str::from_utf8(body).map_err(|_| ApiError::invalid("Invalid UTF-8."))?;
    Params::decode(&[&head.query, body])
}

fn injected_failure(status: u16) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let error = if status == StatusCode::TOO_MANY_REQUESTS {
        ApiError::invalid("Request rate limit exceeded.").code("rate_limit")
    } else {
        ApiError::api(status, "A fault of the sandbox: nothing was done.")
    };
    Answer { status, body: error.body().to_string(), executed: false, original_request: None, replayed: false }
}

/// Looks the key up, does the work, stores the answer: one lock, one commit.
fn execute(inner: &Inner, method: &Method, path: &str, params: Params, cause: &Cause, stores_error: bool) -> Answer {
    let mut store = inner.store();
    let now = inner.now();
    let request_id = cause.request_id.clone().unwrap_or_default();
    let print = idempotency::fingerprint(path, &params);
    if let Some(key) = &cause.idempotency_key {
        match idempotency::find(&store, key, &print, now) {
            Ok(None) => {}
            Ok(Some(stored)) => return replay(stored),
            Err(error) => return Answer::refusal(&error),
        }
    }
    let outcome = if stores_error {
        Err(ApiError::api(StatusCode::INTERNAL_SERVER_ERROR, "A fault of the sandbox, stored under the key."))
    } else {
        dispatch(&mut inner.context(&mut store, now, cause), method, path, params)
    };
    let mut answer = match &outcome {
        Ok(value) => Answer {
            status: StatusCode::OK,
            body: value.to_string(),
            executed: *method == Method::POST,
            original_request: None,
            replayed: false,
        },
        Err(error) => Answer::refusal(error),
    };
    if outcome.is_err_and(|error| !error.executed) {
        store.rollback();
    }
    if let Some(key) = cause.idempotency_key.as_ref().filter(|_| answer.executed) {
        let stored = Stored { status: answer.status, body: answer.body.clone(), request_id: request_id.clone() };
        idempotency::store(&mut store, key, &print, now, &stored);
        answer.original_request = Some(request_id);
    }
    match inner.commit(&mut store) {
        Ok(()) => answer,
        Err(error) => Answer::refusal(&error),
    }
}

fn replay(stored: Stored) -> Answer {
    Answer {
        status: stored.status,
        body: stored.body,
        executed: true,
        original_request: Some(stored.request_id),
        replayed: true,
    }
}

fn respond(head: &Head, answer: &Answer, now: i64) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body.clone()));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    let mut put = |name: &'static str, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    put("content-type", "application/json");
    put("cache-control", "no-cache, no-store");
    put("date", &http_date(now));
    put("request-id", &head.request_id);
    put("stripe-version", &head.version);
    if let Some(key) = &head.idempotency_key {
        put("idempotency-key", key);
    }
    if let Some(original) = &answer.original_request {
        put("original-request", original);
    }
    if answer.executed && head.method == Method::POST {
        put("stripe-should-retry", "false");
    }
    if answer.replayed {
        put("idempotent-replayed", "true");
    }
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        put("stripe-rate-limited-reason", "global-rate");
    }
    response
}
