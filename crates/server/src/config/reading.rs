//! What is alike in reading the settings: texts, words to choose from, flags, and what was never filled in.
//!
//! Every reader answers its default where nothing was given. `None` means that a problem was noted.

use std::net::IpAddr;

use reqwest::Url;

use super::error::Problems;
use super::settings::Setting;
use super::source::Values;

/// What people write where a secret is to go.
const PLACEHOLDER_WORDS: [&str; 9] =
    ["changeme", "change_me", "change-me", "your", "placeholder", "replace", "todo", "xxx", "insert"];

/// The text as it was given.
pub(super) fn text(values: &Values, setting: &Setting) -> Option<String> {
    values.get(setting).map(|given| given.text.clone())
}

/// What the word that was given stands for, among those that can be chosen.
pub(super) fn choice<T: Clone>(
    values: &Values,
    setting: &Setting,
    code: &'static str,
    words: &[(&str, T)],
    default: T,
    problems: &mut Problems,
) -> Option<T> {
    let Some(given) = values.get(setting) else { return Some(default) };
    let chosen = words.iter().find(|(word, _)| *word == given.text);
    if chosen.is_none() {
        problems.add(code, &given.name, format!("`{}` is unknown: write {}", given.text, either(words)));
    }
    chosen.map(|(_, meaning)| meaning.clone())
}

/// `` `a`, `b` or `c` ``.
fn either<T>(words: &[(&str, T)]) -> String {
    let quoted: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => quoted.concat(),
    }
}

pub(super) fn flag(values: &Values, setting: &Setting, default: bool, problems: &mut Problems) -> Option<bool> {
    let Some(given) = values.get(setting) else { return Some(default) };
    match given.text.as_str() {
        "true" => Some(true),
        "false" => Some(false),
        other => {
            let message = format!("`{other}` is neither: write true or false");
            problems.add("invalid_flag", &given.name, message);
            None
        }
    }
}

/// Refuses a secret that was never filled in.
pub(super) fn placeholder(name: &str, advice: &str, problems: &mut Problems) {
    problems.add("placeholder_secret", name, format!("is still a placeholder: {advice}"));
}

/// Whether this is what people write where a secret is to go.
pub(super) fn is_placeholder(rest: &str) -> bool {
    let folded = rest.to_lowercase();
    let one_character = folded.chars().all(|c| folded.starts_with(c));
    // Stripe's secrets are letters and digits; dots, brackets and stars are drawn by people.
    let drawn = folded.contains(['.', '…', '<', '>', '*', '[', ']', '{', '}', ' ']);
    one_character || drawn || PLACEHOLDER_WORDS.iter().any(|word| folded.starts_with(word))
}

/// Whether an address is on this machine: what is sent there travels over no network.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
