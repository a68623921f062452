//! Vectors about `.lic` files and bundles, as people and their mail programs leave them.

use counterfoil_license::LicenseFile;
use serde_json::{Value, json};

use crate::forge::{claims, key};

pub fn all() -> Vec<Value> {
    [whole(), mailed(), broken()].into_iter().flatten().collect()
}

fn token() -> String {
    key().sign(&claims())
}

fn file() -> String {
    LicenseFile { license: token(), key_set: None, status_list: None }.to_string()
}

fn bundle() -> String {
    LicenseFile { license: token(), key_set: Some("k.e.y".repeat(20)), status_list: Some("l.i.s".repeat(20)) }
        .to_string()
}

fn reads(name: &str, text: impl Into<String>) -> Value {
    json!({"name": name, "text": text.into(), "expected": {"license": token()}})
}

fn reads_bundle(name: &str, text: impl Into<String>) -> Value {
    let expected = json!({"license": token(), "key_set": "k.e.y".repeat(20), "status_list": "l.i.s".repeat(20)});
    json!({"name": name, "text": text.into(), "expected": expected})
}

fn refused(name: &str, text: impl Into<String>) -> Value {
    json!({"name": name, "text": text.into(), "expected": {"code": "file_malformed"}})
}

fn whole() -> Vec<Value> {
    let comments = "Plan: -----BEGIN COUNTERFOIL LICENSE-----\nNote: 100 % yours = forever\n";
    vec![
        reads("a file", file()),
        reads_bundle("a bundle", bundle()),
        reads("a bare token", token()),
        reads("a bare token with spaces and line breaks around it", format!("\n  {}  \n\n", token())),
        reads("comments mean nothing", file().replace("Plan: professional\n", comments)),
        reads(
            "no comments",
            format!("-----BEGIN COUNTERFOIL LICENSE-----\n{}\n-----END COUNTERFOIL LICENSE-----", token()),
        ),
        reads(
            "a block of another name",
            format!("{}-----BEGIN COUNTERFOIL NOTE-----\nfree text!\n-----END COUNTERFOIL NOTE-----\n", file()),
        ),
        reads_bundle("blocks in another order", {
            let bundle = bundle();
            let at = bundle.find("-----BEGIN COUNTERFOIL KEY SET").unwrap();
            format!("{}{}", &bundle[at..], &bundle[..at])
        }),
    ]
}

fn mailed() -> Vec<Value> {
    let quoted: String = file().lines().map(|line| format!("> > {line}\n")).collect();
    let padded: String = file().lines().map(|line| format!("   {line}\t \n")).collect();
    let doubled: String = file().lines().map(|line| format!("{line}\n\n")).collect();
    let soft = format!(
        "-----BEGIN COUNTERFOIL LICENSE-----\n{}=\n{}\n-----END COUNTERFOIL LICENSE-----\n",
        &token()[..70],
        &token()[70..]
    );
    vec![
        reads("Windows line ends", file().replace('\n', "\r\n")),
        reads("old line ends", file().replace('\n', "\r")),
        reads("a byte order mark", format!("\u{feff}{}", file())),
        reads("quoted twice in a mail", quoted),
        reads("spaces around each line", padded),
        reads("an empty line after each line", doubled),
        reads("text before and after", format!("Dear customer,\nhere it is.\n\n{}\nYours", file())),
        reads("a soft line break of quoted-printable mail", soft),
        reads("a bare token broken into lines", {
            let token = token();
            format!("> {}\n> {}\r\n> {}", &token[..80], &token[80..200], &token[200..])
        }),
    ]
}

fn broken() -> Vec<Value> {
    let last_line = "-----END COUNTERFOIL LICENSE-----\n";
    vec![
        refused("nothing", ""),
        refused("only white space", " \r\n\t\n"),
        refused("no end", file().replace(last_line, "")),
        refused("no beginning of a block that ends", format!("{last_line}{}", file())),
        refused("a block in a block", file().replacen('\n', "\n-----BEGIN COUNTERFOIL LICENSE-----\n", 1)),
        refused("another end", file().replace("END COUNTERFOIL LICENSE", "END COUNTERFOIL KEY SET")),
        refused("two licenses", format!("{}{}", file(), file())),
        refused("an empty block", format!("-----BEGIN COUNTERFOIL LICENSE-----\n{last_line}")),
        refused("a space inside a line", file().replace("eyJ", "ey J")),
        refused("a letter beyond ASCII", file().replace("eyJ", "eyJ\u{e9}")),
        refused("no license in it", bundle().split_off(bundle().find("-----BEGIN COUNTERFOIL KEY SET").unwrap())),
        refused("another kind of PEM", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        refused("a sentence", "This is no license."),
    ]
}
