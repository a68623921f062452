//! What a look at an installation found: one line for each thing looked at, in words and as JSON.
//!
//! A leaf, because the provider's own look and the general one tell it in the same form. A warning wants a person some day, a
//! problem wants one now: with it, something that customers need does not work.

use serde::Serialize;
use utoipa::ToSchema;

/// How a thing looked at is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be, or only told.
    Ok,
    /// Works, and should be looked at.
    Warning,
    /// Does not work.
    Problem,
}

impl Level {
    /// The word that people and programs read.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Check {
    pub level: Level,
    /// Stable, for scripts: what was looked at, or what is wrong.
    #[schema(example = "webhook_events_missing")]
    pub code: &'static str,
    /// What was found.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Check {
    /// As it should be.
    pub fn ok(code: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Ok, code, message: message.into(), advice: None }
    }

    /// Works, and should be looked at.
    pub fn warning(code: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Warning, code, message: message.into(), advice: Some(advice.into()) }
    }

    /// Does not work.
    pub fn problem(code: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Problem, code, message: message.into(), advice: Some(advice.into()) }
    }

    /// The same, with something to know or to do.
    #[must_use]
    pub fn with_advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// All that was looked at, in the order of looking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Report {
    /// Of the worst line.
    pub level: Level,
    pub checks: Vec<Check>,
}

impl Report {
    /// Sums lines up.
    #[must_use]
    pub fn new(checks: Vec<Check>) -> Self {
        let level = checks.iter().map(|check| check.level).max().unwrap_or(Level::Ok);
        Self { level, checks }
    }

    /// Whether something does not work.
    #[must_use]
    pub fn has_problems(&self) -> bool {
        self.level == Level::Problem
    }

    /// One line for each check, and under it what to do.
    #[must_use]
    pub fn in_words(&self) -> String {
        let mut lines = Vec::new();
        for check in &self.checks {
            lines.push(format!("{:<7}  {}", check.level.word(), check.message));
            lines.extend(check.advice.iter().map(|advice| format!("         {advice}")));
        }
        let count = |level| self.checks.iter().filter(|check| check.level == level).count();
        let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
        lines.push(match (problems, warnings) {
            (0, 0) => "All is well.".to_owned(),
            _ => format!("{}, {}.", counted(problems, "problem"), counted(warnings, "warning")),
        });
        lines.join("\n")
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_as_bad_as_its_worst_line_and_tells_what_to_do() {
        let fine = Report::new(vec![Check::ok("key", "the key works")]);
        assert_eq!(fine.in_words(), "ok       the key works\nAll is well.");
        let broken = Report::new(vec![
            Check::ok("key", "the key works"),
            Check::warning("clock", "the clock is 40 seconds behind", "Set it."),
            Check::problem("endpoint", "there is no endpoint", "Make one."),
        ]);
        assert!(broken.has_problems() && !fine.has_problems());
        assert_eq!(
            broken.in_words(),
            "ok       the key works\nwarning  the clock is 40 seconds behind\n         Set it.\n\
             problem  there is no endpoint\n         Make one.\n1 problem, 1 warning."
        );
        let told = serde_json::to_value(&broken).unwrap();
        assert_eq!((&told["level"], &told["checks"][0].get("advice")), (&"problem".into(), &None));
        assert_eq!(Report::new(Vec::new()).level, Level::Ok);
    }
}
