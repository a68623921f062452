//! Forms as browsers send them: bounded, and answered by a page where they are none.

use axum::Form;
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::page::{PageProblem, frame};
use crate::web::WebState;
use crate::web::caller::token;
use crate::web::json::BODY_BYTES_MAX;
use crate::web::problem::Problem;

/// The fields of a form.
pub struct FormBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<WebState> for FormBody<T> {
    type Rejection = PageProblem;

    async fn from_request(mut request: Request, state: &WebState) -> Result<Self, PageProblem> {
        // Nothing is worth a look into the database here: it only decides which links the page of the problem has.
        let seems_signed_in = token(request.headers()).is_some();
        DefaultBodyLimit::max(BODY_BYTES_MAX).apply(&mut request);
        match Form::<T>::from_request(request, state).await {
            Ok(Form(fields)) => Ok(Self(fields)),
            Err(rejection) => Err(PageProblem::new(explain(rejection.status()), frame(&state.app, seems_signed_in))),
        }
    }
}

fn explain(status: StatusCode) -> Problem {
    let (code, detail) = match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            ("body_too_large", format!("The form is larger than the {BODY_BYTES_MAX} bytes that are accepted here."))
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            ("unsupported_media_type", "What was sent is not a form. Open the page and use its own form.".to_owned())
        }
        StatusCode::UNPROCESSABLE_ENTITY => (
            "invalid_request",
            "The form is not the one of this page. Open the page again and use its own form.".to_owned(),
        ),
        _ => ("body_broken_off", "The form did not arrive in full. Send it again.".to_owned()),
    };
    Problem::new(status, code, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_keeps_a_form_from_being_read_says_what_to_do() {
        for (status, code) in [
            (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            (StatusCode::UNPROCESSABLE_ENTITY, "invalid_request"),
            (StatusCode::BAD_REQUEST, "body_broken_off"),
        ] {
            let problem = explain(status);
            assert_eq!((problem.status, problem.code), (status, code));
        }
    }
}
