//! Lists, to their last page. A list that is cut would read as "there is no more", so whatever stops us is an error.

use counterfoil_core::probe;
use serde_json::Value;

use super::client::Client;
use super::error::unreadable;
use super::form::Form;
use super::json;
use crate::providers::{Page, ProviderError};

/// Stripe's own limit.
const PAGE_ITEMS: i64 = 100;

/// All items. The cursor is the last id of a page, so an object made meanwhile moves nothing past us.
pub(super) async fn all(client: &Client, path: &str, filter: &Form) -> Result<Vec<Value>, ProviderError> {
    let mut items: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..client.limits().pages_max {
        let page = one(client, path, filter, cursor.as_deref()).await?;
        items.extend(page.items);
        match page.next {
            None => return Ok(items),
            Some(next) if cursor.as_ref() == Some(&next) => return Err(unreadable("the list does not go on", None)),
            Some(next) => {
                probe!("F44");
                cursor = Some(next);
            }
        }
    }
    Err(ProviderError::Rejected {
        code: None,
        message: format!("the list {path} has more than {} pages", client.limits().pages_max),
        request_id: None,
    })
}

/// The newest items, as many as fit on one page of `items_max`.
pub(super) async fn newest(
    client: &Client,
    path: &str,
    filter: &Form,
    items_max: i64,
) -> Result<Vec<Value>, ProviderError> {
    Ok(page(client, path, &filter.clone().integer("limit", items_max)).await?.items)
}

/// One page, as large as Stripe makes them.
pub(super) async fn one(
    client: &Client,
    path: &str,
    filter: &Form,
    after: Option<&str>,
) -> Result<Page<Value>, ProviderError> {
    page(client, path, &filter.clone().integer("limit", PAGE_ITEMS).optional("starting_after", after)).await
}

async fn page(client: &Client, path: &str, query: &Form) -> Result<Page<Value>, ProviderError> {
    let mut answer = client.get(path, query).await?;
    let Some(Value::Array(items)) = answer.body.get_mut("data").map(Value::take) else {
        return Err(unreadable("it is not a list", answer.request_id));
    };
    let next = if json::flag(&answer.body, &["has_more"]) {
        let last = items.last().and_then(|item| json::text(item, &["id"])).map(str::to_owned);
        Some(last.ok_or_else(|| unreadable("a page without a last item says that there is more", answer.request_id))?)
    } else {
        None
    };
    Ok(Page { items, next })
}
