//! Which server an application publishes to, for which app, and with how much patience.
//!
//! Owns what may be set, its defaults and what is refused. Never connects. The invariant: settings that would send
//! signatures in the clear, or to whoever answers, are refused when the application starts. Read on in
//! [`crate::publish`].

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use campanile_protocol::Limits;
use reqwest::Url;

use crate::encryption::MasterKey;

/// How often a request is sent again, where that is safe.
pub const RETRIES_DEFAULT: u32 = 3;
/// Events that may wait in an outbox in memory.
pub const EVENTS_IN_MEMORY_MAX_DEFAULT: usize = 1024;

/// How long to wait for the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For an event that somebody waits for: `.now()` and `.rescue()`, retries included.
    pub now: Duration,
    /// For an event from the outbox: one attempt, with the retries that are within it.
    pub background: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), now: Duration::from_secs(5), background: Duration::from_secs(30) }
    }
}

/// The server, the app, and how to reach it.
#[derive(Clone)]
pub struct Settings {
    pub(crate) url: String,
    pub(crate) app_id: String,
    pub(crate) key: String,
    pub(crate) secret: String,
    pub(crate) master_key: Option<MasterKey>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) plain_http_allowed: bool,
    pub(crate) idempotent_server: bool,
    pub(crate) timeouts: Timeouts,
    pub(crate) retries: u32,
    pub(crate) events_in_memory_max: usize,
    pub(crate) limits: Limits,
    pub(crate) stamped: bool,
    pub(crate) has_inbox: bool,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither secret, nor what a URL may hold of one.
        f.debug_struct("Settings").field("app_id", &self.app_id).field("key", &self.key).finish_non_exhaustive()
    }
}

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A variable that must be there.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// Not a URL of a server.
    #[error("the server's URL must be http:// or https:// with a host and perhaps a path, and nothing else")]
    Url,
    /// The app's id, key or secret cannot be one.
    #[error("the app's {0} is empty or has a character that it cannot have")]
    App(&'static str),
    /// Signatures in the clear.
    #[error("http:// to {host}, which is not this machine, shows every event on the way: use https://, or allow it")]
    PlainHttp {
        /// The host.
        host: String,
    },
    /// The certificates cannot be read.
    #[error("the CA file {}: {source}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built: {0}")]
    Client(reqwest::Error),
}

impl Settings {
    /// For the app at `url`, such as `https://ws.example.com` or `http://127.0.0.1:6001/prefix`.
    pub fn new(
        url: impl Into<String>,
        app_id: impl Into<String>,
        key: impl Into<String>,
        secret: impl Into<String>,
    ) -> Self {
        Self {
            url: url.into(),
            app_id: app_id.into(),
            key: key.into(),
            secret: secret.into(),
            master_key: None,
            ca_file: None,
            plain_http_allowed: false,
            idempotent_server: false,
            timeouts: Timeouts::default(),
            retries: RETRIES_DEFAULT,
            events_in_memory_max: EVENTS_IN_MEMORY_MAX_DEFAULT,
            limits: Limits::default(),
            stamped: false,
            has_inbox: true,
        }
    }

