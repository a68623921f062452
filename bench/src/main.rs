//! The benchmark of Counterfoil: the release server on SQLite and on PostgreSQL, over HTTP, beside the limits of the same machine.

#![recursion_limit = "256"]

mod bare;
mod book;
mod bouncer;
mod cli;
mod crypto;
mod database;
mod events;
mod goals;
mod http1;
mod limits;
mod load;
mod once;
mod people;
mod pgbench;
mod postgres;
mod process;
mod reads;
mod report;
mod requests;
mod rows;
mod scale;
mod server;
mod session;
mod shapes;
mod sqlite;
mod stage;
mod stats;
mod stub;
mod tables;
mod webhooks;
mod work;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use cli::{Cli, What};
use session::Session;
use stage::Bench;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<ExitCode> {
    let Cli { what, options } = Cli::parse();
    if let What::BareHttp { answer_bytes } = what {
        bare::serve(answer_bytes).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let place = options.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = std::path::absolute(place)?.join(format!("counterfoil-bench.{}", std::process::id()));
    let bench = Bench::start(&options.engines(), &folder, options.keep).await?;
    let mut session = Session::new(&bench, &options, what);
    // Whoever interrupts a run leaves neither servers nor databases behind: they end with what holds them.
    tokio::select! {
        done = session.run() => done?,
        () = interrupted() => anyhow::bail!("interrupted"),
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = format!("cargo run --release -p counterfoil-bench -- {}", arguments.join(" "));
    let (text, value) = report::of(&session.book, &bench, &command, session.sizes());
    println!("{text}");
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&value)?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    // A run that does not count is a mistake of the server or of the benchmark, and neither may pass unseen.
    Ok(if session.book.discarded.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
