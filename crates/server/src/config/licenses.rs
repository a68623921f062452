//! The settings of licences: the keys that sign them, and their status lists.

use reqwest::Url;
use secrecy::SecretString;

use super::error::Problems;
use super::keys;
use super::reading::{is_loopback, text};
use super::settings::{self, Setting};
use super::source::Values;

const TTL_MINUTES_DEFAULT: i64 = 60;
const TTL_MINUTES_MAX: i64 = 24 * 60;
const LIFE_HOURS_DEFAULT: i64 = 72;
const LIFE_HOURS_MAX: i64 = 366 * 24;

/// Where status lists lie, and how long they live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusListSettings {
    /// The folder that licences name, without a slash at its end.
    pub url: String,
    /// For how long a product keeps a list before it asks again.
    pub ttl_seconds: i64,
    /// From signing to the moment from which a list's silence proves nothing.
    pub life_seconds: i64,
}

/// What licences are signed with, and where products hear of their end.
pub(super) struct Licenses {
    pub(super) license_key: Option<SecretString>,
    pub(super) key_encryption_key: Option<SecretString>,
    pub(super) status_list: StatusListSettings,
}

pub(super) fn licenses(values: &Values, public_url: Option<&str>, problems: &mut Problems) -> Option<Licenses> {
    let license_key = text(values, &settings::LICENSE_KEY).map(SecretString::from);
    let status_list = status_list(values, public_url, problems);
    let key_encryption_key = keys::encryption_key(values, problems);
    Some(Licenses { license_key, key_encryption_key: key_encryption_key?, status_list: status_list? })
}

fn status_list(values: &Values, public_url: Option<&str>, problems: &mut Problems) -> Option<StatusListSettings> {
    let url = url(values, public_url, problems);
    let ttl = number(values, &settings::STATUS_LIST_TTL, TTL_MINUTES_DEFAULT, TTL_MINUTES_MAX, problems);
    let life = number(values, &settings::STATUS_LIST_LIFE, LIFE_HOURS_DEFAULT, LIFE_HOURS_MAX, problems);
    let (ttl_seconds, life_seconds) = (ttl? * 60, life? * 3600);
    if life_seconds < 2 * ttl_seconds {
        let message =
            "must be at least twice status_list_ttl_minutes: a list has to be in force until products ask for the next";
        problems.add("invalid_status_list_life", values.name(&settings::STATUS_LIST_LIFE), message);
        return None;
    }
    Some(StatusListSettings { url: url?, ttl_seconds, life_seconds })
}

fn url(values: &Values, public_url: Option<&str>, problems: &mut Problems) -> Option<String> {
    let Some(given) = values.get(&settings::STATUS_LIST_URL) else {
        return public_url.map(|url| format!("{url}/status-lists"));
    };
    let text = given.text.trim_end_matches('/');
    let parsed = Url::parse(text).ok();
    let is_good = parsed.is_some_and(|url| {
        let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url);
        let is_bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        is_safe && is_bare && url.has_host() && url.password().is_none()
    });
    if is_good {
        return Some(text.to_owned());
    }
    let message = "is no folder on the web: write https://static.example.com/status-lists";
    problems.add("invalid_status_list_url", &given.name, message);
    None
}

fn number(values: &Values, setting: &Setting, default: i64, most: i64, problems: &mut Problems) -> Option<i64> {
    let Some(given) = values.get(setting) else { return Some(default) };
    match given.text.parse() {
        Ok(number) if (1..=most).contains(&number) => Some(number),
        Ok(_) | Err(_) => {
            let message = format!("`{}` is not accepted: write a number from 1 to {most}", given.text);
            problems.add("invalid_number", &given.name, message);
            None
        }
    }
}