    /// From the variables that Laravel applications have: `PUSHER_APP_ID`, `PUSHER_APP_KEY`, `PUSHER_APP_SECRET`,
    /// `PUSHER_HOST`, and perhaps `PUSHER_PORT` and `PUSHER_SCHEME` (`https`).
    ///
    /// # Errors
    ///
    /// When a variable is missing.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// As [`Settings::from_env`], from elsewhere.
    ///
    /// # Errors
    ///
    /// When a variable is missing.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let optional = |name: &str| variable(name).filter(|value| !value.is_empty());
        let required = |name: &'static str| optional(name).ok_or(SettingsError::Missing(name));
        let host = required("PUSHER_HOST")?;
        let scheme = optional("PUSHER_SCHEME").unwrap_or_else(|| "https".to_owned());
        let port = optional("PUSHER_PORT").map(|port| format!(":{port}")).unwrap_or_default();
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
        let (id, key) = (required("PUSHER_APP_ID")?, required("PUSHER_APP_KEY")?);
        Ok(Self::new(format!("{scheme}://{host}{port}"), id, key, required("PUSHER_APP_SECRET")?))
    }

    /// The key of encrypted channels.
    #[must_use]
    pub fn master_key(mut self, key: MasterKey) -> Self {
        self.master_key = Some(key);
        self
    }

    /// Trusts the certificates that this PEM file vouches for, and no others.
    #[must_use]
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Self {
        self.ca_file = Some(path.as_ref().to_owned());
        self
    }

    /// Allows `http://` to another machine, where the network in between is trusted.
    #[must_use]
    pub fn allow_plain_http(mut self) -> Self {
        self.plain_http_allowed = true;
        self
    }

    /// Says that the server answers a second request with the same `Idempotency-Key` without publishing again. Then a
    /// request whose answer was lost is sent again, too.
    #[must_use]
    pub fn idempotent_server(mut self) -> Self {
        self.idempotent_server = true;
        self
    }

    /// How long to wait.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// How often a request is sent again, where that is safe.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// How many events may wait in memory, where [`Campanile::new`](crate::Campanile::new) makes the outbox; at least one.
    #[must_use]
    pub fn events_in_memory_max(mut self, max: usize) -> Self {
        self.events_in_memory_max = max.max(1);
        self
    }

    /// Says that the server keeps no inbox, as those that speak only Pusher's protocol: notifications are not sent, which is
    /// [`Published::Suppressed`](crate::Published::Suppressed). What is wrong with one is an error all the same.
    #[must_use]
    pub fn without_inbox(mut self) -> Self {
        self.has_inbox = false;
        self
    }

    /// Writes the key of each event into its data, as [`STAMP`](crate::campanile::STAMP), if its data is an object:
    /// whoever must not take an event twice can tell by it, even where the server does not.
    #[must_use]
    pub fn stamped(mut self) -> Self {
        self.stamped = true;
        self
    }

    /// The limits of the app, where they are not Pusher's.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The server's origin and the path in front of `/apps`.
    pub(crate) fn checked_url(&self) -> Result<(String, String), SettingsError> {
        let url = Url::parse(&self.url).map_err(|_| SettingsError::Url)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(SettingsError::Url)?;
        let has_more = url.query().is_some() || url.fragment().is_some();
        if has_more || !url.username().is_empty() || url.password().is_some() {
            return Err(SettingsError::Url);
        }
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        match url.scheme() {
            "https" => {}
            "http" if self.plain_http_allowed || is_loopback(host) => {}
            "http" => return Err(SettingsError::PlainHttp { host: host.to_owned() }),
            _ => return Err(SettingsError::Url),
        }
        Ok((format!("{}://{host}{port}", url.scheme()), url.path().trim_end_matches('/').to_owned()))
    }

    /// What goes into paths and signatures must come out as it went in.
    pub(crate) fn check_app(&self) -> Result<(), SettingsError> {
        let is_plain = |text: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            !text.is_empty() && text.bytes().all(plain)
        };
        match (is_plain(&self.app_id), is_plain(&self.key), self.secret.is_empty()) {
            (false, _, _) => Err(SettingsError::App("id")),
            (_, false, _) => Err(SettingsError::App("key")),
            (_, _, true) => Err(SettingsError::App("secret")),
            _ => Ok(()),
        }
    }
}

/// Whether a URL's host is this machine.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> Settings {
        Settings::new(url, "app", "key", "the-secret")
    }

    #[test]
    fn a_url_is_an_origin_and_perhaps_a_prefix() {
        let checked = |url: &str| settings(url).checked_url().ok();
        let of = |origin: &str, path: &str| Some((origin.to_owned(), path.to_owned()));
        assert_eq!(checked("https://ws.example.com"), of("https://ws.example.com", ""));
        assert_eq!(checked("https://ws.example.com:8443/live/"), of("https://ws.example.com:8443", "/live"));
        assert_eq!(checked("http://[::1]:6001"), of("http://[::1]:6001", ""));
        for wrong in ["", "ws.example.com", "ws://localhost", "https://a/?q", "https://u:p@a", "https://a/#f"] {
            assert!(matches!(settings(wrong).checked_url(), Err(SettingsError::Url)), "{wrong}");
        }
    }

    #[test]
    fn plain_http_leaves_this_machine_only_where_that_is_allowed() {
        for here in ["http://127.0.0.1:6001", "http://127.1.2.3", "http://localhost:6001", "http://[::1]"] {
            assert!(settings(here).checked_url().is_ok(), "{here}");
        }
        for there in ["http://10.0.0.1", "http://ws.example.com", "http://localhost.example.com", "http://0.0.0.0"] {
            assert!(matches!(settings(there).checked_url(), Err(SettingsError::PlainHttp { .. })), "{there}");
            assert!(settings(there).allow_plain_http().checked_url().is_ok(), "{there}");
        }
    }

    #[test]
    fn laravels_variables_are_enough() {
        let variables = |with_host: bool| {
            Settings::from_variables(|name| match name {
                "PUSHER_APP_ID" => Some("app".into()),
                "PUSHER_APP_KEY" => Some("key".into()),
                "PUSHER_APP_SECRET" => Some("secret".into()),
                "PUSHER_HOST" => with_host.then(|| "::1".into()),
                "PUSHER_PORT" => Some("6001".into()),
                "PUSHER_SCHEME" => Some("http".into()),
                _ => None,
            })
        };
        assert_eq!(variables(true).unwrap().url, "http://[::1]:6001");
        assert!(matches!(variables(false), Err(SettingsError::Missing("PUSHER_HOST"))));
    }

    #[test]
    fn an_app_has_an_id_a_key_and_a_secret_and_the_secret_is_never_printed() {
        let checked = |id: &str, key: &str, secret: &str| Settings::new("https://a", id, key, secret).check_app();
        assert!(checked("app", "key", "the secret").is_ok());
        assert!(matches!(checked("a/b", "key", "s"), Err(SettingsError::App("id"))));
        assert!(matches!(checked("app", "", "s"), Err(SettingsError::App("key"))));
        assert!(matches!(checked("app", "key", ""), Err(SettingsError::App("secret"))));
        assert!(!format!("{:?}", settings("https://a")).contains("the-secret"));
    }
}
