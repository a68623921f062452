//! `/account/license`: the licence to copy, to keep and to verify.

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use counterfoil_core::Refusal;
use counterfoil_core::entitlement::Ended;

use super::cards::{license_card, version};
use super::page::{Member, OnPage, PageProblem, show};
use super::wording;
use crate::app::App;
use crate::store::licenses::License;
use crate::web::WebState;
use crate::web::views::{LicenseVersion, LicenseView};

/// `GET /account/license`.
pub async fn show_license(State(state): State<WebState>, member: Member) -> Result<Html<String>, PageProblem> {
    let (app, frame) = (&state.app, &member.frame);
    let account = app.account(&member.customer_id).await.on(frame)?;
    let missing = match account.right {
        Err(Ended::Revoked) => Refusal::LicenseRevoked,
        Ok(_) | Err(_) => Refusal::NoLicense,
    };
    let license = account.license.as_ref().ok_or(missing).on(frame)?;
    let history = app.license_history(&member.customer_id, i64::MAX).await.on(frame)?;
    let settings = &app.settings;
    let view = LicenseView {
        frame: frame.clone(),
        license: license_card(app, &account, license, app.now()),
        history: history.iter().map(|entry| history_entry(app, entry, license)).collect(),
        jwks_url: format!("{}/.well-known/jwks.json", settings.public_url),
        issuer: settings.public_url.clone(),
        audience: settings.product.clone(),
    };
    show(&view, frame)
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

/// `GET /account/license/download`.
pub async fn download(State(state): State<WebState>, member: Member) -> Result<Response, PageProblem> {
    let license = state.app.current_license(&member.customer_id).await.on(&member.frame)?;
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"license.jwt\""),
    ];
    Ok((headers, format!("{}\n", license.token)).into_response())
}
