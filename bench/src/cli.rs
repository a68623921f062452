//! What can be asked of the benchmark.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::database::Engine;

/// Measures Counterfoil's release server over HTTP, beside the limits of the same machine.
///
/// The server runs as a process of its own on SQLite and on a private PostgreSQL with default durability, in front of a Stripe that answers
/// at once. Every run gets a fresh database, and counts only if the rows that it left are exactly what was answered with success. At
/// the end stand the medians, the limits, and how far the goals are met.
///
/// PostgreSQL comes from Debian's package and pgbouncer as well; `scripts/bench` installs both and takes the same arguments.
#[derive(Debug, Parser)]
#[command(name = "counterfoil-bench", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub what: What,
    #[command(flatten)]
    pub options: Options,
}

/// Options of all commands.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Which database
    #[arg(long, global = true, value_enum, default_value = "both", help_heading = "Options")]
    pub engine: Engines,
    /// How often everything is measured, one thing after the other before the next round; the median counts
    #[arg(long, global = true, default_value_t = 5, value_name = "N", help_heading = "Options")]
    pub runs: usize,
    /// How long each measurement takes
    #[arg(long, global = true, default_value_t = 5, value_name = "N", help_heading = "Options")]
    pub seconds: u64,
    /// Once, two seconds each, and small numbers of events and customers: to see that it works, not to be quoted
    #[arg(long, global = true, help_heading = "Options")]
    pub quick: bool,
    /// Writes every run and the table of goals into this file, too
    #[arg(long, global = true, value_name = "FILE", help_heading = "Options")]
    pub json: Option<PathBuf>,
    /// Where databases lie while it runs. Put it on the disk that is to be measured: a file system in memory has no durability
    #[arg(long, global = true, value_name = "FOLDER", help_heading = "Options")]
    pub folder: Option<PathBuf>,
    /// Keeps databases and logs
    #[arg(long, global = true, help_heading = "Options")]
    pub keep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engines {
    Sqlite,
    Postgres,
    Both,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum What {
    /// Everything below but `size`, and the table of goals
    All,
    /// Webhooks acknowledged at 1, 16 and 64 connections; beside the bare loop and pgbench
    Webhook,
    /// From the webhook to the committed license; beside the same rows by the bare loop and by pgbench
    License,
    /// Sign-ups; beside argon2id alone
    Signup,
    /// First checkouts
    Checkout,
    /// License refresh; beside bare HTTP with the same sizes
    Refresh,
    /// License validation; beside bare HTTP with the same sizes
    Validate,
    /// The public keys
    Jwks,
    /// Logins; beside argon2id alone
    Login,
    /// A mixture: 110 refreshes, 50 validations, 20 events, 18 times the keys, one sign-up, one login
    Mixed,
    /// Acknowledgements while sign-ups keep all cores busy
    Argon2,
    /// Events as fast as they come, and how long it takes until all are worked off
    Burst {
        /// How many
        #[arg(long, default_value_t = 100_000, value_name = "N")]
        events: u64,
    },
    /// Which calls to Stripe a checkout makes
    Calls,
    /// One, two and three replicas on PostgreSQL, directly and through pgbouncer in transaction mode
    Scale,
    /// Rows and bytes for a customer
    Storage,
    /// Start-up, memory at rest, size of the program
    Start,
    /// What the machine can do: bare HTTP, Ed25519, argon2id
    Limits,
    /// Many customers in the database against few. Writing a million takes minutes and 10 GB for each engine
    Size {
        /// Many
        #[arg(long, default_value_t = 1_000_000, value_name = "N")]
        large: u64,
        /// Few; at least 5,000
        #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u64).range(5_000..))]
        small: u64,
    },
    /// The comparison for limits, in a process of its own
    #[command(hide = true, name = crate::bare::COMMAND)]
    BareHttp {
        #[arg(long)]
        answer_bytes: usize,
    },
}

impl Options {
    /// The engines, in the order in which they are measured.
    pub fn engines(&self) -> Vec<Engine> {
        match self.engine {
            Engines::Sqlite => vec![Engine::Sqlite],
            Engines::Postgres => vec![Engine::Postgres],
            Engines::Both => vec![Engine::Sqlite, Engine::Postgres],
        }
    }

    pub fn time(&self) -> Duration {
        Duration::from_secs(if self.quick { 2 } else { self.seconds.max(1) })
    }

    pub fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.runs.max(1) }
    }

    /// Events of a run that is followed to the licence: about as many as are worked off in the time.
    pub fn followed_events(&self) -> u64 {
        self.time().as_secs() * if self.quick { 500 } else { 1_500 }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn quick_outranks_what_else_is_said() {
        let cli = Cli::parse_from(["counterfoil-bench", "all", "--quick", "--runs", "9", "--seconds", "60"]);
        assert_eq!((cli.options.rounds(), cli.options.time().as_secs()), (1, 2));
        assert_eq!(cli.options.engines().len(), 2);
    }
}
