//! Whether a client may connect at all.
//!
//! Owns the checks of the URL's query. Never answers: a [`Refusal`] becomes an error frame and a close with the same
//! code. The invariant: a refusal is always both, so that a client never sees 1006 and retries for ever.

use std::sync::Arc;

use campanile_protocol::CloseCode;

use crate::app::{App, Apps};

/// Why a connection is refused or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code, which decides what the client does next.
    pub code: CloseCode,
    /// Words for the developer.
    pub message: Box<str>,
}

impl Refusal {
    /// A refusal with these words.
    pub fn new(code: CloseCode, message: impl Into<Box<str>>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The protocol versions that are spoken.
pub const PROTOCOLS: std::ops::RangeInclusive<u64> = 4..=7;

/// The protocol version that a client asks for.
pub fn protocol(protocol: Option<&str>, version: Option<&str>) -> Result<u8, Refusal> {
    if let Some(version) = version
        && !version.starts_with(|first: char| first.is_ascii_digit())
    {
        return Err(Refusal::new(CloseCode::InvalidVersion, "version must begin with a digit"));
    }
    let Some(protocol) = protocol else {
        let missing = || Refusal::new(CloseCode::NoProtocol, "no protocol version supplied: add protocol=7 to the URL");
        return version.map(|_| 7).ok_or_else(missing);
    };
    match protocol.parse::<u64>() {
        Ok(number) if PROTOCOLS.contains(&number) => Ok(u8::try_from(number).expect("4 to 7 fit")),
        _ => {
            let message = format!("unsupported protocol version {protocol:?}: this server speaks 4 to 7");
            Err(Refusal::new(CloseCode::UnsupportedProtocol, message))
        }
    }
}

/// The app that a client asks for by key.
pub fn app<'a>(apps: &'a Apps, key: &str) -> Result<&'a Arc<App>, Refusal> {
    match apps.by_key(key) {
        None => Err(Refusal::new(CloseCode::UnknownApp, "no app has this key")),
        Some(app) if !app.enabled => Err(Refusal::new(CloseCode::AppDisabled, "the app is disabled")),
        Some(app) => Ok(app),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_4_to_7_are_spoken_and_each_mistake_has_its_code() {
        let code = |p, v| protocol(p, v).map_err(|refusal| refusal.code);
        for (text, number) in [("4", 4), ("5", 5), ("6", 6), ("7", 7)] {
            assert_eq!(code(Some(text), Some("8.4.0")), Ok(number));
        }
        for text in ["1", "3", "8", "0", "", "x", "7.0", "-7", "99999999999999999999999"] {
            assert_eq!(code(Some(text), Some("8.4.0")), Err(CloseCode::UnsupportedProtocol), "{text}");
        }
        assert_eq!(code(None, Some("8.4.0")), Ok(7));
        assert_eq!(code(None, None), Err(CloseCode::NoProtocol));
        assert_eq!(code(Some("7"), Some("x8")), Err(CloseCode::InvalidVersion));
        assert_eq!(code(Some("7"), None), Ok(7));
    }
}
