//! A stateful look-alike of Stripe, for demos, development and tests.
//!
//! It keeps customers, checkout sessions, subscriptions and invoices, takes test cards on a hosted page, signs and
//! delivers webhooks, and has a clock that can be moved forward. It holds no real money and sends nothing off this
//! machine. Shapes are those of API version [`API_VERSION`]; `docs/sandbox.md` lists what is there.

// `json!` recurses once for every token of an invoice.
#![recursion_limit = "512"]

mod api;
mod billing;
mod calls;
mod clock;
mod context;
mod error;
mod faults;
mod form;
mod ids;
mod json;
mod lifecycle;
mod pages;
mod resources;
mod sandbox;
mod seed;
#[cfg(feature = "simulation")]
pub mod simulation;
mod store;
mod web;
mod webhooks;
mod work;

pub use sandbox::{OpenError, Sandbox, SandboxConfig, SeedPrice, SeedWebhook};

/// The key that sandboxes accept.
pub const API_KEY: &str = "sk_test_sandbox";

/// The version of Stripe's API whose shapes are answered and sent.
pub const API_VERSION: &str = "2026-05-27.dahlia";
