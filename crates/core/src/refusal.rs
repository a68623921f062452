//! Every business "no", in one place. A refusal is an answer, not a failure: it has a stable code, a sentence that is safe to
//! show, and nothing was changed.

use crate::email::InvalidEmail;
use crate::password::WeakPassword;
use crate::time::Timestamp;

/// A business no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The e-mail address cannot be one.
    #[error("The e-mail address is not valid: {0}.")]
    InvalidEmail(#[from] InvalidEmail),
    /// The password is too weak.
    #[error("The password is not accepted: {0}.")]
    WeakPassword(#[from] WeakPassword),
    /// A text of the request is too long or has characters that it cannot have.
    #[error("The field `{field}` is not accepted: {reason}.")]
    InvalidField {
        /// The field's name in the request.
        field: &'static str,
        /// What to change.
        reason: &'static str,
    },
    /// Somebody has this address already.
    #[error("There is already an account with this e-mail address. Log in, or use another address.")]
    EmailTaken,
    /// E-mail and password do not belong together; which one is wrong is not told.
    #[error("E-mail address or password is wrong.")]
    InvalidCredentials,
    /// The licence waits until the address is verified.
    #[error(
        "The e-mail address is not verified yet, and the license is given once it is: open the link in the mail that was sent \
         to it, or ask for another one with POST /api/customers/email/verify/resend."
    )]
    EmailNotVerified,
    /// There is nothing to verify.
    #[error("The e-mail address is verified already. There is nothing to do.")]
    EmailAlreadyVerified,
    /// The password that was given to confirm a change is not the account's.
    #[error("The current password is wrong. Nothing was changed.")]
    WrongPassword,
    /// The link from a mail was used, has run out, or a newer one took its place; which of these is not told.
    #[error("The link does not work any more: it was used, has run out, or a newer one was sent. Ask for a new one.")]
    LinkInvalid,
    /// No session or key came with the request, or it has ended.
    #[error("Log in first: send the session cookie, or the token as `Authorization: Bearer …`.")]
    NotSignedIn,
    /// No operator's key came with the request, or it was revoked.
    #[error(
        "Send an operator's API key as `Authorization: Bearer …`. `counterfoil admin create-key --scope read` makes one."
    )]
    OperatorKeyMissing,
    /// The key may not do this.
    #[error("This API key has no permission for this call.")]
    ScopeMissing,
    /// No such customer, or not one of the caller's.
    #[error("There is no customer with this customer_id.")]
    CustomerUnknown,
    /// No such API key.
    #[error("There is no API key with this key_id. `counterfoil admin list-keys` lists them.")]
    ApiKeyUnknown,
    /// No such event.
    #[error("There is no event with this id.")]
    EventUnknown,
    /// No such job.
    #[error("There is no job with this id.")]
    JobUnknown,
    /// The job is done or was given up for good.
    #[error("This job is over: it is {state}.")]
    JobDone {
        /// Its state.
        state: &'static str,
    },
    /// No such plan.
    #[error("There is no plan `{asked}`. Plans that can be bought: {}.", known.join(", "))]
    PlanUnknown {
        /// What was asked for.
        asked: String,
        /// The plans that can be bought.
        known: Vec<String>,
    },
    /// The plan has no price.
    #[error("The plan `{plan}` cannot be bought. Plans that can be bought: {}.", known.join(", "))]
    PlanNotForSale {
        /// The plan asked for.
        plan: String,
        /// The plans that can be bought.
        known: Vec<String>,
    },
    /// The plan has no price for this interval.
    #[error("The plan `{plan}` has no price per {interval}. It is sold per: {}.", known.join(", "))]
    IntervalUnavailable {
        /// The plan asked for.
        plan: String,
        /// The interval asked for.
        interval: String,
        /// The intervals that the plan is sold for.
        known: Vec<String>,
    },
    /// The plan has no price in this currency.
    #[error("The plan `{plan}` is not sold in {currency}. It is sold in: {}.", known.join(", "))]
    CurrencyUnavailable {
        /// The plan asked for.
        plan: String,
        /// The currency asked for.
        currency: String,
        /// The currencies that the plan is sold in.
        known: Vec<String>,
    },
    /// The customer has paid in another currency before.
    #[error(
        "This customer pays in {locked}, and this price is in {wanted}: a customer has one currency only. Choose a plan that is \
         sold in {locked}, or sign up with another account to pay in {wanted}."
    )]
    CurrencyLocked {
        /// The customer's currency.
        locked: String,
        /// The currency of the price.
        wanted: String,
    },
    /// The return URL leads to an origin that is not on the list.
    #[error(
        "`{field}` must be an absolute http(s) URL whose origin is this service's own or one of the allowed return origins \
         (COUNTERFOIL_ALLOWED_RETURN_ORIGINS)."
    )]
    ReturnUrlNotAllowed {
        /// `success_url` or `cancel_url`.
        field: &'static str,
    },
    /// There is a live subscription; a second one would be charged as well.
    #[error("This customer already has a subscription. Change the plan of that one instead of buying another.")]
    AlreadySubscribed,
    /// The customer went through checkout, and the money is still on its way.
    #[error("A payment of this customer is still being confirmed. Wait for it before starting another checkout.")]
    PaymentPending,
    /// There is no live subscription that could be changed.
    #[error("There is no running subscription. Start one by a checkout.")]
    NoSubscription,
    /// The subscription has this plan and this interval already.
    #[error("The subscription already has this plan and this interval.")]
    SamePlan,
    /// The subscription cannot be changed as it stands.
    #[error("The subscription cannot be changed: {reason}.")]
    ChangeNotPossible {
        /// Why, and what to do first.
        reason: &'static str,
    },
    /// No end is planned, and nothing is paused.
    #[error("There is nothing to resume: the subscription runs, and no end is planned.")]
    NothingToResume,
    /// A subscription runs that would go on being charged.
    #[error(
        "A subscription is running. End it first, or say `end_subscription`: then it ends at once, and what is left of its \
         period is not paid back."
    )]
    SubscriptionRunning,
    /// The card was refused.
    #[error("The payment was declined, and nothing was changed. Update the payment details and try again.")]
    PaymentDeclined,
    /// The customer has never been at the payment provider.
    #[error("There is nothing to manage yet: this customer has never paid anything.")]
    NoBilling,
    /// The trial cannot be made longer.
    #[error("The trial cannot be extended: {reason}.")]
    TrialNotExtendable {
        /// Why, and what to do instead.
        reason: &'static str,
    },
    /// Nothing of this customer's is paid by invoice.
    #[error("This customer has no running subscription that is paid by invoice. Start one first.")]
    NoAgreement,
    /// This very payment or refund is recorded.
    #[error("This reference is recorded already for this customer, and nothing was recorded a second time.")]
    AlreadyRecorded,
    /// There is no licence to give: no trial and no paid period.
    #[error("There is no license for this customer at the moment: neither a trial nor a paid period runs.")]
    NoLicense,
    /// An operator has revoked it.
    #[error("The license was revoked by the vendor, and no other one is issued. Contact the vendor.")]
    LicenseRevoked,
    /// The account is gone, and nothing comes after it.
    #[error("The account of this customer was deleted, and its licenses with it.")]
    CustomerDeleted,
    /// The token is not one of ours.
    #[error("The token is not a license issued here.")]
    LicenseInvalid,
    /// It is one of ours, and the product may not be used with it now.
    #[error(
        "The license is not valid now (`{why}`). Take the newest one with POST /api/licenses/refresh; where there is none, see \
         that a plan runs and is paid."
    )]
    LicenseNotValid {
        /// The code that `validate` answers.
        why: &'static str,
    },
    /// As many machines as the plan allows.
    #[error(
        "This license is activated on as many machines as it may be: {limit}. Release one on the license page, or with POST \
         /api/licenses/activations/release, and try again."
    )]
    ActivationLimitReached {
        /// How many these are.
        limit: i64,
    },
    /// No such activation, or not one of the caller's.
    #[error("There is no activation with this id. GET /api/licenses/activations lists them.")]
    ActivationUnknown,
    /// No such session, or not one of the caller's.
    #[error("There is no session with this id. GET /api/customers/sessions lists them.")]
    SessionUnknown,
    /// No version has a place in a status list of this number.
    #[error("There is no status list of this number.")]
    StatusListUnknown,
    /// It was signed with a key that somebody else has.
    #[error(
        "The license was signed with a key that is not trusted any more. Take the newest license from a mail or the license page."
    )]
    LicenseKeyCompromised,
    /// No such signing key.
    #[error("There is no signing key with this id. `counterfoil keys list` lists them.")]
    SigningKeyUnknown,
    /// The key is not in a state from which this is possible.
    #[error("The signing key is {state}: {advice}.")]
    SigningKeyState {
        /// Its state.
        state: &'static str,
        /// What to do instead.
        advice: &'static str,
    },
    /// A key waits for its time already.
    #[error("The signing key {key_id} is pending already. Rotate to it, or retire it first.")]
    SigningKeyPending {
        /// The one that waits.
        key_id: String,
    },
    /// Not everybody who keeps a copy of the published keys can know this one.
    #[error(
        "The signing key was published a moment ago, and those who keep a copy of the published keys may not know it. \
         Rotate after {ready_at}, or with `--now` if some of them may fail until they fetch the keys again."
    )]
    SigningKeyTooYoung {
        /// From when on everybody knows it.
        ready_at: Timestamp,
    },
    /// Products that pin the root would not know the key.
    #[error(
        "The installed key set of the root does not list the signing key {key_id}: products that pin the root would refuse its \
         licenses. Sign a new set (`counterfoil keys root sign`) and install it first, or say `--force`."
    )]
    SigningKeyNotListed {
        /// The key.
        key_id: String,
    },
    /// Two changed the keys at once.
    #[error(
        "Somebody else changed the signing keys at this moment. Nothing was changed; look at them and decide again."
    )]
    SigningKeysChanged,
    /// A signed key set that would do harm.
    #[error("The key set is not accepted: {reason}.")]
    KeySetRefused {
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// No root signs the keys here.
    #[error("No key set of a root is installed here. The plain keys are at /.well-known/jwks.json.")]
    NoKeySet,
    /// The same thing was asked for too often.
    #[error("Too many attempts. Try again in {retry_after_seconds} seconds.")]
    TooManyRequests {
        /// When to try again.
        retry_after_seconds: u32,
    },
}

