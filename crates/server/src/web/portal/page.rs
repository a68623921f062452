//! What every page is made with: who looks at it, how it is answered, and what is answered where there is none.

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use counterfoil_core::CustomerId;

use super::trouble;
use crate::app::App;
use crate::web::WebState;
use crate::web::caller::Who;
use crate::web::layers::request_id;
use crate::web::problem::Problem;
use crate::web::views::Frame;
use crate::web::way_back::own_path;

/// Whoever looks at a page, signed in or not.
#[derive(Debug)]
pub struct Visitor {
    pub customer_id: Option<CustomerId>,
    pub frame: Frame,
}

/// A signed-in customer; anybody else is asked to log in and comes back.
#[derive(Debug)]
pub struct Member {
    pub customer_id: CustomerId,
    pub frame: Frame,
}

impl FromRequestParts<WebState> for Visitor {
    type Rejection = PageProblem;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, PageProblem> {
        let Who(caller) = Who::from_request_parts(parts, state).await.on(&frame(&state.app, false))?;
        let customer_id = caller.customer().ok().cloned();
        Ok(Self { frame: frame(&state.app, customer_id.is_some()), customer_id })
    }
}

impl FromRequestParts<WebState> for Member {
    type Rejection = PageProblem;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, PageProblem> {
        let visitor = Visitor::from_request_parts(parts, state).await?;
        match visitor.customer_id {
            Some(customer_id) => Ok(Self { customer_id, frame: visitor.frame }),
            None => Err(PageProblem::LogInFirst { next: way_back(parts) }),
        }
    }
}

/// A page can be opened again after logging in; a form that was sent cannot.
fn way_back(parts: &Parts) -> String {
    let path = parts.uri.path_and_query().map_or("/account", |path| path.as_str());
    match parts.method {
        Method::GET | Method::HEAD => own_path(path).unwrap_or("/account").to_owned(),
        _ => "/account".to_owned(),
    }
}

/// The frame around a page.
pub fn frame(app: &App, signed_in: bool) -> Frame {
    Frame { signed_in, sandbox: app.settings.sandbox, ..Frame::new(app.settings.product_name.clone()) }
}

/// Why there is no page to show.
#[derive(Debug)]
pub enum PageProblem {
    /// The page is for customers; after logging in it goes on at `next`.
    LogInFirst { next: String },
    /// The problem is the page.
    Shown(Box<(Problem, Frame)>),
}

impl PageProblem {
    /// A problem as a page in this frame.
    pub fn new(problem: impl Into<Problem>, frame: Frame) -> Self {
        Self::Shown(Box::new((problem.into(), frame)))
    }
}

impl IntoResponse for PageProblem {
    fn into_response(self) -> Response {
        let (problem, frame) = match self {
            Self::LogInFirst { next } => return Redirect::to(&login_url(&next)).into_response(),
            Self::Shown(shown) => *shown,
        };
        let view = trouble::problem_view(&problem, frame, request_id());
        let mut response = match view.render() {
            Ok(html) => (problem.status, Html(html)).into_response(),
            Err(error) => {
                tracing::error!(%error, "the page of a problem could not be rendered");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        };
        if let Some(seconds) = problem.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn login_url(next: &str) -> String {
    let mut url = "/login?next=".to_owned();
    for byte in next.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => url.push(char::from(byte)),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

/// Refusals and failures become pages: the frame says around what.
pub trait OnPage<T> {
    /// The value, or the problem as a page in this frame.
    ///
    /// # Errors
    /// The problem.
    fn on(self, frame: &Frame) -> Result<T, PageProblem>;
}

impl<T, E: Into<Problem>> OnPage<T> for Result<T, E> {
    fn on(self, frame: &Frame) -> Result<T, PageProblem> {
        self.map_err(|error| PageProblem::new(error, frame.clone()))
    }
}

/// The page of a view.
///
/// # Errors
/// A view that cannot be rendered is a bug of ours.
pub fn show(view: &impl Template, frame: &Frame) -> Result<Html<String>, PageProblem> {
    let rendered = view.render().map_err(|error| {
        tracing::error!(%error, "a page could not be rendered");
        Problem::internal()
    });
    Ok(Html(rendered.on(frame)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_survives_as_a_parameter() {
        assert_eq!(
            login_url("/checkout/return?attempt=att_1&try=2"),
            "/login?next=/checkout/return%3Fattempt%3Datt_1%26try%3D2"
        );
    }

    #[test]
    fn a_page_is_come_back_to_and_a_form_is_not_sent_again() {
        let back = |method, uri: &str| {
            let request = axum::http::Request::builder().method(method).uri(uri).body(()).unwrap();
            way_back(&request.into_parts().0)
        };
        assert_eq!(back(Method::GET, "/checkout/return?attempt=att_1"), "/checkout/return?attempt=att_1");
        assert_eq!(back(Method::HEAD, "/account/license"), "/account/license");
        assert_eq!(back(Method::GET, "//evil.example"), "/account");
        assert_eq!(back(Method::POST, "/account/cancel"), "/account");
    }
}
