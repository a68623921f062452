//! Issuing: the next version when the facts changed, and the mail that carries it.
//!
//! Nothing is issued under a hold, and nothing to a deleted account. [`App::issue_license`] asks for both in the transaction that
//! writes, whoever calls, so that a caller who forgets cannot bring a revoked licence back.

use counterfoil_core::entitlement::Grant;
use counterfoil_core::license::{Terms, facts_digest, terms_digest};
use counterfoil_core::listing::Listed;
use counterfoil_core::{CustomerId, LicenseId, Refusal, Timestamp, planted, probe};
use counterfoil_license::{Claims, SigningKey, StatusReference};

use super::outbox::OwedMail;
pub use super::reasons::{Cause, Reason};
use super::{App, Error, Failure};
use crate::db::Tx;
use crate::mail::texts::{LicenseMail, RevokedMail, WelcomeMail};
use crate::store;
use crate::store::customers::Customer;
use crate::store::licenses::{License, Made};
use crate::store::signing_keys::StoredKey;
use crate::store::standings::Newest;

/// The version that a customer begins with.
pub const FIRST_VERSION: i64 = 1;

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

/// A version that is due to a customer.
#[derive(Clone, Copy, Debug)]
pub struct Due<'a> {
    pub customer: &'a Customer,
    pub grant: &'a Grant,
    pub next: Next<'a>,
}

