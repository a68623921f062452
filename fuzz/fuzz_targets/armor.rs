//! A file from a stranger. What is read out of it says the same when it is written and read once more.

#![no_main]

use counterfoil_license::LicenseFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(file) = LicenseFile::parse(text) {
        let again = LicenseFile::parse(&file.to_string()).expect("what we write can be read");
        assert_eq!((again.license, again.key_set, again.status_list), (file.license, file.key_set, file.status_list));
    }
});
