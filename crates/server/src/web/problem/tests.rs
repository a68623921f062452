//! What callers and operators are told of refusals and failures.

use std::sync::{Arc, Mutex};

use counterfoil_core::Timestamp;
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
fn operators_are_called_by_what_they_can_mend_alone_and_callers_come_back_when_it_may_go_well() {
    let detail = || "as it was told".to_owned();
    let unavailable = || ProviderError::Unavailable { reason: detail(), request_id: None };
    let until = Timestamp::from_unix_seconds(1_790_000_000);
    for (failure, status, code, seconds, level) in [
        (Failure::from(DbError::Unavailable { detail: detail() }), 503, "database_unavailable", Some(5), Level::WARN),
        (Failure::from(DbError::Conflict { detail: detail() }), 503, "database_unavailable", Some(5), Level::WARN),
        (Failure::from(DbError::Full { detail: detail() }), 503, "database_full", Some(60), Level::ERROR),
        (Failure::from(DbError::BadText { detail: detail() }), 422, "invalid_request", None, Level::INFO),
        (Failure::from(DbError::ForeignKey), 500, "internal", None, Level::ERROR),
        (Failure::Corrupt(detail()), 500, "internal", None, Level::ERROR),
        (Failure::NotInBook, 500, "internal", None, Level::ERROR),
        (Failure::from(unavailable()), 503, "payment_provider_unavailable", Some(10), Level::ERROR),
        (Failure::from(ProviderError::KeyInUse), 503, "payment_provider_unavailable", Some(10), Level::ERROR),
        (Failure::ProviderKeyPoisoned { until }, 503, "payment_provider_unavailable", Some(600), Level::WARN),
        (Failure::from(ProviderError::NotOffered { what: "portal" }), 409, "not_offered", None, Level::INFO),
        (Failure::from(ProviderError::CustomerMissing), 502, "payment_provider_refused", None, Level::ERROR),
        (
            Failure::from(ProviderError::PriceMissing { message: detail(), request_id: None }),
            502,
            "price_missing_at_provider",
            None,
            Level::ERROR,
        ),
        (
            Failure::from(ProviderError::Unauthorized { message: detail(), request_id: None }),
            503,
            "payment_provider_refuses_key",
            Some(300),
            Level::ERROR,
        ),
        (Failure::OtherAccount, 503, "payment_provider_refuses_key", Some(300), Level::ERROR),
        (Failure::from(KeyError::NoneActive), 503, "signing_key_unavailable", Some(60), Level::ERROR),
        (Failure::CustomerBusy, 503, "customer_busy", Some(2), Level::WARN),
        (Failure::CounterpartInTheMaking, 503, "customer_busy", Some(2), Level::WARN),
        (Failure::HasherBusy, 503, "busy", Some(2), Level::WARN),
        (Failure::ExportsBusy, 503, "busy", Some(2), Level::WARN),
        (Failure::Stopping, 503, "stopping", Some(5), Level::WARN),
    ] {
        let (problem, levels) = logged(failure);
        assert_eq!((problem.status.as_u16(), problem.code, levels), (status, code, vec![level]));
        assert_eq!(problem.retry_after_seconds, seconds, "{code}");
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
