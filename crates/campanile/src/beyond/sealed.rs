//! Encryption that only the browser can undo (RFC 8291, in the coding of RFC 8188).
//!
//! Owns the one record that a push message is. Never talks to anybody, and keeps no key: each message has its own. The
//! invariant: what leaves here can be read by the browser alone, and not by the push service on the way.
//!
//! The primitives are ring's, which TLS brings along already; the tests open what was sealed with another implementation.

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};

/// What push services take at least, and many at most.
pub const MESSAGE_BYTES_MAX: usize = 4096;

const PUBLIC_BYTES: usize = 65;
const AUTH_BYTES: usize = 16;
const SALT_BYTES: usize = 16;
const HEADER_BYTES: usize = SALT_BYTES + 4 + 1 + PUBLIC_BYTES;
const TAG_BYTES: usize = 16;
/// Marks the last record.
const LAST: u8 = 2;

/// The longest text that fits into one message.
pub const TEXT_BYTES_MAX: usize = MESSAGE_BYTES_MAX - HEADER_BYTES - TAG_BYTES - 1;

/// Why a text was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The browser's keys are not keys.
    #[error("the subscription's keys are no keys: p256dh must be a point on P-256, auth 16 bytes, both in base64url")]
    Keys,
    /// The text is too long.
    #[error("too long for a push message: {TEXT_BYTES_MAX} bytes are the most")]
    TooLong,
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
}

/// What a browser gave us with its subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserKeys {
    public: [u8; PUBLIC_BYTES],
    auth: [u8; AUTH_BYTES],
}

impl BrowserKeys {
    /// Reads `p256dh` and `auth` as `PushSubscription.toJSON()` writes them.
    ///
    /// # Errors
    ///
    /// When they have other lengths. Whether the point is on the curve shows when it is used.
    pub fn parse(p256dh: &str, auth: &str) -> Result<Self, SealError> {
        let decode = |text: &str| {
            let text = text.trim_end_matches('=');
            URL_SAFE_NO_PAD.decode(text).or_else(|_| URL_SAFE.decode(text)).map_err(|_| SealError::Keys)
        };
        let public = decode(p256dh)?.try_into().map_err(|_| SealError::Keys)?;
        let auth = decode(auth)?.try_into().map_err(|_| SealError::Keys)?;
        Ok(Self { public, auth })
    }
}

/// What is drawn for each message.
struct Drawn {
    /// Our public key of this message.
    public: [u8; PUBLIC_BYTES],
    salt: [u8; SALT_BYTES],
}

/// Seals a text for one browser.
///
/// # Errors
///
/// When it is too long, or the keys are none.
pub fn seal(keys: &BrowserKeys, text: &[u8]) -> Result<Vec<u8>, SealError> {
    let random = SystemRandom::new();
    let private = EphemeralPrivateKey::generate(&ECDH_P256, &random).map_err(|_| SealError::Random)?;
    let public = private.compute_public_key().map_err(|_| SealError::Random)?;
    let public = public.as_ref().try_into().expect("an uncompressed point of P-256 has 65 bytes");
    let mut salt = [0; SALT_BYTES];
    random.fill(&mut salt).map_err(|_| SealError::Random)?;
    let drawn = Drawn { public, salt };
    let theirs = UnparsedPublicKey::new(&ECDH_P256, keys.public);
    agree_ephemeral(private, &theirs, |shared| seal_with(keys, &drawn, shared, text)).map_err(|_| SealError::Keys)?
}

fn seal_with(keys: &BrowserKeys, drawn: &Drawn, shared: &[u8], text: &[u8]) -> Result<Vec<u8>, SealError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(SealError::TooLong);
    }
    let both = [b"WebPush: info\0".as_slice(), &keys.public, &drawn.public];
    let material: [u8; 32] = expand(&Salt::new(HKDF_SHA256, &keys.auth).extract(shared), &both);
    let secret = Salt::new(HKDF_SHA256, &drawn.salt).extract(&material);
    let key: [u8; 16] = expand(&secret, &[b"Content-Encoding: aes128gcm\0"]);
    let nonce: [u8; 12] = expand(&secret, &[b"Content-Encoding: nonce\0"]);

    let mut record = [text, &[LAST]].concat();
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).expect("a key of AES-128 has 16 bytes"));
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut record)
        .expect("a record is far shorter than AES-GCM's bound");
    let record_size = u32::try_from(MESSAGE_BYTES_MAX).expect("a small number").to_be_bytes();
    let key_length = [u8::try_from(PUBLIC_BYTES).expect("a small number")];
    Ok([drawn.salt.as_slice(), &record_size, &key_length, &drawn.public, &record].concat())
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const N: usize>(secret: &Prk, about: &[&[u8]]) -> [u8; N] {
    let mut bytes = [0; N];
    let expanded = secret.expand(about, Length(N)).expect("far below HKDF's bound");
    expanded.fill(&mut bytes).expect("as long as it was said to be");
    bytes
}

#[cfg(test)]
pub(crate) mod tests {
    use aes_gcm::aead::{Aead, KeyInit};
    use aes_gcm::{Aes128Gcm, Nonce};
    use hkdf::Hkdf;
    use p256::ecdh::diffie_hellman;
    use p256::elliptic_curve::sec1::ToSec1Point;
    use p256::{PublicKey, SecretKey};
    use sha2::Sha256;

    use super::*;

    /// A browser: it has the private key, and opens with another implementation what we have sealed.
    pub(crate) struct Browser {
        private: SecretKey,
        auth: Vec<u8>,
    }

