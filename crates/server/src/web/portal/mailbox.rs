//! `/sandbox/mailbox`: the mails that the sandbox keeps instead of sending them. In every other mode there is no such page.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Html;
use counterfoil_core::EffectId;

use super::page::{OnPage, PageProblem, Visitor, show};
use crate::store::outbox::Mail;
use crate::web::WebState;
use crate::web::problem::Problem;
use crate::web::views::{MailRow, MailView, MailboxView};

/// Mails on the page.
const MAILS_MAX: i64 = 100;

/// `GET /sandbox/mailbox`.
pub async fn list(State(state): State<WebState>, visitor: Visitor) -> Result<Html<String>, PageProblem> {
    only_in_sandbox(&state).on(&visitor.frame)?;
    let mails = state.app.newest_mails(MAILS_MAX).await.on(&visitor.frame)?;
    let mails = mails
        .into_iter()
        .map(|mail| MailRow {
            effect_id: mail.effect_id.to_string(),
            sent_at: sent_at(&mail),
            to: mail.recipient,
            subject: mail.subject,
        })
        .collect();
    show(&MailboxView { frame: visitor.frame.clone(), mails }, &visitor.frame)
}

/// `GET /sandbox/mailbox/{effect_id}`.
pub async fn read(
    State(state): State<WebState>,
    visitor: Visitor,
    effect_id: Result<Path<String>, PathRejection>,
) -> Result<Html<String>, PageProblem> {
    let frame = &visitor.frame;
    only_in_sandbox(&state).on(frame)?;
    let effect_id: Option<EffectId> = effect_id.ok().and_then(|Path(text)| text.parse().ok());
    let effect_id = effect_id.ok_or_else(Problem::not_found).on(frame)?;
    let mail = state.app.find_mail(&effect_id).await.on(frame)?.ok_or_else(Problem::not_found).on(frame)?;
    let view = MailView {
        frame: frame.clone(),
        from: state.options.mail_from.clone(),
        sent_at: sent_at(&mail),
        body: MailView::body_parts(&mail.body_text),
        to: mail.recipient,
        subject: mail.subject,
    };
    show(&view, frame)
}

fn only_in_sandbox(state: &WebState) -> Result<(), Problem> {
    if state.app.settings.sandbox { Ok(()) } else { Err(Problem::not_found()) }
}

/// A mail that still waits for the worker shows when it was written.
fn sent_at(mail: &Mail) -> String {
    mail.sent_at.unwrap_or(mail.created_at).date_time_in_words()
}

#[cfg(test)]
mod tests {
    use counterfoil_core::{EffectId, Timestamp};

    use super::*;

    #[test]
    fn a_mail_that_waits_shows_when_it_was_written_and_one_that_went_out_when_it_did() {
        let written = Timestamp::from_unix_seconds(1_790_000_000);
        let mail = Mail {
            effect_id: EffectId::from_random([7; 16]),
            recipient: "ada@example.com".to_owned(),
            subject: "Your license".to_owned(),
            body_text: String::new(),
            message_id: "1@example.com".to_owned(),
            state: "pending".to_owned(),
            attempts: 0,
            created_at: written,
            sent_at: None,
        };
        assert_eq!(sent_at(&mail), written.date_time_in_words());
        let sent = written.plus_seconds(3600);
        assert_eq!(sent_at(&Mail { sent_at: Some(sent), ..mail }), sent.date_time_in_words());
    }
}
