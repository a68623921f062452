//! Events for operators: what came from the payment provider, and looking again because of one.

use axum::Json;
use axum::extract::State;
use counterfoil_core::{CustomerId, Refusal, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Operator, ReasonRequest, Segment};
use crate::app::operators::Scope;
use crate::app::queues::Wanted;
use crate::store::events::{EventState, StoredEvent};
use crate::web::WebState;
use crate::web::json::JsonBody;
use crate::web::problem::{Problem, ProblemBody};
use crate::web::query::PlainQuery;

/// Which rows of a queue.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct QueueQuery {
    /// Only those in this state.
    state: Option<String>,
    /// Only those of this customer.
    customer_id: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<i64>,
    /// At most 200; 50 where nothing is said.
    limit: Option<i64>,
}

/// What to ask the queue for; `parse` reads its words for states.
pub fn wanted<S>(
    query: Result<PlainQuery<QueueQuery>, Problem>,
    parse: impl Fn(&str) -> Option<S>,
) -> Result<Wanted<S>, Problem> {
    let PlainQuery(query) = query?;
    let unknown = Refusal::InvalidField { field: "state", reason: "it is none of this queue's states" };
    let state = match query.state.as_deref() {
        Some(word) => Some(parse(word).ok_or(unknown)?),
        None => None,
    };
    let customer_id = match &query.customer_id {
        Some(text) => Some(text.parse::<CustomerId>().map_err(|_| Refusal::CustomerUnknown)?),
        None => None,
    };
    Ok(Wanted { state, customer_id, before: query.cursor, limit: query.limit.unwrap_or(50) })
}

/// An event.
#[derive(Serialize, ToSchema)]
pub struct EventBody {
    event_id: String,
    #[serde(rename = "type")]
    event_type: String,
    /// `webhook`, or `sweep` where no webhook brought it.
    source: String,
    /// `pending`, `processed`, `ignored` or `dead`.
    state: String,
    ignored_because: Option<String>,
    #[schema(value_type = Option<String>)]
    customer_id: Option<CustomerId>,
    attempts: i64,
    /// Whether the newest error goes away by itself: `transient` or `permanent`.
    failure: Option<String>,
    last_error: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    received_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    run_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    processed_at: Option<Timestamp>,
    /// What was sent, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

impl From<StoredEvent> for EventBody {
    fn from(event: StoredEvent) -> Self {
        Self {
            event_id: event.event_id,
            event_type: event.event_type,
            source: event.source,
            state: event.state.word().to_owned(),
            ignored_because: event.ignored_because,
            customer_id: event.customer_id,
            attempts: event.attempts,
            failure: event.failure,
            last_error: event.last_error,
            received_at: event.received_at,
            run_at: event.run_at,
            processed_at: event.processed_at,
            body: None,
        }
    }
}

/// A page of events, newest first.
#[derive(Serialize, ToSchema)]
pub struct EventsBody {
    events: Vec<EventBody>,
    /// Where the next page begins; null on the last one.
    next_cursor: Option<i64>,
}

/// Whether to show what was sent.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ShowQuery {
    /// Show what was sent as well. It can hold addresses.
    #[serde(default)]
    body: bool,
}

/// The events that came from the payment provider, newest first.
#[utoipa::path(
    get, path = "/api/admin/events", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("read"))), params(QueueQuery),
    responses(
        (status = 200, body = EventsBody),
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
) -> Result<Json<EventsBody>, Problem> {
    operator.require(Scope::Read)?;
    let page = state.app.list_events(&wanted(query, EventState::parse)?).await?;
    Ok(Json(EventsBody { events: page.rows.into_iter().map(EventBody::from).collect(), next_cursor: page.next }))
}

/// One event: what became of it, and why.
#[utoipa::path(
    get, path = "/api/admin/events/{event_id}", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("read"))),
    params(("event_id" = String, Path), ShowQuery),
    responses(
        (status = 200, body = EventBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`event_not_found`"),
    )
)]
pub async fn show(
    operator: Operator,
    State(state): State<WebState>,
    Segment(event_id): Segment,
    query: Result<PlainQuery<ShowQuery>, Problem>,
) -> Result<Json<EventBody>, Problem> {
    operator.require(Scope::Read)?;
    let PlainQuery(query) = query?;
    let (event, raw) = state.app.find_event(&event_id).await?;
    let body = query.body.then(|| String::from_utf8_lossy(&raw).into_owned());
    Ok(Json(EventBody { body, ..event.into() }))
}

/// Work an event off again. It only makes us look at its customer, so it never does harm.
#[utoipa::path(
    post, path = "/api/admin/events/{event_id}/replay", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("support"))),
    params(("event_id" = String, Path)), request_body = ReasonRequest,
    responses(
        (status = 200, body = EventBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "`event_not_found`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn replay(
    operator: Operator,
    State(state): State<WebState>,
    Segment(event_id): Segment,
    JsonBody(request): JsonBody<ReasonRequest>,
) -> Result<Json<EventBody>, Problem> {
    let by = operator.acts(Scope::Support, &request.reason)?;
    Ok(Json(state.app.replay_event(&event_id, &by).await?.into()))
}
