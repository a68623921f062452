//! Counterfoil's rules: pure functions over plain data.
//!
//! Nothing here is async, touches a disk or a network, reads a clock or draws a random number; time and chance are arguments.
//! The shell loads, asks this crate, and saves.
#![warn(missing_docs)]

pub mod checkout;
pub mod comparison;
pub mod device;
pub mod email;
pub mod entitlement;
pub mod facts;
pub mod faults;
pub mod ids;
pub mod license;
pub mod link;
pub mod listing;
pub mod manual;
pub mod password;
pub mod plan;
pub mod plan_change;
pub mod reduce;
pub mod refusal;
pub mod return_url;
pub mod signing_key;
pub mod subscription;
pub mod time;
pub mod trial;

pub use email::EmailAddress;
pub use ids::{
    ActivationId, ApiKeyId, AttemptId, CustomerId, EffectId, ExternalCustomerId, ExternalSessionId,
    ExternalSubscriptionId, IdempotencyKey, InstanceId, LicenseId, PriceId, SessionId,
};
pub use password::Password;
pub use plan::{Catalog, Interval, Plan, PlanCode, Price};
pub use reduce::reduce;
pub use refusal::Refusal;
pub use subscription::Subscription;
pub use time::Timestamp;
