//! The issuing half: a private key and what it signs. Only the server needs it.
//!
//! The secret leaves a [`SigningKey`] by one door, [`SigningKey::to_pem`]; it is never printed, and key and PEM text wipe
//! their memory when dropped.

use std::fmt;
use std::ops::Deref;

use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::spki::der::zeroize::Zeroizing;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};

use crate::encoding::to_base64url;
use crate::rooted::{KEY_SET, RootPublicKey, SignedKeySet};
use crate::status_list::{STATUS_LIST, StatusList};
use crate::token::{ALGORITHM, Kind, LICENSE};
use crate::validation::{VALIDATION, ValidationAnswer};
use crate::{Claims, PublicKey};

/// The text is not an unencrypted Ed25519 private key in PKCS#8 PEM form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not an unencrypted Ed25519 private key in PKCS#8 PEM form (BEGIN PRIVATE KEY)")]
#[non_exhaustive]
pub struct PemError;

/// A private key in PEM form. Wiped when dropped, and never printed.
pub struct SecretPem(Zeroizing<String>);

impl SecretPem {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for SecretPem {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for SecretPem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretPem(…)")
    }
}

/// An Ed25519 key that issues licenses.
#[derive(Clone)]
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    public: PublicKey,
}

impl SigningKey {
    /// The key of a 32-byte secret seed. The seed must come from a cryptographic source of randomness.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::new(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reads an unencrypted PKCS#8 PEM, as this crate or `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// When the text is anything else. The error repeats nothing of it.
    pub fn from_pem(pem: &str) -> Result<Self, PemError> {
        // The parser wants the PEM to start at once; files often end, and sometimes start, with empty lines.
        ed25519_dalek::SigningKey::from_pkcs8_pem(pem.trim()).map(Self::new).map_err(|_| PemError)
    }

    fn new(key: ed25519_dalek::SigningKey) -> Self {
        let public = PublicKey::new(key.verifying_key());
        Self { key, public }
    }

    /// The key as PKCS#8 PEM, for safe keeping.
    pub fn to_pem(&self) -> SecretPem {
        // Without the public half this is PKCS#8 version 1; OpenSSL and many other tools refuse to read version 2.
        let pair = KeypairBytes { secret_key: self.key.to_bytes(), public_key: None };
        SecretPem(pair.to_pkcs8_pem(LineEnding::LF).expect("32 bytes always fit into PKCS#8"))
    }

    /// The key's RFC 7638 thumbprint: the `kid` of the licenses it signs.
    pub fn key_id(&self) -> &str {
        self.public.key_id()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public.clone()
    }

    /// Issues a license. The same claims always give the same token.
    ///
    /// The claims are written as they are. Whether they should be is the caller's decision, and claims that contradict
    /// each other make a token that [`crate::verify`] refuses.
    pub fn sign(&self, claims: &Claims) -> String {
        self.sign_as(&LICENSE, &serde_json::to_vec(claims).expect("claims are plain JSON"))
    }

    /// Signs a status list. What it says is the caller's decision, as with [`SigningKey::sign`].
    pub fn sign_status_list(&self, list: &StatusList) -> String {
        self.sign_as(&STATUS_LIST, &list.to_payload())
    }

    /// Signs an answer about a license, as with [`SigningKey::sign`].
    pub fn sign_validation(&self, answer: &ValidationAnswer) -> String {
        self.sign_as(&VALIDATION, &serde_json::to_vec(answer).expect("an answer is plain JSON"))
    }

    fn sign_as(&self, kind: &Kind, payload: &[u8]) -> String {
        let header = format!(r#"{{"alg":"{ALGORITHM}","typ":"{}","kid":"{}"}}"#, kind.typ, self.key_id());
        let mut token = format!("{}.{}", to_base64url(header.as_bytes()), to_base64url(payload));
        let signature = self.key.sign(token.as_bytes());
        token.push('.');
        token.push_str(&to_base64url(&signature.to_bytes()));
        debug_assert!(token.len() <= kind.bytes_max, "a text that every verifier refuses as too large");
        token
    }
}

/// The key that signs key sets: the one that products pin. Keep it offline; no server needs it.
///
/// It signs nothing else. A type of its own keeps it from being used for licenses by mistake.
#[derive(Clone, Debug)]
pub struct RootKey(SigningKey);

impl RootKey {
    /// The key of a 32-byte secret seed. The seed must come from a cryptographic source of randomness.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_seed(seed))
    }

