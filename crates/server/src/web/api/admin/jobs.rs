//! Jobs for operators: what is owed to the world and not done yet, and what was given up.

use axum::Json;
use axum::extract::State;
use counterfoil_core::{CustomerId, EffectId, Refusal, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::events::{QueueQuery, wanted};
use super::{Operator, ReasonRequest, Segment};
use crate::app::operators::Scope;
use crate::store::jobs::{Job, JobState};
use crate::web::WebState;
use crate::web::json::JsonBody;
use crate::web::problem::{Problem, ProblemBody};
use crate::web::query::PlainQuery;

/// A job, without its text, which holds a licence.
#[derive(Serialize, ToSchema)]
pub struct JobBody {
    job_id: String,
    /// `mail`, or another thing that is owed.
    kind: String,
    /// What it is for.
    purpose: String,
    /// `pending`, `sent`, `dead` or `discarded`.
    state: String,
    #[schema(value_type = Option<String>)]
    customer_id: Option<CustomerId>,
    attempts: i64,
    /// Whether the newest error goes away by itself: `transient` or `permanent`.
    failure: Option<String>,
    last_error: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    run_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    done_at: Option<Timestamp>,
}

impl From<Job> for JobBody {
    fn from(job: Job) -> Self {
        Self {
            job_id: job.job_id.to_string(),
            kind: job.kind,
            purpose: job.purpose,
            state: job.state.word().to_owned(),
            customer_id: job.customer_id,
            attempts: job.attempts,
            failure: job.failure,
            last_error: job.last_error,
            created_at: job.created_at,
            run_at: job.run_at,
            done_at: job.done_at,
        }
    }
}

/// A page of jobs, newest first.
#[derive(Serialize, ToSchema)]
pub struct JobsBody {
    jobs: Vec<JobBody>,
    /// Where the next page begins; null on the last one.
    next_cursor: Option<i64>,
}

fn parse(job_id: &str) -> Result<EffectId, Refusal> {
    job_id.parse().map_err(|_| Refusal::JobUnknown)
}

/// What is owed to the world, newest first: mails above all.
#[utoipa::path(
    get, path = "/api/admin/jobs", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("read"))), params(QueueQuery),
    responses(
        (status = 200, body = JobsBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`customer_not_found`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn list(
    operator: Operator,
    State(state): State<WebState>,
    query: Result<PlainQuery<QueueQuery>, Problem>,
) -> Result<Json<JobsBody>, Problem> {
    operator.require(Scope::Read)?;
    let page = state.app.list_jobs(&wanted(query, JobState::parse)?).await?;
    Ok(Json(JobsBody { jobs: page.rows.into_iter().map(JobBody::from).collect(), next_cursor: page.next }))
}

/// Do a job now that waits or was given up. What is done already is refused.
#[utoipa::path(
    post, path = "/api/admin/jobs/{job_id}/retry", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("support"))),
    params(("job_id" = String, Path)), request_body = ReasonRequest,
    responses(
        (status = 200, body = JobBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`job_not_found`"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "`job_is_over`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn retry(
    operator: Operator,
    State(state): State<WebState>,
    Segment(job_id): Segment,
    JsonBody(request): JsonBody<ReasonRequest>,
) -> Result<Json<JobBody>, Problem> {
    let by = operator.acts(Scope::Support, &request.reason)?;
    Ok(Json(state.app.retry_job(&parse(&job_id)?, &by).await?.into()))
}

/// Give a job up for good. It stays in the list as `discarded`.
#[utoipa::path(
    post, path = "/api/admin/jobs/{job_id}/discard", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("billing"))),
    params(("job_id" = String, Path)), request_body = ReasonRequest,
    responses(
        (status = 200, body = JobBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`job_not_found`"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "`job_is_over`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn discard(
    operator: Operator,
    State(state): State<WebState>,
    Segment(job_id): Segment,
    JsonBody(request): JsonBody<ReasonRequest>,
) -> Result<Json<JobBody>, Problem> {
    let by = operator.acts(Scope::Billing, &request.reason)?;
    Ok(Json(state.app.discard_job(&parse(&job_id)?, &by).await?.into()))
}
