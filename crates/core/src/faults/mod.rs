//! Mistakes that are made on purpose, and marks that count: what shows that the proofs of this project can fail.
//!
//! [`planted!`](crate::planted) is `false` in every build that somebody could use. With the feature `planted-bugs` one of the
//! mistakes of [`PLANTED`] can be switched on, and whoever claims to find mistakes has to find it. [`probe!`](crate::probe) counts
//! how often a row of the fault catalogue was reached; it is nothing at all in a release. A build without debug assertions refuses
//! the planted mistakes, so no release can have them.

mod planted;
mod rows;

#[cfg(any(debug_assertions, feature = "probes"))]
use std::sync::atomic::AtomicU64;
#[cfg(feature = "planted-bugs")]
use std::sync::atomic::AtomicUsize;
#[cfg(any(debug_assertions, feature = "probes"))]
use std::sync::atomic::Ordering;

pub use planted::{PLANTED, Planted, Rule};
pub use rows::ROWS;

#[cfg(all(feature = "planted-bugs", not(debug_assertions)))]
compile_error!("`planted-bugs` is for tests: build with debug assertions, and never release it");

/// No mistake is switched on.
#[cfg(feature = "planted-bugs")]
const NOTHING: usize = usize::MAX;

// tidy: allow(global) because a mistake in a rule has no argument to come by, and it exists in builds for tests alone
#[cfg(feature = "planted-bugs")]
static SWITCHED_ON: AtomicUsize = AtomicUsize::new(NOTHING);

// tidy: allow(global) because a mark in a rule has no argument to come by, and it exists in builds for tests alone
#[cfg(any(debug_assertions, feature = "probes"))]
static REACHED: [AtomicU64; ROWS.len()] = [const { AtomicU64::new(0) }; ROWS.len()];

/// Switches one mistake on for this process, or all off. False where there is none of this name; nothing changes then.
#[cfg(feature = "planted-bugs")]
pub fn plant(name: Option<&str>) -> bool {
    let number = match name {
        None => NOTHING,
        Some(name) => match PLANTED.iter().position(|bug| bug.name == name) {
            Some(number) => number,
            None => return false,
        },
    };
    SWITCHED_ON.store(number, Ordering::Relaxed);
    true
}

/// Whether the mistake of this number is switched on.
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn is_planted(number: usize) -> bool {
    SWITCHED_ON.load(Ordering::Relaxed) == number
}

/// The number of a mistake. A name that is not in the list does not compile.
#[must_use]
pub const fn number_of(name: &str) -> usize {
    let mut number = 0;
    while number < PLANTED.len() {
        if is_same(PLANTED[number].name.as_bytes(), name.as_bytes()) {
            return number;
        }
        number += 1;
    }
    panic!("no mistake of this name is in the list `PLANTED`")
}

/// The place of a row, `F1` to `F90`, in [`ROWS`]. What is no row does not compile.
#[must_use]
pub const fn place_of(row: &str) -> usize {
    let mut place = 0;
    while place < ROWS.len() {
        if is_same(ROWS[place].0.as_bytes(), row.as_bytes()) {
            return place;
        }
        place += 1;
    }
    panic!("no row of the fault catalogue has this number")
}

const fn is_same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Counts one more time that the row at this place was reached.
#[cfg(any(debug_assertions, feature = "probes"))]
pub fn reach(place: usize) {
    REACHED[place].fetch_add(1, Ordering::Relaxed);
}

/// How often each row of [`ROWS`] was reached in this process.
#[cfg(any(debug_assertions, feature = "probes"))]
#[must_use]
pub fn reached() -> [u64; ROWS.len()] {
    std::array::from_fn(|place| REACHED[place].load(Ordering::Relaxed))
}

/// Whether the named mistake is switched on: `false`, and no code, in every build that is not for tests.
#[cfg(not(feature = "planted-bugs"))]
#[macro_export]
macro_rules! planted {
    ($name:literal) => {
        false
    };
}

/// Whether the named mistake is switched on.
#[cfg(feature = "planted-bugs")]
#[macro_export]
macro_rules! planted {
    ($name:literal) => {
        $crate::faults::is_planted(const { $crate::faults::number_of($name) })
    };
}

/// Counts that this row of the fault catalogue was reached, where that is so: nothing at all in a release.
#[cfg(not(any(debug_assertions, feature = "probes")))]
#[macro_export]
macro_rules! probe {
    ($row:literal) => {};
    ($row:literal, $when:expr) => {
        // Never called: it keeps what the condition names in use.
        let _ = || $when;
    };
}

/// Counts that this row of the fault catalogue was reached, where that is so.
#[cfg(any(debug_assertions, feature = "probes"))]
#[macro_export]
macro_rules! probe {
    ($row:literal) => {
        $crate::faults::reach(const { $crate::faults::place_of($row) })
    };
    ($row:literal, $when:expr) => {
        if $when {
            $crate::probe!($row);
        }
    };
}
