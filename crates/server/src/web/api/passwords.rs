//! Passwords: forgotten, reset by the link from the mail, and changed.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::web::WebState;
use crate::web::caller::{self, SignedIn};
use crate::web::json::JsonBody;
use crate::web::network::CameFrom;
use crate::web::problem::{Problem, ProblemBody};

/// Whose password is forgotten.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgotRequest {
    #[schema(example = "test@example.com")]
    email: String,
}

/// The token from the mail, and what the password is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetRequest {
    /// What stands after `token=` in the link.
    token: String,
    /// 8 to 128 characters, not one of the common ones.
    #[schema(min_length = 8, max_length = 128)]
    new_password: String,
}

/// The password as it is, and as it is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePasswordRequest {
    current_password: String,
    /// 8 to 128 characters, not one of the common ones.
    #[schema(min_length = 8, max_length = 128)]
    new_password: String,
}

/// In these requests the new password goes by another name than at sign-up.
fn named(problem: impl Into<Problem>) -> Problem {
    let problem = problem.into();
    let field = if problem.code == "weak_password" { Some("new_password") } else { problem.field };
    Problem { field, ..problem }
}

/// Ask for a mail with a link to a new password. The answer is the same, and as quick, whether or not there is such an account.
#[utoipa::path(
    post, path = "/api/customers/password/forgot", tag = "customers", request_body = ForgotRequest,
    responses(
        (status = 202, description = "If there is an account with this address, a mail is on its way; at most three an hour."),
        (status = 422, body = ProblemBody, description = "`invalid_email`, `invalid_request`"),
        (status = 429, body = ProblemBody, description = "`too_many_requests`, with Retry-After"),
    )
)]
pub async fn forgot(
    State(state): State<WebState>,
    CameFrom(network): CameFrom,
    JsonBody(request): JsonBody<ForgotRequest>,
) -> Result<StatusCode, Problem> {
    state.app.limit_mail(&network, &request.email).await?;
    state.app.forgot_password(&request.email).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Set a new password by the token from the mail. It works once and for an hour; all sessions end.
#[utoipa::path(
    post, path = "/api/customers/password/reset", tag = "customers", request_body = ResetRequest,
    responses(
        (status = 204, description = "The password is the new one. Log in with it."),
        (status = 422, body = ProblemBody, description = "`link_invalid`, `weak_password`, `invalid_request`"),
    )
)]
pub async fn reset(
    State(state): State<WebState>,
    JsonBody(request): JsonBody<ResetRequest>,
) -> Result<StatusCode, Problem> {
    state.app.reset_password(&request.token, request.new_password).await.map_err(named)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Change the password. All other sessions end, and the customer is told by mail.
#[utoipa::path(
    post, path = "/api/customers/password", tag = "customers", request_body = ChangePasswordRequest,
    security(("token" = []), ("session" = [])),
    responses(
        (status = 204),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
        (status = 403, body = ProblemBody, description = "`wrong_password`"),
        (status = 422, body = ProblemBody, description = "`weak_password`, `invalid_request`"),
        (status = 429, body = ProblemBody, description = "`too_many_requests`, with Retry-After"),
    )
)]
pub async fn change(
    State(state): State<WebState>,
    SignedIn(customer_id): SignedIn,
    headers: HeaderMap,
    JsonBody(request): JsonBody<ChangePasswordRequest>,
) -> Result<StatusCode, Problem> {
    let session = caller::token(&headers).unwrap_or_default();
    let changed =
        state.app.change_password(&customer_id, &session, &request.current_password, request.new_password).await;
    changed.map_err(named)?;
    Ok(StatusCode::NO_CONTENT)
}
