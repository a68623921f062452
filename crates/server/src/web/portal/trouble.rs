//! Refusals and problems in words for people. The API's sentences are for whoever writes a program; here the reader is a
//! customer, who gets told what happened and what to do. Statuses and codes are those of [`Problem`] and stay as they are.

use counterfoil_core::Refusal;

use crate::web::problem::Problem;
use crate::web::views::{FormProblem, Frame, Link, ProblemView};

/// A problem as a page.
#[must_use]
pub fn problem_view(problem: &Problem, frame: Frame, request_id: String) -> ProblemView {
    let base = match problem.status.as_u16() {
        403 => ProblemView::forbidden(frame, request_id),
        404 => ProblemView::not_found(frame, request_id),
        429 => {
            let seconds = problem.retry_after_seconds.unwrap_or(1);
            ProblemView::too_many_requests(frame, seconds.into(), request_id)
        }
        503 => ProblemView::unavailable(frame, request_id),
        // What an operator has to repair is in the log; the API's sentence about it says nothing to a customer.
        500.. => ProblemView::internal(frame, request_id),
        _ => {
            let base = ProblemView::internal(frame, request_id);
            ProblemView { title: "This did not work".to_owned(), sentence: problem.detail.clone(), ..base }
        }
    };
    told_by_code(ProblemView { status: problem.status.as_u16(), code: problem.code.to_owned(), ..base }, problem.code)
}

/// What the code tells beyond the status.
fn told_by_code(base: ProblemView, code: &str) -> ProblemView {
    let plans = Link { label: "See the plans".to_owned(), href: "/account#plans".to_owned() };
    let told = |title: &str, sentence: &str| ProblemView {
        title: title.to_owned(),
        sentence: sentence.to_owned(),
        ..base.clone()
    };
    match code {
        "already_subscribed" => told(
            "You have a plan already",
            "Your subscription is running, and a second one would be charged as well. Nothing was ordered.",
        ),
        "payment_pending" => told(
            "Your payment is being confirmed",
            "You have been through the payment page already. Please do not pay a second time; your licence comes by mail as \
             soon as the payment is confirmed.",
        ),
        "plan_unknown" | "plan_not_for_sale" | "interval_unavailable" => ProblemView {
            action: plans,
            ..told(
                "This plan is not for sale",
                "It was taken off the list, or the link to it is wrong. Choose another plan.",
            )
        },
        "no_license" => ProblemView {
            action: plans,
            ..told(
                "There is no licence yet",
                "Neither a trial nor a paid plan runs. It comes with the next plan you choose.",
            )
        },
        "email_not_verified" => ProblemView {
            action: Link { label: "Open your account".to_owned(), href: "/account".to_owned() },
            ..told(
                "Confirm your address first",
                "Your licence is issued as soon as you have opened the link in the mail and pressed the button there.",
            )
        },
        "license_revoked" => told(
            "Your licence was revoked",
            "It does not work any more, and no new one is issued until this is settled. Please contact us; paying again does \
             not bring it back.",
        ),
        "price_missing_at_provider" | "payment_provider_refused" | "return_url_not_allowed" => told(
            "The payment page could not be opened",
            "This is our fault, and it has been recorded. Nothing was charged, and your plan has not changed. If it happens \
             again, tell us the request id below.",
        ),
        "payment_provider_unavailable" | "payment_provider_refuses_key" => told(
            "The payment page cannot be reached",
            "Our payment provider does not answer at the moment. Nothing was charged and nothing is lost; try again in a \
             minute.",
        ),
        "link_invalid" => ProblemView {
            action: Link { label: "Log in".to_owned(), href: "/login".to_owned() },
            ..told(
                "This link does not work any more",
                "It was used already, has run out, or a newer one was sent since. Ask for a new one where you got it.",
            )
        },
        "method_not_allowed" => told(
            "This page cannot be opened like that",
            "It only works by way of a form or a link on another page. Start from there.",
        ),
        _ => base,
    }
}

/// A refusal beside its field.
#[must_use]
pub fn field_error(refusal: &Refusal) -> String {
    match refusal {
        Refusal::InvalidField { field: "company_name", reason } => {
            format!("The company name is not accepted: {reason}.")
        }
        Refusal::InvalidField { field: "new_email", reason } => format!("The address is not accepted: {reason}."),
        other => other.to_string(),
    }
}

