//! How commands answer.

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::app::Error;
use crate::config::ConfigError;
use crate::db::DbError;

/// The exit code of wrong usage or configuration, as clap uses it.
const EXIT_USAGE: u8 = 2;

/// Prints a result, as JSON or in words.
pub fn show(as_json: bool, value: &Value, words: impl FnOnce() -> String) {
    if as_json { say(&format!("{value:#}")) } else { say(&words()) }
}

/// Prints a line. Whoever reads may have read enough, as `head` does: then there is nobody left to tell.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints what went wrong and what to do, and says with which code to exit.
pub fn fail(as_json: bool, error: &anyhow::Error) -> ExitCode {
    let (code, exit) = classify(error);
    let (message, advice) = (message(error), advice(code));
    let text = if as_json {
        let problems = error.downcast_ref::<ConfigError>().map(|config| {
            let each = |problem: &crate::config::Problem| {
                json!({ "code": problem.code, "setting": problem.setting, "message": problem.message })
            };
            config.problems.iter().map(each).collect::<Vec<_>>()
        });
        let mut answer = json!({ "error": { "code": code, "message": message } });
        if let Some(advice) = advice {
            answer["error"]["advice"] = advice.into();
        }
        if let Some(problems) = problems {
            answer["error"]["problems"] = Value::Array(problems);
        }
        format!("{answer:#}")
    } else {
        let advice = advice.map(|advice| format!("\n  {advice}")).unwrap_or_default();
        format!("counterfoil: {message}{advice}")
    };
    let _ = writeln!(std::io::stderr(), "{text}");
    exit
}

/// The error and its causes; a cause whose words are in the line already is not repeated.
fn message(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// What to do about it, where the message itself does not say so.
fn advice(code: &str) -> Option<&'static str> {
    match code {
        "database_unavailable" => Some(
            "Check DATABASE_URL (or COUNTERFOIL_DATA_DIR), and that the database runs and takes connections. A new SQLite \
             file is made by `counterfoil serve` and `counterfoil migrate`.",
        ),
        "database_url" => Some("Write sqlite://path/to/file.db or postgres://user:password@host/database."),
        "database_schema_mismatch" => Some("Use the release that made this schema, or restore a backup that fits."),
        "database_full" => Some("Make room on the disk of the database, then try again."),
        _ => None,
    }
}

fn classify(error: &anyhow::Error) -> (&'static str, ExitCode) {
    if error.downcast_ref::<ConfigError>().is_some() {
        return ("configuration", ExitCode::from(EXIT_USAGE));
    }
    if let Some(coded) = error.downcast_ref::<Coded>() {
        return (coded.code, ExitCode::FAILURE);
    }
    if let Some(error) = error.downcast_ref::<DbError>() {
        return (database_code(error), ExitCode::FAILURE);
    }
    match error.downcast_ref::<Error>() {
        Some(Error::Refused(refusal)) => (refusal.code(), ExitCode::FAILURE),
        Some(Error::Failed(crate::app::Failure::Database(error))) => (database_code(error), ExitCode::FAILURE),
        Some(Error::Failed(_)) | None => ("failed", ExitCode::FAILURE),
    }
}

fn database_code(error: &DbError) -> &'static str {
    match error {
        DbError::Unavailable { .. } => "database_unavailable",
        DbError::NewerSchema { .. } => "database_newer_schema",
        DbError::SchemaMismatch { .. } => "database_schema_mismatch",
        DbError::Locked { .. } => "database_locked",
        DbError::BadUrl { .. } => "database_url",
        DbError::Full { .. } => "database_full",
        DbError::Conflict { .. }
        | DbError::UniqueViolation { .. }
        | DbError::ForeignKey
        | DbError::BadText { .. }
        | DbError::ReadOnly
        | DbError::Spoiled
        | DbError::Other { .. } => "database",
    }
}

/// A failure with a code of its own, for scripts.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Coded {
    pub code: &'static str,
    pub message: String,
}

/// A failure with a code of its own.
pub fn coded(code: &'static str, message: impl Into<String>) -> anyhow::Error {
    Coded { code, message: message.into() }.into()
}

/// Lines of `name: value`, the values under each other.
pub fn table(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("  {name:<width$}  {value}")).collect::<Vec<_>>().join("\n")
}

/// A count with its noun: `1 key`, `3 keys`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::anyhow!("the disk is full").context("the file cannot be written");
        assert_eq!(message(&error), "the file cannot be written: the disk is full");
        let error = anyhow::anyhow!("no route").context("no connection: no route").context("the mail waits");
        assert_eq!(message(&error), "the mail waits: no connection: no route");
    }

    #[test]
    fn one_of_a_kind_is_singular() {
        assert_eq!([0, 1, 2].map(|number| count(number, "day")), ["0 days", "1 day", "2 days"]);
    }

    #[test]
    fn advice_is_given_where_the_message_does_not_say_what_to_do() {
        for (code, word) in [
            ("database_unavailable", "DATABASE_URL"),
            ("database_url", "sqlite://"),
            ("database_schema_mismatch", "backup"),
            ("database_full", "room"),
        ] {
            assert!(advice(code).is_some_and(|advice| advice.contains(word)), "{code}");
        }
        assert_eq!(advice("customer_unknown"), None);
    }
}
