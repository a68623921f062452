//! What the description of the API says of every call, so that no handler has to: what any call may answer beside what is told of
//! it, and in which form.

use axum::http::StatusCode;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::{AdditionalProperties, Schema};
use utoipa::openapi::{Content, ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};

use crate::app::operators::REASON_CHARS_MAX;

/// The schema of a problem, as [`ProblemBody`](crate::web::problem::ProblemBody) calls it.
const PROBLEM_SCHEMA: &str = "Problem";

const PROBLEM: &str = "application/problem+json";

/// What [`Operator::acts`](crate::app::operators) takes for a reason: one line with something in it.
const REASON_PATTERN: &str = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$";

/// Adds the common answers, and what every reason has to look like.
pub(super) fn completed(mut api: OpenApi) -> OpenApi {
    let schemas = api.components.iter_mut().flat_map(|components| components.schemas.values_mut());
    schemas.for_each(bound_reason);
    for item in api.paths.paths.values_mut() {
        for (operation, changes) in [
            (&mut item.get, false),
            (&mut item.post, true),
            (&mut item.put, true),
            (&mut item.patch, true),
            (&mut item.delete, true),
        ] {
            if let Some(operation) = operation {
                add_common_problems(operation, changes);
                operation.responses.responses.iter_mut().for_each(|(status, response)| correct(status, response));
            }
        }
    }
    api
}

/// Requests alone know all their fields; what is answered may have more, and is not bounded here.
fn bound_reason(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::Object(object)) = schema else { return };
    let is_request = matches!(object.additional_properties.as_deref(), Some(AdditionalProperties::FreeForm(false)));
    let Some(RefOr::T(Schema::Object(reason))) = object.properties.get_mut("reason").filter(|_| is_request) else {
        return;
    };
    reason.min_length = Some(1);
    reason.max_length = Some(REASON_CHARS_MAX);
    reason.pattern = Some(REASON_PATTERN.to_owned());
}

fn add_common_problems(operation: &mut Operation, changes: bool) {
    let mut common = vec![
        (500, "`internal`"),
        (
            503,
            "`database_unavailable`, `database_full`, `timed_out` and others, with Retry-After: what was wanted may be tried again",
        ),
    ];
    if changes {
        common.push((403, "`cross_site_request`: a browser sent it from another site"));
    }
    if let Some(RefOr::T(body)) = &operation.request_body {
        common.extend([(400, "`malformed_json`, `body_broken_off`"), (413, "`body_too_large`")]);
        // The bodies of webhooks are not ours: they are looked at once it is known whose they are.
        if body.content.values().any(is_of_a_known_shape) {
            common.extend([(415, "`unsupported_media_type`"), (422, "`invalid_request`")]);
        }
    }
    let in_query =
        |parameter: &RefOr<_>| matches!(parameter, RefOr::T(Parameter { parameter_in: ParameterIn::Query, .. }));
    if operation.parameters.iter().flatten().any(in_query) {
        common
            .push((422, "`invalid_request`: a parameter that this call does not take, or a value that it cannot read"));
    }
    for (status, description) in common {
        let response = || ResponseBuilder::new().description(description).content(PROBLEM, problem()).build();
        operation.responses.responses.entry(status.to_string()).or_insert_with(|| RefOr::T(response()));
    }
}

fn problem() -> Content {
    ContentBuilder::new().schema(Some(Ref::from_schema_name(PROBLEM_SCHEMA))).build()
}

fn is_of_a_known_shape(content: &RefOr<Content>) -> bool {
    matches!(content, RefOr::T(Content { schema: Some(RefOr::Ref(_)), .. }))
}

fn is_problem(content: &RefOr<Content>) -> bool {
    let RefOr::T(Content { schema: Some(RefOr::Ref(schema)), .. }) = content else { return false };
    schema.ref_location.rsplit('/').next() == Some(PROBLEM_SCHEMA)
}

/// Handlers say what a problem is about; that it goes by its own media type is the same for all. An answer that nobody has
/// described is called by what its status means, since a description has to be there.
fn correct(status: &str, response: &mut RefOr<Response>) {
    let RefOr::T(response) = response else { return };
    if response.content.get("application/json").is_some_and(is_problem) {
        response.content.clear();
        response.content.insert(PROBLEM.to_owned(), RefOr::T(problem()));
    }
    if response.description.is_empty() {
        let meaning = status.parse::<u16>().ok().and_then(|status| StatusCode::from_u16(status).ok());
        response.description = meaning.and_then(|status| status.canonical_reason()).unwrap_or("an answer").to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_an_operator_is_bounded() {
        let schemas = super::super::openapi().components.expect("schemas").schemas;
        let reasons: Vec<_> = schemas.iter().filter(|(_, schema)| {
            let RefOr::T(Schema::Object(object)) = schema else { return false };
            matches!(object.properties.get("reason"), Some(RefOr::T(Schema::Object(reason))) if reason.max_length == Some(REASON_CHARS_MAX))
        }).map(|(name, _)| name.as_str()).collect();
        assert!(reasons.len() >= 14 && reasons.contains(&"ManualStartBody"), "{reasons:?}");
    }

    #[test]
    fn each_call_tells_of_every_problem_and_problems_have_their_own_form() {
        let api = super::super::openapi();
        let calls = api.paths.paths.iter().flat_map(|(path, item)| {
            [&item.get, &item.post, &item.delete].into_iter().flatten().map(move |operation| (path, operation))
        });
        let mut seen = 0;
        for (path, operation) in calls {
            let responses = &operation.responses.responses;
            assert!(responses.contains_key("500") && !responses.contains_key("default"), "{path}");
            assert_eq!(operation.request_body.is_some(), responses.contains_key("413"), "{path}");
            for (status, response) in responses {
                let RefOr::T(response) = response else { panic!("{path} {status}") };
                assert!(!response.description.is_empty(), "{path} {status}");
                if status.starts_with(['4', '5']) && path != "/readyz" {
                    assert_eq!(response.content.keys().collect::<Vec<_>>(), [PROBLEM], "{path} {status}");
                    assert!(is_problem(&response.content[PROBLEM]), "{path} {status} has its fields");
                } else if status.starts_with('2') {
                    assert!(!response.content.values().any(is_problem), "{path} {status} is no problem");
                }
            }
            seen += 1;
        }
        assert!(seen > 70, "{seen}");
    }

    #[test]
    fn the_document_says_how_a_caller_shows_who_it_is() {
        let schemes = super::super::openapi().components.expect("components").security_schemes;
        assert_eq!(schemes.keys().collect::<Vec<_>>(), ["session", "token"]);
    }

    #[test]
    fn a_call_tells_of_the_problems_that_its_own_kind_can_have() {
        let api = super::super::openapi();
        let statuses = |path: &str| {
            let item = &api.paths.paths[path];
            let operation = item.post.as_ref().or(item.get.as_ref()).expect("a call");
            let common = ["400", "403", "413", "415", "422"].into_iter();
            common.filter(|status| operation.responses.responses.contains_key(*status)).collect::<Vec<_>>()
        };
        assert_eq!(statuses("/api/customers/me"), [""; 0], "nothing is sent, and nothing changes");
        assert_eq!(statuses("/api/customers/logout"), ["403"], "another site may try to");
        assert_eq!(statuses("/api/customers/login"), ["400", "403", "413", "415", "422"]);
        assert_eq!(statuses("/api/licenses"), ["422"], "it has a parameter");
        assert!(!statuses("/api/webhooks/stripe").contains(&"415"), "its body is not ours");
    }
}
