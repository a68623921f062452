//! `/api/customers/sessions`: where a customer is logged in, and the end of that.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use counterfoil_core::{Refusal, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::sessions::Session;
use crate::web::WebState;
use crate::web::caller::{self, SignedIn};
use crate::web::problem::{Problem, ProblemBody};

/// One session. Its id ends it and opens nothing.
#[derive(Serialize, ToSchema)]
pub struct SessionBody {
    #[schema(example = "ses_7c1e5f0a9b8d4e63a1f2c3d4e5f60718")]
    session_id: String,
    /// What it began on, as far as that said so.
    #[schema(example = "Firefox on Linux")]
    device: String,
    /// The network it began in, without the end of the address.
    #[schema(example = "203.0.113.x")]
    network: String,
    /// RFC 3339.
    #[schema(value_type = String)]
    created_at: Timestamp,
    /// True to the hour.
    #[schema(value_type = String)]
    last_used_at: Timestamp,
    /// It ends then, used or not.
    #[schema(value_type = String)]
    expires_at: Timestamp,
    /// Whether it is the one that asks.
    current: bool,
}

impl From<Session> for SessionBody {
    fn from(session: Session) -> Self {
        Self {
            session_id: session.session_id.to_string(),
            device: session.device,
            network: session.network,
            created_at: session.created_at,
            last_used_at: session.last_seen_at,
            expires_at: session.expires_at,
            current: session.is_current,
        }
    }
}

/// A customer's sessions.
#[derive(Serialize, ToSchema)]
pub struct SessionsBody {
    /// The one that asks first, then those that were used last; at most 100.
    sessions: Vec<SessionBody>,
}

/// How many sessions ended.
#[derive(Serialize, ToSchema)]
pub struct SessionsEndedBody {
    ended: u64,
}

/// The sessions of the session's customer.
#[utoipa::path(
    get, path = "/api/customers/sessions", tag = "customers", security(("token" = []), ("session" = [])),
    responses(
        (status = 200, body = SessionsBody),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
    )
)]
pub async fn list(
    State(state): State<WebState>,
    SignedIn(customer_id): SignedIn,
    headers: HeaderMap,
) -> Result<Json<SessionsBody>, Problem> {
    let own = caller::token(&headers).unwrap_or_default();
    let sessions = state.app.sessions(&customer_id, &own).await?;
    Ok(Json(SessionsBody { sessions: sessions.into_iter().map(Into::into).collect() }))
}

/// End a session of the session's customer, on all servers at once.
#[utoipa::path(
    delete, path = "/api/customers/sessions/{session_id}", tag = "customers",
    security(("token" = []), ("session" = [])), params(("session_id" = String, Path)),
    responses(
        (status = 204, description = "it has ended"),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
        (status = 404, body = ProblemBody, description = "`session_not_found`, also where it has ended already"),
    )
)]
pub async fn end(
    State(state): State<WebState>,
    SignedIn(customer_id): SignedIn,
    Path(session_id): Path<String>,
) -> Result<StatusCode, Problem> {
    let session_id = session_id.parse().map_err(|_| Refusal::SessionUnknown)?;
    state.app.end_session(&customer_id, &session_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End all sessions of the session's customer but the one that asks.
#[utoipa::path(
    post, path = "/api/customers/sessions/end-others", tag = "customers", security(("token" = []), ("session" = [])),
    responses(
        (status = 200, body = SessionsEndedBody),
        (status = 401, body = ProblemBody, description = "`not_signed_in`"),
    )
)]
pub async fn end_others(
    State(state): State<WebState>,
    SignedIn(customer_id): SignedIn,
    headers: HeaderMap,
) -> Result<Json<SessionsEndedBody>, Problem> {
    let own = caller::token(&headers).unwrap_or_default();
    let ended = state.app.end_other_sessions(&customer_id, &own).await?;
    Ok(Json(SessionsEndedBody { ended }))
}
