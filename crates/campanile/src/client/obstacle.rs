//! What stands between a command and its server, and what to do about it.
//!
//! Owns the reading of errors and refusals as one of a few causes, and one sentence of advice for each. Never
//! connects, and never waits. The invariant: advice names where the value at fault was found, so that it can be
//! corrected there; where the cause is not known there is none. Next: `target.rs` for those places.

use std::error::Error;
use std::fmt;
use std::io;

use rustls::CertificateError;

use crate::target::{Source, Target};

/// Why it does not work, as far as can be told from here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Obstacle {
    /// Nobody listens on the port.
    Refused,
    /// The host's name has no address.
    NoSuchHost,
    /// We spoke TLS, and the port does not.
    NoTls,
    /// We spoke plainly, and the port wants TLS.
    WantsTls,
    /// We spoke plainly, and the other end hung up without a word.
    HungUp,
    /// The certificate was signed by nobody that this machine trusts.
    UnknownAuthority,
    /// This machine trusts nobody.
    NoAuthorities,
    /// The certificate may sign others and is used as if it were a server's.
    AuthorityAsServer,
    /// The certificate is for other names.
    WrongName,
    /// The certificate has expired, or is not valid yet.
    WrongTime,
    /// The server knows another secret for the key.
    WrongSecret,
    /// The server does not know the key.
    UnknownKey,
    /// The server does not know the app.
    UnknownApp,
    /// The server's clock and ours differ.
    Clock,
    /// Whatever answers there speaks something else.
    NotPusher,
}

