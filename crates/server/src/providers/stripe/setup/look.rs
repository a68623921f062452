//! Reading what is at Stripe already.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{APP, Found, SetupError, Wanted, lookup_key};
use crate::providers::ProviderError;
use crate::providers::stripe::client::Client;
use crate::providers::stripe::facts::resource;
use crate::providers::stripe::form::Form;
use crate::providers::stripe::{json, list};

/// Stripe's own limit for one look-up.
const LOOKUP_KEYS_MAX: usize = 10;

pub(super) async fn look(client: &Client, wanted: &Wanted<'_>) -> Result<Found, SetupError> {
    let fail = |what: &str, permission| {
        let what = what.to_owned();
        move |source| SetupError::of(what, permission, "Read", source)
    };
    let prices = prices(client, wanted).await.map_err(fail("reading prices", "Prices"))?;
    let by_lookup_key = prices_by_key(client, wanted).await.map_err(fail("reading prices", "Prices"))?;
    let products = ours(client, "/v1/products").await.map_err(fail("reading products", "Products"))?;
    let mut portals = ours(client, "/v1/billing_portal/configurations")
        .await
        .map_err(fail("reading the billing portal's configurations", "Customer portal"))?;
    let own = |value: &Value| {
        json::text(value, &["metadata", "instance"]) == Some(wanted.instance.as_str()) && json::flag(value, &["active"])
    };
    portals.retain(own);
    let endpoints = match &wanted.webhook_url {
        Some(url) => {
            let read = endpoints_at(client, url).await;
            read.map_err(fail("reading the webhook endpoints", "Webhook Endpoints"))?
        }
        None => Vec::new(),
    };
    let unreachable = wanted.webhook_url.as_ref().is_some_and(|url| client.cannot_call_back(url));
    Ok(Found { products, prices, by_lookup_key, endpoints, unreachable, portals })
}

/// All endpoints that send to this address, oldest first.
pub(in crate::providers::stripe) async fn endpoints_at(
    client: &Client,
    url: &str,
) -> Result<Vec<Value>, ProviderError> {
    let mut endpoints = oldest_first(list::all(client, "/v1/webhook_endpoints", &Form::new()).await?);
    endpoints.retain(|endpoint| json::long_text(endpoint, &["url"]) == Some(url));
    Ok(endpoints)
}

/// A price by its id; `None` where there is none.
pub(in crate::providers::stripe) async fn price(
    client: &Client,
    id: &str,
    query: &Form,
) -> Result<Option<Value>, ProviderError> {
    match client.get(&resource("/v1/prices", id)?, query).await {
        Ok(found) => Ok(Some(found.body)),
        Err(ProviderError::PriceMissing { .. } | ProviderError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn prices(client: &Client, wanted: &Wanted<'_>) -> Result<BTreeMap<String, Value>, ProviderError> {
    let mut found = BTreeMap::new();
    for each in wanted.plans.iter().flat_map(|plan| &plan.prices) {
        if let Some(value) = price(client, &each.stripe_price, &Form::new()).await? {
            found.insert(each.stripe_price.clone(), value);
        }
    }
    Ok(found)
}

async fn prices_by_key(client: &Client, wanted: &Wanted<'_>) -> Result<BTreeMap<String, Value>, ProviderError> {
    let of_plan = |plan: &'_ counterfoil_core::Plan| -> Vec<String> {
        plan.prices.iter().map(|price| lookup_key(&plan.code, price)).collect()
    };
    let keys: Vec<String> = wanted.plans.iter().flat_map(of_plan).collect();
    let mut found = BTreeMap::new();
    for some in keys.chunks(LOOKUP_KEYS_MAX) {
        let query = some.iter().fold(Form::new(), |form, key| form.field("lookup_keys[]", key));
        for price in list::all(client, "/v1/prices", &query).await? {
            if let Some(key) = json::text(&price, &["lookup_key"]).map(str::to_owned) {
                found.insert(key, price);
            }
        }
    }
    Ok(found)
}

/// Everything in a list that has our metadata, oldest first. The search index would be minutes behind.
async fn ours(client: &Client, path: &str) -> Result<Vec<Value>, ProviderError> {
    let mut found = oldest_first(list::all(client, path, &Form::new()).await?);
    found.retain(|value| json::text(value, &["metadata", "app"]) == Some(APP));
    Ok(found)
}

/// Lists come newest first.
fn oldest_first(mut values: Vec<Value>) -> Vec<Value> {
    values.reverse();
    values
}
