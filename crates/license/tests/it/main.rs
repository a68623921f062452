//! Licenses as a product meets them: honest ones, old ones, and forged ones.

#![expect(clippy::unwrap_used, reason = "test helpers stand outside of test functions")]

mod client;
mod documents;
mod files;
mod forge;
mod forgeries;
mod properties;
mod revocation;
mod rooted;
mod times;
mod vector_cases;
mod vector_files;
mod vector_lists;
mod vectors;
