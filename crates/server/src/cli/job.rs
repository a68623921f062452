//! `counterfoil job`: what is owed to the world and not done yet, and what was given up.

use std::process::ExitCode;

use clap::Subcommand;
use counterfoil_core::{EffectId, Refusal};
use serde_json::{Value, json};

use super::event::{PageArgs, rest};
use super::operator::{Why, open_app};
use super::{Common, log_quietly, output};
use crate::store::jobs::{Job, JobState};

/// Commands of `job`.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// List the jobs, which are mails above all, newest first.
    List {
        /// Only those that are `pending`, `sent`, `dead` (given up) or `discarded`.
        #[arg(long, value_parser = JobState::ALL.map(JobState::word), hide_possible_values = true)]
        state: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Do a job now that waits or was given up. What is done already is refused: nobody gets a mail twice.
    Retry {
        /// The job's id (eff_…).
        job: String,
        #[command(flatten)]
        why: Why,
    },
    /// Give a job up for good. It stays in the list as `discarded`.
    Discard {
        /// The job's id (eff_…).
        job: String,
        #[command(flatten)]
        why: Why,
    },
}

/// Runs one of them; works beside a running service.
pub async fn run(common: &Common, command: JobCommand) -> anyhow::Result<ExitCode> {
    log_quietly();
    match command {
        JobCommand::List { state, page } => {
            let (_config, app) = open_app(common).await?;
            let wanted = page.wanted(&app, state.as_deref().and_then(JobState::parse)).await?;
            let listed = app.list_jobs(&wanted).await?;
            let rows: Vec<Value> = listed.rows.iter().map(to_json).collect();
            output::show(common.json, &json!({ "jobs": rows, "next": listed.next }), || {
                let mut lines: Vec<String> = listed.rows.iter().map(in_a_line).collect();
                lines.extend(rest(&listed.rows, listed.next));
                lines.join("\n")
            });
        }
        JobCommand::Retry { job, why } => {
            let by = why.by()?;
            let (_config, app) = open_app(common).await?;
            let job = app.retry_job(&id(&job)?, &by).await?;
            output::show(common.json, &to_json(&job), || format!("{} is done again within a second", job.job_id));
        }
        JobCommand::Discard { job, why } => {
            let by = why.by()?;
            let (_config, app) = open_app(common).await?;
            let job = app.discard_job(&id(&job)?, &by).await?;
            output::show(common.json, &to_json(&job), || format!("{} is discarded", job.job_id));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn id(text: &str) -> anyhow::Result<EffectId> {
    Ok(text.trim().parse().map_err(|_| crate::app::Error::from(Refusal::JobUnknown))?)
}

fn in_a_line(job: &Job) -> String {
    let (at, why) = (job.created_at.date_time_in_words(), job.last_error.as_deref().unwrap_or_default());
    format!("{at}  {:<9}  {}  {}  {}  {why}", job.state.word(), job.kind, job.job_id, job.purpose).trim_end().to_owned()
}

fn to_json(job: &Job) -> Value {
    json!({
        "number": job.number, "job_id": job.job_id, "kind": job.kind, "purpose": job.purpose, "state": job.state.word(),
        "customer_id": job.customer_id, "attempts": job.attempts, "failure": job.failure, "last_error": job.last_error,
        "created_at": job.created_at, "run_at": job.run_at, "done_at": job.done_at,
    })
}

#[cfg(test)]
mod tests {
    use counterfoil_core::Timestamp;

    use super::*;

    #[test]
    fn a_line_says_what_is_owed_and_why_it_is_not_done() {
        let made = Timestamp::from_unix_seconds(1_793_534_400);
        let mut job = Job {
            number: 7,
            job_id: EffectId::from_random([1; 16]),
            kind: "mail".to_owned(),
            purpose: "license:cust_1:2".to_owned(),
            state: JobState::Dead,
            customer_id: None,
            attempts: 9,
            failure: None,
            last_error: Some("mailbox full".to_owned()),
            created_at: made,
            run_at: made.plus_days(1),
            done_at: None,
        };
        let whole =
            format!("{}  dead       mail  {}  license:cust_1:2  mailbox full", made.date_time_in_words(), job.job_id);
        assert_eq!(in_a_line(&job), whole);
        job.last_error = None;
        assert_eq!(in_a_line(&job), whole.trim_end_matches("  mailbox full"));
    }
}
