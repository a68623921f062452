//! Temporary: the process tests alone.
#[path = "it/crashes.rs"]
mod crashes;
#[path = "it/processes.rs"]
mod processes;
#[path = "it/races.rs"]
mod races;
