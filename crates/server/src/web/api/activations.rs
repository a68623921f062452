//! `/api/licenses/activations`: the machines on which a license is used, for vendors who want them counted.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use counterfoil_core::{Refusal, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::activations::{Machine, Machines};
use crate::store::activations::Activation;
use crate::web::WebState;
use crate::web::caller::SignedIn;
use crate::web::json::JsonBody;
use crate::web::problem::{Problem, ProblemBody};

/// A machine on which a license is to be used.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivateRequest {
    /// The signed license: any version of the customer's that is valid.
    token: String,
    /// What your product tells this machine apart by, 1 to 200 bytes. Only a keyed hash of it is kept.
    #[schema(min_length = 1, max_length = 200)]
    fingerprint: String,
    /// What people call the machine, at most 100 characters.
    #[schema(max_length = 100)]
    name: Option<String>,
}

/// A machine that gives its place back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// The signed license; one that has ended will do.
    token: String,
    /// As it was activated with.
    #[schema(min_length = 1, max_length = 200)]
    fingerprint: String,
}

/// One machine.
#[derive(Serialize, ToSchema)]
pub struct ActivationBody {
    #[schema(example = "act_7c1e5f0a9b8d4e63a1f2c3d4e5f60718")]
    activation_id: String,
    name: Option<String>,
    /// When it was first seen.
    #[schema(value_type = String, format = DateTime)]
    activated_at: Timestamp,
}

impl From<&Activation> for ActivationBody {
    fn from(activation: &Activation) -> Self {
        Self {
            activation_id: activation.activation_id.to_string(),
            name: activation.name.clone(),
            activated_at: activation.activated_at,
        }
    }
}

/// A machine that is activated.
#[derive(Serialize, ToSchema)]
pub struct ActivatedBody {
    #[serde(flatten)]
    activation: ActivationBody,
    /// How many machines the plan allows; null where it does not count them.
    limit: Option<i64>,
}

/// A customer's machines.
#[derive(Serialize, ToSchema)]
pub struct ActivationsBody {
    /// The newest first.
    activations: Vec<ActivationBody>,
    /// How many the plan allows; null where it does not count them, or nothing runs.
    limit: Option<i64>,
}

impl From<&Machines> for ActivationsBody {
    fn from(machines: &Machines) -> Self {
        Self { activations: machines.activations.iter().map(Into::into).collect(), limit: machines.limit }
    }
}

/// Activate a license on a machine. The license is the credential. The same fingerprint again is the same activation.
#[utoipa::path(
    post, path = "/api/licenses/activations", tag = "licenses", request_body = ActivateRequest,
    responses(
        (status = 201, body = ActivatedBody, description = "the machine is new"),
        (status = 200, body = ActivatedBody, description = "it had been activated before; a name that is sent becomes its name"),
        (status = 401, body = ProblemBody, description = "`license_invalid`, `key_compromised`"),
        (status = 403, body = ProblemBody, description = "`license_revoked`, `license_not_valid`: it is not valid now"),
        (status = 409, body = ProblemBody, description = "`activation_limit_reached`: release a machine first"),
        (status = 410, body = ProblemBody, description = "`customer_deleted`"),
        (status = 422, body = ProblemBody, description = "`invalid_field`"),
        (status = 429, body = ProblemBody, description = "`too_many_requests`"),
    )
)]
pub async fn activate(
    State(state): State<WebState>,
    JsonBody(request): JsonBody<ActivateRequest>,
) -> Result<(StatusCode, Json<ActivatedBody>), Problem> {
    let machine = Machine::parse(request.fingerprint, request.name.as_deref())?;
    let activated = state.app.activate(&request.token, &machine).await?;
    let status = if activated.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let body = ActivatedBody { activation: (&activated.activation).into(), limit: activated.limit };
    Ok((status, Json(body)))
}

/// The machines of the session's customer.
#[utoipa::path(
    get, path = "/api/licenses/activations", tag = "licenses", security(("token" = []), ("session" = [])),
    responses(
        (status = 200, body = ActivationsBody),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
    )
)]
pub async fn list(
    State(state): State<WebState>,
    SignedIn(customer_id): SignedIn,
) -> Result<Json<ActivationsBody>, Problem> {
    Ok(Json((&state.app.machines(&customer_id).await?).into()))
}

/// Release a machine of the session's customer.
#[utoipa::path(
    delete, path = "/api/licenses/activations/{activation_id}", tag = "licenses",
    security(("token" = []), ("session" = [])), params(("activation_id" = String, Path)),
    responses(
        (status = 204, description = "it is released"),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
        (status = 404, body = ProblemBody, description = "`activation_not_found`, also where it is released already"),
    )
)]
pub async fn release(
    State(state): State<WebState>,
    SignedIn(customer_id): SignedIn,
    Path(activation_id): Path<String>,
) -> Result<StatusCode, Problem> {
    let activation_id = activation_id.parse().map_err(|_| Refusal::ActivationUnknown)?;
    state.app.release_activation(&customer_id, &activation_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Release a machine because its product says so: on uninstalling, or before moving to another one. A machine that is not
/// activated is as good.
#[utoipa::path(
    post, path = "/api/licenses/activations/release", tag = "licenses", request_body = ReleaseRequest,
    responses(
        (status = 204, description = "the machine is not activated any more"),
        (status = 401, body = ProblemBody, description = "`license_invalid`, `key_compromised`"),
        (status = 403, body = ProblemBody, description = "`license_revoked`"),
        (status = 410, body = ProblemBody, description = "`customer_deleted`"),
        (status = 422, body = ProblemBody, description = "`invalid_field`"),
        (status = 429, body = ProblemBody, description = "`too_many_requests`"),
    )
)]
pub async fn release_by_product(
    State(state): State<WebState>,
    JsonBody(request): JsonBody<ReleaseRequest>,
) -> Result<StatusCode, Problem> {
    let machine = Machine::parse(request.fingerprint, None)?;
    state.app.release_machine(&request.token, &machine).await?;
    Ok(StatusCode::NO_CONTENT)
}