/// What was signed for one version.
struct Signed {
    token: String,
    facts_digest: String,
    terms_digest: String,
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
        let license = store::licenses::find_newest(tx, &customer.customer_id).await?;
        let newest = match &license {
            Some(license) => {
                let entry = store::license_statuses::find(tx, &license.license_id).await?;
                Some(Newest::of(license, entry.map(|entry| entry.listed)))
            }
            None => None,
        };
        let keys = store::signing_keys::list_good(tx).await?;
        match (self.next_version(newest.as_ref(), &keys, grant, cause), license) {
            (None, Some(license)) => Ok(Issued::Unchanged(license)),
            (None, None) => Err(Failure::Corrupt("no version is there, and none is due".into()).into()),
            (Some(next), _) => {
                let issued = self.issue_all(tx, &[Due { customer, grant, next }], &keys, now).await?;
                Ok(Issued::New(only(issued)?))
            }
        }
    }

    /// The version that is due where the facts differ from those of the newest one.
    pub(super) fn next_version<'a>(
        &self,
        newest: Option<&Newest>,
        keys: &[StoredKey],
        grant: &Grant,
        cause: &'a Cause,
    ) -> Option<Next<'a>> {
        // What a retired key signed is good. What a compromised one signed is none.
        let is_unchanged = |old: &Newest| keys.iter().any(|key| old.facts_digest == facts_digest(grant, &key.key_id));
        // A version that the lists call withdrawn is not brought back: the same facts get a version of their own.
        let is_withdrawn = |old: &Newest| old.listed == Some(Listed::Invalid);
        match newest {
            Some(old) if is_unchanged(old) && !is_withdrawn(old) && !planted!("version-per-event") => {
                probe!("F20", matches!(cause, Cause::Look { event_id: Some(_) }));
                None
            }
            Some(old) => {
                Some(Next { version: old.version + 1, reason: Reason::between(old, grant), cause, mail: true })
            }
            None => {
                let reason = Reason::first(grant, grant.plan == self.catalog.trial().code, cause);
                Some(Next { version: FIRST_VERSION, reason, cause, mail: true })
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
        let keys = store::signing_keys::list_good(tx).await?;
        only(self.issue_all(tx, &[Due { customer, grant, next }], &keys, now).await?)
    }

    /// The same for several customers, with the keys that were read in this transaction.
    ///
    /// # Errors
    /// As [`App::issue_license`], for whichever customer it is: nothing may be kept of the transaction then.
    pub(super) async fn issue_all(
        &self,
        tx: &mut Tx,
        due: &[Due<'_>],
        keys: &[StoredKey],
        now: Timestamp,
    ) -> Result<Vec<License>, Error> {
        if due.is_empty() {
            return Ok(Vec::new());
        }
        self.hold_for_issuing(tx, due).await?;
        let draft = |due: &Due<'_>| {
            let (license_id, whose) = (LicenseId::from_random(self.entropy.bytes()), due.customer.customer_id.clone());
            Terms::draft(license_id, whose, due.next.version, due.grant, now)
        };
        let terms: Vec<Terms> = due.iter().map(draft).collect();
        let whose: Vec<(&CustomerId, &LicenseId)> =
            terms.iter().map(|terms| (&terms.customer_id, &terms.license_id)).collect();
        let places = self.take_places(tx, &whose, now).await?;
        let signer = self.signer_among(keys)?;
        let signed: Vec<Signed> = (due.iter().zip(&terms).zip(places))
            .map(|((due, terms), place)| self.sign(&signer, due.grant, terms, place))
            .collect();
        let made = due.iter().zip(&signed).map(|(due, signed)| made(due, signed, signer.key_id()));
        let rows: Vec<(&Terms, Made<'_>)> = terms.iter().zip(made).collect();
        store::licenses::insert_all(tx, &rows).await?;
        store::license_statuses::replace_older(tx, &whose, now).await?;
        let licenses: Vec<License> = rows.iter().map(|(terms, made)| License::new(terms, made)).collect();
        self.owe_license_mails(tx, due, &licenses, now).await?;
        for due in due {
            metrics::counter!("counterfoil_licenses_issued_total", "reason" => due.next.reason.word()).increment(1);
        }
        Ok(licenses)
    }

    /// Holds the customers' rows to the end of the transaction: who deletes an account at the same moment comes before, or revokes
    /// its new version, too.
    async fn hold_for_issuing(&self, tx: &mut Tx, due: &[Due<'_>]) -> Result<(), Error> {
        let whose: Vec<&CustomerId> = due.iter().map(|due| &due.customer.customer_id).collect();
        let held = store::customers::hold_all(tx, &whose).await?;
        for customer_id in whose {
            match held.get(customer_id) {
                Some(false) => {}
                Some(true) => return Err(Refusal::LicenseRevoked.into()),
                None => return Err(Refusal::CustomerDeleted.into()),
            }
        }
        Ok(())
    }

    fn sign(&self, signer: &SigningKey, grant: &Grant, terms: &Terms, place: StatusReference) -> Signed {
        Signed {
            token: signer.sign(&self.claims(terms, place)),
            facts_digest: facts_digest(grant, signer.key_id()),
            terms_digest: terms_digest(grant, signer.key_id()),
        }
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

    /// Puts the mails that carry these versions into the outbox; their keys let no version be mailed twice by itself.
    async fn owe_license_mails(
        &self,
        tx: &mut Tx,
        due: &[Due<'_>],
        licenses: &[License],
        now: Timestamp,
    ) -> Result<(), Error> {
        let mailed = due.iter().zip(licenses).filter(|(due, _)| due.next.mail && !planted!("license-mail-forgotten"));
        let owed = mailed.map(|(due, license)| {
            let (subject, body_text) = match due.next.reason {
                Reason::TrialStarted => self.welcome_mail(due.customer, license),
                Reason::TrialExtended
                | Reason::Subscribed
                | Reason::PlanChosen
                | Reason::PlanChanged
                | Reason::Renewed
                | Reason::PaymentOverdue
                | Reason::StatusChanged
                | Reason::Reissued => self.license_mail(due.customer, license, due.next.reason.sentence()),
            };
            OwedMail {
                customer_id: &due.customer.customer_id,
                dedupe_key: Some(format!("license:{}:{}", due.customer.customer_id, license.version)),
                recipient: due.customer.email.as_str(),
                subject,
                body_text,
                forget_when_sent: false,
            }
        });
        self.owe_mails(tx, owed.collect(), now).await
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

/// The one version that was issued.
fn only(issued: Vec<License>) -> Result<License, Error> {
    let license = issued.into_iter().next();
    license.ok_or_else(|| Failure::Corrupt("a license that was just written is not there".into()).into())
}

/// What is kept of a version beside what it says.
fn made<'a>(due: &Due<'a>, signed: &'a Signed, key_id: &'a str) -> Made<'a> {
    let (caused_by, cause_detail) = due.next.cause.words();
    Made {
        token: &signed.token,
        key_id,
        reason: due.next.reason.word(),
        facts_digest: &signed.facts_digest,
        terms_digest: &signed.terms_digest,
        caused_by,
        cause_detail,
    }
}

#[cfg(test)]
mod tests;
