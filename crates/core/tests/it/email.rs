use counterfoil_core::EmailAddress;
use counterfoil_core::email::InvalidEmail::{DomainIncomplete, Malformed, TooLong};
use proptest::prelude::*;

use crate::support::cases;

#[test]
fn addresses_that_are_taken_and_what_becomes_of_them() {
    for (text, normalized) in [
        ("ada@example.com", "ada@example.com"),
        ("  ada@example.com ", "ada@example.com"),
        ("Ada.Lovelace@EXAMPLE.Com", "ada.lovelace@example.com"),
        ("ada+billing@example.com", "ada+billing@example.com"),
        ("!#$%&'*/=?^_`{|}~-@example.com", "!#$%&'*/=?^_`{|}~-@example.com"),
        ("a@b.co", "a@b.co"),
        ("ada@mail.example.co.uk", "ada@mail.example.co.uk"),
        ("ada@1st.example.com", "ada@1st.example.com"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@BÜCHER.example", "ada@xn--bcher-kva.example"),
        ("ada@bu\u{308}cher.example", "ada@xn--bcher-kva.example"),
        ("ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"),
        ("ada@例え。テスト", "ada@xn--r8jz45g.xn--zckzah"),
        ("ada@ｅｘａｍｐｌｅ.com", "ada@example.com"),
        // Cyrillic letters that look Latin are another domain, and one can see it.
        ("ada@\u{430}pple.com", "ada@xn--pple-43d.com"),
        // What UTS 46 ignores is gone afterwards, so no two accounts differ by something invisible.
        ("ada@exam\u{ad}ple.com", "ada@example.com"),
    ] {
        let address = text.parse::<EmailAddress>().unwrap_or_else(|why| panic!("{text:?}: {why}"));
        assert_eq!(address.as_str(), normalized);
    }
}

#[test]
fn addresses_that_are_refused() {
    for (text, why) in [
        ("", Malformed),
        (" ", Malformed),
        ("ada", Malformed),
        ("@", Malformed),
        ("@example.com", Malformed),
        ("ada@", Malformed),
        ("ada@@example.com", Malformed),
        ("ada@home@example.com", Malformed),
        ("ada lovelace@example.com", Malformed),
        ("Ada <ada@example.com>", Malformed),
        ("<ada@example.com>", Malformed),
        ("mailto:ada@example.com", Malformed),
        ("ada@example.com, eve@example.com", Malformed),
        ("ada@example.com;eve@example.com", Malformed),
        (".ada@example.com", Malformed),
        ("ada.@example.com", Malformed),
        ("ada..l@example.com", Malformed),
        ("\"ada\"@example.com", Malformed),
        ("\"a@b\"@example.com", Malformed),
        ("ada\\@example.com", Malformed),
        ("ada(comment)@example.com", Malformed),
        ("ада@example.com", Malformed),
        ("ada\u{200b}@example.com", Malformed),
        ("ada\u{202e}@example.com", Malformed),
        ("ada@exam\u{202e}ple.com", Malformed),
        ("ada@exam\u{2066}ple.com", Malformed),
        ("\u{feff}ada@example.com", Malformed),
        ("ada@example.com\r\nBcc: eve@example.com", Malformed),
        ("ada\r\n@example.com", Malformed),
        ("ada@example.com\n", Malformed),
        ("\tada@example.com", Malformed),
        ("ada\0@example.com", Malformed),
        ("ada\u{7f}@example.com", Malformed),
        ("ada@-example.com", Malformed),
        ("ada@example-.com", Malformed),
        ("ada@exa_mple.com", Malformed),
        ("ada@example..com", Malformed),
        ("ada@.example.com", Malformed),
        ("ada@example.com.", Malformed),
        ("ada@exam ple.com", Malformed),
        ("ada@[127.0.0.1]", Malformed),
        ("ada@127.0.0.1", Malformed),
        ("ada@example.123", Malformed),
        ("ada@xn--a.example", Malformed),
        ("ada@localhost", DomainIncomplete),
        ("ada@example", DomainIncomplete),
    ] {
        assert_eq!(text.parse::<EmailAddress>(), Err(why), "{text:?}");
    }
}

#[test]
fn the_limits_hold_at_their_edges() {
    let domain_of = |chars: usize| {
        let label = "d".repeat(60);
        let rest = chars - 3 * 61 - ".com".len();
        format!("{label}.{label}.{label}.{}.com", "e".repeat(rest))
    };
    let parse = |local: usize, domain: usize| format!("{}@{}", "a".repeat(local), domain_of(domain)).parse();
    let longest: EmailAddress = parse(12, 241).unwrap();
    assert_eq!(longest.as_str().len(), 254);
    assert_eq!(parse(13, 241), Err::<EmailAddress, _>(TooLong));
    assert!(parse(64, 189).is_ok());
    assert_eq!(parse(65, 188), Err(Malformed));
    assert_eq!(format!("ada@{}.com", "d".repeat(64)).parse::<EmailAddress>(), Err(Malformed));
    // Short as typed, but too long in its ASCII form.
    let growing = format!("ada@{}.example", vec!["ü".repeat(50); 3].join("."));
    assert!(growing.chars().count() < 254 && growing.parse::<EmailAddress>().is_err());
    assert_eq!("x".repeat(1_000_000).parse::<EmailAddress>(), Err(TooLong));
}

#[test]
fn one_person_has_one_key_in_the_trial_ledger() {
    for (text, key) in [
        ("ada@example.com", "ada@example.com"),
        ("Ada+second@example.com", "ada@example.com"),
        ("ada+a+b@example.com", "ada@example.com"),
        ("a.d.a@example.com", "a.d.a@example.com"),
        ("a.d.a+x@gmail.com", "ada@gmail.com"),
        ("A.da@GoogleMail.com", "ada@gmail.com"),
        ("+a@example.com", "+a@example.com"),
        ("+b@example.com", "+b@example.com"),
    ] {
        assert_eq!(text.parse::<EmailAddress>().unwrap().person_key(), key, "{text}");
    }
}

#[test]
fn an_address_reaches_no_log_by_its_debug_form() {
    let address: EmailAddress = "ada@example.com".parse().unwrap();
    assert_eq!(format!("{address:?}"), "EmailAddress(…)");
    assert_eq!(address.to_string(), "ada@example.com");
    assert_eq!(serde_json::to_string(&address).unwrap(), "\"ada@example.com\"");
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn what_passes_is_plain_and_parses_to_itself(
        text in "[ A-Za-z0-9.+_\"'-]{1,12}@[A-Za-z0-9.ßüЖ。\u{200b}\u{202e}-]{1,16}\\.(com|de|рф|7)|\\PC{0,30}@\\PC{0,30}"
    ) {
        if let Ok(address) = text.parse::<EmailAddress>() {
            let normalized = address.as_str();
            prop_assert!(normalized.len() <= 254);
            prop_assert!(normalized.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()));
            prop_assert!(!normalized.contains(['"', '\\', '<', '>', ',', ';', ':', '(', ')', '[', ']']));
            prop_assert_eq!(normalized.matches('@').count(), 1);
            prop_assert_eq!(normalized.parse::<EmailAddress>(), Ok(address.clone()));
            prop_assert_eq!(normalized.to_uppercase().parse::<EmailAddress>(), Ok(address.clone()));
            prop_assert!(address.person_key().contains('@'));
        }
    }
}
