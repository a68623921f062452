//! HTTP: the API under `/v1`, the hosted pages, and the sandbox's own controls under `/_sandbox`.

mod api;
mod auth;
mod broken;
mod control;
mod idempotency;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get, post};

use crate::pages;
use crate::sandbox::Inner;

pub(crate) fn router(inner: Arc<Inner>) -> Router {
    Router::new()
        .route("/v1/{*path}", any(api::call))
        .route("/", get(pages::home))
        .route("/c/pay/{session}", get(pages::checkout::show).post(pages::checkout::pay))
        .route(
            "/c/pay/{session}/authenticate",
            get(pages::checkout::show_authentication).post(pages::checkout::authenticate),
        )
        .route("/p/session/{secret}", get(pages::portal::show).post(pages::portal::act))
        .route("/invoice/{invoice}", get(pages::invoice::show))
        .route("/invoice/{invoice}/pdf", get(pages::invoice::show))
        .route("/_sandbox/style.css", get(pages::style))
        .route("/_sandbox/clock", get(control::clock).post(control::advance_clock))
        .route("/_sandbox/faults", get(control::faults).post(control::set_faults).delete(control::clear_faults))
        .route("/_sandbox/calls", get(control::calls))
        .route("/_sandbox/calls/reset", post(control::reset_calls))
        .route("/_sandbox/customers/{customer}/card", post(control::replace_card))
        .route("/_sandbox/disputes/{dispute}/decide", post(control::decide_dispute))
        .fallback(pages::not_found)
        .with_state(inner)
}
