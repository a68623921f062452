//! A look at the installation from inside the running service.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Operator;
use crate::app::operators::Scope;
use crate::checks::Report;
use crate::web::WebState;
use crate::web::problem::{Problem, ProblemBody};
use crate::web::query::PlainQuery;

/// How far to look.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DoctorQuery {
    /// Whether to ask nobody outside: not the payment provider.
    offline: Option<bool>,
}

/// What works and what does not, with what to do about it. Nothing is changed.
///
/// With a Stripe key the account there is looked at too, as by `/api/admin/stripe/doctor`.
#[utoipa::path(
    get, path = "/api/admin/doctor", tag = "operators", security(("token" = [])), extensions(("x-scope" = json!("support"))),
    params(DoctorQuery),
    responses(
        (status = 200, body = Report),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_request`"),
    )
)]
pub async fn doctor(
    operator: Operator,
    State(state): State<WebState>,
    query: Result<PlainQuery<DoctorQuery>, Problem>,
) -> Result<Json<Report>, Problem> {
    operator.require(Scope::Support)?;
    let Ok(PlainQuery(DoctorQuery { offline })) = query else {
        let told = "The only parameter is `offline`, which is `true` or `false`.";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", told));
    };
    Ok(Json(state.app.examine(offline.unwrap_or(false)).await))
}
