//! Temporary.
#[path = "it/tidy.rs"]
mod tidy;
