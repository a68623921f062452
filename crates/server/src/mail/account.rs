//! The mails about the account itself: links that open something, and notices of what was changed.
//!
//! Nothing in them was typed by anybody but the vendor and the recipient, so nobody can use them to carry words elsewhere.

use askama::Template;

/// Sent to who has forgotten the password.
#[derive(Clone, Debug, Template)]
#[template(path = "mail/reset.txt")]
pub struct ResetMail {
    /// The vendor's product.
    pub product: String,
    /// The page with the new password, with its token.
    pub link: String,
    /// Our own origin, without a slash at its end.
    pub public_url: String,
}

impl ResetMail {
    /// The subject.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("Choose a new password for {}", self.product)
    }

    /// The text.
    #[must_use]
    pub fn body(&self) -> String {
        text(self)
    }
}

/// Sent after every change of the password.
#[derive(Clone, Debug, Template)]
#[template(path = "mail/password_changed.txt")]
pub struct PasswordChangedMail {
    /// The vendor's product.
    pub product: String,
    /// A moment in words.
    pub changed_at: String,
    /// Where to begin a reset.
    pub forgot_url: String,
    /// Our own origin, without a slash at its end.
    pub public_url: String,
}

impl PasswordChangedMail {
    /// The subject.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("Your {} password was changed", self.product)
    }

    /// The text.
    #[must_use]
    pub fn body(&self) -> String {
        text(self)
    }
}

/// Sent to a new address, to be confirmed.
#[derive(Clone, Debug, Template)]
#[template(path = "mail/confirm_email.txt")]
pub struct ConfirmEmailMail {
    /// The vendor's product.
    pub product: String,
    /// The page that confirms, with its token.
    pub link: String,
    /// Our own origin, without a slash at its end.
    pub public_url: String,
}

impl ConfirmEmailMail {
    /// The subject.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("Confirm your new address for {}", self.product)
    }

    /// The text.
    #[must_use]
    pub fn body(&self) -> String {
        text(self)
    }
}

/// Sent to the address that was given at sign-up, to be verified.
#[derive(Clone, Debug, Template)]
#[template(path = "mail/verify_email.txt")]
pub struct VerifyEmailMail {
    /// The vendor's product.
    pub product: String,
    /// The page that verifies, with its token.
    pub link: String,
    /// Our own origin, without a slash at its end.
    pub public_url: String,
}

impl VerifyEmailMail {
    /// The subject.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("Confirm your address for {}", self.product)
    }

    /// The text.
    #[must_use]
    pub fn body(&self) -> String {
        text(self)
    }
}

/// Sent to the present address when another one was asked for.
#[derive(Clone, Debug, Template)]
#[template(path = "mail/email_change_asked.txt")]
pub struct EmailChangeAskedMail {
    /// The vendor's product.
    pub product: String,
    /// The page that stops it, with its token.
    pub link: String,
    /// Our own origin, without a slash at its end.
    pub public_url: String,
}

impl EmailChangeAskedMail {
    /// The subject.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("Your {} account is to get another address", self.product)
    }

    /// The text.
    #[must_use]
    pub fn body(&self) -> String {
        text(self)
    }
}

/// Sent to both addresses once the change is made.
#[derive(Clone, Debug, Template)]
#[template(path = "mail/email_changed.txt")]
pub struct EmailChangedMail {
    /// The vendor's product.
    pub product: String,
    /// Our own origin, without a slash at its end.
    pub public_url: String,
}

impl EmailChangedMail {
    /// The subject.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("The address of your {} account was changed", self.product)
    }

    /// The text.
    #[must_use]
    pub fn body(&self) -> String {
        text(self)
    }
}

/// The last mail: the account is deleted.
#[derive(Clone, Debug, Template)]
#[template(path = "mail/goodbye.txt")]
pub struct GoodbyeMail {
    /// The vendor's product.
    pub product: String,
    /// Our own origin, without a slash at its end.
    pub public_url: String,
    /// A moment in words.
    pub deleted_at: String,
}

impl GoodbyeMail {
    /// The subject.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("Your {} account was deleted", self.product)
    }

    /// The text.
    #[must_use]
    pub fn body(&self) -> String {
        text(self)
    }
}

fn text(mail: &impl Template) -> String {
    mail.render().expect("strings render into memory without fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC_URL: &str = "https://billing.example.com";

    /// Name, subject and body of each mail.
    fn mails() -> Vec<(&'static str, String, String)> {
        let (product, public_url) = ("Ledgerline".to_owned(), PUBLIC_URL.to_owned());
        let link = |path: &str| format!("{PUBLIC_URL}{path}?token=cfl_{}", "x".repeat(43));
        let reset =
            ResetMail { product: product.clone(), link: link("/password/reset"), public_url: public_url.clone() };
        let (link_c, link_o) = (link("/email/confirm"), link("/email/object"));
        let confirm = ConfirmEmailMail { product: product.clone(), link: link_c, public_url: public_url.clone() };
        let link_v = link("/email/verify");
        let verify = VerifyEmailMail { product: product.clone(), link: link_v, public_url: public_url.clone() };
        let asked = EmailChangeAskedMail { product: product.clone(), link: link_o, public_url: public_url.clone() };
        let email = EmailChangedMail { product: product.clone(), public_url: public_url.clone() };
        let goodbye = GoodbyeMail {
            product: product.clone(),
            public_url: public_url.clone(),
            deleted_at: "17 November 2026, 09:30 UTC".into(),
        };
        let changed = PasswordChangedMail {
            product,
            changed_at: "17 November 2026, 09:30 UTC".into(),
            forgot_url: format!("{PUBLIC_URL}/password/forgot"),
            public_url,
        };
        vec![
            ("reset", reset.subject(), reset.body()),
            ("password_changed", changed.subject(), changed.body()),
            ("confirm_email", confirm.subject(), confirm.body()),
            ("email_change_asked", asked.subject(), asked.body()),
            ("email_changed", email.subject(), email.body()),
            ("verify_email", verify.subject(), verify.body()),
            ("goodbye", goodbye.subject(), goodbye.body()),
        ]
    }

    #[test]
    fn every_mail_reads_well() {
        let text = |(name, _, body)| format!("=== {name}\n{body}");
        insta::assert_snapshot!(mails().into_iter().map(text).collect::<String>());
    }

    #[test]
    fn each_subject_names_the_product_and_what_happened() {
        let subjects: Vec<(&str, String)> = mails().into_iter().map(|(name, subject, _)| (name, subject)).collect();
        let expected = [
            ("reset", "Choose a new password for Ledgerline"),
            ("password_changed", "Your Ledgerline password was changed"),
            ("confirm_email", "Confirm your new address for Ledgerline"),
            ("email_change_asked", "Your Ledgerline account is to get another address"),
            ("email_changed", "The address of your Ledgerline account was changed"),
            ("verify_email", "Confirm your address for Ledgerline"),
            ("goodbye", "Your Ledgerline account was deleted"),
        ];
        assert_eq!(subjects, expected.map(|(name, subject)| (name, subject.to_owned())));
    }

    #[test]
    fn lines_are_short_but_for_what_cannot_be_broken() {
        for (name, _, body) in mails() {
            for line in body.lines() {
                assert!(line.len() <= 76 || !line.contains(' '), "{name}: too long: {line}");
            }
        }
    }
}
