//! The pages about a licence: its own, and the one where anybody verifies it.

use super::*;

fn history(versions: u32) -> Vec<LicenseVersion> {
    let entry = |version: u32| LicenseVersion {
        version,
        plan_name: if version == 1 { "Trial" } else { "Professional" }.into(),
        reason: match version {
            1 => "Trial started",
            2 => "Upgraded to Professional",
            _ => "Renewed",
        }
        .into(),
        issued_on: "17 November 2026".into(),
        works_until: "31 December 2026".into(),
        current: version == versions,
    };
    (1..=versions).rev().map(entry).collect()
}

fn machines(names: &[&str]) -> MachinesCard {
    let row = |name: &&str| MachineRow {
        activation_id: "act_7c1e5f0a9b8d4e63a1f2c3d4e5f60718".into(),
        name: (*name).to_owned(),
        since: "17 November 2026".into(),
    };
    MachinesCard {
        sentence: "2 of 3 are in use. Release one that you do not use any more, and its place is free.".into(),
        machines: names.iter().map(row).collect(),
        more: None,
    }
}

fn license() -> LicenseView {
    LicenseView {
        frame: frame(true),
        license: license_card(),
        machines: Some(machines(&["Laptop", "Render farm 2"])),
        history: history(2),
        jwks_url: "http://localhost:3100/.well-known/jwks.json".into(),
        issuer: "http://localhost:3100".into(),
        audience: "ledgerline".into(),
        bundle_has_keys: false,
    }
}

/// The page of a licence that has so many versions.
pub(in super::super) fn with_history(versions: u32) -> LicenseView {
    LicenseView { history: history(versions), ..license() }
}

fn extreme_license() -> LicenseView {
    let card = LicenseCard {
        token: token().repeat(4),
        version: 40,
        plan_name: format!("{NASTY} without an end"),
        state_word: "In grace".into(),
        tone: Tone::Warn,
        holder: long_email(),
        features: (1..=60).map(|n| format!("feature_number_{n}")).collect(),
        is_trial: true,
        ..license_card()
    };
    let many = MachinesCard { more: Some("900 more are not shown.".into()), ..machines(&[NASTY; 100]) };
    LicenseView {
        frame: extreme_frame(),
        license: card,
        machines: Some(many),
        history: history(40),
        bundle_has_keys: true,
        ..license()
    }
}

fn verify() -> VerifyView {
    VerifyView {
        frame: frame(false),
        license: String::new(),
        at: String::new(),
        license_error: None,
        at_error: None,
        problem: None,
        answer: None,
    }
}

fn verified(name: &str) -> VerifyView {
    let phase = |kind, name, x, width| PhaseView {
        kind,
        name,
        when: "from 10 December 2026, 09:30 UTC".into(),
        x,
        width,
        is_asked_for: kind == "valid",
    };
    let license = VouchedFor {
        customer_id: CUSTOMER.into(),
        license_id: "lic_7c1e5f0a9b8d4e63a1f2c3d4e5f60718".into(),
        version: 2,
        has_newer: true,
        plan_name: name.into(),
        features: vec!["core".into(), name.into()],
        limits: vec![Limit { name: "seats".into(), value: "10".into() }],
        issued_on: "17 November 2026".into(),
        works_until: "31 December 2026".into(),
        phases: vec![
            phase("before", "Not yet valid", 0, 60),
            phase("valid", "Valid", 60, 500),
            phase("refresh", "Refresh due", 560, 180),
            phase("grace", "In grace", 740, 200),
            phase("ended", "Ended", 940, 60),
        ],
        at_x: 200,
    };
    let answer = VerdictView {
        code: "superseded".into(),
        tone: Tone::Calm,
        stamp: "Superseded".into(),
        sentence: "This licence still works, and a newer one has taken its place.".into(),
        asked_for: "now, 24 November 2026, 09:30 UTC".into(),
        license: Some(license),
    };
    VerifyView { license: token(), answer: Some(answer), ..verify() }
}

fn verify_refused() -> VerifyView {
    VerifyView {
        frame: extreme_frame(),
        license: NASTY.repeat(20),
        at: NASTY.into(),
        license_error: Some("This is not a licence. Was it copied in full?".into()),
        at_error: Some("Write a day such as 2026-12-31.".into()),
        problem: Some(FormProblem { code: "file_malformed".into(), text: "One entry needs another look.".into() }),
        answer: None,
    }
}

pub(super) fn pages() -> Vec<(&'static str, String)> {
    let render = |view: &dyn askama::DynTemplate| view.dyn_render().expect("every view renders");
    vec![
        ("license", render(&license())),
        ("license-extreme", render(&extreme_license())),
        ("verify", render(&verify())),
        ("verify-answer", render(&verified("Professional"))),
        ("verify-extreme", render(&verified(NASTY))),
        ("verify-refused", render(&verify_refused())),
    ]
}