    impl Browser {
        pub(crate) fn new(seed: u8) -> Self {
            Self { private: SecretKey::from_slice(&[seed; 32]).unwrap(), auth: vec![seed; 16] }
        }

        fn public(&self) -> Vec<u8> {
            self.private.public_key().to_sec1_point(false).as_bytes().to_vec()
        }

        pub(crate) fn p256dh(&self) -> String {
            URL_SAFE_NO_PAD.encode(self.public())
        }

        pub(crate) fn auth(&self) -> String {
            URL_SAFE_NO_PAD.encode(&self.auth)
        }

        pub(crate) fn open(&self, message: &[u8]) -> Option<Vec<u8>> {
            let (salt, rest) = message.split_at(16);
            let (size, rest) = rest.split_at(4);
            assert_eq!((size, rest[0]), ([0, 0, 16, 0].as_slice(), 65));
            let (sender, record) = rest[1..].split_at(65);
            let theirs = PublicKey::from_sec1_bytes(sender).ok()?;
            let shared = diffie_hellman(&self.private.to_nonzero_scalar(), theirs.as_affine());
            let about = [b"WebPush: info\0".as_slice(), &self.public(), sender].concat();
            let mut material = [0; 32];
            let secret = Hkdf::<Sha256>::new(Some(&self.auth), shared.raw_secret_bytes());
            secret.expand(&about, &mut material).unwrap();
            let secret = Hkdf::<Sha256>::new(Some(salt), &material);
            let (mut key, mut nonce) = ([0; 16], [0; 12]);
            secret.expand(b"Content-Encoding: aes128gcm\0", &mut key).unwrap();
            secret.expand(b"Content-Encoding: nonce\0", &mut nonce).unwrap();
            let cipher = Aes128Gcm::new_from_slice(&key).unwrap();
            let nonce = Nonce::try_from(nonce.as_slice()).unwrap();
            let mut text = cipher.decrypt(&nonce, record).ok()?;
            assert_eq!(text.pop(), Some(2));
            Some(text)
        }
    }

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text.split_whitespace().collect::<String>()).unwrap()
    }

    /// RFC 8291, section 5 and appendix A.
    const TEXT: &str = "When I grow up, I want to be a watermelon";
    const BROWSER_PRIVATE: &str = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94";
    const BROWSER_PUBLIC: &str =
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const SENDER_PUBLIC: &str =
        "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";
    const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";
    const SALT: &str = "DGv6ra1nlYgDCS1FRnbzlw";
    const SHARED: &str = "kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs";
    const MESSAGE: &str = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml
        mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT
        pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";

    #[test]
    fn the_example_of_rfc_8291_comes_out_to_the_byte() {
        let keys = BrowserKeys::parse(BROWSER_PUBLIC, AUTH).unwrap();
        let drawn = Drawn { public: bytes(SENDER_PUBLIC).try_into().unwrap(), salt: bytes(SALT).try_into().unwrap() };
        let sealed = seal_with(&keys, &drawn, &bytes(SHARED), TEXT.as_bytes()).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(sealed), MESSAGE.split_whitespace().collect::<String>());
    }

    #[test]
    fn the_browser_of_these_tests_opens_the_example_of_rfc_8291() {
        let private = SecretKey::from_slice(&bytes(BROWSER_PRIVATE)).unwrap();
        let browser = Browser { private, auth: bytes(AUTH) };
        assert_eq!(browser.p256dh(), BROWSER_PUBLIC);
        assert_eq!(browser.open(&bytes(MESSAGE)).unwrap(), TEXT.as_bytes());
    }

    #[test]
    fn what_was_sealed_is_opened_by_its_browser_and_by_no_other_and_is_never_the_same_twice() {
        let (browser, other) = (Browser::new(7), Browser::new(8));
        let keys = BrowserKeys::parse(&browser.p256dh(), &browser.auth()).unwrap();
        let sealed = seal(&keys, TEXT.as_bytes()).unwrap();
        assert_eq!(browser.open(&sealed).unwrap(), TEXT.as_bytes());
        assert_eq!(other.open(&sealed), None);
        assert_ne!(seal(&keys, TEXT.as_bytes()).unwrap(), sealed);
    }

    #[test]
    fn the_longest_text_fills_a_message_and_one_byte_more_is_refused() {
        let browser = Browser::new(9);
        let keys = BrowserKeys::parse(&browser.p256dh(), &browser.auth()).unwrap();
        let longest = vec![b'x'; TEXT_BYTES_MAX];
        let sealed = seal(&keys, &longest).unwrap();
        assert_eq!((sealed.len(), browser.open(&sealed).unwrap()), (MESSAGE_BYTES_MAX, longest));
        assert_eq!(seal(&keys, &[0; TEXT_BYTES_MAX + 1]), Err(SealError::TooLong));
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        let browser = Browser::new(3);
        let short = URL_SAFE_NO_PAD.encode([4; 64]);
        for (p256dh, auth) in [(&*short, &*browser.auth()), ("%", &browser.auth()), (&browser.p256dh(), "AAAA")] {
            assert_eq!(BrowserKeys::parse(p256dh, auth), Err(SealError::Keys));
        }
        let nowhere = URL_SAFE_NO_PAD.encode([4; 65]);
        let keys = BrowserKeys::parse(&nowhere, &browser.auth()).unwrap();
        assert_eq!(seal(&keys, b"x"), Err(SealError::Keys), "a point that is not on the curve");
        let padded = format!("{}==", browser.auth());
        assert!(BrowserKeys::parse(&format!("{}=", browser.p256dh()), &padded).is_ok());
    }
}
