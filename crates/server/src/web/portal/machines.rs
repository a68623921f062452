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

#[cfg(test)]
mod tests {
    use counterfoil_core::Timestamp;

    use super::*;

    fn card(count: usize, limit: Option<i64>) -> Option<MachinesCard> {
        let activation = |index: usize| Activation {
            activation_id: ActivationId::from_random([7; 16]),
            name: (index > 0).then(|| format!("Machine {index}")),
            activated_at: Timestamp::from_unix_seconds(1_790_000_000),
        };
        machines_card(&Machines { activations: (0..count).map(activation).collect(), limit })
    }

    #[test]
    fn the_sentence_says_how_many_places_there_are() {
        let sentence = |count, limit| card(count, limit).map(|card| card.sentence);
        let free = "Release one that you do not use any more, and its place is free.";
        assert_eq!(sentence(0, None), None, "nobody counts them, and there is none");
        assert_eq!(sentence(1, None).as_deref(), Some("1 machine in use."));
        assert_eq!(sentence(0, Some(2)), Some(format!("0 of 2 machines in use. {free}")));
        assert_eq!(sentence(2, Some(2)), Some(format!("2 of 2 machines in use. {free}")));
        assert_eq!(
            sentence(3, Some(2)).as_deref(),
            Some(
                "3 machines in use, and your plan has 2. They go on working; another one can be added once there are fewer."
            )
        );
    }

    #[test]
    fn a_hundred_are_shown_and_the_rest_is_counted() {
        let shown = |count| {
            let card = card(count, None).unwrap();
            (card.machines.len(), card.more)
        };
        assert_eq!(shown(SHOWN_MAX), (100, None));
        assert_eq!(shown(SHOWN_MAX + 1), (100, Some("1 older machine not shown.".to_owned())));
        assert_eq!(shown(SHOWN_MAX + 3), (100, Some("3 older machines not shown.".to_owned())));
        let names: Vec<String> = card(2, None).unwrap().machines.into_iter().map(|machine| machine.name).collect();
        assert_eq!(names, ["Unnamed machine", "Machine 1"]);
    }
}
