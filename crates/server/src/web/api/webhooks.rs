//! Where the payment provider tells us that something happened.

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::web::WebState;
use crate::web::json::{WEBHOOK_BODY_BYTES_MAX, read_body};
use crate::web::problem::{Problem, ProblemBody};

const SIGNATURE_HEADER: &str = "stripe-signature";

/// The event is safe in the database.
#[derive(Serialize, ToSchema)]
pub struct ReceivedBody {
    received: bool,
}

/// Take an event in. The answer is 200 once it is stored; what it means is found out afterwards.
#[utoipa::path(
    post, path = "/api/webhooks/stripe", tag = "webhooks",
    request_body(content = Object, content_type = "application/json", description = "the event, byte for byte as it was signed"),
    params(("stripe-signature" = String, Header, description = "Stripe's signature")),
    responses(
        (status = 200, body = ReceivedBody),
        (status = 400, body = ProblemBody, description = "`invalid_signature`, `invalid_event`"),
        (status = 413, body = ProblemBody, description = "`body_too_large`"),
    )
)]
pub async fn stripe(State(state): State<WebState>, request: Request) -> Result<Json<ReceivedBody>, Problem> {
    let headers = request.headers().clone();
    let body = read_body(request, &state, WEBHOOK_BODY_BYTES_MAX).await?;
    let signatures: Vec<&[u8]> = headers.get_all(SIGNATURE_HEADER).iter().map(|value| value.as_bytes()).collect();
    state.app.receive_webhook(&signatures, &body).await?;
    Ok(Json(ReceivedBody { received: true }))
}
