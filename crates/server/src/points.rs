//! Marks on the ways of a checkout and of a webhook, by which a simulation tells where a process died: `C0` to `C9` and `W0` to `W10`,
//! as `docs/reliability/catalogue.md` names them. In a release they are nothing at all.

/// The running task has come to this point.
#[cfg(feature = "simulation")]
pub fn passed(point: &'static str) {
    if let Some(progress) = crate::simulation::progress() {
        progress.pass(point);
    }
}

/// The next commit of the running task is this point.
#[cfg(feature = "simulation")]
pub fn next(point: &'static str) {
    if let Some(progress) = crate::simulation::progress() {
        progress.expect(point);
    }
}

/// The running task has come to this point.
#[cfg(not(feature = "simulation"))]
pub const fn passed(_point: &'static str) {}

/// The next commit of the running task is this point.
#[cfg(not(feature = "simulation"))]
pub const fn next(_point: &'static str) {}
