//! API keys: who has access, giving it and taking it back.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use counterfoil_core::{Refusal, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Operator, ReasonRequest, Segment};
use crate::app::api_keys::{create_api_key, list_api_keys, revoke_api_key};
use crate::app::operators::Scope;
use crate::store::api_keys::ApiKey;
use crate::web::WebState;
use crate::web::json::JsonBody;
use crate::web::problem::{Problem, ProblemBody};

/// An API key, without its secret.
#[derive(Serialize, ToSchema)]
pub struct ApiKeyBody {
    key_id: String,
    name: String,
    /// `checkout`, `read`, `support`, `billing` or `admin`.
    #[schema(example = "support")]
    scope: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// To a few minutes.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    /// When it was taken back; it opens nothing since.
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
}

impl From<&ApiKey> for ApiKeyBody {
    fn from(key: &ApiKey) -> Self {
        Self {
            key_id: key.key_id.to_string(),
            name: key.name.clone(),
            scope: key.scope.clone(),
            created_at: key.created_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// All API keys.
#[derive(Serialize, ToSchema)]
pub struct ApiKeyListBody {
    /// The newest first.
    keys: Vec<ApiKeyBody>,
}

/// What the new key is for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiKeyRequest {
    /// What the key is for, at most 100 characters.
    #[schema(example = "help desk")]
    name: String,
    /// `checkout`, `read`, `support`, `billing` or `admin`.
    #[schema(example = "support")]
    scope: String,
    /// Why, for the audit log.
    #[schema(example = "a new colleague")]
    reason: String,
}

/// A key that has just been made.
#[derive(Serialize, ToSchema)]
pub struct NewApiKeyBody {
    key_id: String,
    /// Shown this once; only its hash is kept.
    secret: String,
    scope: String,
}

/// All API keys, revoked ones too.
#[utoipa::path(
    get, path = "/api/admin/keys", tag = "operators", security(("token" = [])), extensions(("x-scope" = json!("admin"))),
    responses(
        (status = 200, body = ApiKeyListBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
    )
)]
pub async fn list(operator: Operator, State(state): State<WebState>) -> Result<Json<ApiKeyListBody>, Problem> {
    operator.require(Scope::Admin)?;
    let keys = list_api_keys(&state.app.db).await?;
    Ok(Json(ApiKeyListBody { keys: keys.iter().map(Into::into).collect() }))
}

/// Make an API key. Its secret is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/api/admin/keys", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("admin"))), request_body = NewApiKeyRequest,
    responses(
        (status = 201, body = NewApiKeyBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn create(
    operator: Operator,
    State(state): State<WebState>,
    JsonBody(request): JsonBody<NewApiKeyRequest>,
) -> Result<Response, Problem> {
    let by = operator.acts(Scope::Admin, &request.reason)?;
    let no_scope = Refusal::InvalidField { field: "scope", reason: "use checkout, read, support, billing or admin" };
    let scope = Scope::parse(&request.scope).ok_or(no_scope)?;
    let app = &state.app;
    let key = create_api_key(&app.db, &app.clock, &app.entropy, &request.name, scope, &by).await?;
    let body = NewApiKeyBody { key_id: key.key_id.to_string(), secret: key.secret, scope: scope.word().to_owned() };
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// Take an API key back. A second time changes nothing.
#[utoipa::path(
    post, path = "/api/admin/keys/{key_id}/revoke", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("admin"))), params(("key_id" = String, Path)), request_body = ReasonRequest,
    responses(
        (status = 200, body = ApiKeyBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`api_key_not_found`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn revoke(
    operator: Operator,
    State(state): State<WebState>,
    Segment(key_id): Segment,
    JsonBody(request): JsonBody<ReasonRequest>,
) -> Result<Json<ApiKeyBody>, Problem> {
    let by = operator.acts(Scope::Admin, &request.reason)?;
    let key_id = key_id.parse().map_err(|_| Refusal::ApiKeyUnknown)?;
    let key = revoke_api_key(&state.app.db, &state.app.clock, &key_id, &by).await?;
    Ok(Json((&key).into()))
}
