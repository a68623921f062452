//! The page of every error: what happened, what to do, and two codes for whoever helps.

use askama::Template;

use super::{Frame, Link, words};

/// An error as a page. The handler gives the refusal's own title, sentence and code; the constructors hold the texts of the
/// errors that no use case knows of.
#[derive(Clone, Debug, Template)]
#[template(path = "problem.html")]
pub struct ProblemView {
    /// What is around the page.
    pub frame: Frame,
    /// The HTTP status.
    pub status: u16,
    /// A short title.
    pub title: String,
    /// A sentence that helps.
    pub sentence: String,
    /// The stable code, as in the API.
    pub code: String,
    /// The request's id, as in the log.
    pub request_id: String,
    /// The way on.
    pub action: Link,
}

impl ProblemView {
    /// 404.
    #[must_use]
    pub fn not_found(frame: Frame, request_id: impl Into<String>) -> Self {
        let sentence =
            "There is nothing at this address, or it is not yours to see. Check the link, or start from the home page.";
        Self::new(frame, 404, "Page not found", sentence, "not_found", request_id.into())
    }

    /// 403.
    #[must_use]
    pub fn forbidden(frame: Frame, request_id: impl Into<String>) -> Self {
        let sentence = "The form was sent from another site, or your browser hid where it came from. Open the page here and send it again.";
        Self::new(frame, 403, "This request was refused", sentence, "forbidden", request_id.into())
    }

    /// 429.
    #[must_use]
    pub fn too_many_requests(frame: Frame, retry_after_seconds: u64, request_id: impl Into<String>) -> Self {
        let sentence = format!(
            "There were too many tries in a short time. Wait {} and try again.",
            words::count(retry_after_seconds.max(1), "second")
        );
        Self::new(frame, 429, "Too many tries", sentence, "rate_limited", request_id.into())
    }

    /// 500. The sentence tells nothing of the cause, the request id leads to the log line that does.
    #[must_use]
    pub fn internal(frame: Frame, request_id: impl Into<String>) -> Self {
        let sentence = "This is our fault, and it has been recorded. Try again in a minute; if it happens again, tell us the request id below.";
        Self::new(frame, 500, "Something went wrong", sentence, "internal", request_id.into())
    }

    /// 503.
    #[must_use]
    pub fn unavailable(frame: Frame, request_id: impl Into<String>) -> Self {
        let sentence = "A service that we need does not answer at the moment. Nothing is lost and nothing was charged twice; try again in a minute.";
        Self::new(frame, 503, "Not available right now", sentence, "unavailable", request_id.into())
    }

    fn new(
        frame: Frame,
        status: u16,
        title: &str,
        sentence: impl Into<String>,
        code: &str,
        request_id: String,
    ) -> Self {
        let action = if frame.signed_in {
            Link { label: "Back to your account".to_owned(), href: "/account".to_owned() }
        } else {
            Link { label: "Back to the home page".to_owned(), href: "/".to_owned() }
        };
        Self {
            frame,
            status,
            title: title.to_owned(),
            sentence: sentence.into(),
            code: code.to_owned(),
            request_id,
            action,
        }
    }
}
