//! Who makes a request: the session cookie, or a bearer token.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum_extra::extract::cookie::CookieJar;
use counterfoil_core::CustomerId;

use super::WebState;
use super::network::CameFrom;
use super::problem::Problem;
use crate::app::sessions::{Arrival, Caller, NewSession, SESSION_DAYS};

/// The session cookie.
pub const COOKIE: &str = "cf_session";

/// The caller, anonymous where nothing was shown or what was shown is worth nothing.
#[derive(Clone, Debug)]
pub struct Who(pub Caller);

/// The customer whose session this is; anybody else is refused.
#[derive(Clone, Debug)]
pub struct SignedIn(pub CustomerId);

/// What somebody comes in with: where from, on what, and with which cookie that a new one takes the place of.
#[derive(Clone, Debug)]
pub struct Arriving(pub Arrival);

impl FromRequestParts<WebState> for Arriving {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Infallible> {
        let CameFrom(network) = CameFrom::from_request_parts(parts, state).await?;
        let sent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(Self(Arrival {
            device: counterfoil_core::device::in_words(sent),
            network: network.in_words(),
            replaced: cookie(&parts.headers),
        }))
    }
}

impl FromRequestParts<WebState> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Problem> {
        match token(&parts.headers) {
            Some(token) => Ok(Self(state.app.identify(&token).await?)),
            None => Ok(Self(Caller::Anonymous)),
        }
    }
}

impl FromRequestParts<WebState> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Problem> {
        let Who(caller) = Who::from_request_parts(parts, state).await?;
        Ok(Self(caller.customer()?.clone()))
    }
}

/// The token that came with a request. An `Authorization` header is meant, a cookie may only happen to be there.
#[must_use]
pub fn token(headers: &HeaderMap) -> Option<String> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let value = value.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned());
    }
    cookie(headers)
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    CookieJar::from_headers(headers).get(COOKIE).map(|cookie| cookie.value().to_owned())
}

/// The header that begins a session. `Lax`, because `Strict` would lose the session on the way back from the payment page.
#[must_use]
pub fn session_cookie(session: &NewSession, https: bool) -> HeaderValue {
    set_cookie(&session.token, SESSION_DAYS * 86_400, https)
}

/// The header that ends it.
#[must_use]
pub fn ended_cookie(https: bool) -> HeaderValue {
    set_cookie("", 0, https)
}

fn set_cookie(value: &str, max_age_seconds: i64, https: bool) -> HeaderValue {
    let secure = if https { "; Secure" } else { "" };
    let text = format!("{COOKIE}={value}; Path=/; Max-Age={max_age_seconds}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(text).expect("our tokens are base64url")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_for_browsers_alone_and_under_https_for_https_alone() {
        let now = counterfoil_core::Timestamp::from_unix_seconds(1_800_000_000);
        let session = NewSession { token: "cfs_x".to_owned(), expires_at: now };
        let plain = "cf_session=cfs_x; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax";
        assert_eq!(session_cookie(&session, false), plain);
        assert_eq!(session_cookie(&session, true), format!("{plain}; Secure").as_str());
        assert_eq!(ended_cookie(true), "cf_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure");
    }
}
