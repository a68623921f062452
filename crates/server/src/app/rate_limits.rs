//! How often strangers and customers may try, counted in the database: replicas share it, and a restart forgets nothing.
//!
//! Nobody can lock another one out. A network that guesses at an account is stopped, and the account stays open to all other
//! networks; where very many networks guess at once, each has fewer tries, but the owner's first ones still count. Without
//! the database nothing is allowed: whoever cannot count does not let in. See docs/adr/0013-rate-limits.md.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use counterfoil_core::{CustomerId, EmailAddress, Refusal, Timestamp, probe};

use super::sessions::Caller;
use super::settings::{Limit, Rate};
use super::{App, Error, secrets};
use crate::store;
use crate::store::rate_limits::{Taken, Try};

const HOUR_MICROS: i64 = 3_600_000_000;

/// Of an IPv6 network so much is kept: what a provider gives to a site.
const SITE_BITS: u32 = 48;

/// How many times as much as one subscriber's network all those of an IPv6 site may together.
const SITE_TIMES: u32 = 4;

/// Tries that a network has at an account that is under attack from everywhere.
const TRIES_UNDER_ATTACK: i64 = 3;

/// Licences of one customer that a process answers without asking the shared store, as parts of the limit, and how many it
/// takes from there at once when the customer is busier.
const LICENSE_PARTS: u32 = 10;

/// Where a request comes from: an IPv4 address, or the /64 that one subscriber of IPv6 has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Network(String);

impl Network {
    /// The network of this address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_string()),
            IpAddr::V6(address) => {
                let prefix = Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX));
                Self(format!("{prefix}/64"))
            }
        }
    }

    /// As its owner is told and as it may be kept: without the end of the address, which is nobody's business later on.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self.0.parse::<Ipv4Addr>() {
            Ok(address) => {
                let [a, b, c, _] = address.octets();
                format!("{a}.{b}.{c}.x")
            }
            Err(_) => self.site().unwrap_or_else(|| "an unknown network".to_owned()),
        }
    }

    /// The IPv6 site that it is a part of: whoever has one has 65,536 networks.
    fn site(&self) -> Option<String> {
        let prefix: Ipv6Addr = self.0.strip_suffix("/64")?.parse().ok()?;
        let site = Ipv6Addr::from_bits(prefix.to_bits() & !((1 << (128 - SITE_BITS)) - 1));
        Some(format!("{site}/{SITE_BITS}"))
    }

    /// That of requests which came over no network that we know of. They share one.
    #[must_use]
    pub fn unknown() -> Self {
        Self("unknown".to_owned())
    }
}

fn cost(rate: Rate) -> i64 {
    (HOUR_MICROS / i64::from(rate.per_hour)).max(1)
}

/// What a site may, where a network may so much.
fn of_site(rate: Rate) -> Rate {
    let times = |number: u32| number.saturating_mul(SITE_TIMES);
    Rate { burst: times(rate.burst), per_hour: times(rate.per_hour) }
}

/// A limit that is lifted is one that nobody reaches.
fn lifted() -> Rate {
    Rate { burst: 1_000_000_000, per_hour: 1_000_000_000 }
}

impl App {
    fn try_of(&self, limit: Limit, whom: &str) -> Option<Try> {
        self.settings.rate_limits.of(limit).map(|rate| self.try_at(limit, rate, whom))
    }

    /// The bucket of the site that a network belongs to, where it is one of IPv6.
    fn try_of_site(&self, limit: Limit, network: &Network) -> Option<Try> {
        let rate = self.settings.rate_limits.of(limit)?;
        network.site().map(|site| self.try_at(limit, of_site(rate), &site))
    }

    /// Neither address nor network is written down: a digest tells them apart.
    fn try_at(&self, limit: Limit, rate: Rate, whom: &str) -> Try {
        let digest = secrets::person_hash(&self.instance.ledger_key, whom);
        Try {
            bucket: format!("{}:{digest}", limit.word()),
            cost: cost(rate),
            capacity: cost(rate) * i64::from(rate.burst),
        }
    }

