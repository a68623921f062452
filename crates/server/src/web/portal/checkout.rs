//! `/checkout/return`: back from the payment page.
//!
//! It never claims success before the paid licence exists, and never says that nothing was paid before the provider was
//! asked. Until then it waits; a provider that does not answer, or a worker that is just looking, only lets it wait longer.

use std::time::Duration;

use axum::extract::State;
use axum::response::Html;
use counterfoil_core::subscription::State as Standings;
use counterfoil_core::{AttemptId, CustomerId, PlanCode, Timestamp, probe};
use serde::Deserialize;
use tracing::Instrument as _;

use super::cards::license_card;
use super::page::{Member, OnPage, PageProblem, show};
use crate::app::App;
use crate::app::customers::Account;
use crate::app::sync::Synced;
use crate::store::attempts::AttemptState;
use crate::store::licenses::License;
use crate::tasks;
use crate::web::WebState;
use crate::web::problem::Problem;
use crate::web::query::PlainQuery;
use crate::web::views::{CheckoutDoneView, CheckoutFailedView, CheckoutWaitingView, NotPaid};

/// The longest that a browser waits for one look at the provider; the look itself goes on.
const LOOK_MAX: Duration = Duration::from_secs(8);

/// From here on the page stops looking again by itself.
const SLOW_FROM_TRY: u32 = 15;

/// Tries are not counted beyond this.
const TRIES_MAX: u32 = 99;

/// The parameters of the address that we gave to the provider, and those that the waiting page adds.
#[derive(Deserialize)]
pub struct ReturnQuery {
    attempt: String,
    #[serde(rename = "try")]
    tries: Option<String>,
    canceled: Option<String>,
}

/// What the page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    NotPaid(NotPaid),
    Waiting,
}

/// Our book at one moment.
struct Book {
    attempt: AttemptState,
    plan: PlanCode,
    account: Account,
}

/// `GET /checkout/return`.
pub async fn back_from_payment(
    State(state): State<WebState>,
    member: Member,
    query: Result<PlainQuery<ReturnQuery>, Problem>,
) -> Result<Html<String>, PageProblem> {
    let (app, frame) = (&state.app, &member.frame);
    let PlainQuery(query) = query.map_err(|_| Problem::not_found()).on(frame)?;
    let attempt_id: AttemptId = query.attempt.parse().map_err(|_| Problem::not_found()).on(frame)?;
    let now = app.now();
    let mut book = read(app, &member.customer_id, &attempt_id).await.on(frame)?;
    let mut outcome = outcome(book.attempt, bought_license(&book.account, now).is_some(), false);
    // What is settled stays so: opening the page again costs the provider nothing.
    if outcome == Outcome::Waiting {
        let gave_up = look(app, &member.customer_id).await && query.canceled.is_some();
        book = read(app, &member.customer_id, &attempt_id).await.on(frame)?;
        let paid = bought_license(&book.account, now).is_some();
        outcome = self::outcome(book.attempt, paid, gave_up);
    }
    let plan_name = app.plan_name(&book.plan);
    match (outcome, bought_license(&book.account, now)) {
        (Outcome::Done, Some(license)) => {
            let email = book.account.customer.email.to_string();
            let license = license_card(app, &book.account, license, now);
            show(&CheckoutDoneView { frame: frame.clone(), license, email }, frame)
        }
        (Outcome::NotPaid(outcome), _) => show(&CheckoutFailedView { frame: frame.clone(), outcome, plan_name }, frame),
        (Outcome::Done | Outcome::Waiting, _) => {
            let (next_url, slow) = next_try(&attempt_id, &query);
            show(&CheckoutWaitingView { frame: frame.clone(), plan_name, next_url, slow }, frame)
        }
    }
}

/// The attempt, if it is this customer's own, and the account as it stands.
async fn read(app: &App, customer_id: &CustomerId, attempt_id: &AttemptId) -> Result<Book, Problem> {
    let (attempt, plan) = app.attempt_state(customer_id, attempt_id).await?.ok_or_else(Problem::not_found)?;
    // The account is read after the attempt: what completed the attempt is in it then.
    let account = app.account(customer_id).await?;
    Ok(Book { attempt, plan, account })
}

/// Looks at the provider and says whether that went well. The look runs to its end even where the browser goes away: half
/// of it would leave the customer's lease to run out. Who comes too often is shown what is known: somebody who has just paid
/// is not to read about limits, and the event brings the licence as well.
async fn look(app: &App, customer_id: &CustomerId) -> bool {
    if let Err(error) = app.limit_provider(customer_id).await {
        tracing::debug!(%customer_id, %error, "no look after a checkout");
        return false;
    }
    let (app, id) = (app.clone(), customer_id.clone());
    let looking = tokio::spawn(tasks::own(async move { app.sync_customer(&id).await }.in_current_span()));
    match tokio::time::timeout(LOOK_MAX, looking).await {
        Ok(Ok(Ok(Synced::Done { .. }))) => {
            probe!("F46");
            true
        }
        Ok(Ok(Ok(Synced::Busy))) => false,
        Ok(Ok(Err(error))) => {
            tracing::warn!(%customer_id, %error, "the look after a checkout did not work");
            false
        }
        Ok(Err(error)) => {
            let why = tasks::why_it_broke_off(&error);
            tracing::error!(%customer_id, why, "the look after a checkout broke off");
            false
        }
        Err(_elapsed) => false,
    }
}

