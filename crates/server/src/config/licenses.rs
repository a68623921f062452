//! The settings of licences: their status lists.

use reqwest::Url;

use super::error::Problems;
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

pub(super) fn status_list(
    values: &Values,
    public_url: Option<&str>,
    problems: &mut Problems,
) -> Option<StatusListSettings> {
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
        let is_local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_local;
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
