//! The mails that customers receive, as plain text.
//!
//! Whoever signs up chooses the recipient and the company name, so a stranger could use us to carry words to somebody else's
//! mailbox. Subjects therefore hold only the vendor's words, and a name that looks like a link or a paragraph greets nobody.

use askama::Template;
use counterfoil_core::trial::TrialNotice;

/// The longest name that is greeted; beyond it, it is no name.
const GREETING_CHARS_MAX: usize = 60;

/// Sent at sign-up, with the trial's licence.
#[derive(Clone, Debug, Template)]
#[template(path = "mail/welcome.txt")]
pub struct WelcomeMail {
    /// The vendor's product.
    pub product: String,
    /// Our own origin, without a slash at its end.
    pub public_url: String,
    /// Whom to greet; see [`greeting`].
    pub customer_name_or_email: String,
    /// Our id of the customer.
    pub customer_id: String,
    /// The trial plan's name.
    pub plan_name: String,
    /// A day in words.
    pub trial_ends_on: String,
    /// The licence.
    pub license_token: String,
    /// A day in words.
    pub license_works_until: String,
    /// The customer's overview page.
    pub manage_url: String,
}

impl WelcomeMail {
    /// The subject.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("Your {} trial has started", self.product)
    }

    /// The text.
    #[must_use]
    pub fn body(&self) -> String {
        self.render().expect("strings render into memory without fail")
    }

    fn greeting(&self) -> Option<String> {
        greeting(&self.customer_name_or_email)
    }
}

/// Sent with every licence after the first.
#[derive(Clone, Debug, Template)]
#[template(path = "mail/license.txt")]
pub struct LicenseMail {
    /// The vendor's product.
    pub product: String,
    /// The plan's name.
    pub plan_name: String,
    /// Whether it is a trial's: then the day is not one until which something was paid.
    pub is_trial: bool,
    /// Why there is a new version, as a sentence: `Your payment was received.`
    pub reason_in_words: String,
    /// The version, rising.
    pub version: u32,
    /// A day in words.
    pub paid_until_on: String,
    /// A day in words.
    pub works_until_on: String,
    /// The licence.
    pub license_token: String,
    /// The customer's licence page.
    pub manage_url: String,
    /// Our id of the customer.
    pub customer_id: String,
}

impl LicenseMail {
    /// The subject.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("Your {} licence No. {:04}: {}", self.product, self.version, self.plan_name)
    }

    /// The text.
    #[must_use]
    pub fn body(&self) -> String {
        self.render().expect("strings render into memory without fail")
    }
}

/// Sent before a trial ends, and when it has ended.
#[derive(Clone, Debug, Template)]
#[template(path = "mail/trial.txt")]
pub struct TrialMail {
    /// What there is to say.
    pub notice: TrialNotice,
    /// The vendor's product.
    pub product: String,
    /// Day and time in words.
    pub ends_at: String,
    /// The page with the plans.
    pub choose_url: String,
    /// Our id of the customer.
    pub customer_id: String,
}

impl TrialMail {
    /// The subject.
    #[must_use]
    pub fn subject(&self) -> String {
        let product = &self.product;
        match self.notice {
            TrialNotice::ThreeDays => format!("Your {product} trial ends in three days"),
            TrialNotice::OneDay => format!("Your {product} trial ends tomorrow"),
            TrialNotice::Ended => format!("Your {product} trial has ended"),
        }
    }

    /// The text.
    #[must_use]
    pub fn body(&self) -> String {
        self.render().expect("strings render into memory without fail")
    }
}

/// Sent when the vendor revokes a licence. The operator's reason is not in it: it was written for the vendor's own people.
#[derive(Clone, Debug, Template)]
#[template(path = "mail/revoked.txt")]
pub struct RevokedMail {
    /// The vendor's product.
    pub product: String,
    /// Our id of the customer.
    pub customer_id: String,
}

impl RevokedMail {
    /// The subject.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("Your {} licence was revoked", self.product)
    }

    /// The text.
    #[must_use]
    pub fn body(&self) -> String {
        self.render().expect("strings render into memory without fail")
    }
}

