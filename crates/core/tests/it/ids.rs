use counterfoil_core::{
    ActivationId, ApiKeyId, AttemptId, CustomerId, EffectId, IdempotencyKey, InstanceId, LicenseId, SessionId,
};
use proptest::prelude::*;

use crate::support::cases;

const DIGITS: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn an_id_is_its_prefix_and_32_lowercase_hex_digits_and_nothing_else() {
    let good = format!("cust_{DIGITS}");
    assert_eq!(good.parse::<CustomerId>().unwrap().as_str(), good);
    let bad = [
        String::new(),
        "cust_".into(),
        DIGITS.into(),
        format!("cus_{DIGITS}"),
        format!("CUST_{DIGITS}"),
        format!("lic_{DIGITS}"),
        format!("cust_cust_{DIGITS}"),
        format!("cust_{}", DIGITS.to_uppercase()),
        format!("cust_{}", &DIGITS[1..]),
        format!("cust_{DIGITS}0"),
        format!("cust_{}g", &DIGITS[1..]),
        format!(" cust_{DIGITS}"),
        format!("cust_{DIGITS}\n"),
        format!("cust_{}\0", &DIGITS[1..]),
        format!("cust_{}", "0".repeat(16) + &"é".repeat(8)),
        format!("cust_{}", "٠".repeat(16)),
        "cust_01234567-89ab-4cde-8f01-23456789abcd".into(),
    ];
    for text in bad {
        assert!(text.parse::<CustomerId>().is_err(), "{text:?} passed");
    }
}

#[test]
fn each_kind_of_id_has_its_own_prefix_and_refuses_the_others() {
    let prefixes = [
        CustomerId::PREFIX,
        LicenseId::PREFIX,
        AttemptId::PREFIX,
        InstanceId::PREFIX,
        EffectId::PREFIX,
        ApiKeyId::PREFIX,
        ActivationId::PREFIX,
        SessionId::PREFIX,
    ];
    assert_eq!(prefixes, ["cust_", "lic_", "att_", "inst_", "eff_", "key_", "act_", "ses_"]);
    for prefix in prefixes {
        let text = format!("{prefix}{DIGITS}");
        assert_eq!(text.parse::<CustomerId>().is_ok(), prefix == "cust_");
        assert_eq!(text.parse::<LicenseId>().is_ok(), prefix == "lic_");
        assert_eq!(text.parse::<AttemptId>().is_ok(), prefix == "att_");
    }
    let error = "x".parse::<LicenseId>().unwrap_err().to_string();
    assert_eq!(error, "an id of this kind is `lic_` and 32 lowercase hexadecimal digits");
}

#[test]
fn an_id_is_one_text_in_display_debug_and_json() {
    let id = CustomerId::from_random([0xab; 16]);
    assert_eq!(id.to_string(), "cust_abababababab4bababababababababab");
    assert_eq!(format!("{id:?}"), id.to_string());
    assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
}

#[test]
fn idempotency_keys_name_the_thing_done_and_fit_the_providers_limit() {
    let (instance, customer) = (InstanceId::from_random([1; 16]), CustomerId::from_random([2; 16]));
    let attempt = AttemptId::from_random([3; 16]);
    let keys = [
        IdempotencyKey::customer(&instance, &customer, 1),
        IdempotencyKey::customer(&instance, &customer, 2),
        IdempotencyKey::customer(&InstanceId::from_random([9; 16]), &customer, 1),
        IdempotencyKey::customer(&instance, &customer, i64::MAX),
        IdempotencyKey::session(&instance, &attempt),
        IdempotencyKey::expire_session(&instance, &attempt),
    ];
    assert_eq!(keys[0].as_str(), format!("cf:{instance}:{customer}:cus:g1"));
    assert_eq!(keys[0], IdempotencyKey::customer(&instance, &customer, 1), "a retry carries the same key");
    assert_eq!(keys[0], IdempotencyKey::from_stored(keys[0].as_str().to_owned()));
    for (index, key) in keys.iter().enumerate() {
        assert!(key.as_str().len() <= 255, "{key:?}");
        assert!(!keys[..index].contains(key), "{key:?} names two things");
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn what_from_random_makes_parses_and_is_a_version_4_uuid(bytes in any::<[u8; 16]>()) {
        let id = CustomerId::from_random(bytes);
        prop_assert_eq!(&id, &id.as_str().parse::<CustomerId>().unwrap());
        let digits = &id.as_str().as_bytes()["cust_".len()..];
        prop_assert_eq!(digits[12], b'4');
        prop_assert!(matches!(digits[16], b'8' | b'9' | b'a' | b'b'));
        let other = bytes.map(|byte| byte ^ 0x01);
        prop_assert_ne!(id, CustomerId::from_random(other));
    }

    #[test]
    fn no_text_makes_the_parser_panic_and_what_passes_is_unchanged(text in "(cust_)?[0-9a-fA-F]{30,34}|\\PC{0,64}") {
        if let Ok(id) = text.parse::<CustomerId>() {
            prop_assert_eq!(id.as_str(), text);
        }
    }
}
