//! What tells a repeated request from a new one: the key that its publisher gave it, and what it asks for.
//!
//! Owns the headers' names, a key's syntax and a request's fingerprint. Never knows which keys were seen. The invariant:
//! two requests have the same fingerprint only if they ask for the same, whenever and with whichever of the app's keys
//! they were signed. The field's draft is "The Idempotency-Key HTTP Header Field"; a key is taken as it stands, quotes
//! included. Read on in [`crate::signature`].

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::signature::SignedQuery;

/// The request's header, in lower case.
pub const KEY_HEADER: &str = "idempotency-key";

/// The header of an answer that is the first one again, in lower case; its value is `true`.
pub const REPLAYED_HEADER: &str = "idempotent-replayed";

/// Characters of a key.
pub const KEY_LENGTH_MAX: usize = 255;

/// The value is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Idempotency-Key must be 1 to {KEY_LENGTH_MAX} visible ASCII characters")]
pub struct InvalidKey;

/// What a publisher gave a request, to be able to repeat it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// A key of 1 to [`KEY_LENGTH_MAX`] visible ASCII characters.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidKey> {
        let is_key = (1..=KEY_LENGTH_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
        match std::str::from_utf8(value) {
            Ok(text) if is_key => Ok(Self(text.into())),
            _ => Err(InvalidKey),
        }
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The SHA-256 of all that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a request's path, its parameters but for those that prove who sent it and when, and its body.
    pub fn of(path: &str, query: &SignedQuery<'_>, body: &[u8]) -> Self {
        let mut digest = Sha256::new();
        let mut part = |bytes: &[u8]| {
            // With its length before it, no part can be taken for a piece of its neighbour.
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        part(path.as_bytes());
        for (name, value) in query.own() {
            part(name.as_bytes());
            part(value.as_bytes());
        }
        part(body);
        Self(digest.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_be_as_long_as_the_bound_and_no_longer() {
        assert_eq!(IdempotencyKey::parse(b""), Err(InvalidKey));
        assert!(IdempotencyKey::parse(b"k").is_ok());
        let longest = "k".repeat(KEY_LENGTH_MAX);
        assert_eq!(IdempotencyKey::parse(longest.as_bytes()).as_ref().map(IdempotencyKey::as_str), Ok(&*longest));
        assert_eq!(IdempotencyKey::parse(format!("{longest}k").as_bytes()), Err(InvalidKey));
    }

    #[test]
    fn a_key_has_visible_ascii_characters_and_no_others() {
        for byte in 0..=u8::MAX {
            let is_visible = (0x21..=0x7e).contains(&byte);
            assert_eq!(IdempotencyKey::parse(&[b'a', byte]).is_ok(), is_visible, "{byte:#x}");
        }
        assert_eq!(IdempotencyKey::parse("schlüssel".as_bytes()), Err(InvalidKey));
        assert_ne!(IdempotencyKey::parse(b"\"k\""), IdempotencyKey::parse(b"k"), "quotes are part of a key");
        assert_eq!(InvalidKey.to_string(), "Idempotency-Key must be 1 to 255 visible ASCII characters");
    }

    #[test]
    fn a_request_that_is_signed_again_has_the_same_fingerprint() {
        let signed = |query: &str| Fingerprint::of("/apps/1/events", &SignedQuery::parse(query), b"{}");
        let first =
            signed("auth_key=a&auth_timestamp=1&auth_version=1.0&auth_signature=00&body_md5=00&name=e&socket_id=1.2");
        assert_eq!(first, signed("socket_id=1.2&name=e&auth_key=b&auth_timestamp=2&auth_signature=11&body_md5=00"));
    }

    #[test]
    fn whatever_is_asked_for_changes_the_fingerprint() {
        let of =
            |path: &str, query: &str, body: &str| Fingerprint::of(path, &SignedQuery::parse(query), body.as_bytes());
        let all = [
            of("/apps/1/events", "", "{}"),
            of("/apps/1/batch_events", "", "{}"),
            of("/apps/1/events", "name=e", "{}"),
            of("/apps/1/events", "name=f", "{}"),
            of("/apps/1/events", "name=e&socket_id=1.2", "{}"),
            of("/apps/1/events", "", "{ }"),
            of("/apps/1/events", "", ""),
            of("/apps/1/events", "a=bc", ""),
            of("/apps/1/events", "ab=c", ""),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "{index}");
        }
    }
}
