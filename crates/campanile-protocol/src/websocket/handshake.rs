//! The WebSocket words of the opening handshake.
//!
//! Owns the check of a request's WebSocket headers and the answer to its key (RFC 6455, section 4.2).
//!
//! Never parses HTTP, and never judges path, origin or method: the caller has done that.
//!
//! Keep in mind: a refusal is an ordinary HTTP response, made of a status, the headers that it must
//! carry and a sentence for whoever wrote the request.
//!
//! Read next: `incoming.rs`, for what comes after.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// The only version of the protocol: that of RFC 6455.
pub const SUPPORTED_VERSION: &str = "13";

const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEY_BYTES: usize = 16;

/// Why a request does not become a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeRefusal {
    /// No `Upgrade: websocket`: an ordinary request.
    #[error("this address speaks WebSocket: the request needs the header `Upgrade: websocket`")]
    NotAnUpgrade,
    /// `Upgrade` without `Connection: upgrade`. A proxy that drops hop-by-hop headers does that.
    #[error("the request needs the header `Connection: Upgrade`; a proxy may have removed it")]
    ConnectionNotUpgraded,
    /// Another version of the protocol, or none.
    #[error("the request needs the header `Sec-WebSocket-Version: 13`")]
    Version,
    /// No key.
    #[error("the request needs the header `Sec-WebSocket-Key`")]
    KeyMissing,
    /// More than one key.
    #[error("the header `Sec-WebSocket-Key` may come only once")]
    KeyRepeated,
    /// Not the base64 of 16 bytes.
    #[error("the header `Sec-WebSocket-Key` must be 16 bytes in base64")]
    KeyMalformed,
    /// Extensions that are no list of extensions.
    #[error("the header `Sec-WebSocket-Extensions` must be a list of extensions and their parameters")]
    ExtensionsMalformed,
}

impl UpgradeRefusal {
    /// The status of the HTTP response.
    pub const fn status(self) -> u16 {
        match self {
            Self::NotAnUpgrade | Self::Version => 426,
            Self::ConnectionNotUpgraded
            | Self::KeyMissing
            | Self::KeyRepeated
            | Self::KeyMalformed
            | Self::ExtensionsMalformed => 400,
        }
    }

    /// The headers that this status obliges the response to carry.
    pub const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self.status() {
            426 => &[("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", SUPPORTED_VERSION)],
            _ => &[],
        }
    }
}

/// Checks the headers of a `GET` request, and gives the value of `Sec-WebSocket-Accept` for the
/// `101 Switching Protocols` that answers it.
pub fn upgrade<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<String, UpgradeRefusal> {
    let mut is_upgrade = false;
    let mut connection_upgrades = false;
    let mut versions = 0;
    let mut versions_supported = 0;
    let mut key = None;
    for (name, value) in headers {
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case("upgrade") {
            is_upgrade |= lists(value, "websocket");
        } else if name.eq_ignore_ascii_case("connection") {
            connection_upgrades |= lists(value, "upgrade");
        } else if name.eq_ignore_ascii_case("sec-websocket-version") {
            versions += 1;
            versions_supported += u32::from(value == SUPPORTED_VERSION.as_bytes());
        } else if name.eq_ignore_ascii_case("sec-websocket-key") && key.replace(value).is_some() {
            return Err(UpgradeRefusal::KeyRepeated);
        }
    }
    if !is_upgrade {
        return Err(UpgradeRefusal::NotAnUpgrade);
    }
    if !connection_upgrades {
        return Err(UpgradeRefusal::ConnectionNotUpgraded);
    }
    if versions == 0 || versions != versions_supported {
        return Err(UpgradeRefusal::Version);
    }
    let key = key.ok_or(UpgradeRefusal::KeyMissing)?;
    match (str::from_utf8(key), STANDARD.decode(key)) {
        (Ok(key), Ok(decoded)) if decoded.len() == KEY_BYTES => Ok(accept_key(key)),
        _ => Err(UpgradeRefusal::KeyMalformed),
    }
}

/// The value of `Sec-WebSocket-Accept` that proves a `Sec-WebSocket-Key` was understood. A client
/// compares the server's answer with it.
pub fn accept_key(sec_websocket_key: &str) -> String {
    let digest = Sha1::new().chain_update(sec_websocket_key).chain_update(ACCEPT_SUFFIX).finalize();
    STANDARD.encode(digest)
}

