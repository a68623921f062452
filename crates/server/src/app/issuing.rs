//! Issuing: the next version when the facts changed, and the mail that carries it.
//!
//! Nothing is issued under a hold, and nothing to a deleted account. [`App::issue_license`] asks for both in the transaction that
//! writes, whoever calls, so that a caller who forgets cannot bring a revoked licence back.

use counterfoil_core::entitlement::Grant;
use counterfoil_core::license::{Terms, facts_digest, terms_digest};
use counterfoil_core::listing::Listed;
use counterfoil_core::{LicenseId, Refusal, Timestamp, planted, probe};
use counterfoil_license::{Claims, StatusReference};

use super::operators::By;
use super::outbox::OwedMail;
use super::{App, Error, Failure};
use crate::db::Tx;
use crate::mail::texts::{LicenseMail, RevokedMail, WelcomeMail};
use crate::store;
use crate::store::customers::Customer;
use crate::store::licenses::{License, Made};

/// The version that a customer begins with.
pub const FIRST_VERSION: i64 = 1;

/// Why a version was issued: a stable word, and a sentence for the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Sign-up.
    TrialStarted,
    /// An operator made the trial longer, or the provider did.
    TrialExtended,
    /// The first payment, or a payment after an ended subscription.
    Subscribed,
    /// A plan was chosen, and a trial goes on: it is charged when that is over.
    PlanChosen,
    /// Another plan.
    PlanChanged,
    /// The paid period moved on.
    Renewed,
    /// A payment is overdue: the licence goes on to the same end.
    PaymentOverdue,
    /// Another state with the same period.
    StatusChanged,
    /// The signing key changed, or an operator wanted it.
    Reissued,
}

impl Reason {
    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::TrialStarted => "trial_started",
            Self::TrialExtended => "trial_extended",
            Self::Subscribed => "subscribed",
            Self::PlanChosen => "plan_chosen",
            Self::PlanChanged => "plan_changed",
            Self::Renewed => "renewed",
            Self::PaymentOverdue => "payment_overdue",
            Self::StatusChanged => "status_changed",
            Self::Reissued => "reissued",
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::TrialStarted => "Your trial has started.",
            Self::TrialExtended => "Your trial was extended.",
            Self::Subscribed => "Your payment was received. Thank you!",
            Self::PlanChosen => {
                "You have chosen your plan, and your trial goes on. The first payment is due when it ends."
            }
            Self::PlanChanged => "Your plan has changed.",
            Self::Renewed => "Your subscription was renewed.",
            Self::PaymentOverdue => {
                "Your last payment did not go through. Please see that your card is good: the payment is tried again, and \
                 until then the licence works to the date below."
            }
            Self::StatusChanged => "The state of your subscription has changed.",
            Self::Reissued => "Your licence was issued again.",
        }
    }

    /// Why there is a first version, where signing up gave none.
    const fn first(grant: &Grant, is_own_trial: bool, cause: &Cause) -> Self {
        match cause {
            Cause::Operator(_) if grant.trial && is_own_trial => Self::TrialExtended,
            _ if grant.trial && is_own_trial => Self::TrialStarted,
            _ if grant.trial => Self::PlanChosen,
            _ => Self::Subscribed,
        }
    }

    /// What the newest version and the new grant differ in.
    fn between(newest: &License, grant: &Grant) -> Self {
        match newest {
            // A trial whose first payment fails was never subscribed to.
            old if old.status != grant.status && grant.status == "past_due" && !is_later(old, grant) => {
                Self::PaymentOverdue
            }
            old if old.trial && !grant.trial => Self::Subscribed,
            old if old.trial && old.plan != grant.plan => Self::PlanChosen,
            old if old.plan != grant.plan => Self::PlanChanged,
            old if is_later(old, grant) => match grant.trial {
                true => Self::TrialExtended,
                false => Self::Renewed,
            },
            old if old.status != grant.status => Self::StatusChanged,
            _ => Self::Reissued,
        }
    }
}

/// Whether the grant reaches further than the version.
fn is_later(old: &License, grant: &Grant) -> bool {
    grant.paid_until.floor_to_second() > old.paid_until
}

/// Who or what makes us issue: kept with the version, for whoever asks later.
#[derive(Clone, Debug)]
pub enum Cause {
    /// The customer, by signing up.
    SignUp,
    /// A look at the provider.
    Look {
        /// The newest event that it finishes; none where nothing but time or a person caused the look.
        event_id: Option<String>,
    },
    /// The customer, by showing that the address is its own.
    EmailVerified,
    /// An operator.
    Operator(By),
}