impl Obstacle {
    /// Looks through an error and what caused it.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(obstacle) = Self::of_one(error) {
                return Some(obstacle);
            }
            cause = error.source();
        }
        None
    }

    fn of_one(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Self::of_tls(error);
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return match (error.is_parse(), error.is_incomplete_message()) {
                (true, _) => Some(Self::NotPusher),
                (_, true) => Some(Self::HungUp),
                _ => None,
            };
        }
        let error = error.downcast_ref::<io::Error>()?;
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Some(Self::Refused),
            // What rustls' connector calls an end before the handshake was complete.
            io::ErrorKind::UnexpectedEof if error.to_string().contains("tls handshake") => Some(Self::NoTls),
            // The resolver's errors have no kind of their own.
            _ if error.to_string().starts_with("failed to lookup address") => Some(Self::NoSuchHost),
            // An error inside an error is not its source.
            _ => error.get_ref().and_then(|inner| Self::of(inner)),
        }
    }

    fn of_tls(error: &rustls::Error) -> Option<Self> {
        match error {
            rustls::Error::InvalidMessage(_) => Some(Self::NoTls),
            // The verifier's own words.
            rustls::Error::General(text) if text.starts_with("No CA certificates") => Some(Self::NoAuthorities),
            rustls::Error::InvalidCertificate(error) => match error {
                // A root of the same name as a certificate that signed itself makes its signature "bad".
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Some(Self::UnknownAuthority),
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Some(Self::WrongName)
                }
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Some(Self::WrongTime),
                // The verifier has no public name for this one.
                other if other.to_string().contains("CaUsedAsEndEntity") => Some(Self::AuthorityAsServer),
                _ => None,
            },
            _ => None,
        }
    }

    /// What an HTTP status and the words beside it mean on a path of the API.
    pub(super) fn of_refusal(status: u16, message: &str) -> Option<Self> {
        let message = message.to_lowercase();
        match status {
            400 => wants_tls(&message).then_some(Self::WantsTls),
            // The words of a refused signature name the parameters that it covers, so it comes first.
            401 if message.contains("signature") => Some(Self::WrongSecret),
            401 if message.contains("timestamp") => Some(Self::Clock),
            401 if message.contains("key") => Some(Self::UnknownKey),
            404 if message.contains("app") && !message.contains("no such path") => Some(Self::UnknownApp),
            404 | 405 | 501 => Some(Self::NotPusher),
            _ => None,
        }
    }

    /// What an HTTP status and the words beside it mean in place of a WebSocket.
    pub(super) fn of_no_upgrade(status: u16, message: &str) -> Option<Self> {
        match status {
            400 if wants_tls(&message.to_lowercase()) => Some(Self::WantsTls),
            200 | 403..=405 => Some(Self::NotPusher),
            _ => None,
        }
    }

    /// Whether trying again, as a browser does, would be no use: what a restarting server does not show.
    pub(crate) fn is_final(self) -> bool {
        !matches!(self, Self::Refused | Self::NoSuchHost | Self::HungUp)
    }

    /// What to do, for who asked this of `target`.
    pub(crate) fn advice(self, target: &Target) -> String {
        let sources = &target.sources;
        let place = target.authority();
        match self {
            Self::Refused => format!(
                "nobody listens on {place}: is the server running there? `campanile serve` says where it listens; \
                 --host and --port say where to look"
            ),
            Self::NoSuchHost => {
                format!("no address is known for {:?}, which is the host by {}", target.host, sources.host)
            }
            Self::NoTls => format!(
                "{place} does not speak TLS, or hung up on it: {}, or give the port that does with --port",
                match &sources.tls {
                    Source::Flag(flag) => format!("leave out {flag}"),
                    Source::Variable(name) => format!("set {name}=http"),
                    Source::File(path) => format!("{} has a [tls] that the running server has not", path.display()),
                    Source::Default => "connect without".to_owned(),
                }
            ),
            Self::WantsTls => format!(
                "{place} speaks TLS: add --tls{}",
                match &sources.tls {
                    Source::Variable(name) => format!(", or set {name}=https"),
                    _ => ", or set PUSHER_SCHEME=https".to_owned(),
                }
            ),
            Self::HungUp => format!("if {place} speaks TLS, add --tls; if it is a proxy, it may not let us through"),
            Self::UnknownAuthority => "the certificate is signed by itself, or by an authority that this machine does \
                 not trust. If it is yours, name it, or the authority's, for this command: \
                 SSL_CERT_FILE=/path/to/cert.pem; the file then stands in for the system's certificates"
                .to_owned(),
            Self::NoAuthorities => {
                "this machine has no certificates of authorities, or SSL_CERT_FILE and SSL_CERT_DIR \
                 name none: install the package ca-certificates, or name the server's own certificate with \
                 SSL_CERT_FILE=/path/to/cert.pem"
                    .to_owned()
            }
            Self::AuthorityAsServer => {
                "the certificate is an authority's own (CA:TRUE), which TLS clients refuse from \
                 a server: make one with basicConstraints=CA:FALSE, as in `openssl req -x509 -addext \
                 basicConstraints=critical,CA:FALSE ..`, and trust it here with SSL_CERT_FILE=/path/to/cert.pem"
                    .to_owned()
            }
            Self::WrongName => format!(
                "the certificate is not for {:?}: connect by a name that it holds (the host is from: {}), or make one \
                 with this name as subjectAltName",
                target.host, sources.host
            ),
            Self::WrongTime => {
                "the certificate has expired, or is not valid yet: renew it, and let the server read it \
                 again with SIGHUP; or set this machine's clock"
                    .to_owned()
            }
            Self::WrongSecret => format!(
                "the server has another secret for the key {:?} than the one here ({}): compare both, without spaces \
                 or quotes around them",
                target.key, sources.secret
            ),
            Self::UnknownKey => format!(
                "the server has no active key {:?} for this app (the key is from: {}): `campanile check --config \
                 FILE` shows the keys of the server's file, and --config takes them from it here",
                target.key, sources.key
            ),
            Self::UnknownApp => format!(
                "the server has no app {:?} (the id is from: {}): `campanile check --config FILE` shows those of \
                 the server's file, and --config takes them from it here",
                target.app_id, sources.app_id
            ),
            Self::Clock => "the clocks of this machine and the server differ: synchronise both".to_owned(),
            Self::NotPusher => format!(
                "what answers on {place} is no server of the Pusher protocol, or its paths have another prefix \
                 (--path-prefix){}; port {} is from: {}",
                if target.tls { "" } else { ", or it speaks TLS (--tls)" },
                target.port,
                sources.port
            ),
        }
    }
}

/// What went wrong, in full: whom it was asked of and as whom, and what to do where that is known.
pub(crate) fn explained(error: &dyn fmt::Display, obstacle: Option<Obstacle>, target: &Target) -> String {
    let advice = obstacle.map_or_else(String::new, |obstacle| format!("\n  hint: {}", obstacle.advice(target)));
    format!("{error}\n  {}{advice}", target.account())
}

