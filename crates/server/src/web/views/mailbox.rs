//! `/sandbox/mailbox`: in sandbox mode mails are kept instead of sent, and read here.

use askama::Template;

use super::Frame;

/// The list of mails, newest first.
#[derive(Clone, Debug, Template)]
#[template(path = "mailbox.html")]
pub struct MailboxView {
    /// What is around the page.
    pub frame: Frame,
    /// The mails.
    pub mails: Vec<MailRow>,
}

/// One mail in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailRow {
    /// The outbox entry's id; the address is `/sandbox/mailbox/{effect_id}`.
    pub effect_id: String,
    /// The recipient.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// Day and time in words.
    pub sent_at: String,
}

/// One mail.
#[derive(Clone, Debug, Template)]
#[template(path = "mail.html")]
pub struct MailView {
    /// What is around the page.
    pub frame: Frame,
    /// The sender.
    pub from: String,
    /// The recipient.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// Day and time in words.
    pub sent_at: String,
    /// The text, cut at its links by [`body_parts`](MailView::body_parts).
    pub body: Vec<BodyPart>,
}

/// A stretch of a mail's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyPart {
    /// Text as it is.
    Text(String),
    /// An http or https address.
    Link(String),
}

impl MailView {
    /// Cuts a plain text at its http and https addresses, so that they can be followed. Concatenated, the parts are the
    /// text again.
    #[must_use]
    pub fn body_parts(text: &str) -> Vec<BodyPart> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = find_link(rest) {
            let (before, from_link) = rest.split_at(start);
            let end = link_length(from_link);
            let (link, after) = from_link.split_at(end);
            if !before.is_empty() {
                parts.push(BodyPart::Text(before.to_owned()));
            }
            parts.push(BodyPart::Link(link.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(BodyPart::Text(rest.to_owned()));
        }
        parts
    }
}

fn find_link(text: &str) -> Option<usize> {
    match (text.find("https://"), text.find("http://")) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// A full stop or a closing bracket behind an address belongs to the sentence.
fn link_length(text: &str) -> usize {
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"')).unwrap_or(text.len());
    text[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '\'']).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_cut_out_of_the_text() {
        let parts = MailView::body_parts("Open http://localhost:3100/account. Or (https://a.example/x?y=1).");
        assert_eq!(
            parts,
            [
                BodyPart::Text("Open ".into()),
                BodyPart::Link("http://localhost:3100/account".into()),
                BodyPart::Text(". Or (".into()),
                BodyPart::Link("https://a.example/x?y=1".into()),
                BodyPart::Text(").".into()),
            ]
        );
    }

    #[test]
    fn text_without_links_stays_whole() {
        assert_eq!(MailView::body_parts("ü javascript:alert(1)"), [BodyPart::Text("ü javascript:alert(1)".into())]);
        assert!(MailView::body_parts("").is_empty());
        assert_eq!(MailView::body_parts("http://"), [BodyPart::Link("http://".into())]);
    }
}
