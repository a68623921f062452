//! Changing and ending a running plan on our own pages: each asks once, with the amount and the day, and then does it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use counterfoil_core::plan_change::{PlannedChange, changeable, is_period_paid};
use counterfoil_core::subscription::{Standing, State as Standings};
use counterfoil_core::{Interval, PlanCode, Refusal, Subscription, Timestamp};
use serde::Deserialize;

use super::form::FormBody;
use super::page::{Member, OnPage, PageProblem, show};
use crate::app::App;
use crate::app::plan_changes::{ChangeWish, Preview};
use crate::web::WebState;
use crate::web::problem::Problem;
use crate::web::query::PlainQuery;
use crate::web::to_its_end;
use crate::web::views::{ConfirmView, Frame, Notice, Running, Tone, words};

/// A plan that is wished for: the query of the question, and the form of its answer.
#[derive(Deserialize)]
pub struct ChangeForm {
    plan: String,
    interval: Option<Interval>,
    prorated_from: Option<Timestamp>,
}

impl From<ChangeForm> for ChangeWish {
    fn from(form: ChangeForm) -> Self {
        Self { plan: PlanCode::new(form.plan), interval: form.interval, prorated_from: form.prorated_from }
    }
}

/// What the overview offers for a plan that runs.
pub fn running(subscription: &Subscription) -> Option<Running> {
    let (_, standing) = changeable(subscription).ok()?;
    let Standings::Provided(provided) = &subscription.state else { return None };
    let interval = provided.interval.map(|interval| interval.as_str().to_owned());
    // Most of what could be chosen would be refused for the hour in which the payment is on its way. Where one went back, it is
    // the period's end that changes that, and less can be chosen until then.
    let is_paying = provided.period_ends_at.is_some_and(|end| !is_period_paid(subscription, end));
    let waits_for_payment = is_paying && !provided.money.is_gone();
    let (can_change, can_cancel, can_resume) = match standing {
        Standing::Active { cancel_at: None } | Standing::Trialing { cancel_at: None } => (true, true, false),
        Standing::PastDue { cancel_at: None } => (false, true, false),
        Standing::Active { .. } | Standing::Trialing { .. } | Standing::PastDue { .. } | Standing::Paused => {
            (false, false, true)
        }
        Standing::Unpaid => (false, true, false),
        Standing::Incomplete | Standing::IncompleteExpired | Standing::Canceled { .. } => (false, false, false),
    };
    // Who pays by invoice asks the vendor for another plan.
    let can_change = can_change && !waits_for_payment && !subscription.is_manual();
    Some(Running { interval, can_change, change_planned: false, can_cancel, can_resume })
}

/// What the overview says of a change that is planned.
pub fn planned_notice(app: &App, planned: &PlannedChange) -> Notice {
    let (plan, day) = (app.plan_name(&planned.plan), planned.starts_at.date_in_words());
    Notice {
        tone: Tone::Calm,
        title: format!("Your plan changes to {plan}"),
        text: format!(
            "On {day} it goes over to {plan}, paid per {}. Choose the plan you have to take that back.",
            planned.interval.as_str()
        ),
    }
}

/// `GET /account/change`: what the change would cost.
pub async fn ask_change(
    State(state): State<WebState>,
    member: Member,
    query: Result<PlainQuery<ChangeForm>, Problem>,
) -> Result<Html<String>, PageProblem> {
    let PlainQuery(form) = query.map_err(|_| not_a_wish()).on(&member.frame)?;
    let wish = ChangeWish { prorated_from: None, ..form.into() };
    let preview = state.app.preview_change(&member.customer_id, &wish).await.on(&member.frame)?;
    show(&question(&state.app, &preview, member.frame.clone()), &member.frame)
}

fn not_a_wish() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", "Choose a plan on the overview page.")
}

fn question(app: &App, preview: &Preview, frame: Frame) -> ConfirmView {
    let (plan, price) = (app.plan_name(&preview.target.plan), &preview.target.price);
    let due = words::money(preview.amount_due, &preview.currency);
    let full = format!("{} per {}", words::money(preview.next_amount, &price.currency), price.interval.as_str());
    let sentence = if preview.takes_back {
        format!("You stay with {plan}, {full}. The change that was planned is taken back, and nothing is charged now.")
    } else if preview.at_once && preview.keeps_plan {
        let often = adverb(price.interval);
        format!(
            "From now on you pay {often}. {due} is charged now: what is left of your present period counts. Then {full}."
        )
    } else if preview.at_once {
        format!("{plan} begins at once. {due} is charged now: what is left of your present period counts. Then {full}.")
    } else {
        let day = preview.effective_at.date_in_words();
        format!("Nothing is charged now. You keep what you have paid for until then; from {day} it is {plan}, {full}.")
    };
    ConfirmView {
        frame,
        eyebrow: plan.clone(),
        title: match (preview.takes_back, preview.keeps_plan) {
            (true, _) => format!("Stay with {plan}?"),
            (false, true) => format!("Pay for {plan} {}?", adverb(price.interval)),
            (false, false) => format!("Change to {plan}?"),
        },
        sentence,
        action: "/account/change",
        fields: vec![
            ("plan", preview.target.plan.to_string()),
            ("interval", price.interval.as_str().to_owned()),
            ("prorated_from", preview.prorated_from.to_string()),
        ],
        button: match (preview.takes_back, preview.at_once) {
            (true, _) => "Stay with this plan".to_owned(),
            (false, true) => format!("Change now and pay {due}"),
            (false, false) => "Change at the end of the period".to_owned(),
        },
        stub_label: "Due now".to_owned(),
        stub: due,
        stub_text: format!("then {full}"),
    }
}