impl Cause {
    fn words(&self) -> (&str, Option<&str>) {
        match self {
            Self::SignUp => ("sign_up", None),
            Self::EmailVerified => ("email_verified", None),
            Self::Look { event_id } => ("look", event_id.as_deref()),
            Self::Operator(by) => (by.actor(), Some(by.reason())),
        }
    }
}

/// The version to issue next.
#[derive(Clone, Copy, Debug)]
pub struct Next<'a> {
    /// The one after the newest.
    pub version: i64,
    pub reason: Reason,
    pub cause: &'a Cause,
    /// Whether the customer gets it by mail.
    pub mail: bool,
}

/// What issuing came to.
#[derive(Debug)]
pub enum Issued {
    /// A new version, with its mail in the outbox.
    New(License),
    /// The newest version stands on these facts already.
    Unchanged(License),
    /// An operator has revoked the customer's licence, and whatever happens issues none.
    Held,
}

impl App {
    /// Issues the next version if the facts differ from those of the newest one, and owes the mail, in the caller's transaction.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn issue_if_changed(
        &self,
        tx: &mut Tx,
        customer: &Customer,
        grant: &Grant,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<Issued, Error> {
        if store::holds::find(tx, &customer.customer_id).await?.is_some() {
            return Ok(Issued::Held);
        }
        let newest = store::licenses::find_newest(tx, &customer.customer_id).await?;
        // What a retired key signed is good. What a compromised one signed is none.
        let keys = store::signing_keys::list_trusted(tx).await?;
        let is_unchanged = |license: &License| keys.iter().any(|key| license.facts_digest == facts_digest(grant, key));
        // A version that the lists call withdrawn is not brought back: the same facts get a version of their own.
        let is_withdrawn = match &newest {
            Some(license) => {
                let entry = store::license_statuses::find(tx, &license.license_id).await?;
                entry.is_some_and(|entry| entry.listed == Listed::Invalid)
            }
            None => false,
        };
        match newest {
            Some(license) if is_unchanged(&license) && !is_withdrawn && !planted!("version-per-event") => {
                if matches!(cause, Cause::Look { event_id: Some(_) }) {
                    probe!("F20");
                }
                Ok(Issued::Unchanged(license))
            }
            newest => {
                let reason = match &newest {
                    None => Reason::first(grant, grant.plan == self.catalog.trial().code, cause),
                    Some(old) => Reason::between(old, grant),
                };
                let version = newest.map_or(FIRST_VERSION, |license| license.version + 1);
                let next = Next { version, reason, cause, mail: true };
                Ok(Issued::New(self.issue_license(tx, customer, grant, next, now).await?))
            }
        }
    }

    /// Issues this version, which is the one after the newest.
    ///
    /// # Errors
    /// [`Refusal::LicenseRevoked`] under a hold, [`Refusal::CustomerDeleted`]; failures of the database.
    pub async fn issue_license(
        &self,
        tx: &mut Tx,
        customer: &Customer,
        grant: &Grant,
        next: Next<'_>,
        now: Timestamp,
    ) -> Result<License, Error> {
        if store::holds::find(tx, &customer.customer_id).await?.is_some() {
            return Err(Refusal::LicenseRevoked.into());
        }
        // Held to the end of the transaction: who deletes the account at the same moment comes before, or revokes this version, too.
        if !store::customers::hold(tx, &customer.customer_id).await? {
            return Err(Refusal::CustomerDeleted.into());
        }
        let license_id = LicenseId::from_random(self.entropy.bytes());
        let terms = Terms::draft(license_id, customer.customer_id.clone(), next.version, grant, now);
        let whose = (&customer.customer_id, &terms.license_id);
        let place = self.take_place(tx, whose, now).await?;
        let signer = self.signer(tx).await?;
        let token = signer.sign(&self.claims(&terms, place));
        let key_id = signer.key_id();
        let (caused_by, cause_detail) = next.cause.words();
        let made = Made {
            token: &token,
            key_id,
            reason: next.reason.word(),
            facts_digest: &facts_digest(grant, key_id),
            terms_digest: &terms_digest(grant, key_id),
            caused_by,
            cause_detail,
        };
        store::licenses::insert(tx, &terms, &made).await?;
        store::license_statuses::replace_older(tx, whose, terms.expires_at, now).await?;
        let license = store::licenses::find(tx, &customer.customer_id, &terms.license_id)
            .await?
            .ok_or_else(|| Failure::Corrupt("a license that was just written is not there".into()))?;
        if next.mail && !planted!("license-mail-forgotten") {
            self.owe_license_mail(tx, customer, &license, next.reason, now).await?;
        }
        metrics::counter!("counterfoil_licenses_issued_total", "reason" => next.reason.word()).increment(1);
        Ok(license)
    }

