use counterfoil_core::return_url::{NotAllowed, Origin, ReturnUrls};
use proptest::prelude::*;

use crate::support::cases;

fn list(any_loopback: bool) -> ReturnUrls {
    let origins = ["https://ok.example", "http://localhost:3100", "https://bücher.example"];
    ReturnUrls::new(origins.map(|text| Origin::parse(text).expect("a valid origin")).to_vec(), any_loopback)
}

#[test]
fn allowed_origins_pass_exactly_as_they_were_written() {
    for text in [
        "https://ok.example",
        "https://ok.example/",
        "https://ok.example:443/back",
        "https://OK.example/Back?a=b&c=%20#end",
        "https://ok.example/../x/./y",
        "https://ok.example//evil.example/",
        "https://ok.example/?next=https://evil.example/@x",
        "https://xn--bcher-kva.example/",
        "http://localhost:3100/account",
        "https://ok.example/back?session_id={CHECKOUT_SESSION_ID}",
        "https://ok.example/{CHECKOUT_SESSION_ID}/{CHECKOUT_SESSION_ID}#{CHECKOUT_SESSION_ID}",
    ] {
        assert_eq!(list(false).check(text).unwrap_or_else(|_| panic!("{text} was refused")).as_str(), text);
    }
}

// tidy: allow(function) because it is one table of tricks, and the code below it is four lines.
#[test]
fn every_known_trick_is_refused_with_and_without_loopback() {
    for text in [
        "",
        " ",
        "/back",
        "//evil.example",
        "///evil.example",
        "\\\\evil.example",
        "https:evil.example",
        "https:/ok.example",
        "https:///ok.example",
        "https:ok.example",
        "https://",
        "https:///",
        "https://?x",
        "https://#x",
        "ok.example",
        "javascript:alert(1)",
        "JaVaScRiPt://ok.example/%0aalert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "ftp://ok.example/",
        "blob:https://ok.example/x",
        "HTTPS://ok.example/",
        "http://ok.example/",
        "https://ok.example:444/",
        "https://evil.example/",
        "https://ok.example.evil.example/",
        "https://evil.example/https://ok.example",
        "https://evil.example?https://ok.example",
        "https://evil.example#https://ok.example",
        "https://notok.example/",
        "https://sub.ok.example/",
        "https://ok.example./",
        "https://ok.exampl",
        "https://ok.example@evil.example/",
        "https://evil.example@ok.example/",
        "https://:@ok.example/",
        "https://user:secret@ok.example/",
        "https://ok.example%40evil.example/",
        "https://ok.example%2eevil.example/",
        "https://ok%2eexample/",
        "https://ok.example\\@evil.example/",
        "https://ok.example\\.evil.example/",
        "https:\\\\ok.example/",
        "https://ok.example/back\\x",
        "https://ok.example;.evil.example/",
        "https://ok.example:443:80/",
        "https://ok.example:99999/",
        "https://ok.example:x/",
        "https://[ok.example]/",
        " https://ok.example/",
        "https://ok.example/ ",
        "https://ok.example/a b",
        "\thttps://ok.example/",
        "https://ok.ex\tample/",
        "ht\ntps://ok.example/",
        "https://ok.example/\r\nLocation: https://evil.example",
        "https://ok.example/\0",
        "https://ok.example/\u{7f}",
        "https://ok.example/\u{202e}moc",
        "https://ok.example/ü",
        "https://bücher.example/",
        "https://\u{43e}k.example/",
        "https://ok。example/",
        "https://ok.example/\"><script>",
        "https://ok.example/`x`",
        "https://ok.example/{",
        "https://ok.example/}",
        "https://ok.example/{checkout_session_id}",
        "https://ok.example/{CHECKOUT_SESSION_ID",
        "https://ok.example/{CHECKOUT_{CHECKOUT_SESSION_ID}SESSION_ID}",
        "https://ok.example/{CUSTOMER_EMAIL}",
        "https://{CHECKOUT_SESSION_ID}.ok.example/",
        "https://{CHECKOUT_SESSION_ID}/",
        "{CHECKOUT_SESSION_ID}https://ok.example/",
        "http://localhost.evil.example/",
        "http://localhost@evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://128.0.0.1/",
        "http://0.0.0.0/",
        "http://[::2]/",
        "http://[::ffff:8.8.8.8]/",
    ] {
        assert_eq!(list(false).check(text), Err(NotAllowed), "{text:?}");
        assert_eq!(list(true).check(text), Err(NotAllowed), "{text:?}, loopback allowed");
    }
}

#[test]
fn loopback_passes_only_where_it_is_allowed() {
    for text in [
        "http://localhost:3000/success",
        "https://localhost/",
        "http://127.0.0.1:8080/x",
        "http://127.9.9.9/",
        "http://[::1]:3000/",
    ] {
        assert!(list(true).check(text).is_ok(), "{text}");
        assert_eq!(list(false).check(text), Err(NotAllowed), "{text}");
    }
}

#[test]
fn the_length_limit_holds_at_its_edge() {
    let start = "https://ok.example/";
    let of_length = |bytes: usize| format!("{start}{}", "x".repeat(bytes - start.len()));
    assert!(list(false).check(&of_length(2048)).is_ok());
    assert_eq!(list(false).check(&of_length(2049)), Err(NotAllowed));
    assert_eq!(list(false).check(&of_length(10_000_000)), Err(NotAllowed));
}

#[test]
fn an_origin_is_scheme_host_and_port_alone() {
    for (text, origin) in [
        ("https://ok.example", "https://ok.example"),
        ("https://OK.example:443/", "https://ok.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ] {
        let parsed = Origin::parse(text).unwrap();
        assert_eq!((parsed.as_str(), parsed.to_string().as_str()), (origin, origin));
    }
    for text in
        ["", "ok.example", "*", "https://", "https://ok.example/x", "https://ok.example?x", "https://ok.example#x"]
    {
        assert!(Origin::parse(text).is_err(), "{text:?}");
    }
    for text in ["ftp://ok.example", "https://a@ok.example", "https://*.ok.example/x", "null", "javascript:1"] {
        assert!(Origin::parse(text).is_err(), "{text:?}");
    }
}

proptest! {
    #![proptest_config(cases(2048))]

    #[test]
    fn whatever_passes_leads_to_an_allowed_origin_in_the_eyes_of_a_browser(
        start in prop::sample::select(vec!["https://", "http://", "https:/", "//", "https:\\\\", ""]),
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "ok.example", "evil.example", "localhost", "127.0.0.1", "[::1]", "@", ":", "/", "\\", "?", "#", ".", "%2f",
                "%40", ":3000", ":443", "\t", " ", "{CHECKOUT_SESSION_ID}", "{", "}", "x", "ü", "\u{200b}", ";", "&", "..",
            ]),
            0..8,
        ),
        noise in "\\PC{0,4}",
    ) {
        let text = format!("{start}{}{noise}", parts.concat());
        for any_loopback in [false, true] {
            let Ok(passed) = list(any_loopback).check(&text) else { continue };
            prop_assert_eq!(passed.as_str(), &text);
            let url = url::Url::parse(&text).unwrap();
            let origin = url.origin().ascii_serialization();
            let listed = ["https://ok.example", "http://localhost:3100"].contains(&origin.as_str());
            let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
            prop_assert!(listed || any_loopback && loopback, "{} went to {}", text, origin);
            prop_assert!(url.username().is_empty() && url.password().is_none());
            prop_assert_eq!(text.matches("{CHECKOUT_SESSION_ID}").count(), text.matches('{').count());
        }
    }
}
