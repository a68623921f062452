//! Where we are, whom we send customers to, and who may connect.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use counterfoil_core::return_url::Origin;

use super::PublicUrl;
use super::error::Problems;
use super::limits::{self, Connections, TrustedProxies};
use super::reading::text;
use super::settings::{self, Setting};
use super::source::Values;

const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3100);
const SANDBOX_LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3101);

/// The settings of addresses and of those who come to them.
pub(super) struct Network {
    pub(super) listen: SocketAddr,
    pub(super) sandbox_listen: SocketAddr,
    pub(super) public_url: PublicUrl,
    pub(super) allowed_return_origins: Vec<Origin>,
    pub(super) payment_origins: Vec<Origin>,
    pub(super) connections: Connections,
    pub(super) trusted_proxies: TrustedProxies,
}

pub(super) fn network(values: &Values, problems: &mut Problems) -> Option<Network> {
    let listen = address(values, &settings::LISTEN, LISTEN_DEFAULT, problems);
    let sandbox_listen = address(values, &settings::SANDBOX_LISTEN, SANDBOX_LISTEN_DEFAULT, problems);
    let public_url = public_url(values, listen, problems);
    let allowed_return_origins = origins(values, &settings::RETURN_ORIGINS, problems);
    let payment_origins = origins(values, &settings::PAYMENT_ORIGINS, problems);
    let connections = limits::connections(values, problems);
    let trusted_proxies = limits::trusted_proxies(values, problems);
    Some(Network {
        listen: listen?,
        sandbox_listen: sandbox_listen?,
        public_url: public_url?,
        allowed_return_origins,
        payment_origins,
        connections: connections?,
        trusted_proxies: trusted_proxies?,
    })
}

fn address(values: &Values, setting: &Setting, default: SocketAddr, problems: &mut Problems) -> Option<SocketAddr> {
    let Some(given) = values.get(setting) else { return Some(default) };
    let spelled_out = match given.text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => given.text.clone(),
    };
    match spelled_out.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let message = format!("`{}` is no address: write IP and port, such as {default}", given.text);
            problems.add("invalid_address", &given.name, message);
            None
        }
    }
}

/// Without a setting of its own it follows the port that we listen on.
fn public_url(values: &Values, listen: Option<SocketAddr>, problems: &mut Problems) -> Option<PublicUrl> {
    let port = listen.map(|address| address.port()).filter(|&port| port != 0).unwrap_or(LISTEN_DEFAULT.port());
    let text = text(values, &settings::PUBLIC_URL).unwrap_or_else(|| format!("http://localhost:{port}"));
    match Origin::parse(&text) {
        Ok(origin) => Some(PublicUrl(origin)),
        Err(error) => {
            problems.add("invalid_public_url", values.name(&settings::PUBLIC_URL), error.to_string());
            None
        }
    }
}

fn origins(values: &Values, setting: &Setting, problems: &mut Problems) -> Vec<Origin> {
    let Some(given) = values.get(setting) else { return Vec::new() };
    let mut origins = Vec::new();
    for text in given.text.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        match Origin::parse(text) {
            Ok(origin) => origins.push(origin),
            Err(error) => problems.add("invalid_origin", &given.name, error.to_string()),
        }
    }
    origins
}
