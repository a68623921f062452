//! Licences: issuing the next version when the facts changed, and answering about versions that exist.

use counterfoil_core::entitlement::{Grant, entitlement};
use counterfoil_core::license::{Terms, facts_digest};
use counterfoil_core::{CustomerId, LicenseId, PlanCode, Refusal, Timestamp};
use counterfoil_license::{Claims, Expectations, KeySet, PublicKey, State, Verified, verify};

use super::customers::find_subscription;
use super::outbox::OwedMail;
use super::{App, Error, Failure};
use crate::db::Tx;
use crate::mail::texts::{LicenseMail, WelcomeMail};
use crate::store;
use crate::store::customers::Customer;
use crate::store::licenses::License;

/// Versions in one answer of the history.
pub const HISTORY_MAX: i64 = 100;

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
    /// Features, limits or the signing key changed.
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

    /// What the newest version and the new grant differ in.
    fn between(newest: Option<&License>, grant: &Grant) -> Self {
        match newest {
            None if grant.trial => Self::TrialExtended,
            None => Self::Subscribed,
            // A trial whose first payment fails was never subscribed to.
            Some(old) if old.status != grant.status && grant.status == "past_due" && !is_later(old, grant) => {
                Self::PaymentOverdue
            }
            Some(old) if old.trial && !grant.trial => Self::Subscribed,
            Some(old) if old.trial && old.plan != grant.plan => Self::PlanChosen,
            Some(old) if old.plan != grant.plan => Self::PlanChanged,
            Some(old) if is_later(old, grant) => match grant.trial {
                true => Self::TrialExtended,
                false => Self::Renewed,
            },
            Some(old) if old.status != grant.status => Self::StatusChanged,
            Some(_) => Self::Reissued,
        }
    }
}

/// Whether the grant reaches further than the version.
fn is_later(old: &License, grant: &Grant) -> bool {
    grant.paid_until.floor_to_second() > old.paid_until
}

/// What issuing came to.
#[derive(Debug)]
pub enum Issued {
    /// A new version, with its mail in the outbox.
    New(License),
    /// The newest version says exactly this already.
    Unchanged(License),
}

/// The answer to `validate`.
#[derive(Debug)]
pub struct Validation {
    /// Whether the product may be used with this token now.
    pub valid: bool,
    /// The stable code.
    pub code: &'static str,
    /// What the token says; only where its signature is ours.
    pub claims: Option<Claims>,
    /// Whether a newer version exists.
    pub superseded: bool,
}