impl Refusal {
    /// The stable code, part of the public contract.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidEmail(_) => "invalid_email",
            Self::WeakPassword(_) => "weak_password",
            Self::InvalidField { .. } => "invalid_field",
            Self::EmailTaken => "email_taken",
            Self::InvalidCredentials => "invalid_credentials",
            Self::EmailNotVerified => "email_not_verified",
            Self::EmailAlreadyVerified => "email_already_verified",
            Self::WrongPassword => "wrong_password",
            Self::LinkInvalid => "link_invalid",
            Self::NotSignedIn => "not_signed_in",
            Self::OperatorKeyMissing => "operator_key_missing",
            Self::ScopeMissing => "scope_missing",
            Self::CustomerUnknown => "customer_not_found",
            Self::ApiKeyUnknown => "api_key_not_found",
            Self::EventUnknown => "event_not_found",
            Self::JobUnknown => "job_not_found",
            Self::JobDone { .. } => "job_is_over",
            Self::PlanUnknown { .. } => "plan_unknown",
            Self::PlanNotForSale { .. } => "plan_not_for_sale",
            Self::IntervalUnavailable { .. } => "interval_unavailable",
            Self::CurrencyUnavailable { .. } => "currency_unavailable",
            Self::CurrencyLocked { .. } => "currency_locked",
            Self::ReturnUrlNotAllowed { .. } => "return_url_not_allowed",
            Self::AlreadySubscribed => "already_subscribed",
            Self::PaymentPending => "payment_pending",
            Self::NoSubscription => "no_subscription",
            Self::SamePlan => "same_plan",
            Self::ChangeNotPossible { .. } => "change_not_possible",
            Self::NothingToResume => "nothing_to_resume",
            Self::SubscriptionRunning => "subscription_running",
            Self::PaymentDeclined => "payment_declined",
            Self::NoBilling => "no_billing",
            Self::TrialNotExtendable { .. } => "trial_not_extendable",
            Self::NoAgreement => "no_agreement",
            Self::AlreadyRecorded => "already_recorded",
            Self::NoLicense => "no_license",
            Self::LicenseRevoked => "license_revoked",
            Self::CustomerDeleted => "customer_deleted",
            Self::LicenseInvalid => "license_invalid",
            Self::LicenseNotValid { .. } => "license_not_valid",
            Self::ActivationLimitReached { .. } => "activation_limit_reached",
            Self::ActivationUnknown => "activation_not_found",
            Self::SessionUnknown => "session_not_found",
            Self::StatusListUnknown => "status_list_not_found",
            Self::LicenseKeyCompromised => "key_compromised",
            Self::SigningKeyUnknown => "signing_key_not_found",
            Self::SigningKeyState { .. } => "signing_key_state",
            Self::SigningKeyPending { .. } => "signing_key_pending",
            Self::SigningKeyTooYoung { .. } => "signing_key_too_young",
            Self::SigningKeyNotListed { .. } => "signing_key_not_listed",
            Self::SigningKeysChanged => "signing_keys_changed",
            Self::KeySetRefused { .. } => "key_set_refused",
            Self::NoKeySet => "no_key_set",
            Self::TooManyRequests { .. } => "too_many_requests",
        }
    }

    /// The field of the request that the refusal is about, where there is one.
    #[must_use]
    pub const fn field(&self) -> Option<&'static str> {
        match self {
            Self::InvalidEmail(_) | Self::EmailTaken => Some("email"),
            Self::WeakPassword(_) => Some("password"),
            Self::InvalidField { field, .. } | Self::ReturnUrlNotAllowed { field } => Some(field),
            Self::PlanUnknown { .. } | Self::PlanNotForSale { .. } => Some("plan"),
            Self::IntervalUnavailable { .. } => Some("interval"),
            Self::CurrencyUnavailable { .. } | Self::CurrencyLocked { .. } => Some("currency"),
            Self::CustomerUnknown => Some("customer_id"),
            Self::ApiKeyUnknown => Some("key_id"),
            Self::WrongPassword => Some("current_password"),
            Self::LicenseInvalid | Self::LicenseNotValid { .. } | Self::LicenseKeyCompromised | Self::LinkInvalid => {
                Some("token")
            }
            Self::ActivationUnknown => Some("activation_id"),
            Self::SessionUnknown => Some("session_id"),
            Self::AlreadyRecorded => Some("reference"),
            Self::InvalidCredentials
            | Self::EmailNotVerified
            | Self::EmailAlreadyVerified
            | Self::NotSignedIn
            | Self::OperatorKeyMissing
            | Self::ScopeMissing
            | Self::EventUnknown
            | Self::JobUnknown
            | Self::JobDone { .. }
            | Self::AlreadySubscribed
            | Self::PaymentPending
            | Self::NoSubscription
            | Self::SamePlan
            | Self::ChangeNotPossible { .. }
            | Self::NothingToResume
            | Self::SubscriptionRunning
            | Self::PaymentDeclined
            | Self::NoBilling
            | Self::TrialNotExtendable { .. }
            | Self::NoAgreement
            | Self::NoLicense
            | Self::LicenseRevoked
            | Self::ActivationLimitReached { .. }
            | Self::StatusListUnknown
            | Self::SigningKeyUnknown
            | Self::SigningKeyState { .. }
            | Self::SigningKeyPending { .. }
            | Self::SigningKeyTooYoung { .. }
            | Self::SigningKeyNotListed { .. }
            | Self::SigningKeysChanged
            | Self::KeySetRefused { .. }
            | Self::NoKeySet
            | Self::CustomerDeleted
            | Self::TooManyRequests { .. } => None,
        }
    }
}