    /// A try to log in.
    ///
    /// # Errors
    /// [`Refusal::TooManyRequests`]; failures of the database, so that nobody gets in uncounted.
    pub async fn limit_login(&self, network: &Network, email: &str) -> Result<(), Error> {
        let limits = &self.settings.rate_limits;
        let all = [Limit::Login, Limit::LoginNetwork, Limit::LoginAccount];
        if all.iter().all(|&limit| limits.of(limit).is_none()) {
            return Ok(());
        }
        let account = account_key(email);
        let wanted = [
            (Limit::Login, format!("{account} {}", network.0)),
            (Limit::LoginNetwork, network.0.clone()),
            (Limit::LoginAccount, account),
        ]
        .map(|(limit, whom)| self.try_at(limit, limits.of(limit).unwrap_or_else(lifted), &whom));
        let (now, site) = (self.now(), self.try_of_site(Limit::LoginNetwork, network));
        let [pair, net, _account] = &wanted;
        for each in [pair, net].into_iter().chain(&site) {
            self.limits.check_refused(&each.bucket, now)?;
        }
        let mut tx = self.db.begin().await?;
        let [by_pair, by_network, by_account] =
            store::rate_limits::take_three(&mut tx, &wanted, now.as_micros()).await?;
        let by_site = match &site {
            Some(site) => Some(store::rate_limits::take(&mut tx, site, now.as_micros()).await?),
            None => None,
        };
        tx.commit().await?;
        if let Some((site, taken)) = site.as_ref().zip(by_site) {
            self.judge(Limit::LoginNetwork, site, taken, now)?;
        }
        self.judge(Limit::LoginNetwork, net, by_network, now)?;
        self.judge(Limit::Login, pair, by_pair, now)?;
        if !by_account.allowed && taken_of(pair, by_pair, now) > TRIES_UNDER_ATTACK {
            return Err(refused(Limit::LoginAccount, pair.cost).into());
        }
        Ok(())
    }

    /// A new account, which sends a mail to somebody who may know nothing of it. Whether there is one with the address already
    /// makes no difference.
    ///
    /// # Errors
    /// [`Refusal::TooManyRequests`]; failures of the database.
    pub async fn limit_sign_up(&self, network: &Network, email: &EmailAddress) -> Result<(), Error> {
        self.limit_network(Limit::SignUpNetwork, network).await?;
        self.limit_mail_to(email).await
    }

    /// A mail to an address that no account is known to be entitled to: from everywhere together, and however the person's
    /// address is written. It stands before no login and before no forgotten password, so it keeps nobody out.
    ///
    /// # Errors
    /// [`Refusal::TooManyRequests`]; failures of the database.
    pub(super) async fn limit_mail_to(&self, email: &EmailAddress) -> Result<(), Error> {
        self.limit(Limit::MailPerson, &email.person_key()).await
    }

    /// A mail that somebody asks for to an address, whether or not there is an account with it.
    ///
    /// # Errors
    /// [`Refusal::TooManyRequests`]; failures of the database.
    pub async fn limit_mail(&self, network: &Network, address: &str) -> Result<(), Error> {
        self.limit_network(Limit::MailNetwork, network).await?;
        // Else a stranger could keep an owner from the mail that opens the account again.
        self.limit(Limit::MailAddress, &format!("{} {}", account_key(address), network.0)).await
    }

    /// The password of somebody who is logged in.
    ///
    /// # Errors
    /// [`Refusal::TooManyRequests`]; failures of the database.
    pub async fn limit_password(&self, customer_id: &CustomerId) -> Result<(), Error> {
        self.limit(Limit::Password, customer_id.as_str()).await
    }

