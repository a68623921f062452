//! The one program of all fuzz targets: libFuzzer's own `main`, with the target that `COUNTERFOIL_FUZZ_TARGET` names behind it.

#![no_main]

mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

use targets::Target;

static CHOSEN: OnceLock<Target> = OnceLock::new();

fn choose() {
    let name = std::env::var("COUNTERFOIL_FUZZ_TARGET").expect("COUNTERFOIL_FUZZ_TARGET names a target");
    let target = targets::find(&name).unwrap_or_else(|| panic!("there is no target {name}"));
    let _ = CHOSEN.set(target);
}

fuzz_target!(init: choose(), |bytes: &[u8]| {
    let target = CHOSEN.get().expect("a target is chosen at the start");
    target(bytes);
});
