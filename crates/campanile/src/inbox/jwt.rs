//! Whom a JSON Web Token names.
//!
//! Owns the one form that is read: HS256, by the secret of an app key that the header names as `kid`. Never takes an
//! algorithm from the token: `none` and every other are refused. The invariant: nothing of the claims is believed before
//! the signature is verified. By hand, because a library would bring two dozen algorithms to refuse.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use campanile_protocol::Secret;
use serde::Deserialize;

use crate::config::limits::JWT_BYTES_MAX;

/// What clocks may differ by, in seconds.
const LEEWAY_SECS: u64 = 30;

/// Why a token proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidJwt {
    #[error("jwt has more than {JWT_BYTES_MAX} bytes")]
    TooLong,
    #[error("jwt is no JSON Web Token: it has three parts, each in base64url, and a dot between any two")]
    Form,
    #[error("jwt must be signed with HS256: alg says otherwise")]
    Algorithm,
    #[error("jwt must name the app key whose secret has signed it as kid in its header")]
    NoKey,
    #[error("jwt is not signed with the secret of an active key: look at kid and the secret")]
    Signature,
    #[error("jwt has no sub: it says which user this is, as a text")]
    NoSubject,
    #[error("jwt has no exp: it says until when the token is good, in seconds since 1970")]
    NoExpiry,
    #[error("jwt is over: its exp has passed")]
    Expired,
    #[error("jwt is not good yet: its nbf is in the future")]
    NotYet,
    #[error("jwt is for somebody else: aud is not this app's id")]
    Audience,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    aud: Option<Audience>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// A token whose signature nobody has looked at.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    /// The app key that is said to have signed it.
    pub(crate) key: String,
    signed: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

/// Whom a token names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) user: String,
    /// In seconds since 1970.
    pub(crate) until: u64,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    pub(crate) fn parse(token: &'a str) -> Result<Self, InvalidJwt> {
        if token.len() > JWT_BYTES_MAX {
            return Err(InvalidJwt::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(InvalidJwt::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(InvalidJwt::Form)?;
        let header: Header = decode(header)?;
        if header.alg != "HS256" {
            return Err(InvalidJwt::Algorithm);
        }
        let key = header.kid.ok_or(InvalidJwt::NoKey)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| InvalidJwt::Form)?;
        Ok(Self { key, signed, claims, signature })
    }

    /// Whom it names, if the app's secret has signed it and it is good now.
    pub(crate) fn verify(&self, secret: &Secret, app: &str, now: u64) -> Result<Subject, InvalidJwt> {
        if !secret.verify(self.signed.as_bytes(), &hex::encode(&self.signature)) {
            return Err(InvalidJwt::Signature);
        }
        let claims: Claims = decode(self.claims)?;
        let user = claims.sub.filter(|user| !user.is_empty()).ok_or(InvalidJwt::NoSubject)?;
        let until = claims.exp.ok_or(InvalidJwt::NoExpiry)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast of a number keeps to the range"
        )]
        let seconds = |number: f64| number as u64;
        let until = seconds(until);
        if until.saturating_add(LEEWAY_SECS) <= now {
            return Err(InvalidJwt::Expired);
        }
        if claims.nbf.is_some_and(|nbf| seconds(nbf) > now + LEEWAY_SECS) {
            return Err(InvalidJwt::NotYet);
        }
        let is_ours = match &claims.aud {
            None => true,
            Some(Audience::One(one)) => one == app,
            Some(Audience::Several(several)) => several.iter().any(|one| one == app),
        };
        if !is_ours {
            return Err(InvalidJwt::Audience);
        }
        Ok(Subject { user, until: until.saturating_add(LEEWAY_SECS) })
    }
}

fn decode<T: for<'d> Deserialize<'d>>(part: &str) -> Result<T, InvalidJwt> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidJwt::Form)?;
    serde_json::from_slice(&bytes).map_err(|_| InvalidJwt::Form)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn token(header: &str, claims: &str, secret: &str) -> String {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let signed = format!("{header}.{claims}");
        let signature = hex::decode(Secret::new(secret).sign(signed.as_bytes())).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn read(token: &str) -> Result<Subject, InvalidJwt> {
        Unverified::parse(token)?.verify(&Secret::new("hush"), "shop", NOW)
    }

    const HEADER: &str = r#"{"alg":"HS256","typ":"JWT","kid":"key"}"#;

    #[test]
    fn a_token_of_the_apps_secret_names_its_user() {
        for claims in [
            r#"{"sub":"42","exp":1700000100}"#,
            r#"{"sub":"42","exp":1700000100,"nbf":1700000030,"aud":"shop","iat":1}"#,
            r#"{"sub":"42","exp":1700000100.7,"aud":["other","shop"]}"#,
        ] {
            let subject = read(&token(HEADER, claims, "hush")).unwrap();
            assert_eq!(subject, Subject { user: "42".into(), until: 1_700_000_130 }, "{claims}");
        }
    }

    #[test]
    fn whatever_else_comes_names_nobody_and_is_told_why() {
        let good = r#"{"sub":"42","exp":1700000100}"#;
        let unsigned = |alg: &str| format!("{}.{}.", URL_SAFE_NO_PAD.encode(alg), URL_SAFE_NO_PAD.encode(good));
        for (token, why) in [
            (token(HEADER, good, "other"), InvalidJwt::Signature),
            (unsigned(r#"{"alg":"none","kid":"key"}"#), InvalidJwt::Algorithm),
            (unsigned(HEADER), InvalidJwt::Signature),
            (token(r#"{"alg":"hs256","kid":"key"}"#, good, "hush"), InvalidJwt::Algorithm),
            (token(r#"{"alg":"RS256","kid":"key"}"#, good, "hush"), InvalidJwt::Algorithm),
            (token(r#"{"alg":"HS256"}"#, good, "hush"), InvalidJwt::NoKey),
            (token(HEADER, r#"{"exp":1700000100}"#, "hush"), InvalidJwt::NoSubject),
            (token(HEADER, r#"{"sub":"","exp":1700000100}"#, "hush"), InvalidJwt::NoSubject),
            (token(HEADER, r#"{"sub":"42"}"#, "hush"), InvalidJwt::NoExpiry),
            (token(HEADER, r#"{"sub":"42","exp":1699999970}"#, "hush"), InvalidJwt::Expired),
            (token(HEADER, r#"{"sub":"42","exp":-1}"#, "hush"), InvalidJwt::Expired),
            (token(HEADER, r#"{"sub":"42","exp":1700000100,"nbf":1700000031}"#, "hush"), InvalidJwt::NotYet),
            (token(HEADER, r#"{"sub":"42","exp":1700000100,"aud":"other"}"#, "hush"), InvalidJwt::Audience),
            (token(HEADER, r#"{"sub":42,"exp":1700000100}"#, "hush"), InvalidJwt::Form),
            (token(HEADER, "nonsense", "hush"), InvalidJwt::Form),
            ("a.b".to_owned(), InvalidJwt::Form),
            (String::new(), InvalidJwt::Form),
            ("a".repeat(JWT_BYTES_MAX + 1), InvalidJwt::TooLong),
        ] {
            assert_eq!(read(&token), Err(why), "{token}");
        }
    }
}
