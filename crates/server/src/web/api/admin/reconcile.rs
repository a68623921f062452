//! The comparison of book and payment provider for operators, page by page.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Operator;
use crate::app::operators::Scope;
use crate::app::reconcile::{Compared, Difference};
use crate::web::WebState;
use crate::web::json::JsonBody;
use crate::web::problem::{Problem, ProblemBody};
use crate::web::query::PlainQuery;
use crate::web::to_its_end;

/// Which page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// `next_cursor` of the page before; nothing for the first one.
    cursor: Option<String>,
}

/// Which page to bring in line, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReconcileRequest {
    /// `next_cursor` of the page before; nothing for the first one.
    cursor: Option<String>,
    /// Why, in a few words, for the audit log.
    #[schema(example = "after the outage")]
    reason: String,
}

/// One thing that the two sides see differently.
#[derive(Serialize, ToSchema)]
pub struct FieldBody {
    #[schema(example = "status")]
    field: String,
    book: String,
    provider: String,
}

/// A customer of whom the two sides say different things.
#[derive(Serialize, ToSchema)]
pub struct DifferenceBody {
    customer_id: String,
    stripe_customer_id: Option<String>,
    fields: Vec<FieldBody>,
    /// Whether it was brought in line.
    fixed: bool,
}

/// One page of the comparison: first the book, then the provider's list.
#[derive(Serialize, ToSchema)]
pub struct ComparedBody {
    /// Customers, or rows of the provider's list, that were gone through.
    looked_at: usize,
    differences: Vec<DifferenceBody>,
    /// Where the next page begins; null on the last one.
    next_cursor: Option<String>,
}

impl From<Difference> for DifferenceBody {
    fn from(each: Difference) -> Self {
        let field = |field: crate::app::reconcile::Field| FieldBody {
            field: field.name.to_owned(),
            book: field.book,
            provider: field.provider,
        };
        Self {
            customer_id: each.customer_id.to_string(),
            stripe_customer_id: each.external_customer.map(|id| id.to_string()),
            fields: each.fields.into_iter().map(field).collect(),
            fixed: each.fixed,
        }
    }
}

impl From<Compared> for ComparedBody {
    fn from(page: Compared) -> Self {
        Self {
            looked_at: page.looked_at,
            differences: page.differences.into_iter().map(Into::into).collect(),
            next_cursor: page.next,
        }
    }
}

/// Compare the book with the payment provider. Nothing is changed.
#[utoipa::path(
    get, path = "/api/admin/reconcile", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("read"))), params(PageQuery),
    responses(
        (status = 200, body = ComparedBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn compare(
    operator: Operator,
    State(state): State<WebState>,
    query: Result<PlainQuery<PageQuery>, Problem>,
) -> Result<Json<ComparedBody>, Problem> {
    operator.require(Scope::Read)?;
    let PlainQuery(query) = query?;
    Ok(Json(state.app.reconcile(query.cursor.as_deref(), None).await?.into()))
}

/// Compare the book with the payment provider, and bring in line what differs.
#[utoipa::path(
    post, path = "/api/admin/reconcile", tag = "operators", security(("token" = [])),
    extensions(("x-scope" = json!("billing"))), request_body = ReconcileRequest,
    responses(
        (status = 200, body = ComparedBody),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "`operator_key_missing`"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "`scope_missing`"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "`invalid_field`"),
    )
)]
pub async fn fix(
    operator: Operator,
    State(state): State<WebState>,
    JsonBody(request): JsonBody<ReconcileRequest>,
) -> Result<Json<ComparedBody>, Problem> {
    let by = operator.acts(Scope::Billing, &request.reason)?;
    let page = to_its_end(async move { state.app.reconcile(request.cursor.as_deref(), Some(&by)).await }).await?;
    Ok(Json(page.into()))
}
