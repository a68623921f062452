//! Where a request comes from, for limits: the address of the peer, or what a proxy that the operator trusts says of it.
//!
//! Anybody can send `X-Forwarded-For`. It is read from its end, where the nearest proxy wrote, and only as far as those who
//! wrote are trusted; so what a client invented stands before what is believed.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
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