    /// Everything that we hold of a customer, read at once.
    ///
    /// # Errors
    /// [`Refusal::TooManyRequests`]; failures of the database.
    pub async fn limit_export(&self, customer_id: &CustomerId) -> Result<(), Error> {
        self.limit(Limit::Export, customer_id.as_str()).await
    }

    /// What only the provider can answer: a checkout, a change, a preview, the provider's own pages. Its places are few.
    ///
    /// # Errors
    /// [`Refusal::TooManyRequests`]; failures of the database.
    pub async fn limit_provider(&self, customer_id: &CustomerId) -> Result<(), Error> {
        self.limit(Limit::Provider, customer_id.as_str()).await
    }

    /// The same where somebody else may ask for the customer: that is counted apart, and keeps the customer from nothing.
    ///
    /// # Errors
    /// As [`App::limit_provider`].
    pub async fn limit_provider_for(&self, caller: &Caller, customer_id: &CustomerId) -> Result<(), Error> {
        let by = match caller {
            Caller::Customer(own) if own == customer_id => return self.limit_provider(customer_id).await,
            Caller::Customer(_) | Caller::Anonymous => "anybody",
            Caller::Backend { .. } => "backend",
        };
        self.limit(Limit::Provider, &format!("{by} {}", customer_id.as_str())).await
    }

    async fn limit_network(&self, limit: Limit, network: &Network) -> Result<(), Error> {
        self.limit(limit, &network.0).await?;
        match self.try_of_site(limit, network) {
            Some(site) => self.take(limit, site).await,
            None => Ok(()),
        }
    }

    async fn limit(&self, limit: Limit, whom: &str) -> Result<(), Error> {
        match self.try_of(limit, whom) {
            Some(wanted) => self.take(limit, wanted).await,
            None => Ok(()),
        }
    }

    async fn take(&self, limit: Limit, wanted: Try) -> Result<(), Error> {
        let now = self.now();
        self.limits.check_refused(&wanted.bucket, now)?;
        let mut tx = self.db.begin().await?;
        let taken = store::rate_limits::take(&mut tx, &wanted, now.as_micros()).await?;
        tx.commit().await?;
        Ok(self.judge(limit, &wanted, taken, now)?)
    }

    /// Who was refused is refused by this process until there is a token again, without asking the database and without a row
    /// for each account at which it guesses.
    fn judge(&self, limit: Limit, wanted: &Try, taken: Taken, now: Timestamp) -> Result<(), Refusal> {
        if taken.allowed {
            return Ok(());
        }
        let wait = wait_micros(wanted, taken, now);
        self.limits.remember_refused(&wanted.bucket, Timestamp::from_micros(now.as_micros() + wait), now);
        Err(refused(limit, wait))
    }

    /// Who shows licences too often has to wait: each customer for itself, and whoever shows what is none together. A quiet
    /// customer is counted in memory alone; a busy one's tokens are taken from the shared store in blocks.
    pub(super) async fn limit_license_of(&self, customer_id: &str, now: Timestamp) -> Result<(), Error> {
        let Some(rate) = self.settings.rate_limits.of(Limit::License) else { return Ok(()) };
        let part = |number: u32| (number / LICENSE_PARTS).max(1);
        let here = super::limits::Rate { burst: rate.burst, per_minute: (rate.per_hour / 60).max(1) };
        let quiet = super::limits::Rate { burst: part(here.burst), per_minute: part(here.per_minute) };
        self.limits.take(customer_id, here, now).inspect_err(|_| count(Limit::License))?;
        if self.limits.take(&format!("quiet:{customer_id}"), quiet, now).is_ok() || self.limits.take_kept(customer_id) {
            return Ok(());
        }
        let block = part(rate.burst);
        let one = self.try_at(Limit::License, rate, customer_id);
        let wanted = Try { cost: one.cost * i64::from(block), ..one };
        self.limits.check_refused(&wanted.bucket, now)?;
        let mut tx = self.db.begin().await?;
        let taken = store::rate_limits::take(&mut tx, &wanted, now.as_micros()).await?;
        tx.commit().await?;
        self.judge(Limit::License, &wanted, taken, now)?;
        self.limits.keep(customer_id, block - 1);
        Ok(())
    }

