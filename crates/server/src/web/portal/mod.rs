//! The pages for customers: plain HTML that works without scripts.
//!
//! A handler loads through a use case, turns what it got into words, and fills a view. Looking at a page changes nothing;
//! only the page after payment may look at the provider, which can be repeated at will. Invariant 1 holds because views have
//! no place for a provider's id.

mod account;
mod assets;
mod cards;
mod changes;
mod checkout;
mod email;
mod entry;
mod form;
mod home;
mod leaving;
mod license;
mod machines;
mod mail_links;
mod mailbox;
mod page;
mod password;
mod sessions;
mod settings;
mod trouble;
mod verify;
mod wording;

#[cfg(test)]
mod testing;

use axum::Router;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};

use self::page::{PageProblem, Visitor};
use super::WebState;
use super::problem::Problem;
use crate::app::App;

/// A problem as the page that a person sees.
pub fn problem_page(app: &App, problem: Problem) -> Response {
    PageProblem::new(problem, page::frame(app, false)).into_response()
}

/// All pages.
pub fn router() -> Router<WebState> {
    Router::new()
        .route("/", get(home::home))
        .route("/signup", get(entry::sign_up_form).post(entry::sign_up))
        .route("/login", get(entry::log_in_form).post(entry::log_in))
        .route("/logout", post(entry::log_out))
        .route("/password/forgot", get(password::forgot_form).post(password::forgot))
        .route("/password/reset", get(password::reset_form).post(password::reset))
        .route("/account", get(account::overview))
        // A form that was sent cannot be opened again by its address: that leads back to where the form is.
        .route("/account/upgrade", post(account::upgrade).get(|| async { Redirect::to("/account") }))
        .route("/account/change", get(changes::ask_change).post(changes::change))
        .route("/account/cancel", get(changes::ask_cancel).post(changes::cancel))
        .route("/account/resume", post(changes::resume))
        .route("/account/portal", post(changes::portal))
        .route("/account/license", get(license::show_license))
        .route("/account/license/file", get(license::file))
        .route("/account/license/bundle", get(license::bundle))
        .route("/account/license/download", get(license::download))
        .route("/verify", get(verify::ask).post(verify::judge))
        .route("/account/machines/release", post(machines::release).get(machines::to_license))
        .route("/email/confirm", get(email::ask_confirm).post(email::confirm))
        .route("/email/object", get(email::ask_object).post(email::object))
        .route("/email/verify", get(email::ask_verify).post(email::verify))
        .route("/account/email/verify", post(settings::resend_verification).get(settings::to_settings))
        .route("/account/email", post(settings::ask_email_change).get(settings::to_settings))
        .route("/account/export", get(leaving::export))
        .route("/account/delete", get(leaving::ask).post(leaving::delete))
        .route("/account/settings", get(settings::show_settings))
        .route("/account/sessions/end", post(sessions::end).get(settings::to_settings))
        .route("/account/sessions/end-others", post(sessions::end_others).get(settings::to_settings))
        .route("/account/password", post(settings::change_password).get(settings::to_settings))
        .route("/checkout/return", get(checkout::back_from_payment))
        .route("/sandbox/mailbox", get(mailbox::list))
        .route("/sandbox/mailbox/{effect_id}", get(mailbox::read))
        .route("/assets/{file}", get(assets::asset))
        .route("/favicon.ico", get(|| async { Redirect::to("/assets/favicon.svg") }))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
}

async fn not_found(visitor: Visitor) -> PageProblem {
    PageProblem::new(Problem::not_found(), visitor.frame)
}

async fn method_not_allowed(visitor: Visitor) -> PageProblem {
    PageProblem::new(Problem::method_not_allowed(), visitor.frame)
}
