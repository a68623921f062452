//! Integration tests: the whole service, as its customers, its operator and its payment provider meet it.
//!
//! One binary, because linking is what takes the time. A story is an ordinary `async fn` that is given a world of its own;
//! [`both_engines`] tells it on SQLite and on PostgreSQL under two names.

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

mod acceptance;
mod actors;
mod authorization;
mod bad_input;
mod checkout;
mod client;
mod customers;
mod orders;
mod processes;
mod races;
mod shapes;
mod states;
mod tap;
mod webhooks;
mod world;