/// The line above a form that has an error beside one of its fields.
#[must_use]
pub fn above_fields(refusal: &Refusal) -> FormProblem {
    FormProblem { code: refusal.code().to_owned(), text: "One entry needs another look.".to_owned() }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    fn page(problem: impl Into<Problem>) -> ProblemView {
        problem_view(&problem.into(), Frame::new("Ledgerline"), "request-1".to_owned())
    }

    #[test]
    fn status_code_and_request_id_are_kept() {
        let pages = [
            (page(Problem::not_found()), 404, "not_found"),
            (page(Problem::method_not_allowed()), 405, "method_not_allowed"),
            (page(Problem::internal()), 500, "internal"),
            (page(Refusal::AlreadySubscribed), 409, "already_subscribed"),
            (page(Refusal::NoLicense), 404, "no_license"),
            (page(Refusal::TooManyRequests { retry_after_seconds: 30 }), 429, "too_many_requests"),
            (page(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "x")), 503, "stopping"),
        ];
        assert_eq!(pages[5].0.sentence, "There were too many tries in a short time. Wait 30 seconds and try again.");
        for (view, status, code) in pages {
            assert_eq!((view.status, view.code.as_str(), view.request_id.as_str()), (status, code, "request-1"));
        }
    }

    #[test]
    fn each_status_has_its_own_title_and_each_code_that_says_more_another_one() {
        let title =
            |status, code| page(Problem::new(StatusCode::from_u16(status).unwrap(), code, "For programs.")).title;
        for (status, expected) in [
            (403, "This request was refused"),
            (404, "Page not found"),
            (429, "Too many tries"),
            (500, "Something went wrong"),
            (502, "Something went wrong"),
            (503, "Not available right now"),
        ] {
            assert_eq!(title(status, "x"), expected, "{status}");
        }
        for (code, expected) in [
            ("already_subscribed", "You have a plan already"),
            ("payment_pending", "Your payment is being confirmed"),
            ("plan_unknown", "This plan is not for sale"),
            ("plan_not_for_sale", "This plan is not for sale"),
            ("interval_unavailable", "This plan is not for sale"),
            ("no_license", "There is no licence yet"),
            ("email_not_verified", "Confirm your address first"),
            ("license_revoked", "Your licence was revoked"),
            ("price_missing_at_provider", "The payment page could not be opened"),
            ("payment_provider_refused", "The payment page could not be opened"),
            ("return_url_not_allowed", "The payment page could not be opened"),
            ("payment_provider_unavailable", "The payment page cannot be reached"),
            ("payment_provider_refuses_key", "The payment page cannot be reached"),
            ("link_invalid", "This link does not work any more"),
            ("method_not_allowed", "This page cannot be opened like that"),
        ] {
            for status in [404, 409, 503] {
                let view = page(Problem::new(StatusCode::from_u16(status).unwrap(), code, "For programs."));
                assert_eq!(view.title, expected, "{code} {status}");
                assert!(!view.sentence.contains("For programs"), "{code}: {}", view.sentence);
            }
        }
    }

    #[test]
    fn who_is_signed_in_is_led_back_to_the_account_and_others_to_the_front_page() {
        let home = page(Problem::internal());
        assert_eq!((home.action.href.as_str(), home.frame.signed_in), ("/", false));
        let frame = Frame { signed_in: true, ..Frame::new("Ledgerline") };
        let own = problem_view(&Problem::internal(), frame, String::new());
        assert_eq!(own.action.href, "/account");
    }

    #[test]
    fn what_an_operator_has_to_repair_is_not_told_to_customers() {
        for code in
            ["price_missing_at_provider", "payment_provider_refuses_key", "webhook_secret_unset", "something_new"]
        {
            let view = page(Problem::new(StatusCode::BAD_GATEWAY, code, "Check STRIPE_SECRET_KEY and `stripe_price`."));
            assert!(!view.sentence.to_lowercase().contains("stripe"), "{code}: {}", view.sentence);
        }
    }

    #[test]
    fn whoever_needs_a_plan_is_led_to_the_plans() {
        for code in ["plan_unknown", "plan_not_for_sale", "interval_unavailable", "no_license"] {
            let view = page(Problem::new(StatusCode::NOT_FOUND, code, "It is gone."));
            assert_eq!((view.action.label.as_str(), view.action.href.as_str()), ("See the plans", "/account#plans"));
        }
        for (code, href) in [("email_not_verified", "/account"), ("link_invalid", "/login")] {
            let view = page(Problem::new(StatusCode::CONFLICT, code, "It waits."));
            assert_eq!(view.action.href, href, "{code}");
        }
        assert_ne!(page(Refusal::AlreadySubscribed).action.href, "/account#plans");
    }

    #[test]
    fn other_problems_of_a_request_keep_their_sentence() {
        let view = page(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "Too large."));
        assert_eq!((view.title.as_str(), view.sentence.as_str()), ("This did not work", "Too large."));
    }

    #[test]
    fn a_field_is_called_by_the_name_on_its_label() {
        let refusal = Refusal::InvalidField { field: "company_name", reason: "use at most 200 characters" };
        assert_eq!(field_error(&refusal), "The company name is not accepted: use at most 200 characters.");
        assert_eq!(above_fields(&refusal).code, "invalid_field");
    }
}
