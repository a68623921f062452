//! Where customers are sent: whatever passes leads to an allowed origin in the eyes of a browser, and of a reader who only knows slashes.
//!
//! The first line is `loopback` where any address of this machine passes too, and `path` for a path that a login leads back to.

use std::sync::OnceLock;

use counterfoil::web::way_back::own_path;
use counterfoil_core::return_url::{Origin, RETURN_URL_BYTES_MAX, ReturnUrls};
use url::{Host, Url};

use super::first_line;

const ORIGINS: [&str; 4] =
    ["https://app.example.com", "https://shop.example:8443", "http://dev.example", "https://xn--bcher-kva.example"];

pub fn run(bytes: &[u8]) {
    let (setting, rest) = first_line(bytes);
    let text = String::from_utf8_lossy(rest);
    if setting == b"path" {
        return check_path(&text);
    }
    let loopback = setting == b"loopback";
    let urls = return_urls(loopback);
    for origin in ORIGINS {
        let plain: String =
            text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '?')).collect();
        let url = format!("{origin}/{}", &plain[..plain.len().min(512)]);
        assert!(urls.check(&url).is_ok_and(|passed| passed.as_str() == url), "{url:?} is ours");
    }
    let Ok(passed) = urls.check(&text) else { return };
    assert_eq!(passed.as_str(), text, "it reaches the provider as it was written");
    assert!(text.len() <= RETURN_URL_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
    // As it is, with the templates filled in, and as the target of a redirect.
    let filled = text.replace("{CHECKOUT_SESSION_ID}", "cs_test_a1").replace("{ATTEMPT_ID}", "att_0123456789");
    let base = Url::parse("https://billing.example.com/checkout/return").expect("a URL");
    for seen in [Url::parse(&text), Url::parse(&filled), base.join(&filled)] {
        let seen = seen.unwrap_or_else(|error| panic!("{text:?} is no URL for a browser: {error}"));
        assert!(leads_home(&seen, loopback), "{text:?} leads to {seen}");
    }
    if !loopback {
        assert!(ORIGINS.contains(&plain_origin(&text).as_str()), "{text:?} reads as {}", plain_origin(&text));
    }
}

fn return_urls(loopback: bool) -> &'static ReturnUrls {
    static MADE: OnceLock<[ReturnUrls; 2]> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let origins = ORIGINS.map(|text| Origin::parse(text).expect("an origin")).to_vec();
        [ReturnUrls::new(origins.clone(), false), ReturnUrls::new(origins, true)]
    });
    &made[usize::from(loopback)]
}

fn leads_home(url: &Url, loopback: bool) -> bool {
    let is_local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let is_web = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    let is_listed = ORIGINS.contains(&url.origin().ascii_serialization().as_str());
    is_web && (is_listed || loopback && is_local)
}

/// Scheme and authority as they stand there, without a port that goes without saying.
fn plain_origin(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let (host, port) = authority.split_once(':').unwrap_or((&authority, ""));
    let default = if scheme == "https" { 443 } else { 80 };
    match port.parse::<u16>() {
        Ok(port) if port != default => format!("{scheme}://{host}:{port}"),
        Ok(_) => format!("{scheme}://{host}"),
        Err(_) if port.is_empty() => format!("{scheme}://{host}"),
        Err(_) => authority,
    }
}

fn check_path(text: &str) {
    let Some(path) = own_path(text) else { return };
    assert_eq!(path, text);
    let base = Url::parse("https://billing.example.com/login").expect("a URL");
    let seen = base.join(path).expect("a path of ours is one for a browser");
    assert_eq!(seen.origin(), base.origin(), "{text:?} leads to {seen}");
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?} fits into a header");
}
