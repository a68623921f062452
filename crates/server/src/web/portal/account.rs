//! `/account`: where a customer stands, and the way to a paid plan.

use axum::extract::State;
use axum::response::{Html, IntoResponse, Redirect, Response};
use counterfoil_core::entitlement::Ended;
use counterfoil_core::return_url::ATTEMPT_TEMPLATE;
use counterfoil_core::{Interval, PlanCode, Timestamp};
use serde::Deserialize;

use super::cards::{plans_for_sale, version};
use super::changes;
use super::form::FormBody;
use super::page::{Member, OnPage, PageProblem, show};
use super::wording;
use crate::app::App;
use crate::app::checkout::CheckoutRequest;
use crate::app::customers::Account;
use crate::app::plan_changes::Shown;
use crate::app::sessions::Caller;
use crate::store::licenses::License;
use crate::web::WebState;
use crate::web::to_its_end;
use crate::web::views::{AccountView, Frame, LicenseStub, MainAction, PlanCard};

/// The form behind each price.
#[derive(Deserialize)]
pub struct UpgradeForm {
    plan: String,
    interval: Option<Interval>,
}

/// `GET /account`.
pub async fn overview(State(state): State<WebState>, member: Member) -> Result<Html<String>, PageProblem> {
    let account = state.app.account(&member.customer_id).await.on(&member.frame)?;
    let shown = state.app.shown_subscription(&member.customer_id).await.on(&member.frame)?;
    let mut view = account_view(&state.app, &account, &shown, member.frame.clone());
    if let Some(running) = &mut view.running {
        running.change_planned = shown.planned.is_some();
    }
    view.notices.extend(shown.is_paying.then(wording::payment_pending));
    view.notices.extend(shown.planned.map(|planned| changes::planned_notice(&state.app, &planned)));
    show(&view, &member.frame)
}

fn account_view(app: &App, account: &Account, shown: &Shown, frame: Frame) -> AccountView {
    let (customer, subscription, now) = (&account.customer, &account.subscription, app.now());
    let currency = shown.currency.as_deref();
    let in_force = license_in_force(account, now);
    let is_revoked = account.right == Err(Ended::Revoked);
    let (state, main_action) = match is_revoked {
        // Nothing is sold to somebody who would get nothing for it.
        true => (wording::revoked(), MainAction::OpenLicense),
        false => (
            wording::state(subscription, in_force.map(|license| license.expires_at), now),
            wording::main_action(subscription),
        ),
    };
    let running = changes::running(subscription);
    let plans = match main_action {
        // Who has just paid, by a way that takes its time, has nothing to buy meanwhile.
        MainAction::Upgrade if shown.is_paying => Vec::new(),
        MainAction::Upgrade => plans_for_sale(app, currency),
        MainAction::OpenLicense | MainAction::FixPayment
            if !is_revoked && running.as_ref().is_some_and(|running| running.can_change) =>
        {
            let current = subscription.plan.as_str();
            plans_for_sale(app, currency)
                .into_iter()
                .map(|card| PlanCard { current: card.code == current, ..card })
                .collect()
        }
        MainAction::OpenLicense | MainAction::FixPayment => Vec::new(),
    };
    AccountView {
        frame,
        email: customer.email.to_string(),
        company_name: customer.company_name.clone(),
        customer_id: customer.customer_id.to_string(),
        customer_since: customer.created_at.date_in_words(),
        plan_name: app.plan_name(&subscription.plan),
        state_word: state.stamp,
        state_sentence: state.sentence,
        tone: state.tone,
        punches: wording::punches(subscription, app.catalog.trial().trial_days, now),
        unverified: account.right == Err(Ended::EmailNotVerified),
        notices: state.notices,
        main_action,
        license: in_force.map(|license| LicenseStub {
            version: version(license),
            plan_name: app.plan_name(&license.plan),
            works_until: license.expires_at.date_in_words(),
        }),
        plans,
        can_manage_billing: customer.external_id.is_some()
            && !(subscription.is_manual() && subscription.is_live_at_provider()),
        running,
    }
}

/// The newest licence, while it works and a right to it exists.
fn license_in_force(account: &Account, now: Timestamp) -> Option<&License> {
    account.license.as_ref().filter(|license| account.right.is_ok() && now < license.expires_at)
}

/// `POST /account/upgrade`: off to the payment page. The addresses to come back to carry our attempt's id, never the
/// provider's.
pub async fn upgrade(
    State(state): State<WebState>,
    member: Member,
    FormBody(form): FormBody<UpgradeForm>,
) -> Result<Response, PageProblem> {
    let back = format!("{}/checkout/return?attempt={ATTEMPT_TEMPLATE}", state.app.settings.public_url);
    let request = CheckoutRequest {
        customer_id: member.customer_id.to_string(),
        plan: PlanCode::new(form.plan),
        interval: form.interval,
        currency: None,
        cancel_url: format!("{back}&canceled=1"),
        success_url: back,
    };
    let caller = Caller::Customer(member.customer_id);
    let started = to_its_end(async move { state.app.start_checkout(&caller, request).await }).await.on(&member.frame)?;
    Ok(Redirect::to(&started.checkout_url).into_response())
}

#[cfg(test)]
mod tests {
    use counterfoil_core::subscription::Standing;

    use super::*;
    use crate::web::portal::testing::{NOW, account, license, provided, subscribed};

    #[test]
    fn a_license_is_shown_while_it_works_and_there_is_a_right_to_it() {
        let paid_until = |end| subscribed(provided(Standing::Active { cancel_at: None }, end));
        let paid = || account(paid_until(Some(NOW.plus_days(30))), Some(license("professional", false)));
        assert_eq!(license_in_force(&paid(), NOW).map(version), Some(2));
        let end = license("professional", false).expires_at;
        assert!(license_in_force(&paid(), end.plus_seconds(-1)).is_some());
        assert!(license_in_force(&paid(), end).is_none(), "it works until then and not any longer");
        let unpaid = account(paid_until(None), Some(license("professional", false)));
        assert!(license_in_force(&unpaid, NOW).is_none(), "what is written in it does not count alone");
        assert!(license_in_force(&account(paid_until(Some(end)), None), NOW).is_none());
    }
}
