//! What says who somebody is: the session cookie, a bearer token, and the addresses that proxies write down.
//!
//! Every line is a header, `name: value`. The first line may be `peer ADDRESS`, the other end of the connection.

use std::net::{IpAddr, SocketAddrV6};
use std::sync::OnceLock;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use counterfoil::app::sessions::{NewSession, SESSION_DAYS};
use counterfoil::config::{Config, Environment, TrustedProxies};
use counterfoil::web::{caller, etag, network};
use counterfoil_core::Timestamp;

use super::first_line;

const PROXIES: &str = "10.0.0.1,192.168.0.0/16,2001:db8::/32";
const ETAG: &str = "W/\"a1b2c3\"";

pub fn run(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    let mut peer = IpAddr::from([10, 0, 0, 1]);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (line, after) = first_line(rest);
        rest = after;
        if let Some(address) = line.strip_prefix(b"peer ") {
            peer = std::str::from_utf8(address).ok().and_then(|text| text.parse().ok()).unwrap_or(peer);
        } else if let Some((name, value)) = header(line) {
            headers.append(name, value);
        }
    }
    check_token(&headers);
    check_client(peer, &headers);
    check_etag(&headers);
    check_session(bytes);
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let value = line[colon + 1..].trim_ascii();
    Some((HeaderName::from_bytes(&line[..colon]).ok()?, HeaderValue::from_bytes(value).ok()?))
}

/// The values of a header as text; `None` in place of one that has more than ASCII.
fn texts<'a>(headers: &'a HeaderMap, name: &str) -> Vec<Option<&'a str>> {
    headers.get_all(name).iter().map(|value| value.to_str().ok()).collect()
}

/// A bearer token where there is an `Authorization` header, else the cookie; of several one of them.
fn check_token(headers: &HeaderMap) {
    let found = caller::token(headers);
    if let Some(authorization) = texts(headers, "authorization").first() {
        let bearer = authorization.and_then(|text| text.split_once(' '));
        let expected = bearer.filter(|(scheme, _)| scheme.to_lowercase() == "bearer").map(|(_, token)| token.trim());
        assert_eq!(found.as_deref(), expected);
        return;
    }
    let mut sent = Vec::new();
    for cookie in texts(headers, "cookie").into_iter().flatten().flat_map(|line| line.split(';')) {
        let pair = cookie.split_once('=').map(|(name, value)| (decoded(name.trim()), decoded(value.trim())));
        if let Some((Some(name), Some(value))) = pair
            && name == caller::COOKIE
        {
            sent.push(value);
        }
    }
    match found {
        Some(token) => assert!(sent.contains(&token), "{token:?} is none of {sent:?}"),
        None => assert!(sent.is_empty(), "{sent:?} was sent"),
    }
}

/// Without `%XX`; nothing where that is no text.
fn decoded(text: &str) -> Option<String> {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let digits = text.get(at + 1..at + 3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits.filter(|_| bytes[at] == b'%') {
            Some(digits) => {
                out.push(u8::from_str_radix(digits, 16).ok()?);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

/// Nobody but a trusted proxy says who the client is, and each of them only who stood before it.
fn check_client(peer: IpAddr, headers: &HeaderMap) {
    let proxies = proxies();
    let lines = texts(headers, "x-forwarded-for");
    // Read from the end; what is no address ends the reading.
    let hops = lines.iter().rev().flat_map(|line| line.unwrap_or_default().rsplit(',')).map(|hop| address(hop.trim()));
    let (mut expected, mut hops) = (peer, hops);
    while proxies.contains(expected) {
        match hops.next().flatten() {
            Some(before) => expected = before,
            None => break,
        }
    }
    assert_eq!(network::client(peer, headers, proxies), expected, "{lines:?} by {peer}");
    assert_eq!(network::client(peer, headers, &TrustedProxies::default()), peer, "nobody is trusted unasked");
}

/// `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]`, `[::1]:5`.
fn address(text: &str) -> Option<IpAddr> {
    if let Some(inner) = text.strip_prefix('[') {
        // Only the sixth version needs its brackets with a port, and may have a zone there.
        let alone = inner.strip_suffix(']').and_then(|inner| inner.parse().ok());
        return alone.or_else(|| text.parse::<SocketAddrV6>().ok().map(|address| IpAddr::V6(*address.ip())));
    }
    let with_port = text.split_once(':').filter(|(host, port)| host.contains('.') && is_port(port));
    with_port.map_or(text, |(host, _)| host).parse().ok()
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn proxies() -> &'static TrustedProxies {
    static MADE: OnceLock<TrustedProxies> = OnceLock::new();
    MADE.get_or_init(|| {
        let environment = Environment::from_iter([("COUNTERFOIL_TRUSTED_PROXIES", PROXIES)]);
        Config::parse(None, &environment).expect("a configuration").trusted_proxies
    })
}

fn check_etag(headers: &HeaderMap) {
    let opaque = ETAG.trim_start_matches("W/");
    let is_kept = etag::is_kept(headers, ETAG);
    let given: Vec<&str> = texts(headers, "if-none-match").into_iter().flatten().collect();
    let is_named = given.iter().any(|tags| tags.contains(opaque) || tags.trim() == "*");
    assert!(is_named || !is_kept, "{given:?} names nothing of ours");
    let has_exactly = given.iter().any(|tags| tags.trim() == ETAG || tags.trim() == opaque);
    assert!(is_kept || !has_exactly, "{given:?} names ours");
}

/// What we set as a cookie comes back as it was, with the attributes that keep it safe.
fn check_session(bytes: &[u8]) {
    let is_ours = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let token: String = bytes.iter().copied().filter(is_ours).take(64).map(char::from).collect();
    let session = NewSession { token: token.clone(), expires_at: Timestamp::from_unix_seconds(0) };
    let set = caller::session_cookie(&session, true);
    let set = set.to_str().expect("a cookie is ASCII");
    let mut parts = set.split("; ");
    let pair = parts.next().expect("a cookie begins with its name");
    let attributes: Vec<&str> = parts.collect();
    let age = format!("Max-Age={}", SESSION_DAYS * 86_400);
    assert_eq!(attributes, ["Path=/", age.as_str(), "HttpOnly", "SameSite=Lax", "Secure"]);
    let mut headers = HeaderMap::new();
    headers.insert("cookie", HeaderValue::from_str(pair).expect("a cookie fits into a header"));
    assert_eq!(caller::token(&headers).as_deref(), Some(token.as_str()));
}
