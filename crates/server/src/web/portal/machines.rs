//! The machines on the licence page, and the button that releases one.

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use counterfoil_core::{ActivationId, Refusal};
use serde::Deserialize;

use super::form::FormBody;
use super::page::{Member, PageProblem};
use crate::app::Error;
use crate::app::activations::Machines;
use crate::store::activations::Activation;
use crate::web::WebState;
use crate::web::views::{MachineRow, MachinesCard, words};

/// Machines that the page shows; whoever has more uses the API.
const SHOWN_MAX: usize = 100;

/// The form of the button.
#[derive(Deserialize)]
pub struct ReleaseForm {
    #[serde(default)]
    activation_id: String,
}

/// The card; none where machines are not counted and there is none.
pub fn machines_card(machines: &Machines) -> Option<MachinesCard> {
    let Machines { activations, limit } = machines;
    if activations.is_empty() && limit.is_none() {
        return None;
    }
    let (count, free) = (activations.len() as u64, "Release one that you do not use any more, and its place is free.");
    let sentence = match limit.and_then(|limit| u64::try_from(limit).ok()) {
        Some(limit) if count > limit => format!(
            "{} in use, and your plan has {}. They go on working; another one can be added once there are fewer.",
            words::count(count, "machine"),
            words::grouped(limit)
        ),
        Some(limit) => format!("{} of {} in use. {free}", words::grouped(count), words::count(limit, "machine")),
        None => format!("{} in use.", words::count(count, "machine")),
    };
    let hidden = activations.len().saturating_sub(SHOWN_MAX) as u64;
    Some(MachinesCard {
        sentence,
        machines: activations.iter().take(SHOWN_MAX).map(row).collect(),
        more: (hidden > 0).then(|| format!("{} not shown.", words::count(hidden, "older machine"))),
    })
}

fn row(activation: &Activation) -> MachineRow {
    MachineRow {
        activation_id: activation.activation_id.to_string(),
        name: activation.name.clone().unwrap_or_else(|| "Unnamed machine".to_owned()),
        since: format!("since {}", activation.activated_at.date_in_words()),
    }
}

/// A form that was sent cannot be opened again by its address: that leads back to where the form is.
pub async fn to_license() -> Redirect {
    Redirect::to("/account/license#machines")
}

/// `POST /account/machines/release`. A second click finds that it is done.
pub async fn release(
    State(state): State<WebState>,
    member: Member,
    FormBody(form): FormBody<ReleaseForm>,
) -> Result<Response, PageProblem> {
    if let Ok(activation_id) = form.activation_id.parse::<ActivationId>() {
        match state.app.release_activation(&member.customer_id, &activation_id).await {
            Ok(()) | Err(Error::Refused(Refusal::ActivationUnknown)) => {}
            Err(error) => return Err(PageProblem::new(error, member.frame)),
        }
    }
    Ok(to_license().await.into_response())
}
