//! Integration tests: the whole service, as its customers, its operator and its payment provider meet it.
//!
//! One binary, because linking is what takes the time. A story is an ordinary `async fn` that is given a world of its own;
//! [`both_engines`] tells it on SQLite and on PostgreSQL under two names.

#![expect(clippy::unwrap_used, reason = "stories and their helpers stand outside of test functions")]

/// Tells stories on both engines: `name::sqlite` and `name::postgres`. With a setup before the names, in worlds made so.
macro_rules! both_engines {
    ($($story:ident),+ $(,)?) => { both_engines!(Setup::default(); $($story),+); };
    ($setup:expr; $($story:ident),+ $(,)?) => {$(
        mod $story {
            #[allow(unused_imports, reason = "not every setup is spelled out")]
            use crate::world::{Setup, TestMode};

            #[tokio::test]
            async fn sqlite() {
                crate::world::tell(counterfoil::db::Engine::Sqlite, $setup, super::$story).await;
            }

            #[tokio::test]
            async fn postgres() {
                crate::world::tell(counterfoil::db::Engine::Postgres, $setup, super::$story).await;
            }
        }
    )+};
}

/// Tells a story of stops and starts on both engines.
macro_rules! restarts {
    ($($story:ident),+ $(,)?) => {$(
        mod $story {
            #[tokio::test]
            async fn sqlite() {
                super::$story(counterfoil::db::Engine::Sqlite).await;
            }

            #[tokio::test]
            async fn postgres() {
                super::$story(counterfoil::db::Engine::Postgres).await;
            }
        }
    )+};
}

mod acceptance;
mod account_mail;
mod activations;
mod actors;
mod admin_routes;
mod authorization;
mod bad_input;
mod browser_rules;
mod checkout;
mod checkout_depth;
mod cli;
mod cli_keys;
mod cli_license;
mod cli_manual;
mod cli_queues;
mod cli_serve;
mod cli_sessions;
mod cli_stripe;
mod cli_verification;
mod client;
mod counts;
mod crashes;
mod customers;
mod deletion;
mod doctor;
mod emails;
mod faults;
mod fuzz_seeds;
mod hostile;
mod idor;
mod keys;
mod license_files;
mod licenses;
mod logins;
mod logs;
mod mails;
mod manual;
mod money_back;
mod nuls;
mod operations;
mod orders;
mod outages;
mod pages;
mod passwords;
mod plan_changes;
mod pressure;
mod principals;
mod processes;
mod provider_contract;
mod provider_sides;
mod queues;
mod races;
mod rate_limits;
mod recovery;
mod revocation;
mod scenarios;
mod security_list;
mod sequences;
mod sessions;
mod shapes;
mod slow_clients;
mod sql;
mod states;
mod status_lists;
mod store;
mod sweeps;
mod tap;
mod tidy;
mod trials;
mod validation;
mod verification;
mod verify_page;
mod webhooks;
mod world;
