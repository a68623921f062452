//! The table of API calls: which exist, which parameters each takes, and who answers.
//!
//! Stripe refuses parameters that it does not know, and so does the sandbox: a misspelt parameter must fail in a test,
//! not in production.

mod expand;
mod list;

use axum::http::Method;
use serde_json::Value;

use crate::context::Context;
use crate::error::ApiError;
use crate::form::Params;
use crate::resources;

use expand::expand;
pub(crate) use list::{beginning, page, page_of, whole};

/// One call after decoding: the ids of its path and its parameters.
pub(crate) struct Call {
    pub path: String,
    ids: Vec<String>,
    pub params: Params,
}

impl Call {
    pub(crate) fn id(&self) -> &str {
        self.ids.first().map_or("", String::as_str)
    }
}

pub(crate) type Handler = fn(&mut Context, &Call) -> Result<Value, ApiError>;

/// `params` names what is accepted: `a.b` is `a[b]`, `#` a list index, `*` any key, `**` anything below, `!` required.
pub(crate) struct Route {
    method: Method,
    path: &'static str,
    params: &'static str,
    listing: bool,
    run: Handler,
}

const LIST_PARAMS: &str = "limit starting_after ending_before created created.*";

impl Route {
    pub(crate) const fn get(path: &'static str, params: &'static str, run: Handler) -> Self {
        Self { method: Method::GET, path, params, listing: false, run }
    }

    pub(crate) const fn list(path: &'static str, params: &'static str, run: Handler) -> Self {
        Self { method: Method::GET, path, params, listing: true, run }
    }

    pub(crate) const fn post(path: &'static str, params: &'static str, run: Handler) -> Self {
        Self { method: Method::POST, path, params, listing: false, run }
    }

    pub(crate) const fn delete(path: &'static str, params: &'static str, run: Handler) -> Self {
        Self { method: Method::DELETE, path, params, listing: false, run }
    }

    fn ids(&self, path: &str) -> Option<Vec<String>> {
        let (mut pattern, mut given) = (self.path.split('/'), path.split('/'));
        let mut ids = Vec::new();
        loop {
            match (pattern.next(), given.next()) {
                (None, None) => return Some(ids),
                (Some("{id}"), Some(id)) if !id.is_empty() => ids.push(id.to_owned()),
                (Some(expected), Some(segment)) if expected == segment => {}
                _ => return None,
            }
        }
    }

    fn check(&self, params: &Params) -> Result<(), ApiError> {
        let allowed: Vec<Vec<&str>> = ["expand.#", self.params, if self.listing { LIST_PARAMS } else { "" }]
            .iter()
            .flat_map(|names| names.split_whitespace())
            .map(|name| name.trim_end_matches('!').split('.').collect())
            .collect();
        refuse_unknown(params.tree(), &mut Vec::new(), &allowed)?;
        for name in self.params.split_whitespace().filter_map(|name| name.strip_suffix('!')) {
            if !params.has(name) || params.text(name) == Some("") {
                return Err(ApiError::missing(name));
            }
        }
        Ok(())
    }
}

fn refuse_unknown(node: &Value, path: &mut Vec<String>, allowed: &[Vec<&str>]) -> Result<(), ApiError> {
    let children: Vec<(String, &Value)> = match node {
        Value::Object(fields) => fields.iter().map(|(key, child)| (key.clone(), child)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, child)| (index.to_string(), child)).collect(),
        _ => return Ok(()),
    };
    for (key, child) in children {
        path.push(key);
        // A container is known when a name continues below it; clearing one (`metadata=`) is known too.
        if !allowed.iter().any(|pattern| starts(pattern, path)) {
            return Err(ApiError::unknown_parameter(&path.join(".")));
        }
        refuse_unknown(child, path, allowed)?;
        path.pop();
    }
    Ok(())
}

fn starts(pattern: &[&str], path: &[String]) -> bool {
    for (index, key) in path.iter().enumerate() {
        match pattern.get(index) {
            Some(&"**") => return true,
            Some(&"*") => {}
            Some(&"#") if key.parse::<usize>().is_ok() => {}
            Some(expected) if expected == key => {}
            _ => return false,
        }
    }
    true
}

fn routes() -> impl Iterator<Item = &'static Route> {
    resources::ROUTES.iter().flat_map(|routes| routes.iter())
}

/// Finds the call, checks its parameters, runs it, and expands what was asked for.
pub(crate) fn dispatch(cx: &mut Context, method: &Method, path: &str, params: Params) -> Result<Value, ApiError> {
    let (route, ids) = routes()
        .filter(|route| route.method == *method)
        .find_map(|route| route.ids(path).map(|ids| (route, ids)))
        .ok_or_else(|| ApiError::unrecognized(method.as_str(), path))?;
    route.check(&params)?;
    let wanted = params.texts("expand");
    let call = Call { path: path.to_owned(), ids, params };
    let mut answer = (route.run)(cx, &call)?;
    for path in wanted {
        expand(cx, &mut answer, &path)?;
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: &'static str, form: &str) -> Result<(), String> {
        let route = Route::post("/v1/x", spec, |_, _| Ok(Value::Null));
        let params = Params::decode(&[form]).expect("decodes");
        route.check(&params).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn unknown_and_missing_parameters_are_named_in_brackets() {
        let spec = "mode! items.#.price metadata.* flow.**";
        assert_eq!(check(spec, "mode=x&items[0][price]=p&metadata[a]=b&flow[a][b]=c&expand[]=q"), Ok(()));
        assert_eq!(check(spec, "mode=x&metadata="), Ok(()));
        assert_eq!(check(spec, "mode=x&items[0][prise]=p"), Err("Received unknown parameter: items[0][prise]".into()));
        assert_eq!(check(spec, "items[0][price]=p"), Err("Missing required param: mode.".into()));
    }
}
