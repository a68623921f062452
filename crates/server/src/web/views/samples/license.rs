//! The licence page with made-up data: as it usually is, and with too much of everything.

use super::*;

pub fn license_card() -> LicenseCard {
    LicenseCard {
        token: token(),
        license_id: "lic_7c1e5f0a9b8d4e63a1f2c3d4e5f60718".into(),
        version: 2,
        plan: "professional".into(),
        plan_name: "Professional".into(),
        state_word: "Valid".into(),
        tone: Tone::Good,
        holder: "Test Corp".into(),
        customer_id: CUSTOMER.into(),
        features: ["core", "exports", "api_access", "priority_support"].map(str::to_owned).into(),
        limits: vec![
            Limit { name: "seats".into(), value: "10".into() },
            Limit { name: "projects".into(), value: "100".into() },
        ],
        issued_on: "17 November 2026".into(),
        paid_until: "17 December 2026".into(),
        is_trial: false,
        works_until: "31 December 2026".into(),
        refresh_after: "10 December 2026".into(),
    }
}

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

pub fn license() -> LicenseView {
    LicenseView {
        frame: frame(true),
        license: license_card(),
        machines: Some(machines(&["Laptop", "Render farm 2"])),
        history: history(2),
        jwks_url: "http://localhost:3100/.well-known/jwks.json".into(),
        issuer: "http://localhost:3100".into(),
        audience: "ledgerline".into(),
    }
}

pub fn extreme_license() -> LicenseView {
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
    LicenseView { frame: extreme_frame(), license: card, machines: Some(many), history: history(40), ..license() }
}
