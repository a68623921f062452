//! What machines try to break: one file a target, a function from bytes to nothing that panics where a promise is broken.
//!
//! Each target knows by itself what has to come out: a second, simple reading of the same rules, or a property that holds whatever goes
//! in. Nothing here needs libFuzzer, so the server's own tests run the kept corpus through the same functions.

mod armor;
mod config;
mod cookie;
mod email;
mod event;
mod json;
mod json_text;
mod return_url;
mod signature;
mod signed;
mod status_list;
mod stripe;
mod token;

pub use json::{bodies, calls};

/// Tries one input.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its file and of its folders in `fuzz/seeds`.
pub const ALL: [(&str, Target); 10] = [
    ("armor", armor::run),
    ("config", config::run),
    ("cookie", cookie::run),
    ("email", email::run),
    ("event", event::run),
    ("json", json::run),
    ("return_url", return_url::run),
    ("signature", signature::run),
    ("status_list", status_list::run),
    ("token", token::run),
];

/// The target of this name.
pub fn find(name: &str) -> Option<Target> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// The first line, and what comes after it.
fn first_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[]),
    }
}
