//! Where a request comes from, for limits: the address of the peer, or what a proxy that the operator trusts says of it.
//!
//! Anybody can send `X-Forwarded-For`. It is read from its end, where the nearest proxy wrote, and only as far as those who
//! wrote are trusted; so what a client invented stands before what is believed.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use counterfoil_core::probe;

use super::WebState;
use crate::app::rate_limits::Network;
use crate::app::settings::TrustedProxies;

/// The client's network.
#[derive(Clone, Debug)]
pub struct CameFrom(pub Network);

impl FromRequestParts<WebState> for CameFrom {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let proxies = &state.app.settings.trusted_proxies;
        Ok(Self(peer.map_or_else(Network::unknown, |peer| Network::of(client(peer.0.ip(), &parts.headers, proxies)))))
    }
}

/// The client behind this peer. Only what trusted proxies wrote is believed.
#[must_use]
pub fn client(peer: IpAddr, headers: &HeaderMap, proxies: &TrustedProxies) -> IpAddr {
    let mut client = peer;
    let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    probe!("F87", !lines.is_empty() && !proxies.contains(peer));
    let hops = lines.iter().rev().flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    for hop in hops {
        if !proxies.contains(client) {
            break;
        }
        let Some(address) = address(hop.trim()) else { break };
        client = address;
    }
    client
}

/// Whether somebody on this machine asks, and not a proxy on it for somebody else. A proxy says so in a header, or asks by the name that
/// others know. The peer is that of the connection: no header makes one.
#[must_use]
pub fn is_from_this_machine(parts: &Parts) -> bool {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let is_passed_on = parts.headers.keys().any(|name| {
        let name = name.as_str();
        name.starts_with("x-forwarded") || matches!(name, "forwarded" | "via" | "x-real-ip")
    });
    let asked = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    peer.is_some_and(|peer| peer.0.ip().to_canonical().is_loopback()) && !is_passed_on && is_own_name(asked)
}

fn is_own_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let bare = authority.host().trim_matches(['[', ']']);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Some proxies write the port as well.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::config::{Config, Environment};

    fn seen(proxies: &str, peer: &str, forwarded: &[&'static str]) -> String {
        let environment = Environment::from_iter([("COUNTERFOIL_TRUSTED_PROXIES", proxies)]);
        let config = Config::parse(None, &environment).unwrap();
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
        client(peer.parse().unwrap(), &headers, &config.trusted_proxies).to_string()
    }

    #[test]
    fn this_machine_is_who_connects_from_it_and_passes_nothing_on() {
        let asks = |peer: &str, headers: &[(&'static str, &'static str)]| {
            let mut request = axum::http::Request::new(());
            let at = SocketAddr::new(peer.parse().unwrap(), 4711);
            request.extensions_mut().insert(ConnectInfo(at));
            for (name, value) in headers {
                request.headers_mut().append(*name, HeaderValue::from_static(value));
            }
            is_from_this_machine(&request.into_parts().0)
        };
        let here = ("host", "localhost:3100");
        for peer in ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"] {
            for host in ["localhost:3100", "LOCALHOST", "127.0.0.1:3100", "[::1]:3100"] {
                assert!(asks(peer, &[("host", host)]), "{peer} {host}");
            }
        }
        for peer in ["203.0.113.9", "10.0.0.1", "2001:db8::7"] {
            assert!(!asks(peer, &[here]), "{peer}");
        }
        for name in ["forwarded", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"] {
            assert!(!asks("127.0.0.1", &[here, (name, "127.0.0.1")]), "{name}");
        }
        for host in ["billing.example.com", "127.0.0.1.evil.example", "localhost.evil.example", "", "a b"] {
            assert!(!asks("127.0.0.1", &[("host", host)]), "{host}");
        }
        assert!(!asks("127.0.0.1", &[]), "no name");
    }

    #[test]
    fn only_a_trusted_proxy_says_who_the_client_is() {
        let table: [(&str, &str, &[&'static str], &str); 10] = [
            ("10.0.0.1", "203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1", "10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", "10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", "10.0.0.1", &["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", "10.0.0.1", &["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.0/24", "10.0.0.1", &["6.6.6.6, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", "10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", "10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("10.0.0.1", "10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", "::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
        ];
        for (proxies, peer, forwarded, expected) in table {
            assert_eq!(seen(proxies, peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }
}
