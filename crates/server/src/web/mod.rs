//! HTTP: the API for programs, the pages for customers, and what surrounds both.
//!
//! Handlers translate; use cases decide. A refusal or failure becomes an answer in one place only, [`problem`].

pub mod api;
pub mod caller;
pub mod etag;
pub mod json;
pub mod layers;
pub mod listener;
pub mod network;
pub mod portal;
pub mod problem;
pub mod query;
pub mod views;
pub mod way_back;

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use metrics_exporter_prometheus::PrometheusHandle;
use tracing::Instrument as _;

use self::problem::Problem;
use crate::app::license_files::Download;
use crate::app::{App, Error};
use crate::tasks;

/// What handlers share.
#[derive(Clone)]
pub struct WebState {
    pub app: App,
    pub metrics: PrometheusHandle,
    pub options: Arc<WebOptions>,
}

/// What only the web layer cares about.
#[derive(Clone, Debug)]
pub struct WebOptions {
    /// Whether people reach us over https: cookies are `Secure` then, and browsers are told to stay with https.
    pub https: bool,
    /// Origins beside our own to which a form of ours may lead, by way of a redirect: where the provider's pages are.
    pub form_targets: Vec<String>,
    /// The sender of our mails, as the mailbox page shows it.
    pub mail_from: String,
}

/// Work under a customer's lease runs to its end even where the caller hangs up: half of it would leave the lease to run out, and what
/// an operator did without its line in the audit log.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::spawn(tasks::own(work.in_current_span())).await {
        Ok(result) => Ok(result?),
        Err(error) => {
            tracing::error!(why = tasks::why_it_broke_off(&error), "work for a customer broke off");
            Err(Problem::internal())
        }
    }
}

/// A file that browsers save.
fn attachment(file: Download) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", file.name)),
    ];
    (headers, file.text).into_response()
}

/// The whole service.
pub fn router(state: WebState) -> Router {
    let api = api::router();
    let pages = portal::router();
    layers::wrap(api.merge(pages), &state).with_state(state)
}

/// Only what an operator asks: for a process that works and serves nobody.
pub fn operations_router(state: WebState) -> Router {
    layers::wrap(api::operations_router(), &state).with_state(state)
}
