//! Signatures: channels, users, HTTP requests, webhooks.
//!
//! Owns the strings that are signed and the comparison in constant time. Never shows a secret or an expected
//! signature: an error carries at most the string to sign. The invariant: verification is the only way from a query
//! to a trusted request. Source: Pusher's documentation of authentication signatures, whose worked vectors are tests.

use std::borrow::Cow;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;

use crate::limits::AUTH_TIMESTAMP_WINDOW_SECS;
use crate::name::SocketId;

/// An app's secret, ready to sign: the key schedule of HMAC-SHA256 is computed once.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Secret {
    /// Prepares a secret.
    pub fn new(secret: &str) -> Self {
        Self(Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of every length"))
    }

    /// The lower-case hexadecimal HMAC-SHA256 of these bytes.
    pub fn sign(&self, bytes: &[u8]) -> String {
        hex::encode(self.0.clone().chain_update(bytes).finalize().into_bytes())
    }

    /// Compares in constant time. A signature that is not 64 hexadecimal digits is wrong.
    pub fn verify(&self, bytes: &[u8], signature: &str) -> bool {
        let mut given = [0; 32];
        hex::decode_to_slice(signature, &mut given).is_ok()
            && self.0.clone().chain_update(bytes).verify_slice(&given).is_ok()
    }

    /// Signs a subscription: what an application's authorization endpoint answers behind `KEY:`.
    pub fn sign_channel(&self, socket_id: SocketId, channel: &str, channel_data: Option<&str>) -> String {
        self.sign(channel_string(socket_id, channel, channel_data).as_bytes())
    }

    /// Signs a user: what an application's user-authentication endpoint answers behind `KEY:`.
    pub fn sign_user(&self, socket_id: SocketId, user_data: &str) -> String {
        self.sign(user_string(socket_id, user_data).as_bytes())
    }
}

/// The string that a subscription's signature signs.
pub fn channel_string(socket_id: SocketId, channel: &str, channel_data: Option<&str>) -> String {
    match channel_data {
        Some(data) => format!("{socket_id}:{channel}:{data}"),
        None => format!("{socket_id}:{channel}"),
    }
}

/// The string that a sign-in's signature signs.
pub fn user_string(socket_id: SocketId, user_data: &str) -> String {
    format!("{socket_id}::user::{user_data}")
}

/// `KEY:SIGNATURE`, as clients bring it from the application's endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthToken<'a> {
    /// The app key that signed.
    pub key: &'a str,
    /// 64 hexadecimal digits.
    pub signature: &'a str,
}

impl<'a> AuthToken<'a> {
    /// Splits at the first colon.
    pub fn parse(auth: &'a str) -> Option<Self> {
        auth.split_once(':').map(|(key, signature)| Self { key, signature })
    }
}

/// Why a request was not accepted as signed, in words for whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A parameter that every signed request has.
    #[error(
        "query parameter {0} is missing: requests are signed with auth_key, auth_timestamp, auth_version and auth_signature"
    )]
    Missing(&'static str),
    /// Another scheme than ours.
    #[error("auth_version must be 1.0")]
    Version,
    /// Not a number, or too far from our clock.
    #[error(
        "auth_timestamp must be within {AUTH_TIMESTAMP_WINDOW_SECS} s of the server's time, which is {now}: check the clock"
    )]
    Timestamp {
        /// The server's time, in seconds since 1970.
        now: u64,
    },
    /// `body_md5` is not the body's.
    #[error("body_md5 does not match the body: a proxy or client changed it after signing, or it is missing")]
    Body,
    /// The signature is not the one that the secret gives.
    #[error("invalid signature: expected the HMAC SHA256 hex digest of {string_to_sign:?} with the secret of this key")]
    Signature {
        /// What should have been signed.
        string_to_sign: String,
    },
}

/// More parameters than any request has; each costs a look at all before it, and strangers send them, too.
pub const PARAMETERS_MAX: usize = 64;