    /// Reads an unencrypted PKCS#8 PEM; see [`SigningKey::from_pem`].
    ///
    /// # Errors
    /// When the text is anything else. The error repeats nothing of it.
    pub fn from_pem(pem: &str) -> Result<Self, PemError> {
        SigningKey::from_pem(pem).map(Self)
    }

    /// The key as PKCS#8 PEM, for safe keeping.
    pub fn to_pem(&self) -> SecretPem {
        self.0.to_pem()
    }

    /// The public half, for products to pin.
    pub fn public(&self) -> RootPublicKey {
        RootPublicKey(self.0.public())
    }

    /// Signs a key set. What it says is the caller's decision, as with [`SigningKey::sign`].
    pub fn sign(&self, keys: &SignedKeySet) -> String {
        self.0.sign_as(&KEY_SET, &keys.to_payload())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningKey").field("key_id", &self.key_id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u8; 32] = [7; 32];

    #[test]
    fn a_key_survives_its_pem() {
        let key = SigningKey::from_seed(&SEED);
        let pem = key.to_pem();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n") && pem.ends_with("-----END PRIVATE KEY-----\n"));
        for text in [pem.to_string(), pem.replace('\n', "\r\n"), pem.trim().to_owned(), format!("\n{}\n\n", &*pem)] {
            assert_eq!(SigningKey::from_pem(&text).unwrap().public(), key.public(), "{text:?}");
        }
    }

    #[test]
    fn keys_made_by_openssl_are_read_and_written_alike() {
        // The key of RFC 8410, section 10.3, as `openssl pkey` prints it.
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";
        let key = SigningKey::from_pem(pem).unwrap();
        assert_eq!(key.public().to_jwk()["x"], "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE");
        assert_eq!(&*key.to_pem(), pem);
    }

    #[test]
    fn a_version_2_key_is_read_and_its_public_half_checked() {
        let pem = |pair: KeypairBytes| pair.to_pkcs8_pem(LineEnding::LF).unwrap();
        let of = |seed: [u8; 32], public: [u8; 32]| KeypairBytes {
            secret_key: seed,
            public_key: Some(ed25519_dalek::pkcs8::PublicKeyBytes(public)),
        };
        let own = ed25519_dalek::SigningKey::from_bytes(&SEED).verifying_key().to_bytes();
        let other = ed25519_dalek::SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes();
        assert!(SigningKey::from_pem(&pem(of(SEED, own))).is_ok());
        assert_eq!(SigningKey::from_pem(&pem(of(SEED, other))).err(), Some(PemError));
    }

    #[test]
    fn other_texts_are_refused() {
        let pem = SigningKey::from_seed(&SEED).to_pem();
        for text in [
            "",
            "secret",
            &pem[1..],
            &pem[..pem.len() - 10],
            &pem.replace("PRIVATE", "PUBLIC"),
            &pem.replace("PRIVATE", "RSA PRIVATE"),
            &pem.replace("PRIVATE", "ENCRYPTED PRIVATE"),
            &pem.replacen("MC4C", "MC4D", 1),
        ] {
            assert_eq!(SigningKey::from_pem(text).err(), Some(PemError), "{text}");
        }
    }

    #[test]
    fn nothing_prints_the_secret() {
        let key = SigningKey::from_seed(&SEED);
        let root = RootKey::from_seed(&SEED);
        let shown = format!("{key:?} {:?} {:?} {root:?}", key.to_pem(), key.public());
        assert!(shown.contains(key.key_id()));
        let body = key.to_pem().lines().nth(1).unwrap().to_owned();
        for secret in [&body[20..], "07, 7", "7, 7, 7", "0707", &to_base64url(&SEED)[..20]] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
