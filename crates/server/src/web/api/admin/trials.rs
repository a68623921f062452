//! Trials: made longer by support.

use axum::Json;
use axum::extract::State;
use counterfoil_core::trial::Extension;
use counterfoil_core::{Refusal, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Operator, Segment};
use crate::app::operators::Scope;
use crate::web::WebState;
use crate::web::json::JsonBody;
use crate::web::problem::{Problem, ProblemBody};
use crate::web::to_its_end;

/// How much longer a trial is to be: `days` or `until`, one of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendTrialBody {
    /// Days to add to its end, or from now where it is over: 1 to 365.
    #[schema(example = 14, minimum = 1, maximum = 365)]
    days: Option<i64>,
    /// The new end, at most 365 days ahead.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Why, for the audit log.
    #[schema(example = "asked for two more weeks")]
    reason: String,
}

/// A trial that was made longer.
#[derive(Serialize, ToSchema)]
pub struct TrialExtendedBody {
    customer_id: String,
    #[schema(value_type = String, format = DateTime)]
    trial_ends_at: Timestamp,
    /// Null where the license waits until the address is verified; so is `version`.
    license_id: Option<String>,
    /// The version of the license that was issued for it.
    version: Option<i64>,
}

/// Make a trial longer, or revive one that is over. A new license goes out by mail; the payment provider is not asked.
#[utoipa::path(
    post, path = "/api/admin/customers/{customer_id}/trial/extend", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("support"))),
    params(("customer_id" = String, Path, description = "Our id of the customer")), request_body = ExtendTrialBody,
    responses(
        (status = 200, body = TrialExtendedBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`, `license_revoked`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "`trial_not_extendable`: a paid subscription came after it"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json",
         description = "`invalid_field`, `invalid_request`"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json",
         description = "`customer_busy`, with Retry-After"),
    )
)]
pub async fn extend(
    operator: Operator,
    State(state): State<WebState>,
    customer: Segment,
    JsonBody(body): JsonBody<ExtendTrialBody>,
) -> Result<Json<TrialExtendedBody>, Problem> {
    let by = operator.acts(Scope::Support, &body.reason)?;
    let customer_id = customer.customer()?;
    let wish = match (body.days, body.until) {
        (Some(days), None) => Extension::Days(days),
        (None, Some(until)) => Extension::Until(until),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Refusal::InvalidField { field: "days", reason: "give either `days` or `until`" }.into());
        }
    };
    let extended = to_its_end(async move { state.app.extend_trial(&customer_id, wish, &by).await }).await?;
    Ok(Json(TrialExtendedBody {
        customer_id: extended.customer_id.to_string(),
        trial_ends_at: extended.ends_at,
        license_id: extended.license.as_ref().map(|license| license.license_id.to_string()),
        version: extended.license.as_ref().map(|license| license.version),
    }))
}
