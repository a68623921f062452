//! Activations: a customer's machines, and one released for whoever cannot do it alone.

use axum::Json;
use axum::extract::State;
use counterfoil_core::Refusal;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Operator, ReasonRequest, Segment};
use crate::app::operators::Scope;
use crate::web::WebState;
use crate::web::api::activations::ActivationsBody;
use crate::web::json::JsonBody;
use crate::web::problem::{Problem, ProblemBody};

/// A machine that was released.
#[derive(Serialize, ToSchema)]
pub struct ActivationReleasedBody {
    customer_id: String,
    activation_id: String,
}

/// The machines on which a customer's license is activated.
#[utoipa::path(
    get, path = "/api/admin/customers/{customer_id}/activations", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("read"))), params(("customer_id" = String, Path)),
    responses(
        (status = 200, body = ActivationsBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
        (status = 410, body = ProblemBody, content_type = "application/problem+json", description = "`customer_deleted`"),
    )
)]
pub async fn list(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
) -> Result<Json<ActivationsBody>, Problem> {
    operator.require(Scope::Read)?;
    Ok(Json((&state.app.machines_for_operators(&customer.customer()?).await?).into()))
}

/// Release a customer's machine, so that another one can take its place.
#[utoipa::path(
    post, path = "/api/admin/activations/{activation_id}/release", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("support"))), params(("activation_id" = String, Path)), request_body = ReasonRequest,
    responses(
        (status = 200, body = ActivationReleasedBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`activation_not_found`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn release(
    operator: Operator,
    State(state): State<WebState>,
    Segment(text): Segment,
    JsonBody(request): JsonBody<ReasonRequest>,
) -> Result<Json<ActivationReleasedBody>, Problem> {
    let by = operator.acts(Scope::Support, &request.reason)?;
    let activation_id = text.parse().map_err(|_| Refusal::ActivationUnknown)?;
    let customer_id = state.app.release_activation_by(&activation_id, &by).await?;
    Ok(Json(ActivationReleasedBody { customer_id: customer_id.to_string(), activation_id: text }))
}
