//! E-mail addresses: what passes is one plain address that mail can be sent to, and it is the same however it is written.

use counterfoil_core::EmailAddress;

const BYTES_MAX: usize = 254;
const LABEL_BYTES_MAX: usize = 63;
const LOCAL_BYTES_MAX: usize = 64;

pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(address) = text.parse::<EmailAddress>() else { return };
    let address = address.as_str();
    assert!(address.len() <= BYTES_MAX, "{} bytes", address.len());
    assert!(address.bytes().all(|byte| byte.is_ascii_graphic()), "{address:?} has more than visible ASCII");
    assert!(!address.contains(['"', '\\', '<', '>', '(', ')', ',', ';', ':', '[', ']']), "{address:?} can be misread");
    assert_eq!(address, address.to_lowercase());
    check_parts(address);

    let same = |other: &str| other.parse::<EmailAddress>().is_ok_and(|other| other.as_str() == address);
    assert!(same(address), "{address:?} is not what it is");
    assert!(same(&address.to_uppercase()) && same(&format!("  {address} ")), "{address:?} in another hand");
    assert!(address.parse::<lettre::Address>().is_ok(), "no mail can be sent to {address:?}");

    let known = address.parse::<EmailAddress>().expect("it was parsed a moment ago");
    let key = known.person_key();
    assert!(key.contains('@') && key.len() <= BYTES_MAX, "{key:?}");
    assert!(key.bytes().all(|byte| byte.is_ascii_graphic()), "{key:?}");
    if let Ok(person) = key.parse::<EmailAddress>() {
        assert_eq!(person.person_key(), key, "the key of a key");
    }
}

fn check_parts(address: &str) {
    let (local, domain) = address.split_once('@').expect("an address has an @");
    assert!(matches!(local.len(), 1..=LOCAL_BYTES_MAX), "{local:?}");
    assert!(!local.starts_with('.') && !local.ends_with('.') && !local.contains(".."), "{local:?}");
    let labels: Vec<&str> = domain.split('.').collect();
    assert!(labels.len() >= 2, "{domain:?} has one label");
    for label in &labels {
        let is_plain = label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let is_whole = matches!(label.len(), 1..=LABEL_BYTES_MAX) && !label.starts_with('-') && !label.ends_with('-');
        assert!(is_plain && is_whole, "{domain:?} has the label {label:?}");
    }
    let is_number = |label: &&str| label.bytes().all(|byte| byte.is_ascii_digit());
    assert!(!labels.last().is_some_and(is_number), "{domain:?} is an IP address");
}
