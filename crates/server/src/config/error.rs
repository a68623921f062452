//! What is wrong with a configuration: all of it at once, each with a stable code and a sentence that says what to do.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable, for scripts and tests: `unknown_setting`.
    pub code: &'static str,
    /// The name under which the setting was given, or should be.
    pub setting: String,
    /// What is wrong and what to do. Never repeats a secret.
    pub message: String,
}

/// The configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// Whether a problem with this code is among them.
    #[must_use]
    pub fn has(&self, code: &str) -> bool {
        self.problems.iter().any(|problem| problem.code == code)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used:")?;
        for Problem { code, setting, message } in &self.problems {
            write!(f, "\n  {setting}: {message} [{code}]")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Collects problems while checking goes on, so that one run shows them all.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, code: &'static str, setting: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { code, setting: setting.into(), message: message.into() });
    }

    pub(super) fn forgive(&mut self, code: &str) {
        self.0.retain(|problem| problem.code != code);
    }

    pub(super) fn into_result<T>(self, value: Option<T>) -> Result<T, ConfigError> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => {
                debug_assert!(!self.0.is_empty(), "a value is missing only where a problem was noted");
                Err(ConfigError { problems: self.0 })
            }
        }
    }
}
