//! For whoever runs the service: is it alive, is it ready, what are its numbers.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::web::WebState;
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

/// Numbers in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses((status = 200, body = String, content_type = "text/plain"))
)]
pub async fn metrics(State(state): State<WebState>) -> Result<Response, Problem> {
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
