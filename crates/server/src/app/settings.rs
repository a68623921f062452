//! What the operator chose, as far as use cases care.

use counterfoil_core::return_url::ReturnUrls;

pub use counterfoil_core::checkout::CheckoutTrial;
pub use counterfoil_core::facts::DisputePolicy;
pub use counterfoil_core::trial::TrialPer;

pub use crate::config::{
    CheckoutAuth, DuplicatePolicy, EmailVerification, Limit, OnDelete, Rate, RateLimits, StatusListSettings,
    TrustedProxies,
};

/// Settings of the use cases.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our own origin, without a slash at its end; `iss` of licences.
    pub public_url: String,
    /// The vendor's product; `aud` of licences.
    pub product: String,
    /// The product as customers call it.
    pub product_name: String,
    /// Where customers may be sent after checkout.
    pub return_urls: ReturnUrls,
    /// Who may start a checkout.
    pub checkout_auth: CheckoutAuth,
    /// What an open dispute means for the licence.
    pub dispute_policy: DisputePolicy,
    /// What happens to a second subscription.
    pub duplicate_policy: DuplicatePolicy,
    /// What becomes of the provider's customer when an account is deleted.
    pub on_delete: OnDelete,
    /// What becomes of a trial where the customer pays before its end.
    pub checkout_trial: CheckoutTrial,
    /// Whether an address has to be verified before its trial gives a licence.
    pub email_verification: EmailVerification,
    /// Who shares one trial.
    pub trial_per: TrialPer,
    /// Whether customers are told by mail that their trial ends.
    pub trial_reminders: bool,
    /// Where status lists lie, and how long they live.
    pub status_list: StatusListSettings,
    /// How often strangers and customers may try.
    pub rate_limits: RateLimits,
    /// Proxies whose word on a client's address is taken.
    pub trusted_proxies: TrustedProxies,
    /// Whether this is the sandbox: no real money, mails are kept.
    pub sandbox: bool,
}
