//! A status list from a stranger, and one that is signed well around anything: it never inflates beyond its limit.

use counterfoil_license::{STATUS_LIST_ENTRIES_MAX, StatusList};

use super::signed::{keys, signed};

pub fn run(bytes: &[u8]) {
    let keys = keys();
    assert!(StatusList::open(&String::from_utf8_lossy(bytes), &keys).is_err(), "nobody of ours signed it");
    assert!(StatusList::open(&signed("license+jwt", bytes), &keys).is_err(), "a licence is no list");
    if let Ok(list) = StatusList::open(&signed("statuslist+jwt", bytes), &keys) {
        assert!(list.entries.count() <= STATUS_LIST_ENTRIES_MAX);
        let count = list.entries.count() as u64;
        assert!(list.entries.get(count).is_none() && (count == 0 || list.entries.get(count - 1).is_some()));
    }
}
