//! Pages that links in mails lead to. Opening one changes nothing, because mail programs and their scanners open links too: each
//! page has a button that does.
//!
//! The token is taken out of the address at once: it goes into a cookie for this one page, and the browser is sent on to the
//! address without it. So it is in no history, in no `Referer` and in no page.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum_extra::extract::cookie::CookieJar;
use serde::Deserialize;

use super::page::PageProblem;
use crate::web::WebState;

const COOKIE: &str = "cf_link";

/// As long as the longest link works; the link itself decides.
const COOKIE_SECONDS: i64 = 24 * 3600;

/// Longer than any token of ours.
const TOKEN_BYTES_MAX: usize = 128;

#[derive(Deserialize)]
struct LinkQuery {
    token: String,
}

/// How a page was come to.
pub enum Arrival {
    /// By the link itself: the token has to leave the address first.
    ByLink(Response),
    /// At the plain address, with the token in the cookie, or without one.
    Plain(Option<String>),
}

impl FromRequestParts<WebState> for Arrival {
    type Rejection = PageProblem;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, PageProblem> {
        let path = parts.uri.path();
        let query = axum::extract::Query::<LinkQuery>::try_from_uri(&parts.uri).ok();
        if let Some(token) = query.map(|query| query.0.token) {
            let cookie = cookie(path, if is_plain(&token) { &token } else { "" }, state.options.https);
            return Ok(Self::ByLink(([(header::SET_COOKIE, cookie)], Redirect::to(path)).into_response()));
        }
        let jar = CookieJar::from_headers(&parts.headers);
        let token = jar.get(COOKIE).map(|cookie| cookie.value().to_owned()).filter(|token| !token.is_empty());
        Ok(Self::Plain(token))
    }
}

impl Arrival {
    /// The token that came with a form; a form is never sent to the link itself.
    pub fn token(self) -> String {
        match self {
            Self::ByLink(_) | Self::Plain(None) => String::new(),
            Self::Plain(Some(token)) => token,
        }
    }
}

fn is_plain(token: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    token.len() <= TOKEN_BYTES_MAX && token.bytes().all(plain)
}

/// The header that ends the token's stay with the browser.
pub fn spent(path: &str, https: bool) -> HeaderValue {
    cookie(path, "", https)
}

fn cookie(path: &str, token: &str, https: bool) -> HeaderValue {
    let secure = if https { "; Secure" } else { "" };
    let age = if token.is_empty() { 0 } else { COOKIE_SECONDS };
    // `Lax`: the browser comes from a mail, which is another site.
    let text = format!("{COOKIE}={token}; Path={path}; Max-Age={age}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(text).expect("routes and plain tokens are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_token_gets_into_the_cookie() {
        assert!(is_plain("cfl_Ab-9_"));
        for bad in ["a;b", "a b", "a\r\nSet-Cookie: x=y", "ä", "a=b", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
            assert!(!is_plain(bad), "{bad:?}");
        }
        let cookie = cookie("/password/reset", "cfl_x", true);
        let text = cookie.to_str().unwrap();
        for part in ["cf_link=cfl_x; Path=/password/reset; ", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(text.contains("; Max-Age=86400;"), "it stays for a day: {text}");
    }
}
