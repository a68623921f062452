//! Why a customer has a licence, or has none: what we know of it, in sentences with dates, for people who help customers.
//!
//! A pure function of what was loaded. It decides nothing: what it says about the right to a licence is what
//! [`counterfoil_core::entitlement::right`] said.

mod advice;
mod words;

#[cfg(test)]
mod tests;

use counterfoil_core::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::customer_files::CaseFile;

/// Everything that there is to say about one customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Explanation {
    pub customer_id: String,
    /// Whether the customer may use the product now.
    pub entitled: bool,
    /// The state in one stable word: `active`, `trialing`, `past_due`, or why there is no right.
    #[schema(example = "active")]
    pub code: String,
    /// Why there is a licence, or why there is none.
    pub because: String,
    /// What is known, by subject.
    pub known: Vec<Known>,
    /// What somebody should do something about.
    pub attention: Vec<Attention>,
    /// What will happen, the next first.
    pub next: Vec<Coming>,
}

/// What is known about one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Known {
    #[schema(example = "License")]
    pub about: &'static str,
    /// Sentences.
    pub lines: Vec<String>,
}

/// Something to do something about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Attention {
    /// Stable, for scripts.
    #[schema(example = "several_live")]
    pub code: String,
    pub what: String,
    /// What to do.
    pub advice: String,
}

/// Something that will happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Coming {
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub what: String,
}

/// Says why.
#[must_use]
pub fn explain(case: &CaseFile) -> Explanation {
    let code = match &case.right {
        Ok(grant) => grant.status,
        Err(ended) => ended.word(),
    };
    let known = vec![
        Known { about: "Customer", lines: words::who(case) },
        Known { about: "Subscription", lines: words::subscription(case) },
        Known { about: "Last change", lines: words::last_change(case) },
        Known { about: "License", lines: words::license(case) },
        Known { about: "Mail", lines: words::mail(case) },
        Known { about: "Waiting", lines: words::waiting(case) },
    ];
    Explanation {
        customer_id: case.file.customer.customer_id.to_string(),
        entitled: case.right.is_ok(),
        code: code.to_owned(),
        because: words::because(case),
        known,
        attention: advice::attention(case),
        next: advice::next(case),
    }
}

impl Explanation {
    /// As text for a terminal.
    #[must_use]
    pub fn in_words(&self) -> String {
        let mut lines = vec![self.because.clone()];
        for known in &self.known {
            lines.push(String::new());
            lines.push(known.about.to_owned());
            lines.extend(known.lines.iter().map(|line| format!("  {line}")));
        }
        lines.extend([String::new(), "Next".to_owned()]);
        match self.next.as_slice() {
            [] => lines.push("  Nothing happens by itself.".to_owned()),
            next => {
                lines.extend(next.iter().map(|coming| format!("  {}: {}", coming.at.date_time_in_words(), coming.what)))
            }
        }
        lines.extend([String::new(), "To do".to_owned()]);
        match self.attention.as_slice() {
            [] => lines.push("  Nothing.".to_owned()),
            attention => {
                for each in attention {
                    lines.push(format!("  {}", each.what));
                    lines.push(format!("    {}", each.advice));
                }
            }
        }
        lines.join("\n")
    }
}
