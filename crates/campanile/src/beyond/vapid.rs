//! Who we are to push services (RFC 8292).
//!
//! Owns the key pair, and the tokens that it signs (ES256). Never talks to anybody. The invariant: browsers subscribe for one
//! public key, so the key is made once and kept; another one ends every subscription. Read on in [`super::web_push`].

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Url;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

use super::secret_file::{self, SecretFileError};
use crate::config::Secret;

/// The key's file in `state_dir`.
pub const KEY_FILE: &str = "web-push.pem";

/// How long a token is good for; RFC 8292 allows a day.
const TOKEN_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum VapidError {
    /// The file cannot be had.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// It holds something else.
    #[error(
        "{0} holds no P-256 key in PKCS#8 PEM: restore it, or remove it to have a new one made, which ends every browser's \
         subscription"
    )]
    Damaged(String),
    /// What was configured is no pair of keys.
    #[error("not a pair of VAPID keys: {0}")]
    NotAPair(&'static str),
}

/// Our key pair.
pub struct Vapid {
    pair: EcdsaKeyPair,
    public: String,
}

impl fmt::Debug for Vapid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vapid").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Vapid {
    /// The one that is kept in this directory, made at the first time.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written, or is damaged.
    pub fn keep_in(state_dir: &Path) -> Result<Self, VapidError> {
        let path = state_dir.join(KEY_FILE);
        let pem = secret_file::read_or_make(&path, || {
            let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
            Ok(to_pem(der.map_err(|_| io::Error::other("the system gives no randomness"))?.as_ref()))
        })?;
        let damaged = || VapidError::Damaged(path.display().to_string());
        let der = from_pem(&pem).ok_or_else(damaged)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new());
        Ok(Self::new(pair.map_err(|_| damaged())?))
    }

    /// One that was made elsewhere, in the form that the usual programs print: both parts in base64url, the private one of 32
    /// bytes, the public one of 65.
    ///
    /// # Errors
    ///
    /// When they are not that, or do not belong together.
    pub fn from_parts(public: &str, private: &Secret) -> Result<Self, VapidError> {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
        let not = VapidError::NotAPair;
        let public = decode(public).map_err(|_| not("the public key is not base64url"))?;
        let private = decode(private.expose()).map_err(|_| not("the private key is not base64url"))?;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &private,
            &public,
            &SystemRandom::new(),
        );
        let wrong = "the private key has 32 bytes, the public one 65, and both belong together";
        Ok(Self::new(pair.map_err(|_| not(wrong))?))
    }

    fn new(pair: EcdsaKeyPair) -> Self {
        let public = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        Self { pair, public }
    }

    /// What browsers subscribe for: `applicationServerKey`, in base64url.
    pub fn public_key(&self) -> &str {
        &self.public
    }

    /// What `Authorization` says to the push service of this endpoint. `now` is in seconds since 1970; `contact` is whom the
    /// service may write to.
    pub fn authorization(&self, endpoint: &Url, contact: &str, now: u64) -> Result<String, String> {
        let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ES256"}"#);
        let claims = serde_json::json!({
            "aud": endpoint.origin().ascii_serialization(),
            "exp": now + TOKEN_LIFE.as_secs(),
            "sub": contact,
        });
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|_| "the system gives no randomness".to_owned())?;
        Ok(format!("vapid t={signed}.{}, k={}", URL_SAFE_NO_PAD.encode(signature), self.public))
    }
}

fn to_pem(der: &[u8]) -> String {
    const WIDTH: usize = 64;
    let encoded = STANDARD.encode(der);
    let mut pem = format!("{BEGIN}\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(WIDTH));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem + END + "\n"
}

fn from_pem(pem: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use p256::ecdsa::signature::Verifier;
    use p256::ecdsa::{Signature, VerifyingKey};

    use super::*;

    /// Checks a token with another implementation than the one that signed it, and reads its claims.
    pub(crate) fn claims(authorization: &str) -> serde_json::Value {
        let (token, key) = authorization.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&decode(header)).unwrap();
        assert_eq!(header, serde_json::json!({"typ": "JWT", "alg": "ES256"}));
        let key = VerifyingKey::from_sec1_bytes(&decode(key)).unwrap();
        key.verify(signed.as_bytes(), &Signature::from_slice(&decode(signature)).unwrap()).unwrap();
        serde_json::from_slice(&decode(claims)).unwrap()
    }

    #[test]
    fn a_token_is_for_one_push_service_and_for_half_a_day_and_its_signature_holds() {
        let directory = tempfile::tempdir().unwrap();
        let vapid = Vapid::keep_in(directory.path()).unwrap();
        let endpoint = Url::parse("https://push.example.net:8443/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV").unwrap();
        let header = vapid.authorization(&endpoint, "mailto:ops@example.com", 1_000_000).unwrap();
        assert!(header.ends_with(vapid.public_key()));
        let expected = serde_json::json!({
            "aud": "https://push.example.net:8443", "exp": 1_043_200, "sub": "mailto:ops@example.com",
        });
        assert_eq!(claims(&header), expected);
    }

    #[test]
    fn the_key_is_made_once_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let first = Vapid::keep_in(directory.path()).unwrap();
        assert_eq!(Vapid::keep_in(directory.path()).unwrap().public_key(), first.public_key());
        assert_eq!(URL_SAFE_NO_PAD.decode(first.public_key()).unwrap().len(), 65);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(Vapid::keep_in(other.path()).unwrap().public_key(), first.public_key());
    }

    #[test]
    fn a_damaged_key_is_told_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(KEY_FILE);
        for text in ["", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            fs::write(&path, text).unwrap();
            let refused = Vapid::keep_in(directory.path()).unwrap_err().to_string();
            assert!(refused.contains("holds no P-256 key"), "{refused}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    /// The pair of RFC 8291, appendix A, that is the application server's.
    const PUBLIC: &str = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";
    const PRIVATE: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";

    #[test]
    fn a_pair_of_ones_own_is_taken_and_what_does_not_belong_together_is_not() {
        let secret = |text: &str| Secret::new(text.to_owned());
        let vapid = Vapid::from_parts(PUBLIC, &secret(PRIVATE)).unwrap();
        assert_eq!(vapid.public_key(), PUBLIC);
        assert!(!format!("{vapid:?}").contains(PRIVATE));
        assert_eq!(Vapid::from_parts(&format!("{PUBLIC}="), &secret(PRIVATE)).unwrap().public_key(), PUBLIC);
        let other = tempfile::tempdir().unwrap();
        let other = Vapid::keep_in(other.path()).unwrap();
        for (public, private, why) in [
            (other.public_key(), PRIVATE, "belong together"),
            ("%%", PRIVATE, "the public key is not base64url"),
            (PUBLIC, "%%", "the private key is not base64url"),
            (PUBLIC, PUBLIC, "has 32 bytes"),
        ] {
            let refused = Vapid::from_parts(public, &secret(private)).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
