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
pub mod providers;
pub mod store;
pub mod telemetry;
pub mod web;
pub mod worker;
