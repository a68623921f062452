//! The account as a whole: what is kept of it, handed out, and its end.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::app::deletion::Running;
use crate::app::export::Export;
use crate::web::caller::{self, SignedIn};
use crate::web::json::JsonBody;
use crate::web::problem::{Problem, ProblemBody};
use crate::web::{WebState, to_its_end};

/// Who wants to be deleted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteAccountRequest {
    current_password: String,
    /// End a running subscription at once. What is left of its period is not paid back.
    #[serde(default)]
    end_subscription: bool,
}

/// Everything that is kept of the customer of the session, as one document.
#[utoipa::path(
    get, path = "/api/customers/me/export", tag = "customers", security(("token" = []), ("session" = [])),
    responses(
        (status = 200, body = Export),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
        (status = 429, body = ProblemBody, description = "`too_many_requests`, with Retry-After"),
        (status = 503, body = ProblemBody, description = "`busy`, with Retry-After"),
    )
)]
pub async fn export(State(state): State<WebState>, SignedIn(customer_id): SignedIn) -> Result<Json<Export>, Problem> {
    Ok(Json(state.app.export_customer(&customer_id).await?))
}

/// Delete the account for good. All sessions and licenses end; the address is free again, and a second trial is not.
#[utoipa::path(
    post, path = "/api/customers/me/delete", tag = "customers", request_body = DeleteAccountRequest,
    security(("token" = []), ("session" = [])),
    responses(
        (status = 204, description = "The account is deleted. A mail says so."),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
        (status = 403, body = ProblemBody, description = "`wrong_password`"),
        (status = 404, body = ProblemBody, description = "`customer_not_found`: another request has just deleted it"),
        (status = 409, body = ProblemBody, description = "`subscription_running`, `payment_pending`; the account stays"),
        (status = 422, body = ProblemBody, description = "`invalid_request`"),
        (status = 503, body = ProblemBody, description = "`payment_provider_unavailable`, `customer_busy`, with Retry-After"),
    )
)]
pub async fn delete(
    State(state): State<WebState>,
    SignedIn(customer_id): SignedIn,
    JsonBody(request): JsonBody<DeleteAccountRequest>,
) -> Result<Response, Problem> {
    let (running, https) = (Running::of(request.end_subscription), state.options.https);
    let password = request.current_password;
    to_its_end(async move { state.app.delete_own_account(&customer_id, &password, running).await }).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, caller::ended_cookie(https))]).into_response())
}
