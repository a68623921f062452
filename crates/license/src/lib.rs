//! Counterfoil licenses: the token format and its offline verification.
//!
//! A vendor embeds this crate in a product. It does no I/O, reads no clock and needs no async runtime: the product passes
//! in the token, the published keys and the time, and receives a graded answer ([`State`]) with the entitlements.
//!
//! ```
//! use counterfoil_license::{Expectations, KeySet, State, verify};
//! # use counterfoil_license::{Claims, SigningKey};
//! # let key = SigningKey::from_seed(&[7; 32]);
//! # let jwks = KeySet::new([key.public()]).unwrap().to_jwks().to_string();
//! # let token = key.sign(&Claims {
//! #     iss: "https://billing.example.com".into(), sub: "cust_1".into(), customer_id: "cust_1".into(),
//! #     aud: "acme-editor".into(), iat: 1_000, nbf: 940, exp: 9_000, jti: "lic_1".into(), ver: 1,
//! #     plan: "professional".into(), status: "active".into(), trial: false, features: vec!["export".into()],
//! #     limits: [("seats".to_owned(), 5)].into(), paid_until: 8_000, grace_until: 9_000, refresh_after: 7_000,
//! #     status_list: None,
//! # });
//! # let now_unix = 2_000;
//! let keys = KeySet::from_jwks(&jwks)?;
//! let expect = Expectations::new("https://billing.example.com", "acme-editor");
//! let license = verify(&token, &keys, &expect, now_unix);
//!
//! assert_eq!(license.state, State::Valid);
//! assert!(license.entitled() && license.has_feature("export"));
//! # Ok::<(), counterfoil_license::KeySetError>(())
//! ```
//!
//! [`Verifier`] adds what a product may know beyond that: a status list, so that a refunded license stops offline
//! ([`StatusList`]), the latest time it has seen, and keys that a pinned root vouches for ([`SignedKeySet`]).
//!
//! # Why no general JWT library
//!
//! A license is a compact JWS with exactly one algorithm, Ed25519. A general library lets the token's own header take part
//! in choosing the algorithm, the key and the extensions, and each of these choices has been somebody's security hole. Here
//! nothing in the header chooses anything but which of *our* keys to try; what is left to write is short enough to read in
//! one sitting, and a product that embeds it gets one cryptographic dependency.
//!
//! # Invariants
//!
//! - Claims are handed out as verified only when the signature is good under a key of the caller's own set.
//! - [`verify`] is total: no input and no time makes it panic, and its work is bounded by [`TOKEN_BYTES_MAX`]; key sets by
//!   [`JWKS_BYTES_MAX`], status lists by [`STATUS_LIST_TOKEN_BYTES_MAX`] and [`STATUS_LIST_ENTRIES_MAX`].
//! - Any standard JWT library can verify the same token with the same key set.

#![warn(missing_docs)]

mod armor;
mod claims;
#[cfg(feature = "client")]
mod client;
mod encoding;
mod keys;
mod rooted;
#[cfg(feature = "sign")]
mod sign;
mod state;
mod status_list;
mod timeline;
mod token;
mod validation;
mod verify;
#[cfg(test)]
mod wycheproof_tests;

pub use armor::{LICENSE_FILE_BYTES_MAX, LicenseFile, LicenseFileError};
pub use claims::{Claims, StatusReference};
#[cfg(feature = "client")]
pub use client::{Client, ClientError, ClientSettings, Pin, Refreshed};
pub use keys::{JWKS_BYTES_MAX, KEYS_MAX, KeySet, KeySetError, PublicKey};
pub use rooted::{KeyState, ListedKey, RootKeyError, RootPublicKey, SignedKeySet, SignedKeySetError};
#[cfg(feature = "sign")]
pub use sign::{PemError, RootKey, SecretPem, SigningKey};
pub use state::State;
pub use status_list::{
    STATUS_LIST_ENTRIES_MAX, STATUS_LIST_TOKEN_BYTES_MAX, Status, StatusEntries, StatusList, StatusListError,
};
pub use timeline::{Phase, state_at, timeline};
pub use token::{Reason, TOKEN_BYTES_MAX};
pub use validation::{ValidationAnswer, ValidationAnswerError};
pub use verify::{Expectations, ISSUED_AHEAD_SECONDS_MAX, Trust, Verified, Verifier, inspect, verify};
