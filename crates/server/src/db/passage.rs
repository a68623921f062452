//! The one way to the driver. In production it is nothing at all; in a simulated world it is where time passes, errors happen and
//! processes die.

#[cfg(not(feature = "simulation"))]
pub(super) use real::{Held, WayBack, before, drive};
#[cfg(feature = "simulation")]
pub(super) use simulated::{Held, WayBack, before, drive};

/// A moment in the use of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A transaction begins.
    Begin,
    /// A statement within a transaction.
    Statement,
    /// A read of its own.
    Single,
    /// A write of its own.
    Write,
    /// A transaction is made to last.
    Commit,
}

#[cfg(not(feature = "simulation"))]
mod real {
    use super::Step;
    use crate::db::{DbError, TxInner};

    /// Nothing is in the way.
    pub(in crate::db) async fn before(_step: Step) -> Result<WayBack, DbError> {
        Ok(WayBack)
    }

    /// The way of an answer back to whoever waits for it.
    pub(in crate::db) struct WayBack;

    impl WayBack {
        /// Answers arrive, or the driver says that they did not.
        pub(in crate::db) async fn arrive(self) -> Result<(), DbError> {
            Ok(())
        }
    }

    /// The driver works on the runtime of its caller.
    pub(in crate::db) async fn drive<T>(work: impl Future<Output = T>) -> T {
        work.await
    }

    /// An open transaction.
    #[derive(Debug)]
    pub(in crate::db) struct Held;

    impl Held {
        /// From now on.
        pub(in crate::db) fn begin() -> Self {
            Self
        }

        /// Drops what belongs to the driver, which undoes it at some time after.
        pub(in crate::db) fn let_go(&self, what: TxInner) {
            drop(what);
        }
    }
}

#[cfg(feature = "simulation")]
mod simulated {
    use std::time::Duration;

    use super::Step;
    use crate::db::{DbError, TxInner};
    use crate::simulation::{self, Fate};

    /// Time passes where no transaction is held, and the fate of the step is decided.
    pub(in crate::db) async fn before(step: Step) -> Result<WayBack, DbError> {
        let Some(world) = simulation::world() else { return Ok(WayBack::Open) };
        if matches!(step, Step::Begin | Step::Single | Step::Write) {
            let pause = world.pause(step);
            if !pause.is_zero() && world.held() == 0 {
                tokio::time::sleep(pause).await;
            }
            // A process that died in the middle of a transaction lets go of it a moment later.
            while world.held() > 0 && matches!(step, Step::Begin | Step::Write) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        match world.fate(step) {
            Fate::Go if matches!(step, Step::Commit | Step::Write) => Ok(WayBack::Long(world.pause(step))),
            Fate::Go => Ok(WayBack::Open),
            Fate::LoseAnswer => Ok(WayBack::Lost),
            Fate::DieAfter => Ok(WayBack::Dead),
            Fate::Fail(error) => Err(error),
            Fate::Die => std::future::pending().await,
        }
    }

    /// The driver works on a runtime of its own, and the simulated thread waits for it.
    pub(in crate::db) async fn drive<T>(work: impl Future<Output = T>) -> T {
        match simulation::world() {
            Some(world) => simulation::drive(&world.driver(), work),
            None => work.await,
        }
    }

    /// The way of an answer back to whoever waits for it.
    pub(in crate::db) enum WayBack {
        Open,
        Long(Duration),
        Lost,
        Dead,
    }

    impl WayBack {
        /// The answer arrives, late, not at all, or at nobody.
        pub(in crate::db) async fn arrive(self) -> Result<(), DbError> {
            match self {
                Self::Open => Ok(()),
                Self::Long(pause) => {
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                    Ok(())
                }
                Self::Lost => Err(DbError::unavailable("the connection broke before the answer came")),
                Self::Dead => {
                    if let Some(life) = simulation::life() {
                        life.kill();
                    }
                    std::future::pending().await
                }
            }
        }
    }

    /// An open transaction, as the world counts it.
    #[derive(Debug)]
    pub(in crate::db) struct Held(bool);

    impl Held {
        /// From now on.
        pub(in crate::db) fn begin() -> Self {
            let world = simulation::world();
            if let Some(world) = &world {
                world.hold(1);
            }
            Self(world.is_some())
        }

        /// Drops what belongs to the driver where its runtime is. PostgreSQL has undone it when this returns: how long the rows
        /// would stay locked otherwise is told by no seed.
        pub(in crate::db) fn let_go(&self, what: TxInner) {
            let Some(world) = simulation::world() else { return drop(what) };
            simulation::drive(&world.driver(), async move {
                match what {
                    TxInner::Postgres(tx) => {
                        // A connection that is gone has let go, too.
                        let _ = tx.rollback().await;
                    }
                    TxInner::Writer(_) | TxInner::Reader(_) => drop(what),
                }
            });
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            if let Some(world) = simulation::world().filter(|_| self.0) {
                world.hold(-1);
            }
        }
    }
}
