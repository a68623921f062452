//! The sandbox over real HTTP, as a merchant, a payer and a test would use it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod checkout;
mod faults;
mod idempotency;
mod lifecycle;
mod pages;
mod resources;
mod restart;
mod schedules;
mod shapes;
mod support;
