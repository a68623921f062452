//! For whoever runs the service: is it alive, is it ready, what are its numbers.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::admin::Operator;
use crate::app::operators::Scope;
use crate::web::WebState;
use crate::web::network::is_from_this_machine;
use crate::web::problem::{Problem, ProblemBody};

/// Fine.
#[derive(Serialize, ToSchema)]
pub struct StatusBody {
    #[schema(example = "ok")]
    status: String,
}

fn ok() -> Json<StatusBody> {
    Json(StatusBody { status: "ok".to_owned() })
}

/// The process runs.
#[utoipa::path(get, path = "/livez", tag = "operations", responses((status = 200, body = StatusBody)))]
pub async fn livez() -> Json<StatusBody> {
    ok()
}

/// The process can serve: the database answers.
#[utoipa::path(
    get, path = "/readyz", tag = "operations",
    responses((status = 200, body = StatusBody), (status = 503, body = ProblemBody, description = "`database_unavailable`"))
)]
pub async fn readyz(State(state): State<WebState>) -> Result<Json<StatusBody>, Problem> {
    state.app.ready().await?;
    Ok(ok())
}

/// Whoever may read the numbers: this machine, or an operator.
pub struct Watcher;

impl FromRequestParts<WebState> for Watcher {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Problem> {
        if !is_from_this_machine(parts) {
            Operator::from_request_parts(parts, state).await?.require(Scope::Read)?;
        }
        Ok(Self)
    }
}

/// Numbers in Prometheus' text format.
///
/// Whoever asks on the machine itself needs nothing. Everybody else, and whoever comes by way of a proxy, needs an API key of the scope
/// `read`.
#[utoipa::path(
    get, path = "/metrics", tag = "operations", security((), ("token" = [])),
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
    )
)]
pub async fn metrics(_: Watcher, State(state): State<WebState>) -> Result<Response, Problem> {
    let (inbox, outbox) = state.app.queues().await?;
    let now = state.app.now();
    for (queue, rows, age) in [
        (inbox, "counterfoil_inbox_rows", "counterfoil_inbox_oldest_seconds"),
        (outbox, "counterfoil_outbox_rows", "counterfoil_outbox_oldest_seconds"),
    ] {
        metrics::gauge!(rows, "state" => "pending").set(queue.pending as f64);
        metrics::gauge!(rows, "state" => "dead").set(queue.dead as f64);
        metrics::gauge!(age).set(queue.oldest.map_or(0, |at| now.seconds_since(at).max(0)) as f64);
    }
    metrics::gauge!("counterfoil_inbox_unmatched_rows").set(inbox.unmatched as f64);
    for (sweep, seconds) in state.app.sweep_ages().await? {
        metrics::gauge!("counterfoil_sweep_age_seconds", "sweep" => sweep).set(seconds as f64);
    }
    let text = state.metrics.render();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
