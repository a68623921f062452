//! Stripe's lists: newest first, cursors by id, at most 100 a page.

use serde_json::{Value, json};

use super::Call;
use crate::context::Context;
use crate::error::ApiError;
use crate::form::Params;
use crate::json;
use crate::store::Kind;

const LIMIT_DEFAULT: i64 = 10;
const LIMIT_MAX: i64 = 100;

/// One page of the objects of a kind that pass `wanted`.
pub(crate) fn page(cx: &Context, call: &Call, kind: Kind, wanted: impl Fn(&Value) -> bool) -> Result<Value, ApiError> {
    for cursor in ["starting_after", "ending_before"] {
        if let Some(id) = call.params.filled(cursor).filter(|id| cx.store.get(kind, id).is_none()) {
            return Err(ApiError::no_such_reference(kind.noun(), id, cursor));
        }
    }
    let created = Created::read(&call.params)?;
    let rows = cx.store.newest_first(kind).filter(|(id, value)| {
        // A cursor stays usable when its object no longer passes the filter.
        let is_cursor = ["starting_after", "ending_before"].iter().any(|name| call.params.text(name) == Some(id));
        is_cursor || (!json::flag(value, "_deleted") && created.contains(json::int(value, "created")) && wanted(value))
    });
    let rows: Vec<Value> = rows.map(|(_, value)| json::public(value)).collect();
    let mut page = page_of(&call.params, rows, &call.path)?;
    if let Some(data) = page.get_mut("data").and_then(Value::as_array_mut) {
        data.retain(|value| created.contains(json::int(value, "created")));
    }
    Ok(page)
}

/// Cuts one page out of `rows`, which are newest first.
pub(crate) fn page_of(params: &Params, rows: Vec<Value>, url: &str) -> Result<Value, ApiError> {
    let limit = params.int("limit")?.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let message = if limit < 1 {
            "This value must be greater than or equal to 1.".to_owned()
        } else {
            format!("This value must be less than or equal to {LIMIT_MAX} (it currently is '{limit}').")
        };
        return Err(ApiError::invalid(message).code("parameter_invalid_integer").param("limit"));
    }
    let limit = usize::try_from(limit).expect("the limit is between 1 and 100");
    let position = |id: &str| rows.iter().position(|row| json::text(row, "id") == id);
    let (first, last, has_more) = match (params.filled("starting_after"), params.filled("ending_before")) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid("You can only use one of `starting_after` or `ending_before`."));
        }
        (Some(after), None) => {
            let first = position(after).map_or(rows.len(), |index| index + 1);
            let last = (first + limit).min(rows.len());
            (first, last, last < rows.len())
        }
        (None, Some(before)) => {
            let last = position(before).unwrap_or_default();
            let first = last.saturating_sub(limit);
            (first, last, first > 0)
        }
        (None, None) => {
            let last = limit.min(rows.len());
            (0, last, last < rows.len())
        }
    };
    Ok(json!({ "object": "list", "data": rows[first..last], "has_more": has_more, "url": url }))
}

/// The beginning of a list inside an object, as much of it as a page has by itself. The rest is behind `url`.
pub(crate) fn beginning(data: &[Value], url: &str) -> Value {
    let shown = usize::try_from(LIMIT_DEFAULT).map_or(data.len(), |limit| limit.min(data.len()));
    json!({ "object": "list", "data": data[..shown], "has_more": shown < data.len(), "url": url })
}

/// A list inside an object, complete.
pub(crate) fn whole(data: Vec<Value>, url: &str) -> Value {
    json!({ "object": "list", "data": data, "has_more": false, "url": url })
}

/// `created=…` or `created[gte|gt|lte|lt]=…`.
struct Created {
    from: i64,
    until: i64,
}

impl Created {
    fn read(params: &Params) -> Result<Self, ApiError> {
        if let Some(exactly) = params.int("created")? {
            return Ok(Self { from: exactly, until: exactly });
        }
        if let Some(unknown) = params
            .nested("created")
            .tree()
            .as_object()
            .and_then(|range| range.keys().find(|key| !["gt", "gte", "lt", "lte"].contains(&key.as_str())).cloned())
        {
            return Err(ApiError::unknown_parameter(&format!("created.{unknown}")));
        }
        let from = params.int("created.gt")?.map(|second| second.saturating_add(1));
        let until = params.int("created.lt")?.map(|second| second.saturating_sub(1));
        Ok(Self {
            from: params.int("created.gte")?.or(from).unwrap_or(i64::MIN),
            until: params.int("created.lte")?.or(until).unwrap_or(i64::MAX),
        })
    }

    fn contains(&self, created: i64) -> bool {
        (self.from..=self.until).contains(&created)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(form: &str) -> (Vec<String>, bool) {
        let rows = (0..5).rev().map(|n| json!({ "id": format!("x{n}") })).collect();
        let page = page_of(&Params::decode(&[form]).expect("decodes"), rows, "/v1/x").expect("a page");
        let ids = json::items(&page, "data").iter().map(|row| json::text(row, "id").to_owned()).collect();
        (ids, json::flag(&page, "has_more"))
    }

    #[test]
    fn pages_run_both_ways() {
        assert_eq!(ids("limit=2"), (vec!["x4".into(), "x3".into()], true));
        assert_eq!(ids("limit=2&starting_after=x3"), (vec!["x2".into(), "x1".into()], true));
        assert_eq!(ids("limit=2&starting_after=x1"), (vec!["x0".into()], false));
        assert_eq!(ids("limit=2&ending_before=x0"), (vec!["x2".into(), "x1".into()], true));
        assert_eq!(ids("limit=2&ending_before=x3"), (vec!["x4".into()], false));
    }

    #[test]
    fn limits_outside_one_to_a_hundred_are_refused() {
        for limit in ["0", "101", "-1", "x"] {
            let params = Params::decode(&[&format!("limit={limit}")]).expect("decodes");
            assert!(page_of(&params, Vec::new(), "/v1/x").is_err(), "{limit}");
        }
    }
}
