//! The customer's address: verified, asked to be changed, confirmed, objected to.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use counterfoil_core::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::web::WebState;
use crate::web::caller::SignedIn;
use crate::web::json::JsonBody;
use crate::web::network::CameFrom;
use crate::web::problem::{Problem, ProblemBody};
use crate::web::to_its_end;

/// The address that the account is to have.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailRequest {
    #[schema(example = "new@example.com")]
    new_email: String,
    current_password: String,
}

/// The token from a mail.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkRequest {
    /// What stands after `token=` in the link.
    token: String,
}

/// The address that the account has now.
#[derive(Serialize, ToSchema)]
pub struct EmailBody {
    email: String,
}

/// The address that is verified now.
#[derive(Serialize, ToSchema)]
pub struct VerifiedBody {
    email: String,
    #[schema(value_type = String, format = DateTime)]
    email_verified_at: Timestamp,
}

/// In this request the address goes by another name than at sign-up.
fn named(problem: impl Into<Problem>) -> Problem {
    let problem = problem.into();
    let field = if problem.field == Some("email") { Some("new_email") } else { problem.field };
    Problem { field, ..problem }
}

/// Ask to change the address: a link goes to the new one, a notice with a way to object to the present one. Nothing changes yet.
#[utoipa::path(
    post, path = "/api/customers/email", tag = "customers", request_body = EmailRequest,
    security(("token" = []), ("session" = [])),
    responses(
        (status = 202, description = "The mails are on their way. The link in the one to the new address works for 24 hours."),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
        (status = 403, body = ProblemBody, description = "`wrong_password`"),
        (status = 409, body = ProblemBody, description = "`email_taken`, as sign-up tells everybody too"),
        (status = 422, body = ProblemBody, description = "`invalid_email`, `invalid_field`, `invalid_request`"),
        (status = 429, body = ProblemBody, description = "`too_many_requests`: three an hour"),
    )
)]
pub async fn ask(
    State(state): State<WebState>,
    SignedIn(customer_id): SignedIn,
    CameFrom(network): CameFrom,
    JsonBody(request): JsonBody<EmailRequest>,
) -> Result<StatusCode, Problem> {
    state.app.limit_mail(&network, &request.new_email).await?;
    let asked = state.app.ask_email_change(&customer_id, &request.new_email, &request.current_password).await;
    asked.map_err(named)?;
    Ok(StatusCode::ACCEPTED)
}

/// Change the address by the token that went to the new one.
#[utoipa::path(
    post, path = "/api/customers/email/confirm", tag = "customers", request_body = LinkRequest,
    responses(
        (status = 200, body = EmailBody),
        (status = 409, body = ProblemBody, description = "`email_taken`: somebody was quicker"),
        (status = 422, body = ProblemBody, description = "`link_invalid`, `invalid_request`"),
    )
)]
pub async fn confirm(
    State(state): State<WebState>,
    JsonBody(request): JsonBody<LinkRequest>,
) -> Result<Json<EmailBody>, Problem> {
    let email = to_its_end(async move { state.app.confirm_email_change(&request.token).await }).await?;
    Ok(Json(EmailBody { email: email.to_string() }))
}

/// Stop a change that is not confirmed yet, by the token that went to the present address. All sessions end.
#[utoipa::path(
    post, path = "/api/customers/email/object", tag = "customers", request_body = LinkRequest,
    responses((status = 204), (status = 422, body = ProblemBody, description = "`link_invalid`, `invalid_request`"))
)]
pub async fn object(
    State(state): State<WebState>,
    JsonBody(request): JsonBody<LinkRequest>,
) -> Result<StatusCode, Problem> {
    state.app.object_to_email_change(&request.token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Verify the address given at sign-up, by the token that went to it. A license that waits for it is issued, and goes out by mail.
#[utoipa::path(
    post, path = "/api/customers/email/verify", tag = "customers", request_body = LinkRequest,
    responses(
        (status = 200, body = VerifiedBody),
        (status = 422, body = ProblemBody, description = "`link_invalid`, `invalid_request`"),
        (status = 503, body = ProblemBody, description = "`customer_busy`, with Retry-After"),
    )
)]
pub async fn verify(
    State(state): State<WebState>,
    JsonBody(request): JsonBody<LinkRequest>,
) -> Result<Json<VerifiedBody>, Problem> {
    let verified = to_its_end(async move { state.app.verify_email(&request.token).await }).await?;
    Ok(Json(VerifiedBody { email: verified.email.to_string(), email_verified_at: verified.at }))
}

/// Send another link to verify the address. The older ones do not work any more.
#[utoipa::path(
    post, path = "/api/customers/email/verify/resend", tag = "customers",
    security(("token" = []), ("session" = [])),
    responses(
        (status = 202, description = "The mail is on its way. Its link works for 24 hours."),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
        (status = 409, body = ProblemBody, description = "`email_already_verified`"),
        (status = 429, body = ProblemBody, description = "`too_many_requests`: three an hour, with the one of the sign-up"),
    )
)]
pub async fn resend_verification(
    State(state): State<WebState>,
    SignedIn(customer_id): SignedIn,
    CameFrom(network): CameFrom,
) -> Result<StatusCode, Problem> {
    state.app.limit_mail(&network, customer_id.as_str()).await?;
    state.app.resend_verification(&customer_id).await?;
    Ok(StatusCode::ACCEPTED)
}