/// A request's query, decoded, with keys in lower case and sorted.
#[derive(Debug, Clone)]
pub struct SignedQuery<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> SignedQuery<'a> {
    /// Decodes a query, as far as [`PARAMETERS_MAX`] goes: what is cut off was not signed then. `key[]=a&key[]=b` is the array `key`, whose values are joined by commas, as when it was signed.
    pub fn parse(query: &'a str) -> Self {
        let mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::with_capacity(8);
        for (key, value) in form_urlencoded::parse(query.as_bytes()).take(PARAMETERS_MAX) {
            let key = if key.bytes().any(|byte| byte.is_ascii_uppercase()) {
                Cow::Owned(key.to_ascii_lowercase())
            } else {
                key
            };
            match key.strip_suffix("[]") {
                Some(array) => match pairs.iter_mut().find(|(known, _)| known == array) {
                    Some((_, values)) => {
                        let values = values.to_mut();
                        values.push(',');
                        values.push_str(&value);
                    }
                    None => pairs.push((Cow::Owned(array.to_owned()), value)),
                },
                None => pairs.push((key, value)),
            }
        }
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        Self { pairs }
    }

    /// The value of a parameter, by its lower-case name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    /// The parameters that say what is asked for, sorted by name: without those that say by whom and when.
    pub fn own(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.pairs.iter().filter(|(name, _)| !name.starts_with("auth_") && name != "body_md5");
        own.map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The app key that the request names.
    pub fn key(&self) -> Result<&str, SignatureError> {
        self.get("auth_key").ok_or(SignatureError::Missing("auth_key"))
    }

    /// The string that this query's signature signs.
    pub fn string_to_sign(&self, method: &str, path: &str) -> String {
        let mut text = String::with_capacity(256);
        text.push_str(&method.to_ascii_uppercase());
        text.push('\n');
        text.push_str(path);
        let mut separator = '\n';
        for (key, value) in self.pairs.iter().filter(|(key, _)| key != "auth_signature") {
            text.push(separator);
            text.push_str(key);
            text.push('=');
            text.push_str(value);
            separator = '&';
        }
        if separator == '\n' {
            text.push('\n');
        }
        text
    }

    /// Checks version, clock and signature, for which no body is needed: a stranger's is not worth being held.
    /// `path` is exactly what the client sent, `now` is in seconds since 1970. [`SignedQuery::verify_body`] must follow.
    pub fn verify(&self, secret: &Secret, method: &str, path: &str, now: u64) -> Result<(), SignatureError> {
        let signature = self.get("auth_signature").ok_or(SignatureError::Missing("auth_signature"))?;
        let timestamp = self.get("auth_timestamp").ok_or(SignatureError::Missing("auth_timestamp"))?;
        match self.get("auth_version") {
            None => return Err(SignatureError::Missing("auth_version")),
            Some("1.0") => {}
            Some(_) => return Err(SignatureError::Version),
        }
        let near = timestamp.parse::<u64>().is_ok_and(|then| then.abs_diff(now) <= AUTH_TIMESTAMP_WINDOW_SECS);
        if !near {
            return Err(SignatureError::Timestamp { now });
        }
        let string_to_sign = self.string_to_sign(method, path);
        if secret.verify(string_to_sign.as_bytes(), signature) {
            Ok(())
        } else {
            Err(SignatureError::Signature { string_to_sign })
        }
    }

    /// Checks that the body is the one that was signed.
    pub fn verify_body(&self, body: &[u8]) -> Result<(), SignatureError> {
        // The signature covers `body_md5` and that covers the body. Without a body some SDKs send none, some the empty one's.
        match self.get("body_md5") {
            None if body.is_empty() => Ok(()),
            Some(given) if given.eq_ignore_ascii_case(&md5_hex(body)) => Ok(()),
            _ => Err(SignatureError::Body),
        }
    }
}

/// The lower-case hexadecimal MD5 of a request's body.
pub fn md5_hex(body: &[u8]) -> String {
    hex::encode(Md5::digest(body))
}

/// Signs a request as server SDKs do and returns the query to send. `params` are the request's own parameters.
pub fn sign_request(
    key: &str,
    secret: &Secret,
    method: &str,
    path: &str,
    params: &[(&str, &str)],
    body: &[u8],
    now: u64,
) -> String {
    let timestamp = now.to_string();
    let body_md5 = (!body.is_empty()).then(|| md5_hex(body));
    let mut encoder = form_urlencoded::Serializer::new(String::with_capacity(256));
    encoder.append_pair("auth_key", key).append_pair("auth_timestamp", &timestamp).append_pair("auth_version", "1.0");
    if let Some(md5) = &body_md5 {
        encoder.append_pair("body_md5", md5);
    }
    encoder.extend_pairs(params);
    let query = encoder.finish();
    let signature = secret.sign(SignedQuery::parse(&query).string_to_sign(method, path).as_bytes());
    format!("{query}&auth_signature={signature}")
}

#[cfg(test)]
mod tests {
    use super::*;

    // Pusher's documentation, "Generating authentication signatures".
    const KEY: &str = "278d425bdf160c739803";
    const SECRET: &str = "7ad3773142a6692b25b8";

    fn socket() -> SocketId {
        SocketId::parse("1234.1234").unwrap()
    }

