//! Where a customer is logged in, on the settings page, and the buttons that end that.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use counterfoil_core::{Refusal, SessionId, Timestamp};
use serde::Deserialize;

use super::form::FormBody;
use super::page::{Member, OnPage as _, PageProblem};
use crate::app::Error;
use crate::store::sessions::Session;
use crate::web::WebState;
use crate::web::caller;
use crate::web::views::SessionRow;

const SHOWN_AT: &str = "/account/settings#sessions";

/// Seconds of an hour: the time of the last use is no truer than that.
const HOUR_SECONDS: i64 = 3600;

/// The form of the button beside a session.
#[derive(Deserialize)]
pub struct EndForm {
    #[serde(default)]
    session_id: String,
}

/// A session in words.
pub fn row(session: &Session, now: Timestamp) -> SessionRow {
    SessionRow {
        session_id: session.session_id.to_string(),
        device: session.device.clone(),
        network: session.network.clone(),
        since: format!("since {}", session.created_at.date_in_words()),
        used: used(session.last_seen_at, now),
        is_current: session.is_current,
    }
}

fn used(at: Timestamp, now: Timestamp) -> String {
    match (now.as_unix_seconds() - at.as_unix_seconds()) / HOUR_SECONDS {
        ..2 => "used within the last two hours".to_owned(),
        hours @ 2..24 => format!("last used {hours} hours ago"),
        24.. => format!("last used on {}", at.date_in_words()),
    }
}

/// `POST /account/sessions/end`. A second click finds that it is done. Whoever ends the own session is logged out.
pub async fn end(
    State(state): State<WebState>,
    member: Member,
    headers: HeaderMap,
    FormBody(form): FormBody<EndForm>,
) -> Result<Response, PageProblem> {
    if let Ok(session_id) = form.session_id.parse::<SessionId>() {
        match state.app.end_session(&member.customer_id, &session_id).await {
            Ok(()) | Err(Error::Refused(Refusal::SessionUnknown)) => {}
            Err(error) => return Err(PageProblem::new(error, member.frame)),
        }
    }
    let own = caller::token(&headers).unwrap_or_default();
    let left = state.app.sessions(&member.customer_id, &own).await.on(&member.frame)?;
    if left.iter().any(|session| session.is_current) {
        return Ok(Redirect::to(SHOWN_AT).into_response());
    }
    let cookie = caller::ended_cookie(state.options.https);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response())
}

/// `POST /account/sessions/end-others`.
pub async fn end_others(
    State(state): State<WebState>,
    member: Member,
    headers: HeaderMap,
) -> Result<Response, PageProblem> {
    let own = caller::token(&headers).unwrap_or_default();
    state.app.end_other_sessions(&member.customer_id, &own).await.on(&member.frame)?;
    Ok(Redirect::to("/account/settings?done=sessions#sessions").into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_use_is_told_no_truer_than_it_is_known() {
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        let words = |seconds: i64| used(Timestamp::from_unix_seconds(1_800_000_000 - seconds), now);
        assert_eq!(words(-60), "used within the last two hours", "another server's clock may be ahead");
        assert_eq!(words(7_199), "used within the last two hours");
        assert_eq!(words(7_200), "last used 2 hours ago");
        assert_eq!(words(86_399), "last used 23 hours ago");
        assert_eq!(words(86_400), "last used on 14 January 2027");
    }
}