/// A name fit for a greeting: one line, short, and nothing that a mail program would turn into a link to a website. An
/// e-mail address is fine, for the mail goes there anyway.
fn greeting(name: &str) -> Option<String> {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let too_long = name.chars().count() > GREETING_CHARS_MAX;
    let linkish = !name.contains('@') && name.split(' ').any(|word| word.trim_end_matches('.').contains('.'));
    let unfit =
        name.is_empty() || too_long || linkish || name.contains(['/', '<', '>']) || name.contains(char::is_control);
    (!unfit).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(name: &str) -> WelcomeMail {
        WelcomeMail {
            product: "Ledgerline".into(),
            public_url: "http://localhost:3100".into(),
            customer_name_or_email: name.into(),
            customer_id: "cust_0123456789abcdef0123456789abcdef".into(),
            plan_name: "Trial".into(),
            trial_ends_on: "1 December 2026".into(),
            license_token: "eyJhbGciOiJFZERTQSJ9.e30.c2ln".into(),
            license_works_until: "4 December 2026".into(),
            manage_url: "http://localhost:3100/account".into(),
        }
    }

    #[test]
    fn the_welcome_mail_says_what_was_given() {
        let mail = welcome("Müller & Söhne");
        assert_eq!(mail.subject(), "Your Ledgerline trial has started");
        let body = mail.body();
        assert!(body.starts_with("Hello Müller & Söhne,\n\n"), "plain text is not escaped: {body}");
        for part in
            ["\neyJhbGciOiJFZERTQSJ9.e30.c2ln\n", "1 December 2026", "4 December 2026", "http://localhost:3100/account"]
        {
            assert!(body.contains(part), "{part} is missing in {body}");
        }
    }

    #[test]
    fn the_license_mail_says_what_was_given() {
        let mail = LicenseMail {
            product: "Ledgerline".into(),
            plan_name: "Professional".into(),
            is_trial: false,
            reason_in_words: "Your payment was received.".into(),
            version: 2,
            paid_until_on: "1 December 2026".into(),
            works_until_on: "15 December 2026".into(),
            license_token: "eyJhbGciOiJFZERTQSJ9.e30.c2ln".into(),
            manage_url: "http://localhost:3100/account/license".into(),
            customer_id: "cust_0123456789abcdef0123456789abcdef".into(),
        };
        assert_eq!(mail.subject(), "Your Ledgerline licence No. 0002: Professional");
        let body = mail.body();
        for part in ["Your payment was received.", "\neyJhbGciOiJFZERTQSJ9.e30.c2ln\n", "15 December 2026"] {
            assert!(body.contains(part), "{part} is missing in {body}");
        }
    }

    #[test]
    fn the_mails_about_a_trials_end_say_what_happens_and_how_to_go_on() {
        let mail = |notice| TrialMail {
            notice,
            product: "Ledgerline".into(),
            ends_at: "1 December 2026, 09:30 UTC".into(),
            choose_url: "http://localhost:3100/account#plans".into(),
            customer_id: "cust_0123456789abcdef0123456789abcdef".into(),
        };
        let table = [
            (
                TrialNotice::ThreeDays,
                "ends in three days",
                "has three days left. It ends on\n1 December 2026, 09:30 UTC.",
                "stops working then",
            ),
            (
                TrialNotice::OneDay,
                "ends tomorrow",
                "ends within a day, on\n1 December 2026, 09:30 UTC.",
                "stops working then",
            ),
            (TrialNotice::Ended, "has ended", "trial ended on\n1 December 2026, 09:30 UTC.", "has stopped working"),
        ];
        for (notice, subject, when, what) in table {
            let mail = mail(notice);
            assert_eq!(mail.subject(), format!("Your Ledgerline trial {subject}"));
            let body = mail.body();
            assert!(body.starts_with("Hello,\n\nyour Ledgerline trial "), "{body}");
            for part in [when, what, "\n\nhttp://localhost:3100/account#plans\n\n", "cust_0123456789"] {
                assert!(body.contains(part), "{part:?} is missing in {body}");
            }
            assert!(!body.contains("\n\n\n") && body.lines().all(|line| line.len() <= 76), "{body}");
        }
    }

    #[test]
    fn the_mail_about_a_revocation_says_what_to_do() {
        let customer_id = "cust_0123456789abcdef0123456789abcdef".to_owned();
        let mail = RevokedMail { product: "Ledgerline".into(), customer_id: customer_id.clone() };
        assert_eq!(mail.subject(), "Your Ledgerline licence was revoked");
        assert!(mail.body().contains(&customer_id) && mail.body().contains("contact us"), "{}", mail.body());
    }

    #[test]
    fn lines_are_short_but_for_what_cannot_be_broken() {
        for line in welcome("test@example.com").body().lines() {
            assert!(line.len() <= 76 || !line.contains(' '), "too long: {line}");
        }
    }

    #[test]
    fn a_name_that_carries_a_message_greets_nobody() {
        let unfit =
            ["", " ", "You won! https://evil.example", "win at evil.example now", "evil.example", "a<b", "x\u{1b}[0m"];
        for name in unfit {
            assert_eq!(greeting(name), None, "{name:?}");
            assert!(welcome(name).body().starts_with("Hello,\n\n"));
        }
        assert_eq!(greeting(&"x".repeat(61)), None);
        assert_eq!(greeting(&"x".repeat(60)), Some("x".repeat(60)));
        assert_eq!(greeting("Acme\r\n  Inc."), Some("Acme Inc.".into()));
        assert_eq!(greeting("test@example.com"), Some("test@example.com".into()));
    }
}
