//! Sealed values: what must be kept but never read by who finds the row.
//!
//! AES-256-GCM under one key file (0600). Each sealed value carries the key's id and is bound to what it is for (the
//! associated data), so that a value moved to another row does not open.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The key, with its id.
#[derive(Clone)]
pub struct Sealer {
    cipher: Aes256Gcm,
    key_id: String,
    marks: hmac::Key,
}

/// Why a value was not sealed or opened. Never tells the value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key file cannot be read or made.
    #[error("key file {path}")]
    KeyFile {
        /// The key file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The key file is there and is not a key, or others may read it.
    #[error("key file {path}: {why}")]
    BadKeyFile {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The value was sealed under another key, for something else, or is no sealed value.
    #[error("a sealed value does not open: {0}")]
    DoesNotOpen(&'static str),
    /// The system gave no randomness, or the cipher refused.
    #[error("a value cannot be sealed")]
    CannotSeal,
}

impl Sealer {
    /// Reads the key file; makes it when there is none.
    ///
    /// # Errors
    /// [`Error::KeyFile`] and [`Error::BadKeyFile`], which names what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::KeyFile { path: path.to_owned(), source };
        let bad = |why| Error::BadKeyFile { path: path.to_owned(), why };
        if !path.exists() {
            let key: [u8; 32] = rand::random();
            let text = Zeroizing::new(BASE64.encode(key) + "\n");
            // Whole or not at all, and once: a key that only one process knows would lock values out.
            crate::files::make_once(path, text.as_bytes()).map_err(io)?;
        }
        if std::fs::metadata(path).map_err(io)?.permissions().mode() & 0o077 != 0 {
            return Err(bad("others than its owner may read it; expected mode 0600"));
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(io)?);
        let key = BASE64.decode(text.trim()).map(Zeroizing::new).map_err(|_| bad("not base64"))?;
        let key: &[u8; 32] = key.as_slice().try_into().map_err(|_| bad("expected 32 bytes"))?;
        let key_id = Sha256::digest(key).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        // A key of its own, made of this one: what is sealed is sealed with no other.
        let master = hmac::Key::new(hmac::HMAC_SHA256, key);
        let marks = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&master, b"coffer marks").as_ref());
        Ok(Self { cipher: Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)), key_id, marks })
    }

    /// A mark of `text` for `purpose`: equal texts have equal marks, and who has a mark but not the key cannot tell
    /// whether a text that he guesses is the one.
    pub fn mark(&self, purpose: &str, text: &str) -> [u8; 32] {
        let mut sign = hmac::Context::with_key(&self.marks);
        for part in [purpose.as_bytes(), &[0], text.as_bytes()] {
            sign.update(part);
        }
        let mut mark = [0; 32];
        for (to, from) in mark.iter_mut().zip(sign.sign().as_ref()) {
            *to = *from;
        }
        mark
    }

    /// Seals `value` for `purpose`, for example `generation 9f4a… service`.
    ///
    /// # Errors
    /// [`Error::CannotSeal`].
    pub fn seal(&self, purpose: &str, value: &str) -> Result<String, Error> {
        let nonce: [u8; 12] = rand::random();
        let sealed = self
            .cipher
            .encrypt(&Nonce::from(nonce), Payload { msg: value.as_bytes(), aad: purpose.as_bytes() })
            .map_err(|_| Error::CannotSeal)?;
        Ok(format!("1.{}.{}.{}", self.key_id, BASE64.encode(nonce), BASE64.encode(sealed)))
    }

    /// Opens what was sealed for `purpose`.
    ///
    /// # Errors
    /// [`Error::DoesNotOpen`].
    pub fn unseal(&self, purpose: &str, sealed: &str) -> Result<SecretString, Error> {
        let mut parts = sealed.split('.');
        let (Some("1"), Some(key_id), Some(nonce), Some(value), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Error::DoesNotOpen("not a sealed value"));
        };
        if key_id != self.key_id {
            return Err(Error::DoesNotOpen("sealed under another key"));
        }
        let malformed = |_| Error::DoesNotOpen("not base64");
        let nonce: [u8; 12] = BASE64
            .decode(nonce)
            .map_err(malformed)?
            .try_into()
            .map_err(|_| Error::DoesNotOpen("not a sealed value"))?;
        let value = BASE64.decode(value).map_err(malformed)?;
        let open = self
            .cipher
            .decrypt(&Nonce::from(nonce), Payload { msg: &value, aad: purpose.as_bytes() })
            .map_err(|_| Error::DoesNotOpen("sealed for something else, or changed"))?;
        String::from_utf8(open).map(SecretString::from).map_err(|_| Error::DoesNotOpen("not text"))
    }
}

/// A new random password: 32 letters and digits, 190 bits.
pub fn random_password() -> SecretString {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut password = Zeroizing::new(String::with_capacity(32));
    while password.len() < 32 {
        let byte: u8 = rand::random();
        // 248 is the largest multiple of 62 in a byte: no letter is likelier than another.
        if byte < 248 {
            password.push(char::from(ALPHABET[usize::from(byte) % 62]));
        }
    }
    SecretString::from(password.as_str())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_value_opens_for_its_purpose_only() {
        let folder = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(&folder.path().join("key")).unwrap();
        let sealed = sealer.seal("generation 1", "marker").unwrap();
        assert!(!sealed.contains("marker"));
        assert_eq!(sealer.unseal("generation 1", &sealed).unwrap().expose_secret(), "marker");
        assert!(sealer.unseal("generation 2", &sealed).is_err());
        for broken in ["", "1.2.3", "1.a.b.c.d", &sealed.replace("1.", "2."), &format!("{sealed}A")] {
            assert!(sealer.unseal("generation 1", broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn the_key_file_is_private_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let sealed = Sealer::open(&path).unwrap().seal("p", "v").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Sealer::open(&path).unwrap().unseal("p", &sealed).unwrap().expose_secret(), "v");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Sealer::open(&path), Err(Error::BadKeyFile { .. })));
    }

    #[test]
    fn passwords_differ_and_are_plain() {
        let (a, b) = (random_password(), random_password());
        assert_ne!(a.expose_secret(), b.expose_secret());
        assert!(
            a.expose_secret().len() == 32 && a.expose_secret().bytes().all(|b| b.is_ascii_alphanumeric())
        );
    }

    #[test]
    fn a_mark_is_of_a_text_a_purpose_and_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| Sealer::open(&folder.path().join(name)).unwrap();
        let (one, again, other) = (open("one"), open("one"), open("other"));
        let mark = one.mark("call", "text");
        assert_eq!(mark, again.mark("call", "text"));
        for different in [one.mark("call", "text "), one.mark("calls", "text"), other.mark("call", "text")] {
            assert_ne!(mark, different);
        }
        assert_ne!(one.mark("a", "bc"), one.mark("ab", "c"));
    }
}
