//! A licence file from a stranger. What is read out of it says the same when it is written and read once more.

use counterfoil_license::{LICENSE_FILE_BYTES_MAX, LicenseFile};

pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(file) = LicenseFile::parse(&text) else { return };
    assert!(text.len() <= LICENSE_FILE_BYTES_MAX);
    assert!(!file.license.is_empty() && !file.license.contains(char::is_whitespace), "a licence is one word");
    for written in [file.to_string(), file.to_text_for("Ada & Co"), file.to_string().replace('\n', "\r\n> ")] {
        let again = LicenseFile::parse(&written).expect("what we write can be read");
        assert_eq!(again, file);
    }
}