/// Whether a server that speaks TLS says so, in the words of ours, nginx, Apache or Go.
fn wants_tls(message: &str) -> bool {
    message.contains("tls") || message.contains("https")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::TargetArgs;

    fn target(args: TargetArgs, variables: &[(&str, &str)]) -> Target {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Target::find(&args, variables).unwrap()
    }

    #[test]
    fn a_cause_is_found_however_deep_it_lies() {
        let tls = |error| io::Error::new(io::ErrorKind::InvalidData, rustls::Error::InvalidCertificate(error));
        for (error, obstacle) in [
            (io::ErrorKind::ConnectionRefused.into(), Some(Obstacle::Refused)),
            (io::Error::other(tls(CertificateError::UnknownIssuer)), Some(Obstacle::UnknownAuthority)),
            (tls(CertificateError::NotValidForName), Some(Obstacle::WrongName)),
            (tls(CertificateError::Expired), Some(Obstacle::WrongTime)),
            (tls(CertificateError::Revoked), None),
            (io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof"), Some(Obstacle::NoTls)),
            (io::Error::other("failed to lookup address information: no"), Some(Obstacle::NoSuchHost)),
            (io::ErrorKind::ConnectionReset.into(), None),
        ] {
            assert_eq!(Obstacle::of(&error), obstacle, "{error}");
        }
    }

    #[test]
    fn refusals_of_several_servers_are_understood() {
        for (status, message, obstacle) in [
            (400, "this port speaks TLS: use https or wss", Some(Obstacle::WantsTls)),
            (400, "Client sent an HTTP request to an HTTPS server.", Some(Obstacle::WantsTls)),
            (400, "data is missing", None),
            (401, "invalid signature: expected .. auth_key=a&auth_timestamp=1 ..", Some(Obstacle::WrongSecret)),
            (401, "Authentication signature invalid.", Some(Obstacle::WrongSecret)),
            (401, "auth_timestamp must be within 600 s", Some(Obstacle::Clock)),
            (401, "auth_key is not an active key of the app of this path", Some(Obstacle::UnknownKey)),
            (404, "there is no app with the id of this path", Some(Obstacle::UnknownApp)),
            (404, "there is no such path: the API's paths begin with /apps/<app id>/", Some(Obstacle::NotPusher)),
            (404, "File not found", Some(Obstacle::NotPusher)),
            (501, "Error response", Some(Obstacle::NotPusher)),
            (413, "too long", None),
            (503, "no room", None),
        ] {
            assert_eq!(Obstacle::of_refusal(status, message), obstacle, "{status} {message}");
        }
        assert_eq!(Obstacle::of_no_upgrade(400, "this port speaks TLS: use https or wss"), Some(Obstacle::WantsTls));
        assert_eq!(Obstacle::of_no_upgrade(404, ""), Some(Obstacle::NotPusher));
        assert_eq!(Obstacle::of_no_upgrade(502, ""), None);
    }

    #[test]
    fn advice_names_the_place_to_correct() {
        let by_flag = target(TargetArgs { tls: true, ..TargetArgs::default() }, &[]);
        assert!(Obstacle::NoTls.advice(&by_flag).contains("leave out --tls"));
        let by_name = target(TargetArgs::default(), &[("PUSHER_SCHEME", "https"), ("PUSHER_APP_SECRET", "s3cr3t")]);
        assert!(Obstacle::NoTls.advice(&by_name).contains("set PUSHER_SCHEME=http,"));
        let advice = Obstacle::WrongSecret.advice(&by_name);
        assert!(advice.contains("(PUSHER_APP_SECRET)") && !advice.contains("s3cr3t"), "{advice}");
        assert!(Obstacle::UnknownKey.advice(&by_name).contains("from: development default"));
        assert!(Obstacle::UnknownAuthority.advice(&by_flag).contains("SSL_CERT_FILE="));
        assert!(Obstacle::AuthorityAsServer.advice(&by_flag).contains("SSL_CERT_FILE="));
    }

    #[test]
    fn what_a_restart_looks_like_is_tried_again() {
        for obstacle in [Obstacle::Refused, Obstacle::NoSuchHost, Obstacle::HungUp] {
            assert!(!obstacle.is_final());
        }
        for obstacle in [Obstacle::NoTls, Obstacle::WantsTls, Obstacle::UnknownAuthority, Obstacle::NotPusher] {
            assert!(obstacle.is_final());
        }
    }
}
