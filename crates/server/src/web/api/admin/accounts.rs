//! Accounts as a whole: what is kept of a customer, handed out, and the end of an account.

use axum::Json;
use axum::extract::State;
use counterfoil_core::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Operator, ReasonRequest, Segment};
use crate::app::deletion::Running;
use crate::app::export::OperatorExport;
use crate::app::operators::Scope;
use crate::web::json::JsonBody;
use crate::web::problem::{Problem, ProblemBody};
use crate::web::{WebState, to_its_end};

/// Why an account is deleted, and what of a subscription that runs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteCustomerRequest {
    /// Why, in a few words, for the audit log.
    #[schema(example = "asked by letter")]
    reason: String,
    /// End a running subscription at once. What is left of its period is not paid back.
    #[serde(default)]
    end_subscription: bool,
}

/// What is left.
#[derive(Serialize, ToSchema)]
pub struct CustomerDeletedBody {
    customer_id: String,
    #[schema(value_type = String, format = DateTime)]
    deleted_at: Timestamp,
}

/// Everything that is kept of a customer, with the provider's ids.
#[utoipa::path(
    get, path = "/api/admin/customers/{customer_id}/export", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("support"))), params(("customer_id" = String, Path)),
    responses(
        (status = 200, body = OperatorExport),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
        (status = 410, body = ProblemBody, content_type = "application/problem+json", description = "`customer_deleted`"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "`busy`, with Retry-After"),
    )
)]
pub async fn export(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
) -> Result<Json<OperatorExport>, Problem> {
    operator.require(Scope::Support)?;
    Ok(Json(state.app.export_for_operators(&customer.customer()?).await?))
}

/// Delete an account for good: everything that says who it was goes, and the customer is told by mail.
#[utoipa::path(
    post, path = "/api/admin/customers/{customer_id}/delete", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("admin"))), params(("customer_id" = String, Path)), request_body = DeleteCustomerRequest,
    responses(
        (status = 200, body = CustomerDeletedBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`, also where it is deleted already"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "`subscription_running`, `payment_pending`; the account stays"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "`payment_provider_unavailable`, `customer_busy`, with Retry-After"),
    )
)]
pub async fn delete(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
    JsonBody(request): JsonBody<DeleteCustomerRequest>,
) -> Result<Json<CustomerDeletedBody>, Problem> {
    let by = operator.acts(Scope::Admin, &request.reason)?;
    let (customer_id, running) = (customer.customer()?, Running::of(request.end_subscription));
    let id = customer_id.to_string();
    let deleted_at = to_its_end(async move { state.app.delete_customer_by(&customer_id, &by, running).await }).await?;
    Ok(Json(CustomerDeletedBody { customer_id: id, deleted_at }))
}

/// What the end of all sessions came to.
#[derive(Serialize, ToSchema)]
pub struct CustomerSessionsEndedBody {
    customer_id: String,
    ended: u64,
}

/// End all sessions of a customer, on all servers at once: somebody else may be in the account. The password stays.
#[utoipa::path(
    post, path = "/api/admin/customers/{customer_id}/sessions/end", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("support"))), params(("customer_id" = String, Path)), request_body = ReasonRequest,
    responses(
        (status = 200, body = CustomerSessionsEndedBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn end_sessions(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
    JsonBody(request): JsonBody<ReasonRequest>,
) -> Result<Json<CustomerSessionsEndedBody>, Problem> {
    let by = operator.acts(Scope::Support, &request.reason)?;
    let customer_id = customer.customer()?;
    let ended = state.app.end_sessions_by(&customer_id, &by).await?;
    Ok(Json(CustomerSessionsEndedBody { customer_id: customer_id.to_string(), ended }))
}
