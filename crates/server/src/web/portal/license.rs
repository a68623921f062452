//! `/account/license`: the licence to copy, to keep and to verify.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use counterfoil_core::Refusal;

use super::cards::{license_card, version};
use super::machines::machines_card;
use super::page::{Member, OnPage, PageProblem, show};
use super::wording;
use crate::app::App;
use crate::app::license_files::{Contents, Download};
use crate::app::licenses::no_license;
use crate::store::customers::Customer;
use crate::store::licenses::License;
use crate::web::problem::Problem;
use crate::web::views::{Frame, LicenseVersion, LicenseView, QuestionView};
use crate::web::{WebState, attachment};

/// `GET /account/license`.
pub async fn show_license(State(state): State<WebState>, member: Member) -> Result<Response, PageProblem> {
    let (app, frame) = (&state.app, &member.frame);
    let account = app.account(&member.customer_id).await.on(frame)?;
    let Some(license) = account.license.as_ref() else {
        let refusal = no_license(account.right.err());
        return match refusal {
            Refusal::EmailNotVerified => {
                Ok((Problem::from(refusal).status, show(&verify_first(frame, &account.customer), frame)?)
                    .into_response())
            }
            other => Err(PageProblem::new(other, frame.clone())),
        };
    };
    let history = app.license_history(&member.customer_id, i64::MAX).await.on(frame)?;
    let machines = app.machines(&member.customer_id).await.on(frame)?;
    let settings = &app.settings;
    let view = LicenseView {
        frame: frame.clone(),
        license: license_card(app, &account, license, app.now()),
        machines: machines_card(&machines),
        history: history.iter().map(|entry| history_entry(app, entry, license)).collect(),
        jwks_url: format!("{}/.well-known/jwks.json", settings.public_url),
        issuer: settings.public_url.clone(),
        audience: settings.product.clone(),
        bundle_has_keys: app.bundled_key_set().await.on(frame)?.is_some(),
    };
    Ok(show(&view, frame)?.into_response())
}

/// The page in place of a licence that waits until the address is verified.
fn verify_first(frame: &Frame, customer: &Customer) -> QuestionView {
    QuestionView {
        frame: frame.clone(),
        title: "Confirm your address first".to_owned(),
        sentence: format!(
            "A link was sent to {}. Your licence is issued as soon as you have opened it and pressed the button there.",
            customer.email
        ),
        action: "/account/email/verify",
        button: "Send the link again".to_owned(),
        stub_label: "Good to know".to_owned(),
        stub_text: "Your trial runs already. A plan that you pay for needs no confirmed address.".to_owned(),
    }
}

fn history_entry(app: &App, entry: &License, newest: &License) -> LicenseVersion {
    let plan_name = app.plan_name(&entry.plan);
    LicenseVersion {
        version: version(entry),
        reason: wording::reason(&entry.reason, &plan_name),
        plan_name,
        issued_on: entry.issued_at.date_in_words(),
        works_until: entry.expires_at.date_in_words(),
        current: entry.version == newest.version,
    }
}

/// `GET /account/license/file`.
pub async fn file(State(state): State<WebState>, member: Member) -> Result<Response, PageProblem> {
    Ok(attachment(state.app.license_file(&member.customer_id, Contents::License).await.on(&member.frame)?))
}

/// `GET /account/license/bundle`.
pub async fn bundle(State(state): State<WebState>, member: Member) -> Result<Response, PageProblem> {
    Ok(attachment(state.app.license_file(&member.customer_id, Contents::Bundle).await.on(&member.frame)?))
}

/// `GET /account/license/download`: the bare token, for tools that take nothing else.
pub async fn download(State(state): State<WebState>, member: Member) -> Result<Response, PageProblem> {
    let license = state.app.current_license(&member.customer_id).await.on(&member.frame)?;
    Ok(attachment(Download { name: "license.jwt".to_owned(), text: format!("{}\n", license.token) }))
}