    fn claims(&self, terms: &Terms, place: StatusReference) -> Claims {
        Claims {
            iss: self.settings.public_url.clone(),
            sub: terms.customer_id.to_string(),
            customer_id: terms.customer_id.to_string(),
            aud: self.settings.product.clone(),
            iat: terms.issued_at.as_unix_seconds(),
            nbf: terms.not_before.as_unix_seconds(),
            exp: terms.expires_at.as_unix_seconds(),
            jti: terms.license_id.to_string(),
            ver: terms.version,
            plan: terms.plan.to_string(),
            status: terms.status.to_owned(),
            trial: terms.trial,
            features: terms.features.clone(),
            limits: terms.limits.clone(),
            paid_until: terms.paid_until.as_unix_seconds(),
            grace_until: terms.expires_at.as_unix_seconds(),
            refresh_after: terms.refresh_after.as_unix_seconds(),
            status_list: Some(place),
        }
    }

    /// Puts the mail that carries this version into the outbox; its key lets no version be mailed twice by itself.
    async fn owe_license_mail(
        &self,
        tx: &mut Tx,
        customer: &Customer,
        license: &License,
        reason: Reason,
        now: Timestamp,
    ) -> Result<(), Error> {
        let words = match reason {
            Reason::TrialStarted => self.welcome_mail(customer, license),
            Reason::TrialExtended
            | Reason::Subscribed
            | Reason::PlanChosen
            | Reason::PlanChanged
            | Reason::Renewed
            | Reason::PaymentOverdue
            | Reason::StatusChanged
            | Reason::Reissued => self.license_mail(customer, license, reason.sentence()),
        };
        let key = format!("license:{}:{}", customer.customer_id, license.version);
        self.owe_customer_mail(tx, customer, key, words, now).await
    }

    fn welcome_mail(&self, customer: &Customer, license: &License) -> (String, String) {
        let public_url = &self.settings.public_url;
        let mail = WelcomeMail {
            product: self.settings.product_name.clone(),
            public_url: public_url.clone(),
            customer_name_or_email: customer.company_name.clone().unwrap_or_default(),
            customer_id: customer.customer_id.to_string(),
            plan_name: self.plan_name(&license.plan),
            trial_ends_on: license.paid_until.date_in_words(),
            license_token: license.token.clone(),
            license_works_until: license.expires_at.date_in_words(),
            manage_url: format!("{public_url}/account"),
        };
        (mail.subject(), mail.body())
    }

    /// Subject and text of the mail that carries a version, beginning with this sentence.
    pub(super) fn license_mail(&self, customer: &Customer, license: &License, sentence: &str) -> (String, String) {
        let mail = LicenseMail {
            product: self.settings.product_name.clone(),
            plan_name: self.plan_name(&license.plan),
            reason_in_words: sentence.to_owned(),
            version: u32::try_from(license.version).unwrap_or(u32::MAX),
            is_trial: license.trial,
            paid_until_on: license.paid_until.date_in_words(),
            works_until_on: license.expires_at.date_in_words(),
            license_token: license.token.clone(),
            manage_url: format!("{}/account/license", self.settings.public_url),
            customer_id: customer.customer_id.to_string(),
        };
        (mail.subject(), mail.body())
    }

    /// Subject and text of the mail that tells of a revocation.
    pub(super) fn revoked_mail(&self, customer: &Customer) -> (String, String) {
        let product = self.settings.product_name.clone();
        let mail = RevokedMail { product, customer_id: customer.customer_id.to_string() };
        (mail.subject(), mail.body())
    }

    /// Puts a mail to the customer into the outbox; a second one with the same key is not owed.
    pub(super) async fn owe_customer_mail(
        &self,
        tx: &mut Tx,
        customer: &Customer,
        dedupe_key: String,
        (subject, body_text): (String, String),
        now: Timestamp,
    ) -> Result<(), Error> {
        let owed = OwedMail {
            customer_id: &customer.customer_id,
            dedupe_key: Some(dedupe_key),
            recipient: customer.email.as_str(),
            subject,
            body_text,
            forget_when_sent: false,
        };
        self.owe_mail(tx, owed, now).await
    }
}

#[cfg(test)]
mod tests;
