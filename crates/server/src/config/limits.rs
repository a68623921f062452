//! The settings of rate limits, and of the proxies whose word on a client's address is taken.

use std::net::IpAddr;

use super::error::Problems;
use super::settings::{self, Setting};
use super::source::Values;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Logins to one account from one network.
    Login,
    /// Logins from one network, to whatever account.
    LoginNetwork,
    /// Logins to one account from everywhere.
    LoginAccount,
    /// Accounts made from one network.
    SignUpNetwork,
    /// Mails that somebody asks for to one address.
    MailAddress,
    /// Mails that are asked for from one network.
    MailNetwork,
    /// Mails to one person's addresses that nobody's account is known to have asked for.
    MailPerson,
    /// Passwords asked again of somebody who is logged in.
    Password,
    /// What one customer asks for that only the payment provider can answer.
    Provider,
    /// Exports of one customer's account.
    Export,
    /// Licences shown by one customer's products.
    License,
}

impl Limit {
    /// All of them, in the order of [`RateLimits`].
    pub const ALL: [Self; 11] = [
        Self::Login,
        Self::LoginNetwork,
        Self::LoginAccount,
        Self::SignUpNetwork,
        Self::MailAddress,
        Self::MailNetwork,
        Self::MailPerson,
        Self::Password,
        Self::Provider,
        Self::Export,
        Self::License,
    ];

    /// The stable word: in the setting and in metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::LoginNetwork => "login_network",
            Self::LoginAccount => "login_account",
            Self::SignUpNetwork => "signup_network",
            Self::MailAddress => "mail_address",
            Self::MailNetwork => "mail_network",
            Self::MailPerson => "mail_person",
            Self::Password => "password",
            Self::Provider => "provider",
            Self::Export => "export",
            Self::License => "license",
        }
    }

    const fn default_rate(self) -> Rate {
        let (burst, per_hour) = match self {
            Self::Login | Self::Password | Self::Export => (10, 30),
            Self::LoginNetwork => (200, 600),
            Self::LoginAccount => (1_000, 3_000),
            Self::SignUpNetwork => (30, 60),
            Self::MailAddress | Self::MailPerson => (5, 10),
            Self::MailNetwork => (50, 100),
            Self::Provider => (60, 120),
            Self::License => (1_000, 36_000),
        };
        Rate { burst, per_hour }
    }
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At once, after a rest.
    pub burst: u32,
    /// In the long run.
    pub per_hour: u32,
}

/// The rate of each [`Limit`]; none where it is lifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits([Option<Rate>; Limit::ALL.len()]);

impl RateLimits {
    /// All limits as they are shipped.
    #[must_use]
    pub fn all() -> Self {
        Self(Limit::ALL.map(|limit| Some(limit.default_rate())))
    }

    /// The sandbox is for trying things out, by load tests too. What products meet is limited there as well.
    fn of_sandbox() -> Self {
        Self(Limit::ALL.map(|limit| (limit == Limit::License).then(|| limit.default_rate())))
    }

    /// The rate, where there is one.
    #[must_use]
    pub fn of(&self, limit: Limit) -> Option<Rate> {
        self.0[limit as usize]
    }

    fn apply(&mut self, change: &str) -> Option<()> {
        match change {
            "on" => *self = Self::all(),
            "off" => *self = Self([None; Limit::ALL.len()]),
            _ => {
                let (word, value) = change.split_once('=')?;
                let limit = Limit::ALL.into_iter().find(|limit| limit.word() == word.trim())?;
                self.0[limit as usize] = match value.trim() {
                    "off" => None,
                    value => Some(rate(value)?),
                };
            }
        }
        Some(())
    }
}

/// `10/30`: ten at once, thirty an hour.
fn rate(text: &str) -> Option<Rate> {
    let (burst, per_hour) = text.split_once('/')?;
    let rate = Rate { burst: burst.parse().ok()?, per_hour: per_hour.parse().ok()? };
    let accepted = 1..=1_000_000_000;
    (accepted.contains(&rate.burst) && accepted.contains(&rate.per_hour)).then_some(rate)
}

/// Read from left to right: `on, login=20/60, signup_network=off`.
pub(super) fn rate_limits(values: &Values, sandbox: bool, problems: &mut Problems) -> Option<RateLimits> {
    let mut limits = if sandbox { RateLimits::of_sandbox() } else { RateLimits::all() };
    let Some(given) = values.get(&settings::RATE_LIMITS) else { return Some(limits) };
    for change in given.text.split(',').map(str::trim).filter(|change| !change.is_empty()) {
        if limits.apply(change).is_none() {
            let words: Vec<_> = Limit::ALL.iter().map(|limit| limit.word()).collect();
            let message = format!(
                "`{change}` is not accepted: write `on`, `off`, `NAME=BURST/PER_HOUR` or `NAME=off`, where NAME is one of {}",
                words.join(", ")
            );
            problems.add("invalid_rate_limit", &given.name, message);
            return None;
        }
    }
    Some(limits)
}

