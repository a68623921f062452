//! Whose key it is: the first call of a new integration.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::Operator;
use crate::app::operators::Scope;
use crate::web::problem::{Problem, ProblemBody};

/// An operator's key.
#[derive(Serialize, ToSchema)]
pub struct WhoBody {
    /// The key's id; never its secret.
    key_id: String,
    /// `read`, `support`, `billing` or `admin`.
    #[schema(example = "read")]
    scope: String,
}

/// Whose key this is.
#[utoipa::path(
    get, path = "/api/admin/who", tag = "operators", security(("token" = [])), extensions(("x-scope" = json!("read"))),
    responses(
        (status = 200, body = WhoBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
    )
)]
pub async fn who(operator: Operator) -> Result<Json<WhoBody>, Problem> {
    operator.require(Scope::Read)?;
    Ok(Json(WhoBody { key_id: operator.key_id.to_string(), scope: operator.scope.word().to_owned() }))
}