    #[test]
    fn pushers_worked_channel_and_user_signatures_are_ours() {
        let secret = Secret::new(SECRET);
        assert_eq!(
            secret.sign_channel(socket(), "private-foobar", None),
            "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
        );
        let member = r#"{"user_id":10,"user_info":{"name":"Mr. Channels"}}"#;
        assert_eq!(
            secret.sign_channel(socket(), "presence-foobar", Some(member)),
            "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"
        );
        assert_eq!(
            secret.sign_user(socket(), r#"{"id":"12345"}"#),
            "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"
        );
    }

    const BODY: &str = r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
    const QUERY: &str = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0\
        &body_md5=ec365a775a4cd0599faeb73354201b6f\
        &auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";
    const THEN: u64 = 1_353_088_179;

    fn verify(query: &str, path: &str, body: &str, now: u64) -> Result<(), SignatureError> {
        let query = SignedQuery::parse(query);
        query.verify(&Secret::new(SECRET), "POST", path, now).and_then(|()| query.verify_body(body.as_bytes()))
    }

    #[test]
    fn pushers_worked_request_verifies_and_is_what_we_sign() {
        assert_eq!(verify(QUERY, "/apps/3/events", BODY, THEN), Ok(()));
        let ours = sign_request(KEY, &Secret::new(SECRET), "POST", "/apps/3/events", &[], BODY.as_bytes(), THEN);
        assert_eq!(ours, QUERY);
    }

    #[test]
    fn a_request_is_refused_when_anything_that_was_signed_has_changed() {
        assert!(matches!(verify(QUERY, "/apps/4/events", BODY, THEN), Err(SignatureError::Signature { .. })));
        assert_eq!(verify(QUERY, "/apps/3/events", "{}", THEN), Err(SignatureError::Body));
        assert_eq!(verify(QUERY, "/apps/3/events", "", THEN), Err(SignatureError::Body));
        let extra = format!("{QUERY}&info=user_count");
        assert!(matches!(verify(&extra, "/apps/3/events", BODY, THEN), Err(SignatureError::Signature { .. })));
    }

    #[test]
    fn a_timestamp_may_be_off_by_the_window_and_no_more() {
        for now in [THEN - 600, THEN + 600] {
            assert_eq!(verify(QUERY, "/apps/3/events", BODY, now), Ok(()));
        }
        for now in [THEN - 601, THEN + 601] {
            assert_eq!(verify(QUERY, "/apps/3/events", BODY, now), Err(SignatureError::Timestamp { now }));
        }
    }

    #[test]
    fn every_signed_parameter_is_required() {
        for name in ["auth_timestamp", "auth_version", "auth_signature"] {
            let query: Vec<&str> = QUERY.split('&').filter(|pair| !pair.starts_with(name)).collect();
            assert_eq!(verify(&query.join("&"), "/apps/3/events", BODY, THEN), Err(SignatureError::Missing(name)));
        }
        assert_eq!(SignedQuery::parse("").key(), Err(SignatureError::Missing("auth_key")));
    }

    #[test]
    fn a_refusal_shows_the_string_to_sign_and_no_signature() {
        let wrong = QUERY.replace("da454824", "00000000");
        let text = verify(&wrong, "/apps/3/events", BODY, THEN).unwrap_err().to_string();
        assert!(text.contains("auth_timestamp=1353088179"), "{text}");
        assert!(!text.contains("da454824") && !text.contains(SECRET), "{text}");
    }

    #[test]
    fn keys_are_lower_cased_and_sorted_and_arrays_joined_before_signing() {
        let query = SignedQuery::parse("info%5B%5D=b&Zeta=1&info[]=a&alpha=x%20y+z%26");
        assert_eq!(query.string_to_sign("get", "/p"), "GET\n/p\nalpha=x y z&&info=b,a&zeta=1");
    }

    #[test]
    fn an_empty_body_may_come_with_its_own_md5_or_none() {
        let secret = Secret::new(SECRET);
        for params in [&[][..], &[("body_md5", "d41d8cd98f00b204e9800998ecf8427e")][..]] {
            let query = sign_request(KEY, &secret, "GET", "/apps/3/channels", params, b"", THEN);
            let query = SignedQuery::parse(&query);
            let verified = query.verify(&secret, "GET", "/apps/3/channels", THEN).and_then(|()| query.verify_body(b""));
            assert_eq!(verified, Ok(()));
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", Secret::new(SECRET)), "[redacted]");
    }

    #[test]
    fn a_query_has_as_many_parameters_as_the_bound_and_the_next_is_not_signed() {
        const NOW: u64 = 1_700_000_000;
        // Beside key, time, version and signature.
        for (own, verifies) in [(PARAMETERS_MAX - 4, true), (PARAMETERS_MAX - 3, false)] {
            let names: Vec<String> = (0..own).map(|number| format!("p{number}")).collect();
            let params: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
            let secret = Secret::new(SECRET);
            let query = sign_request(KEY, &secret, "GET", "/apps/3/channels", &params, b"", NOW);
            let verified = SignedQuery::parse(&query).verify(&secret, "GET", "/apps/3/channels", NOW);
            assert_eq!(verified.is_ok(), verifies, "{own}");
        }
    }
}