/// How many connections there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// In all.
    pub all: usize,
    /// From one address, or one IPv6 network of 64 bits. Trusted proxies are not counted so.
    pub per_address: usize,
}

impl Default for Connections {
    fn default() -> Self {
        Self { all: 10_000, per_address: 1_000 }
    }
}

/// More than any system lets one process have open is a slip of the keyboard.
const CONNECTIONS_MAX: usize = 1_000_000;

pub(super) fn connections(values: &Values, problems: &mut Problems) -> Option<Connections> {
    let default = Connections::default();
    let all = number_of_connections(values, &settings::CONNECTIONS, default.all, problems);
    let per_address = number_of_connections(values, &settings::CONNECTIONS_PER_ADDRESS, default.per_address, problems);
    Some(Connections { all: all?, per_address: per_address? })
}

fn number_of_connections(values: &Values, setting: &Setting, default: usize, problems: &mut Problems) -> Option<usize> {
    let Some(given) = values.get(setting) else { return Some(default) };
    let number = given.text.parse().ok().filter(|number| (1..=CONNECTIONS_MAX).contains(number));
    if number.is_none() {
        let message = format!("`{}` is not accepted: write a number from 1 to {CONNECTIONS_MAX}", given.text);
        problems.add("invalid_connections", &given.name, message);
    }
    number
}

/// Proxies in front of us. Only they are believed when they say on whose behalf they ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<(IpAddr, u8)>);

impl TrustedProxies {
    /// Whether this peer is one of them.
    #[must_use]
    pub fn contains(&self, peer: IpAddr) -> bool {
        self.0.iter().any(|&(network, bits)| is_in(peer.to_canonical(), network, bits))
    }

    fn parse(text: &str) -> Result<Self, &str> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| parse_network(part).ok_or(part)).collect::<Result<_, _>>().map(Self)
    }
}

/// `10.0.0.0/8`, or one address.
fn parse_network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
    (bits <= most).then_some((address, bits))
}

fn is_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            bits == 0 || differing >> (32 - u32::from(bits)) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            bits == 0 || differing >> (128 - u32::from(bits)) == 0
        }
        _ => false,
    }
}

pub(super) fn trusted_proxies(values: &Values, problems: &mut Problems) -> Option<TrustedProxies> {
    let Some(given) = values.get(&settings::TRUSTED_PROXIES) else { return Some(TrustedProxies::default()) };
    match TrustedProxies::parse(&given.text) {
        Ok(proxies) => Some(proxies),
        Err(part) => {
            let message = format!("`{part}` is no address: write `10.0.0.7` or `10.0.0.0/8`, several with commas");
            problems.add("invalid_trusted_proxies", &given.name, message);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_changed_lifted_and_brought_back_by_its_name() {
        let mut limits = RateLimits::all();
        limits.apply("login=20/60").unwrap();
        limits.apply("license=off").unwrap();
        assert_eq!(limits.of(Limit::Login), Some(Rate { burst: 20, per_hour: 60 }));
        assert_eq!(limits.of(Limit::License), None);
        assert_eq!(limits.of(Limit::Password), Some(Rate { burst: 10, per_hour: 30 }));
        limits.apply("off").unwrap();
        assert!(Limit::ALL.iter().all(|&limit| limits.of(limit).is_none()));
        limits.apply("on").unwrap();
        assert_eq!(limits, RateLimits::all());
        for wrong in ["login", "login=", "login=0/1", "login=1/0", "login=-1/1", "log_in=1/1", "login=1/2/3", "On"] {
            assert!(limits.apply(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_proxy_is_trusted_by_its_address_or_its_network() {
        let proxies = TrustedProxies::parse("127.0.0.1, 10.1.0.0/16,2001:db8::/32").unwrap();
        let table = [
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("127.0.0.2", false),
            ("10.1.255.1", true),
            ("10.2.0.1", false),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
        ];
        for (address, expected) in table {
            assert_eq!(proxies.contains(address.parse().unwrap()), expected, "{address}");
        }
        assert!(!TrustedProxies::default().contains("127.0.0.1".parse().unwrap()), "nobody is trusted unasked");
        assert!(TrustedProxies::parse("0.0.0.0/0").unwrap().contains("203.0.113.9".parse().unwrap()));
        for wrong in ["proxy.example.com", "10.0.0.0/33", "10.0.0.0/x", "::1/129"] {
            assert_eq!(TrustedProxies::parse(wrong), Err(wrong));
        }
    }
}
