//! The hosted pages: what Stripe would show a person. Plain HTML that works without scripts.

pub(crate) mod checkout;
pub(crate) mod invoice;
pub(crate) mod portal;

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use crate::clock::human_date;
use crate::error::ApiError;
use crate::sandbox::Inner;

/// No scripts at all. A form may lead on to the merchant, who may be anywhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; form-action 'self' http: https:; \
    base-uri 'none'; frame-ancestors 'none'";

#[derive(Template)]
#[template(path = "notice.html")]
struct Notice<'a> {
    title: &'a str,
    text: &'a str,
    link: Option<(&'a str, &'a str)>,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    date: String,
    version: &'static str,
}

fn page(status: StatusCode, template: &impl Template) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    match template.render() {
        Ok(html) => (status, headers, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page of the sandbox could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn notice(status: StatusCode, title: &str, text: &str, link: Option<(&str, &str)>) -> Response {
    page(status, &Notice { title, text, link })
}

fn bug() -> Response {
    notice(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong", "The sandbox has a bug here.", None)
}

/// Runs work that may wait for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, Response> {
    match crate::work::off_thread(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(notice(error.status, "That did not work", error.message(), None)),
        Err(_) => Err(bug()),
    }
}

pub(crate) async fn home(State(inner): State<Arc<Inner>>) -> Response {
    page(StatusCode::OK, &Home { date: human_date(inner.now()), version: crate::API_VERSION })
}

pub(crate) async fn style() -> Response {
    let style = include_str!("../../templates/style.css");
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=300")], style).into_response()
}

pub(crate) async fn not_found() -> Response {
    notice(StatusCode::NOT_FOUND, "There is nothing here", "The sandbox has no page at this address.", None)
}