impl App {
    /// Issues the next version if the grant differs from the newest one, and owes the mail, in the caller's transaction.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn issue_if_changed(
        &self,
        tx: &mut Tx,
        customer: &Customer,
        grant: &Grant,
        now: Timestamp,
    ) -> Result<Issued, Error> {
        let newest = store::licenses::find_newest(tx, &customer.customer_id).await?;
        // Replicas may sign with keys of their own: what any of them signed says the same, and is not issued again.
        let keys = store::signing_keys::list_active(tx).await?;
        let is_unchanged = |license: &License| keys.iter().any(|key| license.facts_digest == facts_digest(grant, key));
        match newest {
            Some(license) if is_unchanged(&license) => Ok(Issued::Unchanged(license)),
            newest => {
                let reason = Reason::between(newest.as_ref(), grant);
                let version = newest.map_or(FIRST_VERSION, |license| license.version + 1);
                Ok(Issued::New(self.issue_license(tx, customer, grant, version, reason, now).await?))
            }
        }
    }

    /// Issues this version, which is the one after the newest.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn issue_license(
        &self,
        tx: &mut Tx,
        customer: &Customer,
        grant: &Grant,
        version: i64,
        reason: Reason,
        now: Timestamp,
    ) -> Result<License, Error> {
        let license_id = LicenseId::from_random(self.entropy.bytes());
        let terms = Terms::draft(license_id, customer.customer_id.clone(), version, grant, now);
        let token = self.signing_key.sign(&self.claims(&terms));
        let digest = facts_digest(grant, self.signing_key.key_id());
        store::licenses::insert(tx, &terms, &token, self.signing_key.key_id(), reason.word(), &digest).await?;
        let license = License {
            license_id: terms.license_id,
            customer_id: terms.customer_id,
            version,
            token,
            plan: terms.plan,
            status: terms.status.to_owned(),
            trial: terms.trial,
            issued_at: terms.issued_at,
            expires_at: terms.expires_at,
            refresh_after: terms.refresh_after,
            paid_until: terms.paid_until,
            reason: reason.word().to_owned(),
            facts_digest: digest,
        };
        self.owe_license_mail(tx, customer, &license, reason, now).await?;
        metrics::counter!("counterfoil_licenses_issued_total", "reason" => reason.word()).increment(1);
        Ok(license)
    }

    fn claims(&self, terms: &Terms) -> Claims {
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
            status_list: None,
        }
    }

    /// Puts the mail that carries this version into the outbox; its key lets no version be mailed twice.
    async fn owe_license_mail(
        &self,
        tx: &mut Tx,
        customer: &Customer,
        license: &License,
        reason: Reason,
        now: Timestamp,
    ) -> Result<(), Error> {
        let plan_name = self.plan_name(&license.plan);
        let public_url = &self.settings.public_url;
        let (subject, body_text) = match reason {
            Reason::TrialStarted => {
                let mail = WelcomeMail {
                    product: self.settings.product_name.clone(),
                    public_url: public_url.clone(),
                    customer_name_or_email: customer.company_name.clone().unwrap_or_default(),
                    customer_id: customer.customer_id.to_string(),
                    plan_name,
                    trial_ends_on: license.paid_until.date_in_words(),
                    license_token: license.token.clone(),
                    license_works_until: license.expires_at.date_in_words(),
                    manage_url: format!("{public_url}/account"),
                };
                (mail.subject(), mail.body())
            }
            Reason::TrialExtended
            | Reason::Subscribed
            | Reason::PlanChosen
            | Reason::PlanChanged
            | Reason::Renewed
            | Reason::PaymentOverdue
            | Reason::StatusChanged
            | Reason::Reissued => {
                let mail = LicenseMail {
                    product: self.settings.product_name.clone(),
                    plan_name,
                    is_trial: license.trial,
                    reason_in_words: reason.sentence().to_owned(),
                    version: u32::try_from(license.version).unwrap_or(u32::MAX),
                    paid_until_on: license.paid_until.date_in_words(),
                    works_until_on: license.expires_at.date_in_words(),
                    license_token: license.token.clone(),
                    manage_url: format!("{public_url}/account/license"),
                    customer_id: customer.customer_id.to_string(),
                };
                (mail.subject(), mail.body())
            }
        };
        let owed = OwedMail {
            customer_id: &customer.customer_id,
            dedupe_key: Some(format!("license:{}:{}", customer.customer_id, license.version)),
            recipient: customer.email.as_str(),
            subject,
            body_text,
            forget_when_sent: false,
        };
        self.owe_mail(tx, owed, now).await
    }

    /// The name that people read for a plan; its code where the plan is gone from the catalogue.
    #[must_use]
    pub fn plan_name(&self, code: &PlanCode) -> String {
        self.catalog.find(code).map_or_else(|| code.to_string(), |plan| plan.name.clone())
    }

    /// The newest version of the customer's licence.
    ///
    /// # Errors
    /// [`Refusal::NoLicense`], or failures.
    pub async fn current_license(&self, customer_id: &CustomerId) -> Result<License, Error> {
        let mut tx = self.db.begin_read().await?;
        let license = store::licenses::find_newest(&mut tx, customer_id).await?;
        tx.rollback().await?;
        license.ok_or_else(|| Refusal::NoLicense.into())
    }

    /// The versions before `before_version`, newest first, at most [`HISTORY_MAX`].
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn license_history(&self, customer_id: &CustomerId, before_version: i64) -> Result<Vec<License>, Error> {
        let mut tx = self.db.begin_read().await?;
        let licenses = store::licenses::list(&mut tx, customer_id, before_version, HISTORY_MAX).await?;
        tx.rollback().await?;
        Ok(licenses)
    }

    /// All keys that ever signed here.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn key_set(&self) -> Result<KeySet, Error> {
        let mut tx = self.db.begin_read().await?;
        let stored = store::signing_keys::list(&mut tx).await?;
        tx.rollback().await?;
        Ok(key_set_of(&stored)?)
    }

    /// The newest licence of the customer to whom this one was issued. Any version ever issued will do, an expired one too.
    ///
    /// # Errors
    /// [`Refusal::LicenseInvalid`] for a token that is not ours, [`Refusal::NoLicense`] where nothing is entitled any more.
    pub async fn refresh_license(&self, token: &str) -> Result<License, Error> {
        let now = self.now();
        let claims = self.own_claims(token, now).await?.claims.ok_or(Refusal::LicenseInvalid)?;
        let customer_id: CustomerId = claims.customer_id.parse().map_err(|_| Refusal::LicenseInvalid)?;
        let license_id: LicenseId = claims.jti.parse().map_err(|_| Refusal::LicenseInvalid)?;
        let mut tx = self.db.begin_read().await?;
        store::customers::find(&mut tx, &customer_id).await?.ok_or(Refusal::LicenseInvalid)?;
        store::licenses::find(&mut tx, &customer_id, &license_id).await?.ok_or(Refusal::LicenseInvalid)?;
        let subscription = find_subscription(&mut tx, &customer_id).await?;
        let newest = store::licenses::find_newest(&mut tx, &customer_id).await?.ok_or(Refusal::NoLicense)?;
        tx.rollback().await?;
        entitlement(&subscription, &self.catalog, now).map_err(|_ended| Refusal::NoLicense)?;
        Ok(newest)
    }

    /// What this token is worth now, with what the server knows beyond the token itself.
    ///
    /// # Errors
    /// Failures of the database; a bad token is an answer, not an error.
    pub async fn validate_license(&self, token: &str) -> Result<Validation, Error> {
        let now = self.now();
        let verified = self.own_claims(token, now).await?;
        let code = verified.state.code();
        let Some(claims) = verified.claims.clone() else {
            return Ok(Validation { valid: false, code, claims: None, superseded: false });
        };
        let (Ok(customer_id), Ok(license_id)) = (claims.customer_id.parse(), claims.jti.parse()) else {
            return Ok(Validation { valid: false, code: "unknown_license", claims: None, superseded: false });
        };
        let mut tx = self.db.begin_read().await?;
        let issued = store::licenses::find(&mut tx, &customer_id, &license_id).await?;
        let newest = store::licenses::find_newest(&mut tx, &customer_id).await?;
        let customer = store::customers::find(&mut tx, &customer_id).await?;
        let subscription = store::subscriptions::find(&mut tx, &customer_id).await?;
        tx.rollback().await?;
        let (Some(_issued), Some(newest), Some(_customer), Some(subscription)) =
            (issued, newest, customer, subscription)
        else {
            return Ok(Validation { valid: false, code: "unknown_license", claims: None, superseded: false });
        };
        let superseded = newest.license_id != license_id;
        let (valid, code) = match (verified.entitled(), entitlement(&subscription, &self.catalog, now)) {
            (false, _) => (false, code),
            (true, Err(ended)) => (false, ended.word()),
            (true, Ok(_)) => (true, code),
        };
        Ok(Validation { valid, code, claims: Some(claims), superseded })
    }

    async fn own_claims(&self, token: &str, now: Timestamp) -> Result<Verified, Error> {
        let keys = self.key_set().await?;
        let expect = Expectations::new(&self.settings.public_url, &self.settings.product);
        let verified = verify(token, &keys, &expect, now.as_unix_seconds());
        // A claim counts only where the signature and the issuer are ours; `Invalid` covers everything else.
        Ok(match verified.state {
            State::Invalid(_) => Verified { claims: None, ..verified },
            _ => verified,
        })
    }
}

/// The key set of stored public keys.
///
/// # Errors
/// [`Failure::Corrupt`] where one is no key.
pub fn key_set_of(stored: &[String]) -> Result<KeySet, Failure> {
    let jwk = |x: &String| serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
    let keys: Result<Vec<PublicKey>, _> = stored.iter().map(|x| PublicKey::from_jwk(&jwk(x))).collect();
    keys.and_then(KeySet::new).map_err(|_| Failure::Corrupt("a stored signing key is not a key".into()))
}
