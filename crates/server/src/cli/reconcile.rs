//! `counterfoil reconcile`: the book against the payment provider.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::operator::open_app;
use super::{Common, log_quietly, output};
use crate::app::operators::By;
use crate::app::reconcile::Difference;

/// Options of `reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// Look at those that differ, as a webhook would make us do; else nothing is changed.
    #[arg(long, requires = "reason")]
    fix: bool,
    /// Why, in a few words, for the audit log; needed with --fix.
    #[arg(long, value_name = "TEXT", requires = "fix")]
    reason: Option<String>,
}

/// Compares everything, page by page. The exit code is 1 where something differs and was not brought in line.
pub async fn run(common: &Common, args: ReconcileArgs) -> anyhow::Result<ExitCode> {
    log_quietly();
    let by = match args.reason.as_deref().filter(|_| args.fix) {
        Some(reason) => Some(By::command_line(reason).map_err(crate::app::Error::from)?),
        None => None,
    };
    let (_config, app) = open_app(common).await?;
    let progress = Progress::new(common.json);
    let (mut cursor, mut looked_at, mut found) = (None, 0, Vec::new());
    loop {
        let page = app.reconcile(cursor.as_deref(), by.as_ref()).await?;
        looked_at += page.looked_at;
        found.extend(page.differences);
        progress.show(looked_at, found.len());
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    progress.clear();
    let left = found.iter().filter(|each| !each.fixed).count();
    let value = json!({
        "looked_at": looked_at, "fixed": found.len() - left, "left": left,
        "differences": found.iter().map(to_json).collect::<Vec<_>>(),
    });
    output::show(common.json, &value, || in_words(&found, left));
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One line on a terminal's standard error that rewrites itself.
struct Progress {
    shown: bool,
}

impl Progress {
    fn new(as_json: bool) -> Self {
        Self { shown: !as_json && std::io::stderr().is_terminal() }
    }

    fn show(&self, looked_at: usize, found: usize) {
        if self.shown {
            // Nobody misses a line that cannot be written.
            let _ = write!(std::io::stderr(), "\r\x1b[2K{looked_at} compared, {found} differ");
        }
    }

    fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}

fn in_words(found: &[Difference], left: usize) -> String {
    if found.is_empty() {
        return "the book and the payment provider say the same".to_owned();
    }
    let mut lines = Vec::new();
    for each in found {
        let external = each.external_customer.as_ref().map(|id| format!(" ({})", id.as_str())).unwrap_or_default();
        let fixed = if each.fixed { ": brought in line" } else { "" };
        lines.push(format!("{}{external}{fixed}", each.customer_id));
        for field in &each.fields {
            lines.push(format!("  {:<12}  book: {:<28}  provider: {}", field.name, field.book, field.provider));
        }
    }
    lines.push(match (left, found.len() - left) {
        (0, fixed) => format!("{fixed} brought in line"),
        (left, 0) => format!("{left} differ; `--fix --reason TEXT` brings them in line"),
        (left, fixed) => format!("{fixed} brought in line, {left} still differ"),
    });
    lines.join("\n")
}

fn to_json(each: &Difference) -> Value {
    let fields: Vec<Value> = each
        .fields
        .iter()
        .map(|field| json!({ "field": field.name, "book": field.book, "provider": field.provider }))
        .collect();
    json!({
        "customer_id": each.customer_id, "fixed": each.fixed, "fields": fields,
        "stripe_customer_id": each.external_customer.as_ref().map(|id| id.as_str()),
    })
}

#[cfg(test)]
mod tests {
    use counterfoil_core::{CustomerId, ExternalCustomerId};

    use super::*;
    use crate::app::reconcile::Field;

    fn difference(number: u8, fixed: bool) -> Difference {
        let field = Field { name: "status", book: "active".to_owned(), provider: "past_due".to_owned() };
        Difference {
            customer_id: CustomerId::from_random([number; 16]),
            external_customer: (number == 1).then(|| ExternalCustomerId::new("cus_1")),
            fields: vec![field],
            fixed,
        }
    }

    #[test]
    fn the_last_line_counts_what_was_brought_in_line_and_what_still_differs() {
        let summed = |fixed: &[bool]| {
            let found: Vec<_> = (1..).zip(fixed).map(|(number, fixed)| difference(number, *fixed)).collect();
            let left = fixed.iter().filter(|fixed| !**fixed).count();
            in_words(&found, left).lines().last().unwrap().to_owned()
        };
        assert_eq!(summed(&[]), "the book and the payment provider say the same");
        assert_eq!(summed(&[true, true]), "2 brought in line");
        assert_eq!(summed(&[false, false, false]), "3 differ; `--fix --reason TEXT` brings them in line");
        assert_eq!(summed(&[true, false, true]), "2 brought in line, 1 still differ");
    }

    #[test]
    fn each_difference_names_the_customer_and_both_sides() {
        let found = [difference(1, false), difference(2, true)];
        let words = in_words(&found, 1);
        let lines: Vec<&str> = words.lines().collect();
        assert_eq!(lines[0], format!("{} (cus_1)", found[0].customer_id));
        assert!(lines[1].contains("status") && lines[1].contains("book: active"), "{words}");
        assert!(lines[1].ends_with("provider: past_due"), "{words}");
        assert_eq!(lines[2], format!("{}: brought in line", found[1].customer_id));
    }

    #[test]
    fn a_program_is_told_the_same() {
        let each = difference(1, true);
        let fields = [json!({ "field": "status", "book": "active", "provider": "past_due" })];
        let expected = json!({
            "customer_id": each.customer_id, "fixed": true, "fields": fields, "stripe_customer_id": "cus_1",
        });
        assert_eq!(to_json(&each), expected);
        assert_eq!(to_json(&difference(2, false))["stripe_customer_id"], Value::Null);
    }
}
