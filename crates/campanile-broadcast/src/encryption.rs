//! End-to-end encryption: the server passes on what it cannot read.
//!
//! Owns the master key, the secret of each channel that follows from it, and the sealed payload. Never sends either key
//! anywhere but, a channel's secret, to a browser that was authorized. The invariant: a nonce is drawn anew for every
//! event. The formulas are those of Pusher's libraries: `SHA-256(channel + master key)`, XSalsa20-Poly1305.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::Aead;
use crypto_secretbox::{KeyInit, XSalsa20Poly1305};
use sha2::{Digest, Sha256};

/// Bytes of a master key.
pub const MASTER_KEY_BYTES: usize = 32;

const NONCE_BYTES: usize = 24;

/// The key from which every encrypted channel's secret follows. Applications and browsers have it or what follows from
/// it; the server never does.
#[derive(Clone)]
pub struct MasterKey([u8; MASTER_KEY_BYTES]);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Why a text is no master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the master key must be {MASTER_KEY_BYTES} bytes in base64, as `openssl rand -base64 32` makes them")]
pub struct InvalidMasterKey;

/// Why a payload could not be encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no randomness")]
pub struct NoRandomness;

impl MasterKey {
    /// Decodes the base64 that Pusher's libraries take as `encryption_master_key_base64`.
    ///
    /// # Errors
    ///
    /// When it is not base64, or not of 32 bytes.
    pub fn from_base64(text: &str) -> Result<Self, InvalidMasterKey> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| InvalidMasterKey)?;
        bytes.try_into().map(Self).map_err(|_| InvalidMasterKey)
    }

    pub(crate) fn from_bytes(bytes: [u8; MASTER_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// What browsers that may subscribe to `channel` are given, in base64.
    pub fn shared_secret(&self, channel: &str) -> String {
        STANDARD.encode(self.channel_key(channel))
    }

    /// Encrypts an event's data for `channel`: the JSON that is sent in its place.
    ///
    /// # Errors
    ///
    /// When no nonce can be drawn.
    pub fn seal(&self, channel: &str, data: &str) -> Result<String, NoRandomness> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| NoRandomness)?;
        Ok(self.seal_with(channel, data, nonce))
    }

    fn seal_with(&self, channel: &str, data: &str, nonce: [u8; NONCE_BYTES]) -> String {
        let cipher = XSalsa20Poly1305::new(&self.channel_key(channel).into());
        let sealed = cipher.encrypt(&nonce.into(), data.as_bytes());
        let ciphertext = sealed.expect("a payload is far shorter than the cipher's bound of 256 GiB");
        // Base64 needs no escaping in JSON.
        format!(r#"{{"nonce":"{}","ciphertext":"{}"}}"#, STANDARD.encode(nonce), STANDARD.encode(ciphertext))
    }

    fn channel_key(&self, channel: &str) -> [u8; 32] {
        Sha256::new().chain_update(channel).chain_update(self.0).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Bytes 0 to 31; what follows was computed with Pusher's library for Node and tweetnacl, which it uses.
    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const CHANNEL: &str = "private-encrypted-orders.42";

    #[test]
    fn the_secret_of_a_channel_is_that_of_pushers_libraries() {
        let key = MasterKey::from_base64(KEY).unwrap();
        assert_eq!(key.shared_secret(CHANNEL), "1p2xOYUKMFi7esECwtVrgbYWw5p/Jyo0M/uighBM4/Y=");
        assert_ne!(key.shared_secret("private-encrypted-orders.43"), key.shared_secret(CHANNEL));
    }

    #[test]
    fn a_payload_is_sealed_as_tweetnacl_seals_it() {
        let nonce = std::array::from_fn(|at| 100 + at as u8);
        let sealed = MasterKey::from_base64(KEY).unwrap().seal_with(CHANNEL, r#"{"total":"9,50 €"}"#, nonce);
        assert_eq!(
            sealed,
            r#"{"nonce":"ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7","ciphertext":"NsdjeCI0DHV+F35o4u5rLsFfcNiMmu8ZJn9YlBjGIjyIDc88"}"#
        );
    }

    #[test]
    fn no_nonce_is_used_twice() {
        let key = MasterKey::from_base64(KEY).unwrap();
        assert_ne!(key.seal(CHANNEL, "{}").unwrap(), key.seal(CHANNEL, "{}").unwrap());
    }

    #[test]
    fn a_master_key_has_thirty_two_bytes_and_is_never_printed() {
        for bytes in [31, 33] {
            assert_eq!(MasterKey::from_base64(&STANDARD.encode(vec![0; bytes])).unwrap_err(), InvalidMasterKey);
        }
        assert!(MasterKey::from_base64("no base64").is_err());
        assert_eq!(format!("{:?}", MasterKey::from_base64(KEY).unwrap()), "[redacted]");
    }
}
