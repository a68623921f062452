//! Core dumps. One of a running service would hold the signing keys and whatever password is being checked.

/// Forbids them for this process, whatever the system's limits allow; other users of the machine cannot read its memory either.
/// Where that does not work the service still runs, and says so.
#[cfg(target_os = "linux")]
pub fn forbid() {
    use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};
    let set = set_dumpable_behavior(DumpableBehavior::NotDumpable).and_then(|()| dumpable_behavior());
    match set {
        Ok(DumpableBehavior::NotDumpable) => tracing::debug!("no core dump is written of this process"),
        other => tracing::warn!(?other, "core dumps could not be forbidden: a dump would hold the signing keys"),
    }
}

/// Elsewhere the operator has to see to it.
#[cfg(not(target_os = "linux"))]
pub fn forbid() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    #[test]
    fn no_core_dump_is_written_of_this_process() {
        super::forbid();
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
    }
}
