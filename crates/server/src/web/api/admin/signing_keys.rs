//! The keys that sign licenses, as operators rotate them.

use axum::Json;
use axum::extract::State;
use counterfoil_core::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Operator, ReasonRequest, Segment};
use crate::app::key_sets::InstalledKeys;
use crate::app::operators::Scope;
use crate::app::signing_keys::{Rotated, Rotation};
use crate::store::key_sets::InstalledSet;
use crate::store::signing_keys::StoredKey;
use crate::web::json::JsonBody;
use crate::web::problem::{Problem, ProblemBody};
use crate::web::{WebState, to_its_end};

/// A signing key, without its private half. It is a JSON Web Key with its state, as the root takes it.
#[derive(Serialize, ToSchema)]
pub struct SigningKeyBody {
    /// The RFC 7638 thumbprint: the `kid` of what it signs.
    key_id: String,
    /// `OKP`.
    kty: &'static str,
    /// `Ed25519`.
    crv: &'static str,
    x: String,
    /// `pending`, `active`, `retired` or `compromised`.
    state: &'static str,
    /// When it was published.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    activated_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    retired_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    compromised_at: Option<Timestamp>,
}

impl From<&StoredKey> for SigningKeyBody {
    fn from(key: &StoredKey) -> Self {
        Self {
            key_id: key.key_id.clone(),
            kty: "OKP",
            crv: "Ed25519",
            x: key.public_key.clone(),
            state: key.state.word(),
            created_at: key.created_at,
            activated_at: key.activated_at,
            retired_at: key.retired_at,
            compromised_at: key.compromised_at,
        }
    }
}

/// The key set that the root signed last.
#[derive(Serialize, ToSchema)]
pub struct KeySetBody {
    /// What products pin.
    root: String,
    serial: i64,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    installed_at: Timestamp,
}

impl From<&InstalledSet> for KeySetBody {
    fn from(set: &InstalledSet) -> Self {
        Self { root: set.root.clone(), serial: set.serial, expires_at: set.expires_at, installed_at: set.installed_at }
    }
}

/// All signing keys.
#[derive(Serialize, ToSchema)]
pub struct SigningKeysBody {
    /// The `iss` of what they sign.
    issuer: String,
    /// The oldest first.
    keys: Vec<SigningKeyBody>,
    /// None where no root signs them.
    key_set: Option<KeySetBody>,
}

impl From<&InstalledKeys> for SigningKeysBody {
    fn from(installed: &InstalledKeys) -> Self {
        Self {
            issuer: installed.issuer.clone(),
            keys: installed.keys.iter().map(Into::into).collect(),
            key_set: installed.key_set.as_ref().map(Into::into),
        }
    }
}

/// Make a key, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerateRequest {
    /// Why, in a few words, for the audit log.
    #[schema(example = "the yearly rotation")]
    reason: String,
    /// Although a key in the database cannot be read any more.
    force: Option<bool>,
}

/// How to rotate, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// Why, in a few words, for the audit log.
    #[schema(example = "the yearly rotation")]
    reason: String,
    /// Without waiting until everybody who keeps a copy of the published keys knows the new one.
    now: Option<bool>,
    /// Although the key set of the root does not list the new key, or the old one cannot be read any more.
    force: Option<bool>,
}

/// What a rotation came to.
#[derive(Serialize, ToSchema)]
pub struct RotatedBody {
    /// Whether the key signs; else it is published, and the same call lets it sign from `ready_at` on.
    rotated: bool,
    key: SigningKeyBody,
    /// The key that signed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    retired: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    ready_at: Option<Timestamp>,
}

/// What giving a key up came to.
#[derive(Serialize, ToSchema)]
pub struct CompromisedBody {
    key: SigningKeyBody,
    /// The key that signs in its place, where it signed.
    successor: Option<String>,
}

