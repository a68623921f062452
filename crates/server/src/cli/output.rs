//! How commands answer.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::app::Error;
use crate::config::ConfigError;
use crate::db::DbError;

/// The exit code of wrong usage or configuration, as clap uses it.
const EXIT_USAGE: u8 = 2;

/// Prints a result, as JSON or in words.
pub fn show(as_json: bool, value: &Value, words: impl FnOnce() -> String) {
    if as_json {
        println!("{value:#}");
    } else {
        println!("{}", words());
    }
}

/// Prints what went wrong and what to do, and says with which code to exit.
pub fn fail(as_json: bool, error: &anyhow::Error) -> ExitCode {
    let (code, exit) = classify(error);
    if as_json {
        let problems = error.downcast_ref::<ConfigError>().map(|config| {
            let each = |problem: &crate::config::Problem| {
                json!({ "code": problem.code, "setting": problem.setting, "message": problem.message })
            };
            config.problems.iter().map(each).collect::<Vec<_>>()
        });
        let mut answer = json!({ "error": { "code": code, "message": format!("{error:#}") } });
        if let Some(problems) = problems {
            answer["error"]["problems"] = Value::Array(problems);
        }
        eprintln!("{answer:#}");
    } else {
        eprintln!("counterfoil: {error:#}");
    }
    exit
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
