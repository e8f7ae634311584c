//! The Campanile server that the shop publishes to.
//!
//! Owns which server that is, one in this process or the one that `PUSHER_*` names, and whether it keeps inboxes. Never speaks
//! to it: the pages' browsers and [`Campanile`](campanile_broadcast::Campanile) do. The invariant: browsers and the application are told of
//! the same app on the same server. Read on in [`crate::app`].

use std::env;
use std::path::Path;

use axum::http::HeaderValue;
use axum::http::header::InvalidHeaderValue;
use campanile::config::{Config, ConfigError, DEVELOPMENT_ID, DEVELOPMENT_KEY, DEVELOPMENT_SECRET};
use campanile::{RunningServer, Server, StartError};
use campanile_broadcast::{Settings, SettingsError};

/// What browsers must know to connect.
#[derive(Debug)]
pub(crate) struct LiveServer {
    pub(crate) key: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) has_tls: bool,
    /// Whether it keeps each user's notifications, and `private-user.{user}` opens them: pages have a bell.
    pub(crate) has_inbox: bool,
    pub(crate) content_security_policy: HeaderValue,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LiveServerError {
    #[error("the Campanile server's configuration: {0}")]
    Config(#[from] ConfigError),
    #[error("the Campanile server: {0}")]
    Start(#[from] StartError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("PUSHER_PORT is not a port")]
    Port,
    #[error("PUSHER_HOST cannot stand in a header: {0}")]
    Host(#[from] InvalidHeaderValue),
}

/// Where a user's notifications are pushed, and what opens them to a browser: see [`crate::channels::UserChannel`], which
/// nobody but the user may subscribe to.
const INBOX_CHANNEL: &str = "private-user.{user}";

/// A server in this process, on loopback, for the development app with inboxes: in SQLite, in its state directory.
///
/// # Errors
///
/// When the port is taken, or the state directory cannot be had.
pub(crate) fn start(port: u16, state_dir: &Path) -> Result<RunningServer, LiveServerError> {
    let settings = [
        ("CAMPANILE__LISTEN__PORT", port.to_string()),
        ("CAMPANILE__STATE_DIR", state_dir.display().to_string()),
        ("CAMPANILE__DRAIN__WAVE_SECS", "0".to_owned()),
        ("CAMPANILE__INBOX__SYNCHRONOUS", "full".to_owned()),
        ("CAMPANILE__APPS__0__ID", DEVELOPMENT_ID.to_owned()),
        ("CAMPANILE__APPS__0__CLIENT_EVENTS", "true".to_owned()),
        ("CAMPANILE__APPS__0__KEYS__0__KEY", DEVELOPMENT_KEY.to_owned()),
        ("CAMPANILE__APPS__0__KEYS__0__SECRET", DEVELOPMENT_SECRET.to_owned()),
        ("CAMPANILE__APPS__0__INBOX__CHANNELS__0", INBOX_CHANNEL.to_owned()),
        ("CAMPANILE__APPS__0__INBOX__IDENTITY__0", INBOX_CHANNEL.to_owned()),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    Ok(Server::start(Config::load(None, settings.into_iter())?)?)
}

impl LiveServer {
    /// The one that [`start`] started, and how to publish to it.
    pub(crate) fn here(server: &RunningServer) -> Result<(Self, Settings), LiveServerError> {
        let address = server.local_addr();
        let settings = Settings::new(format!("http://{address}"), DEVELOPMENT_ID, DEVELOPMENT_KEY, DEVELOPMENT_SECRET);
        let live = Self::at(DEVELOPMENT_KEY.to_owned(), address.ip().to_string(), address.port(), false, true)?;
        Ok((live, settings.idempotent_server()))
    }

    /// The one that the variables name which Laravel applications have, if they do.
    pub(crate) fn from_env(has_inbox: bool) -> Result<Option<(Self, Settings)>, LiveServerError> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let Some(host) = variable("PUSHER_HOST") else { return Ok(None) };
        let settings = Settings::from_env()?;
        let settings = if has_inbox { settings } else { settings.without_inbox() };
        let has_tls = variable("PUSHER_SCHEME").is_none_or(|scheme| scheme == "https");
        let port = match variable("PUSHER_PORT") {
            Some(port) => port.parse().map_err(|_| LiveServerError::Port)?,
            None if has_tls => 443,
            None => 80,
        };
        let key = variable("PUSHER_APP_KEY").ok_or(SettingsError::Missing("PUSHER_APP_KEY"))?;
        Ok(Some((Self::at(key, host, port, has_tls, has_inbox)?, settings)))
    }

    fn at(key: String, host: String, port: u16, has_tls: bool, has_inbox: bool) -> Result<Self, LiveServerError> {
        let (sockets, pages) = if has_tls { ("wss", "https") } else { ("ws", "http") };
        let policy = format!(
            "default-src 'self'; connect-src 'self' {sockets}://{host}:{port} {pages}://{host}:{port}; img-src 'self' data:; \
             frame-ancestors 'none'; form-action 'self'; base-uri 'none'"
        );
        Ok(Self { key, host, port, has_tls, has_inbox, content_security_policy: HeaderValue::from_str(&policy)? })
    }
}
