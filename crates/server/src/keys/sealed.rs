//! Private keys encrypted under a key of the operator's, so that a database that is copied gives no license away.
//!
//! ChaCha20-Poly1305 with a random nonce; what is bound to the text is the id of the key, so that one row cannot be passed off as
//! another. A form byte comes first, for the day on which there is another form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use counterfoil_license::SigningKey;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use secrecy::zeroize::Zeroizing;

use super::KeyError;

/// The only form so far.
const FORM: u8 = 1;

/// Random bytes that each sealing needs anew.
pub type Salt = [u8; NONCE_LEN];

/// Encrypts and decrypts private keys.
pub struct Sealer(LessSafeKey);

impl Sealer {
    /// The sealer of a key-encryption key: 32 bytes in base64.
    ///
    /// # Errors
    /// [`KeyError::NoEncryptionKey`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| KeyError::NoEncryptionKey)?);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_| KeyError::NoEncryptionKey)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// The private half, encrypted.
    #[must_use]
    pub fn seal(&self, key: &SigningKey, salt: Salt) -> Vec<u8> {
        let pem = key.to_pem();
        // With room for the tag nothing is moved, and no copy of the clear text is left behind.
        let mut text = Vec::with_capacity(pem.len() + CHACHA20_POLY1305.tag_len());
        text.extend_from_slice(pem.as_bytes());
        let nonce = Nonce::assume_unique_for_key(salt);
        let sealed = self.0.seal_in_place_append_tag(nonce, Aad::from(bound(key.key_id())), &mut text);
        sealed.expect("a key is far shorter than what the cipher takes");
        [&[FORM], salt.as_slice(), &text].concat()
    }

    /// The key of an encrypted private half.
    ///
    /// # Errors
    /// [`KeyError::Sealed`] where it was sealed with another key, for another id, or was altered.
    pub fn open(&self, key_id: &str, sealed: &[u8]) -> Result<SigningKey, KeyError> {
        let refused = || KeyError::Sealed { key_id: key_id.to_owned() };
        let (form, rest) = sealed.split_first().ok_or_else(refused)?;
        let (salt, text) = rest.split_at_checked(NONCE_LEN).filter(|_| *form == FORM).ok_or_else(refused)?;
        let nonce = Nonce::try_assume_unique_for_key(salt).map_err(|_| refused())?;
        let mut text = Zeroizing::new(text.to_vec());
        let pem = self.0.open_in_place(nonce, Aad::from(bound(key_id)), &mut text).map_err(|_| refused())?;
        let key = std::str::from_utf8(pem).ok().and_then(|pem| SigningKey::from_pem(pem).ok()).ok_or_else(refused)?;
        if key.key_id() == key_id { Ok(key) } else { Err(refused()) }
    }
}

fn bound(key_id: &str) -> String {
    format!("counterfoil license key {key_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn a_key_survives_its_sealing_and_nothing_else_opens_it() {
        let (sealer, key) = (Sealer::parse(KEY).unwrap(), SigningKey::from_seed(&[7; 32]));
        let sealed = sealer.seal(&key, [3; NONCE_LEN]);
        assert_eq!(sealer.open(key.key_id(), &sealed).unwrap().public(), key.public());
        assert_ne!(sealer.seal(&key, [4; NONCE_LEN]), sealed);
        let other = Sealer::parse(&STANDARD.encode([9; 32])).unwrap();
        assert!(matches!(other.open(key.key_id(), &sealed), Err(KeyError::Sealed { .. })));
        let neighbor = SigningKey::from_seed(&[8; 32]);
        assert!(sealer.open(neighbor.key_id(), &sealed).is_err(), "bound to its id");
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(sealer.open(key.key_id(), &altered).is_err(), "byte {at}");
            assert!(sealer.open(key.key_id(), &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    /// What one release has written into a database the next one has to open.
    #[test]
    fn the_form_is_what_it_was() {
        let (sealer, key) = (Sealer::parse(KEY).unwrap(), SigningKey::from_seed(&[7; 32]));
        let sealed = STANDARD
            .decode(
                "AQMDAwMDAwMDAwMDA9px0WgOQSDcl71L5CZyLqgjATQuMAbr8DXD3cSMR/tK/QeGWyhfWYRhKtVhFuW7SPJ2MnxrOkLfMuOjWiVt7Wz5gnKM\
                 khA/WepDhoz95nEv7F2q8KFR7+mSZ/rS0kHp3zFYbye+RP2E3EMNxzE+4yevjv/J8m3KJR66QY0eyMEQyDBliokUmQ==",
            )
            .unwrap();
        assert_eq!(sealer.open(key.key_id(), &sealed).unwrap().public(), key.public());
    }

    #[test]
    fn nothing_of_the_key_is_to_be_seen() {
        let (sealer, key) = (Sealer::parse(KEY).unwrap(), SigningKey::from_seed(&[7; 32]));
        let sealed = sealer.seal(&key, [3; NONCE_LEN]);
        assert!(!sealed.windows(8).any(|part| part == [7; 8]));
        assert!(!String::from_utf8_lossy(&sealed).contains("PRIVATE"));
    }

    #[test]
    fn the_encryption_key_is_32_bytes() {
        for wrong in ["", "secret", &KEY[4..], "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISI="] {
            assert!(matches!(Sealer::parse(wrong), Err(KeyError::NoEncryptionKey)), "{wrong}");
        }
        assert!(Sealer::parse(&format!("{KEY}\n")).is_ok());
    }
}
