//! Whether the account at Stripe fits this installation. Setting it up stays on the command line, because that tells a secret.

use axum::Json;
use axum::extract::State;

use super::Operator;
use crate::app::operators::Scope;
use crate::checks::Report;
use crate::web::WebState;
use crate::web::problem::{Problem, ProblemBody};

/// Whether prices, webhook endpoint and billing portal are as this installation expects them.
///
/// A problem found is a line of the answer, not an error of the call.
#[utoipa::path(
    get, path = "/api/admin/stripe/doctor", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("read"))),
    responses(
        (status = 200, body = Report),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
    )
)]
pub async fn doctor(operator: Operator, State(state): State<WebState>) -> Result<Json<Report>, Problem> {
    operator.require(Scope::Read)?;
    Ok(Json(state.app.examine_provider().await?))
}
