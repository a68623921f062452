use counterfoil_core::device::in_words;
use proptest::prelude::*;

use crate::support::cases;

#[test]
fn browsers_and_programs_are_called_by_their_names() {
    let table = [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
            "Chrome on Windows",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 \
             Edg/140.0.0.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/605.1.15",
            "Safari on macOS",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 \
             Mobile/15E148 Safari/604.1",
            "Chrome on an iPhone",
        ),
        (
            "Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 Chrome/140.0.0.0 Mobile Safari/537.36",
            "Chrome on Android",
        ),
        ("curl/8.14.1", "curl"),
        ("Something (Windows)", "A program on Windows"),
        ("", "A program"),
    ];
    for (sent, expected) in table {
        assert_eq!(in_words(sent), expected, "{sent}");
    }
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn nothing_of_what_was_sent_is_kept(sent in ".{0,200}") {
        let words = in_words(&sent);
        prop_assert!(words.len() < 40 && words.chars().all(|c| c.is_ascii_alphanumeric() || " .".contains(c)), "{words}");
    }
}
