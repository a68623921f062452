//! What callers and operators are told of refusals and failures.

use std::sync::{Arc, Mutex};

use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::*;
use crate::db::DbError;
use crate::keys::KeyError;

#[test]
fn a_database_that_takes_nothing_says_when_to_come_back_and_one_that_is_wrong_does_not() {
    let told = |error: DbError| explain(&Failure::from(error));
    let full = told(DbError::Full { detail: "disk".into() });
    assert_eq!((full.status, full.code), (StatusCode::SERVICE_UNAVAILABLE, "database_full"));
    let away = told(DbError::Unavailable { detail: "gone".into() });
    assert_eq!((away.status, away.code), (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable"));
    let bad = told(DbError::BadText { detail: "a NUL".into() });
    assert_eq!((bad.status, bad.code), (StatusCode::UNPROCESSABLE_ENTITY, "invalid_request"));
    assert_eq!(told(DbError::ForeignKey).status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(is_for_the_operator(&Failure::from(DbError::Full { detail: "disk".into() })));
    assert!(!is_for_the_operator(&Failure::from(DbError::Unavailable { detail: "gone".into() })));
}

/// Notes the level of each line.
struct Levels(Arc<Mutex<Vec<Level>>>);

impl<S: tracing::Subscriber> Layer<S> for Levels {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        self.0.lock().unwrap().push(*event.metadata().level());
    }
}

/// The problem that a failure becomes, and the levels of the lines that this writes into the log.
fn logged(failure: Failure) -> (Problem, Vec<Level>) {
    let levels = Arc::new(Mutex::new(Vec::new()));
    let lines = tracing_subscriber::registry().with(Levels(Arc::clone(&levels)));
    let problem = tracing::subscriber::with_default(lines, || Problem::from(failure));
    let levels = levels.lock().unwrap().clone();
    (problem, levels)
}

#[test]
fn operators_are_called_by_what_they_can_mend_alone() {
    let unavailable = || ProviderError::Unavailable { reason: "time-out".into(), request_id: None };
    for (failure, status, code, level) in [
        (Failure::from(DbError::Unavailable { detail: "gone".into() }), 503, "database_unavailable", Level::WARN),
        (Failure::from(DbError::Conflict { detail: "met".into() }), 503, "database_unavailable", Level::WARN),
        (Failure::from(DbError::Full { detail: "disk".into() }), 503, "database_full", Level::ERROR),
        (Failure::from(DbError::ForeignKey), 500, "internal", Level::ERROR),
        (Failure::Corrupt("a date".into()), 500, "internal", Level::ERROR),
        (Failure::from(unavailable()), 503, "payment_provider_unavailable", Level::ERROR),
        (Failure::from(ProviderError::NotOffered { what: "portal" }), 409, "not_offered", Level::INFO),
        (Failure::from(ProviderError::CustomerMissing), 502, "payment_provider_refused", Level::ERROR),
        (Failure::OtherAccount, 503, "payment_provider_refuses_key", Level::ERROR),
        (Failure::SigningKey(KeyError::NoneActive), 503, "signing_key_unavailable", Level::ERROR),
        (Failure::CustomerBusy, 503, "customer_busy", Level::WARN),
        (Failure::HasherBusy, 503, "busy", Level::WARN),
        (Failure::Stopping, 503, "stopping", Level::WARN),
    ] {
        let (problem, levels) = logged(failure);
        assert_eq!((problem.status.as_u16(), problem.code, levels), (status, code, vec![level]));
        assert_eq!(problem.retry_after_seconds.is_some(), status == 503, "{code}");
    }
}

#[test]
fn a_title_is_the_status_in_words() {
    assert_eq!(Problem::not_found().title(), "Not Found");
    let unheard = StatusCode::from_u16(599).unwrap();
    assert_eq!(Problem::new(unheard, "x", "y").title(), "Problem");
}

#[test]
fn only_who_has_to_log_in_is_told_how() {
    let header = |problem: Problem| {
        problem.into_response().headers().get(header::WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(header(Problem::new(StatusCode::UNAUTHORIZED, "x", "")).as_deref(), Some("Bearer"));
    assert_eq!(header(Problem::new(StatusCode::FORBIDDEN, "x", "")), None);
}
