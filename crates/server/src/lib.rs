//! Counterfoil: from sign-up to a paid, signed licence, with one identity that is ours.
//!
//! The rules live in `counterfoil-core`; this crate is the shell around them. Imports go downwards only:
//! `{web, cli, worker} → app → {store, providers, mail, keys} → db`, and a test reads the tree to keep it so.

pub mod app;
pub mod checks;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod entropy;
pub mod keys;
pub mod mail;
pub mod points;
pub mod providers;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod web;
pub mod worker;

/// Switches the mistake on that `COUNTERFOIL_PLANTED` names.
///
/// # Panics
/// Where there is no mistake of that name.
#[cfg(feature = "planted-bugs")]
pub fn plant_from_environment() {
    if let Ok(name) = std::env::var("COUNTERFOIL_PLANTED") {
        assert!(counterfoil_core::faults::plant(Some(&name)), "no mistake is called `{name}`");
    }
}