/// All signing keys, and the key set of the root.
#[utoipa::path(
    get, path = "/api/admin/signing-keys", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("admin"))),
    responses(
        (status = 200, body = SigningKeysBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
    )
)]
pub async fn list(operator: Operator, State(state): State<WebState>) -> Result<Json<SigningKeysBody>, Problem> {
    operator.require(Scope::Admin)?;
    Ok(Json((&state.app.signing_keys().await?).into()))
}

/// Make a key and publish it. It signs nothing until the keys are rotated.
#[utoipa::path(
    post, path = "/api/admin/signing-keys", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("admin"))), request_body = GenerateRequest,
    responses(
        (status = 200, body = SigningKeyBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "`signing_key_pending`, `signing_keys_changed`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn generate(
    operator: Operator,
    State(state): State<WebState>,
    JsonBody(request): JsonBody<GenerateRequest>,
) -> Result<Json<SigningKeyBody>, Problem> {
    let by = operator.acts(Scope::Admin, &request.reason)?;
    let force = request.force.unwrap_or(false);
    let key = to_its_end(async move { state.app.generate_key(force, &by).await }).await?;
    Ok(Json((&key).into()))
}

/// Go on to the next key: it is published where none is pending, and signs once it was published for ten minutes.
#[utoipa::path(
    post, path = "/api/admin/signing-keys/rotate", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("admin"))), request_body = RotateRequest,
    responses(
        (status = 200, body = RotatedBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "`signing_key_too_young`, `signing_key_not_listed`, `signing_keys_changed`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "`signing_key_unavailable`: this server does not hold the key"),
    )
)]
pub async fn rotate(
    operator: Operator,
    State(state): State<WebState>,
    JsonBody(request): JsonBody<RotateRequest>,
) -> Result<Json<RotatedBody>, Problem> {
    let by = operator.acts(Scope::Admin, &request.reason)?;
    let how = Rotation { now: request.now.unwrap_or(false), force: request.force.unwrap_or(false) };
    let rotated = to_its_end(async move { state.app.rotate_keys(how, &by).await }).await?;
    Ok(Json(match rotated {
        Rotated::Published { key, ready_at } => {
            RotatedBody { rotated: false, key: (&key).into(), retired: None, ready_at: Some(ready_at) }
        }
        Rotated::Activated { key, retired } => {
            RotatedBody { rotated: true, key: (&key).into(), retired, ready_at: None }
        }
    }))
}

/// Take a key back that signs nothing yet.
#[utoipa::path(
    post, path = "/api/admin/signing-keys/{kid}/retire", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("admin"))), params(("kid" = String, Path)), request_body = ReasonRequest,
    responses(
        (status = 200, body = SigningKeyBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`signing_key_not_found`"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "`signing_key_state`: the key that signs is rotated, not retired"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn retire(
    operator: Operator,
    State(state): State<WebState>,
    Segment(key_id): Segment,
    JsonBody(request): JsonBody<ReasonRequest>,
) -> Result<Json<SigningKeyBody>, Problem> {
    let by = operator.acts(Scope::Admin, &request.reason)?;
    let key = to_its_end(async move { state.app.retire_key(&key_id, &by).await }).await?;
    Ok(Json((&key).into()))
}

/// Give a key up that somebody else has. Nothing that it signed counts any more; the worker issues all of it again.
#[utoipa::path(
    post, path = "/api/admin/signing-keys/{kid}/compromise", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("admin"))), params(("kid" = String, Path)), request_body = ReasonRequest,
    responses(
        (status = 200, body = CompromisedBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`signing_key_not_found`"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "`signing_key_state`, `signing_keys_changed`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn compromise(
    operator: Operator,
    State(state): State<WebState>,
    Segment(key_id): Segment,
    JsonBody(request): JsonBody<ReasonRequest>,
) -> Result<Json<CompromisedBody>, Problem> {
    let by = operator.acts(Scope::Admin, &request.reason)?;
    let given_up = to_its_end(async move { state.app.compromise_key(&key_id, &by).await }).await?;
    Ok(Json(CompromisedBody {
        key: (&given_up.key).into(),
        successor: given_up.successor.map(|successor| successor.key_id),
    }))
}
