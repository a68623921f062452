//! `/`: what there is and what it costs.

use axum::extract::State;
use axum::response::Html;

use super::cards::plans_for_sale;
use super::page::{PageProblem, Visitor, show};
use crate::app::settings::EmailVerification;
use crate::web::WebState;
use crate::web::views::{HomeView, words};

/// `GET /`.
pub async fn home(State(state): State<WebState>, visitor: Visitor) -> Result<Html<String>, PageProblem> {
    let trial = state.app.catalog.trial();
    let view = HomeView {
        frame: visitor.frame.clone(),
        tagline: String::new(),
        trial_days: trial.trial_days,
        verify_first: state.app.settings.email_verification == EmailVerification::Required,
        trial_features: trial.features.iter().map(|feature| words::humanize(feature)).collect(),
        plans: plans_for_sale(&state.app, None),
    };
    show(&view, &visitor.frame)
}