/// Whether a comma-separated header value holds `token`, in any case.
fn lists(value: &[u8], token: &str) -> bool {
    value.split(|&byte| byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Headers = Vec<(&'static str, &'static [u8])>;

    const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

    fn lawful() -> Headers {
        vec![
            ("Host", b"push.example"),
            ("Upgrade", b"websocket"),
            ("Connection", b"Upgrade"),
            ("Sec-WebSocket-Key", KEY),
            ("Sec-WebSocket-Version", b"13"),
        ]
    }

    fn with(name: &str, value: &'static [u8]) -> Headers {
        let mut headers = lawful();
        headers.iter_mut().filter(|header| header.0 == name).for_each(|header| header.1 = value);
        headers
    }

    fn without(name: &str) -> Headers {
        lawful().into_iter().filter(|header| header.0 != name).collect()
    }

    fn and(name: &'static str, value: &'static [u8]) -> Headers {
        let mut headers = lawful();
        headers.push((name, value));
        headers
    }

    #[test]
    fn the_key_of_the_rfc_gets_the_answer_of_the_rfc() {
        // RFC 6455, section 1.3.
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(upgrade(lawful()).as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn names_and_tokens_come_in_any_case_list_and_place() {
        let accept = upgrade(lawful());
        assert_eq!(upgrade(with("Connection", b"keep-alive, Upgrade")), accept);
        assert_eq!(upgrade(with("Connection", b"upgrade ,\tkeep-alive")), accept);
        assert_eq!(upgrade(with("Upgrade", b"WebSocket")), accept);
        assert_eq!(upgrade(and("connection", b"close")), accept);
        assert_eq!(upgrade(with("Sec-WebSocket-Key", b"  dGhlIHNhbXBsZSBub25jZQ== ")), accept);
        let lower = [
            ("upgrade", &b"websocket"[..]),
            ("connection", b"upgrade"),
            ("sec-websocket-key", KEY),
            ("sec-websocket-version", b"13"),
        ];
        assert_eq!(upgrade(lower), accept);
    }

    #[test]
    fn an_ordinary_request_is_told_what_is_spoken_here() {
        for headers in [without("Upgrade"), with("Upgrade", b"h2c"), with("Upgrade", b"websockets"), vec![]] {
            assert_eq!(upgrade(headers), Err(UpgradeRefusal::NotAnUpgrade));
        }
        assert_eq!(UpgradeRefusal::NotAnUpgrade.status(), 426);
        assert!(UpgradeRefusal::NotAnUpgrade.headers().contains(&("Upgrade", "websocket")));
    }

    #[test]
    fn an_upgrade_that_its_connection_does_not_name_is_refused() {
        for headers in [without("Connection"), with("Connection", b"keep-alive"), with("Connection", b"up grade")] {
            assert_eq!(upgrade(headers), Err(UpgradeRefusal::ConnectionNotUpgraded));
        }
        assert_eq!(UpgradeRefusal::ConnectionNotUpgraded.status(), 400);
    }

    #[test]
    fn another_version_is_answered_426_with_the_supported_one() {
        for headers in [
            without("Sec-WebSocket-Version"),
            with("Sec-WebSocket-Version", b"8"),
            with("Sec-WebSocket-Version", b"013"),
            with("Sec-WebSocket-Version", b""),
            and("Sec-WebSocket-Version", b"8"),
        ] {
            assert_eq!(upgrade(headers), Err(UpgradeRefusal::Version));
        }
        assert_eq!(UpgradeRefusal::Version.status(), 426);
        assert!(UpgradeRefusal::Version.headers().contains(&("Sec-WebSocket-Version", "13")));
    }

    #[test]
    fn a_key_is_sixteen_bytes_of_base64_and_comes_once() {
        assert_eq!(upgrade(without("Sec-WebSocket-Key")), Err(UpgradeRefusal::KeyMissing));
        assert_eq!(upgrade(and("sec-websocket-key", KEY)), Err(UpgradeRefusal::KeyRepeated));
        for malformed in [
            &b""[..],
            b"dGhlIHNhbXBsZSBub25j",     // 15 bytes
            b"dGhlIHNhbXBsZSBub25jZWU=", // 17 bytes
            b"dGhlIHNhbXBsZSBub25jZQ",   // no padding
            b"dGhlIHNhbXBsZSBub25jZ!==",
            b"dGhlIHNhbXBsZ\xffBub25jZQ==",
        ] {
            let refusal = upgrade(with("Sec-WebSocket-Key", malformed));
            assert_eq!(refusal, Err(UpgradeRefusal::KeyMalformed), "{malformed:?}");
        }
        for refusal in [UpgradeRefusal::KeyMissing, UpgradeRefusal::KeyRepeated, UpgradeRefusal::KeyMalformed] {
            assert_eq!((refusal.status(), refusal.headers().len()), (400, 0));
        }
    }
}