/// The licence that a checkout brought, while the right to it exists: a paid one, or that of a trial which the provider goes on
/// counting. That of our own trial is none.
fn bought_license(account: &Account, now: Timestamp) -> Option<&License> {
    let grant = account.right.as_ref().ok()?;
    let is_bought = matches!(account.subscription.state, Standings::Provided(_));
    let says_so = |license: &&License| license.trial == grant.trial && license.plan == grant.plan;
    account.license.as_ref().filter(says_so).filter(|license| is_bought && now < license.expires_at)
}

/// `gave_up`: the customer came back without paying, and the provider was asked afterwards.
fn outcome(attempt: AttemptState, paid: bool, gave_up: bool) -> Outcome {
    match attempt {
        AttemptState::Completed if paid => Outcome::Done,
        // What it came to was written in the same moment: the payment that was on its way did not arrive.
        AttemptState::Completed => Outcome::NotPaid(NotPaid::Failed),
        AttemptState::Paying => Outcome::Waiting,
        // One of which no session came was never open; the words for one that was closed fit it too.
        AttemptState::Expired | AttemptState::Failed => Outcome::NotPaid(NotPaid::Expired),
        AttemptState::Opening | AttemptState::Open if gave_up => Outcome::NotPaid(NotPaid::Canceled),
        AttemptState::Opening | AttemptState::Open => Outcome::Waiting,
    }
}

/// The address of the next try, and whether it is time to stop looking by oneself.
fn next_try(attempt_id: &AttemptId, query: &ReturnQuery) -> (String, bool) {
    let tries = query.tries.as_deref().and_then(|text| text.parse::<u32>().ok()).unwrap_or(0).min(TRIES_MAX);
    let canceled = if query.canceled.is_some() { "&canceled=1" } else { "" };
    let next = (tries + 1).min(TRIES_MAX);
    (format!("/checkout/return?attempt={attempt_id}&try={next}{canceled}"), tries >= SLOW_FROM_TRY)
}

#[cfg(test)]
mod tests {
    use counterfoil_core::subscription::{Standing, Subscription};

    use super::*;
    use crate::web::portal::testing::{NOW, account, license, provided, subscribed};

    fn paid_until(end: Option<Timestamp>) -> Subscription {
        subscribed(provided(Standing::Active { cancel_at: None }, end))
    }

    fn has_bought_license(subscription: Subscription, license: Option<License>) -> bool {
        bought_license(&account(subscription, license), NOW).is_some()
    }

    #[test]
    fn only_the_license_of_the_paid_plan_counts_as_paid() {
        let end = Some(NOW.plus_days(30));
        assert!(has_bought_license(paid_until(end), Some(license("professional", false))));
        assert!(!has_bought_license(paid_until(end), None), "paid, but no license yet");
        assert!(!has_bought_license(paid_until(end), Some(license("trial", true))), "the trial's license");
        assert!(!has_bought_license(paid_until(end), Some(license("starter", false))), "an earlier plan's license");
        assert!(!has_bought_license(paid_until(None), Some(license("professional", false))), "not paid");
        let over = License { expires_at: NOW, ..license("professional", false) };
        assert!(!has_bought_license(paid_until(end), Some(over)), "it is over from its last moment on");
        let carried = subscribed(provided(Standing::Trialing { cancel_at: None }, end));
        assert!(
            has_bought_license(carried.clone(), Some(license("professional", true))),
            "a trial that was taken along"
        );
        assert!(!has_bought_license(carried, Some(license("trial", true))), "the licence of our own trial");
        let trial = Subscription::trial(PlanCode::new("trial"), NOW.plus_days(3));
        assert!(!has_bought_license(trial, Some(license("trial", true))), "a trial is not paid");
    }

    #[test]
    fn success_is_claimed_for_a_completed_attempt_with_a_bought_license_only() {
        for attempt in [
            AttemptState::Opening,
            AttemptState::Open,
            AttemptState::Paying,
            AttemptState::Completed,
            AttemptState::Expired,
            AttemptState::Failed,
        ] {
            for (paid, gave_up) in [(false, false), (false, true), (true, false), (true, true)] {
                let done = outcome(attempt, paid, gave_up) == Outcome::Done;
                assert_eq!(done, attempt == AttemptState::Completed && paid, "{attempt:?} {paid} {gave_up}");
            }
        }
    }

    #[test]
    fn an_attempt_without_payment_ends_as_it_ended() {
        assert_eq!(outcome(AttemptState::Open, false, true), Outcome::NotPaid(NotPaid::Canceled));
        assert_eq!(outcome(AttemptState::Open, false, false), Outcome::Waiting);
        assert_eq!(outcome(AttemptState::Expired, false, true), Outcome::NotPaid(NotPaid::Expired));
        assert_eq!(outcome(AttemptState::Paying, false, true), Outcome::Waiting, "the money is on its way");
        assert_eq!(outcome(AttemptState::Completed, false, false), Outcome::NotPaid(NotPaid::Failed));
    }

    #[test]
    fn tries_are_counted_and_capped() {
        let id = AttemptId::from_random([3; 16]);
        let query = |tries: Option<&str>, canceled: Option<&str>| ReturnQuery {
            attempt: id.to_string(),
            tries: tries.map(str::to_owned),
            canceled: canceled.map(str::to_owned),
        };
        let base = format!("/checkout/return?attempt={id}");
        assert_eq!(next_try(&id, &query(None, None)), (format!("{base}&try=1"), false));
        assert_eq!(next_try(&id, &query(Some("14"), Some("1"))), (format!("{base}&try=15&canceled=1"), false));
        assert_eq!(next_try(&id, &query(Some("15"), None)), (format!("{base}&try=16"), true));
        assert_eq!(next_try(&id, &query(Some("4000000000"), None)), (format!("{base}&try=99"), true));
        assert_eq!(next_try(&id, &query(Some("<script>"), None)), (format!("{base}&try=1"), false));
    }
}
