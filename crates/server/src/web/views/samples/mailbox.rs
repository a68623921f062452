//! What the pages of the sandbox's mailbox are shown with.

use super::*;

pub(super) fn mail(body: &str) -> MailView {
    MailView {
        frame: frame(true),
        from: "Ledgerline <billing@ledgerline.example>".into(),
        to: "test@example.com".into(),
        subject: "Your Ledgerline licence No. 0002: Professional".into(),
        sent_at: "17 November 2026, 09:30 UTC".into(),
        body: MailView::body_parts(body),
    }
}

pub(super) fn mails() -> Vec<MailRow> {
    let row = |effect_id: &str, to: String, subject: &str| MailRow {
        effect_id: effect_id.into(),
        to,
        subject: subject.into(),
        sent_at: "17 November 2026, 09:30 UTC".into(),
    };
    vec![
        row("eff_2", "test@example.com".into(), "Your Ledgerline licence No. 0002: Professional"),
        row("eff_1", long_email(), "Your Ledgerline trial has started"),
        row("a/../b?c#\"", "x@example.com".into(), NASTY),
    ]
}

pub(super) fn license_mail_body() -> String {
    crate::mail::texts::LicenseMail {
        product: "Ledgerline".into(),
        plan_name: "Professional".into(),
        is_trial: false,
        reason_in_words: "Your payment was received.".into(),
        version: 2,
        paid_until_on: "17 December 2026".into(),
        works_until_on: "31 December 2026".into(),
        license_token: token(),
        manage_url: "http://localhost:3100/account/license".into(),
        customer_id: CUSTOMER.into(),
    }
    .body()
}
