//! A look at the installation from inside the running service.

use axum::Json;
use axum::extract::State;

use super::Operator;
use crate::app::operators::Scope;
use crate::checks::Report;
use crate::web::WebState;
use crate::web::problem::{Problem, ProblemBody};

/// What works and what does not, with what to do about it. Nothing is changed.
#[utoipa::path(
    get, path = "/api/admin/doctor", tag = "operators", security(("token" = [])), extensions(("x-scope" = json!("support"))),
    responses(
        (status = 200, body = Report),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
    )
)]
pub async fn doctor(operator: Operator, State(state): State<WebState>) -> Result<Json<Report>, Problem> {
    operator.require(Scope::Support)?;
    Ok(Json(state.app.examine().await))
}
