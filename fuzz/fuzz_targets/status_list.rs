//! A status list from a stranger, and one that is signed well around anything: it never inflates beyond its limit.

#![no_main]

use counterfoil_fuzz::{keys, signed};
use counterfoil_license::{STATUS_LIST_ENTRIES_MAX, StatusList};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let keys = keys();
    assert!(StatusList::open(&String::from_utf8_lossy(bytes), &keys).is_err());
    if let Ok(list) = StatusList::open(&signed("statuslist+jwt", bytes), &keys) {
        assert!(list.entries.count() <= STATUS_LIST_ENTRIES_MAX);
        let count = list.entries.count() as u64;
        assert!(list.entries.get(count).is_none() && (count == 0 || list.entries.get(count - 1).is_some()));
    }
});
