//! Licenses by an operator's hand: issued, issued again, revoked, sent again.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::customers::VersionBody;
use super::{Operator, ReasonRequest, Segment};
use crate::app::operators::Scope;
use crate::app::revocation::{Again, Revoked};
use crate::web::json::JsonBody;
use crate::web::problem::{Problem, ProblemBody};
use crate::web::{WebState, to_its_end};

/// What a revocation came to.
#[derive(Serialize, ToSchema)]
pub struct RevokedBody {
    customer_id: String,
    /// Versions that were good until now.
    versions: u64,
    /// False where it was revoked already; nothing was changed then.
    changed: bool,
}

impl RevokedBody {
    /// What came of it for this customer.
    #[must_use]
    pub fn new(customer_id: String, revoked: Revoked) -> Self {
        Self { customer_id, versions: revoked.versions, changed: revoked.changed }
    }
}

/// How to issue again, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReissueRequest {
    /// Why, in a few words, for the audit log.
    #[schema(example = "the plan has a new feature")]
    reason: String,
    /// Whether the customer gets it by mail; it does unless this is false.
    mail: Option<bool>,
}

/// Issue a license from what the customer is entitled to now. It ends a revocation; versions that were revoked stay so.
#[utoipa::path(
    post, path = "/api/admin/customers/{customer_id}/license/issue", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("billing"))), params(("customer_id" = String, Path)), request_body = ReasonRequest,
    responses(
        (status = 200, body = VersionBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`, `email_not_verified`: take the address for verified instead"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`, `no_license`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn issue(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
    JsonBody(request): JsonBody<ReasonRequest>,
) -> Result<Json<VersionBody>, Problem> {
    let by = operator.acts(Scope::Billing, &request.reason)?;
    let customer_id = customer.customer()?;
    let license = to_its_end(async move { state.app.issue_by(&customer_id, &by).await }).await?;
    Ok(Json((&license).into()))
}

/// Issue what the customer has once more, with features, limits and grace as the catalogue has them now.
#[utoipa::path(
    post, path = "/api/admin/customers/{customer_id}/license/reissue", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("billing"))), params(("customer_id" = String, Path)), request_body = ReissueRequest,
    responses(
        (status = 200, body = VersionBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`, `license_revoked`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`, `no_license`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn reissue(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
    JsonBody(request): JsonBody<ReissueRequest>,
) -> Result<Json<VersionBody>, Problem> {
    let by = operator.acts(Scope::Billing, &request.reason)?;
    let customer_id = customer.customer()?;
    let again = Again { mail: request.mail.unwrap_or(true), only_if_due: false };
    let issued = to_its_end(async move { state.app.reissue_by(&customer_id, &by, again).await }).await?;
    let license = issued.ok_or_else(Problem::internal)?;
    Ok(Json((&license).into()))
}

/// Revoke all licenses of the customer: no check takes them any more, and none is issued until an operator issues one.
#[utoipa::path(
    post, path = "/api/admin/customers/{customer_id}/license/revoke", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("billing"))), params(("customer_id" = String, Path)), request_body = ReasonRequest,
    responses(
        (status = 200, body = RevokedBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn revoke(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
    JsonBody(request): JsonBody<ReasonRequest>,
) -> Result<Json<RevokedBody>, Problem> {
    let by = operator.acts(Scope::Billing, &request.reason)?;
    let customer_id = customer.customer()?;
    let id = customer_id.to_string();
    let revoked = to_its_end(async move { state.app.revoke_licenses(&customer_id, &by).await }).await?;
    Ok(Json(RevokedBody::new(id, revoked)))
}

/// Send the newest license to the customer once more.
#[utoipa::path(
    post, path = "/api/admin/customers/{customer_id}/license/resend", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("support"))), params(("customer_id" = String, Path)), request_body = ReasonRequest,
    responses(
        (status = 200, body = VersionBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`, `license_revoked`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`, `no_license`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn resend(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
    JsonBody(request): JsonBody<ReasonRequest>,
) -> Result<Json<VersionBody>, Problem> {
    let by = operator.acts(Scope::Support, &request.reason)?;
    let license = state.app.resend_license(&customer.customer()?, &by).await?;
    Ok(Json((&license).into()))
}