const fn adverb(interval: Interval) -> &'static str {
    match interval {
        Interval::Month => "monthly",
        Interval::Year => "yearly",
    }
}

/// `POST /account/change`.
pub async fn change(
    State(state): State<WebState>,
    member: Member,
    FormBody(form): FormBody<ChangeForm>,
) -> Result<Response, PageProblem> {
    let wish = ChangeWish::from(form);
    let id = member.customer_id;
    to_its_end(async move { state.app.change_plan(&id, &wish).await }).await.on(&member.frame)?;
    Ok(back())
}

/// `GET /account/cancel`.
pub async fn ask_cancel(State(state): State<WebState>, member: Member) -> Result<Html<String>, PageProblem> {
    let account = state.app.account(&member.customer_id).await.on(&member.frame)?;
    let subscription = &account.subscription;
    changeable(subscription).on(&member.frame)?;
    let end = subscription.to_record().current_period_ends_at.ok_or(Refusal::NoSubscription).on(&member.frame)?;
    let (plan, day) = (state.app.plan_name(&subscription.plan), end.date_in_words());
    let view = ConfirmView {
        frame: member.frame.clone(),
        eyebrow: plan.clone(),
        title: format!("Cancel {plan}?"),
        sentence: format!(
            "Your plan goes on until {day}, the end of the period, and is not charged again. Until then you can change your mind."
        ),
        action: "/account/cancel",
        fields: Vec::new(),
        button: "Cancel the plan".to_owned(),
        stub_label: "Ends on".to_owned(),
        stub: day,
        stub_text: "Nothing more is charged.".to_owned(),
    };
    show(&view, &member.frame)
}

/// `POST /account/cancel`.
pub async fn cancel(State(state): State<WebState>, member: Member) -> Result<Response, PageProblem> {
    let id = member.customer_id;
    to_its_end(async move { state.app.cancel_subscription(&id).await }).await.on(&member.frame)?;
    Ok(back())
}

/// `POST /account/resume`. Pressed twice, the second finds nothing to do, and that is what the page then shows.
pub async fn resume(State(state): State<WebState>, member: Member) -> Result<Response, PageProblem> {
    let id = member.customer_id;
    match to_its_end(async move { state.app.resume_subscription(&id).await }).await {
        Err(problem) if problem.code != "nothing_to_resume" => Err(PageProblem::new(problem, member.frame)),
        Ok(_) | Err(_) => Ok(back()),
    }
}

/// `POST /account/portal`: off to the provider's page for cards and invoices.
pub async fn portal(State(state): State<WebState>, member: Member) -> Result<Response, PageProblem> {
    let url = state.app.open_portal(&member.customer_id, None).await.on(&member.frame)?;
    Ok(Redirect::to(&url).into_response())
}

fn back() -> Response {
    Redirect::to("/account").into_response()
}

#[cfg(test)]
mod tests {
    use counterfoil_core::ExternalSubscriptionId;
    use counterfoil_core::facts::Money;
    use counterfoil_core::subscription::Provided;

    use super::*;
    use crate::web::portal::testing::{NOW, provided, subscribed};

    /// Whether plan, end and going on are offered: to change, to cancel, to resume.
    fn offered(provided: Provided) -> Option<(bool, bool, bool)> {
        running(&subscribed(provided)).map(|running| (running.can_change, running.can_cancel, running.can_resume))
    }

    #[test]
    fn what_is_offered_for_a_plan_follows_from_its_standing() {
        let (end, ends) = (Some(NOW.plus_days(30)), Some(NOW.plus_days(5)));
        for (standing, expected) in [
            (Standing::Active { cancel_at: None }, Some((true, true, false))),
            (Standing::Trialing { cancel_at: None }, Some((true, true, false))),
            (Standing::Active { cancel_at: ends }, Some((false, false, true))),
            (Standing::Trialing { cancel_at: ends }, Some((false, false, true))),
            (Standing::PastDue { cancel_at: None }, Some((false, true, false))),
            (Standing::PastDue { cancel_at: ends }, Some((false, false, true))),
            (Standing::Paused, Some((false, false, true))),
            (Standing::Unpaid, Some((false, true, false))),
            (Standing::Incomplete, None),
            (Standing::IncompleteExpired, None),
            (Standing::Canceled { ended_at: NOW }, None),
        ] {
            assert_eq!(offered(provided(standing, end)), expected, "{standing:?}");
        }
        let trial = Subscription::trial(PlanCode::new("trial"), NOW.plus_days(3));
        assert_eq!(running(&trial), None);
        let paid = running(&subscribed(provided(Standing::Active { cancel_at: None }, end))).unwrap();
        assert_eq!((paid.interval.as_deref(), paid.change_planned), (Some("month"), false));
    }

    #[test]
    fn no_change_is_offered_while_a_payment_is_on_its_way_nor_to_whoever_pays_by_invoice() {
        let active = |paid_until| provided(Standing::Active { cancel_at: None }, paid_until);
        let can_change = |provided| offered(provided).unwrap().0;
        assert!(!can_change(active(Some(NOW))), "the period has moved, and its money has not come");
        assert!(can_change(Provided { period_ends_at: None, ..active(None) }), "there is no period to pay");
        for (money, expected) in [
            (Money::Held, false),
            (Money::Disputed, false),
            (Money::PartlyRefunded, false),
            (Money::Refunded, true),
            (Money::DisputeLost, true),
        ] {
            assert_eq!(can_change(Provided { money, ..active(Some(NOW)) }), expected, "{money:?}");
        }
        let end = Some(NOW.plus_days(30));
        let by_invoice = ExternalSubscriptionId::new(format!("{}sub_1", counterfoil_core::manual::ID_PREFIX));
        assert_eq!(offered(Provided { id: by_invoice, ..active(end) }), Some((false, true, false)));
    }
}