    /// Forgets the buckets that are full again.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn forget_full_buckets(&self) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        let removed = store::rate_limits::delete_full(&mut tx, self.now().as_micros()).await?;
        tx.commit().await?;
        Ok(removed)
    }
}

/// All ways to write an address are one account; what is no address is none.
fn account_key(email: &str) -> String {
    email.parse::<EmailAddress>().map_or_else(|_| String::new(), |email| email.as_str().to_owned())
}

/// How many tokens of a bucket are not back yet.
fn taken_of(wanted: &Try, taken: Taken, now: Timestamp) -> i64 {
    (taken.full_at - now.as_micros() + wanted.cost - 1) / wanted.cost
}

/// How long it takes until a bucket that is used up has a token again.
fn wait_micros(wanted: &Try, taken: Taken, now: Timestamp) -> i64 {
    (taken.full_at - (now.as_micros() + wanted.capacity - wanted.cost)).max(0)
}

fn refused(limit: Limit, wait_micros: i64) -> Refusal {
    probe!("F81", matches!(limit, Limit::Login | Limit::LoginNetwork | Limit::LoginAccount));
    count(limit);
    let seconds = wait_micros / 1_000_000 + 1;
    Refusal::TooManyRequests { retry_after_seconds: u32::try_from(seconds).unwrap_or(u32::MAX) }
}

fn count(limit: Limit) {
    metrics::counter!("counterfoil_rate_limited_total", "limit" => limit.word()).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_or_a_subscriber() {
        let of = |text: &str| Network::of(text.parse().unwrap());
        assert_eq!(of("203.0.113.9"), of("::ffff:203.0.113.9"));
        assert_ne!(of("203.0.113.9"), of("203.0.113.10"));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::9"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    }

    #[test]
    fn what_is_kept_of_a_network_names_no_machine() {
        let words = |text: &str| Network::of(text.parse().unwrap()).in_words();
        assert_eq!(words("203.0.113.9"), "203.0.113.x");
        assert_eq!(words("::ffff:203.0.113.9"), "203.0.113.x");
        assert_eq!(words("2001:db8:1:2:3:4:5:6"), "2001:db8:1::/48");
        assert_eq!(Network::unknown().in_words(), "an unknown network");
    }

    #[test]
    fn of_a_bucket_it_is_known_how_much_is_taken_and_when_there_is_a_token_again() {
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        let cost = 120_000_000;
        let wanted = Try { bucket: String::new(), cost, capacity: 10 * cost };
        let taken = |micros| Taken { allowed: true, full_at: now.as_micros() + micros };
        for (micros, tokens, wait) in [
            (cost, 1, 0),
            (3 * cost, 3, 0),
            (3 * cost - 1, 3, 0),
            (2 * cost + 1, 3, 0),
            (2 * cost, 2, 0),
            (9 * cost, 9, 0),
            (9 * cost + 5, 10, 5),
            (10 * cost, 10, cost),
        ] {
            assert_eq!(taken_of(&wanted, taken(micros), now), tokens, "{micros}");
            assert_eq!(wait_micros(&wanted, taken(micros), now), wait, "{micros}");
        }
        for (wait, seconds) in [(0, 1), (999_999, 1), (1_000_000, 2), (119_500_000, 120)] {
            assert_eq!(refused(Limit::Password, wait), Refusal::TooManyRequests { retry_after_seconds: seconds });
        }
    }

    #[test]
    fn an_address_is_one_account_however_it_is_written() {
        assert_eq!(account_key("Ada@Example.COM"), account_key("ada@example.com"));
        assert_eq!(account_key("no address"), account_key("nor this"));
    }
}
